//! Erasure on the whole program: a document is gone for readers, searches and in its blobs, whatever of it is in flight;
//! nothing else is touched, and what was cut off is finished.

use std::{path::PathBuf, process::Stdio, time::Duration};

use bytes::Bytes;
use deckle::{
    app::App,
    blob::encode_name,
    contract::record::{Event, Published, Source, Status, Uploaded},
    runtime::erasure::{self, IN_FLIGHT},
    store::{DeadLetterFilter, DocumentKey, Submission},
};

use crate::support::{self, Home, Started, servers};

/// A home whose store is a keyspace of its own on the node that all tests share.
async fn on_cassandra() -> Home {
    let home = Home::on_cassandra(&servers::shared_cassandra(), "");
    home.deckle(["store", "apply"]).await.ended(0);
    home
}

/// Reads files to their end.
async fn process(home: &Home, files: &[PathBuf], code: i32) {
    let mut command = home.command(["process"]);
    support::run(command.args(files)).await.ended(code);
}

fn blobs(home: &Home, key: &DocumentKey) -> usize {
    let folder = home.join("data/blobs").join(encode_name(&key.tenant)).join(encode_name(&key.document_id));
    if folder.is_dir() { support::files(&folder).len() } else { 0 }
}

/// Fails the test unless readers find nothing of a document but that it was erased.
async fn assert_gone(home: &Home, app: &App, key: &DocumentKey) {
    let header = app.store.header(key).await.unwrap().unwrap();
    assert_eq!(header.status(), Status::Erased, "{header:?}");
    assert_eq!((header.intake, header.current, header.ended), (None, None, None));
    assert_eq!(app.store.document(key).await.unwrap(), None);
    let letters = DeadLetterFilter { document_id: Some(key.document_id.clone()), ..DeadLetterFilter::default() };
    assert_eq!(app.store.dead_letters(&letters).await.unwrap().letters, []);
    assert_eq!(blobs(home, key), 0, "blobs of {key:?}");
}

/// Status, run and version of each end of a document, in the order of the log.
async fn ends(app: &App, key: &DocumentKey) -> Vec<(Status, i64, i64)> {
    let ends = support::events::<Published>(app).await.into_iter();
    ends.filter(|end| end.envelope.document_id == key.document_id)
        .map(|end| (end.status, end.envelope.run, end.envelope.version))
        .collect()
}

async fn a_document_goes_and_nothing_else(home: Home) {
    let [plain, notes, broken] = [("samples", "plain.txt"), ("samples", "notes.md"), ("bad", "truncated.pdf")]
        .map(|(folder, name)| support::data().join(folder).join(name));
    process(&home, &[plain.clone(), notes, broken], 1).await;
    let app = home.app();
    let kept = support::header(&app, "notes.md").await;
    let seen = support::seen(&app, &kept).await;
    let kept_blobs = blobs(&home, &kept.key);
    let [gone, failed] = ["plain.txt", "truncated.pdf"].map(|name| support::header(&app, name));
    let (gone, failed) = (gone.await, failed.await);
    assert!(blobs(&home, &gone.key) > 1 && kept_blobs > 1);
    let text = app.store.document(&gone.key).await.unwrap().unwrap().chunks[0].text.clone();
    let words = text.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
    let hits = async || home.deckle(["search", "--json", &words]).await.ended(0).json();
    assert_eq!(hits().await[0]["document_id"], gone.key.document_id.as_str());

    let ran = home.deckle(["erase", "plain.txt", &failed.key.document_id[..13], "--yes", "--json"]).await.ended(0);
    let erased = ran.json()["erased"].as_array().unwrap().clone();
    assert_eq!(erased.len(), 2, "{ran:?}");
    for key in [&gone.key, &failed.key] {
        assert_gone(&home, &app, key).await;
    }
    assert!(hits().await.as_array().unwrap().iter().all(|hit| hit["document_id"] != gone.key.document_id.as_str()));
    home.deckle(["show", &gone.key.document_id, "--to", "md"]).await.ended(2);
    assert_eq!(home.deckle(["dead-letters", "list"]).await.ended(0).stdout, "no dead letters\n");
    support::seen(&app, &support::header(&app, "notes.md").await).await.assert_like(&seen);
    assert_eq!(blobs(&home, &kept.key), kept_blobs);

    // Consumers keep the highest (run, version) of a document, and that is the erasure.
    let run = gone.current.unwrap().run;
    let told = ends(&app, &gone.key).await;
    assert_eq!(told.iter().map(|end| end.0).collect::<Vec<_>>(), [Status::Published, Status::Erased, Status::Erased]);
    let &(_, at, version) = told.iter().max_by_key(|end| (end.1, end.2)).unwrap();
    assert_eq!(app.store.header(&gone.key).await.unwrap().unwrap().erased_at, Some(at));
    assert!(at == version && at > run, "{told:?}");

    // The same file later is a newer run and lives, and can be erased again.
    process(&home, &[plain], 0).await;
    let back = support::header(&app, "plain.txt").await;
    assert!(back.key == gone.key && back.current.unwrap().run > at);
    assert_eq!(hits().await[0]["document_id"], gone.key.document_id.as_str());
    home.deckle(["erase", &gone.key.document_id, "--yes"]).await.ended(0);
    assert_gone(&home, &app, &gone.key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_and_nothing_else_from_sqlite() {
    a_document_goes_and_nothing_else(Home::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_and_nothing_else_from_cassandra() {
    a_document_goes_and_nothing_else(on_cassandra().await).await;
}

/// Erases a document that some stages are done with, lets all stages run, and looks what is left.
async fn erased_in_flight(home: &Home, number: usize, done: &[&str]) {
    let inbox = home.join(format!("inbox-{number}"));
    std::fs::create_dir(&inbox).unwrap();
    support::write_copy(&inbox, "handbook.pdf", number);
    let queued = home.deckle(["ingest".as_ref(), inbox.as_os_str(), "--json".as_ref()]).await.ended(0).json();
    let key =
        DocumentKey { tenant: "default".into(), document_id: queued[0]["document_id"].as_str().unwrap().to_owned() };
    if !done.is_empty() {
        support::work(home, done).await;
    }
    let app = home.app();
    assert_eq!(ends(&app, &key).await, [], "it is in flight after {done:?}");
    assert!(blobs(home, &key) > 0);
    let ran = home.deckle(["erase", &key.document_id, "--yes", "--json"]).await.ended(0);
    assert_eq!(ran.json()["erased"][0]["document_id"], key.document_id.as_str());
    support::work(home, &[]).await;

    assert_gone(home, &app, &key).await;
    let told = ends(&app, &key).await;
    assert_eq!(told.len(), 3, "after {done:?}: the erasure twice, and the run that was in flight, once: {told:?}");
    let whole = told.iter().max_by_key(|end| end.1).unwrap();
    assert!(told.iter().all(|end| end.0 == Status::Erased) && whole == &told[1], "after {done:?}: {told:?}");
}

/// The stages of a document's path, in order.
const PATH: [&str; 5] = ["split", "ocr", "vision", "assemble", "language"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_of_an_erased_document_ends_once_and_leaves_nothing_in_sqlite() {
    let home = Home::new();
    for done in 0..=PATH.len() {
        erased_in_flight(&home, done, &PATH[..done]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_of_an_erased_document_ends_once_and_leaves_nothing_in_cassandra() {
    let home = on_cassandra().await;
    for done in [0, 3, 5] {
        erased_in_flight(&home, done, &PATH[..done]).await;
    }
}

fn key(tenant: &str, document_id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.into(), document_id: document_id.into() }
}

fn intake(run: i64, filename: &str) -> Submission {
    Submission {
        run,
        source: Source { filename: filename.into(), ..Source::unknown() },
        upload_id: format!("upload-{run}"),
        fingerprint: String::new(),
        page_count: 1,
        attributes: Default::default(),
        access: Vec::new(),
    }
}

/// Brings a document in, as far as the store and the blob store know of it.
async fn take_in(app: &App, key: &DocumentKey, run: i64, filename: &str) {
    app.store.put_intake(key, &intake(run, filename), run).await.unwrap();
    let content = Bytes::from(format!("{key:?} {run}"));
    app.blobs.put(&key.tenant, &key.document_id, "text/plain", content).await.unwrap();
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

async fn a_sweep_does_the_rest(home: Home) {
    let app = home.app();
    let now = jiff::Timestamp::now().as_microsecond();
    let [cut_off, late, alive] = ["cut-off", "late", "alive"].map(|name| key("t", name));
    for key in [&cut_off, &late, &alive] {
        take_in(&app, key, now - 10, "a.txt").await;
    }
    // Killed between the tombstone and the blobs.
    app.store.erase(&cut_off, now).await.unwrap();
    for key in [&late, &alive] {
        erasure::erase(&*app.log, &*app.store, &*app.blobs, key).await.unwrap();
        assert_gone(&home, &app, key).await;
    }
    // A run in flight writes on; somebody brings the other one in again.
    take_in(&app, &late, now - 10, "a.txt").await;
    let erased = jiff::Timestamp::now().as_microsecond();
    take_in(&app, &alive, erased + 10, "a.txt").await;
    assert_eq!([&cut_off, &late, &alive].map(|key| blobs(&home, key)), [1, 1, 1]);

    let sweep = async |after: Duration| erasure::sweep(&*app.store, &*app.blobs, erased + micros(after)).await.unwrap();
    let early = sweep(2 * IN_FLIGHT - Duration::from_mins(10)).await;
    assert_eq!((early.erasures, early.blobs), (0, 0), "something may be in flight");
    let swept = sweep(2 * IN_FLIGHT + Duration::from_secs(1)).await;
    assert_eq!((swept.erasures, swept.blobs), (3, 2));
    assert_gone(&home, &app, &cut_off).await;
    assert_gone(&home, &app, &late).await;
    assert_eq!(blobs(&home, &alive), 1, "it lives again");
    assert_eq!(app.store.header(&alive).await.unwrap().unwrap().status(), Status::Processing);
    assert_eq!(sweep(3 * IN_FLIGHT).await.erasures, 0, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_does_the_rest_of_an_erasure_that_was_cut_off_in_sqlite() {
    a_sweep_does_the_rest(Home::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_does_the_rest_of_an_erasure_that_was_cut_off_in_cassandra() {
    a_sweep_does_the_rest(on_cassandra().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_is_erased_and_a_later_one_is_not() {
    let home = Home::new();
    let app = home.app();
    let path = support::samples().join("plain.txt");
    let queue = async || {
        let queued = home.deckle(["ingest".as_ref(), path.as_os_str(), "--json".as_ref()]).await.ended(0).json();
        key("default", queued[0]["document_id"].as_str().unwrap())
    };
    let document = queue().await;
    let waits = support::records(&app, Uploaded::TOPIC).await.last().unwrap().appended_at_us;
    let erased = erasure::erase(&*app.log, &*app.store, &*app.blobs, &document).await.unwrap();
    assert!(erased.erased_at > waits, "by the clock of the log");
    assert_eq!(app.store.header(&document).await.unwrap().unwrap().erased_at, Some(erased.erased_at));
    let again = home.deckle(["process".as_ref(), "--force".as_ref(), path.as_os_str()]).await;
    again.ended(0);
    let header = app.store.header(&document).await.unwrap().unwrap();
    assert!(header.status() == Status::Published && header.current.unwrap().run > erased.erased_at);
    let told: Vec<_> = ends(&app, &document).await.iter().map(|end| end.0).collect();
    assert_eq!(told, [Status::Erased, Status::Erased, Status::Erased, Status::Published]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_log_dates_ahead_of_this_clock_is_erased_too() {
    let home = Home::new();
    let app = home.app();
    let (key, ahead) = (key("t", "d"), jiff::Timestamp::now().as_microsecond() + 60_000_000);
    take_in(&app, &key, ahead, "a.txt").await;
    home.deckle(["erase", "t/d", "--yes"]).await.ended(0);
    assert_gone(&home, &app, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_asks_first_and_takes_names_at_their_word() {
    let home = Home::new();
    let app = home.app();
    let names = [("default", "d1"), ("default", "d10"), ("acme", "d1"), ("acme", "x/y")].map(|(t, d)| key(t, d));
    for (number, name) in (0..).zip(&names) {
        take_in(&app, name, 10, &format!("{number}.txt")).await;
    }
    let alive = async || {
        let headers = support::headers(&app).await;
        headers.into_iter().filter(|it| it.status() != Status::Erased).map(|it| it.key).collect::<Vec<_>>()
    };
    let all = alive().await;
    assert_eq!(all.len(), names.len());

    let refused = home.deckle(["erase", "d1"]).await.ended(2).stderr;
    assert!(refused.contains("add --yes") && refused.lines().count() == 1, "{refused}");
    home.deckle(["erase", "--yes"]).await.ended(2);
    home.deckle(["erase", "d1", "--tenant", "acme", "--yes"]).await.ended(2);
    let several = home.deckle(["erase", "d", "--yes"]).await.ended(2).stderr;
    assert!(several.contains("acme/d1 or default/d1 or default/d10"), "{several}");
    let unknown = home.deckle(["erase", "acme/nope", "--yes"]).await.ended(2).stderr;
    assert!(unknown.contains("no document is called `acme/nope`"), "{unknown}");
    let shown = home.deckle(["erase", "--tenant", "acme", "--dry-run"]).await.ended(0).stdout;
    assert!(shown.contains("2.txt") && shown.contains("2 documents") && shown.contains("nothing was done"), "{shown}");
    assert_eq!(alive().await, all, "so far nothing was erased");

    // A whole id of the configured tenant, not what starts like it.
    assert_eq!(home.deckle(["erase", "d1", "--yes"]).await.ended(0).stdout, "1 document erased, 1 blob removed\n");
    assert_eq!(alive().await, [names[2].clone(), names[3].clone(), names[1].clone()]);
    home.deckle(["erase", "3.txt", "acme/x/y", "--yes"]).await.ended(0);
    assert_eq!(alive().await, [names[2].clone(), names[1].clone()]);
    home.deckle(["erase", "--tenant", "acme", "--yes"]).await.ended(0);
    assert_eq!(alive().await, [names[1].clone()], "another tenant keeps what it has");
    home.deckle(["erase", "--tenant", "nobody", "--yes"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_tenant_that_was_killed_is_finished_by_the_same_command() {
    const DOCUMENTS: usize = 300;
    let home = Home::new();
    let app = home.app();
    let keys: Vec<_> = (0..DOCUMENTS).map(|number| key("t", &format!("{number:04}"))).collect();
    for key in &keys {
        take_in(&app, key, 10, "a.txt").await;
    }
    let arguments = ["erase", "--tenant", "t", "--yes"];
    let mut erasing = Started::new(home.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()));
    support::within("the first erasure", async {
        while app.store.erasures(i64::MAX, 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    erasing.signal(libc::SIGKILL);
    erasing.wait().await;
    let begun = app.store.erasures(i64::MAX, usize::MAX).await.unwrap().len();
    println!("{begun} of {DOCUMENTS} erasures were begun");
    assert!((1..DOCUMENTS).contains(&begun), "it was killed midway");
    home.deckle(arguments).await.ended(0);
    for key in &keys {
        assert_gone(&home, &app, key).await;
    }
}
