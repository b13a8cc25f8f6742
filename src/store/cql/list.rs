//! Which documents there are: in order, by time and by file.
//!
//! The law: entries lead, headers decide. What an entry says and the header does not (any more, or yet) is left out.

use std::cmp::{Ordering, Reverse};

use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use super::{
    super::{DocumentKey, Header, ListFilter, ListOrder, Listing, token, token::TimePlace},
    entries::{SHARDS, hour},
    merge::merged,
    read::header,
    session::{PAGE, Session},
};
use deckle_contract::error::Result;

/// Ids asked of each shard at once.
const SHARD_PAGE: i32 = 64;

/// Headers read at once.
const HEADERS: usize = 32;

/// Headers behind the token, in the order of the filter. A rare status is searched for in all headers of its tenants.
pub(super) async fn list(session: &Session, filter: &ListFilter) -> Result<Listing> {
    let limit = token::limit(filter.limit);
    let mut found = match filter.order {
        ListOrder::Document => by_document(session, filter)?,
        ListOrder::Newest => by_time(session, filter).await?,
    };
    let mut headers = Vec::new();
    while let Some(header) = found.try_next().await? {
        if filter.admits(&header) {
            headers.push(header);
        }
        if headers.len() > limit {
            break;
        }
    }
    let next = (headers.len() > limit).then(|| {
        headers.truncate(limit);
        headers.last().map(|header| match filter.order {
            ListOrder::Document => token::of_document(&header.key),
            ListOrder::Newest => token::of_time(header),
        })
    });
    Ok(Listing { headers, next: next.flatten() })
}

/// Headers by tenant and document.
fn by_document<'a>(session: &'a Session, filter: &'a ListFilter) -> Result<BoxStream<'a, Result<Header>>> {
    let after = filter.after.as_deref().map(token::to_document).transpose()?;
    let tenants = match &filter.tenant {
        Some(tenant) => stream::iter([Ok(tenant.clone())]).boxed(),
        None => tenants(session, after.as_ref().map_or("", |after| &after.tenant)).boxed(),
    };
    let headers = tenants.map_ok(move |tenant| {
        let behind = match &after {
            None => "",
            Some(after) => match tenant.cmp(&after.tenant) {
                Ordering::Less => return stream::empty().boxed(),
                Ordering::Equal => &after.document_id,
                Ordering::Greater => "",
            },
        };
        let keys = documents(session, &tenant, behind);
        let keys = keys.map_ok(move |document_id| DocumentKey { tenant: tenant.clone(), document_id });
        headers(session, keys.boxed(), at_once(filter))
    });
    Ok(headers.try_flatten().boxed())
}

/// Headers by time, the latest first. Without a tenant the entries of all tenants are merged: each is asked.
async fn by_time<'a>(session: &'a Session, filter: &'a ListFilter) -> Result<BoxStream<'a, Result<Header>>> {
    let behind = filter.after.as_deref().map(token::to_time).transpose()?;
    let tenants: Vec<String> = match &filter.tenant {
        Some(tenant) => vec![tenant.clone()],
        None => tenants(session, "").try_collect().await?,
    };
    let of_tenants = tenants.into_iter().map(|tenant| entries(session, tenant, filter, behind.as_ref()));
    let entries = merged(of_tenants.collect());
    let headers = entries.map_ok(move |Reverse(place)| async move {
        let header = header(session, &place.key).await?;
        Ok(header.filter(|header| header.at() == place.at))
    });
    let headers = headers.try_buffered(at_once(filter));
    Ok(headers.try_filter_map(|header| async move { Ok(header) }).boxed())
}

/// Headers to be read at once: no more than a short listing needs.
fn at_once(filter: &ListFilter) -> usize {
    HEADERS.min(token::limit(filter.limit).saturating_add(1))
}

/// The headers of documents that are known, in the order of the keys, some read ahead.
fn headers<'a>(
    session: &'a Session,
    keys: BoxStream<'a, Result<DocumentKey>>,
    at_once: usize,
) -> BoxStream<'a, Result<Header>> {
    keys.map_ok(move |key| async move { header(session, &key).await })
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
    tenant: &str,
    behind: &str,
) -> impl Stream<Item = Result<String>> + Send + use<'a> {
    let select = "SELECT document_id FROM documents_by_tenant WHERE tenant = ? AND shard = ? AND document_id > ?";
    let of_shard = |shard: i16| {
        let ids = session.stream::<(String,), _>(select, (tenant.to_owned(), shard, behind.to_owned()), SHARD_PAGE);
        ids.map_ok(|(document_id,)| document_id).boxed()
    };
    merged((0..SHARDS).map(of_shard).collect())
}

/// The entries of a tenant by time, the latest first, that a filter may want and that are behind a place.
fn entries<'a>(
    session: &'a Session,
    tenant: String,
    filter: &ListFilter,
    behind: Option<&TimePlace>,
) -> BoxStream<'a, Result<Reverse<TimePlace>>> {
    let since = filter.since.unwrap_or(i64::MIN);
    let (before, document_id) = end(&tenant, filter.until, behind);
    let hours = "SELECT hour FROM document_hours WHERE tenant = ? AND hour <= ? AND hour >= ?";
    let hours = session.stream::<(i64,), _>(hours, (tenant.clone(), hour(before), hour(since)), PAGE);
    let of_hour = move |(hour,): (i64,)| {
        let select = "SELECT at, document_id, moved FROM documents_by_time
                      WHERE tenant = ? AND hour = ? AND (at, document_id) < (?, ?) AND (at) >= (?)";
        let values = (tenant.clone(), hour, before, document_id.clone(), since);
        let tenant = tenant.clone();
        session.stream::<(i64, String, Option<bool>), _>(select, values, PAGE).try_filter_map(
            move |(at, document_id, moved)| {
                let key = DocumentKey { tenant: tenant.clone(), document_id };
                async move { Ok((moved != Some(true)).then_some(Reverse(TimePlace { at, key }))) }
            },
        )
    };
    hours.map_ok(of_hour).try_flatten().boxed()
}

/// The (time, document) below which a tenant's entries lie that come before `until` and behind a place.
fn end(tenant: &str, until: Option<i64>, behind: Option<&TimePlace>) -> (i64, String) {
    // No id is empty, so that what is below one at some time is all before that time.
    let until = (until.unwrap_or(i64::MAX), String::new());
    let Some(TimePlace { at, key }) = behind else { return until };
    let place = match tenant.cmp(&key.tenant) {
        Ordering::Less => (at.saturating_add(1), String::new()),
        Ordering::Equal => (*at, key.document_id.clone()),
        Ordering::Greater => (*at, String::new()),
    };
    until.min(place)
}

/// The headers of a tenant's documents that have a file, by document.
pub(super) async fn find_by_hash(session: &Session, tenant: &str, sha256: &str) -> Result<Vec<Header>> {
    let select = "SELECT document_id FROM documents_by_file WHERE tenant = ? AND sha256 = ?";
    let mut ids: Vec<String> = session.read(select, (tenant, sha256)).await?.into_iter().map(|(id,)| id).collect();
    // A row for each run.
    ids.dedup();
    let keys = ids.into_iter().map(|document_id| Ok(DocumentKey { tenant: tenant.to_owned(), document_id }));
    let mut found: Vec<Header> = headers(session, stream::iter(keys).boxed(), HEADERS).try_collect().await?;
    found.retain(|header| header.has_file(sha256));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_by_time_goes_on_below_its_place_in_every_tenant() {
        let key = DocumentKey { tenant: "m".into(), document_id: "d".into() };
        let place = TimePlace { at: 5, key };
        for (tenant, until, wanted) in [
            ("a", None, (6, "")),
            ("m", None, (5, "d")),
            ("z", None, (5, "")),
            ("m", Some(5), (5, "")),
            ("m", Some(6), (5, "d")),
            ("a", Some(3), (3, "")),
        ] {
            assert_eq!(end(tenant, until, Some(&place)), (wanted.0, wanted.1.to_owned()), "{tenant} {until:?}");
        }
        assert_eq!(end("a", None, None), (i64::MAX, String::new()));
    }
}
