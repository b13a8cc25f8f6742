//! Recognition: from the picture of a page to its lines of text.
//!
//! ```text
//! rendered page ─ upright ─► upright, level picture ─ engine ─► lines   (Tesseract, or the detector and recogniser)
//!                                   ├─ ruling_lines ► ruled lines, which tables are found by
//!                                   └─ ligatures ───► words of a text layer whose letters its font misnames
//! ```
//!
//! The law: which engine reads a document is decided by languages, settings and machine, and never by the picture.

pub mod engine;
pub mod ligatures;
pub mod ruling_lines;
pub mod upright;
