//! Running text, which holds no fields.

use std::collections::HashMap;

use super::{
    grammar::is_labelled,
    rows::{NEAR, Row, Segment, Word},
};

/// Rows, with the first and the last segment that each block has in each of them.
pub(super) struct Blocks<'r, 'a> {
    rows: &'r [Row<'a>],
    ends: HashMap<(usize, usize), [&'r Segment<'a>; 2]>,
}

impl<'r, 'a> Blocks<'r, 'a> {
    pub(super) fn of(rows: &'r [Row<'a>]) -> Self {
        let mut ends = HashMap::new();
        for (number, row) in rows.iter().enumerate() {
            for segment in &row.segments {
                ends.entry((number, segment.block)).or_insert([segment; 2])[1] = segment;
            }
        }
        Self { rows, ends }
    }

    /// Whether a segment is a piece of running text: the line above it in its block is full and goes on in it, or it
    /// goes on in the line below.
    pub(super) fn runs_on(&self, row: usize, segment: usize) -> bool {
        let Some(own) = self.rows[row].segments.get(segment) else { return false };
        let in_row = |row: usize| self.ends.get(&(row, own.block));
        let above = (row.saturating_sub(NEAR)..row).rev().find_map(in_row).map(|[_, last]| *last);
        let below = (row + 1..=row + NEAR).find_map(in_row).map(|[first, _]| *first);
        let from_above = above.is_some_and(|above| is_full(above) && !is_labelled(&above.words));
        from_above || below.is_some_and(|below| starts_lower(&below.words))
    }
}

/// Whether a line reaches the right edge of its block without ending a sentence, so that its words go on below.
fn is_full(segment: &Segment<'_>) -> bool {
    let Some([right, edge]) = segment.reach else { return false };
    let ends = segment.words.last().is_some_and(|word| word.text.ends_with(['.', ':', ';', '!', '?']));
    let width = segment.words.first().and_then(|word| word.bbox).map_or(0.0, |bbox| edge - bbox.left);
    !ends && edge - right < width * 0.15
}

fn starts_lower(words: &[Word<'_>]) -> bool {
    words.first().and_then(|word| word.text.chars().next()).is_some_and(char::is_lowercase)
}
