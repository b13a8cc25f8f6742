//! Whether a group is through with a topic.
//!
//! The law: offsets are not counted. Markers of transactions take offsets too, so that the end of a partition lies above
//! the position of a group that is through; only reading shows it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};

use crate::{
    Position,
    kafka::{Config, client},
};

/// Between two looks; a partition's end comes at once.
const POLL: Duration = Duration::from_millis(100);

/// Whether a committed record of the topic is not complete for the group. Blocks; joins nothing and commits nothing.
///
/// # Errors
/// When the cluster does not answer by `timeout`.
pub(super) fn is_behind(
    config: &Config,
    group: &str,
    topic: &str,
    partitions: u32,
    timeout: Duration,
) -> KafkaResult<bool> {
    let consumer: BaseConsumer = client::peek(config).set("group.id", group).create()?;
    let deadline = Instant::now() + timeout;

    let mut unread = positions(&consumer, topic, partitions, timeout)?;
    let mut start = TopicPartitionList::new();
    for (partition, position) in &unread {
        start.add_partition_offset(topic, *partition, Offset::Offset(position.next))?;
    }
    consumer.assign(&start)?;
    while !unread.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(record)) => {
                if unread.get(&record.partition()).is_some_and(|position| !position.covers(record.offset())) {
                    return Ok(true);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
            Some(Err(error)) => return Err(error),
            None if Instant::now() < deadline => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
    Ok(false)
}

/// How far the group is, for the partitions that go on above it.
fn positions(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: u32,
    timeout: Duration,
) -> KafkaResult<BTreeMap<i32, Position>> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        asked.add_partition(topic, partition);
    }
    let mut positions = BTreeMap::new();
    for committed in consumer.committed_offsets(asked, timeout)?.elements() {
        let (start, end) = consumer.fetch_watermarks(topic, committed.partition(), timeout)?;
        let position = match committed.offset() {
            // Another's text in the metadata says nothing about single records: those above the offset count as open.
            Offset::Offset(next) => Position::decode(next, committed.metadata()).unwrap_or_else(|_| Position::at(next)),
            _ => Position::at(start),
        };
        if position.next < end {
            positions.insert(committed.partition(), Position { next: position.next.max(start), ..position });
        }
    }
    Ok(positions)
}
