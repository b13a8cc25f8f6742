//! The vectors of one model in memory, and the scan that finds the nearest: the one place where another way to find
//! candidates would come in.
//!
//! The law: rows lie without holes, each at length 1, and a document's rows are of one run. What is removed gives its
//! place to the last row, so memory follows what is held.

use std::{collections::HashMap, mem, sync::Arc};

use super::{Place, VisibleVersion};
use crate::{
    DocumentKey, SearchFilter,
    similarity::{Best, Scored, dot},
};

/// Rows that the memory grows and shrinks by: 6 MiB at 384 floats. It never doubles, so nothing near half is
/// unused.
const BLOCK: usize = 4_096;

/// Vectors of one dimension, by document.
#[derive(Debug)]
pub(super) struct FlatVectorIndex {
    dimension: usize,
    /// The floats of all rows, one row after the other.
    vectors: Vec<f32>,
    /// What each row is.
    slots: Vec<Slot>,
    documents: Vec<Document>,
    by_key: HashMap<Arc<DocumentKey>, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Index into `documents`.
    document: u32,
    chunk_no: u32,
}

#[derive(Debug)]
struct Document {
    key: Arc<DocumentKey>,
    shown: VisibleVersion,
    /// Its rows, in no order.
    slots: Vec<u32>,
}

impl FlatVectorIndex {
    pub(super) fn new(dimension: u32) -> Self {
        Self {
            dimension: dimension as usize,
            vectors: Vec::new(),
            slots: Vec::new(),
            documents: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Rows held.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that are taken for rows, used or not; names and facets of documents come on top.
    pub(super) fn bytes(&self) -> usize {
        self.vectors.capacity() * size_of::<f32>() + self.slots.capacity() * (size_of::<Slot>() + size_of::<u32>())
    }

    /// Adds a row to a document. The document's rows of another run go first.
    ///
    /// A vector that no search could use (another dimension, zero, not finite) is left out: it cannot be written here,
    /// and what another program wrote must not end every search.
    pub(super) fn add(&mut self, key: &DocumentKey, shown: &VisibleVersion, chunk_no: u32, vector: &[f32]) {
        let length = dot(vector, vector).sqrt();
        if vector.len() != self.dimension || !length.is_normal() {
            return;
        }
        if self.by_key.get(key).is_some_and(|&document| self.documents[document as usize].shown.run != shown.run) {
            self.remove(key);
        }
        let document = self.by_key.get(key).copied().unwrap_or_else(|| self.insert_document(key, shown));
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(BLOCK);
            self.vectors.reserve_exact(BLOCK * self.dimension);
        }
        self.documents[document as usize].slots.push(self.slots.len() as u32);
        self.slots.push(Slot { document, chunk_no });
        self.vectors.extend(vector.iter().map(|x| x / length));
    }

    /// Removes all rows of a document.
    pub(super) fn remove(&mut self, key: &DocumentKey) {
        let Some(document) = self.by_key.remove(key) else { return };
        let mut slots = mem::take(&mut self.documents[document as usize].slots);
        // From the end, so that the last row, which moves into the hole, is never one that goes too.
        slots.sort_unstable_by(|a, b| b.cmp(a));
        for slot in slots {
            self.remove_slot(slot);
        }
        self.remove_document(document);
        let spare = self.slots.capacity() - self.slots.len();
        if spare > 2 * BLOCK {
            self.slots.shrink_to(self.slots.len() + BLOCK);
            self.vectors.shrink_to((self.slots.len() + BLOCK) * self.dimension);
        }
    }

    /// The `k` nearest to a vector of length 1 that the filter admits, best first.
    pub(super) fn nearest(&self, unit: &[f32], filter: &SearchFilter, k: usize) -> Vec<Scored<Place>> {
        let admitted = self.admitted(filter);
        let mut best = Best::new(k);
        for (slot, vector) in self.slots.iter().zip(self.vectors.chunks_exact(self.dimension)) {
            if admitted.as_ref().is_some_and(|admitted| !admitted[slot.document as usize]) {
                continue;
            }
            let score = dot(unit, vector);
            if best.admits(score) {
                best.push(Scored { score, place: self.place(slot) });
            }
        }
        best.into_sorted()
    }

    /// For each document whether the filter admits it; `None` where it admits all.
    fn admitted(&self, filter: &SearchFilter) -> Option<Vec<bool>> {
        let admits = |document: &Document| filter.admits(&document.key.tenant, &document.shown.facets);
        (*filter != SearchFilter::default()).then(|| self.documents.iter().map(admits).collect())
    }

    fn place(&self, slot: &Slot) -> Place {
        let document = &self.documents[slot.document as usize];
        Place { document: document.key.clone(), chunk_no: slot.chunk_no, run: document.shown.run }
    }

    fn insert_document(&mut self, key: &DocumentKey, shown: &VisibleVersion) -> u32 {
        let (document, key) = (self.documents.len() as u32, Arc::new(key.clone()));
        self.documents.push(Document { key: key.clone(), shown: shown.clone(), slots: Vec::new() });
        self.by_key.insert(key, document);
        document
    }

    /// Takes a row out; the last one takes its place.
    fn remove_slot(&mut self, slot: u32) {
        let (hole, last) = (slot as usize, self.slots.len() - 1);
        if hole != last {
            let row = last * self.dimension;
            self.vectors.copy_within(row..row + self.dimension, hole * self.dimension);
            let moved = &mut self.documents[self.slots[last].document as usize].slots;
            if let Some(of_moved) = moved.iter_mut().find(|slot| **slot as usize == last) {
                *of_moved = slot;
            }
        }
        self.slots.swap_remove(hole);
        self.vectors.truncate(last * self.dimension);
    }

    /// Takes a document without rows out; the last one takes its number.
    fn remove_document(&mut self, document: u32) {
        self.documents.swap_remove(document as usize);
        let Some(moved) = self.documents.get(document as usize) else { return };
        for &slot in &moved.slots {
            self.slots[slot as usize].document = document;
        }
        self.by_key.insert(moved.key.clone(), document);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::query::Facets;

    fn key(tenant: &str, document: u32) -> DocumentKey {
        DocumentKey { tenant: tenant.into(), document_id: format!("{document}") }
    }

    /// Turns from the first axis to the second; of length 2, for rows are kept at length 1 whatever came.
    fn vector(degrees: f32) -> Vec<f32> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        vec![2.0 * cos, 2.0 * sin, 0.0]
    }

    const EAST: [f32; 3] = [1.0, 0.0, 0.0];

    fn shown(run: i64) -> VisibleVersion {
        let facets = Facets {
            language: "en".into(),
            media_type: "text/plain".into(),
            published_at: run,
            attributes: BTreeMap::new(),
            access: vec![format!("user:{run}")],
        };
        VisibleVersion { run, chunk_count: 99, facets: Arc::new(facets) }
    }

    fn of(tenant: Option<&str>) -> SearchFilter {
        tenant.map_or_else(SearchFilter::default, SearchFilter::of_tenant)
    }

    /// Document, run and chunk of what is found.
    fn found(rows: &FlatVectorIndex, tenant: Option<&str>, k: usize) -> Vec<(String, i64, u32)> {
        let nearest = rows.nearest(&EAST, &of(tenant), k);
        nearest.iter().map(|f| (f.place.document.document_id.clone(), f.place.run, f.place.chunk_no)).collect()
    }

    fn named(rows: &[(u32, i64, u32)]) -> Vec<(String, i64, u32)> {
        rows.iter().map(|(document, run, chunk_no)| (document.to_string(), *run, *chunk_no)).collect()
    }

    #[test]
    fn the_nearest_come_first_and_equals_by_name() {
        let mut rows = FlatVectorIndex::new(3);
        for (document, degrees) in [(9, 30.0), (2, 10.0), (1, 10.0), (3, 170.0)] {
            rows.add(&key("t", document), &shown(1), 0, &vector(degrees));
        }
        assert_eq!(found(&rows, None, 9), named(&[(1, 1, 0), (2, 1, 0), (9, 1, 0), (3, 1, 0)]));
        assert_eq!(found(&rows, None, 2), named(&[(1, 1, 0), (2, 1, 0)]));
        assert_eq!(found(&rows, None, 0), []);
        let score = rows.nearest(&EAST, &of(None), 1)[0].score;
        assert!((score - 10_f32.to_radians().cos()).abs() < 1e-6, "{score} is no cosine");
    }

    #[test]
    fn a_newer_run_takes_the_place_of_the_older() {
        let mut rows = FlatVectorIndex::new(3);
        for chunk_no in 0..3 {
            rows.add(&key("t", 1), &shown(5), chunk_no, &vector(chunk_no as f32));
        }
        rows.add(&key("t", 2), &shown(5), 0, &vector(50.0));
        rows.add(&key("t", 1), &shown(6), 0, &vector(80.0));
        assert_eq!(found(&rows, None, 9), named(&[(2, 5, 0), (1, 6, 0)]));
        assert_eq!((rows.len(), rows.vectors.len()), (2, 6), "the older run's rows are still held");
    }

    #[test]
    fn a_removed_document_leaves_nothing() {
        let mut rows = FlatVectorIndex::new(3);
        for document in 0..3 {
            rows.add(&key("t", document), &shown(1), 0, &vector(document as f32));
        }
        rows.remove(&key("t", 0));
        rows.remove(&key("t", 0));
        rows.remove(&key("t", 77));
        assert_eq!(found(&rows, None, 9), named(&[(1, 1, 0), (2, 1, 0)]));
        rows.remove(&key("t", 2));
        rows.remove(&key("t", 1));
        assert_eq!((rows.len(), rows.vectors.len(), rows.documents.len(), rows.by_key.len()), (0, 0, 0, 0));
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut rows = FlatVectorIndex::new(3);
        let held = 3 * BLOCK as u32 + 7;
        for document in 0..held {
            rows.add(&key("t", document), &shown(1), 0, &vector(1.0));
        }
        assert!(rows.slots.capacity() < held as usize + BLOCK);
        assert!(rows.vectors.capacity() < 3 * (held as usize + BLOCK));
        for document in 0..held {
            rows.remove(&key("t", document));
        }
        assert!(rows.vectors.capacity() <= 3 * 2 * BLOCK, "memory of {} floats stays", rows.vectors.capacity());
    }

    #[test]
    fn chunks_of_two_chunkings_stand_beside_each_other() {
        let mut rows = FlatVectorIndex::new(3);
        rows.add(&key("t", 1), &shown(1), 0, &vector(1.0));
        rows.add(&key("t", 1), &shown(1), 0, &vector(2.0));
        assert_eq!(found(&rows, None, 9), named(&[(1, 1, 0), (1, 1, 0)]));
        rows.remove(&key("t", 1));
        assert_eq!(rows.len(), 0);
    }

    #[test]
    fn tenants_do_not_see_each_other() {
        let mut rows = FlatVectorIndex::new(3);
        rows.add(&key("a", 1), &shown(1), 0, &vector(20.0));
        rows.add(&key("b", 1), &shown(2), 0, &vector(10.0));
        assert_eq!(found(&rows, Some("a"), 9), named(&[(1, 1, 0)]));
        assert_eq!(found(&rows, Some("b"), 9), named(&[(1, 2, 0)]));
        assert_eq!(found(&rows, Some("c"), 9), []);
        assert_eq!(found(&rows, None, 9), named(&[(1, 2, 0), (1, 1, 0)]));
    }

    #[test]
    fn a_filter_looks_at_what_the_newest_run_says() {
        let mut rows = FlatVectorIndex::new(3);
        rows.add(&key("t", 1), &shown(5), 0, &vector(10.0));
        rows.add(&key("t", 2), &shown(6), 0, &vector(20.0));
        let by = |principal: &str| SearchFilter { access: Some(vec![principal.into()]), ..of(None) };
        let runs = |rows: &FlatVectorIndex, filter: &SearchFilter| -> Vec<_> {
            rows.nearest(&EAST, filter, 9).iter().map(|found| found.place.run).collect()
        };
        assert_eq!((runs(&rows, &by("user:5")), runs(&rows, &by("user:7"))), (vec![5], vec![]));
        rows.add(&key("t", 1), &shown(7), 0, &vector(10.0));
        assert_eq!((runs(&rows, &by("user:5")), runs(&rows, &by("user:7"))), (vec![], vec![7]));
        assert_eq!(runs(&rows, &SearchFilter { until: Some(7), ..of(None) }), [6]);
    }

    #[test]
    fn what_no_search_could_use_is_left_out() {
        let mut rows = FlatVectorIndex::new(3);
        for bad in [&[0.0; 3][..], &[f32::NAN, 1.0, 0.0], &[f32::INFINITY, 1.0, 0.0], &[1.0; 2], &[]] {
            rows.add(&key("t", 1), &shown(1), 0, bad);
        }
        assert_eq!((rows.len(), rows.documents.len()), (0, 0));
    }

    proptest! {
        /// Against a plain map, in any order of adding and removing.
        #[test]
        fn what_is_held_is_what_a_map_would_hold(
            steps in prop::collection::vec((0..6_u32, 1..4_i64, 0..5_u32, any::<bool>()), 0..60),
        ) {
            let mut rows = FlatVectorIndex::new(3);
            let mut map: HashMap<u32, (i64, HashMap<u32, f32>)> = HashMap::new();
            for (at, (document, run, chunk_no, removes)) in steps.into_iter().enumerate() {
                let tenant = if document % 2 == 0 { "even" } else { "odd" };
                if removes {
                    rows.remove(&key(tenant, document));
                    map.remove(&document);
                } else if map.get(&document).is_none_or(|(of, held)| *of != run || !held.contains_key(&chunk_no)) {
                    let degrees = at as f32;
                    rows.add(&key(tenant, document), &shown(run), chunk_no, &vector(degrees));
                    let (of, held) = map.entry(document).or_insert((run, HashMap::new()));
                    if *of != run {
                        (*of, *held) = (run, HashMap::new());
                    }
                    held.insert(chunk_no, degrees);
                }
            }
            for tenant in [None, Some("even"), Some("odd")] {
                let mut expected: Vec<_> = map
                    .iter()
                    .filter(|(document, _)| tenant.is_none_or(|t| (t == "even") == (*document % 2 == 0)))
                    .flat_map(|(document, (run, held))| held.iter().map(|(no, degrees)| (*degrees, *document, *run, *no)))
                    .collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0));
                let expected: Vec<_> = expected.into_iter().map(|(_, document, run, no)| (document, run, no)).collect();

                let all: Vec<_> = rows
                    .nearest(&EAST, &of(tenant), 99)
                    .iter()
                    .map(|f| (f.place.document.document_id.parse().unwrap(), f.place.run, f.place.chunk_no))
                    .collect();
                prop_assert_eq!(all, expected);
            }
        }
    }
}
