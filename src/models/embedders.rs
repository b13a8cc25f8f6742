//! The embedding models of this process, each loaded once and only when somebody asks.
//!
//! Each session of a model holds its weights: of MiniLM in f32 110 to 130 MB, in int8 30 to 50 MB. A model that is retired
//! stays in memory until the process ends.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::{
    Catalogue,
    minilm::{Counter, Embedder},
};
use crate::{
    error::{Failure, Result},
    inference, telemetry,
};

/// Cheap to clone; all clones share the models.
#[derive(Clone)]
pub struct Embedders {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    config: inference::Config,
    /// By name.
    loaded: Mutex<HashMap<String, Arc<OnceCell<Embedder>>>>,
    counter: OnceCell<Counter>,
}

impl Embedders {
    /// Loads from `folder` when asked for the first time.
    pub fn new(folder: PathBuf, config: inference::Config) -> Self {
        let shared = Shared { folder, config, loaded: Mutex::default(), counter: OnceCell::new() };
        Self { shared: Arc::new(shared) }
    }

    /// A model of the catalogue; the first call loads it, which takes about a second.
    ///
    /// # Errors
    /// `Unavailable` when weights or library are missing or altered, or this deckle does not know the model: nothing can
    /// be embedded by it until that is mended.
    pub async fn get(&self, model: &str) -> Result<Embedder> {
        let cell = {
            let mut loaded = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(loaded.entry(model.to_owned()).or_default())
        };
        let (shared, name) = (Arc::clone(&self.shared), model.to_owned());
        let load = || async move {
            let embedder = loading(move || Embedder::load(&shared.folder, &name, &shared.config)).await?;
            embedder.observe(|batch| {
                let fill = batch.cost as f64 / batch.padded_cost.max(1) as f64;
                telemetry::batch_run(batch.model, batch.tags.len(), fill, batch.waited, batch.busy);
            });
            Ok(embedder)
        };
        cell.get_or_try_init(load).await.cloned()
    }

    /// Whether this deckle has a model of that name.
    pub fn knows(&self, model: &str) -> bool {
        Catalogue::load().embedder_named(model).is_ok()
    }

    /// What counts the tokens that chunks are cut by: those of the catalogue's first model, whichever embeds, so that
    /// chunks stay the same where models change.
    ///
    /// # Errors
    /// `Unavailable` when its file is missing or altered.
    pub async fn counter(&self) -> Result<Counter> {
        let shared = Arc::clone(&self.shared);
        let load = || loading(move || Counter::load(&shared.folder, &Catalogue::load().embedder().name));
        self.shared.counter.get_or_try_init(load).await.cloned()
    }
}

async fn loading<T: Send + 'static>(load: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> Result<T> {
    let loaded = tokio::task::spawn_blocking(load).await;
    let loaded = loaded.map_err(|error| Failure::defect(format!("loading the model did not end: {error}")))?;
    loaded.map_err(|error| Failure::unavailable("model", format!("{error:#}")))
}
