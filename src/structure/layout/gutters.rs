//! White strips between what stands side by side.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use super::item::Item;
use crate::ordered::Ordered;

/// The horizontal extent of some items as intervals that do not touch, left to right.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage(pub Vec<(f32, f32)>);

impl Coverage {
    pub(super) fn of<'i>(items: impl IntoIterator<Item = &'i Item<'i>>) -> Self {
        let mut edges: Vec<(f32, f32)> = items.into_iter().map(Item::across).collect();
        edges.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut merged = Self::default();
        for edge in edges {
            match merged.0.last_mut() {
                Some(last) if edge.0 <= last.1 => last.1 = last.1.max(edge.1),
                _ => merged.0.push(edge),
            }
        }
        merged
    }

    /// Gaps of at least `width` between intervals.
    pub(super) fn gutters(&self, width: f32) -> Vec<(f32, f32)> {
        self.0.windows(2).map(|pair| (pair[0].1, pair[1].0)).filter(|(left, right)| right - left >= width).collect()
    }
}

/// A white strip, by its left edge in [`Gutters`].
#[derive(Debug, Clone, Copy)]
struct Strip {
    right: f32,
    /// The change that made it what it is, and the width before that change of the strip that it is a part of.
    changed: (usize, f32),
}

/// The white strips of at least a width that go through some bands of items. Two without end, left and right of
/// everything, are among them, but are no gutters yet. Adding a band costs what stands in it, however many strips
/// there are.
#[derive(Debug)]
pub(super) struct Gutters {
    least: f32,
    strips: BTreeMap<Ordered, Strip>,
    change: usize,
    /// What the last change replaced, so that it can be taken back.
    replaced: Vec<(Ordered, Option<Strip>)>,
}

impl Gutters {
    /// Strips as wide as `least` through nothing yet.
    pub(super) fn new(least: f32) -> Self {
        let whole = Strip { right: f32::INFINITY, changed: (0, f32::INFINITY) };
        let strips = BTreeMap::from([(Ordered(f32::NEG_INFINITY), whole)]);
        Self { least, strips, change: 0, replaced: Vec::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let first = self.strips.first_key_value().map(|(left, strip)| (left.0, strip.right));
        let last = self.strips.last_key_value().map(|(left, strip)| (left.0, strip.right));
        let endless = match (first, last) {
            (Some((f32::NEG_INFINITY, f32::INFINITY)), _) => 1,
            (first, last) => {
                usize::from(first.is_some_and(|(left, _)| left == f32::NEG_INFINITY))
                    + usize::from(last.is_some_and(|(_, right)| right == f32::INFINITY))
            }
        };
        self.strips.len() - endless
    }

    /// Narrows the strips by what stands in them. Whether of any of them more than half of its width is left.
    pub(super) fn add(&mut self, intervals: impl Iterator<Item = (f32, f32)>) -> bool {
        let before = self.len();
        self.change += 1;
        self.replaced.clear();
        for (from, to) in intervals {
            self.cover(from, to);
        }
        let is_gutter = |(left, strip): &(Ordered, Strip)| left.0.is_finite() && strip.right.is_finite();
        let of_before = self.replaced.iter().filter_map(|(left, strip)| Some((*left, (*strip)?)));
        let touched = of_before.filter(is_gutter).filter(|(_, strip)| strip.changed.0 != self.change).count();
        touched < before
            || self.replaced.iter().any(|(left, _)| {
                let strip = self.strips.get(left).filter(|strip| strip.changed.0 == self.change);
                strip.is_some_and(|strip| strip.right - left.0 > strip.changed.1 * 0.5)
            })
    }

    /// Takes the last [`add`](Self::add) back.
    pub(super) fn take_back(&mut self) {
        for (left, strip) in self.replaced.drain(..).rev() {
            match strip {
                Some(strip) => self.strips.insert(left, strip),
                None => self.strips.remove(&left),
            };
        }
    }

    fn cover(&mut self, from: f32, to: f32) {
        let before = self.strips.range(..=Ordered(from)).next_back().map(|(left, strip)| (*left, *strip));
        let mut next = before.filter(|(left, strip)| left.0 < to && strip.right > from);
        loop {
            if let Some((left, strip)) = next.take() {
                self.replaced.push((left, self.strips.remove(&left)));
                let before = if strip.changed.0 == self.change { strip.changed.1 } else { strip.right - left.0 };
                let changed = (self.change, before);
                for (left, right) in [(left.0, from), (to, strip.right)] {
                    if right - left >= self.least {
                        let left = Ordered(left);
                        self.replaced.push((left, self.strips.insert(left, Strip { right, changed })));
                    }
                }
            }
            let after = self.strips.range((Excluded(Ordered(from)), Unbounded)).next();
            match after.filter(|(left, _)| left.0 < to) {
                Some((left, strip)) => next = Some((*left, *strip)),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The gaps of at least a width that all bands leave, reckoned anew.
    fn gaps(bands: &[Vec<(f32, f32)>], least: f32) -> Vec<(f32, f32)> {
        let mut all: Vec<(f32, f32)> = bands.iter().flatten().copied().collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut right = f32::NAN;
        let mut gaps = Vec::new();
        for (from, to) in all {
            gaps.extend((from - right >= least).then_some((right, from)));
            right = right.max(to);
        }
        gaps
    }

    fn found(gutters: &Gutters) -> Vec<(f32, f32)> {
        let finite = gutters.strips.iter().filter(|(left, strip)| left.0.is_finite() && strip.right.is_finite());
        finite.map(|(left, strip)| (left.0, strip.right)).collect()
    }

    fn any_band() -> impl Strategy<Value = Vec<(f32, f32)>> {
        prop::collection::vec((0..60u8, 0..12u8), 1..6).prop_map(|intervals| {
            intervals.iter().map(|(from, width)| (f32::from(*from), f32::from(from + width))).collect()
        })
    }

    proptest! {
        #[test]
        fn gutters_are_those_of_all_bands_together(bands in prop::collection::vec(any_band(), 1..8)) {
            const LEAST: f32 = 3.0;
            let mut gutters = Gutters::new(LEAST);
            for count in 1..=bands.len() {
                let before = gaps(&bands[..count - 1], LEAST);
                let after = gaps(&bands[..count], LEAST);
                let of = |gap: &(f32, f32)| before.iter().find(|old| old.0 <= gap.0 && gap.1 <= old.1).copied();
                let is_left = |gap: &(f32, f32)| of(gap).is_some_and(|old| gap.1 - gap.0 > (old.1 - old.0) * 0.5);
                prop_assert_eq!(gutters.add(bands[count - 1].iter().copied()), after.iter().any(is_left));
                prop_assert_eq!(found(&gutters), after.clone());
                gutters.take_back();
                prop_assert_eq!(found(&gutters), before);
                gutters.add(bands[count - 1].iter().copied());
                prop_assert_eq!(gutters.len(), after.len());
            }
        }
    }
}
