//! Running text, which holds no fields.

use super::{
    grammar::is_labelled,
    rows::{NEAR, Row, Segment, Word},
};

/// Whether a segment is a piece of running text: the line above it in its block is full and goes on in it, or it goes
/// on in the line below.
pub(super) fn runs_on(rows: &[Row<'_>], row: usize, segment: usize) -> bool {
    let Some(own) = rows[row].segments.get(segment) else { return false };
    let is_same = |other: &&Segment<'_>| other.block == own.block;
    let above = rows[..row].iter().rev().take(NEAR).find_map(|row| row.segments.iter().rfind(is_same));
    let below = rows[row + 1..].iter().take(NEAR).find_map(|row| row.segments.iter().find(is_same));
    let from_above = above.is_some_and(|above| is_full(above) && !is_labelled(&above.words));
    from_above || below.is_some_and(|below| starts_lower(&below.words))
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
