//! Records that were on their way when their partition was paused: held back, none lost, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Partition, Record};

/// The records that a reader holds back because their partitions are paused.
#[derive(Default)]
pub(super) struct HeldBack {
    paused: BTreeSet<Partition>,
    /// Read before the pause was known to the thread; they come first when the partition is resumed.
    records: BTreeMap<Partition, Vec<Record>>,
    /// Records that were held back, and are to be given now.
    resumed: VecDeque<Vec<Record>>,
}

impl HeldBack {
    pub(super) fn pause(&mut self, partitions: &[Partition]) {
        self.paused.extend(partitions.iter().cloned());
    }

    pub(super) fn resume(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.resumed.extend(self.records.remove(partition));
        }
    }

    /// Takes the next records that were held back and may be given now.
    pub(super) fn resumed(&mut self) -> Option<Vec<Record>> {
        while let Some(records) = self.resumed.pop_front() {
            let records = self.sift(records);
            if !records.is_empty() {
                return Some(records);
            }
        }
        None
    }

    /// Returns those records that may be given now, and holds back the rest.
    pub(super) fn sift(&mut self, records: Vec<Record>) -> Vec<Record> {
        if self.paused.is_empty() {
            return records;
        }
        let (paused, free): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| self.paused.contains(&record.partition));
        for record in paused {
            self.records.entry(record.partition.clone()).or_default().push(record);
        }
        free
    }

    /// Drops all records of partitions that are not ours any more.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.paused.remove(partition);
            self.records.remove(partition);
        }
        for records in &mut self.resumed {
            records.retain(|record| !partitions.contains(&record.partition));
        }
    }
}
