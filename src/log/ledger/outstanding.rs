//! Steps: which completed records leave together, and what is kept of them until the log has confirmed them.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::Arc,
};

use super::{Completed, Ledger, Partition, Position, Step, Ticket, state};

/// A step that was taken and not confirmed.
#[derive(Debug)]
pub(super) struct Outstanding {
    step: Arc<Step>,
    records: Vec<Kept>,
}

/// One record of the step.
#[derive(Debug, Clone)]
struct Kept {
    ticket: Ticket,
    partition: Partition,
    outputs: Range<usize>,
    bytes: usize,
}

impl Outstanding {
    /// What is left when some records go, and with them the position of `partition`; `None` when nothing is left.
    pub(super) fn without(self, gone: impl Fn(Ticket) -> bool, partition: Option<&Partition>) -> Option<Self> {
        if !self.records.iter().any(|kept| gone(kept.ticket)) {
            return Some(self);
        }
        let mut step = Step { outputs: Vec::new(), positions: self.step.positions.clone() };
        let mut records = Vec::new();
        for mut kept in self.records {
            if gone(kept.ticket) {
                continue;
            }
            let from = step.outputs.len();
            step.outputs.extend_from_slice(&self.step.outputs[kept.outputs]);
            kept.outputs = from..step.outputs.len();
            records.push(kept);
        }
        step.positions.retain(|of, _| Some(of) != partition && records.iter().any(|kept| kept.partition == *of));
        (!records.is_empty()).then(|| Self { step: Arc::new(step), records })
    }
}

impl Ledger {
    /// Closes a step: the records completed since the last one, in their order of completion, up to the limits; never
    /// a part of one record's outputs. It stays outstanding, and no other can be taken, until [`Ledger::confirm`].
    /// `None` when nothing can leave.
    pub fn take_step(&mut self) -> Option<Arc<Step>> {
        if self.outstanding.is_some() || self.completed.is_empty() {
            return None;
        }
        let mut chosen = self.chosen_by_limits();
        let mut positions = self.fit_positions(&mut chosen);
        if chosen.is_empty() {
            // A part of what is complete can scatter a position that the whole leaves in one piece.
            chosen = self.completed.iter().map(|completed| completed.ticket).collect();
            positions = self.fit_positions(&mut chosen);
        }
        if chosen.is_empty() {
            self.stuck = true;
            return None;
        }
        let mut step = Step { outputs: Vec::new(), positions: BTreeMap::new() };
        let mut records = Vec::with_capacity(chosen.len());
        let (leaving, staying): (Vec<_>, Vec<_>) =
            self.completed.drain(..).partition(|completed| chosen.contains(&completed.ticket));
        self.completed.extend(staying);
        for Completed { ticket, outputs, bytes, .. } in leaving {
            let state = state(&mut self.states, ticket.epoch);
            state.progress.close(ticket.offset);
            state.completed.remove(&ticket.offset);
            let from = step.outputs.len();
            step.outputs.extend(outputs);
            let partition = state.partition.clone();
            records.push(Kept { ticket, partition, outputs: from..step.outputs.len(), bytes });
        }
        for (epoch, position) in positions {
            step.positions.insert(state(&mut self.states, epoch).partition.clone(), position);
        }
        self.in_flight.completed -= records.len();
        self.in_flight.outstanding += records.len();
        self.recount_completed();
        self.outstanding = Some(Outstanding { step: Arc::new(step), records });
        self.step()
    }

    /// The longest run of completions within the limits of a step, and at least one.
    fn chosen_by_limits(&self) -> HashSet<Ticket> {
        let (mut outputs, mut bytes) = (0, 0);
        let fits = |completed: &&Completed| {
            outputs += completed.outputs.len();
            bytes += completed.bytes;
            outputs <= self.limits.step_outputs && bytes <= self.limits.step_bytes
        };
        let mut chosen: HashSet<_> = self.completed.iter().take_while(fits).map(|completed| completed.ticket).collect();
        chosen.extend(self.completed.front().map(|completed| completed.ticket));
        chosen
    }

    /// Takes out of `chosen` what would make a position's text too long, the highest offsets first, and with each
    /// record the later ones of its order key. Returns the positions of what is left.
    fn fit_positions(&self, chosen: &mut HashSet<Ticket>) -> BTreeMap<u64, Position> {
        loop {
            let mut offsets: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
            for ticket in chosen.iter() {
                offsets.entry(ticket.epoch).or_default().push(ticket.offset);
            }
            let mut positions = BTreeMap::new();
            let before = chosen.len();
            for (epoch, mut of_lot) in offsets {
                of_lot.sort_unstable();
                let progress = &self.states[&epoch].progress;
                // One that was committed under a higher limit must be able to shrink.
                let limit = self.limits.position_bytes.max(progress.position_with(|_| false).encoded_len());
                loop {
                    let position = progress.position_with(|at| of_lot.binary_search(&at).is_ok());
                    if position.encoded_len() <= limit {
                        positions.insert(epoch, position);
                        break;
                    }
                    let Some(keep) = of_lot.len().checked_sub(of_lot.len() / 8 + 1) else { break };
                    for offset in of_lot.drain(keep..) {
                        chosen.remove(&Ticket { epoch, offset });
                    }
                    if of_lot.is_empty() {
                        break;
                    }
                }
            }
            if chosen.len() == before {
                return positions;
            }
            let mut left_behind = HashSet::new();
            for completed in &self.completed {
                if left_behind.contains(&completed.key) {
                    chosen.remove(&completed.ticket);
                } else if !chosen.contains(&completed.ticket) {
                    left_behind.insert(&completed.key);
                }
            }
        }
    }

    /// The outstanding step: the same one again after an aborted commit, without what was revoked since.
    pub fn step(&self) -> Option<Arc<Step>> {
        self.outstanding.as_ref().map(|outstanding| Arc::clone(&outstanding.step))
    }

    /// The log has committed the outstanding step.
    pub fn confirm(&mut self) {
        if let Some(outstanding) = self.outstanding.take() {
            for kept in outstanding.records {
                self.forget(&kept);
            }
        }
    }

    /// After an unknown outcome: drops from the outstanding step what the committed positions cover. What is left is
    /// to be committed again; `None` when the whole step was.
    pub fn reconcile(&mut self, committed: &BTreeMap<Partition, Position>) -> Option<Arc<Step>> {
        let outstanding = self.outstanding.take()?;
        let covered: HashSet<Ticket> = outstanding
            .records
            .iter()
            .filter(|kept| committed.get(&kept.partition).is_some_and(|position| position.covers(kept.ticket.offset)))
            .map(|kept| kept.ticket)
            .collect();
        for kept in &outstanding.records {
            if covered.contains(&kept.ticket) {
                self.forget(kept);
            }
        }
        self.outstanding = outstanding.without(|ticket| covered.contains(&ticket), None);
        self.step()
    }

    /// A committed record is no longer in flight.
    fn forget(&mut self, kept: &Kept) {
        let state = state(&mut self.states, kept.ticket.epoch);
        state.records -= 1;
        state.bytes -= kept.bytes;
        self.in_flight.outstanding -= 1;
        self.in_flight.bytes -= kept.bytes;
    }
}
