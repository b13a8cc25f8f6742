//! Reads of one document, each inside one transaction and so of one moment.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::{
    super::{
        DocumentKey, DocumentRun, Erasure, Header, PageRow, RunKey,
        json::{HeaderCells, decode},
    },
    connection::failure,
    sets::Set,
};
use deckle_contract::{
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
    // The header's counts are the truth: a later version of the same run may be half written above it.
    let chunks = decode_rows::<Chunk>(
        tx,
        "SELECT chunk FROM chunks WHERE document = ?1 AND run = ?2 AND chunk_no < ?3 ORDER BY chunk_no",
        params![id, current.run, current.chunk_count],
    )?;
    let figures = set(tx, id, current.run, Set::Figures, current.figure_count)?;
    let fields = set(tx, id, current.run, Set::Fields, current.field_count)?;
    Ok(Some(DocumentRun { header, pages, chunks, figures, fields }))
}

/// The first `count` of the figures or fields of a run.
fn set<T: DeserializeOwned>(tx: &Connection, document: i64, run: i64, set: Set, count: u32) -> Result<Vec<T>> {
    let (table, [number, json]) = (set.table(), set.columns());
    let sql =
        format!("SELECT {json} FROM {table} WHERE document = ?1 AND run = ?2 AND {number} < ?3 ORDER BY {number}");
    decode_rows(tx, &sql, params![document, run, count])
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

/// Erasures of before a time that were not ended, the oldest first.
pub(super) fn erasures(tx: &Connection, before: i64, limit: usize) -> Result<Vec<Erasure>> {
    let sql = "SELECT tenant, document_id, erased_at FROM erasures WHERE erased_at < ?1 ORDER BY erased_at LIMIT ?2";
    let mut statement = tx.prepare_cached(sql).map_err(failure)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![before, limit], |row| {
            let key = DocumentKey { tenant: row.get(0)?, document_id: row.get(1)? };
            Ok(Erasure { key, erased_at: row.get(2)? })
        })
        .map_err(failure)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failure)
}

/// The columns that [`decode_header`] reads.
pub(super) const HEADER: &str = "id, tenant, document_id, intake, current, erased_at, ended, removed_below";

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

pub(super) fn decode_header(row: &Row<'_>) -> Result<(i64, Header)> {
    let text = |index| row.get::<_, String>(index).map_err(failure);
    let cell = |index| row.get::<_, Option<String>>(index).map_err(failure);
    let cells = HeaderCells {
        intake: cell(3)?,
        current: cell(4)?,
        ended: cell(6)?,
        erased_at: row.get(5).map_err(failure)?,
        removed_below: row.get(7).map_err(failure)?,
    };
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
