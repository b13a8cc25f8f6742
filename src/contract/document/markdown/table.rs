//! Tables as GFM pipe rows.

use super::super::Table;
use super::escape::{Position, escape};

/// The rows of a table in GFM, the rule below the header as the second; `rows + 1` lines.
///
/// GFM knows neither spans nor tables without a header: a spanning cell's text stands in its first place, and the
/// first row is the header whether or not its cells are marked so. A document's Markdown has tables with spans in
/// HTML instead ([`html::table`](super::super::html::table)).
pub fn rows(table: &Table) -> Vec<String> {
    let grid = cell_grid(table);
    let mut lines = Vec::with_capacity(grid.len() + 1);
    for (number, row) in grid.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|text| escape(text, Position::Cell)).collect();
        lines.push(format!("| {} |", cells.join(" | ")));
        if number == 0 {
            lines.push(format!("|{}", "---|".repeat(row.len())));
        }
    }
    lines
}

/// The texts of a table as rows of columns; a spanning cell's text stands in its first place only. Cells outside the
/// table's own bounds are put into the nearest place inside, so that no text is lost.
pub fn cell_grid(table: &Table) -> Vec<Vec<String>> {
    let mut grid = vec![vec![String::new(); table.columns as usize]; table.rows as usize];
    for cell in &table.cells {
        let row = cell.row_index.min(table.rows.saturating_sub(1)) as usize;
        let column = cell.column_index.min(table.columns.saturating_sub(1)) as usize;
        if let Some(place) = grid.get_mut(row).and_then(|row| row.get_mut(column)) {
            if !place.is_empty() && !cell.text.is_empty() {
                place.push(' ');
            }
            place.push_str(&cell.text);
        }
    }
    grid
}
