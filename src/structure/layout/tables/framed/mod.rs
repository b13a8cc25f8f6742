//! Tables inside rules: the cells that the rules make, divided further where only the text shows columns and rows.
//!
//! Rules part cells for certain; a table of which only some are drawn (a head and groups of five rows, a box around
//! columns of figures) shows the rest by its text. So within each ruled column white gutters part columns, and within
//! each ruled strip lines of figures part rows.

mod columns;
mod evidence;
mod spread;
mod strips;

use std::collections::HashSet;

use super::super::{Measured, Metrics};
use super::Candidate;
use super::cells::{Area, in_reading_order, set_headers};
use super::lattice::Lattice;
use super::rules::{Frame, between};
use super::segments::{self, Segment};
use columns::Columns;
use deckle_contract::document::{Bbox, Cell, Table};
use evidence::{has_margins, is_struck_through, is_table};
use spread::Divider;
use strips::Rows;

/// A part of a line in a ruled cell.
#[derive(Clone)]
pub(super) struct Piece<'a> {
    pub segment: Segment<'a>,
    /// Which of the lattice's cells.
    pub cell: usize,
    /// Which of the lines of equal height, top to bottom.
    pub baseline: usize,
}

/// The table in a frame, with the lines inside it; `None` when the frame holds none.
pub(super) fn build<'a>(frame: &Frame, inside: &[&'a Measured<'a>], metrics: &Metrics) -> Option<Candidate<'a>> {
    if !frame.is_anchored() {
        return None;
    }
    let lattice = Lattice::of(frame, metrics.body * 0.9)?;
    let pieces = pieces(&lattice, frame, inside);
    if is_struck_through(frame, &pieces) || has_margins(&lattice, &pieces, metrics) {
        return None;
    }
    let columns = Columns::of(&lattice, &pieces, metrics);
    let pieces: Vec<Piece<'a>> = pieces.into_iter().flat_map(|piece| columns.cut(&lattice, piece)).collect();
    let rows = Rows::of(&lattice, &columns, &pieces);
    if columns.borders.len() < 2 || rows.count() < 2 {
        return None;
    }
    let mut of_cell: Vec<Vec<&Piece<'a>>> = vec![Vec::new(); lattice.cells.len()];
    pieces.iter().for_each(|piece| of_cell[piece.cell].push(piece));
    let mut divider = Divider { lattice: &lattice, frame, columns: &columns, rows: &rows, areas: Vec::new() };
    lattice.cells.iter().zip(of_cell).for_each(|(span, own)| divider.divide(span, own));
    let mut areas = divider.areas;
    areas.sort_by_key(|area| (area.rows.start, area.columns.start));
    let closed = frame.down.len() >= 3 && columns.borders.len() == lattice.columns();
    if !is_table(&areas, columns.borders.len(), rows.count(), closed) {
        return None;
    }
    let mut cells: Vec<Cell> = areas.iter().map(|area| area.cell(metrics.page_no)).collect();
    let bold: Vec<bool> = areas.iter().map(Area::is_bold).collect();
    set_headers(&mut cells, &bold, rows.count() as u32, rows.below_head());
    let table = Table { rows: rows.count() as u32, columns: columns.borders.len() as u32, cells };
    // Cell by cell, as it is read: a cell of two lines has one above the middle of its row.
    let mut seen = HashSet::new();
    let by_cells =
        areas.iter().flat_map(|area| in_reading_order(&area.segments)).chain(pieces.iter().map(|piece| &piece.segment));
    let lines = by_cells.flat_map(|segment| std::iter::once(segment.line).chain(segment.marks.iter().copied()));
    Some((table, lines.filter(|line| seen.insert(line.index)).collect()))
}

fn pieces<'a>(lattice: &Lattice, frame: &Frame, inside: &[&'a Measured<'a>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for (baseline, row) in segments::rows(inside).into_iter().enumerate() {
        for segment in row.segments {
            let y = (segment.bbox.top + segment.bbox.bottom) / 2.0;
            let segment = without_rules(segment, frame);
            for segment in segment.cut(&lattice.walls_at(y, segment.bbox.left, segment.bbox.right)) {
                let cell = lattice.cell_at((segment.bbox.left + segment.bbox.right) / 2.0, y);
                pieces.push(Piece { segment, cell, baseline });
            }
        }
    }
    pieces
}

/// Recognition takes upright rules for bars: those are no words.
fn without_rules<'a>(segment: Segment<'a>, frame: &Frame) -> Segment<'a> {
    const NEAR: f32 = 3.0;
    let is_rule = |text: &str, bbox: &Bbox| {
        matches!(text, "|" | "¦" | "‖") && !between(&frame.down, bbox.left - NEAR, bbox.right + NEAR).is_empty()
    };
    segment.without(&is_rule)
}
