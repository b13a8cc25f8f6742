//! A model that is loaded once, when somebody asks for it first: a process that never needs it never pays for it.

use std::sync::Arc;

use tokio::sync::OnceCell;

use deckle_contract::error::{Failure, Result};

/// A model that is loaded on first use. Cheap to clone; all clones share it.
pub struct OnDemand<T> {
    load: Arc<dyn Fn() -> anyhow::Result<T> + Send + Sync>,
    loaded: Arc<OnceCell<T>>,
}

impl<T: Clone + Send + 'static> OnDemand<T> {
    /// Loads by `load`, which may block, when asked for the first time.
    pub fn new(load: impl Fn() -> anyhow::Result<T> + Send + Sync + 'static) -> Self {
        Self { load: Arc::new(load), loaded: Arc::default() }
    }

    /// The model. What failed to load is tried again by the next caller.
    ///
    /// # Errors
    /// `Unavailable` when weights or library are missing or altered: nothing that needs the model can go on until that
    /// is mended.
    pub async fn get(&self) -> Result<T> {
        let load = Arc::clone(&self.load);
        let loading = || async move {
            let loaded = tokio::task::spawn_blocking(move || load()).await;
            let loaded = loaded.map_err(|error| Failure::defect(format!("loading the model did not end: {error}")))?;
            loaded.map_err(|error| Failure::unavailable("model", format!("{error:#}")))
        };
        self.loaded.get_or_try_init(loading).await.cloned()
    }
}

impl<T> Clone for OnDemand<T> {
    fn clone(&self) -> Self {
        Self { load: Arc::clone(&self.load), loaded: Arc::clone(&self.loaded) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn a_model_is_loaded_once_and_a_missing_one_is_asked_for_again() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let model = OnDemand::new(move || match counted.fetch_add(1, Relaxed) {
            0 => anyhow::bail!("no weights yet"),
            _ => Ok("the model"),
        });
        let missing = model.get().await.unwrap_err();
        assert_eq!(missing.code(), deckle_contract::error::code::UNAVAILABLE);
        let (one, other) = (model.clone(), model.clone());
        assert_eq!(tokio::join!(one.get(), other.get()), (Ok("the model"), Ok("the model")));
        assert_eq!(tries.load(Relaxed), 2);
    }
}
