//! The SQLite side, and what only it promises.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use deckle::log::{
    Log, Topic,
    sqlite::{Config, SqliteLog, TopicConfig},
};
use tempfile::TempDir;

use crate::side::{Bench, Side};

/// One file per test.
pub struct OnSqlite;

/// Short enough for tests, long enough for a busy machine.
pub const CONFIG: Config = Config {
    lease_ms: 3_000,
    heartbeat_ms: 500,
    revoke_ms: 1_000,
    poll_ms: 10,
    busy_ms: 10_000,
    fetch_bytes: 4 << 20,
    fetch_records: 16,
};

#[async_trait]
impl Side for OnSqlite {
    async fn bench(&self, topics: &[(&str, i32)]) -> Box<dyn Bench> {
        let folder = tempfile::tempdir().unwrap();
        Box::new(File { path: folder.path().join("log.db"), _folder: folder, topics: topic_configs(topics) })
    }

    fn dead_after(&self) -> Duration {
        Duration::from_millis(CONFIG.lease_ms - CONFIG.heartbeat_ms)
    }
}

fn topic_configs(topics: &[(&str, i32)]) -> Vec<TopicConfig> {
    topics.iter().map(|(name, partitions)| TopicConfig { name: Topic::from(*name), partitions: *partitions }).collect()
}

struct File {
    path: PathBuf,
    _folder: TempDir,
    topics: Vec<TopicConfig>,
}

#[async_trait]
impl Bench for File {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(SqliteLog::open(&self.path, &self.topics, CONFIG).unwrap())
    }

    fn topic(&self, short: &str) -> Topic {
        Topic::from(short)
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.iter().map(|topic| topic.name.clone()).collect()
    }
}
