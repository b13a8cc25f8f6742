//! The size of recognised letters, from the heights of words.

use deckle_contract::document::Word;

/// Heights that differ by less than this share are the line's own, not the words'.
const EVEN: f32 = 0.03;

/// The font size of a line whose words have boxes as tight as their letters; `None` where they do not.
///
/// A line's own height tells less: one raised mark or bracket makes a line half as high again, and `sees our moon` is a
/// third lower than `July`.
pub(super) fn of_letters(words: &[Word]) -> Option<f32> {
    let heights = words.iter().map(|word| word.bbox.height());
    let (lowest, highest) = heights.fold((f32::MAX, 0.0f32), |(low, high), height| (low.min(height), high.max(height)));
    if words.len() < 3 || !highest.is_finite() || lowest > highest * (1.0 - EVEN) {
        return None;
    }
    let mut sizes: Vec<f32> =
        words.iter().filter_map(|word| Some(word.bbox.height() / share_of_size(&word.text)?)).collect();
    sizes.sort_by(f32::total_cmp);
    sizes.get(sizes.len() / 2).copied()
}

/// How high a word's letters stand, as a share of the font's size; typical of fonts for text. `None` for a word that
/// says little.
fn share_of_size(word: &str) -> Option<f32> {
    if word.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        return None;
    }
    let is_low = |c: char| "acemnorsuvwxz.-–".contains(c);
    let is_deep = |c: char| "gpqy,;".contains(c);
    let has_descender = word.chars().any(|c| is_deep(c) || "jQ()[]{}/|".contains(c));
    let has_ascender = word.chars().any(|c| !is_low(c) && !is_deep(c));
    Some(match (has_ascender, has_descender) {
        (true, true) => 1.0,
        (true, false) => 0.77,
        (false, true) => 0.78,
        (false, false) => 0.56,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::Bbox;

    fn words(heights: &[(&str, f32)]) -> Vec<Word> {
        let word = |(text, height): &(&str, f32)| Word {
            text: (*text).to_owned(),
            bbox: Bbox { bottom: *height, right: 20.0, ..Bbox::default() },
            confidence: Some(0.9),
        };
        heights.iter().map(word).collect()
    }

    #[test]
    fn a_raised_mark_and_missing_descenders_change_no_size() {
        let marked =
            words(&[("when", 7.7), ("it", 7.7), ("was", 5.6), ("away.?", 18.2), ("you", 7.8), ("might", 10.0)]);
        let plain = words(&[("sees", 5.6), ("us", 5.6), ("some", 5.6), ("more", 5.6), ("these", 7.7)]);
        for line in [marked, plain] {
            let size = of_letters(&line).unwrap();
            assert!((size - 10.0).abs() < 0.3, "{size}");
        }
    }

    #[test]
    fn words_as_high_as_their_line_tell_nothing() {
        assert_eq!(of_letters(&words(&[("sees", 10.0), ("July", 10.1), ("more", 10.0)])), None);
        assert_eq!(of_letters(&words(&[("July", 10.0), ("sees", 5.6)])), None);
        assert_eq!(of_letters(&[]), None);
    }
}
