//! A real schema registry: what deckle leaves in it, what it refuses, and that records of other writers are read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use deckle::{
    contract::{
        error::{Failure, code},
        record::{DeadLetter, Event, PageRead, Published, Uploaded, schemas, topics, wire},
    },
    log::{
        Log,
        framed::Framed,
        registry::{Config, ConnectError, Registry},
        sqlite::{self, SqliteLog},
    },
    runtime::readiness,
};
use serde_avro_fast::ser::SerializerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{samples::Sample, servers};

const DEADLINE: Duration = Duration::from_secs(100);

/// A prefix, and with it subjects, of one test alone.
fn prefix() -> String {
    format!("t{}.", uuid::Uuid::now_v7().simple())
}

fn config() -> Config {
    Config { url: Some(servers::shared_registry()), ..Config::default() }
}

async fn connect(prefix: &str) -> Registry {
    Registry::connect(&config(), prefix).await.unwrap().unwrap()
}

async fn refusal(config: &Config, prefix: &str) -> String {
    match Registry::connect(config, prefix).await {
        Err(ConnectError::Refused(why)) if why.lines().count() == 1 => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Asks the registry as a producer's or an operator's tool does.
async fn ask(method: &str, path: &str, body: Option<Value>) -> Value {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", servers::shared_registry()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap().json().await.unwrap()
}

async fn register(subject: &str, schema: &Value) -> u32 {
    let body = json!({ "schema": schema.to_string() });
    let answer = ask("POST", &format!("/subjects/{subject}/versions"), Some(body)).await;
    answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}")).try_into().unwrap()
}

fn subject<T: Event>(prefix: &str) -> String {
    format!("{prefix}{}-value", T::TOPIC)
}

fn schema<T: Event>() -> Value {
    serde_json::from_str(schemas::schema_json(T::TOPIC).unwrap()).unwrap()
}

/// A record as a producer with a registry puts it.
fn framed(id: u32, schema: &Value, record: &Value) -> Bytes {
    let schema: serde_avro_fast::Schema = schema.to_string().parse().unwrap();
    let mut config = SerializerConfig::new(&schema);
    config.allow_slow_sequence_to_bytes();
    let datum = serde_avro_fast::to_datum_vec(record, &mut config).unwrap();
    [&[0][..], &id.to_be_bytes(), &datum].concat().into()
}

/// The same registry at an address of its own, which can stop answering.
struct Door {
    address: std::net::SocketAddr,
    open: Option<tokio::task::JoinHandle<()>>,
}

impl Door {
    async fn new() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self { address, open: None }
    }

    fn config(&self) -> Config {
        let url = servers::shared_registry().replacen(&behind(), &self.address.to_string(), 1);
        Config { url: Some(url), ..Config::default() }
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.open = Some(tokio::spawn(async move {
            // Connections end with the task.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut inside, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut outside = TcpStream::connect(behind()).await.unwrap();
                    // Either side may hang up.
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        }));
    }

    async fn close(&mut self) {
        let task = self.open.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}

/// `host:port` of the registry.
fn behind() -> String {
    let url = reqwest::Url::parse(&servers::shared_registry()).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

#[tokio::test]
async fn schemas_are_registered_once_and_found_again() {
    let prefix = prefix();
    let first = connect(&prefix).await;
    let again = connect(&prefix).await;
    let record = wire::encode(&Uploaded::full()).unwrap();
    let framed = first.frame(Uploaded::TOPIC, record.clone()).unwrap();
    assert_eq!(framed[0], 0);
    assert_eq!(again.frame(Uploaded::TOPIC, record).unwrap(), framed, "the same id");
    for topic in topics::all() {
        let subject = format!("{prefix}{}-value", topic.name);
        assert_eq!(ask("GET", &format!("/subjects/{subject}/versions"), None).await, json!([1]), "{subject}");
        let level = ask("GET", &format!("/config/{subject}"), None).await;
        assert_eq!(level["compatibilityLevel"], "FULL_TRANSITIVE", "{subject}");
    }
    let id = u32::from_be_bytes(framed[1..5].try_into().unwrap());
    let kept: Value =
        serde_json::from_str(ask("GET", &format!("/schemas/ids/{id}"), None).await["schema"].as_str().unwrap())
            .unwrap();
    assert_eq!(kept["name"], "Uploaded");
}

#[tokio::test]
async fn every_record_goes_out_with_an_id_and_comes_in_as_it_was() {
    async fn check<T: Sample>(registry: &Registry) {
        let record = wire::encode(&T::full()).unwrap();
        let framed = registry.frame(T::TOPIC, record.clone()).unwrap();
        assert_eq!((framed[0], &framed[5..]), (0, &record[10..]), "{}", T::TOPIC);
        assert_eq!(registry.unframe(T::TOPIC, framed).await.unwrap(), record, "{}", T::TOPIC);
        assert_eq!(registry.unframe(T::TOPIC, record.clone()).await.unwrap(), record, "written without a registry");
    }
    let registry = connect(&prefix()).await;
    check::<Uploaded>(&registry).await;
    check::<PageRead>(&registry).await;
    check::<Published>(&registry).await;
    check::<DeadLetter>(&registry).await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_the_reasons_given() {
    let prefix = prefix();
    let subject = subject::<PageRead>(&prefix);
    let mut other = schema::<PageRead>();
    other["fields"].as_array_mut().unwrap().push(json!({"name": "flavour", "type": "string"}));
    register(&subject, &other).await;
    ask("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": "FULL_TRANSITIVE"}))).await;
    let why = refusal(&config(), &prefix).await;
    assert!(why.contains(&subject) && why.contains("not compatible") && why.contains("flavour"), "{why}");
    let versions = ask("GET", &format!("/subjects/{subject}/versions"), None).await;
    assert_eq!(versions, json!([1]), "nothing was registered beside it");
}

#[tokio::test]
async fn a_subject_at_a_weaker_level_is_refused() {
    let prefix = prefix();
    let subject = subject::<Uploaded>(&prefix);
    register(&subject, &schema::<Uploaded>()).await;
    ask("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": "BACKWARD"}))).await;
    let why = refusal(&config(), &prefix).await;
    assert!(why.contains(&subject) && why.contains("BACKWARD") && why.contains("FULL_TRANSITIVE"), "{why}");
    let level = ask("GET", &format!("/config/{subject}"), None).await;
    assert_eq!(level["compatibilityLevel"], "BACKWARD", "an operator's choice is not overwritten");
}

#[tokio::test]
async fn without_leave_to_register_it_only_looks_up() {
    let prefix = prefix();
    let only_look_up = Config { register: false, ..config() };
    let subject = subject::<Uploaded>(&prefix);
    ask("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": "FULL_TRANSITIVE"}))).await;
    let why = refusal(&only_look_up, &prefix).await;
    assert!(why.contains(&subject) && why.contains("registry.register"), "{why}");
    let all = ask("GET", "/subjects", None).await;
    let ours = all.as_array().unwrap().iter().filter(|it| it.as_str().unwrap().starts_with(&prefix)).count();
    assert_eq!(ours, 0, "nothing was registered");
    connect(&prefix).await;
    Registry::connect(&only_look_up, &prefix).await.unwrap().unwrap();
}

#[tokio::test]
async fn records_of_older_and_newer_writers_are_read() {
    let prefix = prefix();
    let registry = connect(&prefix).await;
    let full = serde_json::to_value(Uploaded::full()).unwrap();

    // Newer, and from another language: fields more than ours, in another order, other documentation.
    let mut newer = schema::<Uploaded>();
    newer["doc"] = "Of another program.".into();
    let fields = newer["fields"].as_array_mut().unwrap();
    fields.reverse();
    let text = json!({"type": "string", "avro.java.string": "String"});
    fields.insert(0, json!({"name": "colour", "type": ["null", text], "default": null}));
    fields.push(json!({"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}));
    let newer_id = register(&subject::<Uploaded>(&prefix), &newer).await;
    let mut record = full.clone();
    record["colour"] = "blue".into();
    record["tags"] = json!(["a", "b"]);
    let sent = framed(newer_id, &newer, &record);
    let inside = registry.unframe(Uploaded::TOPIC, sent.clone()).await.unwrap();
    assert_eq!(wire::decode::<Uploaded>(&inside).unwrap(), Uploaded::full());
    assert_eq!(registry.frame(Uploaded::TOPIC, inside).unwrap(), sent, "a redrive sends what was sent");

    // Older: without what has a default.
    let mut older = schema::<Uploaded>();
    let options = older["fields"].as_array_mut().unwrap().iter_mut().find(|field| field["name"] == "options").unwrap();
    options["type"]["fields"].as_array_mut().unwrap().retain(|field| field["name"] == "languages");
    let older_id = register(&subject::<Uploaded>(&prefix), &older).await;
    let mut record = full;
    record["options"] = json!({"languages": ["de"]});
    let inside = registry.unframe(Uploaded::TOPIC, framed(older_id, &older, &record)).await.unwrap();
    let read: Uploaded = wire::decode(&inside).unwrap();
    assert_eq!(read.envelope, Uploaded::full().envelope);
    assert_eq!((read.options.languages, read.options.force), (vec!["de".to_owned()], false));
}

#[tokio::test]
async fn a_process_that_starts_later_reads_what_others_learnt() {
    let prefix = prefix();
    connect(&prefix).await;
    let mut newer = schema::<Published>();
    let added = json!({"name": "added_by_the_later_test", "type": ["null", "int"], "default": null});
    newer["fields"].as_array_mut().unwrap().push(added);
    let id = register(&subject::<Published>(&prefix), &newer).await;
    let later = connect(&prefix).await;
    // A dead letter holds the record as it was inside, and this process never met its id.
    let parsed: serde_avro_fast::Schema = newer.to_string().parse().unwrap();
    let record = framed(id, &newer, &serde_json::to_value(Published::full()).unwrap());
    let inside = Bytes::from([&[0xC3, 1][..], parsed.rabin_fingerprint(), &record[5..]].concat());
    assert_eq!(wire::decode::<Published>(&inside).unwrap(), Published::full());
    assert_eq!(later.frame(Published::TOPIC, inside).unwrap(), record);
}

#[tokio::test]
async fn a_record_whose_schema_cannot_be_had_keeps_its_bytes() {
    let prefix = prefix();
    let registry = connect(&prefix).await;
    let undecodable = |bytes: &Bytes| {
        let failure = wire::decode::<Uploaded>(bytes).unwrap_err();
        assert_eq!(failure.code(), code::RECORD_UNDECODABLE, "{failure}");
    };
    let other = json!({"type": "record", "name": "Order", "fields": [{"name": "total", "type": "int"}]});
    let text = json!({"type": "string"});
    let referring = json!({"type": "record", "name": "Uploaded", "namespace": "deckle", "fields": []});
    for (what, id) in [
        ("no such id", 4_000_000_000),
        ("another's record", register(&format!("{prefix}orders-value"), &other).await),
        ("no record", register(&format!("{prefix}texts-value"), &text).await),
        ("ours by name, but without our fields", register(&format!("{prefix}shell-value"), &referring).await),
    ] {
        let sent = Bytes::from([&[0][..], &u32::to_be_bytes(id), b"whatever"].concat());
        let inside = registry.unframe(Uploaded::TOPIC, sent.clone()).await.unwrap();
        if !what.starts_with("ours") {
            assert_eq!(inside, sent, "{what}");
            assert_eq!(registry.frame(Uploaded::TOPIC, inside.clone()).unwrap(), sent, "{what}: as it came");
        }
        undecodable(&inside);
    }
    for bytes in ["", "\0\0\0", "{\"json\": true}"] {
        let bytes = Bytes::from(bytes);
        assert_eq!(registry.unframe(Uploaded::TOPIC, bytes.clone()).await.unwrap(), bytes);
        assert_eq!(registry.frame(Uploaded::TOPIC, bytes.clone()).unwrap(), bytes);
        undecodable(&bytes);
    }
}

#[tokio::test]
async fn a_registry_that_is_away_makes_only_new_schemas_wait() {
    let prefix = prefix();
    let mut door = Door::new().await;
    match Registry::connect(&door.config(), &prefix).await {
        Err(ConnectError::Away(Failure::Unavailable { dependency, .. })) => assert_eq!(dependency, "registry"),
        other => panic!("{:?}", other.err()),
    }
    door.open().await;
    let registry = Registry::connect(&door.config(), &prefix).await.unwrap().unwrap();
    let mut added = schema::<PageRead>();
    let field = json!({"name": "added_by_the_away_test", "type": ["null", "int"], "default": null});
    added["fields"].as_array_mut().unwrap().push(field);
    let id = register(&subject::<PageRead>(&prefix), &added).await;
    let sent = framed(id, &added, &serde_json::to_value(PageRead::full()).unwrap());

    door.close().await;
    let own = wire::encode(&PageRead::full()).unwrap();
    let known = registry.frame(PageRead::TOPIC, own.clone()).unwrap();
    assert_eq!(registry.unframe(PageRead::TOPIC, known).await.unwrap(), own, "what is known needs no registry");
    match registry.unframe(PageRead::TOPIC, sent.clone()).await {
        Err(Failure::Unavailable { dependency, .. }) => assert_eq!(dependency, "registry"),
        other => panic!("{other:?}"),
    }

    door.open().await;
    let inside = registry.unframe(PageRead::TOPIC, sent.clone()).await.unwrap();
    assert_eq!(wire::decode::<PageRead>(&inside).unwrap(), PageRead::full());
    door.close().await;
    assert_eq!(registry.unframe(PageRead::TOPIC, sent).await.unwrap(), inside, "asked for once");
}

#[tokio::test]
async fn a_start_waits_for_the_registry_and_readiness_tells() {
    let (prefix, mut door) = (prefix(), Door::new().await);
    let config = door.config();
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.sqlite"), &[], sqlite::Config::default()).unwrap();
    let log = Framed::new(Arc::new(log), config, prefix);
    let start = tokio::spawn(async move { readiness::until_there(|| log.append(Vec::new())).await });
    let waits = async {
        while !readiness::away().contains_key("registry") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.expect("readiness tells of the registry");
    door.open().await;
    tokio::time::timeout(DEADLINE, start).await.unwrap().unwrap().unwrap();
    assert!(!readiness::away().contains_key("registry"), "and that it is there again");
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("ca.pem");
    let config = Config { url: Some("https://localhost:1".into()), ca: Some(missing.clone()), ..Config::default() };
    let why = refusal(&config, "").await;
    assert!(why.contains("`registry.ca`") && why.contains("ca.pem"), "{why}");
    std::fs::write(&missing, "no certificate").unwrap();
    let config = Config { ca: None, certificate: Some(missing.clone()), key: Some(missing), ..config };
    let why = refusal(&config, "").await;
    assert!(why.contains("`registry.certificate`"), "{why}");
    assert!(Registry::connect(&Config::default(), "").await.unwrap().is_none(), "no address, no registry");
}
