//! Text of blocks: lines joined, hyphens mended, markers of list items split off.

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// Joins lines with spaces and mends words that were divided at a line's end; NFC.
///
/// A hyphen at the end of a line goes only where the next line starts lower-case, so that `SARS-` + `CoV` stays whole.
pub(super) fn join<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    lines.into_iter().for_each(|line| add(&mut joined, line));
    joined.nfc().collect()
}

/// Joins one more text to one of `chars` characters that is joined already, at the cost of the new one alone; gives the
/// characters that there are then.
pub(super) fn append(joined: &mut String, chars: usize, next: &str) -> usize {
    let next: String = next.nfc().collect();
    let divided = next.split_whitespace().next().is_some_and(|first| is_divided(joined, first));
    let hyphen = joined.chars().next_back().filter(|_| divided).map_or(0, char::len_utf8);
    let kept = joined.len() - hyphen;
    add(joined, &next);
    // Where a hyphen went, a mark that begins the next text joins the letter before.
    if divided && joined[kept..].starts_with(|c| canonical_combining_class(c) != 0) {
        *joined = joined.nfc().collect();
        return joined.chars().count();
    }
    chars - usize::from(divided) + joined[kept..].chars().count()
}

fn add(joined: &mut String, line: &str) {
    let mut words = line.split_whitespace().peekable();
    let Some(first) = words.peek() else { return };
    if joined.is_empty() {
        // Nothing to join with yet.
    } else if is_divided(joined, first) {
        joined.pop();
    } else {
        joined.push(' ');
    }
    for (number, word) in words.enumerate() {
        if number > 0 {
            joined.push(' ');
        }
        joined.push_str(word);
    }
}

/// Whether `before` ends in a hyphen that divides the word which `next` continues.
pub(super) fn is_divided(before: &str, next: &str) -> bool {
    let mut ends = before.chars().rev();
    ends.next().is_some_and(|c| matches!(c, '-' | '\u{ad}' | '\u{2010}'))
        && ends.next().is_some_and(char::is_alphabetic)
        && next.chars().next().is_some_and(char::is_lowercase)
}

/// Whether a text ends as a sentence does, so that what follows begins anew.
pub(super) fn ends_sentence(text: &str) -> bool {
    let last = text.trim_end_matches(['"', '”', '’', '\'', ')', ']', '»', '“']).chars().last();
    last.is_none_or(|c| matches!(c, '.' | '!' | '?' | ':' | ';' | '…' | '。' | '！' | '？' | '؟' | '۔'))
}

/// Whether a text goes on in the middle of a sentence.
pub(super) fn starts_lower(text: &str) -> bool {
    text.chars().find(|c| c.is_alphanumeric()).is_some_and(char::is_lowercase)
}

/// The longest marker, in characters: four between parentheses.
const MARKER: usize = 6;

/// The marker at the beginning of a list item and the text after it.
///
/// Bullets (`•`, `–`, `*` …), numbers of up to three digits (`1.`, `(1)`, `2)`), single letters (`a)`, `(a)`, `b.`) and
/// small Roman numbers (`iv.`). White space must follow.
pub(super) fn split_marker(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (end, _) = text.char_indices().take(MARKER + 1).find(|(_, c)| c.is_whitespace())?;
    let (marker, rest) = (&text[..end], text[end..].trim_start());
    (!rest.is_empty() && is_marker(marker)).then_some((marker, rest))
}

/// Whether a word is a list marker.
pub(super) fn is_marker(word: &str) -> bool {
    let mut chars = word.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else { return false };
    if second.is_none() {
        // Symbol fonts without a mapping put their bullets into the private use area.
        return "•‣▪▫■□●○◦◆◇►▶–—-*·➢➤✓✔❖\u{2219}".contains(first) || ('\u{e000}'..='\u{f8ff}').contains(&first);
    }
    number_of(word).is_some()
}

/// Whether a marker counts (`1.`, `b)`), rather than only points.
pub(super) fn is_counted(marker: &str) -> bool {
    marker.chars().any(char::is_alphanumeric)
}

/// The number that a counted marker stands for: 3 for `3.`, `(c)` and `iii)`.
pub(super) fn number_of(marker: &str) -> Option<u32> {
    let inner = match marker.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')')?,
        None => marker.strip_suffix(['.', ')'])?,
    };
    if inner.is_empty() || inner.len() > 4 {
        return None;
    }
    if inner.bytes().all(|b| b.is_ascii_digit()) {
        return (inner.len() <= 3).then(|| inner.parse().ok()).flatten();
    }
    let mut letters = inner.chars();
    match (letters.next(), letters.next()) {
        // An upper-case letter and a dot is somebody's initial.
        (Some(letter @ 'a'..='z'), None) => Some(u32::from(letter) - u32::from('a') + 1),
        (Some(letter @ 'A'..='Z'), None) if marker.ends_with(')') => Some(u32::from(letter) - u32::from('A') + 1),
        _ => roman(inner),
    }
}

fn roman(text: &str) -> Option<u32> {
    const SMALL: [&str; 20] = [
        "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii",
        "xviii", "xix", "xx",
    ];
    SMALL.iter().position(|numeral| *numeral == text).map(|at| at as u32 + 1)
}
