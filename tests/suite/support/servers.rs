//! Real servers. Those that every test may use were started by `make test`; a test that ends or stops a broker or a
//! database node starts one of its own, which ends with it.
//!
//! The law: a missing server fails the test and says what to do; tests that share a server use topics, keyspaces,
//! subjects, buckets and containers of their own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde::Deserialize;

/// How much of a node's log is shown when its test fails.
const LOG_LINES: usize = 60;

/// The Kafka broker of all tests, as `host:port`. It has one node: replication factor 1, and nobody ends it.
pub fn shared_kafka() -> String {
    shared("kafka")
}

/// The Cassandra node of all tests, as `host:port`. It has one node: replication factor 1, and nobody ends it.
pub fn shared_cassandra() -> String {
    shared("cassandra")
}

/// The schema registry of all tests, as the address below which `/subjects` lies.
pub fn shared_registry() -> String {
    shared("registry")
}

/// The S3 server of all tests, as its address. It has no buckets; any credentials will do.
pub fn shared_s3() -> String {
    shared("s3")
}

/// The Azure Blob server of all tests, as the address of its one account, the emulator's well-known one. It has no
/// containers.
pub fn shared_azure() -> String {
    shared("azure")
}

fn shared(name: &str) -> String {
    let variable = format!("DECKLE_TEST_{}", name.to_uppercase());
    std::env::var(&variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `make test`, or `tests/servers.py with {name} -- cargo test`")
    })
}

/// A broker, or a cluster of three that replicates everything three times (two must be in sync).
pub type Broker = Cluster<Kafka>;

/// A Cassandra node, or a ring of two or three with equal shares of the tokens and one datacenter.
pub type Cassandra = Cluster<Ring>;

/// Servers of one kind for one test: its nodes are ended, stopped and started at will. Nodes count from 1. Dropped, it
/// ends and leaves nothing; a test that fails shows the end of each node's log.
pub struct Cluster<K> {
    script: Child,
    pipes: Arc<Mutex<Pipes>>,
    bootstrap: String,
    nodes: Vec<Node>,
    kind: PhantomData<K>,
}

/// What a cluster is made of.
pub trait Kind: Send + 'static {
    /// Its name to `tests/servers.py`.
    const NAME: &str;
}

/// The kind of [`Broker`].
pub enum Kafka {}

impl Kind for Kafka {
    const NAME: &str = "kafka";
}

/// The kind of [`Cassandra`].
pub enum Ring {}

impl Kind for Ring {
    const NAME: &str = "cassandra";
}

/// The two ends of the script that holds the nodes: a line of orders in, a line of JSON out.
struct Pipes {
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Ready {
    bootstrap: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    /// None while the node is down.
    pid: Option<u32>,
    log: PathBuf,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused { error: String },
    Done(Node),
}

impl Cluster<Kafka> {
    /// Where clients find it: `host:port`, one for each node, separated by commas.
    pub fn brokers(&self) -> &str {
        &self.bootstrap
    }
}

impl Cluster<Ring> {
    /// Where clients find it: `host:port`, one for each node, separated by commas.
    pub fn nodes(&self) -> &str {
        &self.bootstrap
    }

    /// Starts one node that wants TLS, a certificate of the client and a login (`cassandra`, `cassandra`).
    pub async fn start_secured() -> Self {
        tokio::task::spawn_blocking(|| Self::spawn(1, &["--secured"])).await.unwrap()
    }

    /// The certificates of a secured node: `ca.pem`, `client.pem`, `client.key`, and `other-ca.pem` of a stranger.
    pub fn certificates(&self) -> PathBuf {
        self.nodes[0].log.with_file_name("certificates")
    }
}

impl<K: Kind> Cluster<K> {
    /// Starts so many nodes; returns when all are ready.
    pub async fn start(nodes: usize) -> Self {
        tokio::task::spawn_blocking(move || Self::spawn(nodes, &[])).await.unwrap()
    }

    fn spawn(nodes: usize, options: &[&str]) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let home = std::env::var_os("DECKLE_HOME").map_or_else(|| repository.join(".deckle"), PathBuf::from);
        let python = home.join("venv-test/bin/python");
        assert!(python.is_file(), "{} is missing: run `make setup-test`", python.display());
        let mut script = Command::new(python)
            .arg(repository.join("tests/servers.py"))
            .args([K::NAME, "--nodes", &nodes.to_string()])
            .args(options)
            .env("DECKLE_HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = script.stdin.take();
        let mut pipes = Pipes { orders, answers: BufReader::new(script.stdout.take().unwrap()) };
        let Ready { bootstrap, nodes } = serde_json::from_str(&pipes.read()).unwrap();
        Self { script, pipes: Arc::new(Mutex::new(pipes)), bootstrap, nodes, kind: PhantomData }
    }

    /// The process of a node; None while it is down.
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node - 1].pid
    }

    /// What a node has logged in all its lives.
    pub fn log(&self, node: usize) -> String {
        String::from_utf8_lossy(&fs::read(&self.nodes[node - 1].log).unwrap()).into_owned()
    }

    /// Ends a node at once, as a crash does; returns when it is gone.
    pub async fn kill(&mut self, node: usize) {
        self.order("kill", node).await;
    }

    /// Starts a node that is down, on its old port with its old data; returns when it is ready.
    pub async fn start_again(&mut self, node: usize) {
        self.order("start", node).await;
    }

    /// Freezes a node: its connections stay open and say nothing.
    pub async fn pause(&mut self, node: usize) {
        self.order("pause", node).await;
    }

    /// Lets a frozen node go on.
    pub async fn resume(&mut self, node: usize) {
        self.order("continue", node).await;
    }

    async fn order(&mut self, order: &str, node: usize) {
        let (pipes, line) = (Arc::clone(&self.pipes), format!("{order} {node}\n"));
        let answer = tokio::task::spawn_blocking(move || pipes.lock().unwrap().ask(&line)).await.unwrap();
        match serde_json::from_str(&answer).unwrap() {
            Answer::Done(state) => self.nodes[node - 1] = state,
            Answer::Refused { error } => panic!("{order} {node}: {error}"),
        }
    }
}

impl Pipes {
    fn ask(&mut self, line: &str) -> String {
        self.orders.as_mut().expect("open until the cluster is dropped").write_all(line.as_bytes()).unwrap();
        self.read()
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "tests/servers.py ended; it says why on stderr");
        line
    }
}

impl<K> Drop for Cluster<K> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (node, state) in self.nodes.iter().enumerate() {
                let log = fs::read_to_string(&state.log).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                eprintln!("--- the end of the log of node {}\n{end}\n---", node + 1);
            }
        }
        // A poisoned lock still holds the pipe, whose end is what the script waits for.
        self.pipes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).orders = None;
        let _ = self.script.wait();
    }
}
