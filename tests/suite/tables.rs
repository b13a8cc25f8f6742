//! Tables of a real PDF, from its rules and its text alone: every cell, span and head of `reading/tables.pdf` as its
//! truth has it; what only looks like a table is none.

use std::path::{Path, PathBuf};

use deckle::{
    contract::document::{
        Block, BlockKind, Cell, Document, Page, Table, docling::to_docling, html, markdown::to_markdown,
    },
    decode::{
        Config, Decoders,
        sandbox::{self, File},
    },
    structure::layout,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Truth {
    pages: Vec<TruePage>,
}

#[derive(Deserialize)]
struct TruePage {
    tables: Vec<TrueTable>,
}

#[derive(Deserialize)]
struct TrueTable {
    rows: u32,
    columns: u32,
    /// Row, column, rows, columns, text, head.
    cells: Vec<(u32, u32, u32, u32, String, String)>,
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reading").join(name)
}

/// Where `make setup` puts the native libraries.
fn libraries() -> PathBuf {
    let home = std::env::var_os("DECKLE_HOME").map(PathBuf::from);
    let folder = home.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".deckle")).join("lib");
    assert!(folder.join("libpdfium.so").exists(), "no libpdfium.so in {}; run `make setup`", folder.display());
    folder
}

/// The page as the decoders read it and the layout orders it.
async fn page() -> Page {
    use sha2::Digest;
    let bytes = std::fs::read(data("tables.pdf")).expect("the sample");
    let file = File { sha256: hex::encode(sha2::Sha256::digest(&bytes)), bytes: bytes.into() };
    let config = Config { pdfium: Some(libraries()), ..Config::default() };
    let sandbox = sandbox::Config { children: Some(1), ..sandbox::Config::default() };
    let decoders = Decoders::start(Path::new(env!("CARGO_BIN_EXE_deckle")), sandbox, config);
    let content = decoders.read_page(&file, "application/pdf", 1, None).await.expect("a page").value;
    let mut page = Page {
        page_no: 1,
        width: content.width,
        height: content.height,
        lines: content.lines,
        images: content.images,
        drawing: content.drawing,
        ..Page::default()
    };
    layout::analyse(&mut page);
    page
}

fn tables(page: &Page) -> Vec<&Table> {
    page.blocks.iter().filter_map(|block| block.table.as_ref()).collect()
}

fn told(cell: &Cell) -> (u32, u32, u32, u32, String, String) {
    let head = if cell.header {
        "column"
    } else if cell.row_header {
        "row"
    } else {
        ""
    };
    let Cell { row_index, column_index, row_span, column_span, text, .. } = cell.clone();
    (row_index, column_index, row_span, column_span, text, head.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cell_of_every_table_is_where_it_stands() {
    let truth: Truth = serde_json::from_slice(&std::fs::read(data("tables.json")).unwrap()).unwrap();
    let page = page().await;
    let found = tables(&page);
    assert_eq!(found.len(), truth.pages[0].tables.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(&truth.pages[0].tables) {
        let mut cells: Vec<_> = found.cells.iter().map(told).collect();
        let mut wanted = expected.cells.clone();
        cells.sort();
        wanted.sort();
        assert_eq!(cells, wanted);
        assert_eq!((found.rows, found.columns), (expected.rows, expected.columns));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_have_the_boxes_of_their_rules_and_of_their_text() {
    let page = page().await;
    let found = tables(&page);
    let bbox = |table: &Table, text: &str| {
        let cell = table.cells.iter().find(|cell| cell.text == text).expect(text);
        cell.prov.as_ref().and_then(|place| place.bbox).expect(text)
    };
    let ruled = bbox(found[0], "Little Tern");
    let near = |a: f32, b: f32| (a - b).abs() < 1.5;
    assert!(
        near(ruled.left, 60.0) && near(ruled.right, 160.0) && near(ruled.top, 178.0) && near(ruled.bottom, 218.0),
        "{ruled:?}"
    );
    let text = bbox(found[2], "Pontoon A");
    assert!(near(text.left, 60.0) && text.width() < 60.0 && text.height() < 14.0, "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_say_what_spans_what() {
    let page = page().await;
    let ruled = html::table(tables(&page)[0]);
    assert!(ruled.contains("<th scope=\"col\" rowspan=\"2\">Boat</th>"), "{ruled}");
    assert!(ruled.contains("<th scope=\"rowgroup\" rowspan=\"2\">Little Tern</th>"), "{ruled}");
    let blocks: Vec<Block> = page.blocks.iter().filter(|block| block.kind == BlockKind::Table).cloned().collect();
    let document = Document {
        filename: "tables.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        sha256: "00".repeat(32),
        size_bytes: 1,
        title: None,
        pages: Vec::new(),
        blocks,
        fields: Vec::new(),
        confidence: None,
        facts: deckle::contract::document::metadata::DocumentMetadata::default(),
    };
    let markdown = to_markdown(&document);
    assert_eq!((markdown.matches("<table>").count(), markdown.matches("|---|---|---|").count()), (2, 1), "{markdown}");
    let docling = to_docling(&document);
    let cells = docling["tables"][0]["data"]["table_cells"].as_array().expect("cells");
    let heron = cells.iter().find(|cell| cell["text"] == "Heron").expect("a row's head");
    assert_eq!((&heron["row_header"], &heron["column_header"]), (&true.into(), &false.into()));
}
