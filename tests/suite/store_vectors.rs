//! Vectors and search on CQL, beyond the laws: several processes on one keyspace, each with an index of its own.
//!
//! A store that looks at the feed with every search ([`eager`]) finds what others write by the feed; one that never
//! looks again ([`lazy`]) shows what a search finds out by itself.

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
    app::telemetry,
    contract::{document::Chunk, error::Failure},
    store::{
        DocumentKey, PublishedVersion, Query, QueryVector, SearchFilter, Store, VectorSpace,
        cql::{Config, CqlStore, Search, ann, migrations},
        sqlite::SqliteStore,
    },
};
use futures::{future::join_all, poll};

use crate::support::{
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
            .args(["--exact", "store_vectors::processes_that_make_one_space_at_once_make_one_table"])
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_one_writes_the_other_finds() {
    let (one, other, space, key) = (eager().await, eager().await, new_space(), new_document());
    let say = |run: i64, text: &'static str| {
        let (one, key, space) = (&one, &key, &space);
        async move {
            let chunk = Chunk { text: text.into(), ..chunk(run, run, 0) };
            one.put_chunks(&run_of(key, run), run, &[chunk]).await.unwrap();
            one.put_vectors(&run_of(key, run), run, space, &[(0, vector(0.0))]).await.unwrap();
            one.set_current(key, &current(run, run, 0, 1)).await.unwrap();
        }
    };
    let asked = |words: &str| asking_for(&key, words, 9);
    assert_eq!(hits(&other, &asked("invoice")).await, [], "before anything of the tenant is there");
    say(5, "invoice 4711").await;
    found(&other, &asked("4711"), &[(5, 0)]).await;
    // By the feed, and the older run's words go.
    say(6, "invoice 4712").await;
    found(&other, &asked("4712"), &[(6, 0)]).await;
    assert_eq!(hits(&other, &asked("4711")).await, []);
    one.erase(&key, 6).await.unwrap();
    assert_eq!(hits(&other, &asked("invoice")).await, [], "the header decides, whatever the index holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_see_a_document_is_told_by_its_header_and_not_by_an_index() {
    let (writer, reader, space, key) = (eager().await, lazy().await, new_space(), new_document());
    let publish_for = |run: i64, version: i64, principal: &'static str| {
        let (writer, key, space) = (&writer, &key, &space);
        async move {
            writer.put_chunks(&run_of(key, run), version, &chunks(run, version, 0..2)).await.unwrap();
            let vectors = [(0, vector(0.0)), (1, vector(1.0))];
            writer.put_vectors(&run_of(key, run), version, space, &vectors).await.unwrap();
            let current = PublishedVersion { access: vec![principal.into()], ..current(run, version, 0, 2) };
            writer.set_current(key, &current).await.unwrap();
        }
    };
    let see = |principal: &str, wanted: &'static [(i64, u32)]| {
        let filter =
            SearchFilter { access: Some(vec![principal.into()]), ..SearchFilter::of_tenant(key.tenant.clone()) };
        let by_meaning = Query { filter: filter.clone(), ..ask(&key, &space, 9) };
        let by_words = Query { filter, ..asking_for(&key, "chunk", 9) };
        let reader = &reader;
        async move {
            for query in [by_meaning, by_words] {
                let mut found = hits(reader, &query).await;
                found.sort_unstable();
                assert_eq!(found, wanted, "{query:?}");
            }
        }
    };
    publish_for(5, 5, "user:kim").await;
    see("user:kim", &[(5, 0), (5, 1)]).await;
    // The reader's indexes still say that Kim may see it. Lee has to wait for the feed, but for what Kim's search met.
    publish_for(6, 6, "user:lee").await;
    see("user:kim", &[]).await;
    see("user:lee", &[(6, 0), (6, 1)]).await;
    // The same run, in a newer version.
    publish_for(6, 7, "user:max").await;
    see("user:lee", &[]).await;
    see("user:max", &[(6, 0), (6, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_loaded_though_the_first_search_is_given_up() {
    let metrics = telemetry::install_metrics().unwrap();
    let (writer, reader, space, key) = (eager().await, lazy().await, new_space(), new_document());
    publish_in(&writer, &key, 5, &space, 3).await;
    let query = ask(&key, &space, 9);
    // Session and registry are asked by whoever comes first, and are not what is meant here.
    reader.vectors(&run_of(&key, 5), &space.model).await.unwrap();
    let mut given_up = Box::pin(reader.search(&query));
    assert!(poll!(&mut given_up).is_pending(), "the first search was answered at once");
    drop(given_up);
    let held = format!("deckle_search_index_rows{{index=\"{}\"}} 3", space.model);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !metrics.render().contains(&held) {
        assert!(Instant::now() < deadline, "nothing was loaded:\n{}", metrics.render());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(hits(&reader, &query).await.len(), 3);
    let told = metrics.render();
    assert!(told.contains("deckle_search_seconds_count{mode=\"vector\"}"), "{told}");
    assert!(told.contains(&format!("deckle_search_index_bytes{{index=\"{}\"}}", space.model)), "{told}");
}

/// A vector of length 1 that follows from its number: of 20 directions, and a little beside.
fn clustered(number: u32) -> Vec<f32> {
    let mut state = u64::from(number % 20) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let centre: Vec<f32> = (0..8).map(|_| next()).collect();
    let mut vector: Vec<f32> = (0..8).map(|at| centre[at] + 0.2 * (number as f32 * (at + 1) as f32).sin()).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// 1,000 vectors that are current, and 200 of older runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_databases_own_index_finds_what_the_one_in_memory_finds() {
    const DOCUMENTS: u32 = 100;
    const CHUNKS: u32 = 10;
    // A keyspace of its own, for every table of vectors in it gets its index.
    let keyspace = format!("ann_{}", uuid::Uuid::now_v7().simple());
    let own = |search| Config { keyspace: keyspace.clone(), search, ..config(&shared_cassandra(), 0) };
    let memory = open(own(Search::Memory)).await;
    let (space, tenant) = (new_space(), new_document().tenant);
    let publish = |document: u32, run: i64, tenant: String| {
        let (memory, space) = (&memory, &space);
        async move {
            let key = DocumentKey { tenant, document_id: format!("{document:03}") };
            let numbers = document * CHUNKS..(document + 1) * CHUNKS;
            let vectors: Vec<_> = (0..).zip(numbers).map(|(no, number)| (no, clustered(number))).collect();
            memory.put_chunks(&run_of(&key, run), run, &chunks(run, run, 0..CHUNKS)).await.unwrap();
            memory.put_vectors(&run_of(&key, run), run, space, &vectors).await.unwrap();
            memory.set_current(&key, &current(run, run, 0, CHUNKS)).await.unwrap();
        }
    };
    // The first makes the table.
    publish(0, 4, tenant.clone()).await;
    join_all((1..20).map(|document| publish(document, 4, tenant.clone()))).await;
    join_all((0..DOCUMENTS).map(|document| publish(document, 5, tenant.clone()))).await;
    let key = DocumentKey { tenant, document_id: "000".into() };
    let asked = |number: u32| asking(&key, &space, clustered(number), 10);

    let database = open(own(Search::Database)).await;
    let refused = database.search(&asked(0)).await.unwrap_err();
    assert!(matches!(refused, Failure::Defect { .. }) && refused.to_string().contains("deckle store index"));
    assert_eq!(ann::make(&own(Search::Database)).await.unwrap().len(), 1);
    assert_eq!(ann::make(&own(Search::Database)).await.unwrap(), [""; 0], "made twice");

    let deadline = Instant::now() + Duration::from_secs(120);
    while let Err(failure) = database.search(&asked(0)).await {
        // The nodes build it on their own time.
        assert!(Instant::now() < deadline, "{failure}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let names = |hits: Vec<deckle::store::Hit>| -> BTreeMap<_, _> {
        hits.into_iter().map(|hit| ((hit.key.document_id, hit.run, hit.chunk.chunk_no), hit.score)).collect()
    };
    let mut same = 0;
    for number in 0..50 {
        let wanted = names(memory.search(&asked(number * 7)).await.unwrap());
        let found = names(database.search(&asked(number * 7)).await.unwrap());
        assert_eq!(found.len(), 10);
        assert!(found.keys().all(|(_, run, _)| *run == 5), "a run that is not current");
        for (name, score) in &found {
            let Some(exact) = wanted.get(name) else { continue };
            assert!((score - exact).abs() < 1e-4, "{name:?}: {score} and {exact}");
            same += 1;
        }
    }
    assert!(same >= 450, "recall of {same} in 500");

    // The filter, words beside, and what was written after the index.
    let nobody = SearchFilter { access: Some(vec![]), ..SearchFilter::of_tenant(key.tenant.clone()) };
    assert_eq!(hits(&database, &Query { filter: nobody, ..asked(0) }).await, []);
    let both = Query { keywords: Some("\"chunk 3\"".into()), ..asked(0) };
    assert!(database.search(&both).await.unwrap().iter().any(|hit| hit.keyword_score.is_some()));
    publish(DOCUMENTS, 6, key.tenant.clone()).await;
    let newest = asked(DOCUMENTS * CHUNKS);
    let deadline = Instant::now() + Duration::from_secs(60);
    while hits(&database, &newest).await.first().is_none_or(|(run, _)| *run != 6) {
        assert!(Instant::now() < deadline, "what is new was not found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    assert_eq!(ann::remove(&own(Search::Database)).await.unwrap().len(), 1);
    assert!(open(own(Search::Database)).await.search(&asked(0)).await.is_err(), "it is gone");
}
