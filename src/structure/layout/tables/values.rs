//! What cells hold and which columns they cover.

use std::ops::Range;

use deckle_contract::document::Bbox;

/// Columns to put boxes into, left to right; neighbours may overlap.
pub(super) struct Places {
    columns: Vec<(f32, f32)>,
    /// For each column the furthest right edge up to it, and whose it is.
    rights: Vec<(f32, usize)>,
    /// For each column the furthest left edge from it on, and whose it is.
    lefts: Vec<(f32, usize)>,
}

impl Places {
    pub(super) fn of(columns: &[(f32, f32)]) -> Self {
        let mut rights: Vec<(f32, usize)> = columns.iter().map(|(_, right)| *right).zip(0..).collect();
        for at in 1..rights.len() {
            if rights[at - 1].0 >= rights[at].0 {
                rights[at] = rights[at - 1];
            }
        }
        let mut lefts: Vec<(f32, usize)> = columns.iter().map(|(left, _)| *left).zip(0..).collect();
        for at in (1..lefts.len()).rev() {
            if lefts[at].0 < lefts[at - 1].0 {
                lefts[at - 1] = lefts[at];
            }
        }
        Self { columns: columns.to_vec(), rights, lefts }
    }

    /// All columns.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.columns.len()
    }

    /// The columns of a range that a box covers; the nearest of them when it stands in a gap.
    pub(super) fn place(&self, bbox: &Bbox, range: &Range<usize>) -> (usize, usize) {
        // Columns before `from` end left of the box, those from `to` on begin right of it.
        let from = self.rights.partition_point(|(right, _)| *right < bbox.left).clamp(range.start, range.end);
        let to = self.lefts.partition_point(|(left, _)| *left < bbox.right).clamp(from, range.end);
        let covered = |column: &usize| {
            let (left, right) = self.columns[*column];
            bbox.right.min(right) - bbox.left.max(left) > (right - left).min(bbox.width()) * 0.2
        };
        if let (Some(first), Some(last)) = ((from..to).find(covered), (from..to).rfind(covered)) {
            return (first, last);
        }
        let middle = (bbox.left + bbox.right) / 2.0;
        let distance = |column: &usize| {
            let (left, right) = self.columns[*column];
            (left - middle).max(middle - right).max(0.0)
        };
        let nearest = |columns: Range<usize>| columns.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let known = |at: Option<&(f32, usize)>| at.map(|(_, column)| *column).filter(|column| range.contains(column));
        let before =
            (from > range.start).then(|| known(self.rights.get(from - 1)).or_else(|| nearest(range.start..from)));
        let after = (to < range.end).then(|| known(self.lefts.get(to)).or_else(|| nearest(to..range.end)));
        let found = [before.flatten(), nearest(from..to), after.flatten()];
        let nearest = found.into_iter().flatten().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.map_or((0, 0), |column| (column, column))
    }
}

/// Whether a cell holds a number, sum, date or dash rather than words.
pub(super) fn is_value(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    (digits > 0 && digits >= letters) || matches!(text.trim(), "-" | "–" | "—" | "(X)" | "(NA)" | "n/a" | "N/A")
}
