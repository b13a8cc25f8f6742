//! What deckle wrote into a folder of exports.
//!
//! The law: a file is deckle's own as long as its bytes are those that deckle wrote under its name. What anybody else
//! wrote or changed is not.
//!
//! The record lies in the data folder, a line for each export: the SHA-256 of its place, which may be a name that is
//! nobody's business, and that of its bytes. Where the record is lost, exports count as somebody else's.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Where records lie in the data folder, one for each folder of exports.
const RECORDS: &str = "exports";

/// The exports that deckle wrote into a folder.
pub(in crate::cli) struct Written {
    /// The folder, by its real path; none where it is not there yet.
    folder: Option<PathBuf>,
    record: PathBuf,
    /// Hashes of bytes by that of the place.
    hashes: HashMap<String, HashSet<String>>,
    file: Option<File>,
}

impl Written {
    /// Reads the record of a folder, which may not be there yet.
    ///
    /// # Errors
    /// When a record is there and cannot be read.
    pub(in crate::cli) fn load(data: &Path, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().ok();
        let name = hash(folder.as_deref().unwrap_or(Path::new("")).as_os_str().as_bytes());
        let record = data.join(RECORDS).join(name);
        let text = match std::fs::read_to_string(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("the record of exports {}", record.display()))?,
        };
        let mut hashes: HashMap<String, HashSet<String>> = HashMap::new();
        // A line that a full disk cut short is no export's.
        for (place, bytes) in text.lines().filter_map(|line| line.split_once(' ')) {
            hashes.entry(place.to_owned()).or_default().insert(bytes.to_owned());
        }
        Ok(Self { folder, record, hashes, file: None })
    }

    /// Whether a file of any place is an export that deckle wrote and nobody changed.
    pub(in crate::cli) fn is_own(&self, path: &Path) -> bool {
        self.place(path).is_some_and(|place| {
            let is_known = self.hashes.contains_key(&hash(place.as_os_str().as_bytes()));
            is_known && std::fs::read(path).is_ok_and(|bytes| self.has(&place, &bytes))
        })
    }

    /// The place of a file below the folder.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let folder = self.folder.as_ref().filter(|_| !self.hashes.is_empty())?;
        let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        let is_file = std::fs::symlink_metadata(&real).is_ok_and(|there| there.is_file());
        real.strip_prefix(folder).ok().filter(|_| is_file).map(Path::to_owned)
    }

    /// Whether deckle wrote these bytes to a place in the folder.
    pub(super) fn has(&self, place: &Path, bytes: &[u8]) -> bool {
        let hashes = self.hashes.get(&hash(place.as_os_str().as_bytes()));
        hashes.is_some_and(|hashes| hashes.contains(&hash(bytes)))
    }

    /// Notes bytes that are about to be written: noted before, they are known whenever the writer is killed.
    pub(super) fn note(&mut self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.has(place, bytes) {
            return Ok(());
        }
        let (place, bytes) = (hash(place.as_os_str().as_bytes()), hash(bytes));
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                if let Some(folder) = self.record.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                self.file.insert(File::options().append(true).create(true).mode(0o600).open(&self.record)?)
            }
        };
        // In one piece, so that lines of two processes stay apart.
        file.write_all(format!("{place} {bytes}\n").as_bytes())?;
        self.hashes.entry(place).or_default().insert(bytes);
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_until_somebody_changes_it() {
        let home = tempfile::tempdir().unwrap();
        let [data, out] = ["data", "out"].map(|name| home.path().join(name));
        std::fs::create_dir_all(out.join("x")).unwrap();
        let place = Path::new("x/a.md");
        let mut written = Written::load(&data, &out).unwrap();
        written.note(place, b"first").unwrap();
        written.note(place, b"second").unwrap();
        std::fs::write(out.join(place), "first").unwrap();
        let again = Written::load(&data, &out).unwrap();
        assert!(again.is_own(&out.join(place)) && again.is_own(&out.join("x/../x/a.md")));
        assert!(again.has(place, b"second"), "a kill may come between the note and the file");
        std::fs::write(out.join(place), "first, and more").unwrap();
        assert!(!again.is_own(&out.join(place)));
        std::fs::write(out.join("b.md"), "first").unwrap();
        assert!(!again.is_own(&out.join("b.md")), "the same bytes elsewhere are somebody's copy");
        assert!(!Written::load(&data, home.path()).unwrap().is_own(&out.join(place)));
    }

    #[test]
    fn a_record_tells_no_names() {
        let home = tempfile::tempdir().unwrap();
        let mut written = Written::load(home.path(), home.path()).unwrap();
        written.note(Path::new("dismissal of Ada.md"), b"text").unwrap();
        let record = std::fs::read_to_string(&written.record).unwrap();
        assert!(!record.contains("Ada") && record.len() == 2 * 65, "{record}");
    }
}
