//! What goes wrong on a real broker: frozen, fenced and vanished workers, a broker that stays away, slow and poisonous
//! records. Every record that went in comes out once, whatever happens.

mod copier;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use copier::{Bench, Child, SESSION, TRANSACTION, within};
use deckle::{
    contract::record::{DeadLetter, Event},
    log::{Log, Partition, Topic},
    runtime::readiness,
};

use crate::support::servers::Broker;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_that_wakes_with_a_transaction_open_is_fenced() {
    let bench = Bench::shared(2).await;
    let mut frozen = Child::start(&bench, "frozen");
    let mut fed = bench.feed(0..50).await;
    bench.until_out(fed).await;
    let other = bench.start("other").await;

    // Frozen at a random moment, until one is found with a transaction open: sent, and not committed.
    let mut tries = 0;
    loop {
        fed = bench.feed(fed..fed + 20).await;
        tokio::time::sleep(Duration::from_micros(tries * 1_700 % 17_000)).await;
        frozen.signal(libc::SIGSTOP);
        if bench.transaction_stays_open().await {
            break;
        }
        frozen.signal(libc::SIGCONT);
        tries += 1;
        assert!(tries < 400, "no transaction was open at any of {tries} moments");
    }
    println!("frozen with a transaction open at moment {tries}");

    // Its session ends, its transaction times out, and the other one takes all over.
    bench.until_out(fed).await;
    let own = bench.copied_by("other").await;
    fed = bench.feed(fed..fed + 50).await;
    bench.until_out(fed).await;
    assert!(bench.copied_by("other").await > own, "the other one works on what was the frozen one's");

    // It wakes up in the middle of its commit, finds out that it is fenced, and works again as a member.
    frozen.signal(libc::SIGCONT);
    let before = bench.copied_by("frozen").await;
    within("the woken one works again", async {
        while bench.copied_by("frozen").await == before {
            fed = bench.feed(fed..fed + 20).await;
            bench.until_out(fed).await;
            assert!(frozen.is_alive(), "it lives on");
        }
    })
    .await;
    other.stop().await;
    bench.assert_each_once(fed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_comes_back_is_replaced() {
    let bench = Bench::shared(2).await;
    let mut gone = Child::start(&bench, "gone");
    let mut fed = bench.feed(0..200).await;
    bench.until_out(50).await;
    let other = bench.start("other").await;
    fed = bench.feed(fed..fed + 200).await;
    gone.signal(libc::SIGKILL);
    gone.wait();
    fed = bench.feed(fed..fed + 200).await;
    let killed = Instant::now();
    bench.until_out(fed).await;
    println!("all done {:?} after the kill; the session lasts {SESSION:?}", killed.elapsed());
    other.stop().await;
    bench.assert_each_once(fed).await;
}

/// The broker is killed while records are being worked on, and outside any transaction: a Kafka 4.3 whose only broker
/// is killed in one may never end it (KAFKA-20734).
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_and_comes_back_costs_time_only() {
    let mut broker = Broker::start(1).await;
    let bench = Bench::on(broker.brokers(), 2).await;
    let worker = bench.start("only").await;
    let mut names: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    bench.feed_named(&names).await;
    bench.until_out(200).await;
    bench.until_committed(200).await;
    // In work while the broker goes, done while it is away.
    let slow: Vec<String> = (3_000..3_016).map(|time| format!("slow-{time}")).collect();
    bench.feed_named(&slow).await;
    within("the feed", async { while bench.records("in").await.len() < 216 {} }).await;
    broker.kill(1).await;
    within("the log is named as away", async {
        while bench.log.health().is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Longer than the session: nobody is there to end it.
    tokio::time::sleep(SESSION * 2).await;
    assert!(!worker.has_ended(), "it waits");
    broker.start_again(1).await;
    names.extend(slow);
    bench.until_out(names.len()).await;
    let more: Vec<String> = (200..300).map(|number| number.to_string()).collect();
    bench.feed_named(&more).await;
    names.extend(more);
    bench.until_out(names.len()).await;
    assert!(bench.log.health().is_ok());
    assert!(readiness::away().is_empty(), "{:?}", readiness::away());
    worker.stop().await;
    bench.assert_each_once_of(&names).await;
    assert_eq!(bench.records(DeadLetter::TOPIC).await.len(), 0, "no record pays for it");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn a_broker_of_three_killed_in_transactions_costs_time_only() {
    let (all, _) = killed_in_transactions(3).await;
    assert!(all, "nothing waits for a person");
}

/// A Kafka 4.3 whose only broker comes back may forget the transactions that it should end (KAFKA-20734). Aborts are
/// repeated; where a commit was forgotten, its group waits and says so.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn a_lone_broker_killed_in_transactions_doubles_and_loses_nothing() {
    let (_, forgot) = killed_in_transactions(1).await;
    assert!(forgot, "the broker forgot nothing: there was nothing to see");
}

/// Kills a broker while many workers are in a transaction, for longer than these may last. Tells whether all records
/// came out, and whether the broker forgot transactions.
async fn killed_in_transactions(nodes: usize) -> (bool, bool) {
    const WORKERS: usize = 8;
    let mut cluster = Broker::start(nodes).await;
    // Of 20 to 119 ms, and always some are done: the zeros before the number make a name, not a time.
    let mut names: Vec<String> =
        (0..1_200).map(|at| format!("slow-{:0width$}", 20 + at % 100, width = 3 + at / 100)).collect();
    let mut pairs = Vec::new();
    for _ in 0..WORKERS {
        let bench = Bench::on(cluster.brokers(), 2).await;
        let worker = bench.start("only").await;
        pairs.push((bench, worker));
    }
    for (bench, _) in &pairs {
        bench.feed_named(&names).await;
    }
    for (bench, _) in &pairs {
        bench.until_out(50).await;
    }
    cluster.kill(1).await;
    tokio::time::sleep(TRANSACTION).await;
    cluster.start_again(1).await;

    names.push("last".to_owned());
    let mut all = true;
    for (bench, worker) in pairs {
        bench.feed_named(&names[names.len() - 1..]).await;
        tokio::select! {
            () = bench.until_out(names.len()) => {
                worker.stop().await;
                bench.assert_each_once_of(&names).await;
            }
            () = bench.until_it_waits_for_a_person() => {
                all = false;
                bench.assert_none_twice_of(&names).await;
            }
        }
    }
    let forgot = (1..=nodes).any(|node| cluster.log(node).contains("Couldn't find leader endpoint"));
    (all, forgot)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_is_named_and_waited_for() {
    let bench = Bench::shared(2).await;
    let fed = bench.feed(0..50).await;
    let open = bench.open_transaction().await;
    let worker = bench.start("only").await;
    within("the log's health tells of it", async {
        while !bench.log.health().is_err_and(|failure| failure.to_string().contains("log.transaction_open")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (reader, mut writer) = bench.log.join("copy", "asks", &[Topic::from("in")]).await.unwrap();
    let failure = writer.committed(&[Partition { topic: Topic::from("in"), number: 0 }]).await.unwrap_err();
    assert!(failure.to_string().contains("log.transaction_open"), "{failure}");
    drop((reader, writer));
    assert!(bench.out().await.is_empty(), "nobody begins without knowing where");
    open.abort();
    bench.until_out(fed).await;
    assert_eq!(bench.log.health(), Ok(()));
    worker.stop().await;
    bench.assert_each_once(fed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_record_delays_no_other() {
    let bench = Bench::shared(2).await;
    let worker = bench.start("only").await;
    let mut names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for at in [0, 7, 50, 99] {
        names[at] = format!("poison-{at}");
    }
    bench.feed_named(&names).await;
    bench.until_out(96).await;
    within("the dead letters", async {
        while bench.records(DeadLetter::TOPIC).await.len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    worker.stop().await;
    let out: BTreeSet<String> = bench.out().await.into_iter().collect();
    assert_eq!(out.len(), 96);
    assert!(out.iter().all(|name| !name.starts_with("poison")));
    let letters: BTreeMap<(i32, i64), usize> = bench.letters().await;
    assert_eq!(letters.len(), 4, "one letter for each: {letters:?}");
    assert!(letters.values().all(|count| *count == 1), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_record_stops_neither_the_poll_nor_what_is_behind_it() {
    slow(SESSION * 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn a_record_of_a_minute_stops_neither_the_poll_nor_what_is_behind_it() {
    slow(Duration::from_secs(60)).await;
}

/// A record that takes longer than the session (and in `make soak` than the poll interval), at the head of a partition.
async fn slow(time: Duration) {
    let bench = Bench::shared(2).await;
    let worker = bench.start("only").await;
    bench.feed_named(&[format!("slow-{}", time.as_millis())]).await;
    let fed = Instant::now();
    // As many as two steps and more, on both partitions; some lie behind the slow one.
    for batch in 0..10 {
        bench.feed(batch * 300..(batch + 1) * 300).await;
    }
    bench.until_out(3_000).await;
    let others = fed.elapsed();
    assert!(others < time, "the others were done after {others:?}, before the slow one");
    bench.until_out(3_001).await;
    assert!(fed.elapsed() >= time, "the slow one took its time");
    // The membership stood all the while: what is committed now was started under it.
    assert_eq!(worker.revokes(), 0, "no partition was taken away");
    worker.stop().await;
    let out = bench.out().await;
    assert_eq!(out.iter().collect::<BTreeSet<_>>().len(), out.len(), "each once");
    assert_eq!(out.len(), 3_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_of_the_same_name_is_told_apart() {
    let bench = Bench::shared(2).await;
    let first = bench.start("twin").await;
    let mut fed = bench.feed(0..50).await;
    bench.until_out(fed).await;
    let second = bench.start("twin").await;
    let error = first.end().await.unwrap_err().to_string();
    assert!(error.contains("twin"), "it says who it was: {error}");
    fed = bench.feed(fed..fed + 50).await;
    bench.until_out(fed).await;
    second.stop().await;
    bench.assert_each_once(fed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn memory_is_flat_over_a_million_events() {
    const EVENTS: usize = 1_000_000;
    const BATCH: usize = 5_000;
    let bench = Bench::shared(6).await;
    let mut worker = Child::start(&bench, "only");
    let mut held_mib = Vec::new();
    for batch in 0..EVENTS / BATCH {
        bench.feed(batch * BATCH..(batch + 1) * BATCH).await;
        if (batch + 1) % 20 == 0 {
            bench.until_lag_is_below(BATCH as u64).await;
            held_mib.push(worker.held_mib());
        }
    }
    bench.until_out(EVENTS).await;
    assert!(worker.is_alive());
    println!("MiB held after each 100,000 events: {held_mib:?}");
    // What the first events warm up is no growth.
    let (early, late) = (held_mib[1], held_mib[held_mib.len() - 1]);
    assert!(late <= early + 8.0, "it grew from {early} to {late} MiB");
}
