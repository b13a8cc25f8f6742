//! What goes wrong on a real Cassandra: nodes that are killed, frozen, and one of three that is away. A write that was
//! acknowledged is there; one that failed says that the cluster is away, and succeeds when it is made again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use deckle::{
    contract::error::{Failure, Result},
    store::{
        DocumentKey, Store,
        cql::{Config, CqlStore, migrations},
    },
};
use tokio::task::JoinHandle;

use crate::support::{servers::Cassandra, values::*};

/// Longer than a node takes to start on two busy cores, and the driver to find it again.
const DEADLINE: Duration = Duration::from_secs(90);

const REQUEST_MS: u64 = 2_000;

/// A store that says at once that the cluster is away.
async fn open(nodes: &Cassandra, replication_factor: u32) -> Arc<CqlStore> {
    open_with(nodes, replication_factor, Duration::ZERO).await
}

async fn open_with(nodes: &Cassandra, replication_factor: u32, retry: Duration) -> Arc<CqlStore> {
    let config = Config {
        nodes: nodes.nodes().to_owned(),
        keyspace: "faults".to_owned(),
        replication_factor,
        request_ms: REQUEST_MS,
        retry_ms: u64::try_from(retry.as_millis()).unwrap(),
        ..Config::default()
    };
    migrations::apply(&config, migrations::ALL).await.unwrap();
    Arc::new(CqlStore::open(config).unwrap())
}

fn assert_away<T: std::fmt::Debug>(answer: Result<T>) {
    match answer {
        Err(Failure::Unavailable { dependency, .. }) if dependency == "scylla" => {}
        other => panic!("{other:?}"),
    }
}

/// Asks until it works; every failure before that says that the cluster is away.
async fn until_back<T: std::fmt::Debug>(mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            failed if Instant::now() < deadline => assert_away(failed),
            failed => panic!("still away: {failed:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tasks that write pages of run 5 without a pause, each until its first failure or until told to end.
struct Writers {
    key: DocumentKey,
    acknowledged: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Written>>,
}

/// The pages of one writer.
struct Written {
    acknowledged: Vec<u32>,
    failed: Option<(u32, Failure)>,
}

impl Writers {
    fn start(store: &Arc<CqlStore>, count: u32) -> Self {
        let key = new_document();
        let (acknowledged, end) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..count).map(|writer| {
            let (store, run) = (Arc::clone(store), run_of(&key, 5));
            let (counted, end) = (Arc::clone(&acknowledged), Arc::clone(&end));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut numbers = (1..).step_by(count as usize).map(|number| number + writer);
                while let Some(page_no) = numbers.next().filter(|_| !end.load(Ordering::Relaxed)) {
                    if let Err(failure) = store.put_page(&run, &page(page_no, 5)).await {
                        return Written { acknowledged, failed: Some((page_no, failure)) };
                    }
                    acknowledged.push(page_no);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                Written { acknowledged, failed: None }
            })
        });
        let tasks = tasks.collect();
        Self { key, acknowledged, end, tasks }
    }

    /// Waits until so many more pages are acknowledged.
    async fn until_more(&self, more: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + DEADLINE;
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline && self.tasks.iter().any(|task| !task.is_finished()), "no writes pass");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> (DocumentKey, Vec<Written>) {
        self.end.store(true, Ordering::Relaxed);
        self.until_failed().await
    }

    /// Waits until each has ended by itself.
    async fn until_failed(self) -> (DocumentKey, Vec<Written>) {
        let written = futures::future::join_all(self.tasks).await;
        (self.key, written.into_iter().map(|written| written.unwrap()).collect())
    }
}

/// What a reader sees, once the nodes that are left know which one is not: until then one may wait for its answer.
async fn page_numbers(store: &CqlStore, key: &DocumentKey) -> BTreeSet<u32> {
    let pages = until_back(async || store.pages(&run_of(key, 5)).await).await;
    pages.into_iter().map(|row| row.page_no).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_absence_is_waited_for_in_every_request() {
    let mut node = Cassandra::start(1).await;
    let store = open_with(&node, 1, DEADLINE).await;
    let key = new_document();
    let run = run_of(&key, 5);
    let claim = || store.claim_upload(&key.tenant, "upload", 5, "");
    store.put_vectors(&run, 5, &space(), &[(0, vector(0.0)), (1, vector(90.0))]).await.unwrap();
    node.kill(1).await;
    assert_away(store.health().await);
    let (page, chunks) = (page(1, 5), chunks(5, 5, 0..64));
    let writes = async {
        tokio::try_join!(store.put_page(&run, &page), store.put_chunks(&run, 5, &chunks), claim(), store.pages(&run))
    };
    let (written, ()) = tokio::join!(writes, node.start_again(1));
    let (.., claimed, _) = written.unwrap();
    assert_eq!(claimed.run, 5);
    assert_eq!(store.pages(&run).await.unwrap(), [page]);
    store.health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_loses_nothing_acknowledged_and_what_failed_succeeds_later() {
    let mut node = Cassandra::start(1).await;
    let store = open(&node, 1).await;
    let writers = Writers::start(&store, 16);
    writers.until_more(500).await;
    node.kill(1).await;
    let (key, written) = writers.until_failed().await;
    let run = run_of(&key, 5);
    assert_away(store.put_page(&run, &page(1, 6)).await);
    assert_away(store.put_chunks(&run, 5, &chunks(5, 5, 0..64)).await);
    assert_away(store.header(&key).await);
    assert_away(store.claim_upload(&key.tenant, "upload", 5, "").await);

    node.start_again(1).await;
    let mut wanted = BTreeSet::new();
    for Written { acknowledged, failed } in written {
        let (page_no, failure) = failed.unwrap();
        assert_away::<()>(Err(failure));
        until_back(async || store.put_page(&run, &page(page_no, 5)).await).await;
        wanted.extend(acknowledged);
        wanted.insert(page_no);
    }
    assert_eq!(page_numbers(&store, &key).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_is_away_after_the_time_of_one_request() {
    let mut node = Cassandra::start(1).await;
    let store = open(&node, 1).await;
    let key = new_document();
    publish(&*store, &key, 5, 5, 1, 1).await;
    node.pause(1).await;
    let since = Instant::now();
    assert_away(store.put_page(&run_of(&key, 5), &page(2, 5)).await);
    // Not after several, nor never; the rest is for a busy machine.
    assert!(since.elapsed() < 5 * Duration::from_millis(REQUEST_MS), "{:?}", since.elapsed());
    node.resume(1).await;
    until_back(async || store.put_page(&run_of(&key, 5), &page(2, 5)).await).await;
    assert_eq!(page_numbers(&store, &key).await, BTreeSet::from([1, 2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make soak"]
async fn one_of_three_nodes_may_be_away() {
    let mut ring = Cassandra::start(3).await;
    let store = open(&ring, 3).await;
    let writers = Writers::start(&store, 8);
    writers.until_more(200).await;
    ring.kill(1).await;
    writers.until_more(200).await;
    ring.start_again(1).await;
    writers.until_more(200).await;
    ring.kill(2).await;
    writers.until_more(200).await;
    let (key, written) = writers.end().await;
    let mut wanted = BTreeSet::new();
    for Written { acknowledged, failed } in written {
        assert_eq!(failed, None, "a majority was there at all times");
        wanted.extend(acknowledged);
    }
    assert_eq!(page_numbers(&store, &key).await, wanted);
}
