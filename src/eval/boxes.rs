//! Boxes: how many of the truth's are found, and how well they fit.

use std::collections::BTreeMap;

use super::measure::{Measure, Ratio, Scores};
use deckle_contract::document::Bbox;

/// Pairs match from this intersection over union on (PASCAL VOC's threshold).
pub const MATCHES: f64 = 0.5;

/// A box on a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Page, counted from 1.
    pub page_no: u32,
    /// Where on it.
    pub bbox: Bbox,
}

/// A box found and one of the truth that are the same thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Index of the box found.
    pub found: usize,
    /// Index of the truth's.
    pub truth: usize,
    /// How well they fit, 0..1.
    pub iou: f64,
}

/// Intersection over union, 0..1.
pub fn iou(one: &Bbox, other: &Bbox) -> f64 {
    let shared = f64::from(one.overlap(other));
    let both = f64::from(one.area()) + f64::from(other.area()) - shared;
    if both > 0.0 { (shared / both).clamp(0.0, 1.0) } else { 0.0 }
}

/// Pairs boxes of a page one to one, the best fit first, as long as they fit at least so well.
pub fn pairs(found: &[Placed], truth: &[Placed], at_least: f64) -> Vec<Pair> {
    let mut by_page: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, placed) in truth.iter().enumerate() {
        by_page.entry(placed.page_no).or_default().push(index);
    }
    let mut candidates = Vec::new();
    for (at, placed) in found.iter().enumerate() {
        for other in by_page.get(&placed.page_no).into_iter().flatten() {
            let iou = iou(&placed.bbox, &truth[*other].bbox);
            if iou >= at_least && iou > 0.0 {
                candidates.push(Pair { found: at, truth: *other, iou });
            }
        }
    }
    candidates.sort_by(|a, b| b.iou.total_cmp(&a.iou).then((a.truth, a.found).cmp(&(b.truth, b.found))));
    let (mut used, mut taken) = (vec![false; found.len()], vec![false; truth.len()]);
    candidates.retain(|pair| {
        let is_free = !used[pair.found] && !taken[pair.truth];
        if is_free {
            (used[pair.found], taken[pair.truth]) = (true, true);
        }
        is_free
    });
    candidates
}

/// Precision, recall and F1 at [`MATCHES`], and the mean IoU of the pairs.
pub fn score(found: &[Placed], truth: &[Placed], scores: &mut Scores) {
    let pairs = pairs(found, truth, MATCHES);
    scores.set(Measure::BoxF1, Ratio::f1(pairs.len(), found.len(), truth.len()));
    scores.set(Measure::BoxPrecision, Ratio::of(pairs.len(), found.len()));
    scores.set(Measure::BoxRecall, Ratio::of(pairs.len(), truth.len()));
    let fit = pairs.iter().map(|pair| pair.iou).sum();
    scores.set(Measure::Iou, Ratio { part: fit, whole: pairs.len() as f64 });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(page_no: u32, left: f32, top: f32, right: f32, bottom: f32) -> Placed {
        Placed { page_no, bbox: Bbox { left, top, right, bottom } }
    }

    #[test]
    fn by_hand() {
        let (one, other) = (at(1, 0.0, 0.0, 2.0, 2.0), at(1, 1.0, 0.0, 3.0, 2.0));
        assert!((iou(&one.bbox, &other.bbox) - 1.0 / 3.0).abs() < 1e-9);
        let mut scores = Scores::default();
        // One fits wholly, one by two thirds, one is on another page, one is made up.
        let truth = [at(1, 0.0, 0.0, 3.0, 1.0), at(1, 0.0, 5.0, 3.0, 6.0), at(2, 0.0, 0.0, 3.0, 1.0)];
        let found = [
            at(1, 0.0, 0.0, 3.0, 1.0),
            at(1, 0.0, 5.0, 2.0, 6.0),
            at(3, 0.0, 0.0, 3.0, 1.0),
            at(1, 9.0, 9.0, 9.5, 9.5),
        ];
        score(&found, &truth, &mut scores);
        assert_eq!(scores.get(Measure::BoxPrecision), Some(Ratio::of(2, 4)));
        assert_eq!(scores.get(Measure::BoxRecall), Some(Ratio::of(2, 3)));
        assert_eq!(scores.get(Measure::BoxF1), Some(Ratio::of(4, 7)));
        assert!((scores.value(Measure::Iou).unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_box_is_matched_once_and_by_what_fits_best() {
        let truth = [at(1, 0.0, 0.0, 10.0, 1.0)];
        let found = [at(1, 0.0, 0.0, 6.0, 1.0), at(1, 0.0, 0.0, 9.0, 1.0)];
        let pairs = pairs(&found, &truth, MATCHES);
        assert_eq!((pairs.len(), pairs[0].found), (1, 1));
    }

    fn any_box() -> impl Strategy<Value = Placed> {
        (1_u32..3, 0_u8..20, 0_u8..20, 1_u8..9, 1_u8..9).prop_map(|(page, left, top, width, height)| {
            let (left, top) = (f32::from(left), f32::from(top));
            at(page, left, top, left + f32::from(width), top + f32::from(height))
        })
    }

    proptest! {
        #[test]
        fn figures_keep_their_bounds(
            found in proptest::collection::vec(any_box(), 0..8),
            truth in proptest::collection::vec(any_box(), 1..8),
        ) {
            let mut scores = Scores::default();
            score(&found, &truth, &mut scores);
            for measure in [Measure::BoxF1, Measure::BoxPrecision, Measure::BoxRecall, Measure::Iou] {
                if let Some(value) = scores.value(measure) {
                    prop_assert!((0.0..=1.0).contains(&value), "{measure:?} {value}");
                }
            }
            score(&truth, &truth, &mut scores);
            prop_assert_eq!(scores.value(Measure::BoxF1), Some(1.0));
        }
    }
}
