//! How far the index has followed the feed.
//!
//! The law: rows of the feed carry their writers' clocks and may become readable late, so each look goes back by
//! [`OVERLAP_US`] behind the look before. A row is done with once the header says what the row says, or more; until
//! then the next look takes it up again.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::DocumentKey;

/// Clocks of nodes may differ, and a write may be on its way, by so much. A row later than this goes unseen until its
/// document is published again, found stale by a search, or the index is loaded anew.
const OVERLAP_US: i64 = 30_000_000;

/// A cursor that is older loads everything anew: reading hours of the feed would take longer, and the feed forgets.
const OLDEST_US: i64 = 2 * HOUR_US;

const HOUR_US: i64 = 3_600_000_000;

/// One row of the feed; the order is that of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// When it was written, by its writer's clock, µs.
    pub(super) at: i64,
    /// What was published.
    pub(super) document: DocumentKey,
    pub(super) run: i64,
    pub(super) version: i64,
}

/// Where the next look begins, and what was done with of the time it looks at again.
#[derive(Debug)]
pub(super) struct Cursor {
    since: i64,
    done: BTreeSet<Entry>,
}

impl Cursor {
    /// A cursor for an index whose loading starts now.
    pub(super) fn new(now: i64) -> Self {
        Self { since: now - OVERLAP_US, done: BTreeSet::new() }
    }

    /// The `at` that the next look begins with.
    pub(super) fn since(&self) -> i64 {
        self.since
    }

    /// The hours to look at, by their number since 1970; the last is the one that the fastest clock may write to.
    pub(super) fn hours(&self, now: i64) -> RangeInclusive<i64> {
        self.since.div_euclid(HOUR_US)..=(now + OVERLAP_US).div_euclid(HOUR_US)
    }

    /// Whether so much time went by since the last look that loading anew is the better way.
    pub(super) fn is_too_old(&self, now: i64) -> bool {
        now - self.since > OLDEST_US
    }

    /// Whether a row is done with.
    pub(super) fn is_done(&self, entry: &Entry) -> bool {
        self.done.contains(entry)
    }

    /// Moves to a look that began at `now` and did with `entries`. FlatVectorIndex before its overlap are forgotten.
    pub(super) fn advance(&mut self, now: i64, entries: impl IntoIterator<Item = Entry>) {
        self.done.extend(entries);
        self.since = self.since.max(now - OVERLAP_US);
        let since = self.since;
        self.done.retain(|entry| entry.at >= since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 500_000 * HOUR_US + HOUR_US / 2;

    fn entry(at: i64) -> Entry {
        let document = DocumentKey { tenant: "t".into(), document_id: "d".into() };
        Entry { at, document, run: 5, version: 5 }
    }

    #[test]
    fn a_look_goes_back_behind_the_one_before() {
        let mut cursor = Cursor::new(NOW);
        assert_eq!(cursor.since(), NOW - OVERLAP_US, "what was written while loading began");
        cursor.advance(NOW + 7, []);
        assert_eq!(cursor.since(), NOW + 7 - OVERLAP_US);
        cursor.advance(NOW, []);
        assert_eq!(cursor.since(), NOW + 7 - OVERLAP_US, "a clock that was set back");
    }

    #[test]
    fn a_row_seen_twice_is_one_and_what_was_not_done_comes_again() {
        let mut cursor = Cursor::new(NOW);
        cursor.advance(NOW, [entry(NOW)]);
        assert!(cursor.is_done(&entry(NOW)));
        assert!(!cursor.is_done(&Entry { version: 6, ..entry(NOW) }));
        assert!(!cursor.is_done(&entry(NOW - 1)), "written before, readable only now");
    }

    #[test]
    fn what_no_look_reads_again_is_forgotten() {
        let mut cursor = Cursor::new(NOW);
        cursor.advance(NOW, (0..100).map(|at| entry(NOW - at)));
        cursor.advance(NOW + OVERLAP_US - 9, []);
        assert_eq!(cursor.done.len(), 10);
        cursor.advance(NOW + OVERLAP_US + 1, []);
        assert!(cursor.done.is_empty());
    }

    #[test]
    fn hours_reach_from_the_overlap_to_the_fastest_clock() {
        assert_eq!(Cursor::new(NOW).hours(NOW), 500_000..=500_000);
        let full_hour = 500_000 * HOUR_US;
        assert_eq!(Cursor::new(full_hour + 1).hours(full_hour + 1), 499_999..=500_000);
        assert_eq!(Cursor::new(full_hour - 1).hours(full_hour - 1), 499_999..=500_000);
        assert_eq!(Cursor::new(NOW).hours(NOW + HOUR_US), 500_000..=500_001);
    }

    #[test]
    fn after_a_long_rest_everything_is_loaded_anew() {
        assert!(!Cursor::new(NOW).is_too_old(NOW + HOUR_US));
        assert!(Cursor::new(NOW).is_too_old(NOW + 2 * HOUR_US));
    }
}
