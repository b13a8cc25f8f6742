//! `deckle dead-letters list` and `show`.

use serde_json::{Value, json};

use super::{
    super::{
        Outcome, print, print_json,
        table::{self, Fit},
        time,
    },
    Filters, find, report_waiting, waiting,
};
use crate::{
    app::App,
    contract::record::wire,
    store::{DeadLetterState, ListedDeadLetter, StateName},
};

/// List those that nobody has seen to, or those in another state.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    /// Only in this state; without it those that are open, or claimed by a redrive that did not end.
    #[arg(long, value_parser = ["open", "redriving", "redriven", "dropped", "all"])]
    state: Option<String>,
    /// Rows at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Go on after the token that the previous listing ended with.
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
}

/// Show everything about one.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Its id, or the start of it.
    id: String,
}

pub(super) async fn list(app: &App, json: bool, args: ListArgs) -> anyhow::Result<Outcome> {
    let states: Vec<StateName> = match args.state.as_deref() {
        None => vec![StateName::Open, StateName::Redriving],
        Some("all") => StateName::ALL.to_vec(),
        Some(name) => StateName::ALL.into_iter().filter(|state| state.as_str() == name).collect(),
    };
    let mut filter = args.filters.in_states(&states);
    (filter.limit, filter.after) = (args.limit, args.after);
    let listing = app.store.dead_letters(&filter).await?;
    if json {
        let letters: Vec<_> = listing.letters.iter().map(for_programs).collect();
        print_json(&json!({ "dead_letters": letters, "next": listing.next, "waiting": waiting(app).await? }))?;
        return Ok(Outcome::Done);
    }
    if listing.letters.is_empty() {
        print(match (&args.state, args.filters == Filters::default()) {
            (None, true) => "no dead letters",
            _ => "no such dead letters",
        })?;
    } else {
        print(rows(&listing.letters))?;
    }
    if let Some(next) = &listing.next {
        print(format_args!("more: the same command with --after {next}"))?;
    }
    report_waiting(app).await?;
    Ok(Outcome::Done)
}

/// The table of some letters.
pub(super) fn rows(letters: &[ListedDeadLetter]) -> table::Rows {
    let mut rows = table::Rows::new(&[
        ("id", Fit::Keep),
        ("state", Fit::Keep),
        ("failed", Fit::Drop(4)),
        ("stage", Fit::Drop(2)),
        ("kind", Fit::Drop(3)),
        ("document", Fit::Keep),
        ("page", Fit::Keep),
        ("code", Fit::Drop(1)),
        ("what was wrong", Fit::Wrap),
    ]);
    for ListedDeadLetter { letter, state } in letters {
        let state = Some(state.name()).filter(|state| *state != StateName::Open);
        rows.add(vec![
            table::id(&letter.key.letter_id),
            table::text(state.map_or("", StateName::as_str)),
            table::text(time::shown(letter.failed_at)),
            table::text(&letter.stage),
            table::text(&letter.kind),
            table::id(&letter.document_id),
            table::number(letter.page_no),
            table::text(&letter.reason.code),
            table::text(&letter.reason.message),
        ]);
    }
    rows
}

pub(super) async fn show(app: &App, json: bool, args: &ShowArgs) -> anyhow::Result<Outcome> {
    let row = find(app, &args.id).await?;
    let letter = &row.letter;
    let record = app.store.failed_record(&letter.key).await?;
    let (headers, bytes) = record.map(|record| (record.headers, record.value)).unwrap_or_default();
    let decoded = wire::decode_to_json(&letter.topic, &bytes);
    if json {
        let mut value = for_programs(&row);
        value["headers"] = json!(headers);
        value["record"] = json!(decoded.ok());
        print_json(&value)?;
        return Ok(Outcome::Done);
    }
    let reason = &letter.reason;
    let attempts = table::count(letter.attempts, "attempt");
    let page = letter.page_no.map(|page_no| format!(", page {page_no}")).unwrap_or_default();
    let retryable = if reason.retryable { "yes" } else { "no: the same bytes fail the same way" };
    print(format_args!("id          {}", letter.key.letter_id))?;
    print(format_args!("state       {}", state(row.state)))?;
    print(format_args!("document    {} (run {}, version {})", letter.document_id, letter.run, letter.version))?;
    print(format_args!("stage       {}{page}, after {attempts}", letter.stage))?;
    print(format_args!("because     {} [{}, {}]", reason.message, reason.code, letter.kind))?;
    print(format_args!("retryable   {retryable}"))?;
    print(format_args!("record      {}[{}] offset {}", letter.topic, letter.partition, letter.offset))?;
    for (name, at) in [("appended", letter.appended_at), ("failed", letter.failed_at)] {
        print(format_args!("{name:<11} {}", timestamp(at).map(|time| time.to_string()).unwrap_or_default()))?;
    }
    for (name, value) in &headers {
        print(format_args!("header      {name}: {value}"))?;
    }
    match decoded {
        Ok(value) => print_json(&value)?,
        Err(error) => print(format_args!("bytes       {} (not decodable: {error})", bytes.len()))?,
    }
    Ok(Outcome::Done)
}

/// A state as people read it.
pub(super) fn state(state: DeadLetterState) -> String {
    let at = time::shown;
    match state {
        DeadLetterState::Open => "open".to_owned(),
        DeadLetterState::Redriving { version, until } => {
            format!("claimed until {} by a redrive as version {version}", at(until))
        }
        DeadLetterState::Redriven { version, at: then } => format!("redriven at {} as version {version}", at(then)),
        DeadLetterState::Dropped { at: then } => format!("dropped at {}", at(then)),
    }
}

fn timestamp(us: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(us).ok()
}

/// A letter without its bytes, which may hold a password.
pub(super) fn for_programs(row: &ListedDeadLetter) -> Value {
    let letter = &row.letter;
    let (redriven_version, state_at) = match row.state {
        DeadLetterState::Open => (None, None),
        DeadLetterState::Redriving { version, until } => (Some(version), Some(until)),
        DeadLetterState::Redriven { version, at } => (Some(version), Some(at)),
        DeadLetterState::Dropped { at } => (None, Some(at)),
    };
    json!({
        "id": letter.key.letter_id,
        "tenant": letter.key.tenant,
        "state": row.state.name(),
        "state_at": state_at.and_then(timestamp),
        "redriven_version": redriven_version,
        "document_id": letter.document_id,
        "run": letter.run,
        "version": letter.version,
        "stage": letter.stage,
        "kind": letter.kind,
        "page_no": letter.page_no,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "appended_at": timestamp(letter.appended_at),
        "failed_at": timestamp(letter.failed_at),
    })
}
