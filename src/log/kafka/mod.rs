//! The production side of the log: Apache Kafka, with a transaction per step.
//!
//! # Why nothing of a partition that is not ours can be committed
//!
//! Kafka checks who commits (member and generation), never whether the member owns what it commits. So the writer
//! proves it, in this order: it takes the consumer's group metadata *fresh*, and *then* looks whether every partition
//! of the step is held (`ownership`). A partition leaves `ownership` before the poll thread tells the group that it
//! gave it up, and it can go to another member only in a generation that begins after that. So metadata that was read
//! before the look is of a generation no later than one in which the partition was ours: either the partition still is
//! ours, or the broker refuses the generation. Metadata of a member that has no id is refused here, for the broker
//! takes it unchecked (meant for clients without groups). A membership that was lost and won again behind our back
//! shows in another member id than the one the partition was assigned under, and is treated as lost.
//!
//! # What the parts do
//!
//! - `client`: every setting of every client with its reason; errors sorted; what a client says about itself
//! - `consumer`: the poll thread of a membership, which only polls and forwards; `partitions`: those assigned to it,
//!   with what was fetched and nobody wants yet; `positions`: where partitions start
//! - `ownership`: what this member may commit; `reader`, `writer`: the async sides of a membership
//! - `transaction`: begin → send → offsets → commit, one at a time; `producer`: the thread that may hang in it;
//!   `touched`: what failed transactions may have left open
//! - `tail`: reading without a group; `upkeep`: lag and trim

mod client;
mod consumer;
mod ownership;
mod partitions;
mod positions;
mod producer;
mod reader;
mod record;
mod refusal;
mod tail;
pub mod topics;
mod touched;
mod transaction;
mod upkeep;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{CommitError, From, Lag, Log, NewRecord, Reader, Tail, Topic, Writer};
use client::Health;
use deckle_contract::error::{Failure, Result};
use producer::ProducerThread;

/// How the Kafka log behaves (`[log.kafka]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with, as `host:port,host:port`.
    pub brokers: String,
    /// Leads the names of topics, groups and transactional ids, so that several deckles can share a cluster.
    pub prefix: String,
    /// Tells the processes of this machine from those of others: two of one name would fence each other. Default: the
    /// machine's host name.
    pub instance: Option<String>,
    /// How long a member that gives no sign keeps its partitions (the broker's `group.min.session.timeout.ms` is the
    /// least).
    pub session_ms: u64,
    /// How often a member gives a sign.
    pub heartbeat_ms: u64,
    /// How long a worker may take over the acknowledgement of a revoke.
    pub revoke_ms: u64,
    /// After so long the broker aborts a transaction whose member died and never came back; until then readers of its
    /// output topics wait. Where a cluster is a single broker, longer than that broker takes to restart.
    pub transaction_ms: u64,
    /// A step that takes longer has an unknown outcome, and its producer is given up.
    pub call_ms: u64,
    /// The most bytes given at once, and half of what is kept ready.
    pub fetch_bytes: usize,
    /// The most records given at once.
    pub fetch_records: usize,
    /// Any other option of librdkafka, for every client: encryption, authentication, compression.
    pub client: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            prefix: String::new(),
            instance: None,
            session_ms: 10_000,
            heartbeat_ms: 3_000,
            revoke_ms: 5_000,
            transaction_ms: 10_000,
            call_ms: 20_000,
            fetch_bytes: 4 << 20,
            fetch_records: 500,
            client: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Checks across the settings.
    ///
    /// # Errors
    /// When a member could lose its partitions while it is alive, or an option would break a law of the log.
    pub fn check(&self) -> Result<()> {
        if self.brokers.trim().is_empty() {
            return Err(Failure::defect("log.kafka: `brokers` is empty; for example \"localhost:9092\""));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !self.prefix.chars().all(legal) {
            return Err(Failure::defect(format!(
                "log.kafka: `prefix` ({:?}) may hold only letters, digits, `.`, `_` and `-`",
                self.prefix
            )));
        }
        if self.heartbeat_ms == 0 || self.heartbeat_ms * 2 > self.session_ms || self.revoke_ms >= self.session_ms {
            return Err(Failure::defect(format!(
                "log.kafka: heartbeat_ms ({}) must be at most half of session_ms ({}), and revoke_ms ({}) below it",
                self.heartbeat_ms, self.session_ms, self.revoke_ms
            )));
        }
        if self.transaction_ms < 1_000 || self.call_ms <= self.transaction_ms {
            return Err(Failure::defect(format!(
                "log.kafka: transaction_ms ({}) must be at least 1000, and call_ms ({}) above it",
                self.transaction_ms, self.call_ms
            )));
        }
        client::check_options(&self.client)
    }

    /// What tells the processes of this machine from those of others.
    ///
    /// # Errors
    /// When nothing is set and the machine has no name.
    pub fn instance(&self) -> Result<String> {
        if let Some(instance) = &self.instance {
            return Ok(instance.clone());
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" => Err(Failure::defect("log.kafka: this machine has no host name; set `instance`")),
            name => Ok(name.to_owned()),
        }
    }

    /// What the cluster calls one of deckle's topics or groups.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A name that one live process has at a time, stable across its restarts.
    fn member(&self, group: &str, member: &str) -> String {
        format!("{}{group}.{member}", self.prefix)
    }

    fn call(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }
}

/// A log on a Kafka cluster.
pub struct KafkaLog {
    shared: Arc<Shared>,
    /// Appends outside groups, one after the other.
    appender: tokio::sync::Mutex<ProducerThread>,
    upkeep: upkeep::Upkeep,
}

/// What every part needs.
struct Shared {
    config: Config,
    health: Arc<Health>,
}

impl KafkaLog {
    /// Makes the clients. Does not wait for a broker.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn open(config: Config) -> Result<Self> {
        config.check()?;
        let shared = Arc::new(Shared { config, health: Arc::default() });
        // A name for this process's appends only: no two processes may share it, and nobody takes it up again.
        let id = shared.config.member("append", &uuid::Uuid::now_v7().simple().to_string());
        Ok(Self {
            appender: tokio::sync::Mutex::new(ProducerThread::new(&shared, id)),
            upkeep: upkeep::Upkeep::new(&shared)?,
            shared,
        })
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>> {
        let deadline = tokio::time::Instant::now() + self.shared.config.call();
        let mut appender = self.appender.lock().await;
        loop {
            let outgoing = record::outgoing(&self.shared.config, &records);
            match writer::append(&mut appender, outgoing).await {
                Ok(times) => return Ok(times),
                Err(CommitError::Defect(message)) => return Err(Failure::defect(message)),
                Err(CommitError::Aborted(message)) if tokio::time::Instant::now() < deadline => {
                    tracing::debug!(message, "append aborted, will be tried again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(Failure::unavailable(client::DEPENDENCY, error.to_string())),
            }
        }
    }

    async fn join(&self, group: &str, member: &str, topics: &[Topic]) -> Result<(Box<dyn Reader>, Box<dyn Writer>)> {
        let name = consumer::Name { group: group.to_owned(), member: member.to_owned() };
        let handle = consumer::join(&self.shared, name.clone(), topics)?;
        let writer = writer::KafkaWriter::new(&self.shared, &name, &handle)?;
        Ok((Box::new(reader::KafkaReader::new(handle)), Box::new(writer)))
    }

    async fn tail(&self, topics: &[Topic], from: From) -> Result<Box<dyn Tail>> {
        Ok(Box::new(tail::KafkaTail::new(&self.shared, topics, from).await?))
    }

    async fn lag(&self, group: &str, topics: &[Topic]) -> Result<Vec<Lag>> {
        self.upkeep.lag(group, topics).await
    }

    async fn trim(&self, topics: &[(Topic, Vec<String>)], before_us: i64) -> Result<u64> {
        self.upkeep.trim(topics, before_us).await
    }

    fn health(&self) -> Result<()> {
        self.shared.health.check()
    }
}
