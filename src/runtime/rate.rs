//! How fast an operation may append records.
//!
//! The law: a slow append is not made up for by a burst.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// A limit on the records that are appended in a second.
pub struct Rate {
    interval: Interval,
    period: Duration,
}

impl Rate {
    /// At most so many records in a second; one a day where it is less, or no number.
    pub fn per_second(records: f64) -> Self {
        let period = Duration::from_secs_f64(records.max(f64::MIN_POSITIVE).recip().min(86_400.0));
        let mut interval = tokio::time::interval(period.max(Duration::from_nanos(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, period }
    }

    /// The time that so many records take, the first one's turn included.
    pub(crate) fn time_for(&self, records: usize) -> Duration {
        self.period.saturating_mul(u32::try_from(records).unwrap_or(u32::MAX))
    }

    /// Waits until the next record may be appended.
    pub(crate) async fn turn(&mut self) {
        self.interval.tick().await;
    }
}
