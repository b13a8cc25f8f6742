//! The worker's writing side: a step is one transaction, with the leases checked inside it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    Shared,
    append::{self, Row},
    fetch::committed,
    lease::{self, Identity, Lease},
    member::Ownership,
    schema::{Session, begin_write, is_busy},
};
use crate::{CommitError, Partition, Position, Step, Writer};
use deckle_contract::error::Result;

/// A membership's writer.
pub(super) struct SqliteWriter {
    shared: Arc<Shared>,
    who: Identity,
    ownership: Arc<Ownership>,
    session: Session,
}

impl SqliteWriter {
    pub(super) fn new(shared: &Arc<Shared>, who: Identity, ownership: Arc<Ownership>, session: Session) -> Self {
        Self { shared: Arc::clone(shared), who, ownership, session }
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        let leases = self.ownership.leases(step.positions.keys()).map_err(not_ours)?;
        let rows =
            append::prepare(&self.shared, &step.outputs).map_err(|error| CommitError::Defect(error.to_string()))?;
        let positions = leases.into_iter().zip(step.positions.values().cloned()).collect();
        let prepared = Prepared { who: self.who.clone(), rows, positions };
        let shared = Arc::clone(&self.shared);
        self.session
            .call(move |connection| {
                let outcome = prepared.commit(connection);
                shared.wake();
                outcome
            })
            .await
            .map_err(|error| CommitError::Unknown(error.to_string()))?
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        let mut wanted = Vec::new();
        for partition in partitions {
            let ids = self.shared.partition_ids(&partition.topic)?;
            wanted.extend(ids.get(partition.number as usize).map(|&id| (partition.clone(), id)));
        }
        let group = self.who.group.clone();
        self.session
            .call(move |connection| {
                wanted.into_iter().map(|(partition, id)| Ok((partition, committed(connection, &group, id)?))).collect()
            })
            .await?
    }
}

fn not_ours(partition: Partition) -> CommitError {
    CommitError::Fenced(format!("{partition} is not ours"))
}

/// A step on its way to the connection's thread.
struct Prepared {
    who: Identity,
    rows: Vec<Row>,
    positions: Vec<(Lease, Position)>,
}

impl Prepared {
    fn commit(self, connection: &mut Connection) -> std::result::Result<(), CommitError> {
        let aborted = |error: rusqlite::Error| CommitError::Aborted(error.to_string());
        // Dropped before its commit, the transaction rolls back: nothing of it is visible.
        let transaction = begin_write(connection).map_err(aborted)?;
        if lease::is_replaced(&transaction, &self.who).map_err(aborted)? {
            return Err(CommitError::Fenced(format!("another process has joined as {}", self.who.member)));
        }
        for (lease, _) in &self.positions {
            if !lease::owns(&transaction, &self.who, *lease).map_err(aborted)? {
                return Err(CommitError::Fenced("a partition's lease has gone to another member".into()));
            }
        }
        append::insert(&transaction, &self.rows).map_err(aborted)?;
        let set_position = "INSERT INTO positions VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET next = excluded.next, done = excluded.done";
        for (lease, position) in &self.positions {
            transaction
                .prepare_cached(set_position)
                .and_then(|mut set| set.execute((&self.who.group, lease.id, position.next, position.encode())))
                .map_err(aborted)?;
        }
        transaction.commit().map_err(|error| match is_busy(&error) {
            true => CommitError::Aborted(error.to_string()),
            // The frames may have reached the file before the error.
            false => CommitError::Unknown(error.to_string()),
        })
    }
}
