//! What every process does beside its work: it reports how far its stages are behind, trims what they are past, makes
//! sure of erasures, and sweeps what nobody needs any more.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::{
    blob::Blobs,
    contract::{
        error::Result,
        record::topics::{self, TopicConfig},
        telemetry,
    },
    decode::sandbox,
    log::{Log, Topic},
    runtime::{
        erasure::{self, Swept},
        readiness,
        sweep::{self, Documents, Mode, Removed},
    },
    store::Store,
};

/// How often lag is measured and completed records are trimmed.
const PERIOD: Duration = Duration::from_secs(10);
/// How often readiness looks whether the log is there, which asks nobody.
const LOOK: Duration = Duration::from_millis(500);
/// How often it asks the store.
const ASK: Duration = Duration::from_secs(2);
/// How often erasures are made sure of, each two days after it was asked for, and how often the rest is swept.
const SWEEP: Duration = Duration::from_mins(10);

/// What the housekeeping of one process needs.
pub(super) struct Housekeeping {
    pub(super) log: Arc<dyn Log>,
    pub(super) store: Arc<dyn Store>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) pool: Arc<sandbox::Pool>,
    /// The stages of this process, each with the topic it consumes.
    pub(super) consumed: Vec<(&'static str, Topic)>,
    /// Completed records are kept for so long.
    pub(super) keep: Duration,
    /// And the rest for so long.
    pub(super) retention: sweep::Config,
}

impl Housekeeping {
    /// Never ends.
    pub(super) async fn run(self) {
        tokio::join!(self.watch_the_log(), self.watch_the_store(), self.keep(), self.sweep());
    }

    /// Tells readiness when the log is away: a worker without records looks the same whether it is idle or cut off.
    async fn watch_the_log(&self) {
        let mut looks = tokio::time::interval(LOOK);
        let mut _waiting = None;
        loop {
            looks.tick().await;
            _waiting = self.log.health().err().and_then(|failure| readiness::waiting_for(&failure));
        }
    }

    /// The same of the store, of which a worker without records hears nothing either.
    async fn watch_the_store(&self) {
        let mut _waiting = None;
        loop {
            _waiting = self.store.health().await.err().and_then(|failure| readiness::waiting_for(&failure));
            tokio::time::sleep(ASK).await;
        }
    }

    async fn keep(&self) {
        let work: Vec<(Topic, Vec<String>)> = self
            .consumed
            .iter()
            .filter_map(|(_, topic)| topics::get(topic).filter(|known| known.is_work()))
            .map(|TopicConfig { name, consumers, .. }| (Topic::from(name.as_str()), consumers.clone()))
            .collect();
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            let stats = self.pool.stats();
            telemetry::sandbox_totals(stats.starts, stats.deaths, stats.calls);
            for (stage, topic) in &self.consumed {
                self.report_lag(stage, topic).await;
            }
            let keep_us = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
            let before = jiff::Timestamp::now().as_microsecond().saturating_sub(keep_us);
            if let Err(error) = self.log.trim(&work, before).await {
                tracing::warn!(%error, "completed records cannot be trimmed");
            }
        }
    }

    /// Every process does so: the same sweep by two is one.
    async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match erasure::sweep(&*self.store, &*self.blobs, jiff::Timestamp::now().as_microsecond()).await {
                Ok(Swept { erasures: 0, .. }) => {}
                Ok(Swept { erasures, blobs }) => tracing::info!(erasures, late_blobs = blobs, "erasures made sure of"),
                Err(error) => tracing::warn!(%error, "erasures cannot be made sure of"),
            }
            if let Err(error) = self.sweep_the_rest().await {
                tracing::warn!(%error, "what nobody needs any more cannot be swept");
            }
        }
    }

    async fn sweep_the_rest(&self) -> Result<()> {
        let (log, store, blobs) = (&*self.log, &*self.store, &*self.blobs);
        let now = jiff::Timestamp::now().as_microsecond();
        let sweep::Config { runs_s, dead_letters_s } = self.retention;
        let (runs_kept, letters_kept) = (Duration::from_secs(runs_s), Duration::from_secs(dead_letters_s));
        let records = sweep::result_topics(log, now).await?;
        let claims = sweep::claims(store, now).await?;
        let (letters, of_letters) = sweep::dead_letters(store, now, letters_kept, Mode::Apply).await?;
        let horizon = sweep::horizon(log, now, runs_kept).await?;
        let sweep = Documents::until(horizon, store, blobs).await?;
        let mut removed = sweep.those_that_came_due().await?;
        for document in &of_letters {
            removed += sweep.by_key(document).await?;
        }
        if records + claims + letters + removed.documents > 0 {
            let Removed { documents, rows, blobs, bytes } = removed;
            tracing::info!(documents, rows, blobs, bytes, letters, claims, records, "swept what nobody needs any more");
        }
        Ok(())
    }

    async fn report_lag(&self, stage: &'static str, topic: &Topic) {
        match self.log.lag(stage, std::slice::from_ref(topic)).await {
            Ok(lags) => {
                for lag in lags {
                    let oldest = Duration::from_micros(lag.oldest_us.max(0).unsigned_abs());
                    telemetry::lag(stage, lag.records, oldest);
                }
            }
            Err(error) => tracing::warn!(%error, stage, "lag cannot be measured"),
        }
    }
}
