//! Character and word error rates.
//!
//! The law: both sides are normalised alike before they are compared: NFC, and every run of white space (line ends and
//! page breaks included) is one space. Nothing else is forgiven: case, punctuation, hyphens and ligatures count.

use std::collections::HashMap;

use rapidfuzz::distance::levenshtein;
use unicode_normalization::UnicodeNormalization;

use super::measure::Ratio;

/// Text as it is compared.
pub fn normalised(text: &str) -> String {
    words(text).join(" ")
}

/// The words of a text in NFC: what white space divides.
pub fn words(text: &str) -> Vec<String> {
    text.nfc().collect::<String>().split_whitespace().map(str::to_owned).collect()
}

/// The pages of a text: what form feeds divide. One at the very end, as `pdftotext` writes it, begins no page.
pub fn pages(text: &str) -> Vec<&str> {
    let text = text.trim_end_matches(['\n', '\r', ' ']);
    text.strip_suffix('\u{c}').unwrap_or(text).split('\u{c}').collect()
}

/// Character error rate of normalised texts: insertions, deletions and replacements per character of the truth.
pub fn cer(found: &str, truth: &str) -> Ratio {
    Ratio::of(levenshtein::distance(found.chars(), truth.chars()), truth.chars().count())
}

/// Word error rate: the same with words for characters.
pub fn wer<S: AsRef<str>>(found: &[S], truth: &[S]) -> Ratio {
    let mut numbers = HashMap::new();
    let mut numbered = |words: &[S]| -> Vec<u32> {
        let mut number = |word: &S| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(word.as_ref().to_owned()).or_insert(next)
        };
        words.iter().map(&mut number).collect()
    };
    let (found, truth) = (numbered(found), numbered(truth));
    Ratio::of(levenshtein::distance(found.iter().copied(), truth.iter().copied()), truth.len())
}

/// Distance of two texts over the longer one's length: 0 for the same, 1 for nothing in common.
pub fn unlikeness(one: &str, other: &str) -> f64 {
    if one == other {
        return 0.0;
    }
    let longer = one.chars().count().max(other.chars().count());
    levenshtein::distance(one.chars(), other.chars()) as f64 / longer as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_and_composition_do_not_count() {
        assert_eq!(normalised(" Mu\u{308}nster \t\n\u{c}\u{a0}am\r\nMeer "), "Münster am Meer");
        assert_eq!(normalised("ﬁ Fi"), "ﬁ Fi", "ligatures and case do");
    }

    #[test]
    fn form_feeds_divide_pages() {
        assert_eq!(pages("a\n\u{c}b"), ["a\n", "b"]);
        assert_eq!(pages("a\u{c}b\u{c}\n"), ["a", "b"]);
        assert_eq!(pages("a\u{c}\u{c}b").len(), 3, "an empty page is one");
        assert_eq!(pages(""), [""]);
    }

    #[test]
    fn rates_by_hand() {
        assert_eq!(cer("kitten", "sitting"), Ratio::of(3, 7));
        assert_eq!(cer("", "abc").value(), Some(1.0));
        assert_eq!(cer("abcdef", "ab").value(), Some(2.0), "it may exceed 1");
        assert_eq!(wer(&["the", "fox", "jumps"], &["the", "quick", "fox", "jumped"]), Ratio::of(2, 4));
        assert_eq!(cer("x", "").value(), None);
    }

    proptest! {
        #[test]
        fn a_text_has_no_errors_beside_itself(text in "\\PC{0,60}") {
            let text = normalised(&text);
            prop_assert_eq!(cer(&text, &text).part, 0.0);
            prop_assert_eq!(&normalised(&text), &text);
            prop_assert_eq!(wer(&words(&text), &words(&text)).part, 0.0);
        }

        #[test]
        fn the_distance_is_the_same_both_ways_and_bounded(one in "[ab cé]{0,30}", other in "[ab cé]{0,30}") {
            prop_assert_eq!(cer(&one, &other).part, cer(&other, &one).part);
            let longer = one.chars().count().max(other.chars().count()) as f64;
            let shorter = one.chars().count().min(other.chars().count()) as f64;
            prop_assert!(cer(&one, &other).part <= longer && cer(&one, &other).part >= longer - shorter);
            prop_assert!((0.0..=1.0).contains(&unlikeness(&one, &other)));
            let (left, right) = (words(&one), words(&other));
            prop_assert_eq!(wer(&left, &right).part, wer(&right, &left).part);
        }
    }
}
