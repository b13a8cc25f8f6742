//! Limits on what a document says, on the whole program: each ends with its reason, and raised, the document is read.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::support::{self, Home};

/// Reads files under settings; status and reason of each by its name.
async fn read(home: &Home, settings: &str, files: &[&str], code: i32) -> BTreeMap<String, (String, String)> {
    home.configure(settings);
    let mut arguments = vec!["process", "--json"];
    arguments.extend(files);
    let told = home.command(arguments.clone()).current_dir(home.path()).output().await.unwrap();
    assert_eq!(told.status.code(), Some(code), "{}", String::from_utf8_lossy(&told.stdout));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = told["documents"].as_array().unwrap().iter();
    rows.map(|row| (text(&row["path"]), (text(&row["status"]), text(&row["reasons"][0]["code"])))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_ends_with_its_reason_and_a_raised_one_reads_the_document() {
    let home = Home::new();
    for sample in ["handbook.pdf", "notes.md"] {
        fs::copy(support::samples().join(sample), home.join(sample)).unwrap();
    }
    fs::copy(support::data().join("reading/tables.pdf"), home.join("tables.pdf")).unwrap();
    for (settings, file, code) in [
        ("[decode]\nmax_characters = 100\n", "notes.md", "limit.characters"),
        ("[decode]\nmax_characters = 100\n", "handbook.pdf", "limit.characters"),
        ("[decode]\nmax_blocks = 2\n", "notes.md", "limit.blocks"),
        ("[decode]\nmax_page_characters = 10\n", "handbook.pdf", "limit.characters"),
        ("[decode]\nmax_page_rules = 2\n", "tables.pdf", "limit.rules"),
        ("[language]\nmax_chunks = 1\n", "notes.md", "limit.chunks"),
        ("[language]\nchunking_s = 0\n", "notes.md", "limit.time"),
    ] {
        let told = read(&home, settings, &[file], 1).await;
        let wanted = ("failed".to_owned(), code.to_owned());
        assert_eq!(told, BTreeMap::from([(file.to_owned(), wanted)]), "{settings}");
    }
    let told = read(&home, "", &["notes.md", "handbook.pdf", "tables.pdf"], 0).await;
    assert!(told.values().all(|(status, reason)| status == "published" && reason.is_empty()), "{told:?}");
}
