//! The in-process index: for each model that was ever searched, the vectors of all current runs in memory.
//!
//! The law: the index gives candidates, the tables decide. It is loaded by one pass over a model's tables, range by
//! range, and follows the feed from then on; what it missed or knows too long shows when a candidate is checked, and
//! is then read anew. Only one task at a time changes the rows of a model, so that none puts older ones over newer.

mod cursor;
mod load;
mod rows;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

pub(super) use self::rows::Place;
use self::{
    cursor::{Cursor, Entry},
    rows::Rows,
};
use super::{
    list::SHARDS,
    read,
    session::Session,
    spaces::{self, Space, Spaces},
    vectors,
};
use crate::{
    error::{Failure, Result},
    store::{
        DocumentKey, Header, QueryVector, RunKey,
        similarity::{self, Found},
    },
};

/// Documents that are read anew at once.
const DOCUMENTS: usize = 16;

/// Partitions of the feed that are read at once.
const PARTITIONS: usize = 16;

/// Rows of a page of the feed.
const FEED_PAGE: i32 = 2_000;

/// Documents remembered that were written here; the feed tells of the rest.
const TOUCHED: usize = 10_000;

/// The indexes of this process, by model.
#[derive(Debug)]
pub(super) struct Index {
    /// A search that comes longer than this after the last look at the feed looks again.
    refresh: Duration,
    models: Mutex<HashMap<String, Arc<Model>>>,
}

/// The index of one model.
#[derive(Debug)]
pub(super) struct Model {
    rows: RwLock<Rows>,
    /// Written by this process, and to be read anew before the feed tells of it.
    touched: Mutex<BTreeSet<DocumentKey>>,
    /// Who holds it may change rows. `None` until the rows are loaded.
    following: tokio::sync::Mutex<Option<Following>>,
}

#[derive(Debug)]
struct Following {
    cursor: Cursor,
    /// When the last look at the feed began.
    looked: Instant,
}

impl Index {
    pub(super) fn new(refresh: Duration) -> Self {
        Self { refresh, models: Mutex::default() }
    }

    /// Takes note that this process wrote something of a document.
    pub(super) fn touch(&self, document: &DocumentKey) {
        for model in lock(&self.models).values() {
            let mut touched = lock(&model.touched);
            if touched.len() < TOUCHED {
                touched.insert(document.clone());
            }
        }
    }

    /// The index of a query's model, as fresh as configured; `None` for a model without vectors.
    ///
    /// # Errors
    /// A defect where the model's vectors have another dimension than the query's; what the database says, when it
    /// cannot be asked what is new.
    pub(super) async fn of_query(
        &self,
        session: &Session,
        spaces: &Spaces,
        query: &QueryVector,
    ) -> Result<Option<Arc<Model>>> {
        let asked = Instant::now();
        let known = spaces.of_model(session, &query.model).await?;
        let Some(dimension) = known.first().map(|known| known.space.dimension) else { return Ok(None) };
        for known in &known {
            similarity::check_dimension(query, known.space.dimension)?;
        }
        let model = self.model(&query.model, dimension);
        model.refresh(session, spaces, &query.model, asked, self.refresh).await?;
        Ok(Some(model))
    }

    fn model(&self, name: &str, dimension: u32) -> Arc<Model> {
        let mut models = lock(&self.models);
        let model = models.entry(name.to_owned()).or_insert_with(|| Arc::new(Model::new(dimension)));
        Arc::clone(model)
    }
}

impl Model {
    fn new(dimension: u32) -> Self {
        Self {
            rows: RwLock::new(Rows::new(dimension)),
            touched: Mutex::default(),
            following: tokio::sync::Mutex::default(),
        }
    }

    /// The `k` nearest to a vector of length 1, best first; of those that come after `after`, where it is given.
    pub(super) async fn nearest(
        self: &Arc<Self>,
        unit: &Arc<[f32]>,
        tenant: Option<&str>,
        k: usize,
        after: Option<Found<Place>>,
    ) -> Result<Vec<Found<Place>>> {
        let (model, unit, tenant) = (Arc::clone(self), Arc::clone(unit), tenant.map(str::to_owned));
        // Milliseconds of arithmetic: not on a thread that answers others.
        let scan = tokio::task::spawn_blocking(move || {
            let rows = model.rows.read().unwrap_or_else(PoisonError::into_inner);
            rows.nearest(&unit, tenant.as_deref(), k, after.as_ref())
        });
        scan.await.map_err(|e| Failure::defect(format!("store: the scan of the vectors ended: {e}")))
    }

    /// Reads documents anew that a search found to be otherwise than their rows here say.
    pub(super) async fn reload(
        &self,
        session: &Session,
        spaces: &[Space],
        documents: impl IntoIterator<Item = DocumentKey>,
    ) -> Result<()> {
        let _only_one = self.following.lock().await;
        self.replace(session, spaces, documents.into_iter().collect()).await.map(drop)
    }

    /// Loads the rows, or looks at what is new; nothing where somebody did so since `asked`, or within `refresh`
    /// before.
    async fn refresh(
        &self,
        session: &Session,
        spaces: &Spaces,
        name: &str,
        asked: Instant,
        refresh: Duration,
    ) -> Result<()> {
        let mut held = self.following.lock().await;
        if held.as_ref().is_some_and(|following| following.looked + refresh >= asked) {
            return Ok(());
        }
        let (looked, now) = (Instant::now(), Timestamp::now().as_microsecond());
        // Whatever ends this early (an error, a caller that gave up) leaves `None`, or a cursor that has not moved.
        match held.as_mut().filter(|following| !following.cursor.is_too_old(now)) {
            Some(following) => {
                self.follow(session, spaces, name, &mut following.cursor, now).await?;
                following.looked = looked;
            }
            None => {
                *held = None;
                let mut cursor = Cursor::new(now);
                let known = spaces.of_model(session, name).await?;
                load::load(session, &known, &self.rows).await?;
                self.follow(session, spaces, name, &mut cursor, now).await?;
                *held = Some(Following { cursor, looked });
            }
        }
        Ok(())
    }

    /// Reads anew what the feed tells of and what was written here.
    async fn follow(
        &self,
        session: &Session,
        spaces: &Spaces,
        name: &str,
        cursor: &mut Cursor,
        now: i64,
    ) -> Result<()> {
        let mut entries = feed(session, cursor, now).await?;
        entries.retain(|entry| !cursor.is_done(entry));
        let touched = lock(&self.touched).clone();
        let documents: BTreeSet<_> =
            entries.iter().map(|entry| entry.document.clone()).chain(touched.clone()).collect();
        // The registry after the feed: a new space is there before anything of it is published.
        let known = spaces::of_model(&spaces.read(session).await?, name);
        let headers = self.replace(session, &known, documents).await?;
        lock(&self.touched).retain(|document| !touched.contains(document));
        let done = entries.into_iter().filter(|entry| headers.get(&entry.document).is_some_and(|of| tells(of, entry)));
        cursor.advance(now, done);
        Ok(())
    }

    /// Puts the rows of documents as the tables have them in the place of those held; returns the headers they were
    /// read by. The caller holds `following`.
    async fn replace(
        &self,
        session: &Session,
        spaces: &[Space],
        documents: BTreeSet<DocumentKey>,
    ) -> Result<HashMap<DocumentKey, Option<Header>>> {
        let mut headers = HashMap::new();
        let mut read = stream::iter(documents)
            .map(|document| DocumentRows::read(session, spaces, document))
            .buffer_unordered(DOCUMENTS);
        while let Some(read) = read.try_next().await? {
            let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            rows.remove(&read.document);
            for OfSpace { space, run, vectors } in read.vectors {
                for (chunk_no, vector) in vectors {
                    rows.add(&read.document, run, space, chunk_no, &vector);
                }
            }
            drop(rows);
            headers.insert(read.document, read.header);
        }
        Ok(headers)
    }
}

/// What the tables say of one document.
struct DocumentRows {
    document: DocumentKey,
    header: Option<Header>,
    vectors: Vec<OfSpace>,
}

/// The vectors of a current run in one space.
struct OfSpace {
    /// Its place among those of the model.
    space: u32,
    run: i64,
    /// By chunk number.
    vectors: Vec<(u32, Vec<f32>)>,
}

impl DocumentRows {
    async fn read(session: &Session, spaces: &[Space], document: DocumentKey) -> Result<Self> {
        let header = read::header(session, &document).await?;
        let mut vectors = Vec::new();
        if let Some(current) = header.as_ref().and_then(|header| header.current.as_ref()) {
            let run = RunKey { document: document.clone(), run: current.run };
            for (of_space, number) in spaces.iter().zip(0..) {
                let found = vectors::of_space(session, of_space, &run, current.chunk_count).await?;
                vectors.push(OfSpace { space: number, run: current.run, vectors: found });
            }
        }
        Ok(Self { document, header, vectors })
    }
}

/// Whether a header says what a row of the feed says, or more.
fn tells(header: &Option<Header>, entry: &Entry) -> bool {
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
        for (current, erased_at, told) in [
            (None, None, false),
            (Some((4, 9)), None, false),
            (Some((5, 6)), None, false),
            (Some((5, 7)), None, true),
            (Some((6, 6)), None, true),
            (None, Some(4), false),
            (None, Some(5), true),
        ] {
            assert_eq!(tells(&header(current, erased_at), &entry), told, "{current:?} {erased_at:?}");
        }
        assert!(!tells(&None, &entry), "the row came before the header");
    }
}
