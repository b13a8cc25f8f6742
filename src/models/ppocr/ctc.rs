//! From the recogniser's columns to characters and words (connectionist temporal classification, Graves et al. 2006,
//! decoded greedily). Pure.

use super::coverage::Letters;

/// The answer of the network for one column: classes with their probabilities, 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Column {
    /// The best of all classes.
    pub best: (u32, f32),
    /// The best of ASCII's letters, digits and punctuation.
    pub plain: (u32, f32),
}

/// A letter that the page's languages do not write is read only where it is this many times as likely as the best plain
/// one. Real accents come with 0.99 and more (of Spanish and Portuguese read as English), those of a fax's specks with
/// 0.46 to 0.97 and the plain letter next.
const FOREIGN_LIKELIHOOD_RATIO: f32 = 100.0;

/// A letter after a letter is read, although the blank is likelier, where its probability is more than this share of
/// the blank's. The network would rather say nothing than a letter that fills no column of its own, such as the M of
/// TEMPO (0.93 of the blank) or an a of operation (0.43). Digits, marks and what stands alone are left as they are: a
/// stroke cut off at an edge looks like a 1.
const BLANK_RATIO_MIN: f32 = 0.4;

/// The characters that the classes of the network stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dictionary(Vec<char>);

impl Dictionary {
    /// From the characters of the classes from 1 on, a line each; the class after the last of them is the space.
    pub(super) fn new(lines: &str) -> Self {
        let characters = lines.split('\n').filter_map(|line| line.chars().next());
        Self(characters.chain([' ']).collect())
    }

    /// Number of classes, the blank included.
    pub(super) fn classes(&self) -> usize {
        self.0.len() + 1
    }

    /// The classes of ASCII's letters, digits and punctuation.
    pub(super) fn plain(&self) -> Vec<u32> {
        (1..).zip(&self.0).filter(|(_, character)| character.is_ascii_graphic()).map(|(class, _)| class).collect()
    }

    fn character(&self, class: u32) -> Option<char> {
        // Class 0 is the blank: nothing new here.
        self.0.get(class.checked_sub(1)? as usize).copied()
    }
}

/// One recognised character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Character {
    /// The character.
    pub value: char,
    /// Its highest probability over its columns, 0..1.
    pub confidence: f32,
    /// Its middle, in columns from the line's start.
    pub centre: f32,
}

/// A word: its characters, and where it starts and ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// Its characters.
    pub text: String,
    /// Mean over its characters, 0..1.
    pub confidence: f32,
    /// Middle of the first and of the last character, in columns from the line's start.
    pub middles: (f32, f32),
    /// About where it starts, in columns from the line's start.
    pub start: f32,
    /// About where it ends.
    pub end: f32,
}

/// The characters of a line: neighbours of one character are one, and blanks vanish. A letter with a mark that the
/// languages do not write must be [`FOREIGN_LIKELIHOOD_RATIO`] times as likely as the best plain one: noise puts marks
/// on letters. A letter after a letter is read although the blank is likelier, where its probability is more than
/// [`BLANK_RATIO_MIN`] of the blank's.
pub(super) fn characters(columns: &[Column], dictionary: &Dictionary, letters: &Letters) -> Vec<Character> {
    let mut found: Vec<Character> = Vec::new();
    // Where the character started that goes on; classes may share a character, so that is what is compared.
    let mut going_on: Option<(char, usize)> = None;
    for (at, column) in columns.iter().enumerate() {
        let near = [at.checked_sub(1), Some(at + 1)].map(|near| Some(columns.get(near?)?.best.0));
        let is_in_word = found.last().is_some_and(|last| last.value.is_alphabetic());
        let hidden = || column.hidden(dictionary, near).filter(|_| is_in_word);
        let read = column.read(dictionary, letters).or_else(hidden);
        let Some((value, confidence)) = read else {
            going_on = None;
            continue;
        };
        match (going_on, found.last_mut()) {
            (Some((same, start)), Some(last)) if same == value => {
                last.confidence = last.confidence.max(confidence);
                last.centre = (start + at + 1) as f32 / 2.0;
            }
            _ => {
                going_on = Some((value, at));
                found.push(Character { value, confidence, centre: at as f32 + 0.5 });
            }
        }
    }
    found
}

impl Column {
    fn read(&self, dictionary: &Dictionary, letters: &Letters) -> Option<(char, f32)> {
        let (class, confidence) = self.best;
        let value = dictionary.character(class)?;
        if letters.is_foreign(value) && self.plain.1 * FOREIGN_LIKELIHOOD_RATIO > confidence {
            return Some((dictionary.character(self.plain.0)?, self.plain.1));
        }
        Some((value, confidence))
    }

    /// The letter whose probability is more than [`BLANK_RATIO_MIN`] of the blank's, which is the best class here.
    /// `None` where there is no such letter, and for one that a neighbouring column has as its best class, so that no
    /// letter is read twice.
    fn hidden(&self, dictionary: &Dictionary, near: [Option<u32>; 2]) -> Option<(char, f32)> {
        let (class, confidence) = self.plain;
        let is_close = confidence > self.best.1 * BLANK_RATIO_MIN && !near.contains(&Some(class));
        dictionary.character(class).filter(|value| is_close && value.is_alphabetic()).map(|value| (value, confidence))
    }
}

/// The words between spaces. The network marks a character's middle, not its edges: between two characters the edge is
/// half-way, and at the line's ends half a character's usual advance from the middle, inside `0..=columns`.
pub(super) fn words(characters: &[Character], columns: f32) -> Vec<Span> {
    let half = usual_advance(characters).unwrap_or(columns) / 2.0;
    let mut words = Vec::new();
    let mut start = 0;
    for (end, is_last) in (0..=characters.len()).map(|end| (end, end == characters.len())) {
        if !is_last && !characters[end].value.is_whitespace() {
            continue;
        }
        let word = &characters[start..end];
        if let (Some(first), Some(last)) = (word.first(), word.last()) {
            // From a space at most the usual distance: the gap may be wide.
            let before =
                start.checked_sub(1).map_or(0.0, |space| f32::midpoint(characters[space].centre, first.centre));
            let after = characters.get(end).map_or(columns, |space| f32::midpoint(last.centre, space.centre));
            words.push(Span {
                text: word.iter().map(|character| character.value).collect(),
                confidence: word.iter().map(|character| character.confidence).sum::<f32>() / word.len() as f32,
                middles: (first.centre, last.centre),
                start: before.max(first.centre - half * wide(first.value)),
                end: after.min(last.centre + half * wide(last.value)),
            });
        }
        start = end + 1;
    }
    words
}

/// Median distance between neighbours inside words.
fn usual_advance(characters: &[Character]) -> Option<f32> {
    let inside = |pair: &&[Character]| pair.iter().all(|character| !character.value.is_whitespace());
    let mut advances: Vec<f32> =
        characters.windows(2).filter(inside).map(|pair| pair[1].centre - pair[0].centre).collect();
    advances.sort_by(f32::total_cmp);
    advances.get(advances.len() / 2).copied()
}

/// How wide a character is beside the usual one: capitals, m and w are wider than the median in every proportional font.
fn wide(character: char) -> f32 {
    if character.is_uppercase() || "mwMW%@—".contains(character) { 1.4 } else { 1.1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dictionary() -> Dictionary {
        Dictionary::new("a\nb\nc\nc")
    }

    /// `.` is a blank, `_` the space, `C` the second class of `c`.
    fn columns(text: &str) -> Vec<Column> {
        let class = |c| ".abcC_".find(c).unwrap() as u32;
        text.chars().map(|c| column((class(c), if c == 'b' { 0.5 } else { 0.9 }))).collect()
    }

    fn column(best: (u32, f32)) -> Column {
        Column { best, plain: (1, 0.0) }
    }

    fn english() -> Letters {
        Letters::of(&["en".to_owned()])
    }

    fn text(line: &str) -> String {
        characters(&columns(line), &dictionary(), &english()).iter().map(|c| c.value).collect()
    }

    #[test]
    fn a_letter_that_a_blank_hides_by_a_hair_is_read_and_none_twice() {
        let text = |columns: &[Column]| -> String {
            let characters = characters(columns, &dictionary(), &Letters::of(&[]));
            characters.iter().map(|character| character.value).collect()
        };
        let (a, c) = (column((1, 0.9)), column((3, 0.9)));
        let blank = |blank, plain| Column { best: (0, blank), plain };
        assert_eq!(text(&[a, blank(0.52, (2, 0.48)), c]), "abc");
        assert_eq!(text(&[a, blank(0.75, (2, 0.25)), c]), "ac");
        // The tail of a letter is not another one, and two columns of one letter are one.
        assert_eq!(text(&[a, blank(0.51, (1, 0.49)), blank(0.9, (1, 0.1)), c]), "ac");
        assert_eq!(text(&[a, blank(0.51, (2, 0.49)), blank(0.51, (2, 0.49)), c]), "abc");
        // At the start of a word there is no letter before it.
        let space = column((5, 0.9));
        assert_eq!(text(&[blank(0.52, (2, 0.48)), c]), "c");
        assert_eq!(text(&[a, space, blank(0.52, (2, 0.48)), c]), "a c");
    }

    #[test]
    fn neighbours_are_one_and_a_blank_between_them_makes_two() {
        assert_eq!(dictionary().classes(), 6);
        assert_eq!(text("..aa.bb.b._.c"), "abb c");
        assert_eq!(text("cC.C"), "cc");
        assert_eq!(text("...."), "");
    }

    #[test]
    fn a_character_is_as_sure_as_its_best_column_and_stands_in_their_middle() {
        let columns = [(0, 0.9), (1, 0.4), (1, 0.8), (1, 0.6), (0, 0.9)].map(column);
        assert_eq!(
            characters(&columns, &dictionary(), &english()),
            [Character { value: 'a', confidence: 0.8, centre: 2.5 }]
        );
    }

    #[test]
    fn words_split_at_spaces_and_know_their_columns() {
        let line = columns(".a.b.a.__.c.");
        let found = words(&characters(&line, &dictionary(), &english()), line.len() as f32);
        assert_eq!(found.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["aba", "c"]);
        assert!((found[0].confidence - (0.9 + 0.5 + 0.9) / 3.0).abs() < 1e-6);
        // The advance is 2 columns: the word starts 1.1 before the middle of its first character, at 1.5.
        assert!((found[0].start - 0.4).abs() < 1e-6 && found[0].end > 5.5 && found[0].end < found[1].start);
        assert!(found[1].end <= line.len() as f32);
    }

    #[test]
    fn a_speck_on_a_letter_makes_no_foreign_one_but_a_sure_name_stays() {
        let dictionary = Dictionary::new("n\nñ");
        assert_eq!(dictionary.plain(), [1]);
        let read = |sure: f32, plain: f32, language: &str| -> String {
            let columns = [Column { best: (2, sure), plain: (1, plain) }];
            let letters = Letters::of(&[language.to_owned()]);
            characters(&columns, &dictionary, &letters).iter().map(|c| c.value).collect()
        };
        assert_eq!(read(0.6, 0.3, "en"), "n");
        assert_eq!(read(0.99, 0.005, "en"), "ñ");
        assert_eq!(read(0.6, 0.3, "es"), "ñ");
    }

    proptest! {
        #[test]
        fn words_hold_every_character_once_in_order_without_overlap(line in "[.abcC_]{0,60}") {
            let columns = columns(&line);
            let characters = characters(&columns, &dictionary(), &english());
            let words = words(&characters, columns.len() as f32);
            let text: String = characters.iter().map(|c| c.value).filter(|c| *c != ' ').collect();
            prop_assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<String>(), text);
            for word in &words {
                prop_assert!(0.0 <= word.start && word.start < word.end && word.end <= columns.len() as f32);
            }
            prop_assert!(words.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
