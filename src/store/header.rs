//! The header of a document: its runs, as far as readers and stages need to know of them, and how it names them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use deckle_contract::{
    document::{BlobRef, Confidence},
    error::Reason,
    record::{Source, Status, TrailEntry},
};

/// A document of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentKey {
    /// Leads every key.
    pub tenant: String,
    /// UUID, or the producer's own name.
    pub document_id: String,
}

/// One run of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// The document.
    pub document: DocumentKey,
    /// Append time of its upload, µs.
    pub run: i64,
}

/// What split knows of a document; written at the start of each run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The run it speaks of.
    pub run: i64,
    /// The file.
    pub source: Source,
    /// Names the submission.
    pub upload_id: String,
    /// Bytes, options and result-changing settings.
    pub fingerprint: String,
    /// Pages; 0 for a file without pages.
    pub page_count: u32,
    /// Attributes of the upload, opaque to deckle; searches filter by them.
    pub attributes: BTreeMap<String, String>,
    /// Principals that may see the document, opaque to deckle; searches filter by them.
    pub access: Vec<String>,
}

/// How the current run ended: the one cell that readers follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedVersion {
    /// The run that readers see.
    pub run: i64,
    /// The version that was published.
    pub version: i64,
    /// `published`, `partial` or `failed`.
    pub status: Status,
    /// The fingerprint of this run's submission: of bytes, options and result-changing settings.
    pub fingerprint: String,
    /// The file of this run.
    pub source: Source,
    /// Pages; 0 for a file without pages.
    pub page_count: u32,
    /// Pages that failed.
    pub failed_pages: u32,
    /// Number of blocks, furniture included.
    pub block_count: u32,
    /// Number of chunks.
    pub chunk_count: u32,
    /// Number of pictures and tables.
    #[serde(default)]
    pub figure_count: u32,
    /// Number of labelled values.
    #[serde(default)]
    pub field_count: u32,
    /// Language of the document (BCP 47), `und` when unknown.
    pub language: String,
    /// The title, where one is known.
    pub title: Option<String>,
    /// Confidence of recognised text over all pages; `None` for text layers.
    pub confidence: Option<Confidence>,
    /// The document as JSON.
    pub document: Option<BlobRef>,
    /// What its upload said of it; filterable.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Who may find it, as its upload said; empty = everybody. Nobody, where it was published before this was kept.
    #[serde(default = "nobody")]
    pub access: Vec<String>,
    /// Why the document or pages failed, or were read in part.
    pub reasons: Vec<Reason>,
    /// Append time of the record that published it, µs.
    pub published_at: i64,
    /// What each stage did.
    pub trail: Vec<TrailEntry>,
}

/// A list of access that admits no principal, since no principal has an empty name.
fn nobody() -> Vec<String> {
    vec![String::new()]
}

/// The end of the newest run that ended, whether with results or without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The run that ended.
    pub run: i64,
    /// The version in which it ended.
    pub version: i64,
    /// Names the submission.
    pub upload_id: String,
    /// Of bytes, options and result-changing settings.
    pub fingerprint: String,
    /// The event that ended it: a second one for the same run and version ends nothing.
    pub event_id: String,
    /// Any of the statuses that end a path.
    pub status: Status,
    /// The file of this run.
    pub source: Source,
    /// Why the document or pages failed, or were read in part.
    pub reasons: Vec<Reason>,
    /// Append time of the record that ended it, µs.
    pub at: i64,
}

/// The header of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The document that the header belongs to.
    pub key: DocumentKey,
    /// The newest run that was taken in.
    pub intake: Option<Submission>,
    /// The run that readers see.
    pub current: Option<PublishedVersion>,
    /// How the newest run that ended did so.
    pub ended: Option<Completion>,
    /// Runs at or below this were erased, µs.
    pub erased_at: Option<i64>,
    /// Runs below this were removed, because readers follow a newer one, µs.
    #[serde(default)]
    pub removed_below: Option<i64>,
}

impl Header {
    /// Whether a run was erased.
    pub fn erases(&self, run: i64) -> bool {
        self.erased_at.is_some_and(|erased_at| run <= erased_at)
    }

    /// Whether the rows of a run are gone for ever: it was erased, or removed for a newer one.
    pub fn hides(&self, run: i64) -> bool {
        self.erases(run) || self.removed_below.is_some_and(|removed_below| run < removed_below)
    }

    /// Whether the newest run that was taken in has ended.
    pub fn is_ended(&self) -> bool {
        let taken_in = self.intake.as_ref().map_or(i64::MIN, |intake| intake.run);
        self.ended.as_ref().is_some_and(|ended| ended.run >= taken_in)
    }

    /// How a submission ended; `None` when it is on its way, or was never heard of.
    pub fn end_of(&self, upload_id: &str) -> Option<&Completion> {
        self.ended.as_ref().filter(|ended| ended.upload_id == upload_id && self.is_ended())
    }

    /// Whether the newest run ended, was of this fingerprint, and is what readers see if they see anything: the same again
    /// would end the same. One that failed while an earlier run stays visible would fail again, which is not `unchanged`.
    pub fn has_ended_as(&self, fingerprint: &str) -> bool {
        let is_seen = self.current.as_ref().is_none_or(|current| current.fingerprint == fingerprint);
        self.is_ended() && is_seen && self.ended.as_ref().is_some_and(|ended| ended.fingerprint == fingerprint)
    }

    /// Whether a submission is on its way: taken in, and not ended.
    pub fn is_under_way(&self, upload_id: &str) -> bool {
        self.intake.as_ref().is_some_and(|intake| intake.upload_id == upload_id) && !self.is_ended()
    }

    /// The status to show for the document: that of what readers see, or else how the newest run ended.
    pub fn status(&self) -> Status {
        if self.intake.is_some() && !self.is_ended() {
            return Status::Processing;
        }
        match (&self.current, &self.ended) {
            (Some(current), _) => current.status,
            (None, Some(ended)) => ended.status,
            (None, None) if self.erased_at.is_some() => Status::Erased,
            (None, None) => Status::Queued,
        }
    }

    /// The file, as the newest run that says anything knows it.
    pub fn source(&self) -> Option<&Source> {
        let current = self.current.as_ref().map(|current| &current.source);
        let ended = self.ended.as_ref().map(|ended| &ended.source);
        current.or(ended).or(self.intake.as_ref().map(|intake| &intake.source))
    }

    /// When something last became of the document, µs: the latest of its newest upload, of what readers see, of its
    /// newest end and of its erasure. This is its place in a listing by time.
    pub fn at(&self) -> i64 {
        let taken_in = self.intake.as_ref().map(|intake| intake.run);
        let published = self.current.as_ref().map(|current| current.published_at);
        let ended = self.ended.as_ref().map(|ended| ended.at);
        [taken_in, published, ended, self.erased_at].into_iter().flatten().max().unwrap_or(i64::MIN)
    }

    /// Whether this file was taken in for its newest run, is what readers see, or is what the newest end was of.
    pub fn has_file(&self, sha256: &str) -> bool {
        let taken_in = self.intake.as_ref().map(|intake| &intake.source);
        let published = self.current.as_ref().map(|current| &current.source);
        let ended = self.ended.as_ref().map(|ended| &ended.source);
        [taken_in, published, ended].into_iter().flatten().any(|source| source.sha256 == sha256)
    }

    /// Why the newest run that ended is not whole.
    pub fn reasons(&self) -> &[Reason] {
        self.ended.as_ref().map_or(&[], |ended| &ended.reasons)
    }
}
