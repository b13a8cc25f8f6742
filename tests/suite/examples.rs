//! The examples for users, run as they are: `deploy/examples/python` against a real broker and a real registry.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use deckle::{
    contract::record::{
        Event, Lane, Published, PublishedChunk, PublishedVector, Status, Uploaded, document_id,
        wire::{self, Headers},
    },
    log::registry::{self, Registry},
};
use rdkafka::{
    ClientConfig, Message,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{Consumer, StreamConsumer},
    message::Headers as _,
    producer::{FutureProducer, FutureRecord, Producer},
};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncBufReadExt, process::Command};

use crate::support::{self, Home, Started, samples::Sample, servers};

const DEADLINE: Duration = Duration::from_secs(100);

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sample(name: &str) -> PathBuf {
    repository().join("tests/data/samples").join(name)
}

/// One of the examples, ready to be given arguments.
fn example(script: &str) -> Command {
    let home = std::env::var_os("DECKLE_HOME").map_or_else(|| repository().join(".deckle"), PathBuf::from);
    let python = home.join("venv-test/bin/python");
    assert!(python.is_file(), "{} is missing: run `make setup-test`", python.display());
    let mut command = Command::new(python);
    command.arg(repository().join("deploy/examples/python").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command.kill_on_drop(true);
    command
}

/// Runs a command that must end well; what it printed.
async fn printed(command: &mut Command) -> String {
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn assert_is(read: &Uploaded, path: &Path, uri: &str) {
    let bytes = std::fs::read(path).unwrap();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    assert_eq!(read.envelope.document_id, document_id("default", &sha256), "as the command line names it");
    assert_eq!((read.envelope.run, read.envelope.lane), (0, Lane::Interactive));
    assert!(!read.envelope.event_id.is_empty() && !read.envelope.upload_id.is_empty());
    let source = &read.source;
    assert_eq!((source.uri.as_str(), source.filename.as_str()), (uri, path.file_name().unwrap().to_str().unwrap()));
    assert_eq!((source.size_bytes, &source.sha256), (bytes.len() as i64, &sha256));
}

#[tokio::test]
async fn what_submit_writes_deckle_reads() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("record.bin");
    let path = sample("letter.png");
    printed(example("submit.py").arg(&path).arg("--out").arg(&out)).await;
    assert_is(&wire::decode(&std::fs::read(&out).unwrap()).unwrap(), &path, "inline:");

    let at = "s3://inbox/letter.png";
    printed(example("submit.py").arg(&path).args(["--at", at, "--bulk"]).arg("--out").arg(&out)).await;
    let read: Uploaded = wire::decode(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!((read.source.uri.as_str(), read.envelope.lane), (at, Lane::Bulk));
    assert_eq!(read.source.declared_media_type.as_deref(), Some("image/png"));
}

/// Deckle's topics under a prefix of their own, and a client on each side.
struct Topics {
    prefix: String,
    client: ClientConfig,
}

impl Topics {
    async fn new() -> Self {
        let prefix = format!("t{}.", uuid::Uuid::now_v7().simple());
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", servers::shared_kafka());
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let names = [Uploaded::TOPIC, Published::TOPIC, PublishedChunk::TOPIC, PublishedVector::TOPIC];
        let names = names.map(|name| format!("{prefix}{name}"));
        let topics = names.each_ref().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
        for made in admin.create_topics(&topics, &AdminOptions::new()).await.unwrap() {
            made.unwrap();
        }
        Self { prefix, client }
    }

    /// The first records of `documents.uploaded`: keys, headers and bytes.
    async fn uploads(&self, count: usize) -> Vec<(String, Headers, Bytes)> {
        let consumer: StreamConsumer =
            self.client.clone().set("group.id", &self.prefix).set("auto.offset.reset", "earliest").create().unwrap();
        consumer.subscribe(&[&format!("{}{}", self.prefix, Uploaded::TOPIC)]).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let message = tokio::time::timeout(DEADLINE, consumer.recv()).await.expect("a record comes").unwrap();
            let headers = message.headers().unwrap().iter();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let headers = headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
            let bytes = Bytes::copy_from_slice(message.payload().unwrap());
            found.push((text(message.key().unwrap()), Headers::parse(&headers, 0), bytes));
        }
        found
    }

    /// Puts events as a step of deckle does: in a transaction, which is committed or not.
    async fn publish(&self, registry: Option<&Registry>, events: &[&dyn Encoded], commit: bool) {
        let id = format!("{}{}", self.prefix, uuid::Uuid::now_v7());
        let producer: FutureProducer = self.client.clone().set("transactional.id", id).create().unwrap();
        let ready = producer.clone();
        tokio::task::spawn_blocking(move || ready.init_transactions(DEADLINE)).await.unwrap().unwrap();
        producer.begin_transaction().unwrap();
        for event in events {
            let (topic, key, bytes) = event.encoded();
            let bytes = registry.map_or(bytes.clone(), |registry| registry.frame(topic, bytes).unwrap());
            let topic = format!("{}{topic}", self.prefix);
            let record = FutureRecord::to(&topic).key(&key).payload(&bytes[..]);
            producer.send(record, DEADLINE).await.unwrap();
        }
        let end = move || {
            if commit { producer.commit_transaction(DEADLINE) } else { producer.abort_transaction(DEADLINE) }
        };
        tokio::task::spawn_blocking(end).await.unwrap().unwrap();
    }
}

/// An event of any type, ready to be sent.
trait Encoded: Sync {
    fn encoded(&self) -> (&'static str, String, Bytes);
}

impl<T: Event> Encoded for T {
    fn encoded(&self) -> (&'static str, String, Bytes) {
        (T::TOPIC, self.order_key(), wire::encode(self).unwrap())
    }
}

/// The end of a document with one chunk and its vector, of some version.
fn published(document_id: &str, version: i64) -> (Published, PublishedChunk, PublishedVector) {
    let mut end = Published { chunk_count: 1, status: Status::Published, reasons: Vec::new(), ..Published::full() };
    let mut chunk = PublishedChunk { chunk_no: 0, chunk_count: 1, ..PublishedChunk::full() };
    let mut vector = PublishedVector { chunk_no: 0, chunk_count: 1, ..PublishedVector::full() };
    for envelope in [&mut end.envelope, &mut chunk.envelope, &mut vector.envelope] {
        envelope.document_id = document_id.to_owned();
        envelope.version += version;
    }
    chunk.text = format!("{document_id} {version}");
    (end, chunk, vector)
}

/// Both examples on real topics, with a registry or without.
async fn round_trip(registry_url: Option<String>) {
    let topics = Topics::new().await;
    let config = registry::Config { url: registry_url.clone(), ..registry::Config::default() };
    let registry = Registry::connect(&config, &topics.prefix).await.unwrap();
    let with_arguments = |script: &str| {
        let mut command = example(script);
        command.args(["--brokers", &servers::shared_kafka(), "--prefix", &topics.prefix]);
        if let Some(url) = &registry_url {
            command.args(["--registry", url]);
        }
        command
    };

    let paths = [sample("notes.md"), sample("letter.png")];
    let told = printed(with_arguments("submit.py").args(&paths)).await;
    for (key, headers, bytes) in topics.uploads(paths.len()).await {
        assert_eq!(bytes[0] == 0, registry.is_some(), "framed for the registry, where there is one");
        let bytes = match &registry {
            Some(registry) => registry.unframe(Uploaded::TOPIC, bytes).await.unwrap(),
            None => bytes,
        };
        let read: Uploaded = wire::decode(&bytes).unwrap();
        let path = paths.iter().find(|path| path.ends_with(&read.source.filename)).unwrap();
        assert_is(&read, path, "inline:");
        assert_eq!(key, read.order_key());
        let of_headers = headers.envelope();
        assert_eq!((of_headers.document_key(), of_headers.event_id), (key, read.envelope.event_id));
        assert!(told.contains(&read.envelope.document_id) && told.contains(&read.source.filename), "{told}");
    }

    for (document, version, commit) in [("a", 9, false), ("a", 5, true), ("a", 1, true), ("b", 0, true)] {
        let (end, chunk, vector) = published(document, version);
        topics.publish(registry.as_ref(), &[&chunk, &vector, &end], commit).await;
    }
    let told = printed(with_arguments("follow.py").args(["--documents", "2"])).await;
    assert!(told.contains("'a 5'") && told.contains("'b 0'"), "{told}");
    assert!(!told.contains("'a 9'"), "an aborted step is never seen: {told}");
    assert!(!told.contains("'a 1'"), "an older version that comes late counts for nothing: {told}");
    for line in ["published ", "chunk ", "vector "] {
        assert_eq!(told.lines().filter(|it| it.starts_with(line)).count(), 2, "{told}");
    }
    assert!(told.contains("[0.600, 0.800, …]"), "{told}");
}

#[tokio::test]
async fn the_examples_work_without_a_registry() {
    round_trip(None).await;
}

#[tokio::test]
async fn the_examples_work_with_a_registry() {
    round_trip(Some(servers::shared_registry())).await;
}

/// The path that README tells of: a producer's event in, deckle on Kafka, documents, chunks and vectors out.
async fn through_deckle(registry_url: Option<String>) {
    let brokers = servers::shared_kafka();
    let prefix = format!("through-{}.", uuid::Uuid::now_v7().simple());
    let registry = registry_url.as_ref().map(|url| format!("[registry]\nurl = \"{url}\"\n")).unwrap_or_default();
    let home = Home::new();
    home.configure(&format!(
        "[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{brokers}\"\nprefix = \"{prefix}\"\n{registry}\
         [publish]\nchunks = true\nvectors = true\n"
    ));
    home.deckle(["topics", "apply"]).await.ended(0);
    let mut deckle = Started::new(home.command(["run", "--listen", ""]).stderr(std::process::Stdio::piped()));
    // It has registered its schemas by then; producers look them up.
    let mut said = deckle.stderr().lines();
    while !support::within("it works", said.next_line()).await.unwrap().expect("it runs").contains("working") {}
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });

    let place = |script: &str| {
        let mut command = example(script);
        command.args(["--brokers", &brokers, "--prefix", &prefix]);
        if let Some(url) = &registry_url {
            command.args(["--registry", url]);
        }
        command
    };
    let (text, markdown) = (sample("plain.txt"), sample("notes.md"));
    let submitted = printed(place("submit.py").args([&text, &markdown])).await;
    let followed = printed(place("follow.py").args(["--group", &format!("{prefix}follow"), "--documents", "2"])).await;
    for document in submitted.lines().map(|line| line.split(' ').next().unwrap()) {
        let lines =
            |kind: &str| followed.lines().filter(|line| line.starts_with(&format!("{kind} {document}"))).count();
        assert_eq!(lines("published"), 1, "{followed}");
        assert!(lines("chunk") > 0 && lines("chunk") == lines("vector"), "{followed}");
    }
    assert_eq!(submitted.lines().count(), 2, "{submitted}");

    deckle.signal(libc::SIGTERM);
    assert_eq!(deckle.wait().await.code(), Some(0), "it drains and leaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_submits_comes_out_of_deckle() {
    through_deckle(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_submits_comes_out_of_deckle_framed_for_the_registry() {
    through_deckle(Some(servers::shared_registry())).await;
}
