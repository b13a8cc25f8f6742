//! An object store as blob store: S3, Azure Blob Storage, Google Cloud Storage.
//!
//! The law: an object has its name, which is its hash, only once all its bytes are there: small ones go up in one
//! request, large ones in parts that are joined at the end. A crash in between leaves parts without a name, which a
//! lifecycle rule of the bucket removes.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, future::ready, stream};
use object_store::{ObjectMeta, ObjectStoreExt, WriteMultipart, path::Path as Key};
use sha2::{Digest, Sha256};

use super::{
    Address, Blobs, Bucket, Place, StoredBlob, absent_or_away, altered, away, blocking, bucket::ObjectError, check_key,
};
use deckle_contract::{
    document::BlobRef,
    error::{Failure, Result, code},
};

/// Bytes of a part; S3 takes none below 5 MiB. What is not larger goes up in one request.
const PART: u64 = 8 << 20;
/// A large blob that was put longer ago is put again, so that it has the time of the last put, as a small one has: whoever
/// removes what nobody names looks at that time, and waits for far longer than this.
const FRESH: Duration = Duration::from_hours(1);
/// Parts of an object, at most (S3).
const PARTS: u64 = 10_000;
/// Parts on their way at once, for each file: with the one being read they bound its memory.
const AT_ONCE: usize = 4;

/// Blobs as objects below one prefix of a bucket.
#[derive(Debug, Clone)]
pub struct Remote {
    bucket: Bucket,
    /// The names that lead every key.
    prefix: Vec<String>,
    /// The name of the store in messages.
    name: String,
}

impl Remote {
    /// A blob store below an address.
    pub fn new(bucket: Bucket, address: &Address) -> Self {
        let name = format!("{}://{}", address.scheme.as_str(), address.bucket);
        Self { bucket, prefix: address.names.clone(), name }
    }

    /// Names in keys are encoded to what every service takes as it is; a prefix may hold what none does.
    fn key(&self, below: &str) -> Result<Key> {
        let key = self.prefix.iter().map(String::as_str).chain([below]).collect::<Vec<_>>().join("/");
        Key::parse(&key).map_err(|error| Failure::defect(format!("blob: {key:?} is no key: {error}")))
    }

    fn failure(&self, blob: &str, error: object_store::Error) -> Failure {
        match ObjectError::from(error) {
            ObjectError::Missing => {
                Failure::rejected(code::SOURCE_MISSING, format!("{}: {blob} is missing", self.name))
            }
            ObjectError::Denied(why) | ObjectError::Unavailable(why) => self.away(&why),
        }
    }

    fn away(&self, why: &str) -> Failure {
        Failure::unavailable("blob", format!("{}: {why}", self.name))
    }

    /// Whether it is there in full length, and was put lately: then its bytes need not go up again.
    async fn is_there(&self, key: &Key, blob: &BlobRef) -> Result<bool> {
        match self.bucket.store.head(key).await {
            Ok(object) => Ok(object.size == blob.size_bytes && is_fresh(&object)),
            Err(error) => match ObjectError::from(error) {
                ObjectError::Missing => Ok(false),
                ObjectError::Denied(why) | ObjectError::Unavailable(why) => Err(self.away(&why)),
            },
        }
    }

    async fn store_small(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let outcome = self.bucket.store.put(key, bytes.into()).await;
        outcome.map(drop).map_err(|error| self.unwritten(error))
    }

    /// Sends parts up as they are read; nothing is there, should reading them fail.
    async fn store_large(&self, key: &Key, size: u64, parts: impl Stream<Item = Result<Bytes>> + Send) -> Result<()> {
        let upload = self.bucket.store.put_multipart(key).await.map_err(|error| self.unwritten(error))?;
        let part = usize::try_from(size.div_ceil(PARTS).max(PART)).unwrap_or(usize::MAX);
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part);
        let mut parts = std::pin::pin!(parts);
        let sent = async {
            while let Some(bytes) = parts.try_next().await? {
                upload.wait_for_capacity(AT_ONCE).await.map_err(|error| self.unwritten(error))?;
                upload.put(bytes);
            }
            Ok(())
        };
        match sent.await {
            Ok(()) => upload.finish().await.map(drop).map_err(|error| self.unwritten(error)),
            Err(failure) => {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "parts of a failed upload are left in the bucket");
                }
                Err(failure)
            }
        }
    }

    /// The failure of a write, where a missing object is no answer of a store that works.
    fn unwritten(&self, error: object_store::Error) -> Failure {
        match ObjectError::from(error) {
            ObjectError::Missing => self.away("the object vanished while it was written"),
            ObjectError::Denied(why) | ObjectError::Unavailable(why) => self.away(&why),
        }
    }
}

#[async_trait]
impl Blobs for Remote {
    async fn put(&self, tenant: &str, document_id: &str, media_type: &str, bytes: Bytes) -> Result<BlobRef> {
        let place = Place::new(tenant, document_id, media_type);
        let blob = {
            let bytes = bytes.clone();
            blocking(move || Ok(place.blob(hex::encode(Sha256::digest(&bytes)), bytes.len() as u64))).await?
        };
        let key = self.key(&blob.key)?;
        if blob.size_bytes <= PART {
            self.store_small(&key, bytes).await?;
        } else if !self.is_there(&key, &blob).await? {
            self.store_large(&key, blob.size_bytes, stream::iter([Ok(bytes)])).await?;
        }
        Ok(blob)
    }

    async fn put_file(&self, tenant: &str, document_id: &str, media_type: &str, path: &Path) -> Result<BlobRef> {
        // Hashed first, since the key is the hash; a large file is read again as it goes up.
        let (mut reading, first) = Reading::open(path).await?.next().await?;
        let mut is_end = first.is_none();
        while !is_end {
            let more;
            (reading, more) = reading.next().await?;
            is_end = more.is_none();
        }
        let (sha256, size_bytes) = reading.so_far();
        let blob = Place::new(tenant, document_id, media_type).blob(sha256, size_bytes);
        let key = self.key(&blob.key)?;
        if size_bytes <= PART {
            self.store_small(&key, first.unwrap_or_default()).await?;
        } else if !self.is_there(&key, &blob).await? {
            self.store_large(&key, size_bytes, reading.again()?.parts_of(&blob)).await?;
        }
        Ok(blob)
    }

    async fn get(&self, blob: &BlobRef) -> Result<Bytes> {
        check_key(blob)?;
        let key = self.key(&blob.key)?;
        let object = self.bucket.store.get(&key).await.map_err(|error| self.failure(&blob.key, error))?;
        if object.meta.size != blob.size_bytes {
            return Err(altered(blob, &format!("{} bytes instead of {}", object.meta.size, blob.size_bytes)));
        }
        let bytes = object.bytes().await.map_err(|error| self.failure(&blob.key, error))?;
        let blob = blob.clone();
        blocking(move || {
            if hex::encode(Sha256::digest(&bytes)) != blob.sha256 {
                return Err(altered(&blob, "its bytes have another hash"));
            }
            Ok(bytes)
        })
        .await
    }

    async fn remove_document_before(&self, tenant: &str, document_id: &str, before: i64) -> Result<u64> {
        self.remove(tenant, document_id, None, before).await
    }

    async fn list_document(&self, tenant: &str, document_id: &str) -> Result<Vec<StoredBlob>> {
        let prefix = self.key(&Place::new(tenant, document_id, "").prefix)?;
        let found = self.bucket.store.list(Some(&prefix)).map_err(|error| self.unwritten(error));
        let stored = found.map_ok(|object| StoredBlob {
            sha256: object.location.filename().unwrap_or_default().to_owned(),
            size_bytes: object.size,
            put_at: object.last_modified.timestamp_micros(),
        });
        stored.try_collect().await
    }

    async fn remove_blobs(
        &self,
        tenant: &str,
        document_id: &str,
        hashes: &HashSet<String>,
        before: i64,
    ) -> Result<u64> {
        self.remove(tenant, document_id, Some(hashes), before).await
    }
}

/// Whether an object was put lately, by this machine's clock.
fn is_fresh(object: &ObjectMeta) -> bool {
    let now = jiff::Timestamp::now().as_microsecond();
    let fresh = i64::try_from(FRESH.as_micros()).unwrap_or(i64::MAX);
    now.saturating_sub(object.last_modified.timestamp_micros()) < fresh
}

impl Remote {
    /// Removes what was put of a document before a time; of some hashes, where they are named.
    async fn remove(
        &self,
        tenant: &str,
        document_id: &str,
        hashes: Option<&HashSet<String>>,
        before: i64,
    ) -> Result<u64> {
        let prefix = self.key(&Place::new(tenant, document_id, "").prefix)?;
        let hashes = hashes.cloned();
        let is_meant = move |object: &ObjectMeta| {
            let is_named =
                |hashes: &HashSet<String>| object.location.filename().is_some_and(|name| hashes.contains(name));
            object.last_modified.timestamp_micros() < before && hashes.as_ref().is_none_or(is_named)
        };
        let found = self.bucket.store.list(Some(&prefix));
        let found = found.try_filter(move |object| ready(is_meant(object))).map_ok(|object| object.location).boxed();
        let mut removals = self.bucket.store.delete_stream(found);
        let mut removed = 0;
        while let Some(outcome) = removals.next().await {
            match outcome.map_err(ObjectError::from) {
                Ok(_) => removed += 1,
                // Another call was faster.
                Err(ObjectError::Missing) => {}
                Err(ObjectError::Denied(why) | ObjectError::Unavailable(why)) => return Err(self.away(&why)),
            }
        }
        Ok(removed)
    }
}

/// A file read part by part, hashed on the way.
struct Reading {
    path: PathBuf,
    file: File,
    hash: Sha256,
    size_bytes: u64,
}

impl Reading {
    async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        blocking(move || {
            let file = File::open(&path).map_err(|error| absent_or_away(&path, &error))?;
            Ok(Self { path, file, hash: Sha256::new(), size_bytes: 0 })
        })
        .await
    }

    /// The next bytes; `None` at the end.
    async fn next(mut self) -> Result<(Self, Option<Bytes>)> {
        blocking(move || {
            let mut part = Vec::new();
            (&self.file).take(PART).read_to_end(&mut part).map_err(|error| away(&self.path, &error))?;
            self.hash.update(&part);
            self.size_bytes += part.len() as u64;
            let part = Some(part).filter(|part| !part.is_empty()).map(Bytes::from);
            Ok((self, part))
        })
        .await
    }

    /// Hash and size of what was read.
    fn so_far(&self) -> (String, u64) {
        (hex::encode(self.hash.clone().finalize()), self.size_bytes)
    }

    /// Starts reading and hashing from the beginning of the file.
    fn again(mut self) -> Result<Self> {
        self.file.rewind().map_err(|error| away(&self.path, &error))?;
        Ok(Self { hash: Sha256::new(), size_bytes: 0, ..self })
    }

    /// The parts of a file that was read before, which must be the same again: the key is their hash.
    fn parts_of(self, blob: &BlobRef) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let expected = (blob.sha256.clone(), blob.size_bytes);
        stream::try_unfold((self, expected), |(reading, expected)| async move {
            match reading.next().await? {
                (reading, Some(part)) => Ok(Some((part, (reading, expected)))),
                (reading, None) if reading.so_far() == expected => Ok(None),
                (reading, None) => {
                    Err(Failure::transient(format!("{} changed while it was read", reading.path.display())))
                }
            }
        })
    }
}
