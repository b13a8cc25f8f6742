//! Figures and fields of a run: written whole, a version at a time.
//!
//! The law: what is there is of one version, the newest that was written.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::RunKey,
    connection::{execute, failure},
    write::admit,
};
use deckle_contract::error::Result;

/// A set of rows of a run that is always written as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Figures,
    Fields,
}

impl Set {
    /// Its table.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Figures => "figures",
            Self::Fields => "fields",
        }
    }

    /// The columns of a row's number and of its JSON.
    pub(super) fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Figures => ["figure_no", "figure"],
            Self::Fields => ["field_no", "field"],
        }
    }
}

/// Writes rows, numbered from 0, in the place of those of an older version.
pub(super) fn put(tx: &Connection, run: &RunKey, version: i64, set: Set, rows: &[String]) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    let newest = tx
        .prepare_cached(
            "INSERT INTO whole_sets (document, run, name, version) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET version = excluded.version WHERE excluded.version >= version RETURNING version",
        )
        .and_then(|mut statement| {
            let values = params![document, run.run, set.table(), version];
            statement.query_row(values, |row| row.get::<_, i64>(0)).optional()
        })
        .map_err(failure)?;
    if newest.is_none() {
        return Ok(());
    }
    let (table, [number, json]) = (set.table(), set.columns());
    execute(tx, &format!("DELETE FROM {table} WHERE document = ?1 AND run = ?2"), params![document, run.run])?;
    let sql = format!("INSERT INTO {table} (document, run, {number}, {json}) VALUES (?1, ?2, ?3, ?4)");
    let mut insert = tx.prepare_cached(&sql).map_err(failure)?;
    for (number, row) in (0_u32..).zip(rows) {
        insert.execute(params![document, run.run, number, row]).map_err(failure)?;
    }
    Ok(())
}
