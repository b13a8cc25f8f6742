//! What is put into reading order.

use super::Measured;
use deckle_contract::document::{Bbox, Table};

/// What is ordered: a line, a table of lines, or a picture with the lines inside it.
#[derive(Debug, Clone)]
pub(super) enum Item<'a> {
    /// A line of text.
    Line(&'a Measured<'a>),
    /// A table that was found, with its lines.
    Table { bbox: Bbox, lines: Vec<&'a Measured<'a>>, table: Table },
    /// A picture, with the lines that stand in it.
    Picture { bbox: Bbox, lines: Vec<&'a Measured<'a>> },
}

impl Item<'_> {
    pub(super) fn bbox(&self) -> Bbox {
        match self {
            Self::Line(line) => line.bbox,
            Self::Table { bbox, .. } | Self::Picture { bbox, .. } => *bbox,
        }
    }

    /// The horizontal extent that blocks a gutter. A picture's box reaches beyond what is seen of it (shadows, white
    /// margins), so only its middle counts.
    pub(super) fn across(&self) -> (f32, f32) {
        let Bbox { left, right, .. } = self.bbox();
        match self {
            Self::Picture { .. } => (left + (right - left) * 0.3, right - (right - left) * 0.3),
            _ => (left, right),
        }
    }

    /// The inner part of its height. Lines of tight leading overlap at their edges, not here.
    pub(super) fn core(&self) -> (f32, f32) {
        let Bbox { top, bottom, .. } = self.bbox();
        let inset = match self {
            Self::Line(line) => ((bottom - top) * 0.3).max((bottom - top) / 2.0 - line.size),
            _ => ((bottom - top) * 0.3).min(4.0),
        };
        (top + inset, bottom - inset)
    }
}
