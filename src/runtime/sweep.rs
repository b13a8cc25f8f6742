//! Sweep: what nobody needs any more goes, so that nothing grows for ever.
//!
//! The law: nothing goes that a record on its way, a submission that waits, a reader or an open dead letter may still
//! name. So only what is older than the [`horizon`] goes, which no work reaches back to; and of a document only runs
//! below the one that readers follow, once that was published for as long, and blobs that neither its header nor the
//! rows and results of its newest runs name, while it is at rest.
//!
//! ```text
//! feed ──────────── what was published up to the horizon ──┐
//! listing by time ─ what ended otherwise until then ───────┴─► document ──► older runs, blobs without a name
//! dead letters ──── redriven or dropped long ago ─────────────► gone, and what they kept of their documents with them
//! claims ────────── older than whatever brings their records back ─► gone
//! result topics ─── past their retention (where no broker does it) ─► gone
//! ```
//!
//! Each step can be done again by anybody, and by several at once. How far the first two have come stands in the store,
//! so that a document is looked at once for each thing that happened to it, whoever does it.

use std::{
    collections::{BTreeSet, HashSet},
    ops::AddAssign,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use deckle_blob::Blobs;
use deckle_contract::{
    error::{Failure, Result},
    record::topics,
};
use deckle_log::{Log, Topic};
use deckle_store::{
    CLAIMS_KEPT, DeadLetterFilter, DocumentKey, FeedEntry, Header, ListFilter, ListOrder, ListedDeadLetter, RunKey,
    StateName, Store,
};

/// The name under which the store keeps how far the sweep of documents has come.
const DOCUMENTS: &str = "documents";

/// Entries, headers and letters asked for at once.
const BATCH: usize = 1_000;

/// Hexadecimal digits of the SHA-256 by which blobs are named.
const HASH_DIGITS: usize = 64;

/// How long what is of no more use is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Runs of a document that are older than what readers follow, and blobs that nothing names, in seconds: at least as
    /// long as a producer may take between the storing of a file and its record.
    pub runs_s: u64,
    /// Dead letters that were redriven or dropped, in seconds.
    pub dead_letters_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        // A reader who opened a document yesterday still finds its pages; letters are kept as their topic is, 90 days.
        Self { runs_s: 24 * 3_600, dead_letters_s: 90 * 24 * 3_600 }
    }
}

/// What was removed of documents, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Documents of which something went.
    pub documents: u64,
    /// Rows of older runs: of headers, pages, chunks and vectors, as far as the store counts them.
    pub rows: u64,
    /// Blobs that nothing named.
    pub blobs: u64,
    /// Bytes of those blobs.
    pub bytes: u64,
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.rows += other.rows;
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

/// Whether something is removed, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It goes.
    Apply,
    /// Nothing changes.
    DryRun,
}

/// The time before which nothing of the log's work began, less `grace`, µs since 1970: the oldest record that a stage is
/// not past was appended after it, and whatever that record names was stored after it, too.
///
/// # Errors
/// When the log is away.
pub async fn horizon(log: &dyn Log, now: i64, grace: Duration) -> Result<i64> {
    let mut oldest = 0;
    for topic in topics::all() {
        for group in &topic.consumers {
            let lags = log.lag(group, &[Topic::from(topic.name.as_str())]).await?;
            oldest = lags.iter().map(|lag| lag.oldest_us).fold(oldest, i64::max);
        }
    }
    Ok(ago(now.saturating_sub(oldest), grace))
}

/// The time so long before another, µs.
fn ago(time: i64, span: Duration) -> i64 {
    time.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

/// Sweeps documents up to one horizon.
pub struct Documents<'a> {
    store: &'a dyn Store,
    blobs: &'a dyn Blobs,
    horizon: i64,
    /// Their dead letters name blobs that a redrive needs.
    with_open_letters: HashSet<DocumentKey>,
}

impl<'a> Documents<'a> {
    /// Begins a sweep.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn until(horizon: i64, store: &'a dyn Store, blobs: &'a dyn Blobs) -> Result<Self> {
        let mut with_open_letters = HashSet::new();
        let states = vec![StateName::Open, StateName::Redriving];
        let mut filter = DeadLetterFilter { states, limit: BATCH, ..DeadLetterFilter::default() };
        loop {
            let listing = store.dead_letters(&filter).await?;
            with_open_letters.extend(listing.letters.into_iter().map(document_of));
            filter.after = listing.next;
            if filter.after.is_none() {
                return Ok(Self { store, blobs, horizon, with_open_letters });
            }
        }
    }

    /// Sweeps what came up to the horizon since the last sweep, of whatever process.
    ///
    /// # Errors
    /// When store or blob store are away. The next sweep goes on there.
    pub async fn those_that_came_due(&self) -> Result<Removed> {
        let mut removed = Removed::default();
        loop {
            let before = self.store.progress(DOCUMENTS).await?;
            let mut progress = Progress::parse(before.as_deref());
            let entries = self.published_since(&mut progress).await?;
            let is_last = entries.is_empty();
            for FeedEntry { key, .. } in entries {
                removed += self.by_key(&key).await?;
            }
            if is_last {
                removed += self.ended_since(progress.ended_before).await?;
                progress.ended_before = Some(self.horizon.max(progress.ended_before.unwrap_or(i64::MIN)));
            }
            let after = progress.to_string();
            if before.as_deref() != Some(after.as_str()) {
                // Where another was faster, it has done the same.
                self.store.advance(DOCUMENTS, before.as_deref(), &after).await?;
            }
            if is_last {
                return Ok(removed);
            }
        }
    }

    /// Looks at every document there is, and sweeps it or only counts; `report` hears of each.
    ///
    /// # Errors
    /// When store or blob store are away.
    pub async fn all(&self, mode: Mode, report: &mut (dyn FnMut(&Header, Removed) + Send)) -> Result<()> {
        let mut filter = ListFilter { limit: BATCH, ..ListFilter::default() };
        loop {
            let listing = self.store.list(&filter).await?;
            for header in &listing.headers {
                report(header, self.document(header, mode).await?);
            }
            filter.after = listing.next;
            if filter.after.is_none() {
                return Ok(());
            }
        }
    }

    /// The next publications that are old enough; `progress` stands behind them from then on.
    async fn published_since(&self, progress: &mut Progress) -> Result<Vec<FeedEntry>> {
        let page = match self.store.feed(progress.feed.as_deref(), BATCH).await {
            Err(Failure::Rejected { .. }) => {
                // So old that entries behind it are gone: from as long ago as the feed is kept.
                progress.feed = None;
                self.store.feed(None, BATCH).await?
            }
            page => page?,
        };
        let due = page.entries.iter().take_while(|entry| entry.at < self.horizon).count();
        if due == page.entries.len() {
            progress.feed = Some(page.next);
            return Ok(page.entries);
        }
        if due == 0 {
            return Ok(Vec::new());
        }
        // A cursor stands behind a whole page, so the page ends with the last that is due.
        let page = self.store.feed(progress.feed.as_deref(), due).await?;
        progress.feed = Some(page.next);
        Ok(page.entries)
    }

    /// Sweeps documents to which something else than a publication happened last, and no later than at the horizon.
    async fn ended_since(&self, since: Option<i64>) -> Result<Removed> {
        let mut removed = Removed::default();
        let until = Some(self.horizon);
        let mut filter = ListFilter { since, until, order: ListOrder::Newest, limit: BATCH, ..ListFilter::default() };
        loop {
            let listing = self.store.list(&filter).await?;
            for header in &listing.headers {
                let version = |at: Option<(i64, i64)>| at.unwrap_or_default();
                let ended = version(header.ended.as_ref().map(|ended| (ended.run, ended.version)));
                let current = version(header.current.as_ref().map(|current| (current.run, current.version)));
                if ended != current {
                    removed += self.document(header, Mode::Apply).await?;
                }
            }
            filter.after = listing.next;
            if filter.after.is_none() {
                return Ok(removed);
            }
        }
    }

    /// Sweeps one document, if the store knows of it.
    ///
    /// # Errors
    /// When store or blob store are away.
    pub async fn by_key(&self, key: &DocumentKey) -> Result<Removed> {
        match self.store.header(key).await? {
            Some(header) => self.document(&header, Mode::Apply).await,
            None => Ok(Removed::default()),
        }
    }

    async fn document(&self, header: &Header, mode: Mode) -> Result<Removed> {
        let mut removed = Removed { rows: self.runs(header, mode).await?, ..Removed::default() };
        (removed.blobs, removed.bytes) = self.blobs(header, mode).await?;
        removed.documents = u64::from(removed.rows + removed.blobs > 0);
        Ok(removed)
    }

    /// Removes runs below the one that readers follow; where there is none, below the one that ended last.
    async fn runs(&self, header: &Header, mode: Mode) -> Result<u64> {
        let published = header.current.as_ref().map(|current| (current.run, current.published_at));
        let ended = header.ended.as_ref().map(|ended| (ended.run, ended.at));
        let Some((run, since)) = published.or(ended) else { return Ok(0) };
        if since >= self.horizon {
            return Ok(0);
        }
        let rows = self.store.rows_below(&header.key, run).await?;
        if rows > 0 && mode == Mode::Apply {
            self.store.remove_runs_below(&header.key, run).await?;
        }
        Ok(rows)
    }

    /// Removes blobs that nothing names; returns how many, and their bytes.
    async fn blobs(&self, header: &Header, mode: Mode) -> Result<(u64, u64)> {
        let DocumentKey { tenant, document_id } = &header.key;
        let lives = header.current.is_some() || header.ended.is_some();
        if !lives || !header.is_ended() || self.with_open_letters.contains(&header.key) {
            return Ok((0, 0));
        }
        let mut old = self.blobs.list_document(tenant, document_id).await?;
        old.retain(|blob| blob.put_at < self.horizon);
        if old.is_empty() {
            return Ok((0, 0));
        }
        let named = match self.named(header).await {
            Err(failure @ (Failure::Rejected { .. } | Failure::Defect { .. })) => {
                tracing::warn!(tenant, document_id, %failure, "its blobs are kept, since not all that name them can be read");
                return Ok((0, 0));
            }
            named => named?,
        };
        old.retain(|blob| !named.contains(&blob.sha256));
        let bytes = old.iter().map(|blob| blob.size_bytes).sum();
        let count = old.len() as u64;
        if count > 0 && mode == Mode::Apply {
            let hashes = old.into_iter().map(|blob| blob.sha256).collect();
            self.blobs.remove_blobs(tenant, document_id, &hashes, self.horizon).await?;
        }
        Ok((count, bytes))
    }

    /// Every hash in the header, in the page rows of the newest runs, and in the results that these name: whatever names
    /// a blob does so by its hash, in whatever field.
    async fn named(&self, header: &Header) -> Result<HashSet<String>> {
        let mut named = HashSet::new();
        add_hashes(&json(header)?, &mut named);
        let mut results = Vec::new();
        let runs = [
            header.current.as_ref().map(|current| current.run),
            header.ended.as_ref().map(|ended| ended.run),
            header.intake.as_ref().map(|intake| intake.run),
        ];
        for run in runs.into_iter().flatten().collect::<BTreeSet<_>>() {
            let rows = self.store.pages(&RunKey { document: header.key.clone(), run }).await?;
            add_hashes(&json(&rows)?, &mut named);
            results.extend(rows.into_iter().filter_map(|row| row.page));
        }
        results.extend(header.current.as_ref().and_then(|current| current.document.clone()));
        for result in results {
            let text = self.blobs.get(&result).await?;
            add_hashes(&String::from_utf8_lossy(&text), &mut named);
        }
        Ok(named)
    }
}

/// How far the sweep of documents has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// Behind the last publication that was swept.
    feed: Option<String>,
    /// Documents that ended otherwise before this were swept, µs.
    ended_before: Option<i64>,
}

impl Progress {
    /// What an earlier sweep wrote; nothing where none did, or one that this version does not understand.
    fn parse(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { feed, ended_before } = self;
        write!(f, "{}", serde_json::json!({ "feed": feed, "ended_before": ended_before }))
    }
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Failure::defect(format!("sweep: a row is no JSON: {error}")))
}

/// Adds what looks like a hash in a text.
fn add_hashes(text: &str, hashes: &mut HashSet<String>) {
    let words = text.split(|letter: char| !letter.is_ascii_hexdigit());
    hashes.extend(words.filter(|word| word.len() == HASH_DIGITS).map(str::to_owned));
}

/// Removes dead letters that were redriven or dropped and failed so long before `now`, µs; returns how many, and of which
/// documents: as long as one was open, the blobs of its document stayed.
///
/// # Errors
/// When the store is away.
pub async fn dead_letters(
    store: &dyn Store,
    now: i64,
    kept: Duration,
    mode: Mode,
) -> Result<(u64, HashSet<DocumentKey>)> {
    let states = vec![StateName::Redriven, StateName::Dropped];
    let until = Some(ago(now, kept));
    let mut filter = DeadLetterFilter { states, until, limit: BATCH, ..DeadLetterFilter::default() };
    let (mut removed, mut documents) = (0, HashSet::new());
    loop {
        let listing = store.dead_letters(&filter).await?;
        removed += listing.letters.len() as u64;
        for row in listing.letters {
            if mode == Mode::Apply {
                store.remove_dead_letter(&row.letter).await?;
            }
            documents.insert(document_of(row));
        }
        filter.after = listing.next;
        if filter.after.is_none() {
            return Ok((removed, documents));
        }
    }
}

fn document_of(row: ListedDeadLetter) -> DocumentKey {
    DocumentKey { tenant: row.letter.key.tenant, document_id: row.letter.document_id }
}

/// Forgets claims of uploads and ends that are older than whatever could bring their records back, as of `now`, µs.
///
/// # Errors
/// When the store is away.
pub async fn claims(store: &dyn Store, now: i64) -> Result<u64> {
    store.forget_claims_below(ago(now, CLAIMS_KEPT)).await
}

/// Removes records of result topics that are past the retention of their topic, as of `now`, µs.
///
/// # Errors
/// When the log is away.
pub async fn result_topics(log: &dyn Log, now: i64) -> Result<u64> {
    let mut removed = 0;
    for topic in topics::all().iter().filter(|topic| !topic.is_work()) {
        let before = now.saturating_sub(topic.retention_ms.saturating_mul(1_000));
        removed += log.expire(&Topic::from(topic.name.as_str()), &topic.consumers, before).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_found_in_any_field_and_nothing_else_is() {
        let hash = "ab".repeat(32);
        let mut found = HashSet::new();
        add_hashes(&format!(r#"{{"key":"t/d/{hash}","of":["{}","{hash}0"]}}"#, "c".repeat(63)), &mut found);
        assert_eq!(found, HashSet::from([hash]));
    }

    #[test]
    fn progress_that_is_not_understood_begins_anew() {
        let progress = Progress { feed: Some("f".into()), ended_before: Some(7) };
        assert_eq!(Progress::parse(Some(&progress.to_string())), progress);
        assert_eq!(Progress::parse(Some("{\"feed\": 1}")), Progress::default());
    }
}
