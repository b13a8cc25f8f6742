//! A worker that copies records from one topic to another, in this process or in one that can be frozen and killed,
//! and what came out of it.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use deckle::{
    contract::{
        error::{Failure, Result, code},
        record::{
            DeadLetter, Event,
            wire::{self, Headers},
        },
    },
    log::{
        Event as LogEvent, From, Log, NewRecord, Partition, Reader, Record, Topic,
        kafka::{Config, KafkaLog},
    },
    runtime::{
        journal::Journal,
        worker::{self, Worker},
    },
    stages::{AnyStage, Order, Output},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, Producer},
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::{self, servers};

/// How long a member that gives no sign keeps its partitions.
pub const SESSION: Duration = Duration::from_secs(3);

/// After so long the broker aborts a transaction.
pub const TRANSACTION: Duration = Duration::from_secs(5);

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(100);

/// Tells a child where to work, and who it is.
const PLACE: &str = "DECKLE_TEST_COPIER";

/// Waits, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

/// Topics of one test on a broker.
pub struct Bench {
    brokers: String,
    prefix: String,
    pub log: Arc<KafkaLog>,
}

impl Bench {
    /// On the broker that all tests share.
    pub async fn shared(partitions: i32) -> Self {
        Self::on(&servers::shared_kafka(), partitions).await
    }

    pub async fn on(brokers: &str, partitions: i32) -> Self {
        // `RUST_LOG=deckle=debug` shows what members are told.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let prefix = format!("faults-{}.", uuid::Uuid::now_v7());
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        let names = ["in", "out", DeadLetter::TOPIC].map(|name| format!("{prefix}{name}"));
        let append_time = "message.timestamp.type";
        let topics = names.each_ref().map(|name| {
            // As many replicas as there are brokers, which is their default.
            NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set(append_time, "LogAppendTime")
        });
        for created in admin.create_topics(&topics, &AdminOptions::new()).await.unwrap() {
            created.unwrap();
        }
        let log = Arc::new(open(brokers, &prefix));
        Self { brokers: brokers.to_owned(), prefix, log }
    }

    /// Appends records named by numbers; gives the number after the last.
    pub async fn feed(&self, numbers: Range<usize>) -> usize {
        let names: Vec<String> = numbers.clone().map(|number| number.to_string()).collect();
        self.feed_named(&names).await;
        numbers.end
    }

    /// Appends records of these names. `poison-…` fails for good, `slow-N` takes N milliseconds.
    pub async fn feed_named(&self, names: &[String]) {
        let record = |name: &String| NewRecord {
            topic: Topic::from("in"),
            key: name.clone(),
            headers: BTreeMap::new(),
            value: Bytes::from(name.clone()),
        };
        self.log.append(names.iter().map(record).collect()).await.unwrap();
    }

    /// Starts a worker in this process.
    pub async fn start(&self, member: &'static str) -> Running {
        start(&self.log, member).await
    }

    /// All that is kept of a topic.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let mut tail = self.log.tail(&[Topic::from(topic)], From::Start).await.unwrap();
        let mut all = Vec::new();
        loop {
            let more = tail.ready().await.unwrap();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// The names of the records that came out.
    pub async fn out(&self) -> Vec<String> {
        self.records("out").await.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
    }

    /// Where the records of the dead letters lay, and how many letters each has.
    pub async fn letters(&self) -> BTreeMap<(i32, i64), usize> {
        let mut letters = BTreeMap::new();
        for record in self.records(DeadLetter::TOPIC).await {
            let letter: DeadLetter = wire::decode(&record.value).unwrap();
            *letters.entry((letter.partition, letter.offset)).or_default() += 1;
        }
        letters
    }

    /// How many of those one worker copied.
    pub async fn copied_by(&self, member: &str) -> usize {
        self.records("out").await.iter().filter(|record| record.headers["by"] == member).count()
    }

    /// Waits until so many records came out.
    pub async fn until_out(&self, count: usize) {
        let mut tail = self.log.tail(&[Topic::from("out")], From::Start).await.unwrap();
        let mut seen = 0;
        while seen < count {
            seen += within(&format!("{count} records, after {seen}"), tail.next()).await.unwrap().len();
        }
    }

    /// Waits until the log has said, for longer than any broker leaves one open, that a transaction is.
    pub async fn until_it_waits_for_a_person(&self) {
        let mut since = Instant::now();
        while since.elapsed() < TRANSACTION * 5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if !self.log.health().is_err_and(|failure| failure.to_string().contains("log.transaction_open")) {
                since = Instant::now();
            }
        }
    }

    /// Waits until the workers have caught up but for so many records.
    pub async fn until_lag_is_below(&self, records: u64) {
        within("the workers catch up", async {
            while self.log.lag("copy", &[Topic::from("in")]).await.unwrap()[0].records >= records {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Waits until the workers' positions cover so many records, and no commit is half done.
    pub async fn until_committed(&self, count: i64) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", format!("{}copy", self.prefix))
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut positions = TopicPartitionList::new();
        positions.add_partition_range(&format!("{}in", self.prefix), 0, 1);
        let committed = move || {
            let offset = |offset| if let Offset::Offset(next) = offset { next } else { 0 };
            loop {
                // Over time, one is half done.
                let answer = consumer.committed_offsets(positions.clone(), SESSION);
                let covered: i64 =
                    answer.iter().flat_map(|list| list.elements().into_iter().map(|at| offset(at.offset()))).sum();
                if covered >= count {
                    return;
                }
            }
        };
        within("positions", tokio::task::spawn_blocking(committed)).await.unwrap();
    }

    /// Begins a transaction that moves the positions of the workers' group.
    pub async fn open_transaction(&self) -> Open {
        let (brokers, prefix) = (self.brokers.clone(), self.prefix.clone());
        let open = move || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers);
            let consumer: BaseConsumer = config.clone().set("group.id", format!("{prefix}copy")).create().unwrap();
            let producer: BaseProducer = config.set("transactional.id", format!("{prefix}open")).create().unwrap();
            let mut positions = TopicPartitionList::new();
            for number in [0, 1] {
                positions.add_partition_offset(&format!("{prefix}in"), number, Offset::Offset(1)).unwrap();
            }
            producer.init_transactions(DEADLINE).unwrap();
            producer.begin_transaction().unwrap();
            let nobody = consumer.group_metadata().unwrap();
            producer.send_offsets_to_transaction(&positions, &nobody, DEADLINE).unwrap();
            Open(producer)
        };
        tokio::task::spawn_blocking(open).await.unwrap()
    }

    /// Fails the test unless every record up to this number came out once, and none besides.
    pub async fn assert_each_once(&self, fed: usize) {
        self.assert_each_once_of(&(0..fed).map(|number| number.to_string()).collect::<Vec<_>>()).await;
    }

    /// Fails the test unless every record of these names came out once, and none besides.
    pub async fn assert_each_once_of(&self, names: &[String]) {
        let wrong = self.wrong(names, 1).await;
        assert!(wrong.is_empty(), "not exactly once: {} of {}: {wrong:?}", wrong.len(), names.len());
    }

    /// Fails the test if a record came out twice, or one that never went in.
    pub async fn assert_none_twice_of(&self, names: &[String]) {
        let wrong = self.wrong(names, 0).await;
        assert!(wrong.is_empty(), "more than once: {} of {}: {wrong:?}", wrong.len(), names.len());
    }

    /// Where records lie (partition and offset) that came out more than once, less often than that, or of themselves.
    async fn wrong(&self, names: &[String], at_least: usize) -> BTreeMap<String, Vec<(i32, i64)>> {
        let mut places: BTreeMap<String, Vec<(i32, i64)>> =
            names.iter().map(|name| (name.clone(), Vec::new())).collect();
        let mut strangers = BTreeMap::new();
        for record in self.records("out").await {
            let name = String::from_utf8(record.value.to_vec()).unwrap();
            let place = (record.partition.number, record.offset);
            places.get_mut(&name).unwrap_or_else(|| strangers.entry(name).or_default()).push(place);
        }
        places.retain(|_, places| places.len() < at_least || places.len() > 1);
        places.extend(strangers);
        places
    }

    /// Whether a record lies in the log that no reader of committed records can see, now and a while later.
    pub async fn transaction_stays_open(&self) -> bool {
        if !self.has_open_transaction().await {
            return false;
        }
        // A commit that the broker had already been asked for settles by itself.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.has_open_transaction().await
    }

    async fn has_open_transaction(&self) -> bool {
        let (brokers, topic) = (self.brokers.clone(), format!("{}out", self.prefix));
        let look = move || {
            let ends = ["read_committed", "read_uncommitted"].map(|isolation| {
                let mut config = ClientConfig::new();
                let consumer: BaseConsumer =
                    config.set("bootstrap.servers", &brokers).set("isolation.level", isolation).create().unwrap();
                [0, 1].map(|number| consumer.fetch_watermarks(&topic, number, DEADLINE).unwrap().1)
            });
            ends[0] != ends[1]
        };
        tokio::task::spawn_blocking(look).await.unwrap()
    }
}

/// A transaction that somebody leaves open.
pub struct Open(BaseProducer);

impl Open {
    pub fn abort(self) {
        self.0.abort_transaction(DEADLINE).unwrap();
    }
}

fn open(brokers: &str, prefix: &str) -> KafkaLog {
    let config = Config {
        brokers: brokers.to_owned(),
        prefix: prefix.to_owned(),
        session_ms: SESSION.as_millis().try_into().unwrap(),
        heartbeat_ms: 500,
        revoke_ms: 1_500,
        transaction_ms: TRANSACTION.as_millis().try_into().unwrap(),
        ..Config::default()
    };
    KafkaLog::open(config).unwrap()
}

async fn start(log: &Arc<KafkaLog>, member: &'static str) -> Running {
    let (reader, writer) = log.join("copy", member, &[Topic::from("in")]).await.unwrap();
    let revokes = Arc::default();
    let reader = Box::new(Counting { reader, revokes: Arc::clone(&revokes) });
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal")).unwrap();
    let config = worker::Config { revoke_s: 1, ..worker::Config::default() };
    let (stop, stopped) = watch::channel(false);
    let worker = Worker::new(Arc::new(Copy { member }), (reader, writer), journal, support::no_keys(), config, 16);
    Running { stop, task: tokio::spawn(worker.run(stopped)), revokes, _folder: folder }
}

/// A worker in this process.
pub struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<()>>,
    revokes: Arc<AtomicUsize>,
    _folder: TempDir,
}

impl Running {
    /// Drains and leaves.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.end().await.unwrap();
    }

    /// Its end, which it comes to by itself.
    pub async fn end(self) -> Result<()> {
        within("the worker's end", self.task).await.unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// How often partitions were taken from it.
    pub fn revokes(&self) -> usize {
        self.revokes.load(SeqCst)
    }
}

/// A reader that counts revokes.
struct Counting {
    reader: Box<dyn Reader>,
    revokes: Arc<AtomicUsize>,
}

#[async_trait]
impl Reader for Counting {
    async fn next(&mut self) -> Result<LogEvent> {
        let event = self.reader.next().await?;
        self.revokes.fetch_add(usize::from(matches!(event, LogEvent::Revoked { .. })), SeqCst);
        Ok(event)
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.reader.pause(partitions);
    }

    fn resume(&mut self, partitions: &[Partition]) {
        self.reader.resume(partitions);
    }

    async fn leave(self: Box<Self>) -> Result<()> {
        self.reader.leave().await
    }
}

/// Copies a record, and says who did.
struct Copy {
    member: &'static str,
}

#[async_trait]
impl AnyStage for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn topics(&self) -> &'static [&'static str] {
        &["in"]
    }

    fn order(&self, _: &str, value: &[u8]) -> Option<Order> {
        Some(Order { key: String::from_utf8(value.to_vec()).ok()?, interactive: true, large: false })
    }

    async fn process(&self, _: &str, _: &Headers, value: &[u8]) -> Result<Vec<Output>> {
        let name = String::from_utf8(value.to_vec()).unwrap();
        if name.starts_with("poison") {
            return Err(Failure::rejected(code::RECORD_UNDECODABLE, "poison"));
        }
        if let Some(time) = name.strip_prefix("slow-") {
            tokio::time::sleep(Duration::from_millis(time.parse().unwrap())).await;
        }
        let headers = [("by".to_owned(), self.member.to_owned())].into();
        Ok(vec![Output { topic: "out", key: name, headers, value: Bytes::copy_from_slice(value) }])
    }

    fn identity(&self, _: &str, headers: &Headers, _: &[u8]) -> Headers {
        headers.clone()
    }

    fn on_failure(&self, _: &str, _: &Headers, _: &[u8], _: &Failure) -> Result<Vec<Output>> {
        Ok(Vec::new())
    }

    fn concurrency(&self) -> usize {
        16
    }

    fn forget(&self) {}
}

/// A worker in a process of its own.
pub struct Child(std::process::Child);

impl Child {
    /// This test binary again, as a process that runs one "test" of it.
    pub fn start(bench: &Bench, member: &'static str) -> Self {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["kafka_faults::copier::child_copies_until_it_is_killed", "--exact", "--nocapture"])
            .env(PLACE, format!("{} {} {member}", bench.brokers, bench.prefix))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no preconditions, and the process is ours and not waited for yet.
        unsafe { libc::kill(i32::try_from(self.0.id()).unwrap(), signal) };
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self) {
        self.0.wait().unwrap();
    }

    /// Memory that it holds (`VmRSS` of proc(5)).
    pub fn held_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be frozen or dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: the other process. Alone it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child_copies_until_it_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let [brokers, prefix, member] = place.split(' ').collect::<Vec<_>>()[..] else { panic!("{place}") };
    let log = Arc::new(open(brokers, prefix));
    // Until it is killed: no deadline.
    start(&log, member.to_owned().leak()).await.task.await.unwrap().unwrap();
}
