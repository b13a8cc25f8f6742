//! Which documents there are, in order.
//!
//! The law: a document is entered before anything is said of it, and never taken out; an entry of which nothing is
//! known (yet, or any more) is left out by whoever lists.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet},
    sync::{Mutex, PoisonError},
};

use futures::{
    Stream, StreamExt, TryStreamExt,
    future::try_join_all,
    stream::{self, BoxStream},
    try_join,
};
use sha2::{Digest, Sha256};

use super::{
    super::{DocumentKey, Header, ListFilter, Listing, token},
    read::header,
    session::{PAGE, Session},
};
use crate::error::Result;

/// Partitions of a tenant's documents, and of an hour of the feed. Part of the schema: never changed.
pub(super) const SHARDS: i16 = 16;

/// Ids asked of each shard at once.
const SHARD_PAGE: i32 = 64;

/// Headers read at once.
const HEADERS: usize = 32;

/// Names that are remembered, at about 100 bytes each.
const REMEMBERED: usize = 20_000;

/// The shard of a document.
pub(super) fn shard(document_id: &str) -> i16 {
    i16::from(Sha256::digest(document_id)[0]) % SHARDS
}

/// Which documents this process has entered: an entry is made once, not with each of a document's writes.
#[derive(Default)]
pub(super) struct Listed {
    entered: Mutex<HashSet<DocumentKey>>,
}

impl Listed {
    /// Enters a document and its tenant.
    pub(super) async fn enter(&self, session: &Session, key: &DocumentKey) -> Result<()> {
        if self.entered.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return Ok(());
        }
        // Nothing deletes these rows, so any timestamp will do.
        let tenant = "INSERT INTO tenants (part, tenant) VALUES (0, ?) USING TIMESTAMP 1";
        let document =
            "INSERT INTO documents_by_tenant (tenant, shard, document_id) VALUES (?, ?, ?) USING TIMESTAMP 1";
        try_join!(
            session.write(tenant, (&key.tenant,)),
            session.write(document, (&key.tenant, shard(&key.document_id), &key.document_id)),
        )?;
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if entered.len() >= REMEMBERED {
            entered.clear();
        }
        entered.insert(key.clone());
        Ok(())
    }
}

/// Headers after the token, by tenant and document. A rare status is searched for in all headers of its tenants.
pub(super) async fn list(session: &Session, filter: &ListFilter) -> Result<Listing> {
    let limit = token::limit(filter.limit);
    let after = filter.after.as_deref().map(token::to_document).transpose()?;
    let mut headers = Vec::new();
    let mut tenants = match &filter.tenant {
        Some(tenant) => stream::iter([Ok(tenant.clone())]).boxed(),
        None => tenants(session, after.as_ref().map_or("", |after| &after.tenant)).boxed(),
    };
    'full: while let Some(tenant) = tenants.try_next().await? {
        let behind = match &after {
            None => "",
            Some(after) => match tenant.cmp(&after.tenant) {
                Ordering::Less => continue,
                Ordering::Equal => &after.document_id,
                Ordering::Greater => "",
            },
        };
        let mut found = headers_of(session, &tenant, behind, HEADERS.min(limit.saturating_add(1)));
        while let Some(header) = found.try_next().await? {
            if filter.status.is_none_or(|status| header.status() == status) {
                headers.push(header);
            }
            if headers.len() > limit {
                break 'full;
            }
        }
    }
    let next = (headers.len() > limit).then(|| {
        headers.truncate(limit);
        headers.last().map(|header| token::of_document(&header.key))
    });
    Ok(Listing { headers, next: next.flatten() })
}

/// The headers of a tenant's documents that are known, in order, `at_once` read ahead.
fn headers_of<'a>(
    session: &'a Session,
    tenant: &'a str,
    behind: &str,
    at_once: usize,
) -> BoxStream<'a, Result<Header>> {
    documents(session, tenant, behind)
        .map_ok(move |document_id| async move {
            let key = DocumentKey { tenant: tenant.to_owned(), document_id };
            header(session, &key).await
        })
        .try_buffered(at_once)
        .try_filter_map(|header| async move { Ok(header) })
        .boxed()
}

/// Tenants that have documents, from one on, in order.
pub(super) fn tenants<'a>(session: &'a Session, from: &str) -> impl Stream<Item = Result<String>> + Send + use<'a> {
    let select = "SELECT tenant FROM tenants WHERE part = 0 AND tenant >= ?";
    session.stream(select, (from.to_owned(),), PAGE).map_ok(|(tenant,)| tenant)
}

/// The ids of a tenant's documents behind one, in order: the shards, each in order, merged.
pub(super) fn documents<'a>(
    session: &'a Session,
    tenant: &'a str,
    behind: &str,
) -> impl Stream<Item = Result<String>> + Send + use<'a> {
    let select = "SELECT document_id FROM documents_by_tenant WHERE tenant = ? AND shard = ? AND document_id > ?";
    let shards: Vec<_> = (0..SHARDS)
        .map(|shard| session.stream::<(String,), _>(select, (tenant, shard, behind.to_owned()), SHARD_PAGE).boxed())
        .collect();
    stream::try_unfold((shards, None), |(mut shards, heads)| async move {
        let mut heads: BinaryHeap<Reverse<(String, usize)>> = match heads {
            Some(heads) => heads,
            None => {
                let first = try_join_all(shards.iter_mut().map(TryStreamExt::try_next)).await?;
                first.into_iter().enumerate().filter_map(|(shard, id)| Some(Reverse((id?.0, shard)))).collect()
            }
        };
        let Some(Reverse((lowest, shard))) = heads.pop() else { return Ok(None) };
        if let Some((next,)) = shards[shard].try_next().await? {
            heads.push(Reverse((next, shard)));
        }
        Ok(Some((lowest, (shards, Some(heads)))))
    })
}
