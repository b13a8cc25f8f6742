//! One document against its truth: the figures, and what a report shows of the errors.
//!
//! The law: a document that failed is compared as if it were empty, so that its whole truth is lost.
//!
//! Text whose pieces have places (FUNSD, SROIE) has no order that could be right or wrong: each word found goes to the
//! piece that its centre lies in, pieces are compared one by one, and words outside of all are too much.

use super::{
    boxes::{self, Placed},
    calibration::Calibration,
    diff::{self, Span},
    found::{Found, FoundPage, FoundWord},
    measure::{Measure, Ratio, Scores},
    tables::{self, PlacedTable},
    text,
    truth::{Frame, Place, Text, Truth, Unit},
    words,
};

/// The result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Figures that the truth allows.
    pub scores: Scores,
    /// Differences of the text, by pages where these are known on both sides.
    pub passages: Vec<Passage>,
    /// For each word found, page by page, whether the truth has it. Empty where the truth has no text.
    pub is_right: Vec<Vec<bool>>,
    /// Confidence against error.
    pub calibration: Calibration,
    /// Boxes of the truth in points, and of what they are.
    pub boxes: Option<(Unit, Vec<Placed>)>,
    /// Tables of the truth, in points.
    pub tables: Vec<PlacedTable>,
    /// Whether the truth tells header rows from others.
    pub has_headers: bool,
}

/// Differences of one page, or of all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passage {
    /// The page; `None` for all.
    pub page_no: Option<u32>,
    /// What was found and what is missing.
    pub spans: Vec<Span>,
}

/// Compares what was found in a document with its truth.
pub fn compare(truth: &Truth, found: &Found) -> Comparison {
    let mut result = Comparison::default();
    match &truth.text {
        Some(Text::Printed(pages)) => running(pages, found, |page| page.words.clone(), &mut result),
        Some(Text::Flowing(pages)) => running(pages, found, flowing_words, &mut result),
        Some(Text::Placed(pieces)) => placed(pieces, truth.frame, found, &mut result),
        None => {}
    }
    if let Some(of) = &truth.boxes {
        let places: Vec<Placed> = of.places.iter().map(|place| found.placed(place, truth.frame)).collect();
        boxes::score(&found.boxes(of.of), &places, &mut result.scores);
        result.boxes = Some((of.of, places));
    }
    if let Some(of) = &truth.tables {
        result.has_headers = of.has_headers;
        result.tables = of.tables.iter().map(|table| moved(table, truth.frame, found)).collect();
        tables::score(&found.tables(), &result.tables, of.has_headers, &mut result.scores);
    }
    result
}

fn moved(table: &PlacedTable, frame: Frame, found: &Found) -> PlacedTable {
    let place = table.place.map(|place| found.placed(&Place { page_no: place.page_no, bbox: place.bbox }, frame));
    PlacedTable { place, ..table.clone() }
}

fn flowing_words(page: &FoundPage) -> Vec<FoundWord> {
    let of_line = |line: &str| {
        let word = |text: String| FoundWord { text, bbox: None, confidence: None, ends_line: false };
        let mut words: Vec<FoundWord> = text::words(line).into_iter().map(word).collect();
        if let Some(last) = words.last_mut() {
            last.ends_line = true;
        }
        words
    };
    page.flowing.lines().flat_map(of_line).collect()
}

fn running(pages: &[String], found: &Found, words_of: impl Fn(&FoundPage) -> Vec<FoundWord>, result: &mut Comparison) {
    let truth: Vec<Vec<String>> = pages.iter().map(|page| text::words(page)).collect();
    let read: Vec<Vec<FoundWord>> = found.pages.iter().map(words_of).collect();
    let (all_truth, all_read): (Vec<String>, Vec<FoundWord>) = (truth.concat(), read.concat());
    let texts = texts(&all_read);
    result.scores.set(Measure::Cer, text::cer(&texts.join(" "), &all_truth.join(" ")));
    result.scores.set(Measure::Wer, text::wer(&texts, &all_truth));
    result.scores.set(Measure::BagF1, words::bag_f1(&texts, &all_truth));
    judge(found, &all_truth, result);
    if truth.len() == read.len() && read.len() > 1 {
        for ((page, truth), read) in found.pages.iter().zip(&truth).zip(&read) {
            result.passages.push(Passage { page_no: page.page_no, spans: diff::spans(truth, read) });
        }
    } else {
        result.passages.push(Passage { page_no: None, spans: diff::spans(&all_truth, &all_read) });
    }
}

fn texts(words: &[FoundWord]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

/// Which words as printed the truth has, and what their confidence says.
fn judge(found: &Found, truth: &[String], result: &mut Comparison) {
    let printed: Vec<FoundWord> = found.words().cloned().collect();
    let mut is_right = words::in_bag(&texts(&printed), truth).into_iter();
    for page in &found.pages {
        let of_page: Vec<bool> = is_right.by_ref().take(page.words.len()).collect();
        for (word, is_right) in page.words.iter().zip(&of_page) {
            if let Some(confidence) = word.confidence {
                result.calibration.add(confidence, *is_right);
            }
        }
        result.is_right.push(of_page);
    }
}

fn placed(pieces: &[(Place, String)], frame: Frame, found: &Found, result: &mut Comparison) {
    let places: Vec<Placed> = pieces.iter().map(|(place, _)| found.placed(place, frame)).collect();
    let truth: Vec<Vec<String>> = pieces.iter().map(|(_, text)| text::words(text)).collect();
    let (mut inside, mut outside) = (vec![Vec::new(); pieces.len()], Vec::new());
    for page in &found.pages {
        for word in &page.words {
            match home(word, page.page_no, &places) {
                Some(piece) => inside[piece].push(word.clone()),
                None => outside.push(word.clone()),
            }
        }
    }
    let (mut cer, mut wer) = (Ratio::default(), Ratio::default());
    let mut spans: Vec<Span> = Vec::new();
    for (truth, words) in truth.iter().zip(&mut inside) {
        let texts = texts(words);
        cer += text::cer(&texts.join(" "), &truth.join(" "));
        wer += text::wer(&texts, truth);
        if let Some(last) = words.last_mut() {
            last.ends_line = true;
        }
        spans.extend(diff::spans(truth, words));
        // Pieces stand on lines of their own, those that were missed too.
        if let Some(last) = spans.last_mut().filter(|last| !last.text.ends_with('\n')) {
            last.text.push('\n');
        }
    }
    let too_much = texts(&outside);
    cer.part += too_much.iter().map(|word| word.chars().count() as f64).sum::<f64>();
    wer.part += too_much.len() as f64;
    spans.extend(diff::spans(&[], &outside));
    let all_truth = truth.concat();
    let all_read: Vec<String> = found.words().map(|word| word.text.clone()).collect();
    result.scores.set(Measure::Cer, cer);
    result.scores.set(Measure::Wer, wer);
    result.scores.set(Measure::BagF1, words::bag_f1(&all_read, &all_truth));
    judge(found, &all_truth, result);
    result.passages.push(Passage { page_no: None, spans });
}

/// The smallest piece on the page that the centre of a word lies in.
fn home(word: &FoundWord, page_no: Option<u32>, places: &[Placed]) -> Option<usize> {
    let bbox = word.bbox?;
    let (x, y) = ((bbox.left + bbox.right) / 2.0, (bbox.top + bbox.bottom) / 2.0);
    let is_inside = |place: &Placed| {
        let around = &place.bbox;
        Some(place.page_no) == page_no
            && (around.left..=around.right).contains(&x)
            && (around.top..=around.bottom).contains(&y)
    };
    let homes = places.iter().enumerate().filter(|(_, place)| is_inside(place));
    homes.min_by(|(_, one), (_, other)| one.bbox.area().total_cmp(&other.bbox.area())).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Boxes;
    use deckle_contract::document::Bbox;

    fn bbox(left: f32, top: f32, right: f32, bottom: f32) -> Bbox {
        Bbox { left, top, right, bottom }
    }

    fn word(text: &str, at: Bbox, confidence: f32) -> FoundWord {
        FoundWord { text: text.to_owned(), bbox: Some(at), confidence: Some(confidence), ends_line: false }
    }

    fn page(page_no: u32, words: Vec<FoundWord>) -> FoundPage {
        FoundPage { page_no: Some(page_no), words, ..FoundPage::default() }
    }

    fn printed(pages: &[&str]) -> Truth {
        let pages = pages.iter().map(|page| (*page).to_owned()).collect();
        Truth { text: Some(Text::Printed(pages)), ..Truth::default() }
    }

    #[test]
    fn what_failed_loses_its_whole_truth() {
        let place = Place { page_no: 1, bbox: bbox(0.0, 0.0, 9.0, 9.0) };
        let boxes = Some(Boxes { of: Unit::Line, places: vec![place] });
        let lost = compare(&Truth { boxes, ..printed(&["all of this"]) }, &Found::default());
        assert_eq!(lost.scores.get(Measure::Cer), Some(Ratio::of(11, 11)));
        assert_eq!(lost.scores.value(Measure::Wer), Some(1.0));
        for measure in [Measure::BagF1, Measure::BoxF1, Measure::BoxRecall] {
            assert_eq!(lost.scores.value(measure), Some(0.0), "{measure:?}");
        }
        assert_eq!(lost.scores.value(Measure::Iou), None, "no pair has any");
    }

    #[test]
    fn pages_are_shown_one_by_one_where_both_sides_know_them() {
        let at = bbox(0.0, 0.0, 1.0, 1.0);
        let found = Found {
            pages: vec![page(1, vec![word("one", at, 0.95)]), page(2, vec![word("tvo", at, 0.35)])],
            ..Found::default()
        };
        let both = compare(&printed(&["one", "two"]), &found);
        assert_eq!(both.passages.iter().map(|passage| passage.page_no).collect::<Vec<_>>(), [Some(1), Some(2)]);
        assert_eq!(both.scores.get(Measure::Cer), Some(Ratio::of(1, 7)), "a space stands between pages");
        assert_eq!(both.is_right, [[true], [false]]);
        assert_eq!((both.calibration.bins[9].right, both.calibration.bins[3].right), (1, 0));
        assert_eq!(compare(&printed(&["one two"]), &found).passages.len(), 1);
    }

    #[test]
    fn placed_text_has_no_order_and_what_lies_elsewhere_is_too_much() {
        let place = |top| Place { page_no: 1, bbox: bbox(0.0, top, 100.0, top + 10.0) };
        let pieces = vec![(place(0.0), "Total 9.00".to_owned()), (place(20.0), "Cash".to_owned())];
        let truth = Truth { text: Some(Text::Placed(pieces)), frame: Frame::Pixels, ..Truth::default() };
        let words = vec![
            word("Cash", bbox(0.0, 21.0, 30.0, 29.0), 0.9),
            word("Total", bbox(0.0, 1.0, 30.0, 9.0), 0.9),
            word("9.00", bbox(40.0, 1.0, 60.0, 9.0), 0.9),
        ];
        let found = |words: Vec<FoundWord>| Found { pages: vec![page(1, words)], ..Found::default() };
        let result = compare(&truth, &found(words.clone()));
        assert_eq!(result.scores.get(Measure::Cer), Some(Ratio::of(0, 14)));
        let stray = [words, vec![word("xyz", bbox(0.0, 80.0, 9.0, 89.0), 0.9)]].concat();
        let result = compare(&truth, &found(stray));
        assert_eq!(result.scores.get(Measure::Cer), Some(Ratio::of(3, 14)));
        assert_eq!(result.scores.get(Measure::Wer), Some(Ratio::of(1, 3)));
    }
}
