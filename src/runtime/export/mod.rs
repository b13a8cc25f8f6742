//! Exports for analytics: documents, pages or chunks as columns (Parquet) or lines (JSON Lines).
//!
//! The law: what is held is a few documents and one row group, however much is exported (and 16 bytes for each document
//! of a window in time). A document is exported as one
//! run and version: one that moves on while it is read is read anew, one that is erased is left out.
//!
//! ```text
//! headers, page by page ──► documents, a few read ahead ──► rows ──► columns or lines ──► the file's name
//! ```
//!
//! Exports that follow each other in time join without a gap: `until` of one is `since` of the next, both by the time
//! of publishing, which the log gives. A document shows some time after that, so `until` lies minutes in the past. A
//! later row of a document (higher run, then version) replaces all earlier ones, and one with `erased_at` deletes them.
//!
//! # Columns
//!
//! Names and types never change; columns may be added. In Parquet a time is a timestamp of µs in UTC, in JSON Lines it
//! is RFC 3339. `deckle export --help` prints all of them, from the same list.

mod columns;
mod headers;
mod jsonl;
mod parquet;
mod rows;
mod target;

use std::io;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use self::{
    columns::{Cell, Column, Kind},
    rows::{What, described},
    target::Target,
};
use self::{
    jsonl::JsonLines,
    parquet::Parquet,
    rows::{PageText, Rows, Vectors},
};
use deckle_blob::Blobs;
use deckle_contract::{
    document::BlobRef,
    error::{Failure, code},
};
use deckle_store::{DocumentKey, DocumentRun, Header, PublishedVersion, RunKey, Store};

/// Documents read ahead of the one that is written.
const AHEAD: usize = 2;
/// Blobs of pages read at once, of one document after the other: a single page may have megabytes.
const PAGES: usize = 4;
/// How often a document is read anew because it moved on meanwhile.
const READINGS: usize = 16;

/// The documents and rows that an export writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The kind of thing that each row describes.
    pub what: What,
    /// Only documents of this tenant.
    pub tenant: Option<String>,
    /// Only what was published then or later, µs; what was not published by when it ended or was erased.
    pub since: Option<i64>,
    /// Only what was published before this time, µs.
    pub until: Option<i64>,
    /// The model whose vectors are exported too, where rows are chunks.
    pub vectors: Option<String>,
}

impl Request {
    fn admits(&self, header: &Header) -> bool {
        let at = at(header);
        at.is_some_and(|at| self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until))
    }
}

/// The time of a document in exports; `None` while its first run is on its way.
fn at(header: &Header) -> Option<i64> {
    let published = header.current.as_ref().map(|current| current.published_at);
    published.or(header.ended.as_ref().map(|ended| ended.at)).or(header.erased_at)
}

/// The file format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, zstd.
    Parquet,
    /// JSON Lines, UTF-8.
    JsonLines,
}

/// What was written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Documents that have rows.
    pub documents: u64,
    /// Rows written so far.
    pub rows: u64,
    /// Bytes of the whole file; 0 until its content ends.
    pub bytes: u64,
}

/// One form of export.
trait Form: Send {
    /// Adds a row, a cell for each column.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
    /// Ends the content.
    fn finish(self: Box<Self>) -> io::Result<Target>;
}

/// What stopped an export. What was written by then is taken away again, unless it went to a pipe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Documents cannot be read.
    #[error(transparent)]
    Read(#[from] Failure),
    /// The target cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Exports what a request names; calls `report` with how far it is.
///
/// # Errors
/// See [`Error`].
pub async fn export(
    store: &dyn Store,
    blobs: &dyn Blobs,
    request: &Request,
    format: Format,
    target: Target,
    mut report: impl FnMut(Written),
) -> Result<Written, Error> {
    let columns = request.what.columns(request.vectors.is_some());
    let (to_writer, rows) = mpsc::channel(1);
    let (from_writer, mut progress) = mpsc::unbounded_channel();
    // It blocks on the target, and compresses.
    let writing = tokio::task::spawn_blocking(move || write(format, columns, target, rows, &from_writer));
    let now = Timestamp::now().as_microsecond();
    let mut documents = headers::headers(store, request, now)
        .map_ok(|header| read(store, blobs, request, header))
        .try_buffered(if request.what == What::Pages { 1 } else { AHEAD });
    let mut failed = None;
    loop {
        let step = match documents.try_next().await {
            Ok(Some(None)) => continue,
            Ok(Some(Some(rows))) => Step::Rows(rows),
            Ok(None) => Step::End,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        };
        let is_end = matches!(step, Step::End);
        // A writer that is gone says why below.
        if to_writer.send(step).await.is_err() || is_end {
            break;
        }
        while let Ok(written) = progress.try_recv() {
            report(written);
        }
    }
    drop(to_writer);
    let written = writing.await.map_err(|error| Failure::defect(format!("an export ended early: {error}")))?;
    match failed {
        Some(failure) => Err(failure.into()),
        None => Ok(written?),
    }
}

/// A message to the thread that writes the file.
enum Step {
    /// The rows of one document.
    Rows(Rows),
    /// The end of the rows: without it the file does not get its name.
    End,
}

fn write(
    format: Format,
    columns: &'static [Column],
    target: Target,
    mut steps: mpsc::Receiver<Step>,
    progress: &mpsc::UnboundedSender<Written>,
) -> io::Result<Written> {
    let mut form: Box<dyn Form> = match format {
        Format::Parquet => Box::new(Parquet::new(target, columns)?),
        Format::JsonLines => Box::new(JsonLines::new(target, columns)),
    };
    let mut written = Written::default();
    while let Some(step) = steps.blocking_recv() {
        let Step::Rows(rows) = step else {
            written.bytes = form.finish()?.settle()?;
            return Ok(written);
        };
        let before = written.rows;
        rows.each(|cells| {
            written.rows += 1;
            form.row(cells)
        })?;
        written.documents += u64::from(written.rows > before);
        // Whoever asked may have stopped listening.
        let _ = progress.send(written);
    }
    Err(io::Error::new(io::ErrorKind::Interrupted, "the export was given up"))
}

/// The rows of one document; `None` where it is nothing of what is asked for, any more or yet.
async fn read(
    store: &dyn Store,
    blobs: &dyn Blobs,
    request: &Request,
    header: Header,
) -> Result<Option<Rows>, Failure> {
    if request.what == What::Documents {
        return Ok(Some(Rows::Document(Box::new(header))));
    }
    if header.current.is_none() {
        return Ok(None);
    }
    for _ in 0..READINGS {
        let found = store.document(&header.key).await?;
        let Some(run) = found.filter(|run| request.admits(&run.header)) else { return Ok(None) };
        let Some(current) = &run.header.current else { return Ok(None) };
        let rows = match request.what {
            What::Pages => pages(store, blobs, current, run.clone()).await?,
            _ => chunks(store, request, current, run.clone()).await?,
        };
        if rows.is_some() {
            return Ok(rows);
        }
    }
    let DocumentKey { tenant, document_id } = &header.key;
    Err(Failure::transient(format!("{tenant}/{document_id} changes faster than it is read")))
}

/// Chunks, with vectors of the same run and version; `None` where it moved on before those were read.
async fn chunks(
    store: &dyn Store,
    request: &Request,
    current: &PublishedVersion,
    run: DocumentRun,
) -> Result<Option<Rows>, Failure> {
    let Some(model) = &request.vectors else { return Ok(Some(Rows::Chunks(Box::new(run), None))) };
    let key = RunKey { document: run.header.key.clone(), run: current.run };
    let vectors = Vectors { model: model.clone(), rows: store.vectors(&key, model).await? };
    let is_same = is_current(store, &run.header.key, current).await?;
    Ok(is_same.then(|| Rows::Chunks(Box::new(run), Some(vectors))))
}

/// Pages, each with its text; `None` where the document moved on and took its blobs along.
async fn pages(
    store: &dyn Store,
    blobs: &dyn Blobs,
    current: &PublishedVersion,
    run: DocumentRun,
) -> Result<Option<Rows>, Failure> {
    let blobs_of_pages: Vec<_> = run.pages.iter().map(|row| row.page.clone()).collect();
    let texts =
        stream::iter(blobs_of_pages).map(|blob| page_text(blobs, blob)).buffered(PAGES).try_collect::<Vec<_>>().await;
    match texts {
        Ok(texts) => Ok(Some(Rows::Pages(Box::new(run), texts))),
        Err(failure) if failure.code() == code::SOURCE_MISSING => {
            if is_current(store, &run.header.key, current).await? { Err(failure) } else { Ok(None) }
        }
        Err(failure) => Err(failure),
    }
}

async fn page_text(blobs: &dyn Blobs, blob: Option<BlobRef>) -> Result<Option<PageText>, Failure> {
    let Some(blob) = blob else { return Ok(None) };
    let bytes = blobs.get(&blob).await?;
    let page = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::defect(format!("the blob {} is no page: {error}", blob.key)))?;
    Ok(Some(page))
}

async fn is_current(store: &dyn Store, key: &DocumentKey, current: &PublishedVersion) -> Result<bool, Failure> {
    Ok(store.header(key).await?.and_then(|header| header.current).as_ref() == Some(current))
}
