//! How the cluster is reached, and how many replicas answer for a write and for a read.
//!
//! The law: reads see acknowledged writes. A pair of consistencies whose replicas need not overlap is refused.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{consistency::Consistency, replication::Replication};
use deckle_contract::error::{Failure, Result};

/// How the cluster is reached and used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Nodes to begin with, as `host:port,host:port`.
    pub nodes: String,
    /// Holds every table; several deckles share a cluster by keyspaces of their own.
    pub keyspace: String,
    /// The datacenter that is asked, and the one whose replicas the `local_` consistencies count. Processes that share
    /// a keyspace name the same one; empty in a cluster of one.
    pub datacenter: String,
    /// Replicas in each datacenter, for a keyspace that deckle makes; the consistencies are checked against it.
    pub replication_factor: u32,
    /// Whether a keyspace that deckle makes is kept in tablets, which only ScyllaDB knows; `None` = as the server has
    /// it.
    pub tablets: Option<bool>,
    /// Replicas that must have a write before it counts.
    pub write_consistency: Consistency,
    /// Replicas that are asked by a read.
    pub read_consistency: Consistency,
    /// User of the cluster; `None` where it asks for none.
    pub user: Option<String>,
    /// Password of that user.
    pub password: Option<Password>,
    /// Whether connections are encrypted and the nodes' certificates verified, in which their IP addresses must stand.
    pub tls: bool,
    /// Certificates (PEM) of authorities to be trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate chain (PEM), for a cluster that wants one.
    pub certificate: Option<PathBuf>,
    /// Key of our own certificate (PEM).
    pub key: Option<PathBuf>,
    /// Time for one connection to open.
    pub connect_ms: u64,
    /// Time for one request, the driver's retries at other nodes included.
    pub request_ms: u64,
    /// A request that finds the cluster away is made again for so long before it fails; 0 = never.
    pub retry_ms: u64,
    /// Requests in flight at once; more wait here, not at the nodes.
    pub requests_in_flight: usize,
    /// What finds the vectors nearest to a question.
    pub search: Search,
    /// A search looks for what is new when the last look is older than this; 0 = always.
    pub refresh_ms: u64,
    /// The feed lists what was published longer ago than this, so that it misses nothing: more than `request_ms` by
    /// as much as the clocks of writers and readers may differ.
    pub feed_behind_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes: "localhost:9042".to_owned(),
            keyspace: "deckle".to_owned(),
            datacenter: String::new(),
            replication_factor: 3,
            tablets: None,
            write_consistency: Consistency::LocalQuorum,
            read_consistency: Consistency::LocalQuorum,
            user: None,
            password: None,
            tls: false,
            ca: None,
            certificate: None,
            key: None,
            connect_ms: 5_000,
            request_ms: 10_000,
            retry_ms: 5_000,
            requests_in_flight: 256,
            search: Search::Memory,
            refresh_ms: 1_000,
            feed_behind_ms: 30_000,
        }
    }
}

/// Longest name of a keyspace, as both databases have it.
const KEYSPACE_LENGTH: usize = 48;

impl Config {
    /// Checks across the settings.
    ///
    /// # Errors
    /// When a read could miss an acknowledged write, or a setting is empty, illegal or without its other half.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Failure::defect(format!("store.scylla: {message}")));
        if self.nodes().next().is_none() {
            return refuse("`nodes` is empty; for example \"localhost:9042\"".to_owned());
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !self.keyspace.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.keyspace.chars().all(legal)
            || self.keyspace.len() > KEYSPACE_LENGTH
        {
            return refuse(format!(
                "`keyspace` ({:?}) may hold only a-z, 0-9 and `_`, begins with a letter, and is at most \
                 {KEYSPACE_LENGTH} characters long",
                self.keyspace
            ));
        }
        if self.user.is_some() != self.password.is_some() {
            return refuse("`user` and `password` come together".to_owned());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return refuse("`certificate` and `key` come together".to_owned());
        }
        if !self.tls && (self.ca.is_some() || self.certificate.is_some()) {
            return refuse("`ca` and `certificate` say nothing without `tls = true`".to_owned());
        }
        if [self.connect_ms, self.request_ms].contains(&0) || self.requests_in_flight == 0 {
            return refuse("`connect_ms`, `request_ms` and `requests_in_flight` must be above 0".to_owned());
        }
        if self.feed_behind_ms < self.request_ms {
            return refuse(
                "`feed_behind_ms` is below `request_ms`: the feed would miss what is written slowly".to_owned(),
            );
        }
        if self.replication_factor == 0 {
            return refuse("`replication_factor` must be above 0".to_owned());
        }
        if self.read_consistency == Consistency::EachQuorum {
            return refuse("`read_consistency` cannot be `each_quorum`, which only writes have".to_owned());
        }
        let alike = Replication { datacenters: [("each datacenter".to_owned(), self.replication_factor)].into() };
        alike
            .check(self.read_consistency, self.write_consistency, "")
            .or_else(|why| refuse(format!("a keyspace that {why}")))
    }

    /// The nodes to begin with.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.split(',').map(str::trim).filter(|node| !node.is_empty())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(super) fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_ms)
    }

    pub(super) fn feed_behind(&self) -> Duration {
        Duration::from_millis(self.feed_behind_ms)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    pub(super) fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms)
    }
}

/// What finds the vectors nearest to a question. Words are found in memory either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// An index in the memory of each process that searches: exact, and loaded with its first search.
    Memory,
    /// The database's own, which `deckle store index` makes: approximate, and dear to write to.
    Database,
}

/// A secret: it is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(replication_factor: u32, write: Consistency, read: Consistency) -> Config {
        Config { replication_factor, write_consistency: write, read_consistency: read, ..Config::default() }
    }

    #[test]
    fn a_read_that_could_miss_a_write_is_refused() {
        use Consistency::{All, LocalOne, LocalQuorum, One, Quorum};
        for (replicas, write, read) in
            [(3, LocalQuorum, LocalQuorum), (1, One, LocalOne), (3, All, One), (2, Quorum, One)]
        {
            let accepted = with(replicas, write, read).check();
            assert_eq!(accepted.is_ok(), replicas != 2 || write == Quorum, "{replicas} {write} {read}: {accepted:?}");
        }
        for (replicas, write, read) in
            [(3, LocalQuorum, One), (3, One, LocalQuorum), (2, One, One), (5, Quorum, LocalOne)]
        {
            let refused = with(replicas, write, read).check().unwrap_err().to_string();
            assert!(refused.contains("could miss"), "{refused}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let sane = Config::default;
        for (config, named) in [
            (Config { nodes: " , ".into(), ..sane() }, "`nodes`"),
            (Config { keyspace: "Deckle".into(), ..sane() }, "`keyspace`"),
            (Config { keyspace: "a; DROP".into(), ..sane() }, "`keyspace`"),
            (Config { user: Some("deckle".into()), ..sane() }, "`password`"),
            (Config { tls: true, key: Some("key.pem".into()), ..sane() }, "`certificate`"),
            (Config { ca: Some("ca.pem".into()), ..sane() }, "`tls = true`"),
            (Config { request_ms: 0, ..sane() }, "`request_ms`"),
            (Config { read_consistency: Consistency::EachQuorum, ..sane() }, "`each_quorum`"),
        ] {
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        sane().check().unwrap();
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = Config { password: Some("hush".to_owned().into()), ..Config::default() };
        assert!(!format!("{config:?}").contains("hush"));
    }
}
