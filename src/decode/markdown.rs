//! Markdown: headings, paragraphs, lists, code, tables, quotes and pictures as blocks.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{
    Opened,
    format::{DecodeRequest, Format},
    sniff, text,
};
use deckle_contract::{
    document::{Block, BlockKind, Cell, Table},
    error::Result,
};

/// Decodes Markdown into blocks.
pub(crate) struct Decoder;

impl Format for Decoder {
    fn media_types(&self) -> &'static [&'static str] {
        &[sniff::MARKDOWN]
    }

    fn names(&self) -> &'static [&'static str] {
        &["Markdown"]
    }

    fn open(&mut self, asked: &DecodeRequest<'_>) -> Result<Opened> {
        Ok(open(&text::decode(&asked.file.bytes)?))
    }
}

/// Reads a text that is Markdown. Its first heading of level 1 is the title.
pub(crate) fn open(text: &str) -> Opened {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut reader = Reader::default();
    Parser::new_ext(text, options).for_each(|event| reader.take(event));
    reader.end_block();
    let title = reader.blocks.iter().find(|b| b.kind == BlockKind::Title).map(|b| b.text.clone());
    Opened { media_type: sniff::MARKDOWN.to_owned(), page_count: None, title, blocks: reader.blocks }
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    /// The block that is being written, without its text.
    current: Option<Block>,
    text: String,
    /// Of each open list, the number of its next item; `None` for bullets.
    lists: Vec<Option<u64>>,
    table: Option<Table>,
    in_head: bool,
    /// Alternative text of the picture that is open.
    picture: Option<String>,
    pictures: Vec<Block>,
    in_front_matter: bool,
    footnote: bool,
    has_title: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.write(&text);
            }
            // HTML is not text; what stands between its tags comes as text of its own.
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::FootnoteReference(name) => self.write(&format!("[{name}]")),
            Event::SoftBreak => self.write(" "),
            Event::HardBreak => self.write("\n"),
            Event::Rule => self.end_block(),
            Event::TaskListMarker(done) => {
                if let Some(block) = &mut self.current {
                    block.marker = Some(if done { "[x]" } else { "[ ]" }.to_owned());
                }
            }
        }
    }

    fn write(&mut self, text: &str) {
        if self.in_front_matter {
            return;
        }
        if let Some(alternative) = &mut self.picture {
            alternative.push_str(text);
            return;
        }
        if self.current.is_none() {
            self.begin(BlockKind::Text);
        }
        self.text.push_str(text);
    }

    fn begin(&mut self, kind: BlockKind) {
        self.end_block();
        self.current = Some(Block::new(kind, String::new()));
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::MetadataBlock(_) => self.in_front_matter = true,
            Tag::Heading { level, .. } => self.begin_heading(level),
            // A paragraph within an item continues the item.
            Tag::Paragraph => match &self.current {
                Some(item) if item.kind == BlockKind::ListItem => self.write_gap(),
                _ if self.footnote => self.begin(BlockKind::Footnote),
                _ => self.begin(BlockKind::Text),
            },
            Tag::CodeBlock(kind) => {
                self.begin(BlockKind::Code);
                if let (Some(block), CodeBlockKind::Fenced(info)) = (&mut self.current, kind) {
                    let language = info.split([' ', ',', '{']).next().unwrap_or_default();
                    block.code_language = (!language.is_empty()).then(|| language.to_owned());
                }
            }
            Tag::List(first) => {
                self.end_block();
                self.lists.push(first);
            }
            Tag::Item => self.begin_item(),
            Tag::FootnoteDefinition(_) => {
                self.end_block();
                self.footnote = true;
            }
            Tag::Table(alignments) => {
                self.begin(BlockKind::Table);
                self.table = Some(Table { rows: 0, columns: alignments.len() as u32, cells: Vec::new() });
            }
            Tag::TableHead => self.in_head = true,
            Tag::Image { .. } => self.picture = Some(String::new()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::MetadataBlock(_) => self.in_front_matter = false,
            TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Item => self.end_block(),
            TagEnd::Paragraph if self.current.as_ref().is_none_or(|b| b.kind != BlockKind::ListItem) => {
                self.end_block();
            }
            TagEnd::List(_) => {
                self.end_block();
                self.lists.pop();
            }
            TagEnd::FootnoteDefinition => {
                self.end_block();
                self.footnote = false;
            }
            TagEnd::TableCell => self.end_cell(),
            TagEnd::TableHead | TagEnd::TableRow => {
                self.in_head = false;
                if let Some(table) = &mut self.table {
                    table.rows += 1;
                }
            }
            TagEnd::Table => self.end_block(),
            TagEnd::Image => {
                let alternative = self.picture.take().unwrap_or_default();
                self.pictures.push(Block::new(BlockKind::Picture, alternative));
            }
            _ => {}
        }
    }

    fn begin_heading(&mut self, level: HeadingLevel) {
        if level == HeadingLevel::H1 && !self.has_title {
            self.begin(BlockKind::Title);
        } else {
            self.begin(BlockKind::SectionHeader);
            if let Some(block) = &mut self.current {
                block.level = Some(level as u8);
            }
        }
    }

    fn begin_item(&mut self) {
        self.begin(BlockKind::ListItem);
        let depth = u8::try_from(self.lists.len()).unwrap_or(u8::MAX);
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => "-".to_owned(),
        };
        if let Some(block) = &mut self.current {
            (block.level, block.marker) = (Some(depth), Some(marker));
        }
    }

    fn write_gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn end_cell(&mut self) {
        let text = std::mem::take(&mut self.text).trim().to_owned();
        let Some(table) = &mut self.table else { return };
        let columns = table.columns.max(1);
        let column_index = table.cells.len() as u32 % columns;
        table.cells.push(Cell {
            row_index: table.rows,
            column_index,
            row_span: 1,
            column_span: 1,
            header: self.in_head,
            row_header: false,
            text,
            prov: None,
        });
    }

    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Some(mut block) = self.current.take() {
            block.text = match block.kind {
                BlockKind::Code => text.trim_end_matches('\n').to_owned(),
                BlockKind::Table => self.table.as_ref().map(rows_as_text).unwrap_or_default(),
                _ => text.trim().to_owned(),
            };
            block.table = self.table.take();
            if !block.text.is_empty() || block.table.is_some() {
                self.has_title |= block.kind == BlockKind::Title;
                self.blocks.push(block);
            }
        }
        self.blocks.append(&mut self.pictures);
    }
}

/// The cells of a row joined with tabs, as text for those who cannot use the grid.
fn rows_as_text(table: &Table) -> String {
    let mut rows = vec![Vec::new(); table.rows as usize];
    for cell in &table.cells {
        if let Some(row) = rows.get_mut(cell.row_index as usize) {
            row.push(cell.text.as_str());
        }
    }
    rows.into_iter().map(|cells| cells.join("\t")).collect::<Vec<_>>().join("\n")
}
