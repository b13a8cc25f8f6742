//! What can go wrong with a record, and how it is reported to people.
//!
//! The law: every failure of a stage is one of four kinds, and the kind alone decides what the worker does. Nothing
//! else in deckle decides between "try again", "wait" and "dead letter".

use serde::{Deserialize, Serialize};

/// Why one record could not be processed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The file's own fault: it will fail the same way every time. Becomes a dead letter at once.
    #[error("{message}")]
    Rejected {
        /// One of [`code`].
        code: String,
        /// One line that a person understands.
        message: String,
    },
    /// This record, this time. Retried in place with back-off to a deadline, then a retryable dead letter.
    #[error("{message}")]
    Transient {
        /// One line that a person understands.
        message: String,
    },
    /// Something every record needs is away. The stage pauses and probes; never a dead letter.
    #[error("{dependency} is unavailable: {message}")]
    Unavailable {
        /// What is away: `store`, `blob`, `source`, `log`, `registry`, `sandbox`, `password keys`.
        dependency: String,
        /// What it said.
        message: String,
    },
    /// A broken invariant, a panic, a crash of native code. A dead letter that counts towards the breaker.
    #[error("{message}")]
    Defect {
        /// One line for the people who mend deckle.
        message: String,
    },
}

impl Failure {
    /// A rejection with one of the codes in [`code`].
    pub fn rejected(code: &str, message: impl Into<String>) -> Self {
        Self::Rejected { code: code.to_owned(), message: message.into() }
    }

    /// A broken invariant.
    pub fn defect(message: impl Into<String>) -> Self {
        Self::Defect { message: message.into() }
    }

    /// A fault of this moment.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient { message: message.into() }
    }

    /// A dependency that is away.
    pub fn unavailable(dependency: &str, message: impl Into<String>) -> Self {
        Self::Unavailable { dependency: dependency.to_owned(), message: message.into() }
    }

    /// The documented code of this failure; open set, see [`code`].
    pub fn code(&self) -> &str {
        match self {
            Self::Rejected { code, .. } => code,
            Self::Transient { .. } => code::TRANSIENT,
            Self::Unavailable { .. } => code::UNAVAILABLE,
            Self::Defect { .. } => code::DEFECT,
        }
    }

    /// Whether the same record may succeed another time.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transient { .. } | Self::Unavailable { .. })
    }

    /// What is kept and shown of this failure; its message cut where no person would read on, so that it always fits
    /// an event (a panic may print a whole file).
    pub fn reason(&self, stage: &str, page_no: Option<u32>) -> Reason {
        Reason {
            code: self.code().to_owned(),
            message: self.to_string().chars().take(MESSAGE).collect(),
            stage: stage.to_owned(),
            page_no,
            retryable: self.is_retryable(),
        }
    }
}

/// Characters of a message that are kept. An event holds at most a hundred reasons, and 512 KiB.
const MESSAGE: usize = 1_000;

/// Why a document or a page is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of [`code`]; an open set.
    pub code: String,
    /// One line that a person understands.
    pub message: String,
    /// The stage that failed.
    pub stage: String,
    /// The page, counted from 1, when one page is meant.
    #[serde(default)]
    pub page_no: Option<u32>,
    /// Whether a redrive may succeed without a change to the file.
    pub retryable: bool,
}

/// The documented reason codes. Consumers must accept unknown ones.
pub mod code {
    /// The bytes are of a type that no decoder reads.
    pub const UNSUPPORTED_TYPE: &str = "unsupported_type";
    /// The file has no bytes.
    pub const EMPTY: &str = "empty_file";
    /// The PDF needs a password that was not given or is wrong.
    pub const PDF_ENCRYPTED: &str = "pdf.encrypted";
    /// The sealed password of the upload was sealed for another tenant or upload, or changed since.
    pub const PASSWORD_INVALID: &str = "password.invalid";
    /// The id of the upload was used before, for another file.
    pub const UPLOAD_REUSED: &str = "upload.reused";
    /// The key that the password of the upload was sealed with was waited for in vain.
    pub const PASSWORD_KEY_UNKNOWN: &str = "password.key_unknown";
    /// The PDF cannot be opened.
    pub const PDF_DAMAGED: &str = "pdf.damaged";
    /// The image cannot be decoded.
    pub const IMAGE_DAMAGED: &str = "image.damaged";
    /// The text is in no known encoding.
    pub const TEXT_ENCODING: &str = "text.encoding";
    /// More bytes than the configured limit.
    pub const LIMIT_BYTES: &str = "limit.bytes";
    /// The event says more beside its file (ids, names, attributes, principals, trace state) than the configured limit.
    pub const LIMIT_CONTEXT: &str = "limit.context";
    /// More pages than the configured limit.
    pub const LIMIT_PAGES: &str = "limit.pages";
    /// More pixels than the configured limit.
    pub const LIMIT_PIXELS: &str = "limit.pixels";
    /// More characters, of a page or of a document, than the configured limit.
    pub const LIMIT_CHARACTERS: &str = "limit.characters";
    /// More blocks and table cells than the configured limit.
    pub const LIMIT_BLOCKS: &str = "limit.blocks";
    /// More ruling lines on a page than the configured limit.
    pub const LIMIT_RULES: &str = "limit.rules";
    /// More chunks than the configured limit.
    pub const LIMIT_CHUNKS: &str = "limit.chunks";
    /// Took longer than the configured limit.
    pub const LIMIT_TIME: &str = "limit.time";
    /// Needed more memory than the configured limit.
    pub const LIMIT_MEMORY: &str = "limit.memory";
    /// Decoding the file crashed two child processes that had served no other.
    pub const SANDBOX_CRASH: &str = "sandbox.crash";
    /// The reference is malformed, names no file, or the event names none or two sources.
    pub const SOURCE_INVALID: &str = "source.invalid";
    /// The reference leads outside the configured roots.
    pub const SOURCE_OUTSIDE: &str = "source.outside";
    /// The referenced bytes do not exist, or deckle may not read them.
    pub const SOURCE_MISSING: &str = "source.missing";
    /// The bytes have another size or hash than the event says.
    pub const SOURCE_MISMATCH: &str = "source.mismatch";
    /// The upload names no tenant, or neither an upload id nor an event id.
    pub const RECORD_INCOMPLETE: &str = "record.incomplete";
    /// An id of the upload holds control characters.
    pub const RECORD_INVALID: &str = "record.invalid";
    /// The record could not be decoded.
    pub const RECORD_UNDECODABLE: &str = "record.undecodable";
    /// A language was asked for that is not installed.
    pub const OCR_LANGUAGE: &str = "ocr.language";
    /// A model was asked for that this deckle does not have.
    pub const MODEL_UNKNOWN: &str = "model.unknown";
    /// Gave up after the retry deadline.
    pub const TRANSIENT: &str = "transient";
    /// A dependency is away (never the end of a record).
    pub const UNAVAILABLE: &str = "unavailable";
    /// A defect in deckle or its native libraries.
    pub const DEFECT: &str = "defect";
}

/// The result of everything that a stage may call.
pub type Result<T> = std::result::Result<T, Failure>;
