//! Two rankings made one: reciprocal rank fusion, after Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion
//! outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
//!
//! The law: only ranks count, for a cosine and a BM25 score have no common measure.

use std::collections::BTreeMap;

use super::{DocumentKey, Hit, similarity::Scored};
use deckle_contract::document::Chunk;

/// What a rank is added to; the paper's value, found in pilot runs and confirmed by it on four collections.
const K: f32 = 60.0;

/// Of each ranking at least so many are looked at, so that what both have in their middles can come first.
pub(super) const DEPTH: usize = 100;

/// A chunk that may become a hit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate<P> {
    /// The chunk's place in the store.
    pub(super) place: P,
    /// The fused score that candidates are ordered by, higher first.
    pub(super) score: f32,
    /// Cosine similarity, −1..1, where the vectors found it.
    pub(super) similarity: Option<f32>,
    /// BM25 score, where the words found it.
    pub(super) keyword_score: Option<f32>,
}

impl<P> Candidate<P> {
    /// The hit that it is, given what its place holds.
    pub(super) fn into_hit(self, key: DocumentKey, run: i64, filename: String, chunk: Chunk) -> Hit {
        let Self { score, similarity, keyword_score, .. } = self;
        Hit { key, run, filename, score, similarity, keyword_score, chunk }
    }
}

/// The candidates of one ranking, or of two, best first. Each ranking is sorted, and holds a place once or, of several
/// vectors of one chunk, more than once: the best counts.
pub(super) fn candidates<P: Ord + Clone>(
    mut dense: Option<Vec<Scored<P>>>,
    lexical: Option<Vec<Scored<P>>>,
) -> Vec<Candidate<P>> {
    // Rounding may carry a cosine a little beyond 1.
    dense.iter_mut().flatten().for_each(|found| found.score = found.score.clamp(-1.0, 1.0));
    match (dense, lexical) {
        (None, None) => Vec::new(),
        (Some(found), None) => found
            .into_iter()
            .map(|Scored { score, place }| Candidate { place, score, similarity: Some(score), keyword_score: None })
            .collect(),
        (None, Some(found)) => found
            .into_iter()
            .map(|Scored { score, place }| Candidate { place, score, similarity: None, keyword_score: Some(score) })
            .collect(),
        (Some(dense), Some(lexical)) => fuse(dense, lexical),
    }
}

fn fuse<P: Ord + Clone>(dense: Vec<Scored<P>>, lexical: Vec<Scored<P>>) -> Vec<Candidate<P>> {
    let mut fused: BTreeMap<P, Candidate<P>> = BTreeMap::new();
    let mut add = |ranking: Vec<Scored<P>>, score_of: fn(&mut Candidate<P>) -> &mut Option<f32>| {
        let mut rank = 0.0;
        for Scored { score, place } in ranking {
            let new = || Candidate { place: place.clone(), score: 0.0, similarity: None, keyword_score: None };
            let candidate = fused.entry(place.clone()).or_insert_with(new);
            if score_of(candidate).is_none() {
                rank += 1.0;
                *score_of(candidate) = Some(score);
                candidate.score += 1.0 / (K + rank);
            }
        }
    };
    add(dense, |candidate| &mut candidate.similarity);
    add(lexical, |candidate| &mut candidate.keyword_score);
    let mut fused: Vec<_> = fused.into_values().collect();
    // Stable: equals stay in the order of their places.
    fused.sort_by(|a, b| b.score.total_cmp(&a.score));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(places: &[u32]) -> Option<Vec<Scored<u32>>> {
        Some(
            places
                .iter()
                .zip(0..)
                .map(|(place, rank)| Scored { score: (9 - rank) as f32 / 10.0, place: *place })
                .collect(),
        )
    }

    fn places(candidates: &[Candidate<u32>]) -> Vec<u32> {
        candidates.iter().map(|candidate| candidate.place).collect()
    }

    #[test]
    fn what_both_rank_comes_before_what_one_ranks_first() {
        let fused = candidates(ranking(&[1, 2, 3]), ranking(&[4, 3, 5]));
        // 3: 1/63 + 1/62; 1 and 4: 1/61, the lower place first; 2: 1/62; 5: 1/63.
        assert_eq!(places(&fused), [3, 1, 4, 2, 5]);
        assert!((fused[0].score - (1.0 / 63.0 + 1.0 / 62.0)).abs() < 1e-6);
        assert_eq!((fused[0].similarity, fused[0].keyword_score), (Some(0.7), Some(0.8)));
        assert_eq!((fused[1].similarity, fused[1].keyword_score), (Some(0.9), None));
    }

    #[test]
    fn one_ranking_keeps_its_order_and_scores() {
        let meaning = candidates(ranking(&[3, 1, 1]), None);
        assert_eq!((places(&meaning), meaning[0].score, meaning[0].similarity), (vec![3, 1, 1], 0.9, Some(0.9)));
        let words = candidates(None, ranking(&[3, 1]));
        assert_eq!((places(&words), words[1].score, words[1].keyword_score), (vec![3, 1], 0.8, Some(0.8)));
        assert!(candidates::<u32>(None, None).is_empty());
        assert_eq!(places(&candidates(ranking(&[]), ranking(&[2]))), [2]);
    }

    #[test]
    fn a_chunk_with_several_vectors_counts_once() {
        let fused = candidates(ranking(&[1, 1, 2]), ranking(&[]));
        assert_eq!(places(&fused), [1, 2]);
        assert!((fused[1].score - 1.0 / 62.0).abs() < 1e-7, "it took a rank twice");
    }
}
