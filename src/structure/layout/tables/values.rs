//! What cells hold and which columns they cover.

use deckle_contract::document::Bbox;

/// The columns that a box covers; the nearest when it stands in a gap.
pub(super) fn place(bbox: &Bbox, columns: &[(f32, f32)]) -> (usize, usize) {
    let covered = |(left, right): (f32, f32)| {
        bbox.right.min(right) - bbox.left.max(left) > (right - left).min(bbox.width()) * 0.2
    };
    let first = columns.iter().position(|column| covered(*column));
    let last = columns.iter().rposition(|column| covered(*column));
    if let (Some(first), Some(last)) = (first, last) {
        return (first, last);
    }
    let middle = (bbox.left + bbox.right) / 2.0;
    let distance = |(left, right): (f32, f32)| (left - middle).max(middle - right).max(0.0);
    let nearest =
        (0..columns.len()).min_by(|a, b| distance(columns[*a]).total_cmp(&distance(columns[*b]))).unwrap_or(0);
    (nearest, nearest)
}

/// Whether a cell holds a number, sum, date or dash rather than words.
pub(super) fn is_value(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    (digits > 0 && digits >= letters) || matches!(text.trim(), "-" | "–" | "—" | "(X)" | "(NA)" | "n/a" | "N/A")
}
