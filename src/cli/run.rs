//! `deckle run`: workers until told to stop, with metrics and health beside them.

mod http;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;

use super::{Context, Outcome, stop::StopSignals};
use crate::{
    app::telemetry,
    runtime::readiness::{self, Unavailable},
    stages,
};

/// Work on what is queued until told to stop.
///
/// SIGTERM or Ctrl-C: records in flight are finished and committed, then it leaves; a second one leaves at once.
/// Several processes share the work. Logs go to standard error; RUST_LOG chooses what, --json makes them JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle run                       all stages
  deckle run --stage ocr,vision    only these; others run elsewhere on the same log
  deckle run --listen 127.0.0.1:0  a second process on this machine: any free port
  curl localhost:9464/metrics      Prometheus metrics; also /healthz and /readyz")]
pub(super) struct Args {
    /// Stages to run; all when none is named.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(stages::NAMES))]
    stage: Vec<String>,
    /// Address of /metrics, /healthz and /readyz instead of `http.listen`; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let mut stops = StopSignals::listen()?;
    let metrics = telemetry::install_metrics()?;
    let app = context.open()?;
    let listen = args.listen.unwrap_or_else(|| app.config.http.listen.clone());
    if !listen.is_empty() {
        serve(&listen, metrics).await?;
    }
    let mut running = tokio::select! {
        running = app.start(&args.stage) => running?,
        () = stops.next() => {
            tracing::info!("stopped before any work began");
            return Ok(Outcome::Done);
        }
    };
    let stages = if args.stage.is_empty() { stages::NAMES.join(",") } else { args.stage.join(",") };
    tracing::info!(stages, home = %app.config.home.display(), "working");
    tokio::select! {
        result = running.failed() => result?,
        () = stops.next() => tracing::info!("stopping: records in flight are finished first"),
    }
    tokio::select! {
        stopped = running.stop() => stopped?,
        () = stops.next() => {
            tracing::warn!("left at once; what was in flight is worked on again");
            return Ok(Outcome::Interrupted);
        }
    }
    tracing::info!("stopped");
    Ok(Outcome::Done)
}

async fn serve(listen: &str, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("`http.listen` = {listen} cannot be used; port 0 takes a free one, \"\" none"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics and health");
    let router = Router::new()
        .route("/metrics", get(|State(metrics): State<Arc<PrometheusHandle>>| async move { metrics.render() }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(metrics));
    tokio::spawn(http::serve(listener, router));
    Ok(())
}

/// 200 when nothing that all records need is away, with what an operator should know all the same; else 503, what it is
/// and why.
async fn ready() -> (StatusCode, String) {
    let away = readiness::away();
    if away.is_empty() {
        let warnings = readiness::warnings().into_iter().map(|warning| format!("warning: {warning}\n"));
        return (StatusCode::OK, std::iter::once("ready\n".to_owned()).chain(warnings).collect());
    }
    let line = |(what, Unavailable { waiting, why }): (&String, &Unavailable)| {
        format!("{waiting} waiting for {what}: {why}\n")
    };
    (StatusCode::SERVICE_UNAVAILABLE, away.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::error::Failure;

    #[tokio::test]
    async fn readiness_says_what_is_away_and_why() {
        let waiting = readiness::waiting_for(&Failure::unavailable("the moon", "it has set"));
        let (status, body) = ready().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("1 waiting for the moon: it has set\n"), "{body}");
        drop(waiting);
        let (_, body) = ready().await;
        assert!(!body.contains("the moon"), "{body}");
    }
}
