//! What was published, hour by hour.
//!
//! The law: an entry carries its writer's clock and may become readable late, but not later than the span by which
//! readers stay behind the clock: an entry whose write took longer counts for nothing, and is
//! written again.

use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    super::{DocumentKey, FeedEntry, FeedPage, PublishedVersion, token},
    entries::{HOUR, SHARDS, hour, shard},
    merge::merged,
    read::gone,
    session::Session,
};
use deckle_contract::error::{Failure, Result, code};

/// How long rows are kept: the table's time to live, less an hour in which a reader may be on its way.
const KEPT: i64 = (30 * 24 - 1) * HOUR;

/// Rows of one page, in which a shard of an hour is read.
const FEED_PAGE: i32 = 200;

/// The most entries whose documents are looked up at once.
const AT_ONCE: usize = 32;

/// Enters into the feed, under the present time, that a version became what readers see.
///
/// # Errors
/// `Unavailable` where that took longer than `limit`: readers may be past the entry, and it must be written again.
pub(super) async fn tell(
    session: &Session,
    key: &DocumentKey,
    current: &PublishedVersion,
    limit: Duration,
) -> Result<()> {
    let at = Timestamp::now().as_microsecond();
    let insert = "INSERT INTO feed (hour, shard, at, tenant, document_id, run, version) VALUES (?, ?, ?, ?, ?, ?, ?)
                  USING TIMESTAMP ?";
    let place = (hour(at), shard(&key.document_id), at);
    let (hour, shard, at) = place;
    let values = (hour, shard, at, &key.tenant, &key.document_id, current.run, current.version, at);
    tokio::time::timeout(limit, session.write(insert, values))
        .await
        .unwrap_or_else(|_| Err(Failure::unavailable("scylla", "the feed could not be told in time")))
}

/// The versions that were published after a cursor and longer than `behind` ago.
pub(super) async fn feed(session: &Session, after: Option<&str>, limit: usize, behind: Duration) -> Result<FeedPage> {
    let limit = token::limit(limit);
    let now = Timestamp::now().as_microsecond();
    let oldest = now - KEPT;
    let mut from = after.map_or_else(|| Ok(begin(oldest)), token::to_entry)?;
    if from.at < oldest {
        let message = "the cursor is older than what the feed keeps (30 days): list the documents, then follow the \
                       feed from a new cursor";
        return Err(Failure::rejected(code::RECORD_UNDECODABLE, message));
    }
    let end = settled(now, behind);
    loop {
        let rows = rows(session, &from, end, limit).await?;
        let is_full = rows.len() == limit;
        from = match rows.last() {
            Some(last) if is_full => last.clone(),
            // A clock that was set back goes on from where it was.
            _ => begin(end).max(from),
        };
        let entries = rows.into_iter().map(|entry| async move {
            let hidden = gone(session, &entry.key).await?.hides(entry.run);
            Ok((!hidden).then_some(entry))
        });
        let entries = stream::iter(entries).buffered(AT_ONCE).try_filter_map(|entry| async move { Ok(entry) });
        let entries: Vec<_> = entries.try_collect().await?;
        if !entries.is_empty() || !is_full {
            return Ok(FeedPage { entries, next: token::of_entry(&from) });
        }
    }
}

/// The first `limit` entries behind a place and before a time, whatever became of their documents.
async fn rows(session: &Session, from: &FeedEntry, end: i64, limit: usize) -> Result<Vec<FeedEntry>> {
    let hours = stream::iter(hour(from.at)..=hour(end)).map(|hour| Ok(of_hour(session, hour, from, end)));
    hours.try_flatten().take(limit).try_collect().await
}

/// The cursor behind which the feed lists everything that is published from now on.
pub(super) fn now(behind: Duration) -> String {
    token::of_entry(&begin(settled(Timestamp::now().as_microsecond(), behind)))
}

/// The time (µs) before which no entry appears any more, given the present one.
fn settled(now: i64, behind: Duration) -> i64 {
    now.saturating_sub(i64::try_from(behind.as_micros()).unwrap_or(i64::MAX))
}

/// A place before all entries of a time (µs).
fn begin(at: i64) -> FeedEntry {
    let key = DocumentKey { tenant: String::new(), document_id: String::new() };
    FeedEntry { at, key, run: i64::MIN, version: i64::MIN }
}

/// The entries of an hour behind a place and before a time, oldest first.
fn of_hour<'a>(
    session: &'a Session,
    hour: i64,
    from: &FeedEntry,
    end: i64,
) -> impl Stream<Item = Result<FeedEntry>> + Send + use<'a> {
    let select = "SELECT at, tenant, document_id, run, version FROM feed WHERE hour = ? AND shard = ?
                  AND (at, tenant, document_id, run, version) > (?, ?, ?, ?, ?) AND (at) < (?)";
    let of_shard = |shard: i16| {
        let FeedEntry { at, key: DocumentKey { tenant, document_id }, run, version } = from.clone();
        let values = (hour, shard, at, tenant, document_id, run, version, end);
        let rows = session.stream::<(i64, String, String, i64, i64), _>(select, values, FEED_PAGE);
        rows.map_ok(|(at, tenant, document_id, run, version)| FeedEntry {
            at,
            key: DocumentKey { tenant, document_id },
            run,
            version,
        })
        .boxed()
    };
    merged((0..SHARDS).map(of_shard).collect())
}
