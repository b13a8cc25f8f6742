//! The first look: all documents, part by part of the ring of tokens, each with the run that readers see.
//!
//! The law: what is published while the pass runs may be missed by it and is not lost, for the feed is followed from
//! before its beginning.

use std::collections::{HashMap, hash_map::Entry};

use futures::{StreamExt, TryStreamExt, stream};

use super::VisibleVersion;
use crate::{DocumentKey, PublishedVersion, cql::session::Session, json::decode};
use deckle_contract::error::Result;

/// Parts that the ring of tokens is read in. Each holds the current runs of its documents in memory while it is read.
const RANGES: i64 = 64;

/// Parts that are read at once.
const AT_ONCE: usize = 8;

/// Rows of a page of headers, of some KiB each.
const PAGE: i32 = 500;

/// A part of the ring: above the first token, up to and with the second.
pub(super) type Range = (i64, i64);

/// Reads every part of the ring, some at once, and hands `read` what is current there; parts without any are left out.
pub(super) async fn read_ring<F: Future<Output = Result<()>>>(
    session: &Session,
    read: impl Fn(Range, HashMap<DocumentKey, VisibleVersion>) -> F,
) -> Result<()> {
    let read = &read;
    stream::iter(ranges())
        .map(async |range| {
            let shown = shown(session, range).await?;
            if shown.is_empty() { Ok(()) } else { read(range, shown).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The ring, cut into equal parts. No row has the lowest token, which partitioners keep for themselves.
fn ranges() -> impl Iterator<Item = Range> {
    let step = u64::MAX / RANGES.unsigned_abs();
    let start = move |part: i64| i64::MIN.wrapping_add_unsigned(step.wrapping_mul(part.unsigned_abs()));
    (0..RANGES).map(move |part| (start(part), if part + 1 == RANGES { i64::MAX } else { start(part + 1) }))
}

/// The columns of a header that say which run is current: run, what readers see of it, and what hides runs.
type HeaderRow = (String, String, Option<i64>, Option<String>, Option<i64>, Option<i64>);

/// The current runs of all documents in a part of the ring.
async fn shown(session: &Session, range: Range) -> Result<HashMap<DocumentKey, VisibleVersion>> {
    let select = "SELECT tenant, document_id, run, current, erased_at, removed_below FROM documents \
                  WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?";
    let mut headers = session.stream::<HeaderRow, _>(select, range, PAGE);
    let mut shown = HashMap::new();
    while let Some((tenant, document_id, run, current, erased_at, removed_below)) = headers.try_next().await? {
        let (Some(run), Some(current)) = (run, current) else { continue };
        if erased_at.is_some_and(|erased_at| run <= erased_at) || removed_below.is_some_and(|below| run < below) {
            continue;
        }
        let document = DocumentKey { tenant, document_id };
        // Runs come from the newest on.
        if let Entry::Vacant(entry) = shown.entry(document) {
            entry.insert(VisibleVersion::from(&decode::<PublishedVersion>(&current)?));
        }
    }
    Ok(shown)
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
