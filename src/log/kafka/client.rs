//! Every setting of every client, on purpose, with its reason; what clients report; their errors, sorted.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    bindings::{
        rd_kafka_consumer_group_metadata, rd_kafka_consumer_group_metadata_destroy,
        rd_kafka_consumer_group_metadata_generation_id, rd_kafka_consumer_group_metadata_member_id,
        rd_kafka_message_status, rd_kafka_msg_status_t,
    },
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::Config;
use deckle_contract::error::{Failure, Result};

/// The name of this dependency in readiness and failures.
pub(super) const DEPENDENCY: &str = "kafka";

/// Options that carry a law of the log: nobody else may set them.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `log.kafka.brokers`"),
    ("metadata.broker.list", "set `log.kafka.brokers`"),
    ("group.id", "it is made of `log.kafka.prefix` and the stage"),
    ("group.instance.id", "it is made of `log.kafka.prefix`, the stage and the worker"),
    ("group.protocol", "memberships are those of the classic protocol"),
    ("transactional.id", "it is made of `log.kafka.prefix`, the stage and the worker"),
    ("transaction.timeout.ms", "set `log.kafka.transaction_ms`"),
    ("session.timeout.ms", "set `log.kafka.session_ms`"),
    ("heartbeat.interval.ms", "set `log.kafka.heartbeat_ms`"),
    ("max.poll.interval.ms", "polling never depends on the work"),
    ("partition.assignment.strategy", "members of one group must all be cooperative"),
    ("enable.auto.commit", "positions are committed with their outputs only"),
    ("enable.auto.offset.store", "positions are committed with their outputs only"),
    ("isolation.level", "readers see committed records only"),
    ("auto.offset.reset", "a position outside the log is an error, never a skip"),
    ("enable.idempotence", "transactions need it"),
    ("acks", "transactions need all"),
    ("request.required.acks", "transactions need all"),
    ("max.in.flight", "order within a partition depends on it"),
    ("max.in.flight.requests.per.connection", "order within a partition depends on it"),
    ("message.timeout.ms", "it follows `log.kafka.transaction_ms`"),
    ("delivery.timeout.ms", "it follows `log.kafka.transaction_ms`"),
    ("partitioner", "both sides of the log must agree on a key's partition"),
    ("enable.partition.eof", "tails depend on it"),
    ("allow.auto.create.topics", "topics are made on purpose"),
];

/// Refuses options that would break a law.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for (option, reason) in OURS {
        if options.contains_key(*option) {
            return Err(Failure::defect(format!("log.kafka.client: `{option}` cannot be set: {reason}")));
        }
    }
    let mut client = ClientConfig::new();
    client.extend(options.clone());
    match client.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, description, option, value)) => {
            Err(Failure::defect(format!("log.kafka.client: `{option}` = {value:?}: {description}")))
        }
        Err(other) => Err(Failure::defect(format!("log.kafka.client: {other}"))),
    }
}

/// What all clients have in common.
fn common(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "deckle")
        // A request that outlasts this counts as failed; the watchdog of a step (`call_ms`) is longer.
        // librdkafka wants it no longer than a transaction.
        .set("socket.timeout.ms", config.transaction_ms.min(10_000).to_string())
        // Firewalls forget idle connections; a stage may be idle for hours.
        .set("socket.keepalive.enable", "true")
        // Small requests go out at once: a step is a chain of them.
        .set("socket.nagle.disable", "true")
        // A broker that restarts is found again soon (default: up to 10 s).
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        // Closing an idle connection is no news.
        .set("log.connection.close", "false")
        // A misspelt topic must be an error.
        .set("allow.auto.create.topics", "false");
    client.extend(config.client.clone());
    client
}

/// What all that read have in common.
fn reading(config: &Config) -> ClientConfig {
    let mut client = common(config);
    client
        // Positions travel in transactions only.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Also makes the broker answer with positions of finished transactions only, and with the last stable offset.
        .set("isolation.level", "read_committed")
        // Stages wait for records: the broker answers when there is one.
        .set("fetch.wait.max.ms", "500")
        .set("fetch.min.bytes", "1")
        // Nothing to fetch (default: 1 s of pause after an error).
        .set("fetch.error.backoff.ms", "100")
        // What is fetched ahead of each partition, and at most one fetch more (default: 64 MiB).
        .set("queued.max.messages.kbytes", "1024")
        // That much is soon used up: look again (default: 1 s in which nothing is fetched).
        .set("fetch.queue.backoff.ms", "10")
        // As long as bytes are in memory they are checked.
        .set("check.crcs", "true");
    client
}

/// A member of a group.
pub(super) fn member(config: &Config, group: &str, instance: &str) -> ClientConfig {
    // A member that does not answer a rebalance holds up the whole group for so long. Our poll thread answers after
    // `revoke_ms` at the latest, and never waits for work.
    let rebalance_ms = (config.session_ms * 2).max(30_000);
    let mut client = reading(config);
    client
        .set("group.id", group)
        // Static: a restart takes its partitions back at once, without a rebalance.
        .set("group.instance.id", instance)
        // KIP-848's protocol has stale-epoch bugs in librdkafka 2.12.
        .set("group.protocol", "classic")
        // Only what moves is revoked; the rest goes on.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.session_ms.to_string())
        .set("heartbeat.interval.ms", config.heartbeat_ms.to_string())
        .set("max.poll.interval.ms", rebalance_ms.to_string())
        // Never skip: a position outside the log is an error.
        .set("auto.offset.reset", "error");
    client
}

/// A reader without a group; it needs the name of one that it never joins.
pub(super) fn tail(config: &Config) -> ClientConfig {
    let mut client = reading(config);
    client
        .set("group.id", config.name("tail"))
        // Trimming may pass a tail; it goes on where the log starts.
        .set("auto.offset.reset", "earliest")
        // Tells "nothing is there now" from "nothing has come yet", markers or not.
        .set("enable.partition.eof", "true");
    client
}

/// Reads only the first records of partitions.
pub(super) fn peek(config: &Config) -> ClientConfig {
    let mut client = tail(config);
    // Most of what is fetched is thrown away; the broker gives at least one record.
    client.set("fetch.message.max.bytes", "65536");
    client
}

/// Asks where partitions begin and end.
pub(super) fn asking(config: &Config) -> ClientConfig {
    reading(config)
}

/// Asks for the positions of a group that it never joins. It takes the last stable ones: an open transaction must not
/// hold a metric up, and an older position only trims less.
pub(super) fn observer(config: &Config, group: &str) -> ClientConfig {
    let mut client = reading(config);
    client.set("group.id", group).set("isolation.level", "read_uncommitted");
    client
}

/// A transactional producer.
pub(super) fn producer(config: &Config, transactional_id: &str) -> ClientConfig {
    let mut client = common(config);
    client
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", config.transaction_ms.to_string())
        // A delivery that outlives its transaction is of no use (librdkafka caps it so anyway).
        .set("message.timeout.ms", config.transaction_ms.to_string())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Right after a transaction the coordinator is still writing its markers and asks for patience: a little is
        // enough (default: 100 ms, which one step in fifty would wait for).
        .set("retry.backoff.ms", "10")
        // A step is sent in one burst and then waited for: waiting for more records only delays it.
        .set("linger.ms", "0")
        // As `log::murmur2` does, so that a key has the same partition on both sides.
        .set("partitioner", "murmur2_random")
        // The broker's limit of the topic decides, and its refusal is a named defect; ours only bounds memory.
        .set("message.max.bytes", "16777216")
        // A batch must fit `max.message.bytes` of every topic (1 MiB), however small its records are.
        .set("batch.size", "524288")
        // A topic that is not there is a defect of the step, found before its transaction runs out (default: 30 s).
        .set("topic.metadata.propagation.max.ms", (config.transaction_ms / 2).min(5_000).to_string());
    client
}

/// Settings of a client that administers topics.
pub(super) fn admin(config: &Config) -> ClientConfig {
    common(config)
}

/// Whether a broker answers, as the clients of a log last saw it.
#[derive(Default)]
pub(super) struct Health {
    away: Mutex<Option<String>>,
    /// By group: why it cannot begin although brokers answer.
    held_up: Mutex<BTreeMap<String, String>>,
    noise: Mutex<BTreeMap<String, Instant>>,
}

/// The same complaint is repeated no sooner than this: librdkafka floods while brokers are down.
const QUIET: Duration = Duration::from_secs(10);

impl Health {
    pub(super) fn check(&self) -> Result<()> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let held_up = || self.held_up.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned();
        match away.or_else(held_up) {
            None => Ok(()),
            Some(message) => Err(Failure::unavailable(DEPENDENCY, message)),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A group cannot begin, or can (`None`).
    pub(super) fn held_up(&self, group: &str, why: Option<String>) {
        let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(held_up.insert(group.to_owned(), why)),
            None => drop(held_up.remove(group)),
        }
    }

    /// A broker answered.
    pub(super) fn answered(&self) {
        if self.away.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!("kafka answers again");
        }
    }

    fn all_down(&self, message: &str) {
        let before = self.away.lock().unwrap_or_else(PoisonError::into_inner).replace(message.to_owned());
        if before.is_none() {
            tracing::warn!(message, "no kafka broker answers");
        }
    }

    /// Whether a complaint of this kind is news.
    fn is_news(&self, kind: &str) -> bool {
        let mut noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        noise.retain(|_, at| now.duration_since(*at) < QUIET);
        noise.insert(kind.to_owned(), now).is_none()
    }
}

/// What a client reports beside records: its log goes to `tracing`, the loss of all brokers to [`Health`].
pub(super) struct Reports {
    health: Arc<Health>,
    served: AtomicU64,
}

impl Reports {
    pub(super) fn new(health: &Arc<Health>) -> Self {
        Self { health: Arc::clone(health), served: AtomicU64::new(0) }
    }

    /// Events served so far. `BaseConsumer::poll` gives nothing when it served an event: that does not mean that its
    /// queue is empty.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Takes note of an event.
    pub(super) fn serve(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.serve();
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            // A transaction that failed: the commit's own error reports it to the worker, and most are harmless.
            _ if facility == "TXNERR" => tracing::debug!(target: "librdkafka", facility, "{message}"),
            _ if self.health.is_news(facility) => tracing::warn!(target: "librdkafka", facility, "{message}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.serve();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.health.all_down(reason),
            // Told where the partition ends, not a fault.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            _ if self.health.is_news(&error.to_string()) => tracing::warn!(%error, reason, "kafka client"),
            _ => tracing::debug!(%error, reason, "kafka client"),
        }
    }

    fn stats_raw(&self, _: &[u8]) {
        self.serve();
    }
}

impl ConsumerContext for Reports {}

/// A consumer that nobody waits for when it closes, which takes it 100 ms and more.
pub(super) struct ClosedAside<C: ConsumerContext + 'static>(Option<Arc<BaseConsumer<C>>>);

impl<C: ConsumerContext> ClosedAside<C> {
    pub(super) fn new(consumer: BaseConsumer<C>) -> Self {
        Self(Some(Arc::new(consumer)))
    }
}

impl<C: ConsumerContext> std::ops::Deref for ClosedAside<C> {
    type Target = Arc<BaseConsumer<C>>;

    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("only dropping takes it out")
    }
}

impl<C: ConsumerContext> Drop for ClosedAside<C> {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let closing = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(consumer));
        if let Err(error) = closing {
            tracing::debug!(%error, "a consumer is closed by its user");
        }
    }
}

/// What an error means to a caller: an answer that will not change is a defect, everything else passes.
pub(super) fn failure(what: &str, error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::InvalidConfig,
        ) => Failure::defect(format!("kafka: {what}: {error}")),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            Failure::defect(format!("log.unknown_topic: {what}: {error}; run `deckle topics plan`"))
        }
        None if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) => {
            Failure::defect(format!("kafka: {what}: {error}"))
        }
        _ => Failure::unavailable(DEPENDENCY, format!("{what}: {error}")),
    }
}

/// Whether a record that was delivered, or was not, can be in the log: it was sent at least.
pub(super) fn may_lie_in_the_log(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message lives as long as the borrow, and the call only reads it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    !matches!(status, rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED)
}

/// The member id under which a consumer is in its group now; `None` while it is in none. The broker would take a
/// commit of such a member unchecked.
pub(super) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    // SAFETY: the client outlives the call; the metadata is ours until it is destroyed, and its strings are copied
    // before that.
    unsafe {
        let metadata = rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = rd_kafka_consumer_group_metadata_generation_id(metadata);
        let id = rd_kafka_consumer_group_metadata_member_id(metadata);
        let id = if id.is_null() { String::new() } else { CStr::from_ptr(id).to_string_lossy().into_owned() };
        rd_kafka_consumer_group_metadata_destroy(metadata);
        (generation >= 0 && !id.is_empty()).then_some(id)
    }
}
