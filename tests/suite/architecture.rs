//! Imports point one way: the table of `src/lib.rs`, held over every path in `src` that starts at the crate, at
//! `super` or (in `main.rs`) at `deckle`. Unit tests inside `src` are held to it too; a test that needs more belongs in
//! `tests/`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What every row from 3 on may use.
const BASE: &[&str] = &["error", "telemetry", "computing", "document", "pixmap", "record"];
/// Rows 3 to 6.
const MIDDLE: &[&str] = &[
    "log",
    "store",
    "blob",
    "inference",
    "sandbox",
    "decode",
    "models",
    "stages",
    "worker",
    "dead_letter",
    "erasure",
    "eval",
    "export",
    "replay",
    "journal",
    "readiness",
];

/// Module, its row, and what it may import besides itself (in pieces). Change it together with `src/lib.rs`.
const TABLE: &[(&str, u8, &[&[&str]])] = &[
    ("error", 1, &[]),
    ("telemetry", 1, &[&["error"]]),
    ("computing", 1, &[&["error"]]),
    ("document", 1, &[&["error"]]),
    ("pixmap", 1, &[&["error"]]),
    ("record", 2, &[&["error", "telemetry", "document"]]),
    ("log", 3, &[BASE]),
    ("store", 3, &[BASE]),
    ("blob", 3, &[BASE]),
    ("inference", 3, &[BASE]),
    ("sandbox", 3, &[BASE]),
    ("decode", 4, &[BASE, &["sandbox"]]),
    ("models", 4, &[BASE, &["inference", "sandbox"]]),
    ("stages", 5, &[BASE, &["models", "decode", "blob", "store"]]),
    ("dead_letter", 6, &[BASE, &["stages", "log", "store"]]),
    ("erasure", 6, &[BASE, &["log", "store", "blob"]]),
    ("eval", 6, &[BASE]),
    ("export", 6, &[BASE, &["store", "blob"]]),
    ("replay", 6, &[BASE, &["stages", "log", "store"]]),
    ("journal", 6, &[BASE, &["stages", "log"]]),
    ("readiness", 6, &[BASE]),
    ("worker", 6, &[BASE, &["stages", "log", "dead_letter", "journal", "readiness"]]),
    ("config", 7, &[BASE, MIDDLE]),
    ("app", 7, &[BASE, MIDDLE, &["config"]]),
    ("cli", 7, &[BASE, MIDDLE, &["config", "app"]]),
    ("main", 7, &[BASE, MIDDLE, &["config", "app", "cli"]]),
];

/// A piece of source text that matters here, and the line it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Identifiers, `::` and single punctuation; comments, strings, characters and lifetimes are left out.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (length, is_code) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = string(rest) {
            (length, false)
        } else if first == '\'' {
            (character_or_lifetime(rest), false)
        } else if first.is_alphanumeric() || first == '_' {
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        if is_code {
            tokens.push(Token { text: &rest[..length], line });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of a string literal of any kind that starts here.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let start = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(rest[start..].find(&end).map_or(rest.len(), |found| start + found + end.len()));
    }
    if hashes > 0 {
        return None;
    }
    let mut escaped = false;
    for (at, c) in rest[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(start + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |found| 3 + found + 1),
        _ => match chars.next() {
            Some((at, '\'')) => at + 1,
            // A lifetime: its name is no path.
            _ => 1 + rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len() - 1),
        },
    }
}

/// The modules of the crate that a file names, with lines: first segments of absolute paths.
fn imports(source: &str, module: &[String]) -> Vec<(String, usize)> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut found = Vec::new();
    // Modules written out in the file: their full path, and how many braces are open inside.
    let mut inline: Vec<(Vec<String>, usize)> = Vec::new();
    let mut braces = 0;
    for at in 0..tokens.len() {
        match text(at) {
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                inline.pop_if(|(_, outside)| *outside == braces);
            }
            "mod" if text(at + 2) == "{" => {
                let mut path = inline.last().map_or(module, |(path, _)| path).to_vec();
                path.push(text(at + 1).to_owned());
                inline.push((path, braces));
            }
            "crate" | "super" | "self" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "::") => {
                let base = inline.last().map_or(module, |(path, _)| path).to_vec();
                let mut paths = Vec::new();
                path(&tokens, at, base, &mut paths);
                found.extend(paths);
            }
            "deckle" if module == ["main"] && text(at + 1) == "::" => {
                path(&tokens, at + 2, Vec::new(), &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Follows one path or a group of them from `at`; gives the first segment of each. Returns where it ends.
fn path(tokens: &[Token], mut at: usize, mut base: Vec<String>, found: &mut Vec<(String, usize)>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match text(at) {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            "{" => {
                at += 1;
                while !matches!(text(at), "}" | "") {
                    at = path(tokens, at, base.clone(), found);
                    // The rest of this entry: a comma, or `as name`.
                    while !matches!(text(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(text(at) == ",");
                }
                return at + 1;
            }
            name => base.push(name.to_owned()),
        }
        at += 1;
        let goes_on = text(at) == "::" && text(at + 1) != "<";
        if !goes_on {
            found.extend(base.first().map(|first| (first.clone(), line)));
            return at;
        }
        at += 1;
    }
}

/// The path of the module in a file, such as `log/ledger.rs`.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let mut parts: Vec<_> = parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// What a file does against the table, one line each.
fn broken_rules(file: &Path, source: &str) -> Vec<String> {
    let module = module_of(file);
    let row = |name: &str| TABLE.iter().find(|(module, ..)| *module == name);
    let Some((name, number, allowed)) = row(&module[0]) else {
        return vec![format!("src/{}: {} is in no row: give it one in src/lib.rs and here", file.display(), module[0])];
    };
    let allowed: BTreeSet<_> = allowed.concat().into_iter().collect();
    imports(source, &module)
        .into_iter()
        .filter(|(target, _)| target != name && !allowed.contains(target.as_str()))
        .map(|(target, line)| {
            let target_row = row(&target).map_or("no row".to_owned(), |(_, number, _)| format!("row {number}"));
            let allowed = allowed.iter().copied().collect::<Vec<_>>().join(", ");
            let at = format!("src/{}:{line}", file.display());
            format!("{at}: {name} (row {number}) imports {target} ({target_row}), but may import only: {allowed}")
        })
        .collect()
}

fn source_files() -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(&src).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap()
}

#[test]
fn imports_point_one_way() {
    let files: Vec<_> = source_files().into_iter().filter(|file| file != Path::new("lib.rs")).collect();
    assert!(files.len() > 10, "found only {files:?}");
    let broken: Vec<_> = files.iter().flat_map(|file| broken_rules(file, &read(file))).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_map_names_every_module_in_its_row() {
    let map = read(Path::new("lib.rs"));
    for module in source_files().iter().map(|file| module_of(file).swap_remove(0)).filter(|module| module != "lib") {
        let (_, row, _) = TABLE.iter().find(|(name, ..)| *name == module).unwrap_or_else(|| panic!("{module}: no row"));
        let line = map.lines().find(|line| line.starts_with(&format!("//! {row}  "))).unwrap();
        let named = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == module);
        assert!(named, "src/lib.rs: row {row} of the map does not name {module}");
    }
}

#[test]
fn the_table_points_one_way() {
    for (name, row, allowed) in TABLE {
        for target in allowed.concat() {
            let (_, target_row, _) = TABLE.iter().find(|(module, ..)| *module == target).unwrap();
            assert!(target_row <= row, "{name} may import {target}, which is below it");
            let (.., back) = TABLE.iter().find(|(module, ..)| *module == target).unwrap();
            assert!(!back.concat().contains(name), "{name} and {target} may import each other");
        }
    }
}

const BAD: &str = r##"
//! A comment may name [`crate::log`].
use crate::{
    error::{Failure, Result},
    blob::Blobs as _, log::{self, Reader as TheReader},
    record::{Event, wire::{decode, encode}}, worker,
};
/* use crate::app; /* nested crate::cli */ crate::app */
const TEXT: &str = "crate::app \" crate::app"; const RAW: &str = r#"crate::"app"#;
fn lifetime<'a>(c: char) -> bool { c == '"' || c == '\'' || c == 'x' }
fn inline() -> crate::sandbox::Pool { crate::models::load::<crate::store::Key>() }
pub(crate) fn up() { super::helper(); super::super::log::lag(); self::here() }
mod inner {
    use super::super::super::{stages, worker::{self}};
    mod deeper { fn f() { super::super::helper(); } }
}
mod outer { use super::super::super::app; }
use super::super::*;
macro_rules! m { () => { $crate::cli::run() } }
"##;

#[test]
fn the_checker_sees_every_kind_of_path() {
    let found = imports(BAD, &["stages".to_owned(), "split".to_owned()]);
    let expected = [
        ("error", 4),
        ("error", 4),
        ("blob", 5),
        ("log", 5),
        ("log", 5),
        ("record", 6),
        ("record", 6),
        ("record", 6),
        ("worker", 6),
        ("sandbox", 11),
        ("models", 11),
        ("store", 11),
        ("stages", 12),
        ("log", 12),
        ("stages", 12),
        ("stages", 14),
        ("worker", 14),
        ("stages", 15),
        ("app", 17),
        ("*", 18),
        ("cli", 19),
    ];
    let found: Vec<_> = found.iter().map(|(module, line)| (module.as_str(), *line)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_broken_rule_is_told_with_file_line_and_rule() {
    let told = broken_rules(Path::new("stages/split.rs"), BAD);
    assert!(
        told.contains(
            &"src/stages/split.rs:5: stages (row 5) imports log (row 3), but may import only: \
          blob, computing, decode, document, error, models, pixmap, record, store, telemetry"
                .to_owned()
        ),
        "{told:#?}"
    );
    let lines: BTreeSet<_> = told.iter().map(|line| line.split(':').nth(1).unwrap().parse::<u32>().unwrap()).collect();
    assert_eq!(lines, BTreeSet::from([5, 6, 11, 12, 14, 17, 18, 19]));
    assert!(broken_rules(Path::new("utils.rs"), "")[0].contains("utils is in no row"));
    let main = broken_rules(Path::new("error.rs"), "use crate::document::Page;");
    assert_eq!(main.len(), 1);
    assert!(broken_rules(Path::new("main.rs"), "fn main() { deckle::cli::run() }").is_empty());
    assert_eq!(broken_rules(Path::new("main.rs"), "use deckle::{cli, utils};").len(), 1);
}
