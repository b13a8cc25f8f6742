//! The uses of the writer: a step is tried, and where its outcome is unclear, the log is asked what it came to.
//!
//! The law: the writer is in one place at a time, and comes back with what happened.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::RETRY;
use crate::readiness;
use deckle_contract::error::{Failure, Result};
use deckle_log::{CommitError, Partition, Position, Step, Writer};

/// What the writer came back with.
pub(super) struct Committed {
    pub(super) writer: Box<dyn Writer>,
    pub(super) end: CommitEnd,
}

/// How a use of the writer ended.
pub(super) enum CommitEnd {
    /// A step was tried.
    Tried { outputs: usize, took: Duration, result: std::result::Result<(), CommitError> },
    /// After a commit whose outcome was unclear, what is visible.
    ReadBack { unclear: CommitError, positions: Result<BTreeMap<Partition, Position>> },
}

/// Tries to commit a step.
pub(super) async fn commit(mut writer: Box<dyn Writer>, step: Arc<Step>) -> Committed {
    let started = Instant::now();
    let result = writer.commit(&step).await;
    Committed { writer, end: CommitEnd::Tried { outputs: step.outputs.len(), took: started.elapsed(), result } }
}

/// Asks what an unclear commit made visible, for as long as the log is away: until that is known, nothing can be
/// committed.
pub(super) async fn read_back(
    stage: &'static str,
    mut writer: Box<dyn Writer>,
    partitions: Vec<Partition>,
    unclear: CommitError,
) -> Committed {
    let positions = loop {
        match writer.committed(&partitions).await {
            Err(failure @ Failure::Unavailable { .. }) => {
                tracing::warn!(stage, %failure, "positions cannot be read back yet");
                let waiting = readiness::waiting_for(&failure);
                tokio::time::sleep(RETRY.1).await;
                drop(waiting);
            }
            known => break known,
        }
    };
    Committed { writer, end: CommitEnd::ReadBack { unclear, positions } }
}
