//! The search in process: every vector of every current run, one pass, the best in a bounded heap.
//!
//! The law: memory is constant in the number of vectors. Rows are scored where SQLite holds them, never collected.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{
        DocumentKey, Hit, Query,
        json::decode,
        similarity::{self, Best, cosine_bytes, dot_bytes},
    },
    connection::failure,
};
use crate::error::{Failure, Result};

/// Where a vector lies: its document's integer and its chunk. Among equals the one stored first is better.
type Place = (i64, u32);

type Found = similarity::Found<Place>;

/// The chunks nearest to a vector, best first.
pub(super) fn search(tx: &Connection, query: &Query) -> Result<Vec<Hit>> {
    let unit = similarity::unit(query)?;
    let mut best = Best::new(query.k);
    for space in spaces(tx, &query.model)? {
        similarity::check_dimension(query, space.dimension)?;
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
fn scan(tx: &Connection, space: &Space, tenant: Option<&str>, unit: &[f32], best: &mut Best<Place>) -> Result<()> {
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
            let place = (row.get(0).map_err(failure)?, row.get(1).map_err(failure)?);
            best.push(Found { score, place });
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
    let (document, chunk_no) = found.place;
    let row = statement
        .query_row(params![document, chunk_no], |row| {
            let key = DocumentKey { tenant: row.get(0)?, document_id: row.get(1)? };
            Ok((key, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })
        .optional()
        .map_err(failure)?;
    let Some((key, run, filename, chunk)) = row else { return Ok(None) };
    // Rounding may carry a cosine a little beyond 1.
    Ok(Some(Hit { key, run, filename, score: found.score.clamp(-1.0, 1.0), chunk: decode(&chunk)? }))
}
