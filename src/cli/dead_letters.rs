//! `deckle dead-letters`: records that failed for good.

use super::{
    Context, Outcome, print_json, say,
    table::{self, Fit},
};
use crate::{
    app::App,
    log::{self, Topic},
    record::{DeadLetter, Event, wire},
};

/// Look at records that failed for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle dead-letters list
  deckle dead-letters show 3f2a     by the start of its id
  deckle dead-letters list --json | jq -r '.[].reason.message'")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// One line for each.
    List,
    /// Everything about one.
    Show {
        /// Its id, or the start of it.
        id: String,
    },
}

pub async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let letters = letters(&app).await?;
    match args.what {
        What::List if json => print_json(&letters.iter().map(for_programs).collect::<Vec<_>>())?,
        What::List if letters.is_empty() => say("no dead letters")?,
        What::List => list(&letters)?,
        What::Show { id } => show(&letters, &id, json)?,
    }
    Ok(Outcome::Done)
}

async fn letters(app: &App) -> anyhow::Result<Vec<DeadLetter>> {
    let mut tail = app.log.tail(&[Topic::from(DeadLetter::TOPIC)], log::From::Start).await?;
    let mut letters = Vec::new();
    loop {
        let records = tail.ready().await?;
        if records.is_empty() {
            return Ok(letters);
        }
        for record in records {
            match wire::decode::<DeadLetter>(&record.value) {
                Ok(letter) => letters.push(letter),
                Err(failure) => eprintln!("deckle: dead letter at offset {} left out: {failure}", record.offset),
            }
        }
    }
}

fn list(letters: &[DeadLetter]) -> anyhow::Result<()> {
    let mut rows = table::Rows::new(&[
        ("id", Fit::Keep),
        ("stage", Fit::Drop(2)),
        ("kind", Fit::Drop(3)),
        ("document", Fit::Keep),
        ("page", Fit::Keep),
        ("code", Fit::Drop(1)),
        ("what was wrong", Fit::Wrap),
    ]);
    for letter in letters {
        rows.add(vec![
            table::id(&letter.envelope.event_id),
            table::text(&letter.stage),
            table::text(&letter.kind),
            table::id(&letter.envelope.document_id),
            table::number(letter.page_no),
            table::text(&letter.reason.code),
            table::text(&letter.reason.message),
        ]);
    }
    say(rows)
}

fn show(letters: &[DeadLetter], id: &str, json: bool) -> anyhow::Result<()> {
    let mut found = letters.iter().filter(|letter| letter.envelope.event_id.starts_with(id));
    let letter = found.next().ok_or_else(|| anyhow::anyhow!("no dead letter has an id that starts with `{id}`"))?;
    anyhow::ensure!(found.next().is_none(), "several dead letters have ids that start with `{id}`");
    if json {
        return print_json(&for_programs(letter));
    }
    let appended_at = jiff::Timestamp::from_microsecond(letter.appended_at)?;
    let (envelope, reason) = (&letter.envelope, &letter.reason);
    let attempts = table::count(letter.attempts.unsigned_abs(), "attempt");
    let page = letter.page_no.map(|page_no| format!(", page {page_no}")).unwrap_or_default();
    let retryable = if reason.retryable { "yes" } else { "no: the same bytes fail the same way" };
    say(format_args!("id          {}", envelope.event_id))?;
    say(format_args!("document    {} (run {}, version {})", envelope.document_id, envelope.run, envelope.version))?;
    say(format_args!("stage       {}{page}, after {attempts}", letter.stage))?;
    say(format_args!("because     {} [{}, {}]", reason.message, reason.code, letter.kind))?;
    say(format_args!("retryable   {retryable}"))?;
    say(format_args!("record      {}[{}] offset {}", letter.topic, letter.partition, letter.offset))?;
    say(format_args!("appended    {appended_at}"))?;
    for (name, value) in &letter.headers {
        say(format_args!("header      {name}: {value}"))?;
    }
    match wire::decode_to_json(&letter.topic, &letter.value) {
        Ok(value) => say(serde_json::to_string_pretty(&value)?),
        Err(error) => say(format_args!("bytes       {} (not decodable: {error})", letter.value.len())),
    }
}

/// A dead letter without its bytes, which may hold a password.
fn for_programs(letter: &DeadLetter) -> serde_json::Value {
    serde_json::json!({
        "id": letter.envelope.event_id,
        "tenant": letter.envelope.tenant,
        "document_id": letter.envelope.document_id,
        "run": letter.envelope.run,
        "version": letter.envelope.version,
        "stage": letter.stage,
        "kind": letter.kind,
        "page_no": letter.page_no,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "appended_at": jiff::Timestamp::from_microsecond(letter.appended_at).ok(),
        "headers": letter.headers,
        "record": wire::decode_to_json(&letter.topic, &letter.value).ok(),
    })
}
