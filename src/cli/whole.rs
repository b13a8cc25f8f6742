//! Files that are whole or not there.
//!
//! The law: bytes are written aside under a name that nobody knows before, made durable, and renamed to their place. A
//! link that stands there is replaced and never followed. What a kill leaves half written, the next one into that
//! folder takes away.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt, fs::PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;

/// What names of drafts begin and end with; between them stands chance.
const PREFIX: &str = ".deckle-";
const SUFFIX: &str = ".part";

/// Attempts at a draft, which another process may take for one that was left before it is locked.
const ATTEMPTS: usize = 3;

/// What may become of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is replaced.
    Replaced,
    /// It stays, and the new one is not written.
    Kept,
}

/// Writes a file into a folder that is there.
///
/// # Errors
/// When it cannot be written, or a file that is to be kept has its name.
pub(super) fn write(path: &Path, bytes: &[u8], standing: Standing) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        let draft = draft(folder_of(path), bytes)?;
        let settled = match standing {
            Standing::Replaced => draft.persist(path),
            Standing::Kept => draft.persist_noclobber(path),
        };
        match settled {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            Err(failed) => return Err(failed.error),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes bytes aside. As long as they are being written the draft is locked, which tells it from one that was left.
fn draft(folder: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut draft = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        // Less what the process's mask takes away, as of any new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    // Where a file system knows no locks nothing is taken away either.
    let _ = draft.as_file().lock();
    draft.as_file_mut().write_all(bytes)?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

/// Takes away drafts that a kill left in a folder; what cannot be taken away stays.
pub(super) fn remove_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_draft = name.as_bytes().starts_with(PREFIX.as_bytes()) && name.as_bytes().ends_with(SUFFIX.as_bytes());
        if !is_draft || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(entry.path());
        if opened.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [victim, place] = ["victim", "a.md"].map(|name| folder.path().join(name));
        std::fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &place).unwrap();
        write(&place, b"new", Standing::Replaced).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
        assert_eq!(std::fs::read(&place).unwrap(), b"new");
        assert!(!place.is_symlink());
        assert_eq!(names(folder.path()), ["a.md", "victim"]);
    }

    #[test]
    fn what_is_to_be_kept_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a.md");
        write(&place, b"first", Standing::Kept).unwrap();
        assert_eq!(write(&place, b"second", Standing::Kept).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("nowhere", &place).unwrap();
        assert_eq!(write(&place, b"third", Standing::Kept).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!folder.path().join("nowhere").exists());
        assert_eq!(names(folder.path()), ["a.md"]);
    }

    #[test]
    fn only_drafts_that_nobody_writes_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let writing = draft(folder.path(), b"at work").unwrap();
        let left = draft(folder.path(), b"left").unwrap();
        let (file, left) = left.keep().unwrap();
        drop(file);
        std::fs::write(folder.path().join("a.part"), "somebody's").unwrap();
        std::os::unix::fs::symlink("a.part", folder.path().join(".deckle-link.part")).unwrap();
        remove_abandoned(folder.path());
        assert!(!left.exists() && writing.path().exists());
        assert_eq!(names(folder.path()).len(), 3, "{:?}", names(folder.path()));
        let place = folder.path().join("a.md");
        writing.persist(&place).unwrap();
        assert_eq!(std::fs::read(place).unwrap(), b"at work");
    }
}
