//! Erasures that are to be made sure of: a list of things to do that survives whoever began them.
//!
//! The law: an erasure is on the list before its tombstone, and leaves it only when somebody ends it. An entry and its
//! end have the timestamp of the erasure, of equal ones the delete wins; so a later erasure stays on the list.

use futures::TryStreamExt;

use super::{
    super::{DocumentKey, Erasure},
    entries::{SHARDS, shard},
    session::{PAGE, Session},
};
use deckle_contract::error::Result;

/// Puts an erasure on the list of those that are not finished.
pub(super) async fn begin(session: &Session, key: &DocumentKey, erased_at: i64) -> Result<()> {
    let insert = "INSERT INTO erasures (shard, tenant, document_id, erased_at) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    let values = (shard(&key.document_id), &key.tenant, &key.document_id, erased_at, erased_at);
    session.write(insert, values).await
}

/// The listed erasures from before a time (µs), `limit` at most.
pub(super) async fn of_before(session: &Session, before: i64, limit: usize) -> Result<Vec<Erasure>> {
    let select = "SELECT tenant, document_id, erased_at FROM erasures WHERE shard = ?";
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        let mut rows = session.stream::<(String, String, i64), _>(select, (shard,), PAGE);
        while found.len() < limit
            && let Some((tenant, document_id, erased_at)) = rows.try_next().await?
        {
            if erased_at < before {
                found.push(Erasure { key: DocumentKey { tenant, document_id }, erased_at });
            }
        }
    }
    Ok(found)
}

/// Takes an erasure off the list.
pub(super) async fn end(session: &Session, Erasure { key, erased_at }: &Erasure) -> Result<()> {
    let delete = "DELETE FROM erasures USING TIMESTAMP ? WHERE shard = ? AND tenant = ? AND document_id = ?";
    session.write(delete, (erased_at, shard(&key.document_id), &key.tenant, &key.document_id)).await
}
