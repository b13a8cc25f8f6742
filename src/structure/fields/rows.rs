//! Printed rows: the words of one height, parted into segments where a gap is wider than any space.

use deckle_contract::document::{Bbox, Block, BlockKind, Line, Method, Page, captions::split_caption};

/// A gap wider than this many font sizes parts segments; spaces of justified text stay below.
const GAP: f32 = 2.0;

/// Lines share a row where they share this much of the lower one's height.
const SHARED: f32 = 0.6;

/// Rows of other columns may stand between two of a block.
pub(super) const NEAR: usize = 4;

/// A word as it is printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) bbox: Option<Bbox>,
    pub(super) confidence: Option<f32>,
    pub(super) method: Method,
}

/// Words that no wide gap parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment<'a> {
    pub(super) words: Vec<Word<'a>>,
    /// What the block it stands in is.
    pub(super) kind: BlockKind,
    /// Which block; a word of none has a number that no other has.
    pub(super) block: usize,
    /// Where it ends and where its block ends at the right, points; `None` for a file without pages.
    pub(super) reach: Option<[f32; 2]>,
}

/// One printed row, left to right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) segments: Vec<Segment<'a>>,
}

/// Whether the lines of a block name things for other reasons than to give values. A layout model takes the line above
/// a table for its caption even where that is a row of fields, so a caption counts only by its own name.
fn is_silent(block: &Block) -> bool {
    use BlockKind::{Caption, Code, Footnote, Picture, SectionHeader, Title};
    match block.kind {
        Caption => split_caption(&block.text).is_some(),
        kind => matches!(kind, Title | SectionHeader | Footnote | Code | Picture),
    }
}

/// The rows of a page, from the top down.
pub(super) fn of_page<'a>(page: &'a Page) -> Vec<Row<'a>> {
    let mut block_of = vec![None; page.lines.len()];
    for (number, block) in page.blocks.iter().enumerate() {
        for index in &block.line_indexes {
            if let Some(of_line) = block_of.get_mut(*index as usize) {
                *of_line = Some(number);
            }
        }
    }
    let is_wanted = |index: usize, line: &Line| {
        let Bbox { left, top, right, bottom } = line.bbox;
        let is_placed = [left, top, right, bottom].iter().all(|edge| edge.is_finite());
        // A line that runs up or down the page has no row.
        let is_upright = line.text.chars().count() <= 3 || line.bbox.height() <= 2.5 * line.bbox.width();
        is_placed && is_upright && block_of[index].is_none_or(|block| !is_silent(&page.blocks[block]))
    };
    let numbered = page.lines.iter().enumerate();
    let mut lines: Vec<(usize, &'a Line)> = numbered.filter(|(index, line)| is_wanted(*index, line)).collect();
    lines.sort_by(|(_, a), (_, b)| a.bbox.top.total_cmp(&b.bbox.top).then(a.bbox.left.total_cmp(&b.bbox.left)));
    let mut grouped: Vec<Vec<(usize, &'a Line)>> = Vec::new();
    for line in lines {
        let beside = |row: &&mut Vec<(usize, &'a Line)>| row.first().is_some_and(|first| are_beside(first.1, line.1));
        // Lines come by their tops, so that rows further up are past.
        match grouped.iter_mut().rev().take(NEAR).find(beside) {
            Some(row) => row.push(line),
            None => grouped.push(vec![line]),
        }
    }
    let box_of = |block: &Block| Bbox::around(block.prov.iter().filter_map(|place| place.bbox.as_ref()));
    let boxes: Vec<Option<Bbox>> = page.blocks.iter().map(box_of).collect();
    let row = |mut lines: Vec<(usize, &'a Line)>| {
        lines.sort_by(|(_, a), (_, b)| a.bbox.left.total_cmp(&b.bbox.left));
        let of_line = |(index, line): (usize, &'a Line)| {
            let end = block_of[index].and_then(|block| boxes[block]);
            segments(page, index, line, block_of[index], end)
        };
        Row { segments: lines.into_iter().flat_map(of_line).collect() }
    };
    grouped.into_iter().map(row).collect()
}

fn are_beside(a: &Line, b: &Line) -> bool {
    let shared = a.bbox.bottom.min(b.bbox.bottom) - a.bbox.top.max(b.bbox.top);
    shared > a.bbox.height().min(b.bbox.height()) * SHARED
}

/// The segments of one line, whose block has the box `end`. A list item's marker is no part of its words.
fn segments<'a>(
    page: &'a Page,
    index: usize,
    line: &'a Line,
    block: Option<usize>,
    end: Option<Bbox>,
) -> Vec<Segment<'a>> {
    let of = block.map(|number| &page.blocks[number]);
    let kind = of.map_or(BlockKind::Text, |block| block.kind);
    let size = line.font_size.filter(|size| size.is_finite() && *size > 0.5).unwrap_or(line.bbox.height() * 0.87);
    let marker = of
        .and_then(|block| block.marker.as_deref())
        .filter(|_| of.is_some_and(|of| of.line_indexes.first().is_some_and(|first| *first as usize == index)));
    let mut parts: Vec<Vec<Word<'a>>> = Vec::new();
    let mut last: Option<&Bbox> = None;
    for (number, word) in line.words.iter().enumerate() {
        if number == 0 && marker == Some(word.text.as_str()) {
            continue;
        }
        // Either way round: some scripts run to the left.
        let gap = last.map(|last| (word.bbox.left - last.right).max(last.left - word.bbox.right));
        if parts.is_empty() || gap.is_some_and(|gap| gap > size * GAP) {
            parts.push(Vec::new());
        }
        let piece = Word { text: &word.text, bbox: Some(word.bbox), confidence: word.confidence, method: line.method };
        if let Some(part) = parts.last_mut() {
            part.push(piece);
        }
        last = Some(&word.bbox);
    }
    let segment = |words: Vec<Word<'a>>| {
        let right = words.iter().filter_map(|word| word.bbox).map(|bbox| bbox.right).fold(f32::MIN, f32::max);
        let reach = Some([right, end.map_or(right, |bbox| bbox.right)]);
        Segment { words, kind, block: block.unwrap_or(usize::MAX - index), reach }
    };
    parts.into_iter().map(segment).collect()
}

/// The rows of blocks without pages: lines that kept their ends, and the rows of tables.
pub(super) fn of_blocks<'a>(blocks: &'a [Block]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (number, block) in blocks.iter().enumerate().filter(|(_, block)| !is_silent(block)) {
        let segment = |text: &'a str| {
            let word = |text| Word { text, bbox: None, confidence: block.confidence, method: block.method };
            Segment { words: text.split_whitespace().map(word).collect(), kind: block.kind, block: number, reach: None }
        };
        let row = |texts: Vec<&'a str>| Row {
            segments: texts.into_iter().filter(|text| !text.trim().is_empty()).map(segment).collect(),
        };
        match &block.table {
            Some(table) => {
                for cells in table.cells.chunk_by(|a, b| a.row_index == b.row_index) {
                    rows.push(row(cells.iter().map(|cell| cell.text.as_str()).collect()));
                }
            }
            None => rows.extend(block.text.lines().map(|line| row(columns(line)))),
        }
    }
    rows
}

/// A line of plain text at its tabs and wherever three spaces or more stand.
fn columns(line: &str) -> Vec<&str> {
    line.split('\t').flat_map(|part| part.split("   ")).map(str::trim).collect()
}
