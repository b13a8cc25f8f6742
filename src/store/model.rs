//! Which embedding models a store knows, and what each is for. All of it is one value, so that nobody ever reads two
//! active ones, or none.
//!
//! ```text
//!            build                activate                 another is activated
//! (nothing) ──────► building ──────────────► active ──────────────────────────► retired
//!                      ▲  └── drop ──► dropped ◄── drop ──────────────────────────┘ │
//!                      └────────────── build ──┴────────────────────────────────────┘
//! ```
//!
//! The law: a change is a pure function of the value it saw, and is made by compare-and-set on its revision.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Store;
use deckle_contract::error::{Failure, Result};

/// What a model's vectors are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// New documents get its vectors beside the active model's; those before get them by a replay.
    Building,
    /// Searches ask it. New documents get its vectors.
    Active,
    /// Its vectors are kept, and no new ones are made.
    Retired,
    /// Its vectors are gone, or are being deleted; late ones are not taken.
    Dropped,
}

impl ModelState {
    /// The name for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }
}

/// A model that something was decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownModel {
    /// The name that the model has in the catalogue of models.
    pub name: String,
    /// What its vectors are for.
    pub state: ModelState,
    /// When it came into this state, µs since 1970, by the clock of whoever decided.
    pub since: i64,
}

/// All models that something was decided about. In a store where nothing was, vectors of any model are taken, and its
/// user knows which to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// The number of changes made so far.
    pub revision: i64,
    /// The models in the order in which they were first decided about; one at most is active.
    pub models: Vec<KnownModel>,
}

impl Models {
    /// A model's entry; `None` where nothing was decided about it.
    pub fn get(&self, name: &str) -> Option<&KnownModel> {
        self.models.iter().find(|model| model.name == name)
    }

    /// A model's state; `None` where nothing was decided about it.
    pub fn state(&self, name: &str) -> Option<ModelState> {
        self.get(name).map(|model| model.state)
    }

    /// The model that searches ask; `None` where nothing was decided.
    pub fn active(&self) -> Option<&str> {
        self.in_state(ModelState::Active).next()
    }

    /// The names of the models in a state.
    pub fn in_state(&self, state: ModelState) -> impl Iterator<Item = &str> {
        self.models.iter().filter(move |model| model.state == state).map(|model| model.name.as_str())
    }

    /// Has new documents get a model's vectors too, unless they do. `default` is what was asked where nothing was
    /// decided.
    #[must_use]
    pub fn build(&self, name: &str, default: &str, now: i64) -> Self {
        let settled = self.settled(default, now);
        match settled.state(name) {
            Some(ModelState::Building | ModelState::Active) => settled.counted(self),
            _ => settled.with(name, ModelState::Building, now).counted(self),
        }
    }

    /// Has searches ask a model, and retires the one that they asked before.
    #[must_use]
    pub fn activate(&self, name: &str, default: &str, now: i64) -> Self {
        let settled = self.settled(default, now);
        match settled.active().map(str::to_owned) {
            Some(active) if active == name => settled.counted(self),
            Some(active) => {
                settled.with(&active, ModelState::Retired, now).with(name, ModelState::Active, now).counted(self)
            }
            None => settled.with(name, ModelState::Active, now).counted(self),
        }
    }

    /// Drops a model; `None` for the one that searches ask, which cannot be dropped.
    #[must_use]
    pub fn give_up(&self, name: &str, default: &str, now: i64) -> Option<Self> {
        let settled = self.settled(default, now);
        match settled.state(name) {
            Some(ModelState::Active) => None,
            Some(ModelState::Dropped) => Some(self.clone()),
            _ => Some(settled.with(name, ModelState::Dropped, now).counted(self)),
        }
    }

    /// The same models; where none is active, with the default as the active one.
    fn settled(&self, default: &str, now: i64) -> Self {
        if self.active().is_some() { self.clone() } else { self.clone().with(default, ModelState::Active, now) }
    }

    fn with(mut self, name: &str, state: ModelState, since: i64) -> Self {
        let model = KnownModel { name: name.to_owned(), state, since };
        match self.models.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = model,
            None => self.models.push(model),
        }
        self
    }

    /// Sets the revision to one after that of `before`, or to the same one where the models are the same.
    fn counted(mut self, before: &Self) -> Self {
        self.revision = before.revision + i64::from(self.models != before.models);
        self
    }
}

/// Changes what the store says of models, whatever others change meanwhile; returns what it says then, `None` where
/// `change` refuses.
///
/// # Errors
/// When the store is away.
pub async fn change_models(store: &dyn Store, change: impl Fn(&Models) -> Option<Models>) -> Result<Option<Models>> {
    let mut unclear = 0;
    loop {
        let before = store.models().await?;
        let Some(after) = change(&before) else { return Ok(None) };
        if after == before {
            return Ok(Some(after));
        }
        match store.replace_models(&before, &after).await {
            Ok(true) => return Ok(Some(after)),
            Ok(false) => {}
            // A compare-and-set that met others may end so; what came of it is read.
            Err(Failure::Unavailable { .. }) if unclear < UNCLEAR => unclear += 1,
            Err(failure) => return Err(failure),
        }
        // Not all at the same moment again.
        let apart = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % PAUSE_NS;
        tokio::time::sleep(Duration::from_nanos(u64::from(apart))).await;
    }
}

/// Attempts whose outcome stayed unclear, after which a store counts as away.
const UNCLEAR: usize = 10;

/// Those who decide at the same time try again up to so much apart, ns.
const PAUSE_NS: u32 = 100_000_000;

#[cfg(test)]
mod tests {
    use ModelState::{Active, Building, Dropped, Retired};

    use super::*;

    fn said(models: &Models) -> Vec<(&str, ModelState, i64)> {
        models.models.iter().map(|model| (model.name.as_str(), model.state, model.since)).collect()
    }

    #[test]
    fn a_model_is_built_beside_the_active_one_and_then_takes_its_place() {
        let nothing = Models::default();
        let built = nothing.build("new", "old", 1);
        assert_eq!(said(&built), [("old", Active, 1), ("new", Building, 1)]);
        assert_eq!(built.build("new", "old", 9), built, "it is building already");
        assert_eq!((built.active(), built.revision), (Some("old"), 1));
        let active = built.activate("new", "old", 2);
        assert_eq!(said(&active), [("old", Retired, 2), ("new", Active, 2)]);
        assert_eq!(active.activate("new", "old", 9), active, "it is active already");
        assert_eq!(active.build("new", "old", 9), active, "what is active gets all new documents anyway");
        assert_eq!(said(&active.build("old", "old", 3)), [("old", Building, 3), ("new", Active, 2)]);
        assert_eq!(said(&nothing.activate("new", "old", 4)), [("old", Retired, 4), ("new", Active, 4)]);
        assert_eq!(said(&nothing.activate("old", "old", 4)), [("old", Active, 4)]);
    }

    #[test]
    fn the_active_model_is_never_given_up_and_any_other_is_once() {
        let built = Models::default().build("new", "old", 1);
        assert_eq!(built.give_up("old", "old", 2), None);
        assert_eq!(Models::default().give_up("old", "old", 2), None, "nothing was decided, and searches ask it");
        let dropped = built.give_up("new", "old", 2).unwrap();
        assert_eq!(said(&dropped), [("old", Active, 1), ("new", Dropped, 2)]);
        assert_eq!(dropped.give_up("new", "old", 9).unwrap(), dropped);
        assert_eq!(said(&dropped.build("new", "old", 3)), [("old", Active, 1), ("new", Building, 3)]);
    }

    #[test]
    fn each_change_counts_one() {
        let mut models = Models::default();
        for (revision, name) in (1..).zip(["b", "c", "b", "a"]) {
            models = models.activate(name, "a", revision);
            assert_eq!((models.revision, models.active()), (revision, Some(name)));
        }
        assert_eq!(models.in_state(Active).count(), 1);
    }
}
