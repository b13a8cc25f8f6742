//! Ligatures that a file's font gives a wrong meaning, as printing to PDF on some systems does: `o@ice` for office. The
//! letters are read from the page's picture.
//!
//! The law: a word changes only where a sign that no word has stands between letters, and only when all its other
//! letters are read at its place as the file says them.

use std::collections::BTreeMap;

use deckle_contract::document::{Bbox, Line};

/// What such a sign may stand for.
const LIGATURES: [&str; 15] =
    ["ffi", "ffl", "fft", "tti", "ff", "fi", "fl", "fj", "ft", "tf", "tt", "ti", "ct", "st", "Th"];

/// Latin letters that a word must have besides, so that formulas are left alone.
const FEWEST_LETTERS: usize = 3;

/// Doubtful words of a page that are looked at. A page full of them is a listing or a formula.
const MOST: usize = 32;

/// The boxes of lines in which doubtful words stand, one for each word that the page has.
pub fn doubtful(lines: &[Line]) -> Vec<Bbox> {
    let mut words: BTreeMap<&str, Bbox> = BTreeMap::new();
    for line in lines {
        for word in line.words.iter().map(|word| core(&word.text)).filter(|word| is_doubtful(word)) {
            words.entry(word).or_insert(line.bbox);
        }
    }
    let mut boxes: Vec<Bbox> = Vec::new();
    for bbox in words.into_values().take(MOST) {
        if !boxes.contains(&bbox) {
            boxes.push(bbox);
        }
    }
    boxes
}

/// Puts letters in the place of such signs, by the words that were read from the page's picture. Tells how many words
/// changed.
pub fn repair(lines: &mut [Line], read: &[Line]) -> usize {
    let read: Vec<&str> = read.iter().flat_map(|line| line.text.split_whitespace()).map(core).collect();
    let mut count = 0;
    for line in lines {
        for word in &mut line.words {
            let doubtful = core(&word.text);
            if !is_doubtful(doubtful) {
                continue;
            }
            let Some(meant) = read.iter().find(|read| is_meant(doubtful, read)) else { continue };
            let repaired = word.text.replacen(doubtful, meant, 1);
            line.text = line.text.replacen(&word.text, &repaired, 1);
            word.text = repaired;
            count += 1;
        }
    }
    count
}

/// A word without the punctuation around it.
fn core(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn is_doubtful(word: &str) -> bool {
    let is_address = word.contains('@') && word.contains('.');
    let is_latin = |c: char| c.is_ascii_alphabetic() || ('\u{C0}'..'\u{180}').contains(&c);
    let letters: Vec<char> = word.chars().collect();
    let between = |at: usize| {
        let before = at.checked_sub(1).is_none_or(|before| is_latin(letters[before]));
        before && letters.get(at + 1).is_some_and(|&after| is_latin(after) && after.is_lowercase())
    };
    !is_address
        && letters.iter().filter(|&&c| is_latin(c)).count() >= FEWEST_LETTERS
        && (0..letters.len()).any(|at| is_sign(letters[at]) && between(at))
}

/// What fonts are found to call their ligatures: signs, characters without a meaning, and letters that stand in no word
/// of Latin letters (Ɵ for ti, Ʃ for tt). Not those of Vietnamese, Romanian or Pinyin.
fn is_sign(c: char) -> bool {
    matches!(c,
        '@' | '^' | '~' | '|' | '{' | '}' | '<' | '>' | '#' | '$' | '%' | '\u{FFFD}'
        | '\u{180}'..='\u{19F}' | '\u{1A2}'..='\u{1AE}' | '\u{1B1}'..='\u{1BF}'
        | '\u{370}'..='\u{3FF}' | '\u{E000}'..='\u{F8FF}')
}

/// Whether a doubtful word was read as this one: the same but for its signs, which are ligatures there.
fn is_meant(doubtful: &str, read: &str) -> bool {
    let Some(first) = doubtful.chars().next() else { return read.is_empty() };
    let rest = &doubtful[first.len_utf8()..];
    let follows = |read: Option<&str>| read.is_some_and(|read| is_meant(rest, read));
    if is_sign(first) {
        LIGATURES.iter().any(|letters| follows(read.strip_prefix(letters)))
    } else {
        follows(read.strip_prefix(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{Method, Word};

    fn line(text: &str, top: f32) -> Line {
        let bbox = Bbox { left: 0.0, top, right: 100.0, bottom: top + 10.0 };
        let word = |text: &str| Word { text: text.to_owned(), bbox, confidence: None };
        Line {
            text: text.to_owned(),
            bbox,
            polygon: None,
            words: text.split(' ').map(word).collect(),
            confidence: None,
            method: Method::TextLayer,
            font_size: None,
            bold: false,
        }
    }

    fn repaired(text: &str, read: &str) -> String {
        let mut lines = [line(text, 0.0)];
        let count = repair(&mut lines, &[line(read, 0.0)]);
        let [line] = lines;
        assert_eq!(line.text, line.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "));
        assert_eq!(count > 0, line.text != text);
        line.text
    }

    #[test]
    fn a_sign_between_letters_becomes_the_ligature_that_is_seen_there() {
        assert_eq!(repaired("(the o@ice, Gira@e)", "the office Giraffe"), "(the office, Giraffe)");
        assert_eq!(repaired("configura\u{19F}on, \u{19F}mer", "configuration timer"), "configuration, timer");
        assert_eq!(repaired("a#liate a\u{3B8}tude", "affiliate attitude"), "affiliate attitude");
        assert_eq!(repaired("o\u{F001}ce o\u{F001}ce", "office"), "office office");
    }

    #[test]
    fn what_is_not_seen_stays() {
        assert_eq!(repaired("root@localhost", "root@localhost"), "root@localhost");
        assert_eq!(repaired("o@ice", "0ffice office's oxice"), "o@ice", "other letters were read");
        assert_eq!(repaired("o@ice", "ounice"), "o@ice", "no ligature");
    }

    #[test]
    fn what_words_have_is_not_looked_at() {
        let ordinary = "ada@example.org a@b x^y sinθ αβγδ R&D don't and/or 5$ĉ fluß țară nước 100%ig C# Κρόνος";
        assert_eq!(doubtful(&[line(ordinary, 0.0)]), []);
    }

    #[test]
    fn a_word_is_looked_at_once() {
        let lines = [line("o@ice", 0.0), line("the o@ice and a Gira@e", 20.0), line("Gira@e di@erent", 40.0)];
        assert_eq!(doubtful(&lines), [lines[1].bbox, lines[2].bbox, lines[0].bbox]);
        let listing: String = (b'a'..=b'z').flat_map(|c| [char::from(c); 4]).collect();
        let many: Vec<Line> =
            (0..40_u8).map(|at| line(&format!("{}<{}", &listing[..4 + at as usize], "ab"), f32::from(at))).collect();
        assert_eq!(doubtful(&many).len(), MOST);
    }
}
