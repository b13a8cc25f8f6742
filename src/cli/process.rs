//! `deckle process`: runs the whole pipeline in this process until the files are done.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Context, Outcome, export,
    ingest::SUBMISSIONS,
    print_json,
    progress::Progress,
    show,
    submit::{self, Submission, Submitted},
    table,
};
use crate::{
    app::App,
    log::{self, Record, Topic},
    record::{Event, Lane, OcrMode, Options, PageAnalysed, Published, Status, wire},
    store::Header,
};

/// Read files now: text, structure and vectors into the store, exports into a folder.
///
/// The same files again are `unchanged` and cost nothing. Interrupted or killed and run again, it goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle process report.pdf                     read one file
  deckle process inbox/ 'scans/*.png' --out out write Markdown and JSON to out/
  deckle process old.pdf --force                read it again
  deckle process brief.pdf --language de,en     what OCR should expect
Exit code: 0 all done, 1 some documents failed, 2 a mistake in the command or the settings.")]
pub struct Args {
    /// Files, folders and patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder for exports; none are written without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Forms to export.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "md,json")]
    to: Vec<export::Format>,
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

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OcrChoice {
    /// Where the text layer is missing or bad.
    Auto,
    /// Always.
    Force,
    /// Never.
    Off,
}

/// A document that was asked for, and how it ended.
struct Row {
    submission: Submission,
    status: Option<Status>,
}

/// How often the store is asked for documents whose end was not seen in the log.
const LOOK: Duration = Duration::from_secs(2);

pub async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let inputs = submit::find(&args.paths)?;
    let app = context.open()?;
    let request = submit::Request { force: args.force, lane: Lane::Interactive, options: options(&args) };
    let submissions: Vec<Submission> = stream::iter(inputs)
        .map(|input| submit::submit(&app, input, &request))
        .buffered(SUBMISSIONS)
        .try_collect()
        .await?;
    let mut rows: Vec<Row> = submissions
        .into_iter()
        .map(|submission| {
            let unchanged = matches!(submission.state, Submitted::Unchanged);
            Row { submission, status: unchanged.then_some(Status::Unchanged) }
        })
        .collect();
    if rows.iter().any(|row| row.status.is_none()) {
        until_all_ended(&app, &mut rows, json).await?;
    }
    let headers = headers(&app, &rows).await?;
    if let Some(folder) = &args.out {
        let names = export::Names::new(folder, rows.iter().map(|row| &row.submission.input));
        for (row, header) in rows.iter().zip(&headers) {
            if let Some(current) = &header.current {
                export::write(&app, current, &row.submission.input, &names, &args.to).await?;
            }
        }
    }
    report(&rows, &headers, json)?;
    let failed = headers.iter().any(|header| header.status() == Status::Failed);
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}

fn options(args: &Args) -> Options {
    Options {
        languages: args.language.clone(),
        ocr_mode: match args.ocr {
            OcrChoice::Auto => OcrMode::Auto,
            OcrChoice::Force => OcrMode::Force,
            OcrChoice::Off => OcrMode::Off,
        },
        password: args.password.clone(),
        force: args.force,
    }
}

/// Runs the pipeline until every document's path ended.
async fn until_all_ended(app: &App, rows: &mut [Row], json: bool) -> anyhow::Result<()> {
    let topics = [Topic::from(PageAnalysed::TOPIC), Topic::from(Published::TOPIC)];
    let mut tail = app.log.tail(&topics, log::From::Start).await?;
    let waiting = rows.iter().filter(|row| row.status.is_none());
    let mut progress = Progress::new(waiting.map(|row| (row.submission.key.document_id.clone(), name(row))), json);
    progress.say("starting");
    let mut running = app.start(&[]).await?;
    progress.say("");
    let mut looks = tokio::time::interval(LOOK);
    let mut interrupted = std::pin::pin!(super::run::stop_signal());
    while rows.iter().any(|row| row.status.is_none()) {
        tokio::select! {
            records = tail.next() => follow(rows, &mut progress, &records?)?,
            _ = looks.tick() => look(app, rows, &mut progress).await?,
            result = running.failed() => return result.context("the pipeline stopped"),
            () = &mut interrupted => {
                progress.finish();
                running.stop().await?;
                anyhow::bail!("interrupted; the same command goes on where this one was");
            }
        }
    }
    progress.finish();
    running.stop().await
}

fn name(row: &Row) -> String {
    row.submission.input.relative.display().to_string()
}

/// Takes note of what the log tells.
fn follow(rows: &mut [Row], progress: &mut Progress, records: &[Record]) -> anyhow::Result<()> {
    for record in records {
        if &*record.partition.topic == PageAnalysed::TOPIC {
            let page: PageAnalysed = wire::decode(&record.value)?;
            progress.page(&page.envelope.document_id, page.page_no, page.page_count);
        } else {
            let published: Published = wire::decode(&record.value)?;
            let upload_id = &published.envelope.upload_id;
            for row in rows.iter_mut().filter(|row| row.submission.upload_id == *upload_id) {
                row.status = Some(published.status);
                progress.ended(&published.envelope.document_id, published.status.as_str());
            }
        }
    }
    Ok(())
}

/// Asks the store for documents that an earlier process, or another one, ended.
async fn look(app: &App, rows: &mut [Row], progress: &mut Progress) -> anyhow::Result<()> {
    for row in rows.iter_mut().filter(|row| row.status.is_none()) {
        let Some(header) = app.store.header(&row.submission.key).await? else { continue };
        let ours = header.intake.as_ref().is_some_and(|intake| intake.upload_id == row.submission.upload_id);
        if ours && header.is_ended() {
            row.status = Some(header.status());
            progress.ended(&row.submission.key.document_id, header.status().as_str());
        }
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

fn report(rows: &[Row], headers: &[Header], json: bool) -> anyhow::Result<()> {
    if json {
        let documents: Vec<_> = rows
            .iter()
            .zip(headers)
            .map(|(row, header)| {
                let mut value = show::summary(header);
                value["path"] = serde_json::json!(row.submission.input.path);
                value["outcome"] = serde_json::json!(outcome(row, header));
                value
            })
            .collect();
        return print_json(&serde_json::json!({ "documents": documents }));
    }
    let mut lines = table::table(&["document", "type", "pages", "blocks", "chunks", "confidence", "time", "status"]);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (row, header) in rows.iter().zip(headers) {
        let current = header.current.as_ref();
        let source = header.source();
        let outcome = outcome(row, header);
        *counts.entry(outcome.as_str()).or_default() += 1;
        lines.add_row(vec![
            comfy_table::Cell::new(name(row)),
            comfy_table::Cell::new(source.map_or("", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.block_count)),
            table::number(current.map(|current| current.chunk_count)),
            table::number(current.and_then(|current| current.confidence).map(|it| format!("{:.2}", it.mean))),
            table::number(current.map(|current| table::seconds(current.published_at - current.run))),
            table::status(outcome),
        ]);
    }
    println!("{lines}");
    for (row, header) in rows.iter().zip(headers) {
        let why = table::why(header);
        if !why.is_empty() {
            println!("{}: {why}", name(row));
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    println!("{}", counts.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// What a person is told: a document that failed before is failed, not unchanged.
fn outcome(row: &Row, header: &Header) -> Status {
    match row.status {
        Some(Status::Unchanged) if header.status() != Status::Published => header.status(),
        Some(status) => status,
        None => header.status(),
    }
}
