//! What deckle produces: pages of lines, blocks in reading order, chunks with their provenance.
//!
//! The law: text is UTF-8 in NFC, boxes are points (1/72 inch) from the top left of the upright page, pages count
//! from 1 and everything else from 0. These types know no log, no store and no model.

mod block;
pub mod captions;
pub mod docling;
mod field;
mod figure;
pub mod html;
pub mod markdown;
pub mod metadata;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use block::{Block, BlockKind, Cell, Table};
pub use field::Field;
pub use figure::{Figure, FigureKind};

use crate::error::Reason;

/// A box in points (1/72 inch); origin is the top left of the upright CropBox page.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bbox {
    /// Distance of the left edge from the page's left edge.
    pub left: f32,
    /// Distance of the top edge from the page's top edge.
    pub top: f32,
    /// Distance of the right edge from the page's left edge.
    pub right: f32,
    /// Distance of the bottom edge from the page's top edge.
    pub bottom: f32,
}

impl Bbox {
    /// Width in points, never negative.
    pub fn width(&self) -> f32 {
        (self.right - self.left).max(0.0)
    }

    /// Height in points, never negative.
    pub fn height(&self) -> f32 {
        (self.bottom - self.top).max(0.0)
    }

    /// Area in square points.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// The smallest box around both.
    pub fn union(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// The smallest box around all; `None` for none.
    pub fn around<'a>(boxes: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        boxes.into_iter().copied().reduce(|a, b| a.union(&b))
    }

    /// The area shared by both, in square points.
    pub fn overlap(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        if width > 0.0 && height > 0.0 { width * height } else { 0.0 }
    }
}

/// Where something stands in its source: one type for all provenance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Locator {
    /// Page, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_no: Option<u32>,
    /// Box on that page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<Bbox>,
    /// Start in a recording, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<i64>,
    /// End in a recording, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<i64>,
    /// Sheet of a workbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Cells of a sheet, as `A1:C3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_range: Option<String>,
}

impl Locator {
    /// A box on a page.
    pub fn on_page(page_no: u32, bbox: Bbox) -> Self {
        Self { page_no: Some(page_no), bbox: Some(bbox), ..Self::default() }
    }
}

/// How a text was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The file's own characters. Their confidence is `None`, never 1.
    TextLayer,
    /// Optical character recognition.
    Ocr,
    /// Another model.
    Model,
}

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word, NFC.
    pub text: String,
    /// Its box.
    pub bbox: Bbox,
    /// 0..1, or `None` for a text layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
}

/// One line of text. Lines are the truth; models only vote on their grouping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The words joined with single spaces, NFC.
    pub text: String,
    /// Its box.
    pub bbox: Bbox,
    /// The four corners (clockwise from top left), for a skewed line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polygon: Option<[[f32; 2]; 4]>,
    /// Its words, left to right (right to left in such scripts), in reading order.
    pub words: Vec<Word>,
    /// Character-weighted mean of the words, 0..1, or `None` for a text layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// How it was obtained.
    pub method: Method,
    /// Font size in points, where known; for OCR an estimate from the line's height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub font_size: Option<f32>,
    /// Whether most characters are bold, where known.
    #[serde(default)]
    pub bold: bool,
}

/// Character-weighted confidence of a page or a document.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// Character-weighted mean, 0..1.
    pub mean: f32,
    /// 10th percentile over characters, 0..1.
    pub p10: f32,
}

impl Confidence {
    /// Summarises lines; `None` when none of them has a confidence (a text layer).
    pub fn of_lines<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Option<Self> {
        let mut weighted: Vec<(f32, usize)> = lines
            .into_iter()
            .flat_map(|line| &line.words)
            .filter_map(|word| Some((word.confidence?, word.text.chars().count())))
            .collect();
        let total: usize = weighted.iter().map(|(_, n)| n).sum();
        if total == 0 {
            return None;
        }
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = weighted.iter().map(|(c, n)| f64::from(*c) * *n as f64).sum::<f64>() / total as f64;
        let mut seen = 0;
        let p10 = weighted
            .iter()
            .find(|(_, n)| {
                seen += n;
                seen * 10 >= total
            })
            .map_or(0.0, |(c, _)| *c);
        Some(Self { mean: mean as f32, p10 })
    }
}

/// Where bytes lie in the blob store (a claim check).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// `tenant/document/sha256`.
    pub key: String,
    /// Lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// What the bytes are.
    pub media_type: String,
}

/// What is drawn on a page besides text and pictures: evidence for tables and figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Drawing {
    /// Straight horizontal and vertical strokes, as boxes; the thinner side is at most a few points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Bbox>,
    /// Boxes of all other paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Bbox>,
}

/// What a layout model says of a part of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// What it takes it for.
    pub kind: RegionKind,
    /// Where the region lies on the page.
    pub bbox: Bbox,
    /// How sure it is, 0..1.
    pub score: f32,
}

/// The classes of the CDLA data set, which the layout model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionKind {
    /// Running text.
    Text,
    /// A heading of any level.
    Title,
    /// A picture or drawing.
    Figure,
    /// The caption of a figure.
    FigureCaption,
    /// A table.
    Table,
    /// The caption of a table.
    TableCaption,
    /// A page header.
    Header,
    /// A page footer.
    Footer,
    /// An entry of a bibliography.
    Reference,
    /// A formula that is set apart from the text.
    Equation,
}

/// One page: its lines, and after layout its blocks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Counted from 1.
    pub page_no: u32,
    /// Width in points of the upright page.
    pub width: f32,
    /// Height in points of the upright page.
    pub height: f32,
    /// Clockwise degrees already applied to make it upright: 0, 90, 180 or 270.
    pub rotation: u16,
    /// Degrees that the picture was turned clockwise besides, to level its lines; 0 for a text layer.
    #[serde(default)]
    pub skew: f32,
    /// Resolution of `image`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpi: Option<f32>,
    /// The upright, levelled rendering that models read (PNG).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<BlobRef>,
    /// Where the lines came from; `None` for an empty page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Why the text layer was taken or not, in one word: `text_layer`, `text_layer_and_images`, `empty`, or why the page
    /// was recognised, as `no_text_layer`; for the trail.
    #[serde(default)]
    pub decision: String,
    /// What the decision was made from, by the signals' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, f32>,
    /// All lines, in no particular order.
    pub lines: Vec<Line>,
    /// Regions of figures found in the file (not in text), for layout.
    #[serde(default)]
    pub images: Vec<Bbox>,
    /// What is drawn on the page besides.
    #[serde(default)]
    pub drawing: Drawing,
    /// Links on the page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<metadata::Link>,
    /// Form fields on the page; what was filled in stands among the lines as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form_fields: Vec<metadata::FormField>,
    /// From the file's own coordinates to points of the upright page: x is `a x + c y + e`, y is `b x + d y + f`.
    /// `None` where the file has none, or the picture was turned besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_user_space: Option<[f32; 6]>,
    /// What the layout model sees; empty where it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// Blocks in reading order; empty before the vision stage.
    #[serde(default)]
    pub blocks: Vec<Block>,
}

/// What the assembled document keeps of each page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PageInfo {
    /// Counted from 1.
    pub page_no: u32,
    /// Width in points.
    pub width: f32,
    /// Height in points.
    pub height: f32,
    /// Clockwise degrees applied.
    pub rotation: u16,
    /// Where the text came from; `None` for an empty or failed page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Confidence of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// Why it could not be read, or not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Links on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<metadata::Link>,
    /// Form fields on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form_fields: Vec<metadata::FormField>,
}

/// A whole document: what exports, chunks and readers are made from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Document {
    /// Its file name, without folders.
    pub filename: String,
    /// Sniffed media type.
    pub media_type: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// The title, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Pages, in order; empty for a file without pages.
    pub pages: Vec<PageInfo>,
    /// Blocks in reading order over all pages, furniture included.
    pub blocks: Vec<Block>,
    /// Labelled values, in the order of pages and lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// Confidence over all pages; `None` for text layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// What the file says of itself.
    #[serde(default, skip_serializing_if = "metadata::DocumentMetadata::is_empty")]
    pub facts: metadata::DocumentMetadata,
}

/// A piece of a document that fits the embedding model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Counted from 0 within the run.
    pub chunk_no: u32,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Its own text, headings left out.
    pub text: String,
    /// Where its blocks stand.
    pub prov: Vec<Locator>,
    /// Tokens of what the model reads (headings and text), special tokens included.
    pub token_count: u32,
}

impl Chunk {
    /// What the embedding model reads: the headings as context, then the text.
    pub fn embedded_text(&self) -> String {
        if self.headings.is_empty() {
            self.text.clone()
        } else {
            format!("{}\n{}", self.headings.join(" > "), self.text)
        }
    }
}
