//! What is to be done about the topics of a cluster: pure, so that every decision is tested without one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use deckle_contract::{
    error::{Failure, Result},
    record::topics::{Cleanup, Timestamps, TopicConfig},
};

/// Kafka's names of the settings that deckle cares about.
const MIN_INSYNC: &str = "min.insync.replicas";
const CLEANUP: &str = "cleanup.policy";
const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const TIMESTAMPS: &str = "message.timestamp.type";
const MAX_MESSAGE: &str = "max.message.bytes";
/// What Kafka fixes when a topic is made, named as its tools do.
const PARTITIONS: &str = "partitions";
const REPLICATION: &str = "replication";

/// Kafka's word for "no limit" in retention.
const UNLIMITED: i64 = -1;

/// The brokers and topics that a cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Brokers that are there.
    pub brokers: usize,
    /// Those of the wanted topics that exist.
    pub topics: BTreeMap<String, FoundTopic>,
}

/// One topic as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundTopic {
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replicas: u16,
    /// Its settings as they are in force, wherever they were set.
    pub settings: BTreeMap<String, String>,
    /// Groups that are not through with it. Only looked at where partitions could be added.
    pub behind: BTreeSet<String>,
}

/// Something about a topic that is not as deckle would have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The topic, as the cluster knows it.
    pub topic: String,
    /// What is done about it.
    #[serde(flatten)]
    pub action: Action,
    /// Why workers must not start before it is mended; `None` when they may.
    pub breaks: Option<&'static str>,
}

/// What is done about a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// The topic is made.
    Create {
        /// Its partitions.
        partitions: u32,
        /// Replicas of each.
        replication: u16,
        /// All that deckle cares about.
        settings: BTreeMap<&'static str, String>,
    },
    /// Partitions are added.
    AddPartitions {
        /// Partitions that there are.
        from: u32,
        /// Partitions that there will be.
        to: u32,
    },
    /// A setting gets another value.
    Alter {
        /// Kafka's name of it.
        setting: &'static str,
        /// The value in force now; `None` when the broker does not say.
        from: Option<String>,
        /// The value that it gets.
        to: String,
    },
    /// It should be otherwise, but only an operator may change it, or not now.
    Refuse {
        /// The setting's name, as the broker spells it.
        setting: &'static str,
        /// The value that is in force.
        from: String,
        /// The value that it should have.
        to: String,
        /// The reason why it is not changed, and what helps.
        reason: String,
    },
    /// It is more than deckle asks for, which is an operator's right.
    Keep {
        /// The setting's name, as the broker spells it.
        setting: &'static str,
        /// The value that is in force, and stays.
        from: String,
        /// The value that deckle would have set.
        to: String,
        /// Why it stays.
        reason: &'static str,
    },
}

impl Difference {
    /// What it is about: a setting, `partitions` or `replication`; nothing for a topic that does not exist.
    pub fn setting(&self) -> Option<&'static str> {
        match &self.action {
            Action::Create { .. } => None,
            Action::AddPartitions { .. } => Some(PARTITIONS),
            Action::Alter { setting, .. } | Action::Refuse { setting, .. } | Action::Keep { setting, .. } => {
                Some(setting)
            }
        }
    }

    /// Whether `apply` does something about it.
    pub fn is_applied(&self) -> bool {
        matches!(self.action, Action::Create { .. } | Action::AddPartitions { .. } | Action::Alter { .. })
    }

    /// Whether it should be otherwise and stays.
    pub fn is_refused(&self) -> bool {
        matches!(self.action, Action::Refuse { .. })
    }

    /// The difference in one line for people.
    fn summary(&self) -> String {
        let topic = &self.topic;
        match &self.action {
            Action::Create { .. } => format!("{topic} does not exist"),
            Action::AddPartitions { from, to } => {
                format!("{topic} has {from} partitions, deckle's own would have {to}")
            }
            Action::Alter { setting, from, to } => {
                let from = from.as_deref().unwrap_or("unknown");
                format!("{topic} has {setting} = {from}, deckle wants {to}")
            }
            Action::Refuse { setting, from, to, reason } => {
                format!("{topic} has {setting} = {from}, deckle wants {to}: {reason}")
            }
            Action::Keep { setting, from, to, .. } => {
                format!("{topic} has {setting} = {from}, deckle's own would have {to}")
            }
        }
    }
}

/// All differences, in the order of the wanted topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// None when the cluster is as deckle would have made it.
    pub differences: Vec<Difference>,
}

impl Plan {
    /// Whether nothing is to be done and nothing was refused; what an operator made larger is in order.
    pub fn is_in_order(&self) -> bool {
        !self.differences.iter().any(|difference| difference.is_applied() || difference.is_refused())
    }

    /// Whether workers may start; the warnings are what is not as deckle would have it and does no harm.
    ///
    /// # Errors
    /// One line with everything that would break a law of the log.
    pub fn check(&self) -> Result<Vec<String>> {
        let (breaking, harmless): (Vec<_>, Vec<_>) =
            self.differences.iter().partition(|difference| difference.breaks.is_some());
        if breaking.is_empty() {
            return Ok(harmless.into_iter().map(Difference::summary).collect());
        }
        let (missing, wrong): (Vec<_>, Vec<_>) =
            breaking.into_iter().partition(|difference| matches!(difference.action, Action::Create { .. }));
        let mut problems = Vec::new();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|difference| difference.topic.as_str()).collect();
            let verb = if names.len() == 1 { "does" } else { "do" };
            problems.push(format!("{} {verb} not exist", names.join(", ")));
        }
        problems.extend(
            wrong
                .into_iter()
                .map(|difference| format!("{} ({})", difference.summary(), difference.breaks.unwrap_or_default())),
        );
        Err(Failure::defect(format!(
            "the topics are not fit for work: {}; `deckle topics plan` shows all, `deckle topics apply` mends it",
            problems.join("; ")
        )))
    }
}

/// Compares what is wanted with what is there.
pub fn plan(wanted: &[TopicConfig], found: &Found) -> Plan {
    let differences = wanted.iter().flat_map(|topic| match found.topics.get(&topic.name) {
        None => vec![create(topic, found.brokers)],
        Some(there) => compare(topic, there, found.brokers),
    });
    Plan { differences: differences.collect() }
}

fn create(topic: &TopicConfig, brokers: usize) -> Difference {
    let replication = replication(topic, brokers);
    let mut settings = BTreeMap::from([
        (MIN_INSYNC, min_insync(topic, replication).to_string()),
        (CLEANUP, cleanup(topic.cleanup).to_owned()),
        (RETENTION_MS, topic.retention_ms.to_string()),
        (TIMESTAMPS, timestamps(topic.timestamps).to_owned()),
        (MAX_MESSAGE, topic.max_message_bytes.to_string()),
    ]);
    if topic.is_work() {
        settings.insert(RETENTION_BYTES, UNLIMITED.to_string());
    }
    let action = Action::Create { partitions: topic.partitions, replication, settings };
    Difference { topic: topic.name.clone(), action, breaks: Some("it does not exist") }
}

fn compare(topic: &TopicConfig, there: &FoundTopic, brokers: usize) -> Vec<Difference> {
    let is_work = topic.is_work();
    let forgets = is_work.then_some("records could go before every stage has read them");
    let mut found = Findings { topic, there, differences: Vec::new() };
    found.partitions();
    found.replication(replication(topic, brokers));
    found.min_insync(min_insync(topic, there.replicas));
    found.cleanup(forgets);
    found.at_least(RETENTION_MS, topic.retention_ms, forgets, "a shorter time would remove records");
    if is_work {
        found.at_least(RETENTION_BYTES, UNLIMITED, forgets, "");
    }
    found.timestamps();
    let refuses = Some("the broker would refuse records that deckle writes");
    found.at_least(MAX_MESSAGE, topic.max_message_bytes.into(), refuses, "larger records do no harm");
    found.differences
}

/// The differences of one topic, as they are found.
struct Findings<'a> {
    topic: &'a TopicConfig,
    there: &'a FoundTopic,
    differences: Vec<Difference>,
}

impl Findings<'_> {
    fn add(&mut self, action: Action, breaks: Option<&'static str>) {
        self.differences.push(Difference { topic: self.topic.name.clone(), action, breaks });
    }

    fn setting(&self, setting: &str) -> Option<&str> {
        self.there.settings.get(setting).map(String::as_str)
    }

    fn alter(&mut self, setting: &'static str, to: String, breaks: Option<&'static str>) {
        let from = self.setting(setting).map(str::to_owned);
        self.add(Action::Alter { setting, from, to }, breaks);
    }

    fn keep(&mut self, setting: &'static str, from: impl ToString, to: impl ToString, reason: &'static str) {
        self.add(Action::Keep { setting, from: from.to_string(), to: to.to_string(), reason }, None);
    }

    /// Too few partitions stop no worker, so that a backlog can always be worked off before they are added.
    fn partitions(&mut self) {
        let (from, to) = (self.there.partitions, self.topic.partitions);
        if from > to {
            self.keep(PARTITIONS, from, to, "partitions are never taken away");
        } else if from < to && self.there.behind.is_empty() {
            self.add(Action::AddPartitions { from, to }, None);
        } else if from < to {
            let groups = self.there.behind.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let reason = format!(
                "records of one key would be in two partitions while {groups} has records to complete; hold the \
                 producers, let it finish, apply again"
            );
            self.add(Action::Refuse { setting: PARTITIONS, from: from.to_string(), to: to.to_string(), reason }, None);
        }
    }

    fn replication(&mut self, to: u16) {
        let from = self.there.replicas;
        if from > to {
            self.keep(REPLICATION, from, to, "more replicas do no harm");
        } else if from < to {
            let reason = "deckle moves no data between brokers; Kafka's own kafka-reassign-partitions does".to_owned();
            let (from, to) = (from.to_string(), to.to_string());
            self.add(Action::Refuse { setting: REPLICATION, from, to, reason }, None);
        }
    }

    fn min_insync(&mut self, to: u16) {
        let from = self.setting(MIN_INSYNC).and_then(|text| text.parse::<u16>().ok());
        match from {
            Some(from) if from == to => {}
            Some(from) if from > self.there.replicas => {
                self.alter(
                    MIN_INSYNC,
                    to.to_string(),
                    Some("more replicas than there are would have to take a record"),
                );
            }
            Some(from) if from > to => self.keep(MIN_INSYNC, from, to, "more copies do no harm"),
            _ => self.alter(MIN_INSYNC, to.to_string(), None),
        }
    }

    fn cleanup(&mut self, forgets: Option<&'static str>) {
        let to = cleanup(self.topic.cleanup);
        let from = self.setting(CLEANUP).unwrap_or_default().to_owned();
        if from == to {
            return;
        }
        if self.topic.is_work() {
            let compacts = from.split(',').any(|policy| policy.trim() == cleanup(Cleanup::Compact));
            self.alter(CLEANUP, to.to_owned(), forgets.filter(|_| compacts));
        } else {
            self.keep(CLEANUP, from, to, "another policy would remove other records");
        }
    }

    fn timestamps(&mut self) {
        let to = timestamps(self.topic.timestamps);
        if self.setting(TIMESTAMPS) != Some(to) {
            let appended = self.topic.timestamps == Timestamps::LogAppendTime;
            let breaks = appended.then_some("the time of a record would be its producer's word");
            self.alter(TIMESTAMPS, to.to_owned(), breaks);
        }
    }

    /// A number of which more is welcome; -1 is more than all.
    fn at_least(&mut self, setting: &'static str, to: i64, breaks: Option<&'static str>, more: &'static str) {
        let rank = |number: i64| if number == UNLIMITED { i64::MAX } else { number };
        match self.setting(setting).and_then(|text| text.parse::<i64>().ok()) {
            Some(from) if from == to => {}
            Some(from) if rank(from) > rank(to) => self.keep(setting, from, to, more),
            _ => self.alter(setting, to.to_string(), breaks),
        }
    }
}

/// A smaller cluster has as many replicas as it has brokers.
fn replication(topic: &TopicConfig, brokers: usize) -> u16 {
    topic.replication.min(u16::try_from(brokers).unwrap_or(u16::MAX)).max(1)
}

/// As many as wanted where there are so many replicas: with fewer, all of them. A broker that is away then stops the
/// writers, which is dear, but a record that was acknowledged and lost is dearer.
fn min_insync(topic: &TopicConfig, replicas: u16) -> u16 {
    topic.min_insync_replicas.min(replicas).max(1)
}

fn cleanup(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
    }
}

fn timestamps(timestamps: Timestamps) -> &'static str {
    match timestamps {
        Timestamps::LogAppendTime => "LogAppendTime",
        Timestamps::CreateTime => "CreateTime",
    }
}
