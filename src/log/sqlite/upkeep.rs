//! How far groups are behind, and the removal of what every group is past.

use rusqlite::{Connection, OptionalExtension};

use super::{
    fetch::{bounds, committed},
    schema::{begin_write, failure, now_us, offset_of, row_id},
};
use crate::Lag;
use deckle_contract::error::Result;

/// Records removed in one transaction, so that trimming holds no writer up for long.
const TRIM_CHUNK: i64 = 2_000;

/// How far a group is behind. This side's offsets have no holes, so that here, and only here, they can be counted.
pub(super) fn lag(connection: &mut Connection, group: &str, topics: &[(String, Vec<i64>)]) -> Result<Vec<Lag>> {
    let snapshot = connection.transaction().map_err(failure)?;
    let now = now_us();
    let mut lags = Vec::new();
    for (topic, ids) in topics {
        let mut lag = Lag { topic: topic.clone(), records: 0, oldest_us: 0 };
        for &id in ids {
            let (start, end) = bounds(&snapshot, id).map_err(failure)?;
            let position = committed(&snapshot, group, id)?;
            let next = position.next.max(start);
            let done: i64 = position.done.iter().map(|range| range.end() - range.start() + 1).sum();
            lag.records += (end - next - done).max(0) as u64;
            let oldest: Option<i64> = snapshot
                .prepare_cached("SELECT appended_us FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1")
                .and_then(|mut s| s.query_row((row_id(id, next), row_id(id, end)), |row| row.get(0)).optional())
                .map_err(failure)?;
            lag.oldest_us = lag.oldest_us.max(oldest.map_or(0, |at| now - at));
        }
        lags.push(lag);
    }
    Ok(lags)
}

/// Removes some records of a partition from its start that all `groups` are past and that are older than `before_us`;
/// returns how many, 0 when nothing is left to remove.
pub(super) fn trim_chunk(connection: &mut Connection, id: i64, groups: &[String], before_us: i64) -> Result<u64> {
    let transaction = begin_write(connection).map_err(failure)?;
    let (start, mut end) = bounds(&transaction, id).map_err(failure)?;
    for group in groups {
        end = end.min(committed(&transaction, group, id)?.next);
    }
    let end = end.min(start + TRIM_CHUNK);
    let keep: Option<i64> = transaction
        .prepare_cached("SELECT id FROM records WHERE id >= ? AND id < ? AND appended_us >= ? ORDER BY id LIMIT 1")
        .and_then(|mut select| {
            select.query_row((row_id(id, start), row_id(id, end), before_us), |row| row.get(0)).optional()
        })
        .map_err(failure)?;
    let new_start = keep.map_or(end, offset_of);
    if new_start <= start {
        return Ok(0);
    }
    let removed = transaction
        .execute("DELETE FROM records WHERE id >= ? AND id < ?", (row_id(id, start), row_id(id, new_start)))
        .and_then(|removed| {
            transaction.execute("UPDATE partitions SET start_offset = ? WHERE id = ?", (new_start, id))?;
            Ok(removed as u64)
        })
        .map_err(failure)?;
    transaction.commit().map_err(failure)?;
    Ok(removed)
}

/// Writes the write-ahead log back into the file, where deleted rows are overwritten, and empties it. Whoever reads at
/// that moment is waited for as for any lock; where that takes too long, it goes with the next checkpoint.
pub(super) fn empty_write_ahead_log(connection: &Connection) -> Result<()> {
    let is_busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failure)?;
    if is_busy {
        tracing::warn!("what was trimmed stays in the log's write-ahead log until its next checkpoint");
    }
    Ok(())
}
