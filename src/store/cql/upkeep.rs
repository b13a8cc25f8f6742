//! Claims and sweeps: what keeps ends single, and what keeps the tables from growing.
//!
//! Claims end by themselves: their tables have a time to live ([`CLAIMS_KEPT`](crate::CLAIMS_KEPT)).

use futures::try_join;

use super::{
    super::{DocumentKey, RunKey},
    session::Session,
};
use deckle_contract::error::{Failure, Result};

/// Keeps the claim of the end of a version and returns the lowest of all.
pub(super) async fn claim_end(session: &Session, run: &RunKey, version: i64, claim: i64) -> Result<i64> {
    let RunKey { document: DocumentKey { tenant, document_id }, run } = run;
    let insert = "INSERT INTO ends (tenant, document_id, run, version, claim) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    session.write(insert, (tenant, document_id, run, version, claim, claim)).await?;
    let lowest = "SELECT claim FROM ends WHERE tenant = ? AND document_id = ? AND run = ? AND version = ? LIMIT 1";
    let found = session.read_one::<(i64,)>(lowest, (tenant, document_id, run, version)).await?;
    found.map(|(claim,)| claim).ok_or_else(|| Failure::defect("scylla: a claim that was acknowledged is not there"))
}

/// How many rows of headers, pages and chunks there are of runs below `run`.
pub(super) async fn rows_below(session: &Session, key: &DocumentKey, run: i64) -> Result<u64> {
    let count = async |select: &str| {
        let found = session.read_one::<(i64,)>(select, (&key.tenant, &key.document_id, run)).await?;
        Ok::<_, Failure>(found.map_or(0, |(count,)| count.unsigned_abs()))
    };
    let (headers, pages, chunks) = try_join!(
        count("SELECT count(run) FROM documents WHERE tenant = ? AND document_id = ? AND run < ?"),
        count("SELECT count(*) FROM pages WHERE tenant = ? AND document_id = ? AND run < ?"),
        count("SELECT count(*) FROM chunks WHERE tenant = ? AND document_id = ? AND run < ?"),
    )?;
    Ok(headers + pages + chunks)
}

/// How far a sweep has come.
pub(super) async fn progress(session: &Session, sweep: &str) -> Result<Option<String>> {
    let found: Option<(String,)> = session.read_serial("SELECT cursor FROM progress WHERE sweep = ?", (sweep,)).await?;
    Ok(found.map(|(cursor,)| cursor))
}

/// Puts `after` in the place of `before`; false where another came first, or we did and the answer was lost.
pub(super) async fn advance(session: &Session, sweep: &str, before: Option<&str>, after: &str) -> Result<bool> {
    match before {
        None => {
            let insert = "INSERT INTO progress (sweep, cursor) VALUES (?, ?) IF NOT EXISTS";
            session.compare_and_set(insert, (sweep, after)).await
        }
        Some(before) => {
            let update = "UPDATE progress SET cursor = ? WHERE sweep = ? IF cursor = ?";
            session.compare_and_set(update, (after, sweep, before)).await
        }
    }
}
