//! What documents really say: readers of the field's truth formats.
//!
//! | format | file | says |
//! |---|---|---|
//! | plain text | `.txt`, a form feed between pages | text |
//! | FUNSD | `.json` with `form` | text and boxes of words |
//! | SROIE | `.txt` or `.csv`, lines of `x1,y1,…,x4,y4,text` | text and boxes of lines |
//! | ICDAR 2013 table competition | `-reg.xml`, `-str.xml` | boxes of tables; cells |
//! | Docling JSON | `.json`, `DoclingDocument` | text, boxes of blocks, tables |
//!
//! The law: a truth that is damaged is an error which names file and line; nothing of it is guessed.

mod docling;
mod funsd;
mod icdar2013;
mod sroie;
mod text;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::tables::PlacedTable;
use deckle_contract::document::Bbox;

/// A format of truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Plain text, a form feed between pages.
    Text,
    /// FUNSD: forms, words with boxes.
    Funsd,
    /// SROIE: receipts, lines with corners.
    Sroie,
    /// ICDAR 2013 table competition: regions and cells.
    Icdar2013,
    /// Docling's own.
    Docling,
}

impl Format {
    /// Its name in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Funsd => "funsd",
            Self::Sroie => "sroie",
            Self::Icdar2013 => "icdar2013",
            Self::Docling => "docling",
        }
    }
}

/// What a truth says of one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    /// Its text.
    pub text: Option<Text>,
    /// Its boxes.
    pub boxes: Option<Boxes>,
    /// Its tables.
    pub tables: Option<Tables>,
    /// In what frame boxes stand.
    pub frame: Frame,
}

/// What of its document a truth is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Pages, counted from 1; none = all.
    pub pages: Vec<u32>,
    /// Whether the text says what stands inside pictures and charts, too. Many truths are of the running text alone.
    pub pictures: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Self { pages: Vec::new(), pictures: true }
    }
}

impl Scope {
    /// Whether it is about a page.
    pub fn has_page(&self, page_no: u32) -> bool {
        self.pages.is_empty() || self.pages.contains(&page_no)
    }
}

/// How the text is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// Pages of running text as it is printed, line by line: hyphens at line ends and markers of lists included.
    Printed(Vec<String>),
    /// Pages of running text as a reader would write it down: hyphens mended, markers of lists left out.
    Flowing(Vec<String>),
    /// Pieces with their places, in no order that means anything.
    Placed(Vec<(Place, String)>),
}

/// A box on a page, in the truth's own frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Page, counted from 1.
    pub page_no: u32,
    /// The box.
    pub bbox: Bbox,
}

/// In what frame the boxes of a truth stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frame {
    /// Points from the top left, as deckle's own.
    #[default]
    TopLeft,
    /// Points from the bottom left, as a PDF's.
    BottomLeft,
    /// Pixels of the picture, from the top left.
    Pixels,
}

/// Boxes of things of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Boxes {
    /// Of what.
    pub of: Unit,
    /// Where each unit of the truth stands.
    pub places: Vec<Place>,
}

/// What boxes are around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One box for each word.
    Word,
    /// One box for each line.
    Line,
    /// One box for each block.
    Block,
    /// One box for each table.
    Table,
}

impl Unit {
    /// Its name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Line => "line",
            Self::Block => "block",
            Self::Table => "table",
        }
    }
}

/// The tables of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Tables {
    /// In the order of the file; boxes in the truth's frame.
    pub tables: Vec<PlacedTable>,
    /// Whether header rows are marked as such.
    pub has_headers: bool,
}

impl Truth {
    /// Takes what another truth says of the same document and this one does not; gives it back where both speak of the
    /// same.
    pub fn joined(mut self, other: Self) -> Result<Self, Box<(Self, Self)>> {
        let both_say = [
            self.text.is_some() && other.text.is_some(),
            self.boxes.is_some() && other.boxes.is_some() && !self.is_structure_of(&other),
            self.tables.is_some() && other.tables.is_some(),
        ];
        let has_boxes = |truth: &Self| truth.boxes.is_some() || truth.tables.is_some();
        if both_say.contains(&true) || (has_boxes(&self) && has_boxes(&other) && self.frame != other.frame) {
            return Err(Box::new((self, other)));
        }
        if has_boxes(&other) {
            self.frame = other.frame;
        }
        self.text = self.text.or(other.text);
        // Regions are drawn around whole tables, cells around their texts: the regions' boxes are the better ones.
        self.boxes = if self.tables.is_some() { other.boxes.or(self.boxes) } else { self.boxes.or(other.boxes) };
        self.tables = self.tables.or(other.tables);
        Ok(self)
    }

    /// Whether one is the cells, and the other the regions, of the same tables.
    fn is_structure_of(&self, other: &Self) -> bool {
        self.tables.is_some() != other.tables.is_some()
            && [self, other].iter().all(|it| it.boxes.as_ref().is_some_and(|boxes| boxes.of == Unit::Table))
    }
}

/// What is wrong with a truth, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// Line in it, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong, in half a line.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        write!(out, ": {}", self.message)
    }
}

/// What is wrong in a text, before the file's name is put to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flaw {
    line: Option<usize>,
    message: String,
}

impl Flaw {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    fn whole(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }

    fn of_json(error: &serde_json::Error) -> Self {
        // The parser's message ends in the place, which is reported in `line`.
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text);
        Self { line: Some(error.line()).filter(|line| *line > 0), message: message.to_owned() }
    }
}

/// Reads a truth file in the format given, or in the one that it looks like; `None` for a file that looks like no
/// truth.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read(path: &Path, format: Option<Format>) -> Result<Option<(Format, Truth)>, Error> {
    let named = |flaw: Flaw| Error { path: path.to_owned(), line: flaw.line, message: flaw.message };
    let bytes = std::fs::read(path).map_err(|error| named(Flaw::whole(error.to_string())))?;
    let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    if format.is_none() && !["txt", "csv", "json", "xml"].contains(&extension.as_str()) {
        return Ok(None);
    }
    let content = decoded(&bytes).map_err(named)?;
    let format = match format {
        Some(format) => format,
        None => match detected(&extension, content).map_err(named)? {
            Some(format) => format,
            None => return Ok(None),
        },
    };
    let truth = match format {
        Format::Text => Ok(text::read(content)),
        Format::Funsd => funsd::read(content),
        Format::Sroie => sroie::read(content),
        Format::Icdar2013 => icdar2013::read(content),
        Format::Docling => docling::read(content),
    };
    Ok(Some((format, truth.map_err(named)?)))
}

/// UTF-8 without its byte order mark.
fn decoded(bytes: &[u8]) -> Result<&str, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        Flaw::at(before.iter().filter(|byte| **byte == b'\n').count() + 1, "this is not UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

fn detected(extension: &str, content: &str) -> Result<Option<Format>, Flaw> {
    Ok(match extension {
        "txt" if !sroie::looks_like(content) => Some(Format::Text),
        "txt" | "csv" => sroie::looks_like(content).then_some(Format::Sroie),
        "xml" => icdar2013::looks_like(content)?.then_some(Format::Icdar2013),
        _ => {
            let value: serde_json::Value = serde_json::from_str(content).map_err(|error| Flaw::of_json(&error))?;
            if value["schema_name"] == "DoclingDocument" {
                Some(Format::Docling)
            } else {
                value["form"].is_array().then_some(Format::Funsd)
            }
        }
    })
}

/// Most rows or columns of a table in a truth: a slip of the pen in a number shall not fill the memory.
const MAX_SIDE: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn formats_are_told_by_what_they_hold() {
        for (name, content, wanted) in [
            ("a.txt", "72,25, is how the line begins", Some(Format::Text)),
            ("a.txt", "72,25,326,25,326,64,72,64,TAN WOON YANN\n", Some(Format::Sroie)),
            ("a.csv", "72,25,326,25,326,64,72,64,TAN, WOON\n", Some(Format::Sroie)),
            ("a.csv", "name,price\n", None),
            ("a.json", "{\"form\": []}", Some(Format::Funsd)),
            ("a.json", "{\"schema_name\": \"DoclingDocument\"}", Some(Format::Docling)),
            ("a.json", "{\"total\": \"1.00\"}", None),
            ("a.xml", "<document filename='a.pdf'><table id='1'/></document>", Some(Format::Icdar2013)),
            ("a.xml", "<invoice/>", None),
            ("a.pdf", "", None),
        ] {
            let (_folder, path) = file(name, content);
            assert_eq!(read(&path, None).unwrap().map(|(format, _)| format), wanted, "{name}: {content}");
        }
    }

    #[test]
    fn damage_is_told_with_file_and_line() {
        for (name, content, line) in [
            ("a.json", "{\n\"form\": [\n", 3),
            ("a.json", "{\n\"form\": [\n{\"text\": \"a\", \"box\": [1, 2]}]}", 3),
            ("a.xml", "<document>\n<table>\n</document>", 3),
            ("a.xml", "<document><table>\n<region page='x'/></table></document>", 2),
            ("a.txt", "72,25,326,25,326,64,72,64,TAN\n72,25,326,25,326,64,72,TAN\n", 2),
        ] {
            let (_folder, path) = file(name, content);
            let error = read(&path, None).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.to_string().starts_with(&format!("{}:{line}: ", path.display())), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, b"one\ntwo \xff").unwrap();
        assert_eq!(read(&path, None).unwrap_err().line, Some(2));
    }

    #[test]
    fn two_truths_of_a_document_are_one_where_they_do_not_contradict() {
        let text = Truth { text: Some(Text::Printed(vec!["a".to_owned()])), ..Truth::default() };
        let place = Place { page_no: 1, bbox: Bbox { left: 0.0, top: 0.0, right: 9.0, bottom: 9.0 } };
        let of = |places: Vec<Place>| Some(Boxes { of: Unit::Table, places });
        let regions = Truth { boxes: of(vec![place]), frame: Frame::BottomLeft, ..Truth::default() };
        let tables = Some(Tables { tables: Vec::new(), has_headers: false });
        let cells = Truth { tables, boxes: of(Vec::new()), ..regions.clone() };
        for (one, other) in [(&regions, &cells), (&cells, &regions)] {
            let joined = one.clone().joined(other.clone()).unwrap().joined(text.clone()).unwrap();
            assert_eq!((&joined.boxes, &joined.tables, &joined.text), (&regions.boxes, &cells.tables, &text.text));
            assert_eq!(joined.frame, Frame::BottomLeft);
        }
        assert!(text.clone().joined(text).is_err());
    }
}
