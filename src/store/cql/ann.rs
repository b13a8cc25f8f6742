//! The database's own index of vectors: Cassandra's storage-attached index, by a statement that ScyllaDB takes as well
//! and maps to its own (by its documentation; no ScyllaDB was tried).
//!
//! The law: it is made on demand and never by a write, for it makes each write of a vector many times dearer. It gives
//! candidates like the index in memory, but of all runs and documents there are: what is not current, or left out by
//! the filter, is dropped when it is checked. It looks at [`LIMIT`] candidates and no further, so that a search that
//! leaves nearly everything out may find less than there is.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Config,
    index::Place,
    migrations,
    schema::{change_schema, with_schema_lock},
    session::Session,
    spaces::{Space, Spaces},
};
use crate::{DocumentKey, similarity::Scored};
use deckle_contract::error::{Failure, Result};

/// The most candidates of one question; a server refuses to be asked for more.
pub(super) const LIMIT: usize = 1_000;

/// The most tables that are asked at once; there are few.
const TABLES: usize = 8;

/// Makes the index of every space that has none. The server builds it on its own time, and answers no search of it
/// before. Returns the tables that had none.
///
/// # Errors
/// What the server says, when it has no such index.
pub async fn make(config: &Config) -> Result<Vec<String>> {
    change(
        config,
        |table| {
            format!(
                "CREATE CUSTOM INDEX IF NOT EXISTS {} ON {table} (vector) USING 'StorageAttachedIndex' \
             WITH OPTIONS = {{'similarity_function': 'COSINE'}}",
                name(table)
            )
        },
        false,
    )
    .await
}

/// Drops the index of every space that has one; returns their tables.
///
/// # Errors
/// What the server says.
pub async fn remove(config: &Config) -> Result<Vec<String>> {
    change(config, |table| format!("DROP INDEX IF EXISTS {}", name(table)), true).await
}

/// Makes a change to the tables whose index is there (or is not), under the lock of the schema.
async fn change(config: &Config, statement: impl Fn(&str) -> String, has_index: bool) -> Result<Vec<String>> {
    let session = migrations::ready(config).await?;
    with_schema_lock(&session, async {
        let mut changed = Vec::new();
        for Space { table, .. } in Spaces::default().read(&session).await? {
            if is_indexed(&session, &table).await? == has_index {
                change_schema(&session, &statement(&table)).await?;
                changed.push(table);
            }
        }
        Ok(changed)
    })
    .await
}

/// The name of a table's index.
fn name(table: &str) -> String {
    format!("{table}_ann")
}

async fn is_indexed(session: &Session, table: &str) -> Result<bool> {
    let select = "SELECT index_name FROM system_schema.indexes WHERE keyspace_name = ? AND table_name = ? \
                  AND index_name = ?";
    let found = session.read_one::<(String,)>(select, (session.keyspace(), table, name(table))).await?;
    Ok(found.is_some())
}

/// The tables whose index was seen to be there.
#[derive(Default)]
pub(super) struct Ann {
    seen: Mutex<BTreeSet<String>>,
}

impl Ann {
    /// Refuses to search where a table has no index.
    pub(super) async fn check(&self, session: &Session, spaces: &[Space]) -> Result<()> {
        for Space { table, space } in spaces {
            if self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(table) {
                continue;
            }
            if !is_indexed(session, table).await? {
                return Err(Failure::defect(format!(
                    "store.scylla: `search` is \"database\", which has no index of the vectors of {}: make it with \
                     `deckle store index`",
                    space.model
                )));
            }
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone());
        }
        Ok(())
    }
}

/// The `depth` nearest to a vector of length 1, best first, as the index knows them.
pub(super) async fn nearest(
    session: &Session,
    tables: &[String],
    unit: &[f32],
    depth: usize,
) -> Result<Vec<Scored<Place>>> {
    let limit = i32::try_from(depth.min(LIMIT)).unwrap_or(i32::MAX);
    let found = stream::iter(tables.to_vec()).map(|table: String| async move {
        let select = format!(
            "SELECT tenant, document_id, run, chunk_no, similarity_cosine(vector, ?) FROM {table} \
             ORDER BY vector ANN OF ? LIMIT ?"
        );
        type Row = (String, String, i64, i32, f32);
        let rows: Vec<Row> = session.read_nearest(&select, (unit, unit, limit)).await?;
        let found = rows.into_iter().map(|(tenant, document_id, run, chunk_no, similarity)| {
            let document = Arc::new(DocumentKey { tenant, document_id });
            // The server's similarity is the cosine, moved from the range -1 to 1 into 0 to 1.
            Scored { score: 2.0 * similarity - 1.0, place: Place { document, chunk_no: chunk_no.unsigned_abs(), run } }
        });
        Ok(found.collect::<Vec<_>>())
    });
    let mut found = found.buffer_unordered(TABLES).try_collect::<Vec<_>>().await?.concat();
    found.sort_by(|a, b| b.cmp(a));
    found.truncate(depth);
    Ok(found)
}
