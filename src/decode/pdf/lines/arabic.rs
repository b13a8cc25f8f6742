//! What PDFium leaves in the wrong order when it turns a line of Arabic from left-to-right drawing to reading order.

use super::Glyph;
use deckle_contract::document::Bbox;

/// The meanings of a word's glyphs in reading order.
///
/// The two letters of one drawn lam-alef come out as alef, lam: they have one box, and no font draws them as one the
/// other way round. A vowel mark comes out before the letter that it stands over, where it begins a word.
pub(super) fn in_order(glyphs: &[Glyph]) -> Vec<char> {
    let mut meanings: Vec<(char, Option<Bbox>)> = glyphs.iter().filter_map(|g| Some((g.meaning?, g.bbox))).collect();
    for at in 1..meanings.len() {
        let ((first, one), (second, other)) = (meanings[at - 1], meanings[at]);
        if is_alef(first) && second == LAM && one.is_some() && one == other {
            meanings.swap(at - 1, at);
        }
    }
    meanings.into_iter().map(|(meaning, _)| meaning).collect()
}

const LAM: char = '\u{644}';

fn is_alef(c: char) -> bool {
    matches!(c, '\u{622}' | '\u{623}' | '\u{625}' | '\u{627}' | '\u{671}')
}

/// Vowel marks, which no word begins with.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{64B}'..='\u{655}' | '\u{670}')
}

/// Whether a text was cut from the word before it.
pub(super) fn starts_with_mark(text: &str) -> bool {
    text.starts_with(is_mark)
}

/// A word and the rest of it, whose marks belong behind its first letter.
pub(super) fn joined(word: &str, rest: &str) -> String {
    let letters = rest.trim_start_matches(is_mark);
    let marks = &rest[..rest.len() - letters.len()];
    let mut letters = letters.chars();
    let first: String = letters.next().into_iter().collect();
    format!("{word}{first}{marks}{}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glyph(c: char, left: f32, width: f32) -> Glyph {
        let bbox = Some(Bbox { left, top: 0.0, right: left + width, bottom: 10.0 });
        Glyph { meaning: Some(c), bbox, cell: bbox, font_size: 10.0, bold: false, direction: 0 }
    }

    fn read(glyphs: &[Glyph]) -> String {
        in_order(glyphs).into_iter().collect()
    }

    #[test]
    fn a_drawn_lam_alef_reads_as_lam_then_alef() {
        // The article before hamza: alef, then one glyph for lam and alef with hamza below.
        let drawn = [glyph('ا', 30.0, 3.0), glyph('إ', 22.0, 6.0), glyph('ل', 22.0, 6.0), glyph('ن', 18.0, 4.0)];
        assert_eq!(read(&drawn), "الإن");
    }

    #[test]
    fn an_alef_before_a_lam_of_its_own_stays() {
        let article = [glyph('ا', 30.0, 3.0), glyph('ل', 26.0, 4.0), glyph('ب', 20.0, 6.0)];
        assert_eq!(read(&article), "الب");
    }

    #[test]
    fn a_mark_belongs_behind_the_letter_that_follows_it() {
        assert!(starts_with_mark("\u{64B}ضا") && !starts_with_mark("ضا"));
        assert_eq!(joined("أي", "\u{64B}ضا"), "أيض\u{64B}ا");
        assert_eq!(joined("بنا", "\u{64B}"), "بنا\u{64B}");
    }
}
