//! Which documents there are: in order, by time and by file.

use rusqlite::{Connection, params};

use super::{
    super::{DocumentKey, Header, ListFilter, ListOrder, Listing, token},
    connection::failure,
    read::{HEADER, decode_header},
};
use deckle_contract::error::Result;

/// Headers behind the token, in the order of the filter.
pub(super) fn list(tx: &Connection, filter: &ListFilter) -> Result<Listing> {
    let limit = token::limit(filter.limit);
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let (at, behind) = behind(filter)?;
    let (tenant, document) = behind.map(|key| (key.tenant, key.document_id)).unzip();
    // Each condition names its parameters whether it is asked for or not, and can use an index where it is.
    let asked = |is_asked: bool, condition: &'static str, not: &'static str| if is_asked { condition } else { not };
    let by_time = filter.order == ListOrder::Newest;
    let sql = format!(
        "SELECT {HEADER} FROM documents WHERE {} AND {} AND {} AND {} AND {} ORDER BY {} LIMIT ?1",
        asked(filter.status.is_some(), "status = ?2", "?2 IS NULL AND status IS NOT NULL"),
        asked(filter.tenant.is_some(), "tenant = ?3", "?3 IS NULL"),
        match (tenant.is_some(), by_time) {
            (false, _) => "?4 IS NULL AND ?5 IS NULL AND ?6 IS NULL",
            (true, false) => "(tenant, document_id) > (?4, ?5) AND ?6 IS NULL",
            (true, true) => "(at, tenant, document_id) < (?6, ?4, ?5)",
        },
        asked(filter.since.is_some(), "at >= ?7", "?7 IS NULL"),
        asked(filter.until.is_some(), "at < ?8", "?8 IS NULL"),
        if by_time { "at DESC, tenant DESC, document_id DESC" } else { "tenant, document_id" },
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let status = filter.status.map(|status| status.as_str());
    let values = params![one_more, status, filter.tenant, tenant, document, at, filter.since, filter.until];
    let mut headers = headers(statement.query(values))?;
    let next = (headers.len() > limit).then(|| {
        headers.truncate(limit);
        headers.last().map(|header| if by_time { token::of_time(header) } else { token::of_document(&header.key) })
    });
    Ok(Listing { headers, next: next.flatten() })
}

/// The time and the document that a listing goes on behind.
fn behind(filter: &ListFilter) -> Result<(Option<i64>, Option<DocumentKey>)> {
    let Some(token) = &filter.after else { return Ok((None, None)) };
    Ok(match filter.order {
        ListOrder::Document => (None, Some(token::to_document(token)?)),
        ListOrder::Newest => {
            let place = token::to_time(token)?;
            (Some(place.at), Some(place.key))
        }
    })
}

/// The headers of a tenant's documents that have a file, by document.
pub(super) fn find_by_hash(tx: &Connection, tenant: &str, sha256: &str) -> Result<Vec<Header>> {
    let with = |cell: &str| {
        format!(
            "SELECT id FROM documents WHERE tenant = ?1 AND {cell} IS NOT NULL AND {cell} ->> '$.source.sha256' = ?2"
        )
    };
    let sql = format!(
        "SELECT {HEADER} FROM documents WHERE id IN ({} UNION {} UNION {}) ORDER BY document_id",
        with("intake"),
        with("current"),
        with("ended"),
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    headers(statement.query(params![tenant, sha256]))
}

fn headers(rows: rusqlite::Result<rusqlite::Rows<'_>>) -> Result<Vec<Header>> {
    let mut rows = rows.map_err(failure)?;
    let mut headers = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        headers.push(decode_header(row)?.1);
    }
    Ok(headers)
}
