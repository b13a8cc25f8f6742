//! The embedded store at the size where somebody should move to ScyllaDB: 100,000 vectors of 384 floats.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench stops where something is missing, and prints what it measured"
)]

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use deckle::{
    contract::{
        document::{Chunk, Locator},
        record::{Source, Status},
    },
    store::{
        DocumentKey, PageRow, PublishedVersion, Query, QueryVector, RunKey, Store, VectorSpace, sqlite::SqliteStore,
    },
};
use futures::future::join_all;
use tokio::runtime::Runtime;

const DOCUMENTS: usize = 2_000;
const CHUNKS: usize = 50;
const DIMENSION: usize = 384;

fn key(document: usize) -> DocumentKey {
    DocumentKey { tenant: "bench".into(), document_id: format!("document-{document}") }
}

/// A vector of length 1 that follows from its seed.
fn vector(seed: usize) -> Vec<f32> {
    let mut state = seed as u64 + 1;
    let mut vector: Vec<f32> = (0..DIMENSION)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

fn space(normalized: bool) -> VectorSpace {
    let model = if normalized { "normalized" } else { "any length" };
    VectorSpace { model: model.into(), chunking: "50".into(), dimension: DIMENSION as u32, normalized }
}

fn chunk(chunk_no: usize) -> Chunk {
    Chunk {
        chunk_no: chunk_no as u32,
        headings: vec!["A heading".into()],
        text: "Around five hundred characters of text. ".repeat(12),
        prov: vec![Locator::default()],
        token_count: 120,
    }
}

fn current() -> PublishedVersion {
    PublishedVersion {
        run: 1,
        version: 1,
        status: Status::Published,
        fingerprint: String::new(),
        source: Source {
            uri: String::new(),
            filename: "a.pdf".into(),
            media_type: String::new(),
            declared_media_type: None,
            size_bytes: 0,
            sha256: String::new(),
        },
        page_count: 0,
        failed_pages: 0,
        block_count: 0,
        chunk_count: CHUNKS as u32,
        figure_count: 0,
        field_count: 0,
        language: "en".into(),
        title: None,
        confidence: None,
        document: None,
        attributes: BTreeMap::new(),
        access: Vec::new(),
        reasons: Vec::new(),
        published_at: 1,
        trail: Vec::new(),
    }
}

async fn fill(store: &dyn Store, spaces: &[VectorSpace]) {
    let start = Instant::now();
    for document in 0..DOCUMENTS {
        let run = RunKey { document: key(document), run: 1 };
        let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
        store.put_chunks(&run, 1, &chunks).await.unwrap();
        let vectors: Vec<_> = (0..CHUNKS).map(|no| (no as u32, vector(document * CHUNKS + no))).collect();
        for space in spaces {
            store.put_vectors(&run, 1, space, &vectors).await.unwrap();
        }
        store.set_current(&run.document, &current()).await.unwrap();
    }
    eprintln!("{} vectors filled in {:.1?}", DOCUMENTS * CHUNKS * spaces.len(), start.elapsed());
}

fn store(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
    runtime.block_on(fill(&*store, &[space(true), space(false)]));
    eprintln!("{} MB", std::fs::metadata(&path).unwrap().len() >> 20);

    let mut group = c.benchmark_group("store");
    group.sample_size(10);
    for normalized in [true, false] {
        let model = space(normalized).model;
        let question = QueryVector { model: model.clone(), vector: vector(77) };
        let query = Query { vector: Some(question), k: 10, ..Query::default() };
        group.bench_function(format!("search 100,000 x 384, {model}"), |b| {
            b.iter(|| black_box(runtime.block_on(store.search(&query)).unwrap()));
        });
    }
    group.bench_function("document of 50 chunks", |b| {
        b.iter(|| black_box(runtime.block_on(store.document(&key(1))).unwrap()));
    });
    let mut version = 1;
    for together in [1, 64] {
        group.bench_function(format!("put_page, {together} at once"), |b| {
            b.iter(|| {
                version += 1;
                let pages = (0..together).map(|page_no| {
                    let (store, run) = (store.clone(), RunKey { document: key(1), run: 1 });
                    async move { store.put_page(&run, &page(page_no, version)).await.unwrap() }
                });
                runtime.block_on(join_all(pages))
            });
        });
    }
}

fn page(page_no: u32, version: i64) -> PageRow {
    PageRow { page_no, version, seq: 1, page: None, method: None, confidence: None, reason: None, trail: Vec::new() }
}

criterion_group!(benches, store);
criterion_main!(benches);
