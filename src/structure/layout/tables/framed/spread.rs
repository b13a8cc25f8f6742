//! Ruled cells divided into the table's cells.

use std::{collections::HashSet, ops::Range};

use super::super::cells::Area;
use super::super::lattice::{Lattice, Span};
use super::super::rules::{Frame, between};
use super::super::segments::Segment;
use super::Piece;
use super::columns::Columns;
use super::strips::Rows;
use crate::ordered::Stretches;
use deckle_contract::document::Bbox;

/// Makes an area of rows, the pieces in it and its box.
type AreaOf<'f, 'a> = dyn Fn(Range<usize>, Vec<&Piece<'a>>, Bbox) -> Area<'a> + 'f;

/// What is known of a frame, and the cells made so far.
pub(super) struct Divider<'d, 'a> {
    pub lattice: &'d Lattice,
    pub frame: &'d Frame,
    pub columns: &'d Columns,
    pub rows: &'d Rows,
    pub areas: Vec<Area<'a>>,
}

impl<'a> Divider<'_, 'a> {
    /// Divides a ruled cell by the rows and columns that the text shows in it.
    pub(super) fn divide(&mut self, span: &Span, own: Vec<&Piece<'a>>) {
        let range = self.columns.of_span(span);
        let all_rows = self.rows.starts[span.top]..self.rows.starts[span.bottom];
        let ruled = self.lattice.bbox(span);
        let of = |row: Range<usize>, pieces: Vec<&Piece<'a>>, bbox: Bbox| Area {
            rows: row,
            columns: range.clone(),
            bbox,
            segments: pieces.into_iter().map(|piece| piece.segment.clone()).collect(),
        };
        let strip_rows: Vec<(usize, Vec<&Piece<'a>>)> = if span.bottom - span.top == 1 {
            if all_rows.len() == 1 {
                Vec::new()
            } else {
                by_row(own.iter().copied(), |piece| self.rows.of_line(span.top, piece.baseline))
            }
        } else {
            // Labels beside ruled rows, without rules of their own: each stands at the height of a row.
            let row_of = |piece: &Piece<'a>| {
                let y = (piece.segment.bbox.top + piece.segment.bbox.bottom) / 2.0;
                let ends = &self.lattice.ys[span.top + 1..span.bottom];
                let strip = span.top + ends.partition_point(|end| *end <= y);
                if self.rows.strips[strip].len() == 1 {
                    Some(self.rows.starts[strip])
                } else {
                    self.rows.of_line(strip, piece.baseline)
                }
            };
            let found = by_row(own.iter().copied(), row_of);
            let lines: HashSet<usize> = own.iter().map(|piece| piece.baseline).collect();
            let each = found.len() == lines.len() && found.len() >= 2 && found.len() * 10 >= all_rows.len() * 6;
            if each && found.iter().map(|(_, pieces)| pieces.len()).sum::<usize>() == own.len() {
                found
            } else {
                Vec::new()
            }
        };
        if strip_rows.is_empty() && (own.is_empty() || all_rows.len() == 1 || span.bottom - span.top > 1) {
            // One row, whatever its height; or a cell over several.
            let divided = span.bottom - span.top == 1 && all_rows.len() > 1;
            if divided {
                for row in all_rows {
                    self.spread(span, false, of(row..row + 1, Vec::new(), Bbox::default()));
                }
            } else {
                self.spread(span, true, of(all_rows, own, ruled));
            }
            return;
        }
        if span.bottom - span.top == 1 && self.rows.heads[span.top] {
            let [upper, lower] = [0, 1].map(|row| {
                let pieces =
                    strip_rows.iter().find(|(at, _)| *at == all_rows.start + row).map(|(_, pieces)| pieces.clone());
                pieces.unwrap_or_default()
            });
            self.head(span, &of, all_rows.start, upper, lower);
            return;
        }
        let whole = span.bottom - span.top > 1;
        let mut strip_rows = strip_rows.into_iter().peekable();
        for row in all_rows {
            let pieces = strip_rows.next_if(|(at, _)| *at == row).map(|(_, pieces)| pieces).unwrap_or_default();
            let area = of(row..row + 1, pieces, Bbox::default());
            self.spread(span, whole, area);
        }
    }

    /// A cell of a head of two rows: what stands above several columns spans them, what stands alone above one spans
    /// both rows.
    fn head(&mut self, span: &Span, of: &AreaOf<'_, 'a>, row: usize, upper: Vec<&Piece<'a>>, lower: Vec<&Piece<'a>>) {
        let range = self.columns.of_span(span);
        let below = of(row + 1..row + 2, lower, Bbox::default());
        let mut placed_below: Vec<((usize, usize), &Segment<'a>)> =
            below.segments.iter().map(|segment| (self.columns.place(&segment.bbox, &range), segment)).collect();
        placed_below.sort_by_key(|((first, _), _)| *first);
        let reach = Stretches::of(placed_below.iter().map(|((first, last), _)| (*first as f32, *last as f32)));
        let has_below = |column: usize| reach.furthest_before(column as f32 + 0.5) >= column as f32;
        if upper.is_empty() {
            let both = Area { rows: row..row + 2, ..below };
            self.spread(span, false, both);
            return;
        }
        let shares = self.columns.shared(&range, &upper.iter().map(|piece| piece.segment.bbox).collect::<Vec<_>>());
        let mut groups: Vec<(usize, usize, Vec<&Piece<'a>>)> = Vec::new();
        let mut placed: Vec<((usize, usize), &Piece<'a>)> = shares.into_iter().zip(upper).collect();
        placed.sort_by_key(|(share, _)| *share);
        for ((first, last), piece) in placed {
            match groups.last_mut() {
                Some(group) if group.1 >= first => {
                    group.1 = group.1.max(last);
                    group.2.push(piece);
                }
                _ => groups.push((first, last, vec![piece])),
            }
        }
        let empty = |columns: Range<usize>| Area { columns, ..of(row..row + 1, Vec::new(), Bbox::default()) };
        let mut next = range.start;
        let mut deep = Vec::new();
        for (first, last, pieces) in groups {
            self.areas.extend((next..first).map(|column| empty(column..column + 1)));
            next = last + 1;
            let alone = first == last && !has_below(first);
            deep.extend(alone.then_some(first));
            let rows = row..row + if alone { 2 } else { 1 };
            self.areas.push(Area { columns: first..last + 1, ..of(rows, pieces, Bbox::default()) }.boxed());
        }
        self.areas.extend((next..range.end).map(|column| empty(column..column + 1)));
        // What is left below, from one column that is taken to the next.
        deep.push(range.end);
        let mut start = range.start;
        for taken in deep {
            if start < taken {
                let at = |column: usize| placed_below.partition_point(|((first, _), _)| *first < column);
                let inside = placed_below[at(start)..at(taken)].iter();
                let segments = inside.map(|(_, segment)| (*segment).clone()).collect();
                let part = Area { rows: below.rows.clone(), columns: start..taken, bbox: below.bbox, segments };
                self.spread(span, false, part);
            }
            start = taken + 1;
        }
    }

    /// Spreads an area over the columns that it covers: one cell where nothing in it stands apart.
    fn spread(&mut self, span: &Span, whole: bool, area: Area<'a>) {
        let range = area.columns.clone();
        let ruled_together = whole && span.right - span.left > 1;
        if range.len() == 1 || area.segments.is_empty() && ruled_together {
            self.areas.push(area.boxed());
            return;
        }
        let mut groups: Vec<(usize, usize, Vec<Segment<'a>>)> = Vec::new();
        let place = |segment: &Segment<'a>| {
            let (first, last) = self.columns.place(&segment.bbox, &range);
            (first, last, segment.clone())
        };
        let mut placed: Vec<(usize, usize, Segment<'a>)> = area.segments.iter().map(place).collect();
        placed.sort_by_key(|(first, last, _)| (*first, *last));
        for (first, last, segment) in placed {
            match groups.last_mut() {
                Some(group) if group.1 >= first => {
                    group.1 = group.1.max(last);
                    group.2.push(segment);
                }
                _ => groups.push((first, last, vec![segment])),
            }
        }
        if let [(first, last, segments)] = &mut groups[..] {
            if ruled_together {
                self.areas.push(area.boxed());
                return;
            }
            let bbox = Bbox::around(segments.iter().map(|segment| &segment.bbox)).unwrap_or_default();
            if let Some((from, to)) = self.headed(span, &range, &bbox) {
                (*first, *last) = ((*first).min(from), (*last).max(to));
            }
        } else {
            for at in 0..groups.len() {
                let bbox = Bbox::around(groups[at].2.iter().map(|segment| &segment.bbox)).unwrap_or_default();
                let Some((from, to)) = self.ruled_below(span, &range, &bbox) else { continue };
                let free_from = at.checked_sub(1).map_or(range.start, |before| groups[before].1 + 1);
                let free_to = groups.get(at + 1).map_or(range.end - 1, |next| next.0 - 1);
                groups[at].0 = groups[at].0.min(from.max(free_from));
                groups[at].1 = groups[at].1.max(to.min(free_to));
            }
        }
        let empty = |column: usize| {
            let (left, right) = self.columns.borders[column];
            Area {
                rows: area.rows.clone(),
                columns: column..column + 1,
                bbox: if area.bbox.area() > 0.0 { Bbox { left, right, ..area.bbox } } else { Bbox::default() },
                segments: Vec::new(),
            }
        };
        let mut next = range.start;
        for (first, last, segments) in groups {
            self.areas.extend((next..first).map(empty));
            next = last + 1;
            self.areas.push(
                Area { rows: area.rows.clone(), columns: first..last + 1, bbox: Bbox::default(), segments }.boxed(),
            );
        }
        self.areas.extend((next..range.end).map(empty));
    }

    /// The columns below a head that stands alone above several of them: those under the rule below it, or all of its
    /// ruled column when it stands in the middle.
    fn headed(&self, span: &Span, range: &Range<usize>, bbox: &Bbox) -> Option<(usize, usize)> {
        let below = self.ruled_below(span, range, bbox);
        let (left, right) = (self.columns.borders[range.start].0, self.columns.borders[range.end - 1].1);
        let off = (bbox.left + bbox.right - left - right).abs() / 2.0;
        let centred = off < (right - left) * 0.08 && self.lattice.columns() > 1 && span.bottom < self.lattice.rows();
        below.or_else(|| centred.then_some((range.start, range.end - 1)))
    }

    /// The columns over a shorter rule that stands right below a head.
    fn ruled_below(&self, span: &Span, range: &Range<usize>, bbox: &Bbox) -> Option<(usize, usize)> {
        const NEAR: f32 = 3.0;
        let y = self.lattice.ys[span.bottom];
        let middle = (bbox.left + bbox.right) / 2.0;
        let (left, right) = (self.columns.borders[range.start].0, self.columns.borders[range.end - 1].1);
        let near = between(&self.frame.across, y - NEAR, y + NEAR);
        let rule =
            near.iter().find(|s| s.from < middle && middle < s.to && s.covers(left, right) < (right - left) * 0.95)?;
        let under = |column: &usize| {
            let (left, right) = self.columns.extents[*column];
            rule.covers(left, right) > (right - left) * 0.5
        };
        let first = range.clone().find(under)?;
        let last = range.clone().rfind(under)?;
        Some((first, last))
    }
}

fn by_row<'p, 'a: 'p>(
    pieces: impl Iterator<Item = &'p Piece<'a>>,
    row_of: impl Fn(&Piece<'a>) -> Option<usize>,
) -> Vec<(usize, Vec<&'p Piece<'a>>)> {
    let mut rows: std::collections::BTreeMap<usize, Vec<&'p Piece<'a>>> = std::collections::BTreeMap::new();
    for piece in pieces {
        if let Some(row) = row_of(piece) {
            rows.entry(row).or_default().push(piece);
        }
    }
    rows.into_iter().collect()
}
