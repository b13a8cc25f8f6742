//! The writes of stages, and the deletes of commands. The parent module says what each timestamp does.
//!
//! The law: no write of a stage reads first, and none takes a clock.

use std::collections::BTreeMap;

use futures::try_join;

use super::{
    super::{Completion, DocumentKey, PageRow, PublishedVersion, RunKey, Submission, UploadClaim, json::encode},
    entries::{self, Entered, SearchKeys},
    session::Session,
    values::{delete_timestamp, number},
};
use deckle_contract::{
    document::Chunk,
    error::{Failure, Result},
};

/// Bytes of a row beside its text: keys, numbers and what the protocol adds.
const ROW_OVERHEAD: usize = 128;

/// Keeps the claim and returns the lowest of all.
pub(super) async fn claim_upload(
    session: &Session,
    tenant: &str,
    upload_id: &str,
    run: i64,
    subject: &str,
) -> Result<UploadClaim> {
    let claim = "INSERT INTO uploads (tenant, upload_id, run, subject) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    session.write(claim, (tenant, upload_id, run, subject, run)).await?;
    let lowest = "SELECT run, subject FROM uploads WHERE tenant = ? AND upload_id = ? LIMIT 1";
    let found = session.read_one::<(i64, Option<String>)>(lowest, (tenant, upload_id)).await?;
    found
        .map(|(run, subject)| UploadClaim { run, subject })
        .ok_or_else(|| Failure::defect("scylla: a claim that was acknowledged is not there"))
}

/// Writes the intake's cell of the header.
pub(super) async fn put_intake(
    session: &Session,
    entered: &Entered,
    key: &DocumentKey,
    intake: &Submission,
    version: i64,
) -> Result<()> {
    let cell = encode(intake)?;
    let update = "UPDATE documents USING TIMESTAMP ? SET intake = ? WHERE tenant = ? AND document_id = ? AND run = ?";
    let values = (version, &cell, &key.tenant, &key.document_id, intake.run);
    try_join!(entered.enter(session, key, SearchKeys::by_intake(intake)), session.write(update, values))?;
    Ok(())
}

/// Writes the cells that readers follow.
pub(super) async fn set_current(
    session: &Session,
    entered: &Entered,
    key: &DocumentKey,
    current: &PublishedVersion,
) -> Result<()> {
    let cell = encode(current)?;
    let update = "UPDATE documents USING TIMESTAMP ?
                  SET current = ?, status = ?, filename = ?, language = ?, page_count = ?, chunk_count = ?
                  WHERE tenant = ? AND document_id = ? AND run = ?";
    let values = (
        current.version,
        &cell,
        current.status.as_str(),
        &current.source.filename,
        &current.language,
        number(current.page_count)?,
        number(current.chunk_count)?,
        &key.tenant,
        &key.document_id,
        current.run,
    );
    try_join!(entered.enter(session, key, SearchKeys::by_current(current)), session.write(update, values))?;
    Ok(())
}

/// Writes how a run ended.
pub(super) async fn put_ended(
    session: &Session,
    entered: &Entered,
    key: &DocumentKey,
    ended: &Completion,
) -> Result<()> {
    let cell = encode(ended)?;
    let update = "UPDATE documents USING TIMESTAMP ? SET ended = ? WHERE tenant = ? AND document_id = ? AND run = ?";
    let values = (ended.version, &cell, &key.tenant, &key.document_id, ended.run);
    try_join!(
        entered.enter(session, key, SearchKeys::by_end(ended)),
        entries::move_on(session, key, ended),
        session.write(update, values)
    )?;
    Ok(())
}

/// Writes one page of a run.
pub(super) async fn put_page(session: &Session, run: &RunKey, row: &PageRow) -> Result<()> {
    let RunKey { document, run } = run;
    let insert = "INSERT INTO pages (tenant, document_id, run, page_no, page) VALUES (?, ?, ?, ?, ?)
                  USING TIMESTAMP ?";
    let page = encode(row)?;
    let values = (&document.tenant, &document.document_id, run, number(row.page_no)?, &page, row.version);
    session.write(insert, values).await
}

/// Takes note that pages of a run come again, each with at least this version.
pub(super) async fn await_pages(session: &Session, run: &RunKey, pages: &BTreeMap<u32, i64>) -> Result<()> {
    let RunKey { document, run } = run;
    let insert = "INSERT INTO awaited_pages (tenant, document_id, run, page_no, version) VALUES (?, ?, ?, ?, ?)
                  USING TIMESTAMP ?";
    let row = |(page_no, version): (&u32, &i64)| {
        Ok((&document.tenant, &document.document_id, *run, number(*page_no)?, *version, *version))
    };
    let rows = pages.iter().map(row).collect::<Result<Vec<_>>>()?;
    session.write_all(insert, &rows, |_| ROW_OVERHEAD).await
}

/// Writes chunks of a run.
pub(super) async fn put_chunks(session: &Session, run: &RunKey, version: i64, chunks: &[Chunk]) -> Result<()> {
    let RunKey { document, run } = run;
    let insert = "INSERT INTO chunks (tenant, document_id, run, chunk_no, chunk) VALUES (?, ?, ?, ?, ?)
                  USING TIMESTAMP ?";
    let row = |chunk: &Chunk| {
        let chunk_no = number(chunk.chunk_no)?;
        Ok((&document.tenant, &document.document_id, *run, chunk_no, encode(chunk)?, version))
    };
    let rows = chunks.iter().map(row).collect::<Result<Vec<_>>>()?;
    session.write_all(insert, &rows, |(.., chunk, _)| chunk.len() + ROW_OVERHEAD).await
}

/// Deletes chunks numbered `chunk_count` and above, as of `version`.
pub(super) async fn trim_chunks(session: &Session, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
    let RunKey { document, run } = run;
    let delete = "DELETE FROM chunks USING TIMESTAMP ?
                  WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no >= ?";
    let values = (version, &document.tenant, &document.document_id, run, number(chunk_count)?);
    session.write(delete, values).await
}

/// Hides every run up to and with `erased_at` for ever.
pub(super) async fn hide_erased(session: &Session, entered: &Entered, key: &DocumentKey, erased_at: i64) -> Result<()> {
    let update = "UPDATE documents USING TIMESTAMP ? SET erased_at = ? WHERE tenant = ? AND document_id = ?";
    let values = (erased_at, erased_at, &key.tenant, &key.document_id);
    try_join!(entries::enter_erasure(session, entered, key, erased_at), session.write(update, values))?;
    Ok(())
}

/// Hides every run below `run` for ever.
pub(super) async fn hide_below(session: &Session, key: &DocumentKey, run: i64) -> Result<()> {
    let update = "UPDATE documents USING TIMESTAMP ? SET removed_below = ? WHERE tenant = ? AND document_id = ?";
    session.write(update, (run, run, &key.tenant, &key.document_id)).await
}

/// How many rows of pages and chunks there are of runs up to and with `last`.
pub(super) async fn count_runs(session: &Session, key: &DocumentKey, last: i64) -> Result<u64> {
    let values = || (&key.tenant, &key.document_id, last);
    let (pages, chunks) = try_join!(
        session.read_one::<(i64,)>(
            "SELECT count(*) FROM pages WHERE tenant = ? AND document_id = ? AND run <= ?",
            values()
        ),
        session.read_one::<(i64,)>(
            "SELECT count(*) FROM chunks WHERE tenant = ? AND document_id = ? AND run <= ?",
            values()
        ),
    )?;
    let counts = [pages, chunks].into_iter().flatten().map(|(count,)| count.unsigned_abs());
    Ok(counts.sum())
}

/// Deletes the rows of runs up to and with `last`, what leads to them by their files, and what the header says of them.
pub(super) async fn delete_runs(session: &Session, key: &DocumentKey, last: i64) -> Result<()> {
    entries::delete_files(session, key, last).await?;
    let at = delete_timestamp();
    let values = || (at, &key.tenant, &key.document_id, last);
    try_join!(
        session.write(
            "DELETE FROM documents USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?",
            values()
        ),
        session
            .write("DELETE FROM pages USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?", values()),
        session.write(
            "DELETE FROM awaited_pages USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?",
            values()
        ),
        session
            .write("DELETE FROM chunks USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?", values()),
        session
            .write("DELETE FROM figures USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?", values()),
        session
            .write("DELETE FROM fields USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?", values()),
    )?;
    Ok(())
}
