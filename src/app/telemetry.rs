//! Installs what logs and metrics of this process go to.

use std::io::IsTerminal;

use deckle_contract::telemetry;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Installs the Prometheus recorder of this process and describes every metric.
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
    Ok(handle)
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
