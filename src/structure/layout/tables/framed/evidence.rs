//! Whether what rules make is a table, or a figure, a form, a box around text.

use super::super::super::Metrics;
use super::super::cells::Area;
use super::super::lattice::Lattice;
use super::super::rules::{Frame, Stroke, between};
use super::Piece;
use crate::ordered::Stretches;
use deckle_contract::document::Bbox;

/// Whether rules run through words: the axes and arrows of a figure do, those of a table never.
pub(super) fn is_struck_through(frame: &Frame, pieces: &[Piece<'_>]) -> bool {
    /// How far inside a word's box, in points; descenders may touch a rule.
    const INSET: f32 = 1.0;
    let is_struck = |bbox: &Bbox| {
        let inset = (bbox.height() * 0.25).max(INSET);
        let upright = |s: &Stroke| s.covers(bbox.top, bbox.bottom) > bbox.height() * 0.5;
        let level = |s: &Stroke| s.covers(bbox.left, bbox.right) > bbox.width() * 0.5;
        between(&frame.down, bbox.left + INSET, bbox.right - INSET).iter().any(upright)
            || between(&frame.across, bbox.top + inset, bbox.bottom - inset).iter().any(level)
    };
    let struck = pieces.iter().flat_map(|piece| piece.segment.word_boxes()).filter(is_struck).count();
    struck * 20 > pieces.len()
}

/// Whether columns or low rows without a word part the others, as the margins around the boxes of a diagram or form
/// do. The borders of a table's cells are those of their neighbours.
pub(super) fn has_margins(lattice: &Lattice, pieces: &[Piece<'_>], metrics: &Metrics) -> bool {
    let boxes = || pieces.iter().map(|piece| &piece.segment.bbox);
    let across = Stretches::of(boxes().map(|bbox| (bbox.left, bbox.right)));
    let down = Stretches::of(boxes().map(|bbox| (bbox.top, bbox.bottom)));
    let is_empty = |borders: &[f32], at: usize, words: &Stretches| {
        words.furthest_before(borders[at + 1] - 1.0) <= borders[at] + 1.0
    };
    let low = |borders: &[f32], at: usize| borders[at + 1] - borders[at] < metrics.body * 0.7;
    let columns = (0..lattice.columns()).filter(|at| is_empty(&lattice.xs, *at, &across)).count();
    let rows = (0..lattice.rows()).filter(|at| low(&lattice.ys, *at) && is_empty(&lattice.ys, *at, &down)).count();
    columns * 8 > lattice.columns() || rows * 8 > lattice.rows()
}

/// Whether cells make a table rather than a form, a box around text, or the grid of a chart.
pub(super) fn is_table(areas: &[Area<'_>], columns: usize, rows: usize, closed: bool) -> bool {
    let filled: Vec<&Area<'_>> = areas.iter().filter(|area| !area.segments.is_empty()).collect();
    let (mut in_row, mut in_column) = (vec![0; rows], vec![0; columns]);
    for area in &filled {
        in_row.iter_mut().take(area.rows.end).skip(area.rows.start).for_each(|count| *count += 1);
        in_column.iter_mut().take(area.columns.end).skip(area.columns.start).for_each(|count| *count += 1);
    }
    let full_rows = in_row.iter().filter(|count| **count >= 2).count();
    let full_columns = in_column.iter().filter(|count| **count >= 2).count();
    let places: usize = filled.iter().map(|area| area.rows.len() * area.columns.len()).sum();
    let least_rows = if closed { 1 } else { 2 };
    if filled.len() < 4 || full_rows < least_rows || full_columns < 1 || places * 10 < rows * columns * 3 {
        return false;
    }
    // Cells of all sizes: a form, whose boxes are as wide as what is to be written in them.
    let spanning = filled.iter().filter(|area| area.rows.len() > 1 || area.columns.len() > 1).count();
    if spanning * 2 > filled.len() {
        return false;
    }
    // Most of the words stand in paragraphs: a page laid out in boxes.
    let chars = |area: &Area<'_>| area.segments.iter().map(|segment| segment.chars).sum::<usize>();
    let all: usize = filled.iter().map(|area| chars(area)).sum();
    let prose: usize = filled.iter().map(|area| chars(area)).filter(|chars| *chars > 400).sum();
    prose * 2 <= all || closed && rows >= 3 && full_rows >= 3
}
