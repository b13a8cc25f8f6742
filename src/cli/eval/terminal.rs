//! An evaluation as tables.

use comfy_table::{Attribute, Cell};

use crate::{
    cli::{
        print,
        table::{self, Fit, Rows},
    },
    eval::{
        measure::Measure,
        report::{DocumentResult, Figure, Figures, Group, Report, without_pictures},
    },
};

/// Measures with a column, and how soon it is left out where there is no room.
const COLUMNS: [(Measure, Fit); 8] = [
    (Measure::Cer, Fit::Keep),
    (Measure::Wer, Fit::Drop(4)),
    (Measure::BagF1, Fit::Drop(1)),
    (Measure::AdjacencyF1, Fit::Drop(3)),
    (Measure::CellF1, Fit::Drop(5)),
    (Measure::Teds, Fit::Drop(2)),
    (Measure::BoxF1, Fit::Drop(2)),
    (Measure::Iou, Fit::Drop(5)),
];

/// Files without a counterpart that are named; `--json` has all.
const NAMED: usize = 8;

/// Prints documents, sets, all together, and what was left out.
pub(super) fn show(report: &Report, worst_first: bool) -> anyhow::Result<()> {
    documents(report, worst_first)?;
    if report.sets.len() > 1 {
        sets(report)?;
    }
    total(report)?;
    if let Some(error) = report.calibration_error {
        let words = report.calibration.words();
        print(format_args!(
            "confidence is off by {:.1} points on average, over {words} recognised words",
            error * 100.0
        ))?;
    }
    left_out(report)
}

fn documents(report: &Report, worst_first: bool) -> anyhow::Result<()> {
    let mut columns = vec![("document", Fit::Wrap), ("set", Fit::Drop(7)), ("pages", Fit::Drop(6))];
    columns.extend(COLUMNS.iter().map(|(measure, fit)| (measure.label(), *fit)));
    columns.extend([
        ("confidence", Fit::Drop(3)),
        ("CPU s/page", Fit::Drop(2)),
        ("s/page", Fit::Drop(8)),
        ("engine", Fit::Drop(9)),
        ("status", Fit::Keep),
        ("why", Fit::Wrap),
    ]);
    let mut rows = Rows::new(&columns);
    let mut documents: Vec<&DocumentResult> = report.documents.iter().collect();
    if worst_first {
        documents.sort_by(|one, other| badness(other).total_cmp(&badness(one)));
    }
    for document in documents {
        let mut cells = vec![
            table::text(&document.name),
            table::text(&document.set),
            number(Some(document.pages).filter(|pages| *pages > 0).map(|pages| pages.to_string())),
        ];
        cells.extend(figures(&document.figures));
        cells.extend([
            number(document.confidence.map(|confidence| format!("{confidence:.2}"))),
            number(document.cpu_s_per_page.map(|seconds| format!("{seconds:.2}"))),
            number(document.wall_s_per_page.map(|seconds| format!("{seconds:.2}"))),
            table::text(document.models.join(", ")),
            table::status(document.status),
            table::text(document.why.as_deref().unwrap_or_default()),
        ]);
        rows.add(cells);
    }
    print(rows)
}

/// The share of what the truth says that went wrong, in the figure that says most of it.
fn badness(document: &DocumentResult) -> f64 {
    let value = |measure: Measure| document.figures.get(&measure).and_then(|figure| figure.value);
    let errors = value(Measure::Cer);
    let lost = |measure: Measure| value(measure).map(|value| 1.0 - value);
    errors.or(lost(Measure::Teds)).or(lost(Measure::BoxF1)).unwrap_or(0.0)
}

fn sets(report: &Report) -> anyhow::Result<()> {
    let mut columns =
        vec![("set", Fit::Wrap), ("documents", Fit::Keep), ("not whole", Fit::Drop(6)), ("pages", Fit::Drop(6))];
    columns.extend(COLUMNS.iter().map(|(measure, fit)| (measure.label(), *fit)));
    columns.push(("CER 95 %", Fit::Drop(3)));
    columns.push(("CPU s/page", Fit::Drop(2)));
    let mut rows = Rows::new(&columns);
    for set in &report.sets {
        rows.add(group(set));
    }
    rows.add(group(&report.total).into_iter().map(|cell| cell.add_attribute(Attribute::Bold)).collect());
    print(rows)
}

fn group(group: &Group) -> Vec<Cell> {
    let mut cells = vec![
        table::text(&group.name),
        number(Some(group.documents.to_string())),
        number(Some(group.not_whole).filter(|count| *count > 0).map(|count| count.to_string())),
        number(Some(group.pages.to_string())),
    ];
    cells.extend(figures(&group.figures));
    let cer = group.figures.get(&Measure::Cer);
    cells.push(number(cer.and_then(|figure| interval(Measure::Cer, figure))));
    cells.push(number(group.cpu_s_per_page.map(|seconds| format!("{seconds:.2}"))));
    cells
}

fn total(report: &Report) -> anyhow::Result<()> {
    let mut rows = Rows::new(&[("total", Fit::Keep), ("%", Fit::Keep), ("95 % interval", Fit::Keep), ("", Fit::Wrap)]);
    for measure in Measure::ALL {
        let Some(figure) = report.total.figures.get(&measure) else { continue };
        rows.add(vec![
            table::text(measure.label()),
            number(figure.value.map(|value| per_cent(measure, value))),
            number(interval(measure, figure)),
            table::text(measure.meaning()),
        ]);
    }
    print(rows)?;
    let group = &report.total;
    let not_whole = if group.not_whole == 0 { String::new() } else { format!(", {} not whole", group.not_whole) };
    let seconds = |per_page: Option<f64>| per_page.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.2} s"));
    print(format_args!(
        "{} ({}){not_whole}; per page {} of processor time, {} elapsed",
        table::count(group.documents as u64, "document"),
        table::count(group.pages as u64, "page"),
        seconds(group.cpu_s_per_page),
        seconds(group.wall_s_per_page),
    ))?;
    let bootstrap = &report.bootstrap;
    print(format_args!(
        "intervals: percentiles of {} samples of documents (seed {}); configuration {}",
        bootstrap.resamples, bootstrap.seed, report.config_hash
    ))
}

fn left_out(report: &Report) -> anyhow::Result<()> {
    let left_out = &report.left_out;
    let without_pictures = without_pictures(&report.documents);
    for (what, names) in [
        ("truths without a document", &left_out.truths_without_document),
        ("documents without a truth", &left_out.documents_without_truth),
        ("in no format of truth that is read", &left_out.not_read),
        ("words inside pictures left out, as their truths leave them out", &without_pictures),
    ] {
        if names.is_empty() {
            continue;
        }
        let more = if names.len() > NAMED { format!(", … and {} more", names.len() - NAMED) } else { String::new() };
        let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        print(format_args!("{what} ({}): {shown}{more}", names.len()))?;
    }
    Ok(())
}

fn figures(figures: &Figures) -> Vec<Cell> {
    let value = |measure: Measure| Some(per_cent(measure, figures.get(&measure)?.value?));
    COLUMNS.iter().map(|(measure, _)| number(value(*measure))).collect()
}

fn per_cent(measure: Measure, value: f64) -> String {
    if measure.is_error() { format!("{:.2}", value * 100.0) } else { format!("{:.1}", value * 100.0) }
}

fn interval(measure: Measure, figure: &Figure) -> Option<String> {
    let interval = figure.interval?;
    Some(format!("{} – {}", per_cent(measure, interval.low), per_cent(measure, interval.high)))
}

/// A number on the right; nothing where there is none, so that a column of nothing is left out.
fn number(value: Option<String>) -> Cell {
    table::number(Some(value.unwrap_or_default()))
}
