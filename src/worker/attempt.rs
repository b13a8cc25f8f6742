//! One record on its way through a stage: journal, attempts, and what becomes of a failure.
//!
//! The law: it always ends, in outputs. A failure's outputs are what the stage sends on, and the dead letter.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;

use crate::{
    dead_letter,
    error::{Failure, Result},
    journal::{Journal, Verdict},
    log::Record,
    record::wire::Headers,
    stages::{AnyStage, Output},
    telemetry,
};

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

    /// Runs the stage until it ends well or for good. Never fails: a failure has outputs too.
    pub(super) async fn run(self) -> End {
        let headers = Headers::parse(&self.record.headers, self.record.appended_at_us);
        let name = format!("{}@{}", self.record.partition, self.record.offset);
        let (result, attempts) = match self.journal.enter(name).await {
            Verdict::Run(entry) => {
                let result = self.until_it_ends(&headers).await;
                drop(entry);
                result
            }
            Verdict::Blamed { message } => (Err(Failure::defect(message)), 0),
        };
        match result {
            Ok(outputs) => End { outputs, outcome: "ok" },
            Err(failure) => self.give_up(&headers, &failure, attempts),
        }
    }

    /// Tries until it succeeds or fails for good; what all records need and is away is waited for without limit.
    async fn until_it_ends(&self, headers: &Headers) -> (Result<Vec<Output>>, u32) {
        let stage = self.stage.name();
        let started = Instant::now();
        let mut wait = RETRY.0;
        for attempt in 1.. {
            let failure = match self.once(headers).await {
                Ok(outputs) => return (Ok(outputs), attempt),
                Err(failure) => failure,
            };
            let again = match &failure {
                Failure::Transient { .. } => started.elapsed() + wait < self.retry,
                Failure::Unavailable { .. } => true,
                Failure::Rejected { .. } | Failure::Defect { .. } => false,
            };
            if !again {
                return (Err(failure), attempt);
            }
            tracing::warn!(stage, document_id = headers.document_id, page = headers.page_no, %failure, attempt, "trying again");
            telemetry::retried(stage, dead_letter::kind(&failure));
            let waiting = crate::readiness::waiting_for(&failure);
            tokio::time::sleep(wait).await;
            drop(waiting);
            wait = (wait * 2).min(RETRY.1);
        }
        unreachable!("the attempts are counted without end")
    }

    /// One attempt; a panic of the stage is a defect of this record.
    async fn once(&self, headers: &Headers) -> Result<Vec<Output>> {
        let attempt = self.stage.process(headers, &self.record.value);
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
        let mut outputs = self.stage.on_failure(headers, &self.record.value, failure).unwrap_or_else(|error| {
            tracing::error!(stage, %error, "what goes on after a failure cannot be encoded");
            Vec::new()
        });
        match dead_letter::output(stage, &self.record, headers, failure, attempts) {
            Ok(letter) => outputs.push(letter),
            Err(error) => tracing::error!(stage, %error, "a dead letter cannot be encoded"),
        }
        End { outputs, outcome }
    }
}
