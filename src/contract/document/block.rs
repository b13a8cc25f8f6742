//! What pages and documents are made of: blocks in reading order, tables and their cells.

use serde::{Deserialize, Serialize};

use super::{BlobRef, Locator, Method};

/// What a block is; the field's (Docling's) labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// The document's title.
    Title,
    /// A heading; its depth is [`Block::level`].
    SectionHeader,
    /// A paragraph.
    Text,
    /// An item of a list; its marker is [`Block::marker`].
    ListItem,
    /// A table; its cells are [`Block::table`].
    Table,
    /// A picture.
    Picture,
    /// The caption of a picture or table.
    Caption,
    /// Code, verbatim.
    Code,
    /// Repeated at the top of pages.
    PageHeader,
    /// Repeated at the bottom of pages.
    PageFooter,
    /// A footnote.
    Footnote,
}

impl BlockKind {
    /// Page headers and footers: kept, but out of the reading flow.
    pub fn is_furniture(self) -> bool {
        matches!(self, Self::PageHeader | Self::PageFooter)
    }
}

/// One block in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its text: lines joined, hyphens at line ends mended, NFC. Verbatim for code.
    pub text: String,
    /// Depth of a section header, from 1; nesting of a list item, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// A list item's own marker, such as `•` or `2.`, which `text` leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// Language of code, such as `rust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_language: Option<String>,
    /// Where it stands; empty for a file without pages.
    #[serde(default)]
    pub prov: Vec<Locator>,
    /// Its lines as indexes into the page's `lines`; empty once the document is assembled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line_indexes: Vec<u32>,
    /// Cells, when it is a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// Character-weighted mean, 0..1; `None` for a text layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// How its text was obtained.
    pub method: Method,
    /// The picture itself (PNG), when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<BlobRef>,
}

impl Block {
    /// A block of a text layer that knows no place.
    pub fn new(kind: BlockKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            level: None,
            marker: None,
            code_language: None,
            prov: Vec::new(),
            line_indexes: Vec::new(),
            table: None,
            confidence: None,
            method: Method::TextLayer,
            image: None,
        }
    }
}

/// A table's grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Number of rows.
    pub rows: u32,
    /// Number of columns.
    pub columns: u32,
    /// Its cells, row by row.
    pub cells: Vec<Cell>,
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// First row, from 0.
    pub row_index: u32,
    /// First column, from 0.
    pub column_index: u32,
    /// Rows covered, at least 1.
    pub row_span: u32,
    /// Columns covered, at least 1.
    pub column_span: u32,
    /// Whether it heads a column.
    pub header: bool,
    /// Whether it heads its row.
    #[serde(default)]
    pub row_header: bool,
    /// Its text.
    pub text: String,
    /// Its box, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prov: Option<Locator>,
}
