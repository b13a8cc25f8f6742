//! What was decided about models, and the end of one's vectors.
//!
//! The law: a space is made only for a model that is not dropped, and goes in the transaction that finds it empty; so
//! what comes late finds neither.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{ModelState, Models, RunKey, json},
    connection::execute,
    connection::failure,
};
use deckle_contract::error::Result;

/// Vectors deleted in one transaction, 20 MB of 384 floats with what `secure_delete` writes over: others write between.
const PART: u32 = 5_000;

/// Reads what was decided about models.
pub(super) fn models(tx: &Connection) -> Result<Models> {
    let found = tx
        .prepare_cached("SELECT models FROM models")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, String>(0)).optional())
        .map_err(failure)?;
    found.map_or_else(|| Ok(Models::default()), |json| json::decode(&json))
}

/// Puts `after` in the place of `before`; false where another came first.
pub(super) fn replace_models(tx: &Connection, before: &Models, after: &Models) -> Result<bool> {
    if models(tx)?.revision != before.revision {
        return Ok(false);
    }
    let sql = "INSERT OR REPLACE INTO models (only, revision, models) VALUES (0, ?1, ?2)";
    execute(tx, sql, params![after.revision, json::encode(after)?])?;
    Ok(true)
}

/// Whether vectors of a model are not taken.
pub(super) fn is_dropped(tx: &Connection, model: &str) -> Result<bool> {
    Ok(models(tx)?.state(model) == Some(ModelState::Dropped))
}

/// Whether each chunk of a run below `chunk_count` has a vector by a model, of `version` or newer.
pub(super) fn has_vectors(tx: &Connection, run: &RunKey, version: i64, model: &str, chunk_count: u32) -> Result<bool> {
    let sql = "SELECT count(DISTINCT chunk_no) FROM documents d JOIN vectors v ON v.document = d.id
               WHERE d.tenant = ?1 AND d.document_id = ?2 AND v.run = ?3 AND v.version >= ?4 AND v.chunk_no < ?5
               AND v.space IN (SELECT id FROM spaces WHERE model = ?6)";
    let values = params![run.document.tenant, run.document.document_id, run.run, version, chunk_count, model];
    let counted: u32 = tx
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(values, |row| row.get(0)))
        .map_err(failure)?;
    Ok(counted == chunk_count)
}

/// Deletes some vectors of a model; true once none is left, and its spaces went too. They are found by the keys of
/// vectors alone, which SQLite reads at ten million a second: no index of their own slows every write for it.
pub(super) fn delete_vectors(tx: &Connection, model: &str) -> Result<bool> {
    let sql = "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors
               WHERE space IN (SELECT id FROM spaces WHERE model = ?1) LIMIT ?2)";
    if execute(tx, sql, params![model, PART])? == PART as usize {
        return Ok(false);
    }
    execute(tx, "DELETE FROM spaces WHERE model = ?1", [model])?;
    Ok(true)
}
