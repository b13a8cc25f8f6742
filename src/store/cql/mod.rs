//! The production side of the store: ScyllaDB, or Cassandra, by CQL; shared by any number of processes and machines.
//!
//! The laws hold by timestamps alone, with no read before a write of a stage and no lock:
//!
//! | write | timestamp | so |
//! |---|---|---|
//! | cells and rows of stages | their version | the newest stays, of equal versions the greater bytes |
//! | trim: a range delete | its version | rows at or below it are hidden, come they before or after |
//! | `erased_at`, `removed_below` | their own value | they only grow; readers leave out what they cover, for ever |
//! | erasure, removal: range deletes | a day ahead | the bytes go too, and those of most late writes |
//! | a letter's state | the nodes' (compare-and-set) | it leaves `open` once |
//!
//! A tombstone is dropped ten days after its delete (`gc_grace_seconds`); what arrives later than that under a trim is
//! still hidden by the header's count of chunks, and under an erasure by its static cell.

mod config;
mod failure;
pub mod migrations;
mod replication;
mod schema;
mod session;
mod statements;

use std::sync::Arc;

use tokio::sync::OnceCell;

pub use self::{
    config::{Config, Consistency, Password},
    replication::Replication,
};
use self::session::Session;
use crate::error::Result;

/// A store in one keyspace of a cluster.
pub struct CqlStore {
    config: Config,
    /// Made at the first request, so that a cluster that is away at start is waited for like one that goes away later.
    session: OnceCell<Arc<Session>>,
}

impl CqlStore {
    /// Looks at the settings. Does not wait for a node.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn open(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config, session: OnceCell::new() })
    }

    /// The session, in a keyspace that has this deckle's tables.
    async fn session(&self) -> Result<&Arc<Session>> {
        let connect = async || migrations::ready(&self.config).await.map(Arc::new);
        self.session.get_or_try_init(connect).await
    }
}
