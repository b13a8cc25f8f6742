//! The embedding models of this process, each loaded once and only when somebody asks.
//!
//! Each session of a model holds its weights: of MiniLM in f32 110 to 130 MB, in int8 30 to 50 MB. A model that is
//! retired stays in memory until the process ends.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Catalogue,
    minilm::{Counter, Embedder},
    on_demand::OnDemand,
};
use crate::inference;
use deckle_contract::{error::Result, telemetry};

/// The embedding models, each loaded on first use. Cheap to clone; all clones share the models.
#[derive(Clone)]
pub struct Embedders {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    config: inference::Config,
    /// The models by their names in the catalogue.
    embedders: Mutex<HashMap<String, OnDemand<Embedder>>>,
    counter: OnDemand<Counter>,
}

impl Embedders {
    /// Loads from `folder` when asked for the first time.
    pub fn new(folder: PathBuf, config: inference::Config) -> Self {
        let of_counter = folder.clone();
        let counter = OnDemand::new(move || Counter::load(&of_counter, &Catalogue::load().embedder().name));
        Self { shared: Arc::new(Shared { folder, config, embedders: Mutex::default(), counter }) }
    }

    /// A model of the catalogue; the first call loads it, which takes about a second.
    ///
    /// # Errors
    /// `Unavailable` when weights or library are missing or altered, or this deckle does not know the model: nothing can
    /// be embedded by it until that is mended.
    pub async fn get(&self, model: &str) -> Result<Embedder> {
        let embedder = {
            let mut embedders = self.shared.embedders.lock().unwrap_or_else(PoisonError::into_inner);
            embedders.entry(model.to_owned()).or_insert_with(|| self.on_demand(model)).clone()
        };
        embedder.get().await
    }

    fn on_demand(&self, model: &str) -> OnDemand<Embedder> {
        let (folder, name, config) = (self.shared.folder.clone(), model.to_owned(), self.shared.config.clone());
        OnDemand::new(move || {
            let embedder = Embedder::load(&folder, &name, &config)?;
            embedder.observe(|batch| {
                let fill = batch.cost as f64 / batch.padded_cost.max(1) as f64;
                telemetry::batch_run(batch.model, batch.tags.len(), fill, batch.waited, batch.busy);
            });
            Ok(embedder)
        })
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
        self.shared.counter.get().await
    }
}
