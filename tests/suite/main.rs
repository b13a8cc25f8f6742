//! The tests that look at deckle from outside, all in one program: built and linked once, and each test still runs in a
//! process of its own (`make test`).

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails where something is missing"
)]

mod support;
mod sweep;

mod blob_laws;
mod cli;
mod config;
mod contract;
mod decode;
mod ends;
mod erase;
mod eval;
mod examples;
mod export;
mod export_folder;
mod exports;
mod hostile;
mod http;
mod inference;
mod kafka_faults;
mod kafka_kill;
mod kill;
mod layout;
mod ledger;
mod limits;
mod log_laws;
mod ocr;
mod passwords;
mod pictures;
mod pipeline;
mod reading;
mod redrive;
mod registry;
mod replay;
mod rules;
mod sandbox;
mod scylla;
mod search;
mod servers;
mod sharing;
mod sources;
mod store_access;
mod store_faults;
mod store_laws;
mod store_schema;
mod store_vectors;
mod tables;
mod topics;
mod wire;
mod worker;
