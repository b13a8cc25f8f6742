//! Tables that people read.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::{record::Status, store::Header};

/// An empty table with a header row.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|name| Cell::new(name).add_attribute(comfy_table::Attribute::Bold)));
    table
}

/// A cell with a number, or a dash.
pub fn number(value: Option<impl ToString>) -> Cell {
    Cell::new(value.map_or_else(|| "–".to_owned(), |value| value.to_string())).set_alignment(CellAlignment::Right)
}

/// A status in its colour.
pub fn status(status: Status) -> Cell {
    let color = match status {
        Status::Published | Status::Unchanged => Color::Green,
        Status::Partial | Status::Superseded => Color::Yellow,
        Status::Failed | Status::Erased => Color::Red,
        Status::Queued | Status::Processing => Color::Cyan,
    };
    Cell::new(status.as_str()).fg(color)
}

/// One line on why a document is not whole; empty when it is.
pub fn why(header: &Header) -> String {
    let reasons = header.reasons();
    match reasons {
        [] => String::new(),
        [only] => one_line(only),
        [first, rest @ ..] => format!("{} (and {} more)", one_line(first), rest.len()),
    }
}

fn one_line(reason: &crate::error::Reason) -> String {
    let page = reason.page_no.map(|page_no| format!("page {page_no}: ")).unwrap_or_default();
    format!("{page}{} [{}]", reason.message, reason.code)
}

/// `1.2 s`, `3 min 20 s`.
pub fn seconds(us: i64) -> String {
    let seconds = us as f64 / 1e6;
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:.0} s", (seconds / 60.0) as i64, seconds % 60.0)
    }
}

/// `pdf`, `png`: the short name of a media type.
pub fn kind(media_type: &str) -> &str {
    match media_type {
        "application/pdf" => "pdf",
        "text/plain" => "text",
        "text/markdown" => "markdown",
        other => other.rsplit('/').next().unwrap_or(other),
    }
}
