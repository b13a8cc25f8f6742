//! Claims and sweeps: what keeps ends single, and what keeps the file from growing.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{DeadLetterKey, DocumentKey, RunKey},
    connection::{execute, failure},
};
use deckle_contract::error::Result;

/// Claims forgotten in one transaction, so that others write between.
const PART: u32 = 5_000;

/// Keeps the lowest claim of the end of a version and returns it.
pub(super) fn claim_end(tx: &Connection, run: &RunKey, version: i64, claim: i64) -> Result<i64> {
    let RunKey { document: DocumentKey { tenant, document_id }, run } = run;
    tx.prepare_cached(
        "INSERT INTO ends (tenant, document_id, run, version, claim) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET claim = min(claim, excluded.claim) RETURNING claim",
    )
    .and_then(|mut statement| statement.query_row(params![tenant, document_id, run, version, claim], |row| row.get(0)))
    .map_err(failure)
}

/// Forgets some claims of runs below `run`; returns how many, 0 when none is left.
pub(super) fn forget_claims_below(tx: &Connection, run: i64) -> Result<u64> {
    let ends = "DELETE FROM ends WHERE (tenant, document_id, run, version) IN
                (SELECT tenant, document_id, run, version FROM ends WHERE run < ?1 LIMIT ?2)";
    let uploads = "DELETE FROM uploads WHERE (tenant, upload_id) IN
                   (SELECT tenant, upload_id FROM uploads WHERE run < ?1 LIMIT ?2)";
    Ok((execute(tx, ends, params![run, PART])? + execute(tx, uploads, params![run, PART])?) as u64)
}

/// How many rows of pages, chunks, vectors and the feed there are of runs below `run`.
pub(super) fn rows_below(tx: &Connection, key: &DocumentKey, run: i64) -> Result<u64> {
    let mut rows = 0;
    for table in ["pages", "chunks", "vectors", "feed"] {
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE run < ?3
             AND document = (SELECT id FROM documents WHERE tenant = ?1 AND document_id = ?2)"
        );
        let counted: i64 = tx
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row(params![key.tenant, key.document_id, run], |row| row.get(0)))
            .map_err(failure)?;
        rows += counted.unsigned_abs();
    }
    Ok(rows)
}

/// How far a sweep has come.
pub(super) fn progress(tx: &Connection, sweep: &str) -> Result<Option<String>> {
    tx.prepare_cached("SELECT cursor FROM progress WHERE sweep = ?1")
        .and_then(|mut statement| statement.query_row([sweep], |row| row.get(0)).optional())
        .map_err(failure)
}

/// Puts `after` in the place of `before`; false where another came first.
pub(super) fn advance(tx: &Connection, sweep: &str, before: Option<&str>, after: &str) -> Result<bool> {
    let sql = match before {
        None => "INSERT INTO progress (sweep, cursor) VALUES (?1, ?3) ON CONFLICT DO NOTHING",
        Some(_) => "UPDATE progress SET cursor = ?3 WHERE sweep = ?1 AND cursor = ?2",
    };
    Ok(execute(tx, sql, params![sweep, before, after])? == 1)
}

/// Deletes a letter that was redriven or dropped.
pub(super) fn remove_dead_letter(tx: &Connection, key: &DeadLetterKey) -> Result<()> {
    let sql = "DELETE FROM letters WHERE tenant = ?1 AND letter_id = ?2 AND state IN ('redriven', 'dropped')";
    execute(tx, sql, params![key.tenant, key.letter_id])?;
    Ok(())
}
