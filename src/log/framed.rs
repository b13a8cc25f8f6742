//! A log whose topics have a schema registry: records are framed on their way out and in, and nothing else changes.
//!
//! The law: inside deckle bytes are Avro single-object, on the broker they name their schema by the registry's id. A
//! registry that is away makes readers wait; it never costs a record.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{
    CommitError, Event, From, Lag, Log, NewRecord, Partition, Position, Reader, Record, Step, Tail, Topic, Writer,
    held_back::HeldBack,
};
use crate::registry::{self, ConnectError, Registry};
use deckle_contract::error::{Failure, Result};

/// How often a registry that is away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A log and its registry, which is connected to by the first call that needs it.
pub struct Framed {
    log: Arc<dyn Log>,
    config: registry::Config,
    /// The prefix of the names of subjects in the registry.
    prefix: String,
    edge: OnceCell<Arc<Edge>>,
}

/// The place where records are framed on their way in and out, once the registry is connected.
struct Edge {
    registry: Registry,
    /// The failure for which a reader waits now, if one does.
    away: Mutex<Option<Failure>>,
}

impl Framed {
    /// Frames what goes through `log` with the registry that `config` names.
    pub fn new(log: Arc<dyn Log>, config: registry::Config, prefix: String) -> Self {
        Self { log, config, prefix, edge: OnceCell::new() }
    }

    async fn edge(&self) -> Result<Arc<Edge>> {
        let connect = || async {
            match Registry::connect(&self.config, &self.prefix).await {
                Ok(Some(registry)) => Ok(Arc::new(Edge { registry, away: Mutex::default() })),
                Ok(None) => Err(Failure::defect("a log is framed without a `registry.url`")),
                Err(ConnectError::Away(failure)) => Err(failure),
                Err(ConnectError::Refused(why)) => Err(Failure::defect(why)),
            }
        };
        self.edge.get_or_try_init(connect).await.cloned()
    }
}

impl Edge {
    fn frame(&self, records: &[NewRecord]) -> Result<Vec<NewRecord>> {
        let frame = |record: &NewRecord| {
            let value = self.registry.frame(&record.topic, record.value.clone())?;
            Ok(NewRecord { value, ..record.clone() })
        };
        records.iter().map(frame).collect()
    }

    /// Moves records from one list to the other, translated. Cancel safe: a call that is cut off goes on where it was.
    async fn unframe(&self, from: &mut VecDeque<Record>, to: &mut Vec<Record>) {
        while let Some(record) = from.front() {
            match self.registry.unframe(&record.partition.topic, record.value.clone()).await {
                Ok(value) => {
                    to.extend(from.pop_front().map(|record| Record { value, ..record }));
                    self.waits(None);
                }
                Err(failure) => {
                    tracing::warn!(%failure, "records wait for the schema registry");
                    self.waits(Some(failure));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn waits(&self, failure: Option<Failure>) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

#[async_trait]
impl Log for Framed {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>> {
        self.log.append(self.edge().await?.frame(&records)?).await
    }

    async fn join(&self, group: &str, member: &str, topics: &[Topic]) -> Result<(Box<dyn Reader>, Box<dyn Writer>)> {
        let edge = self.edge().await?;
        let (reader, writer) = self.log.join(group, member, topics).await?;
        let framed = FramedReader {
            reader,
            edge: Arc::clone(&edge),
            coming: VecDeque::new(),
            come: Vec::new(),
            held_back: HeldBack::default(),
        };
        Ok((Box::new(framed), Box::new(FramedWriter { writer, edge })))
    }

    async fn tail(&self, topics: &[Topic], from: From) -> Result<Box<dyn Tail>> {
        let edge = self.edge().await?;
        let tail = self.log.tail(topics, from).await?;
        Ok(Box::new(FramedTail { tail, edge, coming: VecDeque::new(), come: Vec::new() }))
    }

    async fn lag(&self, group: &str, topics: &[Topic]) -> Result<Vec<Lag>> {
        self.log.lag(group, topics).await
    }

    async fn trim(&self, topics: &[(Topic, Vec<String>)], before_us: i64) -> Result<u64> {
        self.log.trim(topics, before_us).await
    }

    async fn expire(&self, topic: &Topic, groups: &[String], before_us: i64) -> Result<u64> {
        self.log.expire(topic, groups, before_us).await
    }

    async fn scrub(&self) -> Result<()> {
        self.log.scrub().await
    }

    fn health(&self) -> Result<()> {
        let away = self.edge.get().and_then(|edge| edge.away.lock().unwrap_or_else(PoisonError::into_inner).clone());
        away.map_or_else(|| self.log.health(), Err)
    }
}

struct FramedReader {
    reader: Box<dyn Reader>,
    edge: Arc<Edge>,
    /// Records that were read, and are not translated yet.
    coming: VecDeque<Record>,
    /// Records that were translated, and are not given to the worker yet.
    come: Vec<Record>,
    /// Records of partitions that were paused between the two.
    held_back: HeldBack,
}

#[async_trait]
impl Reader for FramedReader {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(records) = self.held_back.resumed() {
                return Ok(Event::Records(records));
            }
            if self.coming.is_empty() && self.come.is_empty() {
                match self.reader.next().await? {
                    Event::Records(records) => self.coming = records.into(),
                    Event::Revoked { partitions, lost, ack } => {
                        self.held_back.forget(&partitions);
                        return Ok(Event::Revoked { partitions, lost, ack });
                    }
                    assigned @ Event::Assigned(_) => return Ok(assigned),
                }
            }
            self.edge.unframe(&mut self.coming, &mut self.come).await;
            let records = self.held_back.sift(std::mem::take(&mut self.come));
            if !records.is_empty() {
                return Ok(Event::Records(records));
            }
        }
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.held_back.pause(partitions);
        self.reader.pause(partitions);
    }

    fn resume(&mut self, partitions: &[Partition]) {
        self.held_back.resume(partitions);
        self.reader.resume(partitions);
    }

    async fn leave(self: Box<Self>) -> Result<()> {
        self.reader.leave().await
    }
}

struct FramedWriter {
    writer: Box<dyn Writer>,
    edge: Arc<Edge>,
}

#[async_trait]
impl Writer for FramedWriter {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        let outputs = self.edge.frame(&step.outputs).map_err(|failure| CommitError::Defect(failure.to_string()))?;
        self.writer.commit(&Step { outputs, positions: step.positions.clone() }).await
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        self.writer.committed(partitions).await
    }
}

struct FramedTail {
    tail: Box<dyn Tail>,
    edge: Arc<Edge>,
    coming: VecDeque<Record>,
    come: Vec<Record>,
}

#[async_trait]
impl Tail for FramedTail {
    async fn next(&mut self) -> Result<Vec<Record>> {
        if self.coming.is_empty() && self.come.is_empty() {
            self.coming = self.tail.next().await?.into();
        }
        self.edge.unframe(&mut self.coming, &mut self.come).await;
        Ok(std::mem::take(&mut self.come))
    }

    async fn ready(&mut self) -> Result<Vec<Record>> {
        if self.coming.is_empty() && self.come.is_empty() {
            self.coming = self.tail.ready().await?.into();
        }
        self.edge.unframe(&mut self.coming, &mut self.come).await;
        Ok(std::mem::take(&mut self.come))
    }
}
