//! `deckle list`: what is known of which documents.

use std::path::Path;

use super::{
    Context, Outcome, print, print_json, submit,
    table::{self, Fit},
    time,
};
use crate::{
    app::App,
    contract::record::Status,
    store::{Header, ListFilter, ListOrder, Listing},
};

/// List documents and how they ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle list
  deckle list --newest --limit 20                 what happened last
  deckle list --since 24h --status failed         what could not be read since yesterday
  deckle list --since 2026-11-01 --until 2026-12-01 --tenant acme
  deckle list --hash report.pdf                   is this file known?
  deckle list --json | jq -r '.documents[].document_id'

The time of a document is that of the last thing that happened to it: its upload, its
end, its erasure.")]
pub(super) struct Args {
    /// Only documents of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only documents of this status: processing, published, partial, failed, erased.
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Only those to which something happened then or later, newest first: `2026-11-21`,
    /// `2026-11-21T08:00:00Z`, or so long ago: `24h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only those to which the last thing happened before, newest first.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
    /// The newest first, instead of by tenant and document.
    #[arg(long)]
    newest: bool,
    /// Only documents with the bytes of this file, or with this SHA-256 in hex; of the configured tenant where none is
    /// named.
    #[arg(long, value_name = "SHA256|FILE", conflicts_with_all = ["since", "until", "newest", "limit", "after"])]
    hash: Option<String>,
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

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let listing = match &args.hash {
        Some(hash) => of_file(&app, &args, hash).await?,
        None => app.store.list(&filter(&args)).await?,
    };
    if json {
        let documents: Vec<_> = listing.headers.iter().map(super::show::summary).collect();
        print_json(&serde_json::json!({ "documents": documents, "next": listing.next }))?;
        return Ok(Outcome::Done);
    }
    if listing.headers.is_empty() {
        print(nothing(&args))?;
        return Ok(Outcome::Done);
    }
    print(rows(&listing.headers))?;
    if listing.next.is_some() {
        print(format_args!("more: {}", next(&args, &listing)))?;
    }
    Ok(Outcome::Done)
}

fn filter(args: &Args) -> ListFilter {
    ListFilter {
        tenant: args.tenant.clone(),
        status: args.status,
        since: args.since,
        until: args.until,
        order: if is_by_time(args) { ListOrder::Newest } else { ListOrder::Document },
        limit: args.limit,
        after: args.after.clone(),
    }
}

/// Whoever asks for a time reads the newest first; the other order would go through all documents.
fn is_by_time(args: &Args) -> bool {
    args.newest || args.since.is_some() || args.until.is_some()
}

/// All documents of a file.
async fn of_file(app: &App, args: &Args, hash: &str) -> anyhow::Result<Listing> {
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sha256 = if is_hash { hash.to_ascii_lowercase() } else { submit::hashed(Path::new(hash)).await?.0 };
    let tenant = args.tenant.as_ref().unwrap_or(&app.config.tenant);
    let mut headers = app.store.find_by_hash(tenant, &sha256).await?;
    headers.retain(|header| args.status.is_none_or(|status| status == header.status()));
    Ok(Listing { headers, next: None })
}

fn nothing(args: &Args) -> String {
    let is_plain = args.tenant.is_none() && !is_by_time(args) && args.after.is_none();
    match (&args.hash, args.status) {
        (Some(hash), None) => format!("no document has the file {hash}"),
        (None, Some(status)) if is_plain => format!("no document is {}", status.as_str()),
        (None, None) if is_plain => "no documents; bring some in with `deckle process FILE`".to_owned(),
        _ => "no such documents".to_owned(),
    }
}

fn rows(headers: &[Header]) -> table::Rows {
    let mut rows = table::Rows::new(&[
        ("document", Fit::Keep),
        ("tenant", Fit::Keep),
        ("file", Fit::Wrap),
        ("type", Fit::Drop(3)),
        ("pages", Fit::Drop(1)),
        ("chunks", Fit::Drop(4)),
        ("status", Fit::Keep),
        ("when", Fit::Drop(2)),
        ("why", Fit::Wrap),
    ]);
    // Most houses have one.
    let has_tenants = headers.windows(2).any(|pair| pair[0].key.tenant != pair[1].key.tenant);
    for header in headers {
        let current = header.current.as_ref();
        let source = header.source();
        rows.add(vec![
            table::id(&header.key.document_id),
            table::text(if has_tenants { &header.key.tenant } else { "" }),
            table::text(source.map_or("", |source| &source.filename)),
            table::text(source.map_or("", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.chunk_count)),
            table::status(header.status()),
            table::text(time::shown(header.at())),
            table::text(table::why(header)),
        ]);
    }
    rows
}

/// The command that goes on.
fn next(args: &Args, listing: &Listing) -> String {
    let mut command = "deckle list".to_owned();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.push_str(&format!(" --{name} {value}"));
        }
    };
    // As a time and not as the span it may have been: the listing goes on over the same documents.
    let exactly = |us: i64| jiff::Timestamp::from_microsecond(us).ok().map(|time| time.to_string());
    add("tenant", args.tenant.clone());
    add("status", args.status.map(|status| status.as_str().to_owned()));
    add("since", args.since.and_then(exactly));
    add("until", args.until.and_then(exactly));
    if args.newest {
        command.push_str(" --newest");
    }
    format!("{command} --limit {} --after {}", args.limit, listing.next.as_deref().unwrap_or_default())
}
