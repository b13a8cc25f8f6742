//! When reading a partition pauses, and when it goes on.
//!
//! Hysteresis: paused at 100 % of a limit, resumed at 50 %, because every pause throws away what a Kafka client has
//! prefetched.

use super::{Ledger, Limits, Partition, PartitionState};

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
            active: self.states.values().filter(|state| state.records > 0).count().max(1),
        };
        let mut changes = Pauses::default();
        for state in self.states.values_mut() {
            let text_len = state.text_len(self.limits.position_bytes / 2);
            if !state.paused && state.must_pause(&self.limits, &load, text_len) {
                state.paused = true;
                changes.pause.push(state.partition.clone());
            } else if state.paused && state.may_resume(&self.limits, &load, text_len) {
                state.paused = false;
                changes.resume.push(state.partition.clone());
            }
        }
        changes
    }
}

impl PartitionState {
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

    /// How long the position's text would be, in bytes, if all that is complete were in a step. Up to `enough` the
    /// answer may be an upper bound, for the exact length costs a look at every open record.
    fn text_len(&mut self, enough: usize) -> usize {
        let (progress, completed, open) = (&self.progress, &self.completed, &self.open);
        *self.text_len.get_or_insert_with(|| {
            let done_to = completed.last().map_or(0, |last| last + 1).max(progress.done_to());
            let bound = progress.text_bound(open.range(..done_to).take(enough).count());
            if bound <= enough {
                return bound;
            }
            progress.position_with(|offset| completed.contains(&offset)).encoded_len()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Position, Record, Topic, ledger::Turn};

    fn record(partition: &Partition, offset: i64) -> Record {
        Record {
            partition: partition.clone(),
            offset,
            key: String::new(),
            headers: std::collections::BTreeMap::new(),
            appended_at_us: 0,
            value: bytes::Bytes::new(),
        }
    }

    proptest! {
        /// Records with holes between them, completed and taken into steps in any order, over a position with ranges.
        #[test]
        fn the_bound_of_the_text_is_never_exceeded(
            gaps in prop::collection::vec(1i64..2_000, 1..60),
            done in prop::collection::vec((1i64..4_000, 0i64..4_000), 0..6),
            actions in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..80),
        ) {
            let partition = Partition { topic: Topic::from("in"), number: 0 };
            let mut position = Position::at(100);
            let mut from = 100;
            for (gap, more) in done {
                position.done.push(from + gap..=from + gap + more);
                from += gap + more + 1;
            }
            let mut ledger = Ledger::new(Limits::default());
            ledger.assign(partition.clone(), position);
            let mut offset = 99;
            for gap in gaps {
                offset += gap;
                ledger.admit(record(&partition, offset), offset.to_string(), Turn::default());
            }
            let mut running = Vec::new();
            while let Some((ticket, _)) = ledger.start() {
                running.push(ticket);
            }
            for (which, take) in actions {
                if !running.is_empty() {
                    let ticket = running.swap_remove(which.index(running.len()));
                    ledger.complete(ticket, Vec::new(), std::time::Instant::now());
                }
                if take && ledger.take_step().is_some() {
                    ledger.confirm();
                }
                let state = ledger.states.values_mut().next().unwrap();
                state.text_len = None;
                let bound = state.text_len(usize::MAX);
                state.text_len = None;
                let exact = state.text_len(0);
                prop_assert!(exact <= bound, "{exact} characters, bound {bound}");
            }
        }
    }
}
