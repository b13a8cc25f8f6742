//! The first page: figures, plots, all documents.

use serde::Serialize;

use super::{
    Card, DOCUMENTS, STYLE, cards, cells, count, duration, file_of, per_cent,
    plots::{self, Bar, Bars, Dots, RATES, Scale},
    seconds,
};
use crate::{
    measure::Measure,
    report::{DocumentResult, Group, Report, without_pictures},
};
use deckle_contract::record::Status;

/// Bars of one plot: more cannot be taken in, and the table below has all.
const MOST_BARS: usize = 60;

#[derive(Serialize)]
pub(super) struct Index {
    style: &'static str,
    counts: String,
    version: String,
    evaluated_at: String,
    models: String,
    config_hash: String,
    cards: Vec<Card>,
    measures: Vec<&'static str>,
    sets: Vec<SetRow>,
    bars: Vec<Bars>,
    dots: Vec<Dots>,
    documents: Vec<DocumentRow>,
    left_out: Vec<LeftOut>,
    meanings: Vec<Meaning>,
    intervals: String,
}

#[derive(Serialize)]
struct SetRow {
    name: String,
    is_total: bool,
    documents: usize,
    not_whole: usize,
    pages: usize,
    figures: Vec<String>,
    cpu: String,
}

#[derive(Serialize)]
struct DocumentRow {
    name: String,
    href: String,
    set: String,
    pages: String,
    figures: Vec<String>,
    confidence: String,
    cpu: String,
    wall: String,
    status: &'static str,
    why: Option<String>,
}

#[derive(Serialize)]
struct LeftOut {
    title: &'static str,
    names: Vec<String>,
}

#[derive(Serialize)]
struct Meaning {
    label: &'static str,
    meaning: &'static str,
}

/// What the template shows.
pub(super) fn context(report: &Report) -> Index {
    let measured: Vec<Measure> =
        Measure::ALL.into_iter().filter(|measure| report.total.figures.contains_key(measure)).collect();
    // What F1 is made of would make the tables wide.
    let is_column = |measure: &Measure| !matches!(measure, Measure::BoxPrecision | Measure::BoxRecall);
    let measures: Vec<Measure> = measured.iter().copied().filter(is_column).collect();
    let total = (report.sets.len() > 1).then_some((&report.total, true));
    let sets = report.sets.iter().map(|set| (set, false)).chain(total);
    let set_row = |(set, is_total): (&Group, bool)| SetRow {
        name: set.name.clone(),
        is_total,
        documents: set.documents,
        not_whole: set.not_whole,
        pages: set.pages,
        figures: cells(&set.figures, &measures),
        cpu: seconds(set.cpu_s_per_page),
    };
    let document_row = |(number, document): (usize, &DocumentResult)| DocumentRow {
        name: document.name.clone(),
        href: href(number),
        set: document.set.clone(),
        pages: if document.pages > 0 { document.pages.to_string() } else { String::new() },
        figures: cells(&document.figures, &measures),
        confidence: document.confidence.map(|confidence| format!("{confidence:.2}")).unwrap_or_default(),
        cpu: seconds(document.cpu_s_per_page),
        wall: seconds(document.wall_s_per_page),
        status: document.status.as_str(),
        why: document.why.clone(),
    };
    let group = &report.total;
    let not_whole = if group.not_whole > 0 { format!(", {} not whole", group.not_whole) } else { String::new() };
    Index {
        style: STYLE,
        counts: format!("{}, {}{not_whole}", count(group.documents, "document"), count(group.pages, "page")),
        version: report.deckle_version.clone(),
        evaluated_at: report.evaluated_at.clone(),
        models: report.models.join(", "),
        config_hash: report.config_hash.clone(),
        cards: cards(&group.figures),
        measures: measures.iter().map(|measure| measure.label()).collect(),
        sets: sets.map(set_row).collect(),
        bars: [by_set(report), by_document(report), by_time(report)].into_iter().flatten().collect(),
        dots: [plots::reliability(&report.calibration), scatter(report)].into_iter().flatten().collect(),
        documents: report.documents.iter().enumerate().map(document_row).collect(),
        left_out: left_out(report),
        meanings: measured.iter().map(|it| Meaning { label: it.label(), meaning: it.meaning() }).collect(),
        intervals: format!(
            "Intervals hold {} % of {} samples of documents (percentile bootstrap, seed {}); of few documents they say little.",
            report.bootstrap.level * 100.0,
            report.bootstrap.resamples,
            report.bootstrap.seed
        ),
    }
}

fn href(number: usize) -> String {
    format!("{DOCUMENTS}/{}", file_of(number))
}

fn by_set(report: &Report) -> Option<Bars> {
    let bar = |set: &Group| {
        let figure = set.figures.get(&Measure::Cer)?;
        let value = figure.value?;
        let text = format!("{} %", per_cent(Measure::Cer, value));
        Some(Bar { label: set.name.clone(), value, text, interval: figure.interval, ..Bar::default() })
    };
    let mut bars: Vec<Bar> = report.sets.iter().filter_map(bar).collect();
    if bars.len() < 2 {
        return None;
    }
    bars.extend(bar(&report.total));
    let caption = "Pooled over the documents of a set; whiskers are 95 % intervals, which a single document does not have. \
                   Square root scale.";
    Some(plots::bars("Character error rate by set", caption, &bars, Scale::Root, &RATES))
}

fn by_document(report: &Report) -> Option<Bars> {
    let bar = |(number, document): (usize, &DocumentResult)| {
        let value = document.figures.get(&Measure::Cer)?.value?;
        Some(Bar {
            label: document.name.clone(),
            href: Some(href(number)),
            value,
            text: format!("{} %", per_cent(Measure::Cer, value)),
            lost: document.status == Status::Failed,
            ..Bar::default()
        })
    };
    let mut bars: Vec<Bar> = report.documents.iter().enumerate().filter_map(bar).collect();
    if bars.is_empty() {
        return None;
    }
    bars.sort_by(|one, other| other.value.total_cmp(&one.value));
    let more = bars.len().saturating_sub(MOST_BARS);
    bars.truncate(MOST_BARS);
    let mut caption = "The worst first; a document that failed is lost as a whole. Square root scale.".to_owned();
    if more > 0 {
        caption += &format!(" {more} better ones are left out here.");
    }
    Some(plots::bars("Character error rate by document", &caption, &bars, Scale::Root, &RATES))
}

fn by_time(report: &Report) -> Option<Bars> {
    let bar = |(number, document): (usize, &DocumentResult)| {
        let cpu = document.cpu_s_per_page?;
        let wall = document.wall_s_per_page;
        Some(Bar {
            label: document.name.clone(),
            href: Some(href(number)),
            value: cpu,
            text: duration(cpu),
            second: wall,
            ..Bar::default()
        })
    };
    let mut bars: Vec<Bar> = report.documents.iter().enumerate().filter_map(bar).collect();
    bars.sort_by(|one, other| other.value.total_cmp(&one.value));
    bars.truncate(MOST_BARS);
    let longest = bars.iter().map(|bar| bar.value.max(bar.second.unwrap_or(0.0))).fold(0.0, f64::max);
    if bars.is_empty() || longest <= 0.0 {
        return None;
    }
    let marks = plots::seconds(longest);
    let marks: Vec<(f64, &str)> = marks.iter().map(|(at, label)| (*at, label.as_str())).collect();
    let caption = "Filled: processor seconds per page of splitting, reading, layout and assembly, the dearest first. Outlined: \
                   elapsed, waiting for other pages included.";
    Some(plots::bars("Time per page", caption, &bars, Scale::Linear, &marks))
}

fn scatter(report: &Report) -> Option<Dots> {
    let dot = |(number, document): (usize, &DocumentResult)| {
        Some(plots::Document {
            name: document.name.clone(),
            href: href(number),
            confidence: f64::from(document.confidence?),
            cer: document.figures.get(&Measure::Cer)?.value?,
        })
    };
    plots::scatter(&report.documents.iter().enumerate().filter_map(dot).collect::<Vec<_>>())
}

fn left_out(report: &Report) -> Vec<LeftOut> {
    let of = &report.left_out;
    let without_pictures = without_pictures(&report.documents);
    let groups = [
        ("Truths without a document", &of.truths_without_document),
        ("Documents without a truth", &of.documents_without_truth),
        ("Files in no format of truth that is read", &of.not_read),
        ("Words inside pictures, which the truth leaves out", &without_pictures),
    ];
    let groups = groups.into_iter().filter(|(_, names)| !names.is_empty());
    groups.map(|(title, names)| LeftOut { title, names: names.clone() }).collect()
}
