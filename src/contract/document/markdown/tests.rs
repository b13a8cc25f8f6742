use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::{
    document::{Block, Cell, PageInfo, Table},
    error::Reason,
};

fn item(level: u8, marker: &str, text: &str) -> Block {
    Block { level: Some(level), marker: Some(marker.to_owned()), ..Block::new(BlockKind::ListItem, text) }
}

fn document(blocks: Vec<Block>) -> Document {
    Document {
        filename: "a.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        sha256: "00".repeat(32),
        size_bytes: 1,
        blocks,
        ..Document::default()
    }
}

/// The texts of leaf blocks as a CommonMark and GFM reader sees them.
fn read(markdown: &str) -> Vec<String> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut texts: Vec<String> = Vec::new();
    let mut open = String::new();
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Text(text) => open.push_str(&text),
            Event::SoftBreak => open.push('\n'),
            Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::TableCell | TagEnd::CodeBlock,
            ) => {
                if !open.is_empty() {
                    texts.push(std::mem::take(&mut open));
                }
            }
            Event::Start(Tag::Paragraph | Tag::Heading { .. } | Tag::Item | Tag::List(_) | Tag::Table(_))
                if !open.is_empty() =>
            {
                texts.push(std::mem::take(&mut open));
            }
            Event::Start(_) | Event::End(_) => {}
            other => texts.push(format!("unexpected {other:?}")),
        }
    }
    texts
}

/// A text as any reader may give it back: white space collapsed, control characters gone.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words =
            line.split(char::is_whitespace).map(|word| word.chars().filter(|c| !c.is_control()).collect::<String>());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn flat(text: &str) -> String {
    plain(&text.replace(['\n', '\r'], " "))
}

#[test]
fn a_document_reads_well() {
    let mut code = Block::new(BlockKind::Code, "fn main() {\n    println!(\"```\");\n}");
    code.code_language = Some("rust".to_owned());
    let mut table = Block::new(BlockKind::Table, "");
    let cell = |row_index, column_index, column_span, text: &str| Cell {
        row_index,
        column_index,
        row_span: 1,
        column_span,
        header: row_index == 0,
        row_header: false,
        text: text.to_owned(),
        prov: None,
    };
    table.table = Some(Table {
        rows: 3,
        columns: 3,
        cells: vec![
            cell(0, 0, 1, "Item"),
            cell(0, 1, 2, "Price | each"),
            cell(1, 0, 1, "Bolt"),
            cell(1, 1, 1, "0.10"),
            cell(1, 2, 1, "€\nonly"),
            cell(2, 0, 1, "Nut"),
        ],
    });
    let mut document = document(vec![
        Block::new(BlockKind::PageHeader, "Confidential"),
        Block::new(BlockKind::Title, "On Bolts #"),
        Block { level: Some(2), ..Block::new(BlockKind::SectionHeader, "1.2 Kinds of *bolts*") },
        Block::new(BlockKind::Text, "A snake_case name, 5 * 3 = 15, a_b_c and _emphasis_. See [1] and [this](that)."),
        Block::new(BlockKind::Text, "2021. A year at the start\n- and a dash\n# and a hash"),
        item(1, "•", "first"),
        item(2, "–", "nested"),
        item(1, "3.", "third by number"),
        item(2, "(a)", "lettered"),
        item(1, "4.", "fourth"),
        Block::new(BlockKind::Text, "<b>not bold</b> &amp; AT&T"),
        code,
        table,
        Block::new(BlockKind::Caption, "Figure 1: A bolt."),
        Block::new(BlockKind::Picture, ""),
        Block::new(BlockKind::Footnote, "1 See below."),
    ]);
    document.pages = vec![PageInfo {
        page_no: 3,
        width: 1.0,
        height: 1.0,
        reason: Some(Reason {
            code: "limit.time".to_owned(),
            message: "took longer than 60 s".to_owned(),
            stage: "ocr".to_owned(),
            page_no: Some(3),
            retryable: false,
        }),
        ..PageInfo::default()
    }];
    insta::assert_snapshot!(to_markdown(&document));
}

#[test]
fn an_empty_document_is_an_empty_text() {
    assert_eq!(to_markdown(&document(Vec::new())), "");
}

/// Texts with all that CommonMark could take for markup.
fn weird() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-ZäßéЖ中0-9]{1,8}",
        2 => Just(" ".to_owned()),
        1 => Just("\n".to_owned()),
        3 => "[-+*_`~#>|=<&;:!.,()\\[\\]\\\\{}\"'$^/@%]{1,4}",
        1 => prop_oneof![
            Just("1. "), Just("- "), Just("# "), Just("---"), Just("==="), Just("```"), Just("~~~"), Just("    "),
            Just("&amp;"), Just("&#35;"), Just("<div>"), Just("[a]: b"), Just("[x] "), Just("![a](b)"), Just("\\"),
            Just("> "), Just("|-|-|"), Just("<!--"), Just("https://a.b/c_d_e"), Just("\t"), Just("\u{a0}"), Just("\0"),
            Just("<1@b>"), Just("<}@"), Just("0>"),
        ]
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_picture_that_lies_in_a_file_is_linked_by_its_captions_name() {
    let document = document(vec![
        Block::new(BlockKind::Picture, ""),
        Block::new(BlockKind::Caption, "Figure 3: Two bolts"),
        Block::new(BlockKind::Picture, "a label"),
        Block::new(BlockKind::Text, "the end"),
    ]);
    let markdown =
        to_markdown_with_figures(&document, |block| Some(format!("my <a>.figures/{}.png", block.text.len())));
    let expected = "![Figure 3](<my \\<a\\>.figures/0.png>)\n\nFigure 3: Two bolts\n\n![figure](<my \\<a\\>.figures/7.png>)\n\na label\n\nthe end\n";
    assert_eq!(markdown, expected);
    let links: Vec<String> = Parser::new(&markdown)
        .filter_map(|event| match event {
            Event::Start(Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(links, ["my <a>.figures/0.png", "my <a>.figures/7.png"]);
    assert!(to_markdown(&document).starts_with("<!-- image -->\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_reader_gets_the_same_paragraphs_and_headings_back(texts in prop::collection::vec((0..4usize, weird()), 1..6)) {
        let blocks: Vec<Block> = texts
            .iter()
            .map(|(kind, text)| match kind {
                0 => Block::new(BlockKind::SectionHeader, text),
                1 => item(1, "•", text),
                _ => Block::new(BlockKind::Text, text),
            })
            .collect();
        let expected: Vec<String> = texts
            .iter()
            .map(|(kind, text)| if *kind == 0 { flat(text) } else { plain(text) })
            .filter(|text| !text.is_empty())
            .collect();
        let markdown = to_markdown(&document(blocks));
        prop_assert_eq!(read(&markdown), expected, "{}", markdown);
    }

    #[test]
    fn a_reader_gets_the_same_cells_back(texts in prop::collection::vec(weird(), 6)) {
        let cells = texts
            .iter()
            .enumerate()
            .map(|(number, text)| Cell {
                row_index: number as u32 / 2,
                column_index: number as u32 % 2,
                row_span: 1,
                column_span: 1,
                header: false,
                row_header: false,
                text: text.clone(),
                prov: None,
            })
            .collect();
        let mut table = Block::new(BlockKind::Table, "");
        table.table = Some(Table { rows: 3, columns: 2, cells });
        let expected: Vec<String> = texts.iter().map(|text| flat(text)).filter(|text| !text.is_empty()).collect();
        let markdown = to_markdown(&document(vec![table]));
        prop_assert_eq!(read(&markdown), expected, "{}", markdown);
    }

    #[test]
    fn code_comes_back_verbatim(text in "[a-z`~ \n]{0,60}") {
        let code = text.strip_suffix('\n').unwrap_or(&text);
        let markdown = to_markdown(&document(vec![Block::new(BlockKind::Code, &text)]));
        let expected: Vec<String> = if code.is_empty() { Vec::new() } else { vec![format!("{code}\n")] };
        prop_assert_eq!(read(&markdown), expected, "{}", markdown);
    }
}
