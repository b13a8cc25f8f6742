//! The pictures and tables of a document, each with its caption: what analytics ask for apart from the text.
//!
//! The law: a figure repeats what the document's blocks say of it, and adds nothing.

use deckle_contract::document::{Block, Cell, Figure, FigureKind, Table, captions::caption_owners};

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

#[cfg(test)]
mod tests {
    use deckle_contract::document::{Bbox, BlockKind, Locator};

    use super::*;

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
        let summary: Vec<_> =
            found.iter().map(|figure| (figure.figure_no, figure.kind.as_str(), figure.caption.as_deref())).collect();
        assert_eq!(
            summary,
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
