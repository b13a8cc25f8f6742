//! Source files of late, so that the pages of one document share one read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use deckle_blob::Blobs;
use deckle_contract::{
    document::BlobRef,
    error::{Failure, Result},
};
use deckle_decode::File;
use tokio::sync::OnceCell;

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
