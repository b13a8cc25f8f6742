//! From PDFium's characters to words and lines.
//!
//! PDFium gives characters in the file's order and makes up spaces and line ends from their positions. It joins what
//! stands on one baseline even across columns, so lines are cut again where the gap is wide or the direction changes.

mod arabic;
mod spacing;

use unicode_normalization::UnicodeNormalization;

use deckle_contract::document::{Bbox, Line, Method, Word};

/// A wider gap than this, in font sizes, is a column's or a cell's, not a word's. Justified lines stay below 1.
const WIDEST_GAP: f32 = 1.5;

/// Baselines that differ by more than this, in font sizes, are two lines. Indices and exponents stay below.
const BASELINE_DRIFT: f32 = 0.7;

/// Overlap along a line beyond this, in font sizes, means that the text went back: a new line.
const LARGEST_STEP_BACK: f32 = 2.0;

/// One character with what the lines need of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    /// What it means; `None` when the file does not say.
    pub meaning: Option<char>,
    /// The box of its ink; `None` for white space and for what stands off the page.
    pub bbox: Option<Bbox>,
    /// Its box by the font's measures: as wide as its advance.
    pub cell: Option<Bbox>,
    /// Size in points as it stands on the page.
    pub font_size: f32,
    /// Whether its font is bold.
    pub bold: bool,
    /// Quarter turns clockwise in which it is written: 0 rightwards, 1 downwards, 2, 3 upwards.
    pub direction: u8,
}

/// Gathers glyphs into lines.
#[derive(Default)]
pub(super) struct Builder {
    lines: Vec<Line>,
    line: Vec<Measured>,
    word: Vec<Glyph>,
}

/// A finished word with its measures.
struct Measured {
    word: Word,
    font_size: f32,
    characters: usize,
    bold_characters: usize,
    direction: u8,
}

impl Builder {
    /// Takes the next glyph in the file's order.
    pub(super) fn push(&mut self, glyph: Glyph) {
        match glyph.meaning {
            Some('\r' | '\n' | '\u{2028}' | '\u{2029}') => self.end_line(),
            Some(c) if c.is_whitespace() => self.end_word(),
            _ => {
                if self.word.last().is_some_and(|last| last.direction != glyph.direction || is_apart(last, &glyph)) {
                    self.end_word();
                }
                self.word.push(glyph);
            }
        }
    }

    /// The lines.
    pub(super) fn finish(mut self) -> Vec<Line> {
        self.end_line();
        self.lines
    }

    fn end_word(&mut self) {
        let glyphs = std::mem::take(&mut self.word);
        for part in spacing::words(&glyphs) {
            self.add_word(part);
        }
    }

    fn add_word(&mut self, glyphs: &[Glyph]) {
        let Some(measured) = Measured::of(glyphs) else { return };
        if self.line.last().is_some_and(|last| breaks(last, &measured)) {
            self.take_line();
        }
        match self.line.last_mut() {
            Some(last) if arabic::starts_with_mark(&measured.word.text) => last.take(measured),
            _ => self.line.push(measured),
        }
    }

    fn end_line(&mut self) {
        self.end_word();
        self.take_line();
    }

    fn take_line(&mut self) {
        let mut words = std::mem::take(&mut self.line);
        if let [first, _, ..] = &mut words[..]
            && is_sign_of_symbol_font(&first.word.text)
        {
            "•".clone_into(&mut first.word.text);
        }
        let Some(bbox) = Bbox::around(words.iter().map(|w| &w.word.bbox)) else { return };
        let characters: usize = words.iter().map(|w| w.characters).sum();
        let bold: usize = words.iter().map(|w| w.bold_characters).sum();
        let mut sizes: Vec<(f32, usize)> = words.iter().map(|w| (w.font_size, w.characters)).collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut seen = 0;
        let median = sizes.iter().find(|(_, n)| {
            seen += n;
            seen * 2 >= characters
        });
        self.lines.push(Line {
            text: words.iter().map(|w| w.word.text.as_str()).collect::<Vec<_>>().join(" "),
            bbox,
            polygon: None,
            confidence: None,
            method: Method::TextLayer,
            font_size: median.map(|(size, _)| *size),
            bold: bold * 2 > characters,
            words: words.into_iter().map(|w| w.word).collect(),
        });
    }
}

impl Measured {
    fn of(glyphs: &[Glyph]) -> Option<Self> {
        let bbox = Bbox::around(glyphs.iter().filter_map(|g| g.bbox.as_ref()))?;
        let meanings = arabic::in_order(glyphs);
        let text: String = meanings.into_iter().flat_map(plain).nfc().collect();
        let text = text.trim().to_owned();
        if text.is_empty() {
            return None;
        }
        let first = glyphs.first()?;
        let largest = glyphs.iter().map(|g| g.font_size).fold(0.0, f32::max);
        Some(Self {
            characters: text.chars().count(),
            bold_characters: glyphs.iter().filter(|g| g.bold).count(),
            word: Word { text, bbox, confidence: None },
            font_size: largest,
            direction: first.direction,
        })
    }

    /// Takes in a word that belongs to this one.
    fn take(&mut self, next: Self) {
        self.word.text = arabic::joined(&self.word.text, &next.word.text);
        self.word.bbox = self.word.bbox.union(&next.word.bbox);
        self.characters += next.characters;
        self.bold_characters += next.bold_characters;
        self.font_size = self.font_size.max(next.font_size);
    }
}

/// Presentation forms become the letters that they are (ﬁ is fi); soft hyphens, zero-width marks and PDFium's mark for
/// a hyphen at a line's end go or become a hyphen.
fn plain(c: char) -> Vec<char> {
    match c {
        '\u{FB00}'..='\u{FB06}' | '\u{FB13}'..='\u{FB17}' | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' => {
            std::iter::once(c).nfkc().collect()
        }
        '\u{2}' | '\u{FFFE}' | '\u{AD}' => vec!['-'],
        '\u{FEFF}' | '\u{200B}' | '\u{2060}' => Vec::new(),
        '\u{E000}'..='\u{F8FF}' => vec![symbol(c)],
        c if c.is_control() => Vec::new(),
        c => vec![c],
    }
}

/// What programs mean by characters of private use, where it is known: the pieces of large brackets of Adobe's Symbol
/// (Adobe Glyph List, "corporate use"), and the bullets of the symbol fonts whose signs Windows puts at U+F020 and on.
fn symbol(c: char) -> char {
    const BRACKETS: [char; 20] =
        ['⎛', '⎜', '⎝', '⎡', '⎢', '⎣', '⎧', '⎨', '⎩', '⎪', '⎮', '⎞', '⎟', '⎠', '⎤', '⎥', '⎦', '⎫', '⎬', '⎭'];
    match c {
        '\u{F8EB}'..='\u{F8FE}' => BRACKETS[(c as usize) - 0xF8EB],
        '\u{F8E8}' => '®',
        '\u{F8E9}' => '©',
        '\u{F8EA}' => '™',
        '\u{F0B7}' => '•',
        '\u{F0A7}' => '▪',
        '\u{F0D8}' => '➢',
        '\u{F0FC}' => '✓',
        other => other,
    }
}

/// Whether a word is one sign of a symbol font that nobody knows: in front of a line that is a bullet of some shape.
fn is_sign_of_symbol_font(word: &str) -> bool {
    let mut signs = word.chars();
    signs.next().is_some_and(|sign| matches!(sign, '\u{F020}'..='\u{F0FF}')) && signs.next().is_none()
}

/// The stretch along the writing direction, from low to high, and the place across it.
fn along(bbox: &Bbox, direction: u8) -> (f32, f32) {
    if direction.is_multiple_of(2) { (bbox.left, bbox.right) } else { (bbox.top, bbox.bottom) }
}

fn across(bbox: &Bbox, direction: u8) -> (f32, f32) {
    along(bbox, direction + 1)
}

/// The distance between two stretches; negative when they overlap.
fn gap(a: (f32, f32), b: (f32, f32)) -> f32 {
    (b.0 - a.1).max(a.0 - b.1)
}

/// Whether two glyphs of one word stand too far apart to be one.
fn is_apart(last: &Glyph, next: &Glyph) -> bool {
    let (Some(a), Some(b)) = (&last.bbox, &next.bbox) else { return false };
    let size = last.font_size.max(next.font_size).max(1.0);
    gap(along(a, next.direction), along(b, next.direction)) > size * WIDEST_GAP
        || gap(across(a, next.direction), across(b, next.direction)) > size * BASELINE_DRIFT
}

/// Whether a word begins a new line.
fn breaks(last: &Measured, next: &Measured) -> bool {
    if last.direction != next.direction {
        return true;
    }
    let (a, b) = (&last.word.bbox, &next.word.bbox);
    let size = last.font_size.max(next.font_size).max(1.0);
    let (a_across, b_across) = (across(a, next.direction), across(b, next.direction));
    let distance = gap(along(a, next.direction), along(b, next.direction));
    let apart_across = gap(a_across, b_across) > 0.0
        && ((a_across.0 + a_across.1) - (b_across.0 + b_across.1)).abs() / 2.0 > size * BASELINE_DRIFT;
    distance > size * WIDEST_GAP || apart_across || -distance > size * LARGEST_STEP_BACK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glyph(c: char, left: f32, top: f32) -> Glyph {
        let bbox = (!c.is_whitespace()).then_some(Bbox { left, top, right: left + 5.0, bottom: top + 8.0 });
        Glyph { meaning: Some(c), bbox, cell: bbox, font_size: 10.0, bold: false, direction: 0 }
    }

    fn written(glyphs: impl IntoIterator<Item = Glyph>) -> Vec<String> {
        let mut builder = Builder::default();
        glyphs.into_iter().for_each(|g| builder.push(g));
        builder.finish().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_wide_gap_ends_the_line_and_a_space_does_not() {
        let text = [glyph('a', 0.0, 0.0), glyph(' ', 5.0, 0.0), glyph('b', 9.0, 0.0), glyph('c', 60.0, 0.0)];
        assert_eq!(written(text), ["a b", "c"]);
    }

    #[test]
    fn an_exponent_stays_in_its_line_and_the_next_line_does_not() {
        let text = [glyph('x', 0.0, 10.0), glyph('2', 5.0, 5.0), glyph(' ', 0.0, 0.0), glyph('y', 0.0, 24.0)];
        assert_eq!(written(text), ["x2", "y"]);
    }

    #[test]
    fn marks_and_ligatures_become_letters() {
        let text = [glyph('\u{FB01}', 0.0, 0.0), glyph('e', 5.0, 0.0), glyph('\u{301}', 6.0, 0.0)];
        assert_eq!(written(text), ["fié"]);
    }

    #[test]
    fn an_unknown_sign_before_a_line_is_a_bullet() {
        let line = [glyph('\u{F0B4}', 0.0, 0.0), glyph(' ', 5.0, 0.0), glyph('a', 9.0, 0.0)];
        assert_eq!(written(line), ["• a"]);
        assert_eq!(written([glyph('\u{F0B4}', 0.0, 0.0)]), ["\u{F0B4}"]);
    }

    #[test]
    fn characters_of_private_use_are_told_where_their_meaning_is_known() {
        let signs = "\u{F0B7}\u{F8EB}\u{F8FE}\u{F8F3}\u{F0DB}";
        let text = signs.chars().zip(0_u8..).map(|(c, at)| glyph(c, f32::from(at) * 5.0, 0.0));
        assert_eq!(written(text), ["•⎛⎭⎩\u{F0DB}"]);
    }
}
