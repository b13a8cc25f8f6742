//! The rules in the code, by what they give for the files of `tests/data` that need no model: a change of results must
//! change their number, or files that were read before stay `unchanged` although they would be read better.
//!
//! `DECKLE_BLESS=1 cargo test --test suite rules::` writes the results of a new number down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use bytes::Bytes;
use deckle::{
    config::RULES,
    contract::{
        checkpoint::Checkpoint,
        document::{Document, Page, markdown::to_markdown},
    },
    decode::{Decoders, File, text_layer},
    structure::{chunking, fields, layout, outline},
};
use sha2::{Digest, Sha256};

use crate::support::{data, decoders};

/// Text, Markdown, and PDFs with a text layer.
const FILES: &[&str] = &[
    "samples/plain.txt",
    "samples/notes.md",
    "samples/handbook.pdf",
    "samples/long.pdf",
    "samples/mixed.pdf",
    "reading/facts.pdf",
    "reading/journal.pdf",
    "reading/tables.pdf",
    "reading/foreign-ocr.pdf",
    "reading/hidden-by-actual-text.pdf",
];

/// What the rules make of a file, as text. Boxes are left out: the last digit of a coordinate may differ between
/// processors.
async fn result(decoders: &Decoders, name: &str) -> String {
    let bytes = Bytes::from(std::fs::read(data().join(name)).unwrap());
    let file = File { sha256: hex::encode(Sha256::digest(&bytes)), bytes };
    let opened = decoders.open(&file, name, None).await.unwrap().value;
    let facts = decoders.read_facts(&file, &opened.media_type, None).await.unwrap().value;
    let mut told = String::new();
    let mut pages: Vec<Page> = Vec::new();
    for page_no in 1..=opened.page_count.unwrap_or(0) {
        let content = decoders.read_page(&file, &opened.media_type, page_no, None).await.unwrap().value;
        let decision = text_layer::classify(&content.signals);
        writeln!(told, "page {page_no}: {}", decision.name()).unwrap();
        let mut page = content.into_page(page_no);
        layout::analyse(&mut page);
        pages.push(page);
    }
    let (title, mut blocks) = layout::assemble_blocks(pages.iter().collect());
    let mut found = fields::of_pages(pages.iter());
    if pages.is_empty() {
        found = fields::of_blocks(&opened.blocks);
        blocks = opened.blocks;
    }
    outline::set_levels(&mut blocks, &facts.outline);
    for block in &blocks {
        writeln!(told, "{:?} {:?} {:?}", block.kind, block.level, block.marker).unwrap();
    }
    for field in found {
        writeln!(told, "{} = {:?}", field.name, field.value).unwrap();
    }
    let words = |text: &str| text.split_whitespace().count();
    for chunk in chunking::chunk(&blocks, 256, &words, Checkpoint::open()).unwrap() {
        writeln!(told, "chunk of {}: {}", chunk.token_count, chunk.embedded_text()).unwrap();
    }
    told + &to_markdown(&Document { title: title.or(opened.title), blocks, ..Document::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_results_have_another_number() {
    let golden = data().join("rules.txt");
    let decoders = decoders();
    let mut results = BTreeMap::new();
    for name in FILES {
        results.insert(*name, hex::encode(Sha256::digest(result(&decoders, name).await))[..16].to_owned());
    }
    let mut told = format!("rules {RULES}\n");
    results.iter().for_each(|(name, hash)| writeln!(told, "{hash} {name}").unwrap());

    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    if known == told {
        return;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, now) = (lines(&known), lines(&told));
    let same_number = before.contains(&format!("rules {RULES}"));
    // A file more says nothing of the others; one less hides what became of it.
    let gone: Vec<_> = before.difference(&now).collect();
    let is_blessed = std::env::var_os("DECKLE_BLESS").is_some_and(|value| value == "1");
    assert!(
        !same_number || gone.is_empty(),
        "no longer given: {gone:?}. Where that is meant, raise RULES in src/config/fingerprint.rs (it is {RULES})"
    );
    assert!(
        is_blessed,
        "{} holds no results of rules {RULES} for {:?}: DECKLE_BLESS=1 cargo test --test suite rules:: writes them",
        golden.display(),
        now.difference(&before).collect::<Vec<_>>()
    );
    std::fs::write(&golden, told).unwrap();
}
