//! Reading without a group: one consumer per topic, with partitions assigned by hand.
//!
//! Markers of transactions take offsets, so a position below the end of the log does not mean that a record is left to
//! read. Only librdkafka's "end of partition" tells that there is none, and only one that it found after the question
//! was asked counts: `ready` therefore looks again from where it is. That event carries a partition's number and not
//! its topic, hence a consumer per topic.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
};
use tokio::{sync::Notify, time::Instant};

use super::{
    Shared,
    client::{self, ClosedAside, Reports},
    positions::{self, PATIENCE},
    record,
};
use crate::{From, Partition, Record, Tail, Topic};
use deckle_contract::error::{Failure, Result};

/// The longest pause between two polls; a record ends it at once.
const IDLE: Duration = Duration::from_millis(250);
/// How long the records that are there may take to come.
const READY: Duration = Duration::from_secs(30);

/// A tail of some topics.
pub(super) struct KafkaTail {
    topics: Vec<TopicTail>,
    arrived: Arc<Notify>,
    limit: usize,
    /// Records that were read, and are not yet given.
    records: Vec<Record>,
}

impl KafkaTail {
    pub(super) async fn new(shared: &Arc<Shared>, topics: &[Topic], from: From) -> Result<Self> {
        let arrived = Arc::new(Notify::new());
        let (shared, wanted, notify) = (Arc::clone(shared), topics.to_vec(), Arc::clone(&arrived));
        let limit = shared.config.fetch_records;
        let open = move || {
            let start = |topic: &Topic| {
                let tail = TopicTail::new(&shared, topic, &client::tail(&shared.config), &notify)?;
                let starts = partitions(&shared, &tail.consumer, topic)?.into_iter().map(|partition| {
                    let (start, end) = positions::bounds(&shared.config, &tail.consumer, &partition)?;
                    Ok((partition.number, if from == From::Start { start } else { end }))
                });
                let starts = starts.collect::<Result<_>>()?;
                tail.assigned(starts)
            };
            wanted.iter().map(start).collect::<Result<Vec<_>>>()
        };
        Ok(Self { topics: blocking(open).await?, arrived, limit, records: Vec::new() })
    }

    fn drain(&mut self) -> Result<()> {
        for topic in &mut self.topics {
            topic.drain(self.limit, &mut self.records)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Tail for KafkaTail {
    async fn next(&mut self) -> Result<Vec<Record>> {
        loop {
            self.drain()?;
            if !self.records.is_empty() {
                return Ok(std::mem::take(&mut self.records));
            }
            // Over time, nothing has come: events other than records are served all the same.
            let _ = tokio::time::timeout(IDLE, self.arrived.notified()).await;
        }
    }

    async fn ready(&mut self) -> Result<Vec<Record>> {
        self.drain()?;
        for topic in &mut self.topics {
            if self.records.len() >= self.limit {
                break;
            }
            topic.catch_up(self.limit, &self.arrived, &mut self.records).await?;
        }
        Ok(std::mem::take(&mut self.records))
    }
}

/// A tail of one topic.
pub(super) struct TopicTail {
    shared: Arc<Shared>,
    topic: Topic,
    consumer: ClosedAside<Reports>,
    /// The offset above the last record that was read, by partition.
    next: BTreeMap<i32, i64>,
    /// Partitions that had no more when they were read last.
    ended: BTreeSet<i32>,
    /// Where a partition ended when there was nothing more to read below.
    empty_below: BTreeMap<i32, i64>,
}

impl TopicTail {
    pub(super) fn new(
        shared: &Arc<Shared>,
        topic: &Topic,
        settings: &ClientConfig,
        arrived: &Arc<Notify>,
    ) -> Result<Self> {
        let mut consumer = BaseConsumer::from_config_and_context(settings, Reports::new(&shared.health))
            .map_err(|error| client::failure(topic, &error))?;
        let arrived = Arc::clone(arrived);
        consumer.set_nonempty_callback(move || arrived.notify_one());
        Ok(Self {
            shared: Arc::clone(shared),
            topic: Arc::clone(topic),
            consumer: ClosedAside::new(consumer),
            next: BTreeMap::new(),
            ended: BTreeSet::new(),
            empty_below: BTreeMap::new(),
        })
    }

    /// Starts to read.
    pub(super) fn assigned(mut self, starts: BTreeMap<i32, i64>) -> Result<Self> {
        let list = self.list(starts.iter().map(|(&number, &next)| (number, next)))?;
        self.consumer.assign(&list).map_err(|error| client::failure(&self.topic, &error))?;
        self.next = starts;
        Ok(self)
    }

    fn list(&self, offsets: impl Iterator<Item = (i32, i64)>) -> Result<TopicPartitionList> {
        let topic = self.shared.config.name(&self.topic);
        let mut list = TopicPartitionList::new();
        for (number, next) in offsets {
            list.add_partition_offset(&topic, number, Offset::Offset(next))
                .map_err(|error| client::failure(&self.topic, &error))?;
        }
        Ok(list)
    }

    /// Takes what has come.
    fn drain(&mut self, limit: usize, records: &mut Vec<Record>) -> Result<()> {
        while records.len() < limit {
            let served = self.consumer.context().served();
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let record = record::incoming(&message, &self.topic);
                    self.next.insert(record.partition.number, record.offset + 1);
                    self.ended.remove(&record.partition.number);
                    records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(number))) => drop(self.ended.insert(number)),
                Some(Err(error)) => {
                    // Anything else passes; the client has said so to the log.
                    if let failure @ Failure::Defect { .. } = client::failure(&self.topic, &error) {
                        return Err(failure);
                    }
                }
                None if self.consumer.context().served() != served => {}
                None => break,
            }
        }
        if !records.is_empty() {
            self.shared.health.answered();
        }
        Ok(())
    }

    /// Takes what was there when it was asked.
    pub(super) async fn catch_up(&mut self, limit: usize, arrived: &Notify, records: &mut Vec<Record>) -> Result<()> {
        let ends = self.ends().await?;
        let behind: Vec<(i32, i64)> = ends
            .iter()
            .filter(|(number, end)| self.next[number] < **end && self.empty_below.get(number) != Some(end))
            .map(|(number, _)| (*number, self.next[number]))
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + READY;
        self.look_again(&behind, deadline).await?;
        loop {
            self.drain(limit, records)?;
            let ended = &self.ended;
            let next = &self.next;
            let caught_up = behind.iter().all(|(number, _)| ended.contains(number) || next[number] >= ends[number]);
            if caught_up {
                self.empty_below.extend(behind.iter().map(|(number, _)| (*number, ends[number])));
            }
            if caught_up || records.len() >= limit {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::unavailable(client::DEPENDENCY, format!("{} cannot be read", self.topic)));
            }
            // Over time, nothing has come: the deadline is looked at.
            let _ = tokio::time::timeout(IDLE, arrived.notified()).await;
        }
    }

    async fn ends(&self) -> Result<BTreeMap<i32, i64>> {
        let (shared, consumer, topic) = (Arc::clone(&self.shared), Arc::clone(&self.consumer), Arc::clone(&self.topic));
        let numbers: Vec<i32> = self.next.keys().copied().collect();
        let ask = move || {
            let end = |number| {
                let partition = Partition { topic: Arc::clone(&topic), number };
                Ok((number, positions::bounds(&shared.config, &consumer, &partition)?.1))
            };
            numbers.into_iter().map(end).collect()
        };
        blocking(ask).await
    }

    /// Fetches anew from where we are: what librdkafka found out before is void, ends of partitions too.
    async fn look_again(&mut self, behind: &[(i32, i64)], deadline: Instant) -> Result<()> {
        loop {
            let (list, consumer) = (self.list(behind.iter().copied())?, Arc::clone(&self.consumer));
            let sought = blocking(move || {
                let seek = || {
                    let list = consumer.seek_partitions(list, PATIENCE)?;
                    list.elements().iter().try_for_each(|element| element.error())
                };
                Ok(seek())
            });
            match sought.await? {
                Ok(()) => break,
                // An assignment takes effect a moment after it is made.
                Err(error) if Instant::now() < deadline => {
                    tracing::trace!(%error, "seek");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => return Err(client::failure(&self.topic, &error)),
            }
        }
        for (number, _) in behind {
            self.ended.remove(number);
        }
        Ok(())
    }
}

/// The partitions of a topic.
pub(super) fn partitions<C: ConsumerContext>(
    shared: &Shared,
    consumer: &BaseConsumer<C>,
    topic: &Topic,
) -> Result<Vec<Partition>> {
    let name = shared.config.name(topic);
    let metadata = consumer.fetch_metadata(Some(&name), PATIENCE).map_err(|error| client::failure(topic, &error))?;
    let known = metadata.topics().iter().find(|known| known.name() == name && known.error().is_none());
    let known = known.ok_or_else(|| {
        Failure::defect(format!("log.unknown_topic: {topic} is not on the broker; run `deckle topics plan`"))
    })?;
    shared.health.answered();
    let partition =
        |known: &rdkafka::metadata::MetadataPartition| Partition { topic: Arc::clone(topic), number: known.id() };
    Ok(known.partitions().iter().map(partition).collect())
}

/// Runs what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::defect(format!("log.kafka: a call stopped: {error}")))?
}
