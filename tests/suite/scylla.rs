//! The whole pipeline on a real database: with the results in Cassandra everything reads as it does from SQLite, on both
//! logs; and while the database is away everybody waits, says so, and goes on.

use std::time::Duration;

use deckle::{
    app::App,
    contract::record::{Event, Published, Status},
    models::Catalogue,
    store::{Query, QueryVector},
};

use crate::support::{
    self, Home, Started,
    servers::{self, Cassandra},
};

/// How often a state that nobody announces is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A log on the broker of all tests, under a prefix of its own.
fn kafka() -> String {
    let prefix = format!("test-{}.", uuid::Uuid::now_v7().simple());
    format!(
        "[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\nprefix = \"{prefix}\"\n",
        servers::shared_kafka()
    )
}

/// Starts a worker; what it logs stays beside its data.
fn worker(home: &Home) -> Started {
    let complaints = std::fs::File::options().create(true).append(true).open(home.join("stderr")).unwrap();
    let mut command = home.command(["run", "--listen", "127.0.0.1:0", "--json"]);
    Started::new(command.stdout(std::process::Stdio::null()).stderr(complaints))
}

/// Where the first worker of a home answers.
async fn address(home: &Home) -> String {
    let told = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        entry["fields"]["address"].as_str().map(str::to_owned)
    };
    support::until("the address in the log", || complaints(home).lines().find_map(told)).await
}

/// Waits until a worker says that it is ready, or that the database is away.
async fn until_ready(address: &str, is_ready: bool) {
    support::within(&format!("a worker that says ready: {is_ready}"), async {
        loop {
            let (status, body) = support::get(address, "/readyz").await;
            match (status, is_ready) {
                (200, true) => return,
                (503, false) if body.contains("waiting for scylla") => return,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    })
    .await;
}

/// Waits until so many documents ended, by the log: the store may be away.
async fn until_ended(app: &App, count: usize) -> usize {
    support::within(&format!("{count} documents ended"), async {
        loop {
            let ended = support::records(app, Published::TOPIC).await.len();
            if ended >= count {
                return ended;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

fn complaints(home: &Home) -> String {
    std::fs::read_to_string(home.join("stderr")).unwrap()
}

async fn stop(mut worker: Started, home: &Home) {
    worker.signal(libc::SIGTERM);
    assert_eq!(worker.wait().await.code(), Some(0), "it drains and leaves: {}", complaints(home));
}

/// Reads all samples and all bad files, and writes exports.
async fn process(home: &Home) {
    let out = home.join("out");
    let mut command = home.command(["process"]);
    command.args([support::samples(), support::bad()]).arg("--out").arg(out);
    support::run(&mut command).await.ended(1);
}

/// Fails the test unless both hold the same documents, chunks, vectors, dead letters and exports, and answer alike.
async fn assert_same(ours: &Home, theirs: &Home) {
    support::assert_same_exports(ours, theirs);
    let (our_app, their_app) = (ours.app(), theirs.app());
    let (all_ours, all_theirs) = (support::all_seen(&our_app).await, support::all_seen(&their_app).await);
    assert!(!all_ours.is_empty() && all_ours.keys().eq(all_theirs.keys()), "other documents");
    for (key, seen) in &all_ours {
        seen.assert_like(&all_theirs[key]);
    }
    for app in [&our_app, &their_app] {
        support::assert_each_end_is_told_once(app).await;
        assert_eq!(support::events::<Published>(app).await.len(), all_ours.len(), "one end for each document");
    }
    assert_eq!(support::letters(&our_app).await, support::letters(&their_app).await, "other dead letters");
    let (_, vector) = all_ours.values().find_map(|seen| seen.vectors.first()).expect("some document has chunks");
    let vector = QueryVector { model: Catalogue::load().models[0].name.clone(), vector: vector.clone() };
    let query = Query { vector: Some(vector), k: 10, ..Query::default() };
    let hits = [our_app.store.search(&query).await.unwrap(), their_app.store.search(&query).await.unwrap()];
    let [hits, other_hits] = hits.map(|hits| {
        hits.into_iter().map(|hit| (hit.key, hit.chunk.chunk_no, format!("{:.2}", hit.score))).collect::<Vec<_>>()
    });
    assert!(!hits.is_empty());
    assert_eq!(hits, other_hits, "other hits");
    for arguments in [&["list"][..], &["list", "--status", "failed"], &["dead-letters", "list"]] {
        let [ours, theirs] = [ours.deckle(arguments).await.ended(0), theirs.deckle(arguments).await.ended(0)];
        assert_eq!(files(&ours.stdout), files(&theirs.stdout), "{arguments:?}");
    }
}

/// The samples and bad files that a table names, in its order: ids and times differ between runs.
fn files(table: &str) -> Vec<String> {
    let known = [support::samples(), support::bad()].map(|folder| support::files(&folder));
    let names: Vec<_> = known.iter().flatten().map(|(path, _)| path.display().to_string()).collect();
    let named = table.lines().filter_map(|line| names.iter().find(|name| line.contains(name.as_str())));
    named.cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_the_database_is_stopped_in_peace() {
    // Nobody listens at port 1.
    let home = Home::on_cassandra("127.0.0.1:1", "");
    let worker = worker(&home);
    until_ready(&address(&home).await, false).await;
    stop(worker, &home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_and_cassandra_all_is_as_on_sqlite() {
    let ours = Home::on_cassandra(&servers::shared_cassandra(), &kafka());
    ours.deckle(["topics", "apply"]).await.ended(0);
    ours.deckle(["store", "apply"]).await.ended(0);
    let beside = worker(&ours);
    process(&ours).await;
    stop(beside, &ours).await;
    let theirs = Home::new();
    process(&theirs).await;
    assert_same(&ours, &theirs).await;
    // Nothing is read twice, and nothing waits for ever.
    let again = ours.command(["process", "--json"]).args([support::samples()]).output().await.unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    let outcomes = again["documents"].as_array().unwrap().iter().map(|document| &document["outcome"]);
    outcomes.for_each(|outcome| assert_eq!(outcome, Status::Unchanged.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_and_cassandra_all_is_as_on_sqlite() {
    let ours = Home::on_cassandra(&servers::shared_cassandra(), "");
    ours.deckle(["store", "apply"]).await.ended(0);
    process(&ours).await;
    let theirs = Home::new();
    process(&theirs).await;
    assert_same(&ours, &theirs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_waited_for_and_nothing_is_lost() {
    const TEXTS: usize = 60;
    let mut database = Cassandra::start(1).await;
    let home = Home::on_cassandra(database.nodes(), "");
    let inbox = home.join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    support::write_texts(&inbox, 0, TEXTS);
    home.deckle(["store", "apply"]).await.ended(0);
    home.deckle(["ingest", "inbox"]).await.ended(0);
    let running = worker(&home);
    let (address, app) = (address(&home).await, home.app());
    until_ended(&app, 1).await;

    database.kill(1).await;
    until_ready(&address, false).await;
    let said = home.deckle(["list"]).await.ended(2).stderr;
    assert!(said.contains("scylla is unavailable") && said.lines().count() == 1, "{said}");
    let ended = until_ended(&app, 1).await;
    assert!(ended < TEXTS, "it was killed midway");
    database.start_again(1).await;
    until_ended(&app, TEXTS).await;
    until_ready(&address, true).await;
    let (_, metrics) = support::get(&address, "/metrics").await;
    for metric in ["deckle_store_request_seconds_count{request=\"write\"}", "deckle_store_retries_total{request="] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }

    // Also a worker that has nothing to do knows.
    database.kill(1).await;
    until_ready(&address, false).await;
    database.start_again(1).await;
    until_ready(&address, true).await;
    stop(running, &home).await;

    assert!(support::letters(&app).await.is_empty(), "a database that is away is no document's fault");
    support::assert_each_end_is_told_once(&app).await;
    let headers = support::headers(&app).await;
    assert_eq!(headers.iter().filter(|header| header.status() == Status::Published).count(), TEXTS);
}

#[tokio::test]
async fn a_start_without_the_database_waits_for_it_and_says_so() {
    let home = Home::on_cassandra("127.0.0.1:1", "");
    let mut running = worker(&home);
    until_ready(&address(&home).await, false).await;
    assert!(running.ended().is_none(), "{}", complaints(&home));
    running.signal(libc::SIGKILL);
    running.wait().await;
}
