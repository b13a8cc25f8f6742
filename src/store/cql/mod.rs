//! The production side of the store: ScyllaDB, or Cassandra, by CQL; shared by any number of processes and machines.
//!
//! The laws hold by timestamps alone, with no read before a write of a stage and no lock:
//!
//! | write | timestamp | so |
//! |---|---|---|
//! | cells and rows of stages | their version | the newest stays, of equal versions the greater bytes |
//! | entries of listings | 1 | they are there or not; headers decide what they are worth |
//! | trim: a range delete | its version | rows at or below it are hidden, come they before or after |
//! | `erased_at`, `removed_below` | their own value | they only grow; readers leave out what they cover, for ever |
//! | erasure, removal: range deletes | a day ahead | the bytes go too, and those of most late writes |
//! | a letter's state | the nodes' (compare-and-set) | it leaves `open` once |
//! | what models are for | the nodes' (compare-and-set) | one value, read as a whole |
//!
//! A tombstone is dropped ten days after its delete (`gc_grace_seconds`); what arrives later than that under a trim is
//! still hidden by the header's count of chunks, and under an erasure by its static cell.

pub mod ann;
mod attempts;
mod config;
mod consistency;
mod dead_letters;
mod entries;
mod erasures;
mod failure;
mod feed;
mod fills;
mod index;
mod list;
mod merge;
pub mod migrations;
mod models;
mod read;
mod replication;
mod schema;
mod search;
mod session;
mod sets;
mod spaces;
mod statements;
mod upkeep;
mod values;
mod vectors;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use async_trait::async_trait;
use futures::try_join;
use tokio::sync::OnceCell;

pub use self::{
    config::{Config, Password, Search},
    consistency::Consistency,
    replication::Replication,
};
use self::{entries::Entered, session::Session, vectors::Vectors};
use super::{
    Claim, Claimed, Completion, DeadLetterFilter, DeadLetterKey, DeadLetterListing, DeadLetterRow, DeadLetterState,
    DocumentKey, DocumentRun, Erasure, FailedRecord, FeedPage, Header, Hit, ListFilter, Listing, Models, PageRow,
    PublishedVersion, Query, RunKey, Store, Submission, UploadClaim, VectorSpace,
};
use deckle_contract::{
    document::{Chunk, Field, Figure},
    error::Result,
    telemetry,
};

/// A store in one keyspace of a cluster.
pub struct CqlStore {
    config: Config,
    /// Made at the first request, so that a cluster that is away at start is waited for like one that goes away later.
    session: OnceCell<Arc<Session>>,
    entered: Entered,
    vectors: Vectors,
}

impl CqlStore {
    /// Looks at the settings. Does not wait for a node.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn open(config: Config) -> Result<Self> {
        config.check()?;
        let vectors = Vectors::new(config.search, config.refresh());
        Ok(Self { config, session: OnceCell::new(), entered: Entered::default(), vectors })
    }

    /// The session, in a keyspace that has this deckle's tables.
    async fn session(&self) -> Result<&Arc<Session>> {
        self.session.get_or_try_init(async || migrations::ready(&self.config).await.map(Arc::new)).await
    }
}

#[async_trait]
impl Store for CqlStore {
    async fn claim_upload(&self, tenant: &str, upload_id: &str, run: i64, subject: &str) -> Result<UploadClaim> {
        write::claim_upload(self.session().await?, tenant, upload_id, run, subject).await
    }

    async fn claim_end(&self, run: &RunKey, version: i64, claim: i64) -> Result<i64> {
        upkeep::claim_end(self.session().await?, run, version, claim).await
    }

    /// Nothing: claims have a time to live.
    async fn forget_claims_below(&self, _: i64) -> Result<u64> {
        Ok(0)
    }

    async fn put_intake(&self, key: &DocumentKey, intake: &Submission, version: i64) -> Result<()> {
        write::put_intake(self.session().await?, &self.entered, key, intake, version).await
    }

    async fn put_page(&self, run: &RunKey, row: &PageRow) -> Result<()> {
        write::put_page(self.session().await?, run, row).await
    }

    async fn pages(&self, run: &RunKey) -> Result<Vec<PageRow>> {
        read::pages(self.session().await?, run).await
    }

    async fn await_pages(&self, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()> {
        write::await_pages(self.session().await?, run, pages).await
    }

    async fn awaited_pages(&self, run: &RunKey) -> Result<BTreeMap<u32, i64>> {
        read::awaited_pages(self.session().await?, run).await
    }

    async fn put_chunks(&self, run: &RunKey, version: i64, chunks: &[Chunk]) -> Result<()> {
        write::put_chunks(self.session().await?, run, version, chunks).await?;
        self.vectors.touch(&run.document);
        Ok(())
    }

    async fn put_vectors(
        &self,
        run: &RunKey,
        version: i64,
        space: &VectorSpace,
        rows: &[(u32, Vec<f32>)],
    ) -> Result<()> {
        self.vectors.put(self.session().await?, run, version, space, rows).await
    }

    async fn trim_chunks(&self, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
        let session = self.session().await?;
        try_join!(
            write::trim_chunks(session, run, version, chunk_count),
            self.vectors.trim(session, run, version, chunk_count),
        )?;
        Ok(())
    }

    async fn put_figures(&self, run: &RunKey, version: i64, figures: &[Figure]) -> Result<()> {
        sets::put_figures(self.session().await?, run, version, figures).await
    }

    async fn put_fields(&self, run: &RunKey, version: i64, fields: &[Field]) -> Result<()> {
        sets::put_fields(self.session().await?, run, version, fields).await
    }

    async fn set_current(&self, key: &DocumentKey, current: &PublishedVersion) -> Result<()> {
        let session = self.session().await?;
        write::set_current(session, &self.entered, key, current).await?;
        // After the cells, so that whoever follows the feed finds them.
        feed::tell(session, key, current, self.config.request_timeout()).await?;
        self.vectors.touch(key);
        Ok(())
    }

    async fn put_ended(&self, key: &DocumentKey, ended: &Completion) -> Result<()> {
        write::put_ended(self.session().await?, &self.entered, key, ended).await
    }

    async fn erase(&self, key: &DocumentKey, erased_at: i64) -> Result<()> {
        let session = self.session().await?;
        erasures::begin(session, key, erased_at).await?;
        write::hide_erased(session, &self.entered, key, erased_at).await?;
        try_join!(self.delete_runs(session, key, erased_at), dead_letters::erase_letters(session, key, erased_at))?;
        Ok(())
    }

    async fn erasures(&self, before: i64, limit: usize) -> Result<Vec<Erasure>> {
        erasures::of_before(self.session().await?, before, limit).await
    }

    async fn end_erasure(&self, erasure: &Erasure) -> Result<()> {
        erasures::end(self.session().await?, erasure).await
    }

    async fn remove_runs_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        let session = self.session().await?;
        write::hide_below(session, key, run).await?;
        let Some(last) = run.checked_sub(1) else { return Ok(0) };
        let (rows, vectors) =
            try_join!(write::count_runs(session, key, last), self.vectors.count_runs(session, key, last),)?;
        self.delete_runs(session, key, last).await?;
        Ok(rows + vectors)
    }

    async fn rows_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        let session = self.session().await?;
        let Some(last) = run.checked_sub(1) else { return Ok(0) };
        let (rows, vectors) =
            try_join!(upkeep::rows_below(session, key, run), self.vectors.count_runs(session, key, last))?;
        Ok(rows + vectors)
    }

    async fn progress(&self, sweep: &str) -> Result<Option<String>> {
        upkeep::progress(self.session().await?, sweep).await
    }

    async fn advance(&self, sweep: &str, before: Option<&str>, after: &str) -> Result<bool> {
        upkeep::advance(self.session().await?, sweep, before, after).await
    }

    async fn header(&self, key: &DocumentKey) -> Result<Option<Header>> {
        read::header(self.session().await?, key).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRun>> {
        read::document(self.session().await?, key).await
    }

    async fn vectors(&self, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>> {
        self.vectors.of_run(self.session().await?, run, model).await
    }

    async fn has_vectors(&self, run: &RunKey, version: i64, model: &str, chunk_count: u32) -> Result<bool> {
        self.vectors.has(self.session().await?, run, version, model, chunk_count).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Listing> {
        list::list(self.session().await?, filter).await
    }

    async fn find_by_hash(&self, tenant: &str, sha256: &str) -> Result<Vec<Header>> {
        list::find_by_hash(self.session().await?, tenant, sha256).await
    }

    async fn feed(&self, after: Option<&str>, limit: usize) -> Result<FeedPage> {
        feed::feed(self.session().await?, after, limit, self.config.feed_behind()).await
    }

    async fn feed_now(&self) -> Result<String> {
        Ok(feed::now(self.config.feed_behind()))
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let start = Instant::now();
        let hits = self.vectors.search(self.session().await?, query).await?;
        telemetry::searched(query.mode(), start.elapsed());
        Ok(hits)
    }

    async fn models(&self) -> Result<Models> {
        models::models(self.session().await?).await
    }

    async fn replace_models(&self, before: &Models, after: &Models) -> Result<bool> {
        models::replace_models(self.session().await?, before, after).await
    }

    async fn delete_vectors(&self, model: &str) -> Result<()> {
        self.vectors.delete_model(self.session().await?, model).await
    }

    async fn put_dead_letter(&self, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
        dead_letters::put_dead_letter(self.session().await?, letter, record).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<DeadLetterListing> {
        dead_letters::list(self.session().await?, filter).await
    }

    async fn failed_record(&self, key: &DeadLetterKey) -> Result<Option<FailedRecord>> {
        dead_letters::failed_record(self.session().await?, key).await
    }

    async fn claim_redrive(&self, key: &DeadLetterKey, claim: Claim) -> Result<Claimed> {
        dead_letters::claim_redrive(self.session().await?, key, claim).await
    }

    async fn confirm_redrive(&self, key: &DeadLetterKey, at: i64) -> Result<()> {
        dead_letters::confirm_redrive(self.session().await?, key, at).await
    }

    async fn drop_dead_letter(&self, key: &DeadLetterKey, at: i64) -> Result<Option<DeadLetterState>> {
        dead_letters::drop_dead_letter(self.session().await?, key, at).await
    }

    async fn remove_dead_letter(&self, letter: &DeadLetterRow) -> Result<()> {
        dead_letters::remove_settled(self.session().await?, letter).await
    }

    async fn health(&self) -> Result<()> {
        self.session().await?.health().await
    }
}

impl CqlStore {
    /// Deletes every row of runs up to and with `last`, which readers leave out already.
    async fn delete_runs(&self, session: &Session, key: &DocumentKey, last: i64) -> Result<()> {
        try_join!(write::delete_runs(session, key, last), self.vectors.delete_runs(session, key, last),)?;
        Ok(())
    }
}
