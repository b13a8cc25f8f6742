//! What was published, in order.
//!
//! The law: entries are numbered under the lock of the one writer, so their numbers become readable in their order and
//! a cursor is a number.

use rusqlite::{Connection, params};

use super::{
    super::{DocumentKey, FeedEntry, FeedPage, token},
    connection::execute,
    connection::failure,
};
use deckle_contract::error::Result;

/// Enters into the feed, under the present time, that a version became what readers see.
pub(super) fn tell(tx: &Connection, document: i64, run: i64, version: i64) -> Result<()> {
    let at = jiff::Timestamp::now().as_microsecond();
    let sql = "INSERT INTO feed (at, document, run, version) VALUES (?1, ?2, ?3, ?4)";
    execute(tx, sql, params![at, document, run, version])?;
    Ok(())
}

/// What was published after a cursor.
pub(super) fn feed(tx: &Connection, after: Option<&str>, limit: usize) -> Result<FeedPage> {
    let after = after.map_or(Ok(0), token::to_seq)?;
    let limit = i64::try_from(token::limit(limit)).unwrap_or(i64::MAX);
    let sql =
        "SELECT seq, feed.at, tenant, document_id, run, version FROM feed JOIN documents ON documents.id = document
               WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = tx.prepare_cached(sql).map_err(failure)?;
    let rows = statement
        .query_map(params![after, limit], |row| {
            let key = DocumentKey { tenant: row.get(2)?, document_id: row.get(3)? };
            Ok((row.get(0)?, FeedEntry { at: row.get(1)?, key, run: row.get(4)?, version: row.get(5)? }))
        })
        .map_err(failure)?;
    let rows = rows.collect::<rusqlite::Result<Vec<(i64, _)>>>().map_err(failure)?;
    let next = token::of_seq(rows.last().map_or(after, |(seq, _)| *seq));
    Ok(FeedPage { entries: rows.into_iter().map(|(_, entry)| entry).collect(), next })
}

/// The cursor behind all that was published.
pub(super) fn now(tx: &Connection) -> Result<String> {
    // Of all numbers ever given, though its row may be gone.
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'feed'";
    let seq: i64 =
        tx.prepare_cached(sql).and_then(|mut statement| statement.query_row([], |row| row.get(0))).map_err(failure)?;
    Ok(token::of_seq(seq))
}
