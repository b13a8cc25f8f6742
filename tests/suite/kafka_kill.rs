//! On a cluster of three brokers: workers of every stage killed at any moment, brokers killed, partitions moved by
//! members that come and go. The end is that of an undisturbed run, and every end is told once.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use deckle::{
    contract::record::{Event, Published, Uploaded},
    log::{NewRecord, Topic},
};

use crate::support::{self, Dice, Home, Started, servers::Broker};

/// How much of everything.
struct Ordeal {
    /// Documents, good and bad.
    documents: usize,
    /// Workers killed.
    kills: usize,
    /// Brokers killed, and started again.
    broker_kills: usize,
}

/// Between two kills: from the first records in flight to a few seconds' work.
const PEACE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(2_500));

/// The workers: together they run every stage at least twice, so that a kill always takes something over.
const WORKERS: [&[&str]; 4] =
    [&["--stage", "split,assemble,publish,dead_letters"], &["--stage", "ocr,vision"], &["--stage", "language"], &[]];

/// Uploads that nobody can decode, among every so many documents.
const GARBAGE: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_and_a_killed_broker_change_nothing() {
    survive(&Ordeal { documents: 160, kills: 6, broker_kills: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn thirty_killed_workers_and_two_killed_brokers_change_nothing() {
    survive(&Ordeal { documents: 2_000, kills: 30, broker_kills: 2 }).await;
}

async fn survive(ordeal: &Ordeal) {
    let mut dice = Dice::new();
    let mut cluster = Broker::start(3).await;
    let home = Home::new();
    home.configure(&format!("[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\n", cluster.brokers()));
    home.deckle(["topics", "apply"]).await.ended(0);
    let mut workers: Vec<Started> = WORKERS.iter().map(|arguments| worker(&home, arguments)).collect();
    let mut guest: Option<Started> = None;

    let started = std::time::Instant::now();
    let mut fed = 0;
    let mut total = 0;
    for kill in 0..ordeal.kills {
        let until = ordeal.documents * (kill + 1) / ordeal.kills;
        total += feed(&home, fed, until).await;
        fed = until;
        // The moment of death is what the test is about; nothing is waited for here.
        tokio::time::sleep(dice.delay(PEACE.0, PEACE.1)).await;
        if kill % (ordeal.kills / ordeal.broker_kills) == ordeal.kills / ordeal.broker_kills / 2 {
            let node = 1 + usize::try_from(dice.below(3)).unwrap();
            println!("kill {kill}: broker {node}");
            cluster.kill(node).await;
            tokio::time::sleep(dice.delay(PEACE.0, PEACE.1)).await;
            cluster.start_again(node).await;
        }
        let which = usize::try_from(dice.below(WORKERS.len() as u64)).unwrap();
        println!("kill {kill}: worker {:?}", WORKERS[which]);
        assert!(workers[which].ended().is_none(), "a worker ended by itself: {}", complaints(&home));
        workers[which].signal(libc::SIGKILL);
        workers[which].wait().await;
        workers[which] = worker(&home, WORKERS[which]);
        // A guest comes and leaves in peace: partitions move there and back.
        match guest.take() {
            None => guest = Some(worker(&home, &[])),
            Some(mut leaving) => {
                leaving.signal(libc::SIGTERM);
                assert_eq!(leaving.wait().await.code(), Some(0), "it drains and leaves: {}", complaints(&home));
            }
        }
    }
    workers.extend(guest);
    until_ended(&home, total).await;
    println!("{total} documents in {:?}", started.elapsed());
    for mut worker in workers {
        assert!(worker.ended().is_none(), "a worker ended by itself: {}", complaints(&home));
        worker.signal(libc::SIGTERM);
        assert_eq!(worker.wait().await.code(), Some(0), "it drains and leaves: {}", complaints(&home));
    }
    let quiet = undisturbed(ordeal).await;
    assert_same(&home, &quiet, total).await;
}

fn worker(home: &Home, arguments: &[&str]) -> Started {
    let complaints = std::fs::File::options().create(true).append(true).open(home.join("stderr")).unwrap();
    let mut command = home.command(["run", "--listen", ""]);
    Started::new(command.args(arguments).stdout(std::process::Stdio::null()).stderr(complaints))
}

/// The end of what the workers said.
fn complaints(home: &Home) -> String {
    let all = std::fs::read_to_string(home.join("stderr")).unwrap();
    let lines: Vec<_> = all.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Queues documents of these numbers, and uploads that nobody can decode; tells how many documents they make.
async fn feed(home: &Home, from: usize, to: usize) -> usize {
    let inbox = home.join(format!("inbox-{from}"));
    std::fs::create_dir(&inbox).unwrap();
    (from..to).for_each(|number| write_document(&inbox, number));
    // A broker may be down: the same command again goes on where it was.
    let mut tries = 0;
    loop {
        let ran = home.deckle(["ingest".as_ref(), inbox.as_os_str(), "--bulk".as_ref()]).await;
        if ran.code == Some(0) {
            break;
        }
        tries += 1;
        assert!(tries < 5, "{ran:?}");
    }
    let garbage: Vec<NewRecord> = (from..to).filter(|number| number % GARBAGE == 0).map(undecodable).collect();
    let count = garbage.len();
    if count > 0 {
        home.app().log.append(garbage).await.unwrap();
    }
    to - from + count
}

/// Most are short texts; some have pages, a few need recognition, one in eight is bad.
fn write_document(inbox: &Path, number: usize) {
    const BAD: [&str; 6] = ["binary.bin", "encrypted.pdf", "not-a.pdf", "truncated.pdf", "truncated.png", "table.docx"];
    match number {
        _ if number % 8 == 3 => copy(inbox, &support::bad().join(BAD[number / 8 % BAD.len()]), number),
        _ if number % 20 == 5 => copy(inbox, &support::samples().join("handbook.pdf"), number),
        _ if number % 160 == 7 => copy(inbox, &support::samples().join("letter.png"), number),
        _ => support::write_texts(inbox, number, 1),
    }
}

/// A copy whose bytes, and with them its document, are like no other's.
fn copy(inbox: &Path, file: &PathBuf, number: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.extend_from_slice(format!("\n% copy {number}\n").as_bytes());
    std::fs::write(inbox.join(format!("copy-{number:04}-{}", file.file_name().unwrap().display())), bytes).unwrap();
}

/// An upload of which the headers alone can be read.
fn undecodable(number: usize) -> NewRecord {
    let headers =
        [("tenant", "default"), ("document", &format!("garbage-{number}")), ("upload", &format!("g-{number}"))];
    NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: "default".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        value: Bytes::from(format!("no event at all {number}")),
    }
}

/// Waits until so many documents have ended.
async fn until_ended(home: &Home, count: usize) {
    let app = home.app();
    let mut tail = app.log.tail(&[Topic::from(Published::TOPIC)], deckle::log::From::Start).await.unwrap();
    let mut ended = 0;
    while ended < count {
        let more = tokio::time::timeout(support::DEADLINE, tail.next()).await;
        let more = more.unwrap_or_else(|_| panic!("{ended} of {count} ended, then nothing: {}", complaints(home)));
        ended += more.unwrap().len();
    }
}

/// The same documents, in peace, on the embedded log.
async fn undisturbed(ordeal: &Ordeal) -> Home {
    let home = Home::new();
    let total = feed(&home, 0, ordeal.documents).await;
    let mut one = worker(&home, &[]);
    until_ended(&home, total).await;
    one.signal(libc::SIGTERM);
    assert_eq!(one.wait().await.code(), Some(0));
    home
}

async fn assert_same(disturbed: &Home, undisturbed: &Home, total: usize) {
    let (ours, theirs) = (disturbed.app(), undisturbed.app());
    for app in [&ours, &theirs] {
        support::assert_each_end_is_told_once(app).await;
        assert_eq!(support::events::<Published>(app).await.len(), total, "one end for each document");
    }
    let (all_ours, all_theirs) = (support::all_seen(&ours).await, support::all_seen(&theirs).await);
    assert!(all_ours.keys().eq(all_theirs.keys()), "other documents");
    for (key, seen) in &all_ours {
        seen.assert_like(&all_theirs[key]);
    }
    assert_eq!(support::letters(&ours).await, support::letters(&theirs).await, "other dead letters");
}
