//! Limits on what a file or a page says, for the work that follows takes time and memory in proportion to it.

use super::{Config, PageContent};
use deckle_contract::{
    document::Block,
    error::{Failure, Result, code},
};

/// Most characters, and most blocks and table cells, of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Characters of all blocks and cells.
    pub characters: u64,
    /// Blocks and cells of tables.
    pub blocks: u64,
}

impl DocumentLimits {
    /// Refuses a document that says more than it may.
    ///
    /// # Errors
    /// `limit.characters` or `limit.blocks`.
    pub fn check(self, blocks: &[Block]) -> Result<()> {
        let (mut characters, mut count) = (0, 0);
        for block in blocks {
            let cells = block.table.as_ref().map_or(&[][..], |table| &table.cells);
            count += 1 + cells.len() as u64;
            characters += characters_of(&block.text);
            characters += cells.iter().map(|cell| characters_of(&cell.text)).sum::<u64>();
        }
        within(
            code::LIMIT_CHARACTERS,
            "the document",
            "characters",
            characters,
            self.characters,
            "decode.max_characters",
        )?;
        within(code::LIMIT_BLOCKS, "the document", "blocks and cells", count, self.blocks, "decode.max_blocks")
    }
}

impl PageContent {
    /// Refuses a page on which more is written or ruled than a page may have.
    ///
    /// # Errors
    /// `limit.characters` or `limit.rules`.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        let characters = self.lines.iter().map(|line| characters_of(&line.text)).sum();
        let (most, setting) = (config.max_page_characters, "decode.max_page_characters");
        within(code::LIMIT_CHARACTERS, "the page", "characters", characters, most, setting)?;
        let (rules, most) = (self.drawing.rules.len() as u64, config.max_page_rules);
        within(code::LIMIT_RULES, "the page", "ruling lines", rules, most, "decode.max_page_rules")
    }
}

fn characters_of(text: &str) -> u64 {
    text.chars().count() as u64
}

fn within(code: &str, whole: &str, what: &str, count: u64, most: u64, setting: &str) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Failure::rejected(code, format!("{whole} has {count} {what}, the limit is {most} (`{setting}`)")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{Bbox, BlockKind, Cell, Drawing, Line, Method, Table};

    fn code_of(result: Result<()>) -> Option<String> {
        result.err().map(|failure| failure.code().to_owned())
    }

    #[test]
    fn a_document_is_refused_above_its_limits_and_not_at_them() {
        let cell = Cell {
            row_index: 0,
            column_index: 0,
            row_span: 1,
            column_span: 1,
            header: false,
            row_header: false,
            text: "äöü".to_owned(),
            prov: None,
        };
        let table = Table { rows: 1, columns: 2, cells: vec![cell.clone(), cell] };
        let blocks =
            [Block::new(BlockKind::Text, "four"), Block { table: Some(table), ..Block::new(BlockKind::Table, "") }];
        let check = |characters, blocks_and_cells| {
            code_of(DocumentLimits { characters, blocks: blocks_and_cells }.check(&blocks))
        };
        assert_eq!(check(10, 4), None);
        assert_eq!(check(9, 4).as_deref(), Some(code::LIMIT_CHARACTERS));
        assert_eq!(check(10, 3).as_deref(), Some(code::LIMIT_BLOCKS));
    }

    #[test]
    fn a_page_is_refused_above_its_limits_and_not_at_them() {
        let page = PageContent {
            lines: vec![Line {
                text: "12345".to_owned(),
                bbox: Bbox::default(),
                polygon: None,
                words: Vec::new(),
                confidence: None,
                method: Method::TextLayer,
                font_size: None,
                bold: false,
            }],
            drawing: Drawing { rules: vec![Bbox::default(); 3], ..Drawing::default() },
            ..PageContent::default()
        };
        let check = |max_page_characters, max_page_rules| {
            code_of(page.check(&Config { max_page_characters, max_page_rules, ..Config::default() }))
        };
        assert_eq!(check(5, 3), None);
        assert_eq!(check(4, 3).as_deref(), Some(code::LIMIT_CHARACTERS));
        assert_eq!(check(5, 2).as_deref(), Some(code::LIMIT_RULES));
    }
}
