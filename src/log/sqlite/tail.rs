//! Reading without a group.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::watch;

use super::{
    Shared,
    fetch::{Budget, Cursor, bounds, fetch},
    schema::{Session, data_version, failure},
};
use crate::{From, Partition, Record, Tail};
use deckle_contract::error::Result;

/// A tail of topics in one SQLite file.
pub(super) struct SqliteTail {
    session: Session,
    cursors: Vec<Cursor>,
    budget: Budget,
    poll: Duration,
    /// The count of this process's commits, which wakes the tail.
    commits: watch::Receiver<u64>,
    /// The data version before the last read.
    seen: i64,
}

impl SqliteTail {
    pub(super) async fn new(
        shared: &Arc<Shared>,
        session: Session,
        partitions: Vec<(Partition, i64)>,
        from: From,
    ) -> Result<Self> {
        let start = move |connection: &mut Connection| -> rusqlite::Result<Vec<Cursor>> {
            // One snapshot: "from now on" is the same moment in every partition.
            let snapshot = connection.transaction()?;
            partitions
                .into_iter()
                .map(|(partition, id)| {
                    let (start, end) = bounds(&snapshot, id)?;
                    let next = if from == From::Start { start } else { end };
                    Ok(Cursor::of_tail(partition, id, next))
                })
                .collect()
        };
        let cursors = session.call(start).await?.map_err(failure)?;
        let budget = Budget { bytes: shared.config.fetch_bytes, records: shared.config.fetch_records };
        let (poll, commits) = (shared.config.poll(), shared.commits.subscribe());
        Ok(Self { session, cursors, budget, poll, commits, seen: 0 })
    }
}

#[async_trait]
impl Tail for SqliteTail {
    async fn next(&mut self) -> Result<Vec<Record>> {
        loop {
            self.commits.borrow_and_update();
            let records = self.ready().await?;
            if !records.is_empty() {
                return Ok(records);
            }
            let mut pause = Duration::from_millis(1);
            loop {
                // The sender lives as long as the log; without it the poll still goes on.
                let woken = tokio::time::timeout(pause, self.commits.changed()).await;
                if matches!(woken, Ok(Ok(()))) || self.session.call(|c| data_version(c)).await?.ok() != Some(self.seen)
                {
                    break;
                }
                if woken.is_ok() {
                    tokio::time::sleep(pause).await;
                }
                pause = (pause * 2).min(self.poll);
            }
        }
    }

    async fn ready(&mut self) -> Result<Vec<Record>> {
        // The cursors move only when the records are in hand: a cancelled call loses none.
        let mut cursors = self.cursors.clone();
        let budget = self.budget;
        let read = move |connection: &mut Connection| {
            let seen = data_version(connection).map_err(failure)?;
            let records = fetch(connection, &mut cursors, budget)?;
            Ok((records, cursors, seen))
        };
        let (records, cursors, seen) = self.session.call(read).await??;
        (self.cursors, self.seen) = (cursors, seen);
        Ok(records)
    }
}
