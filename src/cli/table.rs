//! Tables that people read.

use std::borrow::Cow;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets};

use super::visible::visible;
use crate::{contract::record::Status, store::Header};

/// Columns of output that is no terminal: as wide as people read with ease.
const PIPED_WIDTH: u16 = 120;
/// A column that may be broken into lines keeps at least so many characters, so that words stay whole.
const WRAP_WIDTH: usize = 28;

/// What happens to a column where there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Shown, and never broken.
    Keep,
    /// Shown, and broken into lines.
    Wrap,
    /// Left out, the highest number first.
    Drop(u8),
}

/// A table that fits the terminal. Columns without any content are left out.
pub(super) struct Rows {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    /// An empty table.
    pub(super) fn new(columns: &[(&'static str, Fit)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for every column; what a terminal would obey is written out.
    pub(super) fn add(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.into_iter().map(fit).collect());
    }

    /// The table as wide as standard output.
    pub(super) fn drawn(&self) -> String {
        self.draw(width()).to_string()
    }

    /// Draws the table in `width` characters.
    fn draw(&self, width: u16) -> Table {
        let mut shown: Vec<usize> = (0..self.columns.len()).filter(|column| self.content(*column) > 0).collect();
        while self.needs(&shown) > usize::from(width) {
            let Some(least) = self.least(&shown) else { break };
            shown.retain(|column| *column != least);
        }
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        if !colours() {
            table.force_no_tty();
        }
        table.set_header(shown.iter().map(|column| Cell::new(self.columns[*column].0).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            table.add_row(shown.iter().map(|column| row[*column].clone()));
        }
        if self.needs(&shown) <= usize::from(width) {
            for (at, column) in shown.iter().enumerate().filter(|(_, column)| self.columns[**column].1 != Fit::Wrap) {
                let constraint = ColumnConstraint::Absolute(comfy_table::Width::Fixed(
                    u16::try_from(self.wide(*column) + PADDING).unwrap_or(u16::MAX),
                ));
                if let Some(column) = table.column_mut(at) {
                    column.set_constraint(constraint);
                }
            }
        }
        table
    }

    /// The column to leave out next.
    fn least(&self, shown: &[usize]) -> Option<usize> {
        let rank = |column: &usize| match self.columns[*column].1 {
            Fit::Drop(rank) => Some((rank, *column)),
            Fit::Keep | Fit::Wrap => None,
        };
        shown.iter().filter_map(rank).max().map(|(_, column)| column)
    }

    /// The least width of a table of these columns, with a space on each side of a cell and a line between cells.
    fn needs(&self, shown: &[usize]) -> usize {
        let cells = shown.iter().map(|column| match self.columns[*column].1 {
            Fit::Wrap => self.wide(*column).min(WRAP_WIDTH),
            Fit::Keep | Fit::Drop(_) => self.wide(*column),
        });
        cells.map(|width| width + PADDING + 1).sum::<usize>() + 1
    }

    fn wide(&self, column: usize) -> usize {
        self.content(column).max(self.columns[column].0.chars().count())
    }

    fn content(&self, column: usize) -> usize {
        self.rows.iter().map(|row| row[column].content().chars().count()).max().unwrap_or(0)
    }
}

/// A space on each side of a cell.
const PADDING: usize = 2;

/// A cell that a terminal may have. One that it might obey loses its colour.
fn fit(cell: Cell) -> Cell {
    match visible(&cell.content()) {
        Cow::Borrowed(_) => cell,
        Cow::Owned(fit) => Cell::new(fit),
    }
}

/// Characters in a line of standard output.
pub(super) fn width() -> u16 {
    Table::new().width().unwrap_or(PIPED_WIDTH)
}

/// Whether colours are welcome, by <https://no-color.org>; that it is a terminal is seen to elsewhere.
fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A cell with text.
pub(super) fn text(value: impl ToString) -> Cell {
    Cell::new(value)
}

/// A document's id, short where it is one of ours: enough for `deckle show`.
pub(super) fn id(document_id: &str) -> Cell {
    let ours = uuid::Uuid::try_parse(document_id).is_ok();
    Cell::new(if ours { &document_id[..8] } else { document_id })
}

/// A cell with a number, or a dash.
pub(super) fn number(value: Option<impl ToString>) -> Cell {
    Cell::new(value.map_or_else(|| "–".to_owned(), |value| value.to_string())).set_alignment(CellAlignment::Right)
}

/// A status in its colour.
pub(super) fn status(status: Status) -> Cell {
    let color = match status {
        Status::Published | Status::Unchanged => Color::Green,
        Status::Partial | Status::Superseded => Color::Yellow,
        Status::Failed | Status::Erased => Color::Red,
        Status::Queued | Status::Processing => Color::Cyan,
    };
    Cell::new(status.as_str()).fg(color)
}

/// One line on why a document is not whole; empty when it is.
pub(super) fn why(header: &Header) -> String {
    let reasons = header.reasons();
    match reasons {
        [] => String::new(),
        [only] => one_line(only),
        [first, rest @ ..] => format!("{} (and {} more)", one_line(first), rest.len()),
    }
}

/// A reason for people, with its code for programs.
pub(super) fn one_line(reason: &crate::contract::error::Reason) -> String {
    let page = reason.page_no.map(|page_no| format!("page {page_no}: ")).unwrap_or_default();
    format!("{page}{} [{}]", reason.message, reason.code)
}

/// `35 ms`, `1.2 s`, `3 min 20 s`.
pub(super) fn duration(us: i64) -> String {
    const MINUTE: i64 = 60_000_000;
    match us {
        ..1_000_000 => format!("{} ms", (us + 500) / 1_000),
        1_000_000..MINUTE => format!("{:.1} s", us as f64 / 1e6),
        _ => format!("{} min {} s", us / MINUTE, us % MINUTE / 1_000_000),
    }
}

/// `1 page`, `2 pages`.
pub(super) fn count(number: impl Into<u64>, noun: &str) -> String {
    match number.into() {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// `831 bytes`, `20.8 kB`, `1.5 MB`.
pub(super) fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Short names of what deckle reads.
const KINDS: [(&str, &str); 10] = [
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("tiff", "image/tiff"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("heic", "image/heic"),
    ("text", "text/plain"),
    ("markdown", "text/markdown"),
];

/// `pdf`, `png`: the short name of a media type.
pub(super) fn kind(media_type: &str) -> &str {
    let known = KINDS.iter().find(|(_, of)| *of == media_type);
    known.map_or_else(|| media_type.rsplit('/').next().unwrap_or(media_type), |(name, _)| name)
}

/// The media type that a person means: its own name, or the short one of what deckle reads.
pub(super) fn media_type(name: &str) -> Option<String> {
    if name.contains('/') {
        return Some(name.to_owned());
    }
    KINDS.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map(|(_, of)| (*of).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Rows {
        let mut rows = Rows::new(&[
            ("document", Fit::Wrap),
            ("blocks", Fit::Drop(2)),
            ("pages", Fit::Drop(1)),
            ("status", Fit::Keep),
            ("why", Fit::Wrap),
        ]);
        let why = "this is text/html; deckle reads PDF, PNG, JPEG, plain text and Markdown [unsupported_type]";
        rows.add(vec![text("a.pdf"), number(Some(51)), number(Some(4)), text("published"), text("")]);
        rows.add(vec![text("not-a.pdf"), number(None::<u8>), number(None::<u8>), text("failed"), text(why)]);
        rows
    }

    #[test]
    fn a_table_fits_and_leaves_out_what_matters_least() {
        for width in [60, 80, 120] {
            let drawn = sample().draw(width).to_string();
            let widest = drawn.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} > {width}:\n{drawn}");
            assert!(drawn.contains("published") && drawn.contains("why"), "{drawn}");
        }
        let narrow = sample().draw(66).to_string();
        assert!(narrow.contains("pages") && !narrow.contains("blocks"), "{narrow}");
    }

    #[test]
    fn an_empty_column_is_left_out() {
        let mut rows = Rows::new(&[("document", Fit::Wrap), ("why", Fit::Wrap)]);
        rows.add(vec![text("a.pdf"), text("")]);
        assert!(!rows.draw(80).to_string().contains("why"));
    }

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!([duration(34_600), duration(1_240_000), duration(200_000_000)], ["35 ms", "1.2 s", "3 min 20 s"]);
        assert_eq!([size(831), size(20_761), size(1_500_000)], ["831 bytes", "20.8 kB", "1.5 MB"]);
    }
}
