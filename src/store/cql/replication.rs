//! Where the replicas of a keyspace lie, and whether a read is certain to meet the last write.
//!
//! The law: a write is acknowledged by W replicas and a read asks R of them; they share one only where R + W is more
//! than there are replicas. Everything that deckle reads back from the store (pages joined, headers followed) rests on
//! that.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::consistency::Consistency;

/// How many replicas each row has, by datacenter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replication {
    /// Replicas of each row, by the name of the datacenter.
    pub datacenters: BTreeMap<String, u32>,
}

impl Replication {
    /// Reads what the server keeps in `system_schema.keyspaces`.
    ///
    /// # Errors
    /// When the replicas are not placed by datacenter.
    pub(super) fn parse(replication: &HashMap<String, String>) -> Result<Self, String> {
        let class = replication.get("class").map_or("", String::as_str);
        // Cassandra writes the class in full, ScyllaDB does too, and either may stop doing so.
        if class.rsplit('.').next() != Some("NetworkTopologyStrategy") {
            return Err(format!("is replicated by {class}; deckle needs NetworkTopologyStrategy"));
        }
        let datacenters = replication.iter().filter(|(name, _)| *name != "class").map(|(name, factor)| {
            let replicas =
                factor.parse().map_err(|_| format!("has {factor:?} replicas in {name}; deckle needs a number"));
            replicas.map(|replicas| (name.clone(), replicas))
        });
        Ok(Self { datacenters: datacenters.collect::<Result<_, _>>()? })
    }

    /// Looks whether a read is certain to meet the last write, where local requests go to the replicas in `datacenter`
    /// (empty: there is one datacenter).
    ///
    /// # Errors
    /// Why it is not, and what to set.
    pub(super) fn check(&self, reads: Consistency, writes: Consistency, datacenter: &str) -> Result<(), String> {
        let all: u32 = self.datacenters.values().sum();
        let (place, replicas) = match reads.is_local() || writes.is_local() {
            true => self.local(datacenter).map(|(name, replicas)| (format!(" in {name}"), replicas))?,
            false => (String::new(), all),
        };
        let (read, written) = (met(reads, replicas, all - replicas), met(writes, replicas, all - replicas));
        if read + written > replicas {
            return Ok(());
        }
        let replicas = match replicas {
            1 => "1 replica".to_owned(),
            replicas => format!("{replicas} replicas"),
        };
        Err(format!(
            "has {replicas}{place}, of which a write at `write_consistency` ({writes}) reaches {written} and a read at \
             `read_consistency` ({reads}) {read}: it could miss the last write; local_quorum for both is certain"
        ))
    }

    /// The datacenter that is near, with its replicas.
    fn local(&self, datacenter: &str) -> Result<(&str, u32), String> {
        let names = || self.datacenters.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = match datacenter {
            "" if self.datacenters.len() == 1 => self.datacenters.first_key_value(),
            "" => return Err(format!("has replicas in {}: say in `datacenter` which is asked", names())),
            name => self.datacenters.get_key_value(name),
        };
        let (name, replicas) = found
            .ok_or_else(|| format!("has no replicas in {datacenter}, which `datacenter` names, but in {}", names()))?;
        Ok((name, *replicas))
    }
}

/// The replicas among `near` that a request is certain to reach, where there are so many `elsewhere`.
fn met(consistency: Consistency, near: u32, elsewhere: u32) -> u32 {
    let all = near + elsewhere;
    let anywhere = match consistency {
        Consistency::LocalOne => return near.min(1),
        Consistency::LocalQuorum | Consistency::EachQuorum => return near / 2 + 1,
        Consistency::One => 1,
        Consistency::Quorum => all / 2 + 1,
        Consistency::All => all,
    };
    anywhere.saturating_sub(elsewhere)
}

impl std::fmt::Display for Replication {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = self.datacenters.iter().map(|(name, replicas)| match replicas {
            1 => format!("1 replica in {name}"),
            replicas => format!("{replicas} replicas in {name}"),
        });
        out.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use Consistency::{All, EachQuorum, LocalOne, LocalQuorum, One, Quorum};

    use super::*;

    fn of(datacenters: &[(&str, u32)]) -> Replication {
        Replication {
            datacenters: datacenters.iter().map(|(name, replicas)| ((*name).to_owned(), *replicas)).collect(),
        }
    }

    #[test]
    fn a_read_that_could_miss_a_write_is_refused() {
        let three = of(&[("a", 3)]);
        for (reads, writes, is_certain) in [
            (LocalQuorum, LocalQuorum, true),
            (Quorum, LocalQuorum, true),
            (LocalOne, All, true),
            (One, LocalQuorum, false),
            (LocalOne, LocalOne, false),
        ] {
            assert_eq!(three.check(reads, writes, "").is_ok(), is_certain, "{reads} {writes}");
        }
        let said = three.check(One, One, "").unwrap_err();
        assert!(said.contains("3 replicas") && said.contains("local_quorum"), "{said}");
        assert!(of(&[("a", 1)]).check(One, One, "").is_ok());
    }

    #[test]
    fn with_two_datacenters_only_replicas_that_are_certain_to_be_reached_count() {
        let two = of(&[("a", 3), ("b", 3)]);
        let check = |reads, writes, datacenter| two.check(reads, writes, datacenter);
        assert!(check(LocalQuorum, LocalQuorum, "").unwrap_err().contains("`datacenter`"));
        assert!(check(LocalQuorum, LocalQuorum, "c").unwrap_err().contains("a, b"));
        assert!(check(LocalQuorum, LocalQuorum, "a").is_ok());
        assert!(check(LocalQuorum, EachQuorum, "b").is_ok());
        assert!(check(Quorum, Quorum, "").is_ok());
        // Of the four that a quorum of all wrote, three may lie in the other datacenter.
        assert!(check(LocalQuorum, Quorum, "a").is_err());
        assert!(check(LocalOne, All, "a").is_ok());
    }

    #[test]
    fn what_the_server_keeps_is_read() {
        let kept = |pairs: &[(&str, &str)]| {
            Replication::parse(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let class = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");
        assert_eq!(kept(&[class, ("a", "3"), ("b", "2")]).unwrap(), of(&[("a", 3), ("b", 2)]));
        assert!(kept(&[class, ("a", "3/1")]).unwrap_err().contains("3/1"));
        let simple = [("class", "org.apache.cassandra.locator.SimpleStrategy"), ("replication_factor", "3")];
        assert!(kept(&simple).unwrap_err().contains("NetworkTopologyStrategy"));
        assert_eq!(of(&[("a", 3), ("b", 1)]).to_string(), "3 replicas in a, 1 replica in b");
    }
}
