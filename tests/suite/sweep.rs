//! Sweeps on the whole program: what nobody needs any more goes, and nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use deckle::{
    app::App,
    contract::record::{Event, Published, Status, Uploaded, topics},
    log::Topic,
    runtime::sweep::{self, Documents, Mode, Removed},
    store::{Header, RunKey, StateName},
};

use crate::support::{self, Home, Started, servers};

const AN_HOUR: i64 = 3_600_000_000;

/// Settings under which no page can be rendered: pages without a text layer fail.
const NO_RENDERING: &str = "[decode]\nmax_pixels = 30000\n";
/// Settings under which pages look otherwise.
const COARSER: &str = "[decode]\nrender_dpi = 150\n";

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn sample(name: &str) -> PathBuf {
    support::samples().join(name)
}

async fn process(home: &Home, files: &[PathBuf], code: i32) {
    let mut command = home.command(["process", "--force"]);
    support::run(command.args(files)).await.ended(code);
}

/// Sweeps every document as of an hour from now, when all that there is will be old.
async fn swept(app: &App, mode: Mode) -> Removed {
    let sweep = Documents::until(now() + AN_HOUR, &*app.store, &*app.blobs).await.unwrap();
    let mut removed = Removed::default();
    sweep.all(mode, &mut |_, of_one| removed += of_one).await.unwrap();
    removed
}

fn blobs(home: &Home) -> Vec<PathBuf> {
    support::files(&home.join("data/blobs")).into_keys().collect()
}

/// What readers get of all documents in every form, pictures included.
async fn exports(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let out = home.join("out");
    let _ = std::fs::remove_dir_all(&out);
    for header in support::headers(&home.app()).await {
        for form in ["md", "json"] {
            let shown = home.deckle(["show", &header.key.document_id, "--to", form]).await.ended(0);
            let folder = out.join(&header.key.document_id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(form), shown.stdout).unwrap();
        }
    }
    support::files(&out)
}

async fn only_what_readers_see_stays(home: Home, settings: &str) {
    let files = ["mixed.pdf", "letter.png", "notes.md"].map(sample);
    for more in ["", COARSER, ""] {
        home.configure(&format!("{settings}{more}"));
        process(&home, &files, 0).await;
    }
    let app = home.app();
    let (seen, exported, before) = (support::all_seen(&app).await, exports(&home).await, blobs(&home));
    let first_runs: Vec<i64> = {
        let ends = support::events::<Published>(&app).await;
        ends.iter().map(|end| end.envelope.run).collect()
    };

    let would_go = swept(&app, Mode::DryRun).await;
    assert!(would_go.documents == 3 && would_go.rows > 0 && would_go.blobs > 0 && would_go.bytes > 0, "{would_go:?}");
    assert_eq!(blobs(&home), before, "nothing went");
    assert_eq!(swept(&app, Mode::Apply).await, would_go);
    assert_eq!(before.len() - blobs(&home).len(), usize::try_from(would_go.blobs).unwrap());
    assert_eq!(swept(&app, Mode::Apply).await, Removed::default());

    let after = support::all_seen(&app).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), seen.keys().collect::<Vec<_>>());
    for (key, seen) in &seen {
        after[key].assert_like(seen);
    }
    assert!(exports(&home).await == exported, "readers get what they got before");
    let left: BTreeSet<PathBuf> = blobs(&home).into_iter().collect();
    for header in support::headers(&app).await {
        let document = serde_json::to_string(&support::document(&app, &header).await).unwrap();
        let is_named = |blob: &&PathBuf| document.contains(blob.file_name().unwrap().to_str().unwrap());
        assert!(before.iter().filter(is_named).all(|blob| left.contains(blob)), "pictures of {:?}", header.key);
        let current = header.current.as_ref().unwrap().run;
        for run in first_runs.iter().filter(|run| **run != current) {
            let run = RunKey { document: header.key.clone(), run: *run };
            assert_eq!(app.store.pages(&run).await.unwrap(), []);
        }
        assert!(header.removed_below <= Some(current));
    }
    // The same files again are worked on as ever.
    home.configure(settings);
    process(&home, &files, 0).await;
    assert!(exports(&home).await == exported);
    support::assert_each_end_is_told_once(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_readers_see_stays_on_sqlite() {
    only_what_readers_see_stays(Home::new(), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_readers_see_stays_on_cassandra() {
    let home = Home::on_cassandra(&servers::shared_cassandra(), "");
    home.deckle(["store", "apply"]).await.ended(0);
    let settings = std::fs::read_to_string(home.join("deckle.toml")).unwrap();
    only_what_readers_see_stays(home, &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_publication_and_each_failure_comes_due_once() {
    let home = Home::new();
    let (notes, broken) = (sample("notes.md"), support::bad().join("truncated.pdf"));
    process(&home, &[notes.clone(), broken.clone()], 1).await;
    let app = home.app();
    let due = async |horizon| {
        let sweep = Documents::until(horizon, &*app.store, &*app.blobs).await.unwrap();
        sweep.those_that_came_due().await.unwrap()
    };
    assert_eq!(due(now() - AN_HOUR).await, Removed::default(), "all are younger");
    home.deckle(["dead-letters", "drop", "--all"]).await.ended(0);
    let first = due(now() + AN_HOUR).await;
    assert!(first.documents >= 1 && first.rows == 0 && first.blobs > 0, "{first:?}");
    assert_eq!(due(now() + AN_HOUR).await, Removed::default(), "each once");

    // By another process, which knows where the first one stopped.
    process(&home, &[notes, broken], 1).await;
    home.deckle(["dead-letters", "drop", "--all"]).await.ended(0);
    let other = home.app();
    let sweep = Documents::until(now() + 2 * AN_HOUR, &*other.store, &*other.blobs).await.unwrap();
    let second = sweep.those_that_came_due().await.unwrap();
    assert!(second.rows > 0 && second.blobs > 0, "{second:?}");
    assert_eq!(due(now() + 2 * AN_HOUR).await, Removed::default());
    assert_eq!(swept(&app, Mode::DryRun).await, Removed::default(), "and nothing was passed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_is_younger_than_the_oldest_record_on_its_way() {
    let home = Home::new();
    process(&home, &[sample("notes.md")], 0).await;
    let app = home.app();
    let grace = Duration::from_secs(60);
    let before = now();
    let idle = sweep::horizon(&*app.log, before, grace).await.unwrap();
    assert_eq!(idle, before - 60_000_000);

    home.deckle(["ingest".as_ref(), sample("plain.txt").as_os_str()]).await.ended(0);
    let appended = support::records(&app, Uploaded::TOPIC).await.last().unwrap().appended_at_us;
    // However late it is: the age of what waits is taken off, and then the grace. Its file was stored a moment before.
    let waiting = sweep::horizon(&*app.log, now(), grace).await.unwrap();
    assert!(waiting <= appended - 60_000_000, "{waiting} {appended}");
}

/// A document of which a page failed, and its header.
async fn partial(home: &Home) -> Header {
    home.configure(NO_RENDERING);
    process(home, &[sample("mixed.pdf")], 0).await;
    home.configure("");
    let header = support::header(&home.app(), "mixed.pdf").await;
    assert_eq!(header.status(), Status::Partial);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redrive_needs_stays_until_its_letter_is_settled() {
    let home = Home::new();
    partial(&home).await;
    let app = home.app();
    assert_eq!(swept(&app, Mode::Apply).await, Removed::default());
    home.deckle(["dead-letters", "redrive", "--all"]).await.ended(0);
    support::work(&home, &[]).await;
    assert_eq!(support::header(&app, "mixed.pdf").await.status(), Status::Published);

    assert!(swept(&app, Mode::Apply).await.blobs > 0);
    let kept = Duration::from_secs(1_800);
    let letters = async |now, mode| sweep::dead_letters(&*app.store, now, kept, mode).await.unwrap();
    assert_eq!(letters(now(), Mode::Apply).await.0, 0, "too young");
    let of = support::header(&app, "mixed.pdf").await.key;
    assert_eq!(letters(now() + AN_HOUR, Mode::DryRun).await, (1, HashSet::from([of.clone()])));
    assert_eq!(letters(now() + AN_HOUR, Mode::Apply).await, (1, HashSet::from([of])));
    assert_eq!(letters(now() + AN_HOUR, Mode::Apply).await, (0, HashSet::new()));
    home.deckle(["show", "mixed.pdf", "--to", "json"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_run_that_was_removed_says_so_and_is_not_redriven() {
    let home = Home::new();
    partial(&home).await;
    process(&home, &[sample("mixed.pdf")], 0).await;
    let app = home.app();
    assert!(swept(&app, Mode::Apply).await.rows > 0);
    let counts = support::record_counts(&app).await;
    let ran = home.deckle(["dead-letters", "redrive", "--all"]).await.ended(1);
    assert!(ran.stderr.contains("a newer run of its document was published"), "{ran:?}");
    assert_eq!(support::record_counts(&app).await, counts);
    let listed = home.deckle(["dead-letters", "list", "--json"]).await.ended(0).json();
    assert_eq!(listed["dead_letters"][0]["state"], StateName::Open.as_str(), "it can be dropped");
    home.deckle(["dead-letters", "drop", "--all"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_shows_what_would_go_and_removes_it_when_it_is_told_to() {
    let home = Home::new();
    for settings in ["", COARSER, "[retention]\nruns_s = 0\n"] {
        home.configure(settings);
        process(&home, &[sample("plain.txt")], 0).await;
    }
    let before = blobs(&home);
    let dry = home.deckle(["gc"]).await.ended(0).stdout;
    assert!(dry.lines().any(|line| line.starts_with("│ rows of older runs")), "{dry}");
    assert!(dry.ends_with("stays; nothing was removed: --apply does\n"), "{dry}");
    let told = home.deckle(["gc", "--json"]).await.ended(0).json();
    assert_eq!((&told["applied"], &told["documents"], &told["claims"]), (&false.into(), &1.into(), &().into()));
    assert!(told["rows"].as_u64().unwrap() > 0 && told["blob_bytes"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(blobs(&home), before);

    let done = home.deckle(["gc", "--apply", "--json"]).await.ended(0).json();
    assert_eq!((&done["rows"], &done["blobs"]), (&told["rows"], &told["blobs"]));
    assert_eq!((&done["applied"], &done["claims"], &done["records"]), (&true.into(), &0.into(), &0.into()));
    assert_eq!(before.len() as u64 - blobs(&home).len() as u64, told["blobs"].as_u64().unwrap());
    let again = home.deckle(["gc"]).await.ended(0).stdout;
    assert!(again.contains("0 of 1 document;"), "{again}");
    home.deckle(["show", "plain.txt", "--to", "md"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sweeps_by_itself_and_begins_anew_where_its_cursor_is_refused() {
    let home = Home::new();
    home.configure("[retention]\nruns_s = 0\n");
    for _ in 0..2 {
        process(&home, &[sample("plain.txt"), sample("notes.md")], 0).await;
    }
    let app = home.app();
    let headers = support::headers(&app).await;
    let refused = r#"{"feed":"of another listing","ended_before":null}"#;
    loop {
        let before = app.store.progress("documents").await.unwrap();
        if app.store.advance("documents", before.as_deref(), refused).await.unwrap() {
            break;
        }
    }
    // Of the first page of the feed only a part is old enough: the refused cursor must not be asked for it again.
    let published = app.store.feed(None, 0).await.unwrap().entries;
    assert!(published.len() > 1, "{published:?}");
    let sweep = Documents::until(published[0].at + 1, &*app.store, &*app.blobs).await.unwrap();
    sweep.those_that_came_due().await.unwrap();
    assert_ne!(app.store.progress("documents").await.unwrap().as_deref(), Some(refused));

    let (mut run, _) = support::working(&home, &[]).await;
    support::within("the worker has swept", async {
        for header in &headers {
            let current = header.current.as_ref().unwrap().run;
            while app.store.rows_below(&header.key, current).await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));
}

/// Rows of every table and pages of both databases, and the number of blobs.
fn sizes(home: &Home) -> BTreeMap<String, i64> {
    let mut sizes = BTreeMap::new();
    for name in ["store.sqlite", "log.sqlite"] {
        let database = rusqlite::Connection::open(home.join("data").join(name)).unwrap();
        let mut tables = database
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
            .unwrap();
        let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for table in tables {
            let rows = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
            sizes.insert(format!("{name} {table}"), rows);
        }
        let pages = |pragma| database.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0)).unwrap();
        sizes.insert(format!("{name} pages in use"), pages("page_count") - pages("freelist_count"));
    }
    sizes.insert("blobs".to_owned(), blobs(home).len() as i64);
    sizes
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_read_again_and_again_take_no_more_room() {
    const DOCUMENTS: usize = 30;
    const ROUNDS: usize = 4;
    let home = Home::new();
    std::fs::create_dir(home.join("in")).unwrap();
    support::write_texts(&home.join("in"), 0, DOCUMENTS);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        home.configure(if round % 2 == 0 { "" } else { COARSER });
        process(&home, &[home.join("in")], 0).await;
        let app = home.app();
        swept(&app, Mode::Apply).await;
        // As of a time when every topic is past its retention.
        let later = now() + 400 * 24 * AN_HOUR;
        sweep::result_topics(&*app.log, later).await.unwrap();
        let work: Vec<(Topic, Vec<String>)> = topics::all()
            .iter()
            .filter(|topic| topic.is_work())
            .map(|topic| (Topic::from(topic.name.as_str()), topic.consumers.clone()))
            .collect();
        app.log.trim(&work, later).await.unwrap();
        sweep::claims(&*app.store, later + AN_HOUR).await.unwrap();
        drop(app);
        rounds.push(sizes(&home));
    }
    // Rounds of the same settings give the same; the first one of all makes tables and spaces.
    let (before, after) = (&rounds[ROUNDS - 3], &rounds[ROUNDS - 1]);
    for (what, size) in after {
        assert!(*size <= before[what] + before[what] / 20, "{what}: {} and then {size}", before[what]);
    }
    assert_eq!(after["store.sqlite chunks"], DOCUMENTS as i64, "{after:?}");
    assert_eq!(after["log.sqlite records"], 0, "{after:?}");
    assert_eq!((after["store.sqlite uploads"], after["store.sqlite ends"]), (0, 0), "{after:?}");
}

/// What a worker takes at a moment: resident memory in KiB, open descriptors, and bytes of its data on disk.
fn taken(home: &Home, run: &Started) -> (i64, usize, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = resident.trim().trim_end_matches(" kB").parse().unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count();
    (resident, descriptors, bytes_below(&home.join("data")))
}

/// Bytes of all files below a folder, some of which may vanish meanwhile.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// `DECKLE_SOAK_DOCUMENTS` documents, 20,000 without it, are read twice under changed settings, while a worker sweeps.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than half an hour: make soak"]
async fn a_worker_of_many_documents_takes_no_more_memory_disk_or_descriptors() {
    const SAMPLES: usize = 20;
    let documents =
        std::env::var("DECKLE_SOAK_DOCUMENTS").map_or(20_000, |number| number.parse::<usize>().expect("a number"));
    let home = Home::new();
    std::fs::create_dir(home.join("in")).unwrap();
    support::write_texts(&home.join("in"), 0, documents);
    let kept = "[log]\nkeep_s = 0\n[retention]\nruns_s = 0\n";
    let mut rounds = Vec::new();
    for settings in [kept.to_owned(), format!("{kept}{COARSER}")] {
        home.configure(&settings);
        let queued = home.deckle(["ingest".as_ref(), home.join("in").as_os_str(), "--json".as_ref()]).await.ended(0);
        assert_eq!(queued.json().as_array().unwrap().len(), documents);
        let app = home.app();
        let before = support::events::<Published>(&app).await.len();
        let (mut run, _) = support::working(&home, &[]).await;
        let mut curve = Vec::new();
        for sample in 1..=SAMPLES {
            let wanted = documents * sample / SAMPLES;
            while support::events::<Published>(&app).await.len() - before < wanted {
                assert!(run.ended().is_none(), "the worker stopped");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let (resident, descriptors, bytes) = taken(&home, &run);
            println!("{wanted} documents: {resident} KiB resident, {descriptors} descriptors, {bytes} bytes on disk");
            curve.push((resident, descriptors));
        }
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait().await.code(), Some(0));
        home.deckle(["gc", "--apply"]).await.ended(0);
        let (half, end) = (curve[SAMPLES / 2 - 1], curve[SAMPLES - 1]);
        assert!(end.0 <= half.0 + half.0 / 20, "memory grows: {curve:?}");
        assert!(end.1 <= half.1 + 8, "descriptors grow: {curve:?}");
        drop(app);
        rounds.push((bytes_below(&home.join("data")), blobs(&home).len()));
        println!("after gc: {rounds:?}");
    }
    let [(first_bytes, first_blobs), (bytes, blobs)] = rounds[..] else { panic!("two rounds") };
    assert_eq!(blobs, first_blobs);
    assert!(bytes <= first_bytes + first_bytes / 4, "the second reading takes room: {rounds:?}");
}
