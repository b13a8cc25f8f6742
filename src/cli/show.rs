//! `deckle show`: everything about one document.

use serde_json::json;

use super::{
    Context, Outcome, print, print_document, print_json, render,
    table::{self, Fit},
};
use crate::{
    app::App,
    contract::document::{BlockKind, Document, Method, PageInfo, metadata::Information},
    store::{DocumentRun, Header, ListFilter, PageRow},
};

/// Headings, figures, fields and attachments shown at most of each; `--json` has all.
const SHOWN: usize = 40;

/// Show one document: its pages, headings, figures, fields, and what each stage cost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle show report.pdf             by file name
  deckle show 0d9f                   by the start of its id
  deckle show report.pdf --to md     its text as Markdown")]
pub(super) struct Args {
    /// A file name, an id, or the start of one.
    document: String,
    /// Print the document itself in this form.
    #[arg(long, value_enum)]
    to: Option<render::Format>,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let header = find(&app, &args.document).await?;
    if let Some(format) = args.to {
        let current = header.current.as_ref();
        let current =
            current.ok_or_else(|| anyhow::anyhow!("{} has no content: {}", args.document, table::why(&header)))?;
        print_document(format.render(&render::document(&app, current).await?)?.trim_end())?;
        return Ok(Outcome::Done);
    }
    let run = app.store.document(&header.key).await?;
    let document = match &header.current {
        Some(current) => Some(render::document(&app, current).await?),
        None => None,
    };
    if json {
        let mut value = summary(&header);
        if let Some(document) = &document {
            value["facts"] = json!(document.facts);
            value["links"] = json!(document.pages.iter().flat_map(links).collect::<Vec<_>>());
            value["form_fields"] = json!(document.pages.iter().flat_map(form_fields).collect::<Vec<_>>());
        }
        value["pages"] = json!(run.as_ref().map(|run| &run.pages));
        value["chunks"] = json!(run.as_ref().map(|run| &run.chunks));
        value["figures"] = json!(run.as_ref().map(|run| &run.figures));
        value["fields"] = json!(run.as_ref().map(|run| &run.fields));
        print_json(&value)?;
    } else {
        facts(&header)?;
        if let Some(document) = &document {
            information(&document.facts.information)?;
        }
        if let Some(run) = &run {
            pages(run)?;
            decisions(run)?;
            cost(run)?;
            if let Some(document) = &document {
                outline(document)?;
            }
            figures(run)?;
            fields(run)?;
            if let Some(document) = &document {
                attachments(document)?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// The links of a page for programs, with its number.
fn links(page: &PageInfo) -> impl Iterator<Item = serde_json::Value> {
    page.links.iter().map(|link| with_page(page, json!(link)))
}

/// The form fields of a page for programs, with its number.
fn form_fields(page: &PageInfo) -> impl Iterator<Item = serde_json::Value> {
    page.form_fields.iter().map(|field| with_page(page, json!(field)))
}

fn with_page(page: &PageInfo, mut value: serde_json::Value) -> serde_json::Value {
    value["page_no"] = json!(page.page_no);
    value
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
pub(super) fn summary(header: &Header) -> serde_json::Value {
    json!({
        "tenant": header.key.tenant,
        "document_id": header.key.document_id,
        "status": header.status(),
        "at": jiff::Timestamp::from_microsecond(header.at()).ok(),
        "source": header.source(),
        "reasons": header.reasons(),
        "current": header.current,
    })
}

fn facts(header: &Header) -> anyhow::Result<()> {
    print(format_args!("document    {}", header.key.document_id))?;
    print(format_args!("status      {}", header.status().as_str()))?;
    if let Some(source) = header.source() {
        let media_type = if source.media_type.is_empty() { "unknown type" } else { &source.media_type };
        print(format_args!("file        {} ({media_type}, {})", source.filename, table::size(source.size_bytes)))?;
        print(format_args!("sha256      {}", source.sha256))?;
    }
    if let Some(current) = &header.current {
        if let Some(title) = &current.title {
            print(format_args!("title       {title}"))?;
        }
        print(format_args!("language    {}", current.language))?;
        let holds = [
            (current.page_count, "page"),
            (current.block_count, "block"),
            (current.chunk_count, "chunk"),
            (current.figure_count, "figure"),
            (current.field_count, "field"),
        ];
        let holds = holds.map(|(number, noun)| table::count(number, noun)).join(", ");
        print(format_args!("holds       {holds}"))?;
        if let Some(confidence) = current.confidence {
            print(format_args!("confidence  {:.2} mean, {:.2} in the worst tenth", confidence.mean, confidence.p10))?;
        }
        let at = jiff::Timestamp::from_microsecond(current.published_at)?;
        print(format_args!("published   {at:.0}"))?;
        print(format_args!("run         {} (version {})", current.run, current.version))?;
    }
    for reason in header.reasons() {
        let page = reason.page_no.map(|page_no| format!("page {page_no}: ")).unwrap_or_default();
        print(format_args!("because     {page}{} [{}, stage {}]", reason.message, reason.code, reason.stage))?;
    }
    Ok(())
}

/// Who made the file, when and with what, as it states.
fn information(information: &Information) -> anyhow::Result<()> {
    let Information { author, created, creator, producer, .. } = information;
    if let Some(author) = author {
        print(format_args!("author      {author}"))?;
    }
    let with = creator.as_ref().or(producer.as_ref()).map(|program| format!("with {program}"));
    let made: Vec<&str> = [created, &with].into_iter().flatten().map(String::as_str).collect();
    if made.is_empty() { Ok(()) } else { print(format_args!("made        {}", made.join(" "))) }
}

/// Pages that stand together and were read alike are one row.
fn pages(run: &DocumentRun) -> anyhow::Result<()> {
    let alike = |left: &PageRow, right: &PageRow| left.method == right.method && left.reason == right.reason;
    let mut rows = table::Rows::new(&[
        ("pages", Fit::Keep),
        ("text from", Fit::Keep),
        ("confidence", Fit::Keep),
        ("trouble", Fit::Wrap),
    ]);
    for group in run.pages.chunk_by(alike) {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let means = || group.iter().filter_map(|page| page.confidence).map(|it| format!("{:.2}", it.mean));
        let method = match first.method {
            Some(Method::TextLayer) => "text layer",
            Some(Method::Ocr) => "OCR",
            Some(Method::Model) => "model",
            None => "–",
        };
        rows.add(vec![
            table::number(Some(span(first.page_no.to_string(), last.page_no.to_string()))),
            table::text(method),
            table::number(means().min().zip(means().max()).map(|(least, most)| span(least, most))),
            table::text(first.reason.as_ref().map_or("", |reason| &reason.message)),
        ]);
    }
    if run.pages.is_empty() { Ok(()) } else { print(rows) }
}

/// `3`, or `3 to 5`.
fn span(first: String, last: String) -> String {
    if first == last { first } else { format!("{first} to {last}") }
}

/// What was decided about the pages' text, such as `pages: 3 text layer, 2 recognised (no text layer)`.
fn decisions(run: &DocumentRun) -> anyhow::Result<()> {
    let trail = run.header.current.iter().flat_map(|current| &current.trail);
    let mut decisions: Vec<_> = trail.flat_map(|entry| &entry.decisions).collect();
    // What the files themselves say first, then what was recognised.
    decisions.sort_by_key(|(decision, _)| !decision.starts_with("text_layer"));
    let parts: Vec<String> = decisions.iter().map(|(why, pages)| format!("{pages} {}", in_words(why))).collect();
    if parts.is_empty() { Ok(()) } else { print(format_args!("pages: {}", parts.join(", "))) }
}

/// A decision of [`crate::decode::text_layer`] for people; an unknown one is why a page was recognised.
fn in_words(decision: &str) -> String {
    match decision {
        "text_layer" => "text layer".to_owned(),
        "text_layer_and_images" => "text layer with pictures recognised".to_owned(),
        "empty" => "empty".to_owned(),
        why => format!("recognised ({})", why.replace('_', " ")),
    }
}

fn cost(run: &DocumentRun) -> anyhow::Result<()> {
    let Some(current) = &run.header.current else { return Ok(()) };
    let mut rows = table::Rows::new(&[
        ("stage", Fit::Keep),
        ("model", Fit::Keep),
        ("elapsed", Fit::Keep),
        ("processor", Fit::Keep),
        ("pages", Fit::Drop(1)),
        ("tokens", Fit::Drop(2)),
    ]);
    for entry in &current.trail {
        rows.add(vec![
            table::text(&entry.stage),
            table::text(entry.model.as_deref().unwrap_or("–")),
            table::number(Some(table::duration(entry.wall_us))),
            table::number(Some(table::duration(entry.cpu_us))),
            table::number(Some(entry.pages).filter(|pages| *pages > 0)),
            table::number(Some(entry.tokens).filter(|tokens| *tokens > 0)),
        ]);
    }
    print(rows)
}

fn outline(document: &Document) -> anyhow::Result<()> {
    let headings: Vec<_> =
        document.blocks.iter().filter(|it| matches!(it.kind, BlockKind::Title | BlockKind::SectionHeader)).collect();
    for block in headings.iter().take(SHOWN) {
        let depth = usize::from(block.level.unwrap_or(0));
        let page_no = block.prov.first().and_then(|prov| prov.page_no);
        let page = page_no.map(|page_no| format!("  (page {page_no})")).unwrap_or_default();
        print(format_args!("{}{}{page}", "  ".repeat(depth), block.text))?;
    }
    more(headings.len(), "heading")
}

/// Says how many are not shown.
fn more(count: usize, noun: &str) -> anyhow::Result<()> {
    match count.saturating_sub(SHOWN) {
        0 => Ok(()),
        rest => print(format_args!("… and {}", table::count(rest as u64, &format!("more {noun}")))),
    }
}

fn figures(run: &DocumentRun) -> anyhow::Result<()> {
    if run.figures.is_empty() {
        return Ok(());
    }
    let mut rows = table::Rows::new(&[("figure", Fit::Keep), ("page", Fit::Keep), ("caption", Fit::Wrap)]);
    for figure in run.figures.iter().take(SHOWN) {
        let size = figure.table.as_ref().map(|table| format!(" of {} × {}", table.rows, table.columns));
        rows.add(vec![
            table::text(format!("{}{}", figure.kind.as_str(), size.unwrap_or_default())),
            table::number(figure.prov.first().and_then(|place| place.page_no)),
            table::text(figure.caption.as_deref().unwrap_or_default()),
        ]);
    }
    print(rows)?;
    more(run.figures.len(), "figure")
}

fn fields(run: &DocumentRun) -> anyhow::Result<()> {
    if run.fields.is_empty() {
        return Ok(());
    }
    let mut rows = table::Rows::new(&[
        ("field", Fit::Wrap),
        ("value", Fit::Wrap),
        ("page", Fit::Keep),
        ("confidence", Fit::Drop(1)),
    ]);
    for field in run.fields.iter().take(SHOWN) {
        rows.add(vec![
            table::text(&field.name),
            table::text(&field.value),
            table::number(field.prov.as_ref().and_then(|place| place.page_no)),
            table::number(field.confidence.map(|confidence| format!("{confidence:.2}"))),
        ]);
    }
    print(rows)?;
    more(run.fields.len(), "field")
}

/// The files inside the file; they are listed, not read.
fn attachments(document: &Document) -> anyhow::Result<()> {
    let attachments = &document.facts.attachments;
    if attachments.is_empty() {
        return Ok(());
    }
    let mut rows = table::Rows::new(&[
        ("attachment", Fit::Wrap),
        ("type", Fit::Keep),
        ("size", Fit::Keep),
        ("description", Fit::Drop(1)),
    ]);
    for attachment in attachments.iter().take(SHOWN) {
        let media_type = attachment.media_type.as_ref().or(attachment.declared_media_type.as_ref());
        let size = attachment.size_bytes.and_then(|size| i64::try_from(size).ok());
        rows.add(vec![
            table::text(&attachment.name),
            table::text(media_type.map_or("–", String::as_str)),
            table::number(size.map(table::size)),
            table::text(attachment.description.as_deref().unwrap_or_default()),
        ]);
    }
    print(rows)?;
    more(attachments.len(), "attachment")
}
