//! Every write, inside a transaction that holds the only write lock of the file.
//!
//! The law: a row changes only to a greater (version, content), and never comes back below what deleted it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    super::{
        Completion, DocumentKey, Erasure, PageRow, PublishedVersion, RunKey, Submission, UploadClaim, VectorSpace,
        check_vector, json::encode,
    },
    connection::{execute, failure},
    dead_letters::erase_letters,
    feed,
    models::is_dropped,
};
use deckle_contract::{
    document::Chunk,
    error::{Failure, Result},
};

/// Keeps the lowest run of an upload id and returns it, with what it submits.
pub(super) fn claim_upload(
    tx: &Connection,
    tenant: &str,
    upload_id: &str,
    run: i64,
    subject: &str,
) -> Result<UploadClaim> {
    tx.prepare_cached(
        "INSERT INTO uploads (tenant, upload_id, run, subject) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET subject = CASE WHEN excluded.run < run THEN excluded.subject ELSE subject END,
             run = min(run, excluded.run) RETURNING run, subject",
    )
    .and_then(|mut statement| {
        let claim = |row: &Row<'_>| Ok(UploadClaim { run: row.get(0)?, subject: row.get(1)? });
        statement.query_row(params![tenant, upload_id, run, subject], claim)
    })
    .map_err(failure)
}

/// Writes the intake's cells of the header.
pub(super) fn put_intake(tx: &Connection, key: &DocumentKey, intake: &Submission, version: i64) -> Result<()> {
    let Some(document) = admit(tx, key, intake.run)? else { return Ok(()) };
    let cell = encode(intake)?;
    execute(
        tx,
        "UPDATE documents SET intake_run = ?2, intake_version = ?3, intake = ?4
         WHERE id = ?1 AND (intake IS NULL OR (?2, ?3, ?4) > (intake_run, intake_version, intake))",
        params![document, intake.run, version, cell],
    )?;
    Ok(())
}

/// Writes the cells that readers follow, and enters the change into the feed.
pub(super) fn set_current(tx: &Connection, key: &DocumentKey, current: &PublishedVersion) -> Result<()> {
    let Some(document) = admit(tx, key, current.run)? else { return Ok(()) };
    let cell = encode(current)?;
    let flipped = execute(
        tx,
        "UPDATE documents
         SET current_run = ?2, current_version = ?3, current = ?4, current_status = ?5, chunk_count = ?6
         WHERE id = ?1 AND (current IS NULL OR (?2, ?3, ?4) > (current_run, current_version, current))",
        params![document, current.run, current.version, cell, current.status.as_str(), current.chunk_count],
    )?;
    if flipped == 0 { Ok(()) } else { feed::tell(tx, document, current.run, current.version) }
}

/// Writes how the newest run ended.
pub(super) fn put_ended(tx: &Connection, key: &DocumentKey, ended: &Completion) -> Result<()> {
    let Some(document) = admit(tx, key, ended.run)? else { return Ok(()) };
    let cell = encode(ended)?;
    execute(
        tx,
        "UPDATE documents SET ended_run = ?2, ended_version = ?3, ended = ?4, ended_status = ?5
         WHERE id = ?1 AND (ended IS NULL OR (?2, ?3, ?4) > (ended_run, ended_version, ended))",
        params![document, ended.run, ended.version, cell, ended.status.as_str()],
    )?;
    Ok(())
}

/// Writes one page of a run.
pub(super) fn put_page(tx: &Connection, run: &RunKey, row: &PageRow) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    execute(
        tx,
        "INSERT INTO pages (document, run, page_no, version, page) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET version = excluded.version, page = excluded.page
         WHERE (excluded.version, excluded.page) > (version, page)",
        params![document, run.run, row.page_no, row.version, encode(row)?],
    )?;
    Ok(())
}

/// Takes note that pages of a run come again, each with at least this version.
pub(super) fn await_pages(tx: &Connection, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    for (page_no, version) in pages {
        execute(
            tx,
            "INSERT INTO awaited_pages (document, run, page_no, version) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
            params![document, run.run, page_no, version],
        )?;
    }
    Ok(())
}

/// Chunks as they are stored: number and JSON. Made outside the transaction.
pub(super) fn encode_chunks(chunks: &[Chunk]) -> Result<Vec<(u32, String)>> {
    chunks.iter().map(|chunk| Ok((chunk.chunk_no, encode(chunk)?))).collect()
}

/// Writes chunks of a run.
pub(super) fn put_chunks(tx: &Connection, run: &RunKey, version: i64, rows: &[(u32, String)]) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    let end = trimmed_from(tx, document, run.run, version)?;
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO chunks (document, run, chunk_no, version, chunk) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET version = excluded.version, chunk = excluded.chunk
             WHERE (excluded.version, excluded.chunk) > (version, chunk)",
        )
        .map_err(failure)?;
    for (chunk_no, chunk) in rows.iter().filter(|(chunk_no, _)| *chunk_no < end) {
        insert.execute(params![document, run.run, chunk_no, version, chunk]).map_err(failure)?;
    }
    Ok(())
}

/// Vectors as they are stored: number and little-endian floats. Refuses those that no search could use.
pub(super) fn encode_vectors(space: &VectorSpace, rows: &[(u32, Vec<f32>)]) -> Result<Vec<(u32, Vec<u8>)>> {
    rows.iter()
        .map(|(chunk_no, vector)| {
            check_vector(space, vector)
                .map_err(|problem| Failure::defect(format!("vector of chunk {chunk_no}: {problem}")))?;
            Ok((*chunk_no, vector.iter().flat_map(|x| x.to_le_bytes()).collect()))
        })
        .collect()
}

/// Writes vectors of a run.
pub(super) fn put_vectors(
    tx: &Connection,
    run: &RunKey,
    version: i64,
    space: &VectorSpace,
    rows: &[(u32, Vec<u8>)],
) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    let end = trimmed_from(tx, document, run.run, version)?;
    let Some(space) = space_id(tx, space)? else { return Ok(()) };
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO vectors (document, run, space, chunk_no, version, vector) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET version = excluded.version, vector = excluded.vector
             WHERE (excluded.version, excluded.vector) > (version, vector)",
        )
        .map_err(failure)?;
    for (chunk_no, vector) in rows.iter().filter(|(chunk_no, _)| *chunk_no < end) {
        insert.execute(params![document, run.run, space, chunk_no, version, vector]).map_err(failure)?;
    }
    Ok(())
}

/// Deletes chunks and vectors numbered `chunk_count` and above, and keeps the tombstone.
pub(super) fn trim_chunks(tx: &Connection, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
    let Some(document) = admit(tx, &run.document, run.run)? else { return Ok(()) };
    // A tombstone that another one covers says nothing: what is kept is a short staircase.
    if trimmed_from(tx, document, run.run, version)? > chunk_count {
        let values = params![document, run.run, chunk_count, version];
        execute(
            tx,
            "DELETE FROM trims WHERE document = ?1 AND run = ?2 AND chunk_count >= ?3 AND version <= ?4",
            values,
        )?;
        execute(tx, "INSERT INTO trims (document, run, chunk_count, version) VALUES (?1, ?2, ?3, ?4)", values)?;
    }
    for table in ["chunks", "vectors"] {
        execute(
            tx,
            &format!("DELETE FROM {table} WHERE document = ?1 AND run = ?2 AND chunk_no >= ?3 AND version <= ?4"),
            params![document, run.run, chunk_count, version],
        )?;
    }
    Ok(())
}

/// Writes the tombstone and deletes everything of runs at or below `erased_at`, late rows of such runs included.
pub(super) fn erase(tx: &Connection, key: &DocumentKey, erased_at: i64) -> Result<()> {
    let document = document_row(tx, key)?.id;
    erase_letters(tx, &key.tenant, &key.document_id, erased_at)?;
    execute(
        tx,
        "UPDATE documents SET erased_at = max(?2, coalesce(erased_at, ?2)) WHERE id = ?1",
        params![document, erased_at],
    )?;
    execute(
        tx,
        "INSERT INTO erasures (tenant, document_id, erased_at) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)",
        params![key.tenant, key.document_id, erased_at],
    )?;
    remove_runs(tx, document, erased_at)?;
    Ok(())
}

/// Takes an erasure off the list, unless a later one stands there.
pub(super) fn end_erasure(tx: &Connection, Erasure { key, erased_at }: &Erasure) -> Result<()> {
    let sql = "DELETE FROM erasures WHERE tenant = ?1 AND document_id = ?2 AND erased_at <= ?3";
    execute(tx, sql, params![key.tenant, key.document_id, erased_at])?;
    Ok(())
}

/// Deletes everything of runs below `run`; returns how many pages, chunks and vectors went.
pub(super) fn remove_runs_below(tx: &Connection, key: &DocumentKey, run: i64) -> Result<u64> {
    let document = document_row(tx, key)?.id;
    execute(
        tx,
        "UPDATE documents SET removed_below = max(?2, coalesce(removed_below, ?2)) WHERE id = ?1",
        params![document, run],
    )?;
    run.checked_sub(1).map_or(Ok(0), |last| remove_runs(tx, document, last))
}

/// Deletes the rows of runs up to and with `last`, and the header's cells that speak of them.
fn remove_runs(tx: &Connection, document: i64, last: i64) -> Result<u64> {
    execute(
        tx,
        "UPDATE documents SET intake_run = NULL, intake_version = NULL, intake = NULL WHERE id = ?1 AND intake_run <= ?2",
        params![document, last],
    )?;
    execute(
        tx,
        "UPDATE documents SET current_run = NULL, current_version = NULL, current = NULL, current_status = NULL,
         chunk_count = NULL WHERE id = ?1 AND current_run <= ?2",
        params![document, last],
    )?;
    execute(
        tx,
        "UPDATE documents SET ended_run = NULL, ended_version = NULL, ended = NULL, ended_status = NULL
         WHERE id = ?1 AND ended_run <= ?2",
        params![document, last],
    )?;
    for table in ["trims", "awaited_pages", "figures", "fields", "whole_sets", "feed"] {
        execute(tx, &format!("DELETE FROM {table} WHERE document = ?1 AND run <= ?2"), params![document, last])?;
    }
    let mut removed = 0;
    for table in ["pages", "chunks", "vectors"] {
        let sql = format!("DELETE FROM {table} WHERE document = ?1 AND run <= ?2");
        removed += execute(tx, &sql, params![document, last])? as u64;
    }
    Ok(removed)
}

/// What decides whether a write may enter.
struct DocumentRow {
    id: i64,
    erased_at: Option<i64>,
    removed_below: Option<i64>,
}

/// Finds the document's row, or makes it.
fn document_row(tx: &Connection, key: &DocumentKey) -> Result<DocumentRow> {
    let found = tx
        .prepare_cached("SELECT id, erased_at, removed_below FROM documents WHERE tenant = ?1 AND document_id = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![key.tenant, key.document_id], |row| {
                    Ok(DocumentRow { id: row.get(0)?, erased_at: row.get(1)?, removed_below: row.get(2)? })
                })
                .optional()
        })
        .map_err(failure)?;
    if let Some(row) = found {
        return Ok(row);
    }
    execute(tx, "INSERT INTO documents (tenant, document_id) VALUES (?1, ?2)", params![key.tenant, key.document_id])?;
    Ok(DocumentRow { id: tx.last_insert_rowid(), erased_at: None, removed_below: None })
}

/// The document's integer; `None` for a run that was erased or removed, whose late writes are dropped.
pub(super) fn admit(tx: &Connection, key: &DocumentKey, run: i64) -> Result<Option<i64>> {
    let row = document_row(tx, key)?;
    let gone = row.erased_at.is_some_and(|erased_at| run <= erased_at)
        || row.removed_below.is_some_and(|removed_below| run < removed_below);
    Ok((!gone).then_some(row.id))
}

/// The lowest chunk number that trims hide from a write of `version`; `u32::MAX` where none does.
fn trimmed_from(tx: &Connection, document: i64, run: i64, version: i64) -> Result<u32> {
    tx.prepare_cached("SELECT min(chunk_count) FROM trims WHERE document = ?1 AND run = ?2 AND version >= ?3")
        .and_then(|mut statement| {
            statement.query_row(params![document, run, version], |row| row.get::<_, Option<u32>>(0))
        })
        .map(|from| from.unwrap_or(u32::MAX))
        .map_err(failure)
}

/// The integer that stands for a space; `None` for one of a dropped model. A model has one dimension for ever.
fn space_id(tx: &Connection, space: &VectorSpace) -> Result<Option<i64>> {
    let known = tx
        .prepare_cached("SELECT id, dimension, normalized FROM spaces WHERE model = ?1 AND chunking = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![space.model, space.chunking], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
        .map_err(failure)?;
    match known {
        Some((id, dimension, normalized)) if (dimension, normalized) == (space.dimension, space.normalized) => {
            Ok(Some(id))
        }
        Some((_, dimension, normalized)) => Err(Failure::defect(format!(
            "vectors of {} with {} have dimension {dimension} and normalized {normalized}, not {} and {}",
            space.model, space.chunking, space.dimension, space.normalized
        ))),
        None if is_dropped(tx, &space.model)? => Ok(None),
        None => {
            execute(
                tx,
                "INSERT INTO spaces (model, chunking, dimension, normalized) VALUES (?1, ?2, ?3, ?4)",
                params![space.model, space.chunking, space.dimension, space.normalized],
            )?;
            Ok(Some(tx.last_insert_rowid()))
        }
    }
}
