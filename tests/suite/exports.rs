//! Exports are read by others: docling-core itself loads the Docling JSON, and `canonical` says the same each time.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use deckle::contract::{
    document::{
        Bbox, Block, BlockKind, Cell, Confidence, Document, Locator, Method, PageInfo, Table,
        docling::to_docling,
        markdown::to_markdown,
        metadata::{Destination, FormField, FormFieldKind, Link},
    },
    error::Reason,
};

use crate::support::canonical::canonical;

fn block(kind: BlockKind, text: &str) -> Block {
    let bbox = Bbox { left: 50.123_456, top: 1.0 / 3.0, right: 500.0, bottom: 120.5 };
    Block {
        kind,
        text: text.to_owned(),
        level: None,
        marker: None,
        code_language: None,
        prov: vec![Locator::on_page(1, bbox)],
        line_indexes: Vec::new(),
        table: None,
        confidence: Some(0.912_345),
        method: Method::Ocr,
        image: None,
    }
}

fn item(level: u8, marker: &str, text: &str) -> Block {
    Block { level: Some(level), marker: Some(marker.to_owned()), ..block(BlockKind::ListItem, text) }
}

fn table() -> Block {
    let cell = |(row_index, column_index): (u32, u32), (row_span, column_span): (u32, u32), text: &str| Cell {
        row_index,
        column_index,
        row_span,
        column_span,
        header: row_index < 2,
        row_header: false,
        text: text.to_owned(),
        prov: (row_index > 0).then(|| Locator::on_page(1, Bbox { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 })),
    };
    let cells = vec![
        cell((0, 0), (2, 1), "Kind"),
        cell((0, 1), (1, 2), "Price | each"),
        cell((1, 1), (1, 1), "net"),
        cell((1, 2), (1, 1), "gross"),
        cell((2, 0), (1, 1), "Bolt"),
        cell((2, 2), (1, 1), "0.12"),
    ];
    Block { table: Some(Table { rows: 3, columns: 3, cells }), ..block(BlockKind::Table, "Kind Price") }
}

fn page(page_no: u32, reason: Option<Reason>) -> PageInfo {
    let method = reason.is_none().then_some(Method::Ocr);
    let confidence = reason.is_none().then_some(Confidence { mean: 0.9, p10: 0.5 });
    PageInfo { page_no, width: 595.276, height: 841.89, method, confidence, reason, ..PageInfo::default() }
}

fn document(filename: &str, media_type: &str, pages: Vec<PageInfo>, blocks: Vec<Block>) -> Document {
    Document {
        filename: filename.to_owned(),
        media_type: media_type.to_owned(),
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
        size_bytes: 12,
        pages,
        blocks,
        ..Document::default()
    }
}

/// A page with a form that was filled in, and links: one over a whole line, one over a word.
fn form() -> Document {
    let at = |top: f32, right: f32| Bbox { left: 50.0, top, right, bottom: top + 12.0 };
    let line = |top: f32, text: &str| Block {
        prov: vec![Locator::on_page(1, at(top, 250.0))],
        ..block(BlockKind::Text, text)
    };
    let link = |bbox: Bbox, uri: &str| Link { bbox, uri: Some(uri.to_owned()), destination: None };
    let field = |name: &str, kind: FormFieldKind, value: Option<&str>, checked: Option<bool>| FormField {
        name: name.to_owned(),
        kind,
        label: None,
        value: value.map(str::to_owned),
        checked,
        options: Vec::new(),
        required: false,
        read_only: false,
        bbox: at(300.0, 100.0),
    };
    let mut page = page(1, None);
    page.links = vec![
        link(at(100.0, 245.0), "https://example.org/bolts?kind=1"),
        link(at(120.0, 80.0), "https://example.org/"),
        link(at(140.0, 250.0), "javascript:alert(1)"),
        Link {
            bbox: at(160.0, 250.0),
            uri: None,
            destination: Some(Destination { page_no: 1, top: None, stated: [None, None] }),
        },
    ];
    page.form_fields = vec![
        field("applicant.name", FormFieldKind::Text, Some("Ada"), None),
        field("applicant.city", FormFieldKind::Text, None, None),
        field("consent", FormFieldKind::CheckBox, Some("Yes"), Some(true)),
        field("send", FormFieldKind::PushButton, None, None),
    ];
    let blocks = vec![
        line(100.0, "https://example.org/bolts"),
        line(120.0, "Bolts are sold there and elsewhere"),
        line(140.0, "A link that runs a program"),
        line(160.0, "See above"),
    ];
    document("form.pdf", "application/pdf", vec![page], blocks)
}

/// Every kind of block, spans, nested lists, captions above and below.
fn everything() -> Document {
    let code = Block { code_language: Some("rs".to_owned()), ..block(BlockKind::Code, "fn main() {\n    todo!()\n}") };
    let mut two_places = block(BlockKind::Text, "It begins on one page and ends on the next.");
    two_places.prov.push(Locator { page_no: Some(2), ..Locator::default() });
    let blocks = vec![
        block(BlockKind::PageHeader, "Confidential"),
        block(BlockKind::Title, "On bolts"),
        Block { level: Some(2), ..block(BlockKind::SectionHeader, "Kinds") },
        two_places,
        item(1, "•", "short"),
        item(2, "–", "very short"),
        item(3, "a)", "nearly none"),
        item(1, "•", "long"),
        block(BlockKind::Text, "And counted:"),
        item(1, "1.", "one"),
        item(1, "2.", "two"),
        code,
        block(BlockKind::Caption, "Table 1: Prices"),
        table(),
        block(BlockKind::Picture, ""),
        block(BlockKind::Caption, "Figure 1: A bolt"),
        block(BlockKind::Caption, "Figure 2: Nothing beside it"),
        block(BlockKind::Picture, "Words that stand in a picture"),
        block(BlockKind::Table, "A table nobody could take apart"),
        block(BlockKind::Footnote, "1 See there"),
        block(BlockKind::PageFooter, "1"),
    ];
    document("bolts.pdf", "application/pdf", vec![page(1, None), page(2, None)], blocks)
}

fn samples() -> Vec<(&'static str, Document)> {
    let bare = |mut block: Block| {
        block.prov.clear();
        block
    };
    let reason = Reason {
        code: "limit.time".to_owned(),
        message: "took longer than 60 s".to_owned(),
        stage: "ocr".to_owned(),
        page_no: Some(2),
        retryable: true,
    };
    let weird =
        ["", " ", "\u{202e}right to left\u{202c}", "a\u{0}b", "| x |\n|---|", "😀 e\u{301} \u{feff}", "</script>&amp;"];
    let mut odd = block(BlockKind::Text, "odd numbers");
    odd.prov = vec![Locator::on_page(9, Bbox { left: f32::NAN, top: -0.0, right: f32::INFINITY, bottom: 1e9 })];
    let weird: Vec<Block> = weird.iter().map(|text| block(BlockKind::Text, text)).chain([odd]).collect();
    vec![
        ("everything", everything()),
        ("form", form()),
        (
            "no-pages",
            document(
                "mail.eml",
                "message/rfc822",
                Vec::new(),
                vec![bare(block(BlockKind::Text, "Dear all")), bare(item(2, "-", "nested at once")), bare(table())],
            ),
        ),
        (
            "failed-page",
            document(
                "half.pdf",
                "application/pdf",
                vec![page(1, None), page(2, Some(reason))],
                vec![block(BlockKind::Text, "What could be read")],
            ),
        ),
        ("empty", document("", "application/pdf", Vec::new(), Vec::new())),
        ("weird", document("../we\"ird\n.tar.gz", "x-unknown/type; charset=x", vec![page(1, None)], weird)),
    ]
}

/// The Python of the test environment that `make setup` builds.
fn python() -> PathBuf {
    let home = std::env::var_os("DECKLE_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".deckle"));
    let python = home.join("venv-test/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`, or set DECKLE_HOME", python.display());
    python
}

#[test]
fn docling_core_loads_every_kind_of_document() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut files = Vec::new();
    for (name, document) in samples() {
        let file = folder.path().join(format!("{name}.json"));
        std::fs::write(&file, to_docling(&document).to_string()).expect("written");
        files.push(file);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate_docling.py");
    let output = Command::new(python()).arg(script).args(&files).output().expect("python starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.lines().filter(|line| line.contains(": valid, ")).count(), files.len(), "{told}");
}

#[test]
fn docling_json_is_stable() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&to_docling(&everything())).expect("JSON"));
}

#[test]
fn a_line_that_is_one_link_has_its_address_and_a_form_its_values() {
    let docling = to_docling(&form());
    let addresses: Vec<_> = docling["texts"].as_array().unwrap().iter().map(|text| text.get("hyperlink")).collect();
    assert_eq!(addresses, [Some(&"https://example.org/bolts?kind=1".into()), None, None, None]);
    let [form] = &docling["form_items"].as_array().unwrap()[..] else { panic!("{}", docling["form_items"]) };
    let cells = form["graph"]["cells"].as_array().unwrap();
    let told: Vec<_> = cells.iter().map(|cell| (&cell["label"], cell["text"].as_str().unwrap())).collect();
    let label = |name: &str| serde_json::Value::from(name);
    let (key, value, checkbox) = (label("key"), label("value"), label("checkbox"));
    assert_eq!(
        told,
        [
            (&key, "applicant.name"),
            (&value, "Ada"),
            (&key, "applicant.city"),
            (&value, ""),
            (&key, "consent"),
            (&checkbox, "selected"),
        ]
    );
}

#[test]
fn canonical_form_is_stable_and_keeps_confidences_apart() {
    let mut other = everything();
    for block in &mut other.blocks {
        block.confidence = Some(0.92);
        for place in &mut block.prov {
            place.bbox = place.bbox.map(|bbox| Bbox { left: bbox.left + 0.01, ..bbox });
        }
    }
    let (mut first, mut second) = (canonical(&everything()), canonical(&other));
    assert_ne!(first, second);
    for value in [&mut first, &mut second] {
        let confidences = value.as_object_mut().and_then(|all| all.remove("confidences")).expect("confidences");
        assert_eq!(confidences.as_array().map(Vec::len), Some(everything().blocks.len() + 1));
    }
    assert_eq!(first, second);
}

#[test]
fn a_failed_page_is_named_where_it_would_have_stood() {
    let (_, document) = samples().into_iter().find(|(name, _)| *name == "failed-page").expect("a sample");
    let markdown = to_markdown(&document);
    assert_eq!(markdown, "What could be read\n\n> Page 2 could not be read: took longer than 60 s\n");
}
