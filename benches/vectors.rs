//! Vectors on CQL: loaded into the in-process index, and searched. What writing them costs is measured by `cql`.
//!
//! Makes a keyspace of its own on the node of the tests, and the index anew at each size. Run by `make bench`.

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

use std::time::Instant;
use support::{
    servers,
    values::{chunks, current, run_of},
};

use deckle::store::{
    DocumentKey, Query, QueryVector, Store, VectorSpace,
    cql::{Config, CqlStore, migrations},
};
use futures::{StreamExt, TryStreamExt, stream};

const DIMENSION: usize = 384;
/// Chunks of a document.
const CHUNKS: usize = 50;
/// Documents written at once.
const AT_ONCE: usize = 8;
/// Vectors in the index at each measurement.
const SIZES: [usize; 2] = [20_000, 100_000];
const SEARCHES: usize = 101;

#[tokio::main]
async fn main() {
    let keyspace = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let config = Config { nodes: servers::shared_cassandra(), keyspace, replication_factor: 1, ..Config::default() };
    migrations::apply(&config, migrations::ALL).await.unwrap();
    let writer = CqlStore::open(config.clone()).unwrap();
    let mut written = 0;
    for size in SIZES {
        publish(&writer, written, size).await;
        written = size;

        let reader = CqlStore::open(config.clone()).unwrap();
        let (before, start) = (resident_bytes(), Instant::now());
        reader.search(&question(1)).await.unwrap();
        let (took, grown) = (start.elapsed(), resident_bytes() - before);
        println!("{size} x {DIMENSION}: loaded and searched once in {took:.1?}, {} bytes each", grown / size as i64);

        let mut times = Vec::with_capacity(SEARCHES);
        for search in 0..SEARCHES {
            let start = Instant::now();
            assert_eq!(reader.search(&question(search * 7)).await.unwrap().len(), 10);
            times.push(start.elapsed());
        }
        times.sort();
        let of = |percent: usize| times[percent * (SEARCHES - 1) / 100];
        println!("{size} x {DIMENSION}: a search for ten, p50 {:.1?}, p99 {:.1?}", of(50), of(99));
    }
}

fn space() -> VectorSpace {
    VectorSpace { model: "bench".into(), chunking: "50".into(), dimension: DIMENSION as u32, normalized: true }
}

fn question(seed: usize) -> Query {
    let vector = QueryVector { model: space().model, vector: vector(seed) };
    Query { vector: Some(vector), k: 10, ..Query::default() }
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

/// Writes documents and makes them current, until there are so many vectors.
async fn publish(store: &CqlStore, from: usize, to: usize) {
    let documents = stream::iter(from / CHUNKS..to / CHUNKS).map(Ok);
    let publish = |document: usize| async move {
        let key = DocumentKey { tenant: "bench".into(), document_id: format!("document-{document}") };
        let run = run_of(&key, 1);
        let vectors: Vec<_> = (0..CHUNKS).map(|no| (no as u32, vector(document * CHUNKS + no))).collect();
        store.put_chunks(&run, 1, &chunks(1, 1, 0..CHUNKS as u32)).await?;
        store.put_vectors(&run, 1, &space(), &vectors).await?;
        store.set_current(&key, &current(1, 1, 0, CHUNKS as u32)).await
    };
    documents.try_for_each_concurrent(AT_ONCE, publish).await.unwrap();
}

/// What this process holds of the machine's memory.
fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: i64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
