//! Where a group is in partitions: committed positions, checked against what the log still has.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    Config, Shared,
    client::{self, Reports},
};
use crate::{Partition, Position};
use deckle_contract::error::{Failure, Result};

/// The time limit of one question to a broker.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// The list of some partitions, as librdkafka names them.
pub(super) fn list<'a>(config: &Config, partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&config.name(&partition.topic), partition.number);
    }
    list
}

/// The committed positions; `None` where a group has none. Of a consumer that reads committed records, an open
/// transaction that moves them is waited for.
pub(super) fn committed<C: ConsumerContext>(
    config: &Config,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, Option<Position>>> {
    let what = |error| failure_of_assigned("committed positions", &error);
    let answer = consumer.committed_offsets(list(config, partitions), PATIENCE).map_err(what)?;
    let mut positions = BTreeMap::new();
    for partition in partitions {
        let Some(element) = answer.find_partition(&config.name(&partition.topic), partition.number) else { continue };
        element.error().map_err(what)?;
        let position = match element.offset() {
            Offset::Offset(next) => Some(Position::decode(next, element.metadata())?),
            _ => None,
        };
        positions.insert(partition.clone(), position);
    }
    Ok(positions)
}

/// What an error means where a member has the partition: the group knows it, so a broker that does not has just come
/// back, and will.
fn failure_of_assigned(what: &str, error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            Failure::unavailable(client::DEPENDENCY, format!("{what}: {error}"))
        }
        _ => client::failure(what, error),
    }
}

/// The lowest offset that a partition keeps, and the one above the last that readers may see.
pub(super) fn bounds<C: ConsumerContext>(
    config: &Config,
    consumer: &BaseConsumer<C>,
    partition: &Partition,
) -> Result<(i64, i64)> {
    watermarks(config, consumer, partition).map_err(|error| client::failure(&partition.to_string(), &error))
}

/// The same. A partition that was just made, or whose leader just went, is waited for.
#[expect(clippy::disallowed_methods, reason = "whoever asks a broker waits for it")]
fn watermarks<C: ConsumerContext>(
    config: &Config,
    consumer: &BaseConsumer<C>,
    partition: &Partition,
) -> std::result::Result<(i64, i64), KafkaError> {
    use RDKafkaErrorCode as Code;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match consumer.fetch_watermarks(&config.name(&partition.topic), partition.number, PATIENCE) {
            Ok(bounds) => return Ok(bounds),
            Err(error) => error,
        };
        let leaderless =
            matches!(error.rdkafka_error_code(), Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable));
        if !leaderless || Instant::now() >= deadline {
            return Err(error);
        }
        thread::sleep(RETRY);
    }
}

/// Where a member starts: the committed position, or the start of the log. One that lies outside the log is fatal.
///
/// # Errors
/// `Unavailable` while no broker answers, and while a transaction that moves the positions is open.
pub(super) fn read<C: ConsumerContext>(
    shared: &Arc<Shared>,
    group: &str,
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
) -> Result<Vec<(Partition, Position)>> {
    let config = &shared.config;
    let committed = match committed(config, consumer, partitions) {
        Err(Failure::Unavailable { .. }) if is_held_up(shared, group, partitions) => {
            return Err(Failure::unavailable(
                client::DEPENDENCY,
                format!(
                    "log.transaction_open: a transaction that moves positions of {group} is open; brokers end it after \
                 `log.kafka.transaction_ms`; one that outlasts that by far hangs: `kafka-transactions.sh find-hanging \
                 --max-transaction-timeout 0 --broker-id …` lists it, `abort` ends it, in __consumer_offsets last"
                ),
            ));
        }
        other => other?,
    };
    let mut positions = Vec::new();
    for (partition, committed) in committed {
        let bounds = watermarks(config, consumer, &partition);
        let (start, end) = bounds.map_err(|error| failure_of_assigned(&partition.to_string(), &error))?;
        let position = committed.unwrap_or_else(|| Position::at(start));
        check(&partition, position.next, (start, end))?;
        positions.push((partition, position));
    }
    Ok(positions)
}

/// Whether brokers do answer, and only an open transaction is in the way.
fn is_held_up(shared: &Arc<Shared>, group: &str, partitions: &[Partition]) -> bool {
    let config = &shared.config;
    BaseConsumer::from_config_and_context(&client::observer(config, &config.name(group)), Reports::new(&shared.health))
        .is_ok_and(|observer| committed(config, &observer, partitions).is_ok())
}

fn check(partition: &Partition, next: i64, (start, end): (i64, i64)) -> Result<()> {
    if next < start {
        return Err(Failure::defect(format!(
            "log.position_below_start: {partition} is at {next}, but the log starts at {start}: records were trimmed \
             that this group has not processed"
        )));
    }
    if next > end {
        return Err(Failure::defect(format!(
            "log.position_beyond_end: {partition} is at {next}, but the log ends at {end}: the topic was made anew, or \
             lost records"
        )));
    }
    Ok(())
}

/// Reads where a member starts until it succeeds: to start without it would run records twice. `None` when the
/// member is gone.
#[expect(clippy::disallowed_methods, reason = "reading has a thread of its own")]
pub(super) fn until_read<C: ConsumerContext>(
    shared: &Arc<Shared>,
    group: &str,
    consumer: &Weak<BaseConsumer<C>>,
    partitions: &[Partition],
) -> Option<Result<Vec<(Partition, Position)>>> {
    let outcome = loop {
        let Some(consumer) = consumer.upgrade() else { break None };
        match read(shared, group, &consumer, partitions) {
            Err(ref failure @ Failure::Unavailable { ref message, .. }) => {
                tracing::warn!(group, %failure, "positions cannot be read yet");
                shared.health.held_up(group, Some(message.clone()));
            }
            other => break Some(other),
        }
        drop(consumer);
        thread::sleep(RETRY);
    };
    shared.health.held_up(group, None);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_of_ours_that_a_broker_does_not_know_yet_is_waited_for() {
        use RDKafkaErrorCode as Code;
        for code in [Code::UnknownPartition, Code::UnknownTopic, Code::UnknownTopicOrPartition] {
            let error = KafkaError::MetadataFetch(code);
            assert!(matches!(failure_of_assigned("topic[0]", &error), Failure::Unavailable { .. }), "{code:?}");
            assert!(matches!(client::failure("topic[0]", &error), Failure::Defect { .. }), "{code:?}");
        }
        let refused = KafkaError::MetadataFetch(Code::TopicAuthorizationFailed);
        assert!(matches!(failure_of_assigned("topic[0]", &refused), Failure::Defect { .. }));
    }
}
