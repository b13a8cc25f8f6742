//! Where an export goes.
//!
//! The law: a file has its name when it is whole and on the disk, or never; until then it lies hidden beside its place.

use std::{
    fs::{File, FileType, Permissions},
    io::{self, Stdout, Write},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Where an export goes: standard output, or a file that appears under its name once it is whole.
pub struct Target {
    place: Place,
    bytes: u64,
}

enum Place {
    Stdout(Stdout),
    /// A pipe or a device, which is written as it comes.
    Stream(File),
    /// A file that is not whole yet, and what it is to be called.
    File(NamedTempFile, PathBuf),
}

impl Target {
    /// Standard output.
    pub fn stdout() -> Self {
        Self { place: Place::Stdout(io::stdout()), bytes: 0 }
    }

    /// A file of this name, there or not; a pipe or a device of this name.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { place: Place::open(path)?, bytes: 0 })
    }

    /// Gives a whole file its name; returns how many bytes were written.
    pub(super) fn settle(self) -> io::Result<u64> {
        match self.place {
            Place::Stdout(mut stdout) => stdout.flush()?,
            Place::Stream(mut file) => file.flush()?,
            Place::File(draft, path) => {
                draft.as_file().sync_all()?;
                draft.persist(path).map_err(|error| error.error)?;
            }
        }
        Ok(self.bytes)
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        let there = std::fs::metadata(path).ok();
        if there.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(io::Error::other("it is a folder"));
        }
        let is_stream = |kind: FileType| kind.is_fifo() || kind.is_char_device() || kind.is_block_device();
        if there.as_ref().is_some_and(|it| is_stream(it.file_type())) {
            return Ok(Self::Stream(File::options().write(true).open(path)?));
        }
        // Behind a link the file is replaced, not the link.
        let path = if there.is_some() { path.canonicalize()? } else { path.to_owned() };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.file_name().is_none() {
            return Err(io::Error::other("it is no name of a file"));
        }
        let draft = tempfile::Builder::new()
            // Not the file's own name, which may be as long as a name can be.
            .prefix(".deckle-export.")
            .suffix(".part")
            // Less what the process's mask takes away, as of any new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        Ok(Self::File(draft, path))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.place {
            Place::Stdout(stdout) => stdout.write(bytes),
            Place::Stream(file) => file.write(bytes),
            // Not its own writer, which names the hidden file in errors.
            Place::File(draft, _) => draft.as_file_mut().write(bytes),
        }?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Stdout(stdout) => stdout.flush(),
            Place::Stream(file) => file.flush(),
            Place::File(draft, _) => draft.as_file_mut().flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_as_long_as_the_system_lets_it() {
        const LONGEST: usize = 255;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(LONGEST));
        let mut target = Target::open(&path).unwrap();
        target.write_all(b"rows").unwrap();
        assert_eq!(target.settle().unwrap(), 4);
        assert_eq!(std::fs::read(&path).unwrap(), b"rows");
        assert!(Target::open(&folder.path().join("n".repeat(LONGEST + 1))).unwrap().settle().is_err());
    }
}
