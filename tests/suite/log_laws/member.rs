//! Members of a group as the laws need them: one that only looks, and one that works as a worker does.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;
use deckle::log::{
    CommitError, Event, Log, NewRecord, Partition, Position, Reader, Record, Tail, Topic, Writer,
    ledger::{Ledger, Limits, Turn},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// Longer than any side needs for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

/// A record whose key and value are the same text.
pub fn new_record(topic: &Topic, text: &str) -> NewRecord {
    let value = Bytes::copy_from_slice(text.as_bytes());
    NewRecord { topic: topic.clone(), key: text.into(), headers: BTreeMap::new(), value }
}

/// Records named by numbers.
pub fn numbered(topic: &Topic, numbers: Range<usize>) -> Vec<NewRecord> {
    numbers.map(|number| new_record(topic, &number.to_string())).collect()
}

/// A record's value.
pub fn text(record: &Record) -> String {
    String::from_utf8(record.value.to_vec()).unwrap()
}

/// Reads as many records from a tail.
pub async fn read_all(tail: &mut dyn Tail, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let more = within(&format!("{count} records, after {}", records.len()), tail.next()).await.unwrap();
        assert!(!more.is_empty(), "next waits for some");
        records.extend(more);
    }
    records
}

/// A member that reads and does what the test says.
pub struct Member {
    pub reader: Box<dyn Reader>,
    pub writer: Box<dyn Writer>,
    pub owned: BTreeMap<Partition, Position>,
    pub seen: Vec<Record>,
}

impl Member {
    pub async fn join(log: &dyn Log, group: &str, name: &str, topics: &[Topic]) -> Self {
        let (reader, writer) = log.join(group, name, topics).await.unwrap();
        Self { reader, writer, owned: BTreeMap::new(), seen: Vec::new() }
    }

    /// Takes note of an event; acknowledges revokes at once.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Records(records) => {
                assert!(!records.is_empty());
                for record in &records {
                    assert!(self.owned.contains_key(&record.partition), "not ours: {record:?}");
                }
                self.seen.extend(records);
            }
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked { partitions, ack, .. } => {
                self.owned.retain(|partition, _| !partitions.contains(partition));
                let _ = ack.send(());
            }
        }
    }

    /// Takes events until something holds.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        within(what, async {
            while !holds(self) {
                let event = self.reader.next().await.unwrap();
                self.take(event);
            }
        })
        .await;
    }

    /// Takes events of two members until something holds for both.
    pub async fn until_other(&mut self, other: &mut Self, what: &str, holds: impl Fn(&Self, &Self) -> bool) {
        within(what, async {
            while !holds(self, other) {
                tokio::select! {
                    event = self.reader.next() => self.take(event.unwrap()),
                    event = other.reader.next() => other.take(event.unwrap()),
                }
            }
        })
        .await;
    }

    /// Reads as many further records.
    pub async fn read(&mut self, count: usize) -> Vec<Record> {
        let from = self.seen.len();
        self.until(&format!("{count} records"), |member| member.seen.len() >= from + count).await;
        self.seen[from..].to_vec()
    }
}

/// How a worker is to end.
enum End {
    Leave,
    Kill,
}

/// Copies each record from one topic to another, through a ledger, until told to end.
pub struct Worker {
    end: oneshot::Sender<End>,
    task: JoinHandle<()>,
}

impl Worker {
    pub async fn start(log: &dyn Log, name: &str, from: &Topic, to: &Topic) -> Self {
        let (reader, writer) = log.join("workers", name, std::slice::from_ref(from)).await.unwrap();
        let (end, told) = oneshot::channel();
        let limits = Limits { records: 32, step_outputs: 8, step_delay: Duration::from_millis(5), ..Limits::default() };
        let worker = Working { reader, writer, ledger: Ledger::new(limits), to: to.clone() };
        Self { end, task: tokio::spawn(worker.run(told)) }
    }

    /// Commits what is complete and leaves.
    pub async fn leave(self) {
        self.end(End::Leave).await;
    }

    /// Ends without a word to the group.
    pub async fn kill(self) {
        self.end(End::Kill).await;
    }

    async fn end(self, how: End) {
        let _ = self.end.send(how);
        within("the worker ends", self.task).await.unwrap();
    }
}

struct Working {
    reader: Box<dyn Reader>,
    writer: Box<dyn Writer>,
    ledger: Ledger,
    to: Topic,
}

impl Working {
    async fn run(mut self, mut told: oneshot::Receiver<End>) {
        loop {
            // One in two records stays running over a commit, so that positions have something done above them.
            let mut late = Vec::new();
            while let Some((ticket, record)) = self.ledger.start() {
                late.push((ticket, record));
                if late.len() > 1 {
                    let (ticket, record) = late.remove(late.len() - 1);
                    self.complete(ticket, &record);
                }
            }
            self.commit().await;
            for (ticket, record) in late {
                self.complete(ticket, &record);
            }
            self.commit().await;
            let changes = self.ledger.pauses();
            self.reader.pause(&changes.pause);
            self.reader.resume(&changes.resume);
            let event = tokio::select! {
                how = &mut told => {
                    if matches!(how, Ok(End::Leave)) {
                        self.reader.leave().await.unwrap();
                    }
                    return;
                }
                event = self.reader.next() => event.unwrap(),
            };
            match event {
                Event::Records(records) => {
                    for record in records {
                        let key = record.key.clone();
                        self.ledger.admit(record, key, Turn::default());
                    }
                }
                Event::Assigned(partitions) => {
                    for (partition, position) in partitions {
                        self.ledger.assign(partition, position);
                    }
                }
                Event::Revoked { partitions, ack, .. } => {
                    self.ledger.revoke(&partitions);
                    let _ = ack.send(());
                }
            }
        }
    }

    fn complete(&mut self, ticket: deckle::log::ledger::Ticket, record: &Record) {
        self.ledger.complete(ticket, vec![new_record(&self.to, &text(record))], Instant::now());
    }

    async fn commit(&mut self) {
        // A step that was aborted or fenced stays, and is committed again.
        while let Some(step) = self.ledger.step().or_else(|| self.ledger.take_step()) {
            match self.writer.commit(&step).await {
                Ok(()) => self.ledger.confirm(),
                Err(CommitError::Aborted(_)) => tokio::task::yield_now().await,
                Err(CommitError::Unknown(why) | CommitError::Defect(why)) => panic!("{why}"),
                // A revoke follows; it takes what is ours no more out of the ledger.
                Err(CommitError::Fenced(_)) => return,
            }
        }
    }
}
