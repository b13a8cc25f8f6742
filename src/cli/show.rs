//! `deckle show`: everything about one document.

use serde_json::json;

use super::{Context, Outcome, export, print_json, table};
use crate::{
    app::App,
    document::BlockKind,
    store::{DocumentRun, Header, ListFilter},
};

/// Show one document: its pages, blocks, chunks, and what each stage cost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle show report.pdf             by file name
  deckle show 0d9f                   by the start of its id
  deckle show report.pdf --to md     its text as Markdown")]
pub struct Args {
    /// A file name, an id, or the start of one.
    document: String,
    /// Print the document itself in this form.
    #[arg(long, value_enum)]
    to: Option<export::Format>,
}

pub async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let header = find(&app, &args.document).await?;
    if let Some(format) = args.to {
        let current = header.current.as_ref();
        let current =
            current.ok_or_else(|| anyhow::anyhow!("{} has no content: {}", args.document, table::why(&header)))?;
        println!("{}", format.render(&export::document(&app, current).await?)?);
        return Ok(Outcome::Done);
    }
    let run = app.store.document(&header.key).await?;
    if json {
        let mut value = summary(&header);
        value["pages"] = json!(run.as_ref().map(|run| &run.pages));
        value["chunks"] = json!(run.as_ref().map(|run| &run.chunks));
        print_json(&value)?;
    } else {
        facts(&header);
        if let Some(run) = &run {
            pages(run);
            cost(run);
            outline(&app, &header).await?;
        }
    }
    Ok(Outcome::Done)
}

/// Finds a document by name or by the start of its id.
async fn find(app: &App, name: &str) -> anyhow::Result<Header> {
    let mut after = None;
    let mut found: Vec<Header> = Vec::new();
    loop {
        let filter = ListFilter { limit: 1_000, after, ..ListFilter::default() };
        let listing = app.store.list(&filter).await?;
        found.extend(listing.headers.into_iter().filter(|header| {
            let file = header.source().is_some_and(|source| source.filename == name);
            file || header.key.document_id.starts_with(name)
        }));
        after = listing.next;
        if after.is_none() {
            break;
        }
    }
    match <[Header; 1]>::try_from(found) {
        Ok([only]) => Ok(only),
        Err(none) if none.is_empty() => anyhow::bail!("no document is called `{name}`; `deckle list` shows all"),
        Err(several) => anyhow::bail!(
            "`{name}` may be {}",
            several.iter().map(|it| it.key.document_id.as_str()).collect::<Vec<_>>().join(" or ")
        ),
    }
}

/// A document's header for programs.
pub fn summary(header: &Header) -> serde_json::Value {
    json!({
        "tenant": header.key.tenant,
        "document_id": header.key.document_id,
        "status": header.status(),
        "source": header.source(),
        "reasons": header.reasons(),
        "current": header.current,
    })
}

fn facts(header: &Header) {
    println!("document    {}", header.key.document_id);
    println!("status      {}", header.status().as_str());
    if let Some(source) = header.source() {
        println!("file        {} ({}, {} bytes)", source.filename, source.media_type, source.size_bytes);
        println!("sha256      {}", source.sha256);
    }
    if let Some(current) = &header.current {
        if let Some(title) = &current.title {
            println!("title       {title}");
        }
        println!("language    {}", current.language);
        println!(
            "holds       {} pages, {} blocks, {} chunks",
            current.page_count, current.block_count, current.chunk_count
        );
        if let Some(confidence) = current.confidence {
            println!("confidence  {:.2} mean, {:.2} in the worst tenth", confidence.mean, confidence.p10);
        }
        println!("run         {} (version {})", current.run, current.version);
    }
    for reason in header.reasons() {
        let page = reason.page_no.map(|page_no| format!(" page {page_no}")).unwrap_or_default();
        println!("because    {page} {} [{}, stage {}]", reason.message, reason.code, reason.stage);
    }
}

fn pages(run: &DocumentRun) {
    if run.pages.is_empty() {
        return;
    }
    let mut rows = table::table(&["page", "text from", "confidence", "trouble"]);
    for page in &run.pages {
        rows.add_row(vec![
            table::number(Some(page.page_no)),
            comfy_table::Cell::new(page.method.map_or("–".to_owned(), |method| {
                serde_json::to_value(method).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
            })),
            table::number(page.confidence.map(|confidence| format!("{:.2}", confidence.mean))),
            comfy_table::Cell::new(page.reason.as_ref().map_or("", |reason| &reason.message)),
        ]);
    }
    println!("{rows}");
}

fn cost(run: &DocumentRun) {
    let Some(current) = &run.header.current else { return };
    let mut rows = table::table(&["stage", "model", "time", "processor", "pages", "tokens"]);
    for entry in &current.trail {
        rows.add_row(vec![
            comfy_table::Cell::new(&entry.stage),
            comfy_table::Cell::new(entry.model.as_deref().unwrap_or("–")),
            table::number(Some(table::seconds(entry.wall_us))),
            table::number(Some(table::seconds(entry.cpu_us))),
            table::number(Some(entry.pages).filter(|pages| *pages > 0)),
            table::number(Some(entry.tokens).filter(|tokens| *tokens > 0)),
        ]);
    }
    println!("{rows}");
}

async fn outline(app: &App, header: &Header) -> anyhow::Result<()> {
    let Some(current) = &header.current else { return Ok(()) };
    let document = export::document(app, current).await?;
    for block in &document.blocks {
        if matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader) {
            let depth = usize::from(block.level.unwrap_or(0));
            let page =
                block.prov.first().and_then(|prov| prov.page_no).map(|no| format!("  (page {no})")).unwrap_or_default();
            println!("{}{}{page}", "  ".repeat(depth), block.text);
        }
    }
    Ok(())
}
