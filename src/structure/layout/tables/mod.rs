//! Tables: by their rules, and by their aligned columns. Precision before recall.
//!
//! Rules are looked at first, for the whole page ([`ruled`]): strokes that touch are a frame ([`rules`]), a frame makes
//! a lattice of cells ([`lattice`]), and text divides those further where only some of the rules were drawn
//! ([`framed`]). What is left is looked at region by region ([`lift`]): lines are cut into segments at wide spaces,
//! segments into rows ([`segments`]). A run of rows whose segments fall into the same columns, with white gaps between
//! the columns over all rows, is a table if it looks like one ([`grid`]): short cells, filled for the most part, edges
//! aligned. Columns of running text never are.
//!
//! The law: the cells of a table tile its grid, and every line of it belongs to the block.

mod cells;
mod diagram;
mod framed;
mod grid;
mod lattice;
mod rules;
mod segments;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashSet;

use super::item::Item;
use super::{Measured, Metrics, middle};
use deckle_contract::document::{Bbox, Drawing, Table};
use diagram::is_diagram;
use grid::Grid;
pub(super) use rules::joined;
use rules::{Frame, Stroke};
use segments::{PROSE, Row};

/// A table has at least this many rows with two cells or more.
const LEAST_ROWS: usize = 3;

/// At most this many frames of a page are looked at, the largest first.
const MOST_FRAMES: usize = 300;

/// Replaces the lines of every table that rules make on a page by the table; everything else stays as it is.
pub(super) fn ruled<'a>(items: Vec<Item<'a>>, drawing: &Drawing, metrics: &Metrics) -> Vec<Item<'a>> {
    if drawing.rules.is_empty() {
        return items;
    }
    let (mut frames, stacks) = rules::frames(&drawing.rules);
    frames.retain(|frame| !frame.across.is_empty() && !frame.down.is_empty());
    // The smallest first: a table in a box is a table, the box around it is none.
    frames.sort_by(|a, b| a.bbox().area().total_cmp(&b.bbox().area()));
    frames.drain(..frames.len().saturating_sub(MOST_FRAMES));
    let mut lines: Vec<&'a Measured<'a>> = Vec::new();
    let mut rest = Vec::new();
    for item in items {
        match item {
            Item::Line(line) => lines.push(line),
            other => rest.push(other),
        }
    }
    let heights = ByHeight::of(&lines);
    frames.extend(stacks.iter().flat_map(|stack| parts(stack, &heights)));
    let mut taken: HashSet<usize> = HashSet::new();
    for frame in frames {
        let bbox = frame.bbox();
        let mut inside = heights.inside(&bbox);
        inside.retain(|line| !taken.contains(&line.index));
        if let Some((table, inside)) = framed::build(&frame, &inside, metrics) {
            taken.extend(inside.iter().map(|line| line.index));
            let bbox = inside.iter().fold(bbox, |bbox, line| bbox.union(&line.bbox));
            rest.push(Item::Table { bbox, lines: inside, table });
        }
    }
    rest.extend(lines.into_iter().filter(|line| !taken.contains(&line.index)).map(Item::Line));
    rest
}

/// Lines by the height of their middle, each with its place among all.
struct ByHeight<'a>(Vec<(usize, &'a Measured<'a>)>);

impl<'a> ByHeight<'a> {
    fn of(lines: &[&'a Measured<'a>]) -> Self {
        let mut sorted: Vec<(usize, &'a Measured<'a>)> = lines.iter().copied().enumerate().collect();
        sorted.sort_by(|a, b| middle(&a.1.bbox).total_cmp(&middle(&b.1.bbox)));
        Self(sorted)
    }

    /// Those whose middle stands between two heights.
    fn between(&self, top: f32, bottom: f32) -> &[(usize, &'a Measured<'a>)] {
        let from = self.0.partition_point(|(_, line)| middle(&line.bbox) <= top);
        let to = self.0.partition_point(|(_, line)| middle(&line.bbox) < bottom);
        &self.0[from..to.max(from)]
    }

    /// Those whose middle lies in a box, in the order in which all were given.
    fn inside(&self, frame: &Bbox) -> Vec<&'a Measured<'a>> {
        let across = |line: &Measured<'_>| (line.bbox.left + line.bbox.right) / 2.0;
        let is_inside = |line: &Measured<'_>| across(line) > frame.left && across(line) < frame.right;
        let inside = self.between(frame.top, frame.bottom).iter().filter(|(_, line)| is_inside(line));
        let mut inside: Vec<(usize, &'a Measured<'a>)> = inside.copied().collect();
        inside.sort_by_key(|(place, _)| *place);
        inside.into_iter().map(|(_, line)| line).collect()
    }
}

/// The parts of a stack of rules between which all lines are rows of cells: what a page's own rules have between them
/// is running text.
fn parts(stack: &Frame, lines: &ByHeight<'_>) -> Vec<Frame> {
    let bbox = stack.bbox();
    let is_whole = |stroke: &Stroke| stroke.length() >= bbox.width() * 0.9;
    let whole: Vec<f32> = stack.across.iter().filter(|stroke| is_whole(stroke)).map(|stroke| stroke.at).collect();
    let is_tabular = |top: f32, bottom: f32| {
        let rows = segments::rows(&lines.inside(&Bbox { top, bottom, ..bbox }));
        let tabular = rows.iter().filter(|row| row.is_tabular()).count();
        tabular > 0 && tabular * 2 >= rows.len()
    };
    let mut parts: Vec<(f32, f32)> = Vec::new();
    for pair in whole.windows(2) {
        if is_tabular(pair[0], pair[1]) {
            match parts.last_mut() {
                Some(part) if part.1 == pair[0] => part.1 = pair[1],
                _ => parts.push((pair[0], pair[1])),
            }
        }
    }
    let of = |(top, bottom): (f32, f32)| {
        let across = rules::between(&stack.across, top.next_down(), bottom.next_up()).to_vec();
        Frame { across, down: Vec::new() }
    };
    parts.into_iter().map(of).collect()
}

/// Replaces the lines of every table in a region by the table; everything else stays as it is.
pub(super) fn lift<'a>(items: Vec<Item<'a>>, drawing: &Drawing, metrics: &Metrics) -> Vec<Item<'a>> {
    let mut lines = Vec::new();
    let mut rest = Vec::new();
    for item in items {
        match item {
            Item::Line(line) => lines.push(line),
            other => rest.push(other),
        }
    }
    if lines.len() < LEAST_ROWS {
        rest.extend(lines.into_iter().map(Item::Line));
        return rest;
    }
    let rows = segments::rows(&lines);
    let heights = ByHeight::of(&lines);
    let mut taken = HashSet::new();
    for run in runs(&rows) {
        for (table, inside) in build_any(&rows[run], drawing, metrics, 0) {
            let bbox = Bbox::around(inside.iter().map(|line| &line.bbox)).unwrap_or_default();
            let own: HashSet<usize> = inside.iter().map(|line| line.index).collect();
            // With text beside it, this is a part of a column; the table is found once the columns are cut.
            let mut across = heights.between(bbox.top, bbox.bottom).iter();
            if across.all(|(_, line)| own.contains(&line.index)) {
                taken.extend(own);
                rest.push(Item::Table { bbox, lines: inside, table });
            }
        }
    }
    rest.extend(lines.into_iter().filter(|line| !taken.contains(&line.index)).map(Item::Line));
    rest
}

/// Ranges of rows that begin and end with a tabular row and hold at most one other between two of them.
fn runs(rows: &[Row<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..rows.len()).filter(|at| rows[*at].is_tabular()) {
        let close = |last: usize| {
            let gap = rows[at].top - rows[last].bottom;
            let between = &rows[last + 1..at];
            gap < rows[at].size * if between.is_empty() { 3.2 } else { 5.0 }
                && between.len() <= 1
                && between.iter().all(|row| row.segments.len() == 1 && row.segments[0].chars <= PROSE)
        };
        match runs.last_mut() {
            Some(run) if close(run.end - 1) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs.retain(|run| rows[run.clone()].iter().filter(|row| row.is_tabular()).count() >= LEAST_ROWS);
    runs
}

type Candidate<'a> = (Table, Vec<&'a Measured<'a>>);

/// The table of a run, or those of its parts when the whole makes none.
fn build_any<'a>(run: &[Row<'a>], drawing: &Drawing, metrics: &Metrics, depth: usize) -> Vec<Candidate<'a>> {
    if run.iter().filter(|row| row.is_tabular()).count() < LEAST_ROWS {
        return Vec::new();
    }
    if let Some(found) = build(run, drawing, metrics) {
        return vec![found];
    }
    if depth >= 4 {
        return Vec::new();
    }
    // Two tables one above the other are parted by the widest gap; else a row of another make stands between.
    let gap = |at: &usize| run[*at].top - run[*at - 1].bottom;
    let change = |at: &usize| run[*at].segments.len().abs_diff(run[*at - 1].segments.len()) as f32 * metrics.body * 0.2;
    let Some(cut) = (1..run.len()).max_by(|a, b| (gap(a) + change(a)).total_cmp(&(gap(b) + change(b))).then(b.cmp(a)))
    else {
        return Vec::new();
    };
    let mut found = build_any(&run[..cut], drawing, metrics, depth + 1);
    found.extend(build_any(&run[cut..], drawing, metrics, depth + 1));
    found
}

/// The columns that white gaps part, from the left and right edges of all cells in `rows` rows that have all their
/// cells.
fn column_edges(cells: impl Iterator<Item = (f32, f32)>, rows: usize, least: f32) -> Vec<(f32, f32)> {
    let mut edges: Vec<(f32, i32)> = cells.flat_map(|(left, right)| [(left, 1), (right, -1)]).collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    // One row in twelve may bridge a gap: a heading over two columns, a cell that runs over.
    let tolerated = (rows / 12) as i32;
    let mut columns: Vec<(f32, f32)> = Vec::new();
    let mut depth = 0;
    for (x, step) in edges {
        let before = depth;
        depth += step;
        if before <= tolerated && depth > tolerated {
            match columns.last_mut() {
                Some(last) if x - last.1 < least => {}
                _ => columns.push((x, x)),
            }
        }
        if before > tolerated
            && depth <= tolerated
            && let Some(last) = columns.last_mut()
        {
            last.1 = x;
        }
    }
    columns
}

fn build<'a>(run: &[Row<'a>], drawing: &Drawing, metrics: &Metrics) -> Option<Candidate<'a>> {
    let tabular: Vec<&Row<'_>> = run.iter().filter(|row| row.is_tabular()).collect();
    let most = tabular.iter().map(|row| row.segments.len()).max()?;
    let mut histogram = vec![0; most + 1];
    tabular.iter().for_each(|row| histogram[row.segments.len()] += 1);
    let usual = (2..=most).max_by_key(|width| histogram[*width] * width)?;
    let core: Vec<&Row<'_>> = tabular.iter().filter(|row| row.segments.len() >= usual).copied().collect();
    let cells = core.iter().flat_map(|row| &row.segments).map(|segment| (segment.bbox.left, segment.bbox.right));
    let columns = column_edges(cells, core.len(), metrics.body * 0.4);
    if columns.len() < 2 || columns.len() * 4 < usual * 3 || core.len() < LEAST_ROWS {
        return None;
    }
    let grid = Grid::fill(run, &columns)?;
    let is_table = grid.is_table(&tabular, metrics) && !is_diagram(&grid.segments(), &drawing.paths);
    is_table.then(|| grid.finish(run, metrics.page_no))
}

/// The text of a table's block: a line for each row, cells parted by spaces.
pub(super) fn plain(table: &Table) -> String {
    let mut rows = vec![String::new(); table.rows as usize];
    for cell in &table.cells {
        if let Some(row) = rows.get_mut(cell.row_index as usize) {
            if !row.is_empty() && !cell.text.is_empty() {
                row.push(' ');
            }
            row.push_str(&cell.text);
        }
    }
    rows.join("\n")
}
