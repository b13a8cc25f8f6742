//! The worker's reading side: events of the member's thread, minus what is paused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::member::{Command, Handle};
use crate::{
    error::{Failure, Result},
    log::{Event, Partition, Reader, Record},
};

/// A membership's reader. Dropped without [`Reader::leave`], it counts as dead: its leases run out.
pub(super) struct SqliteReader {
    handle: Handle,
    /// Records were asked for and have not come.
    asked: bool,
    paused: BTreeSet<Partition>,
    /// Read before the pause was known to the thread; they come first when the partition is resumed.
    held_back: BTreeMap<Partition, Vec<Record>>,
    /// Held back once, and to be given now.
    resumed: VecDeque<Vec<Record>>,
}

impl SqliteReader {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, asked: false, paused: BTreeSet::new(), held_back: BTreeMap::new(), resumed: VecDeque::new() }
    }

    /// What of some records may be given now.
    fn unpaused(&mut self, records: Vec<Record>) -> Vec<Record> {
        if self.paused.is_empty() {
            return records;
        }
        let (paused, free): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| self.paused.contains(&record.partition));
        for record in paused {
            self.held_back.entry(record.partition.clone()).or_default().push(record);
        }
        free
    }

    /// Nothing of these partitions is ours any more.
    fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.held_back.remove(partition);
        }
        for records in &mut self.resumed {
            records.retain(|record| !partitions.contains(&record.partition));
        }
    }
}

fn stopped() -> Failure {
    Failure::defect("log.sqlite: the member has left or its thread has stopped")
}

#[async_trait]
impl Reader for SqliteReader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some(records) = self.resumed.pop_front() {
                let records = self.unpaused(records);
                if !records.is_empty() {
                    return Ok(Event::Records(records));
                }
            }
            if !self.asked {
                self.handle.commands.send(Command::Want).map_err(|_| stopped())?;
                self.asked = true;
            }
            let event = self.handle.events.recv().await.ok_or_else(stopped)??;
            match event {
                Event::Records(records) => {
                    self.asked = false;
                    let records = self.unpaused(records);
                    if !records.is_empty() {
                        return Ok(Event::Records(records));
                    }
                }
                Event::Revoked { ref partitions, .. } => {
                    self.forget(partitions);
                    return Ok(event);
                }
                Event::Assigned(_) => return Ok(event),
            }
        }
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.paused.extend(partitions.iter().cloned());
        // A thread that has stopped says so in `next`.
        let _ = self.handle.commands.send(Command::Pause(partitions.to_vec()));
    }

    fn resume(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.resumed.extend(self.held_back.remove(partition));
        }
        let _ = self.handle.commands.send(Command::Resume(partitions.to_vec()));
    }

    async fn leave(self: Box<Self>) -> Result<()> {
        let (done, left) = oneshot::channel();
        if self.handle.commands.send(Command::Leave(done)).is_err() {
            return Ok(());
        }
        left.await.unwrap_or(Ok(()))
    }
}
