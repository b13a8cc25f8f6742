//! The worker's reading side: events of the member's thread, minus what is paused.

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::member::{Command, Handle};
use crate::{Event, Partition, Reader, held_back::HeldBack};
use deckle_contract::error::{Failure, Result};

/// A membership's reader. Dropped without [`Reader::leave`], it counts as dead: its leases run out.
pub(super) struct SqliteReader {
    handle: Handle,
    /// Whether records were asked for and have not come.
    asked: bool,
    held_back: HeldBack,
}

impl SqliteReader {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, asked: false, held_back: HeldBack::default() }
    }
}

fn stopped() -> Failure {
    Failure::defect("log.sqlite: the member has left or its thread has stopped")
}

#[async_trait]
impl Reader for SqliteReader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(records) = self.held_back.resumed() {
                return Ok(Event::Records(records));
            }
            if !self.asked {
                self.handle.commands.send(Command::Want).map_err(|_| stopped())?;
                self.asked = true;
            }
            let event = self.handle.events.recv().await.ok_or_else(stopped)??;
            match event {
                Event::Records(records) => {
                    self.asked = false;
                    let records = self.held_back.sift(records);
                    if !records.is_empty() {
                        return Ok(Event::Records(records));
                    }
                }
                Event::Revoked { ref partitions, .. } => {
                    self.held_back.forget(partitions);
                    return Ok(event);
                }
                Event::Assigned(_) => return Ok(event),
            }
        }
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.held_back.pause(partitions);
        // A thread that has stopped says so in `next`.
        let _ = self.handle.commands.send(Command::Pause(partitions.to_vec()));
    }

    fn resume(&mut self, partitions: &[Partition]) {
        self.held_back.resume(partitions);
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
