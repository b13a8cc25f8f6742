//! Files below a folder, opened so that neither a symlink nor a folder swapped meanwhile leads out.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::refusal::{away, invalid, no_room, outside, too_large, unreadable};
use deckle_contract::error::{Failure, Result};

/// Bytes copied at once.
const PIECE: usize = 256 * 1024;

/// A file below a root in the file system.
#[derive(Clone)]
pub(super) struct Place {
    /// The part of the root before a tenant's name, which the operator owns and which must exist: a missing one is a disk
    /// that was not mounted.
    pub(super) shared: PathBuf,
    /// The rest of the root, which begins with the tenant's name. A tenant may own folders of it, so none of them may be
    /// a symlink.
    pub(super) own: PathBuf,
    /// The file's path below the root. Symlinks in it are followed as long as they stay below the root.
    pub(super) below: PathBuf,
}

impl Place {
    /// Opens the file, whatever its path holds.
    ///
    /// The kernel follows the path name by name from a folder that is held open (openat2(2), since Linux 5.6), so that no
    /// folder can be exchanged between a look and the opening. The file itself is taken hold of before it is judged, and
    /// without effect on what it is: `O_PATH` opens no device and waits for no pipe.
    fn open(&self, uri: &str) -> Result<File> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mode = Mode::empty();
        let shared = rustix::fs::open(&self.shared, folder, mode)
            .map_err(|error| away(uri, &format!("its root: {}", io::Error::from(error))))?;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let root = if self.own.as_os_str().is_empty() {
            shared
        } else {
            let opened = open_below(&shared, &self.own, folder, inside | ResolveFlags::NO_SYMLINKS);
            opened.map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR if self.has_symlink() => outside(uri, "has a symlink in its root"),
                error => unreadable(uri, &error.into(), &self.shared),
            })?
        };
        let held = open_below(&root, &self.below, OFlags::PATH | OFlags::CLOEXEC, inside);
        let held = File::from(held.map_err(|error| match error {
            Errno::XDEV => outside(uri, "leads out of its root"),
            error => unreadable(uri, &error.into(), &self.shared),
        })?);
        let metadata = held.metadata().map_err(|error| unreadable(uri, &error, &self.shared))?;
        if !metadata.is_file() {
            return Err(invalid(format!("the source `{uri}` is no regular file")));
        }
        // Through what is held: the same file, whatever its path leads to by now.
        File::open(path_of(&held)).map_err(|error| unreadable(uri, &error, &self.shared))
    }

    /// Whether a folder of the tenant's part is a symlink, which decides no more than the words of a refusal.
    fn has_symlink(&self) -> bool {
        let folders = self.own.ancestors().filter(|folder| !folder.as_os_str().is_empty());
        folders.map(|folder| self.shared.join(folder)).any(|folder| folder.is_symlink())
    }
}

/// Opens a path below a folder. The kernel asks to try again where a name was moved while `..` was resolved.
fn open_below(folder: &OwnedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    const TRIES: usize = 100;
    let open = || rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve);
    let is_settled = |opened: &rustix::io::Result<OwnedFd>| !matches!(opened, Err(Errno::AGAIN | Errno::INTR));
    (1..TRIES).map(|_| open()).find(is_settled).unwrap_or_else(open)
}

/// Opens a file that lies below one of several roots; gives the shared part of that root, too. A root that is away may be the one that has it, so its failure,
/// which is no end, goes before the others'.
pub(super) fn open_within<'p>(places: &'p [Place], uri: &str) -> Result<(File, &'p Path)> {
    let mut failed: Option<Failure> = None;
    for place in places {
        match place.open(uri) {
            Ok(file) => return Ok((file, &place.shared)),
            Err(failure) if failed.is_none() || matches!(failure, Failure::Unavailable { .. }) => {
                failed = Some(failure)
            }
            Err(_) => {}
        }
    }
    Err(failed.unwrap_or_else(|| outside(uri, "lies in none of `sources.roots`")))
}

/// An open file's path, which leads to that very file (proc(5)).
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Copies a file that lies below `root` into one without a name in `folder`. Gives the copy, its SHA-256 in lower-case hex and its length in
/// bytes.
///
/// # Errors
/// `limit.bytes` above `max_bytes`; else what reading or writing said.
pub(super) fn copy(
    file: &mut File,
    root: &Path,
    folder: &Path,
    max_bytes: u64,
    uri: &str,
) -> Result<(File, String, u64)> {
    let here = |error: io::Error| no_room(folder, &error);
    if file.metadata().map_err(|error| unreadable(uri, &error, root))?.len() > max_bytes {
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
            Err(error) => return Err(unreadable(uri, &error, root)),
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
