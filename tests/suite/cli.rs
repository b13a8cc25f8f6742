//! The command line as a shell sees it: exit codes, one line of complaint, quiet when nobody reads on.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use deckle::{
    contract::record::Status,
    store::{Completion, DocumentKey, Store as _, sqlite::SqliteStore},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::values::{ended, intake, sha256};

/// deckle in a home without models.
fn deckle(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
    command.args(arguments).env("DECKLE_HOME", home.path()).current_dir(home.path());
    command
}

fn ends(home: &TempDir, arguments: &[&str]) -> (Option<i32>, String, Output) {
    let output = deckle(home, arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap(), output)
}

fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.txt"), "The ferry leaves at nine.").unwrap();
    home
}

#[test]
fn a_mistake_ends_with_2_and_one_line() {
    let home = home();
    for arguments in [
        &["process", "nope.pdf"][..],
        &["process", "nope*.pdf"],
        &["process", "a.txt", "--out", "a.txt/out"],
        &["--config", "nope.toml", "list"],
        &["list", "--hash", "nope.pdf"],
        &["show", "nope"],
        &["dead-letters", "show", "nope"],
        &["dead-letters", "redrive"],
        &["dead-letters", "redrive", "nope"],
        &["dead-letters", "redrive", "nope", "--all"],
        &["dead-letters", "drop"],
        &["models"],
    ] {
        let (code, said, _) = ends(&home, arguments);
        assert_eq!((code, said.lines().count()), (Some(2), 1), "{arguments:?}: {said}");
        assert!(said.starts_with("deckle: "), "{said}");
    }
}

#[test]
fn a_missing_model_is_named_and_not_waited_for() {
    let home = home();
    let (code, said, _) = ends(&home, &["process", "a.txt"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("model.onnx is missing") && said.contains("make setup"), "{said}");
}

#[test]
fn nobody_reading_on_is_no_error() {
    let home = home();
    let mut child = deckle(&home, &["models", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_empty_home_lists_as_json() {
    let home = home();
    for (arguments, empty) in [
        (&["list", "--json"][..], serde_json::json!({ "documents": [], "next": null })),
        (&["dead-letters", "list", "--json"], serde_json::json!({ "dead_letters": [], "next": null, "waiting": 0 })),
    ] {
        let (code, said, output) = ends(&home, arguments);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), empty);
    }
    let queued: Value = serde_json::from_slice(&ends(&home, &["ingest", "a.txt", "--json"]).2.stdout).unwrap();
    assert_eq!((&queued[0]["path"], &queued[0]["status"]), (&"a.txt".into(), &"queued".into()));
    assert!(Path::new(&home.path().join("data/log.sqlite")).exists());
}

const HOUR: i64 = 3_600_000_000;

/// A home whose store knows three documents: of an hour ago, of thirty hours ago (failed) and of ten days ago.
fn filled() -> TempDir {
    let home = home();
    let store = SqliteStore::open(&home.path().join("data/store.sqlite")).unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    let fill = async {
        for (tenant, document_id, hours) in [("default", "old", 240), ("acme", "failed", 30), ("default", "new", 1)] {
            let key = DocumentKey { tenant: tenant.into(), document_id: document_id.into() };
            let run = now - hours * HOUR;
            let mut intake = intake(run, run);
            intake.source.filename = format!("{document_id}.pdf");
            // The same bytes by two names.
            intake.source.sha256 = sha256(if document_id == "failed" { "other" } else { "shared" });
            store.put_intake(&key, &intake, run).await.unwrap();
            if document_id == "failed" {
                let ended = Completion { source: intake.source, ..ended(run, run + 9, Status::Failed) };
                store.put_ended(&key, &ended).await.unwrap();
            }
        }
    };
    tokio::runtime::Runtime::new().unwrap().block_on(fill);
    home
}

/// Ids that a listing shows, in its order.
fn listed(home: &TempDir, arguments: &[&str]) -> Vec<String> {
    let (code, said, output) = ends(home, &[&["list", "--json"], arguments].concat());
    assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments:?}");
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let documents = listing["documents"].as_array().unwrap().iter();
    documents.map(|document| document["document_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn documents_are_listed_by_when_something_happened_to_them() {
    let home = filled();
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let [days_ago, tomorrow] = [-5, 1].map(|days| day.saturating_add(jiff::Span::new().days(days)).to_string());
    let hours_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2)).to_string();
    for (arguments, wanted) in [
        (&[][..], &["failed", "new", "old"][..]),
        (&["--newest"], &["new", "failed", "old"]),
        (&["--since", "24h"], &["new"]),
        (&["--since", "7d"], &["new", "failed"]),
        (&["--since", "7d", "--status", "failed"], &["failed"]),
        (&["--since", "7d", "--until", "24h"], &["failed"]),
        (&["--since", &days_ago, "--until", &tomorrow], &["new", "failed"]),
        (&["--since", &hours_ago], &["new"]),
        (&["--until", "7d"], &["old"]),
        (&["--tenant", "default"], &["new", "old"]),
        (&["--tenant", "default", "--until", "24h"], &["old"]),
        (&["--tenant", "nobody", "--newest"], &[]),
    ] {
        assert_eq!(listed(&home, arguments), wanted, "{arguments:?}");
    }
    assert_eq!(ends(&home, &["list", "--since", "yesterday"]).0, Some(2));

    // What it says to go on with goes on.
    let mut command = vec!["deckle".to_owned(), "list".to_owned(), "--since".to_owned(), "7d".to_owned()];
    command.extend(["--limit", "1"].map(str::to_owned));
    let mut seen = Vec::new();
    loop {
        let arguments: Vec<_> = command[1..].iter().map(String::as_str).collect();
        let (code, said, output) = ends(&home, &arguments);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        let shown = String::from_utf8(output.stdout).unwrap();
        seen.extend(["new.pdf", "failed.pdf", "old.pdf"].into_iter().filter(|name| shown.contains(name)));
        let Some(more) = shown.lines().find_map(|line| line.strip_prefix("more: ")) else { break };
        command = more.split(' ').map(str::to_owned).collect();
    }
    assert_eq!(seen, ["new.pdf", "failed.pdf"]);
}

#[test]
fn a_file_finds_its_documents() {
    let home = filled();
    let shared = sha256("shared");
    assert_eq!(listed(&home, &["--hash", &shared]), ["new", "old"], "of the configured tenant");
    assert_eq!(listed(&home, &["--hash", &shared.to_uppercase()]), ["new", "old"]);
    assert_eq!(listed(&home, &["--hash", &sha256("other")]), [""; 0]);
    assert_eq!(listed(&home, &["--hash", &sha256("other"), "--tenant", "acme"]), ["failed"]);
    assert_eq!(listed(&home, &["--hash", &shared, "--status", "failed"]), [""; 0]);
    let (_, _, output) = ends(&home, &["list", "--hash", "a.txt"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "no document has the file a.txt\n");
    assert_eq!(ends(&home, &["list", "--hash", &shared, "--newest"]).0, Some(2), "one way or the other");
}
