//! Exports on the whole program: DuckDB opens them, memory stays the same however much is exported, a document is in one
//! as one run, and nothing half is ever called by the file's name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use deckle::{
    app::App,
    contract::{
        document::{Bbox, Chunk, Confidence, Locator, Method},
        error::Reason,
        record::{Source, Status},
    },
    models::{Catalogue, EMBED},
    store::{Completion, DocumentKey, PageRow, PublishedVersion, RunKey, Store, Submission, VectorSpace},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, process::Command};

use crate::support::{self, Home, Started, run, servers};

const TENANT: &str = "acme";

fn key(document_id: &str) -> DocumentKey {
    DocumentKey { tenant: TENANT.into(), document_id: document_id.into() }
}

fn source(filename: &str) -> Source {
    Source {
        uri: "blob:acme/d/00".into(),
        filename: filename.into(),
        media_type: "application/pdf".into(),
        declared_media_type: None,
        size_bytes: 7_000_000_000,
        sha256: "ab".repeat(32),
    }
}

/// A run that was published in its first version.
fn current(run: i64, chunk_count: u32) -> PublishedVersion {
    serde_json::from_value(json!({
        "run": run, "version": run, "status": "published", "fingerprint": "f", "source": source("a.pdf"),
        "page_count": 0, "failed_pages": 0, "block_count": 3, "chunk_count": chunk_count, "language": "de",
        "title": null, "confidence": null, "document": null, "reasons": [], "published_at": run, "trail": [],
    }))
    .unwrap()
}

/// The model that searches use, and exports unless told otherwise.
fn space() -> VectorSpace {
    let entry = Catalogue::load().models.into_iter().next().unwrap();
    let (model, dimension) = (entry.name, entry.dimension.unwrap());
    VectorSpace { model, chunking: "whole".into(), dimension, normalized: true }
}

/// A unit vector like no other's.
fn vector(seed: u64) -> Vec<f32> {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        mixed ^= mixed << 13;
        mixed ^= mixed >> 7;
        mixed ^= mixed << 17;
        (mixed >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let raw: Vec<f32> = (0..space().dimension).map(|_| next()).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / length).collect()
}

fn chunk(chunk_no: u32, text: String) -> Chunk {
    let bbox = Bbox { left: 1.5, top: 2.25, right: 300.0, bottom: 4.125 };
    let headings = vec!["Über Bolzen".to_owned(), format!("Teil {chunk_no}")];
    Chunk { chunk_no, headings, text, prov: vec![Locator::on_page(chunk_no + 1, bbox)], token_count: 12 }
}

/// Publishes a document of so many chunks, of which each says whose it is.
async fn publish(store: &dyn Store, key: &DocumentKey, run: i64, chunk_count: u32, padding: usize) {
    let run_key = RunKey { document: key.clone(), run };
    let text = |chunk_no| format!("{} run {run} chunk {chunk_no} {}", key.document_id, "lorem ipsum ".repeat(padding));
    let chunks: Vec<_> = (0..chunk_count).map(|chunk_no| chunk(chunk_no, text(chunk_no))).collect();
    store.put_chunks(&run_key, run, &chunks).await.unwrap();
    let seed = |chunk_no: u32| run.unsigned_abs() * 1_000 + u64::from(chunk_no);
    let vectors: Vec<_> = (0..chunk_count).map(|chunk_no| (chunk_no, vector(seed(chunk_no)))).collect();
    store.put_vectors(&run_key, run, &space(), &vectors).await.unwrap();
    store.trim_chunks(&run_key, run, chunk_count).await.unwrap();
    store.set_current(key, &current(run, chunk_count)).await.unwrap();
}

/// The Python of the test environment that `make setup` builds.
fn read_export(arguments: &[&str]) -> Command {
    let python = support::set_up().join("venv-test/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_export.py")).args(arguments);
    command
}

/// The rows of a query of a Parquet export by DuckDB, where it is called `export`.
async fn query(file: &Path, sql: &str) -> Value {
    run(&mut read_export(&["query", file.to_str().unwrap(), sql])).await.ended(0).json()
}

async fn export(home: &Home, more: &[&str], out: &Path) {
    let mut command = home.command(["export"]);
    run(command.args(more).arg("--out").arg(out)).await.ended(0);
}

/// The lines of an export to standard output.
async fn lines(home: &Home, more: &[&str]) -> Vec<Value> {
    let mut command = home.command(["export", "--format", "jsonl", "--out", "-"]);
    let ran = run(command.args(more)).await.ended(0);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command to its end and tells the most memory it held, in bytes.
async fn peak(mut command: Command) -> u64 {
    let mut child = Started::new(command.stdout(Stdio::null()));
    let mut most = 0;
    loop {
        if let Some(status) = child.ended() {
            assert!(status.success());
            return most;
        }
        // Of this program alone: what the kernel adds up for a parent counts the memory before exec too.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap_or_default();
        let told = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = told.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_100000_chunks_opens_in_duckdb_and_takes_no_more_memory_than_one_of_10000() {
    const DOCUMENTS: u32 = 1_000;
    const CHUNKS: u32 = 100;
    /// Bytes that a peak may differ by: what allocation leaves unused, and how full the row groups are. Vectors and
    /// texts alone are four times that.
    const SLACK: u64 = 48 << 20;
    let home = Home::new();
    let app = home.app();
    let store = Arc::clone(&app.store);
    stream::iter(1..=DOCUMENTS)
        .for_each_concurrent(16, |number| {
            let store = Arc::clone(&store);
            async move {
                let work =
                    async move { publish(&*store, &key(&format!("{number:05}")), number.into(), CHUNKS, 60).await };
                tokio::spawn(work).await.unwrap();
            }
        })
        .await;
    // By the time of publishing, which here is the number.
    let tenth = format!("{}", jiff::Timestamp::from_microsecond(i64::from(DOCUMENTS / 10) + 1).unwrap());
    for form in ["parquet", "jsonl"] {
        let (small, large) = (home.join(format!("small.{form}")), home.join(format!("large.{form}")));
        let mut command = home.command(["export", "--vectors", "--until", &tenth, "--out"]);
        command.arg(&small);
        let of_small = peak(command).await;
        let mut command = home.command(["export", "--vectors", "--out"]);
        command.arg(&large);
        let of_large = peak(command).await;
        let mib = |bytes: u64| bytes >> 20;
        let size = |file: &Path| mib(std::fs::metadata(file).unwrap().len());
        println!(
            "{form}: 10,000 chunks ({} MiB) at most {} MiB, 100,000 chunks ({} MiB) at most {} MiB",
            size(&small),
            mib(of_small),
            size(&large),
            mib(of_large)
        );
        assert!(of_large < of_small + SLACK, "{form}: {of_large} bytes where a tenth took {of_small}");
    }
    let file = home.join("large.parquet");
    let told = query(
        &file,
        "SELECT count(*), count(DISTINCT document_id), count(DISTINCT text), sum(chunk_no), min(len(vector)), \
         max(len(vector)), max(abs(list_cosine_similarity(vector, vector) - 1)) < 1e-5, \
         count(*) FILTER (starts_with(text, document_id || ' run ' || run || ' chunk ' || chunk_no)) FROM export",
    )
    .await;
    let (rows, dimension) = (DOCUMENTS * CHUNKS, space().dimension);
    let numbers = u64::from(DOCUMENTS) * u64::from(CHUNKS * (CHUNKS - 1) / 2);
    assert_eq!(told, json!([[rows, DOCUMENTS, rows, numbers, dimension, dimension, true, rows]]));
    let groups = format!("SELECT count(DISTINCT row_group_id) FROM parquet_metadata('{}')", file.display());
    let groups = query(&file, &groups).await[0][0].as_u64().unwrap();
    assert!((4..200).contains(&groups), "{groups} row groups");
    let lines = std::fs::read_to_string(home.join("large.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), rows as usize);
    let small = query(&home.join("small.parquet"), "SELECT count(*), max(run) FROM export").await;
    assert_eq!(small, json!([[rows / 10, DOCUMENTS / 10]]));
}

/// Documents that fill every column, and leave every column empty.
async fn all_kinds(app: &App) {
    let reason = Reason {
        code: "limit.time".into(),
        message: "took longer than 60 s, \"quoted\"".into(),
        stage: "ocr".into(),
        page_no: Some(2),
        retryable: true,
    };
    let whole = key("whole");
    let run_key = RunKey { document: whole.clone(), run: 1_700_000_000_000_001 };
    let (run, version) = (run_key.run, run_key.run + 5);
    let page_json = json!({
        "page_no": 1, "width": 595.25, "height": 842.0, "rotation": 90, "decision": "", "lines": [{ "text": "unread" }],
        "blocks": [{ "text": "Erstens" }, { "text": "" }, { "text": "zweitens\nund 😀" }],
    });
    let bytes = Bytes::from(page_json.to_string());
    let blob = app.blobs.put(TENANT, "whole", "application/json", bytes).await.unwrap();
    let confidence = Some(Confidence { mean: 0.5, p10: 0.25 });
    let row = |page_no, page, reason: Option<Reason>| PageRow {
        page_no,
        version,
        seq: page_no,
        method: reason.is_none().then_some(Method::Ocr),
        confidence: confidence.filter(|_| reason.is_none()),
        page,
        reason,
        trail: Vec::new(),
    };
    app.store.put_page(&run_key, &row(1, Some(blob), None)).await.unwrap();
    app.store.put_page(&run_key, &row(2, None, Some(reason.clone()))).await.unwrap();
    let everywhere = Locator {
        page_no: None,
        bbox: None,
        start_ms: Some(5),
        end_ms: Some(1 << 40),
        sheet: Some("Blatt \"1\"".into()),
        cell_range: Some("A1:C3".into()),
    };
    let mut chunks =
        vec![chunk(0, "Grüße, 'quoted'\n\t\u{1}\\ 😀".into()), chunk(1, String::new()), chunk(2, "…".into())];
    chunks[0].prov.push(everywhere);
    chunks[1].prov.clear();
    chunks[1].headings.clear();
    app.store.put_chunks(&run_key, version, &chunks).await.unwrap();
    let vectors = [(0, vector(1)), (2, vector(2))];
    app.store.put_vectors(&run_key, version, &space(), &vectors).await.unwrap();
    let intake = Submission {
        run,
        source: source("a.pdf"),
        upload_id: "u".into(),
        fingerprint: "f".into(),
        page_count: 2,
        attributes: BTreeMap::from([("color".into(), "grün".into()), ("empty".into(), String::new())]),
        access: vec!["group:a".into(), "user:b".into()],
    };
    app.store.put_intake(&whole, &intake, run).await.unwrap();
    let published = PublishedVersion {
        attributes: intake.attributes.clone(),
        access: intake.access.clone(),
        version,
        status: Status::Partial,
        source: source("größe.pdf"),
        page_count: 2,
        failed_pages: 1,
        title: Some("Über Bolzen".into()),
        confidence,
        reasons: vec![reason.clone()],
        published_at: version,
        ..current(run, 3)
    };
    app.store.set_current(&whole, &published).await.unwrap();
    let failed = Completion {
        run: 1_700_000_001_000_000,
        version: 1_700_000_001_000_000,
        upload_id: "u".into(),
        fingerprint: "f".into(),
        event_id: "e".into(),
        status: Status::Failed,
        source: source("b.pdf"),
        reasons: vec![Reason { page_no: None, retryable: false, ..reason }],
        at: 1_700_000_001_000_009,
    };
    app.store.put_ended(&key("failed"), &failed).await.unwrap();
    app.store
        .put_ended(&whole, &Completion { run, version, at: version, status: Status::Partial, ..failed })
        .await
        .unwrap();
    app.store.erase(&key("gone"), 1_700_000_002_000_000).await.unwrap();
    let under_way = Submission { run: 1_700_000_003_000_000, ..intake };
    app.store.put_intake(&key("under-way"), &under_way, under_way.run).await.unwrap();
}

/// A value without its nulls, floats as the 32 bits they are, and times without trailing zeros.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), normal(value)))
            .collect(),
        Value::Array(values) => values.iter().map(normal).collect(),
        Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap() as f32),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => json!(time.as_microsecond()),
            Err(_) => value.clone(),
        },
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_say_the_same_of_everything() {
    let home = Home::new();
    all_kinds(&home.app()).await;
    for (what, more, ids) in [
        ("documents", &[][..], &["failed", "gone", "whole"][..]),
        ("pages", &[], &["whole", "whole"]),
        ("chunks", &[], &["whole", "whole", "whole"]),
        ("chunks", &["--vectors"], &["whole", "whole", "whole"]),
    ] {
        let arguments = [&["--what", what], more].concat();
        let file = home.join("all.parquet");
        export(&home, &arguments, &file).await;
        let by_duckdb = run(&mut read_export(&["rows", file.to_str().unwrap()])).await.ended(0).stdout;
        let by_duckdb: Vec<Value> =
            by_duckdb.lines().map(|line| normal(&serde_json::from_str(line).unwrap())).collect();
        let lines = lines(&home, &arguments).await;
        let normal: Vec<_> = lines.iter().map(normal).collect();
        assert_eq!(normal, by_duckdb, "{what} {more:?}");
        assert_eq!(normal.iter().map(|row| row["document_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
        // Names and types are a contract: programs read them.
        let columns = query(&file, "SELECT column_name, column_type FROM (DESCRIBE FROM export)").await;
        let columns: Vec<_> = columns
            .as_array()
            .unwrap()
            .iter()
            .map(|it| format!("{} {}", it[0].as_str().unwrap(), it[1].as_str().unwrap()))
            .collect();
        let names: Vec<_> = lines[0].as_object().unwrap().keys().collect();
        assert_eq!(names.len(), columns.len(), "every line has every column");
        insta::assert_snapshot!(
            format!("columns_of_{what}{}", more.concat().replace("--", "_with_")),
            columns.join("\n")
        );
        insta::assert_json_snapshot!(
            format!("rows_of_{what}{}", more.concat().replace("--", "_with_")),
            without_vectors(lines)
        );
    }
}

fn without_vectors(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        if let Some(vector) = row.get_mut("vector").filter(|vector| vector.is_array()) {
            *vector = json!(format!("{} floats", vector.as_array().unwrap().len()));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_exported() {
    let home = Home::new();
    let app = home.app();
    for number in 1..=4 {
        publish(&*app.store, &key(&number.to_string()), number * 1_000_000, 2, 0).await;
    }
    let other = DocumentKey { tenant: "other".into(), document_id: "9".into() };
    publish(&*app.store, &other, 3_000_000, 1, 0).await;
    let ids = async |more: &[&str]| {
        let rows = lines(&home, more).await;
        let mut ids: Vec<_> = rows.iter().map(|row| row["document_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&["--what", "documents"]).await, ["1", "2", "3", "4", "9"]);
    assert_eq!(ids(&["--what", "documents", "--tenant", "other"]).await, ["9"]);
    let (two, four) = ("1970-01-01T00:00:02Z", "1970-01-01T00:00:04Z");
    assert_eq!(
        ids(&["--since", two, "--until", four]).await,
        ["2", "2", "3", "3", "9"],
        "from the first on, not the last"
    );
    assert_eq!(ids(&["--since", four, "--tenant", TENANT]).await, ["4", "4"]);
    let none = home.join("none.parquet");
    export(&home, &["--tenant", "nobody"], &none).await;
    assert_eq!(query(&none, "SELECT count(*) FROM export").await, json!([[0]]), "a whole file without rows");
    let catalogue = Catalogue::load();
    let model = &catalogue.models.iter().rfind(|entry| entry.task == EMBED).expect("a second embedder").name;
    let lacking = lines(&home, &["--tenant", "other", "--vectors", "--model", model]).await;
    assert_eq!((&lacking[0]["model"], &lacking[0]["vector"]), (&Value::Null, &Value::Null), "a model without vectors");
    let said = home.deckle(["export", "--vectors", "--model", "nope", "--out", "x.jsonl"]).await.ended(2).stderr;
    assert!(said.contains("no embedding model is named nope"), "{said}");
}

/// Exports again and again while a document flips from run to run, and others stand around it.
async fn a_moving_document(home: &Home) {
    let app = home.app();
    for id in ["a", "z"] {
        publish(&*app.store, &key(id), 1, 2, 0).await;
    }
    publish(&*app.store, &key("m"), 10, 5, 0).await;
    let store = Arc::clone(&app.store);
    let moving = tokio::spawn(async move {
        for run in 11.. {
            publish(&*store, &key("m"), run, (run % 7) as u32 + 1, 0).await;
            store.remove_runs_below(&key("m"), run).await.unwrap();
        }
    });
    let mut runs = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let rows = lines(home, &["--vectors"]).await;
        let of = |id: &str| rows.iter().filter(|row| row["document_id"] == id).collect::<Vec<_>>();
        assert_eq!((of("a").len(), of("z").len()), (2, 2));
        let moved = of("m");
        let run = moved[0]["run"].as_i64().unwrap();
        assert_eq!(moved.len() as i64, if run == 10 { 5 } else { run % 7 + 1 }, "all chunks of run {run}");
        for (chunk_no, row) in moved.iter().enumerate() {
            assert_eq!(row["text"], format!("m run {run} chunk {chunk_no} "));
            let vector: Vec<f32> = serde_json::from_value(row["vector"].clone()).unwrap();
            assert_eq!(vector, self::vector(run.unsigned_abs() * 1_000 + chunk_no as u64), "the vector of run {run}");
        }
        runs.insert(run);
    }
    assert!(!moving.is_finished(), "it moved all the time");
    moving.abort();
    assert!(runs.len() > 1, "exports saw only {runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_on_is_exported_as_one_run_of_sqlite() {
    a_moving_document(&Home::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_on_is_exported_as_one_run_of_cassandra() {
    let home = Home::on_cassandra(&servers::shared_cassandra(), "");
    home.deckle(["store", "apply"]).await.ended(0);
    a_moving_document(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_in_time_is_in_a_window_once() {
    let home = Home::new();
    let app = home.app();
    const DOCUMENTS: i64 = 600;
    for number in 1..=DOCUMENTS {
        publish(&*app.store, &key(&format!("{number:04}")), number, 1, 0).await;
    }
    // Uploads of every document fail, one after the other: each moves to the front of a listing by time, and stays in
    // the window, whose time is that of publishing.
    let store = Arc::clone(&app.store);
    let moving = tokio::spawn(async move {
        for round in 0.. {
            for number in 1..=DOCUMENTS {
                let at = jiff::Timestamp::now().as_microsecond();
                let failed: Completion = serde_json::from_value(json!({
                    "run": at, "version": at, "upload_id": "u", "fingerprint": "f", "event_id": format!("{round}"),
                    "status": "failed", "source": source("a.pdf"), "reasons": [], "at": at,
                }))
                .unwrap();
                store.put_ended(&key(&format!("{number:04}")), &failed).await.unwrap();
            }
        }
    });
    for _ in 0..5 {
        let rows = lines(&home, &["--since", "1970-01-01T00:00:00Z"]).await;
        let mut ids: Vec<_> = rows.iter().map(|row| row["document_id"].as_str().unwrap()).collect();
        assert!(!ids.is_sorted(), "by time");
        ids.sort_unstable();
        assert!(ids.iter().copied().eq((1..=DOCUMENTS).map(|number| format!("{number:04}"))), "each once: {ids:?}");
    }
    assert!(!moving.is_finished());
    moving.abort();
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder for exports in a home with documents enough for a pipe to run full.
async fn with_documents() -> (Home, PathBuf) {
    let home = Home::new();
    let app = home.app();
    for number in 1..=50 {
        publish(&*app.store, &key(&number.to_string()), number, 20, 100).await;
    }
    let out = home.join("out");
    std::fs::create_dir(&out).unwrap();
    (home, out)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_called_by_the_name_of_the_file() {
    let (home, out) = with_documents().await;
    let file = out.join("chunks.jsonl");
    std::fs::write(&file, "as it was").unwrap();
    // What is missing where pages are read stops an export in its midst.
    let app = home.app();
    let run_key = RunKey { document: key("9"), run: 9 };
    let missing = json!({ "key": format!("acme/9/{}", "00".repeat(32)), "sha256": "00".repeat(32), "size_bytes": 3, "media_type": "x" });
    let row = json!({ "page_no": 1, "version": 9, "seq": 1, "page": missing, "method": null, "confidence": null,
                      "reason": null, "trail": [] });
    app.store.put_page(&run_key, &serde_json::from_value(row).unwrap()).await.unwrap();
    let mut command = home.command(["export", "--what", "pages", "--out"]);
    let said = run(command.arg(&file)).await.ended(2).stderr;
    assert!(said.contains("missing") && said.lines().count() == 1, "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "as it was");
    assert_eq!(names(&out), ["chunks.jsonl"], "what was begun is taken away");

    // A disk that is full, and what is no file: written as it comes, and never replaced.
    let full = home.deckle(["export", "--format", "parquet", "--out", "/dev/full"]).await.ended(2).stderr;
    assert!(full.contains("/dev/full") && full.contains("No space left") && full.lines().count() == 1, "{full}");
    for mistake in [&["--out", "out"][..], &["--out", "out", "--format", "jsonl"], &["--out", "nowhere/a.jsonl"]] {
        let said = home.deckle([&["export"], mistake].concat()).await.ended(2).stderr;
        assert!(said.starts_with("deckle: ") && said.lines().count() == 1, "{said}");
    }
    let link = out.join("link.jsonl");
    std::os::unix::fs::symlink("chunks.jsonl", &link).unwrap();
    let told = home.deckle(["export", "--out", "out/link.jsonl", "--json"]).await.ended(0).json();
    assert_eq!((&told["rows"], &told["documents"]), (&json!(1_000), &json!(50)));
    assert!(link.is_symlink(), "a link stays one");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), told["bytes"].as_u64().unwrap());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    let usual = out.join("usual");
    std::fs::write(&usual, "").unwrap();
    assert_eq!(mode, std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(usual).unwrap().permissions()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_interrupted_or_not_read_leaves_nothing() {
    let (home, out) = with_documents().await;
    // The pipe runs full, so the export stands still until it is told to stop.
    let mut command = home.command(["export", "--format", "jsonl", "--out", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    support::within("the first byte", child.stdout.as_mut().unwrap().read_exact(&mut first)).await.unwrap();
    drop(child.stdout.take());
    let output = support::within("its end", child.wait_with_output()).await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let pipe = out.join("pipe");
    let made = run(Command::new("mkfifo").arg(&pipe)).await;
    assert_eq!(made.code, Some(0));
    let file = out.join("chunks.jsonl");
    // A whole one for its size, then one that is told to stop while it writes.
    export(&home, &[], &file).await;
    let whole = std::fs::metadata(&file).unwrap().len();
    let mut command = home.command(["export", "--format", "jsonl", "--out"]);
    let mut interrupted = Started::new(command.arg(&pipe).stderr(Stdio::null()));
    let mut reader = support::within("the pipe", tokio::fs::File::open(&pipe)).await.unwrap();
    support::within("the first byte", reader.read_exact(&mut first)).await.unwrap();
    interrupted.signal(libc::SIGINT);
    let rest = tokio::spawn(async move {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        rest.len() as u64
    });
    assert_eq!(interrupted.wait().await.code(), Some(130));
    assert!(rest.await.unwrap() < whole, "it stopped midway");
    assert_eq!(names(&out), ["chunks.jsonl", "pipe"]);
}
