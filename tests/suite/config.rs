//! The settings: the example says what the program does, and every complaint is one line that names the key.

use std::{fs, path::Path};

use deckle::config::Config;

fn complaint(toml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deckle.toml");
    fs::write(&file, toml).unwrap();
    format!("{:#}", Config::load(Some(&file)).expect_err(toml))
}

#[test]
fn the_example_says_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/deckle.example.toml");
    let written: toml::Table = fs::read_to_string(&example).unwrap().parse().unwrap();
    let known: toml::Table = toml::Table::try_from(Config::default()).unwrap();
    // As text, because a default that is left out of the file would still load as the default.
    assert_eq!(toml::to_string(&written).unwrap(), toml::to_string(&known).unwrap());
}

#[test]
fn the_example_names_the_settings_without_a_default() {
    let text = include_str!("../../deploy/deckle.example.toml");
    let uncommented: String = text.lines().map(|line| uncomment(line) + "\n").collect();
    // Certificates without encryption would be refused.
    let uncommented = uncommented.replace("tls = false", "tls = true");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deckle.toml");
    fs::write(&file, uncommented).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert!(config.data.is_some());
    assert!(config.sandbox.children.is_some() && config.decode.pdfium.is_some());
    let registry = &config.registry;
    assert!(registry.url.is_some() && registry.user.is_some() && registry.password.is_some());
    assert!(registry.ca.is_some() && registry.certificate.is_some() && registry.key.is_some());
    let scylla = &config.store.scylla;
    assert!(scylla.tablets.is_some() && scylla.user.is_some() && scylla.password.is_some());
    assert!(scylla.ca.is_some() && scylla.certificate.is_some() && scylla.key.is_some());
    assert!(config.passwords.keys_file.is_some());
    let inference = &config.inference;
    assert!(inference.library.is_some() && inference.sessions.is_some());
    assert!(inference.threads_per_session.is_some() && inference.max_batch.is_some());
}

/// A setting that is commented out, without its mark.
fn uncomment(line: &str) -> String {
    let setting = line.strip_prefix("# ").filter(|rest| {
        let name = rest.split(" = ").next().unwrap_or_default();
        rest.contains(" = ") && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
    });
    setting.unwrap_or(line).to_owned()
}

#[test]
fn a_complaint_is_one_line_that_names_the_key_and_the_file() {
    for (toml, key) in [
        ("worker.retry = 3", "worker.retry"),
        ("worker.retry_s = \"soon\"", "worker.retry_s"),
        ("worker.retry_s = -1", "worker.retry_s"),
        ("inference.provider = \"cda\"", "inference.provider"),
        ("worker = {", "line 1"),
    ] {
        let said = complaint(toml);
        assert!(said.contains(key) && said.contains("deckle.toml") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn settings_are_checked_against_each_other() {
    for (toml, key) in [
        ("worker.revoke_s = 10", "worker.revoke_s"),
        ("log.sqlite.heartbeat_ms = 9000", "heartbeat_ms"),
        ("sandbox.children = 0", "sandbox.children"),
        ("concurrency.vision = 0", "concurrency.vision"),
        ("ocr.languages = []", "ocr.languages"),
        ("tenant = \"../other\"", "tenant"),
        ("decode.render_dpi = 0", "decode.render_dpi"),
        ("blobs.url = \"bucket/prefix\"", "blobs.url"),
        ("blobs.url = \"file:///srv/blobs\"", "blobs.url"),
        ("blobs.url = \"s3://bucket\"\nblobs.options.aws_zone = \"eu\"", "blobs.options.aws_zone"),
        ("blobs.options.aws_region = \"eu-central-1\"", "blobs.options.aws_region"),
        ("sources.roots = [\"/srv/incoming\"]", "sources.roots"),
        ("sources.roots = [\"file:///\"]", "sources.roots"),
        ("sources.roots = [\"file:///srv/in-{tenant}\"]", "sources.roots"),
        ("sources.roots = [\"s3://b\"]\nsources.options.azure_storage_account_name = \"a\"", "sources.options.azure"),
        ("sources.max_inline_bytes = 524288", "sources.max_inline_bytes"),
        ("registry.url = \"localhost:8081\"", "registry.url"),
        ("registry.url = \"http://me:secret@localhost:8081\"", "registry.password"),
        ("registry.password = \"secret\"", "registry.user"),
        ("passwords.keys = \"k\"\npasswords.keys_file = \"f\"", "passwords.keys_file"),
        ("registry.key = \"deckle.key\"", "registry.certificate"),
        ("store.sqlite.readers = 0", "store.sqlite.readers"),
        ("store.scylla.keyspace = \"Deckle\"", "keyspace"),
        ("store.scylla.read_consistency = \"one\"", "read_consistency"),
    ] {
        let said = complaint(toml);
        assert!(said.starts_with("configuration: ") && said.contains(key) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn options_of_object_stores_are_text_numbers_or_flags_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deckle.toml");
    let toml =
        "[blobs]\nurl = \"s3://bucket/prefix\"\n[blobs.options]\nallow_http = true\naws_secret_access_key = \"hush\"";
    fs::write(&file, toml).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("aws_secret_access_key") && !shown.contains("hush"), "{shown}");
}

#[test]
fn passwords_are_not_shown() {
    let mut config = Config::default();
    config.registry.password = Some("hunter2".into());
    config.store.scylla.password = Some("hunter2".to_owned().into());
    config.passwords.keys = Some("hunter2".to_owned().into());
    assert!(!format!("{config:?}").contains("hunter2"));
}
