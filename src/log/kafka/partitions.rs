//! The partitions that are ours, each with the queue that its records lie in until they are wanted.

use std::collections::BTreeMap;

use crate::{Partition, Position, Record};

/// What a record costs beside its bytes, so that many small ones are bounded too.
const RECORD_BYTES: usize = 256;

/// The partitions of a member, with queues of the kind `Q`.
pub(super) struct AssignedPartitions<Q> {
    partitions: BTreeMap<Partition, PartitionState<Q>>,
    /// The partition that gave records last; the one after it is the next to give.
    gave_last: Option<Partition>,
}

struct PartitionState<Q> {
    position: Position,
    queue: Q,
    paused: bool,
    /// Whether the worker was asked to give it up.
    closed: bool,
}

impl<Q> AssignedPartitions<Q> {
    /// Makes an empty set of partitions.
    pub(super) fn new() -> Self {
        Self { partitions: BTreeMap::new(), gave_last: None }
    }

    /// A partition becomes ours; what its position covers is done.
    pub(super) fn insert(&mut self, partition: Partition, position: Position, queue: Q) {
        self.partitions.insert(partition, PartitionState { position, queue, paused: false, closed: false });
    }

    /// A partition is about to go: it gives nothing any more.
    pub(super) fn close(&mut self, partition: &Partition) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.closed = true;
        }
    }

    /// A partition is gone; whether it was ours.
    pub(super) fn remove(&mut self, partition: &Partition) -> bool {
        self.partitions.remove(partition).is_some()
    }

    /// Pauses partitions or lets them go on.
    pub(super) fn set_paused(&mut self, partitions: &[Partition], paused: bool) {
        for partition in partitions {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.paused = paused;
            }
        }
    }

    /// At most so many records and about so many bytes, in turn from the partitions that have some.
    ///
    /// # Errors
    /// That of taking a record out of a queue.
    pub(super) fn gather<E>(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        mut take: impl FnMut(&Partition, &Q) -> Result<Option<Record>, E>,
    ) -> Result<Vec<Record>, E> {
        let flowing: Vec<(&Partition, &PartitionState<Q>)> =
            self.partitions.iter().filter(|(_, state)| !state.paused && !state.closed).collect();
        let first = flowing.iter().position(|(partition, _)| Some(*partition) > self.gave_last.as_ref()).unwrap_or(0);
        let share = (max_records / flowing.len().max(1)).max(1);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut gave_last = None;
        // What one partition leaves of its share, others may use.
        let mut more = true;
        while std::mem::take(&mut more) {
            for (partition, state) in flowing[first..].iter().chain(&flowing[..first]) {
                let mut given = 0;
                while given < share && bytes < max_bytes && records.len() < max_records {
                    let Some(record) = take(partition, &state.queue)? else { break };
                    if !state.position.covers(record.offset) {
                        bytes += record.value.len() + record.key.len() + RECORD_BYTES;
                        records.push(record);
                        given += 1;
                        more = true;
                        gave_last = Some(*partition);
                    }
                }
            }
        }
        if let Some(last) = gave_last.cloned() {
            self.gave_last = Some(last);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque, convert::Infallible};

    use bytes::Bytes;

    use super::*;

    type Queue = RefCell<VecDeque<Record>>;

    fn partition(number: i32) -> Partition {
        Partition { topic: "in".into(), number }
    }

    fn queue(number: i32, offsets: std::ops::Range<i64>) -> Queue {
        let record = |offset| Record {
            partition: partition(number),
            offset,
            key: String::new(),
            headers: BTreeMap::new(),
            appended_at_us: 0,
            value: Bytes::from_static(&[0; 44]),
        };
        RefCell::new(offsets.map(record).collect())
    }

    /// Partitions 0 and 1, with so many records each.
    fn partitions(records: [i64; 2]) -> AssignedPartitions<Queue> {
        let mut partitions = AssignedPartitions::new();
        for (number, count) in [0, 1].into_iter().zip(records) {
            partitions.insert(partition(number), Position::at(0), queue(number, 0..count));
        }
        partitions
    }

    fn gather(partitions: &mut AssignedPartitions<Queue>, max_records: usize, max_bytes: usize) -> Vec<(i32, i64)> {
        let take = |_: &Partition, queue: &Queue| Ok::<_, Infallible>(queue.borrow_mut().pop_front());
        let records = partitions.gather(max_records, max_bytes, take).unwrap();
        records.iter().map(|record| (record.partition.number, record.offset)).collect()
    }

    #[test]
    fn partitions_give_in_turn() {
        let mut partitions = partitions([5, 5]);
        assert_eq!(gather(&mut partitions, 2, usize::MAX), [(0, 0), (1, 0)]);
        assert_eq!(gather(&mut partitions, 1, usize::MAX), [(0, 1)]);
        assert_eq!(gather(&mut partitions, 1, usize::MAX), [(1, 1)], "the one after the last to give");
    }

    #[test]
    fn a_partition_uses_what_others_leave() {
        assert_eq!(gather(&mut partitions([4, 0]), 4, usize::MAX), [(0, 0), (0, 1), (0, 2), (0, 3)]);
        assert_eq!(gather(&mut partitions([9, 1]), 4, usize::MAX), [(0, 0), (0, 1), (1, 0), (0, 2)]);
    }

    #[test]
    fn the_limit_of_bytes_is_passed_by_one_record_at_most() {
        let mut partitions = partitions([5, 0]);
        assert_eq!(gather(&mut partitions, 10, 301).len(), 2);
        assert_eq!(gather(&mut partitions, 10, 300).len(), 1);
    }

    #[test]
    fn a_paused_partition_keeps_its_records_and_a_closed_one_gives_none() {
        let mut partitions = partitions([1, 1]);
        let (first, second) = (partition(0), partition(1));
        partitions.set_paused(&[first.clone(), partition(7)], true);
        partitions.close(&second);
        assert!(gather(&mut partitions, 10, usize::MAX).is_empty());
        partitions.set_paused(&[first], false);
        assert_eq!(gather(&mut partitions, 10, usize::MAX), [(0, 0)]);
        assert!(partitions.remove(&second) && !partitions.remove(&second));
    }

    #[test]
    fn what_the_position_covers_is_left_out() {
        let mut partitions = AssignedPartitions::new();
        partitions.insert(partition(0), Position::at(3), queue(0, 0..5));
        assert_eq!(gather(&mut partitions, 10, usize::MAX), [(0, 3), (0, 4)]);
    }
}
