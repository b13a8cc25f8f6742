//! What a side of the seam says about itself.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deckle::log::{Log, Topic};

/// One implementation of the log.
#[async_trait]
pub trait Side: Send + Sync {
    /// Empty topics that no other test uses, by short name and partitions.
    async fn bench(&self, topics: &[(&str, i32)]) -> Box<dyn Bench>;

    /// How long a member that died keeps its partitions, at least.
    fn dead_after(&self) -> Duration;
}

/// The topics of one test.
#[async_trait]
pub trait Bench: Send + Sync {
    /// Opens the log anew, as another process would.
    async fn open(&self) -> Arc<dyn Log>;

    /// The full name of a topic.
    fn topic(&self, short: &str) -> Topic;

    /// All topics.
    fn topics(&self) -> Vec<Topic>;
}
