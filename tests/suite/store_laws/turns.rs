//! Two stores on the same data, used in turn: what one writes the other must read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use deckle::{
    contract::{
        document::{Chunk, Field, Figure},
        error::Result,
    },
    store::*,
};

/// See the module.
pub struct Turns {
    stores: [Arc<dyn Store>; 2],
    calls: AtomicUsize,
}

impl Turns {
    pub fn new(first: Arc<dyn Store>, second: Arc<dyn Store>) -> Self {
        Self { stores: [first, second], calls: AtomicUsize::new(0) }
    }

    fn next(&self) -> &dyn Store {
        &*self.stores[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

#[async_trait]
impl Store for Turns {
    async fn claim_upload(&self, tenant: &str, upload_id: &str, run: i64, subject: &str) -> Result<UploadClaim> {
        self.next().claim_upload(tenant, upload_id, run, subject).await
    }
    async fn put_intake(&self, key: &DocumentKey, intake: &Submission, version: i64) -> Result<()> {
        self.next().put_intake(key, intake, version).await
    }
    async fn put_page(&self, run: &RunKey, row: &PageRow) -> Result<()> {
        self.next().put_page(run, row).await
    }
    async fn pages(&self, run: &RunKey) -> Result<Vec<PageRow>> {
        self.next().pages(run).await
    }
    async fn put_chunks(&self, run: &RunKey, version: i64, chunks: &[Chunk]) -> Result<()> {
        self.next().put_chunks(run, version, chunks).await
    }
    async fn put_vectors(
        &self,
        run: &RunKey,
        version: i64,
        space: &VectorSpace,
        rows: &[(u32, Vec<f32>)],
    ) -> Result<()> {
        self.next().put_vectors(run, version, space, rows).await
    }
    async fn trim_chunks(&self, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
        self.next().trim_chunks(run, version, chunk_count).await
    }
    async fn put_figures(&self, run: &RunKey, version: i64, figures: &[Figure]) -> Result<()> {
        self.next().put_figures(run, version, figures).await
    }
    async fn put_fields(&self, run: &RunKey, version: i64, fields: &[Field]) -> Result<()> {
        self.next().put_fields(run, version, fields).await
    }
    async fn set_current(&self, key: &DocumentKey, current: &PublishedVersion) -> Result<()> {
        self.next().set_current(key, current).await
    }
    async fn put_ended(&self, key: &DocumentKey, ended: &Completion) -> Result<()> {
        self.next().put_ended(key, ended).await
    }
    async fn erase(&self, key: &DocumentKey, erased_at: i64) -> Result<()> {
        self.next().erase(key, erased_at).await
    }
    async fn erasures(&self, before: i64, limit: usize) -> Result<Vec<Erasure>> {
        self.next().erasures(before, limit).await
    }
    async fn end_erasure(&self, erasure: &Erasure) -> Result<()> {
        self.next().end_erasure(erasure).await
    }
    async fn remove_runs_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        self.next().remove_runs_below(key, run).await
    }
    async fn rows_below(&self, key: &DocumentKey, run: i64) -> Result<u64> {
        self.next().rows_below(key, run).await
    }
    async fn progress(&self, sweep: &str) -> Result<Option<String>> {
        self.next().progress(sweep).await
    }
    async fn advance(&self, sweep: &str, before: Option<&str>, after: &str) -> Result<bool> {
        self.next().advance(sweep, before, after).await
    }
    async fn claim_end(&self, run: &RunKey, version: i64, claim: i64) -> Result<i64> {
        self.next().claim_end(run, version, claim).await
    }
    async fn forget_claims_below(&self, run: i64) -> Result<u64> {
        self.next().forget_claims_below(run).await
    }
    async fn remove_dead_letter(&self, letter: &DeadLetterRow) -> Result<()> {
        self.next().remove_dead_letter(letter).await
    }
    async fn header(&self, key: &DocumentKey) -> Result<Option<Header>> {
        self.next().header(key).await
    }
    async fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRun>> {
        self.next().document(key).await
    }
    async fn vectors(&self, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>> {
        self.next().vectors(run, model).await
    }
    async fn has_vectors(&self, run: &RunKey, version: i64, model: &str, chunk_count: u32) -> Result<bool> {
        self.next().has_vectors(run, version, model, chunk_count).await
    }
    async fn models(&self) -> Result<Models> {
        self.next().models().await
    }
    async fn replace_models(&self, before: &Models, after: &Models) -> Result<bool> {
        self.next().replace_models(before, after).await
    }
    async fn delete_vectors(&self, model: &str) -> Result<()> {
        self.next().delete_vectors(model).await
    }
    async fn list(&self, filter: &ListFilter) -> Result<Listing> {
        self.next().list(filter).await
    }
    async fn find_by_hash(&self, tenant: &str, sha256: &str) -> Result<Vec<Header>> {
        self.next().find_by_hash(tenant, sha256).await
    }
    async fn feed(&self, after: Option<&str>, limit: usize) -> Result<FeedPage> {
        self.next().feed(after, limit).await
    }
    async fn feed_now(&self) -> Result<String> {
        self.next().feed_now().await
    }
    async fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        self.next().search(query).await
    }
    async fn await_pages(&self, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()> {
        self.next().await_pages(run, pages).await
    }
    async fn awaited_pages(&self, run: &RunKey) -> Result<BTreeMap<u32, i64>> {
        self.next().awaited_pages(run).await
    }
    async fn put_dead_letter(&self, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
        self.next().put_dead_letter(letter, record).await
    }
    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<DeadLetterListing> {
        self.next().dead_letters(filter).await
    }
    async fn failed_record(&self, key: &DeadLetterKey) -> Result<Option<FailedRecord>> {
        self.next().failed_record(key).await
    }
    async fn claim_redrive(&self, key: &DeadLetterKey, claim: Claim) -> Result<Claimed> {
        self.next().claim_redrive(key, claim).await
    }
    async fn confirm_redrive(&self, key: &DeadLetterKey, at: i64) -> Result<()> {
        self.next().confirm_redrive(key, at).await
    }
    async fn drop_dead_letter(&self, key: &DeadLetterKey, at: i64) -> Result<Option<DeadLetterState>> {
        self.next().drop_dead_letter(key, at).await
    }
    async fn health(&self) -> Result<()> {
        self.next().health().await
    }
}
