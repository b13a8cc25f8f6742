//! The topics: the settings that a broker needs for each, and which stages read them.
//!
//! The law: `topics/*.toml` is the only place that says it. A test holds the files against the schemas and the types.

use std::sync::LazyLock;

use serde::Deserialize;

/// One topic as it should exist on a broker; a file of `topics/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Its name, which is also the name of its schema.
    pub name: String,
    /// Partitions, at least 1. Changes only while the topic's lag is 0.
    pub partitions: u32,
    /// Replicas on a production cluster; a smaller cluster has as many as it has brokers.
    pub replication: u16,
    /// Replicas that must have a record before it counts, at most `replication`.
    pub min_insync_replicas: u16,
    /// What its records are ordered by.
    pub key: Key,
    /// Stages (consumer groups) that read it; empty for a topic that leaves deckle.
    pub consumers: Vec<String>,
    /// What the broker does with old records.
    pub cleanup: Cleanup,
    /// Milliseconds that the broker keeps records; −1 for a work topic, which deckle trims itself.
    pub retention_ms: i64,
    /// Whose clock a record's time is.
    pub timestamps: Timestamps,
    /// Bytes of a record batch that the broker takes.
    pub max_message_bytes: u32,
}

/// What records of a topic are ordered by: [`super::Event::order_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// `tenant/document`.
    Document,
    /// `tenant/document/page`.
    Page,
}

/// Kafka's `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// Records go by age, or when trimmed.
    Delete,
    /// The newest record of each key stays.
    Compact,
}

/// Kafka's `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timestamps {
    /// The broker's clock at append: never goes back within a partition.
    LogAppendTime,
    /// The producer's clock.
    CreateTime,
}

impl TopicConfig {
    /// Whether deckle trims it: its records stay until every stage that reads it is past. Others, which leave deckle,
    /// stay for their retention, whoever reads them.
    pub fn is_work(&self) -> bool {
        self.retention_ms == -1
    }
}

macro_rules! files {
    ($($topic:literal: [$($release:literal),*]),+ $(,)?) => {
        &[$(include_str!(concat!("../../../topics/", $topic, ".toml"))),+]
    };
}

/// The files of `topics/`, in the order a document meets them.
const FILES: &[&str] = with_every_topic!(files);

#[expect(clippy::expect_used, reason = "compiled in, and a test reads each")]
static TOPICS: LazyLock<Vec<TopicConfig>> = LazyLock::new(|| {
    let parse =
        |text: &&str| toml::from_str(text).expect("compiled-in topic files parse: tests/suite/contract.rs reads each");
    FILES.iter().map(parse).collect()
});

/// All topics, in the order a document meets them.
pub fn all() -> &'static [TopicConfig] {
    &TOPICS
}

/// The topic of that name.
pub fn get(name: &str) -> Option<&'static TopicConfig> {
    all().iter().find(|topic| topic.name == name)
}
