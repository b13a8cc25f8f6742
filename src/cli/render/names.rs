//! What exports are called.
//!
//! The law: no two inputs have one name, and no name is that of a file that was read. It depends on what is read
//! together, and never on the order.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::Format;
use crate::cli::inputs::Input;

/// Names exports after their inputs: `a.pdf` becomes `a.md`. Where two would have one name, or a file that is read has
/// it, those meant move on along this row until all differ, and of two that meet on it the one that is less far along:
///
/// | name | for example |
/// |---|---|
/// | the place below its argument, without the ending | `a` |
/// | with it | `a.pdf` |
/// | the path as it was given | `x/a.pdf` |
/// | the real path from the root on | `home/ada/x/a.pdf` |
///
/// The ending of the form follows: `a.pdf.md`. A name that would be too long for a file is cut, and `~` and the start
/// of its SHA-256 keep it apart from others.
pub(in crate::cli) struct Names {
    stems: HashMap<Input, PathBuf>,
}

/// Names on the row of [`Names`].
const CANDIDATES: usize = 4;

impl Names {
    /// Names for inputs that are read together; `is_read` tells of a name without the form's ending whether an export
    /// would have that of a file that is read.
    pub(in crate::cli) fn new<'a>(inputs: impl Iterator<Item = &'a Input>, is_read: impl Fn(&Path) -> bool) -> Self {
        let inputs: Vec<&Input> = inputs.collect();
        let mut reached = vec![0; inputs.len()];
        let mut stems: Vec<PathBuf> = inputs.iter().map(|input| candidate(input, 0)).collect();
        loop {
            // How many have a name, and how far along the least far of them is.
            let mut meetings: HashMap<&Path, (usize, usize)> = HashMap::new();
            for (stem, reached) in stems.iter().zip(&reached) {
                let (count, least) = meetings.entry(stem.as_path()).or_insert((0, *reached));
                *count += 1;
                *least = (*least).min(*reached);
            }
            let moves = |at: &usize| {
                let (stem, reached) = (stems[*at].as_path(), reached[*at]);
                let must = meetings.get(stem).is_some_and(|(count, least)| *count > 1 && reached == *least);
                reached + 1 < CANDIDATES && (must || is_read(stem))
            };
            let moving: Vec<usize> = (0..inputs.len()).filter(moves).collect();
            if moving.is_empty() {
                break;
            }
            for at in moving {
                reached[at] += 1;
                stems[at] = candidate(inputs[at], reached[at]);
            }
        }
        Self { stems: inputs.into_iter().cloned().zip(stems).collect() }
    }

    /// Where an export of an input goes, below the folder of exports.
    pub(in crate::cli) fn of(&self, input: &Input, format: Format) -> PathBuf {
        with_ending(self.stem(input), format.extension())
    }

    /// The folder of its pictures, below the folder of exports.
    pub(in crate::cli) fn figures(&self, input: &Input) -> PathBuf {
        with_ending(self.stem(input), FIGURES)
    }

    fn stem<'a>(&'a self, input: &'a Input) -> &'a Path {
        self.stems.get(input).unwrap_or(&input.relative)
    }
}

/// A name with an ending.
pub(super) fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// The ending of folders of pictures: the longest.
const FIGURES: &str = "figures";

/// The longest name of a file, in bytes (`NAME_MAX` of Linux).
const LONGEST: usize = 255;

fn candidate(input: &Input, number: usize) -> PathBuf {
    let path = match number {
        0 => input.relative.with_extension(""),
        1 => input.relative.clone(),
        2 => input.path.clone(),
        _ => input.path.canonicalize().unwrap_or_else(|_| input.path.clone()),
    };
    let below: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match below.file_name() {
        Some(name) => below.with_file_name(shortened(name)),
        None => below,
    }
}

/// A name that leaves room for every ending.
fn shortened(name: &OsStr) -> OsString {
    /// Hex digits of the hash: enough for names that begin alike in one folder.
    const DIGITS: usize = 8;

    let room = LONGEST - 1 - FIGURES.len();
    let bytes = name.as_bytes();
    if bytes.len() <= room {
        return name.to_owned();
    }
    let mut end = room - 1 - DIGITS;
    // Not within a character: its further bytes are 10xxxxxx in UTF-8.
    while end > 0 && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let hash = hex::encode(Sha256::digest(bytes));
    OsString::from_vec([&bytes[..end], b"~", &hash.as_bytes()[..DIGITS]].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn input(path: &str, relative: &str) -> Input {
        Input { path: path.into(), relative: relative.into() }
    }

    /// The names of the Markdown, by the paths of inputs, whatever the order of these.
    fn named(inputs: &[Input], read: &[&str]) -> BTreeMap<String, String> {
        let is_read = |stem: &Path| read.iter().any(|read| with_ending(stem, "md") == Path::new(read));
        let names = |inputs: &[Input]| -> BTreeMap<String, String> {
            let names = Names::new(inputs.iter(), is_read);
            let name = |input: &Input| names.of(input, Format::Md).to_str().unwrap().to_owned();
            inputs.iter().map(|input| (input.path.to_str().unwrap().to_owned(), name(input))).collect()
        };
        let reversed: Vec<Input> = inputs.iter().rev().cloned().collect();
        let found = names(inputs);
        assert_eq!(found, names(&reversed), "it depends on the order");
        assert_eq!(found.values().collect::<BTreeSet<_>>().len(), inputs.len(), "two have one name: {found:?}");
        found
    }

    #[test]
    fn a_plain_name_loses_its_ending_and_keeps_its_folder() {
        let found = named(&[input("in/a.pdf", "a.pdf"), input("in/b/a.tar.gz", "b/a.tar.gz")], &[]);
        assert_eq!(found["in/a.pdf"], "a.md");
        assert_eq!(found["in/b/a.tar.gz"], "b/a.tar.md");
    }

    #[test]
    fn names_that_would_be_one_are_told_apart() {
        let found = named(&[input("a.pdf", "a.pdf"), input("a.png", "a.png"), input("b.pdf", "b.pdf")], &[]);
        assert_eq!([&found["a.pdf"], &found["a.png"], &found["b.pdf"]], ["a.pdf.md", "a.png.md", "b.md"]);

        let found = named(&[input("x/a.pdf", "a.pdf"), input("y/a.pdf", "a.pdf")], &[]);
        assert_eq!([&found["x/a.pdf"], &found["y/a.pdf"]], ["x/a.pdf.md", "y/a.pdf.md"]);

        // Of the two that meet on `x.pdf` the one that has not moved yet moves.
        let found = named(&[input("x.pdf", "x.pdf"), input("x.png", "x.png"), input("x.pdf.txt", "x.pdf.txt")], &[]);
        assert_eq!([&found["x.pdf"], &found["x.png"], &found["x.pdf.txt"]], ["x.pdf.md", "x.png.md", "x.pdf.txt.md"]);

        let found = named(&[input("x.pdf", "x.pdf"), input("x.pdf.txt", "x.pdf.txt")], &[]);
        assert_eq!([&found["x.pdf"], &found["x.pdf.txt"]], ["x.md", "x.pdf.md"]);
    }

    #[test]
    fn paths_that_differ_above_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let paths = ["y/z/x/a.pdf", "y/../z/x/a.pdf"].map(|path| real.join(path));
        for folder in ["y/z/x", "z/x"] {
            std::fs::create_dir_all(real.join(folder)).unwrap();
            std::fs::write(real.join(folder).join("a.pdf"), folder).unwrap();
        }
        let inputs = paths.map(|path| input(path.to_str().unwrap(), "a.pdf"));
        let found: Vec<String> = named(&inputs, &[]).into_values().collect();
        assert!(found.iter().all(|name| name.ends_with("x/a.pdf.md")), "{found:?}");
    }

    #[test]
    fn a_name_is_never_that_of_a_file_that_is_read() {
        let found = named(&[input("memo.md", "memo.md")], &["memo.md"]);
        assert_eq!(found["memo.md"], "memo.md.md");
        let found = named(&[input("memo.md", "memo.md"), input("memo.pdf", "memo.pdf")], &["memo.md"]);
        assert_eq!([&found["memo.md"], &found["memo.pdf"]], ["memo.md.md", "memo.pdf.md"]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_stays_apart() {
        let most = "a".repeat(247);
        let found = named(&[input(&format!("{most}.x"), &most)], &[]);
        assert_eq!(found[&format!("{most}.x")], format!("{most}.md"));

        let long = |last: char| format!("{}{last}.txt", "ü".repeat(124));
        let inputs = [long('a'), long('b')].map(|name| input(&name, &name));
        let found = named(&inputs, &[]);
        for (path, name) in &found {
            let (start, hash) = name.strip_suffix(".md").unwrap().split_once('~').unwrap();
            assert!(path.starts_with(start) && start.len() >= 236 && hash.len() == 8, "{name}");
            assert!(name.len() + ".figures".len() - ".md".len() <= LONGEST, "{name}");
        }
        let odd = OsString::from_vec([0x80].repeat(250));
        assert_eq!(shortened(&odd).len(), 9, "what is no UTF-8 has a name all the same");
    }
}
