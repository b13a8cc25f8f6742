//! `deckle list`: what is known of which documents.

use super::{Context, Outcome, print_json, table};
use crate::{record::Status, store::ListFilter};

/// List documents and how they ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle list
  deckle list --status failed --limit 20
  deckle list --json | jq '.documents[].document_id'")]
pub struct Args {
    /// Only documents of this status: processing, published, partial, failed, erased.
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Rows at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Go on after the token that the previous listing ended with.
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
}

fn parse_status(text: &str) -> Result<Status, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| format!("`{text}` is no status"))
}

pub async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let filter = ListFilter { tenant: None, status: args.status, limit: args.limit, after: args.after };
    let listing = app.store.list(&filter).await?;
    if json {
        let documents: Vec<_> = listing.headers.iter().map(super::show::summary).collect();
        print_json(&serde_json::json!({ "documents": documents, "next": listing.next }))?;
        return Ok(Outcome::Done);
    }
    if listing.headers.is_empty() {
        println!("no documents; bring some in with `deckle process FILE`");
        return Ok(Outcome::Done);
    }
    let mut rows = table::table(&["document", "file", "type", "pages", "chunks", "status", "why"]);
    for header in &listing.headers {
        let current = header.current.as_ref();
        let source = header.source();
        rows.add_row(vec![
            comfy_table::Cell::new(&header.key.document_id),
            comfy_table::Cell::new(source.map_or("", |source| &source.filename)),
            comfy_table::Cell::new(source.map_or("", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.chunk_count)),
            table::status(header.status()),
            comfy_table::Cell::new(table::why(header)),
        ]);
    }
    println!("{rows}");
    if let Some(next) = &listing.next {
        println!("more: deckle list --after {next}");
    }
    Ok(Outcome::Done)
}
