//! Page headers and footers by their place and shape.
//!
//! Only what is plain on a single page is marked here: page numbers, small lines far from the body, and what a layout
//! model votes for. What repeats over pages is found when the document is assembled.

use super::{Measured, Metrics, finish, regions::Votes, text};
use crate::ordered::Stretches;
use deckle_contract::document::{Bbox, Block, BlockKind, RegionKind};

/// The share of the page's height at either end where furniture stands.
const MARGIN: f32 = 0.10;
/// The share of the page's width at either side where stamps run up or down.
pub(super) const SIDE: f32 = 0.08;
/// Rows that a header or footer has at most.
const ROWS: usize = 5;

/// The kind of each line that is furniture, by line index.
pub(super) fn find(lines: &[Measured<'_>], metrics: &Metrics, votes: &Votes) -> Vec<Option<BlockKind>> {
    let mut marks = vec![None; lines.len()];
    let mut sorted: Vec<&Measured<'_>> = lines.iter().filter(|line| !line.is_sideways()).collect();
    sorted.sort_by(|a, b| a.bbox.top.total_cmp(&b.bbox.top));
    mark(&sorted, metrics, votes, BlockKind::PageHeader, &mut marks);
    sorted.sort_by(|a, b| b.bbox.bottom.total_cmp(&a.bbox.bottom));
    mark(&sorted, metrics, votes, BlockKind::PageFooter, &mut marks);
    // A page that is sideways for the most part, such as a wide table, has its rows at its sides.
    if sorted.len() * 2 > lines.len() {
        sorted.retain(|line| marks[line.index].is_none());
        let upright = Stretches::of(sorted.iter().map(|line| (line.bbox.left, line.bbox.right)));
        for line in lines.iter().filter(|line| is_stamp(line, &upright, metrics)) {
            marks[line.index] = Some(BlockKind::PageFooter);
        }
    }
    marks
}

/// Whether a line runs up or down the margin, beside all upright lines of the body: what a printer or preprint server
/// stamps on a page, or a running title. An axis or the head of a column stands among other lines.
fn is_stamp(line: &Measured<'_>, upright: &Stretches, metrics: &Metrics) -> bool {
    let Bbox { left, right, .. } = line.bbox;
    let is_at_side = right < metrics.width * SIDE || left > metrics.width * (1.0 - SIDE);
    line.is_sideways() && is_at_side && upright.furthest_before(right.next_up()) < left
}

/// Walks rows from the page's edge inwards and marks them up to the last one that qualifies.
fn mark(sorted: &[&Measured<'_>], metrics: &Metrics, votes: &Votes, kind: BlockKind, marks: &mut [Option<BlockKind>]) {
    let at_top = kind == BlockKind::PageHeader;
    let region = if at_top { RegionKind::Header } else { RegionKind::Footer };
    // Distances from the page's edge, so that both ends read alike.
    let near = |line: &Measured<'_>| if at_top { line.bbox.top } else { metrics.height - line.bbox.bottom };
    let far = |line: &Measured<'_>| if at_top { line.bbox.bottom } else { metrics.height - line.bbox.top };
    let mut start = 0;
    // Rows nearer to the edge than a page number, or than what the model calls furniture, are furniture with it.
    let mut outer: Vec<usize> = Vec::new();
    for _ in 0..ROWS {
        let Some(first) = sorted.get(start) else { return };
        if far(first) > metrics.height * MARGIN || marks[first.index].is_some() {
            return;
        }
        let middle = (near(first) + far(first)) / 2.0;
        let end = start + sorted[start..].iter().take_while(|line| near(line) < middle).count().max(1);
        let row = &sorted[start..end];
        let edge = row.iter().map(|line| far(line)).fold(0.0, f32::max);
        // A page with nothing but this row has no body to be far from.
        let Some(next) = sorted.get(end) else { return };
        let gap = near(next) - edge;
        let voted = votes.kind_of(row) == Some(region);
        let is_number = row.len() == 1 && is_page_number(&row[0].line.text);
        let own = row.iter().map(|line| line.index);
        if voted || is_furniture(row, gap, at_top, metrics) && (is_number || outer.is_empty()) {
            own.chain(outer.drain(..)).for_each(|index| marks[index] = Some(kind));
        } else if row.iter().all(|line| line.size <= metrics.body * 1.15) {
            outer.extend(own);
        } else {
            return;
        }
        start = end;
    }
}

fn is_furniture(row: &[&Measured<'_>], gap: f32, at_top: bool, metrics: &Metrics) -> bool {
    let chars: usize = row.iter().map(|line| line.chars).sum();
    let largest = row.iter().map(|line| line.size).fold(0.0, f32::max);
    if chars == 0 || chars > 160 || largest > metrics.body * 1.4 {
        return false;
    }
    let numbered = row.iter().any(|line| is_page_number(&line.line.text))
        || row.len() == 1 && has_number_at_end(&row[0].line.text, at_top);
    let alone = row.len() == 1 && is_page_number(&row[0].line.text);
    let small = largest < metrics.body * 0.93;
    (alone && gap > metrics.body * 0.5)
        || (numbered && gap > metrics.body * 0.8)
        || (small && gap > metrics.body * 1.5 && text::split_marker(&row[0].line.text).is_none())
}

/// Whether a text is a page number and nothing else: `12`, `- 12 -`, `Page 3 of 10`, `xii`.
pub(super) fn is_page_number(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c.is_whitespace() || "-–—|[]().".contains(c));
    if text.is_empty() || text.chars().count() > 24 {
        return false;
    }
    let words: Vec<String> = text.split(|c: char| c.is_whitespace() || c == '/').map(str::to_lowercase).collect();
    let is_number = |word: &str| !word.is_empty() && word.len() <= 5 && word.bytes().all(|b| b.is_ascii_digit());
    let is_roman = |word: &str| !word.is_empty() && word.len() <= 6 && word.chars().all(|c| "ivxl".contains(c));
    let is_said = |word: &str| {
        matches!(
            word,
            "page" | "pages" | "p." | "of" | "seite" | "von" | "s." | "de" | "página" | "pagina" | "sur" | "di" | "-"
        )
    };
    match words.as_slice() {
        [only] => is_number(only) || is_roman(only),
        _ => words.iter().any(|word| is_number(word)) && words.iter().all(|word| is_number(word) || is_said(word)),
    }
}

/// Whether a running title has a page number at either end. At the bottom of a page, a small number at the beginning is
/// rather a footnote's.
fn has_number_at_end(text: &str, at_top: bool) -> bool {
    let mut words = text.split_whitespace();
    let is_number = |word: &str| word.len() <= 5 && word.bytes().all(|b| b.is_ascii_digit());
    let first = words.next().is_some_and(|word| is_number(word) && (at_top || word.len() > 2));
    first || words.next_back().is_some_and(is_number)
}

/// One block per row of furniture, and then one for each stamp at a side.
pub(super) fn blocks(lines: &[&Measured<'_>], kind: BlockKind, page_no: u32) -> Vec<Block> {
    let mut rows: Vec<Vec<&Measured<'_>>> = Vec::new();
    let (sideways, upright): (Vec<_>, Vec<_>) = lines.iter().copied().partition(|line| line.is_sideways());
    for line in upright {
        let middle = (line.bbox.top + line.bbox.bottom) / 2.0;
        match rows.last_mut() {
            Some(row) if row[0].bbox.bottom > middle => row.push(line),
            _ => rows.push(vec![line]),
        }
    }
    rows.into_iter()
        .chain(sideways.into_iter().map(|line| vec![line]))
        .map(|mut row| {
            row.sort_by(|a, b| a.bbox.left.total_cmp(&b.bbox.left));
            let text = text::join(row.iter().map(|line| line.line.text.as_str()));
            let bbox = Bbox::around(row.iter().map(|line| &line.bbox)).unwrap_or_default();
            finish(kind, text, &row, &[bbox], page_no, |_| {})
        })
        .collect()
}
