//! The embedded side of the store: one SQLite file, shared by the processes of one machine, vectors searched in process.
//!
//! The law: what the file holds is a function of the set of writes, not of their order. Each row and each cell group of
//! a header keeps the version that wrote it; of equal versions the greater content stays, as in CQL. Whatever refuses
//! late writes (`erased_at`, `removed_below`, trims) stays in the file for ever and is read in the same transaction as
//! the write that it refuses, so reads need not look at it.

mod connection;
mod dead_letters;
mod feed;
mod list;
mod models;
mod read;
mod search;
mod sets;
mod upkeep;
mod write;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::{connection::Connections, sets::Set};
use super::{
    Claim, Claimed, Completion, DeadLetterFilter, DeadLetterKey, DeadLetterListing, DeadLetterRow, DeadLetterState,
    DocumentKey, DocumentRun, Erasure, FailedRecord, FeedPage, Header, Hit, ListFilter, Listing, Models, PageRow,
    PublishedVersion, Query, RunKey, Store, Submission, UploadClaim, VectorSpace, json::encode_rows,
};
use deckle_contract::{
    document::{Chunk, Field, Figure},
    error::Result,
    telemetry,
};

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
    async fn claim_upload(&self, tenant: &str, upload_id: &str, run: i64, subject: &str) -> Result<UploadClaim> {
        let [tenant, upload_id, subject] = [tenant, upload_id, subject].map(str::to_owned);
        self.connections.write(move |tx| write::claim_upload(tx, &tenant, &upload_id, run, &subject)).await
    }

    async fn claim_end(&self, run: &RunKey, version: i64, claim: i64) -> Result<i64> {
        let run = run.clone();
        self.connections.write(move |tx| upkeep::claim_end(tx, &run, version, claim)).await
    }

    async fn forget_claims_below(&self, run: i64) -> Result<u64> {
        let mut forgotten = 0;
        loop {
            match self.connections.write(move |tx| upkeep::forget_claims_below(tx, run)).await? {
                0 => return Ok(forgotten),
                more => forgotten += more,
            }
        }
    }

    async fn put_intake(&self, key: &DocumentKey, intake: &Submission, version: i64) -> Result<()> {
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

    async fn await_pages(&self, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()> {
        let (run, pages) = (run.clone(), pages.clone());
        self.connections.write(move |tx| write::await_pages(tx, &run, &pages)).await
    }

    async fn awaited_pages(&self, run: &RunKey) -> Result<BTreeMap<u32, i64>> {
        let run = run.clone();
        self.connections.read(move |tx| read::awaited_pages(tx, &run)).await
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

    async fn put_figures(&self, run: &RunKey, version: i64, figures: &[Figure]) -> Result<()> {
        let (run, rows) = (run.clone(), encode_rows(figures)?);
        self.connections.write(move |tx| sets::put(tx, &run, version, Set::Figures, &rows)).await
    }

    async fn put_fields(&self, run: &RunKey, version: i64, fields: &[Field]) -> Result<()> {
        let (run, rows) = (run.clone(), encode_rows(fields)?);
        self.connections.write(move |tx| sets::put(tx, &run, version, Set::Fields, &rows)).await
    }

    async fn set_current(&self, key: &DocumentKey, current: &PublishedVersion) -> Result<()> {
        let (key, current) = (key.clone(), current.clone());
        self.connections.write(move |tx| write::set_current(tx, &key, &current)).await
    }

    async fn put_ended(&self, key: &DocumentKey, ended: &Completion) -> Result<()> {
        let (key, ended) = (key.clone(), ended.clone());
        self.connections.write(move |tx| write::put_ended(tx, &key, &ended)).await
    }

    async fn erase(&self, key: &DocumentKey, erased_at: i64) -> Result<()> {
        let key = key.clone();
        self.connections.write(move |tx| write::erase(tx, &key, erased_at)).await?;
        self.connections.empty_write_ahead_log().await
    }

    async fn erasures(&self, before: i64, limit: usize) -> Result<Vec<Erasure>> {
        self.connections.read(move |tx| read::erasures(tx, before, limit)).await
    }

    async fn end_erasure(&self, erasure: &Erasure) -> Result<()> {
        let erasure = erasure.clone();
        self.connections.write(move |tx| write::end_erasure(tx, &erasure)).await
    }

    async fn remove_runs_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        let key = key.clone();
        self.connections.write(move |tx| write::remove_runs_below(tx, &key, run)).await
    }

    async fn rows_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        let key = key.clone();
        self.connections.read(move |tx| upkeep::rows_below(tx, &key, run)).await
    }

    async fn progress(&self, sweep: &str) -> Result<Option<String>> {
        let sweep = sweep.to_owned();
        self.connections.read(move |tx| upkeep::progress(tx, &sweep)).await
    }

    async fn advance(&self, sweep: &str, before: Option<&str>, after: &str) -> Result<bool> {
        let (sweep, before, after) = (sweep.to_owned(), before.map(str::to_owned), after.to_owned());
        self.connections.write(move |tx| upkeep::advance(tx, &sweep, before.as_deref(), &after)).await
    }

    async fn header(&self, key: &DocumentKey) -> Result<Option<Header>> {
        let key = key.clone();
        self.connections.read(move |tx| read::header(tx, &key)).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRun>> {
        let key = key.clone();
        self.connections.read(move |tx| read::document(tx, &key)).await
    }

    async fn vectors(&self, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>> {
        let (run, model) = (run.clone(), model.to_owned());
        self.connections.read(move |tx| read::vectors(tx, &run, &model)).await
    }

    async fn has_vectors(&self, run: &RunKey, version: i64, model: &str, chunk_count: u32) -> Result<bool> {
        let (run, model) = (run.clone(), model.to_owned());
        self.connections.read(move |tx| models::has_vectors(tx, &run, version, &model, chunk_count)).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Listing> {
        let filter = filter.clone();
        self.connections.read(move |tx| list::list(tx, &filter)).await
    }

    async fn find_by_hash(&self, tenant: &str, sha256: &str) -> Result<Vec<Header>> {
        let (tenant, sha256) = (tenant.to_owned(), sha256.to_owned());
        self.connections.read(move |tx| list::find_by_hash(tx, &tenant, &sha256)).await
    }

    async fn feed(&self, after: Option<&str>, limit: usize) -> Result<FeedPage> {
        let after = after.map(str::to_owned);
        self.connections.read(move |tx| feed::feed(tx, after.as_deref(), limit)).await
    }

    async fn feed_now(&self) -> Result<String> {
        self.connections.read(feed::now).await
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let (start, query, mode) = (Instant::now(), query.clone(), query.mode());
        let hits = self.connections.read(move |tx| search::search(tx, &query)).await?;
        telemetry::searched(mode, start.elapsed());
        Ok(hits)
    }

    async fn models(&self) -> Result<Models> {
        self.connections.read(models::models).await
    }

    async fn replace_models(&self, before: &Models, after: &Models) -> Result<bool> {
        let (before, after) = (before.clone(), after.clone());
        self.connections.write(move |tx| models::replace_models(tx, &before, &after)).await
    }

    async fn delete_vectors(&self, model: &str) -> Result<()> {
        loop {
            let model = model.to_owned();
            if self.connections.write(move |tx| models::delete_vectors(tx, &model)).await? {
                return Ok(());
            }
        }
    }

    async fn put_dead_letter(&self, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
        let (letter, record) = (letter.clone(), record.clone());
        self.connections.write(move |tx| dead_letters::put_dead_letter(tx, &letter, &record)).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<DeadLetterListing> {
        let filter = filter.clone();
        self.connections.read(move |tx| dead_letters::list(tx, &filter)).await
    }

    async fn failed_record(&self, key: &DeadLetterKey) -> Result<Option<FailedRecord>> {
        let key = key.clone();
        self.connections.read(move |tx| dead_letters::failed_record(tx, &key)).await
    }

    async fn claim_redrive(&self, key: &DeadLetterKey, claim: Claim) -> Result<Claimed> {
        let key = key.clone();
        self.connections.write(move |tx| dead_letters::claim_redrive(tx, &key, claim)).await
    }

    async fn confirm_redrive(&self, key: &DeadLetterKey, at: i64) -> Result<()> {
        let key = key.clone();
        self.connections.write(move |tx| dead_letters::confirm_redrive(tx, &key, at)).await
    }

    async fn drop_dead_letter(&self, key: &DeadLetterKey, at: i64) -> Result<Option<DeadLetterState>> {
        let key = key.clone();
        self.connections.write(move |tx| dead_letters::drop_dead_letter(tx, &key, at)).await
    }

    async fn remove_dead_letter(&self, letter: &DeadLetterRow) -> Result<()> {
        let key = letter.key.clone();
        self.connections.write(move |tx| upkeep::remove_dead_letter(tx, &key)).await
    }

    async fn health(&self) -> Result<()> {
        self.connections.read(read::health).await
    }
}
