//! Do the tokens of a page look like words? Without a dictionary: by their shape, by stop words, and by letter pairs.

use std::{collections::HashSet, sync::LazyLock};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// How the words of a page look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WordCounts {
    /// Tokens, but for pure punctuation of one or two characters and leaders.
    pub words: u32,
    /// Those shaped like a word or a number.
    pub shaped: u32,
    /// Those that are a stop word of some language.
    pub stop_words: u32,
    /// Words of three Latin letters or more.
    pub spelled: u32,
    /// Those of them made of letter pairs that languages use.
    pub plausible: u32,
    /// Letters of any script.
    pub letters: u32,
    /// Latin letters.
    pub latin: u32,
}

/// Frequent short words of languages in Latin script, folded to plain letters.
const STOP_WORDS: &str = " \
    the of and to in is for that on with as by are this be or from at an it was not have which has will you your all \
    der die das und ist nicht mit den von zu auf fur im dem des ein eine als auch sich wird sind bei werden aus oder \
    le la les de des et en un une du est que pour dans qui au par sur pas plus sont avec ce il ne se ou aux \
    el los las del y por con una su para es al lo como mas pero sus \
    il di che non per una sono della con dei nel alla gli del piu anche come \
    o do da em os um uma que nao com para dos das se na no ao pelo \
    het een van niet dat zijn voor met op aan te bij ook naar worden \
    och att det som pa av inte med den till ar om har \
    og er af til ikke jeg vi \
    na nie sie w z do jest ze przez oraz dla \
    je se v na ze pro nebo jako \
    ja on ei se etta oli \
    az es hogy nem egy van \
    ve bir bu ile icin da \
    si nu cu din pentru este sau \
    et ut ad non cum sed ";

/// The letters that follow a, b, c … in the words of Western languages: pairs that make up more than 0.06 % of the pairs
/// in English, German and French pages, and some of their neighbours'. 88 % of good words consist of them alone; of the
/// same words with their letters exchanged, 4 to 22 %.
const FOLLOWERS: [&str; 26] = [
    "abcdefghijklmnprstuvyz",
    "abeijlorsu",
    "acehijklnortuz",
    "adeimnorsuz",
    "abcdefghijklmnopqrstuvwxz",
    "aefijlortu",
    "aeghijlmnorstu",
    "aeilnortv",
    "abcdefgjlmnoprstvz",
    "aeou",
    "aeijlorstuvy",
    "adeghijlostuy",
    "abeimopu",
    "acdefghijknostuvz",
    "abcdefgijlmnoprstuvwz",
    "aehilnoprstu",
    "u",
    "abcdefgijklmnoprstuvyz",
    "acehijkmnopstuvz",
    "aehijlorstuyz",
    "abcdefgijklmnprstz",
    "aeinosy",
    "aehilnor",
    "it",
    "cos",
    "aeiouyz",
];

impl WordCounts {
    /// Counts tokens.
    pub fn of<'a>(tokens: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        tokens.for_each(|token| counts.add(token));
        counts
    }

    fn add(&mut self, token: &str) {
        let letters = token.chars().filter(|c| c.is_alphabetic()).count() as u32;
        self.letters += letters;
        self.latin += token.chars().filter(|&c| is_latin(c)).count() as u32;
        let core = token.trim_matches(|c: char| !c.is_alphanumeric());
        if core.is_empty() {
            if is_punctuation_only_noise(token) {
                self.words += 1;
            }
            return;
        }
        self.words += 1;
        self.shaped += u32::from(is_shaped(core));
        let folded: String = core.nfd().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
        self.stop_words += u32::from(folded.len() >= 2 && is_stop_word(&folded));
        if folded.len() >= 3 && letters as usize >= 3 {
            self.spelled += 1;
            self.plausible += u32::from(is_plausible(&folded));
        }
    }
}

fn is_stop_word(folded: &str) -> bool {
    static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP_WORDS.split_ascii_whitespace().collect());
    KNOWN.contains(folded)
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && matches!(c, 'A'..='Z' | 'a'..='z' | '\u{AA}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}')
}

/// Three signs or more that are not one repeated (a leader, a rule).
fn is_punctuation_only_noise(token: &str) -> bool {
    let mut chars = token.chars();
    let Some(first) = chars.next() else { return false };
    token.chars().count() > 2 && chars.any(|c| c != first)
}

/// A word (small, capital first, all capitals, joined by signs) or a number, or one followed by the other.
fn is_shaped(core: &str) -> bool {
    let parts = core.split(|c: char| !c.is_alphanumeric() && !is_mark(c)).filter(|part| !part.is_empty());
    let signs = core.chars().filter(|c| !c.is_alphanumeric() && !is_mark(*c)).count();
    let length = core.chars().count();
    // An address or a path is a word with many signs; noise has more of them.
    signs * 3 <= length && parts.into_iter().all(is_shaped_part)
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{AD}')
}

fn is_shaped_part(part: &str) -> bool {
    let letters: Vec<char> = part.chars().filter(|c| c.is_alphabetic()).collect();
    let changes = part.chars().zip(part.chars().skip(1)).filter(|(a, b)| a.is_numeric() != b.is_numeric()).count();
    let upper = letters.iter().filter(|c| c.is_uppercase()).count();
    let first_only = upper == 1 && letters.first().is_some_and(|c| c.is_uppercase());
    changes <= 1 && (upper == 0 || first_only || upper == letters.len())
}

fn is_plausible(folded: &str) -> bool {
    let follows = |pair: &[u8]| FOLLOWERS[usize::from(pair[0] - b'a')].as_bytes().contains(&pair[1]);
    folded.as_bytes().windows(2).all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> WordCounts {
        WordCounts::of(text.split_whitespace())
    }

    #[test]
    fn prose_looks_like_words() {
        let c = counts("Der Vertrag vom 3. März 2021 gilt für alle Teile (siehe Abschnitt 4.2); the rest isn't.");
        assert_eq!((c.shaped, c.letters), (c.words, c.latin));
        assert!(c.stop_words >= 3, "{c:?}");
        assert!(c.plausible * 10 >= c.spelled * 8, "{c:?}");
    }

    #[test]
    fn exchanged_letters_do_not() {
        let text = "the agreement between both parties remains valid until further notice";
        let exchanged: String =
            text.chars().map(|c| if c == ' ' { c } else { char::from((c as u8 - b'a' + 7) % 26 + b'a') }).collect();
        let c = counts(&exchanged);
        assert!(c.stop_words == 0 && c.plausible * 3 < c.spelled, "{c:?}");
    }

    #[test]
    fn noise_has_no_shape_and_leaders_are_no_words() {
        let c = counts("aQ4xZ $%x&~f r~t]w ..... -- #!%");
        assert_eq!((c.words, c.shaped), (4, 0), "{c:?}");
    }
}
