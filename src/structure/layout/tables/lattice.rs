//! The cells that rules make: a lattice of all their positions, in which cells without a rule between them are one.

use super::rules::{Frame, Sets, Stroke};
use deckle_contract::document::Bbox;

/// A rule parts two places of the lattice when it covers this share of their border.
const COVERED: f32 = 0.6;

/// Positions nearer to each other than this, in points, are one.
const NEAR: f32 = 3.0;

/// Upright rules end up to this far, in points, beyond the level one at which they should.
const OVERSHOOT: f32 = 6.0;

/// Places of the lattice from row `top` up to `bottom`, from column `left` up to `right`, the ends left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

/// The places between all rules of a frame, and where there is a wall between them.
#[derive(Debug)]
pub(super) struct Lattice {
    /// Borders of columns, left to right; one more than there are columns.
    pub xs: Vec<f32>,
    /// Borders of rows, top to bottom.
    pub ys: Vec<f32>,
    /// The cells: rectangles that share no place and leave none out.
    pub cells: Vec<Span>,
    /// The cell of each place, row by row.
    owner: Vec<usize>,
}

impl Lattice {
    /// `None` when there is no place at all. A row is at least `line` points high, unless rules on both sides make it.
    pub(super) fn of(frame: &Frame, line: f32) -> Option<Self> {
        let bbox = frame.bbox();
        let xs = positions(frame.down.iter().map(|s| s.at).chain([bbox.left, bbox.right]).collect());
        let ys: Vec<f32> = frame.across.iter().map(|s| s.at).collect();
        // What upright rules reach beyond the last level one is a row only if a line fits there.
        let open = [bbox.top, bbox.bottom].into_iter().filter(|end| ys.iter().all(|y| (y - end).abs() > OVERSHOOT));
        let mut ys = positions(ys.iter().copied().chain(open).collect());
        // Where several upright rules end together, a row ends, although nobody drew its border.
        let implied = shared_ends(frame, &ys, line.max(NEAR));
        ys.extend(&implied);
        let ys = positions(ys);
        let (columns, rows) = (xs.len().checked_sub(1)?, ys.len().checked_sub(1)?);
        if columns == 0 || rows == 0 || columns * rows > 200_000 {
            return None;
        }
        let mut walls =
            Walls { down: vec![true; rows * (columns + 1)], across: vec![true; (rows + 1) * columns], columns };
        for (column, x) in xs.iter().enumerate().take(columns).skip(1) {
            for (row, is_wall) in covered(&frame.down, *x, &ys).into_iter().enumerate() {
                walls.down[row * (columns + 1) + column] = is_wall;
            }
        }
        for (row, y) in ys.iter().enumerate().take(rows).skip(1) {
            let is_implied = implied.iter().any(|end| (end - y).abs() < NEAR);
            let ending: Vec<f32> = frame.down.iter().filter(|s| is_implied && ends_at(s, *y)).map(|s| s.at).collect();
            let ends_here = |x: f32| {
                let near = ending.partition_point(|at| x - at >= NEAR);
                ending.get(near).is_some_and(|at| at - x < NEAR)
            };
            for (column, is_covered) in covered(&frame.across, *y, &xs).into_iter().enumerate() {
                // Without upright rules there is one column, and any rule in it parts rows.
                walls.across[row * columns + column] =
                    frame.down.is_empty() || is_covered || ends_here(xs[column]) || ends_here(xs[column + 1]);
            }
        }
        let (cells, owner) = walls.cells(rows);
        Some(Self { xs, ys, cells, owner })
    }

    pub(super) fn rows(&self) -> usize {
        self.ys.len() - 1
    }

    pub(super) fn columns(&self) -> usize {
        self.xs.len() - 1
    }

    /// The cell in which a point lies; the nearest for one outside.
    pub(super) fn cell_at(&self, x: f32, y: f32) -> usize {
        let place = |borders: &[f32], at: f32| borders[1..borders.len() - 1].partition_point(|border| *border <= at);
        self.owner[place(&self.ys, y) * self.columns() + place(&self.xs, x)]
    }

    pub(super) fn bbox(&self, span: &Span) -> Bbox {
        Bbox {
            left: self.xs[span.left],
            right: self.xs[span.right],
            top: self.ys[span.top],
            bottom: self.ys[span.bottom],
        }
    }

    /// Borders within a stretch at which a line in this height is cut.
    pub(super) fn walls_at(&self, y: f32, from: f32, to: f32) -> Vec<f32> {
        let row = self.ys[1..self.ys.len() - 1].partition_point(|border| *border <= y);
        let owner = |column: usize| self.owner[row * self.columns() + column];
        let first = self.xs.partition_point(|x| *x < from).max(1);
        let end = self.xs.partition_point(|x| *x <= to).min(self.columns());
        (first..end).filter(|column| owner(column - 1) != owner(*column)).map(|column| self.xs[column]).collect()
    }
}

/// Sorted, those that are near to each other once.
fn positions(mut all: Vec<f32>) -> Vec<f32> {
    all.sort_by(f32::total_cmp);
    let mut kept: Vec<f32> = Vec::new();
    for at in all {
        if kept.last().is_none_or(|last| at - last > NEAR) {
            kept.push(at);
        }
    }
    kept
}

fn ends_at(stroke: &Stroke, at: f32) -> bool {
    (stroke.from - at).abs() < NEAR || (stroke.to - at).abs() < NEAR
}

/// Heights at which two or more upright strokes end where no level one stands.
fn shared_ends(frame: &Frame, ys: &[f32], line: f32) -> Vec<f32> {
    let (Some(top), Some(bottom)) = (ys.first(), ys.last()) else { return Vec::new() };
    let mut ends: Vec<f32> = frame.down.iter().flat_map(|s| [s.from, s.to]).collect();
    let is_apart = |end: f32| {
        let next = ys.partition_point(|y| *y < end);
        ys[next.saturating_sub(1)..ys.len().min(next + 1)].iter().all(|y| (y - end).abs() > line)
    };
    ends.retain(|end| end - top > line && bottom - end > line && is_apart(*end));
    ends.sort_by(f32::total_cmp);
    let mut shared: Vec<f32> = ends.windows(2).filter(|pair| pair[1] - pair[0] < 1.0).map(|pair| pair[0]).collect();
    shared.dedup_by(|a, b| *a - *b < NEAR);
    shared
}

/// Of each stretch between two borders, whether strokes near `at` cover most of it.
fn covered(strokes: &[Stroke], at: f32, borders: &[f32]) -> Vec<bool> {
    let from = strokes.partition_point(|stroke| at - stroke.at > NEAR);
    let to = strokes.partition_point(|stroke| stroke.at - at <= NEAR);
    let mut sums = vec![0.0; borders.len() - 1];
    for stroke in &strokes[from..to.max(from)] {
        let first = borders.partition_point(|border| *border <= stroke.from).saturating_sub(1);
        for (sum, stretch) in sums.iter_mut().zip(borders.windows(2)).skip(first) {
            if stretch[0] >= stroke.to {
                break;
            }
            *sum += stroke.covers(stretch[0], stretch[1]);
        }
    }
    sums.iter().zip(borders.windows(2)).map(|(sum, stretch)| *sum >= (stretch[1] - stretch[0]) * COVERED).collect()
}

struct Walls {
    /// Row by row, the walls left of each column and the last one's right.
    down: Vec<bool>,
    /// Row by row, the walls above each column, and those below the last row.
    across: Vec<bool>,
    columns: usize,
}

impl Walls {
    fn is_open_left(&self, row: usize, column: usize) -> bool {
        !self.down[row * (self.columns + 1) + column]
    }

    fn is_open_above(&self, row: usize, column: usize) -> bool {
        !self.across[row * self.columns + column]
    }

    /// The first column right of `column` that a wall parts from it.
    fn run_end(&self, row: usize, column: usize) -> usize {
        column + 1 + (column + 1..self.columns).take_while(|next| self.is_open_left(row, *next)).count()
    }

    /// Cells and the cell of each place. Places that are open to each other but make no rectangle are parted where a
    /// row of them becomes wider or narrower.
    fn cells(&self, rows: usize) -> (Vec<Span>, Vec<usize>) {
        let columns = self.columns;
        let mut sets = Sets::new(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                if column > 0 && self.is_open_left(row, column) {
                    sets.join(row * columns + column - 1, row * columns + column);
                }
                if row > 0 && self.is_open_above(row, column) {
                    sets.join((row - 1) * columns + column, row * columns + column);
                }
            }
        }
        let mut spans: Vec<Option<Span>> = vec![None; rows * columns];
        for place in 0..rows * columns {
            let (row, column) = (place / columns, place % columns);
            let root = sets.root(place);
            let span = spans[root].get_or_insert(Span { top: row, bottom: row + 1, left: column, right: column + 1 });
            *span = Span {
                top: span.top.min(row),
                bottom: span.bottom.max(row + 1),
                left: span.left.min(column),
                right: span.right.max(column + 1),
            };
        }
        let mut cells: Vec<Span> = Vec::new();
        let mut owner = vec![usize::MAX; rows * columns];
        for place in 0..rows * columns {
            if owner[place] != usize::MAX {
                continue;
            }
            let (row, column) = (place / columns, place % columns);
            let root = sets.root(place);
            let whole = spans[root].filter(|s| (s.bottom - s.top) * (s.right - s.left) == sets.size[root]);
            let span = whole.unwrap_or_else(|| {
                let end = self.run_end(row, column);
                // As deep as the rows below are open to it and as wide.
                let deeper = (row + 1..rows).take_while(|below| {
                    (column..end).all(|at| self.is_open_above(*below, at))
                        && !(column > 0 && self.is_open_left(*below, column))
                        && self.run_end(*below, column) == end
                });
                Span { top: row, bottom: row + 1 + deeper.count(), left: column, right: end }
            });
            for row in span.top..span.bottom {
                owner[row * columns + span.left..row * columns + span.right].fill(cells.len());
            }
            cells.push(span);
        }
        (cells, owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strokes(list: &[(f32, f32, f32)]) -> Vec<Stroke> {
        list.iter().map(|(at, from, to)| Stroke { at: *at, from: *from, to: *to }).collect()
    }

    fn spans(across: &[(f32, f32, f32)], down: &[(f32, f32, f32)]) -> Vec<(usize, usize, usize, usize)> {
        let lattice = Lattice::of(&Frame { across: strokes(across), down: strokes(down) }, 10.0).unwrap();
        lattice.cells.iter().map(|s| (s.top, s.bottom, s.left, s.right)).collect()
    }

    #[test]
    fn a_missing_rule_makes_one_cell_of_two() {
        let across = [(0.0, 0.0, 90.0), (20.0, 30.0, 90.0), (40.0, 0.0, 90.0)];
        let down = [(0.0, 0.0, 40.0), (30.0, 0.0, 40.0), (60.0, 20.0, 40.0), (90.0, 0.0, 40.0)];
        assert_eq!(spans(&across, &down), [(0, 2, 0, 1), (0, 1, 1, 3), (1, 2, 1, 2), (1, 2, 2, 3)]);
    }

    #[test]
    fn places_that_make_no_rectangle_are_parted_where_they_become_narrower() {
        // The title above has no rule below its first column.
        let across = [(0.0, 0.0, 90.0), (20.0, 30.0, 90.0), (40.0, 0.0, 90.0)];
        let down = [(0.0, 0.0, 40.0), (30.0, 20.0, 40.0), (90.0, 0.0, 40.0)];
        assert_eq!(spans(&across, &down), [(0, 1, 0, 2), (1, 2, 0, 1), (1, 2, 1, 2)]);
    }

    #[test]
    fn upright_rules_that_end_together_part_rows() {
        let across = [(0.0, 0.0, 90.0), (40.0, 0.0, 90.0)];
        let down = [(0.0, 0.0, 40.0), (30.0, 0.0, 40.0), (50.0, 18.0, 40.0), (70.0, 18.0, 40.0), (90.0, 0.0, 40.0)];
        assert_eq!(spans(&across, &down), [(0, 2, 0, 1), (0, 1, 1, 4), (1, 2, 1, 2), (1, 2, 2, 3), (1, 2, 3, 4)]);
    }
}
