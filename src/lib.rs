//! deckle: uploaded files in, text, structure and vectors out, each exactly once.
//!
//! # The path of one document
//!
//! ```text
//! documents.uploaded ─split─► pages.split ─ocr─► pages.read ─vision─► pages.analysed ─assemble─► documents.assembled
//!                                                                                                      │
//!                    documents.published ◄─publish─ documents.enriched ◄────────────language───────────┘
//!                                     (any stage) ─► dead-letters ─letters─► rows of the store, redriven from there
//! ```
//!
//! Documents that are published go through the last two once more when another model embeds them ([`replay`]).
//!
//! Seven stages ([`stages`]), one worker loop ([`worker`]), three seams with two sides each: the [`log`] between the
//! stages, the [`store`] of results, the [`blob`]s. Everything native or untrusted runs in a [`sandbox`] child.
//!
//! # Who may import whom
//!
//! A row may use the rows above it; `tests/suite/architecture.rs` holds this over every `crate::` path.
//!
//! ```text
//! 1  error, telemetry, computing, document, pixmap
//! 2  record
//! 3  log, store, blob, inference, sandbox
//! 4  decode (sandbox), models (inference, sandbox)
//! 5  stages (models, decode, blob, store; not log)
//! 6  eval, worker, dead_letter (store), erasure, export (store, blob), replay (store), journal, readiness (stages,
//!    log; eval needs no row but 1 and 2)
//! 7  config, app (all) → cli → main
//! ```

pub mod computing;
pub mod document;
pub mod error;
pub mod pixmap;
pub mod telemetry;

pub mod record;

pub mod blob;
pub mod inference;
pub mod log;
pub mod sandbox;
pub mod store;

pub mod decode;
pub mod models;

pub mod stages;

pub mod dead_letter;
pub mod erasure;
pub mod eval;
pub mod export;
pub mod journal;
pub mod readiness;
pub mod replay;
pub mod worker;

pub mod app;
pub mod cli;
pub mod config;
