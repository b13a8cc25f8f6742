//! The search in process: every vector of every current run, one pass, the best in a bounded heap.
//!
//! The law: memory is constant in the number of vectors. Rows are scored where SQLite holds them, never collected.

use std::{cmp::Ordering, cmp::Reverse, collections::BinaryHeap};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{DocumentKey, Hit, Query, json::decode},
    connection::failure,
};
use crate::error::{Failure, Result};

/// Floats per step: eight SSE or four AVX registers of partial sums, so that no addition waits for the one before.
const LANES: usize = 32;

/// The chunks nearest to a vector, best first.
pub(super) fn search(tx: &Connection, query: &Query) -> Result<Vec<Hit>> {
    let length = dot(&query.vector, &query.vector).sqrt();
    if !length.is_normal() {
        return Err(Failure::defect("store: the vector of a search is zero or not finite"));
    }
    let unit: Vec<f32> = query.vector.iter().map(|x| x / length).collect();

    let mut best = Best::new(query.k);
    for space in spaces(tx, &query.model)? {
        if space.dimension as usize != unit.len() {
            return Err(Failure::defect(format!(
                "store: a search of {} with {} floats, but its vectors have {}",
                query.model,
                unit.len(),
                space.dimension
            )));
        }
        scan(tx, &space, query.tenant.as_deref(), &unit, &mut best)?;
    }
    best.into_sorted().into_iter().filter_map(|found| hit(tx, found).transpose()).collect()
}

struct Space {
    id: i64,
    dimension: u32,
    normalized: bool,
}

fn spaces(tx: &Connection, model: &str) -> Result<Vec<Space>> {
    let mut statement = tx
        .prepare_cached("SELECT id, dimension, normalized FROM spaces WHERE model = ?1 ORDER BY id")
        .map_err(failure)?;
    let rows = statement
        .query_map([model], |row| Ok(Space { id: row.get(0)?, dimension: row.get(1)?, normalized: row.get(2)? }))
        .map_err(failure)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failure)
}

/// Scores every vector of a space that belongs to a current run.
fn scan(tx: &Connection, space: &Space, tenant: Option<&str>, unit: &[f32], best: &mut Best) -> Result<()> {
    // CROSS JOIN fixes the order: documents outside, then one short range of vectors each, in the order they lie.
    let sql = format!(
        "SELECT d.id, v.chunk_no, v.vector FROM documents d CROSS JOIN vectors v
         ON v.document = d.id AND v.run = d.current_run AND v.space = ?1 AND v.chunk_no < d.chunk_count
         WHERE d.current_run IS NOT NULL AND {}",
        if tenant.is_some() { "d.tenant = ?2" } else { "?2 IS NULL" }
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let mut rows = statement.query(params![space.id, tenant]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let bytes = row.get_ref(2).map_err(failure)?.as_blob().map_err(|e| failure(e.into()))?;
        if bytes.len() != size_of_val(unit) {
            return Err(Failure::defect("store: a stored vector has another dimension than its space"));
        }
        let score = if space.normalized { dot_bytes(unit, bytes) } else { cosine_bytes(unit, bytes) };
        if best.admits(score) {
            let (document, chunk_no) = (row.get(0).map_err(failure)?, row.get(1).map_err(failure)?);
            best.push(Found { score, document, chunk_no });
        }
    }
    Ok(())
}

/// Reads what is shown of a hit; `None` for a vector whose chunk was never written.
fn hit(tx: &Connection, found: Found) -> Result<Option<Hit>> {
    let mut statement = tx
        .prepare_cached(
            "SELECT d.tenant, d.document_id, d.current_run, d.current ->> '$.source.filename', c.chunk
             FROM documents d JOIN chunks c ON c.document = d.id AND c.run = d.current_run AND c.chunk_no = ?2
             WHERE d.id = ?1",
        )
        .map_err(failure)?;
    let row = statement
        .query_row(params![found.document, found.chunk_no], |row| {
            let key = DocumentKey { tenant: row.get(0)?, document_id: row.get(1)? };
            Ok((key, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })
        .optional()
        .map_err(failure)?;
    let Some((key, run, filename, chunk)) = row else { return Ok(None) };
    // Rounding may carry a cosine a little beyond 1.
    Ok(Some(Hit { key, run, filename, score: found.score.clamp(-1.0, 1.0), chunk: decode(&chunk)? }))
}

/// A vector that is among the best so far.
struct Found {
    score: f32,
    document: i64,
    chunk_no: u32,
}

/// Better is greater: by score, and among equals the one stored first, so that the order is stable.
impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| (other.document, other.chunk_no).cmp(&(self.document, self.chunk_no)))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Found {}

/// The k best, with the worst of them on top.
struct Best {
    k: usize,
    heap: BinaryHeap<Reverse<Found>>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether a score may enter; cheap, for nearly all vectors fail it.
    fn admits(&self, score: f32) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|Reverse(worst)| score >= worst.score)
    }

    fn push(&mut self, found: Found) {
        self.heap.push(Reverse(found));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    fn into_sorted(self) -> Vec<Found> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect()
    }
}

/// The dot product of two vectors of equal length.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The dot product with a stored vector, read where it lies: SQLite's blobs are not aligned to floats.
fn dot_bytes(unit: &[f32], bytes: &[u8]) -> f32 {
    fold(unit, bytes, |[sum], x, y| [sum + x * y])[0]
}

/// The cosine with a stored vector of any length other than 0.
fn cosine_bytes(unit: &[f32], bytes: &[u8]) -> f32 {
    let [dot, square] = fold(unit, bytes, |[dot, square], x, y| [dot + x * y, square + y * y]);
    dot / square.sqrt()
}

/// Folds pairs of floats into N sums, each kept in [`LANES`] parts until the end.
#[inline(always)]
fn fold<const N: usize>(unit: &[f32], bytes: &[u8], step: impl Fn([f32; N], f32, f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0; N]; LANES];
    let mut vectors = bytes.chunks_exact(LANES * 4);
    let mut units = unit.chunks_exact(LANES);
    for (unit, bytes) in units.by_ref().zip(vectors.by_ref()) {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], unit[lane], float(bytes, lane));
        }
    }
    for (lane, &x) in units.remainder().iter().enumerate() {
        lanes[lane] = step(lanes[lane], x, float(vectors.remainder(), lane));
    }
    let mut sums = [0.0; N];
    for lane in lanes {
        for (sum, part) in sums.iter_mut().zip(lane) {
            *sum += part;
        }
    }
    sums
}

#[inline(always)]
fn float(bytes: &[u8], index: usize) -> f32 {
    f32::from_le_bytes([bytes[4 * index], bytes[4 * index + 1], bytes[4 * index + 2], bytes[4 * index + 3]])
}
