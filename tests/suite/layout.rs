//! Layout with the real model: the blocks of a two-column page with a figure, from its text layer and from a scan, and
//! what the stage keeps of them.
//!
//! Needs `make setup`; without it the tests fail and say so.

use bytes::Bytes;
use deckle::{
    app::App,
    contract::{
        document::{BlockKind, Method, Page},
        record::{
            Envelope, Event, Lane, PageAnalysed, PageRead, Source,
            wire::{self, Headers},
        },
    },
    decode::File,
    imaging::Pixmap,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Home, data, decoders};

const TENANT: &str = "museum";

/// A page as the stage before hands it on: lines, images and its rendering.
async fn read(app: &App, name: &str) -> Page {
    let decoders = decoders();
    let bytes = Bytes::from(std::fs::read(data().join("reading").join(name)).unwrap());
    let file = File { sha256: hex::encode(Sha256::digest(&bytes)), bytes };
    let media_type = decoders.open(&file, name, None).await.unwrap().value.media_type;
    let content = decoders.read_page(&file, &media_type, 1, None).await.unwrap().value;
    let raster = decoders.render_page(&file, &media_type, 1, None).await.unwrap().value;
    let (method, lines) = match content.lines.is_empty() {
        true => {
            (Method::Ocr, decoders.recognise(&raster.png, raster.dpi, &["en".to_owned()]).await.unwrap().value.lines)
        }
        false => (Method::TextLayer, content.lines),
    };
    Page {
        page_no: 1,
        width: raster.page_width,
        height: raster.page_height,
        dpi: Some(raster.dpi),
        image: Some(app.blobs.put(TENANT, name, "image/png", raster.png).await.unwrap()),
        method: Some(method),
        lines,
        images: content.images,
        ..Page::default()
    }
}

/// Runs the stage on a page; gives the page and the event.
async fn analysed(app: &App, name: &str, page: &Page) -> (Page, PageAnalysed) {
    let envelope = Envelope::new(format!("{name}-read"), TENANT, name, Lane::Bulk);
    let json = Bytes::from(serde_json::to_vec(page).unwrap());
    let blob = app.blobs.put(TENANT, name, "application/json", json).await.unwrap();
    let source = Source { filename: name.to_owned(), ..Source::unknown() };
    let read = PageRead { envelope, source, page_no: 1, page_count: 1, facts: None, page: Some(blob), reason: None };
    let headers = Headers::parse(&wire::headers(&read, "ocr", None), 1);
    let stage = app.stages(&["vision".to_owned()]).remove(0);
    let outputs = stage.process(PageRead::TOPIC, &headers, &wire::encode(&read).unwrap()).await.unwrap();
    assert_eq!(outputs.iter().map(|output| output.topic).collect::<Vec<_>>(), [PageAnalysed::TOPIC]);
    let event: PageAnalysed = wire::decode(&outputs[0].value).unwrap();
    let page = app.blobs.get(event.page.as_ref().unwrap()).await.unwrap();
    (serde_json::from_slice(&page).unwrap(), event)
}

/// What must be found: kind and text of each block.
fn truth() -> Vec<(String, String)> {
    serde_json::from_slice(&std::fs::read(data().join("reading/journal.json")).unwrap()).unwrap()
}

fn kind(kind: BlockKind) -> String {
    serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
}

/// Letters and digits in lower case: what neither a font nor a recogniser changes.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_journal_reads_as_its_authors_wrote_it() {
    let home = Home::new();
    let app = home.app();
    let page = read(&app, "journal.pdf").await;
    assert_eq!(page.method, Some(Method::TextLayer));
    let (page, _) = analysed(&app, "journal.pdf", &page).await;
    let found: Vec<_> = page.blocks.iter().map(|block| (kind(block.kind), letters(&block.text))).collect();
    let wanted: Vec<_> = truth().into_iter().map(|(kind, text)| (kind, letters(&text))).collect();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_it_has_the_same_blocks() {
    let home = Home::new();
    let app = home.app();
    let page = read(&app, "journal.jpg").await;
    assert_eq!(page.method, Some(Method::Ocr));
    let (page, _) = analysed(&app, "journal.jpg", &page).await;
    // A recogniser may misread a letter, hardly the beginning of every block.
    let beginning = |text: &str| letters(text).chars().take(8).collect::<String>();
    let found: Vec<_> = page.blocks.iter().map(|block| (kind(block.kind), beginning(&block.text))).collect();
    let wanted: Vec<_> = truth().into_iter().map(|(kind, text)| (kind, beginning(&text))).collect();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_cut_out_once_and_the_trail_names_the_model() {
    let home = Home::new();
    let app = home.app();
    let page = read(&app, "journal.pdf").await;
    let (first, event) = analysed(&app, "journal.pdf", &page).await;
    let picture = first.blocks.iter().find(|block| block.kind == BlockKind::Picture).unwrap();
    let image = picture.image.as_ref().unwrap();
    let cut = Pixmap::from_png(&app.blobs.get(image).await.unwrap(), 50_000_000).unwrap();
    let bbox = picture.prov[0].bbox.unwrap();
    let scale = page.dpi.unwrap() / 72.0;
    assert!((cut.width as f32 - bbox.width() * scale).abs() < 2.0, "{} pixels for {bbox:?}", cut.width);
    assert!((cut.height as f32 - bbox.height() * scale).abs() < 2.0, "{} pixels for {bbox:?}", cut.height);

    let trail = event.envelope.trail.last().unwrap();
    assert_eq!((trail.stage.as_str(), trail.model.as_deref()), ("vision", Some("layout-cdla")));
    assert_eq!(trail.weights_sha256.as_ref().map(String::len), Some(64));
    assert!(trail.cpu_us > 0);

    let (second, _) = analysed(&app, "journal.pdf", &page).await;
    assert_eq!(second, first, "a page seen again is the same, blobs and all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_nothing_to_look_at_costs_no_model() {
    let home = Home::new();
    let app = home.app();
    let page = Page { images: Vec::new(), ..read(&app, "journal.pdf").await };
    let (page, event) = analysed(&app, "journal.pdf", &page).await;
    assert!(page.regions.is_empty());
    let trail: Value = serde_json::to_value(event.envelope.trail.last().unwrap()).unwrap();
    assert_eq!(trail["model"], Value::Null);
    assert!(page.blocks.iter().all(|block| block.kind != BlockKind::Picture));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_weights_the_stage_waits_and_says_for_what() {
    let home = Home::new();
    let app = home.app();
    let page = read(&app, "journal.pdf").await;
    std::fs::remove_file(home.join("models")).unwrap();
    let envelope = Envelope::new("event".to_owned(), TENANT, "journal.pdf", Lane::Bulk);
    let json = Bytes::from(serde_json::to_vec(&page).unwrap());
    let blob = app.blobs.put(TENANT, "journal.pdf", "application/json", json).await.unwrap();
    let read = PageRead {
        envelope,
        source: Source::unknown(),
        page_no: 1,
        page_count: 1,
        facts: None,
        page: Some(blob),
        reason: None,
    };
    let headers = Headers::parse(&wire::headers(&read, "ocr", None), 1);
    let stage = app.stages(&["vision".to_owned()]).remove(0);
    let failure = stage.process(PageRead::TOPIC, &headers, &wire::encode(&read).unwrap()).await.unwrap_err();
    let told = failure.to_string();
    assert!(told.starts_with("model is unavailable: model layout-cdla: ") && told.contains("make setup"), "{told}");
}
