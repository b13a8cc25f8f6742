//! Tables: which one found is which one of the truth, and how alike they are.
//!
//! Three figures, since each hides what another shows:
//!
//! - **Adjacency F1** (Göbel et al., ICDAR 2013 table competition): relations of a non-blank cell to the next one on its
//!   right and below, blank cells skipped; spaces inside a text do not count, as in the competition. It forgives a column
//!   or row that is shifted, and is the figure that the field compares.
//! - **Cell F1**: non-blank cells with the same first row, first column, spans and text. It forgives nothing: of a table
//!   with a row too many at its top (a title inside the frame, say) nearly all cells are wrong, though adjacency F1 and
//!   TEDS lose next to nothing. At 100 % every cell is right.
//! - **TEDS** ([`teds`]): similarity of the whole table as a tree, with texts that are nearly right counted in part.
//!
//! Relations and cells are pooled over all tables of a document; those of a table that was missed are missing, those of
//! one that was made up are wrong. TEDS is the mean over the tables of the truth and those made up.

pub mod adjacency;
pub mod teds;

use std::collections::HashMap;

use super::{
    boxes::{self, Placed},
    measure::{Measure, Ratio, Scores},
    text::normalised,
};
use deckle_contract::document::Table;

/// A table somewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedTable {
    /// Page, counted from 1; `None` where the file has no pages.
    pub page_no: Option<u32>,
    /// Where on it, as far as known.
    pub place: Option<Placed>,
    /// Its cells; `None` where only its box is known.
    pub table: Option<Table>,
}

/// Which table found (left) is which of the truth (right); each in at most one pair. By boxes where both have one, else
/// by the share of adjacency relations in common, on the same page.
pub fn pairs(found: &[PlacedTable], truth: &[PlacedTable]) -> Vec<(usize, usize)> {
    let mut candidates = Vec::new();
    for (at, one) in found.iter().enumerate() {
        for (other_at, other) in truth.iter().enumerate() {
            let are_apart = one.page_no.zip(other.page_no).is_some_and(|(one, other)| one != other);
            let likeness = if are_apart { 0.0 } else { likeness(one, other) };
            if likeness > 0.0 {
                candidates.push((likeness, at, other_at));
            }
        }
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.2, a.1).cmp(&(b.2, b.1))));
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for (_, one, other) in candidates {
        if chosen.iter().all(|(found, truth)| *found != one && *truth != other) {
            chosen.push((one, other));
        }
    }
    chosen
}

fn likeness(one: &PlacedTable, other: &PlacedTable) -> f64 {
    if let (Some(one), Some(other)) = (&one.place, &other.place) {
        return boxes::iou(&one.bbox, &other.bbox);
    }
    match (&one.table, &other.table) {
        (Some(one), Some(other)) => {
            let (one, other) = (adjacency::relations(one), adjacency::relations(other));
            let matched = shared(&one, &other);
            Ratio::f1(matched, total(&one), total(&other)).value().unwrap_or(0.0)
        }
        _ => 0.0,
    }
}

/// Adds the figures of a document's tables. `has_headers` says whether the truth tells header rows from others.
pub fn score(found: &[PlacedTable], truth: &[PlacedTable], has_headers: bool, scores: &mut Scores) {
    // The truth may know of a table no more than its box.
    if (found.is_empty() && truth.is_empty()) || truth.iter().any(|table| table.table.is_none()) {
        return;
    }
    let pairs = pairs(found, truth);
    let mut relations = Counts::default();
    let mut cells = Counts::default();
    for (table, of_truth) in found.iter().map(|table| (table, false)).chain(truth.iter().map(|table| (table, true))) {
        let Some(table) = &table.table else { continue };
        let counts = [total(&adjacency::relations(table)), total(&placed_cells(table))];
        for (sum, count) in [&mut relations, &mut cells].into_iter().zip(counts) {
            *(if of_truth { &mut sum.truth } else { &mut sum.found }) += count;
        }
    }
    let mut similarity = 0.0;
    for (one, other) in &pairs {
        let (Some(one), Some(other)) = (&found[*one].table, &truth[*other].table) else { continue };
        relations.matched += shared(&adjacency::relations(one), &adjacency::relations(other));
        cells.matched += shared(&placed_cells(one), &placed_cells(other));
        similarity += teds::teds(one, other, has_headers);
    }
    scores.set(Measure::AdjacencyF1, relations.f1());
    scores.set(Measure::CellF1, cells.f1());
    let tables = found.len() + truth.len() - pairs.len();
    scores.set(Measure::Teds, Ratio { part: similarity, whole: tables as f64 });
}

#[derive(Default)]
struct Counts {
    matched: usize,
    found: usize,
    truth: usize,
}

impl Counts {
    fn f1(&self) -> Ratio {
        Ratio::f1(self.matched, self.found, self.truth)
    }
}

/// A cell as it is compared: first row and column, spans, text.
pub type PlacedCell = (u32, u32, u32, u32, String);

/// The non-blank cells of a table.
pub fn placed_cells(table: &Table) -> HashMap<PlacedCell, usize> {
    let mut cells = HashMap::new();
    for cell in &table.cells {
        let text = normalised(&cell.text);
        if !text.is_empty() {
            let place = (cell.row_index, cell.column_index, cell.row_span.max(1), cell.column_span.max(1), text);
            *cells.entry(place).or_default() += 1;
        }
    }
    cells
}

/// How many of two multisets are in both.
fn shared<T: Eq + std::hash::Hash>(one: &HashMap<T, usize>, other: &HashMap<T, usize>) -> usize {
    one.iter().map(|(thing, count)| (*count).min(other.get(thing).copied().unwrap_or(0))).sum()
}

fn total<T>(bag: &HashMap<T, usize>) -> usize {
    bag.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{Bbox, Cell};

    pub(super) fn grid(rows: &[&[&str]]) -> Table {
        let cell = |row: usize, column: usize, text: &str| Cell {
            row_index: row as u32,
            column_index: column as u32,
            row_span: 1,
            column_span: 1,
            header: false,
            row_header: false,
            text: text.to_owned(),
            prov: None,
        };
        let cells = rows.iter().enumerate();
        let cells = cells.flat_map(|(row, texts)| texts.iter().enumerate().map(move |(at, text)| cell(row, at, text)));
        Table { rows: rows.len() as u32, columns: rows[0].len() as u32, cells: cells.collect() }
    }

    fn somewhere(table: Table, at: Option<(u32, f32)>) -> PlacedTable {
        let place =
            at.map(|(page_no, top)| Placed { page_no, bbox: Bbox { left: 0.0, top, right: 10.0, bottom: top + 10.0 } });
        PlacedTable { page_no: at.map(|(page_no, _)| page_no), place, table: Some(table) }
    }

    #[test]
    fn the_same_tables_are_perfect_and_a_shifted_column_shows_in_cells_only() {
        let truth = [somewhere(grid(&[&["a", "b"], &["c", "d"]]), None)];
        let mut scores = Scores::default();
        score(&truth, &truth, false, &mut scores);
        for measure in [Measure::AdjacencyF1, Measure::CellF1, Measure::Teds] {
            assert_eq!(scores.value(measure), Some(1.0), "{measure:?}");
        }
        let shifted = [somewhere(grid(&[&["", "a", "b"], &["", "c", "d"]]), None)];
        score(&shifted, &truth, false, &mut scores);
        assert_eq!(scores.value(Measure::AdjacencyF1), Some(1.0));
        assert_eq!(scores.value(Measure::CellF1), Some(0.0));
    }

    #[test]
    fn a_title_too_many_costs_a_relation_but_moves_every_cell() {
        let truth = [somewhere(grid(&[&["a", "b"], &["c", "d"], &["e", "f"]]), None)];
        let mut titled = grid(&[&["title", ""], &["a", "b"], &["c", "d"], &["e", "f"]]);
        titled.cells.remove(1);
        titled.cells[0].column_span = 2;
        let mut scores = Scores::default();
        score(&[somewhere(titled, None)], &truth, false, &mut scores);
        // 3 relations to the right and 4 below are in both; the title has two of its own.
        assert_eq!(scores.get(Measure::AdjacencyF1), Some(Ratio::of(14, 16)));
        assert_eq!(scores.value(Measure::CellF1), Some(0.0));
        assert!(scores.value(Measure::Teds).is_some_and(|teds| teds > 0.8));
    }

    #[test]
    fn a_missed_table_and_one_made_up_are_losses() {
        let truth = [
            somewhere(grid(&[&["a", "b"], &["c", "d"]]), Some((1, 0.0))),
            somewhere(grid(&[&["e", "f"], &["g", "h"]]), Some((2, 0.0))),
        ];
        let found = [
            somewhere(grid(&[&["a", "b"], &["c", "d"]]), Some((1, 1.0))),
            somewhere(grid(&[&["x", "y"], &["z", "w"]]), Some((1, 40.0))),
        ];
        assert_eq!(pairs(&found, &truth), [(0, 0)]);
        let mut scores = Scores::default();
        score(&found, &truth, false, &mut scores);
        assert_eq!(scores.get(Measure::AdjacencyF1), Some(Ratio::of(8, 16)));
        assert_eq!(scores.get(Measure::CellF1), Some(Ratio::of(8, 16)));
        assert_eq!(scores.get(Measure::Teds), Some(Ratio::of(1, 3)));
        score(&[], &truth, false, &mut scores);
        assert_eq!(scores.value(Measure::Teds), Some(0.0));
    }

    #[test]
    fn a_table_of_which_only_the_box_is_known_is_not_scored_by_cells() {
        let mut scores = Scores::default();
        let region = PlacedTable { table: None, ..somewhere(grid(&[&["a"]]), Some((1, 0.0))) };
        score(&[], &[region], false, &mut scores);
        assert_eq!(scores, Scores::default());
    }
}
