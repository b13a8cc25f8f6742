//! What transactions touched that were not committed, until it is taken back for good.
//!
//! A coordinator that answers an abort may still forget its markers: a Kafka 4.3 that comes back while a partition has
//! no leader takes that partition for deleted (KAFKA-20734). The records then lie open, and the *next* commit of the
//! same producer id would show them beside their replay. So before a producer begins anew after a failure, it touches
//! the same partitions in a transaction that it aborts: the markers of that one end both.
//!
//! The law: only what is known not to be committed is taken back, and only where it is known to be. A partition that
//! was touched in a transaction had the markers of the one before, else the coordinator would not have let it in; any
//! other may still lack the markers of a *commit*, which an abort would undo. What became of a transaction of unknown
//! outcome is seen in its positions, and those cannot be read while it is open.

use std::{collections::BTreeSet, sync::Arc};

use rdkafka::{TopicPartitionList, consumer::ConsumerGroupMetadata};

/// The positions that a transaction moves, and the member that moves them.
pub(super) struct Moves {
    pub(super) positions: TopicPartitionList,
    pub(super) member: ConsumerGroupMetadata,
}

/// The partitions and positions where failed transactions may have left something open.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) partitions: BTreeSet<(String, i32)>,
    /// All moves of a producer are of one group, whose positions lie in one partition: the latest will do.
    pub(super) moves: Option<Arc<Moves>>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.moves.is_none()
    }

    pub(super) fn add(&mut self, later: Self) {
        self.partitions.extend(later.partitions);
        self.moves = later.moves.or(self.moves.take());
    }
}
