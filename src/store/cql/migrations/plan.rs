//! What is decided about a keyspace, without a server.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Config, Migration, Replication, file, statements};
use deckle_contract::error::{Failure, Result};

/// What a keyspace remembers of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// Its name then.
    pub name: String,
    /// Of its statements then.
    pub sha256: String,
    /// RFC 3339 in JSON.
    pub applied_at: jiff::Timestamp,
    /// The version of the deckle that applied it.
    pub deckle: String,
}

/// A node that the driver knows of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Node {
    /// `host:port`.
    pub address: String,
    /// Empty where the server says none.
    pub datacenter: String,
    /// Whether it can be reached.
    pub is_up: bool,
}

/// What was found on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// All that the cluster has, by address.
    pub nodes: Vec<Node>,
    /// How the keyspace is replicated, or why that will not do; `None` where there is no such keyspace.
    pub replication: Option<std::result::Result<Replication, String>>,
    /// What was applied, in order.
    pub applied: Vec<Applied>,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The keyspace, or the file of a migration.
    pub name: String,
    /// What is done about it.
    #[serde(flatten)]
    pub action: Action,
}

/// What is done about a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make the keyspace.
    Create {
        /// Its replication in CQL.
        replication: String,
    },
    /// Apply a migration.
    Apply {
        /// How many it has.
        statements: usize,
    },
    /// Nothing: the keyspace is as an operator made it, and sound.
    Keep {
        /// How the keyspace differs from what deckle would make, in one line for people.
        reason: String,
    },
    /// Nothing: deckle cannot repair it, and does not start on it.
    Refuse {
        /// Why deckle cannot work on the keyspace, in one line for people.
        reason: String,
    },
}

/// How a keyspace becomes what this deckle needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The keyspace first, then migrations in order.
    pub differences: Vec<Difference>,
}

impl Plan {
    /// Whether workers may start.
    pub fn is_in_order(&self) -> bool {
        self.differences.iter().all(|difference| matches!(difference.action, Action::Keep { .. }))
    }

    /// What deckle cannot mend, in one line.
    pub fn refused(&self) -> Option<String> {
        let refused = self.differences.iter().filter_map(|difference| match &difference.action {
            Action::Refuse { reason } => Some(format!("{} {reason}", difference.name)),
            _ => None,
        });
        Some(refused.collect::<Vec<_>>().join("; ")).filter(|reasons| !reasons.is_empty())
    }

    /// What `deckle store apply` would do, in one line.
    fn missing(&self) -> Option<String> {
        let missing = self.differences.iter().filter_map(|difference| match &difference.action {
            Action::Create { .. } => Some(format!("{} is not there", difference.name)),
            Action::Apply { .. } => Some(format!("{} is not applied", difference.name)),
            _ => None,
        });
        Some(missing.collect::<Vec<_>>().join(", ")).filter(|missing| !missing.is_empty())
    }

    /// Says whether workers may start.
    ///
    /// # Errors
    /// One line that names everything that is missing or wrong, and what to do.
    pub fn check(&self) -> Result<()> {
        if let Some(refused) = self.refused() {
            return Err(Failure::defect(format!("the store cannot be used: {refused}")));
        }
        if let Some(missing) = self.missing() {
            return Err(Failure::defect(format!("the store is not ready: {missing}; run `deckle store apply`")));
        }
        Ok(())
    }
}

/// Compares and decides.
pub fn plan(config: &Config, wanted: &[Migration], found: &Found) -> Plan {
    let name = format!("keyspace {}", config.keyspace);
    let about_keyspace = keyspace(config, found).map(|action| Difference { name, action });
    let applied = |number: u32| found.applied.iter().find(|applied| applied.number == number);
    let about_wanted = wanted.iter().filter_map(|migration| {
        let action = match applied(migration.number) {
            None => Action::Apply { statements: statements(migration.cql).len() },
            Some(applied) if applied.sha256 == migration.sha256() => return None,
            Some(applied) => Action::Refuse {
                reason: format!(
                    "is not what deckle {} applied on {}: what was applied never changes, a change is a later \
                     migration",
                    applied.deckle, applied.applied_at
                ),
            },
        };
        Some(Difference { name: migration.file(), action })
    });
    let is_known = |number: u32| wanted.iter().any(|migration| migration.number == number);
    let about_others = found.applied.iter().filter(|applied| !is_known(applied.number)).map(|applied| Difference {
        name: file(applied.number, &applied.name),
        action: Action::Refuse {
            reason: format!("was applied by deckle {}, which is newer: run that one", applied.deckle),
        },
    });
    Plan { differences: about_keyspace.into_iter().chain(about_wanted).chain(about_others).collect() }
}

/// What is to be done about the keyspace, if anything.
fn keyspace(config: &Config, found: &Found) -> Option<Action> {
    let replication = match &found.replication {
        Some(Ok(replication)) => replication,
        Some(Err(reason)) => return Some(Action::Refuse { reason: reason.clone() }),
        None => {
            return Some(match too_few(config, &found.nodes) {
                Some(reason) => Action::Refuse { reason },
                None => Action::Create { replication: replication_of(config) },
            });
        }
    };
    if let Err(reason) = replication.check(config.read_consistency, config.write_consistency, &config.datacenter) {
        return Some(Action::Refuse { reason });
    }
    let others = replication
        .datacenters
        .iter()
        .filter(|(name, _)| config.datacenter.is_empty() || **name == config.datacenter)
        .any(|(_, replicas)| *replicas != config.replication_factor);
    others.then(|| Action::Keep {
        reason: format!(
            "has {replication}, where `replication_factor` says {}; a change is the operator's, with a repair after it",
            config.replication_factor
        ),
    })
}

/// Whether the cluster has nodes in a datacenter ("" = any).
pub(super) fn is_known(datacenter: &str, nodes: &[Node]) -> bool {
    datacenter.is_empty() || nodes.iter().any(|node| node.datacenter == datacenter)
}

/// Why so many replicas cannot be made.
fn too_few(config: &Config, nodes: &[Node]) -> Option<String> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    nodes.iter().for_each(|node| *counts.entry(&node.datacenter).or_default() += 1);
    if !is_known(&config.datacenter, nodes) {
        let names = counts.into_keys().collect::<Vec<_>>().join(", ");
        return Some(format!("cannot be in datacenter {}: the cluster has {names}", config.datacenter));
    }
    let asked = |name: &str| config.datacenter.is_empty() || name == config.datacenter;
    let (name, count) = counts.into_iter().filter(|(name, _)| asked(name)).min_by_key(|(_, count)| *count)?;
    (count < config.replication_factor).then(|| {
        format!(
            "cannot have {} replicas in {name}, which has {}: set `store.scylla.replication_factor`, or add nodes",
            config.replication_factor,
            if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") },
        )
    })
}

/// The replication of a new keyspace in CQL.
fn replication_of(config: &Config) -> String {
    let place = match config.datacenter.as_str() {
        // The servers' word for "in every datacenter".
        "" => "replication_factor".to_owned(),
        name => name.replace('\'', "''"),
    };
    format!("{{'class': 'NetworkTopologyStrategy', '{place}': {}}}", config.replication_factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIRDS: Migration =
        Migration { number: 1, name: "birds", cql: "CREATE TABLE birds (name text PRIMARY KEY);", fill: None };

    fn nodes(datacenters: &[&str]) -> Vec<Node> {
        let node = |(number, datacenter): (usize, &&str)| Node {
            address: format!("10.0.0.{number}:9042"),
            datacenter: (*datacenter).to_owned(),
            is_up: true,
        };
        datacenters.iter().enumerate().map(node).collect()
    }

    fn applied(migration: &Migration) -> Applied {
        Applied {
            number: migration.number,
            name: migration.name.to_owned(),
            sha256: migration.sha256(),
            applied_at: jiff::Timestamp::UNIX_EPOCH,
            deckle: "0.1.0".to_owned(),
        }
    }

    fn there(replicas: u32) -> Found {
        let replication = Replication { datacenters: [("a".to_owned(), replicas)].into() };
        Found { nodes: nodes(&["a", "a", "a"]), replication: Some(Ok(replication)), applied: vec![applied(&BIRDS)] }
    }

    #[test]
    fn other_replicas_than_configured_are_kept_where_they_are_sound() {
        let config = Config::default();
        assert_eq!(plan(&config, &[BIRDS], &there(3)), Plan { differences: Vec::new() });
        let other = plan(&config, &[BIRDS], &there(5));
        assert!(matches!(other.differences[..], [Difference { action: Action::Keep { .. }, .. }]), "{other:?}");
        assert!(other.is_in_order());
        other.check().unwrap();
    }

    #[test]
    fn a_new_keyspace_needs_as_many_nodes_as_replicas_in_each_datacenter_it_is_in() {
        let decided = |datacenters: &[&str], datacenter: &str| {
            let config = Config { datacenter: datacenter.to_owned(), ..Config::default() };
            let nothing = Found { nodes: nodes(datacenters), replication: None, applied: Vec::new() };
            plan(&config, &[], &nothing).differences.remove(0).action
        };
        let refusal = |action| match action {
            Action::Refuse { reason } => reason,
            other => panic!("{other:?}"),
        };
        let everywhere = decided(&["a", "a", "a"], "");
        assert!(
            matches!(everywhere, Action::Create { replication } if replication.contains("'replication_factor': 3"))
        );
        let there = decided(&["a", "a", "a", "b"], "a");
        assert!(matches!(there, Action::Create { replication } if replication.contains("'a': 3")));
        assert!(refusal(decided(&["a", "a", "a", "b"], "")).contains("b, which has 1 node"));
        assert!(refusal(decided(&["a", "a", "a"], "b")).contains("the cluster has a"));
    }

    #[test]
    fn what_is_refused_comes_before_what_is_missing() {
        let changed = Migration { cql: "CREATE TABLE birds (name text PRIMARY KEY, age int);", ..BIRDS };
        let missing = Migration { number: 2, name: "places", ..BIRDS };
        let said = plan(&Config::default(), &[changed, missing], &there(3)).check().unwrap_err().to_string();
        assert!(said.contains("0001_birds") && !said.contains("apply`"), "{said}");
        let said = plan(&Config::default(), &[BIRDS, missing], &there(3)).check().unwrap_err().to_string();
        assert!(said.contains("0002_places") && said.contains("`deckle store apply`"), "{said}");
    }
}
