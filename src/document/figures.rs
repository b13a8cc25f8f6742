//! The pictures and tables of a document, each with its caption: what analytics ask for apart from the text.
//!
//! The law: a figure repeats what the document's blocks say of it, and adds nothing.

use serde::{Deserialize, Serialize};

use super::{Block, BlockKind, Cell, Locator, Method, Table};

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
    fn of(kind: BlockKind) -> Option<Self> {
        match kind {
            BlockKind::Picture => Some(Self::Picture),
            BlockKind::Table => Some(Self::Table),
            _ => None,
        }
    }
}

/// The figures among blocks in reading order.
pub fn figures(blocks: &[Block]) -> Vec<Figure> {
    let mut caption_of = vec![None; blocks.len()];
    for (caption, owner) in caption_owners(blocks).into_iter().enumerate() {
        if let Some(owner) = owner {
            caption_of[owner] = Some(caption);
        }
    }
    let found =
        blocks.iter().enumerate().filter_map(|(index, block)| Some((index, block, FigureKind::of(block.kind)?)));
    let figure = |((index, block, kind), figure_no): ((usize, &Block, FigureKind), u32)| Figure {
        figure_no,
        kind,
        prov: block.prov.clone(),
        caption: caption_of[index].map(|caption| blocks[caption].text.clone()),
        text: block.text.clone(),
        table: block.table.as_ref().map(without_boxes),
        confidence: block.confidence,
        method: block.method,
    };
    found.zip(0..).map(figure).collect()
}

fn without_boxes(table: &Table) -> Table {
    let cells = table.cells.iter().map(|cell| Cell { prov: None, ..cell.clone() });
    Table { cells: cells.collect(), ..*table }
}

/// For each block that is a caption: the table or picture beside it, by index. The one before comes first, as captions
/// of figures do; each owner takes one caption only.
pub fn caption_owners(blocks: &[Block]) -> Vec<Option<usize>> {
    let mut owner_of = vec![None; blocks.len()];
    let mut taken = vec![false; blocks.len()];
    for index in (0..blocks.len()).filter(|index| blocks[*index].kind == BlockKind::Caption) {
        let is_owner = |at: &usize| FigureKind::of(blocks[*at].kind).is_some();
        let before = index.checked_sub(1).filter(is_owner).filter(|at| !taken[*at]);
        let after = Some(index + 1).filter(|at| *at < blocks.len()).filter(is_owner).filter(|at| !taken[*at]);
        // A table's caption usually stands above it.
        let owner = match (before, after) {
            (Some(before), Some(after))
                if names_table(&blocks[index].text) != (blocks[before].kind == BlockKind::Table) =>
            {
                Some(after)
            }
            (before, after) => before.or(after),
        };
        if let Some(owner) = owner {
            taken[owner] = true;
            owner_of[index] = Some(owner);
        }
    }
    owner_of
}

fn names_table(caption: &str) -> bool {
    caption.trim_start().to_lowercase().starts_with("tab")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Bbox;

    fn block(kind: BlockKind, text: &str) -> Block {
        let json = serde_json::json!({ "kind": kind, "text": text, "method": "text_layer" });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn figures_have_their_captions_and_their_order() {
        let cell = Cell {
            row_index: 0,
            column_index: 0,
            row_span: 1,
            column_span: 1,
            header: true,
            row_header: false,
            text: "Day".into(),
            prov: Some(Locator::on_page(2, Bbox::default())),
        };
        let grid = Table { rows: 1, columns: 1, cells: vec![cell] };
        let blocks = [
            block(BlockKind::Picture, ""),
            block(BlockKind::Caption, "Figure 1. A bolt."),
            block(BlockKind::Text, "Between."),
            block(BlockKind::Caption, "Table 1. Tides."),
            Block {
                table: Some(grid.clone()),
                prov: vec![Locator::on_page(2, Bbox::default())],
                ..block(BlockKind::Table, "Day")
            },
            block(BlockKind::Picture, "alone"),
        ];
        let found = figures(&blocks);
        let told: Vec<_> =
            found.iter().map(|figure| (figure.figure_no, figure.kind.as_str(), figure.caption.as_deref())).collect();
        assert_eq!(
            told,
            [(0, "picture", Some("Figure 1. A bolt.")), (1, "table", Some("Table 1. Tides.")), (2, "picture", None)]
        );
        let table = found[1].table.as_ref().unwrap();
        assert_eq!((table.columns, &table.cells[0].text, &table.cells[0].prov), (1, &"Day".to_owned(), &None));
        assert_eq!(found[1].prov[0].page_no, Some(2));
        assert_eq!(found[2].text, "alone");
    }

    #[test]
    fn a_document_without_figures_has_none() {
        assert_eq!(figures(&[block(BlockKind::Caption, "Table 9"), block(BlockKind::Text, "x")]), []);
    }
}
