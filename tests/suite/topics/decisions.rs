//! What is decided, without a broker.

use std::collections::{BTreeMap, BTreeSet};

use deckle::{
    contract::record::topics::{self, TopicConfig},
    log::kafka::topics::{Action, Difference, Found, FoundTopic, Plan, plan},
};
use proptest::prelude::*;

/// A work topic and one that leaves deckle.
const WORK: &str = "pages.split";
const RESULT: &str = "documents.published";

fn wanted(name: &str) -> TopicConfig {
    topics::get(name).unwrap().clone()
}

/// A topic exactly as deckle makes it on so many brokers.
fn made(topic: &TopicConfig, brokers: usize) -> FoundTopic {
    let plan = plan(std::slice::from_ref(topic), &Found { brokers, topics: BTreeMap::new() });
    let mut there = FoundTopic::default();
    plan.differences.iter().for_each(|difference| carry_out(&mut there, difference));
    there
}

/// What a broker does.
fn carry_out(there: &mut FoundTopic, difference: &Difference) {
    match &difference.action {
        Action::Create { partitions, replication, settings } => {
            let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            *there = FoundTopic { partitions: *partitions, replicas: *replication, settings, ..FoundTopic::default() };
        }
        Action::AddPartitions { to, .. } => there.partitions = *to,
        Action::Alter { setting, to, .. } => drop(there.settings.insert((*setting).to_owned(), to.clone())),
        Action::Refuse { .. } | Action::Keep { .. } => {}
    }
}

/// The plan for one topic that is as deckle makes it but for a change.
fn planned(name: &str, change: impl FnOnce(&mut FoundTopic)) -> Plan {
    let topic = wanted(name);
    let mut there = made(&topic, 3);
    change(&mut there);
    let found = Found { brokers: 3, topics: BTreeMap::from([(topic.name.clone(), there)]) };
    plan(&[topic], &found)
}

fn with(setting: &str, value: &str) -> impl FnOnce(&mut FoundTopic) {
    move |there| drop(there.settings.insert(setting.to_owned(), value.to_owned()))
}

/// The only difference.
fn only(plan: &Plan) -> &Difference {
    assert_eq!(plan.differences.len(), 1, "{plan:#?}");
    &plan.differences[0]
}

#[test]
fn every_topic_is_made_as_its_file_says_and_then_in_order() {
    let all = topics::all();
    let empty = plan(all, &Found { brokers: 3, topics: BTreeMap::new() });
    assert_eq!(empty.differences.len(), all.len());
    let Action::Create { partitions, replication, settings } = &empty.differences[0].action else { panic!() };
    assert_eq!((empty.differences[0].topic.as_str(), *partitions, *replication), ("documents.uploaded", 6, 3));
    let expected = [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "1048576"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.insync.replicas", "2"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-1"),
    ];
    assert_eq!(settings.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);

    let topics = all.iter().map(|topic| (topic.name.clone(), made(topic, 3))).collect();
    assert_eq!(plan(all, &Found { brokers: 3, topics }).differences, []);
}

#[test]
fn a_smaller_cluster_has_as_many_replicas_as_brokers() {
    let topic = wanted(WORK);
    for (brokers, replicas, in_sync) in [(1, 1, "1"), (2, 2, "2"), (3, 3, "2"), (9, 3, "2")] {
        let there = made(&topic, brokers);
        assert_eq!((there.replicas, there.settings["min.insync.replicas"].as_str()), (replicas, in_sync), "{brokers}");
        let topics = BTreeMap::from([(topic.name.clone(), there)]);
        assert!(plan(std::slice::from_ref(&topic), &Found { brokers, topics }).differences.is_empty());
    }
}

#[test]
fn partitions_are_added_when_every_group_is_through_and_refused_when_one_is_not() {
    let through = planned(WORK, |there| there.partitions = 4);
    assert_eq!(only(&through).action, Action::AddPartitions { from: 4, to: 6 });
    let behind = planned(WORK, |there| {
        there.partitions = 4;
        there.behind = BTreeSet::from(["ocr".to_owned()]);
    });
    let Action::Refuse { setting, reason, .. } = &only(&behind).action else { panic!("{behind:?}") };
    assert!(*setting == "partitions" && reason.contains("ocr"), "{reason}");
    assert!(!behind.is_in_order() && !through.is_in_order());
    // A backlog could never be worked off if it kept the workers from starting.
    assert_eq!(behind.check().unwrap().len(), 1);
}

#[test]
fn what_an_operator_made_larger_is_kept_and_in_order() {
    for (name, change) in [
        (WORK, Box::new(|there: &mut FoundTopic| there.partitions = 24) as Box<dyn FnOnce(&mut FoundTopic)>),
        (WORK, Box::new(|there| there.replicas = 5)),
        (WORK, Box::new(with("min.insync.replicas", "3"))),
        (WORK, Box::new(with("max.message.bytes", "8388608"))),
        (RESULT, Box::new(with("retention.ms", "31536000000"))),
        (RESULT, Box::new(with("retention.ms", "-1"))),
        (RESULT, Box::new(with("cleanup.policy", "compact"))),
    ] {
        let plan = planned(name, change);
        assert!(matches!(only(&plan).action, Action::Keep { .. }), "{plan:?}");
        assert!(plan.is_in_order());
        assert_eq!(plan.check().unwrap().len(), 1, "a start warns of it");
    }
}

#[test]
fn a_setting_that_breaks_a_law_is_altered_and_fails_a_start() {
    for (name, setting, found, to) in [
        (WORK, "retention.ms", "604800000", "-1"),
        (WORK, "retention.bytes", "1073741824", "-1"),
        (WORK, "cleanup.policy", "compact,delete", "delete"),
        (WORK, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (RESULT, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (WORK, "max.message.bytes", "65536", "1048576"),
        (WORK, "min.insync.replicas", "4", "2"),
    ] {
        let plan = planned(name, with(setting, found));
        let altered = Action::Alter { setting, from: Some(found.to_owned()), to: to.to_owned() };
        assert_eq!(only(&plan).action, altered);
        let said = plan.check().unwrap_err().to_string();
        for part in [name, setting, found, to, "deckle topics apply"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert_eq!(said.lines().count(), 1);
    }
}

#[test]
fn a_setting_that_harms_nothing_is_altered_and_only_warned_of() {
    for (name, setting, found, to) in
        [(RESULT, "retention.ms", "3600000", "2592000000"), (WORK, "min.insync.replicas", "1", "2")]
    {
        let plan = planned(name, with(setting, found));
        assert_eq!(only(&plan).action, Action::Alter { setting, from: Some(found.to_owned()), to: to.to_owned() });
        let warnings = plan.check().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(setting), "{warnings:?}");
    }
}

#[test]
fn replication_is_never_changed() {
    let plan = planned(WORK, |there| there.replicas = 1);
    let refused: Vec<_> = plan.differences.iter().filter(|difference| difference.is_refused()).collect();
    let Action::Refuse { setting, from, to, reason } = &refused[0].action else { panic!("{plan:?}") };
    assert_eq!((*setting, from.as_str(), to.as_str()), ("replication", "1", "3"));
    assert!(reason.contains("kafka-reassign-partitions"), "{reason}");
}

#[test]
fn missing_topics_are_named_together() {
    let said = plan(topics::all(), &Found { brokers: 1, topics: BTreeMap::new() }).check().unwrap_err().to_string();
    assert!(
        said.contains("documents.uploaded, documents.readmitted, pages.split, ") && said.contains(" do not exist"),
        "{said}"
    );
    assert!(said.contains("deckle topics apply") && said.lines().count() == 1, "{said}");
}

fn found_topics() -> impl Strategy<Value = FoundTopic> {
    let number = prop_oneof![Just("-1".to_owned()), (0i64..5_000_000_000).prop_map(|number| number.to_string())];
    let policy = prop::sample::select(vec!["delete", "compact", "compact,delete", ""]);
    let clock = prop::sample::select(vec!["CreateTime", "LogAppendTime"]);
    let settings = (number.clone(), number.clone(), number, policy, clock, 0u16..5).prop_map(
        |(retention, bytes, largest, policy, clock, in_sync)| {
            BTreeMap::from([
                ("retention.ms".to_owned(), retention),
                ("retention.bytes".to_owned(), bytes),
                ("max.message.bytes".to_owned(), largest),
                ("cleanup.policy".to_owned(), policy.to_owned()),
                ("message.timestamp.type".to_owned(), clock.to_owned()),
                ("min.insync.replicas".to_owned(), in_sync.to_string()),
                ("segment.ms".to_owned(), "3600000".to_owned()),
            ])
        },
    );
    (settings, 1u32..12, 1u16..5, any::<bool>()).prop_map(|(settings, partitions, replicas, is_behind)| {
        let behind = is_behind.then(|| "ocr".to_owned()).into_iter().collect();
        FoundTopic { partitions, replicas, settings, behind }
    })
}

/// A time or size of retention as it orders.
fn rank(text: &str) -> i64 {
    text.parse().map_or(i64::MIN, |number| if number == -1 { i64::MAX } else { number })
}

proptest! {
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do_and_takes_nothing_away(
        before in found_topics(),
        brokers in 1usize..5,
        name in prop::sample::select(vec![WORK, RESULT]),
    ) {
        let topic = wanted(name);
        let found = |there: &FoundTopic| Found { brokers, topics: BTreeMap::from([(topic.name.clone(), there.clone())]) };
        let first = plan(std::slice::from_ref(&topic), &found(&before));
        let mut after = before.clone();
        first.differences.iter().for_each(|difference| carry_out(&mut after, difference));

        let second = plan(std::slice::from_ref(&topic), &found(&after));
        prop_assert!(!second.differences.iter().any(Difference::is_applied), "{second:#?}");
        prop_assert!(second.check().is_ok(), "{second:#?}");
        let refused = |plan: &Plan| plan.differences.iter().filter(|one| one.is_refused()).cloned().collect::<Vec<_>>();
        prop_assert_eq!(refused(&first), refused(&second), "a refusal is not worked around");

        prop_assert!(after.partitions >= before.partitions);
        prop_assert!(before.behind.is_empty() || after.partitions == before.partitions);
        prop_assert_eq!(after.replicas, before.replicas);
        prop_assert_eq!(&after.settings["segment.ms"], &before.settings["segment.ms"]);
        for setting in ["retention.ms", "retention.bytes"] {
            prop_assert!(rank(&after.settings[setting]) >= rank(&before.settings[setting]), "{}", setting);
        }
        if !topic.is_work() {
            prop_assert_eq!(&after.settings["cleanup.policy"], &before.settings["cleanup.policy"]);
            prop_assert_eq!(&after.settings["retention.bytes"], &before.settings["retention.bytes"]);
        }
    }
}
