//! The attempts at one request: while the cluster is away the driver fails within a millisecond, so the waiting is ours.
//!
//! The law: only what is away is asked again, and only for a bounded time; then the caller hears of it, whose record
//! waits without limit. Every statement is idempotent, so an attempt whose answer was lost does no harm.

use std::time::Duration;

use deckle_contract::{
    error::{Failure, Result},
    telemetry,
};

/// The shortest and the longest wait between two attempts.
const WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The kinds of requests, as the metrics tell them apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request {
    Write,
    Batch,
    CompareAndSet,
    Read,
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Batch => "batch",
            Self::CompareAndSet => "compare_and_set",
            Self::Read => "read",
        }
    }
}

/// The attempts at one request to the database; dropping it ends the request.
pub(super) struct Attempts {
    request: Request,
    timer: telemetry::StoreRequest,
    limit: Duration,
    wait: Duration,
}

impl Attempts {
    /// Begins a request that is made again for `limit` at most.
    pub(super) fn new(request: Request, limit: Duration) -> Self {
        Self { request, timer: telemetry::store_request(request.name()), limit, wait: WAIT.0 }
    }

    /// Waits, each time longer, before the request is made again.
    ///
    /// # Errors
    /// The failure itself, where another attempt would not help or the time is up.
    pub(super) async fn failed(&mut self, failure: Failure) -> Result<()> {
        let away = matches!(failure, Failure::Unavailable { .. });
        if !away || self.timer.elapsed() + self.wait > self.limit {
            return Err(failure);
        }
        telemetry::store_retried(self.request.name());
        tracing::debug!(%failure, request = self.request.name(), "asking again");
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT.1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_away_is_asked_again_and_not_for_ever() {
        let away = || Failure::unavailable("scylla", "no node answers");
        let mut attempts = Attempts::new(Request::Write, Duration::from_millis(100));
        assert!(attempts.failed(Failure::defect("no such table")).await.is_err());
        assert!(attempts.failed(Failure::transient("a replica threw")).await.is_err());
        // Waits of 20 and 40 ms fit into 100 ms; one of 80 more does not.
        assert!(attempts.failed(away()).await.is_ok());
        assert!(attempts.failed(away()).await.is_ok());
        assert_eq!(attempts.failed(away()).await, Err(away()));
    }
}
