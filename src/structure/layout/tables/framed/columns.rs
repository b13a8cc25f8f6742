//! The columns of a frame: ruled ones, divided at white gutters.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::super::super::Metrics;
use super::super::column_edges;
use super::super::lattice::{Lattice, Span};
use super::super::segments::Segment;
use super::super::{grid::is_running_text, values::Places};
use super::Piece;
use deckle_contract::document::Bbox;

/// All columns: those between rules, and those that gutters part within them.
pub(super) struct Columns {
    /// Left and right of each column's place.
    pub borders: Vec<(f32, f32)>,
    /// Left and right of what its text covers; its borders where only rules part it.
    pub extents: Vec<(f32, f32)>,
    places: Places,
    /// The first column of each ruled one, and the end.
    pub starts: Vec<usize>,
}

impl Columns {
    pub(super) fn of(lattice: &Lattice, pieces: &[Piece<'_>], metrics: &Metrics) -> Self {
        let mut columns = Self { borders: Vec::new(), extents: Vec::new(), places: Places::of(&[]), starts: vec![0] };
        let mut in_one: Vec<Vec<&Piece<'_>>> = vec![Vec::new(); lattice.columns()];
        for piece in pieces {
            let span = &lattice.cells[piece.cell];
            if span.right == span.left + 1 {
                in_one[span.left].push(piece);
            }
        }
        for (ruled, own) in in_one.iter().enumerate() {
            let (left, right) = (lattice.xs[ruled], lattice.xs[ruled + 1]);
            let gutters = gutters(own, lattice.columns() == 1, metrics);
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
        columns.places = Places::of(&columns.extents);
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
        let segments = piece.segment.by_columns(&self.places, &range);
        segments.into_iter().map(|segment| Piece { segment, ..piece }).collect()
    }

    /// The columns of a range shared out among boxes above them: each column goes to the nearest, each box has some.
    pub(super) fn shared(&self, range: &Range<usize>, boxes: &[Bbox]) -> Vec<(usize, usize)> {
        let middle = |(left, right): (f32, f32)| (left + right) / 2.0;
        let mut middles: Vec<(f32, usize)> =
            boxes.iter().map(|bbox| middle((bbox.left, bbox.right))).zip(0..).collect();
        middles.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first_at = |x: f32| middles.partition_point(|(middle, _)| *middle < x);
        let nearest = |column: usize| {
            let x = middle(self.extents[column]);
            let right = first_at(x);
            let left = right.checked_sub(1).map(|last| first_at(middles[last].0));
            let near = [left.and_then(|left| middles.get(left)), middles.get(right)].into_iter().flatten();
            let nearest = near.min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs()).then(a.1.cmp(&b.1)));
            nearest.map(|(_, number)| *number)
        };
        let mut shares: Vec<Option<(usize, usize)>> = vec![None; boxes.len()];
        for column in range.clone() {
            if let Some(number) = nearest(column) {
                shares[number] = Some((shares[number].map_or(column, |(first, _)| first), column));
            }
        }
        shares.into_iter().zip(boxes).map(|(share, bbox)| share.unwrap_or_else(|| self.place(bbox, range))).collect()
    }

    /// The columns that a box covers, of those in a range.
    pub(super) fn place(&self, bbox: &Bbox, range: &Range<usize>) -> (usize, usize) {
        self.places.place(bbox, range)
    }
}

/// The extents of the columns that the pieces of a ruled one show, which may stand alone; fewer than two when it is one.
fn gutters(pieces: &[&Piece<'_>], alone: bool, metrics: &Metrics) -> Vec<(f32, f32)> {
    // Strips of many lines show columns; those of one or two are heads, or rows that rules part already.
    let mut lines_of: HashMap<usize, HashSet<usize>> = HashMap::new();
    for piece in pieces {
        lines_of.entry(piece.cell).or_default().insert(piece.baseline);
    }
    let is_open = |piece: &&Piece<'_>| alone || lines_of.get(&piece.cell).is_some_and(|lines| lines.len() >= 3);
    let own: Vec<&Piece<'_>> = pieces.iter().copied().filter(is_open).collect();
    let mut lines: Vec<usize> = own.iter().map(|piece| piece.baseline).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut widths: HashMap<usize, usize> = HashMap::new();
    own.iter().for_each(|piece| *widths.entry(piece.baseline).or_default() += 1);
    let most = widths.values().copied().max().unwrap_or(0);
    let mut lines_as_wide = vec![0; most + 1];
    widths.values().for_each(|width| lines_as_wide[*width] += 1);
    let frequent = |width: usize| lines_as_wide[width] * width;
    let Some(usual) = (2..=most).max_by_key(|width| frequent(*width)) else { return Vec::new() };
    let core: HashSet<usize> = lines.iter().filter(|line| widths[line] >= usual).copied().collect();
    let several = widths.values().filter(|width| **width >= 2).count();
    if core.len() < 2 || several * 2 < lines.len() {
        return Vec::new();
    }
    let of_core = own.iter().filter(|piece| core.contains(&piece.baseline));
    let extents = of_core.map(|piece| (piece.segment.bbox.left, piece.segment.bbox.right));
    let columns = column_edges(extents, core.len(), metrics.body * 0.4);
    let places = Places::of(&columns);
    let mut in_column: Vec<Vec<&Segment<'_>>> = vec![Vec::new(); columns.len()];
    for piece in own {
        let (first, last) = places.place(&piece.segment.bbox, &places.all());
        if let Some(column) = in_column.get_mut(first).filter(|_| first == last) {
            column.push(&piece.segment);
        }
    }
    let prose = in_column.iter().any(|column| is_running_text(column));
    if prose { Vec::new() } else { columns }
}
