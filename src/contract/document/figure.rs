//! A picture or a table of a document, with its caption: what analytics ask for apart from the text.

use serde::{Deserialize, Serialize};

use super::{BlockKind, Locator, Method, Table};

/// A picture or a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Counted from 0 within the run, in reading order.
    pub figure_no: u32,
    /// Which of both.
    pub kind: FigureKind,
    /// Where it stands; empty for a file without pages.
    pub prov: Vec<Locator>,
    /// The words of the caption beside it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Its own text: that of a table row by row, that of a picture where the file says one.
    pub text: String,
    /// A table's grid. Boxes of cells are left to the document itself, whose tables can be large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// Character-weighted mean, 0..1; `None` for a text layer and for what has no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// How its text was obtained.
    pub method: Method,
}

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureKind {
    /// A picture.
    Picture,
    /// A table.
    Table,
}

impl FigureKind {
    /// As it is written in JSON and in columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Table => "table",
        }
    }

    /// What a block is, if it is a figure.
    pub fn of(kind: BlockKind) -> Option<Self> {
        match kind {
            BlockKind::Picture => Some(Self::Picture),
            BlockKind::Table => Some(Self::Table),
            _ => None,
        }
    }
}
