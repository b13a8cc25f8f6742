//! The Kafka side, and what only it promises.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deckle::log::{
    Log, Topic,
    kafka::{Config, KafkaLog},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

use crate::{
    log_laws::side::{Bench, Side},
    support::servers::shared_kafka,
};

/// One broker for all tests; a prefix for each.
pub struct OnKafka;

/// Short enough for tests, long enough for a busy machine.
pub fn config(prefix: &str) -> Config {
    Config {
        brokers: shared_kafka(),
        prefix: prefix.to_owned(),
        session_ms: 4_000,
        heartbeat_ms: 500,
        revoke_ms: 1_000,
        fetch_records: 16,
        ..Config::default()
    }
}

/// A prefix that no other test uses.
fn prefix() -> String {
    format!("laws-{}.", uuid::Uuid::now_v7().simple())
}

async fn make_topics(prefix: &str, topics: &[(&str, i32)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", shared_kafka()).create().unwrap();
    let names: Vec<String> = topics.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
    let new = names.iter().zip(topics).map(|(name, (_, partitions))| {
        NewTopic::new(name, *partitions, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime")
    });
    let made = admin.create_topics(&new.collect::<Vec<_>>(), &AdminOptions::new()).await.unwrap();
    made.into_iter().for_each(|topic| drop(topic.unwrap()));
}

#[async_trait]
impl Side for OnKafka {
    async fn bench(&self, topics: &[(&str, i32)]) -> Box<dyn Bench> {
        // `RUST_LOG=deckle=debug` shows what members are told.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let prefix = prefix();
        make_topics(&prefix, topics).await;
        Box::new(Cluster { prefix, topics: topics.iter().map(|(name, _)| Topic::from(*name)).collect() })
    }

    fn dead_after(&self) -> Duration {
        let config = config("");
        Duration::from_millis(config.session_ms - config.heartbeat_ms)
    }
}

struct Cluster {
    prefix: String,
    topics: Vec<Topic>,
}

#[async_trait]
impl Bench for Cluster {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(KafkaLog::open(config(&self.prefix)).unwrap())
    }

    fn topic(&self, short: &str) -> Topic {
        Topic::from(short)
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.clone()
    }
}

/// What only this side promises: transactions that are taken back, records of strangers, brokers that are away.
mod promises {
    use std::time::Instant;

    use deckle::{
        contract::error::Failure,
        log::{CommitError, Event, From, NewRecord, Position, Step},
    };
    use rdkafka::{
        message::{Header, OwnedHeaders},
        producer::{BaseProducer, BaseRecord, Producer},
    };

    use super::*;
    use crate::log_laws::member::{Member, new_record, numbered, read_all, text, within};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_step_that_is_taken_back_leaves_holes_and_nothing_else() {
        let bench = OnKafka.bench(&[("in", 1), ("out", 1)]).await;
        let log = bench.open().await;
        log.append(numbered(&"in".into(), 0..4)).await.unwrap();
        let mut member = Member::join(&*log, "g", "a", &["in".into()]).await;
        let read = member.read(4).await;
        let mut tail = log.tail(&["out".into()], From::Start).await.unwrap();
        let step = |outputs: Vec<NewRecord>, at: usize| Step {
            outputs,
            positions: [(read[0].partition.clone(), Position::at(read[at].offset + 1))].into(),
        };
        for at in 0..3 {
            // Many are delivered before the broker refuses the last one.
            let mut outputs = numbered(&"out".into(), 100..150);
            outputs.push(NewRecord { value: vec![0; 2 << 20].into(), ..new_record(&"out".into(), "too large") });
            let outcome = member.writer.commit(&step(outputs, at)).await;
            let Err(CommitError::Defect(message)) = outcome else { panic!("{outcome:?}") };
            assert!(message.starts_with("log.record_too_large: "), "{message}");
            member.writer.commit(&step(numbered(&"out".into(), at..at + 1), at)).await.unwrap();
        }
        let shown = read_all(&mut *tail, 3).await;
        assert_eq!(shown.iter().map(text).collect::<Vec<_>>(), ["0", "1", "2"]);
        assert!(tail.ready().await.unwrap().is_empty());
        assert!(shown[1].offset > shown[0].offset + 10, "aborted records took offsets: {shown:?}");

        // Work over the holes: another group reads them, completes all, and is not behind.
        let mut over = Member::join(&*log, "over", "a", &["out".into()]).await;
        let seen = over.read(3).await;
        let positions = [(seen[0].partition.clone(), Position::at(seen[2].offset + 1))].into();
        over.writer.commit(&Step { outputs: vec![], positions }).await.unwrap();
        assert_eq!(log.lag("over", &["out".into()]).await.unwrap()[0].records, 0);
        assert!(log.lag("g", &["in".into()]).await.unwrap()[0].records >= 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_unknown_topic_is_named() {
        let bench = OnKafka.bench(&[("in", 1)]).await;
        let log = bench.open().await;
        let unknown = log.append(numbered(&"nowhere".into(), 0..1)).await.unwrap_err();
        assert!(unknown.to_string().starts_with("log.unknown_topic: "), "{unknown}");
        assert!(matches!(unknown, Failure::Defect { .. }));
        log.append(numbered(&"in".into(), 0..1)).await.expect("the log is as well as before");
        let Err(unknown) = log.tail(&["nowhere".into()], From::Start).await else { panic!("no topic") };
        assert!(unknown.to_string().starts_with("log.unknown_topic: nowhere"), "{unknown}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn records_of_strangers_stop_nobody() {
        let prefix = prefix();
        make_topics(&prefix, &[("in", 1)]).await;
        let log = KafkaLog::open(config(&prefix)).unwrap();
        let stranger: BaseProducer = ClientConfig::new().set("bootstrap.servers", shared_kafka()).create().unwrap();
        let topic = format!("{prefix}in");
        let headers = OwnedHeaders::new()
            .insert(Header { key: "bytes", value: Some(&[0xff_u8, 0xfe][..]) })
            .insert(Header::<&[u8]> { key: "nothing", value: None });
        stranger.send(BaseRecord::to(&topic).key(&[0xff_u8][..]).payload(&[1_u8][..]).headers(headers)).unwrap();
        stranger.send(BaseRecord::<(), ()>::to(&topic)).unwrap();
        stranger.flush(Duration::from_secs(10)).unwrap();
        let mut member = Member::join(&log, "g", "a", &["in".into()]).await;
        let read = member.read(2).await;
        assert_eq!(read[0].headers["bytes"], "\u{fffd}\u{fffd}");
        assert_eq!((read[0].key.as_str(), &read[0].value[..]), ("\u{fffd}", &[1_u8][..]));
        assert_eq!((read[1].key.as_str(), &read[1].value[..]), ("", &[][..]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_of_a_partition_that_stayed_survives_a_new_generation() {
        let bench = OnKafka.bench(&[("in", 4), ("out", 1)]).await;
        let log = bench.open().await;
        let mut first = Member::join(&*log, "g", "a", &["in".into()]).await;
        first.until("it owns all", |member| member.owned.len() == 4).await;
        for name in ["b", "c", "d"] {
            let before = first.owned.len();
            let mut other = Member::join(&*log, "g", name, &["in".into()]).await;
            first
                .until_other(&mut other, "they share", |one, two| one.owned.len() < before && !two.owned.is_empty())
                .await;
            let positions = first.owned.keys().map(|partition| (partition.clone(), Position::at(0))).collect();
            let step = Step { outputs: numbered(&"out".into(), 0..1), positions };
            first.writer.commit(&step).await.unwrap();
            // Its place is free again.
            other.reader.leave().await.unwrap();
            first.until("it owns all again", |member| member.owned.len() == 4).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_is_away_is_waited_for_and_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let away = Config { brokers: free.to_string(), transaction_ms: 1_000, call_ms: 1_500, ..config(&prefix()) };
        let log = KafkaLog::open(away).unwrap();
        log.health().unwrap();
        let (mut reader, _writer) = log.join("g", "a", &["in".into()]).await.unwrap();
        let noticed = async {
            while log.health().is_ok() {
                let nothing = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
                assert!(nothing.is_err(), "a reader just waits: {nothing:?}");
            }
        };
        within("health tells", noticed).await;
        let Err(Failure::Unavailable { dependency, .. }) = log.health() else { panic!("health tells") };
        assert_eq!(dependency, "kafka");
        let outcome = log.append(numbered(&"in".into(), 0..1)).await;
        assert!(matches!(outcome, Err(Failure::Unavailable { .. })), "{outcome:?}");
        within("leaving needs no broker", reader.leave()).await.unwrap();
    }

    #[test]
    fn options_that_break_a_law_are_refused() {
        let with = |option: &str, value: &str| Config {
            client: [(option.to_owned(), value.to_owned())].into(),
            ..Config::default()
        };
        for option in ["enable.auto.commit", "isolation.level", "group.id", "transactional.id", "auto.offset.reset"] {
            let complaint = with(option, "x").check().unwrap_err().to_string();
            assert!(complaint.contains(option), "{complaint}");
        }
        let unknown = with("no.such.option", "x").check().unwrap_err().to_string();
        assert!(unknown.contains("no.such.option"), "{unknown}");
        with("compression.type", "zstd").check().unwrap();
        Config::default().check().unwrap();
        for wrong in [
            Config { brokers: String::new(), ..Config::default() },
            Config { prefix: "a b".into(), ..Config::default() },
            Config { heartbeat_ms: 6_000, ..Config::default() },
            Config { revoke_ms: 10_000, ..Config::default() },
            Config { call_ms: 1_000, ..Config::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    /// Prints what a small step costs; fails only when a step waits for a timer (`flush` would look every 100 ms).
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_small_step_waits_for_no_timer() {
        let bench = OnKafka.bench(&[("in", 1), ("out", 1)]).await;
        let log = bench.open().await;
        let mut member = Member::join(&*log, "g", "a", &["in".into()]).await;
        let mut tail = log.tail(&["out".into()], From::End).await.unwrap();
        let (mut commits, mut reads, mut round_trips) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..200 {
            let began = Instant::now();
            log.append(numbered(&"in".into(), at..at + 1)).await.unwrap();
            let appended = Instant::now();
            let record = loop {
                let event = within("a record", member.reader.next()).await.unwrap();
                if let Event::Records(mut records) = event {
                    break records.remove(0);
                }
            };
            reads.push(appended.elapsed());
            let committing = Instant::now();
            let positions = [(record.partition, Position::at(record.offset + 1))].into();
            member.writer.commit(&Step { outputs: numbered(&"out".into(), at..at + 1), positions }).await.unwrap();
            commits.push(committing.elapsed());
            read_all(&mut *tail, 1).await;
            round_trips.push(began.elapsed());
        }
        for (what, times) in [("read", &mut reads), ("commit", &mut commits), ("append to output", &mut round_trips)] {
            times.sort();
            println!("{what}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
        }
        assert!(commits[commits.len() / 2] < Duration::from_millis(60), "{commits:?}");
    }
}
