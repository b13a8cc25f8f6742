//! A document as Markdown: CommonMark with GFM tables, made to be read by people first.
//!
//! The law: what stands in a block stands in the Markdown, and a CommonMark parser gives the same text back. So
//! characters are escaped where they would mean something, and only there. Page headers and footers are left out;
//! pages that could not be read are named where they would have stood.

mod escape;
mod table;
#[cfg(test)]
mod tests;

pub use escape::{Position, escape};
pub use table::{cell_grid, rows};

use super::{Block, BlockKind, Document, PageInfo, html};
use crate::document::captions::{caption_owners, split_caption};

/// Renders a document as CommonMark with GFM tables. Tables with spans, which GFM cannot say, are HTML blocks.
///
/// Blocks are separated by one blank line, items of a list by a line break; the result ends in one line break, or is
/// empty.
pub fn to_markdown(document: &Document) -> String {
    to_markdown_with_figures(document, |_| None)
}

/// [`to_markdown`], with a link to each picture for which `link` knows one.
pub fn to_markdown_with_figures(document: &Document, link: impl Fn(&Block) -> Option<String>) -> String {
    let mut names = vec!["figure"; document.blocks.len()];
    for (caption, owner) in caption_owners(&document.blocks).into_iter().enumerate() {
        if let (Some(owner), Some((name, _))) = (owner, split_caption(&document.blocks[caption].text)) {
            names[owner] = name;
        }
    }
    let mut writer = Writer::default();
    let mut failed = document.pages.iter().filter(|page| page.reason.is_some()).peekable();
    for (block, name) in document.blocks.iter().zip(names) {
        let page_no = block.prov.first().and_then(|place| place.page_no);
        while let Some(page) = failed.next_if(|page| page_no.is_some_and(|no| no > page.page_no)) {
            writer.failed_page(page);
        }
        match link(block) {
            Some(destination) if block.kind == BlockKind::Picture => writer.picture(block, name, &destination),
            _ => writer.block(block),
        }
    }
    for page in failed {
        writer.failed_page(page);
    }
    writer.finish()
}

/// Collects the output; knows the list that is open.
#[derive(Default)]
struct Writer {
    out: String,
    /// One entry per open nesting level: the column where the item's text starts.
    list: Vec<usize>,
}

impl Writer {
    fn block(&mut self, block: &Block) {
        match block.kind {
            BlockKind::PageHeader | BlockKind::PageFooter => {}
            BlockKind::Title => self.heading(1, &block.text),
            BlockKind::SectionHeader => {
                let level = usize::from(block.level.unwrap_or(1).max(1));
                self.heading((level + 1).min(6), &block.text);
            }
            BlockKind::ListItem => self.list_item(block),
            BlockKind::Code => self.code(block),
            BlockKind::Table => match &block.table {
                Some(table) if table.rows > 0 && html::has_spans(table) => self.paragraph(&html::table(table)),
                Some(table) if table.rows > 0 && table.columns > 0 => {
                    let rows = rows(table).join("\n");
                    self.paragraph(&rows);
                }
                _ => self.paragraph(&escape(&block.text, Position::Paragraph)),
            },
            BlockKind::Picture if block.text.trim().is_empty() => self.paragraph("<!-- image -->"),
            BlockKind::Text | BlockKind::Caption | BlockKind::Footnote | BlockKind::Picture => {
                self.paragraph(&escape(&block.text, Position::Paragraph));
            }
        }
    }

    /// A picture that lies in a file; its own words stand below it.
    fn picture(&mut self, block: &Block, name: &str, destination: &str) {
        let escaped: String = destination
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| "<>\\".contains(c).then_some('\\').into_iter().chain([c]))
            .collect();
        self.paragraph(&format!("![{}](<{escaped}>)", escape(name, Position::Inline)));
        self.paragraph(&escape(&block.text, Position::Paragraph));
    }

    fn heading(&mut self, level: usize, text: &str) {
        let text = escape(text, Position::Heading);
        if !text.is_empty() {
            self.paragraph(&format!("{} {text}", "#".repeat(level)));
        }
    }

    /// A block of finished Markdown with blank lines around it. It ends an open list.
    fn paragraph(&mut self, markdown: &str) {
        if markdown.is_empty() {
            return;
        }
        self.list.clear();
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(markdown);
        self.out.push('\n');
    }

    fn code(&mut self, block: &Block) {
        let longest = block.text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat((longest + 1).max(3));
        let language: String = block
            .code_language
            .iter()
            .flat_map(|language| language.chars())
            .filter(|c| c.is_ascii_alphanumeric() || "+-#._".contains(*c))
            .collect();
        let text = block.text.strip_suffix('\n').unwrap_or(&block.text);
        let text = if text.is_empty() { String::new() } else { format!("{text}\n") };
        self.paragraph(&format!("{fence}{language}\n{text}{fence}"));
    }

    fn list_item(&mut self, block: &Block) {
        let mut text = escape(&block.text, Position::ListItem);
        let marker = match block.marker.as_deref().map(str::trim) {
            Some(marker) if is_ordered(marker) => marker.to_owned(),
            Some(marker) if marker.chars().any(char::is_alphanumeric) => {
                // CommonMark knows no (a) and no iv.: the marker becomes the beginning of the text.
                text = format!("{} {text}", escape(marker, Position::Inline));
                "-".to_owned()
            }
            _ => "-".to_owned(),
        };
        let level = usize::from(block.level.unwrap_or(1).max(1));
        if self.list.is_empty() && !self.out.is_empty() {
            self.out.push('\n');
        }
        self.list.truncate(level - 1);
        let indent = self.list.last().copied().unwrap_or(0);
        let column = indent + marker.len() + 1;
        self.list.push(column);
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(&marker);
        for (number, line) in text.lines().enumerate() {
            match number {
                0 => self.out.push(' '),
                _ => self.out.push_str(&format!("\n{}", " ".repeat(column))),
            }
            self.out.push_str(line);
        }
        self.out.push('\n');
    }

    /// Says why a page is missing, or a part of it.
    fn failed_page(&mut self, page: &PageInfo) {
        let message = escape(page.reason.as_ref().map_or("", |reason| &reason.message), Position::Inline);
        let how = if page.method.is_some() { "was read in part" } else { "could not be read" };
        self.paragraph(&format!("> Page {} {how}: {message}", page.page_no));
    }

    fn finish(self) -> String {
        self.out
    }
}

/// Whether CommonMark knows this marker as that of an ordered list: up to nine digits and a dot or parenthesis.
pub fn is_ordered(marker: &str) -> bool {
    marker
        .strip_suffix(['.', ')'])
        .is_some_and(|digits| !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit()))
}
