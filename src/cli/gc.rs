//! `deckle gc`: what does nobody need any more, and away with it.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Outcome, print, print_json,
    progress::counter,
    table::{self, Fit},
    time,
};
use crate::runtime::sweep::{self, Documents, Mode, Removed};

/// Show what nobody needs any more, and remove it.
///
/// `deckle run` does so by itself every ten minutes, for what something happened to since. This command looks at every
/// document. What is younger than `retention.runs_s` stays, and so does all that began before the oldest record that a
/// stage is not past: nothing goes that work on its way, or an upload that waits, may still name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle gc                        what would go?
  deckle gc --apply                away with it
  deckle gc --json | jq .blob_bytes

What goes: rows of runs older than the one that readers see, blobs that nothing names, and dead letters that were
redriven or dropped longer than `retention.dead_letters_s` ago. With --apply also claims of uploads that are 400 days
old and, on SQLite, records of result topics past their retention.")]
pub(super) struct Args {
    /// Remove it; without this nothing changes.
    #[arg(long)]
    apply: bool,
}

/// All that was found.
#[derive(Debug, Default)]
struct Found {
    looked_at: u64,
    removed: Removed,
    dead_letters: u64,
    /// Claims and records of result topics; they are counted as they go.
    past_retention: Option<(u64, u64)>,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let (log, store, retention) = (&*app.log, &*app.store, &app.config.retention);
    let mode = if args.apply { Mode::Apply } else { Mode::DryRun };
    let now = jiff::Timestamp::now().as_microsecond();
    let letters_kept = Duration::from_secs(retention.dead_letters_s);
    let horizon = sweep::horizon(log, now, Duration::from_secs(retention.runs_s)).await?;
    let progress = counter("documents looked at", json);
    let mut found = Found::default();
    Documents::until(horizon, store, &*app.blobs)
        .await?
        .all(mode, &mut |_, removed| {
            found.looked_at += 1;
            found.removed += removed;
            progress.inc(1);
        })
        .await?;
    progress.finish_and_clear();
    found.dead_letters = sweep::dead_letters(store, now, letters_kept, mode).await?.0;
    if args.apply {
        found.past_retention = Some((sweep::claims(store, now).await?, sweep::result_topics(log, now).await?));
    }
    report(json, &found, horizon, args.apply)?;
    Ok(Outcome::Done)
}

fn report(json: bool, found: &Found, horizon: i64, applied: bool) -> anyhow::Result<()> {
    let Found { looked_at, removed: Removed { documents, rows, blobs, bytes }, dead_letters, past_retention } = found;
    let younger = time::shown(horizon);
    if json {
        return print_json(&json!({
            "applied": applied,
            "younger_stays": younger,
            "documents_looked_at": looked_at,
            "documents": documents,
            "rows": rows,
            "blobs": blobs,
            "blob_bytes": bytes,
            "dead_letters": dead_letters,
            "claims": past_retention.map(|(claims, _)| claims),
            "records": past_retention.map(|(_, records)| records),
        }));
    }
    let mut table = table::Rows::new(&[
        ("what", Fit::Keep),
        (if applied { "gone" } else { "would go" }, Fit::Keep),
        ("bytes", Fit::Keep),
    ]);
    let mut row = |what: &str, count: u64, bytes: Option<u64>| {
        let bytes = table::number(bytes.map(|bytes| table::size(i64::try_from(bytes).unwrap_or(i64::MAX))));
        table.add(vec![table::text(what), table::number(Some(count)), bytes]);
    };
    row("rows of older runs", *rows, None);
    row("blobs that nothing names", *blobs, Some(*bytes));
    row("dead letters, redriven or dropped", *dead_letters, None);
    if let Some((claims, records)) = past_retention {
        row("claims of uploads", *claims, None);
        row("records of result topics", *records, None);
    }
    print(table)?;
    let of = format!("of {}; what is younger than {younger} stays", table::count(*looked_at, "document"));
    print(if applied {
        format!("{documents} {of}")
    } else {
        format!("{documents} {of}; nothing was removed: --apply does")
    })
}
