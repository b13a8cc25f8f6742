//! The folder that exports go into.
//!
//! The law: nothing that was read is written over, and nothing that deckle did not write unless a person asks for it;
//! below the folder no link is followed.

use std::{
    collections::HashSet,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::written::Written;
use crate::cli::{
    inputs::Input,
    whole::{self, Standing},
};

/// A folder of exports.
pub(in crate::cli) struct Folder {
    path: PathBuf,
    written: Written,
    /// Device and number of every file that is read.
    read: HashSet<(u64, u64)>,
    overwrite: bool,
    /// Folders without drafts that a kill left.
    tidy: HashSet<PathBuf>,
}

impl Folder {
    /// Opens a folder that is there, for exports of these inputs; `overwrite` lets what deckle did not write be
    /// replaced.
    ///
    /// # Errors
    /// When the record of what was written there cannot be read.
    pub(in crate::cli) fn open<'a>(
        path: &Path,
        data: &Path,
        inputs: impl Iterator<Item = &'a Input>,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        let written = Written::load(data, path)?;
        let read = inputs.filter_map(|input| std::fs::metadata(&input.path).ok()).map(|file| identity(&file)).collect();
        Ok(Self { path: path.to_owned(), written, read, overwrite, tidy: HashSet::new() })
    }

    /// Whether a file that is read has this place in the folder, by itself or through links.
    pub(in crate::cli) fn is_read(&self, place: &Path) -> bool {
        std::fs::metadata(self.path.join(place)).is_ok_and(|file| self.read.contains(&identity(&file)))
    }

    /// Writes a file to a place in the folder, as a whole or not at all, unless it is there already.
    ///
    /// # Errors
    /// When it cannot be written, or something that must stay has its place; the message says what.
    pub(super) fn write(&mut self, place: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path.join(place);
        let standing = self.standing(place, bytes).with_context(|| format!("the export {}", path.display()))?;
        let Some(standing) = standing else { return Ok(()) };
        let written = self.written.note(place, bytes).and_then(|()| whole::write(&path, bytes, standing));
        written.with_context(|| format!("the export {}", path.display()))
    }

    /// What is to become of what has a place already; nothing where it is what would be written.
    fn standing(&mut self, place: &Path, bytes: &[u8]) -> anyhow::Result<Option<Standing>> {
        let path = self.path.join(place);
        self.make_folder(place.parent().unwrap_or(Path::new("")))?;
        let there = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Standing::Kept)),
            there => there?,
        };
        anyhow::ensure!(!self.is_read(place), "the file that was read lies there: choose another folder");
        anyhow::ensure!(!there.is_dir(), "a folder has that name");
        if there.is_file() {
            let lying = std::fs::read(&path)?;
            // Not noted: it may be somebody's, and change.
            if lying == bytes {
                return Ok(None);
            }
            if self.written.has(place, &lying) {
                return Ok(Some(Standing::Replaced));
            }
        }
        let what = if there.is_symlink() { "link" } else { "file" };
        anyhow::ensure!(
            self.overwrite,
            "the {what} that lies there is not as deckle wrote it: move it away, or add --overwrite"
        );
        Ok(Some(Standing::Replaced))
    }

    /// Makes a folder below this one where it is missing, and tidies it.
    fn make_folder(&mut self, place: &Path) -> anyhow::Result<()> {
        let mut folder = self.path.clone();
        for part in place.components() {
            folder.push(part);
            let made = match std::fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::symlink_metadata(&folder)?,
                made => made.and_then(|()| std::fs::symlink_metadata(&folder))?,
            };
            anyhow::ensure!(!made.is_symlink(), "{} is a link, and exports follow none", folder.display());
            anyhow::ensure!(made.is_dir(), "{} is no folder", folder.display());
        }
        if self.tidy.insert(folder.clone()) {
            whole::remove_abandoned(&folder);
        }
        Ok(())
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A home with `out`, and the source `a.pdf`.
    fn home() -> (TempDir, PathBuf, Input) {
        let home = tempfile::tempdir().unwrap();
        let (out, source) = (home.path().join("out"), home.path().join("a.pdf"));
        std::fs::create_dir(&out).unwrap();
        std::fs::write(&source, "source").unwrap();
        (home, out, Input { path: source, relative: "a.pdf".into() })
    }

    fn open(home: &TempDir, input: &Input, overwrite: bool) -> Folder {
        Folder::open(&home.path().join("out"), &home.path().join("data"), [input].into_iter(), overwrite).unwrap()
    }

    #[test]
    fn what_deckle_wrote_is_replaced_and_what_others_wrote_is_not() {
        let (home, out, input) = home();
        let place = Path::new("x/a.md");
        open(&home, &input, false).write(place, b"first").unwrap();
        open(&home, &input, false).write(place, b"second").unwrap();
        assert_eq!(std::fs::read(out.join(place)).unwrap(), b"second");

        std::fs::write(out.join(place), "second, and notes").unwrap();
        let said = format!("{:#}", open(&home, &input, false).write(place, b"third").unwrap_err());
        assert!(said.contains("x/a.md") && said.contains("--overwrite"), "{said}");
        assert_eq!(std::fs::read(out.join(place)).unwrap(), b"second, and notes");
        open(&home, &input, true).write(place, b"third").unwrap();
        assert_eq!(std::fs::read(out.join(place)).unwrap(), b"third");
        open(&home, &input, false).write(place, b"fourth").unwrap();

        // Somebody's that happens to be the same is no mistake, and stays somebody's.
        std::fs::write(out.join("b.md"), "same").unwrap();
        open(&home, &input, false).write(Path::new("b.md"), b"same").unwrap();
        assert!(open(&home, &input, false).write(Path::new("b.md"), b"other").is_err());
    }

    #[test]
    fn what_was_read_is_never_written_over() {
        let (home, out, input) = home();
        std::fs::hard_link(&input.path, out.join("hard.md")).unwrap();
        symlink(&input.path, out.join("soft.md")).unwrap();
        std::fs::create_dir(out.join("folder.md")).unwrap();
        let mut folder = open(&home, &input, true);
        for name in ["hard.md", "soft.md"] {
            assert!(folder.is_read(Path::new(name)));
            assert!(folder.write(Path::new(name), b"export").is_err(), "{name}");
            assert_eq!(std::fs::read(out.join(name)).unwrap(), b"source");
        }
        assert!(folder.write(Path::new("folder.md"), b"export").is_err());
        assert!(!folder.is_read(Path::new("folder.md")) && !folder.is_read(Path::new("none.md")));
    }

    #[test]
    fn no_link_is_followed() {
        let (home, out, input) = home();
        let victim = home.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("a.md"), "kept").unwrap();
        symlink(victim.join("a.md"), out.join("a.md")).unwrap();
        symlink(&victim, out.join("x")).unwrap();
        symlink(victim.join("new"), out.join(".a.md.part")).unwrap();
        symlink("nowhere", out.join("gone.md")).unwrap();
        assert!(open(&home, &input, false).write(Path::new("a.md"), b"kept").is_err(), "the same bytes by a link");
        assert!(open(&home, &input, false).write(Path::new("gone.md"), b"export").is_err());
        let said = format!("{:#}", open(&home, &input, true).write(Path::new("x/a.md"), b"export").unwrap_err());
        assert!(said.contains("out/x is a link"), "{said}");
        open(&home, &input, true).write(Path::new("a.md"), b"export").unwrap();
        assert!(!out.join("a.md").is_symlink() && !out.join("nowhere").exists());
        assert_eq!(std::fs::read(victim.join("a.md")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(victim).unwrap().count(), 1);
    }
}
