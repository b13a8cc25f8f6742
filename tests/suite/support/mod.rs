//! What tests of the whole program share: a home of its own for each test, the program run in it, and what it left.
//!
//! The law: a test sees what a user or a second process sees: exit codes, output, files, the log and the store. A
//! missing set-up fails the test and says so.

pub mod canonical;
pub mod object_stores;
pub mod samples;
pub mod servers;
pub mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    future::Future,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use deckle::{
    app::App,
    config::Config,
    contract::{
        document::Document,
        record::{DeadLetter, Event, topics, wire},
    },
    decode::{self, Decoders, sandbox},
    log::{self, Topic},
    models::Catalogue,
    seal::{self, Keyring},
    store::{DocumentKey, Header, ListFilter, RunKey},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

/// Longer than anything here takes, even beside other tests on two cores.
pub const DEADLINE: Duration = Duration::from_secs(100);

/// How often a state that nobody announces is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Samples, bad files and `truth.json`.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Documents that are all published.
pub fn samples() -> PathBuf {
    data().join("samples")
}

/// Files that are all refused.
pub fn bad() -> PathBuf {
    data().join("bad")
}

/// What the test documents say.
pub fn truth() -> Value {
    serde_json::from_slice(&std::fs::read(data().join("truth.json")).unwrap()).unwrap()
}

/// The folder that `make setup` filled.
pub fn set_up() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".deckle");
    let folder = std::env::var_os("DECKLE_HOME").map_or_else(default, PathBuf::from);
    for part in ["lib", "models"] {
        assert!(folder.join(part).is_dir(), "{} is missing: run `make setup`", folder.join(part).display());
    }
    folder
}

/// No keys for passwords, where none come.
pub fn no_keys() -> Arc<Keyring> {
    Arc::new(Keyring::new(&seal::Config::default(), None))
}

/// Decoders with one child, which is the program under test.
pub fn decoders() -> Decoders {
    let sandbox = sandbox::Config { children: Some(1), ..sandbox::Config::default() };
    let config = decode::Config { pdfium: Some(set_up().join("lib")), ..decode::Config::default() };
    Decoders::start(Path::new(env!("CARGO_BIN_EXE_deckle")), sandbox, config)
}

/// Waits until something is so.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

/// A folder with the real libraries and models and no data; removed with it.
pub struct Home {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Fails the test, with all the command said, unless it ended with this code.
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

impl Home {
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("deckle-test-").unwrap();
        for part in ["lib", "models"] {
            let target = set_up().join(part).canonicalize().unwrap();
            std::os::unix::fs::symlink(target, folder.path().join(part)).unwrap();
        }
        Self { folder }
    }

    /// One whose store is a keyspace of its own on this node, without tables yet; and with these other settings.
    pub fn on_cassandra(nodes: &str, settings: &str) -> Self {
        let home = Self::new();
        let keyspace = format!("test_{}", uuid::Uuid::now_v7().simple());
        home.configure(&format!(
            "{settings}[store]\nprovider = \"scylla\"\n[store.scylla]\nnodes = \"{nodes}\"\n\
             keyspace = \"{keyspace}\"\nreplication_factor = 1\n"
        ));
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file below this folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes the settings that every command in this home reads.
    pub fn configure(&self, toml: &str) {
        std::fs::write(self.join("deckle.toml"), toml).unwrap();
    }

    /// The program in this home: nothing of the caller's settings reaches it, and nothing of it outlives the test.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("DECKLE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("DECKLE_HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        command
    }

    /// Runs a command to its end.
    pub async fn deckle<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        let mut command = self.command(arguments);
        run(&mut command).await
    }

    /// What the program would open in this home. Nothing may run on it in this process: the sandbox's children are
    /// this program, which a test is not.
    pub fn app(&self) -> App {
        let settings = std::fs::read_to_string(self.join("deckle.toml")).unwrap_or_default();
        App::open(Config { home: self.path().to_owned(), ..toml::from_str(&settings).unwrap() }).unwrap()
    }
}

/// Runs a command to its end.
pub async fn run(command: &mut Command) -> Ran {
    let what = format!("{command:?}");
    let output = within(&what, command.output()).await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A started program, killed at the latest when the test ends.
pub struct Started {
    child: Child,
    pid: i32,
}

impl Started {
    pub fn new(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        Self { child, pid }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its end, if it came.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its end.
    pub async fn wait(&mut self) -> ExitStatus {
        within("the end of a process", self.child.wait()).await.unwrap()
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: i32) {
        send(self.pid, signal);
    }

    /// Sends a signal to it and all its children.
    pub fn signal_group(&self, signal: i32) {
        send(-self.pid, signal);
    }

    /// Its children, their children, and so on.
    pub fn descendants(&self) -> BTreeSet<Process> {
        let all = processes();
        let mut found = BTreeSet::new();
        let mut parents = vec![self.pid];
        while let Some(parent) = parents.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                if found.insert(*process) {
                    parents.push(process.pid);
                }
            }
        }
        found
    }

    /// Whether it has a file of this name open.
    pub fn has_open(&self, path: &Path) -> bool {
        let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
    }

    /// Its standard error, which must be piped.
    pub fn stderr(&mut self) -> tokio::io::BufReader<tokio::process::ChildStderr> {
        tokio::io::BufReader::new(self.child.stderr.take().expect("standard error is piped and not taken yet"))
    }
}

/// Runs the stages of these names, or all, until nothing is left for them.
pub async fn work(home: &Home, stages: &[&str]) {
    let names = stages.join(",");
    let arguments: &[&str] = if stages.is_empty() { &[] } else { &["--stage", &names] };
    let (mut run, _) = working(home, arguments).await;
    let app = home.app();
    within("all work is done", async {
        while waits(&app, stages).await {
            assert!(run.ended().is_none(), "the workers stopped");
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
}

/// Whether a stage is behind. In the order of the path, so that nothing passes unseen.
pub async fn waits(app: &App, stages: &[&str]) -> bool {
    for topic in topics::all() {
        for group in topic.consumers.iter().filter(|group| stages.is_empty() || stages.contains(&group.as_str())) {
            let lags = app.log.lag(group, &[Topic::from(topic.name.as_str())]).await.unwrap();
            if lags.iter().any(|lag| lag.records > 0) {
                return true;
            }
        }
    }
    false
}

/// Starts `deckle run` and waits until it works; where it answers.
pub async fn working(home: &Home, arguments: &[&str]) -> (Started, String) {
    let log = home.join("stderr");
    let mut command = home.command(["run", "--listen", "127.0.0.1:0", "--json"]);
    command.args(arguments).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let run = Started::new(&mut command);
    let address = until("a worker that works", || {
        let text = std::fs::read_to_string(&log).unwrap();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let fields: Vec<_> = entries.map(|entry| entry["fields"].clone()).collect();
        let is_working = fields.iter().any(|fields| fields["message"] == "working");
        fields.iter().find_map(|fields| fields["address"].as_str().map(str::to_owned)).filter(|_| is_working)
    })
    .await;
    (run, address)
}

/// Sends a signal to a process that is ours; one that is gone is no error.
pub fn send(pid: i32, signal: i32) {
    assert!(pid.abs() > 1, "{pid} is no process of a test");
    // SAFETY: kill has no preconditions.
    unsafe { libc::kill(pid, signal) };
}

/// A process as the kernel knows it; its start tells it from a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    pub started: u64,
    parent: i32,
}

impl Process {
    /// Whether it still runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(now, state)| now.started == self.started && state != "Z" && state != "X")
    }
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).map(|(process, _)| process).collect()
}

/// Reads `/proc/PID/stat` (proc(5)): the name in parentheses may hold anything, what follows is fixed.
fn stat(pid: i32) -> Option<(Process, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let process = Process { pid, parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? };
    Some((process, (*fields.first()?).to_owned()))
}

/// A repeatable source of numbers (SplitMix64), whose seed is printed and can be given as `DECKLE_SEED`.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        let given = std::env::var("DECKLE_SEED").ok().map(|seed| seed.parse().expect("DECKLE_SEED is a number"));
        let seed = given.unwrap_or_else(|| jiff::Timestamp::now().as_microsecond().unsigned_abs());
        println!("seed: DECKLE_SEED={seed}");
        Self(seed)
    }

    /// With a seed that is always the same.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to `end`, which is not among them.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn delay(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from((to - from).as_micros()).unwrap();
        from + Duration::from_micros(self.below(span))
    }
}

/// Writes short texts, none like another; numbers start at `first`.
pub fn write_texts(folder: &Path, first: usize, count: usize) {
    const BIRDS: [&str; 7] = ["heron", "kingfisher", "swift", "dipper", "owl", "wren", "crane"];
    const PLACES: [&str; 5] = ["the weir", "the old mill", "the reed bed", "the north bank", "the stone bridge"];
    for number in first..first + count {
        let (bird, place) = (BIRDS[number % BIRDS.len()], PLACES[number % PLACES.len()]);
        let text = format!(
            "Observation {number}\n\nOn day {number} a {bird} was seen near {place}.\n\nIt stayed for {} minutes and \
             flew off to the west.\n",
            number * 7 % 60 + 1
        );
        std::fs::write(folder.join(format!("observation-{number:04}.txt")), text).unwrap();
    }
}

/// Copies a sample so that its bytes, and with them its document, are like no other's: readers of PDF, PNG and JPEG
/// ignore what follows the end.
pub fn write_copy(folder: &Path, sample: &str, number: usize) {
    let mut bytes = std::fs::read(samples().join(sample)).unwrap();
    bytes.extend_from_slice(format!("\n% copy {number}\n").as_bytes());
    std::fs::write(folder.join(format!("copy-{number:04}-{sample}")), bytes).unwrap();
}

/// All that is kept of a type in the log.
pub async fn events<T: Event>(app: &App) -> Vec<T> {
    records(app, T::TOPIC).await.iter().map(|record| wire::decode(&record.value).unwrap()).collect()
}

/// All records of a topic that are kept.
pub async fn records(app: &App, topic: &str) -> Vec<log::Record> {
    let mut tail = app.log.tail(&[Topic::from(topic)], log::From::Start).await.unwrap();
    let mut all = Vec::new();
    loop {
        let more = tail.ready().await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// How many records each topic holds.
pub async fn record_counts(app: &App) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for topic in topics::all() {
        counts.insert(topic.name.clone(), records(app, &topic.name).await.len());
    }
    counts
}

/// All headers of the store.
pub async fn headers(app: &App) -> Vec<Header> {
    let listing = app.store.list(&ListFilter { limit: 10_000, ..ListFilter::default() }).await.unwrap();
    assert_eq!(listing.next, None, "all documents fit one listing");
    listing.headers
}

/// The header of the document made of a file of this name.
pub async fn header(app: &App, filename: &str) -> Header {
    let all = headers(app).await;
    let found = all.into_iter().find(|header| header.source().is_some_and(|source| source.filename == filename));
    found.unwrap_or_else(|| panic!("no document is called {filename}"))
}

/// The document that readers see.
pub async fn document(app: &App, header: &Header) -> Document {
    let blob = header.current.as_ref().unwrap().document.as_ref().unwrap();
    serde_json::from_slice(&app.blobs.get(blob).await.unwrap()).unwrap()
}

/// What readers and programs see of a document, times and trail left out.
#[derive(Debug, Clone)]
pub struct Seen {
    pub filename: String,
    pub status: &'static str,
    /// Code, page and stage of each reason.
    pub reasons: Vec<(String, Option<u32>, String)>,
    /// For people: not compared.
    pub messages: Vec<String>,
    /// Pages, failed pages, blocks, chunks.
    pub counts: Option<[u32; 4]>,
    pub language: Option<String>,
    /// Text and structure; null for a document without content.
    pub document: Value,
    /// The document's own, then those of the page rows, of figures and of fields.
    pub confidences: Vec<Option<f64>>,
    pub chunks: Value,
    /// Their confidences are among the others.
    pub figures: Value,
    pub fields: Value,
    pub vectors: Vec<(u32, Vec<f32>)>,
}

impl Seen {
    /// Fails the test unless another run saw the same.
    pub fn assert_like(&self, other: &Self) {
        let name = &self.filename;
        assert_eq!(self.filename, other.filename);
        assert_eq!(self.status, other.status, "{name}: {:?} {:?}", self.messages, other.messages);
        assert_eq!(self.reasons, other.reasons, "{name}");
        assert_eq!(self.counts, other.counts, "{name}");
        assert_eq!(self.language, other.language, "{name}");
        assert_eq!(self.document, other.document, "{name}");
        assert_eq!(self.chunks, other.chunks, "{name}");
        assert_eq!(self.figures, other.figures, "{name}");
        assert_eq!(self.fields, other.fields, "{name}");
        assert_eq!(self.confidences.len(), other.confidences.len(), "{name}");
        for (ours, theirs) in self.confidences.iter().zip(&other.confidences) {
            let near = match (ours, theirs) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 0.01,
                _ => ours == theirs,
            };
            assert!(near, "{name}: confidence {ours:?} and {theirs:?}");
        }
        assert_eq!(self.vectors.len(), other.vectors.len(), "{name}");
        for ((chunk_no, ours), (other_no, theirs)) in self.vectors.iter().zip(&other.vectors) {
            assert_eq!(chunk_no, other_no, "{name}");
            let cosine = cosine(ours, theirs);
            assert!(cosine >= 0.999, "{name}: chunk {chunk_no} has cosine {cosine}");
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Everything that the store holds for readers, by document.
pub async fn all_seen(app: &App) -> BTreeMap<DocumentKey, Seen> {
    let mut all = BTreeMap::new();
    for header in headers(app).await {
        all.insert(header.key.clone(), seen(app, &header).await);
    }
    all
}

/// What readers see of one document.
pub async fn seen(app: &App, header: &Header) -> Seen {
    let current = header.current.as_ref();
    let (mut document, mut confidences, mut chunks, mut vectors) = (Value::Null, Vec::new(), Value::Null, Vec::new());
    let (mut figures, mut fields) = (Value::Null, Value::Null);
    if let Some(current) = current {
        document = canonical::canonical(&self::document(app, header).await);
        let own = document["confidences"].take();
        confidences.extend(own.as_array().unwrap().iter().map(Value::as_f64));
        let mut run = app.store.document(&header.key).await.unwrap().unwrap();
        assert_eq!(
            [run.figures.len(), run.fields.len()],
            [current.figure_count, current.field_count].map(|it| it as usize)
        );
        confidences.extend(run.pages.iter().map(|page| page.confidence.map(|it| f64::from(it.mean))));
        confidences.extend(run.figures.iter_mut().map(|figure| figure.confidence.take().map(f64::from)));
        confidences.extend(run.fields.iter_mut().map(|field| field.confidence.take().map(f64::from)));
        (figures, fields) = (json!(run.figures), json!(run.fields));
        chunks = serde_json::to_value(&run.chunks).unwrap();
        let key = RunKey { document: header.key.clone(), run: current.run };
        vectors = app.store.vectors(&key, &Catalogue::load().models[0].name).await.unwrap();
        assert_eq!(vectors.len(), run.chunks.len(), "a vector for each chunk");
    }
    let reasons = header.reasons().iter();
    Seen {
        filename: header.source().map(|source| source.filename.clone()).unwrap_or_default(),
        status: header.status().as_str(),
        reasons: reasons.map(|it| (it.code.clone(), it.page_no, it.stage.clone())).collect(),
        messages: header.reasons().iter().map(|it| it.message.clone()).collect(),
        counts: current.map(|it| [it.page_count, it.failed_pages, it.block_count, it.chunk_count]),
        language: current.map(|it| it.language.clone()),
        document,
        confidences,
        chunks,
        figures,
        fields,
        vectors,
    }
}

/// Fails the test unless each document's path ended exactly once per run and version, and each record that failed is
/// in exactly one dead letter.
pub async fn assert_each_end_is_told_once(app: &App) {
    let mut ends: BTreeMap<(String, String, i64, i64), usize> = BTreeMap::new();
    for end in events::<deckle::contract::record::Published>(app).await {
        let envelope = end.envelope;
        *ends.entry((envelope.tenant, envelope.document_id, envelope.run, envelope.version)).or_default() += 1;
    }
    let twice: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "ended more than once: {twice:?}");
    for header in headers(app).await {
        let ended = header.ended.as_ref().unwrap_or_else(|| panic!("{:?} has no end", header.key));
        let key = (header.key.tenant.clone(), header.key.document_id.clone(), ended.run, ended.version);
        assert!(ends.contains_key(&key), "no event tells of the end of {key:?}");
    }
    let mut letters: BTreeMap<(String, i32, i64), usize> = BTreeMap::new();
    for letter in events::<DeadLetter>(app).await {
        *letters.entry((letter.topic, letter.partition, letter.offset)).or_default() += 1;
    }
    let twice: Vec<_> = letters.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "more than one dead letter of a record: {twice:?}");
}

/// Document, stage, page, code and kind of every dead letter.
pub async fn letters(app: &App) -> Vec<(String, String, Option<u32>, String, String)> {
    let letters = events::<DeadLetter>(app).await.into_iter();
    let mut letters: Vec<_> =
        letters.map(|it| (it.envelope.document_id, it.stage, it.page_no, it.reason.code, it.kind)).collect();
    letters.sort();
    letters
}

/// Fails the test unless the folders `out` of two homes hold the same exports.
pub fn assert_same_exports(ours: &Home, theirs: &Home) {
    let (ours, theirs) = (files(&ours.join("out")), files(&theirs.join("out")));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "other exports");
    for (path, bytes) in &ours {
        let name = path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "json") {
            let [ours, theirs] = [bytes, &theirs[path]].map(|bytes| serde_json::from_slice(bytes).unwrap());
            assert_json_like(&name, &ours, &theirs);
        } else {
            assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&theirs[path]), "{name}");
        }
    }
}

/// All files below a folder, with their bytes.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Fails the test unless two JSON values are the same but for numbers, which may differ by 0.01.
pub fn assert_json_like(place: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            assert!(ours.keys().eq(theirs.keys()), "{place}: other fields");
            ours.iter().for_each(|(name, value)| assert_json_like(&format!("{place}/{name}"), value, &theirs[name]));
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            let pairs = ours.iter().zip(theirs).enumerate();
            pairs.for_each(|(index, (ours, theirs))| assert_json_like(&format!("{place}/{index}"), ours, theirs));
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            let apart = (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs();
            assert!(apart <= 0.01, "{place}: {ours} and {theirs}");
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

/// Asks a server of this machine: the status and the body.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let bytes = within(path, exchange).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP response");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The sum of a metric's samples that carry all these labels.
pub fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let samples = text.lines().filter(|line| {
        let named = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        named && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    });
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
