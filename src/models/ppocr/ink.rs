//! Where the ink is on the picture of a line, so that boxes fit the print and not the detector's margin. Pure.
//!
//! The law: ink only moves edges. Where none is found (faint print, photographs) boxes stay as they were.

use std::ops::Range;

use deckle_imaging::{Channels, Pixmap};

/// Rows and columns of the ink of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// From the highest ascender to the lowest descender.
    pub rows: Range<usize>,
    /// Which columns hold ink in these rows.
    pub columns: Vec<bool>,
}

impl Profile {
    /// Looks at the straight picture of a line. Its rows are those from the row with the most ink in the middle half up
    /// and down to the first row with next to none, so that neighbours that hang in are left out. `None` for no ink.
    ///
    /// The tones are divided by Otsu's method ("A Threshold Selection Method from Gray-Level Histograms", 1979). Ink is
    /// the rarer of the two: text may be white on black.
    pub(super) fn of(line: &Pixmap) -> Option<Self> {
        let tone = |pixel: &[u8]| match line.channels {
            Channels::Grey => pixel[0],
            // Green is most of what the eye sees.
            Channels::Rgb => pixel[1],
        };
        let tones: Vec<u8> = line.pixels.chunks_exact(line.channels.count()).map(tone).collect();
        let threshold = otsu(&tones);
        let below = tones.iter().filter(|tone| **tone < threshold).count();
        let is_rarer = below * 2 <= tones.len();
        let is_ink = |tone: &u8| (*tone < threshold) == is_rarer;

        let (width, height) = (line.width as usize, line.height as usize);
        // Specks: one pixel in 400.
        let count = |row: &[u8]| row.iter().filter(|tone| is_ink(tone)).count().saturating_sub(width / 400);
        let inks: Vec<usize> = tones.chunks_exact(width.max(1)).map(count).collect();
        let middle = height / 4..height - height / 4;
        let start = middle.max_by_key(|row| inks[*row]).filter(|row| inks[*row] > 0)?;
        let top = inks[..start].iter().rposition(|ink| *ink == 0).map_or(0, |empty| empty + 1);
        let bottom = inks[start..].iter().position(|ink| *ink == 0).map_or(height, |empty| start + empty);
        let mut columns = vec![false; width];
        for row in tones[top * width..bottom * width].chunks_exact(width) {
            columns.iter_mut().zip(row).for_each(|(column, tone)| *column |= is_ink(tone));
        }
        Some(Self { rows: top..bottom, columns })
    }
}

/// The widest run of columns without ink inside a range; `None` where there is none.
pub(super) fn widest_gap(columns: &[bool], range: Range<usize>) -> Option<Range<usize>> {
    let mut widest: Option<Range<usize>> = None;
    let mut start = None;
    let end = range.end.min(columns.len());
    for at in range.start.min(end)..=end {
        if columns[..end].get(at) == Some(&false) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take()
            && widest.as_ref().is_none_or(|gap| gap.len() < at - from)
        {
            widest = Some(from..at);
        }
    }
    widest
}

/// The tone from which on pixels belong to the lighter class.
fn otsu(tones: &[u8]) -> u8 {
    let mut histogram = [0_u64; 256];
    tones.iter().for_each(|tone| histogram[usize::from(*tone)] += 1);
    let total = tones.len() as f64;
    let sum: f64 = histogram.iter().enumerate().map(|(tone, count)| tone as f64 * *count as f64).sum();
    let (mut below, mut sum_below) = (0.0, 0.0);
    let (mut best, mut threshold) = (0.0, 0);
    for (tone, count) in (0..=255_u8).zip(histogram) {
        // Classes: below `tone`, and from it on.
        let above = total - below;
        if below > 0.0 && above > 0.0 {
            let distance = sum_below / below - (sum - sum_below) / above;
            let between = below * above * distance * distance;
            if between > best {
                (best, threshold) = (between, tone);
            }
        }
        below += count as f64;
        sum_below += f64::from(tone) * count as f64;
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `#` is ink, white on black when inverted.
    fn picture(rows: &[&str], inverted: bool) -> Pixmap {
        let tone = |c: char| if (c == '#') == inverted { 230 } else { 20 };
        let pixels = rows.iter().flat_map(|row| row.chars().map(tone)).collect();
        Pixmap { width: rows[0].len() as u32, height: rows.len() as u32, channels: Channels::Grey, pixels }
    }

    const LINE: [&str; 8] = [
        "..##......", // the line above hangs in
        "..........",
        ".##....#..",
        ".#.#...#..",
        ".##....#..",
        ".......#..",
        "..........",
        "....#.....",
    ];

    #[test]
    fn rows_are_those_of_the_line_and_not_of_its_neighbours() {
        for inverted in [false, true] {
            let Profile { rows, columns } = Profile::of(&picture(&LINE, inverted)).unwrap();
            assert_eq!(rows, 2..6);
            assert_eq!(widest_gap(&columns, 2..8), Some(4..7));
            assert_eq!(widest_gap(&columns, 0..10), Some(4..7));
            assert_eq!(widest_gap(&columns, 1..4), None);
        }
    }

    #[test]
    fn nothing_has_no_ink() {
        assert_eq!(Profile::of(&Pixmap::white(8, 8, Channels::Rgb)), None);
        assert_eq!(Profile::of(&Pixmap::white(0, 0, Channels::Grey)), None);
        assert_eq!(widest_gap(&[], 0..4), None);
    }
}
