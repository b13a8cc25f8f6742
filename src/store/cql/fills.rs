//! The filling of a migration's new tables from what older ones hold.
//!
//! The law: done twice or cut short it comes to the same. It goes through all documents in their order, a few at once
//! and never more in memory, and remembers how far it came.

use futures::{StreamExt, TryStreamExt};

use super::{
    super::DocumentKey,
    entries::Entered,
    list::{documents, tenants},
    read::header,
    session::Session,
};
use deckle_contract::error::{Failure, Result};

/// The work by which a migration fills its new tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Enters every document by its files and times.
    Entries,
}

/// The most documents that are entered at once.
const AT_ONCE: usize = 32;

/// Documents after which the progress is stored anew.
const STEP: usize = 1_000;

/// Fills the tables of a migration, from where an earlier filling of the same was cut short.
pub(super) async fn run(session: &Session, migration: i32, fill: Fill) -> Result<()> {
    let Fill::Entries = fill;
    let select = "SELECT tenant, document_id FROM fills WHERE migration = ?";
    let from: Option<(String, String)> = session.read_one(select, (migration,)).await?;
    let (from_tenant, from_document) = from.unwrap_or_default();
    let mut tenants = tenants(session, &from_tenant).boxed();
    let mut done = 0_usize;
    while let Some(tenant) = tenants.try_next().await? {
        let behind = if tenant == from_tenant { &*from_document } else { "" };
        let entered = Entered::default();
        let enter = |document_id: String| async {
            let key = DocumentKey { tenant: tenant.clone(), document_id };
            if let Some(header) = header(session, &key).await? {
                entered.enter_header(session, &header).await?;
            }
            Ok::<_, Failure>(key)
        };
        // In order, so that all documents before a remembered one are done.
        let mut keys = documents(session, &tenant, behind).map_ok(enter).try_buffered(AT_ONCE).boxed();
        while let Some(key) = keys.try_next().await? {
            done += 1;
            if done.is_multiple_of(STEP) {
                let insert = "INSERT INTO fills (migration, tenant, document_id) VALUES (?, ?, ?)";
                session.write(insert, (migration, &key.tenant, &key.document_id)).await?;
                tracing::info!(documents = done, "filling the tables of a migration");
            }
        }
    }
    Ok(())
}
