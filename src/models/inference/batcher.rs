//! The batcher: items in, batches out. Pure: it knows no thread, no clock and no model.
//!
//! The law: [`Batcher::next`] is the one decision "send this now, or wait this long", asked by a session that is free.
//! Items leave once or are cancelled once; the oldest item of the chosen lane leads its batch; items of one lane and
//! one bucket leave in the order they came; a batch of several items never costs more than the budget when padded.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::bucket::{self, Size};
use deckle_contract::record::Lane;

/// How batches are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Largest number of items in a batch.
    pub max_items: usize,
    /// Largest padded cost of a batch: longest item times items, in the unit of [`Size::length`]. An item that alone
    /// costs more runs alone.
    pub budget: u64,
    /// How long the oldest item may wait for company while a session is free.
    pub max_delay: Duration,
    /// Bound on the bytes that wait, for each lane by itself, so that overnight work cannot close the door to a person.
    /// An item larger than the bound is let in when its lane is empty.
    pub queue_bytes: usize,
    /// Largest share of a batch's cost that may be padding (0 = only equal lengths share a batch).
    pub max_padding: f64,
}

/// How many batches in a row the interactive lane may lead while bulk items wait.
const INTERACTIVE_LEADS: u32 = 4;

/// The name of one queued item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    number: u64,
    lane: Side,
    bucket: Bucket,
}

/// The lane is full: the item comes back, to be tried again when items have left.
#[derive(Debug, PartialEq)]
pub struct Full<T>(pub T);

/// What a free session should do.
#[derive(Debug, PartialEq)]
pub enum Next<T> {
    /// Run this now.
    Send(Batch<T>),
    /// Ask again after this time, or when something was pushed.
    Wait(Duration),
    /// Nothing is queued.
    Idle,
}

/// Items that run together.
#[derive(Debug, PartialEq)]
pub struct Batch<T> {
    /// The items, the oldest of the leading lane first.
    pub items: Vec<Item<T>>,
    /// Length that every item is padded to.
    pub longest: u32,
}

/// One item of a batch.
#[derive(Debug, PartialEq)]
pub struct Item<T> {
    /// What was pushed.
    pub value: T,
    /// Its size.
    pub size: Size,
    /// How long it was queued.
    pub waited: Duration,
}

impl<T> Batch<T> {
    /// What the batch costs when padded.
    pub fn padded_cost(&self) -> u64 {
        bucket::padded_cost(self.longest, self.items.len())
    }

    /// What its items would cost without padding to the longest.
    pub fn cost(&self) -> u64 {
        self.items.iter().map(|item| u64::from(item.size.length)).sum()
    }
}

/// The class and the padded length that items of one bucket share.
type Bucket = (u32, u32);
/// A lane as index into [`Batcher::lanes`].
type Side = usize;

#[derive(Debug)]
struct Queued<T> {
    number: u64,
    since: Instant,
    size: Size,
    value: T,
}

/// One lane: a queue per bucket. Numbers grow within a queue, so a queue's front is its oldest item.
#[derive(Debug)]
struct Queues<T> {
    buckets: BTreeMap<Bucket, VecDeque<Queued<T>>>,
    bytes: usize,
    items: usize,
}

/// Holds waiting items by lane and bucket, and decides when which of them are a batch.
#[derive(Debug)]
pub struct Batcher<T> {
    config: Config,
    lanes: [Queues<T>; 2],
    next_number: u64,
    /// Batches led by the interactive lane since a bulk item led one or none waited.
    interactive_leads: u32,
}

impl<T> Batcher<T> {
    /// An empty batcher.
    pub fn new(config: Config) -> Self {
        let empty = || Queues { buckets: BTreeMap::new(), bytes: 0, items: 0 };
        Self { config, lanes: [empty(), empty()], next_number: 0, interactive_leads: 0 }
    }

    /// Queues an item, or gives it back when its lane is full.
    pub fn push(&mut self, now: Instant, lane: Lane, size: Size, value: T) -> Result<Ticket, Full<T>> {
        let lane = index(lane);
        let queues = &mut self.lanes[lane];
        if queues.items > 0 && queues.bytes.saturating_add(size.bytes) > self.config.queue_bytes {
            return Err(Full(value));
        }
        let number = self.next_number;
        self.next_number += 1;
        queues.bytes = queues.bytes.saturating_add(size.bytes);
        queues.items += 1;
        let bucket = (size.class, size.length);
        queues.buckets.entry(bucket).or_default().push_back(Queued { number, since: now, size, value });
        Ok(Ticket { number, lane, bucket })
    }

    /// Takes a queued item out again; `None` when it has already left.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let queue = self.lanes[ticket.lane].buckets.get_mut(&ticket.bucket)?;
        let at = queue.binary_search_by_key(&ticket.number, |queued| queued.number).ok()?;
        let queued = queue.remove(at)?;
        self.lanes[ticket.lane].left(ticket.bucket, &queued.size);
        Some(queued.value)
    }

    /// Decides for a session that is free: send now, or wait this long.
    ///
    /// A batch is sent when it is full, when one more waiting item of its class would exceed the budget, or when the
    /// oldest item of either lane has waited its delay.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        let Some(oldest) = self.lanes.iter().filter_map(|lane| Some(lane.oldest()?.since)).min() else {
            return Next::Idle;
        };
        let remaining = self.config.max_delay.saturating_sub(now.saturating_duration_since(oldest));
        let Some(plan) = self.plan() else { return Next::Idle };
        if !plan.closed && !remaining.is_zero() { Next::Wait(remaining) } else { Next::Send(self.take(&plan, now)) }
    }

    /// Like [`Batcher::next`], without waiting: for draining at the end.
    pub fn flush(&mut self, now: Instant) -> Option<Batch<T>> {
        let plan = self.plan()?;
        Some(self.take(&plan, now))
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.items).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait in a lane.
    pub fn queued_bytes(&self, lane: Lane) -> usize {
        self.lanes[index(lane)].bytes
    }

    /// The batch that would be sent now. Looks at queue lengths only, never at the items one by one.
    fn plan(&self) -> Option<Plan> {
        let lead = self.leading_lane()?;
        let leader = self.lanes[lead].oldest()?.size;
        let mut plan = Plan {
            lead,
            leader: (leader.class, leader.length),
            takes: Vec::new(),
            items: 0,
            longest: leader.length,
            cost: 0,
            closed: false,
        };
        // The leader's own bucket first, then the others by how far their length is from it: least padding first. The
        // other lane fills what is left.
        for lane in [lead, 1 - lead] {
            let mut near: Vec<(Bucket, usize)> = self.lanes[lane]
                .buckets
                .range((leader.class, 0)..=(leader.class, u32::MAX))
                .map(|(bucket, queue)| (*bucket, queue.len()))
                .collect();
            near.sort_by_key(|((_, length), _)| length.abs_diff(leader.length));
            for (bucket, waiting) in near {
                plan.add(&self.config, lane, bucket, waiting);
            }
        }
        Some(plan)
    }

    /// Interactive before bulk, but after [`INTERACTIVE_LEADS`] batches a waiting bulk item leads one.
    fn leading_lane(&self) -> Option<Side> {
        let [interactive, bulk] = [index(Lane::Interactive), index(Lane::Bulk)];
        match (self.lanes[interactive].items > 0, self.lanes[bulk].items > 0) {
            (false, false) => None,
            (true, false) => Some(interactive),
            (false, true) => Some(bulk),
            (true, true) if self.interactive_leads >= INTERACTIVE_LEADS => Some(bulk),
            (true, true) => Some(interactive),
        }
    }

    fn take(&mut self, plan: &Plan, now: Instant) -> Batch<T> {
        let bulk = index(Lane::Bulk);
        let bulk_waits = self.lanes[bulk].items > 0;
        self.interactive_leads = if plan.lead == bulk || !bulk_waits { 0 } else { self.interactive_leads + 1 };

        let mut items = Vec::with_capacity(plan.items);
        for &(lane, bucket, count) in &plan.takes {
            for _ in 0..count {
                let Some(queued) = self.lanes[lane].pop(bucket) else { break };
                let waited = now.saturating_duration_since(queued.since);
                items.push(Item { value: queued.value, size: queued.size, waited });
            }
        }
        Batch { items, longest: plan.longest }
    }
}

/// How many items to take from which queue.
#[derive(Debug)]
struct Plan {
    lead: Side,
    leader: Bucket,
    takes: Vec<(Side, Bucket, usize)>,
    items: usize,
    longest: u32,
    /// Sum of the items' own lengths.
    cost: u64,
    /// Whether waiting longer would not make the batch better.
    closed: bool,
}

impl Plan {
    /// Takes as many of `waiting` equal items as fit.
    fn add(&mut self, config: &Config, lane: Side, bucket: Bucket, waiting: usize) {
        let length = bucket.1;
        let longest = self.longest.max(length);
        let mut taken = 0;
        while taken < waiting {
            let items = self.items + taken + 1;
            let padded = bucket::padded_cost(longest, items);
            let cost = self.cost + u64::from(length) * (taken as u64 + 1);
            let is_leader = items == 1 && bucket == self.leader;
            if !is_leader && (items > config.max_items || padded > config.budget) {
                self.closed = true;
                break;
            }
            if (cost as f64) < padded as f64 * (1.0 - config.max_padding) {
                break; // too much padding: better company may come until the delay is over
            }
            taken += 1;
        }
        if taken == 0 {
            return;
        }
        self.takes.push((lane, bucket, taken));
        self.items += taken;
        self.longest = longest;
        self.cost += u64::from(length) * taken as u64;
        // No further item of even the shortest kind could join.
        self.closed |=
            self.items >= config.max_items || bucket::padded_cost(self.longest, self.items + 1) > config.budget;
    }
}

impl<T> Queues<T> {
    fn oldest(&self) -> Option<&Queued<T>> {
        self.buckets.values().filter_map(VecDeque::front).min_by_key(|queued| queued.number)
    }

    fn pop(&mut self, bucket: Bucket) -> Option<Queued<T>> {
        let queued = self.buckets.get_mut(&bucket)?.pop_front()?;
        self.left(bucket, &queued.size);
        Some(queued)
    }

    /// Accounts for an item that was removed. Empty queues go, so that looking for the oldest stays cheap.
    fn left(&mut self, bucket: Bucket, size: &Size) {
        self.bytes = self.bytes.saturating_sub(size.bytes);
        self.items -= 1;
        if self.buckets.get(&bucket).is_some_and(VecDeque::is_empty) {
            self.buckets.remove(&bucket);
        }
    }
}

fn index(lane: Lane) -> Side {
    match lane {
        Lane::Interactive => 0,
        Lane::Bulk => 1,
    }
}
