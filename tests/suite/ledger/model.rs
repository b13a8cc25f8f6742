//! The naive model: a log with holes, a worker's bookkeeping in plain lists, and checks after every operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use deckle::log::{
    NewRecord, Partition, Position, Record, Step,
    ledger::{Admission, InFlight, Ledger, Limits, Ticket, Turn},
};
use proptest::prelude::*;

const PARTITIONS: usize = 3;

/// A record of the log.
#[derive(Debug, Clone)]
pub struct Source {
    /// Offsets skipped before it.
    hole: i64,
    key: u8,
    turn: Turn,
    outputs: Vec<u8>,
}

/// The records of all partitions.
pub fn sources() -> impl Strategy<Value = Vec<Vec<Source>>> {
    sources_of(40)
}

/// As many records in each partition.
pub fn sources_of(count: usize) -> impl Strategy<Value = Vec<Vec<Source>>> {
    let hole = prop_oneof![4 => Just(0i64), 1 => 1i64..4];
    let turn = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let turn = turn.prop_map(|(interactive, large)| Turn { interactive, large });
    let source = (hole, 0u8..6, turn, prop::collection::vec(0u8..20, 0..4))
        .prop_map(|(hole, key, turn, outputs)| Source { hole, key, turn, outputs });
    prop::collection::vec(prop::collection::vec(source, 1..count), PARTITIONS)
}

/// What may happen.
#[derive(Debug, Clone)]
pub enum Op {
    Assign(usize),
    Revoke(usize),
    /// While nobody of ours owns it, another owner completes some record.
    Elsewhere(usize, prop::sample::Index),
    Deliver(usize, usize),
    DeliverAgain(usize, prop::sample::Index),
    Start(usize),
    Complete(prop::sample::Index),
    Wait(u64),
    TakeStep,
    Commit(Outcome),
}

/// How a commit ends.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Done,
    Aborted,
    UnknownAndDone,
    UnknownAndNot,
}

/// Any operation.
pub fn op() -> impl Strategy<Value = Op> {
    let p = || 0..PARTITIONS;
    let outcome = prop_oneof![
        4 => Just(Outcome::Done),
        1 => Just(Outcome::Aborted),
        1 => Just(Outcome::UnknownAndDone),
        1 => Just(Outcome::UnknownAndNot),
    ];
    prop_oneof![
        2 => p().prop_map(Op::Assign),
        1 => p().prop_map(Op::Revoke),
        1 => (p(), any::<prop::sample::Index>()).prop_map(|(p, at)| Op::Elsewhere(p, at)),
        6 => (p(), 1usize..6).prop_map(|(p, n)| Op::Deliver(p, n)),
        1 => (p(), any::<prop::sample::Index>()).prop_map(|(p, at)| Op::DeliverAgain(p, at)),
        5 => (1usize..4).prop_map(Op::Start),
        8 => any::<prop::sample::Index>().prop_map(Op::Complete),
        2 => (1u64..150).prop_map(Op::Wait),
        2 => Just(Op::TakeStep),
        4 => outcome.prop_map(Op::Commit),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Completed,
    InStep,
}

/// The model's view of a record in flight.
#[derive(Debug, Clone)]
struct Entry {
    ticket: Ticket,
    partition: usize,
    offset: i64,
    state: State,
    at: Instant,
}

/// What the log and the worker really are.
pub struct World {
    limits: Limits,
    ledger: Ledger,
    now: Instant,
    /// The log: offset to record, per partition.
    sources: Vec<BTreeMap<i64, Source>>,
    /// What is committed, as the log stores it: `next` and the position's text.
    committed: Vec<(i64, String)>,
    /// Offsets whose outputs are committed, per partition.
    complete: Vec<BTreeSet<i64>>,
    /// Where the reader is, for partitions that are ours.
    cursors: Vec<Option<i64>>,
    /// In order of admission.
    entries: Vec<Entry>,
    stale: Vec<Ticket>,
    paused: BTreeSet<Partition>,
    step: Option<Arc<Step>>,
}

fn partition(number: usize) -> Partition {
    Partition { topic: "in".into(), number: number as i32 }
}

/// Names its source, so that it can be found again.
fn outputs_of(number: usize, offset: i64, source: &Source) -> Vec<NewRecord> {
    let output = |(at, bytes): (usize, &u8)| NewRecord {
        topic: "out".into(),
        key: format!("{number}/{offset}/{at}"),
        headers: BTreeMap::new(),
        value: Bytes::from(vec![0; usize::from(*bytes)]),
    };
    source.outputs.iter().enumerate().map(output).collect()
}

impl World {
    pub fn new(limits: Limits, sources: Vec<Vec<Source>>) -> Self {
        let with_offsets = |sources: Vec<Source>| {
            let mut next = 0;
            sources
                .into_iter()
                .map(|source| {
                    let offset = next + source.hole;
                    next = offset + 1;
                    (offset, source)
                })
                .collect()
        };
        Self {
            ledger: Ledger::new(limits.clone()),
            limits,
            now: Instant::now(),
            sources: sources.into_iter().map(with_offsets).collect(),
            committed: vec![(0, String::new()); PARTITIONS],
            complete: vec![BTreeSet::new(); PARTITIONS],
            cursors: vec![None; PARTITIONS],
            entries: Vec::new(),
            stale: Vec::new(),
            paused: BTreeSet::new(),
            step: None,
        }
    }

    fn committed(&self, number: usize) -> Position {
        let (next, text) = &self.committed[number];
        Position::decode(*next, text).unwrap()
    }

    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Assign(number) if self.cursors[number].is_none() => {
                let position = self.committed(number);
                self.cursors[number] = Some(position.next);
                self.ledger.assign(partition(number), position);
            }
            Op::Assign(_) => {}
            Op::Revoke(number) => self.revoke(number),
            Op::Elsewhere(number, at) => self.elsewhere(number, at),
            Op::Deliver(number, count) => (0..count).for_each(|_| self.deliver(number)),
            Op::DeliverAgain(number, at) => self.deliver_again(number, at),
            Op::Start(count) => (0..count).for_each(|_| self.start()),
            Op::Complete(at) => self.complete(|count| at.index(count)),
            Op::Wait(millis) => self.now += Duration::from_millis(millis),
            Op::TakeStep => self.take_step(),
            Op::Commit(outcome) => self.commit(outcome),
        }
        self.check_counts();
        self.check_due();
        self.check_pauses();
    }

    fn revoke(&mut self, number: usize) {
        self.cursors[number] = None;
        let (gone, kept): (Vec<_>, Vec<_>) = self.entries.drain(..).partition(|entry| entry.partition == number);
        self.entries = kept;
        let mut running = self.ledger.revoke(&[partition(number)]);
        running.sort();
        let mut expected: Vec<_> =
            gone.iter().filter(|entry| entry.state == State::Running).map(|entry| entry.ticket).collect();
        expected.sort();
        assert_eq!(running, expected);
        self.stale.extend(gone.iter().map(|entry| entry.ticket));
        self.paused.remove(&partition(number));
        let before = self.step.take();
        self.step = self.ledger.step();
        let prefix = format!("{number}/");
        if let Some(before) = before {
            let left: Vec<_> = before.outputs.iter().filter(|output| !output.key.starts_with(&prefix)).collect();
            let step = self.step.clone().unwrap_or_default();
            assert_eq!(step.outputs.iter().collect::<Vec<_>>(), left);
            let mut positions = before.positions.clone();
            positions.remove(&partition(number));
            assert_eq!(step.positions, positions);
        }
    }

    fn elsewhere(&mut self, number: usize, at: prop::sample::Index) {
        let open: Vec<i64> =
            self.sources[number].keys().filter(|at| !self.complete[number].contains(at)).copied().collect();
        if self.cursors[number].is_some() || open.is_empty() {
            return;
        }
        self.complete[number].insert(*at.get(&open));
        // What an owner that sees everything would commit.
        let complete = &self.complete[number];
        let next = *self.sources[number].keys().find(|at| !complete.contains(at)).unwrap_or(&1_000_000);
        let mut position = Position::at(next);
        let mut run: Option<(i64, i64)> = None;
        for at in self.sources[number].range(next..).map(|(at, _)| *at).chain([i64::MAX]) {
            if complete.contains(&at) {
                run = Some((run.map_or(at, |(start, _)| start), at));
            } else if let Some((start, end)) = run.take() {
                position.done.push(start..=end);
            }
        }
        self.committed[number] = (position.next, position.encode());
    }

    fn record(&self, number: usize, offset: i64) -> (Record, String, Turn) {
        let source = &self.sources[number][&offset];
        let record = Record {
            partition: partition(number),
            offset,
            appended_at_us: offset,
            key: String::new(),
            headers: BTreeMap::new(),
            value: Bytes::from_static(&[0; 5]),
        };
        (record, source.key.to_string(), source.turn)
    }

    /// The reader gives the next record that the position it started from did not cover.
    fn deliver(&mut self, number: usize) {
        let Some(cursor) = self.cursors[number] else { return };
        if self.paused.contains(&partition(number)) {
            return;
        }
        let complete = &self.complete[number];
        let Some(offset) = self.sources[number].range(cursor..).map(|(at, _)| *at).find(|at| !complete.contains(at))
        else {
            return;
        };
        self.cursors[number] = Some(offset + 1);
        let (record, key, turn) = self.record(number, offset);
        let admission = self.ledger.admit(record, key, turn);
        let Admission::Admitted(ticket) = admission else { panic!("{admission:?}") };
        assert_eq!(ticket.offset, offset);
        self.entries.push(Entry { ticket, partition: number, offset, state: State::Waiting, at: self.now });
    }

    fn deliver_again(&mut self, number: usize, at: prop::sample::Index) {
        let offsets: Vec<i64> = self.sources[number].keys().copied().collect();
        let offset = *at.get(&offsets);
        let (record, key, turn) = self.record(number, offset);
        match self.cursors[number] {
            None => assert_eq!(self.ledger.admit(record, key, turn), Admission::Unassigned),
            Some(cursor) if offset < cursor => {
                assert_eq!(self.ledger.admit(record, key, turn), Admission::Covered);
            }
            Some(_) => {}
        }
    }

    fn key_of(&self, entry: &Entry) -> u8 {
        self.sources[entry.partition][&entry.offset].key
    }

    fn is_large(&self, entry: &Entry) -> bool {
        self.sources[entry.partition][&entry.offset].turn.large
    }

    /// No earlier record of its key is open, and a large one only while few of them run.
    fn may_start(&self, at: usize) -> bool {
        let entry = &self.entries[at];
        let large = self.entries.iter().filter(|other| other.state == State::Running && self.is_large(other)).count();
        if self.is_large(entry) && large >= self.limits.large {
            return false;
        }
        let open = |other: &Entry| matches!(other.state, State::Waiting | State::Running);
        entry.state == State::Waiting
            && !self.entries[..at].iter().any(|other| open(other) && self.key_of(other) == self.key_of(entry))
    }

    fn start(&mut self) {
        let may: Vec<Ticket> =
            (0..self.entries.len()).filter(|at| self.may_start(*at)).map(|at| self.entries[at].ticket).collect();
        match self.ledger.start() {
            None => assert!(may.is_empty(), "one may start, and none did: {may:?}"),
            Some((ticket, record)) => {
                assert!(may.contains(&ticket), "{ticket:?} must wait");
                let entry = self.entries.iter_mut().find(|entry| entry.ticket == ticket).unwrap();
                assert_eq!((record.partition, record.offset), (partition(entry.partition), entry.offset));
                entry.state = State::Running;
            }
        }
    }

    fn complete(&mut self, choose: impl Fn(usize) -> usize) {
        for ticket in self.stale.drain(..) {
            assert!(!self.ledger.complete(ticket, vec![], self.now), "stale");
        }
        let running: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].state == State::Running).collect();
        if running.is_empty() {
            return;
        }
        // To the end, so that the completed ones among the entries are in order of completion.
        let mut entry = self.entries.remove(running[choose(running.len())]);
        let outputs = outputs_of(entry.partition, entry.offset, &self.sources[entry.partition][&entry.offset]);
        assert!(self.ledger.complete(entry.ticket, outputs, self.now));
        (entry.state, entry.at) = (State::Completed, self.now);
        self.entries.push(entry);
    }

    fn outputs(&self, entry: &Entry) -> Vec<NewRecord> {
        outputs_of(entry.partition, entry.offset, &self.sources[entry.partition][&entry.offset])
    }

    fn take_step(&mut self) {
        let completed: Vec<Entry> =
            self.entries.iter().filter(|entry| entry.state == State::Completed).cloned().collect();
        let Some(step) = self.ledger.take_step() else {
            let idle = self.entries.iter().all(|entry| matches!(entry.state, State::Completed | State::InStep));
            let hindered = self.limits.position_bytes < 100 && !idle;
            assert!(completed.is_empty() || self.step.is_some() || hindered, "a step was due");
            return;
        };
        assert!(self.step.is_none(), "one at a time");
        // Whole records, in order of completion, all of one key in order, with the positions that cover them.
        let taken = |entry: &&Entry| {
            step.positions.get(&partition(entry.partition)).is_some_and(|position| position.covers(entry.offset))
        };
        let chosen: Vec<&Entry> = completed.iter().filter(taken).collect();
        assert!(!chosen.is_empty());
        let outputs: Vec<NewRecord> = chosen.iter().flat_map(|entry| self.outputs(entry)).collect();
        assert_eq!(step.outputs, outputs);
        for (at, left) in completed.iter().enumerate().filter(|(_, entry)| !taken(entry)) {
            let overtook = completed[at..].iter().filter(taken).find(|entry| self.key_of(entry) == self.key_of(left));
            assert!(overtook.is_none(), "{overtook:?} overtook {left:?}");
        }
        let bytes: usize = step.outputs.iter().map(|output| output.key.len() + output.value.len()).sum();
        let within = step.outputs.len() <= self.limits.step_outputs && bytes <= self.limits.step_bytes;
        assert!(within || chosen.len() == 1 || self.limits.position_bytes < 100);
        for (of, position) in &step.positions {
            let number = of.number as usize;
            let before = self.committed(number);
            assert!(position.next >= before.next);
            let text = position.encode();
            assert!(text.len() <= self.limits.position_bytes.max(before.encode().len()), "{text}");
            for offset in self.sources[number].keys() {
                let now = chosen.iter().any(|entry| (entry.partition, entry.offset) == (number, *offset));
                let covered = now || self.complete[number].contains(offset);
                assert_eq!(position.covers(*offset), covered, "{offset} of {of}: {position:?}");
            }
        }
        let tickets: BTreeSet<Ticket> = chosen.iter().map(|entry| entry.ticket).collect();
        for entry in self.entries.iter_mut().filter(|entry| tickets.contains(&entry.ticket)) {
            entry.state = State::InStep;
        }
        self.step = Some(step);
    }

    fn commit(&mut self, outcome: Outcome) {
        let Some(step) = self.ledger.step() else {
            assert!(self.step.is_none());
            return;
        };
        assert_eq!(self.step.as_ref(), Some(&step), "it is replayed as it was");
        match outcome {
            Outcome::Done => {
                self.show(&step);
                self.ledger.confirm();
            }
            Outcome::Aborted => return,
            Outcome::UnknownAndDone => {
                self.show(&step);
                assert_eq!(self.ledger.reconcile(&self.read_back(&step)), None);
            }
            Outcome::UnknownAndNot => {
                assert_eq!(self.ledger.reconcile(&self.read_back(&step)).as_ref(), Some(&step));
                return;
            }
        }
        self.entries.retain(|entry| entry.state != State::InStep);
        self.step = None;
    }

    fn read_back(&self, step: &Step) -> BTreeMap<Partition, Position> {
        step.positions.keys().map(|of| (of.clone(), self.committed(of.number as usize))).collect()
    }

    /// The log makes a step visible.
    fn show(&mut self, step: &Step) {
        for (of, position) in &step.positions {
            let number = of.number as usize;
            assert!(self.cursors[number].is_some(), "{of} is not ours");
            for (offset, source) in &self.sources[number] {
                if position.covers(*offset) && self.complete[number].insert(*offset) {
                    for output in outputs_of(number, *offset, source) {
                        let count = step.outputs.iter().filter(|other| other.key == output.key).count();
                        assert_eq!(count, 1, "{} leaves with its position", output.key);
                    }
                }
            }
            self.committed[number] = (position.next, position.encode());
        }
    }

    fn check_counts(&self) {
        let count = |state: State| self.entries.iter().filter(|entry| entry.state == state).count();
        let bytes = |entry: &Entry| match entry.state {
            State::Waiting | State::Running => 5,
            _ => self.outputs(entry).iter().map(|output| output.key.len() + output.value.len()).sum(),
        };
        let expected = InFlight {
            waiting: count(State::Waiting),
            running: count(State::Running),
            completed: count(State::Completed),
            outstanding: count(State::InStep),
            bytes: self.entries.iter().map(bytes).sum(),
        };
        assert_eq!(self.ledger.in_flight(), expected);
    }

    fn check_due(&self) {
        let completed: Vec<&Entry> = self.entries.iter().filter(|entry| entry.state == State::Completed).collect();
        let due = self.ledger.step_due(self.now);
        if completed.is_empty() || self.step.is_some() {
            assert_eq!(due, None);
            return;
        }
        if due.is_none() {
            assert!(self.limits.position_bytes < 100, "completed, and never due");
            return;
        }
        let outputs: Vec<NewRecord> = completed.iter().flat_map(|entry| self.outputs(entry)).collect();
        let bytes: usize = outputs.iter().map(|output| output.key.len() + output.value.len()).sum();
        let idle = !self.entries.iter().any(|entry| matches!(entry.state, State::Waiting | State::Running));
        let expected = if idle || outputs.len() >= self.limits.step_outputs || bytes >= self.limits.step_bytes {
            self.now
        } else {
            let delay = |entry: &&Entry| match self.sources[entry.partition][&entry.offset].turn.interactive {
                true => self.limits.interactive_delay,
                false => self.limits.step_delay,
            };
            completed.iter().map(|entry| entry.at + delay(entry)).min().unwrap()
        };
        assert_eq!(due, Some(expected));
    }

    fn check_pauses(&mut self) {
        let changes = self.ledger.pauses();
        for of in changes.pause {
            assert!(self.paused.insert(of), "paused twice");
        }
        for of in changes.resume {
            assert!(self.paused.remove(&of), "resumed and was not paused");
        }
        let records = self.entries.len();
        let bytes = self.ledger.in_flight().bytes;
        let active: BTreeSet<usize> = self.entries.iter().map(|entry| entry.partition).collect();
        for number in (0..PARTITIONS).filter(|number| self.cursors[*number].is_some()) {
            let paused = self.paused.contains(&partition(number));
            if !active.contains(&number) {
                assert!(!paused, "nothing in flight, and paused");
            } else if records >= self.limits.records || bytes >= self.limits.bytes {
                assert!(paused, "the limits are reached");
            } else if active.len() == 1
                && records <= self.limits.records / 2
                && bytes <= self.limits.bytes / 2
                && self.limits.position_bytes > 100
            {
                assert!(!paused, "alone, and below half");
            }
        }
    }

    /// Lets everything come to its end: all is committed, once.
    pub fn drain(&mut self) {
        for _ in 0..100_000 {
            (0..PARTITIONS).for_each(|number| self.apply(Op::Assign(number)));
            self.apply(Op::Deliver(0, 3));
            self.apply(Op::Deliver(1, 3));
            self.apply(Op::Deliver(2, 3));
            self.apply(Op::Start(20));
            // The last of those that run, so that completion is out of order to the end.
            for _ in 0..5 {
                self.complete(|count| count - 1);
            }
            self.apply(Op::Wait(300));
            self.apply(Op::TakeStep);
            self.apply(Op::Commit(Outcome::Done));
            if (0..PARTITIONS).all(|number| self.complete[number].len() == self.sources[number].len()) {
                assert_eq!(self.ledger.in_flight(), InFlight::default());
                return;
            }
        }
        panic!("something is lost: {:?}", self.ledger);
    }
}
