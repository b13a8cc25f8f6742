//! Tables by their aligned columns: precision before recall.
//!
//! Lines are cut into segments at wide spaces, segments into rows ([`segments`]). A run of rows whose segments fall
//! into the same columns, with white gaps between the columns over all rows, is a table if it looks like one
//! ([`grid`]): short cells, filled for the most part, edges aligned. Columns of running text never are.

mod grid;
mod segments;

use std::collections::HashSet;

use super::super::{Bbox, Table};
use super::xycut::Item;
use super::{Measured, Metrics};
use grid::Grid;
use segments::{PROSE, Row};

/// A table has at least this many rows with two cells or more.
const LEAST_ROWS: usize = 3;

/// Replaces the lines of every table in a region by the table; everything else stays as it is.
pub fn lift<'a>(items: Vec<Item<'a>>, metrics: &Metrics) -> Vec<Item<'a>> {
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
    let mut taken = HashSet::new();
    for run in runs(&rows) {
        for (table, inside) in build_any(&rows[run], metrics, 0) {
            let bbox = Bbox::around(inside.iter().map(|line| &line.bbox)).unwrap_or_default();
            let own: HashSet<usize> = inside.iter().map(|line| line.index).collect();
            // With text beside it, this is a part of a column; the table is found once the columns are cut.
            let beside = lines.iter().any(|line| {
                let middle = (line.bbox.top + line.bbox.bottom) / 2.0;
                middle > bbox.top && middle < bbox.bottom && !own.contains(&line.index)
            });
            if !beside {
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

type Found<'a> = (Table, Vec<&'a Measured<'a>>);

/// The table of a run, or those of its parts when the whole makes none.
fn build_any<'a>(run: &[Row<'a>], metrics: &Metrics, depth: usize) -> Vec<Found<'a>> {
    if run.iter().filter(|row| row.is_tabular()).count() < LEAST_ROWS {
        return Vec::new();
    }
    if let Some(found) = build(run, metrics) {
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
    let mut found = build_any(&run[..cut], metrics, depth + 1);
    found.extend(build_any(&run[cut..], metrics, depth + 1));
    found
}

/// White gaps between columns, from the rows that have all their cells.
fn column_edges(core: &[&Row<'_>], least: f32) -> Vec<(f32, f32)> {
    let mut edges: Vec<(f32, i32)> = Vec::new();
    for segment in core.iter().flat_map(|row| &row.segments) {
        edges.push((segment.bbox.left, 1));
        edges.push((segment.bbox.right, -1));
    }
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    // One row in twelve may bridge a gap: a heading over two columns, a cell that runs over.
    let tolerated = (core.len() / 12) as i32;
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

fn build<'a>(run: &[Row<'a>], metrics: &Metrics) -> Option<Found<'a>> {
    let tabular: Vec<&Row<'_>> = run.iter().filter(|row| row.is_tabular()).collect();
    let most = tabular.iter().map(|row| row.segments.len()).max()?;
    let mut histogram = vec![0; most + 1];
    tabular.iter().for_each(|row| histogram[row.segments.len()] += 1);
    let usual = (2..=most).max_by_key(|width| histogram[*width] * width)?;
    let core: Vec<&Row<'_>> = tabular.iter().filter(|row| row.segments.len() >= usual).copied().collect();
    let columns = column_edges(&core, metrics.body * 0.4);
    if columns.len() < 2 || columns.len() * 4 < usual * 3 || core.len() < LEAST_ROWS {
        return None;
    }
    let grid = Grid::fill(run, &columns)?;
    grid.is_table(&tabular, metrics).then(|| grid.finish(run, metrics.page_no))
}

/// The text of a table's block: a line for each row, cells parted by spaces.
pub fn plain(table: &Table) -> String {
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
