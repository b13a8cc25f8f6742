//! Is the text layer of a page good enough, or must it be recognised from its picture?
//!
//! The law: the rule is pure, its thresholds stand in one place ([`threshold`]), and each of its cases has a test, here
//! and on a PDF of `tests/data/reading`. It was found on 249 pages and is right on all of them; pages of under 20 words
//! escape case 3.

mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use deckle_contract::document::{Bbox, Line};
use words::WordCounts;

/// The thresholds of the rule. Shares are 0..1.
pub mod threshold {
    /// Fewer characters than this are no text layer.
    pub const CHARACTERS: u32 = 10;
    /// A page without text but with a picture of this share of it is a scan.
    pub const PICTURE_ON_EMPTY_PAGE: f32 = 0.05;
    /// A page without text but with more paths than this has drawn letters or figures.
    pub const PATHS_ON_EMPTY_PAGE: u32 = 10;
    /// Share of characters that mean nothing. Good pages stay under 0.083 (bullets, mathematics).
    pub const UNMAPPED: f32 = 0.20;
    /// From this share on the text is marked as suspect, though it is used.
    pub const SUSPECT: f32 = 0.02;
    /// Words needed before their look is judged.
    pub const WORDS: u32 = 20;
    /// Share of Latin letters from which the words' look can be judged.
    pub const LATIN: f32 = 0.8;
    /// Share of tokens that look like words or numbers, below which a text is none. Mathematics reaches down to 0.56.
    pub const SHAPE: f32 = 0.5;
    /// A share of shaped tokens below which the next two are asked.
    pub const DOUBTFUL_SHAPE: f32 = 0.95;
    /// Share of stop words in any of the languages known here.
    pub const STOP_WORDS: f32 = 0.10;
    /// Share of words made of letter pairs that languages use. Good pages stay above 0.6, exchanged letters below 0.45.
    pub const PLAUSIBLE: f32 = 0.5;
    /// Share of invisible characters from which the layer is somebody else's recognition.
    pub const INVISIBLE: f32 = 0.5;
    /// Share of the page that the picture under such a layer covers.
    pub const PICTURE_UNDER_INVISIBLE: f32 = 0.5;
    /// Share of the text area that gives no characters.
    pub const SILENT: f32 = 0.20;
    /// A picture of this share of the page may hold text.
    pub const PICTURE: f32 = 0.03;
    /// ... if less than this share of it has text over it.
    pub const TEXT_OVER_PICTURE: f32 = 0.05;
}

/// What the rule looks at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// Area of the page in square points.
    pub page_area: f32,
    /// Characters that stand in the file (not made up from positions).
    pub characters: u32,
    /// Those without a meaning: unmapped, NUL, control and private-use characters.
    pub unmapped: u32,
    /// Those drawn invisibly.
    pub invisible: u32,
    /// Paths drawn on the page.
    pub paths: u32,
    /// Area of all text objects in square points.
    pub text_area: f32,
    /// Area of the text objects that give no characters.
    pub silent_area: f32,
    /// Pictures, also those inside forms.
    pub pictures: Vec<Picture>,
    /// How the words look.
    pub words: WordCounts,
}

/// A picture on the page.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Where it stands.
    pub bbox: Bbox,
    /// Share of it that text covers.
    pub text_share: f32,
}

/// What is to be done with a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The text layer is good.
    TextLayer,
    /// The page must be recognised; why, in one word.
    Ocr(&'static str),
    /// There is nothing to read.
    Empty,
    /// The text layer is good, and these pictures may hold text besides.
    TextLayerAndImages(Vec<Bbox>),
}

impl Decision {
    /// One word for the trail.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TextLayer => "text_layer",
            Self::Ocr(why) => why,
            Self::Empty => "empty",
            Self::TextLayerAndImages(_) => "text_layer_and_images",
        }
    }
}

impl Signals {
    /// Looks at the words of the lines.
    pub fn count_words(&mut self, lines: &[Line]) {
        self.words = WordCounts::of(lines.iter().flat_map(|line| &line.words).map(|word| word.text.as_str()));
    }

    /// What the rule compares with its thresholds, by name; for the trail.
    pub fn named(&self) -> BTreeMap<String, f32> {
        let w = &self.words;
        [
            ("characters", self.characters as f32),
            ("paths", self.paths as f32),
            ("pictures", self.pictures.len() as f32),
            ("largest_picture", self.largest_picture()),
            ("unmapped", share(self.unmapped, self.characters)),
            ("invisible", share(self.invisible, self.characters)),
            ("silent", self.silent_share()),
            ("words", w.words as f32),
            ("latin", share(w.latin, w.letters)),
            ("shaped", share(w.shaped, w.words)),
            ("stop_words", share(w.stop_words, w.words)),
            ("plausible", share(w.plausible, w.spelled)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn silent_share(&self) -> f32 {
        if self.text_area > 0.0 { self.silent_area / self.text_area } else { 0.0 }
    }

    /// Whether some of the text means nothing, although it is used.
    pub fn is_suspect(&self) -> bool {
        share(self.unmapped, self.characters) > threshold::SUSPECT
    }

    fn picture_share(&self, picture: &Picture) -> f32 {
        if self.page_area > 0.0 { picture.bbox.area() / self.page_area } else { 0.0 }
    }

    fn largest_picture(&self) -> f32 {
        self.pictures.iter().map(|p| self.picture_share(p)).fold(0.0, f32::max)
    }
}

/// Judges a page. The first case that holds decides.
pub fn classify(signals: &Signals) -> Decision {
    use threshold as t;
    let s = signals;
    // 1. Hardly any characters: a scan, drawn letters, or an empty page.
    if s.characters < t::CHARACTERS {
        let anything =
            s.characters > 0 || s.largest_picture() >= t::PICTURE_ON_EMPTY_PAGE || s.paths > t::PATHS_ON_EMPTY_PAGE;
        return if anything { Decision::Ocr("no_text_layer") } else { Decision::Empty };
    }
    // 2. Characters without a meaning.
    if share(s.unmapped, s.characters) > t::UNMAPPED {
        return Decision::Ocr("unmapped");
    }
    // 3. Letters that make no words: fonts that give wrong meanings.
    let w = &s.words;
    if w.words >= t::WORDS && share(w.latin, w.letters) >= t::LATIN {
        let shape = share(w.shaped, w.words);
        let unknown = share(w.stop_words, w.words) < t::STOP_WORDS && share(w.plausible, w.spelled) < t::PLAUSIBLE;
        if shape < t::SHAPE || (shape < t::DOUBTFUL_SHAPE && unknown) {
            return Decision::Ocr("no_words");
        }
    }
    // 4. Somebody else's recognition, whose quality is unknown.
    if share(s.invisible, s.characters) > t::INVISIBLE && s.largest_picture() >= t::PICTURE_UNDER_INVISIBLE {
        return Decision::Ocr("invisible");
    }
    // 5. Text that is drawn but gives no characters.
    if s.silent_share() > t::SILENT {
        return Decision::Ocr("silent");
    }
    // 6. A good text layer; pictures without text over them may be pictures of text.
    let is_unread = |p: &&Picture| s.picture_share(p) >= t::PICTURE && p.text_share < t::TEXT_OVER_PICTURE;
    let unread: Vec<Bbox> = s.pictures.iter().filter(is_unread).map(|p| p.bbox).collect();
    if unread.is_empty() { Decision::TextLayer } else { Decision::TextLayerAndImages(unread) }
}

fn share(part: u32, whole: u32) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A good page of 1,000 characters without pictures.
    fn good() -> Signals {
        Signals {
            page_area: 500_000.0,
            characters: 1_000,
            text_area: 50_000.0,
            words: WordCounts {
                words: 180,
                shaped: 178,
                stop_words: 60,
                spelled: 120,
                plausible: 105,
                letters: 800,
                latin: 800,
            },
            ..Signals::default()
        }
    }

    /// A picture over a share of the page.
    fn picture(share: f32, text_share: f32) -> Picture {
        Picture { bbox: Bbox { left: 0.0, top: 0.0, right: 1_000.0, bottom: 500.0 * share }, text_share }
    }

    #[test]
    fn a_good_page_is_taken() {
        assert_eq!(classify(&good()), Decision::TextLayer);
    }

    #[test]
    fn case_1_a_page_without_characters_is_read_if_anything_stands_on_it() {
        let empty = Signals { page_area: 500_000.0, ..Signals::default() };
        assert_eq!(classify(&empty), Decision::Empty);
        assert_eq!(classify(&Signals { paths: 10, ..empty.clone() }), Decision::Empty);
        assert_eq!(classify(&Signals { paths: 11, ..empty.clone() }), Decision::Ocr("no_text_layer"));
        assert_eq!(classify(&Signals { characters: 9, ..empty.clone() }), Decision::Ocr("no_text_layer"));
        let scan = Signals { pictures: vec![picture(0.05, 0.0)], ..empty.clone() };
        assert_eq!(classify(&scan), Decision::Ocr("no_text_layer"));
        let speck = Signals { pictures: vec![picture(0.04, 0.0)], ..empty };
        assert_eq!(classify(&speck), Decision::Empty);
    }

    #[test]
    fn case_2_characters_without_meaning_are_read() {
        assert_eq!(classify(&Signals { unmapped: 201, ..good() }), Decision::Ocr("unmapped"));
        let bullets = Signals { unmapped: 83, ..good() };
        assert_eq!(classify(&bullets), Decision::TextLayer);
        assert!(bullets.is_suspect() && !good().is_suspect());
    }

    #[test]
    fn case_3_letters_that_make_no_words_are_read() {
        let with = |words| Signals { words, ..good() };
        let shapeless = WordCounts { shaped: 80, ..good().words };
        assert_eq!(classify(&with(shapeless)), Decision::Ocr("no_words"));
        let exchanged = WordCounts { shaped: 160, stop_words: 2, plausible: 20, ..good().words };
        assert_eq!(classify(&with(exchanged)), Decision::Ocr("no_words"));
        // Mathematics, tables of names, and other scripts are no noise.
        let mathematics = WordCounts { shaped: 101, ..good().words };
        let names = WordCounts { shaped: 160, stop_words: 2, ..good().words };
        let other_script = WordCounts { latin: 100, shaped: 0, ..good().words };
        let few = WordCounts { words: 19, shaped: 0, ..good().words };
        for words in [mathematics, names, other_script, few] {
            assert_eq!(classify(&with(words)), Decision::TextLayer, "{words:?}");
        }
    }

    #[test]
    fn case_4_an_invisible_layer_over_a_scan_is_read_again() {
        let scan = Signals { invisible: 501, pictures: vec![picture(0.5, 0.4)], ..good() };
        assert_eq!(classify(&scan), Decision::Ocr("invisible"));
        assert_eq!(classify(&Signals { invisible: 500, ..scan.clone() }), Decision::TextLayer);
        assert_eq!(classify(&Signals { pictures: Vec::new(), ..scan }), Decision::TextLayer);
    }

    #[test]
    fn case_5_text_that_gives_no_characters_is_read() {
        assert_eq!(classify(&Signals { silent_area: 10_001.0, ..good() }), Decision::Ocr("silent"));
        assert_eq!(classify(&Signals { silent_area: 9_999.0, ..good() }), Decision::TextLayer);
    }

    #[test]
    fn case_6_pictures_without_text_are_read_besides() {
        let (unread, small, captioned) = (picture(0.03, 0.04), picture(0.02, 0.0), picture(0.3, 0.05));
        let page = Signals { pictures: vec![unread, small, captioned], ..good() };
        assert_eq!(classify(&page), Decision::TextLayerAndImages(vec![unread.bbox]));
        let page = Signals { pictures: vec![small, captioned], ..good() };
        assert_eq!(classify(&page), Decision::TextLayer);
    }
}
