//! The worker's reading side: events of the poll thread, minus what is paused.

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::consumer::{Command, Handle};
use crate::{Event, Partition, Reader, held_back::HeldBack};
use deckle_contract::error::{Failure, Result};

/// A membership's reader. Dropped without [`Reader::leave`], it counts as dead.
pub(super) struct KafkaReader {
    handle: Handle,
    /// Whether records were asked for and have not come.
    asked: bool,
    held_back: HeldBack,
}

impl KafkaReader {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, asked: false, held_back: HeldBack::default() }
    }
}

fn stopped() -> Failure {
    Failure::defect("log.kafka: the member has left or its thread has stopped")
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(records) = self.held_back.resumed() {
                return Ok(Event::Records(records));
            }
            if !self.asked {
                // A thread that has stopped has said why in its last event.
                let _ = self.handle.commands.send(Command::Want);
                self.asked = true;
            }
            let (event, epoch) = self.handle.events.recv().await.ok_or_else(stopped)??;
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
                Event::Assigned(ref partitions) => {
                    self.handle.ownership.acknowledge(partitions.iter().map(|(partition, _)| partition), epoch);
                    // A pause that was on its way when they went is not meant for them as they came back.
                    let came = partitions.iter().map(|(partition, _)| partition.clone()).collect();
                    let _ = self.handle.commands.send(Command::Resume(came));
                    return Ok(event);
                }
            }
        }
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.held_back.pause(partitions);
        let _ = self.handle.commands.send(Command::Pause(partitions.to_vec()));
    }

    fn resume(&mut self, partitions: &[Partition]) {
        self.held_back.resume(partitions);
        let _ = self.handle.commands.send(Command::Resume(partitions.to_vec()));
    }

    async fn leave(self: Box<Self>) -> Result<()> {
        let (done, left) = oneshot::channel();
        if self.handle.commands.send(Command::Leave(done)).is_ok() {
            // An error means that the thread stopped before, and left.
            let _ = left.await;
        }
        Ok(())
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // After a leave nobody listens any more.
        let _ = self.handle.commands.send(Command::Die);
    }
}
