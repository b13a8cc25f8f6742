//! Which models embed: what the store says, as of some moments ago.
//!
//! The law: whoever builds or activates a model waits for [`SETTLED`]; from then on every stage of every process knows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{ModelState, Models, Store};
use deckle_contract::error::Result;

/// What stages know of models may be so old.
pub const STAGES: Duration = Duration::from_secs(5);

/// Once a decision about a model is so old, every stage acts upon it: [`STAGES`], and what clocks may differ by.
pub const SETTLED: Duration = Duration::from_secs(6);

/// What searches know of models may be so old.
pub const SEARCHES: Duration = Duration::from_secs(1);

/// Remembers for a while which models the store says are active or being built.
pub struct ActiveModels {
    store: Arc<dyn Store>,
    fresh_for: Duration,
    default: String,
    known: Mutex<Option<(Instant, Arc<Models>)>>,
}

impl ActiveModels {
    /// Asks the store when what is known is older than `fresh_for`. Until the store names an active model, `default`
    /// is the one.
    pub fn new(store: Arc<dyn Store>, fresh_for: Duration, default: String) -> Self {
        Self { store, fresh_for, default, known: Mutex::default() }
    }

    /// The model that searches ask.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn active(&self) -> Result<String> {
        Ok(self.models().await?.active().unwrap_or(&self.default).to_owned())
    }

    /// The models that embed new documents: the active one, and those that are being built.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn embedding(&self) -> Result<(String, Vec<String>)> {
        let models = self.models().await?;
        let active = models.active().unwrap_or(&self.default).to_owned();
        Ok((active, models.in_state(ModelState::Building).map(str::to_owned).collect()))
    }

    async fn models(&self) -> Result<Arc<Models>> {
        let mut known = self.known.lock().await;
        if let Some((_, models)) = known.as_ref().filter(|(asked, _)| asked.elapsed() < self.fresh_for) {
            return Ok(Arc::clone(models));
        }
        let asked = Instant::now();
        let models = Arc::new(self.store.models().await?);
        *known = Some((asked, Arc::clone(&models)));
        Ok(models)
    }
}
