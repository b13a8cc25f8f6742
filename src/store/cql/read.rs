//! Headers, and documents as one run.
//!
//! The law: runs that were erased or removed are left out here, whatever their rows say; writes do not look.

use std::collections::BTreeMap;

use futures::{TryStreamExt, try_join};

use super::{
    super::{
        DocumentKey, DocumentRun, Header, PageRow, RunKey,
        json::{HeaderCells, decode, decoded},
    },
    session::Session,
    sets,
    values::number,
};
use deckle_contract::{
    document::Chunk,
    error::{Failure, Result},
};

/// Runs of a header asked for at once: the newest one or two are nearly always enough.
const RUNS: i32 = 4;

/// How often a document is read anew because its current run changed meanwhile.
const READINGS: usize = 16;

/// The marks that hide runs of a document: its erasure, and the removal of old runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gone {
    erased_at: Option<i64>,
    removed_below: Option<i64>,
}

impl Gone {
    /// Whether a run was erased or removed.
    pub(super) fn hides(self, run: i64) -> bool {
        self.erases(run) || self.removed_below.is_some_and(|removed_below| run < removed_below)
    }

    /// Whether a run was erased.
    pub(super) fn erases(self, run: i64) -> bool {
        self.erased_at.is_some_and(|erased_at| run <= erased_at)
    }
}

/// Reads what hides runs of a document.
pub(super) async fn gone(session: &Session, key: &DocumentKey) -> Result<Gone> {
    let select = "SELECT DISTINCT tenant, document_id, erased_at, removed_below FROM documents
                  WHERE tenant = ? AND document_id = ?";
    type Row = (String, String, Option<i64>, Option<i64>);
    let found = session.read_one::<Row>(select, (&key.tenant, &key.document_id)).await?;
    Ok(found.map_or_else(Gone::default, |(_, _, erased_at, removed_below)| Gone { erased_at, removed_below }))
}

/// The header; `None` for a document never heard of.
pub(super) async fn header(session: &Session, key: &DocumentKey) -> Result<Option<Header>> {
    let select = "SELECT run, erased_at, removed_below, intake, current, ended FROM documents
                  WHERE tenant = ? AND document_id = ?";
    type Row = (Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<String>, Option<String>);
    // From the newest run down.
    let mut rows = session.stream::<Row, _>(select, (&key.tenant, &key.document_id), RUNS);
    let mut cells = HeaderCells::default();
    while let Some((run, erased_at, removed_below, intake, current, ended)) = rows.try_next().await? {
        (cells.erased_at, cells.removed_below) = (erased_at, removed_below);
        // Without a run it is a row of the static cells alone; below a hidden run all are hidden.
        if run.is_none_or(|run| Gone { erased_at, removed_below }.hides(run)) {
            break;
        }
        cells.intake = cells.intake.or(intake);
        cells.current = cells.current.or(current);
        cells.ended = cells.ended.or(ended);
        if cells.intake.is_some() && cells.current.is_some() && cells.ended.is_some() {
            break;
        }
    }
    cells.decode(key.clone())
}

/// The document as its current run. There is no transaction: where the header has moved on behind the rows, they may be
/// gone or of another run, and all is read anew.
pub(super) async fn document(session: &Session, key: &DocumentKey) -> Result<Option<DocumentRun>> {
    let mut before = header(session, key).await?;
    for _ in 0..READINGS {
        let Some(current) = before.as_ref().and_then(|header| header.current.as_ref()) else { return Ok(None) };
        let (pages, chunks, figures, fields) = try_join!(
            page_rows(session, key, current.run),
            // The header's counts are the truth: a later version of the same run may be half written above it.
            chunk_rows(session, key, current.run, current.chunk_count),
            sets::figures(session, key, current.run, current.figure_count),
            sets::fields(session, key, current.run, current.field_count),
        )?;
        let after = header(session, key).await?;
        match after {
            Some(header) if header.current.as_ref() == Some(current) => {
                return Ok(Some(DocumentRun { header, pages, chunks, figures, fields }));
            }
            moved => before = moved,
        }
    }
    Err(Failure::transient(format!("scylla: {}/{} changes faster than it is read", key.tenant, key.document_id)))
}

/// The pages of a run, current or not.
pub(super) async fn pages(session: &Session, run: &RunKey) -> Result<Vec<PageRow>> {
    let (gone, rows) = try_join!(gone(session, &run.document), page_rows(session, &run.document, run.run))?;
    Ok(if gone.hides(run.run) { Vec::new() } else { rows })
}

/// Pages of a run that are on their way again, and the version they come with.
pub(super) async fn awaited_pages(session: &Session, run: &RunKey) -> Result<BTreeMap<u32, i64>> {
    let RunKey { document, run } = run;
    let select = "SELECT page_no, version FROM awaited_pages WHERE tenant = ? AND document_id = ? AND run = ?";
    let values = (&document.tenant, &document.document_id, run);
    let (gone, rows) = try_join!(gone(session, document), session.read::<(i32, i64)>(select, values))?;
    if gone.hides(*run) {
        return Ok(BTreeMap::new());
    }
    Ok(rows.into_iter().map(|(page_no, version)| (page_no.unsigned_abs(), version)).collect())
}

async fn page_rows(session: &Session, key: &DocumentKey, run: i64) -> Result<Vec<PageRow>> {
    let select = "SELECT page FROM pages WHERE tenant = ? AND document_id = ? AND run = ?";
    decoded(session.read(select, (&key.tenant, &key.document_id, run)).await?)
}

/// The chunks of a run numbered below `chunk_count`, in order.
pub(super) async fn chunk_rows(session: &Session, key: &DocumentKey, run: i64, chunk_count: u32) -> Result<Vec<Chunk>> {
    let select = "SELECT chunk FROM chunks WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no < ?";
    decoded(session.read(select, (&key.tenant, &key.document_id, run, number(chunk_count)?)).await?)
}

/// One chunk of a run; `None` where it was never written, or trimmed.
pub(super) async fn chunk(session: &Session, run: &RunKey, chunk_no: u32) -> Result<Option<Chunk>> {
    let RunKey { document, run } = run;
    let select = "SELECT chunk FROM chunks WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no = ?";
    let values = (&document.tenant, &document.document_id, run, number(chunk_no)?);
    let found = session.read_one::<(String,)>(select, values).await?;
    found.map(|(json,)| decode(&json)).transpose()
}
