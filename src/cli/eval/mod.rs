//! `deckle eval`: reads documents whose truth is known, and says how well.

mod pictures;
mod read;
mod terminal;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    Context, Outcome, print, print_json,
    process::OcrChoice,
    table, warn,
    whole::{self, Standing},
};
use crate::{
    config,
    contract::record::Status,
    eval::{
        bootstrap,
        calibration::Calibration,
        compare::{Comparison, compare},
        found::Found,
        pairs::{self, Pair, Pairing, SetRule},
        report::{self, Bootstrap, DocumentResult, LeftOut, Report, TruthFile, html},
    },
};
use read::Reading;

/// Read documents whose truth is known, and say how well they were read.
///
/// The truth is plain text (a form feed between pages), FUNSD, SROIE, XML of the ICDAR 2013 table competition or
/// Docling JSON. Its document has the same name and lies beside it or below --documents; where names differ, a file
/// `sets.toml` among the truths pairs them. Documents are read by the whole pipeline, in a data folder of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle eval truth/ --documents scans/            linn.txt is about scans/old/linn.pdf
  deckle eval funsd/annotations --documents funsd/images --worst
  deckle eval truth/ --documents . --out report    report/index.html shows every page and error
  deckle eval truth/sets.toml --json | jq .total.figures.cer
  deckle eval truth/ --set 'faxes=image/fax-*' --set 'forms=**/form-*'

sets.toml:
  documents = \"../scans\"        # folder; --documents goes first
  [[pair]]
  document = \"page-3.tif\"
  truth = \"page.txt\"            # or several: [\"a-reg.xml\", \"a-str.xml\"]
  set = \"faxes\"                 # else the document's folder
  languages = [\"de\"]            # also: format, password, pages = [1, 2]
  pictures = false              # the truth leaves out text inside pictures: so does the comparison

A figure of a set is pooled over its documents; the interval is the 95 % percentile bootstrap
over documents. What failed counts as lost. Every figure is in per cent.
Exit code: 0 all were read, 1 some documents failed, 2 a mistake or a damaged truth, 130 interrupted.")]
pub(super) struct Args {
    /// Truth files, folders of such, or a mapping (`.toml`).
    #[arg(required = true, value_name = "TRUTH")]
    truths: Vec<PathBuf>,
    /// Folder below which the documents lie; else beside their truths.
    #[arg(long, value_name = "DIR")]
    documents: Option<PathBuf>,
    /// Folder for the report: index.html with pictures, report.json, and the data read.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Languages that OCR should expect (BCP 47), unless the mapping says otherwise.
    #[arg(long, value_delimiter = ',', value_name = "LANG")]
    language: Vec<String>,
    /// When to recognise pages.
    #[arg(long, value_enum, default_value = "auto")]
    ocr: OcrChoice,
    /// Put documents into a set by their path below the folder of documents.
    #[arg(long, value_name = "NAME=GLOB", value_parser = set_rule)]
    set: Vec<SetRule>,
    /// Show the worst documents first.
    #[arg(long)]
    worst: bool,
    /// Where the chance of resampling starts.
    #[arg(long, default_value_t = bootstrap::SEED)]
    seed: u64,
}

fn set_rule(text: &str) -> Result<SetRule, String> {
    let (name, pattern) = text.split_once('=').ok_or("it is written NAME=GLOB")?;
    let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
    if name.is_empty() { Err("the set has no name".to_owned()) } else { Ok(SetRule { name: name.to_owned(), pattern }) }
}

/// Folder of the data read below that of the report: not `data`, which may be a home's.
const DATA: &str = "evaluated";

/// A pair, what was found, and how they compare.
struct Evaluated {
    pair: Pair,
    result: DocumentResult,
    found: Found,
    comparison: Comparison,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let mut pairing = pairs::find(&args.truths, args.documents.as_deref(), &args.set)?;
    anyhow::ensure!(!pairing.pairs.is_empty(), "{}", nothing(&pairing));
    for pair in pairing.pairs.iter_mut().filter(|pair| pair.languages.is_empty()) {
        pair.languages.clone_from(&args.language);
    }
    let scratch = tempfile::tempdir().context("a folder for the data read")?;
    let home = args.out.as_deref().unwrap_or(scratch.path());
    std::fs::create_dir_all(home).with_context(|| format!("the folder {} cannot be made", home.display()))?;
    let context = Context { config: embedded(context.config, home.join(DATA)), json };
    let app = context.open()?;
    let Some(readings) = read::all(&app, &pairing.pairs, args.ocr.into(), json).await? else {
        warn("deckle: interrupted");
        return Ok(Outcome::Interrupted);
    };
    let left_out = LeftOut::of(&pairing);
    let pairs = std::mem::take(&mut pairing.pairs).into_iter().zip(readings);
    let comparing = tokio::task::spawn_blocking(move || pairs.map(evaluated).collect::<Vec<Evaluated>>());
    let evaluated = comparing.await?;
    let report = report(&app.config_hash, &evaluated, left_out, args.seed);
    if let Some(folder) = &args.out {
        let pictures = pictures::write(&app, &evaluated, folder).await?;
        let shown = evaluated.iter().zip(&pictures).map(|(it, pictures)| html::Shown {
            result: &it.result,
            found: &it.found,
            comparison: &it.comparison,
            pictures,
        });
        let of_documents = folder.join(html::DOCUMENTS);
        std::fs::create_dir_all(&of_documents)
            .with_context(|| format!("the folder {} cannot be made", of_documents.display()))?;
        whole::remove_abandoned(&of_documents);
        let mut put = |path: &Path, text: String| {
            let path = folder.join(path);
            whole::write(&path, text.as_bytes(), Standing::Replaced).with_context(|| format!("{}", path.display()))
        };
        html::write(&report, &shown.collect::<Vec<_>>(), &mut put)?;
        put(Path::new("report.json"), serde_json::to_string_pretty(&report)?)?;
    }
    if json {
        print_json(&report)?;
    } else {
        terminal::show(&report, args.worst)?;
        if let Some(folder) = &args.out {
            print(format_args!("report in {}", folder.join("index.html").display()))?;
        }
    }
    let failed = report.documents.iter().any(|document| document.status == Status::Failed);
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}

/// The embedded pipeline with everything else as it is set: libraries, models, limits, languages.
fn embedded(config: config::Config, data: PathBuf) -> config::Config {
    let defaults = config::Config::default();
    config::Config {
        data: Some(data),
        log: config::Log { provider: config::Provider::Sqlite, ..config.log },
        store: config::Store { provider: config::StoreProvider::Sqlite, ..config.store },
        blobs: defaults.blobs,
        registry: defaults.registry,
        sources: defaults.sources,
        publish: defaults.publish,
        ..config
    }
}

fn nothing(pairing: &Pairing) -> String {
    let counts = [
        (pairing.truths_without_document.len(), "truth without a document"),
        (pairing.documents_without_truth.len(), "document without a truth"),
        (pairing.not_read.len(), "file in no format that is read"),
    ];
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} × {what}")).collect();
    let parts = if parts.is_empty() { "no truth either".to_owned() } else { parts.join(", ") };
    format!("no document with a truth is here ({parts}); name the folder of documents with --documents")
}

fn evaluated((pair, reading): (Pair, Reading)) -> Evaluated {
    let comparison = compare(&pair.truth, &reading.found);
    let current = reading.header.current.as_ref().filter(|_| reading.status != Status::Failed);
    let why = Some(table::why(&reading.header)).filter(|why| !why.is_empty());
    let page_count = current.map_or(0, |current| current.page_count as usize);
    let trail = current.map_or(&[][..], |current| &current.trail);
    let cost = report::cost(trail, page_count);
    let result = DocumentResult {
        name: pair.name.clone(),
        set: pair.set.clone(),
        document: pair.document.display().to_string(),
        truths: pair
            .truths
            .iter()
            .map(|(path, format)| TruthFile { path: path.display().to_string(), format: *format })
            .collect(),
        status: reading.status,
        why: why.or_else(|| missing(&pair, &reading.found)),
        pages: if page_count == 0 { 0 } else { reading.found.pages.len() },
        figures: report::figures(&comparison.scores),
        confidence: reading.confidence,
        cpu_s_per_page: cost.map(|(cpu, _)| cpu),
        wall_s_per_page: cost.map(|(_, wall)| wall),
        models: report::models(trail),
        languages: pair.languages.clone(),
        picture_words_left_out: reading.found.picture_words_left_out,
    };
    Evaluated { pair, result, found: reading.found, comparison }
}

/// Pages that the truth is about and the document does not have.
fn missing(pair: &Pair, found: &Found) -> Option<String> {
    let missing: Vec<String> =
        pair.scope.pages.iter().filter(|page_no| found.page(**page_no).is_none()).map(u32::to_string).collect();
    (!missing.is_empty()).then(|| format!("page {} was not read", missing.join(", ")))
}

fn report(config_hash: &str, evaluated: &[Evaluated], left_out: LeftOut, seed: u64) -> Report {
    let documents: Vec<DocumentResult> = evaluated.iter().map(|it| it.result.clone()).collect();
    let (sets, total) = report::groups(&documents, seed);
    let mut calibration = Calibration::default();
    evaluated.iter().for_each(|it| calibration.join(&it.comparison.calibration));
    let models: BTreeMap<&String, ()> = documents.iter().flat_map(|it| &it.models).map(|model| (model, ())).collect();
    Report {
        report_version: report::VERSION,
        deckle_version: env!("CARGO_PKG_VERSION").to_owned(),
        config_hash: config_hash.to_owned(),
        evaluated_at: format!("{:.0}", jiff::Timestamp::now()),
        models: models.into_keys().cloned().collect(),
        bootstrap: Bootstrap { level: bootstrap::LEVEL, resamples: bootstrap::RESAMPLES, seed },
        total,
        sets,
        calibration_error: calibration.error(),
        calibration,
        documents,
        left_out,
    }
}
