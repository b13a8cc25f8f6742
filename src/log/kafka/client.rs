//! Settings of the clients.

use rdkafka::ClientConfig;

use super::Config;

/// What all clients share: the cluster, and the user's own options.
pub(super) fn base(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers).set("client.id", "deckle");
    for (name, value) in &config.client {
        client.set(name, value);
    }
    client
}
