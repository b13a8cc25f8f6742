//! What rows are exported: documents, pages or chunks, and what their columns are.

use serde::Deserialize;

use super::columns::{Cell, Column, Kind};
use deckle_contract::document::{Confidence, Method};
use deckle_store::{DocumentRun, Header, PageRow, PublishedVersion};

/// What the rows of an export are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A row for each document, failed and erased ones too.
    Documents,
    /// A row for each page of a published document, with its text.
    Pages,
    /// A row for each chunk of a published document.
    Chunks,
}

const fn column(name: &'static str, kind: Kind, meaning: &'static str) -> Column {
    Column { name, kind, meaning }
}

const TENANT: Column = column("tenant", Kind::Text, "whose document it is");
const DOCUMENT_ID: Column = column("document_id", Kind::Text, "the document, within its tenant");
const RUN: Column = column("run", Kind::Long, "when its upload was taken, µs; a higher run replaces a lower one");
const VERSION: Column = column("version", Kind::Long, "the run, or later after a redrive; a higher one replaces");
const FILENAME: Column = column("filename", Kind::Text, "name of the file, without folders");
const MEDIA_TYPE: Column = column("media_type", Kind::Text, "type of the file, by its content");
const LANGUAGE: Column = column("language", Kind::Text, "of the document, BCP 47; `und` when unknown");
const PUBLISHED_AT: Column = column("published_at", Kind::Time, "when this version was published");
const CONFIDENCE_MEAN: Column = column("confidence_mean", Kind::Float, "mean of OCR, 0 to 1; null for a text layer");
const CONFIDENCE_P10: Column = column("confidence_p10", Kind::Float, "what a tenth of the text stays below");

const DOCUMENTS: &[Column] = &[
    TENANT,
    DOCUMENT_ID,
    RUN,
    VERSION,
    column("status", Kind::Text, "published, partial, failed or erased"),
    FILENAME,
    MEDIA_TYPE,
    column("size_bytes", Kind::Long, "length of the file"),
    column("sha256", Kind::Text, "of the file, in hex"),
    column("title", Kind::Text, "where one is known"),
    LANGUAGE,
    column("page_count", Kind::Int, "pages; 0 for a file without pages"),
    column("failed_pages", Kind::Int, "pages that could not be read"),
    column("block_count", Kind::Int, "blocks: headings, paragraphs, tables, …"),
    column("chunk_count", Kind::Int, "chunks"),
    CONFIDENCE_MEAN,
    CONFIDENCE_P10,
    column("attributes", Kind::Pairs, "what its upload said of it"),
    column("access", Kind::Texts, "who may find it, as its upload said; empty = everybody"),
    column("reasons", Kind::Reasons, "why it is not whole: code, message, stage, page_no, retryable"),
    PUBLISHED_AT,
    column("ended_at", Kind::Time, "when its newest run ended, published or not"),
    column("erased_at", Kind::Time, "every run up to then is to be deleted"),
];

const PAGES: &[Column] = &[
    TENANT,
    DOCUMENT_ID,
    RUN,
    VERSION,
    FILENAME,
    column("page_no", Kind::Int, "from 1"),
    column("width", Kind::Float, "points (1/72 inch) of the upright page"),
    column("height", Kind::Float, "points"),
    column("rotation", Kind::Int, "degrees clockwise that made it upright"),
    column("method", Kind::Text, "where its text is from: text_layer, ocr or model"),
    CONFIDENCE_MEAN,
    CONFIDENCE_P10,
    column("text", Kind::Text, "its blocks in reading order, an empty line between them"),
    column("reason_code", Kind::Text, "why it could not be read"),
    column("reason_message", Kind::Text, "the same in words"),
    PUBLISHED_AT,
];

const CHUNKS: &[Column] = &[
    TENANT,
    DOCUMENT_ID,
    RUN,
    VERSION,
    FILENAME,
    MEDIA_TYPE,
    LANGUAGE,
    PUBLISHED_AT,
    column("chunk_no", Kind::Int, "from 0"),
    column("headings", Kind::Texts, "the headings above it, outermost first"),
    column("text", Kind::Text, "its own text, headings left out"),
    column("token_count", Kind::Int, "tokens of headings and text"),
    column("prov", Kind::Places, "where it stands: page_no, bbox in points, …"),
];

const CHUNKS_WITH_VECTORS: &[Column] = &{
    let mut columns = [TENANT; CHUNKS.len() + 2];
    let mut at = 0;
    while at < CHUNKS.len() {
        columns[at] = CHUNKS[at];
        at += 1;
    }
    columns[at] = column("model", Kind::Text, "with --vectors: the model that embedded it");
    columns[at + 1] = column("vector", Kind::Floats, "with --vectors: its embedding; null where it has none");
    columns
};

impl What {
    /// Its columns, in order.
    pub fn columns(self, vectors: bool) -> &'static [Column] {
        match self {
            Self::Documents => DOCUMENTS,
            Self::Pages => PAGES,
            Self::Chunks if vectors => CHUNKS_WITH_VECTORS,
            Self::Chunks => CHUNKS,
        }
    }

    /// What one row is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Documents => "document",
            Self::Pages => "page",
            Self::Chunks => "chunk",
        }
    }
}

/// Rows of one document, read as one run.
pub(super) enum Rows {
    /// The document itself.
    Document(Box<Header>),
    /// Its pages, each with the parts of its blob that are exported; `None` for one that failed.
    Pages(Box<DocumentRun>, Vec<Option<PageText>>),
    /// Its chunks; with vectors, where a model was asked for.
    Chunks(Box<DocumentRun>, Option<Vectors>),
}

/// Vectors of one run.
pub(super) struct Vectors {
    /// The model that made them.
    pub(super) model: String,
    /// By chunk number; of a model that knows several ways of cutting, the first of a number counts.
    pub(super) rows: Vec<(u32, Vec<f32>)>,
}

impl Vectors {
    fn of(&self, chunk_no: u32) -> Option<&[f32]> {
        let at = self.rows.partition_point(|(other, _)| *other < chunk_no);
        let (_, vector) = self.rows.get(at).filter(|(other, _)| *other == chunk_no)?;
        Some(vector)
    }
}

/// The parts of a page's blob that are exported; the rest (words, boxes) is never held.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct PageText {
    width: f32,
    height: f32,
    rotation: u16,
    #[serde(default)]
    lines: Vec<Text>,
    #[serde(default)]
    blocks: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Text {
    text: String,
}

impl PageText {
    fn text(&self) -> String {
        let joined = |texts: &[Text], by: &str| {
            let texts: Vec<_> = texts.iter().map(|it| it.text.as_str()).filter(|text| !text.is_empty()).collect();
            texts.join(by)
        };
        if self.blocks.is_empty() { joined(&self.lines, "\n") } else { joined(&self.blocks, "\n\n") }
    }
}

impl Rows {
    /// Hands over the cells of each row.
    pub(super) fn each<E>(&self, mut take: impl FnMut(&[Cell<'_>]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Document(header) => take(&document(header)),
            Self::Pages(run, texts) => {
                let Some(current) = &run.header.current else { return Ok(()) };
                run.pages.iter().zip(texts).try_for_each(|(row, text)| {
                    let whole = text.as_ref().map(PageText::text);
                    take(&page(&run.header, current, row, text.as_ref(), whole.as_deref()))
                })
            }
            Self::Chunks(run, vectors) => chunks(run, vectors.as_ref(), take),
        }
    }
}

fn document(header: &Header) -> Vec<Cell<'_>> {
    let (current, ended) = (header.current.as_ref(), header.ended.as_ref());
    let run = current.map(|it| it.run).or(ended.map(|it| it.run)).or(header.erased_at);
    let version = current.map(|it| it.version).or(ended.map(|it| it.version)).or(header.erased_at);
    let status =
        current.map(|it| it.status).or(ended.map(|it| it.status)).unwrap_or(deckle_contract::record::Status::Erased);
    let source = current.map(|it| &it.source).or(ended.map(|it| &it.source));
    let reasons = current.map(|it| &it.reasons).or(ended.map(|it| &it.reasons));
    let [mean, p10] = confidence(current.and_then(|it| it.confidence));
    vec![
        Cell::Text(&header.key.tenant),
        Cell::Text(&header.key.document_id),
        Cell::of(run, Cell::Long),
        Cell::of(version, Cell::Long),
        Cell::Text(status.as_str()),
        Cell::of(source, |it| Cell::Text(&it.filename)),
        Cell::of(source, |it| Cell::Text(&it.media_type)),
        Cell::of(source, |it| Cell::Long(it.size_bytes)),
        Cell::of(source, |it| Cell::Text(&it.sha256)),
        Cell::of(current.and_then(|it| it.title.as_deref()), Cell::Text),
        Cell::of(current, |it| Cell::Text(&it.language)),
        Cell::of(current, |it| Cell::Int(it.page_count)),
        Cell::of(current, |it| Cell::Int(it.failed_pages)),
        Cell::of(current, |it| Cell::Int(it.block_count)),
        Cell::of(current, |it| Cell::Int(it.chunk_count)),
        mean,
        p10,
        Cell::of(current, |it| Cell::Pairs(&it.attributes)),
        Cell::of(current, |it| Cell::Texts(&it.access)),
        Cell::of(reasons, |it| Cell::Reasons(it)),
        Cell::of(current, |it| Cell::Time(it.published_at)),
        Cell::of(ended, |it| Cell::Time(it.at)),
        Cell::of(header.erased_at, Cell::Time),
    ]
}

fn page<'a>(
    header: &'a Header,
    current: &'a PublishedVersion,
    row: &'a PageRow,
    page: Option<&PageText>,
    text: Option<&'a str>,
) -> Vec<Cell<'a>> {
    let [mean, p10] = confidence(row.confidence);
    let method = row.method.map(|method| match method {
        Method::TextLayer => "text_layer",
        Method::Ocr => "ocr",
        Method::Model => "model",
    });
    vec![
        Cell::Text(&header.key.tenant),
        Cell::Text(&header.key.document_id),
        Cell::Long(current.run),
        Cell::Long(current.version),
        Cell::Text(&current.source.filename),
        Cell::Int(row.page_no),
        Cell::of(page, |it| Cell::Float(it.width)),
        Cell::of(page, |it| Cell::Float(it.height)),
        Cell::of(page, |it| Cell::Int(it.rotation.into())),
        Cell::of(method, Cell::Text),
        mean,
        p10,
        Cell::of(text, Cell::Text),
        Cell::of(row.reason.as_ref(), |it| Cell::Text(&it.code)),
        Cell::of(row.reason.as_ref(), |it| Cell::Text(&it.message)),
        Cell::Time(current.published_at),
    ]
}

fn chunks<E>(
    run: &DocumentRun,
    vectors: Option<&Vectors>,
    mut take: impl FnMut(&[Cell<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(current) = &run.header.current else { return Ok(()) };
    for chunk in &run.chunks {
        let mut cells = vec![
            Cell::Text(&run.header.key.tenant),
            Cell::Text(&run.header.key.document_id),
            Cell::Long(current.run),
            Cell::Long(current.version),
            Cell::Text(&current.source.filename),
            Cell::Text(&current.source.media_type),
            Cell::Text(&current.language),
            Cell::Time(current.published_at),
            Cell::Int(chunk.chunk_no),
            Cell::Texts(&chunk.headings),
            Cell::Text(&chunk.text),
            Cell::Int(chunk.token_count),
            Cell::Places(&chunk.prov),
        ];
        if let Some(vectors) = vectors {
            let vector = vectors.of(chunk.chunk_no);
            cells.push(Cell::of(vector, |_| Cell::Text(&vectors.model)));
            cells.push(Cell::of(vector, Cell::Floats));
        }
        take(&cells)?;
    }
    Ok(())
}

fn confidence<'a>(confidence: Option<Confidence>) -> [Cell<'a>; 2] {
    [Cell::of(confidence, |it| Cell::Float(it.mean)), Cell::of(confidence, |it| Cell::Float(it.p10))]
}

/// The columns of every export as people read them: a line each.
pub fn described() -> String {
    let mut lines = String::new();
    for what in [What::Documents, What::Pages, What::Chunks] {
        lines.push_str(&format!("\nColumns of {}s:\n", what.noun()));
        for Column { name, kind, meaning } in what.columns(true) {
            lines.push_str(&format!("  {name:<16} {:<15} {meaning}\n", kind.name()));
        }
    }
    lines
}
