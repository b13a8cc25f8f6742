//! The whole program on the test documents: what a newcomer types, and what it leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use deckle::{
    app::App,
    config::Config,
    contract::{
        document::{Block, BlockKind, Document},
        record::{self, Assembled, Envelope, Event, Lane, Source, Uploaded, wire},
    },
    models::inference::Report,
};
use serde_json::Value;
use tokio::process::Command;
use unicode_normalization::UnicodeNormalization;

use crate::support::{self, Home, Ran, Started};

/// Pages and formats of the samples, as the table of `tests/data/README.md` has them.
const SAMPLES: [(&str, &str, i64); 8] = [
    ("handbook.pdf", "application/pdf", 4),
    ("letter.png", "image/png", 1),
    ("long.pdf", "application/pdf", 30),
    ("mixed.pdf", "application/pdf", 3),
    ("notes.md", "text/markdown", 0),
    ("photo.jpg", "image/jpeg", 1),
    ("plain.txt", "text/plain", 0),
    ("scan.pdf", "application/pdf", 2),
];

/// Why each bad file is refused.
const BAD: [(&str, &str); 9] = [
    ("binary.bin", "unsupported_type"),
    ("bomb.png", "limit.pixels"),
    ("empty.pdf", "empty_file"),
    ("encrypted.pdf", "pdf.encrypted"),
    ("not-a.pdf", "unsupported_type"),
    ("table.docx", "unsupported_type"),
    ("truncated.jpg", "image.damaged"),
    ("truncated.pdf", "pdf.damaged"),
    ("truncated.png", "image.damaged"),
];

/// Runs `deckle process` on some paths, with exports into `out`.
async fn process(home: &Home, paths: &[PathBuf], more: &[&str]) -> Ran {
    let out = home.join("out");
    let mut arguments: Vec<&OsStr> = vec!["process".as_ref()];
    arguments.extend(paths.iter().map(|path| path.as_os_str()));
    arguments.extend(["--out".as_ref(), out.as_os_str()]);
    arguments.extend(more.iter().map(OsStr::new));
    home.deckle(arguments).await
}

fn documents(ran: &Ran) -> BTreeMap<String, Value> {
    let documents = ran.json()["documents"].as_array().unwrap().clone();
    documents.into_iter().map(|it| (it["source"]["filename"].as_str().unwrap().to_owned(), it)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_are_published_and_their_exports_say_what_they_say() {
    let home = Home::new();
    let ran = process(&home, &[support::samples()], &[]).await.ended(0);
    for (name, ..) in SAMPLES {
        let row = ran.stdout.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {ran:?}"));
        assert!(row.contains("published"), "{row}");
        let done = ran.stderr.lines().filter(|line| line.contains(name)).count();
        assert_eq!(done, 1, "{name} is told to be done once: {}", ran.stderr);
    }
    assert!(ran.stdout.lines().last().is_some_and(|line| line.starts_with("8 published in ")), "{}", ran.stdout);

    let list = home.deckle(["list", "--json"]).await.ended(0).json();
    let list = list["documents"].as_array().unwrap();
    assert_eq!(list.len(), SAMPLES.len());
    for (name, media_type, pages) in SAMPLES {
        let row = list.iter().find(|row| row["source"]["filename"] == name).unwrap();
        assert_eq!((&row["status"], &row["source"]["media_type"]), (&"published".into(), &media_type.into()), "{name}");
        assert_eq!(row["current"]["page_count"], pages, "{name}");
        assert!(row["current"]["chunk_count"].as_i64().unwrap() > 0, "{name}");
    }

    let mut missing = Vec::new();
    for (name, truth) in support::truth()["documents"].as_object().unwrap() {
        let markdown = std::fs::read_to_string(home.join("out").join(Path::new(name).with_extension("md"))).unwrap();
        for page in truth["pages"].as_array().unwrap() {
            for snippet in page["snippets"].as_array().unwrap() {
                let snippet = snippet.as_str().unwrap();
                let is_there = if page["text_from"] == "ocr" {
                    words_found(&markdown, snippet) >= 0.95
                } else {
                    plain(&markdown).contains(&plain(snippet))
                };
                if !is_there {
                    missing.push(format!("{name} page {}: {snippet}", page["page_no"]));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in the Markdown: {missing:#?}");
    figures_and_fields_are_shown(&home).await;
}

/// The tables of the handbook with their captions, and what the scanned invoice names.
async fn figures_and_fields_are_shown(home: &Home) {
    let shown = home.deckle(["show", "handbook.pdf"]).await.ended(0).stdout;
    assert!(shown.contains("Table 1. Heights at the Long Quay"), "{shown}");
    let shown = home.deckle(["show", "handbook.pdf", "--json"]).await.ended(0).json();
    let figures = shown["figures"].as_array().unwrap();
    assert_eq!(shown["current"]["figure_count"], figures.len());
    let tides = figures.iter().find(|figure| figure["caption"].as_str().is_some_and(|it| it.starts_with("Table 1")));
    let tides = tides.unwrap_or_else(|| panic!("{figures:#?}"));
    assert_eq!((&tides["kind"], &tides["prov"][0]["page_no"]), (&"table".into(), &3.into()));
    let cells = tides["table"]["cells"].as_array().unwrap();
    assert!(cells.iter().any(|cell| cell["text"] == "06:43"), "{cells:?}");

    let shown = home.deckle(["show", "mixed.pdf", "--json"]).await.ended(0).json();
    let fields = shown["fields"].as_array().unwrap();
    let date = fields.iter().find(|field| field["name"] == "Date of invoice").unwrap_or_else(|| panic!("{fields:#?}"));
    assert_eq!((&date["value"], &date["method"]), (&"17 April 2026".into(), &"ocr".into()));
    assert_eq!(date["prov"]["page_no"], 2);
    assert!(date["confidence"].as_f64().is_some_and(|confidence| confidence > 0.5), "{date}");
    let table = home.deckle(["show", "mixed.pdf"]).await.ended(0).stdout;
    let row = table.lines().find(|line| line.contains("Date of invoice")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("17 April 2026"), "{row}");
    let shown = home.deckle(["show", "photo.jpg", "--json"]).await.ended(0).json();
    let fields: Vec<_> = shown["fields"].as_array().unwrap().iter().map(|it| [&it["name"], &it["value"]]).collect();
    assert_eq!(fields, [["Harbour office", "01632 960 144"]]);
    // Prose with colons in it names nothing.
    for name in ["handbook.pdf", "plain.txt", "notes.md", "letter.png", "long.pdf"] {
        let fields = &home.deckle(["show", name, "--json"]).await.ended(0).json()["fields"];
        assert_eq!(fields, &Value::Array(Vec::new()), "{name}");
    }
}

/// NFC, runs of white space as one space, Markdown's escapes and emphasis undone.
fn plain(text: &str) -> String {
    let text: String = text.nfc().filter(|c| !matches!(c, '\\' | '*' | '`')).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The share of a snippet's words that stand in the text, in the best window of as many words.
fn words_found(text: &str, snippet: &str) -> f64 {
    let (text, snippet) = (plain(text), plain(snippet));
    let (text, snippet): (Vec<&str>, Vec<&str>) = (text.split(' ').collect(), snippet.split(' ').collect());
    let found = |window: &[&str]| snippet.iter().zip(window).filter(|(a, b)| a == b).count();
    let best = text.windows(snippet.len()).map(found).max().unwrap_or(0);
    best as f64 / snippet.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_unchanged_and_force_is_a_new_run() {
    let home = Home::new();
    let paths = ["handbook.pdf", "notes.md", "letter.png"].map(|name| support::samples().join(name));
    let first = documents(&process(&home, &paths, &["--json"]).await.ended(0));
    let counts = support::record_counts(&home.app()).await;
    let exports = support::files(&home.join("out"));

    let again = process(&home, &paths, &["--json"]).await.ended(0);
    for (name, document) in documents(&again) {
        assert_eq!(document["outcome"], "unchanged", "{name}");
        assert_eq!(document["current"], first[&name]["current"], "{name}");
    }
    assert_eq!(support::record_counts(&home.app()).await, counts, "no new record in the log");
    let told = process(&home, &paths, &[]).await.ended(0).stdout;
    assert!(told.lines().last().is_some_and(|line| line.starts_with("3 unchanged in ")), "{told}");

    let forced = documents(&process(&home, &paths, &["--json", "--force"]).await.ended(0));
    for (name, document) in &forced {
        assert_eq!(document["outcome"], "published", "{name}");
        let [old, new] = [&first[name], document].map(|it| it["current"]["run"].as_i64().unwrap());
        assert!(new > old, "{name}: a new run");
        assert_eq!(document["document_id"], first[name]["document_id"], "{name}: the same document");
    }
    let app = home.app();
    support::assert_each_end_is_told_once(&app).await;
    assert_eq!(support::events::<record::Published>(&app).await.len(), 6);
    let now = support::files(&home.join("out"));
    assert!(now.keys().eq(exports.keys()));
    for (path, bytes) in now.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "md")) {
        assert_eq!(bytes, &exports[path], "{}: the same text", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_ask_get_every_chunk_and_vector_of_a_run_beside_its_end() {
    let home = Home::new();
    let path = support::samples().join("handbook.pdf");
    process(&home, std::slice::from_ref(&path), &[]).await.ended(0);
    let counts = support::record_counts(&home.app()).await;
    assert_eq!((counts["documents.chunks"], counts["documents.vectors"]), (0, 0), "nobody asked");

    home.configure("[publish]\nchunks = true\nvectors = true\n");
    process(&home, &[path, support::bad().join("truncated.pdf")], &["--force"]).await.ended(1);
    let app = home.app();
    let header = support::header(&app, "handbook.pdf").await;
    let current = header.current.as_ref().unwrap();
    let seen = support::seen(&app, &header).await;
    let mut chunks = support::events::<record::PublishedChunk>(&app).await;
    chunks.sort_by_key(|chunk| chunk.chunk_no);
    assert!(chunks.len() > 1 && chunks.len() == current.chunk_count as usize, "{}", chunks.len());
    for (chunk, row) in chunks.iter().zip(seen.chunks.as_array().unwrap()) {
        let envelope = &chunk.envelope;
        assert_eq!((&envelope.tenant, &envelope.document_id), (&header.key.tenant, &header.key.document_id));
        assert_eq!((envelope.run, envelope.version), (current.run, current.version), "the new run alone");
        assert!(envelope.trail.is_empty());
        assert_eq!((&chunk.source, &chunk.language), (&current.source, &current.language));
        assert_eq!((chunk.chunk_count, chunk.text.as_str()), (current.chunk_count, row["text"].as_str().unwrap()));
        assert_eq!(serde_json::to_value(&chunk.headings).unwrap(), row["headings"]);
        assert!(chunk.token_count > 0 && chunk.prov.iter().all(|place| place.page_no.is_some()));
    }
    let mut vectors = support::events::<record::PublishedVector>(&app).await;
    vectors.sort_by_key(|vector| vector.chunk_no);
    assert_eq!(vectors.len(), seen.vectors.len());
    for (vector, (chunk_no, row)) in vectors.iter().zip(&seen.vectors) {
        assert_eq!((vector.envelope.run, vector.envelope.version), (current.run, current.version));
        assert_eq!((vector.chunk_no, vector.dimension as usize), (*chunk_no, row.len()));
        let floats: Vec<f32> =
            vector.vector.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect();
        assert_eq!(&floats, row);
    }
    let ids = chunks.iter().map(|it| &it.envelope.event_id).chain(vectors.iter().map(|it| &it.envelope.event_id));
    let ids: BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), chunks.len() + vectors.len(), "each event has an id of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_document_is_read_again_the_old_run_stays_readable() {
    let home = Home::new();
    let path = support::samples().join("handbook.pdf");
    process(&home, std::slice::from_ref(&path), &[]).await.ended(0);
    let before = support::header(&home.app(), "handbook.pdf").await.current.unwrap();
    home.deckle(["ingest".as_ref(), "--force".as_ref(), path.as_os_str()]).await.ended(0);
    // All stages but the last: the new run is whole in the log, and not yet published.
    let stages = "split,ocr,vision,assemble,language";
    let mut command = home.command(["run", "--stage", stages, "--listen", ""]);
    let mut run = Started::new(command.stderr(Stdio::null()));
    let app = home.app();
    support::within("the new run is enriched", async {
        while support::events::<record::Enriched>(&app).await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
    let header = support::header(&app, "handbook.pdf").await;
    assert!(header.intake.as_ref().unwrap().run > before.run, "the new run is on its way");
    assert_eq!(header.current.as_ref(), Some(&before), "readers still see the old one");
    let seen = support::seen(&app, &header).await;
    assert!(!seen.vectors.is_empty() && seen.counts.unwrap()[3] as usize == seen.vectors.len());
    drop(app);

    let shown = home.deckle(["show", "handbook.pdf", "--to", "md"]).await.ended(0).stdout;
    assert!(shown.contains("Harbour House has stood at the end of the Long Quay since 1874."));
    process(&home, &[support::samples().join("notes.md")], &[]).await.ended(0);
    let after = support::header(&home.app(), "handbook.pdf").await.current.unwrap();
    assert!(after.run > before.run, "whoever runs next flips it");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_file_fails_for_its_own_reason() {
    let home = Home::new();
    let ran = process(&home, &[support::bad(), support::samples().join("notes.md")], &["--json"]).await.ended(1);
    let documents = documents(&ran);
    assert_eq!(documents["notes.md"]["status"], "published", "the others are read all the same");
    for (name, code) in BAD {
        let document = &documents[name];
        assert_eq!(document["status"], "failed", "{name}");
        let reasons = document["reasons"].as_array().unwrap();
        assert_eq!(reasons.len(), 1, "{name}: {reasons:?}");
        let message = reasons[0]["message"].as_str().unwrap();
        assert_eq!(reasons[0]["code"], code, "{name}: {message}");
        assert!(!message.is_empty() && !message.contains('\n') && !message.contains("panicked"), "{name}: {message}");
        assert_eq!(reasons[0]["retryable"], false, "{name}");
    }
    let exports: Vec<_> = support::files(&home.join("out")).into_keys().collect();
    assert_eq!(exports, [PathBuf::from("notes.json"), PathBuf::from("notes.md")], "what failed is not exported");
    support::assert_each_end_is_told_once(&home.app()).await;

    let again = process(&home, &[support::bad()], &[]).await.ended(1);
    for (name, code) in BAD {
        let told = again.stdout.lines().any(|line| line.contains(name) && line.contains("failed"));
        // A cell of the table breaks long reasons over lines.
        let words: String = again.stdout.split(['│', '┆', ' ', '\n']).collect();
        assert!(told && words.contains(code), "{name} is still told to have failed: {}", again.stdout);
    }

    let letters = home.deckle(["dead-letters", "list", "--json"]).await.ended(0).json();
    let letters = letters["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len(), BAD.len(), "a dead letter each");
    let table = home.deckle(["dead-letters", "list"]).await.ended(0).stdout;
    for letter in letters {
        let id = letter["id"].as_str().unwrap();
        assert!(table.contains(&id[..8]), "{table}");
        let shown = home.deckle(["dead-letters", "show", id]).await.ended(0).stdout;
        assert!(shown.contains(letter["reason"]["code"].as_str().unwrap()), "{shown}");
        let mut shown = home.deckle(["dead-letters", "show", id, "--json"]).await.ended(0).json();
        let (shown, listed) = (shown.as_object_mut().unwrap(), letter.as_object().unwrap());
        assert!(shown.remove("headers").is_some() && shown.remove("record").is_some());
        assert_eq!(shown, listed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_end_with_code_2_and_one_clear_line() {
    let home = Home::new();
    let one_line = |ran: Ran, holds: &str| {
        let ran = ran.ended(2);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(ran.stderr.contains(holds), "{holds:?} is not in {ran:?}");
        assert_eq!(ran.stdout, "", "{ran:?}");
    };
    one_line(home.deckle(["process", "no-such-file.pdf"]).await, "no-such-file.pdf");
    one_line(home.deckle(["process", "no-such-*.pdf"]).await, "no-such-*.pdf");
    one_line(home.deckle(["show", "nobody"]).await, "nobody");
    one_line(home.deckle(["dead-letters", "show", "nothing"]).await, "nothing");
    one_line(home.deckle(["list", "--config", "no-such.toml"]).await, "no-such.toml");

    home.configure("[worker]\nretrys = 5\n");
    one_line(home.deckle(["list"]).await, "retrys");
    home.configure("[worker]\nmax_in_flight = \"many\"\n");
    one_line(home.deckle(["list"]).await, "max_in_flight");
    home.configure("[worker]\nmax_in_flight = 0\n");
    one_line(home.deckle(["list"]).await, "max_in_flight");
    home.configure("");
    one_line(support::run(home.command(["list"]).env("DECKLE_WORKER__RETRYS", "5")).await, "retrys");
    home.deckle(["list"]).await.ended(0);
    home.deckle(["no-such-command"]).await.ended(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_can_be_listed_shown_and_checked() {
    let home = Home::new();
    let empty = home.deckle(["list"]).await.ended(0).stdout;
    assert!(empty.contains("deckle process"), "{empty}");
    process(&home, &[support::samples().join("handbook.pdf")], &[]).await.ended(0);

    let list = home.deckle(["list"]).await.ended(0).stdout;
    assert!(list.contains("handbook.pdf") && list.contains("published"), "{list}");
    assert_eq!(
        home.deckle(["list", "--status", "failed", "--json"]).await.ended(0).json()["documents"],
        Value::Array(vec![])
    );
    let listed = home.deckle(["list", "--json"]).await.ended(0).json();
    let id = listed["documents"][0]["document_id"].as_str().unwrap();

    let shown = home.deckle(["show", "handbook.pdf", "--json"]).await.ended(0).json();
    assert_eq!(shown["document_id"], id);
    assert_eq!(shown["pages"].as_array().unwrap().len(), 4);
    let chunks = shown["chunks"].as_array().unwrap();
    assert_eq!(chunks.len() as i64, shown["current"]["chunk_count"].as_i64().unwrap());
    assert_eq!(home.deckle(["show", &id[..8], "--json"]).await.ended(0).json(), shown, "by the start of its id");
    let text = home.deckle(["show", id]).await.ended(0).stdout;
    for fact in [id, "handbook.pdf", "4 pages", "all-MiniLM-L6-v2"] {
        assert!(text.contains(fact), "{fact:?} is not in:\n{text}");
    }
    let markdown = home.deckle(["show", id, "--to", "md"]).await.ended(0).stdout;
    assert_eq!(markdown.trim(), std::fs::read_to_string(home.join("out/handbook.md")).unwrap().trim());

    assert_eq!(home.deckle(["dead-letters", "list"]).await.ended(0).stdout.trim(), "no dead letters");
    let lines = home.deckle(["check", "--json"]).await.ended(0).json();
    let lines = lines.as_array().unwrap();
    assert!(lines.len() > 4 && lines.iter().all(|line| line["ok"] == true), "{lines:?}");
    let check = home.deckle(["check"]).await.ended(0).stdout;
    assert_eq!(check.lines().filter(|line| line.starts_with('✓')).count(), lines.len(), "{check}");
    let models = home.deckle(["models", "--json"]).await.ended(0).json();
    let files = models[0]["files"].as_array().unwrap();
    assert!(files.iter().all(|file| file["ok"] == true && file["installed_sha256"] == file["sha256"]), "{models}");
    assert!(home.deckle(["models"]).await.ended(0).stdout.contains("all-MiniLM-L6-v2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model_is_named_with_what_to_do() {
    let home = Home::new();
    std::fs::remove_file(home.join("models")).unwrap();
    let check = home.deckle(["check"]).await.ended(2);
    assert!(check.stdout.contains("✗") && check.stdout.contains("make setup"), "{check:?}");
    let models = home.deckle(["models"]).await.ended(2);
    assert!(models.stderr.contains("make setup"), "{models:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_have_any_name() {
    let home = Home::new();
    home.configure("tenant = \"Acme & Söhne\"\n");
    let paths = ["notes.md", "letter.png"].map(|name| support::samples().join(name));
    for (name, document) in documents(&process(&home, &paths, &["--json"]).await.ended(0)) {
        assert_eq!((&document["status"], &document["tenant"]), (&"published".into(), &"Acme & Söhne".into()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_record_went_with_the_log_is_submitted_anew() {
    let home = Home::new();
    let path = support::samples().join("notes.md");
    home.deckle(["ingest".as_ref(), path.as_os_str()]).await.ended(0);
    // Its submission is claimed and its header written, and nothing more.
    let mut run = Started::new(home.command(["run", "--stage", "split", "--listen", ""]).stderr(Stdio::null()));
    support::within("split takes it in", async {
        while support::records(&home.app(), Assembled::TOPIC).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    run.wait().await;
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let _ = std::fs::remove_file(home.join("data").join(file));
    }
    let ran = process(&home, &[path], &[]).await.ended(0);
    assert!(ran.stdout.contains("published") && ran.stderr.contains("submitted anew"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tenant_queues_is_spread_over_the_partitions() {
    let home = Home::new();
    let inbox = tempfile::tempdir().unwrap();
    support::write_texts(inbox.path(), 0, 40);
    home.deckle(["ingest".as_ref(), inbox.path().as_os_str()]).await.ended(0);
    let uploads = support::records(&home.app(), Uploaded::TOPIC).await;
    let partitions: BTreeSet<i32> = uploads.iter().map(|record| record.partition.number).collect();
    assert_eq!((uploads.len(), partitions.len()), (40, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_two_documents_meet_in_one_batch() {
    let home = Home::new();
    let mut config = Config { home: home.path().to_owned(), ..Config::default() };
    // Long enough for both to arrive, however busy the machine.
    config.inference.max_delay_ms = 500;
    let app = App::open(config).unwrap();
    let batches: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let seen = Arc::clone(&batches);
    app.embedder().await.unwrap().observe(move |report: &Report<'_>| {
        seen.lock().unwrap().push(report.tags.iter().map(|tag| tag.to_string()).collect());
    });
    let stage = app.stages(&["language".to_owned()]).remove(0);
    let (one, other) = (assembled(&app, "one").await, assembled(&app, "other").await);
    let headers = wire::Headers::default();
    let topic = stage.topics()[0];
    let (ours, theirs) = tokio::join!(stage.process(topic, &headers, &one), stage.process(topic, &headers, &other));
    assert_eq!((ours.unwrap().len(), theirs.unwrap().len()), (1, 1));
    let batches = batches.lock().unwrap();
    let shared = batches.iter().any(|tags| ["one", "other"].iter().all(|id| tags.iter().any(|tag| tag == id)));
    assert!(shared, "no batch held both: {batches:?}");
}

/// An event for the language stage: a document of one paragraph.
async fn assembled(app: &App, document_id: &str) -> Vec<u8> {
    let block =
        Block::new(BlockKind::Text, format!("The ferry to the island leaves at noon, says document {document_id}."));
    let document = Document {
        filename: format!("{document_id}.txt"),
        media_type: "text/plain".to_owned(),
        blocks: vec![block],
        ..Document::default()
    };
    let bytes = serde_json::to_vec(&document).unwrap();
    let blob = app.blobs.put("acme", document_id, "application/json", bytes.into()).await.unwrap();
    let envelope = Envelope {
        run: 1,
        version: 1,
        ..Envelope::new(document_id.to_owned(), "acme", document_id, Lane::Interactive)
    };
    let event = Assembled {
        embed_with: Vec::new(),
        envelope,
        source: Source::unknown(),
        page_count: 0,
        failed_pages: 0,
        document: blob,
        reasons: Vec::new(),
    };
    assert_eq!(Assembled::TOPIC, "documents.assembled");
    wire::encode(&event).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_json_is_a_docling_document() {
    let home = Home::new();
    process(&home, &[support::samples()], &["--to", "json"]).await.ended(0);
    let exports: Vec<_> =
        support::files(&home.join("out")).into_keys().map(|name| home.join("out").join(name)).collect();
    assert_eq!(exports.len(), SAMPLES.len());
    let python = support::set_up().join("venv-test/bin/python");
    assert!(python.is_file(), "{} is missing: run `make setup-test`", python.display());
    const VALIDATE: &str = "\
import sys
from docling_core.types.doc import DoclingDocument
for path in sys.argv[1:]:
    document = DoclingDocument.model_validate_json(open(path, encoding='utf-8').read())
    assert document.export_to_markdown().strip(), path
";
    let mut command = Command::new(python);
    let ran = support::run(command.args(["-c", VALIDATE]).args(exports).kill_on_drop(true)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_settings_after_others_are_a_run_of_their_own() {
    let home = Home::new();
    let paths = [support::samples().join("notes.md")];
    let mut runs = Vec::new();
    for language in ["en", "de", "en"] {
        let told = process(&home, &paths, &["--json", "--language", language]).await.ended(0);
        let document = &documents(&told)["notes.md"];
        assert_eq!(document["outcome"], "published", "{language}");
        runs.push(document["current"]["run"].as_i64().unwrap());
    }
    assert!(runs.is_sorted_by(|a, b| a < b), "{runs:?}");
    let again = process(&home, &paths, &["--json", "--language", "en"]).await.ended(0);
    assert_eq!(documents(&again)["notes.md"]["outcome"], "unchanged");
    support::assert_each_end_is_told_once(&home.app()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_one_name_in_two_folders_are_both_exported() {
    let home = Home::new();
    let folders = ["one", "two"].map(|name| home.join(name));
    for (folder, text) in folders.iter().zip(["The first of two.", "The second of two."]) {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("note.txt"), text).unwrap();
    }
    process(&home, &folders, &[]).await.ended(0);
    let files = support::files(&home.join("out"));
    let texts: Vec<_> = files.iter().filter(|(name, _)| name.extension().is_some_and(|it| it == "md")).collect();
    assert_eq!(texts.len(), 2, "{:?}", files.keys());
}
