//! Which files arguments name.
//!
//! The law: what cannot be looked at is told, and stops nothing else. Every folder below an argument is walked once,
//! whatever links lead to it.

use std::{
    collections::{BTreeSet, HashSet},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::table;
use crate::contract::{
    error::{Failure, Reason, code},
    record::Status,
};

/// A file named on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// Its place below the argument that named it: what exports are named after.
    pub relative: PathBuf,
}

impl Input {
    fn named(path: &Path) -> Self {
        Self { path: path.to_owned(), relative: path.file_name().map_or_else(|| path.to_owned(), PathBuf::from) }
    }
}

/// A file that was not taken in, or a folder that could not be looked into, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    /// The file or folder.
    pub input: Input,
    /// Why.
    pub reason: Reason,
}

impl Refusal {
    /// What a failure says of a file.
    pub(super) fn new(input: Input, failure: &Failure) -> Self {
        /// No stage of the pipeline: such a file never gets so far.
        const STAGE: &str = "submit";
        Self { input, reason: failure.reason(STAGE, None) }
    }

    fn unreadable(input: Input, error: &std::io::Error) -> Self {
        Self::new(input, &unreadable(error))
    }

    /// One line on why.
    pub(super) fn why(&self) -> String {
        table::one_line(&self.reason)
    }

    /// It for programs, with the fields of a document that was read. A name that is not UTF-8 has U+FFFD in it.
    pub(super) fn for_programs(&self) -> Value {
        let name = self.input.relative.file_name().map(|name| name.to_string_lossy());
        json!({
            "document_id": null,
            "path": self.input.path.to_string_lossy(),
            "source": { "filename": name },
            "status": Status::Failed,
            "outcome": Status::Failed,
            "reasons": [self.reason],
            "current": null,
        })
    }
}

/// What is said of a file that cannot be read.
pub(super) fn unreadable(error: &std::io::Error) -> Failure {
    Failure::rejected(code::SOURCE_MISSING, format!("it cannot be read: {error}"))
}

/// The files that arguments name, and what could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their paths, each once.
    pub inputs: BTreeSet<Input>,
    /// In the order in which they were come upon.
    pub refusals: Vec<Refusal>,
}

/// Finds the files that arguments name: files, folders (all below, hidden ones and those of `is_left_out` left out) and
/// globs. Links to files are taken, and links to folders are followed where nothing else leads.
///
/// # Errors
/// When an argument names nothing.
pub(super) fn find(arguments: &[PathBuf], is_left_out: impl Fn(&Path) -> bool) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for argument in arguments {
        match std::fs::metadata(argument) {
            Ok(there) if there.is_dir() => Walk::of(argument, &is_left_out, &mut found),
            Ok(_) => drop(found.inputs.insert(Input::named(argument))),
            Err(error) if is_no_name(error.kind()) => matching(argument, &mut found)?,
            Err(error) => found.refusals.push(Refusal::unreadable(Input::named(argument), &error)),
        }
    }
    let is_empty = found.inputs.is_empty() && found.refusals.is_empty();
    anyhow::ensure!(!is_empty, "no files found; give files, folders or patterns such as 'inbox/*.pdf'");
    Ok(found)
}

/// Whether nothing can have the name; it may be a pattern.
fn is_no_name(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// Finds the files that a pattern names.
fn matching(argument: &Path, found: &mut Found) -> anyhow::Result<()> {
    let mut any = false;
    if let Some(pattern) = argument.to_str().filter(|text| text.contains(['*', '?', '['])) {
        for path in glob::glob(pattern).with_context(|| format!("`{pattern}` is no pattern"))? {
            match path {
                Ok(path) if !path.is_file() => continue,
                Ok(path) => drop(found.inputs.insert(Input::named(&path))),
                Err(error) => found.refusals.push(Refusal::unreadable(Input::named(error.path()), error.error())),
            }
            any = true;
        }
    }
    anyhow::ensure!(any, "`{}` names no file", argument.display());
    Ok(())
}

/// A walk through a folder.
struct Walk<'a, L> {
    root: &'a Path,
    is_left_out: &'a L,
    found: &'a mut Found,
    /// Folders that were walked, by their real paths.
    walked: HashSet<PathBuf>,
    /// Links to folders, which are followed when all that really lies below was walked: whichever link comes first,
    /// files are found by their real places.
    links: BTreeSet<PathBuf>,
}

impl<'a, L: Fn(&Path) -> bool> Walk<'a, L> {
    /// Finds all files below a folder.
    fn of(root: &'a Path, is_left_out: &'a L, found: &'a mut Found) {
        let mut walk = Self { root, is_left_out, found, walked: HashSet::new(), links: BTreeSet::new() };
        let mut next = Some(root.to_owned());
        while let Some(folder) = next {
            match folder.canonicalize() {
                Ok(real) => walk.folder(&folder, real),
                Err(error) => walk.refuse(folder, &error),
            }
            next = walk.links.pop_first();
        }
    }

    fn folder(&mut self, folder: &Path, real: PathBuf) {
        if !self.walked.insert(real.clone()) {
            return;
        }
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(folder.to_owned(), &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.refuse(folder.to_owned(), &error),
            };
            let (path, name) = (entry.path(), entry.file_name());
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.folder(&path, real.join(name)),
                Ok(kind) if kind.is_file() => self.take(path),
                Ok(kind) if kind.is_symlink() => self.link(path),
                // A pipe, a socket or a device.
                Ok(_) => {}
                Err(error) => self.refuse(path, &error),
            }
        }
    }

    fn link(&mut self, path: PathBuf) {
        match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() => drop(self.links.insert(path)),
            Ok(there) if there.is_file() => self.take(path),
            Ok(_) => {}
            Err(error) => self.refuse(path, &error),
        }
    }

    fn take(&mut self, path: PathBuf) {
        if !(self.is_left_out)(&path) {
            let input = self.input(path);
            self.found.inputs.insert(input);
        }
    }

    fn refuse(&mut self, path: PathBuf, error: &std::io::Error) {
        let input = self.input(path);
        self.found.refusals.push(Refusal::unreadable(input, error));
    }

    fn input(&self, path: PathBuf) -> Input {
        let below = path.strip_prefix(self.root).ok().filter(|below| !below.as_os_str().is_empty());
        let relative = below.unwrap_or(&path).to_owned();
        Input { path, relative }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn relatives(found: &Found) -> Vec<&str> {
        found.inputs.iter().map(|input| input.relative.to_str().unwrap()).collect()
    }

    #[test]
    fn every_real_folder_is_walked_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for below in ["root/deep/er", "elsewhere"] {
            std::fs::create_dir_all(folder.path().join(below)).unwrap();
        }
        for file in ["root/a.txt", "root/deep/er/b.txt", "root/.hidden", "elsewhere/c.txt"] {
            std::fs::write(folder.path().join(file), file).unwrap();
        }
        // Two ways back to the start, one into what is walked anyway, and two out, of which one is enough.
        for (link, to) in [("one", "."), ("deep/two", ".."), ("a-link", "deep"), ("out", "../elsewhere")] {
            symlink(to, root.join(link)).unwrap();
        }
        symlink("../../elsewhere", root.join("deep/out-too")).unwrap();
        symlink("a.txt", root.join("z.txt")).unwrap();
        let found = find(std::slice::from_ref(&root), |_| false).unwrap();
        assert_eq!(relatives(&found), ["a.txt", "deep/er/b.txt", "deep/out-too/c.txt", "z.txt"]);
        assert_eq!(found.refusals, []);
        let found = find(&[root], |path| path.ends_with("a.txt")).unwrap();
        assert_eq!(relatives(&found), ["deep/er/b.txt", "deep/out-too/c.txt", "z.txt"]);
    }

    #[test]
    fn what_cannot_be_looked_at_stops_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        symlink("itself", folder.path().join("itself")).unwrap();
        symlink("nowhere", folder.path().join("gone.pdf")).unwrap();
        let found = find(&[folder.path().to_owned(), folder.path().join("itself")], |_| false).unwrap();
        assert_eq!(relatives(&found), ["a.txt"]);
        let mut refused: Vec<_> = found.refusals.iter().map(|it| it.input.relative.to_str().unwrap()).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["gone.pdf", "itself", "itself"]);
        assert!(found.refusals.iter().all(|it| it.reason.code == code::SOURCE_MISSING), "{:?}", found.refusals);
        assert!(found.refusals[0].why().starts_with("it cannot be read: "), "{}", found.refusals[0].why());
    }

    #[test]
    fn an_argument_that_names_nothing_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "a").unwrap();
        for nothing in ["no.txt", "no*.txt", "a.txt/b"] {
            let said = find(&[file.clone(), folder.path().join(nothing)], |_| false).unwrap_err().to_string();
            assert!(said.contains(nothing) && said.contains("names no file"), "{said}");
        }
        assert_eq!(relatives(&find(&[folder.path().join("*.txt")], |_| false).unwrap()), ["a.txt"]);
    }
}
