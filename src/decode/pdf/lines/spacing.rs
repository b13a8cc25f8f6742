//! Spaces that stand in the file as gaps only, and that PDFium does not see: it measures some fonts wrongly.

use super::{Glyph, along, gap};

/// A gap this much wider than the word's own spacing is a space, in font sizes. The narrowest spaces of justified text
/// are 0.2, thin spaces 0.17; kerning stays below 0.1.
const SPACE: f32 = 0.14;

/// A word whose letters stand further apart than this, in font sizes, is spaced out on purpose, or its font states
/// wrong widths: its gaps tell nothing.
const SPACED_OUT: f32 = 0.05;

/// Cuts a run of glyphs into words.
pub(super) fn words(glyphs: &[Glyph]) -> impl Iterator<Item = &[Glyph]> {
    let gaps = gaps(glyphs);
    let usual = median(gaps.iter().flatten().copied().collect());
    let limit = usual.filter(|usual| *usual < SPACED_OUT).map(|usual| usual.max(0.0) + SPACE);
    let ends = gaps.into_iter().enumerate().filter_map(move |(at, gap)| (gap? > limit?).then_some(at + 1));
    let ends: Vec<usize> = ends.chain([glyphs.len()]).collect();
    let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &glyphs[start..end])
}

/// The gap behind each glyph but the last, in font sizes; `None` where a gap would be no space.
fn gaps(glyphs: &[Glyph]) -> Vec<Option<f32>> {
    let behind = |pair: &[Glyph]| {
        let [a, b] = pair else { return None };
        let (first, second) = (a.cell?, b.cell?);
        let wide = first.width() > 0.0 && second.width() > 0.0;
        // Thousands are set apart by thin gaps.
        let number = is_digit(a) && is_digit(b);
        let spaced = separates_words(a) && separates_words(b);
        let size = a.font_size.max(b.font_size).max(1.0);
        (wide && spaced && !number).then(|| gap(along(&first, b.direction), along(&second, b.direction)) / size)
    };
    glyphs.windows(2).map(behind).collect()
}

fn is_digit(glyph: &Glyph) -> bool {
    glyph.meaning.is_some_and(char::is_numeric)
}

/// Whether its script sets words apart by spaces, and joins no letters: Latin, Greek, Cyrillic and their signs.
fn separates_words(glyph: &Glyph) -> bool {
    glyph.meaning.is_some_and(|c| c < '\u{530}' && (c.is_alphanumeric() || c.is_ascii_punctuation()))
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::Bbox;

    /// Glyphs of 5 points at 10 points, each behind a gap.
    fn run(text: &str, gaps: &[f32]) -> Vec<Glyph> {
        let mut left = 0.0;
        text.chars()
            .zip(gaps)
            .map(|(c, gap)| {
                left += gap;
                let bbox = Some(Bbox { left, top: 0.0, right: left + 5.0, bottom: 10.0 });
                left += 5.0;
                Glyph { meaning: Some(c), bbox, cell: bbox, font_size: 10.0, bold: false, direction: 0 }
            })
            .collect()
    }

    fn cut(text: &str, gaps: &[f32]) -> Vec<String> {
        words(&run(text, gaps)).map(|word| word.iter().filter_map(|glyph| glyph.meaning).collect()).collect()
    }

    #[test]
    fn a_gap_much_wider_than_its_neighbours_is_a_space() {
        assert_eq!(cut("ingDoc", &[0.0, 0.0, 0.0, 1.6, 0.1, 0.0]), ["ing", "Doc"]);
        assert_eq!(cut("kerned", &[0.0, 0.5, -0.4, 0.9, 0.2, 0.0]), ["kerned"]);
    }

    #[test]
    fn spaced_out_words_numbers_and_other_scripts_stay_whole() {
        assert_eq!(cut("SPACED", &[0.0, 2.0, 2.0, 2.2, 4.0, 2.0]), ["SPACED"]);
        assert_eq!(cut("10000", &[0.0, 0.0, 1.7, 0.0, 0.0]), ["10000"]);
        assert_eq!(cut("東京都", &[0.0, 0.0, 3.0]), ["東京都"]);
        assert_eq!(cut("", &[]), [""]);
    }
}
