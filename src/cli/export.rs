//! `deckle export`: what was read, for analytics.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Context, Outcome, print, print_json, progress::style, stop::StopSignals, table, time, warn};
use crate::{
    models::Catalogue,
    runtime::export::{self, Error, Format, Request, Target, What, Written},
};

const EXAMPLES: &str = "\
Examples:
  deckle export --out chunks.parquet
  deckle export --out chunks.parquet --vectors        with embeddings
  deckle export --what documents --out - --format jsonl | jq .title
  deckle export --since 2026-11-20 --until 2026-11-21 --out day.parquet
  duckdb -c \"SELECT filename, count(*) FROM 'chunks.parquet' GROUP BY ALL\"

Exports that follow each other: --until of one is --since of the next, and lies some minutes
in the past, since a document shows a little after its time.";

/// Export documents, pages or chunks as Parquet or JSON Lines.
///
/// Every document is in it as one run, whatever is published meanwhile; memory stays the same however much is exported.
/// The file has its name when it is whole. Later rows of a document (higher run, then version) replace earlier ones; a
/// row of --what documents with `erased_at` says that all are to be deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = help())]
pub(super) struct Args {
    /// A row for each of these.
    #[arg(long, value_enum, default_value = "chunks")]
    what: Rows,
    /// Only what was published then or later: `2026-11-21`, `2026-11-21T08:00:00Z`, or so long ago: `2h`, `3d`.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only what was published before.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Chunks with their vectors.
    #[arg(long)]
    vectors: bool,
    /// Vectors of this model instead of the one that searches use.
    #[arg(long, value_name = "NAME", requires = "vectors")]
    model: Option<String>,
    /// The form; told by the ending of --out, where that is `.parquet` or `.jsonl`.
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// The file, which is replaced when the new one is whole; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    Documents,
    Pages,
    Chunks,
}

impl From<Rows> for What {
    fn from(rows: Rows) -> Self {
        match rows {
            Rows::Documents => Self::Documents,
            Rows::Pages => Self::Pages,
            Rows::Chunks => Self::Chunks,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Parquet,
    Jsonl,
}

/// What the long help ends with: every column.
fn help() -> String {
    format!(
        "{EXAMPLES}\n\n{}\n\nNames and types of columns never change; columns may be added.",
        export::described().trim()
    )
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let format = format(&args)?;
    let to_stdout = args.out == Path::new("-");
    anyhow::ensure!(
        !(to_stdout && format == Format::Parquet && std::io::stdout().is_terminal()),
        "Parquet is not for terminals: name a file with --out, or take --format jsonl"
    );
    anyhow::ensure!(args.what == Rows::Chunks || !args.vectors, "only chunks have vectors: --what chunks --vectors");
    let app = context.open()?;
    let name = args.out.display().to_string();
    let target = if to_stdout { Target::stdout() } else { Target::open(&args.out).with_context(|| name.clone())? };
    let what = What::from(args.what);
    let vectors = match (args.vectors, &args.model) {
        (false, _) => None,
        (true, Some(model)) => Some(Catalogue::load().embedder_named(model)?.name.clone()),
        (true, None) => Some(app.active_models().active().await?),
    };
    let request = Request { what, tenant: args.tenant, since: args.since, until: args.until, vectors };
    let bar = spinner(json);
    let show = |written: Written| bar.set_message(summary(what, written));
    let mut stops = StopSignals::listen()?;
    let written = tokio::select! {
        written = export::export(&*app.store, &*app.blobs, &request, format, target, show) => {
            bar.finish_and_clear();
            match written {
                Ok(written) => written,
                Err(Error::Read(failure)) => return Err(failure.into()),
                // Told apart from other errors by its kind: nobody reads on.
                Err(Error::Write(error)) if to_stdout => return Err(error.into()),
                Err(Error::Write(error)) => return Err(error).context(name),
            }
        }
        () = stops.next() => {
            bar.finish_and_clear();
            warn("deckle: interrupted; nothing was exported");
            return Ok(Outcome::Interrupted);
        }
    };
    if to_stdout {
        if !json {
            warn(format_args!("{}, {}", summary(what, written), size(written)));
        }
    } else if json {
        print_json(&json!({
            "out": args.out.to_string_lossy(), "documents": written.documents, "rows": written.rows,
            "bytes": written.bytes,
        }))?;
    } else {
        print(format_args!("{}, {} in {name}", summary(what, written), size(written)))?;
    }
    Ok(Outcome::Done)
}

fn format(args: &Args) -> anyhow::Result<Format> {
    let ending = args.out.extension().and_then(|ending| ending.to_str());
    Ok(match (args.format, ending) {
        (Some(Form::Parquet), _) | (None, Some("parquet")) => Format::Parquet,
        (Some(Form::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Format::JsonLines,
        (None, _) => {
            anyhow::bail!("--out {} does not tell the form: add --format parquet or jsonl", args.out.display())
        }
    })
}

/// `100000 chunks of 1000 documents`.
fn summary(what: What, written: Written) -> String {
    let rows = table::count(written.rows, what.noun());
    match what {
        What::Documents => rows,
        What::Pages | What::Chunks => format!("{rows} of {}", table::count(written.documents, "document")),
    }
}

fn size(written: Written) -> String {
    table::size(i64::try_from(written.bytes).unwrap_or(i64::MAX))
}

/// How far it is, on a terminal; how much there is nobody knows before.
fn spinner(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_style(style("{spinner:.green} {msg}  {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spinner_can_be_drawn() {
        spinner(false).set_message("1 chunk");
    }

    #[test]
    fn counts_read_well() {
        let written = Written { documents: 1, rows: 2_000, bytes: 0 };
        assert_eq!(summary(What::Chunks, written), "2000 chunks of 1 document");
        assert_eq!(summary(What::Documents, Written { rows: 1, ..written }), "1 document");
    }
}
