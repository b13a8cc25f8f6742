//! The laws of the log, held on every side of the seam. A law knows only `dyn Log`; a side says how to open one.
//!
//! Nothing here sleeps to wait for a state: it waits for the state, with a deadline.

mod kafka;
mod member;
mod side;
mod sqlite;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use deckle::{
    contract::error::Failure,
    log::{CommitError, Event, From, Lag, Partition, Position, Record, Step},
};
use member::{Member, Worker, new_record, numbered, read_all, text, within};
use side::{Bench, Side};

/// Runs every law on one side.
macro_rules! on_side {
    ($side:expr; $($law:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $law() {
            super::$law(&$side).await;
        }
    )* };
}

/// The list of laws, so that no side can leave one out.
macro_rules! every_law {
    ($side:expr) => {
        on_side! { $side;
            records_come_back_as_they_went_in_and_in_order
            append_times_do_not_go_back_whoever_appends
            a_step_shows_its_outputs_and_its_positions
            a_fenced_step_shows_nothing
            a_new_owner_honours_the_position_and_what_is_done_above_it
            what_is_committed_before_the_acknowledgement_counts
            after_the_acknowledgement_nothing_can_be_committed
            a_revoke_that_is_never_acknowledged_ends_all_the_same
            members_that_come_and_go_process_each_record_once
            a_dead_member_hands_over
            a_member_that_leaves_hands_over
            a_restarted_member_takes_its_partitions_back_and_fences_its_former_self
            a_paused_partition_is_silent_and_loses_nothing
            a_cancelled_next_loses_nothing
            groups_do_not_disturb_each_other
            a_tail_starts_where_it_is_told
            lag_is_no_less_than_what_is_not_complete_and_0_when_all_is
            trim_keeps_what_a_group_still_needs
            a_position_below_the_start_is_fatal
        }
    };
}

mod on_sqlite {
    use super::sqlite::OnSqlite;
    every_law!(OnSqlite);
}

mod on_kafka {
    use super::kafka::OnKafka;
    every_law!(OnKafka);
}

async fn records_come_back_as_they_went_in_and_in_order(side: &dyn Side) {
    let bench = side.bench(&[("in", 3)]).await;
    let log = bench.open().await;
    let mut records = numbered(&bench.topic("in"), 0..60);
    records[7].headers = [("ce_id".into(), "ü \"quoted\"".into()), ("tenant".into(), String::new())].into();
    records[8].value = bytes::Bytes::from_static(&[0, 255, 1]);
    let times = log.append(records.clone()).await.unwrap();
    assert_eq!(times.len(), records.len());

    let mut member = Member::join(&*log, "g", "a", &bench.topics()).await;
    let read = member.read(60).await;

    let by_key: BTreeMap<&str, &Record> = read.iter().map(|record| (record.key.as_str(), record)).collect();
    for (sent, time) in records.iter().zip(times) {
        let got = by_key[sent.key.as_str()];
        assert_eq!((&got.headers, &got.value, got.appended_at_us), (&sent.headers, &sent.value, time));
    }
    let used: BTreeSet<i32> = read.iter().map(|record| record.partition.number).collect();
    assert_eq!(used.len(), 3, "keys spread over the partitions");
    in_order(&read);
    log.append(records).await.unwrap();
    let again = member.read(60).await;
    for record in again {
        assert_eq!(record.partition, by_key[record.key.as_str()].partition, "a key keeps its partition");
    }
}

/// Within each partition offsets rise, append times do not go back by a millisecond or more, and any 1,000 records in
/// a row have different ones.
fn in_order(records: &[Record]) {
    let mut partitions: BTreeMap<&Partition, Vec<(i64, i64)>> = BTreeMap::new();
    for record in records {
        let now = (record.offset, record.appended_at_us);
        let seen = partitions.entry(&record.partition).or_default();
        if let Some(before) = seen.last() {
            assert!(before.0 < now.0, "{} at {now:?} came after {before:?}", record.partition);
            assert!(now.1 > before.1 - 1_000, "{} at {now:?} came after {before:?}", record.partition);
        }
        seen.push(now);
    }
    for (partition, seen) in partitions {
        for some in seen.chunks(500).zip(seen.chunks(500).skip(1)).map(|(one, two)| [one, two].concat()) {
            let times: BTreeSet<i64> = some.iter().map(|(_, time)| *time).collect();
            assert_eq!(times.len(), some.len(), "{partition}");
        }
        let last = &seen[seen.len().saturating_sub(1_000)..];
        assert_eq!(last.iter().map(|(_, time)| *time).collect::<BTreeSet<i64>>().len(), last.len(), "{partition}");
    }
}

async fn append_times_do_not_go_back_whoever_appends(side: &dyn Side) {
    let bench = side.bench(&[("in", 1)]).await;
    let (one, two) = (bench.open().await, bench.open().await);
    let mut tail = one.tail(&bench.topics(), From::Start).await.unwrap();
    let topic = bench.topic("in");
    let mut told = Vec::new();
    for round in 0..10 {
        told.extend(one.append(numbered(&topic, round * 6..round * 6 + 3)).await.unwrap());
        told.extend(two.append(numbered(&topic, round * 6 + 3..round * 6 + 6)).await.unwrap());
    }
    let read = read_all(&mut *tail, 60).await;
    in_order(&read);
    assert_eq!(read.iter().map(|record| record.appended_at_us).collect::<Vec<_>>(), told);
}

async fn a_step_shows_its_outputs_and_its_positions(side: &dyn Side) {
    let bench = side.bench(&[("in", 1), ("out", 2), ("other", 1)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..5)).await.unwrap();
    let mut member = Member::join(&*log, "g", "a", &[bench.topic("in")]).await;
    let read = member.read(5).await;
    let partition = read[0].partition.clone();

    let mut outputs = numbered(&bench.topic("out"), 0..20);
    outputs.extend(numbered(&bench.topic("other"), 20..25));
    let position = Position { next: read[2].offset, done: vec![read[4].offset..=read[4].offset] };
    let step = Step { outputs, positions: [(partition.clone(), position.clone())].into() };
    member.writer.commit(&step).await.unwrap();

    let mut tail = log.tail(&[bench.topic("out"), bench.topic("other")], From::Start).await.unwrap();
    let shown: BTreeSet<String> = read_all(&mut *tail, 25).await.iter().map(text).collect();
    assert_eq!(shown, (0..25).map(|n| n.to_string()).collect());
    let committed = member.writer.committed(std::slice::from_ref(&partition)).await.unwrap();
    assert_eq!(committed, [(partition, position)].into());
}

async fn a_fenced_step_shows_nothing(side: &dyn Side) {
    let bench = side.bench(&[("in", 2), ("out", 2)]).await;
    let log = bench.open().await;
    let mut owner = Member::join(&*log, "g", "a", &[bench.topic("in")]).await;
    owner.until("it owns both partitions", |member| member.owned.len() == 2).await;
    let Member { reader, mut writer, owned, .. } = owner;
    reader.leave().await.unwrap();

    // One position would be enough to fence it; the outputs and the other position must not show either.
    let positions = owned.keys().map(|partition| (partition.clone(), Position::at(7))).collect();
    let step = Step { outputs: numbered(&bench.topic("out"), 0..10), positions };
    let outcome = writer.commit(&step).await;
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");

    let mut tail = log.tail(&[bench.topic("out")], From::Start).await.unwrap();
    log.append(numbered(&bench.topic("out"), 100..110)).await.unwrap();
    let shown = read_all(&mut *tail, 10).await;
    assert!(shown.iter().all(|record| text(record).len() == 3), "only what was appended afterwards: {shown:?}");
    let mut next = Member::join(&*log, "g", "b", &[bench.topic("in")]).await;
    next.until("it owns both partitions", |member| member.owned.len() == 2).await;
    assert!(next.owned.values().all(|position| position.next < 7), "no position moved: {:?}", next.owned);
}

async fn a_new_owner_honours_the_position_and_what_is_done_above_it(side: &dyn Side) {
    let bench = side.bench(&[("in", 1)]).await;
    let log = bench.open().await;
    let topic = bench.topic("in");
    // Several appends: on a side with markers these leave holes.
    for at in 0..10 {
        log.append(numbered(&topic, at..at + 1)).await.unwrap();
    }
    let mut first = Member::join(&*log, "g", "a", std::slice::from_ref(&topic)).await;
    let read = first.read(10).await;
    let position =
        Position { next: read[2].offset, done: vec![read[3].offset..=read[4].offset, read[7].offset..=read[7].offset] };
    let partition = read[0].partition.clone();
    first.writer.commit(&Step { outputs: vec![], positions: [(partition.clone(), position)].into() }).await.unwrap();
    first.reader.leave().await.unwrap();

    let mut second = Member::join(&*log, "g", "b", std::slice::from_ref(&topic)).await;
    let rest: Vec<String> = second.read(5).await.iter().map(text).collect();
    assert_eq!(rest, ["2", "5", "6", "8", "9"]);
    log.append(numbered(&topic, 10..11)).await.unwrap();
    assert_eq!(text(&second.read(1).await[0]), "10", "nothing else was left");
}

/// A member that owns both partitions, and the revoke of one of them that a second member causes.
async fn revoked(bench: &dyn Bench) -> (Member, Member, Partition, tokio::sync::oneshot::Sender<()>) {
    let log = bench.open().await;
    let topics = [bench.topic("in")];
    log.append(numbered(&topics[0], 0..20)).await.unwrap();
    let mut first = Member::join(&*log, "g", "a", &topics).await;
    first.read(20).await;
    let second = Member::join(&*bench.open().await, "g", "b", &topics).await;
    loop {
        if let Event::Revoked { partitions, lost, ack } = within("a revoke", first.reader.next()).await.unwrap() {
            assert!(!lost, "the owner lives and is asked");
            assert_eq!(partitions.len(), 1, "a fair share: {partitions:?}");
            return (first, second, partitions[0].clone(), ack);
        }
    }
}

/// The position past everything that was read of a partition.
fn past(member: &Member, partition: &Partition) -> Position {
    let last = member.seen.iter().filter(|record| record.partition == *partition).map(|record| record.offset).max();
    Position::at(last.unwrap() + 1)
}

async fn what_is_committed_before_the_acknowledgement_counts(side: &dyn Side) {
    let bench = side.bench(&[("in", 2), ("out", 1)]).await;
    let (mut first, mut second, partition, ack) = revoked(&*bench).await;
    let position = past(&first, &partition);
    let step = Step {
        outputs: numbered(&bench.topic("out"), 0..1),
        positions: [(partition.clone(), position.clone())].into(),
    };
    first.writer.commit(&step).await.unwrap();
    ack.send(()).unwrap();

    second.until("it owns the partition", |member| member.owned.contains_key(&partition)).await;
    assert_eq!(second.owned[&partition], position);
    let kept = first.owned.keys().find(|kept| **kept != partition).unwrap().clone();
    let step = Step { outputs: vec![], positions: [(kept.clone(), past(&first, &kept))].into() };
    first.writer.commit(&step).await.expect("the partition that stayed is still its own");
}

async fn after_the_acknowledgement_nothing_can_be_committed(side: &dyn Side) {
    let bench = side.bench(&[("in", 2), ("out", 1)]).await;
    let (mut first, mut second, partition, ack) = revoked(&*bench).await;
    ack.send(()).unwrap();
    let step = Step {
        outputs: numbered(&bench.topic("out"), 0..1),
        positions: first.owned.keys().map(|partition| (partition.clone(), past(&first, partition))).collect(),
    };
    let outcome = first.writer.commit(&step).await;
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");
    second.until("it owns the partition", |member| member.owned.contains_key(&partition)).await;
    assert!(second.read(1).await.iter().all(|record| record.partition == partition), "its records come again");
    let outcome = first.writer.commit(&step).await;
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");
}

async fn a_revoke_that_is_never_acknowledged_ends_all_the_same(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let (mut first, mut second, partition, ack) = revoked(&*bench).await;
    second.until("it owns the partition", |member| member.owned.contains_key(&partition)).await;
    let step = Step { outputs: vec![], positions: [(partition.clone(), past(&first, &partition))].into() };
    let outcome = first.writer.commit(&step).await;
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");
    drop(ack);
}

async fn members_that_come_and_go_process_each_record_once(side: &dyn Side) {
    let bench = side.bench(&[("in", 4), ("out", 2)]).await;
    let log = bench.open().await;
    let (from, to) = (bench.topic("in"), bench.topic("out"));
    let mut tail = log.tail(std::slice::from_ref(&to), From::Start).await.unwrap();
    let total = 600;
    let feed = async {
        for at in (0..total).step_by(10) {
            log.append(numbered(&from, at..at + 10)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let watch = async {
        let mut seen = Vec::new();
        let mut workers = vec![Worker::start(&*bench.open().await, "a", &from, &to).await];
        // Another one joins, one leaves in order, one dies, its successor joins: at moments given by progress alone.
        for (after, change) in [(60, "join b"), (150, "join c"), (250, "leave"), (350, "kill"), (450, "join d")] {
            seen.extend(read_all(&mut *tail, after - seen.len()).await);
            match change {
                "leave" => workers.remove(0).leave().await,
                "kill" => workers.remove(0).kill().await,
                join => {
                    let name = join.trim_start_matches("join ");
                    workers.push(Worker::start(&*bench.open().await, name, &from, &to).await);
                }
            }
        }
        seen.extend(read_all(&mut *tail, total - seen.len()).await);
        for worker in workers {
            worker.leave().await;
        }
        seen.extend(tail.ready().await.unwrap());
        seen
    };
    let ((), seen) = tokio::join!(feed, watch);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in &seen {
        *counts.entry(text(record)).or_default() += 1;
    }
    let wrong: Vec<_> = (0..total).filter(|n| counts.get(&n.to_string()) != Some(&1)).collect();
    assert!(wrong.is_empty(), "not exactly once: {wrong:?}");
}

async fn a_dead_member_hands_over(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..20)).await.unwrap();
    let mut first = Member::join(&*log, "g", "a", &bench.topics()).await;
    let mut second = Member::join(&*bench.open().await, "g", "b", &bench.topics()).await;
    first.until_other(&mut second, "they share", |one, two| one.owned.len() == 1 && two.owned.len() == 1).await;
    let Member { reader, mut writer, owned, .. } = first;
    drop(reader);

    second.until("it owns both", |member| member.owned.len() == 2).await;
    second.until("all records came", |member| member.seen.len() == 20).await;
    let (partition, _) = owned.into_iter().next().unwrap();
    let outcome = writer.commit(&Step { outputs: vec![], positions: [(partition, Position::at(1))].into() }).await;
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");
}

async fn a_member_that_leaves_hands_over(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    let mut first = Member::join(&*log, "g", "a", &bench.topics()).await;
    first.until("it owns both", |member| member.owned.len() == 2).await;
    let mut second = Member::join(&*bench.open().await, "g", "b", &bench.topics()).await;
    first.until_other(&mut second, "they share", |one, two| one.owned.len() == 1 && two.owned.len() == 1).await;
    let Member { reader, .. } = first;
    let left = std::time::Instant::now();
    reader.leave().await.unwrap();
    second.until("it owns both", |member| member.owned.len() == 2).await;
    assert!(left.elapsed() < side.dead_after(), "sooner than from a dead one");
}

async fn a_restarted_member_takes_its_partitions_back_and_fences_its_former_self(side: &dyn Side) {
    let bench = side.bench(&[("in", 2), ("out", 1)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..20)).await.unwrap();
    let topics = [bench.topic("in")];
    for group in ["the former self lives on", "the former self died"] {
        let mut former = Member::join(&*log, group, "a", &topics).await;
        former.read(20).await;
        let positions = former.owned.keys().map(|partition| (partition.clone(), past(&former, partition))).collect();
        let step = Step { outputs: numbered(&bench.topic("out"), 0..1), positions };
        let Member { reader, mut writer, .. } = former;
        let _lives_on = group.ends_with("lives on").then_some(reader);

        let began = std::time::Instant::now();
        let mut present = Member::join(&*bench.open().await, group, "a", &topics).await;
        present.read(20).await;
        assert!(began.elapsed() < side.dead_after(), "{group}: without waiting for its leases");
        let outcome = writer.commit(&step).await;
        assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{group}: {outcome:?}");
        present.writer.commit(&step).await.unwrap();
    }
}

async fn a_paused_partition_is_silent_and_loses_nothing(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    let topic = bench.topic("in");
    log.append(numbered(&topic, 0..40)).await.unwrap();
    let mut member = Member::join(&*log, "g", "a", &bench.topics()).await;
    member.read(40).await;
    let paused = member.seen[0].partition.clone();
    let other = |record: &Record| record.partition != paused;
    for round in 1..6 {
        // A read is under way, and has most likely found the new records, when the pause comes.
        assert!(tokio::time::timeout(Duration::ZERO, member.reader.next()).await.is_err());
        log.append(numbered(&topic, round * 40..round * 40 + 40)).await.unwrap();
        let expected = log_len(&*log, &*bench, other).await;
        member.reader.pause(std::slice::from_ref(&paused));
        let silent_from = member.seen.len();
        let others = |member: &Member| member.seen.iter().filter(|record| other(record)).count();
        member.until("the other partition goes on", |member| others(member) == expected).await;
        assert!(member.seen[silent_from..].iter().all(other), "round {round}");
        member.reader.resume(std::slice::from_ref(&paused));
        let all = round * 40 + 40;
        member.until("the paused one goes on", |member| member.seen.len() == all).await;
    }
    in_order(&member.seen);
}

/// How many of the log's records are such.
async fn log_len(log: &dyn deckle::log::Log, bench: &dyn Bench, such: impl Fn(&Record) -> bool) -> usize {
    let mut tail = log.tail(&bench.topics(), From::Start).await.unwrap();
    let mut count = 0;
    loop {
        match tail.ready().await.unwrap() {
            none if none.is_empty() => return count,
            some => count += some.iter().filter(|record| such(record)).count(),
        }
    }
}

async fn a_cancelled_next_loses_nothing(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    let mut member = Member::join(&*log, "g", "a", &bench.topics()).await;
    let mut tail = log.tail(&bench.topics(), From::Start).await.unwrap();
    let mut tailed = Vec::new();
    for at in 0..100 {
        log.append(numbered(&bench.topic("in"), at..at + 1)).await.unwrap();
        for micros in [0, 50, 200, 500] {
            let patience = Duration::from_micros(micros);
            if let Ok(event) = tokio::time::timeout(patience, member.reader.next()).await {
                member.take(event.unwrap());
            }
            if let Ok(records) = tokio::time::timeout(patience, tail.next()).await {
                tailed.extend(records.unwrap());
            }
        }
    }
    member.until("all came", |member| member.seen.len() == 100).await;
    in_order(&member.seen);
    tailed.extend(read_all(&mut *tail, 100 - tailed.len()).await);
    in_order(&tailed);
}

async fn groups_do_not_disturb_each_other(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..10)).await.unwrap();
    let mut one = Member::join(&*log, "one", "a", &bench.topics()).await;
    one.read(10).await;
    let positions = one.owned.keys().map(|partition| (partition.clone(), Position::at(100))).collect();
    one.writer.commit(&Step { outputs: vec![], positions }).await.unwrap();
    let mut two = Member::join(&*log, "two", "a", &bench.topics()).await;
    two.read(10).await;
    assert_eq!((one.owned.len(), two.owned.len()), (2, 2));
}

async fn a_tail_starts_where_it_is_told(side: &dyn Side) {
    let bench = side.bench(&[("in", 2)]).await;
    let log = bench.open().await;
    let topic = bench.topic("in");
    log.append(numbered(&topic, 0..10)).await.unwrap();
    let mut start = log.tail(&bench.topics(), From::Start).await.unwrap();
    let mut end = log.tail(&bench.topics(), From::End).await.unwrap();
    assert!(end.ready().await.unwrap().is_empty(), "nothing from now on, yet");
    let waiting = tokio::spawn(async move { (end.next().await.unwrap(), end) });
    log.append(numbered(&topic, 10..11)).await.unwrap();
    let (records, mut end) = within("the tail wakes", waiting).await.unwrap();
    assert_eq!(records.iter().map(text).collect::<Vec<_>>(), ["10"]);
    assert!(end.ready().await.unwrap().is_empty());
    let all = read_all(&mut *start, 11).await;
    in_order(&all);
    assert_eq!(all.iter().map(text).collect::<BTreeSet<_>>(), (0..11).map(|n| n.to_string()).collect());
    assert!(start.ready().await.unwrap().is_empty());
}

async fn lag_is_no_less_than_what_is_not_complete_and_0_when_all_is(side: &dyn Side) {
    let bench = side.bench(&[("in", 1), ("idle", 1)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..10)).await.unwrap();
    let lag = log.lag("g", &bench.topics()).await.unwrap();
    let of = |lag: &[Lag], name: &str| lag.iter().find(|l| *l.topic == *bench.topic(name)).cloned().unwrap();
    assert!(of(&lag, "in").records >= 10, "{lag:?}");
    assert!(of(&lag, "in").oldest_us > 0);
    assert_eq!((of(&lag, "idle").records, of(&lag, "idle").oldest_us), (0, 0));

    let mut member = Member::join(&*log, "g", "a", &bench.topics()).await;
    let read = member.read(10).await;
    let move_to = |position| Step { outputs: vec![], positions: [(read[0].partition.clone(), position)].into() };
    let position = Position { next: read[2].offset, done: vec![read[4].offset..=read[8].offset] };
    member.writer.commit(&move_to(position)).await.unwrap();
    let before = of(&lag, "in");
    // A commit shows in it a moment later.
    let until = async |what: &str, holds: &dyn Fn(&Lag) -> bool| {
        within(what, async {
            loop {
                let lag = of(&log.lag("g", &bench.topics()).await.unwrap(), "in");
                if holds(&lag) {
                    return;
                }
                assert!(lag.records > 0 && lag.oldest_us > 0, "never 0 before all is complete: {lag:?}");
            }
        })
        .await;
    };
    until("less is left", &|lag| (3..before.records).contains(&lag.records)).await;

    // All but the last is done: the age is that of the last.
    log.append(numbered(&bench.topic("in"), 10..11)).await.unwrap();
    let last = member.read(1).await.remove(0);
    member.writer.commit(&move_to(Position::at(last.offset))).await.unwrap();
    let age = |lag: &Lag| jiff::Timestamp::now().as_microsecond() - last.appended_at_us - lag.oldest_us;
    until("it is as old as the last one", &|lag| lag.records >= 1 && age(lag) >= 0).await;
    member.writer.commit(&move_to(Position::at(last.offset + 1))).await.unwrap();
    until("nothing is left, for markers are no records", &|lag| (lag.records, lag.oldest_us) == (0, 0)).await;
}

async fn trim_keeps_what_a_group_still_needs(side: &dyn Side) {
    let bench = side.bench(&[("in", 1)]).await;
    let log = bench.open().await;
    let topic = bench.topic("in");
    let early = log.append(numbered(&topic, 0..2)).await.unwrap();
    // Appended in another millisecond.
    while jiff::Timestamp::now().as_microsecond() < early[1] + 2_000 {
        tokio::task::yield_now().await;
    }
    let times = log.append(numbered(&topic, 2..10)).await.unwrap();
    let commit = async |group: &str, upto: usize| {
        let mut member = Member::join(&*log, group, "a", &bench.topics()).await;
        let read = member.read(10).await;
        let positions = [(read[0].partition.clone(), Position::at(read[upto].offset))].into();
        member.writer.commit(&Step { outputs: vec![], positions }).await.unwrap();
        member.reader.leave().await.unwrap();
    };
    commit("fast", 8).await;
    commit("slow", 5).await;
    let kept = async || {
        let mut tail = log.tail(&bench.topics(), From::Start).await.unwrap();
        tail.ready().await.unwrap().iter().map(text).next().unwrap()
    };
    let both = vec!["fast".to_owned(), "slow".to_owned()];
    assert_eq!(log.trim(&[(topic.clone(), vec!["fast".into(), "unknown".into()])], i64::MAX).await.unwrap(), 0);
    assert!(log.trim(&[(topic.clone(), both.clone())], times[0]).await.unwrap() >= 2, "by age");
    assert_eq!(kept().await, "2");
    assert!(log.trim(&[(topic.clone(), both.clone())], i64::MAX).await.unwrap() >= 3, "by position");
    assert_eq!(kept().await, "5");
    assert_eq!(log.trim(&[(topic.clone(), both.clone())], i64::MAX).await.unwrap(), 0, "nothing is left to remove");
    let mut slow = Member::join(&*log, "slow", "a", &bench.topics()).await;
    assert_eq!(slow.read(5).await.iter().map(text).collect::<Vec<_>>(), ["5", "6", "7", "8", "9"]);
    let mut new = Member::join(&*log, "new", "a", &bench.topics()).await;
    assert_eq!(text(&new.read(5).await[0]), "5", "a group without a position starts where the log starts");
}

async fn a_position_below_the_start_is_fatal(side: &dyn Side) {
    let bench = side.bench(&[("in", 1)]).await;
    let log = bench.open().await;
    log.append(numbered(&bench.topic("in"), 0..10)).await.unwrap();
    let mut member = Member::join(&*log, "g", "a", &bench.topics()).await;
    let read = member.read(10).await;
    let positions = [(read[0].partition.clone(), Position::at(read[3].offset))].into();
    member.writer.commit(&Step { outputs: vec![], positions }).await.unwrap();
    member.reader.leave().await.unwrap();
    assert!(log.trim(&[(bench.topic("in"), vec![])], i64::MAX).await.unwrap() >= 10);
    log.append(vec![new_record(&bench.topic("in"), "10")]).await.unwrap();

    let mut late = Member::join(&*log, "g", "a", &bench.topics()).await;
    let outcome = within("an answer", late.reader.next()).await;
    let Err(Failure::Defect { message }) = outcome else { panic!("{outcome:?}") };
    assert!(message.starts_with("log.position_below_start: "), "{message}");
}
