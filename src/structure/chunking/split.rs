//! Cutting one text that is longer than the limit: between sentences, then words, then characters.

use deckle_contract::{checkpoint::Checkpoint, error::Result};
use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

/// Counts a piece without the special tokens that every count contains.
struct Sizer<'a> {
    count: &'a dyn Fn(&str) -> usize,
    base: usize,
}

impl ChunkSizer for Sizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        (self.count)(chunk).saturating_sub(self.base)
    }
}

/// Cuts `text` into pieces of which each passes `fits`. Cuts where `text-splitter` would for `budget` tokens above
/// `base`; a piece that still does not fit, because tokens do not add up, is halved. White space at the ends of
/// pieces is dropped, nothing else. A single character that does not fit stays alone as it is.
pub(super) fn split(
    text: &str,
    budget: usize,
    base: usize,
    count: &dyn Fn(&str) -> usize,
    fits: &dyn Fn(&str) -> bool,
    checkpoint: Checkpoint<'_>,
) -> Result<Vec<String>> {
    let mut pieces = Vec::new();
    for window in windows(text) {
        checkpoint.pass()?;
        let splitter = TextSplitter::new(ChunkConfig::new(budget.max(1)).with_sizer(Sizer { count, base }));
        for piece in splitter.chunks(window) {
            halve(piece, fits, &mut pieces);
        }
    }
    Ok(pieces)
}

/// The longest text, in bytes, that is given to the splitter at once: it looks at all of the rest for every piece.
const WINDOW: usize = 16 * 1024;

/// Windows of about [`WINDOW`] bytes that end after a sentence, else between words where possible.
fn windows(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        if end > WINDOW {
            end = rest.floor_char_boundary(WINDOW);
            let second_half = &rest[rest.floor_char_boundary(WINDOW / 2)..end];
            let cut = second_half
                .rfind(". ")
                .or_else(|| second_half.rfind(char::is_whitespace))
                .map(|at| end - second_half.len() + at + second_half[at..].chars().next().map_or(0, char::len_utf8));
            end = cut.unwrap_or(end);
        }
        let (window, after) = rest.split_at(end);
        rest = after;
        Some(window)
    })
}

fn halve(piece: &str, fits: &dyn Fn(&str) -> bool, pieces: &mut Vec<String>) {
    let piece = piece.trim();
    if piece.is_empty() {
        return;
    }
    let middle = piece.floor_char_boundary(piece.len() / 2);
    if fits(piece) || piece.chars().nth(1).is_none() {
        pieces.push(piece.to_owned());
        return;
    }
    let middle = match piece[..middle].rfind(char::is_whitespace) {
        Some(at) if at > 0 => at,
        _ if middle > 0 => middle,
        _ => piece.chars().next().map_or(piece.len(), char::len_utf8),
    };
    halve(&piece[..middle], fits, pieces);
    halve(&piece[middle..], fits, pieces);
}

/// The longest beginning of `text` in whole words (else characters) with at most `budget` tokens above `base`; at most
/// about 20 counts.
pub(super) fn cut(text: &str, budget: usize, base: usize, count: &dyn Fn(&str) -> usize) -> String {
    // No tokenizer makes fewer tokens than one for 64 bytes of words that anybody would put into a heading.
    let text = &text[..text.floor_char_boundary(budget.saturating_mul(64))];
    let ends = |at_words: bool| -> Vec<usize> {
        text.char_indices()
            .filter(|(_, c)| !at_words || c.is_whitespace())
            .map(|(at, _)| at)
            .chain([text.len()])
            .collect()
    };
    for at_words in [true, false] {
        let ends = ends(at_words);
        let fitting = ends.partition_point(|end| count(&text[..*end]).saturating_sub(base) <= budget);
        if let Some(end) = fitting.checked_sub(1).map(|last| ends[last]).filter(|end| *end > 0) {
            return text[..end].trim_end().to_owned();
        }
    }
    String::new()
}
