//! What is told of documents when they all ended.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{Row, name};
use crate::{
    cli::{
        inputs::Refusal,
        print, show,
        table::{self, Fit},
    },
    contract::record::Status,
    store::Header,
};

/// Rows of the final table; documents that are not whole come on top of that.
const ROWS: usize = 40;

/// It all for programs. Names that are not UTF-8 have U+FFFD in them.
pub(super) fn for_programs(rows: &[Row], headers: &[Header], refusals: &[Refusal]) -> serde_json::Value {
    let documents = rows.iter().zip(headers).map(|(row, header)| {
        let mut value = show::summary(header);
        value["path"] = serde_json::json!(row.submission.input.path.to_string_lossy());
        value["outcome"] = serde_json::json!(outcome(row, header));
        value
    });
    let documents = documents.chain(refusals.iter().map(Refusal::for_programs));
    serde_json::json!({ "documents": documents.collect::<Vec<_>>() })
}

/// The table: every document that is not whole, and others while there is room.
pub(super) fn table(rows: &[Row], headers: &[Header], refusals: &[Refusal]) -> anyhow::Result<()> {
    let mut lines = table::Rows::new(&[
        ("document", Fit::Wrap),
        ("type", Fit::Drop(2)),
        ("pages", Fit::Drop(1)),
        ("blocks", Fit::Drop(6)),
        ("chunks", Fit::Drop(5)),
        ("confidence", Fit::Drop(4)),
        ("time", Fit::Drop(3)),
        ("status", Fit::Keep),
        ("why", Fit::Wrap),
    ]);
    let mut room = ROWS;
    let mut left_out = 0_u64;
    for (row, header) in rows.iter().zip(headers) {
        let outcome = outcome(row, header);
        if matches!(outcome, Status::Published | Status::Unchanged) {
            if room == 0 {
                left_out += 1;
                continue;
            }
            room -= 1;
        }
        // What an earlier run found says nothing about a file that failed now.
        let current = header.current.as_ref().filter(|_| outcome != Status::Failed);
        let spent =
            current.filter(|_| outcome != Status::Unchanged).map(|it| it.trail.iter().map(|entry| entry.cpu_us));
        let source = header.source().filter(|source| !source.media_type.is_empty());
        lines.add(vec![
            table::text(name(row)),
            table::text(source.map_or("–", |source| table::kind(&source.media_type))),
            table::number(current.map(|current| current.page_count).filter(|pages| *pages > 0)),
            table::number(current.map(|current| current.block_count)),
            table::number(current.map(|current| current.chunk_count)),
            table::number(current.and_then(|current| current.confidence).map(|it| format!("{:.2}", it.mean))),
            table::number(spent.map(|us| table::duration(us.sum()))),
            table::status(outcome),
            table::text(table::why(header)),
        ]);
    }
    for refusal in refusals {
        lines.add(vec![
            table::text(refusal.input.relative.display()),
            table::text("–"),
            table::number(None::<u64>),
            table::number(None::<u64>),
            table::number(None::<u64>),
            table::number(None::<u64>),
            table::number(None::<u64>),
            table::status(Status::Failed),
            table::text(refusal.why()),
        ]);
    }
    print(lines)?;
    if left_out > 0 {
        let others = table::count(left_out, "other document");
        print(format_args!("… and {others}, all of them whole; `deckle list` or --json shows them"))?;
    }
    Ok(())
}

/// The last line: how many ended how, how long it took, and where the exports are.
pub(super) fn summarise(
    rows: &[Row],
    headers: &[Header],
    refusals: &[Refusal],
    took: Duration,
    exports: &str,
) -> anyhow::Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, header) in rows.iter().zip(headers) {
        *counts.entry(outcome(row, header).as_str()).or_default() += 1;
    }
    if !refusals.is_empty() {
        *counts.entry(Status::Failed.as_str()).or_default() += refusals.len();
    }
    let counts: Vec<_> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let took = table::duration(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
    print(format_args!("{} in {took}{exports}", counts.join(", ")))
}

/// The status to show to a person: a document that failed before is failed, not unchanged.
pub(super) fn outcome(row: &Row, header: &Header) -> Status {
    match row.status {
        Some(Status::Unchanged) if header.status() != Status::Published => header.status(),
        Some(status) => status,
        None => header.status(),
    }
}

/// Where the exports are, for the last line.
pub(super) fn exported(folder: &Path, not_written: u64) -> String {
    let lacking = if not_written > 0 { format!(", {not_written} not written") } else { String::new() };
    format!("; exports in {}{lacking}", folder.display())
}
