//! Cells in the making, and which of them head a column or a row.

use std::ops::Range;

use super::super::text;
use super::segments::Segment;
use super::values::is_value;
use deckle_contract::document::{Bbox, Cell, Locator};

/// Heads have at most this many rows.
const MOST_HEAD_ROWS: u32 = 5;

/// A cell with the parts of lines that stand in it.
#[derive(Debug, Clone)]
pub(super) struct Area<'a> {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// The ruled cell's box, or without rules that of the text; without area where there is neither.
    pub bbox: Bbox,
    pub segments: Vec<Segment<'a>>,
}

impl Area<'_> {
    /// With the text's box where no rules make one.
    pub(super) fn boxed(mut self) -> Self {
        if self.bbox.area() <= 0.0 {
            self.bbox = Bbox::around(self.segments.iter().map(|segment| &segment.bbox)).unwrap_or_default();
        }
        self
    }

    pub(super) fn is_bold(&self) -> bool {
        !self.segments.is_empty() && self.segments.iter().all(|segment| segment.bold)
    }

    pub(super) fn cell(&self, page_no: u32) -> Cell {
        Cell {
            row_index: self.rows.start as u32,
            column_index: self.columns.start as u32,
            row_span: self.rows.len() as u32,
            column_span: self.columns.len() as u32,
            header: false,
            row_header: false,
            text: text::join(in_reading_order(&self.segments).iter().map(|segment| segment.text.as_str())),
            prov: (self.bbox != Bbox::default()).then(|| Locator::on_page(page_no, self.bbox)),
        }
    }
}

/// Segments of a cell line by line, each from left to right.
pub(super) fn in_reading_order<'s, 'a>(segments: &'s [Segment<'a>]) -> Vec<&'s Segment<'a>> {
    let middle = |segment: &Segment<'_>| (segment.bbox.top + segment.bbox.bottom) / 2.0;
    let mut ordered: Vec<&Segment<'a>> = segments.iter().collect();
    ordered.sort_by(|a, b| middle(a).total_cmp(&middle(b)).then(a.bbox.left.total_cmp(&b.bbox.left)));
    let mut start = 0;
    while start < ordered.len() {
        let (anchor, size) = (middle(ordered[start]), ordered[start].line.size);
        let line = ordered[start..].iter().take_while(|s| middle(s) - anchor < size.min(s.line.size) * 0.45).count();
        ordered[start..start + line.max(1)].sort_by(|a, b| a.bbox.left.total_cmp(&b.bbox.left));
        start += line.max(1);
    }
    ordered
}

/// Marks the rows at the top that name the columns, and the cells at the left that name their rows.
///
/// Heads are bold above rows that are not, or words above figures, or what rules set apart from all rows below
/// (`ruled_off`: the first row below). `bold` tells which cells are set so, in their order.
pub(super) fn set_headers(cells: &mut [Cell], bold: &[bool], rows: u32, ruled_off: Option<u32>) {
    let head = head_rows(cells, bold, rows, ruled_off);
    for cell in cells.iter_mut() {
        cell.header = cell.row_index < head;
    }
    let body = || cells.iter().filter(|cell| cell.row_index >= head && !cell.text.is_empty());
    let is_label = |cell: &&Cell| cell.column_index == 0;
    let labels = body().filter(is_label).count();
    let words = body().filter(is_label).filter(|cell| !is_value(&cell.text)).count();
    let others = body().filter(|cell| cell.column_index > 0).count();
    let figures = body().filter(|cell| cell.column_index > 0 && is_value(&cell.text)).count();
    if labels >= 2 && words * 10 >= labels * 7 && figures * 2 >= others && others > 0 {
        for cell in cells.iter_mut().filter(|cell| cell.row_index >= head && cell.column_index == 0) {
            cell.row_header = !cell.text.is_empty();
        }
    }
}

fn head_rows(cells: &[Cell], bold: &[bool], rows: u32, ruled_off: Option<u32>) -> u32 {
    if let Some(head) = ruled_off.filter(|head| (1..=MOST_HEAD_ROWS).contains(head)) {
        return head;
    }
    // Of each row: how many cells say something, how many of those are bold, and how many are values.
    let mut said = vec![[0; 3]; rows as usize];
    for (cell, bold) in cells.iter().zip(bold).filter(|(cell, _)| !cell.text.is_empty()) {
        let counts = [1, usize::from(*bold), usize::from(is_value(&cell.text))];
        for row in said.iter_mut().skip(cell.row_index as usize).take(cell.row_span as usize) {
            row.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let is_bold = |row: u32| matches!(said[row as usize], [all, bold, _] if all > 0 && bold == all);
    let has_values = |row: u32| said[row as usize][2] > 0;
    let leading_bold = (0..rows).take_while(|row| is_bold(*row)).count() as u32;
    if (1..=MOST_HEAD_ROWS).contains(&leading_bold) && leading_bold < rows {
        return leading_bold;
    }
    let words = (0..rows).take_while(|row| !has_values(*row)).count() as u32;
    let below = (words..rows).filter(|row| has_values(*row)).count() as u32;
    if (1..=MOST_HEAD_ROWS).contains(&words) && below * 2 >= rows - words { words } else { 0 }
}
