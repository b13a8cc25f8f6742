//! When reading a partition pauses, and when it goes on.
//!
//! Hysteresis: paused at 100 % of a limit, resumed at 50 %, because every pause throws away what a Kafka client has
//! prefetched.

use super::{Ledger, Limits, Lot, Partition};

/// Partitions whose reading must change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pauses {
    /// To be paused.
    pub pause: Vec<Partition>,
    /// To be resumed.
    pub resume: Vec<Partition>,
}

/// How much of the limits is in flight, and how many partitions share them.
struct Load {
    records: usize,
    bytes: usize,
    active: usize,
}

impl Ledger {
    /// What changed since the last call. A partition pauses when it has its share of the limits in flight, or when
    /// all together reach them; one that has nothing in flight never does, so each gets its turn, and a partition
    /// alone may use them all. One whose position's text would grow too long pauses by itself until it fits.
    pub fn pauses(&mut self) -> Pauses {
        let load = Load {
            records: self.in_flight.records(),
            bytes: self.in_flight.bytes,
            active: self.lots.values().filter(|lot| lot.records > 0).count().max(1),
        };
        let mut changes = Pauses::default();
        for lot in self.lots.values_mut() {
            let text_len = lot.text_len();
            if !lot.paused && lot.must_pause(&self.limits, &load, text_len) {
                lot.paused = true;
                changes.pause.push(lot.partition.clone());
            } else if lot.paused && lot.may_resume(&self.limits, &load, text_len) {
                lot.paused = false;
                changes.resume.push(lot.partition.clone());
            }
        }
        changes
    }
}

impl Lot {
    fn must_pause(&self, limits: &Limits, load: &Load, text_len: usize) -> bool {
        let share_taken = self.records * load.active >= limits.records || self.bytes * load.active >= limits.bytes;
        let all_taken = load.records >= limits.records || load.bytes >= limits.bytes;
        // With nothing in flight only further records can shorten what an earlier owner left: read on.
        self.records > 0 && (share_taken || all_taken || text_len > limits.position_bytes)
    }

    fn may_resume(&self, limits: &Limits, load: &Load, text_len: usize) -> bool {
        let share_free =
            self.records * load.active <= limits.records / 2 && self.bytes * load.active <= limits.bytes / 2;
        let all_free = load.records <= limits.records / 2 && load.bytes <= limits.bytes / 2;
        self.records == 0 || (share_free && all_free && text_len <= limits.position_bytes / 2)
    }

    /// How long the position's text would be if all that is complete were in a step.
    fn text_len(&mut self) -> usize {
        let (progress, completed) = (&self.progress, &self.completed);
        *self.text_len.get_or_insert_with(|| progress.position_with(|offset| completed.contains(&offset)).encoded_len())
    }
}
