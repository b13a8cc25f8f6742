//! Where found text and truth differ, for people to see. It measures nothing: figures come from distances, not from
//! this alignment.

use std::time::{Duration, Instant};

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::{found::FoundWord, text};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// On both sides.
    Same,
    /// In the truth only.
    Missing,
    /// Found only.
    Extra,
}

/// A piece of text, spaces and line ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// Words that differ more than this are shown as a whole, since letters in common would be chance.
const ALIKE: f64 = 0.6;
/// After so long the rest is shown as replaced.
const PATIENCE: Duration = Duration::from_millis(500);

/// The spans of one text, line ends as found.
pub fn spans(truth: &[String], found: &[FoundWord]) -> Vec<Span> {
    let texts: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
    let truth: Vec<&str> = truth.iter().map(String::as_str).collect();
    let mut spans = Spans(Vec::new());
    for operation in aligned(&truth, &texts) {
        let (old, new) = (operation.old_range(), operation.new_range());
        let (missing, extra) = (&truth[old], &found[new]);
        match operation {
            DiffOp::Equal { .. } => spans.words(Kind::Same, extra),
            DiffOp::Delete { .. } => spans.push(Kind::Missing, &format!("{} ", missing.join(" "))),
            DiffOp::Insert { .. } => spans.words(Kind::Extra, extra),
            DiffOp::Replace { .. } => spans.replaced(&missing.join(" "), extra),
        }
    }
    spans.0
}

fn aligned<T: std::hash::Hash + Eq + Ord>(truth: &[T], found: &[T]) -> Vec<DiffOp> {
    capture_diff_slices_deadline(Algorithm::Myers, truth, found, Some(Instant::now() + PATIENCE))
}

struct Spans(Vec<Span>);

impl Spans {
    fn push(&mut self, kind: Kind, text: &str) {
        match self.0.last_mut() {
            Some(last) if last.kind == kind => last.text.push_str(text),
            _ => self.0.push(Span { kind, text: text.to_owned() }),
        }
    }

    fn words(&mut self, kind: Kind, words: &[FoundWord]) {
        for word in words {
            self.push(kind, &word.text);
            self.push(kind, after(word));
        }
    }

    /// Words that take the place of others, letter by letter where they are alike.
    fn replaced(&mut self, missing: &str, extra: &[FoundWord]) {
        let joined = extra.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        if text::unlikeness(missing, &joined) > ALIKE {
            self.push(Kind::Missing, &format!("{missing} "));
            self.words(Kind::Extra, extra);
            return;
        }
        let (old, new): (Vec<char>, Vec<char>) = (missing.chars().collect(), joined.chars().collect());
        for operation in aligned(&old, &new) {
            let gone: String = old[operation.old_range()].iter().collect();
            let come: String = new[operation.new_range()].iter().collect();
            match operation {
                DiffOp::Equal { .. } => self.push(Kind::Same, &come),
                DiffOp::Delete { .. } => self.push(Kind::Missing, &gone),
                DiffOp::Insert { .. } => self.push(Kind::Extra, &come),
                DiffOp::Replace { .. } => {
                    self.push(Kind::Missing, &gone);
                    self.push(Kind::Extra, &come);
                }
            }
        }
        self.push(Kind::Same, extra.last().map_or(" ", after));
    }
}

fn after(word: &FoundWord) -> &'static str {
    if word.ends_line { "\n" } else { " " }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<FoundWord> {
        let word = |text: &str| FoundWord { text: text.to_owned(), bbox: None, confidence: None, ends_line: false };
        text.split_whitespace().map(word).collect()
    }

    fn shown(truth: &str, text: &str) -> String {
        let spans = spans(&text::words(truth), &found(text));
        let mark = |span: &Span| match span.kind {
            Kind::Same => span.text.clone(),
            Kind::Missing => format!("[-{}-]", span.text),
            Kind::Extra => format!("{{+{}+}}", span.text),
        };
        spans.iter().map(mark).collect()
    }

    #[test]
    fn differences_are_shown_where_they_are() {
        assert_eq!(shown("the quick fox", "the quick fox"), "the quick fox ");
        assert_eq!(shown("the quick fox", "the fox"), "the [-quick -]fox ");
        assert_eq!(shown("the fox", "the red fox"), "the {+red +}fox ");
        assert_eq!(shown("the quick fox", "the qvick fox"), "the q[-u-]{+v+}ick fox ");
        assert_eq!(shown("the quick fox", "the 47 fox"), "the [-quick -]{+47 +}fox ");
    }

    #[test]
    fn both_sides_can_be_read_from_it() {
        let (truth, text) = ("one two three four", "one tow four five");
        let spans = spans(&text::words(truth), &found(text));
        let side = |without: Kind| -> String {
            spans.iter().filter(|span| span.kind != without).map(|span| span.text.as_str()).collect()
        };
        assert_eq!(text::normalised(&side(Kind::Extra)), truth);
        assert_eq!(text::normalised(&side(Kind::Missing)), text);
    }
}
