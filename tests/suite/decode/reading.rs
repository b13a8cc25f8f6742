//! What PDFs say of their pages and of themselves, on `tests/data/reading`: whether a text layer is to be believed, and
//! the facts beside the text.

use deckle::{
    contract::document::{
        Bbox,
        metadata::{DocumentMetadata, FormFieldKind},
    },
    decode::{
        Config, Decoders, PageContent,
        sandbox::{self, File},
        text_layer,
    },
};

use super::{Decision, assert_near, code, data, decoders, decoders_with, file, pdf, sample, text, written};

const PDF: &str = "application/pdf";

async fn page(decoders: &Decoders, file: &File, page_no: u32) -> PageContent {
    decoders.read_page(file, PDF, page_no, None).await.unwrap().value
}

async fn facts(file: &File) -> DocumentMetadata {
    decoders().read_facts(file, PDF, None).await.unwrap().value
}

/// What a reader sees on the first page of a document of `reading`.
fn truth(name: &str) -> String {
    let text = std::fs::read_to_string(data(&format!("reading/{name}.txt"))).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_way_in_which_a_text_layer_misleads_is_seen() {
    let decoders = decoders();
    for (name, decision) in [
        ("hidden-by-actual-text", "silent"),
        ("foreign-ocr", "invisible"),
        ("wrong-meanings", "no_words"),
        ("unmapped", "unmapped"),
        ("ligatures", "text_layer"),
        ("picture-of-text", "text_layer_and_images"),
        ("facts", "text_layer"),
    ] {
        let page = page(&decoders, &sample(&format!("reading/{name}.pdf")), 1).await;
        let judged = text_layer::classify(&page.signals);
        assert_eq!(judged.name(), decision, "{name}: {:?}", page.signals.named());
        if matches!(judged, Decision::Ocr("silent" | "invisible" | "no_words")) {
            assert_ne!(text(&page.lines), truth(name), "{name} no longer misleads");
        }
    }
}

#[tokio::test]
async fn the_signals_of_a_page_name_what_the_rule_compares() {
    let page = page(&decoders(), &sample("reading/hidden-by-actual-text.pdf"), 1).await;
    let signals = page.signals.named();
    assert!(signals["silent"] > text_layer::threshold::SILENT, "{signals:?}");
    assert_eq!((signals["characters"], signals["unmapped"], signals["invisible"]), (26.0, 0.0, 0.0));
    assert!(signals.values().all(|value| value.is_finite()));
}

#[tokio::test]
async fn a_picture_of_text_is_read_besides_and_one_behind_text_is_not() {
    let page = page(&decoders(), &sample("reading/picture-of-text.pdf"), 1).await;
    let Decision::TextLayerAndImages(boxes) = text_layer::classify(&page.signals) else { panic!("{:?}", page.signals) };
    assert_eq!((boxes.len(), page.images.len()), (1, 2));
    assert_near(boxes[0], [60.0, 232.0, 360.0, 362.0]);
    assert!(text(&page.lines).starts_with("The harbour master keeps a book"), "{:?}", page.lines);
}

#[tokio::test]
async fn a_document_states_its_facts() {
    let facts = facts(&sample("reading/facts.pdf")).await;
    let information = &facts.information;
    let stated = [&information.title, &information.author, &information.subject, &information.keywords];
    assert_eq!(stated.map(|it| it.as_deref().unwrap()), ["Harbour book", "Ada Reed", "Boats", "harbour, boats"]);
    let stated = [&information.creator, &information.producer, &information.language, &information.format_version];
    assert_eq!(stated.map(|it| it.as_deref().unwrap()), ["pdfs.py", "by hand", "en-GB", "1.7"]);
    assert_eq!(information.created.as_deref(), Some("2026-02-28T17:59:59+01:00"));
    assert_eq!(information.modified.as_deref(), Some("2026-03-01T00:00:00Z"));

    let outline = facts.outline.iter().map(|entry| {
        let place = entry.destination.as_ref().map(|place| (place.page_no, place.stated));
        (entry.level, entry.title.as_str(), place)
    });
    assert_eq!(
        outline.collect::<Vec<_>>(),
        [
            (1, "1 Boats", Some((1, [Some(60.0), Some(778.0)]))),
            (2, "1.1 Names", Some((2, [None, Some(778.0)]))),
            (1, "2 Lamps", Some((3, [Some(60.0), Some(778.0)]))),
            (1, "On the net", None),
        ]
    );
    assert_eq!(facts.page_labels, ["i", "ii", "A-7"]);

    let [ledger] = &facts.attachments[..] else { panic!("{:?}", facts.attachments) };
    assert_eq!((ledger.name.as_str(), ledger.size_bytes), ("ledger.xml", Some(59)));
    let types = (ledger.media_type.as_deref(), ledger.declared_media_type.as_deref());
    assert_eq!(types, (Some("application/xml"), Some("text/xml")));
    let said = (ledger.description.as_deref(), ledger.relationship.as_deref());
    assert_eq!(said, (Some("What every boat owes"), Some("Data")));
    let content = b"<?xml version=\"1.0\"?>\n<ledger><boat>Petrel</boat></ledger>\n".to_vec();
    assert_eq!(ledger.sha256, Some(file(content).sha256));
    assert!(!facts.cut_short);
}

#[tokio::test]
async fn links_and_form_fields_have_their_place_and_what_was_filled_in_is_read_once() {
    let page = page(&decoders(), &sample("reading/facts.pdf"), 1).await;
    // A link that starts a program is none.
    let [address, inside] = &page.links[..] else { panic!("{:?}", page.links) };
    assert_near(address.bbox, [60.0, 128.0, 300.0, 142.0]);
    assert_eq!(address.uri.as_deref(), Some("https://example.org/boats?name=petrel"));
    assert_eq!(inside.destination.map(|to| (to.page_no, to.stated)), Some((3, [Some(60.0), Some(700.0)])));

    use FormFieldKind::{CheckBox, ComboBox, Password, Text};
    let fields = page.form_fields.iter().map(|f| (f.name.as_str(), f.kind, f.value.as_deref(), f.checked));
    assert_eq!(
        fields.collect::<Vec<_>>(),
        [
            ("boat.name", Text, Some("Petrel"), None),
            ("notes", Text, Some("Leaks a little.\nBring a bucket."), None),
            ("secret", Password, None, None),
            ("consent", CheckBox, Some("Yes"), Some(true)),
            ("berth", ComboBox, Some("South"), None),
            ("unseen", Text, Some("nobody sees this"), None),
        ]
    );
    let name = &page.form_fields[0];
    assert_eq!((name.label.as_deref(), name.required, name.read_only), (Some("Name of the boat"), true, false));
    assert_near(name.bbox, [160.0, 226.0, 400.0, 246.0]);
    let berths: Vec<_> = page.form_fields[4].options.iter().map(|it| (it.label.as_str(), it.selected)).collect();
    assert_eq!(berths, [("North", false), ("South", true)]);

    let lines: Vec<&str> = page.lines.iter().map(|line| line.text.as_str()).collect();
    for (value, times) in
        [("Petrel", 1), ("Leaks a little.", 1), ("South", 1), ("open sesame", 0), ("nobody sees this", 0)]
    {
        assert_eq!(lines.iter().filter(|line| line.contains(value)).count(), times, "{value}: {lines:?}");
    }
}

#[tokio::test]
async fn a_hostile_attachment_costs_what_is_known_of_attachments_and_nothing_else() {
    let sandbox = sandbox::Config { children: Some(1), memory_mb: 512, ..sandbox::Config::default() };
    let decoders = decoders_with(Config::default(), sandbox);
    let bomb = sample("reading/attachment-bomb.pdf");
    let facts = decoders.read_facts(&bomb, PDF, None).await.unwrap().value;
    assert_eq!(facts.information.title.as_deref(), Some("Small letter"));
    assert!(facts.cut_short);
    let known: Vec<_> = facts.attachments.iter().map(|it| (it.name.as_str(), it.sha256.is_some())).collect();
    assert_eq!(known, [("bomb.bin", false), ("hello.txt", false)]);
    assert!(text(&page(&decoders, &bomb, 1).await.lines).starts_with("The harbour master"));
}

/// A PDF of one empty page with an outline of these objects, numbered from 5 on; its root is 4.
fn outlined(entries: impl Iterator<Item = String>) -> File {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] >>".to_owned(),
        "<< /Type /Outlines /First 5 0 R >>".to_owned(),
    ];
    objects.extend(entries);
    file(written(&objects))
}

#[tokio::test]
async fn an_outline_that_goes_round_in_circles_ends() {
    let entries = [
        "<< /Title (a) /Parent 4 0 R /Next 6 0 R /First 7 0 R >>",
        "<< /Title (b) /Parent 4 0 R /Next 5 0 R >>",
        "<< /Title (c) /Parent 5 0 R /First 5 0 R /Next 7 0 R /Dest [3 0 R /Fit] >>",
    ];
    let facts = facts(&outlined(entries.into_iter().map(str::to_owned))).await;
    let found: Vec<_> = facts.outline.iter().map(|entry| (entry.level, entry.title.as_str())).collect();
    assert_eq!(found, [(1, "a"), (2, "c"), (1, "b")]);
    assert_eq!(facts.outline[1].destination.map(|to| to.page_no), Some(1));
}

#[tokio::test]
async fn an_endless_outline_and_an_abyss_are_cut_and_told() {
    let wide = (0..12_000).map(|at| format!("<< /Title (entry {at}) /Parent 4 0 R /Next {} 0 R >>", at + 6));
    let wide = facts(&outlined(wide)).await;
    assert_eq!((wide.outline.len(), wide.cut_short), (10_000, true));
    let deep = (0..200).map(|at| format!("<< /Title (entry {at}) /Parent {} 0 R /First {} 0 R >>", at + 4, at + 6));
    let deep = facts(&outlined(deep)).await;
    assert_eq!((deep.outline.len(), deep.outline[31].level, deep.cut_short), (32, 32, true));
    let long = facts(&outlined(std::iter::once(format!("<< /Title ({}) /Parent 4 0 R >>", "x".repeat(100_000))))).await;
    assert_eq!(long.outline[0].title.len(), 4_000);
}

#[tokio::test]
async fn what_nobody_sees_is_no_text_and_all_boxes_are_on_the_page() {
    let fonts = "/CropBox [50 50 250 350] /Resources << /Font << /F 5 0 R >> >>";
    // One line on the page, one over its edge, three beside, above and below it.
    let places = [
        (100, 200, "seen"),
        (240, 250, "over the edge"),
        (260, 200, "beside"),
        (100, 360, "above"),
        (100, 20, "below"),
    ];
    let content: String = places.iter().map(|(x, y, text)| format!("BT /F 12 Tf {x} {y} Td ({text}) Tj ET ")).collect();
    let page = page(&decoders(), &file(pdf(fonts, &content, &[])), 1).await;
    let texts: Vec<&str> = page.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["seen", "over"], "words of which nothing can be seen are none");
    let on_page = |bbox: &Bbox| {
        (0.0..=200.0).contains(&bbox.left)
            && (bbox.left..=200.0).contains(&bbox.right)
            && (0.0..=300.0).contains(&bbox.top)
            && (bbox.top..=300.0).contains(&bbox.bottom)
    };
    let boxes = page.lines.iter().flat_map(|line| line.words.iter().map(|word| &word.bbox).chain([&line.bbox]));
    assert!(boxes.clone().all(on_page), "{:?}", boxes.collect::<Vec<_>>());
}

#[tokio::test]
async fn text_beside_a_scan_does_not_hide_that_it_must_be_read() {
    let picture = "<< /Type /XObject /Subtype /Image /Width 2 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 \
                   /Length 2 >>\nstream\nAB\nendstream";
    let resources = "/Resources << /Font << /F 5 0 R >> /XObject << /I 6 0 R >> >>";
    let content = "q 300 0 0 400 0 0 cm /I Do Q BT /F 12 Tf 20 500 Td (A note of the printer above the sheet) Tj ET";
    let page = page(&decoders(), &file(pdf(resources, content, &[picture])), 1).await;
    assert_eq!(text_layer::classify(&page.signals), Decision::Ocr("no_text_layer"));
}

#[tokio::test]
async fn an_encrypted_document_states_its_facts_to_those_who_may_open_it() {
    let (decoders, file) = (decoders(), sample("bad/encrypted.pdf"));
    let open = decoders.read_facts(&file, PDF, Some("open-sesame")).await.unwrap().value;
    assert_eq!(open.information.author.as_deref(), Some("deckle"));
    let closed = decoders.read_facts(&file, PDF, None).await.unwrap().value;
    assert_eq!(closed, DocumentMetadata { cut_short: true, ..DocumentMetadata::default() });
    assert_eq!(decoders.open(&file, "x.pdf", None).await.unwrap_err().code(), code::PDF_ENCRYPTED);
}
