//! The first look: every vector of every current run, by one pass over the tables.
//!
//! The law: what is published while the pass runs may be missed by it and is not lost, for the feed is followed from
//! before its beginning.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::rows::Rows;
use crate::{
    error::Result,
    store::{
        DocumentKey,
        cql::{session::Session, spaces::Space, vectors},
    },
};

/// Parts that the ring of tokens is read in. Each holds the current runs of its documents in memory while it is read.
const RANGES: i64 = 64;

/// Parts that are read at once.
const AT_ONCE: usize = 8;

/// Rows of a page of headers, a few names and numbers each.
const PAGE: i32 = 2_000;

/// A part of the ring: above the first token, up to and with the second.
type Range = (i64, i64);

/// Fills `rows`, which are emptied first, from the tables of one model.
pub(super) async fn load(session: &Session, spaces: &[Space], rows: &RwLock<Rows>) -> Result<()> {
    let empty = |rows: &mut Rows| *rows = Rows::new(rows.dimension());
    empty(&mut rows.write().unwrap_or_else(PoisonError::into_inner));
    stream::iter(ranges())
        .map(|range| load_range(session, spaces, rows, range))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let held = rows.read().unwrap_or_else(PoisonError::into_inner).len();
    tracing::info!(model = spaces.first().map(|space| &space.space.model), vectors = held, "vectors loaded");
    Ok(())
}

/// The ring, cut into equal parts. No row has the lowest token, which partitioners keep for themselves.
fn ranges() -> impl Iterator<Item = Range> {
    let step = u64::MAX / RANGES.unsigned_abs();
    let start = move |part: i64| i64::MIN.wrapping_add_unsigned(step.wrapping_mul(part.unsigned_abs()));
    (0..RANGES).map(move |part| (start(part), if part + 1 == RANGES { i64::MAX } else { start(part + 1) }))
}

async fn load_range(session: &Session, spaces: &[Space], rows: &RwLock<Rows>, range: Range) -> Result<()> {
    let current = currents(session, range).await?;
    if current.is_empty() {
        return Ok(());
    }
    for (space, number) in spaces.iter().zip(0..) {
        let select = format!(
            "SELECT tenant, document_id, run, chunk_no, vector FROM {} \
             WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?",
            space.table
        );
        let page = vectors::page(space.space.dimension);
        let mut vectors = session.stream::<(String, String, i64, i32, Vec<f32>), _>(&select, range, page);
        while let Some((tenant, document_id, run, chunk_no, vector)) = vectors.try_next().await? {
            let document = DocumentKey { tenant, document_id };
            if current.get(&document).is_some_and(|current| current.run == run && chunk_no < current.chunk_count) {
                let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
                rows.add(&document, run, number, chunk_no.unsigned_abs(), &vector);
            }
        }
    }
    Ok(())
}

/// What readers see of a document.
struct Current {
    run: i64,
    chunk_count: i32,
}

/// A row of a header, as far as it tells which run is current: run, its count of chunks, and what hides runs.
type HeaderRow = (String, String, Option<i64>, Option<i32>, Option<i64>, Option<i64>);

/// The current runs of all documents in a part of the ring.
async fn currents(session: &Session, range: Range) -> Result<HashMap<DocumentKey, Current>> {
    let select = "SELECT tenant, document_id, run, chunk_count, erased_at, removed_below FROM documents \
                  WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?";
    let mut headers = session.stream::<HeaderRow, _>(select, range, PAGE);
    let mut currents = HashMap::new();
    while let Some((tenant, document_id, run, chunk_count, erased_at, removed_below)) = headers.try_next().await? {
        // `chunk_count` is written with `current`, and by nothing else.
        let (Some(run), Some(chunk_count)) = (run, chunk_count) else { continue };
        if erased_at.is_some_and(|erased_at| run <= erased_at) || removed_below.is_some_and(|below| run < below) {
            continue;
        }
        // Runs come from the newest on.
        currents.entry(DocumentKey { tenant, document_id }).or_insert(Current { run, chunk_count });
    }
    Ok(currents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_ring_leave_nothing_out() {
        let parts: Vec<_> = ranges().collect();
        assert_eq!((parts[0].0, parts[parts.len() - 1].1), (i64::MIN, i64::MAX));
        assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0), "a gap, or tokens read twice");
        assert!(parts.iter().all(|(from, to)| from < to));
    }
}
