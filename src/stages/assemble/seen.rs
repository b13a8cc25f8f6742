//! Which pages of a run have arrived. Pure.
//!
//! The law: it is a function of the rows in the store, so that whoever has lost it reads it again. A page costs the same
//! whether the document has ten pages or ten thousand.

use std::collections::BTreeMap;

use deckle_store::PageRow;

/// The pages of a run that have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Page number to (version, place in the order of arrival).
    pages: BTreeMap<u32, (i64, u32)>,
    /// How many pages have each version.
    versions: BTreeMap<i64, usize>,
    /// The place of the page that arrived last.
    last_place: u32,
    /// Page number to the version it must have at least.
    awaited: BTreeMap<u32, i64>,
}

impl Seen {
    /// The pages whose rows are in the store.
    pub(super) fn of_rows(rows: &[PageRow], awaited: BTreeMap<u32, i64>) -> Self {
        let mut seen = Self { awaited, ..Self::default() };
        rows.iter().for_each(|row| seen.put(row.page_no, row.version, row.seq));
        seen
    }

    /// Takes note of a page; returns its place, and the version to emit when it is the last and the set is full with it.
    /// Of pages that come again, in whatever order, the one that arrived last at first is still the last.
    pub(super) fn arrive(&mut self, page_no: u32, version: i64, page_count: u32) -> (u32, Option<i64>) {
        let place = match self.pages.get(&page_no) {
            // A newer version of the page was here: this one changes nothing.
            Some(&(known, place)) if known > version => return (place, None),
            Some(&(known, place)) if known == version => place,
            _ => self.last_place + 1,
        };
        self.put(page_no, version, place);
        let newest = self.versions.last_key_value().map_or(version, |(newest, _)| *newest);
        (place, (place == self.last_place && self.is_full(page_count)).then_some(newest))
    }

    /// Whether all pages are in, each in the version that is awaited of it.
    pub(super) fn is_full(&self, page_count: u32) -> bool {
        let is_in = |(page_no, version)| self.pages.get(page_no).is_some_and(|(known, _)| known >= version);
        self.pages.len() == page_count as usize && self.awaited.iter().all(is_in)
    }

    /// Whether no page of another version is known.
    pub(super) fn is_all_of(&self, version: i64) -> bool {
        self.versions.keys().all(|known| *known == version)
    }

    fn put(&mut self, page_no: u32, version: i64, place: u32) {
        if let Some((before, _)) = self.pages.insert(page_no, (version, place)) {
            self.uncount(before);
        }
        *self.versions.entry(version).or_default() += 1;
        self.last_place = self.last_place.max(place);
    }

    fn uncount(&mut self, version: i64) {
        if let Some(count) = self.versions.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                self.versions.remove(&version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_costs_the_same_however_many_there_are() {
        // Quadratic, this would be ten billion steps.
        const PAGES: u32 = 100_000;
        let mut seen = Seen::default();
        for page_no in 1..PAGES {
            assert_eq!(seen.arrive(page_no, 7, PAGES), (page_no, None));
        }
        assert_eq!(seen.arrive(PAGES, 7, PAGES), (PAGES, Some(7)));
    }

    #[test]
    fn the_last_page_finds_the_set_full_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.arrive(3, 7, 3), (1, None));
        assert_eq!(seen.arrive(1, 7, 3), (2, None));
        assert_eq!(seen.arrive(2, 7, 3), (3, Some(7)));
    }

    #[test]
    fn a_repeated_suffix_emits_at_its_end_only() {
        let mut seen = Seen::default();
        for page_no in [3, 1, 2, 4] {
            seen.arrive(page_no, 7, 4);
        }
        // A crash: 2 and 4 were written, but never became visible.
        assert_eq!(seen.arrive(2, 7, 4), (3, None));
        assert_eq!(seen.arrive(4, 7, 4), (4, Some(7)));
    }

    #[test]
    fn pages_that_come_again_in_another_order_emit_once() {
        // The log was restored from before they were read: their rows are there, all or some, and all come again.
        for there in 0..=4 {
            for order in [[1, 4, 3, 2], [4, 1, 2, 3], [2, 4, 1, 3], [3, 1, 2, 4], [1, 2, 4, 3]] {
                let mut seen = Seen::default();
                for page_no in [3, 1, 2, 4].into_iter().take(there) {
                    seen.arrive(page_no, 7, 4);
                }
                let emitted = order.map(|page_no| seen.arrive(page_no, 7, 4).1);
                assert_eq!(emitted.iter().flatten().count(), 1, "{there} rows, then {order:?}: {emitted:?}");
            }
        }
    }

    #[test]
    fn a_newer_version_of_a_page_emits_again_and_once() {
        let mut seen = Seen::default();
        for page_no in 1..=3 {
            seen.arrive(page_no, 7, 3);
        }
        assert_eq!(seen.arrive(2, 9, 3), (4, Some(9)));
        assert_eq!(seen.arrive(2, 9, 3), (4, Some(9)), "the same record again, after a crash");
        assert_eq!(seen.arrive(2, 8, 3), (4, None), "an older version of the page, late");
    }

    #[test]
    fn pages_redriven_together_emit_once_with_the_last_of_them() {
        let mut seen = Seen::default();
        for page_no in 1..=4 {
            seen.arrive(page_no, 7, 4);
        }
        seen.awaited = BTreeMap::from([(1, 9), (3, 9)]);
        assert_eq!(seen.arrive(3, 9, 4), (5, None), "page 1 is awaited");
        assert_eq!(seen.arrive(1, 9, 4), (6, Some(9)));
        // A crash before either became visible.
        assert_eq!(seen.arrive(3, 9, 4), (5, None));
        assert_eq!(seen.arrive(1, 9, 4), (6, Some(9)));
    }

    #[test]
    fn a_page_redriven_later_does_not_overtake_one_that_is_awaited() {
        let mut seen = Seen::default();
        for page_no in 1..=3 {
            seen.arrive(page_no, 7, 3);
        }
        seen.awaited = BTreeMap::from([(1, 9), (2, 12)]);
        assert_eq!(seen.arrive(2, 12, 3), (4, None));
        assert_eq!(seen.arrive(1, 9, 3), (5, Some(12)), "both are in it, emitted once");
    }
}
