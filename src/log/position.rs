//! How far a partition is done: the arithmetic of offsets with holes, and the compact text that is committed.
//!
//! The law: an offset is covered only when its record was complete, or when the log delivered a later record and so
//! proved that there is none. Nothing here counts offsets or assumes that the next one is +1.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::Position;
use deckle_contract::error::{Failure, Result};

/// The first character of the text, so that another form can be told apart one day.
const FORM: char = '1';

/// Each digit carries five bits of a number and one that says "more follow" (as in source maps): small numbers, which
/// nearly all of them are, take one character.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Position {
    /// A position with nothing done above `next`.
    pub fn at(next: i64) -> Self {
        Self { next, done: Vec::new() }
    }

    /// The text of `done`, relative to `next`; empty when there is nothing. Fits Kafka's offset metadata.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let mut from = self.next;
        for range in &self.done {
            if text.is_empty() {
                text.push(FORM);
            }
            push_number(&mut text, range.start().abs_diff(from));
            push_number(&mut text, range.end().abs_diff(*range.start()));
            from = *range.end();
        }
        text
    }

    /// The length of [`Position::encode`] without building it.
    pub(crate) fn encoded_len(&self) -> usize {
        let mut length = usize::from(!self.done.is_empty());
        let mut from = self.next;
        for range in &self.done {
            length += digits(range.start().abs_diff(from)) + digits(range.end().abs_diff(*range.start()));
            from = *range.end();
        }
        length
    }

    /// Reads what [`Position::encode`] wrote. Text from anywhere else is a [`Failure::Defect`] that names
    /// `log.position_malformed`.
    pub fn decode(next: i64, text: &str) -> Result<Self> {
        let malformed = || Failure::defect(format!("log.position_malformed: {text:?} is not a position's text"));
        let mut rest = match text.as_bytes() {
            [] => return Ok(Self::at(next)),
            [form, rest @ ..] if char::from(*form) == FORM => rest,
            _ => return Err(malformed()),
        };
        let mut position = Self::at(next);
        let mut from = next;
        while !rest.is_empty() {
            let start = take_number(&mut rest).and_then(|gap| from.checked_add_unsigned(gap)).ok_or_else(malformed)?;
            let end = take_number(&mut rest).and_then(|more| start.checked_add_unsigned(more)).ok_or_else(malformed)?;
            if start <= from {
                return Err(malformed());
            }
            position.done.push(start..=end);
            from = end;
        }
        Ok(position)
    }
}

fn digits(number: u64) -> usize {
    (64 - number.leading_zeros()).div_ceil(5).max(1) as usize
}

fn push_number(text: &mut String, mut number: u64) {
    loop {
        let low = (number & 31) as usize;
        number >>= 5;
        let more = if number == 0 { 0 } else { 32 };
        text.push(char::from(DIGITS[low | more]));
        if number == 0 {
            return;
        }
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(5) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        let digit = DIGITS.iter().position(|known| known == first)? as u64;
        let low = digit & 31;
        if (low << shift) >> shift != low {
            return None;
        }
        number |= low << shift;
        if digit & 32 == 0 {
            return Some(number);
        }
    }
    None
}

/// What was delivered of one partition and what of it is still open.
///
/// ```text
/// delivered   4 5 . 7 8 . . 11 12          frontier = 13; 6, 9 and 10 are holes
/// open            . 7            12        position: next = 7, done = {8..=11}
/// ```
#[derive(Debug)]
pub(super) struct Progress {
    /// The offset above the last one that the log delivered.
    frontier: i64,
    /// What the position that we started from had done above the frontier.
    beyond: Vec<RangeInclusive<i64>>,
    /// Delivered and not complete; the flag: complete ones lie between it and the open one below it.
    open: BTreeMap<i64, bool>,
    /// Whether complete records lie between the last open one and the frontier.
    done_at_end: bool,
    /// The offset above the highest complete one.
    done_to: i64,
}

impl Progress {
    /// Starts at a committed position.
    pub(super) fn new(position: Position) -> Self {
        let done_to = position.next;
        Self { frontier: position.next, beyond: position.done, open: BTreeMap::new(), done_at_end: false, done_to }
    }

    /// Takes note of a delivered record; false when it is covered already and must not run again.
    pub(super) fn deliver(&mut self, offset: i64) -> bool {
        if offset < self.frontier {
            return false;
        }
        let covered = self.beyond.iter().any(|range| range.contains(&offset));
        let passed = self.beyond.iter().take_while(|range| *range.start() <= offset).count();
        self.done_at_end |= passed > 0;
        // A range that reaches above `offset` stays, or what lies there would come again to the next owner.
        self.beyond.drain(..passed - usize::from(passed > 0 && *self.beyond[passed - 1].end() > offset));
        self.frontier = offset + 1;
        if self.done_at_end {
            self.done_to = offset;
        }
        if !covered {
            self.open.insert(offset, std::mem::take(&mut self.done_at_end));
        }
        !covered
    }

    /// Takes note that a record is complete and its outputs are in a step.
    pub(super) fn close(&mut self, offset: i64) {
        if self.open.remove(&offset).is_none() {
            return;
        }
        self.done_to = self.done_to.max(offset + 1);
        match self.open.range_mut(offset..).next() {
            Some((_, done_below)) => *done_below = true,
            None => self.done_at_end = true,
        }
    }

    /// Above the highest offset that is complete, or that the log has passed over.
    pub(super) fn done_to(&self) -> i64 {
        if self.done_at_end { self.frontier } else { self.done_to }
    }

    /// A length which the text of [`Progress::position_with`] does not exceed, if so many records below all that is
    /// complete are open: each run of complete ones ends at an open one, and no number is greater than the whole span.
    pub(super) fn text_bound(&self, open_below: usize) -> usize {
        let from = self.open.first_key_value().map_or(self.frontier, |(&offset, _)| offset);
        let to = self.beyond.last().map_or(self.frontier, |range| self.frontier.max(*range.end()));
        1 + (open_below + 1 + self.beyond.len()) * 2 * digits(to.abs_diff(from))
    }

    /// The position if those of the open records that `also` names were closed too.
    pub(super) fn position_with(&self, also: impl Fn(i64) -> bool) -> Position {
        let mut next = None;
        let mut done = Vec::new();
        let mut last_open = 0;
        let mut done_since = false;
        for (&offset, &done_below) in &self.open {
            done_since |= done_below;
            if also(offset) {
                done_since = true;
                continue;
            }
            if next.is_none() {
                next = Some(offset);
            } else if done_since {
                done.push(last_open + 1..=offset - 1);
            }
            last_open = offset;
            done_since = false;
        }
        done_since |= self.done_at_end;
        if next.is_some() && done_since {
            done.push(last_open + 1..=self.frontier - 1);
        }
        let mut position = Position { next: next.unwrap_or(self.frontier), done };
        for range in &self.beyond {
            // Up to the frontier everything is known; only what lies above it is the old position's word.
            let range = (*range.start()).max(self.frontier)..=*range.end();
            match position.done.last_mut() {
                Some(last) if *range.start() <= last.end() + 1 => *last = *last.start()..=*range.end(),
                None if *range.start() <= position.next => position.next = range.end() + 1,
                _ => position.done.push(range),
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Position> {
        (0i64..1 << 50, prop::collection::vec((1u64..1 << 20, 0u64..1 << 20), 0..50)).prop_map(|(next, gaps)| {
            let mut position = Position::at(next);
            let mut from = next;
            for (gap, more) in gaps {
                let start = from + gap as i64;
                from = start + more as i64;
                position.done.push(start..=from);
            }
            position
        })
    }

    proptest! {
        #[test]
        fn a_position_reads_back_as_it_was_written(position in positions()) {
            let text = position.encode();
            prop_assert_eq!(text.len(), position.encoded_len());
            prop_assert_eq!(Position::decode(position.next, &text), Ok(position));
        }

        #[test]
        fn no_text_makes_decode_panic(text in "1?[A-Za-z0-9_-]{0,40}", next in 0..=i64::MAX) {
            let _ = Position::decode(next, &text);
        }
    }

    #[test]
    fn a_thousand_scattered_ranges_take_two_characters_each() {
        let position = Position { next: 0, done: (0..1_000).map(|at| at * 4 + 2..=at * 4 + 3).collect() };
        assert_eq!(position.encode().len(), 2_001);
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in ["x", "2AB", "1A", "1!", "1AA", "1//"] {
            assert!(Position::decode(7, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_of_an_earlier_owner_is_kept_until_the_log_passes_it() {
        let mut progress = Progress::new(Position { next: 4, done: vec![6..=6, 9..=12] });
        assert!(progress.deliver(4));
        progress.close(4);
        assert_eq!(progress.position_with(|_| false), Position { next: 5, done: vec![6..=6, 9..=12] });
        assert!(progress.deliver(8));
        assert_eq!(progress.position_with(|_| false), Position { next: 8, done: vec![9..=12] });
        assert!(!progress.deliver(10), "an offset of the range that comes all the same is covered");
        assert_eq!(progress.position_with(|_| false), Position { next: 8, done: vec![9..=12] });
        progress.close(8);
        assert_eq!(progress.position_with(|_| false), Position::at(13));
    }
}
