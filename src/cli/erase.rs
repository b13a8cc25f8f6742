//! `deckle erase`: documents go, for ever.

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{
    Context, Outcome, print, print_json,
    progress::bar,
    stop::StopSignals,
    table::{self, Fit},
    warn,
};
use crate::{
    app::App,
    contract::record::{Event, Readmitted, Uploaded},
    log::Topic,
    runtime::erasure::{self, Erased},
    stages::split,
    store::{DocumentKey, Header, ListFilter},
};

/// Erase documents for ever: rows, vectors, files and dead letters.
///
/// Nobody reads or finds a document from that moment on. What is still on its way of it is dropped where it arrives,
/// and `deckle run` sweeps once more two days later. Its id stays, with the time, so that nothing late comes back; the
/// same file brought in later is read anew. Where this is cut off, the same command does the rest.
///
/// Consumers are told by a record of status `erased` in documents.published. Records that are in topics already, those
/// of documents.chunks, documents.vectors and dead-letters too, go with the retention of their topic.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle erase report.pdf               by file name, after asking
  deckle erase 0d9f --dry-run           by the start of its id; what would go?
  deckle erase acme/4711 --yes          by tenant and id, without asking
  deckle erase --tenant acme            everything of a tenant
  deckle erase 0d9f --yes --json | jq -r '.erased[].document_id'

A whole id that nobody has heard of is erased too: its upload may still wait in the log.")]
pub(super) struct Args {
    /// File names, ids, starts of ids, or TENANT/ID.
    #[arg(value_name = "DOCUMENT", required_unless_present = "tenant", conflicts_with = "tenant")]
    documents: Vec<String>,
    /// All documents of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show them and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Documents erased at once.
const AT_ONCE: usize = 8;
/// Headers asked for at once.
const PAGE: usize = 1_000;
/// Documents shown before the question.
const ROWS: usize = 20;

/// A document that is to go.
struct Chosen {
    key: DocumentKey,
    /// `None` for one never heard of.
    header: Option<Header>,
}

impl Chosen {
    fn known(header: Header) -> Self {
        Self { key: header.key.clone(), header: Some(header) }
    }

    fn pages(&self) -> u32 {
        self.count(|current| current.page_count)
    }

    fn chunks(&self) -> u32 {
        self.count(|current| current.chunk_count)
    }

    fn count(&self, of: impl Fn(&crate::store::PublishedVersion) -> u32) -> u32 {
        self.header.as_ref().and_then(|header| header.current.as_ref()).map_or(0, of)
    }
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let chosen = match &args.tenant {
        Some(tenant) => of_tenant(&app, tenant).await?,
        None => named(&app, &args.documents).await?,
    };
    if args.dry_run {
        return rehearse(json, &chosen);
    }
    if !args.yes && !chosen.is_empty() && !confirmed(json, &chosen)? {
        warn("deckle: nothing was erased");
        return Ok(Outcome::Done);
    }
    let progress = bar(chosen.len(), "documents", json);
    let mut done: Vec<(&Chosen, Erased)> = Vec::new();
    let mut work = stream::iter(&chosen)
        .map(|document| {
            let app = &app;
            async move {
                let erased = erasure::erase(&*app.log, &*app.store, &*app.blobs, &document.key).await?;
                anyhow::Ok((document, erased))
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut stops = StopSignals::listen()?;
    let interrupted = loop {
        tokio::select! {
            next = work.try_next() => match next {
                Ok(Some(erased)) => {
                    done.push(erased);
                    progress.inc(1);
                }
                Ok(None) => break false,
                Err(error) => {
                    progress.finish_and_clear();
                    let so_far = format!("{} of {} erased; the same command goes on", done.len(), count(chosen.len()));
                    return Err(error.context(so_far));
                }
            },
            () = stops.next() => break true,
        }
    };
    drop(work);
    progress.finish_and_clear();
    let waiting = uploads_waiting(&app).await?;
    report(json, &done, waiting)?;
    if !json {
        report_what_stays(&app, args.tenant.as_deref(), waiting);
    }
    if interrupted {
        warn("deckle: interrupted; the same command goes on with the rest");
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// Everything that a tenant has, and had.
async fn of_tenant(app: &App, tenant: &str) -> anyhow::Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    headers(app, Some(tenant), |header| chosen.push(Chosen::known(header))).await?;
    Ok(chosen)
}

/// The documents of these names, each once.
async fn named(app: &App, names: &[String]) -> anyhow::Result<Vec<Chosen>> {
    let mut chosen: BTreeMap<DocumentKey, Chosen> = BTreeMap::new();
    let mut open: Vec<(&str, Candidates)> = Vec::new();
    for name in names {
        match by_id(app, name).await? {
            Some(header) => drop(chosen.insert(header.key.clone(), Chosen::known(header))),
            None => open.push((name, Candidates::default())),
        }
    }
    if !open.is_empty() {
        headers(app, None, |header| open.iter_mut().for_each(|(name, candidates)| candidates.look(name, &header)))
            .await?;
    }
    for (name, candidates) in open {
        let document = candidates.only(app, name)?;
        chosen.insert(document.key.clone(), document);
    }
    Ok(chosen.into_values().collect())
}

/// A document by its whole id, of the configured tenant or the one before a slash.
async fn by_id(app: &App, name: &str) -> anyhow::Result<Option<Header>> {
    for key in keys(app, name) {
        if let Some(header) = app.store.header(&key).await? {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// What a whole id may mean.
fn keys(app: &App, name: &str) -> Vec<DocumentKey> {
    let key = |tenant: &str, id: &str| DocumentKey { tenant: tenant.to_owned(), document_id: id.to_owned() };
    let mut keys = vec![key(&app.config.tenant, name)];
    keys.extend(name.split_once('/').map(|(tenant, id)| key(tenant, id)));
    keys
}

/// Documents that a name may mean.
#[derive(Default)]
struct Candidates {
    by_id: Vec<Header>,
    by_start_or_file: Vec<Header>,
}

impl Candidates {
    fn look(&mut self, name: &str, header: &Header) {
        if header.key.document_id == name {
            self.by_id.push(header.clone());
        } else if header.key.document_id.starts_with(name)
            || header.source().is_some_and(|source| source.filename == name)
        {
            self.by_start_or_file.push(header.clone());
        }
    }

    /// The one that is meant. A whole id is taken at its word.
    fn only(self, app: &App, name: &str) -> anyhow::Result<Chosen> {
        let mut found = if self.by_id.is_empty() { self.by_start_or_file } else { self.by_id };
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(Chosen::known(only)),
            (Some(last), false) => {
                found.push(last);
                let all: Vec<_> = found.iter().map(|it| format!("{}/{}", it.key.tenant, it.key.document_id)).collect();
                anyhow::bail!("`{name}` may be {}", all.join(" or "))
            }
            (None, _) => {
                let whole = keys(app, name).into_iter().find(|key| uuid::Uuid::try_parse(&key.document_id).is_ok());
                let key = whole.with_context(|| format!("no document is called `{name}`; `deckle list` shows all"))?;
                Ok(Chosen { key, header: None })
            }
        }
    }
}

/// Hands over all headers, of a tenant or of all.
async fn headers(app: &App, tenant: Option<&str>, mut take: impl FnMut(Header)) -> anyhow::Result<()> {
    let mut filter = ListFilter { tenant: tenant.map(str::to_owned), limit: PAGE, ..ListFilter::default() };
    loop {
        let listing = app.store.list(&filter).await?;
        listing.headers.into_iter().for_each(&mut take);
        filter.after = listing.next;
        if filter.after.is_none() {
            return Ok(());
        }
    }
}

fn count(documents: usize) -> String {
    table::count(documents as u64, "document")
}

/// What the documents are and hold, in one line.
fn total(chosen: &[Chosen]) -> String {
    let pages: u64 = chosen.iter().map(|document| u64::from(document.pages())).sum();
    let chunks: u64 = chosen.iter().map(|document| u64::from(document.chunks())).sum();
    let held = [(pages, "page"), (chunks, "chunk")].into_iter().filter(|(number, _)| *number > 0);
    let held: Vec<_> = held.map(|(number, noun)| table::count(number, noun)).collect();
    let with = if held.is_empty() { "" } else { " with " };
    format!("{}{with}{}", count(chosen.len()), held.join(" and "))
}

/// Shows the documents, the first of many.
fn rows(chosen: &[Chosen]) -> table::Rows {
    let mut rows = table::Rows::new(&[
        ("tenant", Fit::Drop(2)),
        ("document", Fit::Keep),
        ("file", Fit::Wrap),
        ("pages", Fit::Drop(1)),
        ("chunks", Fit::Drop(3)),
        ("status", Fit::Keep),
    ]);
    for document in chosen.iter().take(ROWS) {
        let source = document.header.as_ref().and_then(Header::source);
        rows.add(vec![
            table::text(&document.key.tenant),
            table::id(&document.key.document_id),
            table::text(source.map_or("", |source| &source.filename)),
            table::number(Some(document.pages()).filter(|pages| *pages > 0)),
            table::number(Some(document.chunks()).filter(|chunks| *chunks > 0)),
            document.header.as_ref().map_or_else(|| table::text("not known"), |header| table::status(header.status())),
        ]);
    }
    rows
}

fn rehearse(json: bool, chosen: &[Chosen]) -> anyhow::Result<Outcome> {
    if json {
        let documents: Vec<_> = chosen
            .iter()
            .map(|it| {
                json!({
                    "tenant": it.key.tenant,
                    "document_id": it.key.document_id,
                    "filename": it.header.as_ref().and_then(Header::source).map(|source| &source.filename),
                    "status": it.header.as_ref().map(Header::status),
                    "pages": it.pages(),
                    "chunks": it.chunks(),
                })
            })
            .collect();
        print_json(&json!({ "dry_run": true, "documents": documents }))?;
    } else {
        if !chosen.is_empty() {
            print(rows(chosen))?;
        }
        if chosen.len() > ROWS {
            print(format_args!("… and {} more", chosen.len() - ROWS))?;
        }
        print(format_args!("{} would be erased; nothing was done", total(chosen)))?;
    }
    Ok(Outcome::Done)
}

/// Asks on the terminal whether to go on.
///
/// # Errors
/// Where nobody is there to answer.
fn confirmed(json: bool, chosen: &[Chosen]) -> anyhow::Result<bool> {
    let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    anyhow::ensure!(somebody && !json, "erasing asks first, and nobody is there to answer: add --yes, or --dry-run");
    warn(rows(chosen));
    if chosen.len() > ROWS {
        warn(format_args!("… and {} more", chosen.len() - ROWS));
    }
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "erase {} for ever? [y/N] ", total(chosen))?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Uploads in the log that no worker took in: the documents of some are not known yet.
async fn uploads_waiting(app: &App) -> anyhow::Result<u64> {
    let lags = app.log.lag(split::NAME, &[Uploaded::TOPIC, Readmitted::TOPIC].map(Topic::from)).await?;
    Ok(lags.iter().map(|lag| lag.records).sum())
}

fn report(json: bool, done: &[(&Chosen, Erased)], uploads_waiting: u64) -> anyhow::Result<()> {
    if json {
        let erased = done
            .iter()
            .map(|(document, erased)| {
                Ok(json!({
                    "tenant": document.key.tenant,
                    "document_id": document.key.document_id,
                    "erased_at": jiff::Timestamp::from_microsecond(erased.erased_at)?.to_string(),
                    "blobs": erased.blobs,
                }))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        return print_json(&json!({ "erased": erased, "uploads_waiting": uploads_waiting }));
    }
    let blobs = done.iter().map(|(_, erased)| erased.blobs).sum::<u64>();
    print(format_args!("{} erased, {} removed", count(done.len()), table::count(blobs, "blob")))
}

/// Says what this command could not reach.
fn report_what_stays(app: &App, tenant: Option<&str>, uploads_waiting: u64) {
    if let Some(tenant) = tenant
        && uploads_waiting > 0
    {
        let waiting = table::count(uploads_waiting, "upload");
        warn(format_args!(
            "deckle: {waiting} in the log {} not taken in yet; what is of tenant {tenant} among them stays: \
             run the same again after `deckle run` took them in",
            if uploads_waiting == 1 { "was" } else { "were" }
        ));
    }
    let fed = [("documents.chunks", app.config.publish.chunks), ("documents.vectors", app.config.publish.vectors)];
    let fed: Vec<_> = fed.iter().filter(|(_, is_fed)| *is_fed).map(|(topic, _)| *topic).collect();
    if !fed.is_empty() {
        warn(format_args!("deckle: {} keeps its records until their retention ends", fed.join(" and ")));
    }
}
