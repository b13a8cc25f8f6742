//! The thread that owns a producer. Calls of a transaction may hang for as long as a broker does; whoever waits for
//! one has a limit, and gives the thread up with its producer when that is reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::error::KafkaError;
use tokio::sync::oneshot;

use super::{
    Shared, client,
    refusal::{Kind, Unlisted},
    touched::Touched,
    transaction::{Fault, Producer, Transaction, nap},
};
use crate::CommitError;
use deckle_contract::error::{Failure, Result};

/// How often an idle producer is served.
const SERVE: Duration = Duration::from_secs(1);

/// The pause between two tries to settle.
const RETRY: Duration = Duration::from_millis(100);

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// The async end of a producer's thread.
pub(super) struct ProducerThread {
    shared: Arc<Shared>,
    id: Arc<str>,
    thread: Option<Thread>,
}

struct Thread {
    jobs: mpsc::Sender<Job>,
    abandoned: Arc<AtomicBool>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// The state that the producer's thread owns.
pub(super) struct Slot {
    shared: Arc<Shared>,
    id: Arc<str>,
    abandoned: Arc<AtomicBool>,
    producer: Option<Producer>,
    /// Whether the producer may begin transactions.
    settled: bool,
    /// When the last producer was fenced.
    fenced: Option<Instant>,
    /// What failed transactions may have left open: taken back before the next one.
    left: Touched,
    /// The latest refusals of which nobody knows whether they pass.
    unlisted: Unlisted,
}

impl ProducerThread {
    pub(super) fn new(shared: &Arc<Shared>, id: String) -> Self {
        Self { shared: Arc::clone(shared), id: id.into(), thread: None }
    }

    fn start(&mut self) -> Result<&Thread> {
        if self.thread.is_none() {
            let (jobs, inbox) = mpsc::channel::<Job>();
            let abandoned = Arc::new(AtomicBool::new(false));
            let slot = Slot {
                shared: Arc::clone(&self.shared),
                id: Arc::clone(&self.id),
                abandoned: Arc::clone(&abandoned),
                producer: None,
                settled: false,
                fenced: None,
                left: Touched::default(),
                unlisted: Unlisted::default(),
            };
            thread::Builder::new()
                .name("kafka-producer".to_owned())
                .spawn(move || slot.run(&inbox))
                .map_err(|error| Failure::unavailable(client::DEPENDENCY, format!("cannot start a thread: {error}")))?;
            self.thread = Some(Thread { jobs, abandoned });
        }
        self.thread.as_ref().ok_or_else(|| Failure::defect("log.kafka: the producer's thread has stopped"))
    }

    /// Begins to settle what a former process of this name left open; calls `done` once that is over or hopeless.
    pub(super) fn settle_soon(&mut self, done: impl FnOnce(Result<()>) + Send + 'static) -> Result<()> {
        let settle: Job = Box::new(move |slot| {
            let outcome = loop {
                match slot.ready().map(drop) {
                    Err(Failure::Unavailable { .. }) if !slot.abandoned.load(Ordering::Relaxed) => nap(RETRY),
                    outcome => break outcome,
                }
            };
            done(outcome);
        });
        // A thread that was just started takes jobs.
        let _ = self.start()?.jobs.send(settle);
        Ok(())
    }

    /// Waits until what a former producer of this id left open is settled.
    ///
    /// # Errors
    /// `Unavailable` while no broker answers.
    pub(super) async fn settled(&mut self) -> Result<()> {
        let patience = self.shared.config.call();
        let away = || Failure::unavailable(client::DEPENDENCY, "the transaction coordinator does not answer");
        let thread = self.start()?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |slot| drop(reply.send(slot.ready().map(drop))));
        if thread.jobs.send(job).is_err() {
            self.thread = None;
            return Err(away());
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                self.thread = None;
                Err(away())
            }
            Err(_) => Err(away()),
        }
    }

    /// Runs one transaction; gives its thread up when it takes too long.
    pub(super) async fn transact<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Begin<'_>) -> std::result::Result<T, Fault> + Send + 'static,
    ) -> std::result::Result<T, CommitError> {
        self.settled().await.map_err(not_begun)?;
        let patience = self.shared.config.call();
        let thread = self.start().map_err(|failure| CommitError::Aborted(failure.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |slot| drop(reply.send(slot.transact(work))));
        if thread.jobs.send(job).is_err() {
            self.thread = None;
            return Err(CommitError::Aborted("the producer's thread has stopped".to_owned()));
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                self.thread = None;
                Err(CommitError::Unknown("the producer's thread has stopped".to_owned()))
            }
            Err(_) => {
                tracing::warn!(id = %self.id, ?patience, "a transaction hangs, its producer is given up");
                self.thread = None;
                Err(CommitError::Unknown(format!("no answer within {patience:?}")))
            }
        }
    }
}

/// Nothing of a transaction is visible that could not begin.
fn not_begun(failure: Failure) -> CommitError {
    match failure {
        Failure::Defect { message } => CommitError::Defect(message),
        other => CommitError::Aborted(other.to_string()),
    }
}

/// The right to begin one transaction.
pub(super) struct Begin<'p>(&'p mut Producer);

impl<'p> Begin<'p> {
    pub(super) fn begin(self) -> std::result::Result<Transaction<'p>, Fault> {
        self.0.begin()
    }
}

impl Slot {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            match inbox.recv_timeout(SERVE) {
                Ok(job) => job(&mut self),
                // Readers wait for what is left open, our own group among them: not only the next transaction.
                Err(mpsc::RecvTimeoutError::Timeout) if !self.left.is_empty() => {
                    if let Err(failure) = self.settled() {
                        tracing::debug!(id = %self.id, %failure, "not taken back yet");
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(producer) = &self.producer {
                        producer.serve();
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The producer, settled; a defect once refusals of which nobody knows whether they pass have lasted.
    fn ready(&mut self) -> Result<&mut Producer> {
        match self.unlisted.take_lasting(Instant::now()) {
            Some(why) => Err(Failure::defect(why)),
            None => self.settled(),
        }
    }

    /// The producer, with nothing of a former one left open.
    fn settled(&mut self) -> Result<&mut Producer> {
        // A producer is fenced by another process of our name, by a broker that lost patience, or by a late call of
        // one that we gave up. In the first case the group tells us so within a heartbeat or two, and it would be
        // wrong to fence the other one back.
        let config = &self.shared.config;
        if self.fenced.is_some_and(|at| at.elapsed() < config.heartbeat() * 2) {
            return Err(Failure::unavailable(client::DEPENDENCY, format!("{} was fenced a moment ago", self.id)));
        }
        if self.producer.is_none() {
            self.settled = false;
            self.producer = Some(Producer::new(&self.shared, &self.id, &self.abandoned)?);
        }
        let producer = self.producer.as_mut().ok_or_else(|| Failure::defect("log.kafka: no producer"))?;
        if !self.settled {
            if let Err(error) = producer.init_transactions(config.call() / 2) {
                // A client that was fenced while it began is of no more use; another one costs little.
                self.producer = None;
                return Err(self.not_settled(&error));
            }
            self.settled = true;
            self.shared.health.answered();
        }
        self.take_back()?;
        self.producer.as_mut().ok_or_else(|| Failure::defect("log.kafka: no producer"))
    }

    /// Why a producer cannot begin.
    fn not_settled(&mut self, error: &KafkaError) -> Failure {
        let what = "the producer cannot begin";
        match Kind::of(error) {
            Kind::Never => return Failure::defect(format!("kafka: {what}: {error}")),
            Kind::Unlisted => self.unlisted.add(Instant::now(), format!("{what}: {error}")),
            Kind::Fenced | Kind::UnknownTopic | Kind::TooLarge | Kind::Passing => {}
        }
        client::failure(what, error)
    }

    /// Takes back what failed transactions may have left open.
    fn take_back(&mut self) -> Result<()> {
        let Some(producer) = self.producer.as_mut().filter(|_| !self.left.is_empty()) else { return Ok(()) };
        let taken_back = producer.take_back(&self.left);
        match taken_back {
            Ok(()) => {}
            // A topic that is gone holds nothing open.
            Err(Fault { error: error @ CommitError::Defect(_), broken, .. }) => {
                tracing::warn!(id = %self.id, %error, "what failed transactions touched cannot be touched again");
                self.drop_producer_if(broken, &error);
            }
            Err(Fault { error, broken, unlisted }) => {
                self.note(unlisted, &error);
                self.drop_producer_if(broken, &error);
                let why = format!("a failed transaction of {} is not taken back yet: {error}", self.id);
                return Err(Failure::unavailable(client::DEPENDENCY, why));
            }
        }
        self.left = Touched::default();
        Ok(())
    }

    fn note(&mut self, unlisted: bool, error: &CommitError) {
        if unlisted {
            self.unlisted.add(Instant::now(), error.to_string());
        }
    }

    fn drop_producer_if(&mut self, broken: bool, error: &CommitError) {
        if broken {
            self.producer = None;
            if matches!(error, CommitError::Fenced(_)) {
                self.fenced = Some(Instant::now());
            }
        }
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(Begin<'_>) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, CommitError> {
        let producer = self.ready().map_err(not_begun)?;
        let worked = work(Begin(producer));
        let touched = producer.take_touched();
        match worked {
            Ok(done) => {
                self.unlisted = Unlisted::default();
                self.shared.health.answered();
                Ok(done)
            }
            Err(Fault { error, broken, unlisted }) => {
                self.note(unlisted, &error);
                if matches!(error, CommitError::Aborted(_) | CommitError::Fenced(_)) {
                    self.left.add(touched);
                }
                self.drop_producer_if(broken, &error);
                Err(error)
            }
        }
    }
}
