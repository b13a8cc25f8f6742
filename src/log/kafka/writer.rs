//! The worker's writing side: a step is one transaction.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
};

use super::{
    Shared, client,
    consumer::{Command, Handle, Member, Name},
    ownership::Ownership,
    positions,
    producer::ProducerThread,
    record::{self, Outgoing},
    touched::Moves,
    transaction::Fault,
};
use crate::{CommitError, Partition, Position, Step, Writer};
use deckle_contract::error::{Failure, Result};

/// A membership's writer.
pub(super) struct KafkaWriter {
    shared: Arc<Shared>,
    ownership: Arc<Ownership>,
    consumer: Weak<BaseConsumer<Member>>,
    group: String,
    producer: ProducerThread,
}

impl KafkaWriter {
    /// First the producer settles what a former process of our name left open, then the group is joined: whoever has
    /// joined last has also fenced last, and no position is held up by an open transaction of our own.
    pub(super) fn new(shared: &Arc<Shared>, name: &Name, handle: &Handle) -> Result<Self> {
        let mut producer = ProducerThread::new(shared, shared.config.member(&name.group, &name.member));
        let commands = handle.commands.clone();
        // A member that has stopped meanwhile joins nothing.
        producer.settle_soon(move |settled| drop(commands.send(Command::Join(settled))))?;
        Ok(Self {
            shared: Arc::clone(shared),
            ownership: Arc::clone(&handle.ownership),
            consumer: Weak::clone(&handle.consumer),
            group: name.group.clone(),
            producer,
        })
    }
}

fn not_ours(partition: Partition) -> CommitError {
    CommitError::Fenced(format!("{partition} is not ours"))
}

#[async_trait]
impl Writer for KafkaWriter {
    async fn commit(&mut self, step: &Step) -> std::result::Result<(), CommitError> {
        // Without a broker's help where that is enough.
        self.ownership.check(step.positions.keys(), None).map_err(not_ours)?;
        let prepared = Prepared {
            outputs: record::outgoing(&self.shared.config, &step.outputs),
            offsets: offsets(&self.shared, step).map_err(|failure| CommitError::Defect(failure.to_string()))?,
            partitions: step.positions.keys().cloned().collect(),
            ownership: Arc::clone(&self.ownership),
            consumer: Weak::clone(&self.consumer),
        };
        let ownership = Arc::clone(&self.ownership);
        let outcome = self.producer.transact(move |begin| {
            let ours = prepared.prove_ours()?;
            let mut transaction = begin.begin()?;
            for output in prepared.outputs {
                transaction = transaction.send(output)?;
            }
            if let Some(member) = ours {
                transaction = transaction.offsets(&Arc::new(Moves { positions: prepared.offsets, member }))?;
            }
            transaction.commit()
        });
        let outcome = outcome.await;
        if let Err(error) = &outcome {
            tracing::debug!(%error, "not committed");
        }
        match outcome {
            Ok(_) => Ok(()),
            // The generation moved on: harmless for partitions that stayed.
            Err(CommitError::Aborted(why)) => match ownership.check(step.positions.keys(), None) {
                Ok(()) => Err(CommitError::Aborted(why)),
                Err(partition) => Err(not_ours(partition)),
            },
            Err(other) => Err(other),
        }
    }

    async fn committed(&mut self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Position>> {
        // First the open transaction is settled, whichever way; only then do positions mean anything.
        self.producer.settled().await?;
        let (shared, consumer) = (Arc::clone(&self.shared), Weak::clone(&self.consumer));
        let (group, partitions) = (self.group.clone(), partitions.to_vec());
        let read = move || {
            let consumer =
                consumer.upgrade().ok_or_else(|| Failure::defect("log.kafka: the member has left its group"))?;
            Ok(positions::read(&shared, &group, &consumer, &partitions)?.into_iter().collect())
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| Failure::defect(format!("log.kafka: reading positions stopped: {error}")))?
    }
}

/// Positions as Kafka keeps them: `next` is the offset, `done` its metadata.
fn offsets(shared: &Shared, step: &Step) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(step.positions.len());
    for (partition, position) in &step.positions {
        let topic = shared.config.name(&partition.topic);
        let mut element = list.add_partition(&topic, partition.number);
        element
            .set_offset(Offset::Offset(position.next))
            .map_err(|error| Failure::defect(format!("{partition}: {error}")))?;
        element.set_metadata(position.encode());
    }
    Ok(list)
}

/// A step on its way to the producer's thread.
struct Prepared {
    outputs: Vec<Outgoing>,
    offsets: TopicPartitionList,
    partitions: Vec<Partition>,
    ownership: Arc<Ownership>,
    consumer: Weak<BaseConsumer<Member>>,
}

impl Prepared {
    /// The proof that the module's head describes. The order of its three parts is what makes it one.
    fn prove_ours(&self) -> std::result::Result<Option<ConsumerGroupMetadata>, Fault> {
        if self.partitions.is_empty() {
            return Ok(None);
        }
        let fenced = |why: String| Fault { error: CommitError::Fenced(why), broken: false, unlisted: false };
        let Some(consumer) = self.consumer.upgrade() else {
            return Err(fenced("the member has left its group".to_owned()));
        };
        let metadata = consumer.group_metadata();
        // After the metadata: a member that lost its id gets another one only after its partitions left `held`.
        let member = client::member_id(&consumer);
        let (Some(metadata), Some(member)) = (metadata, member) else {
            return Err(fenced("the group does not know this member at the moment".to_owned()));
        };
        match self.ownership.check(self.partitions.iter(), Some(&member)) {
            Ok(()) => Ok(Some(metadata)),
            Err(partition) => Err(Fault { error: not_ours(partition), broken: false, unlisted: false }),
        }
    }
}

/// Appends records outside any group, as a whole; their append times.
pub(super) async fn append(
    producer: &mut ProducerThread,
    records: Vec<Outgoing>,
) -> std::result::Result<Vec<i64>, CommitError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let append = move |begin: super::producer::Begin<'_>| {
        let mut transaction = begin.begin()?;
        for record in records {
            transaction = transaction.send(record)?;
        }
        transaction.commit()
    };
    producer.transact(append).await
}
