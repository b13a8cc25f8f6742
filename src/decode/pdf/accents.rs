//! Accents that a file draws as signs of their own, over or under a letter, as TeX's older fonts do: `Erd˝os` is Erdős.
//!
//! The law: an accent joins a letter only where both stand in one place and make one character together; any other stays
//! what it is.

use unicode_normalization::UnicodeNormalization;

use super::lines::Glyph;
use deckle_contract::document::Bbox;

/// How far away in the file's order a letter is looked for, in characters: an accent is drawn before or after its
/// letter, or with the accents of its line.
const NEIGHBOURS: usize = 200;

/// An accent's middle stands within this share of the letter's width from the letter's middle. Those on letters that
/// lean stand further right.
const OFF_CENTRE: f32 = 0.6;

/// Space between letter and accent, in font sizes.
const APART: f32 = 0.3;

/// Gives letters the accents that stand over them, and takes those out.
pub(super) fn join(glyphs: &mut Vec<Glyph>) {
    let accents: Vec<(usize, char)> =
        glyphs.iter().enumerate().filter_map(|(at, glyph)| Some((at, combining(glyph.meaning?)?))).collect();
    let mut joined = Vec::new();
    for (at, accent) in accents {
        if let Some((letter, composed)) = letter(glyphs, at, accent) {
            glyphs[letter].meaning = Some(composed);
            glyphs[letter].bbox = match (glyphs[letter].bbox, glyphs[at].bbox) {
                (Some(letter), Some(accent)) => Some(letter.union(&accent)),
                (letter, accent) => letter.or(accent),
            };
            joined.push(at);
        }
    }
    let mut joined = joined.into_iter().peekable();
    let mut next = 0;
    glyphs.retain(|_| {
        let at = next;
        next += 1;
        joined.next_if_eq(&at).is_none()
    });
}

/// The combining mark of an accent that stands alone.
fn combining(accent: char) -> Option<char> {
    Some(match accent {
        '`' => '\u{300}',
        '´' => '\u{301}',
        'ˆ' => '\u{302}',
        '˜' => '\u{303}',
        '¯' => '\u{304}',
        '˘' => '\u{306}',
        '˙' => '\u{307}',
        '¨' => '\u{308}',
        '˚' => '\u{30A}',
        '˝' => '\u{30B}',
        'ˇ' => '\u{30C}',
        '¸' => '\u{327}',
        '˛' => '\u{328}',
        _ => return None,
    })
}

/// The nearest letter that the accent stands over or under, and what both are together.
fn letter(glyphs: &[Glyph], at: usize, accent: char) -> Option<(usize, char)> {
    let from = at.saturating_sub(NEIGHBOURS);
    let to = (at + NEIGHBOURS + 1).min(glyphs.len());
    let own = glyphs[at].bbox.filter(|_| glyphs[at].direction == 0)?;
    let fits = |index: &usize| {
        let other = &glyphs[*index];
        *index != at && other.direction == 0 && other.bbox.is_some_and(|bbox| stands_over(&own, &bbox, other.font_size))
    };
    let found = (from..to).filter(fits).filter_map(|index| Some((index, composed(glyphs[index].meaning?, accent)?)));
    found.min_by_key(|(index, _)| index.abs_diff(at))
}

fn stands_over(accent: &Bbox, letter: &Bbox, font_size: f32) -> bool {
    let middle = |bbox: &Bbox| (bbox.left + bbox.right) / 2.0;
    let apart = (accent.top - letter.bottom).max(letter.top - accent.bottom);
    (middle(accent) - middle(letter)).abs() <= letter.width() * OFF_CENTRE
        && accent.width() <= letter.width() * 2.0
        && apart <= font_size * APART
}

/// One character for both, if there is one. A letter without its dot has lost it to the accent.
fn composed(letter: char, accent: char) -> Option<char> {
    let letter = match letter {
        'ı' => 'i',
        'ȷ' => 'j',
        other => other,
    };
    let mut both = [letter, accent].into_iter().nfc();
    let first = both.next()?;
    (letter.is_alphabetic() && both.next().is_none()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glyph(c: char, left: f32, top: f32, width: f32, height: f32) -> Glyph {
        let bbox = (c != ' ').then_some(Bbox { left, top, right: left + width, bottom: top + height });
        Glyph { meaning: Some(c), bbox, cell: bbox, font_size: 10.0, bold: false, direction: 0 }
    }

    fn joined(mut glyphs: Vec<Glyph>) -> String {
        join(&mut glyphs);
        glyphs.iter().filter_map(|glyph| glyph.meaning).collect()
    }

    #[test]
    fn an_accent_joins_the_letter_that_it_stands_over() {
        // Drawn before its letter, and with the line's other accents after it.
        let before =
            vec![glyph('¨', 11.0, 2.0, 3.0, 1.0), glyph('u', 10.0, 4.0, 5.0, 6.0), glyph('n', 16.0, 4.0, 5.0, 6.0)];
        assert_eq!(joined(before), "ün");
        let after =
            vec![glyph('d', 4.0, 2.0, 5.0, 8.0), glyph('o', 10.0, 4.0, 5.0, 6.0), glyph('˝', 11.0, 2.0, 4.0, 1.5)];
        assert_eq!(joined(after), "dő");
        let below = vec![glyph('c', 10.0, 4.0, 5.0, 6.0), glyph('¸', 11.0, 10.0, 2.0, 2.0)];
        assert_eq!(joined(below), "ç");
        let dotless = vec![glyph('´', 11.0, 1.0, 2.0, 2.0), glyph('ı', 10.0, 4.0, 2.5, 6.0)];
        assert_eq!(joined(dotless), "í");
    }

    #[test]
    fn an_accent_beside_a_letter_or_over_one_that_takes_none_stays() {
        let beside = vec![glyph('u', 10.0, 4.0, 5.0, 6.0), glyph('¨', 22.0, 2.0, 3.0, 1.0)];
        assert_eq!(joined(beside), "u¨");
        let line_above = vec![glyph('`', 11.0, 2.0, 3.0, 1.0), glyph('a', 10.0, 14.0, 5.0, 6.0)];
        assert_eq!(joined(line_above), "`a");
        let no_such_letter = vec![glyph('x', 10.0, 4.0, 5.0, 6.0), glyph('˚', 11.0, 2.0, 2.0, 2.0)];
        assert_eq!(joined(no_such_letter), "x˚");
    }
}
