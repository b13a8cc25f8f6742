//! Words as a search by keywords compares them, the same on every side of the seam.
//!
//! The law: a chunk and a question are cut and folded by the same rules, so what is typed as it is printed is found. A
//! word that is cut (`INV-2024-001`) is a phrase: its parts are found only in their order and side by side.
//!
//! The rules are part of the schema: SQLite's index can forget a chunk only by the very words that it was entered by.
//! Whoever changes them rebuilds that index in a migration.

use std::iter;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use deckle_contract::document::Chunk;

/// Characters of a word that count; more are no word, and indexes limit the length of a term.
const WORD_LENGTH: usize = 64;

/// Phrases of a question that count: whoever pastes a page asks for its beginning.
const PHRASES: usize = 64;

/// A word that more than one in so many chunks have is common.
const COMMON: u64 = 20;

/// Beside a vector, what a chunk has of a question's words must be worth so much of what all of them are: less is
/// chance, and fusion, which knows ranks alone, would take it for an answer. By the questions of
/// `tests/suite/search.rs`.
const SHARE: f32 = 0.3;

/// The words of a chunk, headings included, with one space between two.
pub(super) fn of_chunk(chunk: &Chunk) -> String {
    let texts = chunk.headings.iter().chain([&chunk.text]);
    let words: Vec<_> = texts.flat_map(|text| words(text)).collect();
    words.join(" ")
}

/// Words that stand side by side.
pub(super) type Phrase = Vec<String>;

/// A question, as a person types it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Keywords {
    /// In double quotes: a chunk without one of these is not found.
    pub(super) required: Vec<Phrase>,
    /// The others: where none is required, one is enough.
    pub(super) wanted: Vec<Phrase>,
    /// A chunk with a lower score says too little of it.
    pub(super) least_score: f32,
}

impl Keywords {
    /// Reads a question. Characters that are no part of a word say nothing; a quote that is not closed reaches to the
    /// end.
    pub(super) fn parse(text: &str) -> Self {
        let mut keywords = Self::default();
        for (part, text) in text.split(is_quote).enumerate() {
            if part % 2 == 1 {
                add(&mut keywords.required, words(text).collect());
            } else {
                text.split_whitespace().for_each(|word| add(&mut keywords.wanted, words(word).collect()));
            }
        }
        keywords.required.truncate(PHRASES);
        keywords.wanted.truncate(PHRASES);
        keywords
    }

    /// The same for a search that goes by meaning, too: without the common words, for `the` and `when` only lift chunks
    /// that have nothing else to say, and without chunks that have next to nothing of the others. `chunks` there are,
    /// and `with_word` of them have a word. What stands in quotes is kept, and enough by itself.
    pub(super) fn rare<E>(&self, chunks: u64, mut with_word: impl FnMut(&str) -> Result<u64, E>) -> Result<Self, E> {
        let limit = (chunks / COMMON).max(1);
        let mut rare = Self { required: self.required.clone(), ..Self::default() };
        let mut worth = 0.0;
        for phrase in &self.wanted {
            // A phrase is at least as rare as each of its words.
            let mut rarest = u64::MAX;
            for word in phrase {
                rarest = rarest.min(with_word(word)?);
            }
            if rarest <= limit {
                worth += idf(chunks, rarest);
                rare.wanted.push(phrase.clone());
            }
        }
        if rare.required.is_empty() {
            rare.least_score = SHARE * worth;
        }
        Ok(rare)
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.wanted.is_empty()
    }
}

/// What BM25 gives a word that stands once in a chunk of mean length.
fn idf(chunks: u64, with_word: u64) -> f32 {
    let (chunks, with_word) = (chunks as f32, with_word as f32);
    (1.0 + ((chunks - with_word).max(0.0) + 0.5) / (with_word + 0.5)).ln()
}

fn add(phrases: &mut Vec<Phrase>, phrase: Phrase) {
    if !phrase.is_empty() && !phrases.contains(&phrase) {
        phrases.push(phrase);
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '«' | '»')
}

/// The words of a text, folded: without case, accents and compatibility forms (`ﬁ`, `２`). A character of a script
/// that is written without spaces is a word by itself.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut characters = text
        .nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_accent(*c))
        .nfc()
        .flat_map(|c| base(c).chars().chain(base(c).is_empty().then_some(c)))
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    iter::from_fn(move || {
        let first = characters.find(|c| c.is_alphanumeric())?;
        let mut word = String::from(first);
        if is_unspaced(first) {
            return Some(word);
        }
        let mut length = 1;
        while let Some(c) = characters.next_if(|c| (c.is_alphanumeric() && !is_unspaced(*c)) || is_combining_mark(*c)) {
            if length < WORD_LENGTH {
                word.push(c);
            }
            length += 1;
        }
        Some(word)
    })
}

/// The accents of Latin, Greek and Cyrillic, as decomposition leaves them. Marks of other scripts are letters of theirs.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// What people type for letters that have no decomposition; empty for any other.
fn base(c: char) -> &'static str {
    match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ı' => "i",
        'ς' => "σ",
        _ => "",
    }
}

/// Chinese characters and Japanese kana.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> String {
        words(text).collect::<Vec<_>>().join(" ")
    }

    fn phrases(phrases: &[&str]) -> Vec<Phrase> {
        phrases.iter().map(|phrase| phrase.split(' ').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn what_people_type_meets_what_is_printed() {
        for (printed, typed) in [
            ("Müller", "muller"),
            ("MÜLLER", "Mu\u{308}ller"),
            ("Straße", "STRASSE"),
            ("ﬁnal oﬀer", "final offer"),
            ("Ångström, Łódź", "angstrom lodz"),
            ("Œuvre", "oeuvre"),
            ("４７１１", "4711"),
            ("ΟΔΟΣ", "οδος"),
            ("İstanbul", "istanbul"),
        ] {
            assert_eq!(folded(printed), folded(typed), "{printed}");
        }
        assert_eq!(folded("INV-2024-001: 4.711,00 €"), "inv 2024 001 4 711 00");
        assert_eq!(folded("東京タワー2"), "東 京 タ ワ ー 2");
        assert_eq!(folded("हिन्दी 한국어"), "हिन्दी 한국어".nfc().collect::<String>());
    }

    #[test]
    fn a_question_is_words_and_what_stands_in_quotes() {
        let keywords = Keywords::parse("pays INV-2024-001 \"who  Pays\" pays „für alles“");
        assert_eq!(keywords.wanted, phrases(&["pays", "inv 2024 001"]));
        assert_eq!(keywords.required, phrases(&["who pays", "fur alles"]));
        assert_eq!(Keywords::parse("a \"not closed").required, phrases(&["not closed"]));
        for nothing in ["", "  ", "\"\"", "-- ' * ( ) ^ :", "\0\u{301}"] {
            assert!(Keywords::parse(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn common_words_are_left_out_but_for_those_in_quotes() {
        let keywords = Keywords::parse("when is INV-the-1 the due \"the\"");
        let with_word = |word: &str| {
            Ok::<_, ()>(match word {
                "the" | "when" | "inv" => 90,
                "is" => 6,
                "due" => 5,
                _ => 1,
            })
        };
        let rare = keywords.rare(100, with_word).unwrap();
        assert_eq!((rare.required, rare.wanted), (phrases(&["the"]), phrases(&["inv the 1", "due"])));
        assert_eq!(rare.least_score, 0.0, "what is required is enough");
        let rare =
            Keywords::parse("due when nobody").rare(100, |word| Ok::<_, ()>(if word == "when" { 90 } else { 2 }));
        // Two words that two chunks have: one of them is enough, by chance or not.
        let one = (1.0_f32 + 98.5 / 2.5).ln();
        assert!((rare.unwrap().least_score - SHARE * 2.0 * one).abs() < 1e-5);
        // Among next to no chunks a word of one is rare.
        assert_eq!(
            Keywords::parse("one two").rare(3, |word| Ok::<_, ()>(word.len() as u64 - 2)).unwrap().wanted.len(),
            2
        );
    }

    #[test]
    fn neither_long_words_nor_long_questions_grow_without_end() {
        assert_eq!(folded(&"x".repeat(10_000)).len(), WORD_LENGTH);
        let page: String = (0..10_000).map(|n| format!("word{n} ")).collect();
        assert_eq!(Keywords::parse(&page).wanted.len(), PHRASES);
    }

    proptest! {
        /// Indexes cut at spaces, and SQLite's query language is spoken in letters and digits alone.
        #[test]
        fn words_hold_neither_space_nor_sign(text in any::<String>()) {
            for word in words(&text) {
                prop_assert!(!word.is_empty());
                prop_assert!(word.chars().all(|c| c.is_alphanumeric() || is_combining_mark(c)), "{word:?}");
                prop_assert!(!word.chars().any(|c| c.is_whitespace() || c.is_ascii_uppercase()), "{word:?}");
            }
        }

        /// Folding what is folded changes nothing, so that a word of an index can be asked for.
        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
