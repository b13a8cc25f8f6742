//! The embedded side of the log: one SQLite file, shared by any number of processes.
//!
//! The law: a step is one transaction, and the lease of every partition that it moves is checked inside it. Whoever
//! lost a lease can therefore commit nothing, however late it wakes up; clocks and heartbeats only decide how soon
//! others take over.
//!
//! - `schema`: connections, tables, the thread of a connection
//! - `append`: records go in; `fetch`: records come out
//! - `lease`: who owns which partition; `member`: the thread that keeps a membership alive and reads for it
//! - `reader`, `writer`, `tail`: the async sides that callers see

mod append;
mod fetch;
mod lease;
mod member;
mod reader;
mod schema;
mod tail;
mod upkeep;
mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{From, Lag, Log, NewRecord, Partition, Reader, Tail, Topic, Writer};
use deckle_contract::error::{Failure, Result};
use member::Command;
use schema::Session;

/// How the SQLite log behaves. Processes that share a file should agree on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a member that gives no sign keeps its partitions.
    pub lease_ms: u64,
    /// How often a member gives a sign.
    pub heartbeat_ms: u64,
    /// How long a worker may take over the acknowledgement of a revoke.
    pub revoke_ms: u64,
    /// The longest pause between two looks for what other processes wrote; writers of this process wake at once.
    pub poll_ms: u64,
    /// How long a write waits for the writers of other processes.
    pub busy_ms: u64,
    /// The most bytes read at once.
    pub fetch_bytes: usize,
    /// The most records read at once.
    pub fetch_records: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_ms: 10_000,
            heartbeat_ms: 3_000,
            revoke_ms: 5_000,
            poll_ms: 25,
            busy_ms: 10_000,
            fetch_bytes: 4 << 20,
            fetch_records: 500,
        }
    }
}

impl Config {
    /// Checks across the settings.
    ///
    /// # Errors
    /// When a member could lose its partitions while it is alive.
    pub fn check(&self) -> Result<()> {
        if self.heartbeat_ms == 0 || self.heartbeat_ms * 2 > self.lease_ms || self.revoke_ms >= self.lease_ms {
            return Err(Failure::defect(format!(
                "log.sqlite: heartbeat_ms ({}) must be at most half of lease_ms ({}), and revoke_ms ({}) below it",
                self.heartbeat_ms, self.lease_ms, self.revoke_ms
            )));
        }
        Ok(())
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms.max(1))
    }
}

/// A topic to be made when the file does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its name.
    pub name: Topic,
    /// Its partitions. A topic that exists keeps the number it has.
    pub partitions: i32,
}

/// A log in one SQLite file.
pub struct SqliteLog {
    shared: Arc<Shared>,
    /// Appends, lags and trims.
    session: Session,
}

/// What all members and tails of one opened log share.
pub(crate) struct Shared {
    path: PathBuf,
    config: Config,
    /// Every topic's partitions: their ids in the file, by number.
    topics: BTreeMap<Topic, Vec<i64>>,
    /// Counts commits of this process, for tails.
    commits: watch::Sender<u64>,
    /// The members of this process, to be woken by commits.
    members: Mutex<Vec<mpsc::Sender<Command>>>,
}

impl SqliteLog {
    /// Opens or makes the file, and makes those of `topics` that it does not have. Blocks for a few milliseconds.
    pub fn open(path: &Path, topics: &[TopicConfig], config: Config) -> Result<Self> {
        config.check()?;
        let mut connection = schema::connect(path, &config)?;
        let topics = schema::ensure_topics(&mut connection, topics)?;
        let (commits, _) = watch::channel(0);
        let shared = Shared { path: path.to_owned(), config, topics, commits, members: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), session: Session::start("append", connection)? })
    }
}

impl Shared {
    fn partition_ids(&self, topic: &str) -> Result<&[i64]> {
        self.topics
            .get(topic)
            .map(Vec::as_slice)
            .ok_or_else(|| Failure::defect(format!("log.unknown_topic: {topic} is not in {}", self.path.display())))
    }

    /// The partitions of some topics, with their ids.
    fn partitions(&self, topics: &[Topic]) -> Result<Vec<(Partition, i64)>> {
        let mut partitions = Vec::new();
        for topic in topics {
            for (number, &id) in (0..).zip(self.partition_ids(topic)?) {
                partitions.push((Partition { topic: Arc::clone(topic), number }, id));
            }
        }
        Ok(partitions)
    }

    /// A connection of its own, opened off the runtime.
    async fn connect(self: &Arc<Self>) -> Result<rusqlite::Connection> {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || schema::connect(&shared.path, &shared.config))
            .await
            .map_err(|error| Failure::defect(format!("log: opening the file stopped: {error}")))?
    }

    /// Tells this process that something was committed. Other processes see it in `PRAGMA data_version`.
    fn wake(&self) {
        self.commits.send_modify(|commits| *commits += 1);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.send(Command::Wake).is_ok());
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>> {
        let rows = append::prepare(&self.shared, &records)?;
        let shared = Arc::clone(&self.shared);
        self.session
            .call(move |connection| {
                let transaction = schema::begin_write(connection)?;
                let times = append::insert(&transaction, &rows)?;
                transaction.commit()?;
                shared.wake();
                Ok(times)
            })
            .await?
            .map_err(schema::failure)
    }

    async fn join(&self, group: &str, member: &str, topics: &[Topic]) -> Result<(Box<dyn Reader>, Box<dyn Writer>)> {
        let identity = lease::Identity::new(group, member, topics);
        let partitions = self.shared.partitions(topics)?;
        let (reading, writing) = (self.shared.connect().await?, self.shared.connect().await?);
        let (handle, ownership) = member::join(&self.shared, identity.clone(), partitions, reading).await?;
        let writer = writer::SqliteWriter::new(&self.shared, identity, ownership, Session::start("commit", writing)?);
        Ok((Box::new(reader::SqliteReader::new(handle)), Box::new(writer)))
    }

    async fn tail(&self, topics: &[Topic], from: From) -> Result<Box<dyn Tail>> {
        let partitions = self.shared.partitions(topics)?;
        let session = Session::start("tail", self.shared.connect().await?)?;
        Ok(Box::new(tail::SqliteTail::new(&self.shared, session, partitions, from).await?))
    }

    async fn lag(&self, group: &str, topics: &[Topic]) -> Result<Vec<Lag>> {
        let group = group.to_owned();
        let mut partitions = Vec::new();
        for topic in topics {
            partitions.push((topic.to_string(), self.shared.partition_ids(topic)?.to_vec()));
        }
        self.session.call(move |connection| upkeep::lag(connection, &group, &partitions)).await?
    }

    async fn trim(&self, topics: &[(Topic, Vec<String>)], before_us: i64) -> Result<u64> {
        let mut removed = 0;
        for (topic, groups) in topics {
            for &id in self.shared.partition_ids(topic)? {
                loop {
                    let groups = groups.clone();
                    let chunk =
                        self.session.call(move |connection| upkeep::trim_chunk(connection, id, &groups, before_us));
                    match chunk.await?? {
                        0 => break,
                        more => removed += more,
                    }
                }
            }
        }
        Ok(removed)
    }

    async fn expire(&self, topic: &Topic, groups: &[String], before_us: i64) -> Result<u64> {
        self.trim(&[(Topic::clone(topic), groups.to_vec())], before_us).await
    }

    async fn scrub(&self) -> Result<()> {
        let connection = self.shared.connect().await?;
        tokio::task::spawn_blocking(move || upkeep::empty_write_ahead_log(&connection))
            .await
            .map_err(|error| Failure::defect(format!("log: a checkpoint ended early: {error}")))?
    }

    /// A file is always there; a lock that others hold too long shows in the calls themselves.
    fn health(&self) -> Result<()> {
        Ok(())
    }
}
