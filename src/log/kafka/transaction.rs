//! One transaction at a time: begin → send → offsets → commit. The borrow of the producer sees to it.
//!
//! The law: whatever fails, the caller learns one of three things: nothing is visible (and never will be), it is
//! visible, or it is unknown. Only a commit that was asked for and not answered clearly is unknown.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig},
    util::Timeout,
};

use super::{
    Shared,
    client::{self, Reports},
    record::{Outgoing, appended_at_us},
    refusal::Kind,
    touched::{Moves, Touched},
};
use crate::CommitError;
use deckle_contract::error::Result;

/// Between two looks whether all deliveries are reported. `flush`, and `commit_transaction` with it, would look only
/// every 100 ms, which makes small steps twenty times slower.
const NAP: Duration = Duration::from_micros(200);
/// The time limit of one try of a call that may be repeated.
const TRY: Duration = Duration::from_secs(2);
/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(20);

/// A producer between transactions.
pub(super) struct Producer {
    client: BaseProducer<Deliveries>,
    /// Whoever waited for the transaction has given up: nothing more may be done in it.
    abandoned: Arc<AtomicBool>,
    /// The positions that the latest transaction moves.
    moves: Option<Arc<Moves>>,
}

/// A transaction that failed.
pub(super) struct Fault {
    pub(super) error: CommitError,
    /// Whether the producer is of no more use.
    pub(super) broken: bool,
    /// Whether it comes from a code of which nobody knows whether it passes.
    pub(super) unlisted: bool,
}

/// Why a transaction ends, and whether that comes from a code of which nobody knows whether it passes.
struct Refused {
    error: CommitError,
    unlisted: bool,
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        Self { error, unlisted: false }
    }
}

impl Refused {
    fn with(self, broken: bool) -> Fault {
        let Self { error, unlisted } = self;
        Fault { error, broken, unlisted }
    }
}

type Step<T> = std::result::Result<T, Fault>;

/// What became of the records of a transaction.
pub(super) struct Deliveries {
    reports: Reports,
    state: Mutex<Delivered>,
}

#[derive(Default)]
struct Delivered {
    /// Append times, in the order of sending.
    times: Vec<i64>,
    /// The first failure: the topic of its record, and the error.
    failed: Option<(String, KafkaError)>,
    /// The partitions that have records of it, or may have.
    partitions: Vec<(String, i32)>,
}

impl Delivered {
    fn lies_in(&mut self, topic: &str, partition: i32) {
        if !self.partitions.iter().any(|(t, p)| *p == partition && t == topic) {
            self.partitions.push((topic.to_owned(), partition));
        }
    }
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, Delivered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reports.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.reports.stats_raw(statistics);
    }
}

impl ProducerContext for Deliveries {
    /// The record's place in its transaction.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let mut state = self.lock();
        let (Ok(message) | Err((_, message))) = result;
        if client::may_lie_in_the_log(message) {
            state.lies_in(message.topic(), message.partition());
        }
        match result {
            Ok(message) => {
                let time = appended_at_us(message.timestamp().to_millis().unwrap_or(0), message.offset());
                if let Some(slot) = state.times.get_mut(place) {
                    *slot = time;
                }
            }
            // librdkafka purges what is queued when a transaction fails: a consequence says less than its cause.
            Err((error, message)) => match &state.failed {
                Some((_, known)) if is_purged(error) || !is_purged(known) => {}
                _ => state.failed = Some((message.topic().to_owned(), error.clone())),
            },
        }
    }
}

/// The way to go on after an error of a transactional call.
enum Verdict {
    /// Make the same call again, with the same arguments.
    Again,
    /// Abort the transaction; the producer is good for another one.
    Abort,
    /// Drop the producer.
    Broken,
}

fn verdict(error: &KafkaError) -> Verdict {
    match error {
        KafkaError::Transaction(error) if error.txn_requires_abort() => Verdict::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Verdict::Again,
        _ => Verdict::Broken,
    }
}

fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// An error before the commit was asked for: nothing is visible.
fn not_committed(what: &str, error: &KafkaError) -> Refused {
    let kind = Kind::of(error);
    let refused = match kind {
        Kind::Fenced => CommitError::Fenced(format!("{what}: {error}")),
        Kind::UnknownTopic => {
            CommitError::Defect(format!("log.unknown_topic: {what}: {error}; run `deckle topics plan`"))
        }
        Kind::TooLarge => CommitError::Defect(format!(
            "log.record_too_large: {what}: {error}; the topic's `max.message.bytes` is the limit"
        )),
        Kind::Never => CommitError::Defect(format!("{what}: {error}")),
        Kind::Passing | Kind::Unlisted => CommitError::Aborted(format!("{what}: {error}")),
    };
    Refused { error: refused, unlisted: kind == Kind::Unlisted }
}

impl Producer {
    /// Makes the client. [`Producer::init_transactions`] comes before the first transaction.
    pub(super) fn new(shared: &Arc<Shared>, id: &str, abandoned: &Arc<AtomicBool>) -> Result<Self> {
        let context = Deliveries { reports: Reports::new(&shared.health), state: Mutex::default() };
        let client = BaseProducer::from_config_and_context(&client::producer(&shared.config, id), context)
            .map_err(|error| client::failure(id, &error))?;
        Ok(Self { client, abandoned: Arc::clone(abandoned), moves: None })
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Finishes what a former producer of the same id left open, and fences it. Waits `patience`; may be called again
    /// after an error that passes.
    pub(super) fn init_transactions(&self, patience: Duration) -> std::result::Result<(), KafkaError> {
        let deadline = Instant::now() + patience;
        // Asked before a broker is connected, librdkafka looks for the coordinator only half a second later.
        let _ = self.client.client().fetch_cluster_id(TRY);
        loop {
            self.serve();
            let error = match self.client.init_transactions(TRY) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match verdict(&error) {
                Verdict::Again if Instant::now() < deadline && !self.is_abandoned() => nap(RETRY),
                _ => return Err(error),
            }
        }
    }

    /// Serves what the client has to say while nothing is sent.
    pub(super) fn serve(&self) {
        for _ in 0..100 {
            let served = self.client.context().reports.served();
            self.client.poll(Duration::ZERO);
            if self.client.context().reports.served() == served {
                return;
            }
        }
    }

    /// What the latest transaction touched for certain; nothing when asked again.
    pub(super) fn take_touched(&mut self) -> Touched {
        let partitions = std::mem::take(&mut self.client.context().lock().partitions);
        Touched { partitions: partitions.into_iter().collect(), moves: self.moves.take() }
    }

    /// Takes back for good what transactions touched that were not committed.
    pub(super) fn take_back(&mut self, touched: &Touched) -> std::result::Result<(), Fault> {
        let mut transaction = self.begin()?;
        for (topic, partition) in &touched.partitions {
            transaction = transaction.touch(topic, *partition)?;
        }
        if let Err(why) = transaction.drain() {
            return Err(transaction.abort(why));
        }
        let fault = match &touched.moves {
            None => transaction.abort(CommitError::Aborted("as was meant".to_owned()).into()),
            // The group may refuse: that these positions are in the transaction the coordinator knows before.
            Some(moves) => match transaction.offsets(moves) {
                Ok(transaction) => transaction.abort(CommitError::Aborted("as was meant".to_owned()).into()),
                Err(refused) => refused,
            },
        };
        if fault.broken { Err(fault) } else { Ok(()) }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Step<Transaction<'_>> {
        *self.client.context().lock() = Delivered::default();
        self.moves = None;
        match self.client.begin_transaction() {
            Ok(()) => Ok(Transaction { producer: self }),
            Err(error) => Err(not_committed("begin", &error).with(true)),
        }
    }
}

/// Waits on a producer's own thread.
#[expect(clippy::disallowed_methods, reason = "a producer has a thread of its own")]
pub(super) fn nap(time: Duration) {
    thread::sleep(time);
}

/// An open transaction. Either [`Transaction::commit`] or a failure ends it.
#[must_use = "an open transaction holds up the readers of everything it touched"]
pub(super) struct Transaction<'p> {
    producer: &'p mut Producer,
}

impl<'p> Transaction<'p> {
    /// Hands a record to the client, which sends it as soon as it can.
    pub(super) fn send(self, record: Outgoing) -> Step<Self> {
        let place = {
            let mut state = self.producer.client.context().lock();
            state.times.push(0);
            state.times.len() - 1
        };
        let mut message = BaseRecord::with_opaque_to(&record.topic, place)
            .key(record.key.as_bytes())
            .payload(&record.value[..])
            .headers(record.headers);
        loop {
            match self.producer.client.send(message) {
                Ok(()) => return Ok(self),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    message = same;
                    self.producer.client.poll(Duration::ZERO);
                    nap(NAP);
                }
                Err((error, _)) => return Err(self.abort(not_committed(&record.topic, &error))),
            }
            if self.producer.is_abandoned() {
                return Err(self.abort(CommitError::Aborted("nobody waits for it any more".to_owned()).into()));
            }
        }
    }

    /// Sends a record that nobody shall see to a partition.
    fn touch(self, topic: &str, partition: i32) -> Step<Self> {
        let record = BaseRecord::with_opaque_to(topic, 0).partition(partition).key("aborted").payload("");
        match self.producer.client.send(record) {
            Ok(()) => Ok(self),
            Err((error, _)) => Err(self.abort(not_committed(topic, &error))),
        }
    }

    /// Moves positions with the commit.
    pub(super) fn offsets(self, moves: &Arc<Moves>) -> Step<Self> {
        match self.insist(|client| client.send_offsets_to_transaction(&moves.positions, &moves.member, TRY)) {
            Ok(()) => {
                self.producer.moves = Some(Arc::clone(moves));
                Ok(self)
            }
            Err(error) => {
                let why = not_committed("positions", &error);
                Err(if matches!(verdict(&error), Verdict::Broken) { why.with(true) } else { self.abort(why) })
            }
        }
    }

    /// Makes it all visible; the append times of the records, in the order of sending.
    pub(super) fn commit(self) -> Step<Vec<i64>> {
        if let Err(why) = self.drain() {
            return Err(self.abort(why));
        }
        if self.producer.is_abandoned() {
            return Err(self.abort(CommitError::Aborted("nobody waits for it any more".to_owned()).into()));
        }
        // Without a limit: any other "risks internal state desynchronization" (rdkafka.h). Who waits has one.
        match self.insist(|client| client.commit_transaction(Timeout::Never)) {
            Ok(()) => Ok(std::mem::take(&mut self.producer.client.context().lock().times)),
            Err(error) => Err(match verdict(&error) {
                // The coordinator did not commit.
                Verdict::Abort => self.abort(not_committed("commit", &error)),
                Verdict::Again | Verdict::Broken => {
                    let unlisted = Kind::of(&error) == Kind::Unlisted;
                    Fault { error: CommitError::Unknown(format!("commit: {error}")), broken: true, unlisted }
                }
            }),
        }
    }

    /// Repeats a call while that is what its error asks for.
    fn insist(
        &self,
        mut call: impl FnMut(&BaseProducer<Deliveries>) -> std::result::Result<(), KafkaError>,
    ) -> std::result::Result<(), KafkaError> {
        loop {
            match call(&self.producer.client) {
                Err(error) if matches!(verdict(&error), Verdict::Again) && !self.producer.is_abandoned() => {
                    self.producer.client.poll(Duration::ZERO);
                    nap(RETRY);
                }
                other => return other,
            }
        }
    }

    /// Waits for the delivery of every record.
    fn drain(&self) -> std::result::Result<(), Refused> {
        let client = &self.producer.client;
        while client.in_flight_count() > 0 {
            client.poll(Duration::ZERO);
            if client.in_flight_count() > 0 {
                nap(NAP);
            }
            if self.producer.is_abandoned() {
                return Err(CommitError::Aborted("nobody waits for it any more".to_owned()).into());
            }
        }
        match &client.context().lock().failed {
            None => Ok(()),
            Some((topic, error)) => Err(not_committed(topic, error)),
        }
    }

    /// Takes everything back. `abort_transaction` does not serve delivery reports and would wait for them in vain. What
    /// is in flight is waited for, not purged: its late answer would be taken for one of the next transaction.
    fn abort(self, why: Refused) -> Fault {
        let client = &self.producer.client;
        client.purge(PurgeConfig::default().queue());
        while client.in_flight_count() > 0 && !self.producer.is_abandoned() {
            client.poll(Duration::ZERO);
            nap(NAP);
        }
        // A record that was refused fails every later call with a code of no meaning: its own error is reported. And it
        // leaves a gap in the producer's sequence, over which the next transaction would stumble.
        let refused = client.context().lock().failed.take().filter(|(_, error)| !is_purged(error));
        let broken = refused.is_some();
        let why = match (refused, why) {
            (Some((topic, error)), Refused { error: CommitError::Aborted(_), .. }) => not_committed(&topic, &error),
            (_, why) => why,
        };
        match self.insist(|client| client.abort_transaction(Timeout::Never)) {
            Ok(()) => why.with(broken),
            // What is left open is aborted by the next producer of this id; nobody commits it.
            Err(error) if Kind::of(&error) == Kind::Fenced => {
                Refused::from(CommitError::Fenced(format!("{error}"))).with(true)
            }
            Err(error) => {
                tracing::debug!(%error, "abort");
                why.with(true)
            }
        }
    }
}
