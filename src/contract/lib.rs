//! The contract: what travels between stages, what a document is, and what can go wrong.
//!
//! ```text
//! record     events, their envelope, their bytes on the wire, the topics      (schemas/, topics/)
//! document   pages, lines, blocks, tables, chunks; their Markdown, HTML and DoclingDocument renderings
//! error      the four kinds of failure, and the reason that a person is shown
//! checkpoint whether a long computation may go on
//! telemetry  names of the metrics that operators watch
//! ```
//!
//! The law: other programs read these types in files, topics and tables, so a change here is a change of an interface.
//! Nothing here opens a file or a connection.

pub mod checkpoint;
pub mod document;
pub mod error;
#[cfg(all(test, counted))]
mod growth;
pub mod record;
pub mod telemetry;
