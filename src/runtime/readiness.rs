//! What this process waits for: the one list behind `/readyz` and the gauge of unavailable dependencies.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use deckle_contract::{
    error::{Failure, Result},
    telemetry,
};

/// How often what is away at start is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// What an operator should know though nothing waits for it.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

static WAITING: Mutex<BTreeMap<String, Unavailable>> = Mutex::new(BTreeMap::new());

/// A dependency that is away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unavailable {
    /// How many records, stages and such wait for it.
    pub waiting: usize,
    /// The message of the failure that the last of them met.
    pub why: String,
}

/// Something that waits for a dependency; dropping it ends the wait.
pub struct Waiting(String);

/// Takes note that something waits, if it is for something that all need.
pub fn waiting_for(failure: &Failure) -> Option<Waiting> {
    let Failure::Unavailable { dependency, message } = failure else { return None };
    change(dependency, |away| {
        away.waiting += 1;
        away.why.clone_from(message);
    });
    Some(Waiting(dependency.clone()))
}

/// Asks again for as long as what it needs is away.
///
/// # Errors
/// Whatever else is wrong.
pub async fn until_there<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    // Held over the next attempt too, so that readiness does not flicker.
    let mut _waiting = None;
    loop {
        match ask().await {
            Err(failure @ Failure::Unavailable { .. }) => {
                tracing::warn!(%failure, "waiting");
                _waiting = waiting_for(&failure);
                tokio::time::sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

/// Takes note of something that an operator should know though all works, such as a protection that the kernel lacks.
pub fn warn(warning: String) {
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

/// What an operator should know though all works, a line each.
pub fn warnings() -> Vec<String> {
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The dependencies that are away now, and why.
pub fn away() -> BTreeMap<String, Unavailable> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn change(dependency: &str, by: impl FnOnce(&mut Unavailable)) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let away = waiting.entry(dependency.to_owned()).or_default();
    by(away);
    telemetry::waiting_for(dependency, away.waiting);
    if away.waiting == 0 {
        waiting.remove(dependency);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        change(&self.0, |away| away.waiting = away.waiting.saturating_sub(1));
    }
}
