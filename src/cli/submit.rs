//! Bringing files in: bytes to the blob store, one event to the log.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    app::App,
    contract::record::{self, Envelope, Event, Lane, Options, Source, Uploaded, wire},
    log::{NewRecord, Topic},
    store::DocumentKey,
};

/// A file named on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// Its place below the argument that named it: what exports are named after.
    pub relative: PathBuf,
}

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
    /// Read again even if nothing changed.
    pub force: bool,
    /// Interactive or bulk.
    pub lane: Lane,
    /// What the producer asks for.
    pub options: Options,
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

/// Finds the files that arguments name: files, folders (all below, hidden ones left out) and globs.
///
/// # Errors
/// When an argument names nothing.
pub(super) fn find(arguments: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let mut found = BTreeSet::new();
    for argument in arguments {
        let before = found.len();
        if argument.is_dir() {
            walk(argument, argument, &mut found)?;
        } else if argument.exists() {
            found.insert(named(argument));
        } else if let Some(pattern) = argument.to_str().filter(|text| text.contains(['*', '?', '['])) {
            for path in glob::glob(pattern).with_context(|| format!("`{pattern}` is no pattern"))? {
                let path = path?;
                if path.is_file() {
                    found.insert(named(&path));
                }
            }
        }
        anyhow::ensure!(found.len() > before || argument.exists(), "`{}` names no file", argument.display());
    }
    anyhow::ensure!(!found.is_empty(), "no files found; give files, folders or patterns such as 'inbox/*.pdf'");
    Ok(found.into_iter().collect())
}

fn named(path: &Path) -> Input {
    Input { path: path.to_owned(), relative: path.file_name().map_or_else(|| path.to_owned(), PathBuf::from) }
}

fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<Input>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("the folder {}", folder.display()))? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, root, found)?;
        } else if path.is_file() {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            found.insert(Input { path, relative });
        }
    }
    Ok(())
}

/// Brings one file in. The same file with the same settings as an earlier submission is the same submission.
///
/// # Errors
/// When the file cannot be read, or the blob store, store or log is away.
pub(super) async fn submit(app: &App, input: Input, request: &Request) -> anyhow::Result<Submission> {
    let (sha256, size) = hashed(&input.path).await?;
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
    let fingerprint = record::fingerprint(&upload, &app.config_hash);
    let header = if request.force { None } else { app.store.header(&key).await? };
    if header.as_ref().is_some_and(|header| header.has_ended_as(&fingerprint)) {
        let upload_id = header.and_then(|header| header.ended).map(|ended| ended.upload_id).unwrap_or_default();
        return Ok(Submission { input, key, upload_id, state: Submitted::Unchanged });
    }
    upload.envelope.upload_id = if request.force {
        Uuid::now_v7().to_string()
    } else {
        // The same file with the same settings after another run is another submission: the end that it follows is
        // part of its name, and the same again before it ends is still one.
        let follows = header.as_ref().and_then(|header| header.ended.as_ref().map(|it| it.run).or(header.erased_at));
        let facts = format!("{document_id}\n{fingerprint}\n{}", follows.unwrap_or_default());
        Uuid::new_v5(&record::NAMESPACE, facts.as_bytes()).to_string()
    };
    let upload_id = upload.envelope.upload_id.clone();
    if header.is_some_and(|header| header.is_under_way(&upload_id)) {
        return Ok(Submission { input, key, upload_id, state: Submitted::Pending });
    }
    let blob = app.blobs.put_file(&tenant, &document_id, "application/octet-stream", &input.path).await?;
    anyhow::ensure!(blob.sha256 == upload.source.sha256, "the file {} changed while it was read", input.path.display());
    upload.source.uri = format!("blob:{}", blob.key);
    let now_us = jiff::Timestamp::now().as_microsecond();
    let record = NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: tenant,
        headers: wire::headers(&upload, "cli", Some(now_us)),
        value: wire::encode(&upload)?,
    };
    app.log.append(vec![record]).await?;
    Ok(Submission { input, key, upload_id, state: Submitted::Pending })
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

fn hash(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex::encode(hasher.finalize()), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}
