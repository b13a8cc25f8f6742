//! Erasure: everything of a document goes, and what comes late goes too.
//!
//! The law: the tombstone comes first, and whatever follows can be done again by anybody. Every run up to the tombstone
//! is gone for readers at that moment, for ever, whatever is still in flight; a later upload is a newer run and lives.
//!
//! ```text
//! tombstone, rows, dead letters ──► its end in documents.published ─┐                   erase
//!                        ┌────── the time at which the log took it ──┘
//! tombstone, rows, dead letters ──► its end in documents.published ──► blobs
//!        └─ when nothing can be in flight any more ──► late rows and late blobs         sweep
//! ```
//!
//! The first tombstone covers what the store knows of, and readers see nothing from then on. The second one covers every
//! upload that the log took before, also those that wait: runs are append times, so an erasure has one, too, and no clock
//! of this machine decides what it covers.
//!
//! What was cut off after the tombstone is finished by the same command again, or by the sweep, for which the store
//! keeps a list. Records of the topics cannot be taken back: `documents.published` says `erased` with a (run, version)
//! above all that there was, so that consumers drop what they keep; the records themselves go with their retention.

use std::time::Duration;

use uuid::Uuid;

use deckle_blob::Blobs;
use deckle_contract::{
    error::Result,
    record::{Envelope, Event, Lane, NAMESPACE, Published, Source, Status, wire},
};
use deckle_log::{Log, NewRecord, Topic};
use deckle_store::{DocumentKey, Erasure, Header, Store};

/// Longer than a record is on its way: what an erased run writes later than this after its erasure is not swept, though
/// never shown.
pub const IN_FLIGHT: Duration = Duration::from_hours(24);

/// The time of an erasure of a document that nobody has heard of, before the log says one, µs: no run is so old.
const BEFORE_ALL_RUNS: i64 = 1;

/// Erasures asked for at once.
const BATCH: usize = 1_000;

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Runs at or below this are gone, µs.
    pub erased_at: i64,
    /// Blobs removed.
    pub blobs: u64,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Erasures that need nothing more.
    pub erasures: u64,
    /// Late blobs removed.
    pub blobs: u64,
}

/// Erases a document, known or not: one whose upload still waits in the log is dropped when it is taken in.
///
/// # Errors
/// When store, log or blob store are away. Nothing is half shown, and the same again does the rest.
pub async fn erase(log: &dyn Log, store: &dyn Store, blobs: &dyn Blobs, key: &DocumentKey) -> Result<Erased> {
    let known = store.header(key).await?.as_ref().and_then(newest).unwrap_or(BEFORE_ALL_RUNS);
    store.erase(key, known).await?;
    let taken_at = log.append(vec![end(key, known)?]).await?;
    let erased_at = taken_at.into_iter().fold(known, i64::max);
    store.erase(key, erased_at).await?;
    log.append(vec![end(key, erased_at)?]).await?;
    let blobs = blobs.remove_document(&key.tenant, &key.document_id).await?;
    log.scrub().await?;
    Ok(Erased { erased_at, blobs })
}

/// The newest run or version in a header, or the time of its erasure if that is later.
fn newest(header: &Header) -> Option<i64> {
    let intake = header.intake.as_ref().map(|intake| intake.run);
    let current = header.current.as_ref().map(|current| current.version.max(current.run));
    let ended = header.ended.as_ref().map(|ended| ended.version.max(ended.run));
    intake.max(current).max(ended).max(header.erased_at)
}

/// The record by which consumers learn of an erasure: status `erased`, with a run and a version (the time of
/// erasure) that no other of the document exceeds.
fn end(key: &DocumentKey, erased_at: i64) -> Result<NewRecord> {
    let name = format!("{}\nerased\n{}\n{erased_at}", key.tenant, key.document_id);
    let event_id = Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string();
    let envelope = Envelope {
        run: erased_at,
        version: erased_at,
        ..Envelope::new(event_id, &key.tenant, &key.document_id, Lane::Bulk)
    };
    let event = Published {
        envelope,
        source: Source::unknown(),
        status: Status::Erased,
        page_count: 0,
        failed_pages: 0,
        block_count: 0,
        chunk_count: 0,
        language: "und".to_owned(),
        confidence: None,
        document: None,
        reasons: Vec::new(),
    };
    Ok(NewRecord {
        topic: Topic::from(Published::TOPIC),
        key: event.order_key(),
        headers: wire::headers(&event, "erase", Some(erased_at)),
        value: wire::encode(&event)?,
    })
}

/// Makes sure of the erasures after which nothing can be in flight any more, as of `now` (µs since 1970).
///
/// An erased run may write blobs until [`IN_FLIGHT`] after its erasure. Those that a later upload brought in the same
/// time look the same, so the sweep waits as long again: by then an upload was taken in, and the header knows of it. A
/// document that lives again keeps all its blobs, which are named by their content and may be of both runs.
///
/// # Errors
/// When the store or the blob store is away. The next sweep goes on with the rest.
pub async fn sweep(store: &dyn Store, blobs: &dyn Blobs, now: i64) -> Result<Swept> {
    let in_flight = i64::try_from(IN_FLIGHT.as_micros()).unwrap_or(i64::MAX);
    let mut swept = Swept::default();
    loop {
        let due = store.erasures(now.saturating_sub(in_flight).saturating_sub(in_flight), BATCH).await?;
        for erasure in &due {
            let Erasure { key, erased_at } = erasure;
            store.erase(key, *erased_at).await?;
            let lives = store.header(key).await?.as_ref().and_then(newest).is_some_and(|newest| newest > *erased_at);
            if !lives {
                let late = erased_at.saturating_add(in_flight);
                swept.blobs += blobs.remove_document_before(&key.tenant, &key.document_id, late).await?;
            }
            store.end_erasure(erasure).await?;
            swept.erasures += 1;
        }
        if due.len() < BATCH {
            return Ok(swept);
        }
    }
}
