//! `deckle dead-letters`: records that failed for good.

use super::{Context, Outcome, print_json, table};
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
  deckle dead-letters show 3f2a     by the start of its id")]
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
        What::List if letters.is_empty() => println!("no dead letters"),
        What::List => list(&letters),
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
            letters.push(wire::decode::<DeadLetter>(&record.value)?);
        }
    }
}

fn list(letters: &[DeadLetter]) {
    let mut rows = table::table(&["id", "stage", "kind", "document", "page", "code", "what was wrong"]);
    for letter in letters {
        rows.add_row(vec![
            comfy_table::Cell::new(&letter.envelope.event_id[..letter.envelope.event_id.len().min(8)]),
            comfy_table::Cell::new(&letter.stage),
            comfy_table::Cell::new(&letter.kind),
            comfy_table::Cell::new(&letter.envelope.document_id),
            table::number(letter.page_no),
            comfy_table::Cell::new(&letter.reason.code),
            comfy_table::Cell::new(&letter.reason.message),
        ]);
    }
    println!("{rows}");
}

fn show(letters: &[DeadLetter], id: &str, json: bool) -> anyhow::Result<()> {
    let mut found = letters.iter().filter(|letter| letter.envelope.event_id.starts_with(id));
    let letter = found.next().ok_or_else(|| anyhow::anyhow!("no dead letter has an id that starts with `{id}`"))?;
    anyhow::ensure!(found.next().is_none(), "several dead letters have ids that start with `{id}`");
    if json {
        return print_json(&for_programs(letter));
    }
    let appended_at = jiff::Timestamp::from_microsecond(letter.appended_at)?;
    println!("id          {}", letter.envelope.event_id);
    println!(
        "document    {} (run {}, version {})",
        letter.envelope.document_id, letter.envelope.run, letter.envelope.version
    );
    println!("stage       {} after {} attempts", letter.stage, letter.attempts);
    println!("because     {} [{}, {}]", letter.reason.message, letter.reason.code, letter.kind);
    println!("retryable   {}", if letter.reason.retryable { "yes" } else { "no: the same bytes fail the same way" });
    println!("record      {}[{}] offset {}, appended {appended_at}", letter.topic, letter.partition, letter.offset);
    for (name, value) in &letter.headers {
        println!("header      {name}: {value}");
    }
    match wire::decode_to_json(&letter.topic, &letter.value) {
        Ok(value) => println!("{}", serde_json::to_string_pretty(&value)?),
        Err(error) => println!("bytes       {} (not decodable: {error})", letter.value.len()),
    }
    Ok(())
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
