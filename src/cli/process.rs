//! `deckle process`: runs the whole pipeline in this process until the files are done.

mod report;
mod waiting;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};

use self::waiting::Waiting;
use super::{
    Context, Outcome,
    ingest::SUBMISSIONS,
    inputs::{self, Input, Refusal},
    print_json,
    progress::Progress,
    render,
    stop::StopSignals,
    submit::{self, Submission, Submitted},
    warn,
};
use crate::{
    app::App,
    contract::record::{DeadLetter, Event, Lane, OcrMode, Options, PageAnalysed, Published, Status, wire},
    log::{self, Record, Tail, Topic},
    runtime::readiness,
    seal::Password,
    stages,
    store::Header,
};

/// Read files now, and write exports into a folder.
///
/// The same files again are `unchanged` and cost nothing; with a password they are opened first. Interrupted or killed and run again, it goes on where it was.
/// A file that cannot be read, or is larger than `decode.max_bytes`, is a row that says so, and the others go on.
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
The export of a.pdf is a.md; it is a.pdf.md where a.png is read as well, or where a.md is
a file that is read; where two folders have an a.pdf each, x/a.pdf.md.
Exit code: 0 all done, 1 some documents failed or could not be exported, 2 a mistake
in the command or the settings, 130 interrupted.")]
pub(super) struct Args {
    /// Files, folders and patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder for exports; none are written without it. What deckle wrote there is replaced, what is anybody else's is
    /// not, and exports in a folder that is read are not read themselves.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Let exports replace files that deckle did not write, or that were changed since; never those that are read.
    #[arg(long, requires = "out")]
    overwrite: bool,
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
    password: Option<Password>,
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

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let started = Instant::now();
    let data = context.config.data();
    let written = args.out.as_ref().map(|folder| render::Written::load(&data, folder)).transpose()?;
    let is_export = |path: &Path| written.as_ref().is_some_and(|written| written.is_own(path));
    let inputs::Found { inputs, mut refusals } = inputs::find(&args.paths, is_export)?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let app = context.open()?;
    // From before the first submission on, so that no end is missed; the store has what ended earlier.
    let tail = app.log.tail(&[Topic::from(PageAnalysed::TOPIC), Topic::from(Published::TOPIC)], log::From::End).await?;
    let request = submit::Request {
        anew: false,
        force: args.force,
        lane: Lane::Interactive,
        options: options(&args),
        max_bytes: app.config.decode.max_bytes,
    };
    let submissions: Vec<Result<Submission, Refusal>> = stream::iter(inputs.iter().cloned())
        .map(|input| submit::submit(&app, input, &request))
        .buffered(SUBMISSIONS)
        .try_collect()
        .await?;
    let mut rows: Vec<Row> = Vec::new();
    for submission in submissions {
        match submission {
            Ok(submission) => rows.push(Row::new(submission)),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if rows.iter().any(|row| row.status.is_none())
        && until_all_ended(&app, tail, &mut rows, Some(&request), json).await? == Outcome::Interrupted
    {
        warn("deckle: interrupted; the same command goes on where this one was");
        return Ok(Outcome::Interrupted);
    }
    let headers = headers(&app, &rows).await?;
    let not_written = match &args.out {
        Some(folder) => export(&app, &args, folder, &inputs, rows.iter().zip(&headers)).await?,
        None => 0,
    };
    let failed = rows.iter().zip(&headers).any(|(row, header)| report::outcome(row, header) == Status::Failed);
    if json {
        print_json(&report::for_programs(&rows, &headers, &refusals))?;
    } else {
        report::table(&rows, &headers, &refusals)?;
        let exports = args.out.as_deref().map(|folder| report::exported(folder, not_written)).unwrap_or_default();
        report::summarise(&rows, &headers, &refusals, started.elapsed(), &exports)?;
    }
    Ok(if failed || not_written > 0 || !refusals.is_empty() { Outcome::SomeFailed } else { Outcome::Done })
}

/// Writes the exports of all documents, and says of each that could not be written why; gives how many these are.
async fn export(
    app: &App,
    args: &Args,
    folder: &Path,
    inputs: &BTreeSet<Input>,
    documents: impl Iterator<Item = (&Row, &Header)>,
) -> anyhow::Result<u64> {
    let mut folder = render::Folder::open(folder, &app.config.data(), inputs.iter(), args.overwrite)?;
    let names = render::names(inputs.iter(), &args.to, &folder);
    let mut not_written = 0;
    for (row, header) in documents {
        let Some(current) = &header.current else { continue };
        let input = &row.submission.input;
        for error in render::write(app, current, input, &names, &args.to, &mut folder).await? {
            not_written += 1;
            warn(format_args!("deckle: {error:#}"));
        }
    }
    Ok(not_written)
}

fn options(args: &Args) -> Options {
    Options {
        languages: args.language.clone(),
        ocr_mode: args.ocr.into(),
        password: args.password.as_ref().map(|password| password.reveal().to_owned()),
        force: args.force,
    }
}

/// Runs the pipeline until every document's path ended. The tail is of pages analysed and documents published, from
/// before the first submission on. With a request, what was submitted and is lost is submitted once more.
///
/// # Errors
/// When the pipeline stops by itself, a model is missing, or the store or log is away.
pub(super) async fn until_all_ended(
    app: &App,
    mut tail: Box<dyn Tail>,
    rows: &mut [Row],
    request: Option<&submit::Request>,
    json: bool,
) -> anyhow::Result<Outcome> {
    let without_end = rows.iter().filter(|row| row.status.is_none());
    let mut progress = Progress::new(without_end.map(|row| (row.submission.key.document_id.clone(), name(row))), json);
    let mut waiting = Waiting::new(rows);
    let mut stops = StopSignals::listen()?;
    let mut looks = tokio::time::interval(LOOK);
    let mut starting = pin!(app.start(&[]));
    let mut running = loop {
        tokio::select! {
            running = &mut starting => break running?,
            _ = looks.tick() => progress.waiting_for(&readiness::away()),
            () = stops.next() => {
                progress.finish();
                return Ok(Outcome::Interrupted);
            }
        }
    };
    // A worker would wait for a model that is missing; a person wants to know.
    let (embedders, active_models) = (app.embedders().clone(), app.active_models());
    let mut model = tokio::spawn(async move { embedders.get(&active_models.active().await?).await });
    let mut is_loaded = false;
    let mut was_drained = false;
    while !waiting.is_over() {
        tokio::select! {
            records = tail.next() => follow(rows, &mut waiting, &mut progress, &records?),
            loaded = &mut model, if !is_loaded => {
                loaded??;
                is_loaded = true;
            }
            _ = looks.tick() => {
                // In this order: what ended before the log was seen to be empty is seen to have ended. Twice, because a
                // record may be between two topics.
                let is_drained = submit::is_drained(app).await.unwrap_or(false);
                let next = waiting.next(rows);
                look(app, rows, &next, &mut waiting, &mut progress).await?;
                if let Some(request) = request.filter(|_| is_drained && was_drained) {
                    submit_anew(app, rows, &next, request).await?;
                    waiting = Waiting::new(rows);
                }
                was_drained = is_drained && !was_drained;
                progress.waiting_for(&readiness::away());
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

/// Submits once more what waits for an end that no record can bring.
async fn submit_anew(app: &App, rows: &mut [Row], lost: &[usize], request: &submit::Request) -> anyhow::Result<()> {
    let request = submit::Request { anew: true, ..request.clone() };
    for index in lost {
        let row = &mut rows[*index];
        if row.status.is_some() {
            continue;
        }
        let input = row.submission.input.clone();
        warn(format_args!("{}: its record is not in the log, submitted anew", input.relative.display()));
        match submit::submit(app, input, &request).await? {
            Ok(submission) => row.submission = submission,
            // It is gone or has changed: the document ends as it would have, had it been there at first.
            Err(refusal) => {
                warn(format_args!("{}: {}", refusal.input.relative.display(), refusal.why()));
                row.status = Some(Status::Failed);
            }
        }
    }
    Ok(())
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
fn follow(rows: &mut [Row], waiting: &mut Waiting, progress: &mut Progress, records: &[Record]) {
    for record in records {
        if &*record.partition.topic == PageAnalysed::TOPIC {
            let Ok(page) = wire::decode::<PageAnalysed>(&record.value) else { continue };
            progress.page(&page.envelope.document_id, page.page_no, page.page_count);
        } else {
            let Ok(published) = wire::decode::<Published>(&record.value) else { continue };
            // Others submit to the same log.
            for _ in 0..waiting.end(rows, &published.envelope.upload_id, published.status) {
                progress.ended(&published.envelope.document_id, published.status);
            }
        }
    }
}

/// Asks the store for documents that an earlier process, or another one, ended.
async fn look(
    app: &App,
    rows: &mut [Row],
    at: &[usize],
    waiting: &mut Waiting,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    for index in at {
        let Submission { key, upload_id, .. } = rows[*index].submission.clone();
        let Some(header) = app.store.header(&key).await? else { continue };
        let Some(ended) = header.end_of(&upload_id) else { continue };
        for _ in 0..waiting.end(rows, &upload_id, ended.status) {
            progress.ended(&key.document_id, ended.status);
        }
    }
    Ok(())
}

async fn headers(app: &App, rows: &[Row]) -> anyhow::Result<Vec<Header>> {
    let mut headers = Vec::new();
    for row in rows {
        let key = &row.submission.key;
        // None of a file that went before it was taken in.
        let unknown = || Header {
            key: key.clone(),
            intake: None,
            current: None,
            ended: None,
            erased_at: None,
            removed_below: None,
        };
        headers.push(app.store.header(key).await?.unwrap_or_else(unknown));
    }
    Ok(headers)
}
