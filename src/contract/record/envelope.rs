//! What every event begins with: identity, context, the file, and what was asked for.
//!
//! The law: a replay of the same input makes the same ids; nothing here reads a clock or draws a random number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// The envelope of a submission; its run comes from the log, and the producer names the upload.
    pub fn new(event_id: String, tenant: &str, document_id: &str, lane: Lane) -> Self {
        Self {
            event_id,
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

/// The id of a document that its producer did not name and whose bytes were never read: UUIDv5 of the tenant and the
/// submission. No content has it, since what stands for the hash is none.
pub fn unread_document_id(tenant: &str, upload_id: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{tenant}\nupload\n{upload_id}").as_bytes()).to_string()
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
    /// Pages by what was decided about their text: `text_layer`, `no_text_layer`, `unmapped` and so on.
    #[serde(default)]
    pub decisions: BTreeMap<String, i64>,
    /// What a page's decision was made from, by name. Of one page only: sums of them would say nothing.
    #[serde(default)]
    pub signals: BTreeMap<String, f64>,
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
        for (decision, pages) in &other.decisions {
            *self.decisions.entry(decision.clone()).or_default() += pages;
        }
        self.signals.clear();
    }
}

/// The file as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where the bytes lie: `blob:<key>` once taken in; before that `file:`, `s3:`, `az:` or `gs:` below a configured
    /// root, or empty or `inline:` where the event brings them.
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
    /// Every page is recognised, whatever its text layer says.
    Force,
    /// No page is recognised; a page without a text layer stays empty.
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
    /// As it is typed, or sealed by `deckle-seal`. Secret: never in logs, exports or listings.
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
