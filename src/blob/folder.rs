//! A folder as blob store.
//!
//! The law: a blob is written aside, made durable, and then renamed to its place.

use std::{
    collections::HashSet,
    fs::{DirEntry, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{Blobs, Place, StoredBlob, absent_or_away, altered, away, blocking, check_key};
use deckle_contract::{document::BlobRef, error::Result};

/// Temporary files lie here, beside the tenants, none of which can have this name.
const TEMPORARY: &str = ".tmp";

/// A temporary file that nobody wrote to for so long was left by a crash.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Attempts to move a file to its place, each of which a removal of the document can spoil.
const MOVES: usize = 16;

/// Bytes read from a file at once.
const PIECE: usize = 256 * 1024;

/// Blobs as files below one folder.
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
        if !self.is_put_again(&blob) {
            let mut copy = NamedTempFile::new_in(self.root.join(TEMPORARY))?;
            copy.write_all(bytes)?;
            self.settle(copy, &blob)?;
        }
        Ok(blob)
    }

    fn path(&self, blob: &BlobRef) -> PathBuf {
        self.root.join(&blob.key)
    }

    /// Whether it is there in full length, from now on as one that was put now; a shorter one (a broken disk) is written
    /// anew. Whoever removes what was put long ago looks at that time right before.
    fn is_put_again(&self, blob: &BlobRef) -> bool {
        let Ok(file) = File::open(self.path(blob)) else { return false };
        file.metadata().is_ok_and(|file| file.len() == blob.size_bytes)
            && file.set_modified(jiff::Timestamp::now().into()).is_ok()
            && self.path(blob).exists()
    }

    /// Moves a whole copy to its place and makes bytes, name and folders durable.
    fn settle(&self, copy: NamedTempFile, blob: &BlobRef) -> io::Result<()> {
        if self.is_put_again(blob) {
            return Ok(());
        }
        copy.as_file().sync_all()?;
        let target = self.path(blob);
        let folder = target.parent().unwrap_or(&self.root);
        let mut copy = copy;
        for _ in 0..MOVES {
            let is_new = !folder.is_dir();
            std::fs::create_dir_all(folder)?;
            match copy.persist(&target) {
                Ok(_) => return self.sync(folder, is_new),
                // The document was removed between the two lines above, which is why nothing slow stands there.
                Err(e) if e.error.kind() == io::ErrorKind::NotFound => copy = e.file,
                Err(e) => return Err(e.error),
            }
        }
        Err(io::Error::other("the folder of the document is removed again and again"))
    }

    /// Makes the names in a folder below the root durable; its own, if it is new, in each folder above it.
    fn sync(&self, folder: &Path, is_new: bool) -> io::Result<()> {
        sync_folder(folder).or_else(unless_missing)?;
        let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
        above.filter(|_| is_new).try_for_each(sync_folder)
    }

    fn load(&self, blob: &BlobRef) -> Result<Bytes> {
        check_key(blob)?;
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

    /// The blobs of a document; none where it has no folder.
    fn list(&self, place: &Place) -> io::Result<Vec<StoredBlob>> {
        let mut found = Vec::new();
        for entry in entries(&self.root.join(&place.prefix))? {
            let entry = entry?;
            let file = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            found.push(StoredBlob {
                sha256: entry.file_name().to_string_lossy().into_owned(),
                size_bytes: file.len(),
                put_at: jiff::Timestamp::try_from(file.modified()?).map_or(i64::MAX, |at| at.as_microsecond()),
            });
        }
        Ok(found)
    }

    /// Removes what was put of a document before a time; of some hashes, where they are named.
    fn remove(&self, place: &Place, hashes: Option<&HashSet<String>>, before: i64) -> io::Result<u64> {
        let folder = self.root.join(&place.prefix);
        if !folder.is_dir() {
            return Ok(0);
        }
        let mut removed = 0;
        for entry in entries(&folder)? {
            let entry = entry?;
            if hashes.is_some_and(|hashes| entry.file_name().to_str().is_none_or(|name| !hashes.contains(name))) {
                continue;
            }
            match remove_older(&entry, before) {
                Ok(is_removed) => removed += u64::from(is_removed),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // Until it is durable the bytes could come back.
        sync_folder(&folder).or_else(unless_missing)?;
        match std::fs::remove_dir(&folder) {
            // What is younger stays, and another call may have removed the folder.
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

    async fn remove_document_before(&self, tenant: &str, document_id: &str, before: i64) -> Result<u64> {
        let (folder, place) = (self.clone(), Place::new(tenant, document_id, ""));
        blocking(move || folder.remove(&place, None, before).map_err(|e| away(&folder.root, &e))).await
    }

    async fn list_document(&self, tenant: &str, document_id: &str) -> Result<Vec<StoredBlob>> {
        let (folder, place) = (self.clone(), Place::new(tenant, document_id, ""));
        blocking(move || folder.list(&place).map_err(|e| away(&folder.root, &e))).await
    }

    async fn remove_blobs(
        &self,
        tenant: &str,
        document_id: &str,
        hashes: &HashSet<String>,
        before: i64,
    ) -> Result<u64> {
        let (folder, place, hashes) = (self.clone(), Place::new(tenant, document_id, ""), hashes.clone());
        blocking(move || folder.remove(&place, Some(&hashes), before).map_err(|e| away(&folder.root, &e))).await
    }
}

/// The entries of a folder; none where it is missing.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        entries => Ok(Some(entries?).into_iter().flatten()),
    }
}

/// Removes a file that was written before a time (µs since 1970); returns whether it was.
fn remove_older(entry: &DirEntry, before: i64) -> io::Result<bool> {
    let is_older = before == i64::MAX || {
        let written = entry.metadata()?.modified()?;
        jiff::Timestamp::try_from(written).is_ok_and(|written| written.as_microsecond() < before)
    };
    if is_older {
        std::fs::remove_file(entry.path())?;
    }
    Ok(is_older)
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
