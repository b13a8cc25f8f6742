//! Bringing files in: bytes to the blob store, one event to the log.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::inputs::{Input, Refusal, unreadable};
use crate::{
    app::App,
    contract::{
        error::{self, Failure, code},
        record::{self, Envelope, Event, Lane, Options, Source, Uploaded, topics, wire},
    },
    log::{NewRecord, Topic},
    store::DocumentKey,
};

/// What became of a submission at once.
#[derive(Debug, Clone)]
pub(super) enum Submitted {
    /// In the log now, or from an earlier command that did not end.
    Pending,
    /// Read before with the same settings: nothing to do.
    Unchanged,
}

/// How files are to be read.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// As a new submission, whatever became of an earlier one of the same file.
    pub anew: bool,
    /// Read again even if nothing changed.
    pub force: bool,
    /// Interactive or bulk.
    pub lane: Lane,
    /// What the producer asks for.
    pub options: Options,
    /// Longest file that is taken; a longer one is not copied either.
    pub max_bytes: u64,
}

/// A document that was brought in.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    /// The file.
    pub input: Input,
    /// The document.
    pub key: DocumentKey,
    /// Names this submission; finds its end among the published events.
    pub upload_id: String,
    /// What became of it.
    pub state: Submitted,
}

/// Brings one file in, or says why it is not taken: it cannot be read, changes meanwhile, or is larger than files may
/// be. The same file with the same settings as an earlier submission is the same submission, but with a password each is
/// one of its own: whether it is the right one is known to whoever opens the file.
///
/// # Errors
/// When the blob store, store or log is away, or no key to seal a password with is there.
pub(super) async fn submit(app: &App, input: Input, request: &Request) -> anyhow::Result<Result<Submission, Refusal>> {
    let (sha256, size) = match hashed_within(&input.path, request.max_bytes).await? {
        Ok(hashed) => hashed,
        Err(failure) => return Ok(Err(Refusal::new(input, &failure))),
    };
    let tenant = app.config.tenant.clone();
    let document_id = record::document_id(&tenant, &sha256);
    let key = DocumentKey { tenant: tenant.clone(), document_id: document_id.clone() };
    let mut upload = Uploaded {
        envelope: Envelope::new(Uuid::now_v7().to_string(), &tenant, &document_id, request.lane),
        source: Source {
            uri: String::new(),
            filename: input.relative.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            media_type: String::new(),
            declared_media_type: None,
            size_bytes: i64::try_from(size)?,
            sha256,
        },
        options: Options { force: request.force, ..request.options.clone() },
        content: None,
    };
    let fingerprint = record::fingerprint(&upload, false, &app.config_hash);
    let is_new = request.force || request.anew || upload.options.password.is_some();
    let header = if is_new { None } else { app.store.header(&key).await? };
    if header.as_ref().is_some_and(|header| header.has_ended_as(&fingerprint)) {
        let upload_id = header.and_then(|header| header.ended).map(|ended| ended.upload_id).unwrap_or_default();
        return Ok(Ok(Submission { input, key, upload_id, state: Submitted::Unchanged }));
    }
    upload.envelope.upload_id = if is_new {
        Uuid::now_v7().to_string()
    } else {
        // The same file with the same settings after another run is another submission: the end that it follows is
        // part of its name, and the same again before it ends is still one.
        let follows = header.as_ref().and_then(|header| header.ended.as_ref().map(|it| it.run).or(header.erased_at));
        let facts = format!("{document_id}\n{fingerprint}\n{}", follows.unwrap_or_default());
        Uuid::new_v5(&record::NAMESPACE, facts.as_bytes()).to_string()
    };
    app.keyring.seal(&upload.envelope, &mut upload.options)?;
    let upload_id = upload.envelope.upload_id.clone();
    if header.is_some_and(|header| header.is_under_way(&upload_id)) {
        return Ok(Ok(Submission { input, key, upload_id, state: Submitted::Pending }));
    }
    let blob = match app.blobs.put_file(&tenant, &document_id, "application/octet-stream", &input.path).await {
        Ok(blob) => blob,
        // It went meanwhile.
        Err(failure @ Failure::Rejected { .. }) => return Ok(Err(Refusal::new(input, &failure))),
        Err(failure) => return Err(failure.into()),
    };
    if blob.sha256 != upload.source.sha256 {
        let changed = Failure::rejected(code::SOURCE_MISMATCH, "it changed while it was read");
        return Ok(Err(Refusal::new(input, &changed)));
    }
    upload.source.uri = format!("blob:{}", blob.key);
    let now_us = jiff::Timestamp::now().as_microsecond();
    let record = NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(&upload, "cli", Some(now_us)),
        value: wire::encode(&upload)?,
    };
    app.log.append(vec![record]).await?;
    Ok(Ok(Submission { input, key, upload_id, state: Submitted::Pending }))
}

/// Whether no record waits for a stage and none is in work: what has no end by then has no record either, because the
/// log was lost, or restored from before.
pub(super) async fn is_drained(app: &App) -> error::Result<bool> {
    for topic in topics::all().iter().filter(|topic| topic.is_work()) {
        for group in &topic.consumers {
            let lags = app.log.lag(group, &[Topic::from(topic.name.as_str())]).await?;
            if lags.iter().any(|lag| lag.records > 0) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The SHA-256 of a file, in lower-case hex, and its size in bytes.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn hashed(path: &Path) -> anyhow::Result<(String, u64)> {
    let owned = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash(&owned)).await?;
    hashed.with_context(|| format!("the file {}", path.display()))
}

/// The same of a regular file of at most so many bytes; of a larger one nothing is read.
async fn hashed_within(path: &Path, max_bytes: u64) -> anyhow::Result<error::Result<(String, u64)>> {
    let too_large = move |bytes: u64| {
        let message = format!("the file has {bytes} bytes, the limit is {max_bytes} (`decode.max_bytes`)");
        Failure::rejected(code::LIMIT_BYTES, message)
    };
    let owned = path.to_owned();
    let hashing = move || {
        let there = std::fs::metadata(&owned).map_err(|error| unreadable(&error))?;
        if !there.is_file() {
            return Err(Failure::rejected(code::SOURCE_INVALID, "it is a pipe or a device"));
        }
        if there.len() > max_bytes {
            return Err(too_large(there.len()));
        }
        match hash_to(&owned, max_bytes).map_err(|error| unreadable(&error))? {
            // It grew meanwhile.
            (_, bytes) if bytes > max_bytes => Err(too_large(bytes)),
            hashed => Ok(hashed),
        }
    };
    Ok(tokio::task::spawn_blocking(hashing).await?)
}

fn hash(path: &Path) -> std::io::Result<(String, u64)> {
    hash_to(path, u64::MAX)
}

/// Stops soon after so many bytes.
fn hash_to(path: &Path, max_bytes: u64) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 || size > max_bytes {
            return Ok((hex::encode(hasher.finalize()), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}
