//! Installs what logs and metrics of this process go to.

use std::{io::IsTerminal, time::Duration};

use deckle_contract::telemetry;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::MissedTickBehavior;

/// How often the values of histograms are counted into their buckets. Until then each is kept, be it that nobody asks
/// for metrics; the crate's own exporter does so as often.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the Prometheus recorder of this process, describes every metric, and starts a task of this runtime that
/// keeps histograms small.
///
/// # Errors
/// When a recorder is installed already.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for (ending, bounds) in telemetry::BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Suffix(ending.to_owned()), bounds)?;
    }
    let handle = builder.install_recorder()?;
    telemetry::describe();
    tokio::spawn(upkeep(handle.clone()));
    Ok(handle)
}

/// Never ends, as the metrics do not either.
async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Writes logs to standard error: as lines for people, or as JSON. `RUST_LOG` chooses what; the default is `default`.
pub fn install_logs(json: bool, default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second installation is a test harness's business, and harmless.
    let _ = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what the recorder holds, `Debug` alone shows what was counted without counting it: to render is to count.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn values_of_histograms_are_counted_though_nobody_asks() {
        const VALUES: u64 = 10_000;
        let metrics = install_metrics().unwrap();
        for _ in 0..VALUES {
            telemetry::searched("upkeep", Duration::from_millis(1));
        }
        let counted = async {
            while !format!("{metrics:?}").contains(&format!("count: {VALUES},")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(UPKEEP * 60, counted).await.expect("they are kept one by one");
        let told = metrics.render();
        assert!(told.contains(&format!("deckle_search_seconds_count{{mode=\"upkeep\"}} {VALUES}")), "{told}");
    }
}
