//! Dead letters and their way back, on the whole program: a cause is mended, the letter redriven, and the document is
//! what it would have been.

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use deckle::{
    app::App,
    contract::record::{Assembled, DeadLetter, Event, PageSplit, Published, Readmitted, Status, Uploaded},
    log::{NewRecord, Topic},
    runtime::dead_letter::redrive,
    store::{Claim, DeadLetterFilter, DeadLetterState, ListedDeadLetter, StateName},
};
use serde_json::Value;
use tokio::io::AsyncBufReadExt;

use crate::support::{self, Home, Started, servers};

/// Settings under which no page can be rendered: pages without a text layer fail.
const NO_RENDERING: &str = "[decode]\nmax_pixels = 30000\n";
/// Settings under which a file of several pages is not taken in.
const NO_FILES: &str = "[decode]\nmax_pages = 1\n";

/// A home in which a sample was read under settings that make it fail, and that are mended since.
async fn failed(settings: &str, sample: &str, code: i32) -> Home {
    let home = Home::new();
    read_and_mend(&home, "", settings, sample, code).await;
    home
}

/// The same, on Kafka.
async fn failed_on_kafka(settings: &str, sample: &str, code: i32) -> Home {
    let home = Home::new();
    let (brokers, prefix) = (servers::shared_kafka(), uuid::Uuid::now_v7());
    let log =
        format!("[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{brokers}\"\nprefix = \"redrive-{prefix}.\"\n");
    home.configure(&log);
    home.deckle(["topics", "apply"]).await.ended(0);
    read_and_mend(&home, &log, settings, sample, code).await;
    home
}

async fn read_and_mend(home: &Home, log: &str, settings: &str, sample: &str, code: i32) {
    home.configure(&format!("{log}{settings}"));
    let path = support::samples().join(sample);
    home.deckle(["process".as_ref(), path.as_os_str()]).await.ended(code);
    home.configure(log);
}

/// Starts all stages.
async fn running(home: &Home) -> Started {
    let mut command = home.command(["run", "--listen", ""]);
    let mut run = Started::new(command.stderr(Stdio::piped()));
    let mut lines = run.stderr().lines();
    support::within("the log says `working`", async {
        while !lines.next_line().await.unwrap().expect("it runs until it is told to stop").contains("working") {}
    })
    .await;
    // It must be able to go on writing.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    run
}

async fn letters(app: &App, states: &[StateName]) -> Vec<ListedDeadLetter> {
    let filter = DeadLetterFilter { states: states.to_vec(), limit: 1_000, ..DeadLetterFilter::default() };
    app.store.dead_letters(&filter).await.unwrap().letters
}

async fn listed(home: &Home, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["dead-letters", "list", "--json"];
    arguments.extend(more);
    home.deckle(arguments).await.ended(0).json()["dead_letters"].as_array().unwrap().clone()
}

async fn ends(app: &App) -> Vec<(Status, i64, i64)> {
    let ends = support::events::<Published>(app).await.into_iter();
    ends.map(|end| (end.status, end.envelope.run, end.envelope.version)).collect()
}

/// Fails the test unless the document is what a run without any trouble makes of it.
async fn assert_like_undisturbed(home: &Home, sample: &str) {
    let other = failed("", sample, 0).await;
    let (ours, theirs) = (home.app(), other.app());
    let ours = support::seen(&ours, &support::header(&ours, sample).await).await;
    ours.assert_like(&support::seen(&theirs, &support::header(&theirs, sample).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_page_makes_its_partial_document_whole_on_kafka() {
    let home = failed_on_kafka(NO_RENDERING, "mixed.pdf", 0).await;
    let app = home.app();
    let before = support::header(&app, "mixed.pdf").await.current.unwrap();
    assert_eq!(before.status, Status::Partial);
    for told in ["1 dead letter redriven\n", "0 dead letters redriven\n"] {
        assert_eq!(home.deckle(["dead-letters", "redrive", "--stage", "ocr"]).await.ended(0).stdout, told);
    }
    let version = listed(&home, &["--state", "redriven"]).await[0]["redriven_version"].as_i64().unwrap();
    let mut run = running(&home).await;
    support::within("it is whole", async {
        while support::header(&app, "mixed.pdf").await.current.unwrap().status != Status::Published {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
    assert_eq!(
        ends(&app).await,
        [(Status::Partial, before.run, before.version), (Status::Published, before.run, version)]
    );
    assert_like_undisturbed(&home, "mixed.pdf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_page_makes_its_partial_document_whole() {
    let home = failed(NO_RENDERING, "mixed.pdf", 0).await;
    let app = home.app();
    let before = support::header(&app, "mixed.pdf").await.current.unwrap();
    assert_eq!((before.status, before.failed_pages), (Status::Partial, 1));
    let open = listed(&home, &[]).await;
    assert_eq!(open.len(), 1);
    let facts = ["stage", "kind", "state", "topic"].map(|name| open[0][name].as_str().unwrap());
    assert_eq!(facts, ["ocr", "rejected", "open", "pages.split"]);
    assert_eq!((&open[0]["page_no"], &open[0]["reason"]["code"]), (&2.into(), &"limit.pixels".into()));

    let counts = support::record_counts(&app).await;
    let dry = home.deckle(["dead-letters", "redrive", "--all", "--dry-run"]).await.ended(0).stdout;
    assert!(dry.ends_with("1 dead letter would be redriven; nothing was done\n"), "{dry}");
    assert_eq!(support::record_counts(&app).await, counts);
    assert_eq!(listed(&home, &[]).await, open);

    let told = home.deckle(["dead-letters", "redrive", "--stage", "ocr"]).await.ended(0).stdout;
    assert_eq!(told, "1 dead letter redriven\n");
    assert!(listed(&home, &[]).await.is_empty());
    let redriven = listed(&home, &["--state", "redriven"]).await;
    let version = redriven[0]["redriven_version"].as_i64().unwrap();
    support::work(&home, &[]).await;

    let after = support::header(&app, "mixed.pdf").await;
    let current = after.current.as_ref().unwrap();
    assert_eq!((current.status, current.failed_pages, after.status()), (Status::Published, 0, Status::Published));
    assert_eq!((current.run, current.version), (before.run, version));
    assert!(version > before.version);
    let ends = ends(&app).await;
    assert_eq!(ends, [(Status::Partial, before.run, before.version), (Status::Published, before.run, version)]);
    assert_like_undisturbed(&home, "mixed.pdf").await;

    let counts = support::record_counts(&app).await;
    let id = open[0]["id"].as_str().unwrap();
    let again = home.deckle(["dead-letters", "redrive", &id[..8]]).await.ended(0);
    assert!(again.stdout.starts_with("0 dead letters redriven, 1 left"), "{again:?}");
    assert!(again.stderr.contains(&format!("as version {version}")), "{again:?}");
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    assert_eq!(support::record_counts(&app).await, counts, "nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_redriven_together_are_published_once() {
    let home = failed(NO_RENDERING, "scan.pdf", 1).await;
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    let app = home.app();
    let ends = ends(&app).await;
    assert_eq!(ends.iter().map(|end| end.0).collect::<Vec<_>>(), [Status::Failed, Status::Published]);
    assert_eq!(support::events::<Assembled>(&app).await.len(), 1, "built once, with both");
    assert_like_undisturbed(&home, "scan.pdf").await;
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_redriven_one_after_the_other_lose_nothing() {
    for works_between in [true, false] {
        let home = failed(NO_RENDERING, "scan.pdf", 1).await;
        let app = home.app();
        for letter in letters(&app, &[StateName::Open]).await {
            home.deckle(["dead-letters", "redrive", &letter.letter.key.letter_id]).await.ended(0);
            if works_between {
                support::work(&home, &[]).await;
            }
        }
        support::work(&home, &[]).await;
        let statuses: Vec<_> = ends(&app).await.iter().map(|end| end.0).collect();
        if works_between {
            assert_eq!(statuses, [Status::Failed, Status::Partial, Status::Published]);
        }
        assert_eq!(statuses.last(), Some(&Status::Published));
        assert_like_undisturbed(&home, "scan.pdf").await;
        support::assert_each_end_is_told_once(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_redrives_at_once_have_one_effect() {
    let home = failed(NO_RENDERING, "scan.pdf", 1).await;
    let app = home.app();
    let before = support::records(&app, PageSplit::TOPIC).await.len();
    let redrive = || home.deckle(["dead-letters", "redrive", "--all"]);
    let both = tokio::join!(redrive(), redrive());
    for ran in [both.0, both.1] {
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    }
    assert_eq!(support::records(&app, PageSplit::TOPIC).await.len(), before + 2);
    assert_eq!(letters(&app, &[StateName::Redriven]).await.len(), 2);
    support::work(&home, &[]).await;
    assert_eq!(support::header(&app, "scan.pdf").await.status(), Status::Published);
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_was_cut_off_is_taken_over_and_told_once() {
    // Killed between the claim and the record, and between the record and the confirmation.
    for was_appended in [false, true] {
        let home = failed(NO_RENDERING, "mixed.pdf", 0).await;
        let app = home.app();
        let letter = letters(&app, &[StateName::Open]).await.remove(0).letter;
        let version = letter.version + 1_000;
        app.store
            .claim_redrive(&letter.key, Claim { id: uuid::Uuid::now_v7(), version, now: 1, until: 2 })
            .await
            .unwrap();
        if was_appended {
            let record = app.store.failed_record(&letter.key).await.unwrap().unwrap();
            app.log.append(vec![redrive::revised(&letter, &record, version).unwrap()]).await.unwrap();
        }
        assert_eq!(listed(&home, &[]).await[0]["state"], "redriving", "it is still to be seen to");
        home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
        let state = letters(&app, &[]).await[0].state;
        assert!(matches!(state, DeadLetterState::Redriven { version: its, .. } if its == version), "{state:?}");
        support::work(&home, &[]).await;
        let ends = ends(&app).await;
        assert_eq!(ends.iter().filter(|end| end.2 == version && end.0 == Status::Published).count(), 1, "{ends:?}");
        assert_eq!(ends.len(), 2);
        support::assert_each_end_is_told_once(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_another_redrive_at_work_is_left_to_it() {
    let home = failed(NO_RENDERING, "mixed.pdf", 0).await;
    let app = home.app();
    let letter = letters(&app, &[StateName::Open]).await.remove(0).letter;
    let until = i64::MAX / 2;
    app.store.claim_redrive(&letter.key, Claim { id: uuid::Uuid::now_v7(), version: 9, now: 1, until }).await.unwrap();
    let counts = support::record_counts(&app).await;
    let ran = home.deckle(["dead-letters", "redrive", "--all", "--json"]).await.ended(1).json();
    assert_eq!(ran["left"][0]["state"], "redriving");
    assert_eq!(support::record_counts(&app).await, counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_upload_keeps_its_run() {
    let home = failed(NO_FILES, "mixed.pdf", 1).await;
    let app = home.app();
    let before = support::header(&app, "mixed.pdf").await.ended.unwrap();
    assert_eq!(before.status, Status::Failed);
    home.deckle(["dead-letters", "redrive", "--code", "limit.pages"]).await.ended(0);
    support::work(&home, &[]).await;
    let current = support::header(&app, "mixed.pdf").await.current.unwrap();
    assert_eq!((current.status, current.run), (Status::Published, before.run));
    assert!(current.version > before.version);
    assert_like_undisturbed(&home, "mixed.pdf").await;
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_run_never_hides_a_newer_one() {
    let home = failed(NO_FILES, "mixed.pdf", 1).await;
    let app = home.app();
    let first = support::header(&app, "mixed.pdf").await.ended.unwrap();
    let path = support::samples().join("mixed.pdf");
    home.deckle(["process".as_ref(), "--force".as_ref(), path.as_os_str()]).await.ended(0);
    let newer = support::header(&app, "mixed.pdf").await;
    assert!(newer.current.as_ref().unwrap().run > first.run);
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    assert_eq!(support::header(&app, "mixed.pdf").await, newer, "readers see what they saw");
    let last = ends(&app).await.pop().unwrap();
    assert_eq!((last.0, last.1), (Status::Superseded, first.run));
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_record_that_fails_again_is_another_letter() {
    let home = failed(NO_RENDERING, "mixed.pdf", 0).await;
    home.configure(NO_RENDERING);
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    let app = home.app();
    let all = letters(&app, &[]).await;
    assert_eq!(all.len(), 2);
    let DeadLetterState::Redriven { version, .. } = all[0].state else { panic!("{all:?}") };
    assert_eq!((all[1].state, all[1].letter.version), (DeadLetterState::Open, version));
    assert_eq!(all[1].letter.run, all[0].letter.run);
    let header = support::header(&app, "mixed.pdf").await.current.unwrap();
    assert_eq!((header.status, header.version), (Status::Partial, version));

    home.configure("");
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    assert_like_undisturbed(&home, "mixed.pdf").await;
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_chosen_by_filters_dropped_and_redriven_at_a_rate() {
    let home = Home::new();
    home.deckle(["process".as_ref(), support::bad().as_os_str()]).await.ended(1);
    let all = listed(&home, &[]).await;
    let codes = |letters: &[Value]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for letter in letters {
            *counts.entry(letter["reason"]["code"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    };
    let of_code = codes(&all)["unsupported_type"];
    assert!(of_code > 1 && of_code < all.len());
    assert_eq!(listed(&home, &["--code", "unsupported_type"]).await.len(), of_code);
    let of_split = all.iter().filter(|letter| letter["stage"] == "split").count();
    assert_eq!(listed(&home, &["--stage", "split"]).await.len(), of_split);
    assert_eq!(listed(&home, &["--kind", "defect"]).await.len(), 0);
    assert_eq!(listed(&home, &["--tenant", "nobody"]).await.len(), 0);
    assert_eq!(listed(&home, &["--since", "1h"]).await.len(), all.len());
    assert_eq!(listed(&home, &["--until", "1h"]).await.len(), 0);
    let one = all[0]["document_id"].as_str().unwrap();
    assert_eq!(listed(&home, &["--document", &one[..12]]).await, all[..1]);

    let told = home.deckle(["dead-letters", "drop", "--code", "unsupported_type"]).await.ended(0).stdout;
    assert_eq!(told, format!("{of_code} dead letters dropped of {of_code} documents\n"));
    assert_eq!(listed(&home, &[]).await.len(), all.len() - of_code, "they leave the list");
    let dropped = listed(&home, &["--state", "dropped"]).await;
    assert_eq!(codes(&dropped), BTreeMap::from([("unsupported_type".to_owned(), of_code)]));
    let app = home.app();
    let counts = support::record_counts(&app).await;
    let left = home.deckle(["dead-letters", "redrive", dropped[0]["id"].as_str().unwrap()]).await.ended(0);
    assert!(left.stderr.contains("dropped at"), "{left:?}");
    assert_eq!(support::record_counts(&app).await, counts);

    let started = Instant::now();
    let told = home.deckle(["dead-letters", "redrive", "--all", "--rate", "10", "--json"]).await.ended(0).json();
    let redriven = told["redriven"].as_array().unwrap().len();
    assert_eq!(redriven, all.len() - of_code);
    assert!(started.elapsed() >= Duration::from_millis(100) * (redriven as u32 - 1), "no faster than asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_no_worker_took_in_are_told_of() {
    let home = Home::new();
    let app = home.app();
    append(&app, Uploaded::TOPIC, b"no event").await;
    let mut command = home.command(["run", "--stage", "split", "--listen", ""]);
    let mut run = Started::new(command.stderr(Stdio::null()));
    support::within("a dead letter", async {
        while support::records(&app, DeadLetter::TOPIC).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    run.wait().await;
    let ran = home.deckle(["dead-letters", "list"]).await.ended(0);
    assert_eq!(ran.stdout, "no dead letters\n");
    assert!(ran.stderr.contains("1 more dead letter in the log") && ran.stderr.lines().count() == 1, "{ran:?}");
    support::work(&home, &[]).await;
    let ran = home.deckle(["dead-letters", "list"]).await.ended(0);
    assert!(ran.stdout.contains("record.undecodable") && ran.stderr.is_empty(), "{ran:?}");
}

async fn append(app: &App, topic: &str, value: &'static [u8]) {
    let headers = [("tenant", "default"), ("document", "d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let value = bytes::Bytes::from_static(value);
    let record = NewRecord { topic: Topic::from(topic), key: "k".to_owned(), headers: headers.into(), value };
    app.log.append(vec![record]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_cannot_be_read_go_back_as_they_were_and_keep_their_run() {
    let home = Home::new();
    let app = home.app();
    append(&app, Uploaded::TOPIC, b"no event").await;
    support::work(&home, &[]).await;
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    let uploads = support::records(&app, Uploaded::TOPIC).await;
    let again = support::events::<Readmitted>(&app).await;
    assert_eq!((uploads.len(), again.len(), &again[0].value[..]), (1, 1, &b"no event"[..]));
    let all = letters(&app, &[]).await;
    let DeadLetterState::Redriven { version, .. } = all[0].state else { panic!("{all:?}") };
    let first = uploads.iter().map(|record| record.appended_at_us).min().unwrap();
    assert_eq!((all[1].letter.run, all[1].letter.version), (first, version));
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_fails_itself_makes_no_other() {
    let home = Home::new();
    let app = home.app();
    append(&app, DeadLetter::TOPIC, b"no letter").await;
    support::work(&home, &[]).await;
    assert_eq!(support::records(&app, DeadLetter::TOPIC).await.len(), 1, "it stays, and feeds nothing");
    assert_eq!(letters(&app, &[]).await, []);
}
