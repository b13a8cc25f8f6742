//! The poll thread of a membership: it polls and forwards, and waits for nothing else.
//!
//! Kafka lets a rebalance wait for the application. The callback only takes note of it; the thread goes on polling
//! while the positions of new partitions are read (on a thread of their own) and while the worker commits what it
//! must give up. Records of a partition therefore come after its `Assigned` and before its `Revoked`, and neither a
//! slow broker nor a slow worker stops the others' records.
//!
//! Each partition has a queue of its own, which is read only when its records are wanted; the consumer's own queue has
//! nothing but rebalances and errors in it, so none waits behind a record. How much lies in the partitions' queues is
//! bounded by librdkafka, which fetches no more while they are full. It is never asked to pause: that throws away what
//! was fetched, and to go on again takes it up to a second.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::sync::{mpsc as channel, oneshot};

use super::{
    Shared,
    client::{self, Health, Reports},
    ownership::Ownership,
    partitions::AssignedPartitions,
    positions, record,
};
use crate::{Event, Partition, Position, Topic};
use deckle_contract::error::{Failure, Result};

/// The longest pause between two polls; records, commands and rebalances end it at once.
const IDLE: Duration = Duration::from_millis(250);
/// The pause while a revoke waits for the worker, whose acknowledgement wakes nobody.
const REVOKING: Duration = Duration::from_millis(1);
/// How long leaving may take before the group finds out by itself.
const LEAVE: Duration = Duration::from_secs(5);
/// While no broker answers, one is asked so often, and waited for so long.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(200));

/// The name of a membership: which member of which group.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) group: String,
    pub(super) member: String,
}

/// A request to the poll thread, from the worker or from another thread of this membership.
pub(super) enum Command {
    /// The producer is ready: join the group.
    Join(Result<()>),
    /// The worker waits for records.
    Want,
    /// Something is in the consumer's queue.
    Wake,
    /// The worker wants no records of these partitions until they are resumed.
    Pause(Vec<Partition>),
    /// The worker wants records of these partitions again.
    Resume(Vec<Partition>),
    /// Where the partitions of an assignment start.
    Positions(u64, Result<Vec<(Partition, Position)>>),
    /// Leave the group and stop.
    Leave(oneshot::Sender<()>),
    /// Stop without a word: the group shall think that this member died.
    Die,
}

/// An event, and the epoch of the assignment if it is one.
pub(super) type Told = Result<(Event, u64)>;

/// The ends that the worker's reader and writer hold.
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: channel::UnboundedReceiver<Told>,
    pub(super) ownership: Arc<Ownership>,
    pub(super) consumer: Weak<BaseConsumer<Member>>,
}

/// A change of the assignment that the group asks for.
enum Change {
    Assign(TopicPartitionList),
    Revoke { list: TopicPartitionList, lost: bool },
}

/// The callbacks of a member's consumer.
pub(super) struct Member {
    reports: Reports,
    changes: Mutex<VecDeque<Change>>,
    /// Whether the thread is closing the consumer, so that changes are done on the spot.
    closing: Mutex<bool>,
}

impl Member {
    fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn is_closing(&self) -> bool {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reports.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.reports.stats_raw(statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.reports.serve();
        let change = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Assign(list.clone())
        } else {
            Change::Revoke { list: list.clone(), lost: consumer.assignment_lost() }
        };
        if self.is_closing() {
            change.accept(consumer);
        } else {
            self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
        }
    }
}

impl Change {
    /// Does as the group says, for a member that is closing: nobody reads its records any more.
    fn accept(&self, consumer: &BaseConsumer<Member>) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match self {
            Self::Assign(list) if cooperative => consumer.incremental_assign(list),
            Self::Assign(list) => consumer.assign(list),
            Self::Revoke { list, .. } if cooperative => consumer.incremental_unassign(list),
            Self::Revoke { .. } => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::debug!(%error, "a rebalance while leaving");
        }
    }
}

/// Starts the thread. It joins the group on [`Command::Join`]; nobody waits for the group, nor for a broker.
pub(super) fn join(shared: &Arc<Shared>, name: Name, topics: &[Topic]) -> Result<Handle> {
    let config = &shared.config;
    let instance = config.member(&name.group, &name.member);
    let settings = client::member(config, &config.name(&name.group), &instance);
    let context =
        Member { reports: Reports::new(&shared.health), changes: Mutex::default(), closing: Mutex::new(false) };
    let mut consumer = BaseConsumer::from_config_and_context(&settings, context)
        .map_err(|error| client::failure(&format!("group {}", name.group), &error))?;
    let (commands, inbox) = mpsc::channel();
    let waker = commands.clone();
    // A thread that has stopped needs no waking.
    consumer.set_nonempty_callback(move || drop(waker.send(Command::Wake)));
    let topics: BTreeMap<String, Topic> = topics.iter().map(|topic| (config.name(topic), Arc::clone(topic))).collect();
    let consumer = Arc::new(consumer);
    let (events, outbox) = channel::unbounded_channel();
    let ownership = Arc::new(Ownership::default());
    let handle = Handle {
        commands: commands.clone(),
        events: outbox,
        ownership: Arc::clone(&ownership),
        consumer: Arc::downgrade(&consumer),
    };
    let thread_name = format!("kafka-{}", name.group);
    let membership = Membership {
        shared: Arc::clone(shared),
        name,
        topics,
        consumer,
        commands,
        inbox,
        events,
        ownership,
        partitions: AssignedPartitions::new(),
        change: None,
        epoch: 0,
        wanted: false,
        probed: Instant::now(),
    };
    thread::Builder::new()
        .name(thread_name)
        .spawn(move || membership.run())
        .map_err(|error| Failure::unavailable(client::DEPENDENCY, format!("cannot start a thread: {error}")))?;
    Ok(handle)
}

struct Membership {
    shared: Arc<Shared>,
    name: Name,
    /// The topics by their names on the broker.
    topics: BTreeMap<String, Topic>,
    consumer: Arc<BaseConsumer<Member>>,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Command>,
    events: channel::UnboundedSender<Told>,
    ownership: Arc<Ownership>,
    partitions: AssignedPartitions<PartitionQueue<Member>>,
    /// The change that the group waits for.
    change: Option<Pending>,
    /// The number of assignments so far.
    epoch: u64,
    /// Whether the worker waits for records.
    wanted: bool,
    probed: Instant,
}

/// A change of the assignment that is not carried out yet.
enum Pending {
    /// Positions are being read.
    Assign { epoch: u64, list: TopicPartitionList, again: Vec<Partition>, member: Arc<str> },
    /// The worker commits what it gives up.
    Revoke { list: TopicPartitionList, partitions: Vec<Partition> },
}

/// Why the thread ends.
enum Stop {
    Failed(Failure),
    Left(oneshot::Sender<()>),
    Died,
}

type Turn<T = ()> = std::result::Result<T, Stop>;

/// What an error of the consumer means to the membership.
fn classify(consumer: &BaseConsumer<Member>, Name { group, member }: &Name, error: &KafkaError) -> Turn {
    if let Some((code, text)) = consumer.client().fatal_error() {
        let failure = match code {
            RDKafkaErrorCode::FencedInstanceId => Failure::defect(format!(
                "log.member_replaced: another process has joined {group} as {member}; every worker needs a name of \
                 its own"
            )),
            _ => Failure::defect(format!("log.kafka: group {group} as {member}: {text}")),
        };
        return Err(Stop::Failed(failure));
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset) => Err(Stop::Failed(Failure::defect(format!(
            "log.position_below_start: a position of {group} lies outside the log: records were trimmed that this \
             group has not processed"
        )))),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::InconsistentGroupProtocol
            | RDKafkaErrorCode::InvalidSessionTimeout,
        ) => Err(Stop::Failed(Failure::defect(format!("log.kafka: group {group}: {error}")))),
        // Passes, or is a topic that may still be made; the client has said so to the log.
        _ => Ok(()),
    }
}

impl Membership {
    fn run(mut self) {
        let stop = loop {
            if let Err(stop) = self.turn() {
                break stop;
            }
        };
        match stop {
            Stop::Failed(failure) => {
                self.ownership.lose_all();
                let _ = self.events.send(Err(failure));
                // Others may do better with the partitions; a name that another process took is no more ours to leave.
                let replaced = self.consumer.client().fatal_error().is_some();
                self.close(!replaced);
            }
            Stop::Left(done) => {
                self.close(true);
                let _ = done.send(());
            }
            Stop::Died => self.close(false),
        }
    }

    fn turn(&mut self) -> Turn {
        while let Ok(command) = self.inbox.try_recv() {
            self.obey(command)?;
        }
        self.poll()?;
        self.forward()?;
        self.probe();
        let pause = match self.change {
            Some(Pending::Revoke { .. }) => REVOKING,
            _ => IDLE,
        };
        match self.inbox.recv_timeout(pause) {
            Ok(command) => self.obey(command),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Stop::Died),
        }
    }

    fn obey(&mut self, command: Command) -> Turn {
        match command {
            Command::Wake => Ok(()),
            Command::Join(settled) => self.subscribe(settled),
            Command::Want => {
                self.wanted = true;
                Ok(())
            }
            Command::Pause(partitions) => {
                self.partitions.set_paused(&partitions, true);
                Ok(())
            }
            Command::Resume(partitions) => {
                self.partitions.set_paused(&partitions, false);
                Ok(())
            }
            Command::Positions(epoch, positions) => self.assigned(epoch, positions.map_err(Stop::Failed)?),
            Command::Leave(done) => Err(Stop::Left(done)),
            Command::Die => Err(Stop::Died),
        }
    }

    fn subscribe(&mut self, settled: Result<()>) -> Turn {
        settled.map_err(Stop::Failed)?;
        let names: Vec<&str> = self.topics.keys().map(String::as_str).collect();
        self.consumer.subscribe(&names).map_err(|error| self.broken("subscription", &error))
    }

    fn broken(&self, what: &str, error: &KafkaError) -> Stop {
        Stop::Failed(Failure::defect(format!("log.kafka: {what} of {}: {error}", self.name.group)))
    }

    /// Serves the consumer's own queue: changes of the assignment, errors.
    fn poll(&mut self) -> Turn {
        loop {
            self.make_changes()?;
            let served = self.consumer.context().reports.served();
            match self.consumer.poll(Duration::ZERO) {
                // Of a partition that was taken away: all others have queues of their own.
                Some(Ok(_)) => {}
                Some(Err(error)) => classify(&self.consumer, &self.name, &error)?,
                // An event was served: more may be behind it.
                None if self.consumer.context().reports.served() != served => {}
                None => return self.make_changes(),
            }
        }
    }

    /// Goes as far with the changes of the assignment as it can.
    fn make_changes(&mut self) -> Turn {
        loop {
            match &self.change {
                Some(Pending::Assign { .. }) => return Ok(()),
                Some(Pending::Revoke { partitions, .. }) if !self.ownership.is_given_up(partitions) => return Ok(()),
                Some(Pending::Revoke { .. }) => self.revoked()?,
                None => match self.consumer.context().next_change() {
                    None => return Ok(()),
                    Some(Change::Assign(list)) => self.assign(list)?,
                    Some(Change::Revoke { list, lost }) => self.revoke(list, lost)?,
                },
            }
        }
    }

    fn list<'a>(&self, partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
        positions::list(&self.shared.config, partitions)
    }

    /// A partition's own queue, from now on. Something in it wakes the thread.
    fn queue(&self, partition: &Partition) -> Turn<PartitionQueue<Member>> {
        let name = self.shared.config.name(&partition.topic);
        let queue = self.consumer.split_partition_queue(&name, partition.number);
        let mut queue =
            queue.ok_or_else(|| Stop::Failed(Failure::defect(format!("log.kafka: {partition} has no queue"))))?;
        let waker = self.commands.clone();
        // A thread that has stopped needs no waking.
        queue.set_nonempty_callback(move || drop(waker.send(Command::Wake)));
        Ok(queue)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let ours = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let topic = self.topics.get(element.topic())?;
            Some(Partition { topic: Arc::clone(topic), number: element.partition() })
        };
        list.elements().iter().filter_map(ours).collect()
    }

    /// The group gives us partitions: reads where they start. Comes, with an empty list, at the end of every
    /// rebalance.
    fn assign(&mut self, list: TopicPartitionList) -> Turn {
        self.epoch += 1;
        let member: Arc<str> = client::member_id(&self.consumer).unwrap_or_default().into();
        let again = self.ownership.of_former_members(&member);
        if !again.is_empty() {
            // We were thrown out while a rebalance went on, and librdkafka joined anew without a word. Others may
            // have worked on what we hold.
            self.lose(again.clone())?;
        }
        let mut partitions = self.partitions(&list);
        partitions.extend(again.iter().cloned());
        let (epoch, nothing) = (self.epoch, partitions.is_empty());
        tracing::debug!(group = self.name.group, member = self.name.member, epoch, ?partitions, "assigned");
        self.change = Some(Pending::Assign { epoch, list, again, member });
        if nothing {
            return self.assigned(epoch, Vec::new());
        }
        let (consumer, commands) = (Arc::downgrade(&self.consumer), self.commands.clone());
        let (shared, group) = (Arc::clone(&self.shared), self.name.group.clone());
        thread::Builder::new()
            .name("kafka-positions".to_owned())
            .spawn(move || {
                if let Some(positions) = positions::until_read(&shared, &group, &consumer, &partitions) {
                    // A thread that has stopped needs no positions.
                    let _ = commands.send(Command::Positions(epoch, positions));
                }
            })
            .map(drop)
            .map_err(|error| Stop::Failed(Failure::unavailable(client::DEPENDENCY, format!("no thread: {error}"))))
    }

    /// The positions are there: begins to fetch.
    fn assigned(&mut self, epoch: u64, positions: Vec<(Partition, Position)>) -> Turn {
        let Some(Pending::Assign { again, member, .. }) =
            self.change.take_if(|change| matches!(change, Pending::Assign { epoch: of, .. } if *of == epoch))
        else {
            return Ok(());
        };
        let mut starts = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in &positions {
            let name = self.shared.config.name(&partition.topic);
            starts
                .add_partition_offset(&name, partition.number, Offset::Offset(position.next))
                .map_err(|error| self.broken("assignment", &error))?;
            // Before anything is fetched, or it would lie in the wrong queue.
            let queue = self.queue(partition)?;
            self.partitions.insert(partition.clone(), position.clone(), queue);
        }
        // librdkafka goes on with what we had as another member; it starts anew.
        let still = self.consumer.assignment().map_err(|error| self.broken("assignment", &error))?;
        let still = self.partitions(&still);
        let stale = self.list(again.iter().filter(|partition| still.contains(partition)));
        if stale.count() > 0 {
            self.consumer.incremental_unassign(&stale).map_err(|error| self.broken("assignment", &error))?;
        }
        self.consumer.incremental_assign(&starts).map_err(|error| self.broken("assignment", &error))?;
        if positions.is_empty() {
            return Ok(());
        }
        self.ownership.assign(positions.iter().map(|(partition, _)| partition.clone()), epoch, &member);
        self.shared.health.answered();
        self.report(Event::Assigned(positions))
    }

    /// The group wants partitions back: asks the worker to give them up.
    fn revoke(&mut self, list: TopicPartitionList, lost: bool) -> Turn {
        let partitions = self.partitions(&list);
        tracing::debug!(group = self.name.group, member = self.name.member, lost, ?partitions, "revoked");
        if lost {
            self.lose(partitions.clone())?;
        } else if !partitions.is_empty() {
            for partition in &partitions {
                self.partitions.close(partition);
            }
            let (ack, acknowledged) = oneshot::channel();
            let deadline = Instant::now() + Duration::from_millis(self.shared.config.revoke_ms);
            self.ownership.revoke(partitions.clone(), acknowledged, deadline);
            self.report(Event::Revoked { partitions: partitions.clone(), lost: false, ack })?;
        }
        self.change = Some(Pending::Revoke { list, partitions });
        Ok(())
    }

    /// The worker has let go: gives the partitions back.
    fn revoked(&mut self) -> Turn {
        let Some(Pending::Revoke { list, partitions }) = self.change.take() else { return Ok(()) };
        for partition in &partitions {
            self.partitions.remove(partition);
        }
        self.consumer.incremental_unassign(&list).map_err(|error| self.broken("revocation", &error))
    }

    /// Drops partitions that others may own already, and reports to the worker those that were ours as lost.
    fn lose(&mut self, partitions: Vec<Partition>) -> Turn {
        self.ownership.lose(&partitions);
        let announced: Vec<Partition> =
            partitions.into_iter().filter(|partition| self.partitions.remove(partition)).collect();
        if announced.is_empty() {
            return Ok(());
        }
        let (ack, _) = oneshot::channel();
        self.report(Event::Revoked { partitions: announced, lost: true, ack })
    }

    /// Gives the worker what it waits for.
    fn forward(&mut self) -> Turn {
        if !self.wanted {
            return Ok(());
        }
        let (config, consumer, name) = (&self.shared.config, &self.consumer, &self.name);
        let records =
            self.partitions.gather(config.fetch_records, config.fetch_bytes, |partition, queue| {
                match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => Ok(Some(record::incoming(&message, &partition.topic))),
                    Some(Err(error)) => classify(consumer, name, &error).map(|()| None),
                    None => Ok(None),
                }
            })?;
        if !records.is_empty() {
            self.wanted = false;
            self.shared.health.answered();
            self.report(Event::Records(records))?;
        }
        Ok(())
    }

    /// Asks whether a broker is back, which no client reports by itself.
    fn probe(&mut self) {
        let health: &Health = &self.shared.health;
        if !health.is_away() || self.probed.elapsed() < PROBE.0 {
            return;
        }
        self.probed = Instant::now();
        let topic = self.topics.keys().next().map(String::as_str);
        if self.consumer.fetch_metadata(topic, PROBE.1).is_ok() {
            health.answered();
        }
    }

    fn report(&self, event: Event) -> Turn {
        self.events.send(Ok((event, self.epoch))).map_err(|_| Stop::Died)
    }

    /// Closes the consumer. A static member that is only closed counts as dead (KIP-345), which is what a restart
    /// wants; one that unsubscribes before leaves the group.
    fn close(self, leave: bool) {
        self.ownership.lose_all();
        let context = self.consumer.context();
        *context.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        match self.change {
            Some(Pending::Assign { list, .. }) => Change::Assign(list).accept(&self.consumer),
            Some(Pending::Revoke { list, .. }) => Change::Revoke { list, lost: false }.accept(&self.consumer),
            None => {}
        }
        while let Some(change) = context.next_change() {
            change.accept(&self.consumer);
        }
        if leave {
            self.consumer.unsubscribe();
            let deadline = Instant::now() + LEAVE;
            // The member id is gone as soon as the request to leave is on its way; closing waits for the answer.
            while client::member_id(&self.consumer).is_some() && Instant::now() < deadline {
                // Serves the last revoke; nobody waits for records.
                drop(self.consumer.poll(Duration::from_millis(5)));
            }
        }
    }
}
