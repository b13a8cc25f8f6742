//! Several `deckle run` on one home share the work, lose nothing and double nothing; what they tell of themselves.

use std::{process::Stdio, time::Duration};

use deckle::contract::record::Published;
use tokio::io::AsyncBufReadExt;

use crate::support::{self, Home, Started};

/// Texts beside the samples: enough that both processes have work to share.
const TEXTS: usize = 120;

/// A `deckle run` that answers on its own address.
struct Runner {
    process: Started,
    address: String,
}

impl Runner {
    /// Starts one and waits until it works.
    async fn start(home: &Home) -> Self {
        let mut command = home.command(["run", "--listen", "127.0.0.1:0", "--json"]);
        let mut process = Started::new(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut lines = process.stderr().lines();
        let mut address = None;
        loop {
            let line = support::within("the log says `working`", lines.next_line()).await.unwrap();
            let line = line.expect("it runs until it is told to stop");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
            match entry["fields"]["message"].as_str() {
                Some("metrics and health") => address = entry["fields"]["address"].as_str().map(str::to_owned),
                Some("working") => break,
                _ => {}
            }
        }
        // It must be able to go on writing.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, address: address.expect("the log tells the address") }
    }

    /// Records that it finished.
    async fn finished(&self) -> f64 {
        support::metric(&self.metrics().await, "deckle_records_total", &[])
    }

    async fn metrics(&self) -> String {
        let (status, body) = support::get(&self.address, "/metrics").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Asks it to stop, and checks that it leaves in peace.
    async fn stop(mut self) {
        self.process.signal(libc::SIGTERM);
        let status = self.process.wait().await;
        assert_eq!(status.code(), Some(0), "SIGTERM drains, commits and leaves");
    }
}

/// A home with samples and texts queued, and how many documents they are.
async fn queued() -> (Home, usize) {
    let home = Home::new();
    let inbox = home.join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    support::write_texts(&inbox, 0, TEXTS);
    let samples = support::samples();
    let ran = home.deckle(["ingest".as_ref(), samples.as_os_str(), inbox.as_os_str(), "--json".as_ref()]).await;
    let rows = ran.ended(0).json();
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().all(|row| row["status"] == "queued"), "{rows:?}");
    (home, rows.len())
}

/// Waits until so many documents were published.
async fn until_published(home: &Home, count: usize) {
    let app = home.app();
    support::within(&format!("{count} documents published"), async {
        while support::events::<Published>(&app).await.len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn assert_all_published_once(home: &Home, count: usize) {
    let app = home.app();
    support::assert_each_end_is_told_once(&app).await;
    let ends = support::events::<Published>(&app).await;
    assert_eq!(ends.len(), count, "one end for each document");
    let headers = support::headers(&app).await;
    assert_eq!(headers.len(), count);
    for header in headers {
        let seen = support::seen(&app, &header).await;
        assert_eq!(seen.status, "published", "{}: {:?}", seen.filename, seen.messages);
        assert!(seen.vectors.len() == seen.counts.unwrap()[3] as usize, "{}: a vector for each chunk", seen.filename);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_work_and_lose_or_double_nothing() {
    let (home, count) = queued().await;
    let (one, other) = tokio::join!(Runner::start(&home), Runner::start(&home));
    until_published(&home, count).await;
    let (by_one, by_other) = (one.finished().await, other.finished().await);
    println!("{by_one} records by one, {by_other} by the other");
    assert!(by_one > 0.0 && by_other > 0.0, "both work: {by_one} and {by_other}");
    one.stop().await;
    other.stop().await;
    assert_all_published_once(&home, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_is_killed_the_other_takes_over() {
    let (home, count) = queued().await;
    let (mut one, other) = tokio::join!(Runner::start(&home), Runner::start(&home));
    support::within("one is at work", async {
        while one.finished().await < 10.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    one.process.signal(libc::SIGKILL);
    one.process.wait().await;
    let published = support::events::<Published>(&home.app()).await.len();
    assert!(published < count, "it died midway: {published} of {count} were published");
    until_published(&home, count).await;
    other.stop().await;
    assert_all_published_once(&home, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_midway_it_leaves_the_rest_to_the_next() {
    let (home, count) = queued().await;
    let one = Runner::start(&home).await;
    until_published(&home, 5).await;
    one.stop().await;
    let published = support::events::<Published>(&home.app()).await.len();
    assert!(published < count, "there is a rest: {published} of {count}");
    let next = Runner::start(&home).await;
    until_published(&home, count).await;
    next.stop().await;
    assert_all_published_once(&home, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_tell_what_goes_on() {
    let home = Home::new();
    // Patient batches, so that items of several documents meet.
    home.configure("[inference]\nmax_delay_ms = 200\n");
    let inbox = home.join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    support::write_texts(&inbox, 0, 24);
    home.deckle(["ingest".as_ref(), inbox.as_os_str(), support::bad().join("encrypted.pdf").as_os_str()])
        .await
        .ended(0);
    let runner = Runner::start(&home).await;
    assert_eq!(support::get(&runner.address, "/healthz").await, (200, "ok\n".to_owned()));
    until_published(&home, 25).await;
    assert_eq!(support::get(&runner.address, "/readyz").await, (200, "ready\n".to_owned()));
    let metrics = runner.metrics().await;
    for name in [
        "deckle_records_total",
        "deckle_stage_seconds_bucket",
        "deckle_queue_seconds_bucket",
        "deckle_step_commit_seconds_bucket",
        "deckle_step_outputs_bucket",
        "deckle_in_flight_records",
        "deckle_in_flight_bytes",
        "deckle_lag_records",
        "deckle_lag_oldest_seconds",
        "deckle_batch_items_bucket",
        "deckle_batch_fill_ratio_bucket",
        "deckle_batch_queue_seconds_bucket",
        "deckle_batch_run_seconds_bucket",
        "deckle_sandbox_children_started_total",
        "deckle_sandbox_children_died_total",
        "deckle_sandbox_calls_total",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "no {name} in:\n{metrics}");
    }
    let records =
        |stage, outcome| support::metric(&metrics, "deckle_records_total", &[("stage", stage), ("outcome", outcome)]);
    assert_eq!((records("split", "ok"), records("split", "rejected")), (24.0, 1.0));
    assert_eq!((records("language", "ok"), records("publish", "ok")), (24.0, 25.0));

    let app = home.app();
    for header in support::headers(&app).await {
        let chunks = header.current.as_ref().map_or(1, |current| current.chunk_count);
        assert_eq!(chunks, 1, "these texts are one chunk each");
    }
    let (items, batches) = (
        support::metric(&metrics, "deckle_batch_items_sum", &[]),
        support::metric(&metrics, "deckle_batch_items_count", &[]),
    );
    assert_eq!(items, 24.0);
    assert!(batches < items, "one item each, so fewer batches than items hold several documents: {batches}");
    runner.stop().await;
}
