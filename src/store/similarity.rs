//! How near vectors are to a question, and the best of many: what every side of the seam scores with, so that both
//! give the same order and refuse the same questions in the same words.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::QueryVector;
use deckle_contract::error::{Failure, Result};

/// Floats per step: eight SSE or four AVX registers of partial sums, so that no addition waits for the one before.
const LANES: usize = 32;

/// The question's vector at length 1.
///
/// # Errors
/// A vector that points nowhere: zero, empty or not finite.
pub(super) fn unit(query: &QueryVector) -> Result<Vec<f32>> {
    let length = dot(&query.vector, &query.vector).sqrt();
    if !length.is_normal() {
        return Err(Failure::defect("store: the vector of a search is zero or not finite"));
    }
    Ok(query.vector.iter().map(|x| x / length).collect())
}

/// Refuses a question of another dimension than a space of its model.
pub(super) fn check_dimension(query: &QueryVector, dimension: u32) -> Result<()> {
    if dimension as usize == query.vector.len() {
        return Ok(());
    }
    Err(Failure::defect(format!(
        "store: a search of {} with {} floats, but its vectors have {dimension}",
        query.model,
        query.vector.len(),
    )))
}

/// A vector that is among the best so far, and where it belongs.
#[derive(Debug, Clone)]
pub(super) struct Scored<P> {
    /// Cosine similarity.
    pub(super) score: f32,
    /// Among equal scores the lower place is better, so that the order is stable.
    pub(super) place: P,
}

/// Better is greater: by score, then by place.
impl<P: Ord> Ord for Scored<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.place.cmp(&self.place))
    }
}

impl<P: Ord> PartialOrd for Scored<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Ord> PartialEq for Scored<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P: Ord> Eq for Scored<P> {}

/// The k best, with the worst of them on top.
pub(super) struct Best<P> {
    k: usize,
    heap: BinaryHeap<Reverse<Scored<P>>>,
}

impl<P: Ord> Best<P> {
    pub(super) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether a score may enter; cheap, for nearly all vectors fail it.
    pub(super) fn admits(&self, score: f32) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|Reverse(worst)| score >= worst.score)
    }

    pub(super) fn push(&mut self, found: Scored<P>) {
        self.heap.push(Reverse(found));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Scored<P>> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect()
    }
}

/// The dot product of two vectors of equal length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |y| y, |[sum], x, y| [sum + x * y])[0]
}

/// The dot product with a stored vector, read where it lies: SQLite's blobs are not aligned to floats.
pub(super) fn dot_bytes(unit: &[f32], bytes: &[u8]) -> f32 {
    fold(unit, bytes.as_chunks().0, f32::from_le_bytes, |[sum], x, y| [sum + x * y])[0]
}

/// The cosine with a stored vector of any length other than 0.
pub(super) fn cosine_bytes(unit: &[f32], bytes: &[u8]) -> f32 {
    let step = |[dot, square]: [f32; 2], x, y| [dot + x * y, square + y * y];
    let [dot, square] = fold(unit, bytes.as_chunks().0, f32::from_le_bytes, step);
    dot / square.sqrt()
}

/// Folds pairs of floats into N sums, each kept in [`LANES`] parts until the end.
#[inline(always)]
fn fold<T: Copy, const N: usize>(
    unit: &[f32],
    stored: &[T],
    float: impl Fn(T) -> f32,
    step: impl Fn([f32; N], f32, f32) -> [f32; N],
) -> [f32; N] {
    let mut lanes = [[0.0; N]; LANES];
    let mut units = unit.chunks_exact(LANES);
    let mut vectors = stored.chunks_exact(LANES);
    for (unit, vector) in units.by_ref().zip(vectors.by_ref()) {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], unit[lane], float(vector[lane]));
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(units.remainder()).zip(vectors.remainder()) {
        *lane = step(*lane, x, float(y));
    }
    let mut sums = [0.0; N];
    for lane in lanes {
        for (sum, part) in sums.iter_mut().zip(lane) {
            *sum += part;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(vector: &[f32]) -> Vec<u8> {
        vector.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn sums_are_right_at_every_length_and_alignment() {
        for length in [1, 2, 31, 32, 33, 64, 100, 384] {
            let a: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..length).map(|i| (i as f32 * 0.3).cos() * 2.0).collect();
            let pairs = || a.iter().zip(&b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
            let expected = pairs().map(|(x, y)| x * y).sum::<f64>();
            let square = pairs().map(|(_, y)| y * y).sum::<f64>();
            let odd = [vec![0], bytes(&b)].concat();
            assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-4);
            assert!((f64::from(dot_bytes(&a, &odd[1..])) - expected).abs() < 1e-4);
            assert!((f64::from(cosine_bytes(&a, &odd[1..])) - expected / square.sqrt()).abs() < 1e-4);
        }
    }

    #[test]
    fn the_best_are_kept_in_order_and_equals_by_place() {
        let mut best = Best::new(3);
        for (place, score) in [(4, 0.1), (3, 0.5), (2, 0.9), (1, 0.5), (0, 0.5), (5, -1.0)] {
            if best.admits(score) {
                best.push(Scored { score, place });
            }
        }
        let places: Vec<_> = best.into_sorted().into_iter().map(|found| found.place).collect();
        assert_eq!(places, [2, 0, 1]);
    }
}
