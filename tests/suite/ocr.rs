//! Recognition with the real networks on the repository's own pictures. Needs `make setup`; without it these tests fail
//! and say so.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use deckle::{
    contract::record::Lane,
    imaging::{Channels, Pixmap},
    models::{
        inference::{Config, Precision, Tag, onnx, plan::Hardware},
        ppocr::{Reader, Readers, Reading, coverage::Script},
    },
};

/// Of tests/data/samples/letter.png, which was drawn at this resolution.
const DPI: f32 = 200.0;

const SENTENCES: [&str; 5] = [
    "Marguerite Oyelaran",
    "3 Chandler Street",
    "Your upright piano",
    "Thank you for letting me look at the piano in the boat hall. It is a better instrument",
    "The two visits together cost 140 pounds, and the heater 35. I could come on Tuesday",
];

async fn reader(script: Script, config: Config) -> Reader {
    let readers = Readers::new(onnx::home().join("models"), config);
    readers.get(script).await.unwrap_or_else(|error| panic!("OCR does not load ({error}): run `make setup`"))
}

fn letter() -> Pixmap {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/samples/letter.png");
    Pixmap::from_png(&std::fs::read(path).unwrap(), 10_000_000).unwrap()
}

async fn read(reader: &Reader, picture: Pixmap, tag: &str) -> Reading {
    let languages = ["en".to_owned()];
    reader.read(Arc::new(picture), DPI, &languages, Lane::Bulk, Tag::from(tag)).await.unwrap()
}

fn texts(reading: &Reading) -> Vec<&str> {
    reading.lines.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_page_is_read_exactly_and_its_words_have_boxes() {
    let reader = reader(Script::Latin, Config::default()).await;
    let reading = read(&reader, letter(), "letter").await;
    let found = texts(&reading);
    for sentence in SENTENCES {
        assert!(found.contains(&sentence), "{sentence}: {found:#?}");
    }
    assert!(reading.cpu_us > 0);
    for line in &reading.lines {
        let inside = line.bbox.left > 0.0 && line.bbox.right < 595.5 && line.bbox.top > 0.0 && line.bbox.bottom < 842.0;
        assert!(inside && line.polygon.is_none(), "{line:?}");
        assert_eq!(line.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "), line.text);
        let starts: Vec<f32> = line.words.iter().flat_map(|word| [word.bbox.left, word.bbox.right]).collect();
        assert!(starts.is_sorted(), "words stand beside each other: {line:?}");
        assert!(line.confidence.is_some_and(|confidence| confidence > 0.8), "{line:?}");
        // Printed in 10 and 13 points.
        assert!(line.font_size.is_some_and(|size| (6.0..16.0).contains(&size)), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_runs_up_or_down_is_read_and_so_is_a_lone_digit() {
    let reader = reader(Script::Latin, Config::default()).await;
    let letter = letter();
    // The line of the date, 2 February 2026, and its first digit alone.
    let reading = read(&reader, letter.clone(), "letter").await;
    let date = reading.lines.iter().find(|line| line.text == "2 February 2026").expect("the date is read");
    let pixel = |points: f32| (points * DPI / 72.0) as u32;
    let around = |bbox: deckle::contract::document::Bbox| {
        let margin = 30;
        letter.cut(
            pixel(bbox.left) - margin,
            pixel(bbox.top) - margin,
            pixel(bbox.width()) + 2 * margin,
            pixel(bbox.height()) + 2 * margin,
        )
    };
    for quarters in [1, 3] {
        let turned = read(&reader, around(date.bbox).turned(quarters), "turned").await;
        assert_eq!(texts(&turned), ["2 February 2026"], "turned by {quarters}");
    }
    let digit = read(&reader, around(date.words[0].bbox).cut(0, 0, 62, 90), "digit").await;
    assert_eq!(texts(&digit), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_two_documents_share_batches() {
    // What is left of a batch waits for company, longer than the other page can take to be looked at.
    let config = Config { max_delay_ms: 20_000, sessions: std::num::NonZeroUsize::new(1), ..Config::default() };
    let reader = reader(Script::Latin, config).await;
    let batches: Arc<Mutex<Vec<BTreeSet<String>>>> = Arc::default();
    let seen = Arc::clone(&batches);
    reader.observe(move |report| {
        seen.lock().unwrap().push(report.tags.iter().map(ToString::to_string).collect());
    });
    // Few and narrow lines: of many, the last of one page may leave no room for the first of the other.
    let head = letter().cut(0, 0, 900, 360);
    let (one, other) = tokio::join!(read(&reader, head.clone(), "one"), read(&reader, head, "other"));
    assert_eq!(texts(&one), texts(&other));
    assert!((1..=3).contains(&texts(&one).len()), "{one:?}");
    let batches = batches.lock().unwrap();
    assert!(batches.iter().any(|tags| tags.len() == 2), "no batch held lines of both: {batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_recogniser_reads_latin_letters_too_and_an_empty_picture_has_no_lines() {
    let reader = reader(Script::EastAsian, Config::default()).await;
    let head = read(&reader, letter().cut(0, 0, 900, 700), "head").await;
    assert!(texts(&head).contains(&"Piano tuner and repairer"), "{head:?}");
    for (width, height) in [(0, 0), (1, 1), (640, 480)] {
        let nothing = read(&reader, Pixmap::white(width, height, Channels::Rgb), "white").await;
        assert_eq!(nothing.lines, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_int8_a_clean_page_is_read_as_well_or_it_is_said_why_not() {
    let config = Config { precision: Precision::Int8, ..Config::default() };
    let reader = Readers::new(onnx::home().join("models"), config).get(Script::Latin).await;
    if !Hardware::detect().vnni {
        assert!(reader.is_err_and(|error| error.to_string().contains("has no VNNI")));
        return;
    }
    let reader = reader.unwrap();
    assert_eq!(reader.weights().map(|(name, _)| name), ["PP-OCRv6-small-det", "PP-OCRv6-small-rec-latin-int8"]);
    assert_eq!(reader.provider(), "openvino int8");
    let reading = read(&reader, letter(), "letter").await;
    for sentence in SENTENCES {
        assert!(texts(&reading).contains(&sentence), "{sentence}: {:#?}", texts(&reading));
    }
}

#[tokio::test]
async fn missing_weights_are_named_with_what_to_do() {
    let nowhere = PathBuf::from("no/such/folder");
    let readers = Readers::new(nowhere, Config::default());
    let failure = readers.get(Script::Latin).await.err().expect("there are no weights");
    let message = failure.to_string();
    assert!(message.contains("PP-OCRv6-small-det") && message.contains("make setup"), "{message}");
}
