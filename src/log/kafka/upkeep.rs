//! How far groups are behind, and the removal of what every group is past.
//!
//! The law: markers and aborted records take offsets, so a difference of offsets only bounds the lag from above. Where
//! it is above 0, the first record that is not complete is looked for: without one the lag is 0.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
};
use tokio::sync::Notify;

use super::{
    Shared,
    client::{self, ClosedAside, Reports},
    positions::{self, PATIENCE},
    tail::{self, TopicTail, blocking},
};
use crate::{Lag, Partition, Position, Topic};
use deckle_contract::error::Result;

/// Asks about groups without joining them.
pub(super) struct Upkeep {
    asking: Arc<Asking>,
    admin: AdminClient<Reports>,
    /// Per group and partition a position and an end with no records between.
    quiet: Mutex<HashMap<(String, Partition), (i64, i64)>>,
}

/// The clients that ask.
struct Asking {
    shared: Arc<Shared>,
    /// Reads committed records, so that a partition ends for it where it ends for readers.
    ends: BaseConsumer<Reports>,
    /// One per group: a client knows one.
    groups: Mutex<BTreeMap<String, ClosedAside<Reports>>>,
}

fn consumer(shared: &Shared, settings: &ClientConfig) -> Result<BaseConsumer<Reports>> {
    BaseConsumer::from_config_and_context(settings, Reports::new(&shared.health))
        .map_err(|error| client::failure("client", &error))
}

/// A client that only asks collects reports all the same.
fn serve(consumer: &BaseConsumer<Reports>) {
    for _ in 0..100 {
        let served = consumer.context().served();
        // It has no partitions: what comes are reports.
        drop(consumer.poll(Duration::ZERO));
        if consumer.context().served() == served {
            return;
        }
    }
}

impl Asking {
    fn group(&self, group: &str) -> Result<Arc<BaseConsumer<Reports>>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = groups.get(group) {
            serve(known);
            return Ok(Arc::clone(known));
        }
        let config = &self.shared.config;
        let new = ClosedAside::new(consumer(&self.shared, &client::observer(config, &config.name(group)))?);
        let shared = Arc::clone(&new);
        groups.insert(group.to_owned(), new);
        Ok(shared)
    }

    fn partitions(&self, topic: &Topic) -> Result<Vec<Partition>> {
        serve(&self.ends);
        tail::partitions(&self.shared, &self.ends, topic)
    }

    fn bounds(&self, partition: &Partition) -> Result<(i64, i64)> {
        positions::bounds(&self.shared.config, &self.ends, partition)
    }

    fn committed(&self, group: &str, partitions: &[Partition]) -> Result<BTreeMap<Partition, Option<Position>>> {
        let consumer = self.group(group)?;
        positions::committed(&self.shared.config, &consumer, partitions)
    }

    /// Of each partition where the group is and where the log ends.
    fn behind(&self, group: &str, topic: &Topic) -> Result<Vec<(Partition, Position, i64)>> {
        let partitions = self.partitions(topic)?;
        let mut behind = Vec::new();
        for (partition, position) in self.committed(group, &partitions)? {
            let (start, end) = self.bounds(&partition)?;
            behind.push((partition, position.unwrap_or_else(|| Position::at(start)), end));
        }
        Ok(behind)
    }

    /// Up to where records can go.
    fn trimmable(&self, topic: &Topic, groups: &[String], before_us: i64) -> Result<Vec<(Partition, i64, i64)>> {
        let partitions = self.partitions(topic)?;
        let mut ends = BTreeMap::new();
        for partition in &partitions {
            ends.insert(partition.clone(), self.bounds(partition)?);
        }
        for group in groups {
            for (partition, position) in self.committed(group, &partitions)? {
                if let Some((start, end)) = ends.get_mut(&partition) {
                    *end = position.map_or(*start, |position| position.next.min(*end));
                }
            }
        }
        if before_us < i64::MAX {
            for (partition, first) in self.first_since(&partitions, before_us)? {
                if let Some((_, end)) = ends.get_mut(&partition) {
                    *end = first.min(*end);
                }
            }
        }
        Ok(ends.into_iter().filter(|(_, (start, end))| start < end).map(|(p, (start, end))| (p, start, end)).collect())
    }

    /// The first offset of each partition that was appended at a time or after; none where all are older.
    fn first_since(&self, partitions: &[Partition], since_us: i64) -> Result<Vec<(Partition, i64)>> {
        let config = &self.shared.config;
        let what = |error| client::failure("offsets by time", &error);
        let mut times = positions::list(config, partitions);
        times.set_all_offsets(Offset::Offset(since_us.div_euclid(1_000))).map_err(what)?;
        let found = self.ends.offsets_for_times(times, PATIENCE).map_err(what)?;
        let mut firsts = Vec::new();
        for partition in partitions {
            let Some(element) = found.find_partition(&config.name(&partition.topic), partition.number) else {
                continue;
            };
            element.error().map_err(what)?;
            if let Offset::Offset(first) = element.offset() {
                firsts.push((partition.clone(), first));
            }
        }
        Ok(firsts)
    }
}

impl Upkeep {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let admin = AdminClient::from_config_and_context(&client::admin(&shared.config), Reports::new(&shared.health))
            .map_err(|error| client::failure("client", &error))?;
        let asking = Asking {
            shared: Arc::clone(shared),
            ends: consumer(shared, &client::asking(&shared.config))?,
            groups: Mutex::default(),
        };
        Ok(Self { asking: Arc::new(asking), admin, quiet: Mutex::default() })
    }

    pub(super) async fn lag(&self, group: &str, topics: &[Topic]) -> Result<Vec<Lag>> {
        let mut lags = Vec::new();
        for topic in topics {
            let (asking, of, about) = (Arc::clone(&self.asking), group.to_owned(), Arc::clone(topic));
            let behind = blocking(move || asking.behind(&of, &about)).await?;
            lags.push(self.lag_of(group, topic, behind).await?);
        }
        Ok(lags)
    }

    async fn lag_of(&self, group: &str, topic: &Topic, behind: Vec<(Partition, Position, i64)>) -> Result<Lag> {
        let mut lag = Lag { topic: topic.to_string(), records: 0, oldest_us: 0 };
        let mut doubtful: BTreeMap<i32, (Position, i64)> = BTreeMap::new();
        for (partition, position, end) in behind {
            if position.next < end && !self.is_quiet(group, &partition, position.next, end) {
                doubtful.insert(partition.number, (position, end));
            }
        }
        if doubtful.is_empty() {
            return Ok(lag);
        }
        let now_us = jiff::Timestamp::now().as_microsecond();
        let oldest = self.first_incomplete(topic, &doubtful).await?;
        for (number, (position, end)) in doubtful {
            match oldest.get(&number) {
                Some(appended_us) => {
                    let done: i64 = position.done.iter().map(|range| range.end() - range.start() + 1).sum();
                    lag.records += (end - position.next - done).max(1).unsigned_abs();
                    lag.oldest_us = lag.oldest_us.max(now_us - appended_us);
                }
                None => {
                    let partition = Partition { topic: Arc::clone(topic), number };
                    let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
                    quiet.insert((group.to_owned(), partition), (position.next, end));
                }
            }
        }
        Ok(lag)
    }

    fn is_quiet(&self, group: &str, partition: &Partition, next: i64, end: i64) -> bool {
        let quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.get(&(group.to_owned(), partition.clone())) == Some(&(next, end))
    }

    /// When the first record that is not complete was appended, of those partitions that have one.
    async fn first_incomplete(
        &self,
        topic: &Topic,
        doubtful: &BTreeMap<i32, (Position, i64)>,
    ) -> Result<BTreeMap<i32, i64>> {
        let arrived = Arc::new(Notify::new());
        let shared = &self.asking.shared;
        let starts = doubtful.iter().map(|(&number, (position, _))| (number, position.next)).collect();
        let mut tail = TopicTail::new(shared, topic, &client::peek(&shared.config), &arrived)?.assigned(starts)?;
        let mut oldest = BTreeMap::new();
        while oldest.len() < doubtful.len() {
            let mut records = Vec::new();
            tail.catch_up(shared.config.fetch_records, &arrived, &mut records).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let number = record.partition.number;
                if !doubtful.get(&number).is_some_and(|(position, _)| position.covers(record.offset)) {
                    oldest.entry(number).or_insert(record.appended_at_us);
                }
            }
        }
        Ok(oldest)
    }

    pub(super) async fn trim(&self, topics: &[(Topic, Vec<String>)], before_us: i64) -> Result<u64> {
        let mut freed = 0;
        for (topic, groups) in topics {
            let (asking, about, groups) = (Arc::clone(&self.asking), Arc::clone(topic), groups.clone());
            let trimmable = blocking(move || asking.trimmable(&about, &groups, before_us)).await?;
            if trimmable.is_empty() {
                continue;
            }
            let what = |error| client::failure(&format!("trim of {topic}"), &error);
            let mut list = TopicPartitionList::with_capacity(trimmable.len());
            for (partition, start, end) in &trimmable {
                let name = self.asking.shared.config.name(topic);
                list.add_partition_offset(&name, partition.number, Offset::Offset(*end)).map_err(what)?;
                freed += (end - start).unsigned_abs();
            }
            let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
            let removed = self.admin.delete_records(&list, &options).await.map_err(what)?;
            removed.elements().iter().try_for_each(|element| element.error()).map_err(what)?;
        }
        Ok(freed)
    }
}
