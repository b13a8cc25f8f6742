//! Structure: from the lines, boxes and pictures of pages to blocks, tables, headings, fields and chunks.
//!
//! ```text
//! lines ─ layout ─► blocks in reading order ─ outline ─► levels of headings ─ chunking ─► chunks
//!                       │
//!                       ├─ figures ─► pictures and tables with their captions
//!                       └─ fields  ─► labelled values
//! ```
//!
//! The law: everything here is a pure function of the document's types. No file is decoded, no model is run, and no
//! word is added or lost on the way.

pub mod chunking;
pub mod fields;
pub mod figures;
#[cfg(all(test, counted))]
mod growth;
pub mod layout;
mod ordered;
pub mod outline;
