//! What was decided about models: one row, changed by compare-and-set.

use super::session::Session;
use crate::{
    ModelState, Models,
    json::{decode, encode},
};
use deckle_contract::error::Result;

/// Reads what was decided about models.
pub(super) async fn models(session: &Session) -> Result<Models> {
    let found: Option<(String,)> = session.read_one("SELECT models FROM models WHERE part = 0", ()).await?;
    found.map_or_else(|| Ok(Models::default()), |(json,)| decode(&json))
}

/// Puts `after` in the place of `before`; false where another came first, or we did and the answer was lost.
pub(super) async fn replace_models(session: &Session, before: &Models, after: &Models) -> Result<bool> {
    let json = encode(after)?;
    if *before == Models::default() {
        let insert = "INSERT INTO models (part, revision, models) VALUES (0, ?, ?) IF NOT EXISTS";
        return session.compare_and_set(insert, (after.revision, json)).await;
    }
    let update = "UPDATE models SET revision = ?, models = ? WHERE part = 0 IF revision = ?";
    session.compare_and_set(update, (after.revision, json, before.revision)).await
}

/// Whether vectors of a model are not taken, after every decision that was answered.
pub(super) async fn is_dropped(session: &Session, model: &str) -> Result<bool> {
    let found: Option<(String,)> = session.read_serial("SELECT models FROM models WHERE part = 0", ()).await?;
    let Some((json,)) = found else { return Ok(false) };
    Ok(decode::<Models>(&json)?.state(model) == Some(ModelState::Dropped))
}
