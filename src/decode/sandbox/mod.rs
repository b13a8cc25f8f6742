//! A pool of child processes for everything native or untrusted.
//!
//! The law: whatever a file does to a child, the parent lives on. A child that dies takes one request with it; that
//! request is tried once more on a fresh child, and then has a named failure. One request at a time per child; a
//! call that is dropped kills its child, so that question and answer can never fall out of step.
//!
//! ```text
//! parent                                                  child (same program, hidden command)
//! Pool::call ── Call { sha256?, request } ──────────────► serve: confine once, then loop
//!            ── the file's bytes, if the child lacks it ─►   handler(file, request)
//!            ◄───────────── Answer { reply, payload } ───
//! ```
//!
//! [`Pool`] is the parent's side, [`serve()`] the child's; [`confine`] is what the child may not do.

mod confine;
mod frame;
mod pool;
mod process;
mod serve;
mod syscalls;

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use confine::{Confinement, confinement};
pub use pool::{Pool, Stats};
pub use serve::serve;

/// The exit code of a child that refuses to work unconfined.
const EXIT_UNCONFINED: i32 = 71;

/// The environment variable that carries a child's [`Limits`].
const LIMITS_VARIABLE: &str = "DECKLE_SANDBOX_LIMITS";

/// The limits of the children, and how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many children at most; `None` is one per core.
    pub children: Option<usize>,
    /// Address space of one child in MiB. With both libraries at work on a common page it maps about 140 MiB.
    pub memory_mb: u64,
    /// Longest time for one request in seconds; the parent kills the child then.
    pub wall_s: u64,
    /// Processor seconds for one request; the kernel ends the child then.
    pub cpu_s: u64,
    /// Longest answer of a child in MiB.
    pub answer_mb: u64,
    /// A child is replaced after so many requests, against leaks of native code.
    pub requests_per_child: u32,
    /// A child is replaced when its resident memory exceeds this after a request, in MiB.
    pub recycle_mb: u64,
    /// Whether children refuse to work where the kernel lacks something that confines them.
    pub require: bool,
    /// Folders (and files) that a child may read, besides the system's libraries and fonts. Nothing may be written.
    pub readable: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            children: None,
            memory_mb: 2048,
            wall_s: 120,
            cpu_s: 60,
            answer_mb: 256,
            requests_per_child: 1000,
            recycle_mb: 768,
            require: false,
            readable: Vec::new(),
        }
    }
}

/// A file for a child. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Lower-case hex of the bytes' SHA-256; names the file between parent and child.
    pub sha256: String,
    /// Its content.
    pub bytes: Bytes,
}

/// What a child answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The structured part.
    pub reply: Vec<u8>,
    /// Large bytes beside it, such as a picture.
    pub payload: Vec<u8>,
    /// Processor time that the child spent on this request, in microseconds.
    pub cpu_us: i64,
}

/// The limits of a child, which the parent hands to it once, through [`LIMITS_VARIABLE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Limits {
    memory_mb: u64,
    cpu_s: u64,
    require: bool,
    readable: Vec<PathBuf>,
}
