//! How the schema is changed: by one process at a time, through one node.
//!
//! The law: no two nodes ever make the same table at once, which Cassandra ends with two tables of one name. So every
//! change is asked of the same node, the one with the lowest id of those that are up, and more than one statement only
//! under the lock.
//!
//! The lock is a row with a time to live, taken and kept by compare-and-set. A holder that dies keeps it for [`TTL`] at
//! the longest; one that cannot renew it in time stops its work. Statements that a stalled holder sent before that may
//! still arrive, which is why each must be one that does no harm the second time (`IF NOT EXISTS`).

use std::{sync::Arc, time::Duration};

use scylla::{
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    statement::Statement,
};
use tokio::time::Instant;

use super::{failure::failure, session::Session};
use deckle_contract::error::{Failure, Result};

/// A holder that gives no sign for so long has lost the lock. Whole seconds, as CQL's `TTL` counts.
const TTL: Duration = Duration::from_secs(15);
/// How often a holder gives a sign: two may be late.
const RENEW: Duration = Duration::from_secs(4);
/// How often a lock that another holds is tried.
const LOOK: Duration = Duration::from_millis(250);
/// How long a lock that another holds is tried. A holder at work may need long, on a cluster of many nodes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a keyspace or table that the schema lists may be unknown to its server.
const SETTLE: Duration = Duration::from_secs(10);
/// A schema change waits for every node's disk; servers give themselves ten seconds and more.
const CHANGE: Duration = Duration::from_secs(60);

/// The table of the lock.
pub(super) const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS schema_lock (name text PRIMARY KEY, holder text) WITH gc_grace_seconds = 3600";

/// Makes one change and waits until every node that is up knows of it.
///
/// # Errors
/// `Unavailable` where a node is away; `Defect` where the server refuses.
pub(super) async fn change_schema(session: &Session, cql: &str) -> Result<()> {
    let driver = session.driver();
    let mut statement = Statement::new(cql);
    statement.set_request_timeout(Some(CHANGE));
    statement.set_is_idempotent(true);
    let cluster = driver.get_cluster_state();
    let nodes = cluster.get_nodes_info().iter().filter(|node| node.is_connected());
    if let Some(node) = nodes.min_by_key(|node| node.host_id) {
        let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(Arc::clone(node)), None);
        statement.set_load_balancing_policy(Some(only));
    }
    driver.query_unpaged(statement, ()).await.map_err(failure)?;
    driver.await_schema_agreement().await.map_err(failure).map(drop)
}

/// Patience with a server that lists a keyspace or a table in its `system_schema` and does not know it yet: another
/// process is having it made at this moment.
pub(super) struct Settling(Instant);

impl Settling {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Waits a little where the server refused something that needs what is being made.
    ///
    /// # Errors
    /// The refusal itself, once it lasts, and every other failure.
    pub(super) async fn refused(&self, failure: Failure) -> Result<()> {
        if !matches!(failure, Failure::Defect { .. }) || self.0.elapsed() > SETTLE {
            return Err(failure);
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

/// Does some work while no other process, here or elsewhere, does any under the same lock.
///
/// # Errors
/// What the work says; `Unavailable` where another holds the lock for long, or it was lost.
pub(super) async fn with_schema_lock<T>(session: &Session, work: impl Future<Output = Result<T>>) -> Result<T> {
    let (lock, since) = Lock::take(session).await?;
    let result = tokio::select! {
        result = work => result,
        lost = lock.keep(since) => return Err(lost),
    };
    // Whether or not this works, the row ends by itself.
    if let Err(error) = lock.release().await {
        tracing::warn!(%error, "the schema lock could not be released; it ends by itself");
    }
    result
}

/// The lock, held.
struct Lock<'a> {
    session: &'a Session,
    /// The name of this holder, in words for people, and unlike any other.
    holder: String,
}

impl<'a> Lock<'a> {
    /// Waits for it; returns a moment from which on it is held for [`TTL`] at least.
    async fn take(session: &'a Session) -> Result<(Self, Instant)> {
        let lock = Self { session, holder: name() };
        let deadline = Instant::now() + PATIENCE;
        let mut last_holder = String::new();
        loop {
            let asked = Instant::now();
            let insert = "INSERT INTO schema_lock (name, holder) VALUES ('schema', ?) IF NOT EXISTS USING TTL ?";
            if session.compare_and_set(insert, (&lock.holder, ttl())).await? {
                return Ok((lock, asked));
            }
            // The driver asks again where an answer was lost: we may have lost to ourselves, long ago.
            match lock.other().await? {
                Some(holder) if holder == lock.holder => {
                    let asked = Instant::now();
                    if lock.renew().await? {
                        return Ok((lock, asked));
                    }
                }
                Some(holder) if holder != last_holder => {
                    tracing::info!(holder, "waiting for the schema lock");
                    last_holder = holder;
                }
                _ => {}
            }
            if Instant::now() > deadline {
                return Err(unavailable(format!("the schema lock is held by {last_holder}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Renews it until that fails; returns what went wrong.
    async fn keep(&self, mut since: Instant) -> Failure {
        loop {
            tokio::time::sleep(RENEW).await;
            let asked = Instant::now();
            match tokio::time::timeout_at(since + TTL, self.renew()).await {
                Ok(Ok(true)) => since = asked,
                Ok(Err(failure @ Failure::Defect { .. })) => return failure,
                Ok(Err(_)) if since.elapsed() + RENEW < TTL => {}
                _ => return unavailable("the schema lock was lost".to_owned()),
            }
        }
    }

    /// Renews the lock; returns whether it is ours, for another [`TTL`].
    async fn renew(&self) -> Result<bool> {
        let update = "UPDATE schema_lock USING TTL ? SET holder = ? WHERE name = 'schema' IF holder = ?";
        self.session.compare_and_set(update, (ttl(), &self.holder, &self.holder)).await
    }

    async fn release(&self) -> Result<bool> {
        let delete = "DELETE FROM schema_lock WHERE name = 'schema' IF holder = ?";
        self.session.compare_and_set(delete, (&self.holder,)).await
    }

    /// The holder of the lock; `None` where nobody holds it.
    async fn other(&self) -> Result<Option<String>> {
        let select = "SELECT holder FROM schema_lock WHERE name = 'schema'";
        Ok(self.session.read_serial(select, ()).await?.map(|(holder,): (String,)| holder))
    }
}

fn ttl() -> i32 {
    i32::try_from(TTL.as_secs()).unwrap_or(i32::MAX)
}

/// Which process this is, for people, and something that no other has.
fn name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = match machine.trim() {
        "" => "a machine without a name",
        name => name,
    };
    format!("process {} on {machine} ({})", std::process::id(), uuid::Uuid::now_v7().simple())
}

fn unavailable(message: String) -> Failure {
    Failure::unavailable("scylla", message)
}
