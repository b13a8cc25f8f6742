//! The embedded side of the store: one SQLite file, shared by the processes of one machine, vectors searched in process.
//!
//! The law: what the file holds is a function of the set of writes, not of their order. Each row and each cell group of
//! a header keeps the version that wrote it; of equal versions the greater content stays, as in CQL. Whatever refuses
//! late writes (`erased_at`, `removed_below`, trims) stays in the file for ever and is read in the same transaction as
//! the write that it refuses, so reads need not look at it.

mod connection;
mod read;
mod search;
mod write;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::connection::Connections;
use super::{
    Current, DocumentKey, DocumentRun, Header, Hit, Intake, ListFilter, Listing, PageRow, Query, RunKey, Store,
    VectorSpace,
};
use crate::{document::Chunk, error::Result};

/// How the file is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Reads that run at once; each holds a connection of about 2 MB.
    pub readers: usize,
    /// How long a write waits for another process before the store counts as away, ms.
    pub busy_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { readers: 4, busy_timeout_ms: 30_000 }
    }
}

impl Config {
    fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms)
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    connections: Connections,
}

impl SqliteStore {
    /// Opens the file, makes it where it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be opened or stays busy; `Defect` where it is no store or of a newer deckle.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Config::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, config: Config) -> Result<Self> {
        Ok(Self { connections: Connections::open(path, config)? })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim_upload(&self, tenant: &str, upload_id: &str, run: i64) -> Result<i64> {
        let (tenant, upload_id) = (tenant.to_owned(), upload_id.to_owned());
        self.connections.write(move |tx| write::claim_upload(tx, &tenant, &upload_id, run)).await
    }

    async fn put_intake(&self, key: &DocumentKey, intake: &Intake, version: i64) -> Result<()> {
        let (key, intake) = (key.clone(), intake.clone());
        self.connections.write(move |tx| write::put_intake(tx, &key, &intake, version)).await
    }

    async fn put_page(&self, run: &RunKey, row: &PageRow) -> Result<()> {
        let (run, row) = (run.clone(), row.clone());
        self.connections.write(move |tx| write::put_page(tx, &run, &row)).await
    }

    async fn pages(&self, run: &RunKey) -> Result<Vec<PageRow>> {
        let run = run.clone();
        self.connections.read(move |tx| read::pages_of(tx, &run)).await
    }

    async fn put_chunks(&self, run: &RunKey, version: i64, chunks: &[Chunk]) -> Result<()> {
        let run = run.clone();
        let rows = write::encode_chunks(chunks)?;
        self.connections.write(move |tx| write::put_chunks(tx, &run, version, &rows)).await
    }

    async fn put_vectors(
        &self,
        run: &RunKey,
        version: i64,
        space: &VectorSpace,
        rows: &[(u32, Vec<f32>)],
    ) -> Result<()> {
        let (run, space) = (run.clone(), space.clone());
        let rows = write::encode_vectors(&space, rows)?;
        self.connections.write(move |tx| write::put_vectors(tx, &run, version, &space, &rows)).await
    }

    async fn trim_chunks(&self, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
        let run = run.clone();
        self.connections.write(move |tx| write::trim_chunks(tx, &run, version, chunk_count)).await
    }

    async fn set_current(&self, key: &DocumentKey, current: &Current) -> Result<()> {
        let (key, current) = (key.clone(), current.clone());
        self.connections.write(move |tx| write::set_current(tx, &key, &current)).await
    }

    async fn erase(&self, key: &DocumentKey, erased_at: i64) -> Result<()> {
        let key = key.clone();
        self.connections.write(move |tx| write::erase(tx, &key, erased_at)).await
    }

    async fn remove_runs_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        let key = key.clone();
        self.connections.write(move |tx| write::remove_runs_below(tx, &key, run)).await
    }

    async fn header(&self, key: &DocumentKey) -> Result<Option<Header>> {
        let key = key.clone();
        self.connections.read(move |tx| read::header(tx, &key)).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRun>> {
        let key = key.clone();
        self.connections.read(move |tx| read::document(tx, &key)).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Listing> {
        let filter = filter.clone();
        self.connections.read(move |tx| read::list(tx, &filter)).await
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let query = query.clone();
        self.connections.read(move |tx| search::search(tx, &query)).await
    }
}
