//! Where bytes, images and large results lie: a folder, or an object store.
//!
//! The laws, held by `tests/blob_laws.rs` on every side: written twice, it is there once; a reader never sees half.
//! Keys are `tenant/document/sha256`, so that erasing a document is removing a prefix. Tenant and document are encoded
//! so that no name leaves its place, whatever a producer calls its documents.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{
    document::BlobRef,
    error::{Failure, Result, code},
};

/// The blob store.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores bytes under `tenant/document/sha256` and tells where they lie. Twice is once.
    async fn put(&self, tenant: &str, document_id: &str, media_type: &str, bytes: Bytes) -> Result<BlobRef>;
    /// The same for a file of any size, in constant memory. A missing file is `source.missing`.
    async fn put_file(&self, tenant: &str, document_id: &str, media_type: &str, path: &Path) -> Result<BlobRef>;
    /// The bytes, checked against the reference's length and hash: altered ones are a defect, missing ones are
    /// `source.missing`, and a key that this store never gives is `source.invalid`.
    async fn get(&self, blob: &BlobRef) -> Result<Bytes>;
    /// Removes everything of a document; returns how many blobs went.
    async fn remove_document(&self, tenant: &str, document_id: &str) -> Result<u64>;
}

/// A name as one part of a key: lower-case letters, digits, `-`, `_` and inner `.` stand for themselves, every other
/// byte is `%` and two hex digits. Capitals too, since some file systems hold `A` and `a` for one. A name that is empty
/// or too long for a file name is `%-` and its SHA-256, which no other name is encoded to.
pub fn encode_name(name: &str) -> String {
    /// Bytes; file systems end at 255.
    const LONGEST: usize = 200;

    let mut encoded = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            b'.' if index > 0 => encoded.push('.'),
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

/// Temporary files lie here, beside the tenants, none of which can have this name.
const TEMPORARY: &str = ".tmp";

/// A temporary file that nobody wrote to for so long was left by a crash.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Attempts to move a file to its place, each of which a removal of the document can spoil.
const MOVES: usize = 16;

/// Bytes read from a file at once.
const PIECE: usize = 256 * 1024;

/// A folder as blob store. A blob is written aside, made durable, and then renamed to its place.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens the folder, makes it where it is missing, and removes what a crash left behind.
    ///
    /// # Errors
    /// `Unavailable` where the folder cannot be made or read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let folder = Self { root: root.into() };
        let temporary = folder.root.join(TEMPORARY);
        std::fs::create_dir_all(&temporary).map_err(|e| away(&temporary, &e))?;
        remove_abandoned(&temporary).map_err(|e| away(&temporary, &e))?;
        Ok(folder)
    }

    /// Copies from `source` while hashing, and gives the copy its name once that is known.
    fn store(&self, place: &Place, source: &mut dyn Read) -> io::Result<BlobRef> {
        let mut copy = NamedTempFile::new_in(self.root.join(TEMPORARY))?;
        let mut hash = Sha256::new();
        let mut size_bytes = 0;
        let mut piece = vec![0; PIECE];
        loop {
            let length = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            hash.update(&piece[..length]);
            copy.write_all(&piece[..length])?;
            size_bytes += length as u64;
        }
        let blob = place.blob(hex::encode(hash.finalize()), size_bytes);
        self.settle(copy, &blob)?;
        Ok(blob)
    }

    /// The same for bytes in memory, which are hashed first: what is there already is not written again.
    fn store_bytes(&self, place: &Place, bytes: &[u8]) -> io::Result<BlobRef> {
        let blob = place.blob(hex::encode(Sha256::digest(bytes)), bytes.len() as u64);
        if !self.is_there(&blob) {
            let mut copy = NamedTempFile::new_in(self.root.join(TEMPORARY))?;
            copy.write_all(bytes)?;
            self.settle(copy, &blob)?;
        }
        Ok(blob)
    }

    fn path(&self, blob: &BlobRef) -> PathBuf {
        self.root.join(&blob.key)
    }

    /// Whether it is there in full length; a shorter one (a broken disk) is written anew.
    fn is_there(&self, blob: &BlobRef) -> bool {
        std::fs::metadata(self.path(blob)).is_ok_and(|file| file.len() == blob.size_bytes)
    }

    /// Moves a whole copy to its place and makes bytes, name and folders durable.
    fn settle(&self, copy: NamedTempFile, blob: &BlobRef) -> io::Result<()> {
        if self.is_there(blob) {
            return Ok(());
        }
        copy.as_file().sync_all()?;
        let target = self.path(blob);
        let folder = target.parent().unwrap_or(&self.root);
        let mut copy = copy;
        for _ in 0..MOVES {
            self.make_folder(folder)?;
            match copy.persist(&target) {
                Ok(_) => return sync_folder(folder).or_else(unless_missing),
                // The document was removed between the two lines above.
                Err(e) if e.error.kind() == io::ErrorKind::NotFound => copy = e.file,
                Err(e) => return Err(e.error),
            }
        }
        Err(io::Error::other("the folder of the document is removed again and again"))
    }

    /// Makes a folder below the root; a new one is durable in each folder above it.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(folder)?;
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            sync_folder(above)?;
        }
        Ok(())
    }

    fn load(&self, blob: &BlobRef) -> Result<Bytes> {
        if !is_valid_key(blob) {
            return Err(Failure::rejected(code::SOURCE_INVALID, format!("{:?} is no key of the blob store", blob.key)));
        }
        let path = self.path(blob);
        let mut file = File::open(&path).map_err(|e| absent_or_away(&path, &e))?;
        let length = file.metadata().map_err(|e| away(&path, &e))?.len();
        if length != blob.size_bytes {
            return Err(altered(blob, &format!("{length} bytes instead of {}", blob.size_bytes)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|e| altered(blob, &e.to_string()))?);
        file.read_to_end(&mut bytes).map_err(|e| away(&path, &e))?;
        if hex::encode(Sha256::digest(&bytes)) != blob.sha256 {
            return Err(altered(blob, "its bytes have another hash"));
        }
        Ok(bytes.into())
    }

    fn remove(&self, place: &Place) -> io::Result<u64> {
        let folder = self.root.join(&place.prefix);
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut removed = 0;
        for entry in entries {
            match std::fs::remove_file(entry?.path()) {
                Ok(()) => removed += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // Until it is durable the bytes could come back.
        sync_folder(&folder).or_else(unless_missing)?;
        match std::fs::remove_dir(&folder) {
            // A later upload wrote here meanwhile, or another call removed it.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            outcome => outcome.or_else(unless_missing)?,
        }
        Ok(removed)
    }
}

#[async_trait]
impl Blobs for Folder {
    async fn put(&self, tenant: &str, document_id: &str, media_type: &str, bytes: Bytes) -> Result<BlobRef> {
        let (folder, place) = (self.clone(), Place::new(tenant, document_id, media_type));
        blocking(move || folder.store_bytes(&place, &bytes).map_err(|e| away(&folder.root, &e))).await
    }

    async fn put_file(&self, tenant: &str, document_id: &str, media_type: &str, path: &Path) -> Result<BlobRef> {
        let (folder, place) = (self.clone(), Place::new(tenant, document_id, media_type));
        let path = path.to_owned();
        blocking(move || {
            let mut file = File::open(&path).map_err(|e| absent_or_away(&path, &e))?;
            folder.store(&place, &mut file).map_err(|e| away(&folder.root, &e))
        })
        .await
    }

    async fn get(&self, blob: &BlobRef) -> Result<Bytes> {
        let (folder, blob) = (self.clone(), blob.clone());
        blocking(move || folder.load(&blob)).await
    }

    async fn remove_document(&self, tenant: &str, document_id: &str) -> Result<u64> {
        let (folder, place) = (self.clone(), Place::new(tenant, document_id, ""));
        blocking(move || folder.remove(&place).map_err(|e| away(&folder.root, &e))).await
    }
}

/// Whose blob it is, and what.
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::defect(format!("blob: ended early: {e}")))?
}

fn remove_abandoned(temporary: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(temporary)? {
        let entry = entry?;
        // Another process may finish or remove it between these lines.
        let Ok(modified) = entry.metadata().and_then(|file| file.modified()) else { continue };
        if modified.elapsed().is_ok_and(|age| age > ABANDONED) {
            std::fs::remove_file(entry.path()).or_else(unless_missing)?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
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
