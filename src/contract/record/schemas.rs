//! The schemas of `schemas/`, compiled in: what this build writes, and what was released before.
//!
//! The law: every schema that was ever released stays readable.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_avro_fast::Schema;

use super::framing::Fingerprint;

/// Releases whose schemas this build reads besides its own, oldest first; the folders of `schemas/released`.
pub const RELEASED: &[&str] = &["0.1.0"];

/// One topic's schemas as text: the topic, the current one, and the released ones with their releases.
type Sources = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

macro_rules! sources {
    ($($topic:literal: [$($release:literal),*]),+ $(,)?) => {
        &[$((
            $topic,
            include_str!(concat!("../../../schemas/", $topic, ".avsc")),
            &[$(($release, include_str!(concat!("../../../schemas/released/", $release, "/", $topic, ".avsc")))),*],
        )),+]
    };
}

const SOURCES: &[Sources] = with_every_topic!(sources);

/// One topic's schemas, parsed.
pub(super) struct Contract {
    /// What we write.
    pub(super) current: Schema,
    /// What was released before, by fingerprint.
    pub(super) released: BTreeMap<Fingerprint, Schema>,
}

#[expect(clippy::expect_used, reason = "compiled in, and a test encodes with each")]
static CONTRACTS: LazyLock<BTreeMap<&'static str, Contract>> = LazyLock::new(|| {
    let parse = |text: &str| {
        text.parse::<Schema>().expect("compiled-in schemas parse: tests/suite/contract.rs encodes with each")
    };
    SOURCES
        .iter()
        .map(|(topic, current, released)| {
            let released =
                released.iter().map(|(_, text)| parse(text)).map(|schema| (*schema.rabin_fingerprint(), schema));
            (*topic, Contract { current: parse(current), released: released.collect() })
        })
        .collect()
});

/// The schemas of a topic; `None` for one that is not ours.
pub(super) fn contract(topic: &str) -> Option<&'static Contract> {
    CONTRACTS.get(topic)
}

/// The schema we write a topic with, as JSON text; `None` for a topic that is not ours.
pub fn schema_json(topic: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(name, ..)| *name == topic).map(|(_, current, _)| *current)
}

/// The releases that had a topic, oldest first; none for a topic that is new or not ours.
pub fn releases(topic: &str) -> Vec<&'static str> {
    let released = SOURCES.iter().find(|(name, ..)| *name == topic).map_or(&[][..], |(_, _, released)| *released);
    released.iter().map(|(release, _)| *release).collect()
}

/// The fingerprint of the schema we write a topic with; `None` for a topic that is not ours.
pub fn fingerprint(topic: &str) -> Option<Fingerprint> {
    CONTRACTS.get(topic).map(|contract| *contract.current.rabin_fingerprint())
}

/// Whether this build has a topic's schema of its own, not one learnt from a registry.
pub(super) fn is_built_in(topic: &str, fingerprint: &Fingerprint) -> bool {
    CONTRACTS.get(topic).is_some_and(|contract| contract.built_in(fingerprint).is_some())
}

impl Contract {
    /// The schema of that fingerprint, if this build has it.
    pub(super) fn built_in(&self, fingerprint: &Fingerprint) -> Option<&Schema> {
        if self.current.rabin_fingerprint() == fingerprint {
            return Some(&self.current);
        }
        self.released.get(fingerprint)
    }
}
