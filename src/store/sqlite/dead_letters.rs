//! Dead letters: written once, listed by filter, and taken through their states by compare-and-set.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::{
    super::{
        Claim, Claimed, DeadLetterFilter, DeadLetterKey, DeadLetterListing, DeadLetterRow, DeadLetterState,
        FailedRecord, ListedDeadLetter,
        json::{decode, encode},
        token,
    },
    connection::execute,
    connection::failure,
};
use deckle_contract::error::Result;

/// Writes a letter and its record, unless it is there already or its document was erased since.
pub(super) fn put_dead_letter(tx: &Connection, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
    execute(
        tx,
        "INSERT INTO letters (tenant, letter_id, failed_at, document_id, run, stage, kind, code, letter, headers, value)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
         WHERE NOT EXISTS (SELECT 1 FROM documents WHERE tenant = ?1 AND document_id = ?4 AND erased_at >= ?5)
         ON CONFLICT DO NOTHING",
        params![
            letter.key.tenant,
            letter.key.letter_id,
            letter.failed_at,
            letter.document_id,
            letter.run,
            letter.stage,
            letter.kind,
            letter.reason.code,
            encode(letter)?,
            encode(&record.headers)?,
            &record.value[..],
        ],
    )?;
    Ok(())
}

/// Deletes the letters of a document's runs up to and with `last`.
pub(super) fn erase_letters(tx: &Connection, tenant: &str, document_id: &str, last: i64) -> Result<()> {
    let sql = "DELETE FROM letters WHERE tenant = ?1 AND document_id = ?2 AND run <= ?3";
    execute(tx, sql, params![tenant, document_id, last])?;
    Ok(())
}

/// A letter's record.
pub(super) fn failed_record(tx: &Connection, key: &DeadLetterKey) -> Result<Option<FailedRecord>> {
    let found = tx
        .prepare_cached("SELECT headers, value FROM letters WHERE tenant = ?1 AND letter_id = ?2")
        .and_then(|mut statement| {
            let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
            statement.query_row(params![key.tenant, key.letter_id], row).optional()
        })
        .map_err(failure)?;
    let Some((headers, value)) = found else { return Ok(None) };
    Ok(Some(FailedRecord { headers: decode(&headers)?, value: value.into() }))
}

/// Letters after the token, by tenant, time of failure and id.
pub(super) fn list(tx: &Connection, filter: &DeadLetterFilter) -> Result<DeadLetterListing> {
    let limit = token::limit(filter.limit);
    let (conditions, mut values) = conditions(filter)?;
    values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)));
    let sql =
        format!("SELECT {STATE}, letter FROM letters WHERE {conditions} ORDER BY tenant, failed_at, letter_id LIMIT ?");
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(failure)?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        let json: String = row.get(3).map_err(failure)?;
        letters.push(ListedDeadLetter { letter: decode(&json)?, state: state(row)? });
    }
    let next = (letters.len() > limit).then(|| {
        letters.truncate(limit);
        letters.last().map(|row: &ListedDeadLetter| token::of_letter(&row.letter))
    });
    Ok(DeadLetterListing { letters, next: next.flatten() })
}

/// The conditions of a filter, and the values of their parameters in order.
fn conditions(filter: &DeadLetterFilter) -> Result<(String, Vec<Value>)> {
    let mut conditions = vec!["true".to_owned()];
    let mut values = Vec::new();
    for (condition, value) in [
        ("tenant = ?", &filter.tenant),
        ("stage = ?", &filter.stage),
        ("kind = ?", &filter.kind),
        ("code = ?", &filter.code),
    ] {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            values.push(Value::from(value.clone()));
        }
    }
    for (column, start) in [("letter_id", &filter.letter_id), ("document_id", &filter.document_id)] {
        if let Some(start) = start {
            conditions.push(format!("substr({column}, 1, length(?)) = ?"));
            values.extend([Value::from(start.clone()), Value::from(start.clone())]);
        }
    }
    for (condition, time) in [("failed_at >= ?", filter.since), ("failed_at < ?", filter.until)] {
        if let Some(time) = time {
            conditions.push(condition.to_owned());
            values.push(Value::from(time));
        }
    }
    if !filter.states.is_empty() {
        conditions.push(format!("state IN ({})", vec!["?"; filter.states.len()].join(", ")));
        values.extend(filter.states.iter().map(|state| Value::from(state.as_str().to_owned())));
    }
    if let Some(token) = &filter.after {
        let place = token::to_letter(token)?;
        conditions.push("(tenant, failed_at, letter_id) > (?, ?, ?)".to_owned());
        values.extend([Value::from(place.tenant), Value::from(place.failed_at), Value::from(place.letter_id)]);
    }
    Ok((conditions.join(" AND "), values))
}

/// Claims an open letter, or takes over a claim that ran out, with the version it has. The same claim again is ours.
pub(super) fn claim_redrive(tx: &Connection, key: &DeadLetterKey, claim: Claim) -> Result<Claimed> {
    let ours = tx
        .prepare_cached(
            "UPDATE letters SET state = 'redriving', version = coalesce(version, ?3), state_at = ?4, claim_id = ?6
             WHERE tenant = ?1 AND letter_id = ?2
               AND (state = 'open' OR (state = 'redriving' AND (state_at < ?5 OR claim_id = ?6)))
             RETURNING version",
        )
        .and_then(|mut statement| {
            let values =
                params![key.tenant, key.letter_id, claim.version, claim.until, claim.now, claim.id.to_string()];
            statement.query_row(values, |row| row.get(0)).optional()
        })
        .map_err(failure)?;
    match ours {
        Some(version) => Ok(Claimed::Ours { version }),
        None => Ok(Claimed::Not(letter_state(tx, key)?)),
    }
}

/// Says that the record of a claimed letter is in its topic.
pub(super) fn confirm_redrive(tx: &Connection, key: &DeadLetterKey, at: i64) -> Result<()> {
    let sql = "UPDATE letters SET state = 'redriven', state_at = ?3
               WHERE tenant = ?1 AND letter_id = ?2 AND state = 'redriving'";
    execute(tx, sql, params![key.tenant, key.letter_id, at])?;
    Ok(())
}

/// Drops an open letter; returns its state from then on.
pub(super) fn drop_dead_letter(tx: &Connection, key: &DeadLetterKey, at: i64) -> Result<Option<DeadLetterState>> {
    let sql = "UPDATE letters SET state = 'dropped', state_at = ?3
               WHERE tenant = ?1 AND letter_id = ?2 AND state = 'open'";
    execute(tx, sql, params![key.tenant, key.letter_id, at])?;
    letter_state(tx, key)
}

/// The columns that [`state`] reads.
const STATE: &str = "state, version, state_at";

fn letter_state(tx: &Connection, key: &DeadLetterKey) -> Result<Option<DeadLetterState>> {
    let sql = format!("SELECT {STATE} FROM letters WHERE tenant = ?1 AND letter_id = ?2");
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let found = statement.query_row(params![key.tenant, key.letter_id], |row| Ok(state(row))).optional();
    found.map_err(failure)?.transpose()
}

fn state(row: &Row<'_>) -> Result<DeadLetterState> {
    let name: String = row.get(0).map_err(failure)?;
    DeadLetterState::of_columns(&name, row.get(1).map_err(failure)?, row.get(2).map_err(failure)?)
}
