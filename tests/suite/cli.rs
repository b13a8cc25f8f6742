//! The command line as a shell sees it: exit codes, one line of complaint, quiet when nobody reads on.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use deckle::{
    contract::record::Status,
    store::{Completion, DocumentKey, Store as _, sqlite::SqliteStore},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    self, Home,
    values::{ended, intake, sha256},
};

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

/// A home whose inbox holds a text, a larger one than files may be, links to nothing, and links to the inbox itself.
fn with_an_inbox() -> TempDir {
    let home = home();
    let inbox = home.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    fs::write(home.path().join("deckle.toml"), "[decode]\nmax_bytes = 1000\n").unwrap();
    fs::write(inbox.join("a.txt"), "The ferry leaves at ten.").unwrap();
    fs::write(inbox.join("large.txt"), vec![b'x'; 1_001]).unwrap();
    for (link, to) in [("again", "."), ("and-again", "."), ("gone.txt", "nowhere"), ("itself.txt", "itself.txt")] {
        symlink(to, inbox.join(link)).unwrap();
    }
    home
}

#[test]
fn a_file_that_cannot_be_taken_is_a_row_and_the_others_go_on() {
    let home = with_an_inbox();
    let (code, said, output) = ends(&home, &["ingest", "inbox", "--json"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told: BTreeMap<String, (String, String)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(&row["path"]), (text(&row["status"]), text(&row["reasons"][0]["code"]))))
        .collect();
    let row = |path: &str, status: &str, code: &str| (path.to_owned(), (status.to_owned(), code.to_owned()));
    let wanted = [
        row("inbox/a.txt", "queued", ""),
        row("inbox/gone.txt", "failed", "source.missing"),
        row("inbox/itself.txt", "failed", "source.missing"),
        row("inbox/large.txt", "failed", "limit.bytes"),
    ];
    assert_eq!(told, BTreeMap::from(wanted), "each once, through no link to the inbox");
    assert_eq!(support::files(&home.path().join("data/blobs")).len(), 1, "what is too large was not copied");

    let (code, _, output) = ends(&home, &["ingest", "inbox"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("1 queued, 0 unchanged, 3 failed"), "{told}");
    assert!(told.contains("1001 bytes") && told.contains("decode.max_bytes"), "{told}");
    assert_eq!((code, told.lines().count()), (Some(1), 5));
}

#[test]
fn process_shows_what_it_could_not_take() {
    let home = with_an_inbox();
    // Nothing is left to read, so that no model is asked for.
    fs::remove_file(home.path().join("inbox/a.txt")).unwrap();
    let (code, said, output) = ends(&home, &["process", "inbox"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!((code, said.as_str()), (Some(1), ""), "{told}");
    for shown in ["large.txt", "[limit.bytes]", "gone.txt", "[source.missing]"] {
        assert!(told.contains(shown), "{shown}: {told}");
    }
    assert!(told.lines().last().unwrap().starts_with("3 failed in "), "{told}");

    let (code, _, output) = ends(&home, &["process", "inbox", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let documents = told["documents"].as_array().unwrap();
    assert_eq!((code, documents.len()), (Some(1), 3));
    assert!(documents.iter().all(|it| it["outcome"] == "failed" && it["source"]["filename"].is_string()), "{told}");
    assert!(!home.path().join("data/blobs/default").exists(), "nothing was copied");
}

#[test]
fn a_name_that_is_not_utf_8_is_told_as_json() {
    let home = home();
    fs::write(home.path().join(OsStr::from_bytes(b"na\xefve.txt")), "The coffee is hot.").unwrap();
    let (code, said, output) = ends(&home, &["ingest", ".", "--json"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["./a.txt", "./na\u{fffd}ve.txt"]);
}

#[test]
fn no_name_moves_the_terminal() {
    let home = home();
    let name = "b\u{1b}[2K\u{7}\n\u{202e}txt.exe";
    let fit = "b\\u{1b}[2K\\u{7}\\n\\u{202e}txt.exe";
    fs::write(home.path().join(name), "The ferry leaves at noon.").unwrap();
    let is_hostile = |text: &str| text.chars().any(|it| (it.is_control() && it != '\n') || it == '\u{202e}');
    let (_, _, output) = ends(&home, &["ingest", "."]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains(fit) && !is_hostile(&told) && told.lines().count() == 3, "{told:?}");

    // Of a table, of a complaint, and of arguments that a shell put in for a pattern.
    fs::create_dir(home.path().join("d")).unwrap();
    symlink("nowhere", home.path().join("d").join(name)).unwrap();
    let (_, _, output) = ends(&home, &["process", "d"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("b\\u{1b}") && !is_hostile(&told), "{told:?}");
    let (code, said, _) = ends(&home, &["show", name]);
    assert!(code == Some(2) && said.contains(fit) && !is_hostile(&said) && said.lines().count() == 1, "{said:?}");
    let (code, said, _) = ends(&home, &["list", &format!("--{name}")]);
    assert!(code == Some(2) && said.contains("u{202e}") && !is_hostile(&said), "{said:?}");
    let (_, _, output) = ends(&home, &["ingest", name, "--json"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let rows: Value = serde_json::from_str(&told).unwrap();
    assert!(!is_hostile(&told), "{told:?}");
    assert_eq!(rows[0]["path"], name, "it says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_look_into_the_data_folder() {
    let home = Home::new();
    // As an earlier version left it.
    let data = home.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let file = home.join("a.txt");
    fs::write(&file, "Nobody else's business.").unwrap();
    home.deckle(["ingest".as_ref(), file.as_os_str()]).await.ended(0);
    let app = home.app();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in ["log.sqlite", "log.sqlite-wal", "store.sqlite", "store.sqlite-wal"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    drop(app);
}
