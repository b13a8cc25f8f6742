//! What becomes of topics on a real broker, each test under a prefix of its own.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use deckle::{
    contract::record::topics::TopicConfig,
    log::{
        Position,
        kafka::{
            Config,
            topics::{self, Action, Cluster, Difference, plan},
        },
    },
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use crate::support::servers;

const TIMEOUT: Duration = Duration::from_secs(30);

/// deckle's settings for a test alone on the broker.
fn config() -> Config {
    let prefix = format!("test-{}.", uuid::Uuid::now_v7().simple());
    Config { brokers: servers::shared_kafka(), prefix, ..Config::default() }
}

/// One work topic of deckle's, with so many partitions.
fn one(config: &Config, partitions: u32) -> Vec<TopicConfig> {
    let topic = topics::wanted(config).into_iter().find(|topic| topic.name.ends_with("pages.split")).unwrap();
    vec![TopicConfig { partitions, ..topic }]
}

/// Plans and applies; all of it must have been done.
async fn apply(cluster: &Cluster, wanted: &[TopicConfig]) -> Vec<Difference> {
    let plan = plan(wanted, &cluster.inspect(wanted).await.unwrap());
    let applied = cluster.apply(wanted, &plan).await.unwrap();
    assert!(applied.iter().all(|one| one.done), "{applied:#?}");
    applied.into_iter().map(|one| one.difference).collect()
}

async fn differences(cluster: &Cluster, wanted: &[TopicConfig]) -> Vec<Difference> {
    plan(wanted, &cluster.inspect(wanted).await.unwrap()).differences
}

/// An operator's tools.
struct Operator {
    client: ClientConfig,
}

impl Operator {
    fn new() -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", servers::shared_kafka());
        Self { client }
    }

    /// Gives a topic exactly these settings of its own; returns when the broker shows them.
    async fn set(&self, topic: &str, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client.create().unwrap();
        let alter = settings
            .iter()
            .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |alter, (name, value)| alter.set(name, value));
        admin.alter_configs(&[alter], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let settings: BTreeMap<_, _> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let deadline = Instant::now() + TIMEOUT;
        while self.own_settings(topic).await != settings {
            assert!(Instant::now() < deadline, "the broker does not show {settings:?}");
        }
    }

    /// The settings that were given to the topic itself.
    async fn own_settings(&self, topic: &str) -> BTreeMap<String, String> {
        let admin: AdminClient<DefaultClientContext> = self.client.create().unwrap();
        let asked = [ResourceSpecifier::Topic(topic)];
        let described = admin.describe_configs(&asked, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let own = described.entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        own.filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    /// Appends records to a partition in a transaction, which leaves a marker behind them.
    fn produce(&self, topic: &str, partition: i32, records: usize, commit: bool) {
        let mut client = self.client.clone();
        client.set("transactional.id", uuid::Uuid::now_v7().to_string());
        let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        for _ in 0..records {
            let record = BaseRecord::to(topic).partition(partition).key("key").payload("value");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
        let ended = if commit { producer.commit_transaction(TIMEOUT) } else { producer.abort_transaction(TIMEOUT) };
        ended.unwrap();
    }

    /// Commits how far a group is.
    fn commit(&self, group: &str, topic: &str, partition: i32, position: &Position) {
        let mut client = self.client.clone();
        let consumer: BaseConsumer = client.set("group.id", group).create().unwrap();
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(topic, partition, Offset::Offset(position.next)).unwrap();
        positions.find_partition(topic, partition).unwrap().set_metadata(position.encode());
        consumer.commit(&positions, CommitMode::Sync).unwrap();
    }
}

/// deckle in a home of its own, on the broker.
fn deckle(home: &tempfile::TempDir, config: &Config, arguments: &[&str]) -> (Option<i32>, String, String) {
    let settings = format!(
        "log.provider = \"kafka\"\nlog.kafka.brokers = \"{}\"\nlog.kafka.prefix = \"{}\"\n",
        config.brokers, config.prefix
    );
    std::fs::write(home.path().join("deckle.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
    command.args(arguments).env("DECKLE_HOME", home.path());
    let output = command.current_dir(home.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn from_nothing_all_topics_are_made_and_the_second_plan_is_empty() {
    let (home, config) = (tempfile::tempdir().unwrap(), config());
    let all = topics::wanted(&config).len();
    let (code, _, said) = deckle(&home, &config, &["topics", "check"]);
    assert!(code == Some(2) && said.lines().count() == 1 && said.contains("deckle topics apply"), "{said}");

    let (code, told, _) = deckle(&home, &config, &["topics", "plan", "--json"]);
    let planned: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, planned["differences"].as_array().unwrap().len()), (Some(1), all), "{told}");
    assert_eq!(planned["differences"][0]["action"], "create");
    let (code, told, _) = deckle(&home, &config, &["topics", "apply", "--dry-run"]);
    assert!(code == Some(1) && told.contains(&format!("would make {all} changes")), "{told}");

    let (code, told, said) = deckle(&home, &config, &["topics", "apply"]);
    assert!(
        code == Some(0) && told.contains("created") && told.contains(&format!("{all} changes made")),
        "{told}{said}"
    );
    for (arguments, words) in
        [("plan", "as deckle wants them"), ("apply", "as deckle wants them already"), ("check", "workers may start")]
    {
        let (code, told, said) = deckle(&home, &config, &["topics", arguments]);
        assert!(code == Some(0) && told.contains(words) && said.is_empty(), "{arguments:?}: {told}{said}");
    }
}

#[tokio::test]
async fn two_that_apply_at_once_both_succeed() {
    let config = config();
    let (wanted, cluster) = (topics::wanted(&config), Cluster::connect(&config).unwrap());
    let other = Cluster::connect(&config).unwrap();
    tokio::join!(apply(&cluster, &wanted), apply(&other, &wanted));
    assert_eq!(differences(&cluster, &wanted).await, []);
}

#[tokio::test]
async fn a_setting_is_mended_and_those_deckle_does_not_know_survive() {
    let (config, operator) = (config(), Operator::new());
    let (wanted, cluster) = (one(&config, 1), Cluster::connect(&config).unwrap());
    apply(&cluster, &wanted).await;
    let name = wanted[0].name.as_str();
    let foreign = [("segment.ms", "3600000"), ("compression.type", "zstd")];
    let hers: Vec<_> =
        foreign.into_iter().chain([("retention.ms", "3600000"), ("cleanup.policy", "compact")]).collect();
    operator.set(name, &hers).await;

    let mended = apply(&cluster, &wanted).await;
    let settings: Vec<_> = mended.iter().map(|difference| difference.setting().unwrap()).collect();
    for setting in ["cleanup.policy", "retention.ms", "message.timestamp.type"] {
        assert!(settings.contains(&setting), "{mended:#?}");
    }
    assert_eq!(differences(&cluster, &wanted).await.iter().filter(|one| one.is_applied()).count(), 0);
    let own = operator.own_settings(name).await;
    for (name, value) in foreign.into_iter().chain([("retention.ms", "-1"), ("cleanup.policy", "delete")]) {
        assert_eq!(own.get(name).map(String::as_str), Some(value), "{name} in {own:?}");
    }
}

#[tokio::test]
async fn a_value_that_the_broker_refuses_is_told_and_nothing_is_altered() {
    let config = config();
    let (wanted, cluster) = (one(&config, 1), Cluster::connect(&config).unwrap());
    apply(&cluster, &wanted).await;
    let absurd = vec![TopicConfig { max_message_bytes: u32::MAX, ..wanted[0].clone() }];
    let plan = plan(&absurd, &cluster.inspect(&absurd).await.unwrap());
    let applied = cluster.apply(&absurd, &plan).await.unwrap();
    let said = applied[0].error.as_deref().unwrap();
    assert!(applied.len() == 1 && !applied[0].done && said.contains("max.message.bytes"), "{applied:?}");
    assert_eq!(differences(&cluster, &wanted).await, []);
}

#[tokio::test]
async fn partitions_are_added_only_when_every_record_is_complete() {
    let (config, operator) = (config(), Operator::new());
    let (few, more) = (one(&config, 2), one(&config, 5));
    let (name, group) = (few[0].name.as_str(), config.name("ocr"));
    let cluster = Cluster::connect(&config).unwrap();
    apply(&cluster, &few).await;
    // Offsets 0 to 2, a marker at 3; an aborted record leaves offsets that nobody completes.
    operator.produce(name, 1, 3, true);
    operator.produce(name, 0, 1, false);

    let refused = |differences: &[Difference]| matches!(differences, [Difference { action: Action::Refuse { reason, .. }, .. }] if reason.contains(&group));
    assert!(refused(&differences(&cluster, &more).await), "the group has not begun");
    operator.commit(&group, name, 1, &Position { next: 0, done: vec![1..=2] });
    assert!(refused(&differences(&cluster, &more).await), "the first record is open");
    operator.commit(&group, name, 1, &Position::at(2));
    assert!(refused(&differences(&cluster, &more).await), "the last record is open");

    operator.commit(&group, name, 1, &Position::at(3));
    assert_eq!(apply(&cluster, &more).await.len(), 1, "through: only markers and aborted records lie above");
    assert_eq!(differences(&cluster, &more).await, []);
}

#[tokio::test]
async fn a_record_that_comes_after_the_plan_stops_the_growth() {
    let (config, operator) = (config(), Operator::new());
    let (few, more) = (one(&config, 1), one(&config, 2));
    let cluster = Cluster::connect(&config).unwrap();
    apply(&cluster, &few).await;
    let early = plan(&more, &cluster.inspect(&more).await.unwrap());
    operator.produce(&few[0].name, 0, 1, true);
    let applied = cluster.apply(&more, &early).await.unwrap();
    let said = applied[0].error.as_deref().unwrap();
    assert!(!applied[0].done && said.contains(&config.name("ocr")), "{applied:?}");
    assert_eq!(cluster.inspect(&few).await.unwrap().topics[&few[0].name].partitions, 1);
}

#[tokio::test]
async fn a_topic_with_the_producers_time_fails_the_start_until_it_is_mended() {
    let (config, operator) = (config(), Operator::new());
    let (wanted, cluster) = (topics::wanted(&config), Cluster::connect(&config).unwrap());
    apply(&cluster, &wanted).await;
    let name = config.name("documents.uploaded");
    operator.set(&name, &[("message.timestamp.type", "CreateTime"), ("retention.ms", "-1")]).await;
    let said = topics::check(&config).await.unwrap_err().to_string();
    for part in [name.as_str(), "message.timestamp.type", "CreateTime", "deckle topics apply"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    apply(&cluster, &wanted).await;
    topics::check(&config).await.unwrap();
}

#[test]
fn records_are_read_from_the_broker_under_deckles_own_names() {
    let (home, config) = (tempfile::tempdir().unwrap(), config());
    assert_eq!(deckle(&home, &config, &["topics", "apply"]).0, Some(0));
    std::fs::write(home.path().join("a.txt"), "The ferry leaves at nine.").unwrap();
    let (code, _, said) = deckle(&home, &config, &["ingest", "a.txt"]);
    assert_eq!(code, Some(0), "{said}");
    // As another producer might; partition 0 of the topic, whatever the key.
    Operator::new().produce(&config.name("documents.uploaded"), 0, 1, true);

    let (code, told, said) = deckle(&home, &config, &["topics", "read", "documents.uploaded", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let records: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (readable, foreign): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.get("error").is_none());
    assert_eq!((readable.len(), foreign.len()), (1, 1), "{told}");
    assert_eq!(readable[0]["topic"], "documents.uploaded");
    assert_eq!(readable[0]["value"]["source"]["filename"], "a.txt");
    assert_eq!((&foreign[0]["size_bytes"], &foreign[0]["key"]), (&5.into(), &"key".into()));
}

#[test]
fn no_broker_is_one_line() {
    let home = tempfile::tempdir().unwrap();
    let nobody = Config { brokers: "127.0.0.1:1".to_owned(), ..Config::default() };
    let (code, _, said) = deckle(&home, &nobody, &["topics", "plan"]);
    assert!(code == Some(2) && said.lines().count() == 1 && said.contains("127.0.0.1:1"), "{said}");
}
