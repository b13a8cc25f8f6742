//! How well documents are read: what deckle found against what they really say.
//!
//! ```text
//! truth files ─ pairs ─► documents ─ the pipeline ─► pages, blocks ─ found ─┐
//!      └──────────────── truth ─────────────────────────────────────────────┴─ compare ─► figures ─► report
//! ```
//!
//! The law: losses are figures too. A document that failed is compared as an empty one, a figure of a set is the ratio
//! of sums ([`measure`]) with an interval from resampled documents ([`bootstrap`]), and what could not be compared is
//! listed. Everything here is pure but for the readers of truth and the writer of the report.

pub mod bootstrap;
pub mod boxes;
pub mod calibration;
pub mod compare;
pub mod diff;
pub mod found;
pub mod measure;
pub mod pairs;
pub mod report;
pub mod tables;
pub mod text;
pub mod truth;
pub mod words;
