//! The worker loop on the real SQLite log, with stages that do what the test says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use deckle::{
    contract::{
        error::{Failure, Result, code},
        record::{DeadLetter, Enriched, Envelope, Event, Lane, Options, Published, Source, Status, Uploaded, wire},
    },
    log::{
        CommitError, From, Log, NewRecord, Partition, Position, Record, Step, Topic, Writer,
        sqlite::{self, SqliteLog, TopicConfig},
    },
    runtime::{
        journal::Journal,
        readiness,
        worker::{Config, Worker},
    },
    stages::{Output, Stage, erase},
};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use crate::support;

const DEADLINE: Duration = Duration::from_secs(60);

/// What a stage does with a record; its instruction is the file's name.
type Act = dyn Fn(Uploaded) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A stage that runs an act and then sends one event on.
struct Probe {
    act: Arc<Act>,
}

#[async_trait]
impl Stage for Probe {
    type Input = Uploaded;

    fn name(&self) -> &'static str {
        "probe"
    }

    async fn process(&self, _: &wire::Headers, input: Uploaded) -> Result<Vec<Output>> {
        (self.act)(input.clone()).await?;
        Ok(vec![Output::new("probe", &sent_on(input.envelope, input.source))?])
    }

    fn on_failure(&self, headers: &wire::Headers, input: Option<&Uploaded>, failure: &Failure) -> Result<Vec<Output>> {
        let source = input.map_or_else(Source::unknown, |input| input.source.clone());
        let reasons = vec![failure.reason("probe", None)];
        let event = Enriched::without_results(headers.envelope(), source, Status::Failed, reasons);
        Ok(vec![Output::new("probe", &event)?])
    }
}

fn sent_on(envelope: Envelope, source: Source) -> Published {
    Published {
        envelope: envelope.caused(Published::TOPIC, ""),
        source,
        status: Status::Published,
        page_count: 0,
        failed_pages: 0,
        block_count: 0,
        chunk_count: 0,
        language: "und".to_owned(),
        confidence: None,
        document: None,
        reasons: Vec::new(),
    }
}

/// A log in a folder, and what a worker on it committed.
struct Bench {
    folder: TempDir,
    log: Arc<dyn Log>,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        Self { folder, log, steps: Arc::default() }
    }

    /// Appends records: the document that each is of, and its instruction.
    async fn append(&self, records: &[(&str, &str)]) {
        let records = records.iter().map(|(document, instruction)| record(document, instruction)).collect();
        self.log.append(records).await.unwrap();
    }

    /// Starts a worker with an act for every record.
    async fn start<F>(&self, config: Config, act: impl Fn(Uploaded) -> F + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let act: Arc<Act> = Arc::new(move |input| Box::pin(act(input)));
        let (reader, writer) = self.log.join("probe", "worker-0", &[Topic::from(Uploaded::TOPIC)]).await.unwrap();
        let writer = Box::new(Spy { inner: writer, steps: Arc::clone(&self.steps) });
        let journal = Journal::open(&self.folder.path().join("journal")).unwrap();
        let worker = Worker::new(erase(Probe { act }), (reader, writer), journal, support::no_keys(), config, 8);
        let (stop, stopped) = watch::channel(false);
        Running { stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// All events of a type, once there are as many.
    async fn events<T: Event>(&self, count: usize) -> Vec<T> {
        let records = self.records(T::TOPIC, count).await;
        records.iter().map(|record| wire::decode(&record.value).unwrap()).collect()
    }

    async fn records(&self, topic: &str, count: usize) -> Vec<Record> {
        let mut tail = self.log.tail(&[Topic::from(topic)], From::Start).await.unwrap();
        let mut all = tail.ready().await.unwrap();
        while all.len() < count {
            all.extend(within(&format!("{count} records of {topic}, after {}", all.len()), tail.next()).await.unwrap());
        }
        all
    }

    /// How many records of a type there are now.
    async fn count<T: Event>(&self) -> usize {
        self.records(T::TOPIC, 0).await.len()
    }

    /// The step that held the dead letter of a record, and the letter.
    fn step_of_letter(&self, letter: &DeadLetter) -> Step {
        let steps = self.steps.lock().unwrap();
        let holds = |output: &NewRecord| {
            &*output.topic == DeadLetter::TOPIC && wire::decode::<DeadLetter>(&output.value).unwrap() == *letter
        };
        let mut found = steps.iter().filter(|step| step.outputs.iter().any(holds));
        let step = found.next().expect("a step holds the letter").clone();
        assert!(found.next().is_none(), "only one does");
        step
    }
}

fn open(folder: &Path) -> Arc<dyn Log> {
    let topics = [(Uploaded::TOPIC, 1), (Published::TOPIC, 1), (Enriched::TOPIC, 1), (DeadLetter::TOPIC, 1)];
    let topics = topics.map(|(name, partitions)| TopicConfig { name: Topic::from(name), partitions });
    Arc::new(SqliteLog::open(&folder.join("log.sqlite"), &topics, sqlite::Config::default()).unwrap())
}

/// A record of a document, which is `name` or `tenant/name`.
fn record(document: &str, instruction: &str) -> NewRecord {
    let (tenant, document) = document.split_once('/').unwrap_or(("acme", document));
    let upload = Uploaded {
        envelope: Envelope::new(format!("{document}/{instruction}"), tenant, document, Lane::Interactive),
        source: Source { filename: instruction.to_owned(), ..Source::unknown() },
        options: Options::default(),
        content: None,
    };
    NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(&upload, "test", None),
        value: wire::encode(&upload).unwrap(),
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Running {
    /// Drains and leaves.
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.end().await.unwrap();
    }

    /// Waits for its end.
    async fn end(self) -> Result<()> {
        within("the worker's end", self.task).await.unwrap()
    }

    /// Ends it where it is, as a crash does.
    async fn kill(self) {
        self.task.abort();
        assert!(within("the worker's death", self.task).await.unwrap_err().is_cancelled());
    }
}

/// A writer that keeps a copy of each step that it committed.
struct Spy {
    inner: Box<dyn Writer>,
    steps: Arc<Mutex<Vec<Step>>>,
}

#[async_trait]
impl Writer for Spy {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        self.inner.commit(step).await?;
        self.steps.lock().unwrap().push(step.clone());
        Ok(())
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        self.inner.committed(partitions).await
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

fn names(events: &[Published]) -> Vec<&str> {
    events.iter().map(|event| event.source.filename.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_record_holds_back_nothing_and_comes_again_alone_after_a_death() {
    let bench = Bench::new();
    bench.append(&[("a", "slow"), ("b", "1"), ("c", "2"), ("d", "3")]).await;
    let never = |input: Uploaded| async move {
        if input.source.filename == "slow" { std::future::pending().await } else { Ok(()) }
    };
    let worker = bench.start(Config::default(), never).await;
    let before = bench.events::<Published>(3).await;
    assert_eq!(names(&before).iter().collect::<BTreeSet<_>>(), BTreeSet::from([&"1", &"2", &"3"]));
    worker.kill().await;

    let delivered = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&delivered);
    let note = move |input: Uploaded| {
        seen.lock().unwrap().push(input.source.filename);
        async { Ok(()) }
    };
    let worker = bench.start(Config::default(), note).await;
    assert_eq!(names(&bench.events::<Published>(4).await)[3], "slow");
    worker.stop().await;
    assert_eq!(*delivered.lock().unwrap(), ["slow"], "what was committed does not come again");
    assert_eq!(bench.count::<Published>().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_complete_in_any_order_but_those_of_one_key_in_theirs() {
    let bench = Bench::new();
    let gate = Arc::new(Notify::new());
    bench.append(&[("a", "first"), ("a", "second"), ("b", "other"), ("a", "third")]).await;
    let running = Arc::new(Mutex::new((BTreeSet::new(), Vec::new())));
    let (opened, log) = (Arc::clone(&gate), Arc::clone(&running));
    let act = move |input: Uploaded| {
        let (opened, log) = (Arc::clone(&opened), Arc::clone(&log));
        async move {
            let document = input.envelope.document_id;
            {
                let mut log = log.lock().unwrap();
                assert!(log.0.insert(document.clone()), "two records of {document} run at once");
                log.1.push(input.source.filename.clone());
            }
            if input.source.filename == "first" {
                opened.notified().await;
            }
            tokio::task::yield_now().await;
            log.lock().unwrap().0.remove(&document);
            Ok(())
        }
    };
    let worker = bench.start(Config::default(), act).await;
    assert_eq!(names(&bench.events::<Published>(1).await), ["other"], "another key overtakes");
    gate.notify_one();
    assert_eq!(names(&bench.events::<Published>(4).await), ["other", "first", "second", "third"]);
    worker.stop().await;
    assert_eq!(bench.count::<DeadLetter>().await, 0);
}

/// Runs one record that fails for good, and gives its letter and what `on_failure` sent; checks that both and the
/// position past the record left in one step.
async fn fails(
    config: Config,
    record: NewRecord,
    act: impl Fn() -> Result<()> + Send + Sync + 'static,
) -> (DeadLetter, Enriched) {
    let bench = Bench::new();
    bench.log.append(vec![record.clone()]).await.unwrap();
    let act = Arc::new(act);
    let worker = bench
        .start(config, move |_| {
            let act = Arc::clone(&act);
            async move { act() }
        })
        .await;
    let letter = bench.events::<DeadLetter>(1).await.remove(0);
    let sent = bench.events::<Enriched>(1).await.remove(0);
    worker.stop().await;
    assert_eq!((bench.count::<DeadLetter>().await, bench.count::<Enriched>().await), (1, 1));
    assert_eq!(bench.count::<Published>().await, 0, "a failed record has no other outputs");
    let step = bench.step_of_letter(&letter);
    assert!(step.outputs.iter().any(|output| &*output.topic == Enriched::TOPIC), "on_failure's output is in the step");
    let at = Partition { topic: Topic::from(letter.topic.as_str()), number: letter.partition };
    assert!(step.positions[&at].covers(letter.offset), "and so is the position");
    assert_eq!(letter.value, record.value, "the letter holds the bytes");
    assert_eq!(letter.headers, record.headers, "and the headers");
    assert_eq!((letter.stage.as_str(), letter.topic.as_str()), ("probe", Uploaded::TOPIC));
    (letter, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_defect_of_its_record() {
    let (letter, _) = fails(Config::default(), record("a", "1"), || panic!("a bug in the stage")).await;
    assert_eq!((letter.kind.as_str(), letter.attempts), ("defect", 1));
    assert_eq!((letter.reason.code.as_str(), letter.reason.retryable), (code::DEFECT, false));
    assert!(letter.reason.message.contains("a bug in the stage"), "{}", letter.reason.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_record_is_a_dead_letter_at_once_and_on_failure_tells_of_it() {
    let reject = || Err(Failure::rejected(code::PDF_ENCRYPTED, "needs a password"));
    let (letter, sent) = fails(Config::default(), record("a", "1"), reject).await;
    assert_eq!((letter.kind.as_str(), letter.attempts), ("rejected", 1));
    assert_eq!((letter.reason.code.as_str(), letter.reason.retryable), (code::PDF_ENCRYPTED, false));
    assert_eq!(letter.envelope.document_id, "a");
    assert_eq!((sent.status, sent.reasons[0].code.as_str()), (Status::Failed, code::PDF_ENCRYPTED));
    assert_eq!(sent.source.filename, "1", "the input was decoded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_moment_is_retried_and_then_a_retryable_dead_letter() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let config = Config { retry_s: 1, ..Config::default() };
    let (letter, sent) = fails(config, record("a", "1"), move || {
        counted.fetch_add(1, SeqCst);
        Err(Failure::transient("not now"))
    })
    .await;
    let attempts = attempts.load(SeqCst);
    assert!(attempts > 1, "it was retried");
    assert_eq!((letter.kind.as_str(), letter.attempts), ("transient", attempts));
    assert_eq!((letter.reason.code.as_str(), letter.reason.retryable), (code::TRANSIENT, true));
    assert!(sent.reasons[0].retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_leaves_no_trace() {
    let bench = Bench::new();
    bench.append(&[("a", "1")]).await;
    let attempts = AtomicU32::new(0);
    let worker = bench
        .start(Config::default(), move |_| {
            let attempt = attempts.fetch_add(1, SeqCst);
            async move { if attempt < 2 { Err(Failure::transient("not now")) } else { Ok(()) } }
        })
        .await;
    assert_eq!(bench.events::<Published>(1).await.len(), 1);
    worker.stop().await;
    assert_eq!((bench.count::<Published>().await, bench.count::<DeadLetter>().await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_cannot_be_decoded_become_a_dead_letter_that_holds_them() {
    let mut garbage = record("a", "1");
    garbage.value = Bytes::from_static(b"\xc3\x01 this is no Avro");
    let (letter, sent) = fails(Config::default(), garbage, || Ok(())).await;
    assert_eq!((letter.kind.as_str(), letter.reason.code.as_str()), ("rejected", code::RECORD_UNDECODABLE));
    assert_eq!((letter.envelope.tenant.as_str(), letter.envelope.document_id.as_str()), ("acme", "a"));
    assert_eq!(sent.envelope.document_id, "a", "on_failure works from the headers alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_waited_for_and_named_and_never_a_dead_letter() {
    let bench = Bench::new();
    bench.append(&[("a", "1"), ("b", "2")]).await;
    let away = Arc::new(AtomicU32::new(1));
    let asked = Arc::new(AtomicU32::new(0));
    let (state, counted) = (Arc::clone(&away), Arc::clone(&asked));
    let config = Config { retry_s: 0, ..Config::default() };
    let worker = bench
        .start(config, move |_| {
            counted.fetch_add(1, SeqCst);
            let away = state.load(SeqCst) == 1;
            async move { if away { Err(Failure::unavailable("the moon", "set")) } else { Ok(()) } }
        })
        .await;
    within("several probes, and both records named", async {
        while asked.load(SeqCst) < 6 || readiness::away().get("the moon").is_none_or(|it| it.waiting != 2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!((bench.count::<Published>().await, bench.count::<DeadLetter>().await), (0, 0));
    away.store(0, SeqCst);
    assert_eq!(bench.events::<Published>(2).await.len(), 2);
    assert_eq!(readiness::away().get("the moon"), None);
    worker.stop().await;
    assert_eq!(bench.count::<DeadLetter>().await, 0);
}

/// Settings under which the defects of three documents make a stage pause.
fn breaker(defect_pause_s: u64) -> Config {
    Config { max_defects: 3, defect_window: 6, defect_pause_s, ..Config::default() }
}

/// Records of forty documents, of so many tenants in turn.
async fn append_forty(bench: &Bench, tenants: usize) {
    let documents: Vec<(String, String)> =
        (0..40).map(|number| (format!("t{}/d{number}", number % tenants), number.to_string())).collect();
    let records: Vec<(&str, &str)> = documents.iter().map(|(d, n)| (d.as_str(), n.as_str())).collect();
    bench.append(&records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_with_too_many_defects_pauses_before_it_empties_the_topic_and_says_so() {
    let bench = Bench::new();
    append_forty(&bench, 2).await;
    let worker = bench.start(breaker(3600), |_| async { Err(Failure::defect("all wrong")) }).await;
    let paused = || readiness::away().remove("stage probe");
    let why = within("the pause", async {
        loop {
            match paused() {
                Some(stage) => break stage.why,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await;
    assert!(why.contains("of 2 tenants") && why.contains("worker.max_defects"), "{why}");
    worker.stop().await;
    assert_eq!(paused(), None, "who stopped waits for nothing");
    // Of those that ran when it was noticed, too.
    let letters = bench.count::<DeadLetter>().await;
    assert!((3..=11).contains(&letters), "{letters}: the rest stays where it is");

    let worker = bench.start(breaker(3600), |_| async { Ok(()) }).await;
    bench.events::<Published>(40 - letters).await;
    worker.stop().await;
    assert_eq!(bench.count::<Published>().await, 40 - letters, "and is done once that is mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_is_well_again_goes_on_by_itself() {
    let bench = Bench::new();
    append_forty(&bench, 2).await;
    let attempts = Arc::new(AtomicU32::new(0));
    let act = move |_| {
        // The eight that run at first, and the first that is let through alone.
        let is_broken = attempts.fetch_add(1, SeqCst) < 9;
        async move { if is_broken { Err(Failure::defect("all wrong")) } else { Ok(()) } }
    };
    let worker = bench.start(breaker(0), act).await;
    bench.events::<Published>(31).await;
    worker.stop().await;
    assert_eq!((bench.count::<Published>().await, bench.count::<DeadLetter>().await), (31, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn defects_of_one_tenant_pause_nothing() {
    let bench = Bench::new();
    append_forty(&bench, 1).await;
    bench.append(&[("other/d", "well")]).await;
    let act = |input: Uploaded| async move {
        if input.source.filename == "well" { Ok(()) } else { Err(Failure::defect("a crash")) }
    };
    let worker = bench.start(breaker(3600), act).await;
    bench.events::<Published>(1).await;
    bench.events::<DeadLetter>(40).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_can_never_be_committed_stops_the_worker_and_says_why() {
    let mut bench = Bench::new();
    // A log that does not know where this stage's outputs go.
    let topics = [TopicConfig { name: Topic::from(Uploaded::TOPIC), partitions: 1 }];
    let path = bench.folder.path().join("another.sqlite");
    bench.log = Arc::new(SqliteLog::open(&path, &topics, sqlite::Config::default()).unwrap());
    bench.append(&[("d", "1")]).await;
    let worker = bench.start(Config::default(), |_| async { Ok(()) }).await;
    let error = worker.end().await.unwrap_err().to_string();
    assert!(error.contains("probe") && error.contains("log.unknown_topic: documents.published"), "{error}");
    let lag = bench.log.lag("probe", &[Topic::from(Uploaded::TOPIC)]).await.unwrap();
    assert_eq!(lag[0].records, 1, "its input stays for one that can");
}

/// A writer whose first commit is unclear, on a log that then says nothing for a while.
struct Unclear {
    inner: Box<dyn Writer>,
    is_first: bool,
    /// Whether the first commit is made all the same.
    is_made: bool,
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl Writer for Unclear {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        if !std::mem::take(&mut self.is_first) {
            return self.inner.commit(step).await;
        }
        if self.is_made {
            self.inner.commit(step).await?;
        }
        Err(CommitError::Unknown("the line broke".into()))
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        if self.is_away.load(SeqCst) {
            return Err(Failure::unavailable("an unclear log", "it says nothing"));
        }
        self.inner.committed(partitions).await
    }
}

/// Starts a worker on four records whose first commit is unclear, and waits until it asks in vain what came of it.
async fn start_unclear(bench: &Bench, is_made: bool) -> (Running, Arc<AtomicBool>) {
    bench.append(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await;
    let is_away = Arc::new(AtomicBool::new(true));
    let (reader, inner) = bench.log.join("probe", "worker-0", &[Topic::from(Uploaded::TOPIC)]).await.unwrap();
    let writer = Box::new(Unclear { inner, is_first: true, is_made, is_away: Arc::clone(&is_away) });
    let journal = Journal::open(&bench.folder.path().join("journal")).unwrap();
    let config = Config { drain_s: 1, ..Config::default() };
    let act: Arc<Act> = Arc::new(|_| Box::pin(async { Ok(()) }));
    let worker = Worker::new(erase(Probe { act }), (reader, writer), journal, support::no_keys(), config, 8);
    let (stop, stopped) = watch::channel(false);
    let running = Running { stop, task: tokio::spawn(worker.run(stopped)) };
    within("the question what was committed", async {
        while !readiness::away().contains_key("an unclear log") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    (running, is_away)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_learn_what_was_committed_still_hears_that_it_shall_stop() {
    for is_made in [false, true] {
        let bench = Bench::new();
        let (worker, _) = start_unclear(&bench, is_made).await;
        worker.stop().await;
        let worker = bench.start(Config::default(), |_| async { Ok(()) }).await;
        assert_eq!(bench.events::<Published>(4).await.len(), 4);
        worker.stop().await;
        assert_eq!(bench.count::<Published>().await, 4, "each once, whatever came of the unclear commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclear_commit_is_made_once_when_the_log_speaks_again() {
    for is_made in [false, true] {
        let bench = Bench::new();
        let (worker, is_away) = start_unclear(&bench, is_made).await;
        is_away.store(false, SeqCst);
        assert_eq!(bench.events::<Published>(4).await.len(), 4);
        worker.stop().await;
        assert_eq!(bench.count::<Published>().await, 4);
    }
}

/// A writer whose commits are refused for a while.
struct Refused {
    inner: Box<dyn Writer>,
    is_refused: Arc<AtomicBool>,
}

#[async_trait]
impl Writer for Refused {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        if self.is_refused.load(SeqCst) {
            return Err(CommitError::Aborted("an error that nobody has met".into()));
        }
        self.inner.commit(step).await
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        self.inner.committed(partitions).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_fail_again_and_again_are_named_until_one_succeeds() {
    let bench = Bench::new();
    bench.append(&[("a", "1")]).await;
    let is_refused = Arc::new(AtomicBool::new(true));
    let (reader, inner) = bench.log.join("probe", "worker-0", &[Topic::from(Uploaded::TOPIC)]).await.unwrap();
    let writer = Box::new(Refused { inner, is_refused: Arc::clone(&is_refused) });
    let journal = Journal::open(&bench.folder.path().join("journal")).unwrap();
    let act: Arc<Act> = Arc::new(|_| Box::pin(async { Ok(()) }));
    let worker = Worker::new(erase(Probe { act }), (reader, writer), journal, support::no_keys(), Config::default(), 8);
    let (stop, stopped) = watch::channel(false);
    let worker = Running { stop, task: tokio::spawn(worker.run(stopped)) };
    let named = || readiness::away().remove("commits of stage probe");
    within("readiness names it", async {
        while named().is_none_or(|it| !it.why.contains("nobody has met")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    is_refused.store(false, SeqCst);
    assert_eq!(bench.events::<Published>(1).await.len(), 1);
    worker.stop().await;
    assert_eq!(named(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_defects_among_many_records_stop_nothing() {
    let bench = Bench::new();
    // One record at a time, so that every sixth is a defect: two in any window of six or more, never three.
    let records: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let records: Vec<(&str, &str)> = records.iter().map(|n| ("one", n.as_str())).collect();
    bench.append(&records).await;
    let act = |input: Uploaded| async move {
        let number: u32 = input.source.filename.parse().unwrap();
        if number.is_multiple_of(5) { Err(Failure::defect("every fifth")) } else { Ok(()) }
    };
    let worker = bench.start(breaker(3600), act).await;
    bench.events::<Published>(24).await;
    worker.stop().await;
    assert_eq!((bench.count::<Published>().await, bench.count::<DeadLetter>().await), (24, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_stop_what_runs_is_finished_and_committed() {
    let bench = Bench::new();
    bench.append(&[("a", "slow"), ("b", "1")]).await;
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let act = move |input: Uploaded| {
        let opened = Arc::clone(&opened);
        async move {
            if input.source.filename == "slow" {
                opened.notified().await;
            }
            Ok(())
        }
    };
    let worker = bench.start(Config::default(), act).await;
    bench.events::<Published>(1).await;
    worker.stop.send(true).unwrap();
    gate.notify_one();
    worker.end().await.unwrap();
    assert_eq!(names(&bench.events::<Published>(2).await), ["1", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_end_is_left_behind_when_the_time_to_drain_is_over() {
    let bench = Bench::new();
    bench.append(&[("a", "slow"), ("b", "1")]).await;
    let never = |input: Uploaded| async move {
        if input.source.filename == "slow" { std::future::pending().await } else { Ok(()) }
    };
    let worker = bench.start(Config { drain_s: 0, ..Config::default() }, never).await;
    bench.events::<Published>(1).await;
    worker.stop().await;
    assert_eq!(bench.count::<DeadLetter>().await, 0);
    let worker = bench.start(Config::default(), |_| async { Ok(()) }).await;
    assert_eq!(names(&bench.events::<Published>(2).await), ["1", "slow"], "another one finishes it");
    worker.stop().await;
}

/// Tells a copy of this program which folder to work, and die, in.
const CRASH_IN: &str = "DECKLE_TEST_CRASH_IN";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_its_process_again_and_again_becomes_a_dead_letter() {
    let bench = Bench::new();
    bench.append(&[("a", "good"), ("b", "poison"), ("c", "good"), ("d", "good")]).await;
    let mut deaths = 0;
    loop {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "worker::a_process_with_a_poisonous_record", "--ignored"]);
        child.env(CRASH_IN, bench.folder.path()).kill_on_drop(true);
        let output = within("a worker's process", child.output()).await.unwrap();
        if output.status.success() {
            break;
        }
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&output.status),
            Some(libc::SIGABRT),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        deaths += 1;
        assert!(deaths <= 3, "it kills for ever");
    }
    // In company at the first death at most; alone at two more, which is enough.
    assert!((2..=3).contains(&deaths), "{deaths} deaths");
    let letters = bench.events::<DeadLetter>(1).await;
    assert_eq!((letters.len(), letters[0].kind.as_str()), (1, "defect"));
    assert_eq!(letters[0].envelope.document_id, "b");
    assert!(letters[0].reason.message.contains("crash"), "{}", letters[0].reason.message);
    assert_eq!(names(&bench.events::<Published>(3).await), ["good"; 3], "each once");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "dies: the other half of a_record_that_kills_its_process_again_and_again_becomes_a_dead_letter"]
async fn a_process_with_a_poisonous_record() {
    let Some(folder) = std::env::var_os(CRASH_IN) else { return };
    let (reader, writer) = {
        let log = open(Path::new(&folder));
        log.join("probe", "worker-0", &[Topic::from(Uploaded::TOPIC)]).await.unwrap()
    };
    let act: Arc<Act> = Arc::new(|input: Uploaded| {
        Box::pin(async move {
            if input.source.filename == "poison" {
                std::process::abort();
            }
            Ok(())
        })
    });
    let journal = Journal::open(&Path::new(&folder).join("journal")).unwrap();
    let worker = Worker::new(erase(Probe { act }), (reader, writer), journal, support::no_keys(), Config::default(), 8);
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn(worker.run(stopped));
    let log = open(Path::new(&folder));
    let mut tail =
        log.tail(&[Topic::from(DeadLetter::TOPIC), Topic::from(Published::TOPIC)], From::Start).await.unwrap();
    let mut ends = 0;
    while ends < 4 {
        ends += within("all records' ends", tail.next()).await.unwrap().len();
    }
    stop.send(true).unwrap();
    worker.await.unwrap().unwrap();
}
