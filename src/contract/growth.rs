//! How work grows with its input: at four times of it at most five times the steps, for shapes that invite a loop in a
//! loop. `tests/growth.py` runs them in a build that counts.

#[path = "../../tests/growth/steps.rs"]
mod steps;

use steps::assert_even;

use crate::record::{Event, Uploaded, wire};

use crate::document::{
    Bbox, Block, BlockKind, Cell, Document, Locator, PageInfo, Table, docling, html, markdown,
    metadata::{FormField, FormFieldKind, Link},
};

fn of(blocks: Vec<Block>) -> Document {
    Document { blocks, ..Document::default() }
}

fn text(text: String) -> Document {
    of(vec![Block::new(BlockKind::Text, text)])
}

fn table(rows: usize, columns: usize) -> Table {
    let cell = |at: usize| Cell {
        row_index: (at / columns) as u32,
        column_index: (at % columns) as u32,
        row_span: 1,
        column_span: 1,
        header: at < columns,
        row_header: false,
        text: if at % columns == 0 { "ab|c".to_owned() } else { String::new() },
        prov: None,
    };
    Table { rows: rows as u32, columns: columns as u32, cells: (0..rows * columns).map(cell).collect() }
}

fn tables(rows: usize, columns: usize) -> Document {
    of(vec![Block { table: Some(table(rows, columns)), ..Block::new(BlockKind::Table, "") }])
}

fn bbox(at: usize) -> Bbox {
    let top = at as f32 * 20.0;
    Bbox { left: 50.0, top, right: 250.0, bottom: top + 10.0 }
}

fn documents() -> Vec<(&'static str, usize, Box<dyn Fn(usize) -> Document>)> {
    let repeated = |part: &'static str| move |n: usize| text(part.repeat(n));
    let on_page = |at: usize| vec![Locator::on_page(1, bbox(at))];
    vec![
        ("emphasis", 1_000, Box::new(repeated("*a _b "))),
        ("brackets", 1_000, Box::new(|n| text(format!("{}x{}", "[".repeat(n), "](".repeat(n))))),
        ("less-than signs", 1_000, Box::new(repeated("<"))),
        ("less-than signs before a word", 1_000, Box::new(|n| text(format!("{}{}", "<".repeat(n), "a".repeat(n))))),
        ("ampersands", 1_000, Box::new(|n| text(format!("{}{}", "&".repeat(n), "a".repeat(n))))),
        ("number signs", 1_000, Box::new(repeated("#"))),
        ("grave accents", 1_000, Box::new(repeated("`"))),
        ("lines", 1_000, Box::new(repeated("- a line\n"))),
        ("dashes", 1_000, Box::new(repeated("-=|"))),
        ("a code block", 1_000, Box::new(|n| of(vec![Block::new(BlockKind::Code, "`` a\n".repeat(n))]))),
        (
            "nested lists",
            1_000,
            Box::new(|n| {
                let item =
                    |at: usize| Block { level: Some((at % 9) as u8 + 1), ..Block::new(BlockKind::ListItem, "a\nb") };
                of((0..n).map(item).collect())
            }),
        ),
        ("headings", 1_000, Box::new(|n| of(vec![Block::new(BlockKind::SectionHeader, "A ##"); n]))),
        ("a high table", 1_000, Box::new(|n| tables(n / 4, 4))),
        ("a wide table", 1_000, Box::new(|n| tables(4, n / 4))),
        (
            "captions",
            1_000,
            Box::new(move |n| {
                let kind = |at: usize| if at % 2 == 0 { BlockKind::Picture } else { BlockKind::Caption };
                let block = |at: usize| Block { prov: on_page(at), ..Block::new(kind(at), "Figure 3: of many") };
                of((0..n).map(block).collect())
            }),
        ),
        (
            "links of a page",
            1_000,
            Box::new(move |n| {
                let block = |at: usize| Block { prov: on_page(at), ..Block::new(BlockKind::Text, "a link") };
                let link =
                    |at| Link { bbox: bbox(at), uri: Some("https://example.org/".to_owned()), destination: None };
                let page = PageInfo { page_no: 1, links: (0..n).map(link).collect(), ..PageInfo::default() };
                Document { pages: vec![page], ..of((0..n).map(block).collect()) }
            }),
        ),
        (
            "pages without boxes",
            1_000,
            Box::new(|n| {
                let place = |page_no: u32| Locator { page_no: Some(page_no), ..Locator::default() };
                let block = |page_no| Block { prov: vec![place(page_no)], ..Block::new(BlockKind::Text, "all of it") };
                let page = |page_no| PageInfo { page_no, width: 600.0, height: 800.0, ..PageInfo::default() };
                Document { pages: (1..=n as u32).map(page).collect(), ..of((1..=n as u32).map(block).collect()) }
            }),
        ),
    ]
}

fn field() -> FormField {
    serde_json::from_value(serde_json::json!({ "name": "", "kind": FormFieldKind::Text, "bbox": bbox(0) })).unwrap()
}

#[test]
fn renderings() {
    let documents = documents();
    let shapes: Vec<(&str, usize, &dyn Fn(usize) -> Document)> =
        documents.iter().map(|(name, size, make)| (*name, *size, &**make as &dyn Fn(usize) -> Document)).collect();
    assert_even(&shapes, |document| markdown::to_markdown(document));
    assert_even(&shapes, |document| docling::to_docling(document));
}

#[test]
fn form_fields() {
    let fields = |n: usize| {
        let field = |at: usize| FormField { name: format!("field {at}"), bbox: bbox(at), ..field() };
        let page = PageInfo { page_no: 1, form_fields: (0..n).map(field).collect(), ..PageInfo::default() };
        Document { pages: vec![page], ..Document::default() }
    };
    assert_even(&[("fields of a page", 1_000, &fields)], |document| docling::to_docling(document));
}

#[test]
fn tables_in_html() {
    let high = |n: usize| table(n / 4, 4);
    let wide = |n: usize| table(4, n / 4);
    assert_even(
        &[("a high table", 1_000, &high as &dyn Fn(usize) -> Table), ("a wide table", 1_000, &wide)],
        |table| html::table(table),
    );
}

/// An upload with so many attributes, principals and entries of its trail.
fn upload(n: usize) -> Uploaded {
    let attributes: std::collections::BTreeMap<String, String> =
        (0..n).map(|at| (format!("a{at}"), "b".into())).collect();
    let envelope = wire::Headers::default().envelope();
    let source = serde_json::json!({"uri": "", "filename": "a", "media_type": "", "size_bytes": 1, "sha256": ""});
    let upload = serde_json::json!({"envelope": envelope, "source": source, "options": {}});
    let mut upload: Uploaded = serde_json::from_value(upload).unwrap();
    upload.envelope.attributes = attributes;
    upload.envelope.access = vec!["someone".to_owned(); n];
    upload.envelope.trail = vec![Default::default(); n];
    upload
}

#[test]
fn records() {
    let encoded = |n: usize| wire::encode(&upload(n)).unwrap();
    assert_even(&[("an upload", 500, &encoded)], |bytes| wire::decode::<Uploaded>(bytes).unwrap());
    assert_even(&[("an upload", 500, &encoded)], |bytes| wire::decode_to_json(Uploaded::TOPIC, bytes).unwrap());
}

/// Lengths that a record does not have cost nothing: neither time nor memory is given for what is only announced.
#[test]
fn a_record_costs_no_more_than_its_bytes() {
    let good = wire::encode(&upload(9)).unwrap().to_vec();
    let usual = steps::count(good.clone(), &|bytes: &mut Vec<u8>| wire::decode::<Uploaded>(bytes));
    for at in 10..good.len() {
        for announced in
            [&[0xfe, 0xff, 0xff, 0xff, 0x0f][..], &[0xfe, 0xff, 0x7f], &[0xfe, 0x7f], &[0xff, 0xff, 0xff, 0x0f]]
        {
            let bytes = [&good[..at], announced, &good[at..]].concat();
            let steps = steps::count(bytes, &|bytes: &mut Vec<u8>| wire::decode::<Uploaded>(bytes));
            assert!(steps < usual * 4, "{steps} steps with {announced:?} at {at}, {usual} without");
        }
    }
}
