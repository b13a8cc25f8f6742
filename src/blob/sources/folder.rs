//! Files below a folder, opened so that neither a symlink nor a folder swapped meanwhile leads out.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::refusal::{away, invalid, no_room, outside, too_large, unreadable};
use deckle_contract::error::Result;

/// Bytes copied at once.
const PIECE: usize = 256 * 1024;

/// A root in the file system.
pub(super) struct Folder {
    /// The part without a tenant, which must exist: a missing one is a disk that was not mounted.
    pub(super) shared: PathBuf,
    /// The tenant's part of the path, which follows the shared one.
    pub(super) own: PathBuf,
}

/// Opens a file that lies below one of the folders, whatever symlinks its path holds.
///
/// It is taken hold of before it is judged, and without effect on what it is (`O_PATH` opens no device and waits for no
/// pipe); the kernel then tells where it lies.
pub(super) fn open_within(folders: Vec<Folder>, path: &Path, uri: &str) -> Result<File> {
    let mut roots = Vec::new();
    for folder in folders {
        let shared = folder.shared.canonicalize().map_err(|error| away(uri, &format!("its root: {error}")))?;
        match shared.join(&folder.own).canonicalize() {
            Ok(root) => roots.push(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(uri, &error)),
        }
    }
    let held = File::options().read(true).custom_flags(libc::O_PATH).open(path);
    let held = held.map_err(|error| unreadable(uri, &error))?;
    let place = std::fs::read_link(path_of(&held)).map_err(|error| unreadable(uri, &error))?;
    if !roots.iter().any(|root| place.starts_with(root)) {
        return Err(outside(uri, "leads out of its root"));
    }
    let facts = held.metadata().map_err(|error| unreadable(uri, &error))?;
    if !facts.is_file() {
        return Err(invalid(format!("the source `{uri}` is no regular file")));
    }
    // Through what is held: the same file, whatever its path leads to by now.
    File::open(path_of(&held)).map_err(|error| unreadable(uri, &error))
}

/// An open file's path, which leads to that very file (proc(5)).
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Copies a file into one without a name in `folder`. Gives the copy, its SHA-256 in lower-case hex and its length in
/// bytes.
///
/// # Errors
/// `limit.bytes` above `max_bytes`; else what reading or writing said.
pub(super) fn copy(file: &mut File, folder: &Path, max_bytes: u64, uri: &str) -> Result<(File, String, u64)> {
    let here = |error: io::Error| no_room(folder, &error);
    if file.metadata().map_err(|error| unreadable(uri, &error))?.len() > max_bytes {
        return Err(too_large(uri, max_bytes));
    }
    let mut copy = tempfile::tempfile_in(folder).map_err(here)?;
    let (mut hash, mut size_bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(uri, &error)),
        };
        size_bytes += length as u64;
        if size_bytes > max_bytes {
            return Err(too_large(uri, max_bytes));
        }
        hash.update(&piece[..length]);
        copy.write_all(&piece[..length]).map_err(here)?;
    }
    Ok((copy, hex::encode(hash.finalize()), size_bytes))
}
