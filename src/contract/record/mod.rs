//! What travels: one Rust type per topic, all sharing one envelope.
//!
//! The law: an event is small and immutable. Bytes, images and results travel as [`BlobRef`]s; an output's type is its
//! destination. The schemas in `schemas/` are the contract, and a test holds these types against them.

/// Hands every topic to another macro, in the order a document meets them: its name, and the releases whose schema of it
/// is kept in `schemas/released`. A topic is declared here, by its type below, by `schemas/<topic>.avsc` and by
/// `topics/<topic>.toml`; a new one has no releases yet.
macro_rules! with_every_topic {
    ($then:ident) => {
        $then![
            "documents.uploaded": ["0.1.0"],
            "documents.readmitted": [],
            "pages.split": ["0.1.0"],
            "pages.read": ["0.1.0"],
            "pages.analysed": ["0.1.0"],
            "documents.assembled": ["0.1.0"],
            "documents.enriched": ["0.1.0"],
            "documents.published": ["0.1.0"],
            "documents.chunks": [],
            "documents.vectors": [],
            "dead-letters": ["0.1.0"],
        ]
    };
}

pub mod context;
mod envelope;
mod fingerprint;
pub mod framing;
pub mod learnt;
pub mod schemas;
pub mod topics;
pub mod wire;

use std::collections::BTreeMap;

pub use envelope::{Envelope, Lane, NAMESPACE, OcrMode, Options, Source, TrailEntry, document_id, unread_document_id};
pub use fingerprint::fingerprint;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    document::{BlobRef, Confidence, Locator},
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

    /// Bytes that are to be worked on: of the file, page or document that it refers to, as far as it tells.
    fn work_bytes(&self) -> u64 {
        0
    }

    /// Bytes it carries of another record, which do not count towards its own size.
    fn carried_bytes(&self) -> usize {
        0
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
    /// The bytes of a small file, instead of a reference to them; never in later events.
    #[serde(default, with = "serde_bytes")]
    pub content: Option<Vec<u8>>,
}
event! {
    Uploaded, "documents.uploaded",
    // Uploads without a name share no document, and wait for none.
    fn order_key(&self) -> String { format!("{}/{}", self.envelope.tenant, self.document_id().unwrap_or_default()) }
    fn work_bytes(&self) -> u64 { u64::try_from(self.source.size_bytes).unwrap_or(0) }
}

impl Uploaded {
    /// The document, as far as the event tells: the producer's name for it, else that of its content, else (for an
    /// upload whose bytes were never read) one made of the submission. `None` where the event names none of them.
    pub fn document_id(&self) -> Option<String> {
        let (envelope, sha256) = (&self.envelope, &self.source.sha256);
        if !envelope.document_id.is_empty() {
            return Some(envelope.document_id.clone());
        }
        if !sha256.is_empty() {
            return Some(document_id(&envelope.tenant, sha256));
        }
        let upload_id = if envelope.upload_id.is_empty() { &envelope.event_id } else { &envelope.upload_id };
        (!upload_id.is_empty()).then(|| unread_document_id(&envelope.tenant, upload_id))
    }
}

/// An upload once more, with the run and the version that deckle gave it: one that is redriven, or the rest of the pages
/// of a long document. Only deckle writes these, so what they say of run and version is believed, as it is not of a
/// producer's upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readmitted {
    /// Identity and context; its id, run and version stand in place of the upload's.
    pub envelope: Envelope,
    /// The record of `documents.uploaded`, in single-object encoding.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The first page to hand out, counted from 1.
    #[serde(default = "first_page")]
    pub first_page_no: u32,
    /// Pages of the document, where it was opened before; else 0.
    #[serde(default)]
    pub page_count: u32,
    /// What the file says of itself, as JSON ([`crate::document::metadata::DocumentMetadata`]), where it was opened
    /// before; `None` where it says nothing.
    #[serde(default)]
    pub facts: Option<BlobRef>,
}
event! {
    Readmitted, "documents.readmitted",
    fn carried_bytes(&self) -> usize { carried(&self.value, &self.headers) }
}

fn first_page() -> u32 {
    1
}

/// Bytes of a record that another carries.
fn carried(value: &[u8], headers: &BTreeMap<String, String>) -> usize {
    value.len() + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

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
    pub page_no: u32,
    /// Pages of the document.
    pub page_count: u32,
    /// What the file says of itself, as JSON ([`crate::document::metadata::DocumentMetadata`]); `None` where it says
    /// nothing.
    #[serde(default)]
    pub facts: Option<BlobRef>,
}
event! {
    PageSplit, "pages.split",
    fn page_no(&self) -> Option<u32> { Some(self.page_no) }
    fn page_count(&self) -> Option<u32> { Some(self.page_count) }
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
    pub page_no: u32,
    /// Pages of the document.
    pub page_count: u32,
    /// The page as JSON ([`crate::document::Page`]); `None` when it failed.
    #[serde(default)]
    pub page: Option<BlobRef>,
    /// Why it failed; beside a page, why it was read in part.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// What the file says of itself, as JSON ([`crate::document::metadata::DocumentMetadata`]); `None` where it says
    /// nothing.
    #[serde(default)]
    pub facts: Option<BlobRef>,
}
event! {
    PageRead, "pages.read",
    fn page_no(&self) -> Option<u32> { Some(self.page_no) }
    fn page_count(&self) -> Option<u32> { Some(self.page_count) }
    fn work_bytes(&self) -> u64 { self.page.as_ref().map_or(0, |page| page.size_bytes) }
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
    pub page_no: u32,
    /// Pages of the document.
    pub page_count: u32,
    /// The page with its blocks as JSON; `None` when it failed.
    #[serde(default)]
    pub page: Option<BlobRef>,
    /// Why it failed; beside a page, why it was read in part.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// What the file says of itself, as JSON ([`crate::document::metadata::DocumentMetadata`]); `None` where it says
    /// nothing.
    #[serde(default)]
    pub facts: Option<BlobRef>,
}
event! {
    PageAnalysed, "pages.analysed",
    fn page_no(&self) -> Option<u32> { Some(self.page_no) }
    fn page_count(&self) -> Option<u32> { Some(self.page_count) }
    fn work_bytes(&self) -> u64 { self.page.as_ref().map_or(0, |page| page.size_bytes) }
}

/// All pages are in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assembled {
    /// Identity and context.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// Pages of the document; 0 for a file without pages.
    pub page_count: u32,
    /// Pages that failed.
    pub failed_pages: u32,
    /// The document as JSON ([`crate::document::Document`]).
    pub document: BlobRef,
    /// Why pages failed or were read in part, the first hundred.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Empty for a document on its path. Else one that was published: its chunks, as they are stored, are to be embedded
    /// by these models where they are not, and nothing else.
    #[serde(default)]
    pub embed_with: Vec<String>,
}
event! {
    Assembled, "documents.assembled",
    fn work_bytes(&self) -> u64 { self.document.size_bytes }
}

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
    pub dimension: u32,
    /// Whether each has length 1.
    pub normalized: bool,
    /// Number of the first chunk in this part.
    pub first_chunk_no: u32,
    /// Vectors in this part.
    pub count: u32,
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
    pub page_count: u32,
    /// Pages that failed.
    pub failed_pages: u32,
    /// The document as JSON.
    #[serde(default)]
    pub document: Option<BlobRef>,
    /// Chunks as JSON arrays of [`crate::document::Chunk`], in parts of at most 4 MiB.
    #[serde(default)]
    pub chunks: Vec<BlobRef>,
    /// Chunks in all parts.
    pub chunk_count: u32,
    /// Vectors, in parts of at most 4 MiB.
    #[serde(default)]
    pub vectors: Vec<VectorPart>,
    /// BCP 47, `und` when unknown.
    pub language: String,
    /// Why the document or pages failed, or were read in part, the first hundred.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// `None` for a document on its path. Else the published version of the run whose chunks `vectors` are of: they are
    /// to be added to it as long as readers see it, and nothing else. (The envelope's version is another after a
    /// redrive.)
    #[serde(default)]
    pub vectors_of: Option<i64>,
    /// `None` for the record that ends its version. Else this one takes the place of another, which failed: append time
    /// of the first, µs, which has claimed the end.
    #[serde(default)]
    pub claim: Option<i64>,
}
event! {
    Enriched, "documents.enriched",
    fn work_bytes(&self) -> u64 {
        let parts = self.chunks.iter().chain(self.vectors.iter().map(|part| &part.blob));
        parts.map(|blob| blob.size_bytes).sum()
    }
}

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
            vectors_of: None,
            claim: None,
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
    pub page_count: u32,
    /// Pages that failed.
    pub failed_pages: u32,
    /// Blocks in the document.
    pub block_count: u32,
    /// Chunks in the document.
    pub chunk_count: u32,
    /// BCP 47.
    pub language: String,
    /// Confidence of its text.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// The document as JSON.
    #[serde(default)]
    pub document: Option<BlobRef>,
    /// Why the document or pages failed, or were read in part.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}
event!(Published, "documents.published");

/// One chunk of a published document, for consumers that search or count text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedChunk {
    /// Identity and context, without the trail; keep the highest (run, version) per document.
    pub envelope: Envelope,
    /// The file.
    pub source: Source,
    /// Counted from 0 within the run.
    pub chunk_no: u32,
    /// Chunks of the document.
    pub chunk_count: u32,
    /// The headings above it, outermost first.
    #[serde(default)]
    pub headings: Vec<String>,
    /// Its own text, headings left out.
    pub text: String,
    /// Where its blocks stand.
    #[serde(default)]
    pub prov: Vec<Locator>,
    /// Tokens of headings and text, as the embedding model counts them.
    pub token_count: u32,
    /// Of the document: BCP 47.
    pub language: String,
}
event!(PublishedChunk, "documents.chunks");

/// The vector of one chunk by one model, for consumers that keep an index of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedVector {
    /// Identity and context, without the trail; keep the highest (run, version) per document.
    pub envelope: Envelope,
    /// Counted from 0 within the run.
    pub chunk_no: u32,
    /// Chunks of the document.
    pub chunk_count: u32,
    /// Model name.
    pub model: String,
    /// How the text was cut, as name and parameters.
    pub chunking: String,
    /// Floats in the vector.
    pub dimension: u32,
    /// Whether it has length 1.
    pub normalized: bool,
    /// Little-endian f32.
    #[serde(with = "serde_bytes")]
    pub vector: Vec<u8>,
}
event!(PublishedVector, "documents.vectors");

/// A record that failed for good, with its original bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Identity and context, as far as the headers give them.
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
    pub page_no: Option<u32>,
    /// What was wrong.
    pub reason: Reason,
    /// Which of the four failures.
    pub kind: String,
    /// Attempts made.
    pub attempts: u32,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its bytes, as they were.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}
event! {
    DeadLetter, "dead-letters",
    fn page_no(&self) -> Option<u32> { self.page_no }
    fn carried_bytes(&self) -> usize { carried(&self.value, &self.headers) }
}
