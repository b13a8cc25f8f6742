//! `deckle topics read`: the records of a topic, decoded.
//!
//! The law: no record stops the reading. One that cannot be decoded is shown with the reason and its size, never with
//! its bytes, which may hold a password.

use serde_json::{Value, json};

use crate::{
    cli::{
        Context, Outcome, print, print_json_line,
        table::{self, Fit},
    },
    contract::{
        error::Result,
        record::{topics, wire},
    },
    log::{self, Record, Tail, Topic},
};

/// Rows of a table when no limit is given; JSON and --follow have none.
const TABLE_ROWS: usize = 100;

/// Show the records of a topic, decoded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle topics read documents.published
  deckle topics read pages.read --document 3f2a --partition 2
  deckle topics read dead-letters --json | jq .value.reason
  deckle topics read documents.published --from end --follow")]
pub(super) struct Args {
    /// The topic, by deckle's own name for it.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(topics::all().iter().map(|topic| topic.name.as_str())))]
    name: String,
    /// The oldest record kept, or those that come from now on (which --follow waits for).
    #[arg(long, value_enum, default_value_t = From::Start)]
    from: From,
    /// Wait for further records until interrupted, or until --limit is reached.
    #[arg(long)]
    follow: bool,
    /// Records at most; without it a table has 100, JSON and --follow go on.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only this partition, counted from 0.
    #[arg(long, value_name = "P")]
    partition: Option<i32>,
    /// Only this document, by its id or the start of it.
    #[arg(long, value_name = "ID")]
    document: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    Start,
    End,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let from = match args.from {
        From::Start => log::From::Start,
        From::End => log::From::End,
    };
    let mut tail = app.log.tail(&[Topic::from(args.name.as_str())], from).await?;
    let is_table = !json && !args.follow;
    let limit = args.limit.unwrap_or(if is_table { TABLE_ROWS } else { usize::MAX });
    // One more than a table shows, to know whether there is more.
    let mut left = limit.saturating_add(is_table.into());
    let mut shown = Vec::new();
    while left > 0 {
        let records = next(tail.as_mut(), args.follow).await?;
        if records.is_empty() {
            break;
        }
        let decoded = records.into_iter().map(|record| (wire::decode_to_json(&args.name, &record.value), record));
        for (value, record) in decoded.filter(|(value, record)| args.takes(record, value)).take(left) {
            left -= 1;
            if json {
                print_json_line(&for_programs(&record, value))?;
            } else if args.follow {
                print(line(&record, &value))?;
            } else {
                shown.push((record, value));
            }
        }
    }
    if is_table {
        print_table(&shown[..shown.len().min(limit)])?;
        if shown.len() > limit {
            print("there are more: --limit takes a larger number, --json has no limit")?;
        }
    }
    Ok(Outcome::Done)
}

impl Args {
    fn takes(&self, record: &Record, value: &Result<Value>) -> bool {
        self.partition.is_none_or(|number| number == record.partition.number)
            && self.document.as_deref().is_none_or(|start| document_id(record, value).starts_with(start))
    }
}

/// What is there, or, when following, what comes.
async fn next(tail: &mut dyn Tail, follow: bool) -> Result<Vec<Record>> {
    if follow { tail.next().await } else { tail.ready().await }
}

/// One line of JSON.
fn for_programs(record: &Record, value: Result<Value>) -> Value {
    let mut json = json!({
        "topic": record.partition.topic.as_ref(),
        "partition": record.partition.number,
        "offset": record.offset,
        "appended_at": appended_at(record),
        "key": record.key,
        "headers": record.headers,
    });
    match value {
        Ok(value) => json["value"] = value,
        Err(failure) => {
            json["error"] = failure.to_string().into();
            json["size_bytes"] = record.value.len().into();
        }
    }
    json
}

/// One line for people who watch.
fn line(record: &Record, value: &Result<Value>) -> String {
    let at = format!("{}@{}", record.partition, record.offset);
    let words = [appended_at(record), at, document(record, value), page(record), what(record, value)];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

fn print_table(shown: &[(Record, Result<Value>)]) -> anyhow::Result<()> {
    if shown.is_empty() {
        return print("no such records");
    }
    let mut rows = table::Rows::new(&[
        ("partition", Fit::Drop(3)),
        ("offset", Fit::Keep),
        ("appended", Fit::Drop(1)),
        ("document", Fit::Keep),
        ("page", Fit::Keep),
        ("bytes", Fit::Drop(2)),
        ("what", Fit::Wrap),
    ]);
    for (record, value) in shown {
        rows.add(vec![
            table::number(Some(record.partition.number)),
            table::number(Some(record.offset)),
            table::text(appended_at(record)),
            table::text(document(record, value)),
            table::text(page(record)),
            table::number(Some(record.value.len())),
            table::text(what(record, value)),
        ]);
    }
    print(rows)
}

/// RFC 3339 with milliseconds: finer parts only keep times of one partition apart.
fn appended_at(record: &Record) -> String {
    let time = jiff::Timestamp::from_microsecond(record.appended_at_us).unwrap_or_default();
    format!("{time:.3}")
}

/// The document, by the headers, which other producers may leave out, or by what the record says.
fn document_id<'a>(record: &'a Record, value: &'a Result<Value>) -> &'a str {
    let header = record.headers.get("document").map(String::as_str);
    let envelope = || value.as_ref().ok()?.pointer("/envelope/document_id")?.as_str();
    header.or_else(envelope).unwrap_or_default()
}

/// Its id, short where it is one of ours.
fn document(record: &Record, value: &Result<Value>) -> String {
    table::id(document_id(record, value)).content()
}

fn page(record: &Record) -> String {
    record.headers.get("page").cloned().unwrap_or_default()
}

/// What a record says, in a few words: how something ended, why, of which file.
fn what(record: &Record, value: &Result<Value>) -> String {
    let value = match value {
        Ok(value) => value,
        Err(failure) => return format!("not decodable, {}: {failure}", table::size(size(record))),
    };
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let file = text("/source/filename").or_else(|| text("/value/source/filename"));
    let reason = text("/reason/message").or_else(|| text("/reasons/0/message"));
    let words = [text("/status"), text("/stage"), file, reason];
    words.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn size(record: &Record) -> i64 {
    i64::try_from(record.value.len()).unwrap_or(i64::MAX)
}
