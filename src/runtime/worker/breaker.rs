//! When a stage takes no more records, because deckle itself seems to be broken: a library that is missing a symbol, a
//! model that answers nonsense. Every record would become a dead letter until the topic is empty.
//!
//! The law: one tenant alone never stops the others. Anyone can make files on which a decoder fails, so a tenant's
//! documents count up to half of the limit, and it takes two tenants to reach it.
//!
//! An open breaker lets one record through after a pause: when that one ends without a defect, work goes on; when not,
//! the pause doubles. Pure: the time is passed in.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::Config;
use deckle_log::ledger::Ticket;

/// The longest pause between two records that are let through.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The document that a record was of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Document {
    /// Its tenant.
    pub(super) tenant: String,
    /// Its id.
    pub(super) id: String,
}

/// Counts defects, and says how many records may run.
pub(super) struct Breaker {
    /// Documents with a defect that open it.
    limit: usize,
    /// Records over which defects are counted.
    window: usize,
    /// The first pause.
    pause: Duration,
    /// Of the latest records, the document of each defect.
    recent: VecDeque<Option<Document>>,
    open: Option<Open>,
}

/// An open breaker.
struct Open {
    /// What opened it, for people.
    why: String,
    pause: Duration,
    probe_at: Instant,
    /// The one record that was let through.
    probe: Option<Ticket>,
}

impl Breaker {
    /// A closed breaker.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            limit: config.max_defects,
            window: config.defect_window,
            pause: Duration::from_secs(config.defect_pause_s),
            recent: VecDeque::new(),
            open: None,
        }
    }

    /// Whether another record may start while `running` are at work.
    pub(super) fn lets_through(&self, running: usize, now: Instant) -> bool {
        self.open.as_ref().is_none_or(|open| running == 0 && open.probe.is_none() && open.probe_at <= now)
    }

    /// Takes note that a record has started: the only one while the breaker is open.
    pub(super) fn started(&mut self, ticket: Ticket) {
        if let Some(open) = &mut self.open {
            open.probe = Some(ticket);
        }
    }

    /// Takes note that a record has ended; `defect` is its document if it ended in a defect.
    pub(super) fn ended(&mut self, ticket: Ticket, defect: Option<Document>, now: Instant) {
        if let Some(open) = &mut self.open {
            if open.probe.take_if(|probe| *probe == ticket).is_none() {
                return;
            }
            if defect.is_none() {
                self.open = None;
                self.recent.clear();
            } else {
                open.pause = (open.pause * 2).min(LONGEST_PAUSE);
                open.probe_at = now + open.pause;
            }
            return;
        }
        self.recent.push_back(defect);
        if self.recent.len() > self.window {
            self.recent.pop_front();
        }
        let mut by_tenant: HashMap<&str, HashSet<&str>> = HashMap::new();
        for document in self.recent.iter().flatten() {
            by_tenant.entry(&document.tenant).or_default().insert(&document.id);
        }
        let most = self.limit.div_ceil(2);
        if by_tenant.len() > 1
            && by_tenant.values().map(|documents| documents.len().min(most)).sum::<usize>() >= self.limit
        {
            let documents: usize = by_tenant.values().map(HashSet::len).sum();
            let why = format!(
                "{documents} documents of {} tenants had defects among its last {} records (`worker.max_defects`), so \
                 it takes only one from time to time; look at `deckle dead-letters list`",
                by_tenant.len(),
                self.recent.len()
            );
            self.open = Some(Open { why, pause: self.pause, probe_at: now + self.pause, probe: None });
        }
    }

    /// Forgets the record that was let through, which was taken away before it ended; another may follow at once.
    pub(super) fn taken_away(&mut self, ticket: Ticket) {
        if let Some(open) = &mut self.open {
            open.probe.take_if(|probe| *probe == ticket);
        }
    }

    /// Why it is open; `None` when it is closed.
    pub(super) fn why(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.why.as_str())
    }

    /// When the next record may be let through, if the breaker is open and waits for that.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.open.as_ref().filter(|open| open.probe.is_none()).map(|open| open.probe_at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use bytes::Bytes;
    use deckle_log::{
        Partition, Position, Record,
        ledger::{Admission, Ledger, Limits, Turn},
    };

    /// Tickets, which only a ledger gives.
    fn tickets() -> Vec<Ticket> {
        let partition = Partition { topic: "in".into(), number: 0 };
        let mut ledger = Ledger::new(Limits::default());
        ledger.assign(partition.clone(), Position::default());
        let record = |offset| Record {
            partition: partition.clone(),
            offset,
            key: String::new(),
            appended_at_us: 0,
            headers: BTreeMap::new(),
            value: Bytes::new(),
        };
        (0..100)
            .map(|offset| match ledger.admit(record(offset), offset.to_string(), Turn::default()) {
                Admission::Admitted(ticket) => ticket,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn of(tenant: &str, id: usize) -> Option<Document> {
        Some(Document { tenant: tenant.to_owned(), id: id.to_string() })
    }

    fn breaker() -> Breaker {
        Breaker::new(&Config { max_defects: 5, defect_window: 10, defect_pause_s: 60, ..Config::default() })
    }

    #[test]
    fn a_tenant_counts_up_to_half() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let tickets = tickets();
        for (number, ticket) in tickets.iter().take(50).enumerate() {
            breaker.ended(*ticket, of("a", number), now);
        }
        assert_eq!(breaker.why(), None);
        breaker.ended(tickets[50], of("b", 0), now);
        assert_eq!(breaker.why(), None, "three of a and one of b");
        // The same document again adds nothing.
        breaker.ended(tickets[51], of("b", 0), now);
        assert_eq!(breaker.why(), None);
        breaker.ended(tickets[52], of("b", 1), now);
        assert!(breaker.why().unwrap().contains("of 2 tenants"));
    }

    #[test]
    fn it_lets_one_through_after_a_pause_that_doubles_and_closes_when_that_is_well() {
        let (mut breaker, start) = (breaker(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let tickets = tickets();
        for (number, ticket) in tickets.iter().take(6).enumerate() {
            breaker.ended(*ticket, of(["a", "b"][number % 2], number), start);
        }
        assert!(breaker.why().is_some());
        assert!(!breaker.lets_through(0, after(59)) && !breaker.lets_through(1, after(60)));
        assert_eq!(breaker.probe_at(), Some(after(60)));
        assert!(breaker.lets_through(0, after(60)));
        breaker.started(tickets[10]);
        assert!(!breaker.lets_through(0, after(61)), "one is under way");
        // What started before it opened decides nothing.
        breaker.ended(tickets[7], None, after(61));
        assert!(breaker.why().is_some());
        breaker.ended(tickets[10], of("a", 10), after(61));
        assert_eq!(breaker.probe_at(), Some(after(61 + 120)));
        breaker.started(tickets[11]);
        breaker.taken_away(tickets[11]);
        assert!(breaker.lets_through(0, after(61 + 120)), "another takes its place");
        breaker.started(tickets[12]);
        breaker.ended(tickets[12], None, after(200));
        assert!(breaker.why().is_none() && breaker.lets_through(7, after(200)));
    }
}
