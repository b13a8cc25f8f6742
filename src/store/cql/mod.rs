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
mod session;

use std::sync::Arc;

use self::session::Session;
pub use self::config::{Config, Consistency, Password};
use crate::error::Result;

/// A store in one keyspace of a cluster.
pub struct CqlStore {
    session: Arc<Session>,
}

impl CqlStore {
    /// Connects to a keyspace whose tables are there.
    ///
    /// # Errors
    /// `Unavailable` where no node answers or lets us in; a defect where the settings make no sense, or the keyspace or
    /// its tables are missing.
    pub async fn connect(config: &Config) -> Result<Self> {
        let session = Session::connect(config).await?;
        session.use_keyspace().await?;
        Ok(Self { session: Arc::new(session) })
    }
}
