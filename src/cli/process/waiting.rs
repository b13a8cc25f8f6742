//! The rows that wait for their ends.
//!
//! The law: an end costs the same however many rows there are, and the store is asked for a bounded number at a time, so
//! that a hundred thousand files hold up neither the log nor a signal.

use std::collections::{HashMap, VecDeque};

use super::Row;
use crate::contract::record::Status;

/// Rows that the store is asked for at once.
const LOOKS: usize = 256;

/// Rows without an end, by the submissions that they wait for.
pub(super) struct Waiting {
    /// Several files of one content are one submission.
    by_upload: HashMap<String, Vec<usize>>,
    /// The rows in the order in which the store is asked for them; those that ended meanwhile are passed over.
    turns: VecDeque<usize>,
}

impl Waiting {
    /// The rows that have no end yet.
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut waiting = Self { by_upload: HashMap::new(), turns: VecDeque::new() };
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.status.is_none()) {
            waiting.by_upload.entry(row.submission.upload_id.clone()).or_default().push(index);
            waiting.turns.push_back(index);
        }
        waiting
    }

    /// Whether all have ended.
    pub(super) fn is_over(&self) -> bool {
        self.by_upload.is_empty()
    }

    /// Gives the rows of a submission their end; returns how many these are, none for a submission of others.
    pub(super) fn end(&mut self, rows: &mut [Row], upload_id: &str, status: Status) -> usize {
        let ended = self.by_upload.remove(upload_id).unwrap_or_default();
        ended.iter().for_each(|index| rows[*index].status = Some(status));
        ended.len()
    }

    /// The next rows that the store is to be asked for; all have their turn before any has a second one.
    pub(super) fn next(&mut self, rows: &[Row]) -> Vec<usize> {
        let mut next = Vec::new();
        for _ in 0..self.turns.len() {
            let Some(index) = self.turns.pop_front() else { break };
            if rows[index].status.is_none() {
                self.turns.push_back(index);
                next.push(index);
            }
            if next.len() == LOOKS {
                break;
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        inputs::Input,
        submit::{Submission, Submitted},
    };
    use crate::store::DocumentKey;

    fn row(upload: usize) -> Row {
        Row::new(Submission {
            input: Input { path: "a".into(), relative: "a".into() },
            key: DocumentKey { tenant: "t".to_owned(), document_id: upload.to_string() },
            upload_id: upload.to_string(),
            state: Submitted::Pending,
        })
    }

    #[test]
    fn a_hundred_thousand_ends_are_found_at_once() {
        const ROWS: usize = 100_000;
        // Two files of each content.
        let mut rows: Vec<Row> = (0..ROWS).map(|number| row(number / 2)).collect();
        let mut waiting = Waiting::new(&rows);
        assert_eq!(waiting.end(&mut rows, "of others", Status::Published), 0);
        for upload in 0..ROWS / 2 {
            assert!(!waiting.is_over());
            assert_eq!(waiting.end(&mut rows, &upload.to_string(), Status::Published), 2);
        }
        assert!(waiting.is_over() && rows.iter().all(|row| row.status == Some(Status::Published)));
    }

    #[test]
    fn every_row_has_its_turn() {
        let mut rows: Vec<Row> = (0..2 * LOOKS + 10).map(row).collect();
        let mut waiting = Waiting::new(&rows);
        waiting.end(&mut rows, "1", Status::Failed);
        let first = waiting.next(&rows);
        assert!(first.len() == LOOKS && !first.contains(&1));
        let mut seen = [first, waiting.next(&rows), waiting.next(&rows)].concat();
        seen.truncate(rows.len() - 1);
        seen.sort_unstable();
        assert!(seen.into_iter().eq((0..rows.len()).filter(|index| *index != 1)));
    }
}
