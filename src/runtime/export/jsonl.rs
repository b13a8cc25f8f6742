//! JSON Lines: an object for each row, under the names of the columns.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap},
};

use super::{
    Form, Target,
    columns::{Cell, Column},
};

/// Bytes written at once.
const BUFFER: usize = 1 << 16;

/// Writes each row as one line of JSON.
pub(super) struct JsonLines {
    to: BufWriter<Target>,
    columns: &'static [Column],
}

impl JsonLines {
    /// Begins a file.
    pub(super) fn new(to: Target, columns: &'static [Column]) -> Self {
        Self { to: BufWriter::with_capacity(BUFFER, to), columns }
    }
}

impl Form for JsonLines {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, &Row { columns: self.columns, cells })?;
        self.to.write_all(b"\n")
    }

    fn finish(self: Box<Self>) -> io::Result<Target> {
        self.to.into_inner().map_err(|error| error.into_error())
    }
}

struct Row<'a> {
    columns: &'a [Column],
    cells: &'a [Cell<'a>],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.cells.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            object.serialize_entry(column.name, cell)?;
        }
        object.end()
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => text.serialize(serializer),
            Self::Int(number) => number.serialize(serializer),
            Self::Long(number) => number.serialize(serializer),
            Self::Float(number) => number.serialize(serializer),
            Self::Time(us) => Timestamp::from_microsecond(*us).map_err(S::Error::custom)?.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Floats(numbers) => numbers.serialize(serializer),
            Self::Pairs(pairs) => pairs.serialize(serializer),
            Self::Places(places) => places.serialize(serializer),
            Self::Reasons(reasons) => reasons.serialize(serializer),
        }
    }
}
