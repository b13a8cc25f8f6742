//! Records come out: a bounded number of bytes from every partition that has some, in one snapshot.

use std::{ops::RangeInclusive, sync::Arc};

use rusqlite::{Connection, Row, Transaction};

use super::schema::{failure, offset_of, row_id};
use crate::{Partition, Position, Record};
use deckle_contract::error::{Failure, Result};

/// What a row costs beside its bytes, so that many small ones are bounded too.
const ROW_BYTES: usize = 128;

/// Where reading of a partition is.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) partition: Partition,
    pub(super) id: i64,
    pub(super) next: i64,
    done: Vec<RangeInclusive<i64>>,
    /// A group's cursor below the start of the log has lost records; a tail's goes on where the log starts.
    of_group: bool,
}

impl Cursor {
    /// Reads on from a group's position.
    pub(super) fn of_group(partition: Partition, id: i64, position: Position) -> Self {
        Self { partition, id, next: position.next, done: position.done, of_group: true }
    }

    /// Reads on from an offset, wherever the log starts by then.
    pub(super) fn of_tail(partition: Partition, id: i64, next: i64) -> Self {
        Self { partition, id, next, done: Vec::new(), of_group: false }
    }
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

/// The records at the cursors, which move past them; after a failure they are of no more use. Partitions share the
/// budget; each gives at least one record. A cursor below the start of the log is a failure.
pub(super) fn fetch(connection: &mut Connection, cursors: &mut [Cursor], budget: Budget) -> Result<Vec<Record>> {
    let transaction = connection.transaction().map_err(failure)?;
    let mut behind = Vec::new();
    for cursor in cursors {
        let (start, end) = bounds(&transaction, cursor.id).map_err(failure)?;
        if cursor.of_group {
            check_start(&cursor.partition, cursor.next, start)?;
        }
        cursor.next = cursor.next.max(start);
        if cursor.next < end {
            behind.push((cursor, end));
        }
    }
    let share =
        Budget { bytes: budget.bytes / behind.len().max(1), records: (budget.records / behind.len().max(1)).max(1) };
    let mut records = Vec::new();
    for (cursor, end) in behind {
        read(&transaction, cursor, end, share, &mut records).map_err(failure)?;
    }
    Ok(records)
}

/// The lowest offset that a partition keeps, and the one that its next record gets.
pub(super) fn bounds(connection: &Connection, id: i64) -> rusqlite::Result<(i64, i64)> {
    connection
        .prepare_cached("SELECT start_offset, next_offset FROM partitions WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The fatal failure of a position whose records were trimmed.
pub(super) fn check_start(partition: &Partition, next: i64, start: i64) -> Result<()> {
    if next < start {
        return Err(Failure::defect(format!(
            "log.position_below_start: {partition} is at {next}, but the log starts at {start}: records were trimmed \
             that this group has not processed"
        )));
    }
    Ok(())
}

fn read(
    transaction: &Transaction<'_>,
    cursor: &mut Cursor,
    end: i64,
    budget: Budget,
    records: &mut Vec<Record>,
) -> rusqlite::Result<()> {
    let mut select = transaction.prepare_cached(
        "SELECT id, appended_us, key, headers, value FROM records WHERE id >= ? AND id < ? ORDER BY id",
    )?;
    let (mut bytes, mut count) = (0, 0);
    while cursor.next < end {
        cursor.done.retain(|range| *range.end() >= cursor.next);
        let until = match cursor.done.first() {
            Some(range) if range.contains(&cursor.next) => {
                cursor.next = range.end() + 1;
                continue;
            }
            Some(range) => end.min(*range.start()),
            None => end,
        };
        let mut rows = select.query((row_id(cursor.id, cursor.next), row_id(cursor.id, until)))?;
        while let Some(row) = rows.next()? {
            let record = record(row, &cursor.partition)?;
            bytes += record.value.len() + record.key.len() + ROW_BYTES;
            count += 1;
            cursor.next = record.offset + 1;
            records.push(record);
            if bytes >= budget.bytes || count >= budget.records {
                return Ok(());
            }
        }
        cursor.next = until;
    }
    Ok(())
}

fn record(row: &Row<'_>, partition: &Partition) -> rusqlite::Result<Record> {
    let headers = row.get_ref(3)?.as_str()?;
    let headers = serde_json::from_str(headers)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Record {
        partition: Partition { topic: Arc::clone(&partition.topic), number: partition.number },
        offset: offset_of(row.get(0)?),
        appended_at_us: row.get(1)?,
        key: row.get(2)?,
        headers,
        value: row.get::<_, Vec<u8>>(4)?.into(),
    })
}

/// A group's committed position; where it has none, the start of the log.
pub(super) fn committed(connection: &Connection, group: &str, id: i64) -> Result<Position> {
    use rusqlite::OptionalExtension;
    let found: Option<(i64, String)> = connection
        .prepare_cached("SELECT next, done FROM positions WHERE group_name = ? AND partition = ?")
        .and_then(|mut select| select.query_row((group, id), |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(failure)?;
    match found {
        Some((next, done)) => Position::decode(next, &done),
        None => Ok(Position::at(bounds(connection, id).map_err(failure)?.0)),
    }
}
