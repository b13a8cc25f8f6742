mod furniture;
mod headings;
mod laws;
mod order;
mod paragraphs;
mod pictures;
mod tables;

use super::*;
use deckle_contract::document::{Drawing, Region, RegionKind, Word, markdown};

/// A line of words set in a fixed pitch of half the size.
pub(crate) fn line(left: f32, top: f32, size: f32, text: &str) -> Line {
    let mut words = Vec::new();
    let mut x = left;
    for word in text.split(' ') {
        let width = word.chars().count() as f32 * size * 0.5;
        if !word.is_empty() {
            let bbox = Bbox { left: x, top, right: x + width, bottom: top + size * 1.15 };
            words.push(Word { text: word.to_owned(), bbox, confidence: None });
        }
        x += width + size * 0.3;
    }
    let bbox = Bbox::around(words.iter().map(|word| &word.bbox)).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Line {
        text,
        bbox,
        polygon: None,
        words,
        confidence: None,
        method: Method::TextLayer,
        font_size: Some(size),
        bold: false,
    }
}

pub(crate) fn bold(line: Line) -> Line {
    Line { bold: true, ..line }
}

pub(crate) fn page(lines: Vec<Line>) -> Page {
    Page {
        page_no: 1,
        width: 600.0,
        height: 800.0,
        rotation: 0,
        dpi: None,
        image: None,
        method: Some(Method::TextLayer),
        decision: String::new(),
        lines,
        images: Vec::new(),
        ..Page::default()
    }
}

fn analysed(lines: Vec<Line>) -> Vec<Block> {
    let mut page = page(lines);
    analyse(&mut page);
    page.blocks
}

/// `kind: text` of each block.
fn outline(blocks: &[Block]) -> Vec<String> {
    blocks.iter().map(|block| format!("{:?}: {}", block.kind, block.text)).collect()
}

/// A paragraph of `lines` lines that fill `width` points at size 10; its words are `name` with a number.
fn column(name: &str, left: f32, top: f32, width: f32, lines: usize) -> Vec<Line> {
    let word = (name.len() + 2) as f32 * 5.0 + 3.0;
    let words = ((width + 3.0) / word) as usize;
    let row = |row: usize| {
        let text: Vec<String> = (0..words).map(|word| format!("{name}{:02}", (row * words + word) % 100)).collect();
        let end = if row + 1 == lines { "." } else { "" };
        line(left, top + row as f32 * 12.0, 10.0, &(text.join(" ") + end))
    };
    (0..lines).map(row).collect()
}

/// A line that runs up the page.
fn sideways(left: f32, top: f32, text: &str) -> Line {
    let bbox = Bbox { left, top, right: left + 8.0, bottom: top + text.chars().count() as f32 * 4.0 };
    Line { bbox, words: Vec::new(), ..line(left, top, 7.0, text) }
}

#[test]
fn a_page_of_a_paper_reads_well() {
    let mut lines = vec![
        line(150.0, 60.0, 18.0, "On the Strength of Bolts"),
        line(240.0, 90.0, 11.0, "A. Lovelace and C. Babbage"),
        line(290.0, 775.0, 9.0, "1"),
        bold(line(50.0, 130.0, 12.0, "1   Introduction")),
        line(50.0, 150.0, 10.0, "Bolts hold together what would other-"),
        line(50.0, 162.0, 10.0, "wise fall apart. They are made of steel,"),
        line(50.0, 174.0, 10.0, "and there are three kinds of them:"),
        line(60.0, 190.0, 10.0, "• short ones"),
        line(60.0, 204.0, 10.0, "• long ones"),
        line(50.0, 224.0, 10.0, "and those that were lost before anybody"),
        line(310.0, 150.0, 10.0, "could say which kind they were. Table 1"),
        line(310.0, 162.0, 10.0, "tells how many of each kind there are."),
        line(310.0, 250.0, 10.0, "Table 1: Bolts by kind."),
        bold(line(310.0, 280.0, 12.0, "2   Results")),
        line(310.0, 300.0, 10.0, "There are more short bolts than others."),
    ];
    for (row, cells) in
        [["Kind", "Count", "Share"], ["short", "12", "60 %"], ["long", "6", "30 %"], ["lost", "2", "10 %"]]
            .iter()
            .enumerate()
    {
        for (left, text) in [310.0, 400.0, 470.0].iter().zip(cells) {
            lines.push(line(*left, 184.0 + row as f32 * 14.0, 10.0, text));
        }
    }
    let mut page = page(lines);
    analyse(&mut page);
    let (title, blocks) = assemble_blocks(vec![&page]);
    let document = deckle_contract::document::Document {
        filename: "bolts.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        sha256: "00".repeat(32),
        size_bytes: 1,
        title,
        blocks,
        ..deckle_contract::document::Document::default()
    };
    insta::assert_snapshot!(markdown::to_markdown(&document));
}
