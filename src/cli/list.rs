//! `deckle list`: what is known of which documents.

use super::{
    Context, Outcome, print_json, say,
    table::{self, Fit},
};
use crate::{record::Status, store::ListFilter};

/// List documents and how they ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle list
  deckle list --status failed --limit 20
  deckle list --json | jq -r '.documents[].document_id'")]
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
    serde_json::from_value(serde_json::Value::from(text))
        .map_err(|_| "one of processing, published, partial, failed, erased".to_owned())
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
        say(match args.status {
            Some(status) => format!("no document is {}", status.as_str()),
            None => "no documents; bring some in with `deckle process FILE`".to_owned(),
        })?;
        return Ok(Outcome::Done);
    }
    let mut rows = table::Rows::new(&[
        ("document", Fit::Keep),
        ("file", Fit::Wrap),
        ("type", Fit::Drop(2)),
        ("pages", Fit::Drop(1)),
        ("chunks", Fit::Drop(3)),
        ("status", Fit::Keep),
        ("why", Fit::Wrap),
    ]);
    for header in &listing.headers {
        let current = header.current.as_ref();
        let source = header.source();
        rows.add(vec![
            table::id(&header.key.document_id),
            table::text(source.map_or("", |source| &source.filename)),
            table::text(source.map_or("", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.chunk_count)),
            table::status(header.status()),
            table::text(table::why(header)),
        ]);
    }
    say(rows)?;
    if let Some(next) = &listing.next {
        let status = args.status.map(|status| format!("--status {} ", status.as_str())).unwrap_or_default();
        say(format_args!("more: deckle list {status}--limit {} --after {next}", args.limit))?;
    }
    Ok(Outcome::Done)
}
