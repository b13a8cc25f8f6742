//! The in-process indexes of what is current: the vectors of each model that was ever searched, and the words.
//!
//! The law: an index gives candidates, the tables decide. It is loaded by one pass over the tables, range by range, and
//! follows the feed from then on; what it missed or knows too long shows when a candidate is checked, and is then read
//! anew. Only one task at a time changes an index, so that none puts older rows over newer; and that task is no
//! search's own, so that one which is given up takes nothing with it.

mod cursor;
mod flat_vectors;
mod ring;
mod text;
mod vectors;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use self::cursor::{Cursor, Entry};
pub(super) use self::{text::TextIndex, vectors::ModelVectors};
use super::{entries::SHARDS, session::Session, spaces::Spaces};
use crate::{DocumentKey, Header, PublishedVersion, query::Facets};
use deckle_contract::error::{Failure, Result};

/// Documents that are read anew at once.
const DOCUMENTS: usize = 16;

/// Partitions of the feed that are read at once.
const PARTITIONS: usize = 16;

/// Rows of a page of the feed.
const FEED_PAGE: i32 = 2_000;

/// Documents remembered that were written here; the feed lists the rest.
const TOUCHED: usize = 10_000;

/// Where a chunk lies; among equally good ones the lower is better, on every node alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The document that the chunk belongs to.
    pub(super) document: Arc<DocumentKey>,
    /// The chunk.
    pub(super) chunk_no: u32,
    /// The run whose row it was read from.
    pub(super) run: i64,
}

/// What readers see of a document, as its header had it when it was read.
#[derive(Debug, Clone)]
struct VisibleVersion {
    run: i64,
    chunk_count: u32,
    facets: Arc<Facets>,
}

impl From<&PublishedVersion> for VisibleVersion {
    fn from(current: &PublishedVersion) -> Self {
        Self { run: current.run, chunk_count: current.chunk_count, facets: Arc::new(Facets::from(current)) }
    }
}

/// The headers that documents were read by.
type Headers = HashMap<DocumentKey, Option<Header>>;

/// What an index holds, and how it is read.
#[async_trait]
pub(super) trait Contents: Send + Sync + 'static {
    /// Fills it with what is current, which takes the place of what it holds once it is whole.
    async fn load(&self, session: &Session, spaces: &Spaces) -> Result<()>;

    /// Puts what the tables have of documents in the place of what is held.
    async fn replace(&self, session: &Session, spaces: &Spaces, documents: BTreeSet<DocumentKey>) -> Result<Headers>;

    /// Reports to the metrics how much is held.
    fn report_size(&self);
}

/// An index that follows the feed.
#[derive(Debug)]
pub(super) struct Index<C> {
    contents: C,
    /// A search that comes longer than this after the last look at the feed looks again.
    refresh: Duration,
    /// Written by this process, and to be read anew before the feed lists it.
    touched: Mutex<BTreeSet<DocumentKey>>,
    /// Who holds it may change the contents. `None` until they are loaded.
    following: tokio::sync::Mutex<Option<Following>>,
}

#[derive(Debug)]
struct Following {
    cursor: Cursor,
    /// The moment at which the last look at the feed began.
    looked: Instant,
}

impl<C: Contents> Index<C> {
    pub(super) fn new(contents: C, refresh: Duration) -> Self {
        Self { contents, refresh, touched: Mutex::default(), following: tokio::sync::Mutex::default() }
    }

    /// What it holds, as fresh as configured once [`Index::refresh`] was awaited.
    pub(super) fn contents(&self) -> &C {
        &self.contents
    }

    /// Takes note that this process wrote something of a document.
    pub(super) fn touch(&self, document: &DocumentKey) {
        let mut touched = lock(&self.touched);
        if touched.len() < TOUCHED {
            touched.insert(document.clone());
        }
    }

    /// Loads the contents, or looks at what is new; nothing where somebody did so since this was called, or within the
    /// configured time before. Goes on where the caller gives up.
    ///
    /// # Errors
    /// What the database says, when it cannot be asked what is new.
    pub(super) async fn refresh(self: &Arc<Self>, session: &Arc<Session>, spaces: &Arc<Spaces>) -> Result<()> {
        let asked = Instant::now();
        let (index, session, spaces) = (Arc::clone(self), Arc::clone(session), Arc::clone(spaces));
        run_to_its_end(async move { index.look(&session, &spaces, asked).await }).await
    }

    /// Reads documents anew that a search found to be otherwise than is held.
    pub(super) async fn reload(
        self: &Arc<Self>,
        session: &Arc<Session>,
        spaces: &Arc<Spaces>,
        documents: BTreeSet<DocumentKey>,
    ) -> Result<()> {
        let (index, session, spaces) = (Arc::clone(self), Arc::clone(session), Arc::clone(spaces));
        run_to_its_end(async move {
            let _only_one = index.following.lock().await;
            index.contents.replace(&session, &spaces, documents).await.map(drop)
        })
        .await
    }

    async fn look(&self, session: &Session, spaces: &Spaces, asked: Instant) -> Result<()> {
        let mut held = self.following.lock().await;
        if held.as_ref().is_some_and(|following| following.looked + self.refresh >= asked) {
            return Ok(());
        }
        let (looked, now) = (Instant::now(), Timestamp::now().as_microsecond());
        // Whatever ends this early leaves `None`, or a cursor that has not moved.
        match held.as_mut().filter(|following| !following.cursor.is_too_old(now)) {
            Some(following) => {
                self.follow(session, spaces, &mut following.cursor, now).await?;
                following.looked = looked;
            }
            None => {
                *held = None;
                let mut cursor = Cursor::new(now);
                self.contents.load(session, spaces).await?;
                self.follow(session, spaces, &mut cursor, now).await?;
                *held = Some(Following { cursor, looked });
            }
        }
        self.contents.report_size();
        Ok(())
    }

    /// Reads anew what the feed lists and what was written here.
    async fn follow(&self, session: &Session, spaces: &Spaces, cursor: &mut Cursor, now: i64) -> Result<()> {
        let mut entries = feed(session, cursor, now).await?;
        entries.retain(|entry| !cursor.is_done(entry));
        let touched = lock(&self.touched).clone();
        let documents: BTreeSet<_> =
            entries.iter().map(|entry| entry.document.clone()).chain(touched.clone()).collect();
        let headers = match documents.is_empty() {
            true => Headers::new(),
            false => self.contents.replace(session, spaces, documents).await?,
        };
        lock(&self.touched).retain(|document| !touched.contains(document));
        let done = entries.into_iter().filter(|entry| headers.get(&entry.document).is_some_and(|of| covers(of, entry)));
        cursor.advance(now, done);
        Ok(())
    }
}

/// Awaits work that does not end with whoever awaits it.
async fn run_to_its_end(work: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    tokio::spawn(work).await.map_err(|e| Failure::defect(format!("store: an index stopped following: {e}")))?
}

/// Does arithmetic of milliseconds, on no thread that answers others.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::defect(format!("store: an index: {e}")))
}

/// Whether a header says what a row of the feed says, or more.
fn covers(header: &Option<Header>, entry: &Entry) -> bool {
    let Some(header) = header else { return false };
    let current = header.current.as_ref().map(|current| (current.run, current.version));
    current >= Some((entry.run, entry.version)) || header.erased_at >= Some(entry.run)
}
/// The rows of the feed that a look at `now` takes up, some of them for the second time.
async fn feed(session: &Session, cursor: &Cursor, now: i64) -> Result<Vec<Entry>> {
    const SELECT: &str =
        "SELECT at, tenant, document_id, run, version FROM feed WHERE hour = ? AND shard = ? AND at >= ?";
    let since = cursor.since();
    let partitions = cursor.hours(now).flat_map(|hour| (0..SHARDS).map(move |shard| (hour, shard)));
    let rows = stream::iter(partitions).map(|(hour, shard)| {
        let rows = session.stream::<(i64, String, String, i64, i64), _>(SELECT, (hour, shard, since), FEED_PAGE);
        rows.map_ok(|(at, tenant, document_id, run, version)| Entry {
            at,
            document: DocumentKey { tenant, document_id },
            run,
            version,
        })
        .try_collect::<Vec<_>>()
    });
    Ok(rows.buffer_unordered(PARTITIONS).try_collect::<Vec<_>>().await?.concat())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn header(current: Option<(i64, i64)>, erased_at: Option<i64>) -> Option<Header> {
        let source = json!({"uri": "", "filename": "", "media_type": "", "size_bytes": 0, "sha256": ""});
        let current = current.map(|(run, version)| {
            json!({
                "run": run, "version": version, "status": "published", "fingerprint": "", "source": source,
                "page_count": 0, "failed_pages": 0, "block_count": 0, "chunk_count": 0, "language": "und",
                "reasons": [], "published_at": 0, "trail": [],
            })
        });
        let key = json!({"tenant": "t", "document_id": "d"});
        serde_json::from_value(json!({"key": key, "current": current, "erased_at": erased_at})).unwrap()
    }

    #[test]
    fn a_row_of_the_feed_is_done_with_once_the_header_says_it() {
        let document = DocumentKey { tenant: "t".into(), document_id: "d".into() };
        let entry = Entry { at: 0, document, run: 5, version: 7 };
        for (current, erased_at, is_done) in [
            (None, None, false),
            (Some((4, 9)), None, false),
            (Some((5, 6)), None, false),
            (Some((5, 7)), None, true),
            (Some((6, 6)), None, true),
            (None, Some(4), false),
            (None, Some(5), true),
        ] {
            assert_eq!(covers(&header(current, erased_at), &entry), is_done, "{current:?} {erased_at:?}");
        }
        assert!(!covers(&None, &entry), "the row came before the header");
    }
}
