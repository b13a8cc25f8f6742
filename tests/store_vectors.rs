//! Vectors and search on CQL, beyond the laws: several processes on one keyspace, each with an index of its own.
//!
//! A store that looks at the feed with every search ([`eager`]) finds what others write by the feed; one that never
//! looks again ([`lazy`]) shows what a search finds out by itself.

#[path = "support/servers.rs"]
mod servers;
#[allow(dead_code, reason = "the laws use the rest")]
#[path = "store_laws/values.rs"]
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deckle::{
    error::Failure,
    store::{
        DocumentKey, Query, QueryVector, Store, VectorSpace,
        cql::{Config, CqlStore, migrations},
        sqlite::SqliteStore,
    },
};
use futures::future::join_all;

use crate::{
    servers::{Cassandra, shared_cassandra},
    values::*,
};

/// Names the model to a test that runs as another process.
const MODEL: &str = "DECKLE_TEST_MODEL";

/// Longer than any test.
const NEVER_MS: u64 = 3_600_000;

fn config(nodes: &str, refresh_ms: u64) -> Config {
    let tables: String = migrations::ALL.iter().map(migrations::Migration::sha256).collect();
    Config {
        nodes: nodes.to_owned(),
        // Of another name where the tables are others: a node may outlive a change of theirs.
        keyspace: format!("vectors_{}", &tables[..8]),
        replication_factor: 1,
        refresh_ms,
        ..Config::default()
    }
}

/// A store that looks at the feed with every search.
async fn eager() -> CqlStore {
    open(config(&shared_cassandra(), 0)).await
}

/// A store that looks at the feed once.
async fn lazy() -> CqlStore {
    open(config(&shared_cassandra(), NEVER_MS)).await
}

async fn open(config: Config) -> CqlStore {
    migrations::apply(&config, migrations::ALL).await.unwrap();
    CqlStore::open(config).unwrap()
}

/// A model that no other test knows.
fn new_space() -> VectorSpace {
    VectorSpace { model: format!("model-{}", uuid::Uuid::now_v7()), ..space() }
}

/// Publishes a run with vectors of a space.
async fn publish_in(store: &dyn Store, key: &DocumentKey, run: i64, space: &VectorSpace, chunk_count: u32) {
    let vectors: Vec<_> = (0..chunk_count).map(|chunk_no| (chunk_no, vector(chunk_no as f32))).collect();
    store.put_chunks(&run_of(key, run), run, &chunks(run, run, 0..chunk_count)).await.unwrap();
    store.put_vectors(&run_of(key, run), run, space, &vectors).await.unwrap();
    store.trim_chunks(&run_of(key, run), run, chunk_count).await.unwrap();
    store.set_current(key, &current(run, run, 0, chunk_count)).await.unwrap();
}

fn ask(key: &DocumentKey, space: &VectorSpace, k: usize) -> Query {
    asking(key, space, vector(0.0), k)
}

fn asking(key: &DocumentKey, space: &VectorSpace, vector: Vec<f32>, k: usize) -> Query {
    Query { vector: Some(QueryVector { model: space.model.clone(), vector }), ..question(key, k) }
}

/// Run and chunk of each hit.
async fn hits(store: &dyn Store, query: &Query) -> Vec<(i64, u32)> {
    store.search(query).await.unwrap().iter().map(|hit| (hit.run, hit.chunk.chunk_no)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_writes_the_other_finds() {
    let (one, other, space) = (eager().await, eager().await, new_space());
    let key = new_document();
    assert_eq!(hits(&other, &ask(&key, &space, 9)).await, [], "a model that nobody has used");
    // From the first document of a space on, and before anything was loaded.
    publish_in(&one, &key, 5, &space, 2).await;
    found(&other, &ask(&key, &space, 9), &[(5, 0), (5, 1)]).await;
    // By the feed: a document of the same tenant that the other's index does not hold.
    let second = DocumentKey { document_id: "second".into(), ..key.clone() };
    publish_in(&one, &second, 6, &space, 1).await;
    found(&other, &ask(&key, &space, 9), &[(5, 0), (6, 0), (5, 1)]).await;
    publish_in(&other, &second, 7, &space, 1).await;
    found(&one, &ask(&key, &space, 9), &[(5, 0), (7, 0), (5, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_published_anew_is_found_before_the_feed_is_looked_at() {
    let (writer, reader, space, key) = (eager().await, lazy().await, new_space(), new_document());
    let query = ask(&key, &space, 9);
    publish_in(&writer, &key, 5, &space, 3).await;
    assert_eq!(hits(&reader, &query).await, [(5, 0), (5, 1), (5, 2)]);
    // The reader's rows are of run 5 still, and its search must not come back empty.
    publish_in(&writer, &key, 6, &space, 2).await;
    assert_eq!(hits(&reader, &query).await, [(6, 0), (6, 1)]);
    // The same run again with fewer chunks.
    writer.trim_chunks(&run_of(&key, 6), 7, 1).await.unwrap();
    writer.set_current(&key, &current(6, 7, 0, 1)).await.unwrap();
    assert_eq!(hits(&reader, &query).await, [(6, 0)]);
    writer.erase(&key, 6).await.unwrap();
    assert_eq!(hits(&reader, &query).await, []);
    // A document that its index does not hold is the feed's to tell.
    let second = DocumentKey { document_id: "second".into(), ..key.clone() };
    publish_in(&writer, &second, 5, &space, 1).await;
    assert_eq!(hits(&reader, &query).await, [], "the feed was looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_without_a_chunk_make_room_for_the_next() {
    let (store, space, key) = (eager().await, new_space(), new_document());
    publish_in(&store, &key, 5, &space, 60).await;
    // More than a search takes up at first: these have a vector, a place below the count, and no chunk.
    store.trim_chunks(&run_of(&key, 5), 6, 0).await.unwrap();
    let vectors: Vec<_> = (0..60).map(|chunk_no| (chunk_no, vector(chunk_no as f32))).collect();
    store.put_vectors(&run_of(&key, 5), 7, &space, &vectors).await.unwrap();
    store.put_chunks(&run_of(&key, 5), 7, &chunks(5, 7, 50..60)).await.unwrap();
    store.set_current(&key, &current(5, 7, 0, 60)).await.unwrap();
    assert_eq!(hits(&store, &ask(&key, &space, 3)).await, [(5, 50), (5, 51), (5, 52)]);
    assert_eq!(hits(&store, &ask(&key, &space, 99)).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_chunkings_of_a_model_are_read_and_deleted_together() {
    let (store, key) = (eager().await, new_document());
    let whole = new_space();
    let halves = VectorSpace { chunking: "halves".into(), ..whole.clone() };
    publish_in(&store, &key, 5, &halves, 2).await;
    store.put_vectors(&run_of(&key, 5), 5, &whole, &[(0, vector(0.0))]).await.unwrap();
    let numbers = |vectors: Vec<(u32, Vec<f32>)>| vectors.into_iter().map(|(chunk_no, _)| chunk_no).collect::<Vec<_>>();
    assert_eq!(numbers(store.vectors(&run_of(&key, 5), &whole.model).await.unwrap()), [0, 0, 1]);
    assert_eq!(hits(&store, &ask(&key, &whole, 9)).await, [(5, 0), (5, 0), (5, 1)]);

    store.trim_chunks(&run_of(&key, 5), 6, 1).await.unwrap();
    assert_eq!(numbers(store.vectors(&run_of(&key, 5), &whole.model).await.unwrap()), [0, 0]);
    // One chunk and two vectors.
    assert_eq!(store.remove_runs_below(&key, 6).await.unwrap(), 3);
    assert_eq!(store.vectors(&run_of(&key, 5), &whole.model).await.unwrap(), []);
    assert_eq!(hits(&store, &ask(&key, &whole, 9)).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_refused_in_the_words_of_the_other_side() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
    let (first, second): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(eager().await), Arc::new(eager().await));
    let (key, space) = (new_document(), new_space());
    for store in [&sqlite, &first] {
        publish_in(&**store, &key, 5, &space, 1).await;
    }
    let run = run_of(&key, 5);
    let four = VectorSpace { dimension: 4, ..space.clone() };
    let any_length = VectorSpace { normalized: false, ..space.clone() };
    for (wanted, bad) in [
        (&four, vec![0.5; 4]),
        (&any_length, vector(0.0)),
        (&space, vec![0.0; 8]),
        (&space, vec![f32::NAN; 8]),
        (&space, vec![1.0; 8]),
        (&space, vec![1.0]),
    ] {
        let refusal = sqlite.put_vectors(&run, 5, wanted, &[(0, bad.clone())]).await.unwrap_err();
        assert!(matches!(refusal, Failure::Defect { .. }));
        // The second store has not met the space before.
        for store in [&first, &second] {
            assert_eq!(store.put_vectors(&run, 5, wanted, &[(0, bad.clone())]).await.unwrap_err(), refusal);
        }
    }
    for bad in [vec![0.0; 8], vec![f32::INFINITY; 8], vec![], vec![1.0; 9]] {
        let query = asking(&key, &space, bad, 1);
        let refusal = sqlite.search(&query).await.unwrap_err();
        for store in [&first, &second] {
            assert_eq!(store.search(&query).await.unwrap_err(), refusal);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_make_one_space_at_once_make_one_table() {
    let documents: Vec<_> =
        (0..3).map(|n| DocumentKey { tenant: "shared".into(), document_id: format!("{n}") }).collect();
    if let Ok(named) = std::env::var(MODEL) {
        let (model, document) = named.split_once('?').unwrap();
        let space = VectorSpace { model: model.into(), ..space() };
        return publish_in(&eager().await, &documents[document.parse::<usize>().unwrap()], 5, &space, 2).await;
    }
    let (store, space) = (eager().await, new_space());
    let others = [1, 2].map(|document| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes_that_make_one_space_at_once_make_one_table"])
            .env(MODEL, format!("{}?{document}", space.model))
            .spawn()
            .unwrap()
    });
    // Four tasks of this one, too: whoever comes second finds the table.
    let tasks = (0..4).map(|_| publish_in(&store, &documents[0], 5, &space, 2));
    join_all(tasks).await;
    for mut other in others {
        assert!(tokio::task::block_in_place(|| other.wait()).unwrap().success());
    }
    for document in &documents {
        assert_eq!(store.vectors(&run_of(document, 5), &space.model).await.unwrap().len(), 2, "{document:?}");
    }
    assert_eq!(hits(&store, &ask(&documents[0], &space, 9)).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_among_writes_shows_each_document_as_one_run() {
    const DOCUMENTS: usize = 6;
    const RUNS: i64 = 8;
    let (writer, space, tenant) = (Arc::new(eager().await), new_space(), new_document().tenant);
    let key = |n: usize| DocumentKey { tenant: tenant.clone(), document_id: format!("{n}") };
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (reader, done, query) = (eager().await, done.clone(), ask(&key(0), &space, 50));
        async move {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let mut runs = BTreeMap::new();
                for hit in reader.search(&query).await.unwrap() {
                    assert_eq!(hit.chunk, chunk(hit.run, hit.run, hit.chunk.chunk_no));
                    assert!((hit.score - (hit.chunk.chunk_no as f32).to_radians().cos()).abs() < 1e-5);
                    let run = *runs.entry(hit.key.clone()).or_insert(hit.run);
                    assert_eq!(run, hit.run, "two runs of one document");
                    seen.insert(hit.run);
                }
            }
            (reader, query, seen)
        }
    });
    join_all((0..DOCUMENTS).map(|n| {
        let (writer, space, key) = (writer.clone(), space.clone(), key(n));
        async move {
            for run in 1..=RUNS {
                publish_in(&*writer, &key, run, &space, (run % 3 + 1) as u32).await;
            }
        }
    }))
    .await;
    done.store(true, Ordering::Relaxed);
    let (reader, query, seen) = reader.await.unwrap();
    assert!(seen.len() > 1, "the reader was too slow to see runs change");
    let last: Vec<_> = (0..RUNS as u32 % 3 + 1).flat_map(|chunk_no| [(RUNS, chunk_no); DOCUMENTS]).collect();
    found(&reader, &query, &last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_without_the_database_says_so_and_goes_on_when_it_is_back() {
    let mut cluster = Cassandra::start(1).await;
    let (eager, lazy) = (open(config(cluster.nodes(), 0)).await, open(config(cluster.nodes(), NEVER_MS)).await);
    let (space, key) = (new_space(), new_document());
    publish_in(&eager, &key, 5, &space, 2).await;
    let query = ask(&key, &space, 9);
    for store in [&eager, &lazy] {
        assert_eq!(hits(store, &query).await, [(5, 0), (5, 1)]);
    }
    cluster.kill(1).await;
    // One would have to look at the feed, the other at the hits.
    for store in [&eager, &lazy] {
        let failure = store.search(&query).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unavailable { dependency, .. } if dependency == "scylla"), "{failure:?}");
    }
    cluster.start_again(1).await;
    // The driver's own back-off reaches ten seconds.
    let deadline = Instant::now() + Duration::from_secs(60);
    for store in [&eager, &lazy] {
        loop {
            match store.search(&query).await {
                Ok(hits) => break assert_eq!(hits.len(), 2, "acknowledged before the crash"),
                Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
