//! Records are shown decoded, and nothing stops the reading. On the embedded log; the reading knows no other.

use std::{collections::BTreeMap, fs, process::Command};

use deckle::{
    app::App,
    config::Config,
    contract::record::{Envelope, Event, Lane, Options, Source, Uploaded, document_id, wire},
    log::{NewRecord, Topic},
};
use serde_json::Value;
use tempfile::TempDir;

const TOPIC: &str = "documents.uploaded";
const PASSWORD: &str = "open-sesame";

/// A home whose queue holds a document that is encrypted, one that is not, and a record that is none.
async fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("b.txt"), "The last one at midnight.").unwrap();
    let (code, _, said) = deckle(&home, &["ingest", "b.txt"]);
    assert_eq!(code, Some(0), "{said}");

    let id = document_id("acme", "00ff");
    let encrypted = Uploaded {
        envelope: Envelope::new("event".to_owned(), "acme", &id, Lane::Interactive),
        source: Source { filename: "a.pdf".to_owned(), ..Source::unknown() },
        options: Options { password: Some(PASSWORD.to_owned()), ..Options::default() },
        content: None,
    };
    let encrypted = NewRecord {
        topic: Topic::from(TOPIC),
        key: encrypted.order_key(),
        // Another producer's: its headers say nothing.
        headers: BTreeMap::new(),
        value: wire::encode(&encrypted).unwrap(),
    };
    let garbage = NewRecord {
        topic: Topic::from(TOPIC),
        key: "nobody".to_owned(),
        headers: BTreeMap::from([("document".to_owned(), "nobody".to_owned())]),
        value: format!("{{\"password\": \"{PASSWORD}\"}}").into_bytes().into(),
    };
    let app = App::open(Config { home: home.path().to_owned(), ..Config::default() }).unwrap();
    app.log.append(vec![encrypted, garbage]).await.unwrap();
    home
}

fn deckle(home: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
    command.args(arguments).env("DECKLE_HOME", home.path());
    let output = command.current_dir(home.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Each line is one record.
fn records(home: &TempDir, arguments: &[&str]) -> Vec<Value> {
    let (code, told, said) = deckle(home, &[&["topics", "read", TOPIC, "--json"], arguments].concat());
    assert!(code == Some(0) && !told.contains(PASSWORD), "{told}{said}");
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn records_come_decoded_and_what_is_none_says_why() {
    let home = home().await;
    let records = records(&home, &[]);
    assert_eq!(records.len(), 3);
    let (readable, garbage): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.get("error").is_none());
    let named = |name| readable.iter().find(|record| record["value"]["source"]["filename"] == name).unwrap();
    assert_eq!(named("a.pdf")["value"]["options"]["password"], "***");
    let b = named("b.txt");
    assert_eq!((&b["topic"], &b["headers"]["ce_type"]), (&TOPIC.into(), &TOPIC.into()));
    assert_eq!(b["headers"]["document"], b["value"]["envelope"]["document_id"]);
    assert!(b["appended_at"].as_str().unwrap().ends_with('Z') && b["offset"].is_i64() && b["partition"].is_i64());
    let garbage = garbage[0];
    assert!(garbage["error"].as_str().unwrap().contains("neither Avro single-object"), "{garbage}");
    assert_eq!((&garbage["size_bytes"], &garbage["key"]), (&27.into(), &"nobody".into()));
}

#[tokio::test]
async fn partition_document_and_limit_choose() {
    let home = home().await;
    let all = records(&home, &[]);
    let of_b = all.iter().find(|record| record["value"]["source"]["filename"] == "b.txt").unwrap();
    let id = of_b["value"]["envelope"]["document_id"].as_str().unwrap();
    assert_eq!(records(&home, &["--document", &id[..8]]), std::slice::from_ref(of_b));
    let of_a = all.iter().find(|record| record["value"]["source"]["filename"] == "a.pdf").unwrap();
    assert_eq!(records(&home, &["--document", &document_id("acme", "00ff")]), std::slice::from_ref(of_a));
    let partition = of_b["partition"].as_i64().unwrap();
    let there: Vec<_> = all.iter().filter(|record| record["partition"] == partition).cloned().collect();
    assert_eq!(records(&home, &["--partition", &partition.to_string()]), there);
    assert_eq!(records(&home, &["--limit", "2"]), all[..2]);
    assert_eq!(records(&home, &["--from", "end"]), [] as [Value; 0]);
}

#[tokio::test]
async fn a_table_shows_what_each_record_is_and_that_there_are_more() {
    let home = home().await;
    let (code, told, said) = deckle(&home, &["topics", "read", TOPIC]);
    assert!(code == Some(0) && !told.contains(PASSWORD), "{told}{said}");
    for part in ["offset", "a.pdf", "b.txt", "not decodable, 27 bytes"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("there are more"));
    let (_, told, _) = deckle(&home, &["topics", "read", TOPIC, "--limit", "1"]);
    assert!(told.contains("there are more"), "{told}");
}

#[tokio::test]
async fn following_waits_for_what_comes_and_ends_at_the_limit() {
    let home = home().await;
    let (code, told, _) = deckle(&home, &["topics", "read", TOPIC, "--follow", "--limit", "3"]);
    assert!(code == Some(0) && told.lines().count() == 3 && told.contains("b.txt"), "{told}");
}

#[tokio::test]
async fn the_embedded_log_has_nothing_to_plan() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["topics", "plan"][..], &["topics", "apply"], &["topics", "check"]] {
        let (code, told, said) = deckle(&home, arguments);
        assert!(code == Some(0) && told.contains("SQLite") && said.is_empty(), "{told}{said}");
    }
    assert_eq!(deckle(&home, &["topics", "read", "no-topic"]).0, Some(2));
}
