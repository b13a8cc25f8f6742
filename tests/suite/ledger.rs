//! The ledger against a naive model of a worker and its log.

mod model;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use deckle::log::{
    NewRecord, Partition, Position, Record,
    ledger::{Admission, Ledger, Limits, Ticket, Turn},
};
use model::{Op, World};
use proptest::{prelude::*, strategy::ValueTree};

fn limits() -> impl Strategy<Value = Limits> {
    let position = prop_oneof![Just(4), Just(8), Just(4096)];
    (2usize..20, 40usize..400, 1usize..4, 1usize..8, 10usize..80, position).prop_map(
        |(records, bytes, large, step_outputs, step_bytes, position_bytes)| Limits {
            records,
            bytes,
            large,
            step_outputs,
            step_bytes,
            position_bytes,
            ..Limits::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_committed_twice(
        limits in limits(),
        sources in model::sources(),
        ops in prop::collection::vec(model::op(), 1..250),
    ) {
        let mut world = World::new(limits, sources);
        for op in ops {
            world.apply(op);
        }
        world.drain();
    }
}

#[test]
fn small_records_overtake_large_ones() {
    const PLACES: usize = 8;
    let mut ledger = ledger(Limits { large: 6, ..Limits::default() });
    let mut at = Instant::now();
    let begun = at;
    // Fourteen of a minute each, and behind them forty of 200 ms.
    let admit_as = |ledger: &mut Ledger, offset: i64, large: bool| {
        let turn = Turn { interactive: false, large };
        assert!(matches!(ledger.admit(record(0, offset), offset.to_string(), turn), Admission::Admitted(_)));
    };
    (0..14).for_each(|offset| admit_as(&mut ledger, offset, true));
    (14..54).for_each(|offset| admit_as(&mut ledger, offset, false));
    let (mut running, mut small_done, mut large_done) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        while running.len() < PLACES {
            let Some((ticket, record)) = ledger.start() else { break };
            let large = record.offset < 14;
            let time = if large { Duration::from_secs(60) } else { Duration::from_millis(200) };
            running.push((at + time, large, ticket));
        }
        running.sort_by_key(|(ends, ..)| std::cmp::Reverse(*ends));
        let Some((ends, large, ticket)) = running.pop() else { break };
        at = ends;
        assert!(ledger.complete(ticket, vec![], at));
        if large { &mut large_done } else { &mut small_done }.push(at - begun);
    }
    assert_eq!((small_done.len(), large_done.len()), (40, 14));
    assert_eq!(small_done.last(), Some(&Duration::from_secs(4)), "two places for the small ones");
    assert_eq!(large_done.last(), Some(&Duration::from_secs(180)), "six places for the large ones");
}

#[test]
fn a_large_record_that_is_taken_away_gives_its_place_back() {
    let mut ledger = ledger(Limits { large: 1, ..Limits::default() });
    let large = Turn { interactive: false, large: true };
    for number in [0, 1] {
        ledger.admit(record(number, 0), format!("{number}"), large);
    }
    let (first, _) = ledger.start().unwrap();
    assert!(ledger.start().is_none(), "one large record at a time");
    let taken = ledger.partition(first).unwrap().clone();
    assert_eq!(ledger.revoke(&[taken]), [first]);
    assert!(ledger.start().is_some());
}

#[test]
fn a_long_life_ends_well() {
    // As above, but long: one seed, many assignments.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (limits(), model::sources_of(400), prop::collection::vec(model::op(), 6_000));
    for _ in 0..10 {
        let (limits, sources, ops) = strategy.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(limits, sources);
        ops.into_iter().for_each(|op: Op| world.apply(op));
        world.drain();
    }
}

fn partition(number: i32) -> Partition {
    Partition { topic: "in".into(), number }
}

fn record(number: i32, offset: i64) -> Record {
    Record {
        partition: partition(number),
        offset,
        appended_at_us: 0,
        key: String::new(),
        headers: BTreeMap::new(),
        value: Bytes::from_static(&[0; 10]),
    }
}

fn output(bytes: usize) -> NewRecord {
    NewRecord { topic: "out".into(), key: String::new(), headers: BTreeMap::new(), value: Bytes::from(vec![0; bytes]) }
}

/// A ledger with partitions 0 and 1 assigned from their beginning.
fn ledger(limits: Limits) -> Ledger {
    let mut ledger = Ledger::new(limits);
    ledger.assign(partition(0), Position::at(0));
    ledger.assign(partition(1), Position::at(0));
    ledger
}

fn admit(ledger: &mut Ledger, number: i32, offset: i64, key: &str, interactive: bool) -> Ticket {
    match ledger.admit(record(number, offset), key.into(), Turn { interactive, large: false }) {
        Admission::Admitted(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn started(ledger: &mut Ledger) -> Vec<(i32, i64)> {
    std::iter::from_fn(|| ledger.start()).map(|(_, record)| (record.partition.number, record.offset)).collect()
}

#[test]
fn partitions_take_turns() {
    let mut ledger = ledger(Limits::default());
    for offset in 0..4 {
        admit(&mut ledger, 0, offset, &format!("a{offset}"), false);
    }
    for offset in 0..2 {
        admit(&mut ledger, 1, offset, &format!("b{offset}"), false);
    }
    assert_eq!(started(&mut ledger), [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (0, 3)]);
}

#[test]
fn interactive_records_go_first_and_bulk_gets_every_fourth_start() {
    let mut ledger = ledger(Limits::default());
    for offset in 0..12 {
        admit(&mut ledger, 0, offset, &format!("a{offset}"), offset >= 4);
    }
    let order: Vec<i64> = started(&mut ledger).into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(order, [4, 5, 6, 0, 7, 8, 9, 1, 10, 11, 2, 3]);
}

#[test]
fn one_order_key_runs_alone_across_partitions() {
    let mut ledger = ledger(Limits::default());
    let first = admit(&mut ledger, 0, 0, "k", false);
    admit(&mut ledger, 1, 0, "k", false);
    admit(&mut ledger, 0, 1, "k", false);
    admit(&mut ledger, 0, 2, "other", false);
    assert_eq!(started(&mut ledger), [(0, 0), (0, 2)]);
    assert!(ledger.complete(first, vec![], Instant::now()));
    assert_eq!(started(&mut ledger), [(1, 0)]);
    assert_eq!(ledger.revoke(&[partition(1)]).len(), 1, "its task is of no use any more");
    assert_eq!(started(&mut ledger), [(0, 1)]);
}

#[test]
fn outputs_leave_although_the_head_still_runs() {
    let mut ledger = ledger(Limits::default());
    let now = Instant::now();
    let tickets: Vec<Ticket> = (0..3_000).map(|at| admit(&mut ledger, 0, at * 2, &at.to_string(), false)).collect();
    started(&mut ledger);
    for ticket in &tickets[1..] {
        ledger.complete(*ticket, vec![output(1)], now);
    }
    let mut steps = 0;
    while let Some(step) = ledger.take_step() {
        steps += 1;
        assert_eq!(step.positions[&partition(0)].next, 0);
        assert_eq!(step.positions[&partition(0)].done.len(), 1, "holes do not divide what is done");
        ledger.confirm();
    }
    assert_eq!(steps, 2, "2,000 outputs and the rest");
    ledger.complete(tickets[0], vec![], now);
    assert_eq!(ledger.take_step().unwrap().positions[&partition(0)], Position::at(5_999));
}

#[test]
fn a_step_closes_by_outputs_bytes_time_or_idleness() {
    let limits = Limits { step_outputs: 3, step_bytes: 100, ..Limits::default() };
    let now = Instant::now();
    let fill = |outputs: Vec<NewRecord>, interactive: bool| {
        let mut ledger = ledger(limits.clone());
        let ticket = admit(&mut ledger, 0, 0, "a", interactive);
        admit(&mut ledger, 0, 1, "b", false);
        assert_eq!(ledger.step_due(now), None);
        started(&mut ledger);
        ledger.complete(ticket, outputs, now);
        ledger
    };
    let later = now + Duration::from_millis(3);
    assert_eq!(fill(vec![output(1)], false).step_due(later), Some(now + Duration::from_millis(200)));
    assert_eq!(fill(vec![output(1)], true).step_due(later), Some(now + Duration::from_millis(10)));
    assert_eq!(fill(vec![output(1), output(1), output(1)], false).step_due(later), Some(later));
    assert_eq!(fill(vec![output(100)], false).step_due(later), Some(later));

    let mut idle = fill(vec![output(1)], false);
    idle.revoke(&[partition(1)]);
    assert!(idle.take_step().is_some());
    assert_eq!(idle.step_due(later), None, "one at a time");
    idle.confirm();
    let mut idle = ledger(limits);
    let ticket = admit(&mut idle, 0, 0, "a", false);
    started(&mut idle);
    idle.complete(ticket, vec![], now);
    assert_eq!(idle.step_due(later), Some(later), "nothing runs, nothing waits");
}

#[test]
fn one_records_outputs_are_never_divided() {
    let mut ledger = ledger(Limits { step_outputs: 2, ..Limits::default() });
    let (a, b) = (admit(&mut ledger, 0, 0, "a", false), admit(&mut ledger, 0, 1, "b", false));
    started(&mut ledger);
    ledger.complete(b, vec![output(1)], Instant::now());
    ledger.complete(a, vec![output(2); 5], Instant::now());
    assert_eq!(ledger.take_step().unwrap().outputs, vec![output(1)]);
    assert!(ledger.take_step().is_none(), "the first is outstanding");
    ledger.confirm();
    assert_eq!(ledger.take_step().unwrap().outputs, vec![output(2); 5]);
}

#[test]
fn a_step_of_which_a_part_was_committed_keeps_the_rest() {
    let mut ledger = ledger(Limits::default());
    let (a, b) = (admit(&mut ledger, 0, 5, "a", false), admit(&mut ledger, 1, 7, "b", false));
    started(&mut ledger);
    ledger.complete(a, vec![output(1)], Instant::now());
    ledger.complete(b, vec![output(2)], Instant::now());
    let step = ledger.take_step().unwrap();
    let rest = ledger.reconcile(&[(partition(0), Position::at(6)), (partition(1), Position::at(7))].into()).unwrap();
    assert_eq!((&rest.outputs[..], rest.positions.len()), (&step.outputs[1..], 1));
    assert_eq!(rest.positions[&partition(1)], Position::at(8));
    assert_eq!(ledger.reconcile(&[(partition(1), Position::at(8))].into()), None);
    assert_eq!(ledger.in_flight(), Default::default());
}

#[test]
fn a_stale_ticket_completes_nothing() {
    let mut ledger = ledger(Limits::default());
    let ticket = admit(&mut ledger, 0, 0, "a", false);
    started(&mut ledger);
    ledger.assign(partition(0), Position::at(0));
    assert!(!ledger.complete(ticket, vec![output(1)], Instant::now()));
    let again = admit(&mut ledger, 0, 0, "a", false);
    assert!(!ledger.complete(again, vec![output(1)], Instant::now()), "it was not started");
    assert_eq!(started(&mut ledger), [(0, 0)]);
    assert!(ledger.complete(again, vec![output(1)], Instant::now()));
    assert!(!ledger.complete(again, vec![output(1)], Instant::now()), "once");
    assert_eq!(ledger.take_step().unwrap().outputs.len(), 1);
}

#[test]
fn a_partition_alone_may_use_all_and_two_share() {
    let limits = Limits { records: 10, ..Limits::default() };
    let mut ledger = ledger(limits);
    for offset in 0..9 {
        admit(&mut ledger, 0, offset, &format!("a{offset}"), false);
    }
    assert_eq!(ledger.pauses(), Default::default(), "nine of ten");
    let late = admit(&mut ledger, 1, 0, "b", false);
    let pauses = ledger.pauses();
    assert_eq!((pauses.pause, pauses.resume), (vec![partition(0), partition(1)], vec![]));
    let now = Instant::now();
    let mut running: Vec<Ticket> = std::iter::from_fn(|| ledger.start()).map(|(ticket, _)| ticket).collect();
    ledger.complete(late, vec![], now);
    running.retain(|ticket| *ticket != late);
    ledger.take_step();
    assert_eq!(ledger.pauses(), Default::default(), "in flight until it is confirmed");
    ledger.confirm();
    assert_eq!(ledger.pauses().resume, [partition(1)], "nothing of it is in flight");
    for ticket in running.drain(..4) {
        ledger.complete(ticket, vec![], now);
    }
    ledger.take_step();
    ledger.confirm();
    assert_eq!(ledger.pauses().resume, [partition(0)], "five of ten, alone");
}

#[test]
fn a_partition_whose_position_grows_too_long_pauses_alone_until_it_fits() {
    let limits = Limits { position_bytes: 21, ..Limits::default() };
    let mut ledger = ledger(limits.clone());
    let tickets: Vec<Ticket> = (0..40).map(|at| admit(&mut ledger, 0, at, &at.to_string(), false)).collect();
    let other = admit(&mut ledger, 1, 0, "other", false);
    started(&mut ledger);
    let now = Instant::now();
    // Every second one: each is a range of its own, of two characters.
    for ticket in tickets.iter().skip(1).step_by(2) {
        ledger.complete(*ticket, vec![output(1)], now);
    }
    ledger.complete(other, vec![output(2)], now);
    assert_eq!(ledger.pauses().pause, [partition(0)]);
    let step = ledger.take_step().unwrap();
    assert!(step.positions[&partition(0)].encode().len() <= limits.position_bytes);
    assert!(step.outputs.contains(&output(2)), "the other partition is not held back");
    ledger.confirm();
    assert_eq!(ledger.take_step(), None);
    assert_eq!(ledger.step_due(now), None, "no use in asking again");
    for ticket in tickets.iter().step_by(2) {
        ledger.complete(*ticket, vec![output(1)], now);
    }
    assert_eq!(ledger.pauses().resume, [partition(0)]);
    assert_eq!(ledger.take_step().unwrap().positions[&partition(0)], Position::at(40));
}
