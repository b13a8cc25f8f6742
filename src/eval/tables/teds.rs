//! TEDS: tree-edit-distance-based similarity of two tables (Zhong, ShafieiBavani and Jimeno Yepes, "Image-based table
//! recognition: data, model, and evaluation", 2019), with the tree edit distance of Zhang and Shasha (1989).
//!
//! A table is a tree as its HTML would be: `table`, in it `thead` (leading rows of header cells) and `tbody`, in these
//! rows, in these cells. Inserting or deleting a node costs 1. Replacing costs 1 where tag or spans differ, and for
//! cells else the Levenshtein distance of their texts over the longer one's length. The similarity is
//! 1 − distance / (nodes of the larger tree, the root left out, as in the authors' program).

use crate::text;
use deckle_contract::document::Table;

/// How alike two tables are, 0..1. Without `has_headers` all rows are in the body on both sides.
pub fn teds(one: &Table, other: &Table, has_headers: bool) -> f64 {
    let (one, other) = (Tree::of(one, has_headers), Tree::of(other, has_headers));
    let larger = one.nodes.len().max(other.nodes.len()) - 1;
    if larger == 0 {
        return 1.0;
    }
    (1.0 - distance(&one, &other) / larger as f64).clamp(0.0, 1.0)
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Table,
    Head,
    Body,
    Row,
    Cell { row_span: u32, column_span: u32, text: String },
}

impl Node {
    fn replaced_by(&self, other: &Self) -> f64 {
        match (self, other) {
            (
                Self::Cell { row_span: rows, column_span: columns, text: one },
                Self::Cell { row_span, column_span, text: other },
            ) if rows == row_span && columns == column_span => text::unlikeness(one, other),
            (Self::Cell { .. }, Self::Cell { .. }) => 1.0,
            _ => f64::from(u8::from(self != other)),
        }
    }
}

/// An ordered tree as Zhang and Shasha need it: nodes in postorder, and for each its leftmost leaf.
struct Tree {
    nodes: Vec<Node>,
    leftmost: Vec<usize>,
}

impl Tree {
    fn of(table: &Table, has_headers: bool) -> Self {
        let mut rows: Vec<Vec<&deckle_contract::document::Cell>> = vec![Vec::new(); table.rows as usize];
        for cell in &table.cells {
            if let Some(row) = rows.get_mut(cell.row_index as usize) {
                row.push(cell);
            }
        }
        for row in &mut rows {
            row.sort_by_key(|cell| cell.column_index);
        }
        let is_header =
            |row: &&Vec<&deckle_contract::document::Cell>| !row.is_empty() && row.iter().all(|cell| cell.header);
        let heads = if has_headers { rows.iter().take_while(is_header).count() } else { 0 };
        let mut tree = Self { nodes: Vec::new(), leftmost: Vec::new() };
        for (part, rows) in [(Node::Head, &rows[..heads]), (Node::Body, &rows[heads..])] {
            if rows.is_empty() {
                continue;
            }
            let first_of_part = tree.nodes.len();
            for row in rows {
                let first_of_row = tree.nodes.len();
                for cell in row {
                    let leaf = tree.nodes.len();
                    let (row_span, column_span) = (cell.row_span.max(1), cell.column_span.max(1));
                    tree.push(Node::Cell { row_span, column_span, text: text::normalised(&cell.text) }, leaf);
                }
                tree.push(Node::Row, first_of_row);
            }
            tree.push(part, first_of_part);
        }
        tree.push(Node::Table, 0);
        tree
    }

    fn push(&mut self, node: Node, leftmost: usize) {
        self.nodes.push(node);
        self.leftmost.push(leftmost);
    }

    /// The root, and every node that has a brother on its left: the last node of each leftmost leaf.
    fn key_roots(&self) -> Vec<usize> {
        let is_last = |at: &usize| !self.leftmost[at + 1..].contains(&self.leftmost[*at]);
        (0..self.nodes.len()).filter(is_last).collect()
    }
}

/// The tree edit distance.
fn distance(one: &Tree, other: &Tree) -> f64 {
    let (rows, columns) = (one.nodes.len(), other.nodes.len());
    let mut trees = vec![vec![0.0; columns]; rows];
    let mut forests = vec![vec![0.0; columns + 1]; rows + 1];
    for root in one.key_roots() {
        for other_root in other.key_roots() {
            let (first, other_first) = (one.leftmost[root], other.leftmost[other_root]);
            // forests[i][j]: the first i nodes from `first` on against the first j from `other_first` on.
            forests[0][0] = 0.0;
            for i in 1..=root - first + 1 {
                forests[i][0] = forests[i - 1][0] + 1.0;
            }
            for j in 1..=other_root - other_first + 1 {
                forests[0][j] = forests[0][j - 1] + 1.0;
            }
            for i in 1..=root - first + 1 {
                for j in 1..=other_root - other_first + 1 {
                    let (node, other_node) = (first + i - 1, other_first + j - 1);
                    let edited = f64::min(forests[i - 1][j], forests[i][j - 1]) + 1.0;
                    let are_trees = one.leftmost[node] == first && other.leftmost[other_node] == other_first;
                    forests[i][j] = if are_trees {
                        let replaced = one.nodes[node].replaced_by(&other.nodes[other_node]);
                        edited.min(forests[i - 1][j - 1] + replaced)
                    } else {
                        let before = forests[one.leftmost[node] - first][other.leftmost[other_node] - other_first];
                        edited.min(before + trees[node][other_node])
                    };
                    if are_trees {
                        trees[node][other_node] = forests[i][j];
                    }
                }
            }
        }
    }
    trees[rows - 1][columns - 1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::grid, *};

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn by_hand() {
        // Nodes without the root: body, 2 rows, 4 cells = 7.
        let truth = grid(&[&["a", "b"], &["c", "d"]]);
        assert!(near(teds(&truth, &truth, true), 1.0));
        // One text is wrong altogether, one by half: 1.5 of 7.
        assert!(near(teds(&grid(&[&["a", "x"], &["c", "de"]]), &truth, true), 1.0 - 1.5 / 7.0));
        // A missing row costs its node and two cells: 3 of 7.
        assert!(near(teds(&grid(&[&["a", "b"]]), &truth, true), 4.0 / 7.0));
        // A column more costs two cells of then 9 nodes.
        assert!(near(teds(&grid(&[&["a", "b", ""], &["c", "d", ""]]), &truth, true), 7.0 / 9.0));
        // A span costs 1, whatever the text.
        let mut spanned = truth.clone();
        spanned.cells[0].column_span = 2;
        assert!(near(teds(&spanned, &truth, true), 6.0 / 7.0));
    }

    #[test]
    fn header_rows_count_where_the_truth_knows_them() {
        let truth = grid(&[&["a", "b"], &["c", "d"]]);
        let mut headed = truth.clone();
        headed.cells[..2].iter_mut().for_each(|cell| cell.header = true);
        // With a head: head, body, 2 rows, 4 cells = 8 nodes. Head and body are taken away, and one body is put around
        // both rows.
        assert!(near(teds(&headed, &truth, true), 1.0 - 3.0 / 8.0));
        assert!(near(teds(&headed, &truth, false), 1.0));
    }

    #[test]
    fn tables_of_unlike_shapes_by_hand() {
        // A row of three cells against three rows of one: the row is taken away and one put around each cell, 1 + 3 of
        // the 7 nodes of the taller.
        let wide = grid(&[&["a", "b", "c"]]);
        let tall = grid(&[&["a"], &["b"], &["c"]]);
        assert!(near(teds(&wide, &tall, false), 1.0 - 4.0 / 7.0));
        let empty = Table { rows: 0, columns: 0, cells: Vec::new() };
        assert!(near(teds(&empty, &empty, true), 1.0));
        assert!(near(teds(&empty, &wide, true), 0.0));
    }

    proptest! {
        #[test]
        fn it_is_1_for_the_same_symmetric_and_bounded(
            one in proptest::collection::vec(proptest::collection::vec("[ab]{0,2}", 3), 1..4),
            other in proptest::collection::vec(proptest::collection::vec("[ab]{0,2}", 2), 1..5),
        ) {
            let table = |rows: &[Vec<String>]| {
                let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
                grid(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            let (one, other) = (table(&one), table(&other));
            prop_assert!(near(teds(&one, &one, true), 1.0));
            let alike = teds(&one, &other, true);
            prop_assert!((0.0..=1.0).contains(&alike));
            prop_assert!(near(alike, teds(&other, &one, true)));
        }
    }
}
