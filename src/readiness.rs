//! What this process waits for: the one list behind `/readyz` and the gauge of unavailable dependencies.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{error::Failure, telemetry};

static WAITING: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// A record that waits for a dependency; dropping it ends the wait.
pub struct Waiting(String);

/// Takes note that a record waits, if it is for something that all need.
pub fn waiting_for(failure: &Failure) -> Option<Waiting> {
    let Failure::Unavailable { dependency, .. } = failure else { return None };
    change(dependency, |count| *count += 1);
    Some(Waiting(dependency.clone()))
}

/// The dependencies that are away now, with the number of records that wait for each.
pub fn waits() -> BTreeMap<String, usize> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn change(dependency: &str, by: impl FnOnce(&mut usize)) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let count = waiting.entry(dependency.to_owned()).or_default();
    by(count);
    telemetry::waiting_for(dependency, *count);
    if *count == 0 {
        waiting.remove(dependency);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        change(&self.0, |count| *count = count.saturating_sub(1));
    }
}
