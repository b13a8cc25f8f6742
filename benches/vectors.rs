//! Vectors on CQL: written beside the driver's own batched loop, loaded into the in-process index, and searched.
//!
//! Needs a node (`tests/servers.py with cassandra -- cargo bench --bench vectors`) and makes a keyspace of its own in
//! it. One run is one measurement: what was written cannot be written again in the same way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deckle::{
    document::{Chunk, Locator},
    record::{Source, Status},
    store::{
        Current, DocumentKey, Query, RunKey, Store, VectorSpace,
        cql::{Config, CqlStore, migrations},
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{
    client::session_builder::SessionBuilder,
    statement::batch::{Batch, BatchType},
};

const DIMENSION: usize = 384;
/// Chunks of a document: one batch.
const CHUNKS: usize = 50;
/// Documents on their way at once, on both sides.
const AT_ONCE: usize = 8;
/// Vectors in the index at each measurement.
const SIZES: [usize; 2] = [20_000, 100_000];
const SEARCHES: usize = 101;

#[tokio::main]
async fn main() {
    let nodes = std::env::var("DECKLE_TEST_CASSANDRA").expect("DECKLE_TEST_CASSANDRA names a node");
    let keyspace = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let config =
        Config { nodes: nodes.clone(), keyspace: keyspace.clone(), replication_factor: 1, ..Config::default() };
    migrations::apply(&config, migrations::ALL).await.unwrap();
    let open = || CqlStore::open(config.clone()).unwrap();

    let writer = Arc::new(open());
    // The first vectors make the table of their space, which the other side's measurement has ready.
    put_vectors(&writer, 0, CHUNKS).await;
    let mut written = 0;
    for size in SIZES {
        let start = Instant::now();
        put_vectors(&writer, written, size).await;
        report("put_vectors", size - written, start);
        if written == 0 {
            let start = Instant::now();
            bare_loop(&nodes, &keyspace, size).await;
            report("the driver's batched loop", size, start);
        }
        publish(&writer, written, size).await;
        written = size;

        let reader = open();
        let (before, start) = (resident_bytes(), Instant::now());
        reader.search(&question(1)).await.unwrap();
        let per_vector = (resident_bytes() - before) / size as i64;
        report("loaded and searched for the first time", size, start);
        println!("{size}: {per_vector} bytes of memory more for each vector");

        let mut times = Vec::with_capacity(SEARCHES);
        for search in 0..SEARCHES {
            let start = Instant::now();
            assert_eq!(reader.search(&question(search * 7)).await.unwrap().len(), 10);
            times.push(start.elapsed());
        }
        times.sort();
        let of = |percent: usize| times[percent * (SEARCHES - 1) / 100];
        println!("{size}: a search for ten, p50 {:.1?}, p99 {:.1?}", of(50), of(99));
    }
}

fn report(what: &str, rows: usize, start: Instant) {
    let took = start.elapsed();
    println!(
        "{what}: {rows} rows in {took:.1?}, {:.0} rows/s",
        rows as f64 / took.max(Duration::from_nanos(1)).as_secs_f64()
    );
}

fn key(document: usize) -> DocumentKey {
    DocumentKey { tenant: "bench".into(), document_id: format!("document-{document}") }
}

fn space() -> VectorSpace {
    VectorSpace { model: "bench".into(), chunking: "50".into(), dimension: DIMENSION as u32, normalized: true }
}

fn question(seed: usize) -> Query {
    Query { model: space().model, vector: vector(seed), k: 10, tenant: None }
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

fn vectors(document: usize) -> Vec<(u32, Vec<f32>)> {
    (0..CHUNKS).map(|no| (no as u32, vector(document * CHUNKS + no))).collect()
}

async fn put_vectors(store: &Arc<CqlStore>, from: usize, to: usize) {
    let documents = stream::iter(from / CHUNKS..to / CHUNKS).map(Ok);
    let put = |document| async move {
        let run = RunKey { document: key(document), run: 1 };
        store.put_vectors(&run, 1, &space(), &vectors(document)).await
    };
    documents.try_for_each_concurrent(AT_ONCE, put).await.unwrap();
}

/// What the driver does by itself with the same rows, in a table of the same shape.
async fn bare_loop(nodes: &str, keyspace: &str, to: usize) {
    let session = SessionBuilder::new().known_node(nodes).use_keyspace(keyspace, false).build().await.unwrap();
    let create = format!(
        "CREATE TABLE bare (tenant text, document_id text, run bigint, chunk_no int, vector vector<float, {DIMENSION}>,
         PRIMARY KEY ((tenant, document_id), run, chunk_no))"
    );
    session.query_unpaged(create, ()).await.unwrap();
    let insert =
        "INSERT INTO bare (tenant, document_id, run, chunk_no, vector) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    let insert = session.prepare(insert).await.unwrap();
    let batch = Batch::new_with_statements(BatchType::Unlogged, vec![insert.into(); CHUNKS]);
    let (session, batch) = (&session, &batch);
    stream::iter(0..to / CHUNKS)
        .for_each_concurrent(AT_ONCE, |document| async move {
            let DocumentKey { tenant, document_id } = key(document);
            let vectors = vectors(document);
            let rows: Vec<_> =
                vectors.iter().map(|(no, vector)| (&tenant, &document_id, 1_i64, *no as i32, vector, 1_i64)).collect();
            session.batch(batch, rows).await.unwrap();
        })
        .await;
}

/// Writes the chunks and makes the documents current.
async fn publish(store: &Arc<CqlStore>, from: usize, to: usize) {
    let documents = stream::iter(from / CHUNKS..to / CHUNKS).map(Ok);
    let publish = |document| async move {
        let run = RunKey { document: key(document), run: 1 };
        let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
        store.put_chunks(&run, 1, &chunks).await?;
        store.set_current(&run.document, &current()).await
    };
    documents.try_for_each_concurrent(AT_ONCE, publish).await.unwrap();
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

fn current() -> Current {
    Current {
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
        language: "en".into(),
        title: None,
        confidence: None,
        document: None,
        reasons: Vec::new(),
        published_at: 1,
        trail: Vec::new(),
    }
}

/// What this process holds of the machine's memory.
fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: i64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
