//! What a label is, what a value is, and what is prose: decided on the words of one row.

use super::rows::{Row, Segment, Word};
use deckle_contract::document::BlockKind;

/// Longest label, in words and characters.
const NAME: [usize; 2] = [5, 40];
/// Longest value.
const VALUE: [usize; 2] = [10, 100];
/// Longest value that only a gap parts from its label.
const BARE_VALUE: [usize; 2] = [4, 30];

/// A label with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate<'a> {
    pub(super) name: String,
    /// The value's words, joined with single spaces.
    pub(super) text: String,
    pub(super) value: Vec<Word<'a>>,
    /// The segment that holds the label.
    pub(super) segment: usize,
}

/// The labelled values of a row.
pub(super) fn find<'a>(row: &Row<'a>) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for (number, segment) in row.segments.iter().enumerate() {
        let mut words = &segment.words[..];
        while let Some((label, rest)) = split_label(words) {
            if rest.is_empty() {
                // The value stands behind a gap, unless what stands there has a label of its own.
                let next = row.segments.get(number + 1).filter(|next| !is_labelled(&next.words));
                found.extend(next.and_then(|next| named(label, &next.words, VALUE, number)));
            }
            let Some((value, others)) = until_next_label(rest) else { break };
            found.extend(named(label, value, VALUE, number));
            words = others;
        }
    }
    match &row.segments[..] {
        [label, value] if found.is_empty() => found.extend(parted_by_gap(label, value)),
        _ => {}
    }
    found
}

/// Whether words begin with a label and its colon.
pub(super) fn is_labelled(words: &[Word<'_>]) -> bool {
    split_label(words).is_some()
}

/// The words of a label up to its colon, and those behind.
fn split_label<'w, 'a>(words: &'w [Word<'a>]) -> Option<(&'w [Word<'a>], &'w [Word<'a>])> {
    let colon = words.iter().position(|word| word.text.ends_with(':'))?;
    let (label, rest) = words.split_at(colon + 1);
    is_label(label).then_some((label, rest))
}

/// A value, and what begins with the next label behind it. Where a label might reach back into the value (`Name: Maria
/// Halloran Date: 14 March`) there is no telling; only a number ends a value for certain.
fn until_next_label<'w, 'a>(words: &'w [Word<'a>]) -> Option<(&'w [Word<'a>], &'w [Word<'a>])> {
    let Some(colon) = words.iter().position(|word| word.text.ends_with(':')) else { return Some((words, &[])) };
    let end = words[..colon].iter().rposition(|word| has_digit(word.text))? + 1;
    is_label(&words[end..=colon]).then(|| words.split_at(end))
}

/// A field, where the words are a value.
fn named<'a>(label: &[Word<'a>], words: &[Word<'a>], longest: [usize; 2], segment: usize) -> Option<Candidate<'a>> {
    let (value, text) = value(words, longest)?;
    Some(Candidate {
        name: joined(label).trim_end_matches(':').trim_end().to_owned(),
        text,
        value: value.to_vec(),
        segment,
    })
}

/// A label and a value with nothing but a gap between them. Columns of text and of tables look alike, so the value must
/// be a number or the like, and not of a page.
fn parted_by_gap<'a>(label: &Segment<'a>, value: &Segment<'a>) -> Option<Candidate<'a>> {
    let in_flow = |segment: &Segment<'_>| matches!(segment.kind, BlockKind::Text | BlockKind::ListItem);
    let is_name =
        is_label(&label.words) && !label.words.iter().any(|word| has_digit(word.text) || word.text.ends_with('.'));
    let digits = value.words.iter().filter(|word| has_digit(word.text)).count();
    let is_page_number = matches!(&value.words[..], [only] if only.text.len() <= 3 && only.text.parse::<u32>().is_ok());
    if !(in_flow(label) && in_flow(value) && is_name) || digits * 2 < value.words.len() || is_page_number {
        return None;
    }
    named(&label.words, &value.words, BARE_VALUE, 0)
}

/// Whether words may name a value: few, of letters, the first of them no small one.
fn is_label(words: &[Word<'_>]) -> bool {
    let text = joined(words);
    let text = text.trim_end_matches(':').trim_end();
    let sign = |c: char| c.is_alphanumeric() || c.is_whitespace() || "-–/.,()&#'’°º№".contains(c);
    // `No.`, `Tel.`: a longer word with a full stop ends a sentence.
    let abbreviated = |word: &Word<'_>| !word.text.ends_with('.') || word.text.chars().count() <= 5;
    words.len() <= NAME[0]
        && text.chars().count() <= NAME[1]
        && text.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_lowercase())
        && text.chars().filter(|c| c.is_alphabetic()).count() >= 2
        && text.chars().all(sign)
        && !text.contains(", ")
        && words.iter().all(abbreviated)
}

/// The words of a value and its text; `None` for what is too long, or reads like a sentence. What follows a full stop
/// is no part of it.
fn value<'w, 'a>(words: &'w [Word<'a>], [most_words, most_chars]: [usize; 2]) -> Option<(&'w [Word<'a>], String)> {
    let end = (0..words.len()).find(|at| ends_sentence(words, *at)).map_or(words.len(), |at| at + 1);
    let words = &words[..end];
    let mut text = joined(words);
    if end > 0 && ends_sentence(words, end - 1) {
        text.pop();
    }
    let is_prose = words.len() > 2 && !has_digit(&text) && text.starts_with(char::is_lowercase)
        || words.len() > 4
            && !has_digit(&text)
            && words.last().is_some_and(|word| word.text.ends_with(['.', '!', '?']));
    let says_something = text.chars().any(char::is_alphanumeric);
    (says_something && !is_prose && words.len() <= most_words && text.chars().count() <= most_chars)
        .then_some((words, text))
}

/// Whether a full stop at a word ends a sentence, and is not that of `Dr.` or `17.`: the word is longer, and what
/// follows, if anything does, begins anew.
fn ends_sentence(words: &[Word<'_>], at: usize) -> bool {
    let long = words[at].text.strip_suffix('.').is_some_and(|stem| stem.chars().count() > 3 && !stem.ends_with('.'));
    let begins = |word: &Word<'_>| word.text.chars().next().is_some_and(char::is_uppercase);
    long && words.get(at + 1).is_none_or(begins)
}

fn has_digit(text: &str) -> bool {
    text.chars().any(char::is_numeric)
}

fn joined(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
}
