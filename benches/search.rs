//! Searching 20,000 passages of real text on each side of the store: how long one search takes, and how many of the ten
//! truly nearest it gives.
//!
//! ```text
//! cargo bench --bench search -- [--database] [FOLDER]
//! ```
//!
//! FOLDER holds texts (`.md`, `.txt`), such as `deckle process --out` writes; without one the repository's samples are
//! taken, which are few. Passages are windows of [`WORDS`] words that overlap as much as it takes to have enough of
//! them. Their vectors are made once and kept in a file beside the build. `--database` also has the database build its
//! own index, which takes minutes and wants 2 GB of heap.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench stops where something is missing, and prints what it measured"
)]

#[path = "../tests/suite/support/mod.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use all of it")]
mod support;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::{
    servers,
    values::{chunk, current, run_of},
};

use deckle::{
    contract::document::Chunk,
    models::{
        Catalogue,
        inference::{Config as Inference, onnx},
        minilm::Embedder,
    },
    store::{
        DocumentKey, Hit, Query, QueryVector, Store, VectorSpace,
        cql::{self, CqlStore, Search, ann, migrations},
        sqlite::SqliteStore,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

/// Words of a passage.
const WORDS: usize = 32;
/// Passages in the store.
const PASSAGES: usize = 20_000;
/// One in so many passages is a question instead.
const ASKED: usize = 100;
/// Passages of a document.
const CHUNKS: usize = 50;
/// Hits of a search.
const K: usize = 10;
/// Texts embedded at once.
const EMBEDDED: usize = 64;
/// Documents written at once.
const WRITTEN: usize = 8;

/// Texts and their vectors.
struct Passages {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let folder = arguments.iter().find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/samples"), PathBuf::from);
    let (stored, asked) = passages(&folder).await;
    let truth: Vec<_> = asked.vectors.iter().map(|question| nearest(&stored, question)).collect();

    let file = tempfile::tempdir().expect("a folder for the store");
    let sqlite = SqliteStore::open(&file.path().join("store.sqlite")).expect("a store is made");
    write(&sqlite, &stored).await;
    measure("SQLite", &sqlite, &asked, &truth).await;

    let keyspace = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let config =
        cql::Config { nodes: servers::shared_cassandra(), keyspace, replication_factor: 1, ..cql::Config::default() };
    migrations::apply(&config, migrations::ALL).await.expect("tables are made");
    write(&CqlStore::open(config.clone()).expect("settings make sense"), &stored).await;
    let memory = CqlStore::open(config.clone()).expect("settings make sense");
    let start = Instant::now();
    memory.search(&question(&asked, 0, true, true)).await.expect("a search is answered");
    println!("CQL, in memory: both indexes loaded and searched once in {:.1?}", start.elapsed());
    measure("CQL, in memory", &memory, &asked, &truth).await;

    if arguments.iter().any(|argument| argument == "--database") {
        let config = cql::Config { search: Search::Database, ..config };
        let database = CqlStore::open(config.clone()).expect("settings make sense");
        let start = Instant::now();
        ann::make(&config).await.expect("the database has such an index");
        while let Err(failure) = database.search(&question(&asked, 0, true, false)).await {
            assert!(start.elapsed() < Duration::from_secs(1_800), "{failure}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!("CQL, the database's index: built in {:.0?}", start.elapsed());
        measure("CQL, the database's index", &database, &asked, &truth).await;
    }
}

/// Times searches of each kind, and compares those by meaning with the truth.
async fn measure(side: &str, store: &dyn Store, asked: &Passages, truth: &[Vec<(usize, f32)>]) {
    for (mode, by_meaning, by_words) in [("vector", true, false), ("keyword", false, true), ("hybrid", true, true)] {
        let mut times = Vec::with_capacity(asked.texts.len());
        let mut found = 0;
        for (number, truth) in truth.iter().enumerate() {
            let query = question(asked, number, by_meaning, by_words);
            let start = Instant::now();
            let hits = store.search(&query).await.expect("a search is answered");
            times.push(start.elapsed());
            found += right(&hits, truth);
        }
        times.sort();
        let of = |percent: usize| times[percent * (times.len() - 1) / 100];
        let recall = found as f64 / (K * truth.len()) as f64;
        let recall = if mode == "vector" { format!(", recall@{K} {recall:.3}") } else { String::new() };
        println!("{side}: {mode}, p50 {:.1?}, p99 {:.1?}{recall}", of(50), of(99));
    }
}

fn question(asked: &Passages, number: usize, by_meaning: bool, by_words: bool) -> Query {
    let vector = QueryVector { model: space().model, vector: asked.vectors[number].clone() };
    Query {
        vector: by_meaning.then_some(vector),
        // As long as people's questions are.
        keywords: by_words.then(|| asked.texts[number].split(' ').take(8).collect::<Vec<_>>().join(" ")),
        k: K,
        ..Query::default()
    }
}

/// How many hits are among the nearest, or as near as the last of them.
fn right(hits: &[Hit], truth: &[(usize, f32)]) -> usize {
    let names: BTreeSet<_> = truth.iter().map(|(passage, _)| *passage).collect();
    let last = truth.last().map_or(f32::MAX, |(_, score)| *score);
    let passage =
        |hit: &Hit| hit.key.document_id.parse::<usize>().expect("a number") * CHUNKS + hit.chunk.chunk_no as usize;
    hits.iter().filter(|hit| names.contains(&passage(hit)) || hit.score >= last - 1e-6).count()
}

/// The truly nearest and how near they are, by looking at all.
fn nearest(stored: &Passages, question: &[f32]) -> Vec<(usize, f32)> {
    let dot = |vector: &[f32]| vector.iter().zip(question).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut all: Vec<_> = stored.vectors.iter().map(|vector| dot(vector) as f32).enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(K);
    all
}

fn space() -> VectorSpace {
    VectorSpace { model: "bench".into(), chunking: "windows".into(), dimension: 384, normalized: true }
}

/// Publishes the passages as documents.
async fn write(store: &dyn Store, stored: &Passages) {
    let start = Instant::now();
    let documents = stored.texts.chunks(CHUNKS).zip(stored.vectors.chunks(CHUNKS)).enumerate().map(Ok);
    let publish = |(document, (texts, vectors)): (usize, (&[String], &[Vec<f32>]))| {
        let key = DocumentKey { tenant: "bench".into(), document_id: document.to_string() };
        let run = run_of(&key, 1);
        let chunks: Vec<_> = (0..)
            .zip(texts)
            .map(|(no, text)| Chunk { text: text.clone(), headings: Vec::new(), ..chunk(1, 1, no) })
            .collect();
        let vectors: Vec<_> = (0..).zip(vectors.iter().cloned()).collect();
        async move {
            store.put_chunks(&run, 1, &chunks).await?;
            store.put_vectors(&run, 1, &space(), &vectors).await?;
            store.set_current(&key, &current(1, 1, 0, chunks.len() as u32)).await
        }
    };
    stream::iter(documents).try_for_each_concurrent(WRITTEN, publish).await.expect("documents are published");
    println!("{} passages written in {:.1?}", stored.texts.len(), start.elapsed());
}

/// The passages of a folder, some of them as questions.
async fn passages(folder: &Path) -> (Passages, Passages) {
    let mut words = Vec::new();
    read_texts(folder, &mut words);
    assert!(words.len() > 2 * WORDS, "{} has next to no text", folder.display());
    let wanted = PASSAGES + PASSAGES / ASKED;
    let step = (words.len() / wanted).max(1);
    let windows = words.windows(WORDS).step_by(step).take(wanted);
    let texts: Vec<_> = windows.map(|window| window.join(" ")).collect();
    println!(
        "{} words in {}: {} passages of {WORDS}, one each {step} words",
        words.len(),
        folder.display(),
        texts.len()
    );
    let vectors = vectors(&texts).await;
    let (mut stored, mut asked) =
        (Passages { texts: vec![], vectors: vec![] }, Passages { texts: vec![], vectors: vec![] });
    for (number, (text, vector)) in texts.into_iter().zip(vectors).enumerate() {
        let of = if number % (ASKED + 1) == ASKED { &mut asked } else { &mut stored };
        of.texts.push(text);
        of.vectors.push(vector);
    }
    (stored, asked)
}

/// The words of every text below a folder, files by name.
fn read_texts(folder: &Path, words: &mut Vec<String>) {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder is read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_texts(&path, words);
        } else if path.extension().is_some_and(|extension| extension == "md" || extension == "txt") {
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            words.extend(String::from_utf8_lossy(&bytes).split_whitespace().map(str::to_owned));
        }
    }
}

/// The vectors of texts, from the file that an earlier run left, or made and left there.
async fn vectors(texts: &[String]) -> Vec<Vec<f32>> {
    let dimension = space().dimension as usize;
    let digest = hex::encode(Sha256::digest(texts.join("\n")));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let file = target.join(format!("bench-search-{}.f32", &digest[..16]));
    if let Ok(bytes) = std::fs::read(&file)
        && bytes.len() == texts.len() * dimension * size_of::<f32>()
    {
        return bytes.chunks_exact(dimension * size_of::<f32>()).map(bytemuck::pod_collect_to_vec).collect();
    }
    let (models, catalogue) = (onnx::home().join("models"), Catalogue::load());
    let model = &catalogue.embedder().name;
    let embedder = Embedder::load(&models, model, &Inference::default()).expect("run `make setup` first");
    let start = Instant::now();
    let embedded = stream::iter(texts).map(|text| embedder.embed(text)).buffered(EMBEDDED);
    let vectors: Vec<_> =
        embedded.map_ok(|embedding| embedding.vector).try_collect().await.expect("texts are embedded");
    println!("{} texts embedded in {:.0?}", texts.len(), start.elapsed());
    std::fs::write(&file, bytemuck::cast_slice(&vectors.concat())).expect("vectors are kept");
    vectors
}
