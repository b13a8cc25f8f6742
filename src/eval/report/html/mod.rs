//! An evaluation as pages that a browser shows: `index.html`, one page per document, pictures beside them.
//!
//! The law: a page works from the file system, without anything from elsewhere; everything that was found or stands in a
//! truth is escaped by the templates.

mod document;
mod index;
mod plots;

use std::{collections::BTreeMap, path::Path};

use minijinja::Environment;
use serde::Serialize;

use super::{DocumentResult, Figures, Report};
use crate::{compare::Comparison, found::Found, measure::Measure};

/// Folder of pictures below the report's own.
pub const PICTURES: &str = "pictures";
/// Folder of the documents' pages below the report's own.
pub const DOCUMENTS: &str = "documents";
const STYLE: &str = include_str!("style.css");

/// The picture of a page, a file in [`PICTURES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its name.
    pub name: String,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

/// A document and all that is shown of it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its figures.
    pub result: &'a DocumentResult,
    /// What was found.
    pub found: &'a Found,
    /// Where it differs from the truth.
    pub comparison: &'a Comparison,
    /// Pictures of its pages; a page may have none.
    pub pictures: &'a BTreeMap<u32, Picture>,
}

/// Makes the pages one by one and hands each to `put`, with its path below the folder of the report. `documents` are those
/// of the report, in its order.
///
/// # Errors
/// Those of `put`.
pub fn write(
    report: &Report,
    documents: &[Shown<'_>],
    put: &mut dyn FnMut(&Path, String) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut templates = Environment::new();
    // Names in .html have everything escaped.
    templates.add_template("index.html", include_str!("index.html"))?;
    templates.add_template("document.html", include_str!("document.html"))?;
    let names: Vec<&str> = documents.iter().map(|it| it.result.name.as_str()).collect();
    for (number, shown) in documents.iter().enumerate() {
        let page = templates.get_template("document.html")?.render(document::context(shown, number, &names))?;
        put(&Path::new(DOCUMENTS).join(file_of(number)), page)?;
    }
    put(Path::new("index.html"), templates.get_template("index.html")?.render(index::context(report))?)
}

/// The file of the document at this place of a report.
fn file_of(number: usize) -> String {
    format!("{:03}.html", number + 1)
}

/// A figure that stands out.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Card {
    label: &'static str,
    meaning: &'static str,
    value: String,
    unit: &'static str,
    interval: String,
}

fn cards(figures: &Figures) -> Vec<Card> {
    let card = |measure: Measure| {
        let figure = figures.get(&measure)?;
        let interval = figure.interval.map_or_else(
            || counts(measure, figure.ratio.part, figure.ratio.whole),
            |it| format!("{} – {}", per_cent(measure, it.low), per_cent(measure, it.high)),
        );
        Some(Card {
            label: measure.label(),
            meaning: measure.meaning(),
            value: per_cent(measure, figure.value?),
            unit: "%",
            interval,
        })
    };
    Measure::ALL.into_iter().filter_map(card).collect()
}

/// What a figure of one document is made of, where these are things that people count.
fn counts(measure: Measure, part: f64, whole: f64) -> String {
    let of = |noun: &str| count(whole as usize, noun);
    match measure {
        Measure::Cer => format!("{part} errors in {}", of("character")),
        Measure::Wer => format!("{part} errors in {}", of("word")),
        Measure::BoxPrecision | Measure::BoxRecall => format!("{part} of {whole} boxes"),
        Measure::Teds => of("table"),
        Measure::Iou => of("pair"),
        Measure::BagF1 | Measure::AdjacencyF1 | Measure::CellF1 | Measure::BoxF1 => String::new(),
    }
}

/// `1 page`, `2 pages`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `35 ms`, `1.20 s`.
fn duration(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

fn per_cent(measure: Measure, value: f64) -> String {
    if measure.is_error() { format!("{:.2}", value * 100.0) } else { format!("{:.1}", value * 100.0) }
}

fn cells(figures: &Figures, measures: &[Measure]) -> Vec<String> {
    let cell = |measure: &Measure| Some(per_cent(*measure, figures.get(measure)?.value?));
    measures.iter().map(|measure| cell(measure).unwrap_or_default()).collect()
}

fn seconds(value: Option<f64>) -> String {
    value.map(|seconds| format!("{seconds:.2}")).unwrap_or_default()
}
