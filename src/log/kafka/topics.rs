//! The topics on a cluster: what is there, what deckle needs, and how the one becomes the other.
//!
//! The law: nothing here makes a broker forget a record. Topics and partitions are never removed, retention never
//! becomes shorter, settings that deckle does not know stay as they are, and partitions are added only while every
//! group is through with the topic, because a key moves to another partition then.
//!
//! - `plan`: pure; compares and decides
//! - `cluster`: looks at a cluster and carries out a plan; `alter`: the one request that rdkafka does not offer
//! - `backlog`: whether a group is through with a topic

mod alter;
mod backlog;
mod cluster;
mod plan;

pub use cluster::{Applied, Cluster};
pub use plan::{Action, Difference, Found, FoundTopic, Plan, plan};

use super::Config;
use deckle_contract::{
    error::Result,
    record::topics::{self, TopicConfig},
};

/// All of deckle's topics under the names that the cluster knows them by.
pub fn wanted(config: &Config) -> Vec<TopicConfig> {
    topics::all().iter().map(|topic| TopicConfig { name: config.name(&topic.name), ..topic.clone() }).collect()
}

/// Looks whether workers may start on this cluster; returns what is not as deckle would have it and does no harm.
///
/// # Errors
/// One line that names every topic that is missing or would break a law of the log, and what to do; or that no broker
/// answers.
pub async fn check(config: &Config) -> Result<Vec<String>> {
    let wanted = wanted(config);
    let found = Cluster::connect(config)?.inspect(&wanted).await?;
    plan(&wanted, &found).check()
}
