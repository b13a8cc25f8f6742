//! Every read but the search, each inside one transaction and so of one moment.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::{
    super::{
        DocumentKey, DocumentRun, Header, ListFilter, Listing, PageRow, RunKey,
        json::{HeaderCells, decode},
        token,
    },
    connection::failure,
};
use crate::{
    document::Chunk,
    error::{Failure, Result},
};

/// Whether the file can be read.
pub(super) fn health(tx: &Connection) -> Result<()> {
    tx.query_row("SELECT count(*) FROM migrations", [], |_| Ok(())).map_err(failure)
}

/// The header; `None` for a document never heard of.
pub(super) fn header(tx: &Connection, key: &DocumentKey) -> Result<Option<Header>> {
    Ok(find(tx, key)?.map(|(_, header)| header))
}

/// The document as its current run.
pub(super) fn document(tx: &Connection, key: &DocumentKey) -> Result<Option<DocumentRun>> {
    let Some((id, header)) = find(tx, key)? else { return Ok(None) };
    let Some(current) = &header.current else { return Ok(None) };
    let pages = pages(tx, id, current.run)?;
    // The header's count is the truth: a later version of the same run may be half written above it.
    let chunks = decode_rows::<Chunk>(
        tx,
        "SELECT chunk FROM chunks WHERE document = ?1 AND run = ?2 AND chunk_no < ?3 ORDER BY chunk_no",
        params![id, current.run, current.chunk_count],
    )?;
    Ok(Some(DocumentRun { header, pages, chunks }))
}

/// The pages of a run, current or not.
pub(super) fn pages_of(tx: &Connection, run: &RunKey) -> Result<Vec<PageRow>> {
    decode_rows(
        tx,
        "SELECT page FROM documents d JOIN pages p ON p.document = d.id
         WHERE d.tenant = ?1 AND d.document_id = ?2 AND p.run = ?3 ORDER BY page_no",
        params![run.document.tenant, run.document.document_id, run.run],
    )
}

/// Pages of a run that are on their way again, and the version they come with.
pub(super) fn awaited_pages(tx: &Connection, run: &RunKey) -> Result<BTreeMap<u32, i64>> {
    let sql = "SELECT page_no, version FROM documents d JOIN awaited_pages a ON a.document = d.id
               WHERE d.tenant = ?1 AND d.document_id = ?2 AND a.run = ?3";
    let mut statement = tx.prepare_cached(sql).map_err(failure)?;
    let rows = statement
        .query_map(params![run.document.tenant, run.document.document_id, run.run], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(failure)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failure)
}

/// The vectors of a run by one model, by chunk number.
pub(super) fn vectors(tx: &Connection, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>> {
    let Some((id, _)) = find(tx, &run.document)? else { return Ok(Vec::new()) };
    let sql = "SELECT chunk_no, vector FROM vectors JOIN spaces ON spaces.id = space
               WHERE document = ?1 AND run = ?2 AND model = ?3 ORDER BY chunk_no";
    let mut statement = tx.prepare_cached(sql).map_err(failure)?;
    let rows = statement
        .query_map(params![id, run.run, model], |row| {
            Ok((row.get(0)?, bytemuck::pod_collect_to_vec(row.get_ref(1)?.as_blob()?)))
        })
        .map_err(failure)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failure)
}

/// Headers after the token, by tenant and document.
pub(super) fn list(tx: &Connection, filter: &ListFilter) -> Result<Listing> {
    let limit = token::limit(filter.limit);
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let after = filter.after.as_deref().map(token::to_document).transpose()?;
    let (tenant, document) = after.map(|key| (key.tenant, key.document_id)).unzip();
    // Each condition names its parameters whether it is asked for or not, and can use an index where it is.
    let sql = format!(
        "SELECT {HEADER} FROM documents WHERE {} AND {} AND {} ORDER BY tenant, document_id LIMIT ?1",
        if filter.status.is_some() { "status = ?2" } else { "?2 IS NULL AND status IS NOT NULL" },
        if filter.tenant.is_some() { "tenant = ?3" } else { "?3 IS NULL" },
        if tenant.is_some() { "(tenant, document_id) > (?4, ?5)" } else { "?4 IS NULL AND ?5 IS NULL" },
    );
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    let status = filter.status.map(|status| status.as_str());
    let mut rows = statement.query(params![one_more, status, filter.tenant, tenant, document]).map_err(failure)?;
    let mut headers = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        headers.push(decode_header(row)?.1);
    }
    let next = (headers.len() > limit).then(|| {
        headers.truncate(limit);
        headers.last().map(|header| token::of_document(&header.key))
    });
    Ok(Listing { headers, next: next.flatten() })
}

/// The columns that [`decode_header`] reads.
const HEADER: &str = "id, tenant, document_id, intake, current, erased_at, ended";

fn find(tx: &Connection, key: &DocumentKey) -> Result<Option<(i64, Header)>> {
    // A row without a status holds only what refuses late writes.
    let sql = format!("SELECT {HEADER} FROM documents WHERE tenant = ?1 AND document_id = ?2 AND status IS NOT NULL");
    let mut statement = tx.prepare_cached(&sql).map_err(failure)?;
    statement
        .query_row(params![key.tenant, key.document_id], |row| Ok(decode_header(row)))
        .optional()
        .map_err(failure)?
        .transpose()
}

fn decode_header(row: &Row<'_>) -> Result<(i64, Header)> {
    let text = |index| row.get::<_, String>(index).map_err(failure);
    let cell = |index| row.get::<_, Option<String>>(index).map_err(failure);
    let cells =
        HeaderCells { intake: cell(3)?, current: cell(4)?, ended: cell(6)?, erased_at: row.get(5).map_err(failure)? };
    let header = cells.decode(DocumentKey { tenant: text(1)?, document_id: text(2)? })?;
    let header = header.ok_or_else(|| Failure::defect("store: a row with a status says nothing"))?;
    Ok((row.get(0).map_err(failure)?, header))
}

fn pages(tx: &Connection, document: i64, run: i64) -> Result<Vec<PageRow>> {
    decode_rows(tx, "SELECT page FROM pages WHERE document = ?1 AND run = ?2 ORDER BY page_no", params![document, run])
}

fn decode_rows<T: DeserializeOwned>(tx: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<T>> {
    let mut statement = tx.prepare_cached(sql).map_err(failure)?;
    let mut rows = statement.query(values).map_err(failure)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next().map_err(failure)? {
        let json = row.get_ref(0).map_err(failure)?.as_str().map_err(|e| failure(e.into()))?;
        decoded.push(decode(json)?);
    }
    Ok(decoded)
}
