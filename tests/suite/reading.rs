//! What is read of PDFs reaches readers: the text, where it comes from and why, and what a file states of itself.

use deckle::contract::{document::BlockKind, record::Status};
use serde_json::Value;

use crate::support::{self, Home};

/// Reads a file of the test documents to its end.
async fn process(home: &Home, name: &str, more: &[&str]) {
    let mut command = home.command(["process".as_ref(), support::data().join(name).as_os_str()]);
    support::run(command.args(more)).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_drawn_keeps_the_text_that_it_has() {
    let home = Home::new();
    process(&home, "reading/huge-picture-beside-text.pdf", &[]).await;
    let header = support::header(&home.app(), "huge-picture-beside-text.pdf").await;
    assert_eq!(header.status(), Status::Partial);
    assert_eq!(header.current.unwrap().failed_pages, 0);
    let markdown = home.deckle(["show", "huge-picture-beside-text.pdf", "--to", "md"]).await.ended(0).stdout;
    assert!(markdown.contains("What stands below it is text like any other"), "{markdown}");
    assert!(markdown.contains("> Page 1 was read in part: page 1 holds a picture of 35000"), "{markdown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pdf_states_of_itself_reaches_readers() {
    let home = Home::new();
    process(&home, "reading/facts.pdf", &[]).await;
    let app = home.app();
    let header = support::header(&app, "facts.pdf").await;
    let document = support::document(&app, &header).await;
    assert_eq!(document.facts.information.author.as_deref(), Some("Ada Reed"));
    assert_eq!(document.facts.page_labels, ["i", "ii", "A-7"]);
    assert_eq!(document.facts.attachments[0].name, "ledger.xml");

    // Places are told on the upright page; the third is stored on its side.
    let tops: Vec<_> = document.facts.outline.iter().map(|entry| entry.destination.and_then(|to| to.top)).collect();
    assert_eq!(tops, [Some(64.0), Some(64.0), Some(60.0), None]);
    let inside = document.pages[0].links[1].destination.unwrap();
    assert_eq!((inside.page_no, inside.top), (3, Some(60.0)));
    assert_eq!(document.pages[0].form_fields.len(), 6);

    // The outline knows better than the size of the letters, which is the same.
    let headings = document.blocks.iter().filter(|block| block.kind == BlockKind::SectionHeader);
    let headings: Vec<_> = headings.map(|block| (block.text.as_str(), block.level)).collect();
    assert_eq!(headings, [("1.1 Names", Some(2)), ("2 Lamps", Some(1))]);

    let shown = home.deckle(["show", "facts.pdf", "--json"]).await.ended(0).json();
    assert_eq!(shown["facts"]["information"]["title"], "Harbour book");
    assert_eq!((&shown["links"][0]["page_no"], &shown["form_fields"][0]["value"]), (&1.into(), &"Petrel".into()));
    let text = home.deckle(["show", "facts.pdf"]).await.ended(0).stdout;
    for fact in ["Ada Reed", "2026-02-28T17:59:59+01:00 with pdfs.py", "ledger.xml", "application/xml"] {
        assert!(text.contains(fact), "{fact:?} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_about_each_page_stands_in_the_trail() {
    let home = Home::new();
    process(&home, "samples/mixed.pdf", &[]).await;
    let shown = home.deckle(["show", "mixed.pdf", "--json"]).await.ended(0).json();
    let ocr = |trail: &Value| trail.as_array().unwrap().iter().find(|entry| entry["stage"] == "ocr").unwrap().clone();
    let whole = ocr(&shown["current"]["trail"]);
    assert_eq!(whole["decisions"], serde_json::json!({ "text_layer": 2, "no_text_layer": 1 }));
    assert_eq!(whole["signals"], serde_json::json!({}), "signals are of one page");
    for (page, (decision, characters)) in
        [("text_layer", true), ("no_text_layer", false), ("text_layer", true)].into_iter().enumerate()
    {
        let entry = ocr(&shown["pages"][page]["trail"]);
        assert_eq!(entry["decisions"], serde_json::json!({ decision: 1 }));
        assert_eq!(entry["signals"]["characters"].as_f64().unwrap() > 10.0, characters, "{entry}");
    }
    let text = home.deckle(["show", "mixed.pdf"]).await.ended(0).stdout;
    assert!(text.contains("pages: 2 text layer, 1 recognised (no text layer)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ligatures_that_a_font_calls_signs_are_read_from_the_picture() {
    let home = Home::new();
    let truth = support::data().join("reading/ligatures.txt");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let truth = words(&std::fs::read_to_string(truth).unwrap());
    for (mode, mended) in [("auto", true), ("off", false)] {
        process(&home, "reading/ligatures.pdf", &["--force", "--ocr", mode]).await;
        let app = home.app();
        let document = support::document(&app, &support::header(&app, "ligatures.pdf").await).await;
        let text = document.blocks.iter().map(|block| block.text.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&text) == truth, mended, "{text}");
        assert!(mended || text.contains("of@ce"), "{text}");
        let shown = home.deckle(["show", "ligatures.pdf", "--json"]).await.ended(0).json();
        let trail = shown["pages"][0]["trail"].as_array().unwrap();
        let signals = &trail.iter().find(|entry| entry["stage"] == "ocr").unwrap()["signals"];
        assert_eq!(signals["mended_ligatures"].as_f64(), mended.then_some(3.0), "{signals}");
    }
}
