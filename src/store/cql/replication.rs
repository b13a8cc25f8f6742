//! Where the copies of a keyspace lie, and whether a read is certain to meet the last write.
//!
//! The law: a write is acknowledged by W copies and a read asks R of them; they share one only where R + W is more than
//! there are copies. Everything that deckle reads back from the store (pages joined, headers followed) rests on that.

use std::collections::{BTreeMap, HashMap};

use scylla::statement::Consistency;
use serde::Serialize;

/// Copies of each row, by datacenter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replication {
    /// Copies in each datacenter.
    pub datacenters: BTreeMap<String, u32>,
}

impl Replication {
    /// Reads what the server keeps in `system_schema.keyspaces`.
    ///
    /// # Errors
    /// When the copies are not placed by datacenter.
    pub(super) fn parse(replication: &HashMap<String, String>) -> Result<Self, String> {
        let class = replication.get("class").map_or("", String::as_str);
        // Cassandra writes the class in full, ScyllaDB does too, and either may stop doing so.
        if class.rsplit('.').next() != Some("NetworkTopologyStrategy") {
            return Err(format!("is replicated by {class}; deckle needs NetworkTopologyStrategy"));
        }
        let datacenters = replication.iter().filter(|(name, _)| *name != "class").map(|(name, factor)| {
            let copies = factor.parse().map_err(|_| format!("has {factor:?} copies in {name}; deckle needs a number"));
            copies.map(|copies| (name.clone(), copies))
        });
        Ok(Self { datacenters: datacenters.collect::<Result<_, _>>()? })
    }

    /// Looks whether a read is certain to meet the last write, for a client in `datacenter` ("" where there is one).
    ///
    /// # Errors
    /// Why it is not, and what to set.
    pub(super) fn check(&self, reads: Consistency, writes: Consistency, datacenter: &str) -> Result<(), String> {
        let all: u32 = self.datacenters.values().sum();
        let (named, copies, read, written) = if is_local(reads) || is_local(writes) {
            let (name, local) = self.local(datacenter)?;
            let elsewhere = all - local;
            (format!(" in {name}"), local, Self::met(reads, local, elsewhere), Self::met(writes, local, elsewhere))
        } else {
            (String::new(), all, Self::met(reads, all, 0), Self::met(writes, all, 0))
        };
        if read + written > copies {
            return Ok(());
        }
        Err(format!(
            "has {}{named}, of which a write at `write_consistency` meets {written} and a read at `read_consistency` \
             {read}: a read could miss the last write; together they must be more than {copies}, as with local_quorum \
             for both",
            if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") },
        ))
    }

    /// The datacenter of the client, with its copies.
    fn local(&self, datacenter: &str) -> Result<(&str, u32), String> {
        let names = || self.datacenters.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = match datacenter {
            "" if self.datacenters.len() == 1 => self.datacenters.first_key_value(),
            "" => return Err(format!("has copies in {}: say in `datacenter` which is near", names())),
            name => self.datacenters.get_key_value(name),
        };
        let (name, copies) = found
            .ok_or_else(|| format!("has no copies in {datacenter}, which `datacenter` names, but in {}", names()))?;
        Ok((name, *copies))
    }

    /// The copies among `local` that a request is sure to meet, where there are so many `elsewhere`.
    fn met(consistency: Consistency, local: u32, elsewhere: u32) -> u32 {
        let all = local + elsewhere;
        let anywhere = match consistency {
            Consistency::LocalQuorum | Consistency::EachQuorum => return local / 2 + 1,
            Consistency::LocalOne => return 1,
            Consistency::One => 1,
            Consistency::Two => 2,
            Consistency::Three => 3,
            Consistency::Quorum => all / 2 + 1,
            Consistency::All => all,
            // Any is met by a hint, and the serial ones are of no plain request.
            Consistency::Any | Consistency::Serial | Consistency::LocalSerial => 0,
        };
        anywhere.min(all).saturating_sub(elsewhere)
    }
}

fn is_local(consistency: Consistency) -> bool {
    matches!(consistency, Consistency::LocalOne | Consistency::LocalQuorum | Consistency::EachQuorum)
}

impl std::fmt::Display for Replication {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = self.datacenters.iter().map(|(name, copies)| match copies {
            1 => format!("1 copy in {name}"),
            copies => format!("{copies} copies in {name}"),
        });
        out.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use Consistency::{All, LocalOne, LocalQuorum, One, Quorum, Two};

    use super::*;

    fn of(datacenters: &[(&str, u32)]) -> Replication {
        Replication { datacenters: datacenters.iter().map(|(name, copies)| ((*name).to_owned(), *copies)).collect() }
    }

    #[test]
    fn a_read_that_could_miss_a_write_is_refused() {
        let three = of(&[("a", 3)]);
        for (reads, writes, is_sound) in [
            (LocalQuorum, LocalQuorum, true),
            (Quorum, LocalQuorum, true),
            (LocalOne, All, true),
            (Two, Two, true),
            (One, LocalQuorum, false),
            (LocalOne, LocalOne, false),
        ] {
            assert_eq!(three.check(reads, writes, "").is_ok(), is_sound, "{reads} {writes}");
        }
        let said = three.check(One, One, "").unwrap_err();
        assert!(said.contains("3 copies") && said.contains("more than 3"), "{said}");
        assert!(of(&[("a", 1)]).check(One, One, "").is_ok());
    }

    #[test]
    fn with_two_datacenters_only_copies_that_are_sure_to_be_met_count() {
        let two = of(&[("a", 3), ("b", 3)]);
        assert!(two.check(LocalQuorum, LocalQuorum, "").unwrap_err().contains("`datacenter`"));
        assert!(two.check(LocalQuorum, LocalQuorum, "c").unwrap_err().contains("a, b"));
        assert!(two.check(LocalQuorum, LocalQuorum, "a").is_ok());
        assert!(two.check(Quorum, Quorum, "").is_ok());
        // Of the four that a quorum of all wrote, three may lie in the other datacenter.
        assert!(two.check(LocalQuorum, Quorum, "a").is_err());
        assert!(two.check(LocalOne, All, "a").is_ok());
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
        assert_eq!(of(&[("a", 3), ("b", 1)]).to_string(), "3 copies in a, 1 copy in b");
    }
}
