//! Numbers that can be sorted and looked up by.

use std::cmp::Ordering;

/// A number in its total order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ordered(pub f32);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Stretches along an axis, of which can be asked how far those reach that begin before a place.
#[derive(Debug, Default)]
pub(crate) struct Stretches(Vec<(f32, f32)>);

impl Stretches {
    /// Of pairs of beginning and end.
    pub(crate) fn of(stretches: impl Iterator<Item = (f32, f32)>) -> Self {
        let mut sorted: Vec<(f32, f32)> = stretches.collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut furthest = f32::NEG_INFINITY;
        for (_, end) in &mut sorted {
            furthest = furthest.max(*end);
            *end = furthest;
        }
        Self(sorted)
    }

    /// The furthest end of all that begin before `at`.
    pub(crate) fn furthest_before(&self, at: f32) -> f32 {
        let count = self.0.partition_point(|(start, _)| *start < at);
        count.checked_sub(1).map_or(f32::NEG_INFINITY, |last| self.0[last].1)
    }
}
