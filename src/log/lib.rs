//! The log: where records wait between stages, and the seam between SQLite and Kafka.
//!
//! The laws, held by `tests/suite/log_laws.rs` on every side:
//!
//! ```text
//! partition   offsets   0 1 2 . 4 5 6 . . 9        offsets have holes: never count by difference,
//!                             ^       ^            never assume that the next one is +1
//! position              next = 4, done = {6}       4 and 5 are not complete, 6 is, and will not come again
//! ```
//!
//! - Readers see committed records only, in order within a partition.
//! - A step (outputs and positions) becomes visible as a whole or not at all.
//! - Once a revoke is acknowledged, nothing of that partition can be committed by this member.
//! - A new owner starts at the committed position: records below `next` and those in `done` do not come again.
//! - A position below the start of the log is a fatal, named error, never a silent skip.
//! - Append times never go back by a millisecond or more within a partition, and any 1,000 records in a row of it have
//!   different ones.

pub mod framed;
mod held_back;
pub mod kafka;
pub mod ledger;
pub mod murmur2;
mod position;
pub mod registry;
pub mod sqlite;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use deckle_contract::error::Result;

/// A topic's name.
pub type Topic = Arc<str>;

/// One partition of a topic: records within it are ordered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: Topic,
    /// Counted from 0.
    pub number: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// Headers: names to text, as on the wire.
pub type RawHeaders = BTreeMap<String, String>;

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic that it is appended to.
    pub topic: Topic,
    /// Decides the partition: the same key always goes to the same one.
    pub key: String,
    /// CloudEvents and trace headers.
    pub headers: RawHeaders,
    /// The encoded event.
    pub value: Bytes,
}

/// A committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition that it lies in.
    pub partition: Partition,
    /// Its offset in the partition.
    pub offset: i64,
    /// When the log took it, µs since 1970, UTC. Within the partition it never goes back by a millisecond or more, and
    /// any 1,000 records in a row have different ones (Kafka counts milliseconds; the offset tells records apart).
    pub appended_at_us: i64,
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: RawHeaders,
    /// The encoded event.
    pub value: Bytes,
}

/// How far a group is in a partition: every offset below `next` is complete, and those in `done` above it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The lowest offset that is not complete.
    pub next: i64,
    /// Complete offsets above `next`, as rising, disjoint ranges.
    pub done: Vec<RangeInclusive<i64>>,
}

impl Position {
    /// Whether the record at `offset` is complete.
    pub fn covers(&self, offset: i64) -> bool {
        offset < self.next || self.done.iter().any(|range| range.contains(&offset))
    }
}

/// What a commit makes visible as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Records to append.
    pub outputs: Vec<NewRecord>,
    /// Positions to move, for partitions assigned to this member.
    pub positions: BTreeMap<Partition, Position>,
}

/// An event that a reader returns.
#[derive(Debug)]
pub enum Event {
    /// Committed records, in order within each partition. Never empty.
    Records(Vec<Record>),
    /// Partitions are ours from here on; their records follow, from the committed position.
    Assigned(Vec<(Partition, Position)>),
    /// Partitions are being taken away. Commit what is complete (unless `lost`), forget the rest, then send `ack`.
    Revoked {
        /// The partitions that are taken away.
        partitions: Vec<Partition>,
        /// Whether they may already belong to someone else, so that nothing of them can be committed.
        lost: bool,
        /// Sent when the worker has let go of the partitions; dropping it acknowledges too.
        ack: oneshot::Sender<()>,
    },
}

/// Why a step was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it is visible. The same step may be committed again.
    #[error("the step was aborted: {0}")]
    Aborted(String),
    /// This member may not commit these partitions any more; a revoke follows or has come.
    #[error("fenced: {0}")]
    Fenced(String),
    /// It may be visible or not. Read [`Writer::committed`] and commit again only what it does not cover.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// It can never be committed: a topic that does not exist, a record above the log's limit. Nothing is visible.
    #[error("the step cannot be committed: {0}")]
    Defect(String),
}

/// How far a group is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// The topic that the group reads.
    pub topic: String,
    /// 0 when all are complete; else no fewer than the records that are not, summed over its partitions (offsets have
    /// holes, and nobody counts them).
    pub records: u64,
    /// Age of the oldest record that is not complete in µs; 0 when all are.
    pub oldest_us: i64,
}

/// Where a tail starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest record kept.
    Start,
    /// Records appended from now on.
    End,
}

/// The log itself.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends records as a whole, outside any group; returns their append times in order.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>>;
    /// Joins a consumer group. `member` is stable across restarts of the same worker.
    async fn join(&self, group: &str, member: &str, topics: &[Topic]) -> Result<(Box<dyn Reader>, Box<dyn Writer>)>;
    /// Reads without a group: progress bars, event streams, listings.
    async fn tail(&self, topics: &[Topic], from: From) -> Result<Box<dyn Tail>>;
    /// How far a group is behind, per topic. A commit may show in it a moment later.
    async fn lag(&self, group: &str, topics: &[Topic]) -> Result<Vec<Lag>>;
    /// Removes records of work topics that every one of `groups` has completed and that were appended before `before_us`
    /// (a millisecond more may stay). Returns how many offsets were freed, holes among them.
    async fn trim(&self, topics: &[(Topic, Vec<String>)], before_us: i64) -> Result<u64>;
    /// Removes records of a result topic that were appended before `before_us`, once every one of `groups` has completed
    /// them, where nobody else does: a broker applies the retention of its topics itself. Returns how many went.
    async fn expire(&self, topic: &Topic, groups: &[String], before_us: i64) -> Result<u64> {
        let _ = (topic, groups, before_us);
        Ok(0)
    }
    /// Makes sure that what was trimmed is in no file of this side any more, as far as deckle keeps the files itself.
    async fn scrub(&self) -> Result<()> {
        Ok(())
    }
    /// Whether the log can be reached, as far as is known without asking: [`Failure::Unavailable`] while it is away.
    ///
    /// [`Failure::Unavailable`]: deckle_contract::error::Failure::Unavailable
    fn health(&self) -> Result<()>;
}

/// The reading side of a membership.
#[async_trait]
pub trait Reader: Send {
    /// The next event; waits for one. Cancel safe.
    async fn next(&mut self) -> Result<Event>;
    /// Pauses partitions: no records of them come until they are resumed.
    fn pause(&mut self, partitions: &[Partition]);
    /// Resumes partitions: their records come again, in order, none lost.
    fn resume(&mut self, partitions: &[Partition]);
    /// Leaves the group, so that others take over at once.
    async fn leave(self: Box<Self>) -> Result<()>;
}

/// The writing side of a membership.
#[async_trait]
pub trait Writer: Send {
    /// Makes a step visible as a whole. The same step can be committed again after `Aborted`.
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError>;
    /// The committed positions of partitions, read back after an unknown outcome.
    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>>;
}

/// A reader without a group.
#[async_trait]
pub trait Tail: Send {
    /// The next records, in order within each partition; waits for some. Cancel safe.
    async fn next(&mut self) -> Result<Vec<Record>>;
    /// The records that are there now and were not given before; empty when there are none.
    async fn ready(&mut self) -> Result<Vec<Record>>;
}
