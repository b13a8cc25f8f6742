//! Where bytes, images and large results lie: a folder, or an object store.
//!
//! The laws, held by `tests/suite/blob_laws.rs` on every side: written twice, it is there once; a reader never sees
//! half. Keys are `tenant/document/sha256`, so that erasing a document is removing a prefix. Tenant and document are
//! encoded so that no name leaves its place, whatever a producer calls its documents.

mod address;
mod bucket;
pub mod claim_check;
mod folder;
mod remote;
pub mod sources;

use std::{collections::HashSet, io, path::Path, sync::Arc};

pub use address::{Address, Scheme};
use async_trait::async_trait;
pub use bucket::{Bucket, ObjectError, Options};
use bytes::Bytes;
pub use folder::Folder;
pub use remote::Remote;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use deckle_contract::{
    document::BlobRef,
    error::{Failure, Result, code},
};

/// The settings of the blob store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`; empty = a folder in the home.
    pub url: String,
    /// Options of the object store.
    pub options: Options,
}

impl Config {
    /// Checks the address and the names of the options.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> std::result::Result<(), String> {
        let Some(address) = self.address()? else {
            let unused = self.options.names().next();
            return unused
                .map_or(Ok(()), |name| Err(format!("`blobs.options.{name}` is of no use without `blobs.url`")));
        };
        match self.options.names().find(|name| !address.scheme.knows_option(name)) {
            Some(name) => Err(format!("`blobs.options.{name}` is no option of {}", address.scheme.service())),
            None => Ok(()),
        }
    }

    /// The address of the blob store; `None` for the folder in the home.
    fn address(&self) -> std::result::Result<Option<Address>, String> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let address = Address::parse(&self.url).map_err(|why| format!("`blobs.url` = \"{}\": {why}", self.url))?;
        if address.scheme == Scheme::File {
            return Err(format!("`blobs.url` = \"{}\" is none of s3://, az://, gs://; \"\" = a folder", self.url));
        }
        Ok(Some(address))
    }
}

/// Opens what the configuration names; `folder` is the one in the home.
///
/// # Errors
/// One line that names the key or the folder. A service that is away is no error yet.
pub fn open(config: &Config, folder: &Path) -> anyhow::Result<Arc<dyn Blobs>> {
    match config.address().map_err(anyhow::Error::msg)? {
        Some(address) => {
            let bucket = Bucket::open(&address, &config.options)
                .map_err(|why| anyhow::anyhow!("`blobs.url` = \"{}\": {why}", config.url))?;
            Ok(Arc::new(Remote::new(bucket, &address)))
        }
        None => Ok(Arc::new(Folder::open(folder).map_err(|failure| anyhow::anyhow!("the blob folder: {failure}"))?)),
    }
}

/// Tries what every stage needs: to write, to read and to remove.
///
/// # Errors
/// `Unavailable` with what the service said.
pub async fn check(blobs: &dyn Blobs) -> Result<()> {
    /// No document of a producer: its id is no UUID, and nothing is left below it.
    const DOCUMENT: &str = "deckle-check";
    let content = Bytes::from_static(b"deckle check");
    let blob = blobs.put(DOCUMENT, DOCUMENT, "text/plain", content).await?;
    blobs.get(&blob).await?;
    blobs.remove_document(DOCUMENT, DOCUMENT).await?;
    Ok(())
}

/// A blob of a document, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The hash that names it, in lower-case hex.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last put, µs since 1970, by the clock of the blob store, which may know seconds only.
    pub put_at: i64,
}

/// The blob store.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores bytes under `tenant/document/sha256` and returns where they lie. Storing the same again changes nothing but
    /// the time at which they were put.
    async fn put(&self, tenant: &str, document_id: &str, media_type: &str, bytes: Bytes) -> Result<BlobRef>;
    /// The same for a file of any size, in constant memory. A missing file is `source.missing`.
    async fn put_file(&self, tenant: &str, document_id: &str, media_type: &str, path: &Path) -> Result<BlobRef>;
    /// The bytes, checked against the reference's length and hash: altered ones are a defect, missing ones are
    /// `source.missing`, and a key that this store never gives is `source.invalid`.
    async fn get(&self, blob: &BlobRef) -> Result<Bytes>;
    /// Removes everything of a document; returns how many blobs went.
    async fn remove_document(&self, tenant: &str, document_id: &str) -> Result<u64> {
        self.remove_document_before(tenant, document_id, i64::MAX).await
    }
    /// Removes what was written of a document before a time (µs since 1970, by the clock of the blob store, which may
    /// know seconds only); returns how many blobs went.
    async fn remove_document_before(&self, tenant: &str, document_id: &str, before: i64) -> Result<u64>;
    /// The blobs of a document, in no order.
    async fn list_document(&self, tenant: &str, document_id: &str) -> Result<Vec<StoredBlob>>;
    /// Removes those of some blobs of a document, named by their hashes, that were put before a time (as above); returns
    /// how many went.
    async fn remove_blobs(&self, tenant: &str, document_id: &str, hashes: &HashSet<String>, before: i64)
    -> Result<u64>;
}

/// A name as one part of a key: lower-case letters, digits, `-`, `_` and inner `.` stand for themselves, every other
/// byte is `%` and two hex digits. Capitals too, since some file systems hold `A` and `a` for one, and a last `.`, which
/// Azure drops. A name that is empty or too long for a file name is `%-` and its SHA-256, which no other name is encoded
/// to.
pub fn encode_name(name: &str) -> String {
    /// The longest encoded name, in bytes; file systems end at 255.
    const LONGEST: usize = 200;

    let mut encoded = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            b'.' if index > 0 && index + 1 < name.len() => encoded.push('.'),
            _ => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    if encoded.is_empty() || encoded.len() > LONGEST {
        return format!("%-{}", hex::encode(Sha256::digest(name)));
    }
    encoded
}

/// Whether a key is one that [`encode_name`] and a hash could have made, and names the reference's own hash.
pub fn is_valid_key(blob: &BlobRef) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'%'))
    };
    let is_hash = |part: &str| part.len() == 64 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = blob.key.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(tenant), Some(document), Some(hash), None) => {
            is_name(tenant) && is_name(document) && is_hash(hash) && hash == blob.sha256
        }
        _ => false,
    }
}

/// Refuses a key that this store never gives.
fn check_key(blob: &BlobRef) -> Result<()> {
    if is_valid_key(blob) {
        return Ok(());
    }
    Err(Failure::rejected(code::SOURCE_INVALID, format!("{:?} is no key of the blob store", blob.key)))
}

/// The document that a blob belongs to, and its media type.
struct Place {
    /// `tenant/document`, encoded.
    prefix: String,
    media_type: String,
}

impl Place {
    fn new(tenant: &str, document_id: &str, media_type: &str) -> Self {
        let prefix = format!("{}/{}", encode_name(tenant), encode_name(document_id));
        Self { prefix, media_type: media_type.to_owned() }
    }

    fn blob(&self, sha256: String, size_bytes: u64) -> BlobRef {
        let key = format!("{}/{sha256}", self.prefix);
        BlobRef { key, sha256, size_bytes, media_type: self.media_type.clone() }
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::defect(format!("blob: ended early: {e}")))?
}

fn away(path: &Path, error: &io::Error) -> Failure {
    Failure::unavailable("blob", format!("{}: {error}", path.display()))
}

fn absent_or_away(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::rejected(code::SOURCE_MISSING, format!("{} is missing", path.display())),
        _ => away(path, error),
    }
}

fn altered(blob: &BlobRef, how: &str) -> Failure {
    Failure::defect(format!("blob {} was altered: {how}", blob.key))
}
