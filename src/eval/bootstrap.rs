//! How sure a figure is: the percentile bootstrap over documents.
//!
//! The law: documents are drawn, never pages or words, since errors of one document come together; the same seed gives
//! the same interval.

use serde::{Deserialize, Serialize};

use super::measure::Ratio;

/// Samples drawn for an interval: its ends move by less than a tenth of its width from seed to seed.
pub const RESAMPLES: usize = 2_000;
/// The seed, where none is given.
pub const SEED: u64 = 2_013;
/// Share of the samples inside the interval.
pub const LEVEL: f64 = 0.95;

/// An interval of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The interval of the pooled ratio of documents; `None` for fewer than two that have something to measure.
pub fn interval(documents: &[Ratio], seed: u64) -> Option<Interval> {
    let documents: Vec<Ratio> = documents.iter().copied().filter(|ratio| ratio.whole > 0.0).collect();
    if documents.len() < 2 {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut draw = || {
        let mut sum = Ratio::default();
        for _ in 0..documents.len() {
            sum += documents[random.usize(..documents.len())];
        }
        sum.part / sum.whole
    };
    let mut samples: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    samples.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    Some(Interval { low: quantile(&samples, tail), high: quantile(&samples, 1.0 - tail) })
}

/// A quantile of sorted values, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_document_has_no_interval_and_equal_ones_have_no_width() {
        assert_eq!(interval(&[Ratio::of(1, 10)], SEED), None);
        assert_eq!(interval(&[Ratio::of(1, 10), Ratio::default()], SEED), None, "the second has nothing to measure");
        let same = interval(&[Ratio::of(1, 10); 5], SEED).unwrap();
        assert!((same.low - 0.1).abs() < 1e-12 && (same.high - 0.1).abs() < 1e-12);
    }

    #[test]
    fn the_ends_are_near_those_of_the_normal_approximation() {
        // Half of 100 documents are wrong: the share's standard error is 0.05, and 1.96 of them make the interval.
        let documents: Vec<Ratio> = (0..100).map(|at| Ratio::of(at % 2, 1)).collect();
        let found = interval(&documents, SEED).unwrap();
        assert!((found.low - 0.402).abs() < 0.015 && (found.high - 0.598).abs() < 0.015, "{found:?}");
        assert_eq!(Some(found), interval(&documents, SEED), "the same seed, the same interval");
    }

    proptest! {
        #[test]
        fn it_stays_between_the_best_and_the_worst_document(
            counts in proptest::collection::vec((0_usize..50, 1_usize..50), 2..20),
        ) {
            let documents: Vec<Ratio> = counts.iter().map(|(part, whole)| Ratio::of(*part, *whole)).collect();
            let values: Vec<f64> = documents.iter().filter_map(|ratio| ratio.value()).collect();
            let found = interval(&documents, SEED).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            prop_assert!(least - 1e-9 <= found.low && found.low <= found.high && found.high <= most + 1e-9);
        }
    }
}
