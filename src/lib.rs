//! deckle: uploaded files in, text, structure and vectors out, each exactly once.
//!
//! # The path of one document
//!
//! ```text
//! documents.uploaded ─split─► pages.split ─ocr─► pages.read ─vision─► pages.analysed ─assemble─► documents.assembled
//!                                                                                                      │
//!                    documents.published ◄─publish─ documents.enriched ◄────────────language───────────┘
//!                                     (any stage) ─► dead-letters ─dead_letters─► rows of the store, redriven from there
//! ```
//!
//! Documents that are published go through the last two once more when another model embeds them
//! ([`runtime::replay`]).
//!
//! # The rooms
//!
//! Each room is a package in a folder of `src/`, so the compiler holds who may import whom: a room sees what its
//! `Cargo.toml` names and nothing else. A row uses rows above it.
//!
//! ```text
//! contract      what travels, what a document is, what can go wrong
//! seal          passwords, and the keys that seal them        blob    folders and buckets: results, sources of uploads
//! imaging       pixels: levelling, warping, ruled lines
//! log           SQLite or Kafka between the stages            store   SQLite or CQL for the results, and search
//! decode        formats, and the sandbox they are read in     structure   lines → blocks, tables, fields, chunks
//! models        networks, and batched inference               eval    how well documents are read
//! recognition   a page's picture → its lines of text
//! stages        seven stages; they know no log
//! runtime       the one worker loop, dead letters, replay, erasure, export
//! deckle        app (the composition root) → cli → main
//! ```
//!
//! Three seams have two sides each, chosen by a value of the configuration: the [`log`], the [`store`] and the
//! [`blob`]s. Everything native or untrusted runs in a child process ([`decode::sandbox`]). `ARCHITECTURE.md` says more
//! on one page.

pub use deckle_blob as blob;
pub use deckle_contract as contract;
pub use deckle_decode as decode;
pub use deckle_eval as eval;
pub use deckle_imaging as imaging;
pub use deckle_log as log;
pub use deckle_models as models;
pub use deckle_recognition as recognition;
pub use deckle_runtime as runtime;
pub use deckle_seal as seal;
pub use deckle_stages as stages;
pub use deckle_store as store;
pub use deckle_structure as structure;

pub mod app;
pub mod cli;
pub mod config;
