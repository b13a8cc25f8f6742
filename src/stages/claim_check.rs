//! Large values travel by reference: these put them into the blob store as JSON and take them out again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use crate::{
    blob::{self, Blobs},
    decode::File,
    document::BlobRef,
    error::{Failure, Result, code},
    record::{Envelope, Source},
};

const JSON: &str = "application/json";
/// What leads the address of a source in the blob store.
const BLOB: &str = "blob:";

/// Stores a value as JSON.
pub async fn put_json<T: Serialize>(blobs: &dyn Blobs, envelope: &Envelope, value: &T) -> Result<BlobRef> {
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::defect(format!("a value is no JSON: {error}")))?;
    blobs.put(&envelope.tenant, &envelope.document_id, JSON, bytes.into()).await
}

/// Reads a value back.
pub async fn get_json<T: DeserializeOwned>(blobs: &dyn Blobs, blob: &BlobRef) -> Result<T> {
    let bytes = blobs.get(blob).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::defect(format!("the blob {} is not what was written: {error}", blob.key)))
}

/// Whether a source lies in the blob store.
pub fn is_blob(source: &Source) -> bool {
    source.uri.starts_with(BLOB)
}

/// A blob as a source names it.
pub fn blob_uri(blob: &BlobRef) -> String {
    format!("{BLOB}{}", blob.key)
}

/// The blob that a source names; only a tenant's own blobs can be named.
pub fn source_blob(envelope: &Envelope, source: &Source) -> Result<BlobRef> {
    let invalid = |why: String| Failure::rejected(code::SOURCE_INVALID, why);
    let key = source.uri.strip_prefix(BLOB);
    let key = key.ok_or_else(|| invalid(format!("the source `{}` is not in the blob store", source.uri)))?;
    if !key.starts_with(&format!("{}/", blob::encode_name(&envelope.tenant))) {
        return Err(invalid(format!("the source `{key}` does not belong to tenant `{}`", envelope.tenant)));
    }
    Ok(BlobRef {
        key: key.to_owned(),
        sha256: source.sha256.clone(),
        size_bytes: u64::try_from(source.size_bytes)
            .map_err(|_| invalid(format!("the source has a size of {} bytes", source.size_bytes)))?,
        media_type: source.media_type.clone(),
    })
}

/// Source files of late, so that the pages of one document share one read.
///
/// Holds at most `limit_bytes` besides the file asked for last.
pub struct Files {
    blobs: Arc<dyn Blobs>,
    limit_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By hash: the file, its size and when it was asked for last.
    files: HashMap<String, (Arc<OnceCell<File>>, u64, u64)>,
    clock: u64,
}

impl Files {
    /// An empty cache over the blob store.
    pub fn new(blobs: Arc<dyn Blobs>, limit_bytes: u64) -> Self {
        Self { blobs, limit_bytes, held: Mutex::default() }
    }

    /// The file, read once for all that ask at the same time.
    pub async fn get(&self, blob: &BlobRef) -> Result<File> {
        let cell = self.cell(blob);
        let file = cell
            .get_or_try_init(|| async {
                let bytes: Bytes = self.blobs.get(blob).await?;
                Ok::<_, Failure>(File { sha256: blob.sha256.clone(), bytes })
            })
            .await?;
        Ok(file.clone())
    }

    fn cell(&self, blob: &BlobRef) -> Arc<OnceCell<File>> {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.clock += 1;
        let now = held.clock;
        let entry = held.files.entry(blob.key.clone()).or_insert_with(|| (Arc::default(), blob.size_bytes, now));
        entry.2 = now;
        let cell = Arc::clone(&entry.0);
        let mut total: u64 = held.files.values().map(|(_, size, _)| size).sum();
        while total > self.limit_bytes && held.files.len() > 1 {
            let Some(oldest) = held.files.iter().min_by_key(|(_, (_, _, at))| *at).map(|(key, _)| key.clone()) else {
                break;
            };
            total -= held.files.remove(&oldest).map_or(0, |(_, size, _)| size);
        }
        cell
    }
}
