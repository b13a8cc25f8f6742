//! Which documents an export may want, each once.
//!
//! The law: a document that stands in the window when the export begins is met, whatever becomes of it meanwhile,
//! unless it leaves the window; and none is met twice.
//!
//! Without a beginning of the window all documents are read, in the order of their names. With one they are read by
//! time, the latest first, which costs what the window holds and not what the store holds. A document of which something
//! becomes meanwhile moves to the front, behind whoever pages towards the back; so passes over the front follow until
//! one meets nobody new. That needs 16 bytes of memory for each document of the window.

use std::{collections::HashSet, future::ready};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use sha2::{Digest, Sha256};

use super::Request;
use deckle_contract::error::Result;
use deckle_store::{DocumentKey, Header, ListFilter, ListOrder, Store};

/// Headers asked for at once.
const PAGE: usize = 200;

/// How far the clock of the log, which dates documents, may lie behind ours, µs: a pass over the front goes back so far.
const SKEW: i64 = 60_000_000;

/// The headers that a request may want, of documents published before `now` (µs) where it names a beginning.
pub(super) fn headers<'a>(store: &'a dyn Store, request: &'a Request, now: i64) -> BoxStream<'a, Result<Header>> {
    let filter = ListFilter { tenant: request.tenant.clone(), limit: PAGE, ..ListFilter::default() };
    let Some(since) = request.since else {
        return listed(store, filter).try_filter(|header| ready(request.admits(header))).boxed();
    };
    // What is published from now on would be new in every pass.
    let window = Request { until: Some(request.until.unwrap_or(i64::MAX).min(now)), ..request.clone() };
    let filter = ListFilter { order: ListOrder::Newest, since: Some(since), ..filter };
    let first = Pass { filter, began: now, listed: None, met: HashSet::new(), is_new: false };
    stream::try_unfold(first, move |mut pass| {
        let window = window.clone();
        async move {
            loop {
                let mut headers = match pass.listed.take() {
                    Some(headers) => headers,
                    None => listed(store, pass.filter.clone()),
                };
                while let Some(header) = headers.try_next().await? {
                    if window.admits(&header) && pass.met.insert(name(&header.key)) {
                        pass.is_new = true;
                        pass.listed = Some(headers);
                        return Ok(Some((header, pass)));
                    }
                }
                if !pass.is_new {
                    return Ok(None);
                }
                // What moved while this pass went on stands before the time at which it began.
                pass.filter.since = Some(since.max(pass.began.saturating_sub(SKEW)));
                pass.began = jiff::Timestamp::now().as_microsecond();
                pass.is_new = false;
            }
        }
    })
    .boxed()
}

/// One reading by time.
struct Pass<'a> {
    filter: ListFilter,
    /// The time at which it began, µs.
    began: i64,
    /// What is left of it; `None` before it begins.
    listed: Option<BoxStream<'a, Result<Header>>>,
    /// Documents that this pass and those before it met.
    met: HashSet<u128>,
    /// Whether this pass met any that those before did not.
    is_new: bool,
}

/// The number that a document is remembered by: half of a hash of tenant and id.
#[expect(clippy::expect_used, reason = "a digest has 32 bytes")]
fn name(key: &DocumentKey) -> u128 {
    let digest = Sha256::digest(format!("{}\0{}", key.tenant, key.document_id));
    u128::from_le_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
}

/// All headers of a filter.
fn listed<'a>(store: &'a dyn Store, filter: ListFilter) -> BoxStream<'a, Result<Header>> {
    stream::try_unfold(Some(filter), move |filter| async move {
        let Some(mut filter) = filter else { return Ok(None) };
        let listing = store.list(&filter).await?;
        filter.after = listing.next;
        let next = filter.after.is_some().then_some(filter);
        Ok(Some((stream::iter(listing.headers.into_iter().map(Ok)), next)))
    })
    .try_flatten()
    .boxed()
}
