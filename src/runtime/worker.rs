//! The one worker loop, shared by all stages: read → admit → run up to N records at once → complete in any order →
//! commit.
//!
//! The laws:
//! - Completions come before admissions, so that what is finished leaves before more comes in.
//! - A step holds whole records only: outputs and the positions past their inputs, or neither.
//! - On revoke: stop admitting, commit what is complete, drop the rest, forget, acknowledge.
//! - Whatever it waits for, it hears requests to stop and partitions that are taken away.
//! - A failure never ends the loop. Too many defects make it pause instead of emptying the topic into dead letters
//!   ([`breaker`]).

mod attempt;
mod breaker;
mod commit;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::AbortHandle};

use self::{
    attempt::{Attempt, End, RETRY},
    breaker::{Breaker, Document},
    commit::{CommitEnd, Committed, commit, read_back},
};
use crate::{journal::Journal, readiness};
use deckle_contract::{
    error::{Failure, Result},
    telemetry,
};
use deckle_log::{
    CommitError, Event, NewRecord, Partition, Reader, Record, Writer,
    ledger::{Admission, Ledger, Limits, Pauses, Ticket, Turn},
};
use deckle_seal::Keyring;
use deckle_stages::{AnyStage, Output};

/// How a worker runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Records admitted and not committed, at most.
    pub max_in_flight: usize,
    /// Their bytes, at most.
    pub max_in_flight_bytes: usize,
    /// A failure of the moment is retried for so long before it becomes a dead letter.
    pub retry_s: u64,
    /// Documents with a defect among the last `defect_window` records that make the stage pause. Those of one tenant
    /// count up to half of it.
    pub max_defects: usize,
    /// Records over which defects are counted.
    pub defect_window: usize,
    /// The pause after which a stage that had too many defects tries one record; it doubles, up to ten minutes.
    pub defect_pause_s: u64,
    /// Time for records in flight to end after a request to stop.
    pub drain_s: u64,
    /// Time for the commit when partitions are taken away; shorter than the session timeout.
    pub revoke_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_in_flight: 1_000,
            max_in_flight_bytes: 64 << 20,
            retry_s: 60,
            max_defects: 25,
            defect_window: 50,
            defect_pause_s: 60,
            drain_s: 30,
            revoke_s: 5,
        }
    }
}

/// One place in so many is kept for small records. With a quarter, 40 notes beside 14 long documents that hold all other
/// places are done in seconds, and long documents alone lose no more than a quarter of the places, not of the cores.
const SMALL_SHARE: usize = 4;

/// Commits in a row that fail before readiness names it: one or two come with every rebalance.
const REFUSALS: u32 = 5;

/// One stage's membership in its group.
pub struct Worker {
    stage: Arc<dyn AnyStage>,
    reader: Box<dyn Reader>,
    /// `None` while a commit runs with it.
    writer: Option<Box<dyn Writer>>,
    journal: Arc<Journal>,
    keyring: Arc<Keyring>,
    config: Config,
    concurrency: usize,
    ledger: Ledger,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    handles: HashMap<Ticket, AbortHandle>,
    committing: Option<BoxFuture<'static, Committed>>,
    /// Whether what is under way with the writer is no commit, but the question what an unclear one came to.
    is_reading_back: bool,
    /// The time at which an aborted step is committed again.
    replay_at: Option<Instant>,
    aborts: u32,
    /// Held while commits fail again and again.
    refused: Option<readiness::Waiting>,
    breaker: Breaker,
    /// Held while the breaker is open.
    paused: Option<readiness::Waiting>,
    /// Why the worker stops by itself, once it has drained.
    fatal: Option<Failure>,
}

/// The end of a record's attempts, as its task returns it.
struct Finished {
    ticket: Ticket,
    queued: Duration,
    busy: Duration,
    /// The document that the record was of.
    document: Document,
    /// An error when it was dropped with its partition (`false`), or panicked outside the stage (`true`).
    end: std::result::Result<End, bool>,
}

impl Worker {
    /// A worker for a stage on a membership that was just joined.
    pub fn new(
        stage: Arc<dyn AnyStage>,
        (reader, writer): (Box<dyn Reader>, Box<dyn Writer>),
        journal: Arc<Journal>,
        keyring: Arc<Keyring>,
        config: Config,
        concurrency: usize,
    ) -> Self {
        let breaker = Breaker::new(&config);
        let limits = Limits {
            records: config.max_in_flight,
            bytes: config.max_in_flight_bytes,
            large: (concurrency - concurrency / SMALL_SHARE).max(1),
            ..Limits::default()
        };
        Self {
            stage,
            reader,
            writer: Some(writer),
            journal,
            keyring,
            config,
            concurrency,
            ledger: Ledger::new(limits),
            running: FuturesUnordered::new(),
            handles: HashMap::new(),
            committing: None,
            is_reading_back: false,
            replay_at: None,
            aborts: 0,
            refused: None,
            breaker,
            paused: None,
            fatal: None,
        }
    }

    /// Works until told to stop, then drains, commits and leaves.
    ///
    /// # Errors
    /// When the log is broken, or the worker itself is.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let name = self.stage.name();
        let mut drain_until: Option<Instant> = None;
        loop {
            if self.fatal.is_some() {
                // What was complete before is committed; what runs stays for a worker that is well.
                drain_until = Some(Instant::now());
            }
            let draining = drain_until.is_some();
            if !draining {
                self.start_what_may_run();
                self.apply_pauses();
            }
            self.start_commit_when_due(draining);
            // An unclear commit is settled by whoever joins next, too.
            if draining
                && (self.committing.is_none() || self.is_reading_back)
                && (self.is_drained() || drain_until.is_some_and(|at| at <= Instant::now()))
            {
                break;
            }
            let in_flight = self.ledger.in_flight();
            telemetry::in_flight(name, in_flight.records(), in_flight.bytes);
            let wake = self.wake_at(drain_until);
            tokio::select! {
                biased;
                Some(finished) = self.running.next() => self.finish(finished),
                committed = pending_or(&mut self.committing) => self.committed(committed).await?,
                () = sleep_until(wake) => {}
                () = asked_to_stop(&mut stop), if !draining => {
                    tracing::debug!(stage = name, in_flight = in_flight.records(), "draining");
                    drain_until = Some(Instant::now() + Duration::from_secs(self.config.drain_s));
                }
                event = self.reader.next() => self.take_in(event?, draining).await?,
            }
        }
        for (_, handle) in self.handles.drain() {
            handle.abort();
        }
        let left = self.reader.leave().await;
        self.fatal.map_or(left, Err)
    }

    fn is_drained(&self) -> bool {
        self.running.is_empty() && self.ledger.step().is_none() && self.ledger.in_flight().completed == 0
    }

    fn start_what_may_run(&mut self) {
        while self.running.len() < self.concurrency {
            if !self.breaker.lets_through(self.running.len(), Instant::now()) {
                break;
            }
            let Some((ticket, record)) = self.ledger.start() else { break };
            self.breaker.started(ticket);
            let attempt = Attempt {
                stage: Arc::clone(&self.stage),
                journal: Arc::clone(&self.journal),
                keyring: Arc::clone(&self.keyring),
                retry: Duration::from_secs(self.config.retry_s),
                record,
            };
            let (queued, document) = (attempt.queued(), attempt.document());
            let started = Instant::now();
            let task = tokio::spawn(attempt.run());
            self.handles.insert(ticket, task.abort_handle());
            let finished = task.map(move |end| {
                let end = end.map_err(|error| error.is_panic());
                Finished { ticket, document, queued, busy: started.elapsed(), end }
            });
            self.running.push(finished.boxed());
        }
    }

    fn apply_pauses(&mut self) {
        let Pauses { pause, resume } = self.ledger.pauses();
        if !pause.is_empty() {
            self.reader.pause(&pause);
        }
        if !resume.is_empty() {
            self.reader.resume(&resume);
        }
    }

    fn finish(&mut self, finished: Finished) {
        self.handles.remove(&finished.ticket);
        if self.fatal.is_some() {
            return;
        }
        let end = match finished.end {
            Ok(end) => end,
            Err(panicked) => {
                if panicked {
                    self.fatal =
                        Some(Failure::defect(format!("stage {}: the worker itself panicked", self.stage.name())));
                }
                return;
            }
        };
        let outputs = end.outputs.into_iter().map(into_record).collect();
        if !self.ledger.complete(finished.ticket, outputs, Instant::now()) {
            return;
        }
        telemetry::record_finished(self.stage.name(), end.outcome, finished.busy, finished.queued);
        self.breaker.ended(finished.ticket, (end.outcome == "defect").then_some(finished.document), Instant::now());
        self.announce_pause();
    }

    /// Reports that the breaker opened or closed, in the log and in `/readyz`.
    fn announce_pause(&mut self) {
        let stage = self.stage.name();
        match (self.breaker.why(), &self.paused) {
            (Some(why), None) => {
                tracing::error!(stage, why, "paused");
                self.paused = readiness::waiting_for(&Failure::unavailable(&format!("stage {stage}"), why));
            }
            (None, Some(_)) => {
                tracing::info!(stage, "works again");
                self.paused = None;
            }
            _ => {}
        }
    }

    fn start_commit_when_due(&mut self, draining: bool) {
        let now = Instant::now();
        if self.writer.is_none() || self.replay_at.is_some_and(|at| at > now) {
            return;
        }
        let due = draining || self.ledger.step_due(now).is_some_and(|at| at <= now);
        let step = match self.ledger.step() {
            Some(step) => Some(step),
            None if due => self.ledger.take_step(),
            None => None,
        };
        if let Some(step) = step
            && let Some(writer) = self.writer.take()
        {
            self.replay_at = None;
            self.committing = Some(commit(writer, step).boxed());
        }
    }

    async fn committed(&mut self, committed: Committed) -> Result<()> {
        self.committing = None;
        let Committed { writer, end } = committed;
        let (outputs, took, result) = match end {
            CommitEnd::Tried { outputs, took, result } => (outputs, took, result),
            CommitEnd::ReadBack { unclear, positions } => {
                self.is_reading_back = false;
                self.ledger.reconcile(&positions?);
                self.stage.forget();
                self.replay_later(&unclear);
                self.take_back(writer);
                return Ok(());
            }
        };
        match result {
            Ok(()) => {
                telemetry::step_committed(self.stage.name(), outputs, took);
                self.aborts = 0;
                self.refused = None;
                self.ledger.confirm();
            }
            Err(error @ (CommitError::Aborted(_) | CommitError::Fenced(_))) => self.replay_later(&error),
            Err(error @ CommitError::Defect(_)) => {
                return Err(Failure::defect(format!("stage {} stopped: {error}", self.stage.name())));
            }
            Err(unclear @ CommitError::Unknown(_)) => {
                let partitions: Vec<Partition> =
                    self.ledger.step().map(|step| step.positions.keys().cloned().collect()).unwrap_or_default();
                self.is_reading_back = true;
                self.committing = Some(read_back(self.stage.name(), writer, partitions, unclear).boxed());
                return Ok(());
            }
        }
        self.take_back(writer);
        Ok(())
    }

    fn take_back(&mut self, writer: Box<dyn Writer>) {
        if self.ledger.step().is_none() {
            self.replay_at = None;
        }
        self.writer = Some(writer);
    }

    /// The step stays in memory and is committed again; if we were fenced, the revoke that follows drops it.
    fn replay_later(&mut self, error: &CommitError) {
        self.aborts += 1;
        let wait = RETRY.0.saturating_mul(1 << self.aborts.min(6)).min(RETRY.1);
        tracing::warn!(stage = self.stage.name(), %error, attempt = self.aborts, "step not committed, will be tried again");
        telemetry::retried(self.stage.name(), "commit");
        if self.aborts >= REFUSALS {
            let what = format!("commits of stage {}", self.stage.name());
            // The later one is taken before the former is given back, so that readiness does not flicker.
            self.refused = readiness::waiting_for(&Failure::unavailable(&what, error.to_string()));
        }
        self.replay_at = Some(Instant::now() + wait);
    }

    fn wake_at(&self, drain_until: Option<Instant>) -> Option<Instant> {
        if self.writer.is_none() {
            return drain_until.into_iter().chain(self.next_probe()).min();
        }
        let commit = if self.ledger.step().is_some() { self.replay_at } else { self.ledger.step_due(Instant::now()) };
        commit.into_iter().chain(drain_until).chain(self.next_probe()).min()
    }

    /// When an open breaker lets a record through. A past time wakes nobody: what could start then has started.
    fn next_probe(&self) -> Option<Instant> {
        self.breaker.probe_at().filter(|at| *at > Instant::now())
    }

    async fn take_in(&mut self, event: Event, draining: bool) -> Result<()> {
        match event {
            Event::Records(records) if draining => drop(records),
            Event::Records(records) => records.into_iter().for_each(|record| self.admit(record)),
            Event::Assigned(partitions) => {
                self.stage.forget();
                for (partition, position) in partitions {
                    self.ledger.assign(partition, position);
                }
            }
            Event::Revoked { partitions, lost, ack } => {
                self.give_up(&partitions, lost).await?;
                // A dropped receiver means that the reader gave up waiting; there is nobody left to tell.
                let _ = ack.send(());
            }
        }
        Ok(())
    }

    fn admit(&mut self, record: Record) {
        let order = self.stage.order(&record.partition.topic, &record.value).unwrap_or_else(|| deckle_stages::Order {
            key: format!("{}@{}", record.partition, record.offset),
            interactive: false,
            large: false,
        });
        let turn = Turn { interactive: order.interactive, large: order.large };
        match self.ledger.admit(record, order.key, turn) {
            Admission::Admitted(_) => {}
            Admission::Covered | Admission::Unassigned => {
                tracing::debug!(stage = self.stage.name(), "a record that is complete or not ours came, dropped");
            }
        }
    }

    /// Commits what is complete of all partitions, within the deadline, then drops what was taken away.
    async fn give_up(&mut self, partitions: &[Partition], lost: bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.config.revoke_s);
        if let Some(mut committing) = self.committing.take() {
            // A commit under way is never cut off: its outcome would be unknown. The outcome of one that is unknown
            // already is waited for no longer than the others can wait.
            tokio::select! {
                committed = &mut committing => self.committed(committed).await?,
                () = tokio::time::sleep_until(deadline), if self.is_reading_back => self.committing = Some(committing),
            }
        }
        while !lost && !self.is_reading_back && tokio::time::Instant::now() < deadline {
            self.replay_at = None;
            self.start_commit_when_due(true);
            let Some(committing) = self.committing.take() else { break };
            let committed = committing.await;
            let fenced = matches!(&committed.end, CommitEnd::Tried { result, .. } if matches!(result, Err(CommitError::Fenced(_))));
            self.committed(committed).await?;
            if fenced {
                break;
            }
        }
        for ticket in self.ledger.revoke(partitions) {
            self.breaker.taken_away(ticket);
            if let Some(handle) = self.handles.remove(&ticket) {
                handle.abort();
            }
        }
        self.stage.forget();
        Ok(())
    }
}

/// Ends when told to stop, or when nobody is left who could tell.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn into_record(output: Output) -> NewRecord {
    NewRecord { topic: output.topic.into(), key: output.key, headers: output.headers, value: output.value }
}

async fn pending_or<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => futures::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => futures::future::pending().await,
    }
}
