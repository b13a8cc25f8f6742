//! Properties of the pure batcher, on a clock that the test owns.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use deckle::{
    contract::record::Lane,
    models::inference::{
        Size,
        batcher::{Batch, Batcher, Config, Full, Next, Ticket},
    },
};
use proptest::prelude::*;

const DELAY: Duration = Duration::from_millis(5);

fn config() -> Config {
    Config { max_items: 8, budget: 512, max_delay: DELAY, queue_bytes: 1 << 20, max_padding: 0.25 }
}

fn text(length: u32) -> Size {
    Size { class: 0, length, bytes: 100 }
}

fn sent<T: std::fmt::Debug>(next: Next<T>) -> Batch<T> {
    match next {
        Next::Send(batch) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

fn values<T: Copy>(batch: &Batch<T>) -> Vec<T> {
    batch.items.iter().map(|item| item.value).collect()
}

#[test]
fn an_item_waits_its_delay_and_not_longer() {
    let start = Instant::now();
    let mut batcher = Batcher::new(config());
    assert_eq!(batcher.next(start), Next::Idle);
    batcher.push(start, Lane::Interactive, text(16), 1).unwrap();
    assert_eq!(batcher.next(start + Duration::from_millis(2)), Next::Wait(Duration::from_millis(3)));
    batcher.push(start + Duration::from_millis(2), Lane::Interactive, text(16), 2).unwrap();
    let batch = sent(batcher.next(start + DELAY));
    assert_eq!(values(&batch), [1, 2]);
    assert_eq!(batch.items[0].waited, DELAY);
    assert_eq!(batch.items[1].waited, Duration::from_millis(3));
}

#[test]
fn a_full_batch_does_not_wait() {
    let now = Instant::now();
    let mut batcher = Batcher::new(config());
    for item in 0..9 {
        batcher.push(now, Lane::Interactive, text(16), item).unwrap();
    }
    assert_eq!(values(&sent(batcher.next(now))), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(batcher.next(now), Next::Wait(DELAY));
}

#[test]
fn a_batch_that_spends_the_budget_does_not_wait() {
    let now = Instant::now();
    let mut batcher = Batcher::new(config());
    for item in 0..3 {
        batcher.push(now, Lane::Interactive, text(256), item).unwrap();
    }
    assert_eq!(values(&sent(batcher.next(now))), [0, 1]);
}

#[test]
fn an_item_above_the_budget_runs_alone() {
    let now = Instant::now();
    let mut batcher = Batcher::new(config());
    batcher.push(now, Lane::Interactive, text(1000), 1).unwrap();
    batcher.push(now, Lane::Interactive, text(1000), 2).unwrap();
    assert_eq!(values(&sent(batcher.next(now))), [1]);
    assert_eq!(values(&sent(batcher.next(now))), [2]);
}

#[test]
fn near_lengths_share_a_batch_and_far_ones_do_not() {
    let start = Instant::now();
    let mut batcher = Batcher::new(config());
    batcher.push(start, Lane::Interactive, text(16), "short").unwrap();
    batcher.push(start, Lane::Interactive, text(96), "long").unwrap();
    batcher.push(start, Lane::Interactive, text(112), "longer").unwrap();
    assert_eq!(values(&sent(batcher.next(start + DELAY))), ["short"]);
    assert_eq!(values(&sent(batcher.next(start + DELAY))), ["long", "longer"]);
}

#[test]
fn classes_never_mix() {
    let start = Instant::now();
    let mut batcher = Batcher::new(config());
    for class in [1, 2, 1] {
        batcher.push(start, Lane::Interactive, Size { class, length: 64, bytes: 1 }, class).unwrap();
    }
    assert_eq!(values(&sent(batcher.next(start + DELAY))), [1, 1]);
    assert_eq!(values(&sent(batcher.next(start + DELAY))), [2]);
}

#[test]
fn interactive_goes_first_and_bulk_does_not_starve() {
    let now = Instant::now();
    let mut batcher = Batcher::new(Config { max_items: 1, ..config() });
    for _ in 0..3 {
        batcher.push(now, Lane::Bulk, text(16), "bulk").unwrap();
    }
    for _ in 0..8 {
        batcher.push(now, Lane::Interactive, text(16), "person").unwrap();
    }
    let order: Vec<&str> = std::iter::from_fn(|| Some(batcher.flush(now)?.items[0].value)).collect();
    let [p, b] = ["person", "bulk"];
    assert_eq!(order, [p, p, p, p, b, p, p, p, p, b, b]);
}

#[test]
fn bulk_fills_what_interactive_leaves() {
    let start = Instant::now();
    let mut batcher = Batcher::new(config());
    batcher.push(start, Lane::Bulk, text(16), "bulk").unwrap();
    batcher.push(start, Lane::Interactive, text(16), "person").unwrap();
    assert_eq!(values(&sent(batcher.next(start + DELAY))), ["person", "bulk"]);
}

#[test]
fn a_full_lane_gives_the_item_back_and_leaves_the_other_lane_open() {
    let now = Instant::now();
    let mut batcher = Batcher::new(Config { queue_bytes: 250, ..config() });
    batcher.push(now, Lane::Bulk, text(16), 1).unwrap();
    batcher.push(now, Lane::Bulk, text(16), 2).unwrap();
    assert_eq!(batcher.push(now, Lane::Bulk, text(16), 3), Err(Full(3)));
    batcher.push(now, Lane::Interactive, text(16), 4).unwrap();
    batcher.flush(now).unwrap();
    batcher.push(now, Lane::Bulk, text(16), 5).unwrap();
    // A giant is let in when its lane is empty, or it could never run.
    batcher.flush(now).unwrap();
    batcher.push(now, Lane::Bulk, Size { bytes: 1000, ..text(16) }, 6).unwrap();
}

#[derive(Debug, Clone)]
enum Act {
    Push {
        lane: Lane,
        class: u32,
        length: u32,
        bytes: usize,
    },
    /// Cancels one of the items pushed so far.
    Cancel(prop::sample::Index),
    Ask,
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let lane = prop_oneof![3 => Just(Lane::Interactive), 2 => Just(Lane::Bulk)];
    let push = (lane, 0u32..2, 1u32..40, 1usize..200).prop_map(|(lane, class, steps, bytes)| Act::Push {
        lane,
        class,
        length: steps * 16,
        bytes,
    });
    prop_oneof![
        6 => push,
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => Just(Act::Ask),
        1 => (0u64..4000).prop_map(Act::Pass),
    ]
}

/// What the test knows of a queued item.
struct Known {
    lane: Lane,
    size: Size,
    since: Instant,
    ticket: Ticket,
}

/// Checks one batch against everything that waited when it was taken.
fn check(batch: &Batch<usize>, waiting: &mut BTreeMap<usize, Known>, config: &Config, now: Instant) {
    assert!(!batch.items.is_empty() && batch.items.len() <= config.max_items);
    assert!(batch.items.len() == 1 || batch.padded_cost() <= config.budget, "over budget");
    let lengths = batch.items.iter().map(|item| item.size.length);
    assert_eq!(lengths.clone().max(), Some(batch.longest));
    assert!(batch.cost() as f64 >= batch.padded_cost() as f64 * (1.0 - config.max_padding) - 1e-6, "too much padding");

    let leader = &waiting[&batch.items[0].value];
    let oldest_of_lane = waiting.iter().find(|(_, known)| known.lane == leader.lane).map(|(item, _)| *item);
    assert_eq!(Some(batch.items[0].value), oldest_of_lane, "the oldest of the lane leads");

    let mut last: HashMap<(Lane, u32), usize> = HashMap::new();
    for item in &batch.items {
        let known = waiting.remove(&item.value).expect("an item leaves once, and not after it was cancelled");
        assert_eq!(known.size, item.size);
        assert_eq!(known.size.class, batch.items[0].size.class);
        assert_eq!(item.waited, now - known.since);
        let before = last.insert((known.lane, known.size.length), item.value);
        assert!(before.is_none_or(|before| before < item.value), "order within lane and bucket");
    }
    for ((lane, length), item) in last {
        let older = waiting.iter().find(|(other, known)| {
            **other < item
                && (known.lane, known.size.class, known.size.length) == (lane, batch.items[0].size.class, length)
        });
        assert!(older.is_none(), "an older equal was left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn nothing_is_lost_late_over_budget_or_out_of_order(acts in prop::collection::vec(act(), 1..200)) {
        let config = Config { max_items: 6, queue_bytes: 1000, ..config() };
        let mut batcher = Batcher::new(config);
        let mut now = Instant::now();
        let mut waiting: BTreeMap<usize, Known> = BTreeMap::new();
        let mut pushed = 0;

        for act in acts {
            match act {
                Act::Push { lane, class, length, bytes } => {
                    let size = Size { class, length, bytes };
                    let in_lane = waiting.values().filter(|known| known.lane == lane);
                    let (count, queued) = in_lane.fold((0, 0), |(count, sum), known| (count + 1, sum + known.size.bytes));
                    match batcher.push(now, lane, size, pushed) {
                        Ok(ticket) => {
                            prop_assert!(count == 0 || queued + bytes <= config.queue_bytes, "over the bound");
                            waiting.insert(pushed, Known { lane, size, since: now, ticket });
                        }
                        Err(Full(item)) => {
                            prop_assert_eq!(item, pushed);
                            prop_assert!(count > 0 && queued + bytes > config.queue_bytes, "refused with room");
                        }
                    }
                    pushed += 1;
                }
                Act::Cancel(index) => {
                    let items: Vec<usize> = waiting.keys().copied().collect();
                    if !items.is_empty() {
                        let item = items[index.index(items.len())];
                        let known = waiting.remove(&item).unwrap();
                        prop_assert_eq!(batcher.cancel(known.ticket), Some(item));
                        prop_assert_eq!(batcher.cancel(known.ticket), None);
                    }
                }
                Act::Ask => {
                    let oldest = waiting.values().map(|known| now - known.since).max();
                    match batcher.next(now) {
                        Next::Idle => prop_assert!(waiting.is_empty()),
                        Next::Wait(time) => {
                            prop_assert_eq!(Some(config.max_delay - time), oldest, "waits for the oldest, no longer");
                            prop_assert!(!time.is_zero());
                        }
                        Next::Send(batch) => check(&batch, &mut waiting, &config, now),
                    }
                }
                Act::Pass(micros) => now += Duration::from_micros(micros),
            }
            prop_assert_eq!(batcher.len(), waiting.len());
            for lane in [Lane::Interactive, Lane::Bulk] {
                let bytes: usize = waiting.values().filter(|known| known.lane == lane).map(|known| known.size.bytes).sum();
                prop_assert_eq!(batcher.queued_bytes(lane), bytes);
            }
        }
        // After the delay everything leaves without further waiting.
        now += config.max_delay;
        while !waiting.is_empty() {
            match batcher.next(now) {
                Next::Send(batch) => check(&batch, &mut waiting, &config, now),
                other => prop_assert!(false, "{:?} with {} items overdue", other, waiting.len()),
            }
        }
        prop_assert!(batcher.is_empty());
    }
}
