//! Records go in: part of a step's transaction, or a transaction of their own.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;
use rusqlite::Transaction;

use super::{
    Shared,
    schema::{now_us, row_id},
};
use crate::{NewRecord, murmur2::partition_of};
use deckle_contract::error::{Failure, Result};

/// A record on its way into the file.
pub(super) struct Row {
    partition_id: i64,
    key: String,
    headers: String,
    value: Bytes,
}

/// Everything about a record that can be done before the file is locked.
pub(super) fn prepare(shared: &Shared, records: &[NewRecord]) -> Result<Vec<Row>> {
    records
        .iter()
        .map(|record| {
            let ids = shared.partition_ids(&record.topic)?;
            let number = partition_of(record.key.as_bytes(), ids.len() as i32);
            let headers = serde_json::to_string(&record.headers).map_err(|error| Failure::defect(error.to_string()))?;
            Ok(Row {
                partition_id: ids[number as usize],
                key: record.key.clone(),
                headers,
                value: record.value.clone(),
            })
        })
        .collect()
}

/// Inserts rows at the ends of their partitions. Returns their append times: unique and rising within the whole log,
/// even where the clock is set back.
pub(super) fn insert(transaction: &Transaction<'_>, rows: &[Row]) -> rusqlite::Result<Vec<i64>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let last: i64 =
        transaction.prepare_cached("SELECT last_appended_us FROM clock")?.query_row([], |row| row.get(0))?;
    let first = now_us().max(last + 1);
    let times: Vec<i64> = (first..).take(rows.len()).collect();

    let mut end_of = transaction.prepare_cached("SELECT next_offset FROM partitions WHERE id = ?")?;
    let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?, ?, ?, ?, ?)")?;
    let mut ends: HashMap<i64, i64> = HashMap::new();
    for (row, appended_us) in rows.iter().zip(&times) {
        let end = match ends.entry(row.partition_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(end_of.query_row([row.partition_id], |found| found.get::<_, i64>(0))?)
            }
        };
        insert.execute((row_id(row.partition_id, *end), appended_us, &row.key, &row.headers, &row.value[..]))?;
        *end += 1;
    }
    let mut move_end = transaction.prepare_cached("UPDATE partitions SET next_offset = ? WHERE id = ?")?;
    for (id, end) in ends {
        move_end.execute((end, id))?;
    }
    transaction.prepare_cached("UPDATE clock SET last_appended_us = ?")?.execute([times.last()])?;
    Ok(times)
}
