//! Fields on lines as they are printed, and what must not be taken for one.

use proptest::prelude::*;

use super::*;
use crate::layout;
use deckle_contract::document::{BlockKind, Line, Word};

/// A line whose words are half as wide as they are high; `   ` is a gap of a column.
fn line(left: f32, top: f32, text: &str) -> Line {
    const SIZE: f32 = 10.0;
    let mut words = Vec::new();
    let mut x = left;
    for word in text.split(' ') {
        let width = word.chars().count() as f32 * SIZE * 0.5;
        if !word.is_empty() {
            let bbox = Bbox { left: x, top, right: x + width, bottom: top + SIZE * 1.15 };
            words.push(Word { text: word.to_owned(), bbox, confidence: None });
            x += width + SIZE * 0.3;
        } else {
            x += SIZE * 1.5;
        }
    }
    Line {
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        bbox: Bbox::around(words.iter().map(|word| &word.bbox)).unwrap_or_default(),
        polygon: None,
        words,
        confidence: None,
        method: Method::TextLayer,
        font_size: Some(SIZE),
        bold: false,
    }
}

fn page(page_no: u32, lines: Vec<Line>) -> Page {
    let mut page = Page {
        page_no,
        width: 600.0,
        height: 800.0,
        rotation: 0,
        dpi: None,
        image: None,
        method: Some(Method::TextLayer),
        decision: String::new(),
        lines,
        images: Vec::new(),
        ..Page::default()
    };
    layout::analyse(&mut page);
    page
}

/// Names and values on a page of these lines, from the top.
fn found(lines: &[&str]) -> Vec<(String, String)> {
    let lines = lines.iter().zip(0_u8..).map(|(text, at)| line(50.0, 100.0 + f32::from(at) * 14.0, text)).collect();
    pairs(&of_pages([&page(1, lines)]))
}

fn pairs(fields: &[Field]) -> Vec<(String, String)> {
    fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_label_with_a_colon_names_what_stands_behind_it() {
    for (text, name, value) in [
        ("Invoice number: 4711", "Invoice number", "4711"),
        ("Rechnungs-Nr.: INV-2024-001", "Rechnungs-Nr.", "INV-2024-001"),
        ("Date of invoice: 17 April 2026. Delivered on 15 April.", "Date of invoice", "17 April 2026"),
        ("Datum : 17. April 2026", "Datum", "17. April 2026"),
        ("Ansprechpartner: Frau Dr. Müller", "Ansprechpartner", "Frau Dr. Müller"),
        ("Tel.: 01632 960 144", "Tel.", "01632 960 144"),
        ("Numéro de TVA: FR 40 303 265 045", "Numéro de TVA", "FR 40 303 265 045"),
        ("発行日: 2026-04-17", "発行日", "2026-04-17"),
        ("Invoice number:        4711", "Invoice number", "4711"),
    ] {
        assert_eq!(found(&[text]), [pair(name, value)], "{text}");
    }
}

#[test]
fn several_on_a_line_are_told_apart_by_gaps_or_numbers() {
    let both = [pair("Invoice number", "4711"), pair("Date", "17 April 2026")];
    assert_eq!(found(&["Invoice number: 4711 Date: 17 April 2026"]), both);
    assert_eq!(found(&["Invoice number: 4711        Date: 17 April 2026"]), both);
    assert_eq!(found(&["Invoice number:        Date: 17 April 2026"]), both[1..]);
    // Whose word Halloran is cannot be known.
    assert_eq!(found(&["Name: Maria Halloran Date: 14 March 2026"]), []);
}

#[test]
fn a_gap_alone_parts_a_label_from_a_number() {
    assert_eq!(found(&["Invoice number          4711"]), [pair("Invoice number", "4711")]);
    assert_eq!(found(&["Total to pay          EUR 859.80"]), [pair("Total to pay", "EUR 859.80")]);
    for text in [
        "Keeping bees          12",
        "The quay was          built in 1874 as a store",
        "Oak plank, long          14          38.50",
        "Part          What to look for",
        "the museum          1996",
    ] {
        assert_eq!(found(&[text]), [], "{text}");
    }
}

#[test]
fn sentences_are_no_fields() {
    for lines in [
        &["We did three things: first we looked at the planks and the rails"][..],
        &["Yes: kitchen peelings, coffee grounds, egg shells, leaves."],
        &["Never: bindweed roots, not even dry ones."],
        &["Note: The ferry does not wait for anybody."],
        &["The ferry leaves at 10:30 and at 11:45"],
        &["See https://example.org/bread for more"],
        &["schrieben ins Gästebuch: Der Große Wagen"],
        &[
            "It was built as a rope store and served as a lifeboat station of the",
            "Harbour: Sixty years went by until anybody",
            "took it down.",
        ],
        &["Dear friends, one thing: 12 planks"],
    ] {
        assert_eq!(found(lines), [], "{lines:?}");
    }
}

#[test]
fn headings_and_code_name_no_values() {
    for kind in [BlockKind::Title, BlockKind::SectionHeader, BlockKind::Code] {
        let mut page = page(1, vec![line(50.0, 100.0, "Chapter 3: Bees 2026")]);
        page.blocks.iter_mut().for_each(|block| block.kind = kind);
        assert_eq!(of_pages([&page]), [], "{kind:?}");
    }
}

#[test]
fn a_field_tells_where_its_value_stands_and_how_sure_it_is() {
    let mut first = line(50.0, 100.0, "Total: 859.80 EUR");
    first.method = Method::Ocr;
    for (word, confidence) in first.words.iter_mut().zip([0.1, 0.9, 0.6]) {
        word.confidence = Some(confidence);
    }
    let value = Bbox::around(first.words[1..].iter().map(|word| &word.bbox)).unwrap();
    let fields = of_pages([&page(4, vec![first])]);
    assert_eq!(fields.len(), 1);
    let field = &fields[0];
    assert_eq!((field.field_no, field.method), (0, Method::Ocr));
    assert_eq!(field.prov, Some(Locator::on_page(4, value)));
    let confidence = field.confidence.unwrap();
    assert!((confidence - (0.9 * 6.0 + 0.6 * 3.0) / 9.0).abs() < 1e-6, "{confidence}");
}

#[test]
fn what_every_page_repeats_is_told_once_and_numbers_go_on() {
    let pages: Vec<Page> = (1..=3)
        .map(|page_no| {
            let own = format!("Page reading: {page_no}00");
            page(page_no, vec![line(50.0, 20.0, "IBAN: DE89 3704 0044"), line(50.0, 300.0, &own)])
        })
        .collect();
    let fields = of_pages(&pages);
    let values: Vec<_> = fields.iter().map(|field| (field.field_no, field.value.as_str())).collect();
    assert_eq!(values, [(0, "DE89 3704 0044"), (1, "100"), (2, "200"), (3, "300")]);
}

#[test]
fn a_row_of_fields_that_is_taken_for_a_caption_gives_them_all_the_same() {
    let captioned = |text: &str| {
        let mut page = page(1, vec![line(50.0, 100.0, text)]);
        page.blocks[0].kind = BlockKind::Caption;
        pairs(&of_pages([&page]))
    };
    assert_eq!(captioned("Date of invoice: 17 April 2026"), [pair("Date of invoice", "17 April 2026")]);
    assert_eq!(captioned("Table 1: 17 April 2026"), []);
}

#[test]
fn files_without_pages_have_fields_by_their_lines_and_tables() {
    let text = "Invoice number: 4711\nDate:\t17 April 2026\nTotal   859.80\nWith kind regards";
    let block = |kind: BlockKind, text: &str| -> Block {
        serde_json::from_value(serde_json::json!({ "kind": kind, "text": text, "method": "text_layer" })).unwrap()
    };
    let cell = |row: u32, column: u32, text: &str| {
        serde_json::json!({ "row_index": row, "column_index": column, "row_span": 1, "column_span": 1, "header": false,
                            "text": text })
    };
    let mut table = block(BlockKind::Table, "");
    let cells = [cell(0, 0, "Customer:"), cell(0, 1, "Harbour House"), cell(1, 0, "Amount"), cell(1, 1, "12")];
    table.table = Some(serde_json::from_value(serde_json::json!({ "rows": 2, "columns": 2, "cells": cells })).unwrap());
    let fields = of_blocks(&[block(BlockKind::Text, text), block(BlockKind::Code, "Key: 5"), table]);
    assert_eq!(
        pairs(&fields),
        [
            pair("Invoice number", "4711"),
            pair("Date", "17 April 2026"),
            pair("Total", "859.80"),
            pair("Customer", "Harbour House")
        ]
    );
    assert!(fields.iter().all(|field| field.prov.is_none()));
}

proptest! {
    /// Whatever is printed, names and values are words of one line in their order, apart from each other.
    #[test]
    fn names_and_values_are_printed_on_one_line(
        texts in prop::collection::vec("([A-Z][a-z]{1,6}|[a-z]{1,5}|[0-9.]{1,4}|[:,]|é́)( {1,4}([A-Z][a-z]{1,6}:?|[a-z]{1,5}|[0-9]{1,4}[.:]?)){0,8}", 0..8),
        left in 0_u8..200,
    ) {
        let lines: Vec<Line> =
            texts.iter().zip(0_u8..).map(|(text, at)| line(f32::from(left), 100.0 + f32::from(at) * 14.0, text)).collect();
        let printed: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
        for field in of_pages([&page(1, lines)]) {
            prop_assert!(!field.name.is_empty() && !field.value.is_empty());
            let is_printed = printed.iter().any(|line| {
                line.find(&field.name).is_some_and(|at| line[at + field.name.len()..].contains(&field.value))
            });
            prop_assert!(is_printed, "{field:?} in {printed:?}");
        }
    }

    /// Boxes from a broken file do no harm.
    #[test]
    fn any_boxes_are_survived(numbers in prop::collection::vec(any::<f32>(), 8), text in "[A-Za-z: 0-9]{0,40}") {
        let mut broken = line(50.0, 100.0, &text);
        broken.bbox = Bbox { left: numbers[0], top: numbers[1], right: numbers[2], bottom: numbers[3] };
        for word in &mut broken.words {
            word.bbox = Bbox { left: numbers[4], top: numbers[5], right: numbers[6], bottom: numbers[7] };
        }
        broken.font_size = None;
        let second = line(50.0, 100.0, "Total: 5");
        prop_assert!(of_pages([&page(1, vec![broken, second])]).len() <= 4);
    }
}
