//! The store: results that people and programs read, and the seam between SQLite and CQL.
//!
//! The laws, held by `tests/suite/store_laws.rs` on every side:
//!
//! - Every write carries a version; an older write never wins over a newer one, in whatever order they arrive, and
//!   the same write twice is one.
//! - A delete (tombstone or trim) carries a version too: a late write below it stays hidden.
//! - Rows of pages, chunks and vectors are keyed by run. A document reads as one run: the header's `current` names
//!   it, and no reader sees a mixture.
//! - Writes of stages are pure functions of committed records: no clock, no random value.
//! - Vectors of models stand beside each other, and a search asks one model. A dropped model takes no vectors, late ones
//!   included, until it is built again. What models are for is one value, changed by compare-and-set.
//! - A dead letter is written once. Its state leaves `open` once, by compare-and-set; the first version claimed for its
//!   redrive is its version for ever.

pub use dead_letter::{
    Claim, Claimed, DeadLetterFilter, DeadLetterKey, DeadLetterListing, DeadLetterRow, DeadLetterState, FailedRecord,
    ListedDeadLetter, StateName,
};
pub use header::{Completion, DocumentKey, Header, PublishedVersion, RunKey, Submission};
pub use model::{KnownModel, ModelState, Models, change_models};
pub use query::{Hit, Query, QueryVector, SearchFilter};

pub mod active_models;
pub mod cql;
mod dead_letter;
mod fusion;
mod header;
mod json;
mod keywords;
mod model;
mod query;
mod similarity;
pub mod sqlite;
mod token;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use deckle_contract::{
    document::{BlobRef, Chunk, Confidence, Field, Figure, Method},
    error::{Reason, Result},
    record::{Status, TrailEntry},
};

/// One page of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageRow {
    /// Counted from 1.
    pub page_no: u32,
    /// The version that wrote it.
    pub version: i64,
    /// Its place in the order of arrival at assemble, from 1; see `stages/assemble.rs`.
    pub seq: u32,
    /// The analysed page as JSON; `None` when it failed.
    pub page: Option<BlobRef>,
    /// Where its text came from.
    pub method: Option<Method>,
    /// Confidence of its text.
    pub confidence: Option<Confidence>,
    /// Why it failed; beside a page, why it was read in part.
    pub reason: Option<Reason>,
    /// What the page stages did.
    pub trail: Vec<TrailEntry>,
}

/// A set of vectors that can be compared: the same model on text cut in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VectorSpace {
    /// Model name.
    pub model: String,
    /// Chunking name and parameters.
    pub chunking: String,
    /// Floats per vector.
    pub dimension: u32,
    /// Whether each vector has Euclidean length 1.
    pub normalized: bool,
}

/// Says what is wrong with a vector, in the same words on every side of the seam.
///
/// # Errors
/// Another dimension than the space's, a value that is not finite, length 0, or a length that is not 1 (within 1 %,
/// more than half-precision models lose) where the space says `normalized`.
pub fn check_vector(space: &VectorSpace, vector: &[f32]) -> std::result::Result<(), String> {
    if vector.len() != space.dimension as usize {
        return Err(format!("{} floats where {} has {}", vector.len(), space.model, space.dimension));
    }
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err("zero or not finite".to_owned());
    }
    if space.normalized && (length - 1.0).abs() > 0.01 {
        return Err(format!("length {length} where {} says normalized", space.model));
    }
    Ok(())
}

/// A document as one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRun {
    /// Its header.
    pub header: Header,
    /// The pages of the current run, in order.
    pub pages: Vec<PageRow>,
    /// The chunks of the current run, in order.
    pub chunks: Vec<Chunk>,
    /// The pictures and tables of the current run, in order.
    pub figures: Vec<Figure>,
    /// The labelled values of the current run, in order.
    pub fields: Vec<Field>,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// By tenant and document: whoever pages through meets every document once, whatever happens meanwhile.
    #[default]
    Document,
    /// By [`Header::at`], the latest first, then by tenant and document, the last first. A document to which something
    /// happens while somebody pages through moves to the front, and may be met twice or not at all.
    Newest,
}

/// What a listing leaves out, and how it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only what has [`Header::at`] at or after this, µs.
    pub since: Option<i64>,
    /// Only what has [`Header::at`] before this, µs.
    pub until: Option<i64>,
    /// In what order. By time, `since` and `until` are cheap; by document they leave out what was read.
    pub order: ListOrder,
    /// Rows at most; 0 = 100.
    pub limit: usize,
    /// The token of the previous listing's end, of one in the same order.
    pub after: Option<String>,
}

impl ListFilter {
    /// Whether it admits a header, wherever a listing goes on.
    fn admits(&self, header: &Header) -> bool {
        let at = header.at();
        self.tenant.as_ref().is_none_or(|tenant| *tenant == header.key.tenant)
            && self.status.is_none_or(|status| status == header.status())
            && self.since.is_none_or(|since| since <= at)
            && self.until.is_none_or(|until| at < until)
    }
}

/// An erasure that is to be made sure of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Erasure {
    /// The document.
    pub key: DocumentKey,
    /// Runs at or below this were erased, µs.
    pub erased_at: i64,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// In the order asked for.
    pub headers: Vec<Header>,
    /// Opaque; `None` at the end.
    pub next: Option<String>,
}

/// That a version of a document became what readers see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeedEntry {
    /// When, by the clock of the process that published it, µs.
    pub at: i64,
    /// Which document.
    pub key: DocumentKey,
    /// The run.
    pub run: i64,
    /// The version of it.
    pub version: i64,
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPage {
    /// Oldest first.
    pub entries: Vec<FeedEntry>,
    /// Where the feed goes on: opaque, and worth keeping. Behind the last entry, or, where there is none, at the end of
    /// what there is.
    pub next: String,
}

/// Whose an upload id is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadClaim {
    /// The run that took it first.
    pub run: i64,
    /// What that run submitted; `None` where it did so before this was kept.
    pub subject: Option<String>,
}

/// How long claims of uploads and of ends are kept: longer than any topic, dead letter or yearly backup that could bring
/// the record back which they were made for.
pub const CLAIMS_KEPT: Duration = Duration::from_hours(400 * 24);

/// The store itself. All writes are idempotent.
#[async_trait]
pub trait Store: Send + Sync {
    /// Claims an upload id for a run that submits `subject`; the lowest run wins for ever. Returns the winner.
    async fn claim_upload(&self, tenant: &str, upload_id: &str, run: i64, subject: &str) -> Result<UploadClaim>;
    /// Claims the end of a version of a run for the record that the log took at `claim`, µs; the lowest wins for ever.
    /// Returns the winner.
    async fn claim_end(&self, run: &RunKey, version: i64, claim: i64) -> Result<i64>;
    /// Forgets claims of uploads and ends whose runs are below `run`; returns how many, as far as the store knows: one
    /// whose claims end by themselves after [`CLAIMS_KEPT`] has nothing to do.
    async fn forget_claims_below(&self, run: i64) -> Result<u64>;
    /// Writes what split knows, at `version`.
    async fn put_intake(&self, key: &DocumentKey, intake: &Submission, version: i64) -> Result<()>;
    /// Writes one page of a run, at the row's version.
    async fn put_page(&self, run: &RunKey, row: &PageRow) -> Result<()>;
    /// The pages of a run, in order.
    async fn pages(&self, run: &RunKey) -> Result<Vec<PageRow>>;
    /// Takes note that pages of a run come again, each with at least this version: until then the run is not whole.
    async fn await_pages(&self, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()>;
    /// The highest version that was awaited of each page, come or not.
    async fn awaited_pages(&self, run: &RunKey) -> Result<BTreeMap<u32, i64>>;
    /// Writes chunks of a run.
    async fn put_chunks(&self, run: &RunKey, version: i64, chunks: &[Chunk]) -> Result<()>;
    /// Writes vectors of a run; nothing of a model that was dropped. A zero or NaN vector, or one of another dimension,
    /// is a defect; see [`check_vector`].
    async fn put_vectors(
        &self,
        run: &RunKey,
        version: i64,
        space: &VectorSpace,
        rows: &[(u32, Vec<f32>)],
    ) -> Result<()>;
    /// Deletes the chunks and vectors of a run numbered `chunk_count` and above, as of `version`.
    async fn trim_chunks(&self, run: &RunKey, version: i64, chunk_count: u32) -> Result<()>;
    /// Writes all figures of a run at `version`; those of an older version go.
    async fn put_figures(&self, run: &RunKey, version: i64, figures: &[Figure]) -> Result<()>;
    /// Writes all fields of a run at `version`; those of an older version go.
    async fn put_fields(&self, run: &RunKey, version: i64, fields: &[Field]) -> Result<()>;
    /// Flips the header to a run, at (run, version): an older one never wins.
    async fn set_current(&self, key: &DocumentKey, current: &PublishedVersion) -> Result<()>;
    /// Writes how a run ended, at (run, version): an older one never wins.
    async fn put_ended(&self, key: &DocumentKey, ended: &Completion) -> Result<()>;
    /// Writes a tombstone and deletes rows of runs at or below `erased_at`, their dead letters included. It is among
    /// the [`Store::erasures`] from then on.
    async fn erase(&self, key: &DocumentKey, erased_at: i64) -> Result<()>;
    /// Erasures of before a time (µs) that were not ended, at most `limit`, in no order.
    async fn erasures(&self, before: i64, limit: usize) -> Result<Vec<Erasure>>;
    /// Says that an erasure needs nothing more. A later one of the same document stays.
    async fn end_erasure(&self, erasure: &Erasure) -> Result<()>;
    /// Deletes the rows of runs below `run`, and what the header says of them; their late writes stay hidden. Returns
    /// how many rows of pages, chunks and vectors went.
    async fn remove_runs_below(&self, key: &DocumentKey, run: i64) -> Result<u64>;
    /// How many rows there are of runs below `run`: above 0 where [`Store::remove_runs_below`] has something to remove.
    async fn rows_below(&self, key: &DocumentKey, run: i64) -> Result<u64>;

    /// How far a sweep that several processes share has come, as it last said itself.
    async fn progress(&self, sweep: &str) -> Result<Option<String>>;
    /// Puts `after` in the place of `before`; false, and nothing done, where another came first.
    async fn advance(&self, sweep: &str, before: Option<&str>, after: &str) -> Result<bool>;

    /// The header; `None` for a document never heard of.
    async fn header(&self, key: &DocumentKey) -> Result<Option<Header>>;
    /// The document as one run; `None` when nothing is current.
    async fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRun>>;
    /// The vectors of a run by one model, by chunk number.
    async fn vectors(&self, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>>;
    /// Whether each chunk of a run that is numbered below `chunk_count` has a vector by a model, of `version` or newer.
    async fn has_vectors(&self, run: &RunKey, version: i64, model: &str, chunk_count: u32) -> Result<bool>;
    /// Headers, in the order and behind the token that the filter names.
    async fn list(&self, filter: &ListFilter) -> Result<Listing>;
    /// The headers of a tenant's documents that have this file (see [`Header::has_file`]; its SHA-256 in lower-case
    /// hex), by document: those whose producer named them may be several.
    async fn find_by_hash(&self, tenant: &str, sha256: &str) -> Result<Vec<Header>>;
    /// What was published since a cursor of this feed, oldest first, `limit` entries at most (0 = 100); without a
    /// cursor from as long ago as the feed is kept. Nothing is missed: what may still become readable late is held back
    /// until it cannot. A publication may be listed twice, and what was erased since is left out.
    ///
    /// # Errors
    /// A rejection of a cursor that no feed gave, or of one so old that entries behind it are gone.
    async fn feed(&self, after: Option<&str>, limit: usize) -> Result<FeedPage>;
    /// A cursor behind which the feed lists all that is published from now on: taken before a listing of all there
    /// is, it lets a follower miss nothing.
    async fn feed_now(&self) -> Result<String>;
    /// The chunks that answer a question, best first, of current runs only.
    async fn search(&self, query: &Query) -> Result<Vec<Hit>>;

    /// What was decided about models.
    async fn models(&self) -> Result<Models>;
    /// Puts `after` in the place of `before`; false, and nothing done, where another came first. A caller that hears
    /// false looks again: an answer may have been lost.
    async fn replace_models(&self, before: &Models, after: &Models) -> Result<bool>;
    /// Deletes all vectors of a model, which must be dropped; begun again, it goes on.
    async fn delete_vectors(&self, model: &str) -> Result<()>;

    /// Writes a dead letter and its record, unless it is there already, in whatever state, or its run was erased.
    async fn put_dead_letter(&self, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()>;
    /// Dead letters, ordered by tenant, time of failure and id.
    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<DeadLetterListing>;
    /// The record of a dead letter; `None` for one never heard of.
    async fn failed_record(&self, key: &DeadLetterKey) -> Result<Option<FailedRecord>>;
    /// Claims an open letter for a redrive, or one whose claim ran out. The first version claimed stays for ever. A
    /// claim is known by its version and its end: made again, because its answer was lost, it is still ours.
    async fn claim_redrive(&self, key: &DeadLetterKey, claim: Claim) -> Result<Claimed>;
    /// Says that the record of a claimed letter is in its topic again; nothing in any other state.
    async fn confirm_redrive(&self, key: &DeadLetterKey, at: i64) -> Result<()>;
    /// Drops an open letter. Returns its state from then on, `None` for one never heard of.
    async fn drop_dead_letter(&self, key: &DeadLetterKey, at: i64) -> Result<Option<DeadLetterState>>;
    /// Deletes a letter that was redriven or dropped, with its record; nothing in any other state.
    async fn remove_dead_letter(&self, letter: &DeadLetterRow) -> Result<()>;

    /// Asks whether the store can be reached, once: [`Failure::Unavailable`] while it is away.
    ///
    /// [`Failure::Unavailable`]: deckle_contract::error::Failure::Unavailable
    async fn health(&self) -> Result<()>;
}
