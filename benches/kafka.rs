//! What exactly-once costs: a stage that passes 4 KiB records through, on Kafka with transactions, beside a bare
//! loop of consume and produce without them, in turns on the same broker; and how long one page takes from end to end
//! where nothing else is to do. Run by `make bench`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench stops where something is missing, and prints what it measured"
)]

#[path = "../tests/suite/support/mod.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use all of it")]
mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use deckle::{
    contract::{
        error::{Failure, Result},
        record::{
            Envelope, Event, Lane, Options, Published, Source, Status, Uploaded,
            wire::{self, Headers},
        },
    },
    log::{
        CommitError, From, Log, NewRecord, Partition, Position, Step, Topic, Writer,
        kafka::{Config, KafkaLog},
    },
    runtime::{
        journal::Journal,
        worker::{self, Worker},
    },
    stages::{AnyStage, Order, Output},
};
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use support::{Home, Started, servers};
use tokio::{io::AsyncBufReadExt, sync::watch};

/// Records of one round.
const RECORDS: usize = 60_000;
/// Bytes of each.
const BYTES: usize = 4 << 10;
/// Partitions of every topic.
const PARTITIONS: i32 = 6;
/// Rounds of each side, in turns.
const ROUNDS: usize = 3;

/// One round of one side.
struct Round {
    wall: Duration,
    cpu: Duration,
}

impl Round {
    fn rate(&self) -> f64 {
        RECORDS as f64 / self.wall.as_secs_f64()
    }
}

#[tokio::main]
async fn main() {
    let brokers = servers::shared_kafka();
    let prefix = format!("bench-{}.", std::process::id());
    create_topics(&brokers, &prefix).await;
    let log = open(&brokers, &prefix);
    fill(&*log).await;

    let (mut bare, mut staged) = (Vec::new(), Vec::new());
    let commits = Arc::default();
    for round in 0..ROUNDS {
        let (brokers, prefix) = (brokers.clone(), prefix.clone());
        let group = format!("{prefix}bare-{round}");
        bare.push(tokio::task::spawn_blocking(move || bare_loop(&brokers, &prefix, &group)).await.unwrap());
        staged.push(pass_through(&log, &format!("stage-{round}"), round, &commits).await);
    }
    report(&mut bare, &mut staged, &commits);
    latency(&brokers).await;
}

/// From the append of an upload to its end, document after document, on an idle pipeline.
async fn latency(brokers: &str) {
    const DOCUMENTS: usize = 40;
    let home = Home::new();
    let prefix = format!("latency-{}.", std::process::id());
    home.configure(&format!(
        "[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{brokers}\"\nprefix = \"{prefix}\"\n"
    ));
    home.deckle(["topics", "apply"]).await.ended(0);
    let mut deckle = Started::new(home.command(["run", "--listen", ""]).stderr(std::process::Stdio::piped()));
    let mut said = deckle.stderr().lines();
    while !said.next_line().await.unwrap().expect("it runs").contains("working") {}
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });

    let log = open(brokers, &prefix);
    let mut tail = log.tail(&[Topic::from(Published::TOPIC)], From::End).await.unwrap();
    let mut took = Vec::new();
    for number in 0..DOCUMENTS {
        let started = Instant::now();
        log.append(vec![upload(number)]).await.unwrap();
        let ends = tail.next().await.unwrap();
        took.push(started.elapsed());
        let end: Published = wire::decode(&ends[0].value).unwrap();
        assert_eq!((ends.len(), end.status), (1, Status::Published), "{:?}", end.reasons);
    }
    // The first ones join groups, load the model and start children.
    took.drain(..DOCUMENTS / 4);
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!("one page with a text layer, end to end through seven topics: p50 {:.0?}, p90 {:.0?}", at(50), at(90));
    deckle.signal(libc::SIGTERM);
    deckle.wait().await;
}

/// A PDF of one page, none like another, inside its event.
fn upload(number: usize) -> NewRecord {
    let text =
        format!("BT /F1 12 Tf 72 720 Td (Observation {number}: a heron was seen near the old mill today.) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut places = String::new();
    for (index, object) in objects.iter().enumerate() {
        places += &format!("{:010} 00000 n \n", pdf.len());
        pdf += &format!("{} 0 obj\n{object}\nendobj\n", index + 1);
    }
    let table = pdf.len();
    pdf += &format!(
        "xref\n0 6\n0000000000 65535 f \n{places}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n"
    );
    let id = uuid::Uuid::now_v7().to_string();
    let mut envelope = Envelope::new(id.clone(), "default", &id, Lane::Interactive);
    envelope.upload_id = id;
    let source = Source { uri: "inline:".to_owned(), filename: "one.pdf".to_owned(), ..Source::unknown() };
    let upload = Uploaded { envelope, source, options: Options::default(), content: Some(pdf.into_bytes()) };
    NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(&upload, "bench", None),
        value: wire::encode(&upload).unwrap(),
    }
}

fn open(brokers: &str, prefix: &str) -> Arc<dyn Log> {
    let config = Config { brokers: brokers.to_owned(), prefix: prefix.to_owned(), ..Config::default() };
    Arc::new(KafkaLog::open(config).unwrap())
}

async fn create_topics(brokers: &str, prefix: &str) {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let outs = (0..ROUNDS).map(|round| format!("{prefix}out-{round}"));
    let names: Vec<String> = outs.chain([format!("{prefix}in"), format!("{prefix}bare")]).collect();
    let topics = names.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    for created in admin.create_topics(topics.collect::<Vec<_>>().iter(), &AdminOptions::new()).await.unwrap() {
        created.unwrap();
    }
}

async fn fill(log: &dyn Log) {
    let value = Bytes::from((0..BYTES).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>());
    for start in (0..RECORDS).step_by(2_000) {
        let record = |number: usize| NewRecord {
            topic: Topic::from("in"),
            key: number.to_string(),
            headers: BTreeMap::new(),
            value: value.clone(),
        };
        log.append((start..start + 2_000).map(record).collect()).await.unwrap();
    }
}

/// The alternative: rdkafka alone, at least once, progress committed in the background.
fn bare_loop(brokers: &str, prefix: &str, group: &str) -> Round {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        .create()
        .unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .unwrap();
    consumer.subscribe(&[&format!("{prefix}in")]).unwrap();
    let out = format!("{prefix}bare");
    let mut meter: Option<Meter> = None;
    let mut passed = 0;
    while passed < RECORDS {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        meter.get_or_insert_with(Meter::start);
        producer.send(BaseRecord::to(&out).key(message.key().unwrap()).payload(message.payload().unwrap())).unwrap();
        passed += 1;
        if passed % 256 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    meter.expect("records came").stop()
}

/// deckle: the worker loop with a stage that does nothing, exactly once.
async fn pass_through(log: &Arc<dyn Log>, group: &str, round: usize, commits: &Commits) -> Round {
    let out: &'static str = ["out-0", "out-1", "out-2"][round];
    let first = Arc::default();
    let stage = Arc::new(PassThrough { out, first: Arc::clone(&first) });
    let (reader, writer) = log.join(group, "bench", &[Topic::from("in")]).await.unwrap();
    let (passed, mut done) = watch::channel(0);
    let writer = Box::new(Timed { writer, commits: Arc::clone(commits), passed });
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal")).unwrap();
    let config = worker::Config { max_in_flight: 10_000, max_in_flight_bytes: 128 << 20, ..worker::Config::default() };
    let (stop, stopped) = watch::channel(false);
    let worker =
        tokio::spawn(Worker::new(stage, (reader, writer), journal, support::no_keys(), config, 64).run(stopped));
    done.wait_for(|passed| *passed >= RECORDS).await.unwrap();
    let round = first.lock().unwrap().take().expect("records came").stop();
    stop.send(true).unwrap();
    worker.await.unwrap().unwrap();
    // That the outputs are there is no part of the measure.
    let mut tail = log.tail(&[Topic::from(out)], From::Start).await.unwrap();
    let mut there = 0;
    while there < RECORDS {
        there += tail.next().await.unwrap().len();
    }
    assert_eq!((there, tail.ready().await.unwrap().len()), (RECORDS, 0));
    round
}

/// A stage that gives what it takes.
struct PassThrough {
    out: &'static str,
    /// Started by the first record.
    first: Arc<Mutex<Option<Meter>>>,
}

#[async_trait]
impl AnyStage for PassThrough {
    fn name(&self) -> &'static str {
        "pass-through"
    }

    fn topics(&self) -> &'static [&'static str] {
        &["in"]
    }

    fn order(&self, _: &str, _: &[u8]) -> Option<Order> {
        None
    }

    async fn process(&self, _: &str, _: &Headers, value: &[u8]) -> Result<Vec<Output>> {
        self.first.lock().unwrap().get_or_insert_with(Meter::start);
        let value = Bytes::copy_from_slice(value);
        Ok(vec![Output { topic: self.out, key: String::new(), headers: BTreeMap::new(), value }])
    }

    fn identity(&self, _: &str, headers: &Headers, _: &[u8]) -> Headers {
        headers.clone()
    }

    fn on_failure(&self, _: &str, _: &Headers, _: &[u8], _: &Failure) -> Result<Vec<Output>> {
        Ok(Vec::new())
    }

    fn concurrency(&self) -> usize {
        64
    }

    fn forget(&self) {}
}

type Commits = Arc<Mutex<Vec<(Duration, usize)>>>;

/// Takes the time of each step, and counts what is committed.
struct Timed {
    writer: Box<dyn Writer>,
    commits: Commits,
    passed: watch::Sender<usize>,
}

#[async_trait]
impl Writer for Timed {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        let started = Instant::now();
        let outcome = self.writer.commit(step).await;
        self.commits.lock().unwrap().push((started.elapsed(), step.outputs.len()));
        if outcome.is_ok() {
            self.passed.send_modify(|passed| *passed += step.outputs.len());
        }
        outcome
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        self.writer.committed(partitions).await
    }
}

/// Wall and processor time of this process.
struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    fn stop(self) -> Round {
        Round { wall: self.wall.elapsed(), cpu: cpu() - self.cpu }
    }
}

fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

fn report(bare: &mut [Round], staged: &mut [Round], commits: &Commits) {
    println!("{RECORDS} records of {BYTES} bytes over {PARTITIONS} partitions, {ROUNDS} rounds in turns, medians");
    let mut rates = Vec::new();
    for (name, rounds) in [("bare loop, at least once", bare), ("stage, exactly once", staged)] {
        rounds.sort_by_key(|round| round.wall);
        let median = &rounds[rounds.len() / 2];
        let us_each = median.cpu.as_secs_f64() * 1e6 / RECORDS as f64;
        println!("  {name:<26} {:>8.0} records/s  {us_each:>5.1} µs of CPU a record", median.rate());
        rates.push(median.rate());
    }
    println!("  ratio {:.2}", rates[1] / rates[0]);
    let mut commits = commits.lock().unwrap().clone();
    commits.sort();
    let at = |part: usize| commits[(commits.len() - 1) * part / 100].0;
    let outputs = commits.iter().map(|(_, outputs)| outputs).sum::<usize>() / commits.len();
    println!(
        "  {} steps of {outputs} records on average: commit p50 {:.1?}, p99 {:.1?}",
        commits.len(),
        at(50),
        at(99)
    );
}
