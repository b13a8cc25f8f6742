//! What an evaluation says: figures per document, per set and in total. As JSON it is this type itself, its fields
//! documented here; [`html`] draws the same as pages that need no script, so that a report reads the same from a disk, a
//! mail or a CI artifact.

pub mod html;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    bootstrap::{self, Interval},
    calibration::Calibration,
    measure::{Measure, Ratio, Scores},
    pairs::Pairing,
    truth::Format,
};
use deckle_contract::record::{Status, TrailEntry};

/// Raised when a field changes its meaning.
pub const VERSION: u32 = 1;

/// Stages whose time is the time of reading; what comes after them (chunks, vectors, publishing) is not.
const READING: [&str; 4] = ["split", "ocr", "vision", "assemble"];

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`] of these fields.
    pub report_version: u32,
    /// Version of deckle.
    pub deckle_version: String,
    /// Hash of the settings that change results.
    pub config_hash: String,
    /// When, RFC 3339.
    pub evaluated_at: String,
    /// Engines and models that read the documents.
    pub models: Vec<String>,
    /// How intervals were made.
    pub bootstrap: Bootstrap,
    /// Over all documents.
    pub total: Group,
    /// By set, in the order of names.
    pub sets: Vec<Group>,
    /// By document, in the order of sets and names.
    pub documents: Vec<DocumentResult>,
    /// Confidence against error over all words that have a confidence.
    pub calibration: Calibration,
    /// Expected calibration error; none where no word has a confidence.
    pub calibration_error: Option<f64>,
    /// What had no counterpart.
    pub left_out: LeftOut,
}

/// How intervals were made: percentiles over resampled documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Share of samples inside an interval.
    pub level: f64,
    /// How often the documents were resampled for the intervals.
    pub resamples: usize,
    /// Where chance starts.
    pub seed: u64,
}

/// A figure with what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its value; none where there was nothing to measure.
    pub value: Option<f64>,
    /// Interval; none for one document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What the value is made of.
    #[serde(flatten)]
    pub ratio: Ratio,
}

/// Figures by measure.
pub type Figures = BTreeMap<Measure, Figure>;

/// Documents taken together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The set's name; `total` for all.
    pub name: String,
    /// Documents that were compared.
    pub documents: usize,
    /// How many of them failed, or have pages that did.
    pub not_whole: usize,
    /// Pages of those documents.
    pub pages: usize,
    /// What was measured.
    pub figures: Figures,
    /// Processor seconds per page of the stages that read; none where no page was read.
    pub cpu_s_per_page: Option<f64>,
    /// Elapsed seconds per page, waiting included.
    pub wall_s_per_page: Option<f64>,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentResult {
    /// Its path below the folder of documents, and pages where not all are meant.
    pub name: String,
    /// Its set.
    pub set: String,
    /// Path of the file.
    pub document: String,
    /// Files of the truth.
    pub truths: Vec<TruthFile>,
    /// How its reading ended.
    pub status: Status,
    /// Why it is not whole; none when it is.
    pub why: Option<String>,
    /// Pages compared.
    pub pages: usize,
    /// What was measured.
    pub figures: Figures,
    /// Character-weighted mean confidence of the pages compared, 0..1; none for text layers.
    pub confidence: Option<f32>,
    /// Processor seconds per page of the stages that read.
    pub cpu_s_per_page: Option<f64>,
    /// Elapsed seconds per page, waiting included.
    pub wall_s_per_page: Option<f64>,
    /// Engines and models that read it.
    pub models: Vec<String>,
    /// Languages that OCR was set to; none = the default.
    pub languages: Vec<String>,
    /// Words inside pictures that were left out of the comparison, as the truth leaves them out; none = all words were
    /// compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_words_left_out: Option<usize>,
}

/// A file of truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthFile {
    /// Its path.
    pub path: String,
    /// Its format.
    pub format: Format,
}

/// What had no counterpart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// Truths about nothing here.
    pub truths_without_document: Vec<String>,
    /// Documents that no truth is about.
    pub documents_without_truth: Vec<String>,
    /// Files in folders of truth in no format that is read.
    pub not_read: Vec<String>,
}

impl LeftOut {
    /// What pairing left over.
    pub fn of(pairing: &Pairing) -> Self {
        let names = |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
        Self {
            truths_without_document: names(&pairing.truths_without_document),
            documents_without_truth: names(&pairing.documents_without_truth),
            not_read: names(&pairing.not_read),
        }
    }
}

/// Documents whose words inside pictures were left out, with how many these are.
pub fn without_pictures(documents: &[DocumentResult]) -> Vec<String> {
    let line = |document: &DocumentResult| {
        let words = document.picture_words_left_out?;
        Some(format!("{}: {words} word{}", document.name, if words == 1 { "" } else { "s" }))
    };
    documents.iter().filter_map(line).collect()
}

/// Seconds per page of the stages that read, processor and elapsed.
pub fn cost(trail: &[TrailEntry], pages: usize) -> Option<(f64, f64)> {
    if pages == 0 {
        return None;
    }
    let reading = || trail.iter().filter(|entry| READING.contains(&entry.stage.as_str()));
    let per_page = |us: i64| us as f64 / 1e6 / pages as f64;
    Some((per_page(reading().map(|it| it.cpu_us).sum()), per_page(reading().map(|it| it.wall_us).sum())))
}

/// Engines and models of the stages that read.
pub fn models(trail: &[TrailEntry]) -> Vec<String> {
    let reading = trail.iter().filter(|entry| READING.contains(&entry.stage.as_str()));
    let names: BTreeSet<&String> = reading.filter_map(|entry| entry.model.as_ref()).collect();
    names.into_iter().cloned().collect()
}

/// The figures of one document.
pub fn figures(scores: &Scores) -> Figures {
    let figure = |ratio: Ratio| Figure { value: ratio.value(), interval: None, ratio };
    scores.0.iter().map(|(measure, ratio)| (*measure, figure(*ratio))).collect()
}

/// Takes documents together.
pub fn group(name: &str, documents: &[&DocumentResult], seed: u64) -> Group {
    let mut figures = Figures::new();
    for measure in Measure::ALL {
        let ratios: Vec<Ratio> =
            documents.iter().filter_map(|document| Some(document.figures.get(&measure)?.ratio)).collect();
        if ratios.is_empty() {
            continue;
        }
        let mut ratio = Ratio::default();
        ratios.iter().for_each(|one| ratio += *one);
        figures.insert(measure, Figure { value: ratio.value(), interval: bootstrap::interval(&ratios, seed), ratio });
    }
    let per_page = |of: fn(&DocumentResult) -> Option<f64>| {
        let mut sum = Ratio::default();
        for document in documents {
            let Some(seconds) = of(document) else { continue };
            let pages = document.pages as f64;
            sum += Ratio { part: seconds * pages, whole: pages };
        }
        sum.value()
    };
    Group {
        name: name.to_owned(),
        documents: documents.len(),
        not_whole: documents.iter().filter(|document| document.why.is_some()).count(),
        pages: documents.iter().map(|document| document.pages).sum(),
        figures,
        cpu_s_per_page: per_page(|document| document.cpu_s_per_page),
        wall_s_per_page: per_page(|document| document.wall_s_per_page),
    }
}

/// Sets in the order of names, and all together.
pub fn groups(documents: &[DocumentResult], seed: u64) -> (Vec<Group>, Group) {
    let mut sets: BTreeMap<&str, Vec<&DocumentResult>> = BTreeMap::new();
    for document in documents {
        sets.entry(&document.set).or_default().push(document);
    }
    let total = group("total", &documents.iter().collect::<Vec<_>>(), seed);
    (sets.into_iter().map(|(name, of)| group(name, &of, seed)).collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(set: &str, errors: usize, characters: usize, pages: usize, cpu: f64) -> DocumentResult {
        let mut scores = Scores::default();
        scores.set(Measure::Cer, Ratio::of(errors, characters));
        DocumentResult {
            name: format!("{set}/{errors}"),
            set: set.to_owned(),
            document: String::new(),
            truths: Vec::new(),
            status: Status::Published,
            why: (errors == characters).then(|| "lost".to_owned()),
            pages,
            figures: figures(&scores),
            confidence: None,
            cpu_s_per_page: (pages > 0).then_some(cpu),
            wall_s_per_page: None,
            models: Vec::new(),
            languages: Vec::new(),
            picture_words_left_out: None,
        }
    }

    #[test]
    fn losses_are_in_the_figures_of_their_set_and_of_all() {
        let documents = [document("a", 1, 100, 1, 2.0), document("a", 50, 50, 0, 0.0), document("b", 0, 50, 3, 4.0)];
        let (sets, total) = groups(&documents, bootstrap::SEED);
        let cer = |group: &Group| group.figures[&Measure::Cer].value.unwrap();
        assert_eq!(sets.iter().map(|set| (set.name.as_str(), cer(set))).collect::<Vec<_>>(), [("a", 0.34), ("b", 0.0)]);
        assert_eq!((cer(&total), total.documents, total.not_whole, total.pages), (51.0 / 200.0, 3, 1, 4));
        assert_eq!(total.cpu_s_per_page, Some(14.0 / 4.0), "weighted by pages");
        assert!(total.figures[&Measure::Cer].interval.is_some() && sets[1].figures[&Measure::Cer].interval.is_none());
    }

    #[test]
    fn only_stages_that_read_cost_here() {
        let entry = |stage: &str, cpu_us, model: Option<&str>| TrailEntry {
            stage: stage.to_owned(),
            cpu_us,
            wall_us: 2 * cpu_us,
            model: model.map(str::to_owned),
            ..TrailEntry::default()
        };
        let trail = [entry("ocr", 3_000_000, Some("engine")), entry("language", 9_000_000, Some("embedder"))];
        assert_eq!(cost(&trail, 2), Some((1.5, 3.0)));
        assert_eq!(cost(&trail, 0), None);
        assert_eq!(models(&trail), ["engine"]);
    }

    #[test]
    fn json_reads_back() {
        let figure = figures(&{
            let mut scores = Scores::default();
            scores.set(Measure::Teds, Ratio::of(1, 2));
            scores
        });
        let json = serde_json::to_value(&figure).unwrap();
        assert_eq!(json, serde_json::json!({ "teds": { "value": 0.5, "part": 1.0, "whole": 2.0 } }));
        assert_eq!(serde_json::from_value::<Figures>(json).unwrap(), figure);
    }
}
