//! Records that were on their way when their partition was paused: held back, none lost, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Partition, Record};

/// What a reader holds back.
#[derive(Default)]
pub(super) struct HeldBack {
    paused: BTreeSet<Partition>,
    /// Read before the pause was known to the thread; they come first when the partition is resumed.
    records: BTreeMap<Partition, Vec<Record>>,
    /// Held back once, and to be given now.
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

    /// What was held back and may be given now.
    pub(super) fn resumed(&mut self) -> Option<Vec<Record>> {
        while let Some(records) = self.resumed.pop_front() {
            let records = self.sift(records);
            if !records.is_empty() {
                return Some(records);
            }
        }
        None
    }

    /// What of some records may be given now.
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

    /// Nothing of these partitions is ours any more.
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
