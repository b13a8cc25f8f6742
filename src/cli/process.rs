//! `deckle process`: runs the whole pipeline in this process until the files are done.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Context, Outcome,
    ingest::SUBMISSIONS,
    print, print_json,
    progress::Progress,
    render, show,
    stop::StopSignals,
    submit::{self, Submission, Submitted},
    table::{self, Fit},
    warn,
};
use crate::{
    app::App,
    contract::record::{DeadLetter, Event, Lane, OcrMode, Options, PageAnalysed, Published, Status, wire},
    log::{self, Record, Tail, Topic},
    runtime::readiness,
    stages,
    store::Header,
};

/// Read files now, and write exports into a folder.
///
/// The same files again are `unchanged` and cost nothing. Interrupted or killed and run again, it goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle process report.pdf                      read one file
  deckle process inbox/ 'scans/*.png' --out out  write Markdown and JSON to out/
  deckle process old.pdf --force                 read it again
  deckle process brief.pdf --language de,en      what OCR should expect
  deckle process inbox/ --json | jq -r '.documents[] | [.path, .outcome] | @tsv'

A document of which some pages failed is `partial`: done, and shown with the reason.
The column `time` is processor time spent on a document now.
Of many documents 40 that are whole are shown, and all that are not.
Exit code: 0 all done, 1 some documents failed, 2 a mistake in the command or
the settings, 130 interrupted.")]
pub(super) struct Args {
    /// Files, folders and patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder for exports; none are written without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Forms to export.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "md,json")]
    to: Vec<render::Format>,
    /// Read again even what did not change.
    #[arg(long)]
    force: bool,
    /// Languages that OCR should expect (BCP 47).
    #[arg(long, value_delimiter = ',', value_name = "LANG")]
    language: Vec<String>,
    /// When to recognise pages.
    #[arg(long, value_enum, default_value = "auto")]
    ocr: OcrChoice,
    /// Password of encrypted files.
    #[arg(long, env = "DECKLE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// When to recognise pages.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum OcrChoice {
    /// Where the text layer is missing or bad.
    Auto,
    /// Always.
    Force,
    /// Never.
    Off,
}

impl From<OcrChoice> for OcrMode {
    fn from(choice: OcrChoice) -> Self {
        match choice {
            OcrChoice::Auto => Self::Auto,
            OcrChoice::Force => Self::Force,
            OcrChoice::Off => Self::Off,
        }
    }
}

/// A document that was asked for, and how it ended.
pub(super) struct Row {
    submission: Submission,
    status: Option<Status>,
}

impl Row {
    /// A document that was just brought in.
    pub(super) fn new(submission: Submission) -> Self {
        let unchanged = matches!(submission.state, Submitted::Unchanged);
        Self { submission, status: unchanged.then_some(Status::Unchanged) }
    }
}

/// How often the store is asked for documents whose end was not seen in the log.
const LOOK: Duration = Duration::from_secs(2);
/// How long the dead letters of what failed are waited for, and how often they are looked at.
const LETTERS: Duration = Duration::from_secs(10);
const LETTERS_LOOK: Duration = Duration::from_millis(20);
/// Rows of the final table; documents that are not whole come on top of that.
const ROWS: usize = 40;

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let started = Instant::now();
    let inputs = submit::find(&args.paths)?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let app = context.open()?;
    // From before the first submission on, so that no end is missed; the store has what ended earlier.
    let tail = app.log.tail(&[Topic::from(PageAnalysed::TOPIC), Topic::from(Published::TOPIC)], log::From::End).await?;
    let request = submit::Request { force: args.force, lane: Lane::Interactive, options: options(&args) };
    let submissions: Vec<Submission> = stream::iter(inputs)
        .map(|input| submit::submit(&app, input, &request))
        .buffered(SUBMISSIONS)
        .try_collect()
        .await?;
    let mut rows: Vec<Row> = submissions.into_iter().map(Row::new).collect();
    if rows.iter().any(|row| row.status.is_none())
        && until_all_ended(&app, tail, &mut rows, json).await? == Outcome::Interrupted
    {
        warn("deckle: interrupted; the same command goes on where this one was");
        return Ok(Outcome::Interrupted);
    }
    let headers = headers(&app, &rows).await?;
    if let Some(folder) = &args.out {
        let names = render::Names::new(folder, rows.iter().map(|row| &row.submission.input));
        for (row, header) in rows.iter().zip(&headers) {
            if let Some(current) = &header.current {
                render::write(&app, current, &row.submission.input, &names, &args.to).await?;
            }
        }
    }
    let failed = rows.iter().zip(&headers).any(|(row, header)| outcome(row, header) == Status::Failed);
    if json {
        print_json(&for_programs(&rows, &headers))?;
    } else {
        report(&rows, &headers)?;
        summarise(&rows, &headers, started.elapsed(), args.out.as_deref())?;
    }
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}

fn options(args: &Args) -> Options {
    Options {
        languages: args.language.clone(),
        ocr_mode: args.ocr.into(),
        password: args.password.clone(),
        force: args.force,
    }
}

/// Runs the pipeline until every document's path ended. The tail is of pages analysed and documents published, from
/// before the first submission on.
///
/// # Errors
/// When the pipeline stops by itself, a model is missing, or the store or log is away.
pub(super) async fn until_all_ended(
    app: &App,
    mut tail: Box<dyn Tail>,
    rows: &mut [Row],
    json: bool,
) -> anyhow::Result<Outcome> {
    let waiting = rows.iter().filter(|row| row.status.is_none());
    let mut progress = Progress::new(waiting.map(|row| (row.submission.key.document_id.clone(), name(row))), json);
    let mut stops = StopSignals::listen()?;
    let mut running = tokio::select! {
        running = app.start(&[]) => running?,
        () = stops.next() => {
            progress.finish();
            return Ok(Outcome::Interrupted);
        }
    };
    // A worker would wait for a model that is missing; a person wants to know.
    let (embedders, active_models) = (app.embedders().clone(), app.active_models());
    let mut model = tokio::spawn(async move { embedders.get(&active_models.active().await?).await });
    let mut is_loaded = false;
    let mut looks = tokio::time::interval(LOOK);
    while rows.iter().any(|row| row.status.is_none()) {
        tokio::select! {
            records = tail.next() => follow(rows, &mut progress, &records?),
            loaded = &mut model, if !is_loaded => {
                loaded??;
                is_loaded = true;
            }
            _ = looks.tick() => {
                look(app, rows, &mut progress).await?;
                progress.waiting_for(&readiness::waits());
            }
            result = running.failed() => {
                result.context("the pipeline stopped")?;
                anyhow::bail!("the pipeline stopped");
            }
            () = stops.next() => {
                progress.finish();
                warn("stopping: what is on its way is finished first; Ctrl-C again leaves at once");
                tokio::select! {
                    stopped = running.stop() => stopped?,
                    () = stops.next() => {}
                }
                return Ok(Outcome::Interrupted);
            }
        }
    }
    progress.finish();
    if rows.iter().any(|row| matches!(row.status, Some(Status::Failed | Status::Partial))) {
        // What failed can be listed when this command is over. Where that takes too long, the list says so.
        let listed = tokio::time::timeout(LETTERS, until_letters_are_listed(app));
        tokio::select! {
            listed = listed => listed.unwrap_or(Ok(()))?,
            result = running.failed() => result.context("the pipeline stopped")?,
        }
    }
    running.stop().await?;
    Ok(Outcome::Done)
}

/// Waits until the dead letters of the log are in the store.
async fn until_letters_are_listed(app: &App) -> anyhow::Result<()> {
    let topics = [Topic::from(DeadLetter::TOPIC)];
    while app.log.lag(stages::dead_letters::NAME, &topics).await?.iter().any(|lag| lag.records > 0) {
        tokio::time::sleep(LETTERS_LOOK).await;
    }
    Ok(())
}

fn name(row: &Row) -> String {
    row.submission.input.relative.display().to_string()
}

/// Takes note of records of the log. A record of another version of deckle, which cannot be decoded, is passed over:
/// the store has the end of its document too.
fn follow(rows: &mut [Row], progress: &mut Progress, records: &[Record]) {
    for record in records {
        if &*record.partition.topic == PageAnalysed::TOPIC {
            let Ok(page) = wire::decode::<PageAnalysed>(&record.value) else { continue };
            progress.page(&page.envelope.document_id, page.page_no, page.page_count);
        } else {
            let Ok(published) = wire::decode::<Published>(&record.value) else { continue };
            let upload_id = &published.envelope.upload_id;
            // Others submit to the same log.
            let ended = |row: &&mut Row| row.status.is_none() && row.submission.upload_id == *upload_id;
            for row in rows.iter_mut().filter(ended) {
                row.status = Some(published.status);
                progress.ended(&published.envelope.document_id, published.status);
            }
        }
    }
}

/// Asks the store for documents that an earlier process, or another one, ended.
async fn look(app: &App, rows: &mut [Row], progress: &mut Progress) -> anyhow::Result<()> {
    for row in rows.iter_mut().filter(|row| row.status.is_none()) {
        let Some(header) = app.store.header(&row.submission.key).await? else { continue };
        let Some(ended) = header.end_of(&row.submission.upload_id) else { continue };
        row.status = Some(ended.status);
        progress.ended(&row.submission.key.document_id, ended.status);
    }
    Ok(())
}

async fn headers(app: &App, rows: &[Row]) -> anyhow::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for row in rows {
        let header = app.store.header(&row.submission.key).await?;
        headers.push(header.with_context(|| format!("{} is not in the store", name(row)))?);
    }
    Ok(headers)
}

fn for_programs(rows: &[Row], headers: &[Header]) -> serde_json::Value {
    let documents = rows.iter().zip(headers).map(|(row, header)| {
        let mut value = show::summary(header);
        value["path"] = serde_json::json!(row.submission.input.path);
        value["outcome"] = serde_json::json!(outcome(row, header));
        value
    });
    serde_json::json!({ "documents": documents.collect::<Vec<_>>() })
}

/// The table: every document that is not whole, and others while there is room.
fn report(rows: &[Row], headers: &[Header]) -> anyhow::Result<()> {
    let mut lines = table::Rows::new(&[
        ("document", Fit::Wrap),
        ("type", Fit::Drop(2)),
        ("pages", Fit::Drop(1)),
        ("blocks", Fit::Drop(6)),
        ("chunks", Fit::Drop(5)),
        ("confidence", Fit::Drop(4)),
        ("time", Fit::Drop(3)),
        ("status", Fit::Keep),
        ("why", Fit::Wrap),
    ]);
    let mut room = ROWS;
    let mut left_out = 0_u64;
    for (row, header) in rows.iter().zip(headers) {
        let outcome = outcome(row, header);
        if matches!(outcome, Status::Published | Status::Unchanged) {
            if room == 0 {
                left_out += 1;
                continue;
            }
            room -= 1;
        }
        // What an earlier run found says nothing about a file that failed now.
        let current = header.current.as_ref().filter(|_| outcome != Status::Failed);
        let spent =
            current.filter(|_| outcome != Status::Unchanged).map(|it| it.trail.iter().map(|entry| entry.cpu_us));
        let source = header.source().filter(|source| !source.media_type.is_empty());
        lines.add(vec![
            table::text(name(row)),
            table::text(source.map_or("–", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.block_count)),
            table::number(current.map(|current| current.chunk_count)),
            table::number(current.and_then(|current| current.confidence).map(|it| format!("{:.2}", it.mean))),
            table::number(spent.map(|us| table::duration(us.sum()))),
            table::status(outcome),
            table::text(table::why(header)),
        ]);
    }
    print(lines)?;
    if left_out > 0 {
        let others = table::count(left_out, "other document");
        print(format_args!("… and {others}, all of them whole; `deckle list` or --json shows them"))?;
    }
    Ok(())
}

/// The last line: how many ended how, how long it took, and where the exports are.
fn summarise(rows: &[Row], headers: &[Header], took: Duration, out: Option<&Path>) -> anyhow::Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, header) in rows.iter().zip(headers) {
        *counts.entry(outcome(row, header).as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let took = table::duration(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
    let exports = out.map(|folder| format!("; exports in {}", folder.display())).unwrap_or_default();
    print(format_args!("{} in {took}{exports}", counts.join(", ")))
}

/// The status to show to a person: a document that failed before is failed, not unchanged.
fn outcome(row: &Row, header: &Header) -> Status {
    match row.status {
        Some(Status::Unchanged) if header.status() != Status::Published => header.status(),
        Some(status) => status,
        None => header.status(),
    }
}
