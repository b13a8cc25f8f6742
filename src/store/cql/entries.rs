//! What leads to a document without its name: entries by tenant, by file and by time.
//!
//! The law: a document is entered before a write of its header is answered. So there may be an
//! entry whose document says otherwise by now, and never a document without its entries: a reader that follows an entry
//! reads the header, and leaves the document out where the two differ.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream, try_join};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    super::{Completion, DocumentKey, Header, PublishedVersion, Submission, json::decode},
    session::Session,
    values::delete_timestamp,
};
use deckle_contract::error::Result;

/// Partitions of a tenant's documents, and of an hour of the feed. Part of the schema: never changed.
pub(super) const SHARDS: i16 = 16;

/// What a partition of `documents_by_time` and of the feed covers, µs. Part of the schema: never changed.
pub(super) const HOUR: i64 = 3_600_000_000;

/// The most entries remembered as made, at about 200 bytes each; beyond it all are forgotten.
const REMEMBERED: usize = 20_000;

/// The most deletes in flight at once.
const AT_ONCE: usize = 32;

/// The shard of a document.
pub(super) fn shard(document_id: &str) -> i16 {
    i16::from(Sha256::digest(document_id)[0]) % SHARDS
}

/// The hour that a time (µs since 1970) lies in, counted from 1970.
pub(super) fn hour(at: i64) -> i64 {
    at.div_euclid(HOUR)
}

/// The values of one cell of a header by which its document is found: run, time and file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SearchKeys {
    run: i64,
    at: i64,
    /// Hash of the file in lower-case hex; empty where the file is unknown.
    sha256: String,
}

impl SearchKeys {
    pub(super) fn by_intake(intake: &Submission) -> Self {
        Self { run: intake.run, at: intake.run, sha256: intake.source.sha256.clone() }
    }

    pub(super) fn by_current(current: &PublishedVersion) -> Self {
        Self { run: current.run, at: current.published_at, sha256: current.source.sha256.clone() }
    }

    pub(super) fn by_end(ended: &Completion) -> Self {
        Self { run: ended.run, at: ended.at, sha256: ended.source.sha256.clone() }
    }

    pub(super) fn by_erasure(erased_at: i64) -> Self {
        Self { run: erased_at, at: erased_at, sha256: String::new() }
    }
}

/// An entry that this process has made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    Document(DocumentKey),
    Hour(String, i64),
    SearchKeys(DocumentKey, SearchKeys),
}

/// The entries that this process has made: each is made once, not with each of a document's writes.
#[derive(Default)]
pub(super) struct Entered {
    known: Mutex<HashSet<Entry>>,
}

impl Entered {
    /// Enters a document, its tenant, and the search keys of one cell of its header.
    pub(super) async fn enter(&self, session: &Session, key: &DocumentKey, keys: SearchKeys) -> Result<()> {
        try_join!(
            self.once(Entry::Document(key.clone()), enter_document(session, key)),
            self.once(Entry::Hour(key.tenant.clone(), hour(keys.at)), enter_hour(session, key, hour(keys.at))),
            self.once(Entry::SearchKeys(key.clone(), keys.clone()), enter_search_keys(session, key, &keys)),
        )?;
        Ok(())
    }

    /// Enters a document by every cell of its header.
    pub(super) async fn enter_header(&self, session: &Session, header: &Header) -> Result<()> {
        let intake = header.intake.as_ref().map(SearchKeys::by_intake);
        let current = header.current.as_ref().map(SearchKeys::by_current);
        let ended = header.ended.as_ref().map(SearchKeys::by_end);
        let erased = header.erased_at.map(SearchKeys::by_erasure);
        for keys in [intake, current, ended, erased].into_iter().flatten() {
            self.enter(session, &header.key, keys).await?;
        }
        match &header.ended {
            Some(ended) => move_on(session, &header.key, ended).await,
            None => Ok(()),
        }
    }

    async fn once(&self, entry: Entry, work: impl Future<Output = Result<()>>) -> Result<()> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&entry) {
            return Ok(());
        }
        work.await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(entry);
        Ok(())
    }
}

// Nothing deletes these rows but an erasure, which lies ahead of any clock: the lowest timestamp will do.

async fn enter_document(session: &Session, key: &DocumentKey) -> Result<()> {
    let tenant = "INSERT INTO tenants (part, tenant) VALUES (0, ?) USING TIMESTAMP 1";
    let document = "INSERT INTO documents_by_tenant (tenant, shard, document_id) VALUES (?, ?, ?) USING TIMESTAMP 1";
    try_join!(
        session.write(tenant, (&key.tenant,)),
        session.write(document, (&key.tenant, shard(&key.document_id), &key.document_id)),
    )?;
    Ok(())
}

async fn enter_hour(session: &Session, key: &DocumentKey, hour: i64) -> Result<()> {
    let insert = "INSERT INTO document_hours (tenant, hour) VALUES (?, ?) USING TIMESTAMP 1";
    session.write(insert, (&key.tenant, hour)).await
}

async fn enter_search_keys(session: &Session, key: &DocumentKey, keys: &SearchKeys) -> Result<()> {
    let DocumentKey { tenant, document_id } = key;
    let by_time = "INSERT INTO documents_by_time (tenant, hour, at, document_id) VALUES (?, ?, ?, ?) USING TIMESTAMP 1";
    let by_file = "INSERT INTO documents_by_file (tenant, sha256, document_id, run) VALUES (?, ?, ?, ?)
                   USING TIMESTAMP 1";
    let file = async {
        if keys.sha256.is_empty() {
            return Ok(());
        }
        session.write(by_file, (tenant, &keys.sha256, document_id, keys.run)).await
    };
    try_join!(session.write(by_time, (tenant, hour(keys.at), keys.at, document_id)), file)?;
    Ok(())
}

/// Says of the entry of an upload that its run has ended, so that listings need not read the header to leave it out.
pub(super) async fn move_on(session: &Session, key: &DocumentKey, ended: &Completion) -> Result<()> {
    if ended.at <= ended.run {
        return Ok(());
    }
    let update = "UPDATE documents_by_time USING TIMESTAMP ? SET moved = true
                  WHERE tenant = ? AND hour = ? AND at = ? AND document_id = ?";
    let values = (ended.version, &key.tenant, hour(ended.run), ended.run, &key.document_id);
    session.write(update, values).await
}

/// Enters an erasure; should a run have begun in the very same microsecond, the entry is that of the erasure.
pub(super) async fn enter_erasure(
    session: &Session,
    entered: &Entered,
    key: &DocumentKey,
    erased_at: i64,
) -> Result<()> {
    entered.enter(session, key, SearchKeys::by_erasure(erased_at)).await?;
    let update = "UPDATE documents_by_time USING TIMESTAMP ? SET moved = false
                  WHERE tenant = ? AND hour = ? AND at = ? AND document_id = ?";
    let values = (delete_timestamp(), &key.tenant, hour(erased_at), erased_at, &key.document_id);
    session.write(update, values).await
}

/// Deletes the entries by file of runs up to and with `last`, as far as the header's rows know their files: before
/// those rows go.
pub(super) async fn delete_files(session: &Session, key: &DocumentKey, last: i64) -> Result<()> {
    let DocumentKey { tenant, document_id } = key;
    let at = delete_timestamp();
    let delete = "DELETE FROM documents_by_file USING TIMESTAMP ?
                  WHERE tenant = ? AND sha256 = ? AND document_id = ? AND run <= ?";
    let deletes = files(session, key, last)
        .await?
        .into_iter()
        .map(|sha256| async move { session.write(delete, (at, tenant, sha256, document_id, last)).await });
    stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect().await
}

/// The files of a document's runs up to and with `last`.
async fn files(session: &Session, key: &DocumentKey, last: i64) -> Result<BTreeSet<String>> {
    /// The part of a header's cell that intake, current and ended have in common.
    #[derive(Deserialize)]
    struct Cell {
        source: File,
    }
    #[derive(Deserialize)]
    struct File {
        sha256: String,
    }
    let select = "SELECT intake, current, ended FROM documents WHERE tenant = ? AND document_id = ? AND run <= ?";
    type Row = (Option<String>, Option<String>, Option<String>);
    let rows: Vec<Row> = session.read(select, (&key.tenant, &key.document_id, last)).await?;
    let cells = rows.into_iter().flat_map(|(intake, current, ended)| [intake, current, ended]).flatten();
    let files = cells.map(|cell| decode::<Cell>(&cell).map(|cell| cell.source.sha256));
    files.filter(|sha256| sha256.as_ref().is_ok_and(|sha256| !sha256.is_empty()) || sha256.is_err()).collect()
}
