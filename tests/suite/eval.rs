//! `deckle eval` on documents whose truth is known: every format, losses, and what a person is told of mistakes.

use std::fs;

use serde_json::Value;

use crate::support::{Home, data};

/// A figure of a document or a set.
fn figure(of: &Value, measure: &str) -> f64 {
    of["figures"][measure]["value"].as_f64().unwrap_or_else(|| panic!("no {measure} in {of}"))
}

fn measures(of: &Value) -> Vec<&str> {
    of["figures"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn every_format_of_truth_gives_its_figures_and_what_failed_is_lost() {
    let home = Home::new();
    let (truths, out) = (data().join("eval"), home.join("report"));
    fs::create_dir_all(out.join("documents")).unwrap();
    fs::write(home.join("mine"), "mine").unwrap();
    for page in ["index.html", "documents/001.html"] {
        std::os::unix::fs::symlink(home.join("mine"), out.join(page)).unwrap();
    }
    let ran = home.deckle(["eval".as_ref(), truths.as_os_str(), "--out".as_ref(), out.as_os_str(), "--json".as_ref()]);
    let report = ran.await.ended(1).json();
    let documents = report["documents"].as_array().unwrap();
    let names: Vec<_> = documents.iter().map(|document| document["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["form.png", "lost.pdf", "minutes.md", "receipt.png", "table.pdf", "two.pdf"]);
    let document = |name: &str| &documents[names.iter().position(|it| *it == name).unwrap()];

    let boxes = ["bag_f1", "box_f1", "box_precision", "box_recall", "cer", "iou", "wer"];
    for (name, format) in [("form.png", "funsd"), ("receipt.png", "sroie")] {
        let document = document(name);
        assert_eq!(document["truths"][0]["format"], format);
        assert_eq!(measures(document), boxes, "{name}");
        assert!(figure(document, "cer") < 0.05 && figure(document, "bag_f1") > 0.9, "{document}");
        assert!(figure(document, "box_recall") > 0.9 && figure(document, "iou") > 0.6, "{document}");
        assert!(document["confidence"].as_f64().unwrap() > 0.5 && !document["models"].as_array().unwrap().is_empty());
    }
    let two = document("two.pdf");
    assert_eq!((two["pages"].as_u64(), figure(two, "cer"), figure(two, "wer")), (Some(2), 0.0, 0.0));
    assert!(two["confidence"].is_null(), "a text layer has none");
    let minutes = document("minutes.md");
    assert_eq!(measures(minutes), ["adjacency_f1", "bag_f1", "cell_f1", "cer", "teds", "wer"]);
    assert_eq!([figure(minutes, "cer"), figure(minutes, "cell_f1"), figure(minutes, "teds")], [0.0, 1.0, 1.0]);
    let table = document("table.pdf");
    assert_eq!(table["truths"].as_array().unwrap().len(), 2, "regions and cells are one truth");
    assert!(figure(table, "box_f1") == 1.0 && figure(table, "adjacency_f1") > 0.8 && figure(table, "teds") > 0.8);

    let lost = document("lost.pdf");
    assert_eq!((lost["status"].as_str(), figure(lost, "cer"), figure(lost, "bag_f1")), (Some("failed"), 1.0, 0.0));
    assert!(lost["why"].as_str().unwrap().contains("unsupported_type"), "{lost}");

    let total = &report["total"];
    assert_eq!(
        (total["documents"].as_u64(), total["not_whole"].as_u64(), total["pages"].as_u64()),
        (Some(6), Some(1), Some(5))
    );
    let errors: f64 = documents.iter().filter_map(|document| document["figures"]["cer"]["part"].as_f64()).sum();
    assert_eq!(total["figures"]["cer"]["part"].as_f64(), Some(errors), "losses are in the sum");
    let interval = &total["figures"]["cer"]["interval"];
    assert!(interval["low"].as_f64().unwrap() <= figure(total, "cer"), "{interval}");
    assert!(interval["high"].as_f64().unwrap() >= figure(total, "cer"), "{interval}");
    assert_eq!(report["sets"].as_array().unwrap().len(), 1);
    assert_eq!(report["report_version"], 1);

    let written: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    the_pages_stand_alone(&out, &names);
    assert_eq!(fs::read_to_string(home.join("mine")).unwrap(), "mine", "links are replaced, not followed");
}

/// Pages name only files that are there, and nothing of another machine.
fn the_pages_stand_alone(out: &std::path::Path, names: &[&str]) {
    // Slashes are escaped too.
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap().replace("&#x2f;", "/");
    let index = read("index.html");
    for (number, name) in (1..).zip(names) {
        let file = format!("documents/{number:03}.html");
        assert!(index.contains(&file) && index.contains(name), "{name}");
        let page = read(&file);
        for source in page.split("src=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(out.join("documents").join(source).is_file(), "{file} shows {source}");
        }
        let has_pages = name.ends_with(".png") || ["two.pdf", "table.pdf"].contains(name);
        assert_eq!(page.contains("<img"), has_pages, "{name}");
        for text in [&page, &index] {
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
    }
    let lost = read("documents/002.html");
    assert!(lost.contains("<del>What stands here is lost.") && lost.contains("(text/html)"), "{lost}");
    let table = read("documents/005.html");
    assert!(table.contains("TEDS") && table.contains("Wednesday"), "{table}");
}

#[tokio::test]
async fn sets_pages_and_folders_are_as_they_are_asked_for() {
    let home = Home::new();
    for folder in ["truth", "documents/old"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    fs::copy(data().join("eval/two.pdf"), home.join("documents/old/two.pdf")).unwrap();
    fs::copy(data().join("eval/two.pdf"), home.join("documents/same.pdf")).unwrap();
    fs::copy(data().join("eval/minutes.md"), home.join("documents/alone.md")).unwrap();
    fs::copy(data().join("eval/two.txt"), home.join("truth/same.txt")).unwrap();
    fs::write(home.join("truth/second.txt"), "Bicycles travel free of charge. Dogs pay half, and sleep on deck.")
        .unwrap();
    fs::write(home.join("truth/nothing.txt"), "Nobody has this.").unwrap();
    fs::write(
        home.join("truth/sets.toml"),
        "[[pair]]\ndocument = \"old/two.pdf\"\ntruth = \"second.txt\"\npages = [2]\npictures = false\nset = \"second pages\"\n",
    )
    .unwrap();
    let arguments = ["eval", "truth", "--documents", "documents", "--set", "whole=same.*"];
    let ran = home.deckle(arguments.iter().chain(&["--json"])).await.ended(0);
    let report = ran.json();
    let documents = report["documents"].as_array().unwrap();
    let told: Vec<_> = documents.iter().map(|it| (it["set"].as_str().unwrap(), it["name"].as_str().unwrap())).collect();
    assert_eq!(told, [("second pages", "old/two.pdf page 2"), ("whole", "same.pdf")]);
    for document in documents {
        assert_eq!(figure(document, "cer"), 0.0, "{document}");
    }
    assert_eq!((documents[0]["pages"].as_u64(), documents[1]["pages"].as_u64()), (Some(1), Some(2)));
    let left_out = |document: &Value| document["picture_words_left_out"].as_u64();
    assert_eq!((left_out(&documents[0]), left_out(&documents[1])), (Some(0), None));
    assert_eq!(report["left_out"]["truths_without_document"], serde_json::json!(["truth/nothing.txt"]));
    assert_eq!(report["left_out"]["documents_without_truth"], serde_json::json!(["documents/alone.md"]));

    let shown = home.deckle(arguments.iter().chain(&["--worst"])).await.ended(0).stdout;
    let without = "inside pictures left out, as their truths leave them out (1): old/two.pdf page 2: 0 words";
    for wanted in ["CER", without, "second pages", "whole", "truth/nothing.txt", "documents/alone.md", "seed 2013"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!home.join("data").exists(), "what was read for a comparison is not left in the home");
}

#[tokio::test]
async fn what_is_wrong_with_a_truth_is_told_in_a_line_before_anything_is_read() {
    let home = Home::new();
    fs::copy(data().join("eval/form.png"), home.join("form.png")).unwrap();
    for (name, content, wanted) in [
        ("form.json", "{\"form\": [\n{\"text\": \"a\", \"box\": [1, 2, 3]}\n]}", "form.json:2: "),
        ("form.xml", "<document>\n<table></document>", "form.xml:2: "),
        ("form.txt", "1,2,3,4,5,6,7,8,text\nand more\n", "form.txt:2: "),
        ("form.json", "{\"total\": 1}", "in no format of truth"),
        ("other.txt", "text", "no document with a truth is here (1 × truth without a document)"),
    ] {
        fs::write(home.join(name), content).unwrap();
        let ran = home.deckle(["eval", name]).await.ended(2);
        assert!(ran.stderr.contains(wanted) && ran.stderr.lines().count() == 1, "{name}: {}", ran.stderr);
        fs::remove_file(home.join(name)).unwrap();
    }
    let ran = home.deckle(["eval", "gone.txt"]).await.ended(2);
    assert!(ran.stderr.contains("there is no truth gone.txt"), "{}", ran.stderr);
}
