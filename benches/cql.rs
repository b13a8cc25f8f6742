//! What the store on CQL costs: chunks of 384 floats with their text, beside the driver's bare loop of batches into the
//! same tables, in turns on the same node; and how long single calls take on an idle one. Run by `make bench`.

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
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use support::{
    servers,
    values::{chunk, current, intake, new_document, page, run_of},
};

use deckle::store::{
    DocumentKey, ListFilter, RunKey, Store, VectorSpace,
    cql::{Config, CqlStore, migrations},
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream, try_join};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::{
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};

/// Documents of one round, and chunks of each.
const DOCUMENTS: usize = 160;
const CHUNKS: u32 = 64;
const DIMENSION: usize = 384;
/// Documents written at once.
const AT_ONCE: usize = 8;
/// Rows of a batch of the bare loop, which has all batches of a document in flight at once.
const BATCH: usize = 16;
/// Rounds of each side, in turns.
const ROUNDS: usize = 3;
/// Calls of each kind that are timed.
const CALLS: usize = 200;

fn config() -> Config {
    Config {
        nodes: servers::shared_cassandra(),
        keyspace: format!("bench_{}", std::process::id()),
        replication_factor: 1,
        ..Config::default()
    }
}

fn space() -> VectorSpace {
    VectorSpace { model: "bench".into(), chunking: "64".into(), dimension: DIMENSION as u32, normalized: true }
}

/// A vector of length 1.
fn vector(seed: u32) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    (vector[1], vector[0]) = (seed as f32).sin_cos();
    vector
}

/// Around five hundred characters of text.
fn text(chunk_no: u32) -> deckle::contract::document::Chunk {
    deckle::contract::document::Chunk {
        text: "Forty characters of text, or so it says. ".repeat(12),
        ..chunk(1, 1, chunk_no)
    }
}

#[tokio::main]
async fn main() {
    let config = config();
    migrations::apply(&config, migrations::ALL).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(CqlStore::open(config.clone()).unwrap());
    // Makes the table of the vectors, and warms both sides up.
    ours(&store).await;
    let bare = Bare::open(&config).await;
    bare.round().await;

    let (mut bare_rates, mut our_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare_rates.push(bare.round().await);
        our_rates.push(ours(&store).await);
    }
    let (bare_rate, our_rate) = (median(&mut bare_rates), median(&mut our_rates));
    println!("chunks with vectors, per second: bare loop {bare_rate:.0}, store {our_rate:.0}");
    println!("share of the bare loop: {:.2}", our_rate / bare_rate);
    latencies(&store).await;
    bare.session.query_unpaged(format!("DROP KEYSPACE {}", config.keyspace), ()).await.unwrap();
}

/// One round through the store; chunks per second.
async fn ours(store: &Arc<dyn Store>) -> f64 {
    let start = Instant::now();
    let documents = (0..DOCUMENTS).map(|_| async {
        let run = run_of(&new_document(), 1);
        let chunks: Vec<_> = (0..CHUNKS).map(text).collect();
        let vectors: Vec<_> = (0..CHUNKS).map(|chunk_no| (chunk_no, vector(chunk_no))).collect();
        let space = space();
        try_join!(store.put_chunks(&run, 1, &chunks), store.put_vectors(&run, 1, &space, &vectors))
    });
    stream::iter(documents).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.unwrap();
    rate(start)
}

fn rate(start: Instant) -> f64 {
    (DOCUMENTS * CHUNKS as usize) as f64 / start.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The driver alone.
struct Bare {
    session: Session,
    chunks: PreparedStatement,
    vectors: PreparedStatement,
}

impl Bare {
    async fn open(config: &Config) -> Self {
        let session = SessionBuilder::new().known_node(&config.nodes).build().await.unwrap();
        session.use_keyspace(&config.keyspace, false).await.unwrap();
        let found = session.query_unpaged("SELECT table_name FROM spaces WHERE part = 0", ()).await.unwrap();
        let (table,) = found.into_rows_result().unwrap().first_row::<(String,)>().unwrap();
        let insert = |table: &str, column: &str| {
            format!(
                "INSERT INTO {table} (tenant, document_id, run, chunk_no, {column}) VALUES (?, ?, ?, ?, ?)
                 USING TIMESTAMP ?"
            )
        };
        let chunks = session.prepare(insert("chunks", "chunk")).await.unwrap();
        let vectors = session.prepare(insert(&table, "vector")).await.unwrap();
        Self { session, chunks, vectors }
    }

    /// One round; chunks per second.
    async fn round(&self) -> f64 {
        let start = Instant::now();
        let documents = (0..DOCUMENTS).map(|_| async {
            let DocumentKey { tenant, document_id } = new_document();
            let batches =
                (0..CHUNKS).step_by(BATCH).map(|first| {
                    let numbers = first..first + BATCH as u32;
                    let texts = numbers.clone().map(|chunk_no| {
                        let text = serde_json::to_string(&text(chunk_no)).unwrap();
                        (&tenant, &document_id, 1_i64, chunk_no as i32, text, 1_i64)
                    });
                    let vectors = numbers
                        .map(|chunk_no| (&tenant, &document_id, 1_i64, chunk_no as i32, vector(chunk_no), 1_i64));
                    let (texts, vectors): (Vec<_>, Vec<_>) = (texts.collect(), vectors.collect());
                    let (text_batch, vector_batch) = (batch(&self.chunks), batch(&self.vectors));
                    async move {
                        try_join!(self.session.batch(&text_batch, texts), self.session.batch(&vector_batch, vectors))
                    }
                });
            try_join_all(batches.collect::<Vec<_>>()).await?;
            Ok::<_, scylla::errors::ExecutionError>(())
        });
        stream::iter(documents).buffer_unordered(AT_ONCE).try_collect::<()>().await.unwrap();
        rate(start)
    }
}

fn batch(statement: &PreparedStatement) -> Batch {
    Batch::new_with_statements(BatchType::Unlogged, vec![statement.clone().into(); BATCH])
}

/// One call after the other.
async fn latencies(store: &Arc<dyn Store>) {
    let key = new_document();
    let run: RunKey = run_of(&key, 1);
    let chunks: Vec<_> = (0..CHUNKS).map(text).collect();
    let mut version = 1;
    let mut next = || {
        version += 1;
        version
    };
    for _ in 0..3 {
        let other = DocumentKey { document_id: uuid::Uuid::now_v7().to_string(), ..key.clone() };
        store.put_intake(&other, &intake(1, 1), 1).await.unwrap();
    }
    store.put_intake(&key, &intake(1, 1), 1).await.unwrap();
    timed("put_page", || {
        let row = page(1, next());
        let run = &run;
        async move { store.put_page(run, &row).await }
    })
    .await;
    timed("put_chunks of 64", || {
        let version = next();
        let (run, chunks) = (&run, &chunks);
        async move { store.put_chunks(run, version, chunks).await }
    })
    .await;
    timed("set_current", || {
        let current = current(1, next(), 1, CHUNKS);
        let key = &key;
        async move { store.set_current(key, &current).await }
    })
    .await;
    timed("header", || store.header(&key)).await;
    timed("document of 64 chunks", || store.document(&key)).await;
    let filter = ListFilter { tenant: Some(key.tenant.clone()), ..ListFilter::default() };
    timed("list of 4", || store.list(&filter)).await;
}

/// The median and the slowest hundredth of a call.
async fn timed<T, F: Future<Output = deckle::contract::error::Result<T>>>(name: &str, mut call: impl FnMut() -> F) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        call().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("{name}: p50 {:.1?}, p99 {:.1?}", times[CALLS / 2], times[CALLS * 99 / 100]);
}
