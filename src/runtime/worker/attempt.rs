//! One record on its way through a stage: journal, attempts, and what becomes of a failure.
//!
//! The law: it always ends, in outputs. A failure's outputs are what the stage sends on, and the dead letter.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;

use super::breaker::Document;
use crate::{
    dead_letter,
    journal::{Journal, Verdict},
    readiness,
};
use deckle_contract::{
    error::{Failure, Result},
    record::wire::Headers,
    telemetry,
};
use deckle_log::Record;
use deckle_seal::Keyring;
use deckle_stages::{AnyStage, Output};

/// The shortest and the longest wait between two attempts.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Its outputs, and how it ended.
pub(super) struct End {
    /// What goes on, the dead letter of a failure included.
    pub(super) outputs: Vec<Output>,
    /// `ok`, or the kind of failure.
    pub(super) outcome: &'static str,
}

/// One record on its way through a stage, with all its attempts.
pub(super) struct Attempt {
    pub(super) stage: Arc<dyn AnyStage>,
    pub(super) journal: Arc<Journal>,
    /// Seals what a dead letter keeps.
    pub(super) keyring: Arc<Keyring>,
    /// A failure of the moment is retried for so long.
    pub(super) retry: Duration,
    pub(super) record: Record,
}

impl Attempt {
    /// Time from append to now.
    pub(super) fn queued(&self) -> Duration {
        let now = jiff::Timestamp::now().as_microsecond();
        Duration::from_micros(u64::try_from(now - self.record.appended_at_us).unwrap_or(0))
    }

    fn topic(&self) -> &str {
        &self.record.partition.topic
    }

    /// The document, as far as the headers name it; a record that names none stands for itself.
    pub(super) fn document(&self) -> Document {
        let of = |name: &str| self.record.headers.get(name).cloned().unwrap_or_default();
        let (tenant, id) = (of("tenant"), of("document"));
        let id = if id.is_empty() { format!("{}@{}", self.record.partition, self.record.offset) } else { id };
        Document { tenant, id }
    }

    /// Runs the stage until it ends well or for good. Never fails: a failure has outputs too.
    pub(super) async fn run(self) -> End {
        let headers =
            Headers::of_record(&self.record.partition.topic, &self.record.headers, self.record.appended_at_us);
        match self.until_it_ends(&headers).await {
            (Ok(outputs), _) => End { outputs, outcome: "ok" },
            (Err(failure), attempts) => self.give_up(&headers, &failure, attempts),
        }
    }

    /// Tries until it succeeds or fails for good; what all records need and is away is waited for without limit. While
    /// it waits it is not in flight, so that a suspect among the others can have its turn.
    async fn until_it_ends(&self, headers: &Headers) -> (Result<Vec<Output>>, u32) {
        let stage = self.stage.name();
        let name = format!("{}@{}", self.record.partition, self.record.offset);
        let started = Instant::now();
        let mut wait = RETRY.0;
        for attempt in 1.. {
            let entry = match self.journal.enter(name.clone()).await {
                Verdict::Run(entry) => entry,
                Verdict::Blamed { message } => return (Err(Failure::defect(message)), attempt - 1),
            };
            let result = self.once(headers).await;
            let again = match &result {
                Err(Failure::Transient { .. }) => started.elapsed() + wait < self.retry,
                Err(Failure::Unavailable { .. }) => true,
                Ok(_) | Err(Failure::Rejected { .. } | Failure::Defect { .. }) => false,
            };
            let failure = match result {
                Err(failure) if again => failure,
                ended => {
                    entry.end();
                    return (ended, attempt);
                }
            };
            drop(entry);
            tracing::warn!(stage, document_id = headers.document_id, page = headers.page_no, %failure, attempt, "trying again");
            telemetry::retried(stage, dead_letter::kind(&failure));
            let waiting = readiness::waiting_for(&failure);
            tokio::time::sleep(wait).await;
            drop(waiting);
            wait = (wait * 2).min(RETRY.1);
        }
        unreachable!("the attempts are counted without end")
    }

    /// One attempt; a panic of the stage is a defect of this record.
    async fn once(&self, headers: &Headers) -> Result<Vec<Output>> {
        let attempt = self.stage.process(self.topic(), headers, &self.record.value);
        match std::panic::AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                Err(Failure::defect(format!("stage {} panicked: {}", self.stage.name(), said.unwrap_or("no message"))))
            }
        }
    }

    fn give_up(&self, headers: &Headers, failure: &Failure, attempts: u32) -> End {
        let stage = self.stage.name();
        let outcome = dead_letter::kind(failure);
        tracing::info!(stage, document_id = headers.document_id, page = headers.page_no, code = failure.code(), %failure, "record failed");
        let on_failure = || self.stage.on_failure(self.topic(), headers, &self.record.value, failure);
        let sent_on = std::panic::catch_unwind(std::panic::AssertUnwindSafe(on_failure))
            .unwrap_or_else(|_| Err(Failure::defect("what a stage does on failure panicked")));
        let mut outputs = sent_on.unwrap_or_else(|error| {
            tracing::error!(stage, %error, "what goes on after a failure cannot be encoded");
            Vec::new()
        });
        let whose = self.stage.identity(self.topic(), headers, &self.record.value);
        match dead_letter::output(&self.keyring, stage, &self.record, &whose, failure, attempts) {
            Ok(Some(letter)) => outputs.push(letter),
            Ok(None) => tracing::error!(
                stage,
                offset = self.record.offset,
                %failure,
                "a dead letter cannot be handled itself: dropped, and kept in its topic"
            ),
            Err(error) => tracing::error!(stage, %error, "a dead letter cannot be encoded"),
        }
        End { outputs, outcome }
    }
}
