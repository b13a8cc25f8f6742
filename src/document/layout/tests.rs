use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::*;
use crate::document::{Drawing, Region, RegionKind, Word, markdown};

/// A line of words set in a fixed pitch of half the size.
pub fn line(left: f32, top: f32, size: f32, text: &str) -> Line {
    let mut words = Vec::new();
    let mut x = left;
    for word in text.split(' ') {
        let width = word.chars().count() as f32 * size * 0.5;
        if !word.is_empty() {
            let bbox = Bbox { left: x, top, right: x + width, bottom: top + size * 1.15 };
            words.push(Word { text: word.to_owned(), bbox, confidence: None });
        }
        x += width + size * 0.3;
    }
    let bbox = Bbox::around(words.iter().map(|word| &word.bbox)).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Line {
        text,
        bbox,
        polygon: None,
        words,
        confidence: None,
        method: Method::TextLayer,
        font_size: Some(size),
        bold: false,
    }
}

fn bold(line: Line) -> Line {
    Line { bold: true, ..line }
}

fn page(lines: Vec<Line>) -> Page {
    Page {
        page_no: 1,
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
    }
}

fn analysed(lines: Vec<Line>) -> Vec<Block> {
    let mut page = page(lines);
    analyse(&mut page);
    page.blocks
}

/// `kind: text` of each block.
fn told(blocks: &[Block]) -> Vec<String> {
    blocks.iter().map(|block| format!("{:?}: {}", block.kind, block.text)).collect()
}

/// A paragraph of `lines` lines that fill `width` points at size 10; its words are `name` with a number.
fn column(name: &str, left: f32, top: f32, width: f32, lines: usize) -> Vec<Line> {
    let word = (name.len() + 2) as f32 * 5.0 + 3.0;
    let words = ((width + 3.0) / word) as usize;
    let row = |row: usize| {
        let text: Vec<String> = (0..words).map(|word| format!("{name}{:02}", (row * words + word) % 100)).collect();
        let end = if row + 1 == lines { "." } else { "" };
        line(left, top + row as f32 * 12.0, 10.0, &(text.join(" ") + end))
    };
    (0..lines).map(row).collect()
}

#[test]
fn two_columns_below_a_wide_heading_are_read_one_after_the_other() {
    let mut lines = column("Right", 310.0, 140.0, 240.0, 20);
    lines.extend(column("Left", 50.0, 140.0, 240.0, 20));
    lines.push(line(50.0, 100.0, 20.0, "A heading over both columns"));
    let blocks = analysed(lines);
    assert_eq!(blocks[0].kind, BlockKind::Title);
    assert!(blocks[1].text.starts_with("Left00"), "{:?}", told(&blocks));
    assert!(blocks.last().unwrap().text.contains("Right00"));
}

#[test]
fn a_heading_over_two_of_three_columns_stands_above_those_two() {
    let mut lines = vec![bold(line(50.0, 100.0, 14.0, "Over the first and the second"))];
    for (name, left, top) in [("Aaa", 50.0, 130.0), ("Bbb", 222.0, 130.0), ("Ccc", 394.0, 100.0)] {
        lines.extend(column(name, left, top, 162.0, 20));
    }
    let order: Vec<String> = analysed(lines).iter().map(|block| block.text.chars().take(3).collect()).collect();
    assert_eq!(order, ["Ove", "Aaa", "Bbb", "Ccc"]);
}

#[test]
fn full_width_text_between_two_pairs_of_columns_parts_them() {
    let mut lines = Vec::new();
    for (name, left, top) in [("One", 50.0, 100.0), ("Two", 310.0, 100.0), ("Thr", 50.0, 320.0), ("Fou", 310.0, 320.0)]
    {
        lines.extend(column(name, left, top, 240.0, 12));
    }
    lines.extend(column("Wide", 50.0, 270.0, 500.0, 2));
    let order: Vec<String> = analysed(lines).iter().map(|block| block.text.chars().take(3).collect()).collect();
    assert_eq!(order, ["One", "Two", "Wid", "Thr", "Fou"]);
}

#[test]
fn a_two_column_page_is_no_table() {
    let mut lines = column("Left", 50.0, 100.0, 240.0, 40);
    lines.extend(column("Right", 302.0, 100.0, 240.0, 40));
    assert!(analysed(lines).iter().all(|block| block.kind == BlockKind::Text));
}

#[test]
fn aligned_cells_are_a_table_with_boxes() {
    let mut lines = column("Text", 50.0, 60.0, 500.0, 4);
    for (row, cells) in
        [["Item", "Count", "Price"], ["Bolt", "12", "0.10"], ["Nut", "7", "0.20"], ["Washer", "100", "0.05"]]
            .iter()
            .enumerate()
    {
        for (left, text) in [50.0, 250.0, 400.0].iter().zip(cells) {
            lines.push(line(*left, 140.0 + row as f32 * 16.0, 10.0, text));
        }
    }
    let blocks = analysed(lines);
    let block = &blocks[1];
    let table = block.table.as_ref().expect("a table");
    assert_eq!((table.rows, table.columns, table.cells.len()), (4, 3, 12));
    assert!(table.cells[0].header && !table.cells[3].header);
    assert_eq!(table.cells[4].prov.as_ref().and_then(|place| place.bbox).map(|bbox| bbox.left), Some(250.0));
    assert_eq!(block.line_indexes.len(), 12);
}

#[test]
fn a_line_over_several_cells_is_cut_at_its_wide_gaps() {
    let rows = ["alpha          10          1.5", "beta           20          2.5", "gamma          30          3.5"];
    let lines = rows.iter().enumerate().map(|(row, text)| line(50.0, 100.0 + row as f32 * 14.0, 10.0, text)).collect();
    let blocks = analysed(lines);
    assert_eq!(blocks[0].table.as_ref().map(|table| (table.rows, table.columns)), Some((3, 3)), "{:?}", told(&blocks));
}

#[test]
fn labels_are_read_with_their_values() {
    let rows = [("Name:", "Ada Lovelace"), ("Born:", "London"), ("Field:", "Engines of all kinds")];
    let lines = rows.iter().enumerate().flat_map(|(row, (label, value))| {
        let top = 100.0 + row as f32 * 14.0;
        [line(50.0, top, 10.0, label), line(150.0, top, 10.0, value)]
    });
    let blocks = analysed(lines.collect());
    assert_eq!(told(&blocks), ["Text: Name: Ada Lovelace", "Text: Born: London", "Text: Field: Engines of all kinds"]);
}

#[test]
fn hyphens_are_mended_only_before_lower_case() {
    assert_eq!(
        text::join(["a hyphen at the line's end is men-", "ded, but SARS-", "CoV and 3-", "dimensional stay"]),
        "a hyphen at the line's end is mended, but SARS- CoV and 3- dimensional stay"
    );
    assert_eq!(text::join(["e\u{301}te\u{301}", "  spaced   out "]), "été spaced out");
}

#[test]
fn markers_of_list_items_are_split_off() {
    for (given, marker, rest) in [
        ("• dot", "•", "dot"),
        ("– dash", "–", "dash"),
        ("* star", "*", "star"),
        ("1. one", "1.", "one"),
        ("(1) one", "(1)", "one"),
        ("a) letter", "a)", "letter"),
        ("iv. roman", "iv.", "roman"),
    ] {
        assert_eq!(text::split_marker(given), Some((marker, rest)));
    }
    for given in ["J. Smith wrote", "2021. A year", "1.5 metres", "-5 degrees", "e.g. this", "•"] {
        assert_eq!(text::split_marker(given), None, "{given}");
    }
}

#[test]
fn a_list_is_items_with_depth() {
    let lines = vec![
        line(50.0, 100.0, 10.0, "Three things are needed to hold two plates together, and no more than these:"),
        line(60.0, 112.0, 10.0, "• a bolt that is long enough for both of the plates and the nut on the other side,"),
        line(70.0, 124.0, 10.0, "with a head"),
        line(80.0, 136.0, 10.0, "– of six sides"),
        line(60.0, 148.0, 10.0, "• a nut"),
    ];
    let blocks = analysed(lines);
    let items: Vec<(Option<u8>, Option<&str>, &str)> =
        blocks[1..].iter().map(|block| (block.level, block.marker.as_deref(), block.text.as_str())).collect();
    assert_eq!(
        items,
        [
            (
                Some(1),
                Some("•"),
                "a bolt that is long enough for both of the plates and the nut on the other side, with a head"
            ),
            (Some(2), Some("–"), "of six sides"),
            (Some(1), Some("•"), "a nut"),
        ]
    );
}

#[test]
fn an_indent_or_a_gap_begins_a_paragraph() {
    let mut lines = column("One", 50.0, 100.0, 300.0, 3);
    lines.push(line(62.0, 136.0, 10.0, "Indented this paragraph begins and goes on for a while,"));
    lines.extend(column("Two", 50.0, 148.0, 300.0, 2));
    lines.extend(column("Three", 50.0, 184.0, 300.0, 2));
    let starts: Vec<String> =
        analysed(lines).iter().map(|block| block.text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(starts, ["One00", "Indented", "Three00"]);
}

#[test]
fn headings_have_depths_by_their_size() {
    let mut lines = vec![
        line(50.0, 60.0, 24.0, "The Title of It All"),
        line(50.0, 120.0, 16.0, "1 First"),
        line(50.0, 280.0, 13.0, "1.1 Below the first"),
        line(50.0, 440.0, 16.0, "2 Second"),
    ];
    for top in [150.0, 310.0, 470.0] {
        lines.extend(column("Text", 50.0, top, 400.0, 5));
    }
    let blocks = analysed(lines);
    let depths: Vec<(BlockKind, Option<u8>)> =
        blocks.iter().filter(|block| block.kind != BlockKind::Text).map(|block| (block.kind, block.level)).collect();
    use BlockKind::{SectionHeader, Title};
    assert_eq!(depths, [(Title, None), (SectionHeader, Some(1)), (SectionHeader, Some(2)), (SectionHeader, Some(1))]);
}

#[test]
fn numbers_tell_the_depth_of_headings_better_than_sizes_do() {
    // Sizes as a recogniser measures them.
    let mut lines = Vec::new();
    for (row, (size, text)) in
        [(15.0, "1 First"), (13.4, "1.1 Below"), (13.5, "2 Second"), (12.2, "2.1 Below"), (15.0, "3 Third")]
            .iter()
            .enumerate()
    {
        let top = 60.0 + row as f32 * 140.0;
        lines.push(line(50.0, top, *size, text));
        lines.extend(column("Text", 50.0, top + 30.0, 400.0, 5));
    }
    let mut page = Page { page_no: 2, ..page(lines) };
    analyse(&mut page);
    let (_, blocks) = assemble_blocks(vec![&page]);
    let depths: Vec<u8> = blocks.iter().filter_map(|block| block.level).collect();
    assert_eq!(depths, [1, 2, 1, 2, 1]);
    for (text, parts) in [("3.1 Results", 2), ("4. End", 1), ("2021 in short", 0), ("1.5 %", 0), ("Results 3", 0)] {
        assert_eq!(headings::parts(text), parts, "{text}");
    }
}

#[test]
fn a_wrapped_item_ends_where_an_indented_paragraph_begins() {
    let lines = vec![
        line(62.0, 100.0, 10.0, "• Requiring, for those who wish to"),
        line(50.0, 112.0, 10.0, "allow dispatch with systems that do not"),
        line(50.0, 124.0, 10.0, "work, certain words in the approved list."),
        line(62.0, 136.0, 10.0, "This would also require what follows,"),
        line(50.0, 148.0, 10.0, "and more than that."),
    ];
    let blocks = analysed(lines);
    assert_eq!(blocks.iter().map(|block| block.kind).collect::<Vec<_>>(), [BlockKind::ListItem, BlockKind::Text]);
}

#[test]
fn markers_that_stand_apart_belong_to_their_items() {
    let mut lines = Vec::new();
    for (row, text) in
        ["a photo that is valid", "a bill that shows your name", "a cheque, or a letter"].iter().enumerate()
    {
        let top = 100.0 + row as f32 * 14.0;
        lines.push(line(50.0, top, 10.0, "•"));
        lines.push(line(80.0, top, 10.0, text));
    }
    let blocks = analysed(lines);
    let told: Vec<_> = blocks.iter().map(|block| (block.marker.as_deref(), block.text.as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("•"), "a photo that is valid"),
            (Some("•"), "a bill that shows your name"),
            (Some("•"), "a cheque, or a letter")
        ]
    );
}

#[test]
fn a_bold_heading_that_fills_its_line_is_no_part_of_the_paragraph() {
    let mut lines = vec![bold(line(50.0, 100.0, 10.0, "Confidential Business Information (CBI)"))];
    lines.push(line(60.0, 112.0, 10.0, "CBI is what is kept and treated so"));
    lines.extend(
        ["by its owner, and what the law says", "of it is told in the next section."]
            .iter()
            .enumerate()
            .map(|(row, text)| line(50.0, 124.0 + row as f32 * 12.0, 10.0, text)),
    );
    let blocks = analysed(lines);
    assert_eq!(blocks[0].kind, BlockKind::SectionHeader, "{:?}", told(&blocks));
    assert_eq!(blocks.len(), 2);
}

#[test]
fn a_wide_gap_in_a_justified_line_parts_no_sentence() {
    let mut lines = column("Above", 50.0, 60.0, 300.0, 4);
    let [mut left, mut right] =
        [bold(line(60.0, 112.0, 10.0, "Entity relations.")), line(270.0, 112.0, 10.0, "While mention edges")];
    left.bbox.right = 160.0;
    right.bbox.right = 350.0;
    lines.extend([left, right]);
    lines.extend([line(50.0, 124.0, 10.0, "stand between what is said in one place, others stand for")]);
    lines.extend([line(50.0, 136.0, 10.0, "what holds anywhere.")]);
    let blocks = analysed(lines);
    assert_eq!(blocks.len(), 2, "{:?}", told(&blocks));
    assert!(blocks[1].text.starts_with("Entity relations. While mention edges stand between"));
}

#[test]
fn a_rule_across_the_page_ends_its_columns() {
    let mut lines = Vec::new();
    for (name, left, top) in [("One", 50.0, 100.0), ("Two", 310.0, 100.0), ("Thr", 50.0, 250.0), ("Fou", 310.0, 250.0)]
    {
        lines.extend(column(name, left, top, 240.0, 11));
    }
    let order = |page: &mut Page| -> Vec<String> {
        analyse(page);
        page.blocks.iter().map(|block| block.text.chars().take(3).collect()).collect()
    };
    let mut page = page(lines);
    assert_eq!(order(&mut page), ["One", "Thr", "Two", "Fou"]);
    page.drawing.rules = vec![Bbox { left: 50.0, top: 240.0, right: 550.0, bottom: 240.5 }];
    assert_eq!(order(&mut page), ["One", "Two", "Thr", "Fou"]);
}

#[test]
fn a_footer_of_several_rows_is_furniture_with_its_page_number() {
    let mut lines = column("Text", 50.0, 100.0, 400.0, 50);
    lines.push(line(290.0, 740.0, 10.0, "84"));
    lines.push(line(200.0, 756.0, 9.5, "Proceedings of the Society of Bolts, pages 84–91"));
    lines.push(line(120.0, 768.0, 9.5, "Port Isaac, June 1 - 6. Held every second year in the hall of the ropery"));
    let kinds: Vec<BlockKind> = analysed(lines).iter().map(|block| block.kind).collect();
    use BlockKind::{PageFooter, Text};
    assert_eq!(kinds, [Text, PageFooter, PageFooter, PageFooter]);
}

#[test]
fn a_footnote_of_two_lines_above_the_page_number_is_no_footer() {
    let mut lines = column("Text", 50.0, 100.0, 400.0, 40);
    lines.push(line(50.0, 734.0, 8.0, "1 The harbour office keeps the ledgers of all"));
    lines.push(line(50.0, 744.0, 8.0, "berths, and lends them to nobody."));
    lines.push(line(290.0, 775.0, 9.0, "117"));
    let kinds: Vec<BlockKind> = analysed(lines).iter().map(|block| block.kind).collect();
    use BlockKind::{Footnote, PageFooter, Text};
    assert_eq!(kinds, [Text, Footnote, PageFooter]);
}

#[test]
fn labels_in_a_picture_are_its_own_and_paragraphs_are_not() {
    let picture = Bbox { left: 50.0, top: 150.0, right: 450.0, bottom: 400.0 };
    let with = |inside: Vec<Line>| {
        let mut page = page(column("Above", 50.0, 60.0, 400.0, 5));
        page.lines.extend(column("Below", 50.0, 450.0, 400.0, 10));
        page.lines.extend(inside);
        page.images = vec![picture];
        analyse(&mut page);
        told(&page.blocks)[1..page.blocks.len() - 1].to_vec()
    };
    let labels = with(vec![line(80.0, 200.0, 8.0, "Nut case"), line(300.0, 300.0, 8.0, "Keyway")]);
    assert_eq!(labels, ["Picture: Nut case Keyway"]);
    let paragraph = with(column("Inside", 60.0, 200.0, 380.0, 4));
    assert_eq!(paragraph.len(), 2);
    assert!(paragraph[0] == "Picture: " && paragraph[1].starts_with("Text: Inside00"), "{paragraph:?}");
}

/// A line that runs up the page.
fn sideways(left: f32, top: f32, text: &str) -> Line {
    let bbox = Bbox { left, top, right: left + 8.0, bottom: top + text.chars().count() as f32 * 4.0 };
    Line { bbox, words: Vec::new(), ..line(left, top, 7.0, text) }
}

#[test]
fn what_was_read_out_of_an_image_is_its_label_however_much_of_the_page_it_is() {
    let read = |line: Line| Line { method: Method::Ocr, confidence: Some(0.9), ..line };
    let mut page = page(column("Above", 50.0, 60.0, 400.0, 2));
    let image = Bbox { left: 50.0, top: 120.0, right: 450.0, bottom: 400.0 };
    page.images = vec![image];
    // The model sees no more than the bars.
    let seen = Bbox { top: 170.0, ..image };
    page.regions = vec![Region { kind: RegionKind::Figure, bbox: seen, score: 0.9 }];
    page.lines.push(read(line(150.0, 125.0, 14.0, "Bolts sold in a year")));
    let axis = (1..7).map(|step| read(line(60.0, 150.0 + step as f32 * 30.0, 7.0, &format!("{}00", 7 - step))));
    page.lines.extend(axis);
    page.lines.push(read(sideways(52.0, 220.0, "Number of bolts")));
    page.lines.push(read(line(200.0, 380.0, 7.0, "Year")));
    analyse(&mut page);
    let blocks = told(&page.blocks);
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    let text = "Picture: Bolts sold in a year 600 500 Number of bolts 400 300 200 100 Year";
    assert_eq!(blocks[1], text);
    assert_eq!(page.blocks[1].prov[0].bbox.map(|bbox| bbox.top), Some(125.0), "the title of the chart is a part of it");

    // The same lines in a text layer stand over the image, which is then a background.
    page.lines.iter_mut().for_each(|line| line.method = Method::TextLayer);
    page.regions.clear();
    analyse(&mut page);
    assert!(page.blocks.iter().all(|block| block.kind != BlockKind::Picture), "{:?}", told(&page.blocks));
}

#[test]
fn text_read_out_of_an_image_is_read_in_its_own_columns() {
    let mut page = page(column("Above", 50.0, 60.0, 500.0, 2));
    page.images = vec![Bbox { left: 40.0, top: 110.0, right: 560.0, bottom: 500.0 }];
    let inside = [column("Left", 50.0, 130.0, 240.0, 20), column("Right", 310.0, 130.0, 240.0, 20)].concat();
    page.lines.extend(inside.into_iter().map(|line| Line { method: Method::Ocr, ..line }));
    analyse(&mut page);
    let order: Vec<&str> = page.blocks.iter().map(|block| block.text.get(..3).unwrap_or("")).collect();
    assert_eq!(order, ["Abo", "", "Lef", "Rig"], "{:?}", told(&page.blocks));
    assert_eq!(page.blocks[1].kind, BlockKind::Picture);
}

#[test]
fn a_sentence_read_out_of_an_image_is_text() {
    let mut page = page(column("Above", 50.0, 60.0, 500.0, 6));
    page.images = vec![Bbox { left: 40.0, top: 160.0, right: 560.0, bottom: 300.0 }];
    let inside =
        [line(60.0, 180.0, 10.0, "Bolts of the second kind are"), line(60.0, 192.0, 10.0, "never oiled at sea.")];
    page.lines.extend(inside.into_iter().map(|line| Line { method: Method::Ocr, ..line }));
    analyse(&mut page);
    assert_eq!(told(&page.blocks)[1..], ["Picture: ", "Text: Bolts of the second kind are never oiled at sea."]);
}

#[test]
fn a_title_centred_over_what_stands_below_three_columns_is_read_with_it() {
    let order = |rows_in_the_middle: usize, title: Option<Line>| -> Vec<String> {
        let mut lines = Vec::new();
        for (name, left, rows) in [("Aaa", 50.0, 20), ("Bbb", 222.0, rows_in_the_middle), ("Ccc", 394.0, 20)] {
            lines.extend(column(name, left, 100.0, 162.0, rows));
        }
        lines.extend(title);
        let mut page = page(lines);
        page.images = vec![Bbox { left: 50.0, top: 370.0, right: 556.0, bottom: 600.0 }];
        analyse(&mut page);
        page.blocks.iter().map(|block| block.text.chars().take(3).collect()).collect()
    };
    // In the middle of the page, and inside the middle column.
    let title = line(253.0, 352.0, 10.0, "THE COST OF ONE YEAR");
    assert_eq!(order(20, Some(title)), ["Aaa", "Bbb", "Ccc", "THE", ""]);
    assert_eq!(order(21, None), ["Aaa", "Bbb", "Ccc", ""], "the last line of a column is no title");
}

#[test]
fn a_stamp_up_the_margin_is_furniture_and_what_runs_up_among_the_text_is_not() {
    let with = |left: f32| {
        let mut lines = column("Text", 80.0, 110.0, 400.0, 20);
        lines.push(sideways(left, 600.0, "stamped by the printer of proposals"));
        lines.push(line(300.0, 780.0, 8.0, "12"));
        let blocks = analysed(lines);
        blocks.into_iter().map(|block| (block.kind, block.text.chars().take(2).collect())).collect::<Vec<(_, String)>>()
    };
    use BlockKind::{PageFooter, Text};
    let block = |kind, text: &str| (kind, text.to_owned());
    let stamped = [block(Text, "Te"), block(PageFooter, "12"), block(PageFooter, "st")];
    assert_eq!(with(20.0), stamped, "it is read after what is upright");
    assert_eq!(with(570.0), stamped);
    assert_eq!(with(200.0), [block(Text, "Te"), block(Text, "st"), block(PageFooter, "12")]);

    let rows = (0..9).map(|row| sideways(20.0 + row as f32 * 30.0, 100.0, "a row of a wide table, turned"));
    let blocks = analysed(rows.chain([line(300.0, 400.0, 8.0, "Table 3")]).collect());
    assert!(blocks.iter().all(|block| block.kind != PageFooter), "{:?}", told(&blocks));
}

#[test]
fn of_an_image_with_wide_margins_only_what_is_seen_is_the_picture() {
    let seen = Bbox { left: 52.0, top: 150.0, right: 288.0, bottom: 350.0 };
    let mut page = page(column("Left", 50.0, 400.0, 240.0, 20));
    page.lines.extend(column("Right", 310.0, 140.0, 240.0, 40));
    // It reaches into the other column.
    page.images = vec![Bbox { right: 330.0, ..seen }];
    page.regions = vec![Region { kind: RegionKind::Figure, bbox: seen, score: 0.9 }];
    analyse(&mut page);
    let picture = page.blocks.iter().find(|block| block.kind == BlockKind::Picture).unwrap();
    assert_eq!(picture.prov[0].bbox, Some(seen));
    assert_eq!(
        page.blocks.iter().map(|block| block.text.split(' ').next().unwrap_or("")).collect::<Vec<_>>(),
        ["", "Left00", "Right00"]
    );
}

#[test]
fn a_models_votes_say_what_lines_are_and_lose_none() {
    let region = |kind, left, top, right, bottom| Region { kind, bbox: Bbox { left, top, right, bottom }, score: 0.9 };
    let scan = |line: Line| Line { method: Method::Ocr, ..line };
    let mut lines = vec![line(50.0, 60.0, 10.0, "Annals of the Society"), line(50.0, 100.0, 10.5, "What Bolts Are")];
    lines.extend(column("Text", 50.0, 130.0, 400.0, 8));
    lines.push(line(80.0, 300.0, 9.0, "label"));
    lines.push(line(50.0, 410.0, 10.0, "Two plates and what holds them"));
    lines.extend(column("More", 50.0, 450.0, 400.0, 8));
    let mut page = Page { method: Some(Method::Ocr), ..page(lines.into_iter().map(scan).collect()) };
    let kinds = |page: &Page| page.blocks.iter().map(|block| block.kind).collect::<Vec<_>>();
    use BlockKind::{Caption, PageHeader, Picture, SectionHeader, Text};
    analyse(&mut page);
    assert!(!kinds(&page).contains(&Picture), "{:?}", told(&page.blocks));
    page.page_no = 2;
    page.regions = vec![
        region(RegionKind::Header, 40.0, 55.0, 300.0, 80.0),
        region(RegionKind::Title, 40.0, 95.0, 300.0, 120.0),
        region(RegionKind::Figure, 50.0, 240.0, 450.0, 400.0),
        region(RegionKind::FigureCaption, 45.0, 405.0, 450.0, 425.0),
    ];
    analyse(&mut page);
    assert_eq!(kinds(&page), [PageHeader, SectionHeader, Text, Picture, Caption, Text], "{:?}", told(&page.blocks));
    assert_eq!(page.blocks[3].text, "label");
}

#[test]
fn page_numbers_and_small_running_titles_are_furniture() {
    let mut lines = vec![line(50.0, 20.0, 8.0, "Annual Report of the Society"), line(290.0, 770.0, 10.0, "- 12 -")];
    lines.extend(column("Text", 50.0, 100.0, 400.0, 30));
    let blocks = analysed(lines);
    assert_eq!(blocks.first().map(|block| block.kind), Some(BlockKind::PageHeader));
    assert_eq!(blocks.last().map(|block| (block.kind, block.text.as_str())), Some((BlockKind::PageFooter, "- 12 -")));
}

#[test]
fn pictures_stand_in_order_with_their_captions_and_a_scan_is_none() {
    let mut page = page(column("Above", 50.0, 60.0, 400.0, 5));
    page.lines.push(line(50.0, 410.0, 10.0, "Figure 3: Two plates and a bolt"));
    page.lines.extend(column("Below", 50.0, 450.0, 400.0, 5));
    page.images = vec![
        Bbox { left: 0.0, top: 0.0, right: 600.0, bottom: 800.0 },
        Bbox { left: 50.0, top: 150.0, right: 450.0, bottom: 400.0 },
    ];
    analyse(&mut page);
    let kinds: Vec<BlockKind> = page.blocks.iter().map(|block| block.kind).collect();
    assert_eq!(kinds, [BlockKind::Text, BlockKind::Picture, BlockKind::Caption, BlockKind::Text]);
}

#[test]
fn a_paragraph_that_breaks_over_a_page_becomes_one_with_two_places() {
    let mut first = page(vec![line(50.0, 100.0, 10.0, "This sentence of some length is not at its end, as it goes")]);
    let mut second = page(vec![line(50.0, 100.0, 10.0, "on here. And this is the next one.")]);
    second.page_no = 2;
    analyse(&mut first);
    analyse(&mut second);
    let (_, blocks) = assemble_blocks(vec![&first, &second]);
    assert_eq!(blocks.len(), 1);
    assert_eq!(
        blocks[0].text,
        "This sentence of some length is not at its end, as it goes on here. And this is the next one."
    );
    assert_eq!(blocks[0].prov.iter().map(|place| place.page_no).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert!(blocks[0].line_indexes.is_empty());
}

#[test]
fn lines_that_repeat_at_their_place_are_furniture_of_the_document() {
    let pages: Vec<Page> = (1..=3)
        .map(|page_no| {
            let mut lines = column("Text", 50.0, 100.0, 400.0, 10);
            lines.push(line(50.0, 84.0, 10.0, &format!("Society of Bolts, issue {page_no}")));
            let mut page = Page { page_no, ..page(lines) };
            analyse(&mut page);
            page
        })
        .collect();
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let headers = blocks.iter().filter(|block| block.kind == BlockKind::PageHeader);
    assert_eq!(headers.count(), 3, "{:?}", told(&blocks));
    let (_, two) = assemble_blocks(pages[..2].iter().collect());
    assert!(two.iter().all(|block| block.kind != BlockKind::PageHeader), "twice is no habit");
}

#[test]
fn headings_that_count_over_the_pages_are_content() {
    let with = |page_no: u32| {
        let mut lines = column("Text", 50.0, 110.0, 400.0, 10);
        lines.push(line(50.0, 70.0, 16.0, &format!("Grey Head light, day {page_no}")));
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(1), with(2), with(3)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let headings = blocks.iter().filter(|block| matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader));
    assert_eq!(headings.count(), 3, "{:?}", told(&blocks));
}

#[test]
fn large_running_titles_and_stamps_up_the_side_are_furniture_of_the_document() {
    let with = |page_no: u32| {
        let mut lines = column("Text", 80.0, 110.0, 400.0, 10);
        lines.push(bold(line(80.0, 36.0, 14.0, &format!("The Quay Register, volume 85, page 477{page_no:02}"))));
        let bbox = Bbox { left: 20.0, top: 500.0, right: 27.0, bottom: 640.0 };
        lines.push(Line { bbox, words: Vec::new(), ..line(20.0, 500.0, 6.0, "stamped by the printer of proposals") });
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(1), with(2), with(3)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let furniture: Vec<BlockKind> = blocks.iter().map(|block| block.kind).filter(|kind| kind.is_furniture()).collect();
    use BlockKind::{PageFooter, PageHeader};
    assert_eq!(furniture, [PageHeader, PageFooter].repeat(3), "{:?}", told(&blocks));
}

#[test]
fn depths_are_those_of_the_whole_document() {
    let with = |page_no: u32, size: f32| {
        let mut lines = column("Text", 50.0, 150.0, 400.0, 10);
        lines.push(line(50.0, 110.0, size, "A heading"));
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(2, 20.0), with(3, 14.0), with(4, 20.0)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let depths: Vec<Option<u8>> =
        blocks.iter().filter(|block| block.kind == BlockKind::SectionHeader).map(|block| block.level).collect();
    assert_eq!(depths, [Some(1), Some(2), Some(1)]);
}

#[test]
fn confidence_is_weighted_by_characters() {
    let read = |text: &str, top: f32, confidence: f32| Line {
        confidence: Some(confidence),
        method: Method::Ocr,
        ..line(50.0, top, 10.0, text)
    };
    let blocks = analysed(vec![read("ninechars", 100.0, 1.0), read("x", 112.0, 0.0)]);
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].confidence, blocks[0].method), (Some(0.9), Method::Ocr));
}

#[test]
fn of_five_thousand_lines_none_is_lost() {
    let mut lines: Vec<Line> = Vec::new();
    for number in 0..5000 {
        let (column, row) = (number % 5, number / 5);
        lines.push(line(20.0 + column as f32 * 115.0, row as f32 * 0.8, 8.0, &format!("word{number} and more")));
    }
    let mut grid = page(lines);
    let mut tall =
        page((0..5000).map(|row| line(50.0, row as f32 * 12.0, 10.0, &format!("line {row} of a long page"))).collect());
    let mut pile = page((0..5000).map(|_| line(50.0, 50.0, 10.0, "all in one place")).collect());
    for page in [&mut grid, &mut tall, &mut pile] {
        analyse(page);
        let lines: usize = page.blocks.iter().map(|block| block.line_indexes.len()).sum();
        assert_eq!(lines, 5000);
    }
}

#[test]
fn a_page_of_a_paper_reads_well() {
    let mut lines = vec![
        line(150.0, 60.0, 18.0, "On the Strength of Bolts"),
        line(240.0, 90.0, 11.0, "A. Lovelace and C. Babbage"),
        line(290.0, 775.0, 9.0, "1"),
        bold(line(50.0, 130.0, 12.0, "1   Introduction")),
        line(50.0, 150.0, 10.0, "Bolts hold together what would other-"),
        line(50.0, 162.0, 10.0, "wise fall apart. They are made of steel,"),
        line(50.0, 174.0, 10.0, "and there are three kinds of them:"),
        line(60.0, 190.0, 10.0, "• short ones"),
        line(60.0, 204.0, 10.0, "• long ones"),
        line(50.0, 224.0, 10.0, "and those that were lost before anybody"),
        line(310.0, 150.0, 10.0, "could say which kind they were. Table 1"),
        line(310.0, 162.0, 10.0, "tells how many of each kind there are."),
        line(310.0, 250.0, 10.0, "Table 1: Bolts by kind."),
        bold(line(310.0, 280.0, 12.0, "2   Results")),
        line(310.0, 300.0, 10.0, "There are more short bolts than others."),
    ];
    for (row, cells) in
        [["Kind", "Count", "Share"], ["short", "12", "60 %"], ["long", "6", "30 %"], ["lost", "2", "10 %"]]
            .iter()
            .enumerate()
    {
        for (left, text) in [310.0, 400.0, 470.0].iter().zip(cells) {
            lines.push(line(*left, 184.0 + row as f32 * 14.0, 10.0, text));
        }
    }
    let mut page = page(lines);
    analyse(&mut page);
    let (title, blocks) = assemble_blocks(vec![&page]);
    let document = crate::document::Document {
        filename: "bolts.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        sha256: "00".repeat(32),
        size_bytes: 1,
        title,
        blocks,
        ..crate::document::Document::default()
    };
    insta::assert_snapshot!(markdown::to_markdown(&document));
}

fn any_line() -> impl Strategy<Value = Line> {
    let edge = prop_oneof![200 => (0..60u8).prop_map(|x| f32::from(x) * 10.0), 1 => Just(f32::NAN), 1 => -1e9f32..1e9];
    let text = prop_oneof![6 => "[a-zA-Z0-9.•–:-]{1,9}( {1,12}[a-z0-9.]{1,9}){0,6}", 1 => Just(String::new()), 1 => "\\PC{0,20}"];
    (edge.clone(), edge, 6.0..30f32, text, any::<bool>(), prop::option::of(0.0..1f32)).prop_map(
        |(left, top, size, text, bold, confidence)| {
            let line = line(left, top, size, &text);
            let method = if confidence.is_some() { Method::Ocr } else { Method::TextLayer };
            Line { bold, confidence, method, font_size: if bold { None } else { Some(size) }, ..line }
        },
    )
}

fn any_box() -> impl Strategy<Value = Bbox> {
    (0.0..600f32, 0.0..800f32, 0.0..400f32, 0.0..400f32).prop_map(|(left, top, width, height)| Bbox {
        left,
        top,
        right: left + width,
        bottom: top + height,
    })
}

fn any_region() -> impl Strategy<Value = Region> {
    use RegionKind::*;
    const KINDS: [RegionKind; 10] =
        [Text, Title, Figure, FigureCaption, Table, TableCaption, Header, Footer, Reference, Equation];
    let bbox = prop_oneof![20 => any_box(), 1 => Just(Bbox { left: f32::NAN, ..Bbox::default() })];
    (prop::sample::select(&KINDS[..]), bbox, 0.0..1f32).prop_map(|(kind, bbox, score)| Region { kind, bbox, score })
}

/// Rules on the same raster as the lines, so that they meet and make cells; and some that are none.
fn any_rule() -> impl Strategy<Value = Bbox> {
    let edge = (0..60u8).prop_map(|x| f32::from(x) * 10.0);
    let thin = prop_oneof![20 => 0.0..3f32, 1 => Just(f32::INFINITY)];
    (edge.clone(), edge.clone(), edge, thin, any::<bool>()).prop_map(|(left, top, long, thin, level)| {
        let (width, height) = if level { (long, thin) } else { (thin, long) };
        Bbox { left, top, right: left + width, bottom: top + height }
    })
}

fn any_page() -> impl Strategy<Value = Page> {
    let boxes = |most| prop::collection::vec(any_box(), 0..most);
    let rules = prop::collection::vec(prop_oneof![4 => any_rule(), 1 => any_box()], 0..30);
    let parts = (prop::collection::vec(any_line(), 0..80), boxes(4), rules, boxes(30));
    (parts, prop::collection::vec(any_region(), 0..12), 1..4u32, any::<bool>()).prop_map(
        |((lines, images, rules, paths), regions, page_no, is_scan)| {
            let method = Some(if is_scan { Method::Ocr } else { Method::TextLayer });
            Page { images, drawing: Drawing { rules, paths }, regions, page_no, method, ..page(lines) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_line_is_lost_and_none_doubled(mut page in any_page()) {
        analyse(&mut page);
        let mut seen: Vec<u32> = page.blocks.iter().flat_map(|block| block.line_indexes.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..page.lines.len() as u32).collect::<Vec<_>>());
        for block in &page.blocks {
            prop_assert!(block.prov.iter().all(|place| place.page_no == Some(page.page_no) && place.bbox.is_some()));
            prop_assert!(!block.line_indexes.is_empty() || block.kind == BlockKind::Picture);
        }
    }

    #[test]
    fn no_letter_is_lost(mut page in any_page()) {
        analyse(&mut page);
        let count = |text: &str| text.nfc().filter(|c| c.is_ascii_alphanumeric()).count();
        let given: usize = page.lines.iter().map(|line| count(&line.text)).sum();
        let told = |block: &Block| count(&block.text) + block.marker.as_deref().map_or(0, count);
        prop_assert_eq!(page.blocks.iter().map(told).sum::<usize>(), given);
        let (_, blocks) = assemble_blocks(vec![&page]);
        prop_assert_eq!(blocks.iter().map(told).sum::<usize>(), given);
    }

    #[test]
    fn the_order_of_lines_in_the_file_does_not_matter(mut page in any_page()) {
        // Between lines with equal boxes it has to.
        let finite = |bbox: &Bbox| (bbox.left + bbox.top + bbox.right + bbox.bottom).abs() < 1e6;
        let mut boxes: Vec<Bbox> = Vec::new();
        page.lines.retain(|line| {
            let keep = finite(&line.bbox) && !boxes.contains(&line.bbox);
            boxes.push(line.bbox);
            keep
        });
        let mut turned = page.clone();
        turned.lines.reverse();
        analyse(&mut page);
        analyse(&mut turned);
        prop_assert_eq!(told(&page.blocks), told(&turned.blocks));
    }
}
