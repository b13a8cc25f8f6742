//! Which document a truth is about.
//!
//! Truth files are taken as they are named, or found in folders; their documents by name: `linn.txt` is about
//! `linn.pdf`, `linn.png` and so on (the stem is the same), `page.webp.txt` about `page.webp`, `us-001-str.xml` about
//! `us-001.pdf`; beside it, or below the folder of documents. Where names say nothing, a file `sets.toml` does:
//!
//! ```toml
//! truth = "."            # folder of truths, from here; the default
//! documents = "../scans" # folder of documents, from here; --documents goes first
//!
//! [[pair]]
//! document = "image/page-3.tif"
//! truth = "page.txt"     # or several: ["page-reg.xml", "page-str.xml"]
//! set = "faxes"          # else the document's folder
//! format = "text"        # else what it looks like
//! languages = ["de"]     # what OCR shall expect
//! password = "…"
//! pages = [2]            # the truth is about these pages only
//! pictures = false       # the truth leaves out what stands inside pictures and charts; so does the comparison
//! ```
//!
//! The law: nothing is dropped in silence. What has no counterpart is listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

use super::truth::{self, Format, Scope, Truth};
use deckle_seal::Password;

/// The file that says what names do not.
pub const MAPPING: &str = "sets.toml";

/// A document and what it really says.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What reports call it: the document's path below its folder, and pages where not all are meant.
    pub name: String,
    /// The set that its figures go into.
    pub set: String,
    /// The file.
    pub document: PathBuf,
    /// The files of its truth, with their formats.
    pub truths: Vec<(PathBuf, Format)>,
    /// What they say.
    pub truth: Truth,
    /// BCP 47; none = as the command says.
    pub languages: Vec<String>,
    /// The password that opens the file; never shown.
    pub password: Option<Password>,
    /// What of the document the truth is about.
    pub scope: Scope,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairing {
    /// By set, then by name.
    pub pairs: Vec<Pair>,
    /// Truths about nothing here.
    pub truths_without_document: Vec<PathBuf>,
    /// Documents that no truth is about.
    pub documents_without_truth: Vec<PathBuf>,
    /// Files that could be truths by their extension, and are in no format that is read.
    pub not_read: Vec<PathBuf>,
}

/// A set made of documents whose path below their folder matches.
#[derive(Debug, Clone)]
pub struct SetRule {
    /// Its name.
    pub name: String,
    /// What paths look like.
    pub pattern: glob::Pattern,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    truth: Option<PathBuf>,
    documents: Option<PathBuf>,
    #[serde(default)]
    pair: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    document: PathBuf,
    truth: OneOrMore,
    set: Option<String>,
    format: Option<Format>,
    #[serde(default)]
    languages: Vec<String>,
    password: Option<Password>,
    #[serde(default)]
    pages: Vec<u32>,
    pictures: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

/// Finds the documents of truth files, of folders with such, and of mappings.
///
/// # Errors
/// When a file cannot be read or is damaged, or a mapping names what is not there; the message names file and line.
pub fn find(arguments: &[PathBuf], documents: Option<&Path>, rules: &[SetRule]) -> anyhow::Result<Pairing> {
    let mut finder = Finder { documents, rules, ..Finder::default() };
    if let Some(folder) = documents {
        anyhow::ensure!(folder.is_dir(), "{} is no folder of documents", folder.display());
        walk(folder, &mut finder.candidates)?;
    }
    for argument in arguments {
        if argument.is_dir() {
            finder.folder(argument)?;
        } else if argument.extension().is_some_and(|extension| extension == "toml") {
            finder.mapping(argument)?;
        } else {
            anyhow::ensure!(argument.exists(), "there is no truth {}", argument.display());
            let beside = argument.parent().filter(|_| documents.is_none());
            let folder = beside.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
            if let Some(folder) = folder {
                walk(folder, &mut finder.beside)?;
            }
            let read = truth::read(argument, None)?.with_context(|| {
                let formats = "plain text, FUNSD, SROIE, ICDAR 2013 XML and Docling JSON";
                format!("{} is in no format of truth that is read ({formats})", argument.display())
            })?;
            finder.truths.insert(argument.clone(), read);
        }
    }
    finder.finish()
}

#[derive(Default)]
struct Finder<'a> {
    documents: Option<&'a Path>,
    rules: &'a [SetRule],
    /// Files below the folder of documents, or in folders of truths.
    candidates: BTreeSet<PathBuf>,
    /// Files beside truths that were named one by one: nobody asked whether they have a truth.
    beside: BTreeSet<PathBuf>,
    /// Folders that hold truths and no documents.
    truth_folders: Vec<PathBuf>,
    truths: BTreeMap<PathBuf, (Format, Truth)>,
    /// Truths that a mapping names, by their places.
    mapped: BTreeSet<PathBuf>,
    pairs: Vec<Pair>,
    not_read: Vec<PathBuf>,
}

impl Finder<'_> {
    fn folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut files = BTreeSet::new();
        walk(folder, &mut files)?;
        let mapping = folder.join(MAPPING);
        if files.remove(&mapping) {
            self.mapping(&mapping)?;
        }
        let is_apart = self.documents.is_some_and(|documents| real(documents) != real(folder));
        if is_apart {
            self.truth_folders.push(folder.to_owned());
        }
        for file in files {
            if self.mapped.contains(&place_of(&file)) {
                continue;
            }
            let could_be = |file: &Path| {
                file.extension().is_some_and(|it| ["txt", "csv", "json", "xml"].iter().any(|known| it == *known))
            };
            match truth::read(&file, None)? {
                Some(read) => drop(self.truths.insert(file, read)),
                None if is_apart || could_be(&file) => self.not_read.push(file),
                None => drop(self.candidates.insert(file)),
            }
        }
        Ok(())
    }

    fn mapping(&mut self, path: &Path) -> anyhow::Result<()> {
        let content = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let mapping: Mapping = toml::from_str(&content).map_err(|error| {
            let line = error.span().map(|span| content[..span.start].matches('\n').count() + 1).unwrap_or(1);
            anyhow::anyhow!("{}:{line}: {}", path.display(), error.message().lines().next().unwrap_or_default())
        })?;
        let here = path.parent().unwrap_or(Path::new(""));
        let truths = mapping.truth.map_or_else(|| here.to_owned(), |folder| here.join(folder));
        let own = mapping.documents.map_or_else(|| here.to_owned(), |folder| here.join(folder));
        let documents = self.documents.map_or(own, Path::to_owned);
        for entry in mapping.pair {
            let names = match entry.truth {
                OneOrMore::One(name) => vec![name],
                OneOrMore::More(names) => names,
            };
            let document = documents.join(&entry.document);
            let place = format!("{} ({})", path.display(), entry.document.display());
            anyhow::ensure!(document.is_file(), "{place}: there is no document {}", document.display());
            anyhow::ensure!(!entry.pages.contains(&0), "{place}: pages count from 1");
            for name in names {
                let file = truths.join(name);
                let (format, truth) = truth::read(&file, entry.format)?
                    .with_context(|| format!("{place}: {} is in no format of truth that is read", file.display()))?;
                self.mapped.insert(place_of(&file));
                self.pairs.push(Pair {
                    name: name_of(&entry.document, &entry.pages),
                    set: self.set(&entry.document, entry.set.as_deref(), &documents),
                    document: document.clone(),
                    truths: vec![(file, format)],
                    truth,
                    languages: entry.languages.clone(),
                    password: entry.password.clone(),
                    scope: Scope { pages: entry.pages.clone(), pictures: entry.pictures.unwrap_or(true) },
                });
            }
        }
        Ok(())
    }

    /// A rule that names the document goes first, then what a mapping says, then the folder.
    fn set(&self, relative: &Path, mapped: Option<&str>, documents: &Path) -> String {
        if let Some(rule) = self.rules.iter().find(|rule| rule.pattern.matches_path(relative)) {
            return rule.name.clone();
        }
        let folder = relative.parent().filter(|folder| !folder.as_os_str().is_empty());
        let root =
            || real(documents).file_name().map_or_else(|| "all".to_owned(), |name| name.to_string_lossy().into_owned());
        mapped.map(str::to_owned).unwrap_or_else(|| folder.map_or_else(root, |folder| folder.display().to_string()))
    }

    fn finish(mut self) -> anyhow::Result<Pairing> {
        let truths = std::mem::take(&mut self.truths);
        // The same file may be named in several ways; a truth must not be taken for the document that it is about.
        let known: BTreeSet<PathBuf> =
            truths.keys().map(|path| place_of(path)).chain(self.mapped.iter().cloned()).collect();
        let folders: Vec<PathBuf> = self.truth_folders.iter().map(|folder| real(folder)).collect();
        let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for file in self.candidates.iter().chain(&self.beside) {
            let place = place_of(file);
            let is_in_truths = folders.iter().any(|folder| place.starts_with(folder));
            let is_mapping = file.file_name().is_some_and(|name| name == MAPPING);
            if !known.contains(&place) && !is_in_truths && !is_mapping {
                files.entry(place).or_insert_with(|| file.clone());
            }
        }
        let mut pairing = Pairing { not_read: std::mem::take(&mut self.not_read), ..Pairing::default() };
        let mut pairs = std::mem::take(&mut self.pairs);
        let mut used: BTreeSet<PathBuf> = pairs.iter().map(|pair| place_of(&pair.document)).collect();
        for (path, (format, truth)) in truths {
            let about = documents_of(&path, format, &files);
            if about.is_empty() {
                pairing.truths_without_document.push(path);
                continue;
            }
            for document in about {
                let folder = self.documents.or(path.parent()).unwrap_or(Path::new(""));
                let relative = document.strip_prefix(folder).unwrap_or(document);
                used.insert(place_of(document));
                pairs.push(Pair {
                    name: name_of(relative, &[]),
                    set: self.set(relative, None, folder),
                    document: document.clone(),
                    truths: vec![(path.clone(), format)],
                    truth: truth.clone(),
                    languages: Vec::new(),
                    password: None,
                    scope: Scope::default(),
                });
            }
        }
        let is_left = |(place, file): &(PathBuf, PathBuf)| !used.contains(place) && self.candidates.contains(file);
        pairing.documents_without_truth = files.into_iter().filter(is_left).map(|(_, file)| file).collect();
        pairing.pairs = joined(pairs);
        pairing.pairs.sort_by(|one, other| (&one.set, &one.name).cmp(&(&other.set, &other.name)));
        Ok(pairing)
    }
}

/// The documents that a truth is about by its name; those in its own folder before all others. Files are known by
/// their places.
fn documents_of<'a>(truth: &Path, format: Format, files: &'a BTreeMap<PathBuf, PathBuf>) -> Vec<&'a PathBuf> {
    let Some(stem) = truth.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { return Vec::new() };
    let stem = match format {
        Format::Icdar2013 => stem.trim_end_matches("-reg").trim_end_matches("-str"),
        _ => stem.as_str(),
    };
    let is_named = |name: Option<&std::ffi::OsStr>| name.is_some_and(|name| name.to_string_lossy() == stem);
    let named = files.iter().filter(|(file, _)| is_named(file.file_name()) || is_named(file.file_stem()));
    let truth = place_of(truth);
    let (beside, elsewhere): (Vec<_>, Vec<_>) = named.partition(|(file, _)| file.parent() == truth.parent());
    let nearest = if beside.is_empty() { elsewhere } else { beside };
    nearest.into_iter().map(|(_, file)| file).collect()
}

/// A folder by the one name that it really has.
fn real(folder: &Path) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// A file in its real folder. What it links to does not matter: collections link names to files called by their hash.
fn place_of(file: &Path) -> PathBuf {
    let folder = real(file.parent().unwrap_or(Path::new("")));
    file.file_name().map_or_else(|| folder.clone(), |name| folder.join(name))
}

/// Truths that say different things of the same pages of a document become one.
fn joined(pairs: Vec<Pair>) -> Vec<Pair> {
    let mut joined: Vec<Pair> = Vec::new();
    for mut pair in pairs {
        let same = joined.iter().position(|it| {
            it.document == pair.document
                && it.scope == pair.scope
                && it.set == pair.set
                && it.languages == pair.languages
        });
        let Some(at) = same else {
            joined.push(pair);
            continue;
        };
        match std::mem::take(&mut joined[at].truth).joined(pair.truth) {
            Ok(truth) => {
                joined[at].truth = truth;
                joined[at].truths.append(&mut pair.truths);
            }
            Err(both) => {
                (joined[at].truth, pair.truth) = *both;
                joined.push(pair);
            }
        }
    }
    // Of truths that contradict each other each makes figures of its own, and says which it is.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for pair in &joined {
        *seen.entry(pair.name.clone()).or_default() += 1;
    }
    for pair in joined.iter_mut().filter(|pair| seen[&pair.name] > 1) {
        let name = pair.truths.first().and_then(|(path, _)| path.file_name()).map(|name| name.to_string_lossy());
        pair.name = format!("{} ({})", pair.name, name.unwrap_or_default());
    }
    joined
}

fn name_of(relative: &Path, pages: &[u32]) -> String {
    let pages: Vec<String> = pages.iter().map(u32::to_string).collect();
    match pages.as_slice() {
        [] => relative.display().to_string(),
        [page] => format!("{} page {page}", relative.display()),
        pages => format!("{} pages {}", relative.display(), pages.join(", ")),
    }
}

/// All files below a folder, hidden ones left out.
fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("the folder {}", folder.display()))? {
        let path = entry?.path();
        let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.is_file() {
            files.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn pairs(pairing: &Pairing) -> Vec<(&str, &str)> {
        pairing.pairs.iter().map(|pair| (pair.set.as_str(), pair.name.as_str())).collect()
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    const CELL: &str = "<document><table><region page='1'><cell start-row='0' start-col='0'><content>a</content></cell>
        </region></table></document>";
    const REGION: &str =
        "<document><table><region page='1'><bounding-box x1='1' y1='1' x2='9' y2='9'/></region></table></document>";

    #[test]
    fn documents_lie_beside_their_truths() {
        let here = folder(&[
            ("a.pdf", ""),
            ("a.txt", "text"),
            ("page.webp", ""),
            ("page.webp.txt", "text"),
            ("us-001.pdf", ""),
            ("us-001-reg.xml", REGION),
            ("us-001-str.xml", CELL),
            ("alone.png", ""),
            ("nothing.txt", "text"),
            ("fields.json", "{}"),
            (".hidden.txt", "text"),
        ]);
        let pairing = find(&[here.path().to_owned()], None, &[]).unwrap();
        let set = here.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(pairs(&pairing), [(set, "a.pdf"), (set, "page.webp"), (set, "us-001.pdf")]);
        assert_eq!(pairing.pairs[2].truths.len(), 2, "regions and cells are one truth");
        assert_eq!(names(&pairing.truths_without_document), ["nothing.txt"]);
        assert_eq!(names(&pairing.documents_without_truth), ["alone.png"]);
        assert_eq!(names(&pairing.not_read), ["fields.json"]);
        let one = find(&[here.path().join("a.txt")], None, &[]).unwrap();
        assert_eq!((pairs(&one).len(), one.documents_without_truth.len()), (1, 0));
    }

    #[test]
    fn documents_lie_in_folders_beside_that_of_the_truths() {
        let here = folder(&[
            ("truth/a.txt", "text"),
            ("truth/notes.md", ""),
            ("scan/a.pdf", ""),
            ("image/a.tif", ""),
            ("image/b.tif", ""),
        ]);
        let rule = SetRule { name: "pictures".into(), pattern: glob::Pattern::new("image/*").unwrap() };
        let pairing = find(&[here.path().join("truth")], Some(here.path()), &[rule]).unwrap();
        assert_eq!(pairs(&pairing), [("pictures", "image/a.tif"), ("scan", "scan/a.pdf")]);
        assert_eq!(names(&pairing.documents_without_truth), ["b.tif"]);
        assert_eq!(names(&pairing.not_read), ["notes.md"]);
    }

    #[test]
    fn a_truth_is_never_its_own_document_however_it_is_called() {
        let here = folder(&[("truth/a.txt", "text"), ("scan/a.pdf", "")]);
        let roundabout = here.path().join("scan/../truth");
        for truths in [roundabout.clone(), roundabout.join("a.txt")] {
            let pairing = find(&[truths], Some(here.path()), &[]).unwrap();
            assert_eq!(pairs(&pairing), [("scan", "scan/a.pdf")]);
        }
        assert_eq!(find(&[roundabout.join("a.txt")], None, &[]).unwrap().pairs, []);
    }

    #[test]
    fn a_mapping_says_what_names_do_not() {
        let here = folder(&[
            ("truth/page.txt", "text"),
            ("truth/other.txt", "text"),
            ("doc/four.pdf", ""),
            ("doc/other.pdf", ""),
            (
                "truth/sets.toml",
                "documents = \"../doc\"\n[[pair]]\ndocument = \"four.pdf\"\ntruth = \"page.txt\"\npages = [2]\npictures = false\nset = \"turned\"\n\
                 languages = [\"de\"]\npassword = \"x\"\n[[pair]]\ndocument = \"four.pdf\"\ntruth = \"page.txt\"\npages = [3]\n",
            ),
        ]);
        let truth = here.path().join("truth");
        let pairing = find(std::slice::from_ref(&truth), Some(&here.path().join("doc")), &[]).unwrap();
        assert_eq!(pairs(&pairing), [("doc", "four.pdf page 3"), ("doc", "other.pdf"), ("turned", "four.pdf page 2")]);
        assert_eq!(
            (&pairing.pairs[2].languages, &pairing.pairs[2].scope),
            (&vec!["de".to_owned()], &Scope { pages: vec![2], pictures: false })
        );
        let shown = format!("{:?}", pairing.pairs[2].password);
        assert!(pairing.pairs[2].password.is_some() && !shown.contains('x'), "{shown}");
        let alone = find(&[truth.join(MAPPING)], None, &[]).unwrap();
        assert_eq!(alone.pairs.len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_mapping_is_told_with_its_place() {
        for (content, wanted) in [
            ("[[pair]]\ndocument = \"a.pdf\"\ntruth = 7\n", "sets.toml:"),
            ("[[pair]]\ndocument = \"a.pdf\"\ntruth = \"a.txt\"\nword = \"x\"\n", "sets.toml:4: "),
            ("[[pair]]\ndocument = \"gone.pdf\"\ntruth = \"a.txt\"\n", "gone.pdf"),
            ("[[pair]]\ndocument = \"a.pdf\"\ntruth = \"gone.txt\"\n", "gone.txt"),
        ] {
            let here = folder(&[("a.pdf", ""), ("a.txt", ""), ("sets.toml", content)]);
            let error = format!("{:#}", find(&[here.path().to_owned()], None, &[]).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn truths_that_contradict_each_other_are_told_apart() {
        let here = folder(&[("a.pdf", ""), ("a.txt", "one"), ("one/a.txt", "two"), ("other.xml", "<x/>")]);
        let truths = [here.path().join("a.txt"), here.path().join("one/a.txt")];
        let pairing = find(&truths, Some(here.path()), &[]).unwrap();
        assert_eq!(pairing.pairs.len(), 2);
        assert!(pairing.pairs.iter().all(|pair| pair.name.ends_with("(a.txt)")));
    }
}
