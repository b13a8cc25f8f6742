//! What travels: one Rust type per topic, all sharing one envelope.
//!
//! The law: an event is small and immutable. Bytes, images and results travel as [`BlobRef`]s; an output's type is its
//! destination. The schemas in `schemas/` are the contract, and a test holds these types against them.

pub mod topics;
pub mod wire;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    document::{BlobRef, Confidence},
    error::Reason,
};

/// A type that travels on its own topic.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic, which is also the name of its schema file and its CloudEvents type.
    const TOPIC: &'static str;

    /// Who, which run, which version.
    fn envelope(&self) -> &Envelope;

    /// The same, to be stamped by the worker.
    fn envelope_mut(&mut self) -> &mut Envelope;

    /// The page it speaks of.
    fn page_no(&self) -> Option<u32> {
        None
    }

    /// Pages of the document, where it knows.
    fn page_count(&self) -> Option<u32> {
        None
    }

    /// What it is ordered and partitioned by.
    fn order_key(&self) -> String {
        self.envelope().document_key()
    }

    /// Bytes it carries of another record, which do not count towards its own size.
    fn carried_bytes(&self) -> usize {
        0
    }
}

/// How urgent a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// A person waits.
    #[default]
    Interactive,
    /// Overnight work.
    Bulk,
}

impl Lane {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

/// Identity and context, the same on every topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// UUIDv7 of this event; for outputs UUIDv5 of cause and topic, so that a replay repeats it.
    pub event_id: String,
    /// Leads every key.
    pub tenant: String,
    /// UUIDv5 of tenant and content, unless the producer named it.
    pub document_id: String,
    /// Names one submission; the same id again is dropped.
    pub upload_id: String,
    /// Append time of the `documents.uploaded` record in µs; 0 until then.
    pub run: i64,
    /// `run`, or later after a redrive or replay.
    pub version: i64,
    /// Hash of bytes, options and result-changing settings; empty until split.
    #[serde(default)]
    pub fingerprint: String,
    /// Interactive or bulk.
    pub lane: Lane,
    /// Names a batch feed.
    #[serde(default)]
    pub batch_id: Option<String>,
    /// The document this one was found in.
    #[serde(default)]
    pub parent_id: Option<String>,
    /// The outermost document.
    #[serde(default)]
    pub root_id: Option<String>,
    /// Path inside the parent.
    #[serde(default)]
    pub path_in_parent: Option<String>,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// W3C trace state.
    #[serde(default)]
    pub tracestate: Option<String>,
    /// Opaque to deckle, echoed, filterable.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Opaque principals, filterable in search.
    #[serde(default)]
    pub access: Vec<String>,
    /// After this the result is of no use; µs since 1970, UTC.
    #[serde(default)]
    pub deadline_at: Option<i64>,
    /// What each stage did so far, summed per stage above page level.
    #[serde(default)]
    pub trail: Vec<TrailEntry>,
}

impl Envelope {
    /// The envelope of a new submission; its run comes from the log.
    pub fn new(tenant: &str, document_id: &str, lane: Lane) -> Self {
        Self {
            event_id: Uuid::now_v7().to_string(),
            tenant: tenant.to_owned(),
            document_id: document_id.to_owned(),
            upload_id: String::new(),
            run: 0,
            version: 0,
            fingerprint: String::new(),
            lane,
            batch_id: None,
            parent_id: None,
            root_id: None,
            path_in_parent: None,
            traceparent: None,
            tracestate: None,
            attributes: BTreeMap::new(),
            access: Vec::new(),
            deadline_at: None,
            trail: Vec::new(),
        }
    }

    /// `tenant/document`: the order key of everything about a document.
    pub fn document_key(&self) -> String {
        format!("{}/{}", self.tenant, self.document_id)
    }

    /// The same envelope for an output: a new event id that a replay of the same input repeats.
    pub fn caused(&self, topic: &str, discriminator: &str) -> Self {
        let cause = format!("{}\n{}\n{topic}\n{discriminator}", self.event_id, self.version);
        Self { event_id: Uuid::new_v5(&NAMESPACE, cause.as_bytes()).to_string(), ..self.clone() }
    }
}

/// The namespace of every name-based UUID that deckle makes.
pub const NAMESPACE: Uuid = Uuid::from_bytes(*b"deckle.documents");

/// The id of a document that its producer did not name: UUIDv5 of the tenant and the content's SHA-256 (hex).
pub fn document_id(tenant: &str, sha256: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{tenant}\n{sha256}").as_bytes()).to_string()
}

/// What one stage did for a document, and with what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrailEntry {
    /// The stage.
    pub stage: String,
    /// Version of deckle.
    pub deckle_version: String,
    /// Model, where one was used.
    #[serde(default)]
    pub model: Option<String>,
    /// SHA-256 of its weights.
    #[serde(default)]
    pub weights_sha256: Option<String>,
    /// Hash of the settings that change results.
    pub config_hash: String,
    /// Elapsed time.
    pub wall_us: i64,
    /// Processor time, sandbox children included.
    pub cpu_us: i64,
    /// Accelerator time.
    pub gpu_us: i64,
    /// Pages handled.
    pub pages: i64,
    /// Bytes read.
    pub bytes: i64,
    /// Tokens embedded.
    pub tokens: i64,
}

impl TrailEntry {
    /// Adds another entry of the same stage.
    pub fn add(&mut self, other: &Self) {
        self.wall_us += other.wall_us;
        self.cpu_us += other.cpu_us;
        self.gpu_us += other.gpu_us;
        self.pages += other.pages;
        self.bytes += other.bytes;
        self.tokens += other.tokens;
    }
}

/// The file as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where the bytes lie: `blob:<key>` once taken in; before that `file:` or `inline:`.
    pub uri: String,
    /// File name without folders.
    pub filename: String,
    /// Sniffed from the content; empty before split.
    pub media_type: String,
    /// What the producer said it is.
    #[serde(default)]
    pub declared_media_type: Option<String>,
    /// Length in bytes.
    pub size_bytes: i64,
    /// Lower-case hex.
    pub sha256: String,
}

impl Source {
    /// A file of which nothing is known: its record could not be decoded.
    pub fn unknown() -> Self {
        Self {
            uri: String::new(),
            filename: String::new(),
            media_type: String::new(),
            declared_media_type: None,
            size_bytes: 0,
            sha256: String::new(),
        }
    }
}

/// How OCR is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OcrMode {
    /// The rule decides per page.
    #[default]
    Auto,
    /// Always.
    Force,
    /// Never.
    Off,
}

/// What the producer asks for.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// BCP 47; empty = the configured default.
    #[serde(default)]
    pub languages: Vec<String>,
    /// How OCR is chosen.
    #[serde(default)]
    pub ocr_mode: OcrMode,
    /// Secret: never in logs, exports or listings.
    #[serde(default)]
    pub password: Option<String>,
    /// Read it again even if nothing changed.
    #[serde(default)]
    pub force: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("languages", &self.languages)
            .field("ocr_mode", &self.ocr_mode)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("force", &self.force)
            .finish()
    }
}

/// Says on which topic a type travels, and what of [`Event`] it does not leave at the default.
macro_rules! event {
    ($type:ty, $topic:literal $(, $($method:tt)*)?) => {
        impl Event for $type {
            const TOPIC: &'static str = $topic;
            fn envelope(&self) -> &Envelope { &self.envelope }
            fn envelope_mut(&mut self) -> &mut Envelope { &mut self.envelope }
            $($($method)*)?
        }
    };
}

/// A file arrived. Anyone may produce it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// What the producer asks for.
    pub options: Options,
}
event!(Uploaded, "documents.uploaded");

/// One page to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageSplit {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// What the producer asks for.
    pub options: Options,
    /// Counted from 1.
    pub page_no: i32,
    /// Pages of the document.
    pub page_count: i32,
}
event! {
    PageSplit, "pages.split",
    fn page_no(&self) -> Option<u32> { self.page_no.try_into().ok() }
    fn page_count(&self) -> Option<u32> { self.page_count.try_into().ok() }
    fn order_key(&self) -> String { format!("{}/{}", self.envelope.document_key(), self.page_no) }
}

/// One page was read, or could not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageRead {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// Counted from 1.
    pub page_no: i32,
    /// Pages of the document.
    pub page_count: i32,
    /// The page as JSON ([`crate::document::Page`]); `None` when it failed.
    #[serde(default)]
    pub page: Option<BlobRef>,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<Reason>,
}
event! {
    PageRead, "pages.read",
    fn page_no(&self) -> Option<u32> { self.page_no.try_into().ok() }
    fn page_count(&self) -> Option<u32> { self.page_count.try_into().ok() }
    fn order_key(&self) -> String { format!("{}/{}", self.envelope.document_key(), self.page_no) }
}

/// One page was analysed, or failed before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageAnalysed {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// Counted from 1.
    pub page_no: i32,
    /// Pages of the document.
    pub page_count: i32,
    /// The page with its blocks as JSON; `None` when it failed.
    #[serde(default)]
    pub page: Option<BlobRef>,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<Reason>,
}
event! {
    PageAnalysed, "pages.analysed",
    fn page_no(&self) -> Option<u32> { self.page_no.try_into().ok() }
    fn page_count(&self) -> Option<u32> { self.page_count.try_into().ok() }
}

/// All pages are in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assembled {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// Pages of the document; 0 for a file without pages.
    pub page_count: i32,
    /// Pages that failed.
    pub failed_pages: i32,
    /// The document as JSON ([`crate::document::Document`]).
    pub document: BlobRef,
    /// Why pages failed, the first hundred.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}
event!(Assembled, "documents.assembled");

/// What happened to a document; the end of its path decides on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting for split.
    Queued,
    /// On its way.
    Processing,
    /// All pages read.
    Published,
    /// Some pages failed.
    Partial,
    /// Nothing could be read.
    Failed,
    /// The same as the published run.
    Unchanged,
    /// A newer run was published first.
    Superseded,
    /// Erased on request.
    Erased,
}

impl Status {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Published => "published",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Unchanged => "unchanged",
            Self::Superseded => "superseded",
            Self::Erased => "erased",
        }
    }
}

/// Vectors of one model for all chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorPart {
    /// Model name.
    pub model: String,
    /// How the text was cut, as name and parameters.
    pub chunking: String,
    /// Floats per vector.
    pub dimension: i32,
    /// Whether each has length 1.
    pub normalized: bool,
    /// Number of the first chunk in this part.
    pub first_chunk_no: i32,
    /// Vectors in this part.
    pub count: i32,
    /// Little-endian f32, one vector after the other.
    pub blob: BlobRef,
}

/// A document with chunks and vectors, or one that ends here for another reason: publish ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enriched {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// `published` or `partial` to be published; `failed` and `unchanged` end without results.
    pub status: Status,
    /// Pages of the document.
    pub page_count: i32,
    /// Pages that failed.
    pub failed_pages: i32,
    /// The document as JSON.
    #[serde(default)]
    pub document: Option<BlobRef>,
    /// Chunks as JSON arrays of [`crate::document::Chunk`], in parts of at most 4 MiB.
    #[serde(default)]
    pub chunks: Vec<BlobRef>,
    /// Chunks in all parts.
    pub chunk_count: i32,
    /// Vectors, in parts of at most 4 MiB.
    #[serde(default)]
    pub vectors: Vec<VectorPart>,
    /// BCP 47, `und` when unknown.
    pub language: String,
    /// Why pages or the document failed, the first hundred.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}
event!(Enriched, "documents.enriched");

impl Enriched {
    /// A document that ends without results: failed, unchanged, erased.
    pub fn without_results(envelope: Envelope, source: Source, status: Status, reasons: Vec<Reason>) -> Self {
        Self {
            envelope,
            source,
            status,
            page_count: 0,
            failed_pages: 0,
            document: None,
            chunks: Vec::new(),
            chunk_count: 0,
            vectors: Vec::new(),
            language: "und".to_owned(),
            reasons,
        }
    }
}

/// The end of a document's path: exactly one per (document, run, version).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Identity and context; keep the highest (run, version) per document.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// How it ended.
    pub status: Status,
    /// Pages of the document.
    pub page_count: i32,
    /// Pages that failed.
    pub failed_pages: i32,
    /// Blocks in the document.
    pub block_count: i32,
    /// Chunks in the document.
    pub chunk_count: i32,
    /// BCP 47.
    pub language: String,
    /// Confidence of its text.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// The document as JSON.
    #[serde(default)]
    pub document: Option<BlobRef>,
    /// Why pages or the document failed.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}
event!(Published, "documents.published");

/// A record that failed for good, with its original bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Identity and context as far as the headers told.
    pub envelope: Envelope,
    /// The stage that gave up.
    pub stage: String,
    /// Where the record came from.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its append time, µs since 1970, UTC.
    pub appended_at: i64,
    /// The page it spoke of.
    #[serde(default)]
    pub page_no: Option<i32>,
    /// What was wrong.
    pub reason: Reason,
    /// Which of the four failures.
    pub kind: String,
    /// Attempts made.
    pub attempts: i32,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its bytes, as they were.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}
event! {
    DeadLetter, "dead-letters",
    fn page_no(&self) -> Option<u32> { self.page_no?.try_into().ok() }
    fn carried_bytes(&self) -> usize {
        self.value.len() + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
