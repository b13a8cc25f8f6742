//! What a pool has done, counted without locks.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Report;

/// Upper bounds of the batch size histogram; larger batches count in a last cell.
const BATCH_BOUNDS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Sums since the pool started.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Runs of the model.
    pub batches: u64,
    /// Items in those runs; items of halved batches count once per run.
    pub items: u64,
    /// Sum of the items' own lengths.
    pub cost: u64,
    /// Sum of the batches' padded costs.
    pub padded_cost: u64,
    /// Runs that failed.
    pub failed_batches: u64,
    /// Models built again after a panic.
    pub rebuilt: u64,
    /// Time that items waited.
    pub queue: Duration,
    /// Time in the model, summed over sessions.
    pub run: Duration,
    /// Runs by number of items: upper bound (`None` for the last cell) and count.
    pub batch_sizes: Vec<(Option<usize>, u64)>,
    /// Items that wait now.
    pub queued: usize,
}

impl Stats {
    /// Share of the computed cells that was not padding; 1 before the first batch.
    pub fn fill_ratio(&self) -> f64 {
        if self.padded_cost == 0 { 1.0 } else { self.cost as f64 / self.padded_cost as f64 }
    }

    /// Items per run; 0 before the first batch.
    pub fn mean_batch(&self) -> f64 {
        if self.batches == 0 { 0.0 } else { self.items as f64 / self.batches as f64 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    batches: AtomicU64,
    items: AtomicU64,
    cost: AtomicU64,
    padded_cost: AtomicU64,
    failed_batches: AtomicU64,
    rebuilt: AtomicU64,
    queue_us: AtomicU64,
    run_us: AtomicU64,
    sizes: [AtomicU64; BATCH_BOUNDS.len() + 1],
}

impl Counters {
    pub(super) fn ran(&self, report: &Report<'_>, waited: Duration) {
        let items = report.tags.len();
        self.batches.fetch_add(1, Relaxed);
        self.items.fetch_add(items as u64, Relaxed);
        self.cost.fetch_add(report.cost, Relaxed);
        self.padded_cost.fetch_add(report.padded_cost, Relaxed);
        self.failed_batches.fetch_add(report.failed.into(), Relaxed);
        self.queue_us.fetch_add(micros(waited), Relaxed);
        self.run_us.fetch_add(micros(report.busy), Relaxed);
        let cell = BATCH_BOUNDS.iter().position(|bound| items <= *bound).unwrap_or(BATCH_BOUNDS.len());
        self.sizes[cell].fetch_add(1, Relaxed);
    }

    pub(super) fn rebuilt(&self) {
        self.rebuilt.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self, queued: usize) -> Stats {
        let bounds = BATCH_BOUNDS.into_iter().map(Some).chain([None]);
        Stats {
            batches: self.batches.load(Relaxed),
            items: self.items.load(Relaxed),
            cost: self.cost.load(Relaxed),
            padded_cost: self.padded_cost.load(Relaxed),
            failed_batches: self.failed_batches.load(Relaxed),
            rebuilt: self.rebuilt.load(Relaxed),
            queue: Duration::from_micros(self.queue_us.load(Relaxed)),
            run: Duration::from_micros(self.run_us.load(Relaxed)),
            batch_sizes: bounds.zip(self.sizes.iter().map(|cell| cell.load(Relaxed))).collect(),
            queued,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
