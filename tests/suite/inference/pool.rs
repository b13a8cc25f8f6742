//! The pool, on a model that fails on demand.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use deckle::{
    contract::{
        error::{Failure, Result},
        record::Lane,
    },
    models::inference::{Model, Pool, Size, Tag, batcher},
};
use futures::future::join_all;

/// Doubles numbers, and does as the item says.
struct Doubler {
    gate: Arc<Gate>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Fine(u32),
    Fails,
    Panics,
    LosesAnOutput,
}

/// While closed, sessions wait inside the model: callers can queue up behind it.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    entered: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.entered.fetch_add(1, SeqCst);
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
}

impl Model for Doubler {
    type Input = Item;
    type Output = u32;

    fn size(_: &Item) -> Size {
        Size { class: 0, length: 1, bytes: 10 }
    }

    fn run(&mut self, batch: &[Item]) -> Result<Vec<u32>> {
        self.gate.pass();
        if batch.contains(&Item::Fails) {
            return Err(Failure::defect("poison"));
        }
        assert!(!batch.contains(&Item::Panics), "poison panics");
        let outputs = batch.iter().filter_map(|item| if let Item::Fine(n) = item { Some(n * 2) } else { None });
        Ok(outputs.collect())
    }
}

struct Fixture {
    pool: Arc<Pool<Doubler>>,
    gate: Arc<Gate>,
    built: Arc<AtomicUsize>,
    /// Tags of each run.
    runs: Arc<Mutex<Vec<Vec<String>>>>,
}

fn pool(sessions: usize, config: batcher::Config) -> Fixture {
    let (gate, built) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let factory = {
        let (gate, built) = (Arc::clone(&gate), Arc::clone(&built));
        move |_| {
            built.fetch_add(1, SeqCst);
            Ok(Doubler { gate: Arc::clone(&gate) })
        }
    };
    let pool = Pool::new("doubler", sessions, config, factory).unwrap();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    pool.observe(move |report| {
        seen.lock().unwrap().push(report.tags.iter().map(ToString::to_string).collect());
    });
    Fixture { pool: Arc::new(pool), gate, built, runs }
}

fn config() -> batcher::Config {
    batcher::Config {
        max_items: 16,
        budget: 1000,
        max_delay: Duration::from_millis(20),
        queue_bytes: 1 << 20,
        max_padding: 0.25,
    }
}

/// Waits for a state with a deadline.
async fn until(what: &str, mut state: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if state() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("still not after 10 s: {what}");
}

#[tokio::test]
async fn every_caller_gets_its_own_answer_and_batches_fill() {
    let Fixture { pool, .. } = pool(2, config());
    let answers = join_all((0..1000).map(|n| pool.infer(Item::Fine(n)))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, Ok(n as u32 * 2));
    }
    let stats = pool.stats();
    assert_eq!(stats.items, 1000);
    assert!(stats.mean_batch() >= 8.0, "{stats:?}");
    assert_eq!(stats.batch_sizes.iter().map(|(_, count)| count).sum::<u64>(), stats.batches);
    assert_eq!(stats.queued, 0);
}

#[tokio::test]
async fn items_of_two_documents_share_a_batch() {
    let Fixture { pool, runs, .. } = pool(1, config());
    let tags = ["invoice", "letter", "invoice", "letter"];
    join_all(tags.iter().map(|tag| pool.infer_tagged(Item::Fine(1), *tag))).await;
    assert_eq!(*runs.lock().unwrap(), [tags]);
}

/// Queues these behind a running item, so that they make one batch.
async fn one_batch(fixture: &Fixture, items: &[Item]) -> Vec<Result<u32>> {
    fixture.gate.set(true);
    let entered = fixture.gate.entered.load(SeqCst);
    let blocker = tokio::spawn({
        let pool = Arc::clone(&fixture.pool);
        async move { pool.infer(Item::Fine(0)).await }
    });
    until("the session runs the blocker", || fixture.gate.entered.load(SeqCst) > entered).await;
    let asked: Vec<_> = items
        .iter()
        .map(|item| {
            let (pool, item) = (Arc::clone(&fixture.pool), *item);
            tokio::spawn(async move { pool.infer(item).await })
        })
        .collect();
    until("all are queued", || fixture.pool.stats().queued == items.len()).await;
    fixture.gate.set(false);
    blocker.await.unwrap().unwrap();
    join_all(asked).await.into_iter().map(|answer| answer.unwrap()).collect()
}

async fn poison_stands_alone(poison: Item, says: &str) -> Fixture {
    let fixture = pool(1, config());
    let mut items: Vec<Item> = (0..13).map(Item::Fine).collect();
    items[5] = poison;
    for (n, answer) in one_batch(&fixture, &items).await.into_iter().enumerate() {
        match answer {
            Ok(value) => assert_eq!(value, n as u32 * 2),
            Err(Failure::Defect { message }) => assert!(n == 5 && message.contains(says), "{n}: {message}"),
            Err(other) => panic!("{n}: {other:?}"),
        }
    }
    // The session still serves.
    assert_eq!(fixture.pool.infer(Item::Fine(4)).await, Ok(8));
    fixture
}

#[tokio::test]
async fn an_item_that_fails_its_batch_fails_alone() {
    let fixture = poison_stands_alone(Item::Fails, "poison").await;
    assert_eq!(fixture.built.load(SeqCst), 1, "an error is no reason to build the model again");
    let sizes: Vec<usize> = fixture.runs.lock().unwrap().iter().map(Vec::len).collect();
    // blocker; 13 → 6 (poison 5 is in the first half) → 3 + 3 → of the second 1 + 2 → 1 + 1; then 7; then the last.
    assert_eq!(sizes, [1, 13, 6, 3, 3, 1, 2, 1, 1, 7, 1]);
}

#[tokio::test]
async fn a_panic_is_caught_and_the_model_built_again() {
    let fixture = poison_stands_alone(Item::Panics, "poison panics").await;
    assert_eq!(fixture.built.load(SeqCst) as u64, 1 + fixture.pool.stats().rebuilt);
    assert_eq!(fixture.pool.stats().rebuilt, 5, "13, 6, 3, 2 and 1 items panicked");
}

#[tokio::test]
async fn a_model_that_loses_an_output_mixes_nothing_up() {
    poison_stands_alone(Item::LosesAnOutput, "0 outputs for 1 inputs").await;
}

#[tokio::test]
async fn callers_that_went_away_are_not_run() {
    let fixture = pool(1, config());
    fixture.gate.set(true);
    let blocker = tokio::spawn({
        let pool = Arc::clone(&fixture.pool);
        async move { pool.infer(Item::Fine(0)).await }
    });
    until("the session runs the blocker", || fixture.gate.entered.load(SeqCst) == 1).await;
    let gone = tokio::spawn({
        let pool = Arc::clone(&fixture.pool);
        async move { pool.infer_tagged(Item::Fine(1), "gone").await }
    });
    let stays = tokio::spawn({
        let pool = Arc::clone(&fixture.pool);
        async move { pool.infer_tagged(Item::Fine(2), "stays").await }
    });
    until("both are queued", || fixture.pool.stats().queued == 2).await;
    gone.abort();
    until("one has left", || fixture.pool.stats().queued == 1).await;
    fixture.gate.set(false);
    assert_eq!(stays.await.unwrap(), Ok(4));
    blocker.await.unwrap().unwrap();
    let ran: BTreeSet<String> = fixture.runs.lock().unwrap().iter().flatten().cloned().collect();
    assert!(ran.contains("stays") && !ran.contains("gone"), "{ran:?}");
}

#[tokio::test]
async fn callers_wait_when_the_queue_is_full_and_all_come_through() {
    let fixture = pool(1, batcher::Config { queue_bytes: 30, max_items: 2, ..config() });
    fixture.gate.set(true);
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let pool = Arc::clone(&fixture.pool);
            tokio::spawn(async move { pool.infer(Item::Fine(n)).await })
        })
        .collect();
    until("the queue is full", || fixture.pool.stats().queued == 3).await;
    // Overnight work that fills its lane does not keep a person out.
    let pool = Arc::clone(&fixture.pool);
    let bulk = tokio::spawn(async move { pool.ask(Item::Fine(7), Lane::Bulk, Tag::from("bulk")).await });
    until("the other lane has room", || fixture.pool.stats().queued == 4).await;
    fixture.gate.set(false);
    for (n, answer) in join_all(asked).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Ok(n as u32 * 2));
    }
    assert_eq!(bulk.await.unwrap().unwrap().output, 14);
}

#[tokio::test]
async fn a_model_that_does_not_load_is_an_error_at_start() {
    let error = Pool::<Doubler>::new("doubler", 2, config(), |_| Err(Failure::defect("no such file"))).err().unwrap();
    assert_eq!(format!("{error:#}"), "model doubler does not start: no such file");
}

#[tokio::test]
async fn a_model_that_cannot_be_built_again_makes_the_stage_wait() {
    let gate = Arc::new(Gate::default());
    let built = AtomicUsize::new(0);
    let factory = move |_| match built.fetch_add(1, SeqCst) {
        0 | 2 => Ok(Doubler { gate: Arc::clone(&gate) }),
        _ => Err(Failure::defect("out of memory")),
    };
    let pool = Pool::new("doubler", 1, config(), factory).unwrap();
    assert!(matches!(pool.infer(Item::Panics).await, Err(Failure::Defect { .. })));
    let failure = pool.infer(Item::Fine(1)).await.unwrap_err();
    assert!(matches!(failure, Failure::Unavailable { .. }), "{failure:?}");
    assert_eq!(pool.infer(Item::Fine(1)).await, Ok(2));
}

#[tokio::test]
async fn dropping_the_pool_ends_its_threads() {
    let Fixture { pool, gate, .. } = pool(3, config());
    assert_eq!(pool.infer(Item::Fine(1)).await, Ok(2));
    drop(pool);
    assert_eq!(Arc::strong_count(&gate), 1, "each session's model is gone");
}
