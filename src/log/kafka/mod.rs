//! The production side of the log: Apache Kafka.

mod client;
pub mod topics;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which cluster, and what it knows deckle's topics and groups by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses of some brokers, `host:port`, separated by commas.
    pub brokers: String,
    /// Leads the name of every topic and group, so that several pipelines share a cluster.
    pub prefix: String,
    /// Further options of librdkafka by their own names: TLS, SASL, compression.
    pub client: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { brokers: "localhost:9092".to_owned(), prefix: String::new(), client: BTreeMap::new() }
    }
}

impl Config {
    /// What the cluster calls one of deckle's topics or groups.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
