//! The embedding model of this process, loaded once and only when somebody asks.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::OnceCell;

use super::minilm::Embedder;
use crate::{
    error::{Failure, Result},
    inference::{self, Report},
    telemetry,
};

/// Cheap to clone; all clones share one model.
#[derive(Clone)]
pub struct Embedders {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    config: inference::Config,
    loaded: OnceCell<Embedder>,
}

impl Embedders {
    /// Loads from `folder` when asked for the first time.
    pub fn new(folder: PathBuf, config: inference::Config) -> Self {
        Self { shared: Arc::new(Shared { folder, config, loaded: OnceCell::new() }) }
    }

    /// The model; the first call loads it, which takes about a second.
    ///
    /// # Errors
    /// `Unavailable` when weights or library are missing or altered: nothing can be embedded until that is mended.
    pub async fn get(&self) -> Result<Embedder> {
        let shared = Arc::clone(&self.shared);
        let load = || async move {
            let loading = tokio::task::spawn_blocking(move || Embedder::load(&shared.folder, &shared.config));
            let loaded =
                loading.await.map_err(|error| Failure::defect(format!("loading the model did not end: {error}")))?;
            let embedder = loaded.map_err(|error| Failure::unavailable("model", format!("{error:#}")))?;
            embedder.observe(measure);
            Ok(embedder)
        };
        self.shared.loaded.get_or_try_init(load).await.cloned()
    }
}

/// Tells the metrics of a batch; one that failed is halved and tells again.
fn measure(report: &Report<'_>) {
    if !report.failed {
        let fill = report.cost as f64 / report.padded_cost.max(1) as f64;
        telemetry::batch_run("minilm", report.tags.len(), fill, report.waited, report.busy);
    }
}
