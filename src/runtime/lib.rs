//! The runtime: drives stages over a log, and what operators do beside it.
//!
//! ```text
//! worker       the one loop: read, admit, run, complete in any order, commit
//! journal      records in flight at a crash, so that none kills workers for ever
//! dead_letter  where failing records go, and their way back
//! readiness    what a worker waits for
//! rate         how fast an operation may append
//! erasure, export, replay                    operations on published documents
//! sweep        what nobody needs any more goes
//! ```
//!
//! The law: a record's outputs and its progress become visible in one step, whatever the stage is.

pub mod dead_letter;
pub mod erasure;
pub mod export;
pub mod journal;
pub mod rate;
pub mod readiness;
pub mod replay;
pub mod sweep;
pub mod worker;
