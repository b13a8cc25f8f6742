//! Every metric, in one place: its name, its description, its buckets, and the call that records it.
//!
//! The law: few labels, never an id as a label. Ids belong in log fields (`document_id`, `page`, `stage`). The root
//! installs the exporter; without one, recording costs next to nothing.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const RECORDS: &str = "deckle_records_total";
const STAGE_SECONDS: &str = "deckle_stage_seconds";
const QUEUE_SECONDS: &str = "deckle_queue_seconds";
const STEP_SECONDS: &str = "deckle_step_commit_seconds";
const STEP_RECORDS: &str = "deckle_step_outputs";
const IN_FLIGHT: &str = "deckle_in_flight_records";
const IN_FLIGHT_BYTES: &str = "deckle_in_flight_bytes";
const LAG: &str = "deckle_lag_records";
const LAG_AGE: &str = "deckle_lag_oldest_seconds";
const RETRIES: &str = "deckle_retries_total";
const BATCH_ITEMS: &str = "deckle_batch_items";
const BATCH_FILL: &str = "deckle_batch_fill_ratio";
const BATCH_QUEUE_SECONDS: &str = "deckle_batch_queue_seconds";
const BATCH_RUN_SECONDS: &str = "deckle_batch_run_seconds";
const STORE_SECONDS: &str = "deckle_store_request_seconds";
const STORE_RETRIES: &str = "deckle_store_retries_total";
const STORE_BATCH_BYTES: &str = "deckle_store_batch_bytes";
const CHILD_STARTS: &str = "deckle_sandbox_children_started_total";
const CHILD_DEATHS: &str = "deckle_sandbox_children_died_total";
const CHILD_CALLS: &str = "deckle_sandbox_calls_total";
const UNAVAILABLE: &str = "deckle_dependency_unavailable";
const SEARCH_SECONDS: &str = "deckle_search_seconds";
const SEARCH_INDEX_ROWS: &str = "deckle_search_index_rows";
const SEARCH_INDEX_BYTES: &str = "deckle_search_index_bytes";

/// Bucket bounds for durations, in seconds: 1 ms to 2 min, the span between one commit and one large scan.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bucket bounds for counts per batch or step: powers of two.
const COUNTS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];
/// Bucket bounds for bytes of a batch: powers of two up to what a database takes.
const BYTES: [f64; 12] =
    [512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0, 262144.0, 524288.0, 1048576.0];
/// Bucket bounds for the useful share of a padded batch.
const RATIOS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// The upper bounds of histograms' buckets, by what the metric's name ends in; no name ends in two of these.
pub const BUCKETS: [(&str, &[f64]); 5] = [
    ("_seconds", &SECONDS),
    (BATCH_ITEMS, &COUNTS),
    (STEP_RECORDS, &COUNTS),
    (BATCH_FILL, &RATIOS),
    (STORE_BATCH_BYTES, &BYTES),
];

/// Describes every metric to the recorder that is installed.
pub fn describe() {
    describe_counter!(RECORDS, "Records finished, by stage and outcome (ok, or the kind of failure)");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "Time from start to end of one record in a stage");
    describe_histogram!(QUEUE_SECONDS, Unit::Seconds, "Time from append to start of one record");
    describe_histogram!(STEP_SECONDS, Unit::Seconds, "Time of one commit");
    describe_histogram!(STEP_RECORDS, "Outputs of one step");
    describe_gauge!(IN_FLIGHT, "Records admitted and not committed");
    describe_gauge!(IN_FLIGHT_BYTES, Unit::Bytes, "Bytes of those records");
    describe_gauge!(LAG, "Records that wait for a stage, not admitted or not complete");
    describe_gauge!(LAG_AGE, Unit::Seconds, "Age of the oldest record that waits for a stage");
    describe_counter!(RETRIES, "Attempts after the first, by stage and cause");
    describe_histogram!(BATCH_ITEMS, "Items in one inference batch");
    describe_histogram!(BATCH_FILL, "Useful share of a padded inference batch, 0 to 1");
    describe_histogram!(BATCH_QUEUE_SECONDS, Unit::Seconds, "Wait of the oldest item of a batch");
    describe_histogram!(BATCH_RUN_SECONDS, Unit::Seconds, "Time of one inference batch");
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "Time of one request to the store, attempts and waits included");
    describe_counter!(STORE_RETRIES, "Attempts after the first at a request to the store");
    describe_histogram!(STORE_BATCH_BYTES, Unit::Bytes, "Bytes of the rows of one batch to the store");
    describe_counter!(CHILD_STARTS, "Sandbox children started");
    describe_counter!(CHILD_DEATHS, "Sandbox children that died during a request");
    describe_counter!(CHILD_CALLS, "Requests answered by sandbox children");
    describe_gauge!(UNAVAILABLE, "Records that wait for a dependency that is away");
    describe_histogram!(SEARCH_SECONDS, Unit::Seconds, "Time of one search, by mode (hybrid, vector, keyword)");
    describe_gauge!(SEARCH_INDEX_ROWS, "Chunks held by a search index in memory, by index (keywords, or the model)");
    describe_gauge!(SEARCH_INDEX_BYTES, Unit::Bytes, "Memory of those rows");
}

/// A record left a stage, after `busy` in it and `queued` before it.
pub fn record_finished(stage: &'static str, outcome: &'static str, busy: Duration, queued: Duration) {
    counter!(RECORDS, "stage" => stage, "outcome" => outcome).increment(1);
    histogram!(STAGE_SECONDS, "stage" => stage).record(busy);
    histogram!(QUEUE_SECONDS, "stage" => stage).record(queued);
}

/// A step was committed.
pub fn step_committed(stage: &'static str, outputs: usize, took: Duration) {
    histogram!(STEP_SECONDS, "stage" => stage).record(took);
    histogram!(STEP_RECORDS, "stage" => stage).record(outputs as f64);
}

/// What a worker holds now.
pub fn in_flight(stage: &'static str, records: usize, bytes: usize) {
    gauge!(IN_FLIGHT, "stage" => stage).set(records as f64);
    gauge!(IN_FLIGHT_BYTES, "stage" => stage).set(bytes as f64);
}

/// How far a stage is behind.
pub fn lag(stage: &'static str, records: u64, oldest: Duration) {
    gauge!(LAG, "stage" => stage).set(records as f64);
    gauge!(LAG_AGE, "stage" => stage).set(oldest.as_secs_f64());
}

/// A record is tried again.
pub fn retried(stage: &'static str, cause: &'static str) {
    counter!(RETRIES, "stage" => stage, "cause" => cause).increment(1);
}

/// Records of a stage that wait for a dependency.
pub fn waiting_for(dependency: &str, records: usize) {
    gauge!(UNAVAILABLE, "dependency" => dependency.to_owned()).set(records as f64);
}

/// A search was answered.
pub fn searched(mode: &'static str, took: Duration) {
    histogram!(SEARCH_SECONDS, "mode" => mode).record(took);
}

/// What a search index in memory holds.
pub fn search_index(index: &str, rows: usize, bytes: usize) {
    gauge!(SEARCH_INDEX_ROWS, "index" => index.to_owned()).set(rows as f64);
    gauge!(SEARCH_INDEX_BYTES, "index" => index.to_owned()).set(bytes as f64);
}

/// An inference batch was run.
pub fn batch_run(model: &str, items: usize, fill: f64, queued: Duration, took: Duration) {
    histogram!(BATCH_ITEMS, "model" => model.to_owned()).record(items as f64);
    histogram!(BATCH_FILL, "model" => model.to_owned()).record(fill);
    histogram!(BATCH_QUEUE_SECONDS, "model" => model.to_owned()).record(queued);
    histogram!(BATCH_RUN_SECONDS, "model" => model.to_owned()).record(took);
}

/// A request to the store (`read`, `write`, `batch`, `compare_and_set`) begins; dropping this ends it.
pub fn store_request(request: &'static str) -> StoreRequest {
    StoreRequest { request, started: Instant::now() }
}

/// A request to the store that is under way.
pub struct StoreRequest {
    request: &'static str,
    started: Instant,
}

impl StoreRequest {
    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for StoreRequest {
    fn drop(&mut self) {
        histogram!(STORE_SECONDS, "request" => self.request).record(self.elapsed());
    }
}

/// A request to the store is made again.
pub fn store_retried(request: &'static str) {
    counter!(STORE_RETRIES, "request" => request).increment(1);
}

/// Rows of so many bytes go to the store together.
pub fn store_batch(bytes: usize) {
    histogram!(STORE_BATCH_BYTES).record(bytes as f64);
}

/// Totals of the sandbox.
pub fn sandbox_totals(started: u64, died: u64, calls: u64) {
    counter!(CHILD_STARTS).absolute(started);
    counter!(CHILD_DEATHS).absolute(died);
    counter!(CHILD_CALLS).absolute(calls);
}
