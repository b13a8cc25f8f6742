//! Adjacency relations of a table's cells, as the ICDAR 2013 table competition counts them.

use std::collections::HashMap;

use deckle_contract::document::Table;

/// Which way the neighbour lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// On the right.
    Right,
    /// The second cell stands below the first.
    Below,
}

/// Texts of a cell and of its neighbour, without white space, and where the neighbour lies.
pub type Relation = (String, String, Direction);

/// Most places of a grid that are looked at; a table that claims more (spans are the file's own) is cut.
const MAX_PLACES: usize = 4_000_000;

/// The relations of each non-blank cell to the nearest non-blank one in each of its rows to the right and in each of
/// its columns below; between the same two cells they count once.
pub fn relations(table: &Table) -> HashMap<Relation, usize> {
    let texts: Vec<String> = table.cells.iter().map(|cell| cell.text.split_whitespace().collect()).collect();
    let rows = table.rows as usize;
    let columns = (table.columns as usize).min(MAX_PLACES / rows.max(1));
    let mut owners: Vec<Option<usize>> = vec![None; rows * columns];
    for (index, cell) in table.cells.iter().enumerate().filter(|(index, _)| !texts[*index].is_empty()) {
        let (top, left) = (cell.row_index as usize, cell.column_index as usize);
        for row in top..(top + cell.row_span.max(1) as usize).min(rows) {
            for column in left..(left + cell.column_span.max(1) as usize).min(columns) {
                owners[row * columns + column].get_or_insert(index);
            }
        }
    }
    let mut pairs: HashMap<(usize, usize, Direction), ()> = HashMap::new();
    let mut walk = |places: &mut dyn Iterator<Item = usize>, direction| {
        let mut last = None;
        for owner in places.filter_map(|place| owners[place]) {
            if let Some(before) = last.filter(|before| *before != owner) {
                pairs.insert((before, owner, direction), ());
            }
            last = Some(owner);
        }
    };
    for row in 0..rows {
        walk(&mut (0..columns).map(|column| row * columns + column), Direction::Right);
    }
    for column in 0..columns {
        walk(&mut (0..rows).map(|row| row * columns + column), Direction::Below);
    }
    let mut relations = HashMap::new();
    for (one, other, direction) in pairs.into_keys() {
        *relations.entry((texts[one].clone(), texts[other].clone(), direction)).or_default() += 1;
    }
    relations
}

#[cfg(test)]
mod tests {
    use super::{super::tests::grid, *};

    fn relation(one: &str, other: &str, direction: Direction) -> Relation {
        (one.to_owned(), other.to_owned(), direction)
    }

    #[test]
    fn blank_cells_are_skipped() {
        let found = relations(&grid(&[&["a", "", "b"], &["", "", "c d"]]));
        let wanted = [(relation("a", "b", Direction::Right), 1), (relation("b", "cd", Direction::Below), 1)];
        assert_eq!(found, HashMap::from(wanted));
    }

    #[test]
    fn a_spanning_cell_has_every_neighbour_once() {
        // A head over two columns, and beside it a cell over two rows.
        let mut table = grid(&[&["head", "", "side"], &["x", "y", ""]]);
        table.cells[0].column_span = 2;
        table.cells[2].row_span = 2;
        let wanted = [
            (relation("head", "side", Direction::Right), 1),
            (relation("x", "y", Direction::Right), 1),
            (relation("y", "side", Direction::Right), 1),
            (relation("head", "x", Direction::Below), 1),
            (relation("head", "y", Direction::Below), 1),
        ];
        assert_eq!(relations(&table), HashMap::from(wanted));
    }

    #[test]
    fn spans_beyond_the_grid_do_no_harm() {
        let mut table = grid(&[&["a", "b"]]);
        table.cells[0].row_span = u32::MAX;
        table.columns = u32::MAX;
        assert_eq!(relations(&table).len(), 1);
    }
}
