//! The columns of a frame: ruled ones, divided at white gutters.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::super::super::Metrics;
use super::super::column_edges;
use super::super::lattice::{Lattice, Span};
use super::super::segments::Segment;
use super::super::{grid::is_running_text, values::place};
use super::Piece;
use deckle_contract::document::Bbox;

/// All columns: those between rules, and those that gutters part within them.
pub(super) struct Columns {
    /// Left and right of each column's place.
    pub borders: Vec<(f32, f32)>,
    /// Left and right of what its text covers; its borders where only rules part it.
    pub extents: Vec<(f32, f32)>,
    /// The first column of each ruled one, and the end.
    pub starts: Vec<usize>,
}

impl Columns {
    pub(super) fn of(lattice: &Lattice, pieces: &[Piece<'_>], metrics: &Metrics) -> Self {
        let mut columns = Self { borders: Vec::new(), extents: Vec::new(), starts: vec![0] };
        for ruled in 0..lattice.columns() {
            let (left, right) = (lattice.xs[ruled], lattice.xs[ruled + 1]);
            let gutters = gutters(lattice, ruled, pieces, metrics);
            if gutters.len() < 2 {
                columns.borders.push((left, right));
                columns.extents.push((left, right));
            } else {
                let middle = |at: usize| (gutters[at].1 + gutters[at + 1].0) / 2.0;
                for at in 0..gutters.len() {
                    let left = if at == 0 { left } else { middle(at - 1) };
                    let right = if at + 1 == gutters.len() { right } else { middle(at) };
                    columns.borders.push((left, right));
                    columns.extents.push(gutters[at]);
                }
            }
            columns.starts.push(columns.borders.len());
        }
        columns
    }

    pub(super) fn of_span(&self, span: &Span) -> Range<usize> {
        self.starts[span.left]..self.starts[span.right]
    }

    /// A piece that runs over the columns of its cell, cut where its words do not.
    pub(super) fn cut<'a>(&self, lattice: &Lattice, piece: Piece<'a>) -> Vec<Piece<'a>> {
        let range = self.of_span(&lattice.cells[piece.cell]);
        if range.len() < 2 {
            return vec![piece];
        }
        let segments = piece.segment.by_columns(&self.extents[range]);
        segments.into_iter().map(|segment| Piece { segment, ..piece }).collect()
    }

    /// The columns of a range shared out among boxes above them: each column goes to the nearest, each box has some.
    pub(super) fn shared(&self, range: &Range<usize>, boxes: &[Bbox]) -> Vec<(usize, usize)> {
        let middle = |(left, right): (f32, f32)| (left + right) / 2.0;
        let nearest = |column: usize| {
            let x = middle(self.extents[column]);
            let distance = |bbox: &Bbox| (middle((bbox.left, bbox.right)) - x).abs();
            (0..boxes.len()).min_by(|a, b| distance(&boxes[*a]).total_cmp(&distance(&boxes[*b])))
        };
        let owners: Vec<Option<usize>> = range.clone().map(nearest).collect();
        let share = |number: usize| {
            let of = |owner: &Option<usize>| *owner == Some(number);
            let placed = self.place(&boxes[number], range);
            owners
                .iter()
                .position(of)
                .zip(owners.iter().rposition(of))
                .map_or(placed, |(first, last)| (range.start + first, range.start + last))
        };
        (0..boxes.len()).map(share).collect()
    }

    /// The columns that a box covers, of those in a range.
    pub(super) fn place(&self, bbox: &Bbox, range: &Range<usize>) -> (usize, usize) {
        let (first, last) = place(bbox, &self.extents[range.clone()]);
        (range.start + first, range.start + last)
    }
}

/// The extents of the columns within a ruled one; fewer than two when it is one.
fn gutters(lattice: &Lattice, ruled: usize, pieces: &[Piece<'_>], metrics: &Metrics) -> Vec<(f32, f32)> {
    // Strips of many lines show columns; those of one or two are heads, or rows that rules part already.
    let alone = lattice.columns() == 1;
    let is_own = |piece: &&Piece<'_>| {
        let span = &lattice.cells[piece.cell];
        span.left == ruled && span.right == ruled + 1
    };
    let mut lines_of: HashMap<usize, HashSet<usize>> = HashMap::new();
    for piece in pieces.iter().filter(is_own) {
        lines_of.entry(piece.cell).or_default().insert(piece.baseline);
    }
    let is_open = |piece: &&Piece<'_>| alone || lines_of.get(&piece.cell).is_some_and(|lines| lines.len() >= 3);
    let own: Vec<&Piece<'_>> = pieces.iter().filter(is_own).filter(is_open).collect();
    let mut lines: Vec<usize> = own.iter().map(|piece| piece.baseline).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut widths: HashMap<usize, usize> = HashMap::new();
    own.iter().for_each(|piece| *widths.entry(piece.baseline).or_default() += 1);
    let most = widths.values().copied().max().unwrap_or(0);
    let frequent = |width: usize| widths.values().filter(|own| **own == width).count() * width;
    let Some(usual) = (2..=most).max_by_key(|width| frequent(*width)) else { return Vec::new() };
    let core: HashSet<usize> = lines.iter().filter(|line| widths[line] >= usual).copied().collect();
    let several = widths.values().filter(|width| **width >= 2).count();
    if core.len() < 2 || several * 2 < lines.len() {
        return Vec::new();
    }
    let of_core = own.iter().filter(|piece| core.contains(&piece.baseline));
    let extents = of_core.map(|piece| (piece.segment.bbox.left, piece.segment.bbox.right));
    let columns = column_edges(extents, core.len(), metrics.body * 0.4);
    let prose = (0..columns.len()).any(|column| {
        let segments: Vec<&Segment<'_>> = own
            .iter()
            .filter(|piece| place(&piece.segment.bbox, &columns) == (column, column))
            .map(|piece| &piece.segment)
            .collect();
        is_running_text(&segments)
    });
    if prose { Vec::new() } else { columns }
}
