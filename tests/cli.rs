//! The command line as a shell sees it: exit codes, one line of complaint, quiet when nobody reads on.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

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
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), empty);
    }
    let queued: serde_json::Value =
        serde_json::from_slice(&ends(&home, &["ingest", "a.txt", "--json"]).2.stdout).unwrap();
    assert_eq!((&queued[0]["path"], &queued[0]["status"]), (&"a.txt".into(), &"queued".into()));
    assert!(Path::new(&home.path().join("data/log.sqlite")).exists());
}
