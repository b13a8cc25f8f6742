//! Where bytes, images and large results lie: a folder, or an object store.
//!
//! The laws, held by `tests/blob_laws.rs` on every side: written twice, it is there once; a reader never sees half.
//! Keys are `tenant/document/sha256`, so that erasing a document is removing a prefix.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{document::BlobRef, error::Result};

/// The blob store.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores bytes under `tenant/document/sha256` and tells where they lie. Twice is once.
    async fn put(&self, tenant: &str, document_id: &str, media_type: &str, bytes: Bytes) -> Result<BlobRef>;
    /// The bytes, checked against the reference's hash. Missing ones are `source.missing`.
    async fn get(&self, blob: &BlobRef) -> Result<Bytes>;
    /// Removes everything of a document; returns how many blobs went.
    async fn remove_document(&self, tenant: &str, document_id: &str) -> Result<u64>;
}

/// A folder as blob store.
pub struct Folder {
    root: PathBuf,
}
