//! The bookkeeping of records in flight: admit, start, complete in any order, take a step, confirm it.
//!
//! The law: a record's outputs and the position that covers it leave in the same step, exactly once, and never after
//! its partition was revoked. The ledger knows neither clock nor I/O: `now` is an argument, and the worker carries
//! records in and steps out.
//!
//! ```text
//! admit ─► waiting ─start─► running ─complete─► completed ─take_step─► outstanding ─confirm─► gone
//!             (per order key one at a time, in order)                   └─ replayed from memory until confirmed
//! ```

#![expect(clippy::expect_used, reason = "the indexes agree with each other: tests/suite/ledger.rs holds it by a model")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{NewRecord, Partition, Position, Record, Step, position::Progress};

mod outstanding;
mod pausing;

use outstanding::Outstanding;
pub use pausing::Pauses;

/// One start in so many goes to a bulk record although interactive ones wait, so that bulk never starves.
const BULK_TURN: u64 = 4;

/// The limits of what is in flight and of what closes a step.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Records in flight, over all partitions, before reading pauses.
    pub records: usize,
    /// Bytes in flight (inputs and uncommitted outputs), over all partitions, before reading pauses.
    pub bytes: usize,
    /// Large records that run at once: fewer than the places, so that a small one always finds a place that no large
    /// one holds for minutes.
    pub large: usize,
    /// Outputs that close a step.
    pub step_outputs: usize,
    /// Bytes of outputs that close a step.
    pub step_bytes: usize,
    /// How long the first completion of a step waits for others.
    pub step_delay: Duration,
    /// How long an interactive completion waits for others.
    pub interactive_delay: Duration,
    /// The longest text of a position ([`Position::encode`]); Kafka's `offset.metadata.max.bytes` is 4096.
    pub position_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 1_000,
            bytes: 64 << 20,
            large: usize::MAX,
            step_outputs: 2_000,
            step_bytes: 8 << 20,
            step_delay: Duration::from_millis(200),
            interactive_delay: Duration::from_millis(10),
            position_bytes: 4_096,
        }
    }
}

/// The name of one admitted record, within one assignment of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// The assignment; never used twice in a ledger, so it names the partition too.
    pub epoch: u64,
    /// The record's offset.
    pub offset: i64,
}

/// What decides when a record has its turn among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Whether a person waits, so that it goes before bulk records.
    pub interactive: bool,
    /// Whether it is long work, of which at most [`Limits::large`] run at once.
    pub large: bool,
}

impl Turn {
    /// How many kinds of turns there are.
    const KINDS: usize = 4;

    fn index(self) -> usize {
        usize::from(self.interactive) * 2 + usize::from(self.large)
    }
}

/// The answer to a record that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It waits for its turn.
    Admitted(Ticket),
    /// The position says that it is done, or it was admitted before: drop it.
    Covered,
    /// Its partition is not assigned (any more): drop it.
    Unassigned,
}

/// The number of records in flight by their state, for limits and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Records that were admitted and have not started.
    pub waiting: usize,
    /// Records that have started and are not complete.
    pub running: usize,
    /// Records that are complete and in no step yet.
    pub completed: usize,
    /// Records in the outstanding step.
    pub outstanding: usize,
    /// Bytes of all of them: of the input until it is complete, of its outputs from then on.
    pub bytes: usize,
}

impl InFlight {
    /// All records in flight.
    pub fn records(&self) -> usize {
        self.waiting + self.running + self.completed + self.outstanding
    }
}

/// The records in flight of one worker.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    /// The last epoch given out.
    epoch: u64,
    assigned: HashMap<Partition, u64>,
    states: BTreeMap<u64, PartitionState>,
    /// Per order key the open records in their order; the first one is runnable or running.
    keys: HashMap<Arc<str>, VecDeque<Ticket>>,
    /// The partition that started last, and how many starts there were: the next turn goes to the one after it.
    last_started: u64,
    starts: u64,
    /// Completed records that are in no step, in order of completion, which is the order of the outputs.
    completed: VecDeque<Completed>,
    outputs_completed: usize,
    output_bytes_completed: usize,
    /// The time of the first interactive completion that no step holds.
    interactive_since: Option<Instant>,
    outstanding: Option<Outstanding>,
    /// Nothing that is complete fits the positions; only a further completion or a revoke can change that.
    stuck: bool,
    in_flight: InFlight,
    /// Large records that run.
    large_running: usize,
}

/// One partition during one assignment.
#[derive(Debug)]
struct PartitionState {
    partition: Partition,
    progress: Progress,
    /// Records that were admitted, and are neither completed nor in a step, by offset.
    open: BTreeMap<i64, Open>,
    /// Offsets that may start, one set for each kind of turn, lowest first: what is low holds the position back.
    runnable: [BTreeSet<i64>; Turn::KINDS],
    /// Offsets of records that are completed, and in no step.
    completed: BTreeSet<i64>,
    records: usize,
    bytes: usize,
    paused: bool,
    /// Length of the position's text if all that is complete were in a step; `None` when it must be counted again.
    text_len: Option<usize>,
}

/// A record that waits or runs.
#[derive(Debug)]
struct Open {
    key: Arc<str>,
    turn: Turn,
    bytes: usize,
    /// The record itself, until it starts.
    waiting: Option<Record>,
}

/// A record that waits for its step.
#[derive(Debug)]
struct Completed {
    ticket: Ticket,
    key: Arc<str>,
    outputs: Vec<NewRecord>,
    bytes: usize,
    interactive: bool,
    at: Instant,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            epoch: 0,
            assigned: HashMap::new(),
            states: BTreeMap::new(),
            keys: HashMap::new(),
            last_started: 0,
            starts: 0,
            completed: VecDeque::new(),
            outputs_completed: 0,
            output_bytes_completed: 0,
            interactive_since: None,
            outstanding: None,
            stuck: false,
            in_flight: InFlight::default(),
            large_running: 0,
        }
    }

    /// Begins an assignment at the committed position. One that still stands is revoked first.
    pub fn assign(&mut self, partition: Partition, position: Position) {
        self.revoke(std::slice::from_ref(&partition));
        self.epoch += 1;
        self.assigned.insert(partition.clone(), self.epoch);
        self.states.insert(self.epoch, PartitionState::new(partition, position));
    }

    /// Takes in a record that the log delivered, in the order of its partition.
    pub fn admit(&mut self, record: Record, order_key: String, turn: Turn) -> Admission {
        let Some(&epoch) = self.assigned.get(&record.partition) else {
            return Admission::Unassigned;
        };
        let state = state(&mut self.states, epoch);
        let ticket = Ticket { epoch, offset: record.offset };
        if !state.progress.deliver(ticket.offset) {
            return Admission::Covered;
        }
        state.text_len = None;
        let key = match self.keys.get_key_value(order_key.as_str()) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(order_key),
        };
        let queue = self.keys.entry(Arc::clone(&key)).or_default();
        queue.push_back(ticket);
        if queue.len() == 1 {
            state.runnable(turn).insert(ticket.offset);
        }
        let bytes = record_bytes(&record);
        state.open.insert(ticket.offset, Open { key, turn, bytes, waiting: Some(record) });
        state.records += 1;
        state.bytes += bytes;
        self.in_flight.waiting += 1;
        self.in_flight.bytes += bytes;
        Admission::Admitted(ticket)
    }

    /// The next record to run, if one may: partitions take turns, interactive records go first (bulk gets every fourth
    /// start), and of one order key only the first open record runs. While [`Limits::large`] large ones run, small ones
    /// overtake the others. The caller bounds how many run at once.
    pub fn start(&mut self) -> Option<(Ticket, Record)> {
        let interactive_first = self.starts % BULK_TURN != BULK_TURN - 1;
        let (epoch, turn) =
            [interactive_first, !interactive_first].into_iter().find_map(|interactive| self.next_turn(interactive))?;
        self.last_started = epoch;
        self.starts += 1;
        let state = state(&mut self.states, epoch);
        let offset = state.runnable(turn).pop_first().expect("next_turn saw one");
        let open = state.open.get_mut(&offset).expect("what is runnable is open");
        let record = open.waiting.take().expect("what is runnable was not started");
        self.in_flight.waiting -= 1;
        self.in_flight.running += 1;
        self.large_running += usize::from(turn.large);
        Some((Ticket { epoch, offset }, record))
    }

    /// The partition after the one that started last which has something to run in this lane, and what of it.
    fn next_turn(&self, interactive: bool) -> Option<(u64, Turn)> {
        let after = self.states.range(self.last_started + 1..);
        let before = self.states.range(..=self.last_started);
        let large_too = self.large_running < self.limits.large;
        after.chain(before).find_map(|(&epoch, state)| Some((epoch, state.next(interactive, large_too)?)))
    }

    /// A record that was started is done, and these are its outputs. False when its partition was revoked meanwhile:
    /// the outputs are dropped, and the record's new owner makes them again.
    pub fn complete(&mut self, ticket: Ticket, outputs: Vec<NewRecord>, now: Instant) -> bool {
        let Some(state) = self.states.get_mut(&ticket.epoch) else {
            return false;
        };
        if state.open.get(&ticket.offset).is_none_or(|open| open.waiting.is_some()) {
            return false;
        }
        let open = state.open.remove(&ticket.offset).expect("was there above");
        let bytes = outputs.iter().map(output_bytes).sum();
        state.completed.insert(ticket.offset);
        state.bytes = state.bytes - open.bytes + bytes;
        state.text_len = None;
        self.in_flight.bytes = self.in_flight.bytes - open.bytes + bytes;
        self.in_flight.running -= 1;
        self.in_flight.completed += 1;
        self.outputs_completed += outputs.len();
        self.output_bytes_completed += bytes;
        self.large_running -= usize::from(open.turn.large);
        if open.turn.interactive {
            self.interactive_since.get_or_insert(now);
        }
        self.leave_key(&open.key, ticket);
        let (key, interactive) = (open.key, open.turn.interactive);
        self.completed.push_back(Completed { ticket, key, outputs, bytes, interactive, at: now });
        self.stuck = false;
        true
    }

    /// Takes a record out of its key's queue; the next one of that key may run.
    fn leave_key(&mut self, key: &Arc<str>, ticket: Ticket) {
        let Some(queue) = self.keys.get_mut(key) else { return };
        let was_first = queue.front() == Some(&ticket);
        if was_first {
            queue.pop_front();
        } else {
            queue.retain(|other| *other != ticket);
        }
        match queue.front() {
            None => drop(self.keys.remove(key)),
            Some(next) if was_first => {
                let (epoch, offset) = (next.epoch, next.offset);
                let state = state(&mut self.states, epoch);
                let turn = state.open[&offset].turn;
                state.runnable(turn).insert(offset);
            }
            Some(_) => {}
        }
    }

    /// When the next step should be taken; at or before `now` means at once. `None` while nothing is complete or a
    /// step is outstanding.
    pub fn step_due(&self, now: Instant) -> Option<Instant> {
        let first = self.completed.front()?;
        if self.outstanding.is_some() || self.stuck {
            return None;
        }
        let idle = self.in_flight.running == 0 && self.in_flight.waiting == 0;
        let full =
            self.outputs_completed >= self.limits.step_outputs || self.output_bytes_completed >= self.limits.step_bytes;
        if idle || full {
            return Some(now);
        }
        let interactive = self.interactive_since.map(|since| since + self.limits.interactive_delay);
        let due = first.at + self.limits.step_delay;
        Some(interactive.map_or(due, |interactive| due.min(interactive)))
    }

    /// Partitions were taken away: all that is known of them is dropped, also from the outstanding step (the worker
    /// commits before). Returns the records that were running, whose tasks are of no use any more.
    pub fn revoke(&mut self, partitions: &[Partition]) -> Vec<Ticket> {
        let mut running = Vec::new();
        for partition in partitions {
            let Some(epoch) = self.assigned.remove(partition) else { continue };
            let Some(state) = self.states.remove(&epoch) else { continue };
            self.in_flight.bytes -= state.bytes;
            self.in_flight.completed -= state.completed.len();
            self.in_flight.outstanding -= state.records - state.open.len() - state.completed.len();
            for open in state.open.values() {
                *if open.waiting.is_some() { &mut self.in_flight.waiting } else { &mut self.in_flight.running } -= 1;
            }
            let stale = |ticket: Ticket| ticket.epoch == epoch;
            // Last to first: a key's queue then never promotes a record that goes too.
            for (offset, open) in state.open.into_iter().rev() {
                let ticket = Ticket { epoch, offset };
                if open.waiting.is_none() {
                    self.large_running -= usize::from(open.turn.large);
                    running.push(ticket);
                }
                self.leave_key(&open.key, ticket);
            }
            self.completed.retain(|completed| !stale(completed.ticket));
            if let Some(outstanding) = self.outstanding.take() {
                self.outstanding = outstanding.without(stale, Some(partition));
            }
            self.stuck = false;
        }
        self.recount_completed();
        running
    }

    /// After records left `completed`, what is due is counted again.
    fn recount_completed(&mut self) {
        self.outputs_completed = self.completed.iter().map(|completed| completed.outputs.len()).sum();
        self.output_bytes_completed = self.completed.iter().map(|completed| completed.bytes).sum();
        self.interactive_since = self.completed.iter().filter(|done| done.interactive).map(|done| done.at).min();
    }

    /// The number of records in flight, by their state.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// Whether the partition is assigned.
    pub fn is_assigned(&self, partition: &Partition) -> bool {
        self.assigned.contains_key(partition)
    }

    /// The partitions that are assigned, in no order.
    pub fn assigned(&self) -> impl Iterator<Item = &Partition> {
        self.assigned.keys()
    }

    /// The partition that a ticket belongs to, unless it was revoked.
    pub fn partition(&self, ticket: Ticket) -> Option<&Partition> {
        self.states.get(&ticket.epoch).map(|state| &state.partition)
    }
}

/// The state of the partition that an index of the ledger names by its epoch.
fn state(states: &mut BTreeMap<u64, PartitionState>, epoch: u64) -> &mut PartitionState {
    states.get_mut(&epoch).expect("a revoke removes a state from every index")
}

impl PartitionState {
    fn new(partition: Partition, position: Position) -> Self {
        Self {
            partition,
            progress: Progress::new(position),
            open: BTreeMap::new(),
            runnable: Default::default(),
            completed: BTreeSet::new(),
            records: 0,
            bytes: 0,
            paused: false,
            text_len: None,
        }
    }

    fn runnable(&mut self, turn: Turn) -> &mut BTreeSet<i64> {
        &mut self.runnable[turn.index()]
    }

    /// The kind of turn whose lowest offset is the lowest of a lane.
    fn next(&self, interactive: bool, large_too: bool) -> Option<Turn> {
        let turns = [false, true].map(|large| Turn { interactive, large });
        let may = turns.into_iter().filter(|turn| large_too || !turn.large);
        may.filter_map(|turn| Some((self.runnable[turn.index()].first()?, turn)))
            .min_by_key(|(offset, _)| **offset)
            .map(|(_, turn)| turn)
    }
}

fn record_bytes(record: &Record) -> usize {
    record.value.len() + record.key.len() + headers_bytes(&record.headers)
}

fn output_bytes(record: &NewRecord) -> usize {
    record.value.len() + record.key.len() + headers_bytes(&record.headers)
}

fn headers_bytes(headers: &super::RawHeaders) -> usize {
    headers.iter().map(|(name, text)| name.len() + text.len()).sum()
}
