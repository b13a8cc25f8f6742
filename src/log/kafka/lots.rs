//! The partitions that are ours, with the records of each that were polled and are not wanted yet.

use std::collections::{BTreeMap, VecDeque};

use crate::log::{Partition, Position, Record};

/// What a record costs beside its bytes, so that many small ones are bounded too.
const RECORD_BYTES: usize = 256;

/// What a member has polled.
#[derive(Default)]
pub(super) struct Lots {
    lots: BTreeMap<Partition, Lot>,
    /// The partition that gave records last; the one after it is the next to give.
    gave_last: Option<Partition>,
}

struct Lot {
    position: Position,
    paused: bool,
    /// The worker was asked to give it up.
    closed: bool,
    records: VecDeque<Record>,
    bytes: usize,
}

fn bytes_of(record: &Record) -> usize {
    record.value.len() + record.key.len() + RECORD_BYTES
}

impl Lots {
    /// A partition becomes ours; what its position covers is done.
    pub(super) fn insert(&mut self, partition: Partition, position: Position) {
        let lot = Lot { position, paused: false, closed: false, records: VecDeque::new(), bytes: 0 };
        self.lots.insert(partition, lot);
    }

    /// A partition is about to go: it takes and gives nothing any more.
    pub(super) fn close(&mut self, partition: &Partition) {
        if let Some(lot) = self.lots.get_mut(partition) {
            lot.closed = true;
            (lot.records, lot.bytes) = (VecDeque::new(), 0);
        }
    }

    /// A partition is gone; whether it was ours.
    pub(super) fn remove(&mut self, partition: &Partition) -> bool {
        self.lots.remove(partition).is_some()
    }

    /// Pauses partitions or lets them go on; those of them that are ours.
    pub(super) fn set_paused<'a>(&mut self, partitions: &'a [Partition], paused: bool) -> Vec<&'a Partition> {
        let mut ours = Vec::new();
        for partition in partitions {
            if let Some(lot) = self.lots.get_mut(partition) {
                lot.paused = paused;
                ours.push(partition);
            }
        }
        ours
    }

    /// Whether the record at an offset is ours to do.
    pub(super) fn wants(&self, partition: &Partition, offset: i64) -> bool {
        self.lots.get(partition).is_some_and(|lot| !lot.closed && !lot.position.covers(offset))
    }

    /// Keeps a record until it is wanted.
    pub(super) fn put(&mut self, record: Record) {
        if let Some(lot) = self.lots.get_mut(&record.partition) {
            lot.bytes += bytes_of(&record);
            lot.records.push_back(record);
        }
    }

    /// What is kept of partitions that could give.
    pub(super) fn unwanted_bytes(&self) -> usize {
        self.lots.values().filter(|lot| !lot.paused).map(|lot| lot.bytes).sum()
    }

    /// The partitions that are not paused.
    pub(super) fn flowing(&self) -> impl Iterator<Item = &Partition> {
        self.lots.iter().filter(|(_, lot)| !lot.paused).map(|(partition, _)| partition)
    }

    /// At most so many records and about so many bytes, in turn from the partitions that have some.
    pub(super) fn gather(&mut self, max_records: usize, max_bytes: usize) -> Vec<Record> {
        let can_give = |lot: &Lot| !lot.paused && !lot.closed && !lot.records.is_empty();
        let ready: Vec<Partition> =
            self.lots.iter().filter(|(_, lot)| can_give(lot)).map(|(partition, _)| partition.clone()).collect();
        let first = ready.iter().position(|partition| Some(partition) > self.gave_last.as_ref()).unwrap_or(0);
        let share = (max_records / ready.len().max(1)).max(1);
        let (mut records, mut bytes) = (Vec::new(), 0);
        for partition in ready[first..].iter().chain(&ready[..first]) {
            let Some(lot) = self.lots.get_mut(partition) else { continue };
            for _ in 0..share {
                if bytes >= max_bytes || records.len() >= max_records {
                    return records;
                }
                let Some(record) = lot.records.pop_front() else { break };
                lot.bytes -= bytes_of(&record);
                bytes += bytes_of(&record);
                records.push(record);
                self.gave_last = Some(partition.clone());
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn partition(number: i32) -> Partition {
        Partition { topic: "in".into(), number }
    }

    /// Partitions 0 and 1, with so many records each.
    fn lots(records: [i64; 2]) -> Lots {
        let mut lots = Lots::default();
        for (number, count) in [0, 1].into_iter().zip(records) {
            lots.insert(partition(number), Position::at(0));
            (0..count).for_each(|offset| put(&mut lots, number, offset));
        }
        lots
    }

    fn put(lots: &mut Lots, number: i32, offset: i64) {
        lots.put(Record {
            partition: partition(number),
            offset,
            key: String::new(),
            headers: BTreeMap::new(),
            appended_at_us: 0,
            value: Bytes::from_static(&[0; 44]),
        });
    }

    fn offsets(records: &[Record]) -> Vec<(i32, i64)> {
        records.iter().map(|record| (record.partition.number, record.offset)).collect()
    }

    #[test]
    fn partitions_give_in_turn() {
        let mut lots = lots([5, 5]);
        assert_eq!(offsets(&lots.gather(2, usize::MAX)), [(0, 0), (1, 0)]);
        assert_eq!(offsets(&lots.gather(1, usize::MAX)), [(0, 1)]);
        assert_eq!(offsets(&lots.gather(1, usize::MAX)), [(1, 1)], "the one after the last to give");
    }

    #[test]
    fn bytes_are_counted_until_records_are_given() {
        let mut lots = lots([3, 0]);
        assert_eq!(lots.unwanted_bytes(), 900);
        assert_eq!(lots.gather(10, 301).len(), 2, "the limit may be passed by one record");
        assert_eq!(lots.unwanted_bytes(), 300);
    }

    #[test]
    fn a_paused_partition_keeps_its_records_and_a_closed_one_does_not() {
        let mut lots = lots([1, 1]);
        let (first, second) = (partition(0), partition(1));
        assert_eq!(lots.set_paused(&[first.clone(), partition(7)], true), [&first]);
        lots.close(&second);
        assert!(lots.gather(10, usize::MAX).is_empty());
        assert!(!lots.wants(&second, 1));
        lots.set_paused(std::slice::from_ref(&first), false);
        assert_eq!(offsets(&lots.gather(10, usize::MAX)), [(0, 0)]);
        assert!(lots.remove(&second) && !lots.remove(&second));
    }

    #[test]
    fn what_the_position_covers_is_not_wanted() {
        let mut lots = Lots::default();
        lots.insert(partition(0), Position::at(3));
        assert!(!lots.wants(&partition(0), 2));
        assert!(lots.wants(&partition(0), 3));
        assert!(!lots.wants(&partition(1), 3), "not ours");
    }
}
