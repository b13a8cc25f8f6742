//! Parquet, by the arrow and parquet crates: zstd, row groups of bounded size.
//!
//! The law: what is held is one batch of rows and one row group, however long the export is.

use std::{io, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{
        ArrayBuilder, BooleanBuilder, Float32Builder, Int32Builder, Int64Builder, ListBuilder, MapBuilder,
        MapFieldNames, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
    },
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

use super::{
    Form, Target,
    columns::{Cell, Column, Kind},
};
use deckle_contract::{document::Locator, error::Reason};

/// Bytes of a row group as it is encoded: large enough for scans, small enough to be held.
const GROUP_BYTES: usize = 16 << 20;
/// Rows that are turned into columns at once, at most.
const BATCH_ROWS: usize = 1_024;
/// Bytes of the same, at most, but for a row that alone is larger.
const BATCH_BYTES: usize = 4 << 20;

/// Collects rows in Arrow builders and writes them as row groups of a Parquet file.
pub(super) struct Parquet {
    writer: ArrowWriter<Target>,
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

impl Parquet {
    /// Begins a file.
    pub(super) fn new(to: Target, columns: &[Column]) -> io::Result<Self> {
        let mut builders: Vec<_> = columns.iter().map(|column| Builder::new(column.kind)).collect();
        let fields = columns
            .iter()
            .zip(&mut builders)
            .map(|(column, builder)| Field::new(column.name, builder.finish().data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_created_by(concat!("deckle ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            // Floats of vectors never repeat.
            .set_column_dictionary_enabled(
                ColumnPath::from(vec!["vector".into(), "list".into(), ELEMENT.into()]),
                false,
            )
            .build();
        let writer = ArrowWriter::try_new(to, Arc::clone(&schema), Some(properties)).map_err(broken)?;
        Ok(Self { writer, schema, builders, rows: 0, bytes: 0 })
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(ill_formed)?;
        (self.rows, self.bytes) = (0, 0);
        self.writer.write(&batch).map_err(broken)
    }
}

impl Form for Parquet {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.push(cell)?;
            self.bytes += cell.bytes();
        }
        self.rows += 1;
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.write_batch() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<Target> {
        self.write_batch()?;
        self.writer.into_inner().map_err(broken)
    }
}

/// What a writer says, as what the file below it said where that is the cause.
fn broken(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

fn ill_formed(error: ArrowError) -> io::Error {
    io::Error::other(error)
}

/// What the standard calls the elements of a list.
const ELEMENT: &str = "element";

/// Cells of a column that is being filled.
enum Builder {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Time(TimestampMicrosecondBuilder),
    Texts(ListBuilder<StringBuilder>),
    Floats(ListBuilder<Float32Builder>),
    Pairs(MapBuilder<StringBuilder, StringBuilder>),
    Places(ListBuilder<StructBuilder>),
    Reasons(ListBuilder<StructBuilder>),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Float => Self::Float(Float32Builder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Texts => Self::Texts(list(StringBuilder::new(), DataType::Utf8)),
            Kind::Floats => Self::Floats(list(Float32Builder::new(), DataType::Float32)),
            Kind::Pairs => {
                let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
                Self::Pairs(MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()))
            }
            Kind::Places => {
                Self::Places(list(StructBuilder::from_fields(place_fields(), 0), DataType::Struct(place_fields())))
            }
            Kind::Reasons => {
                Self::Reasons(list(StructBuilder::from_fields(reason_fields(), 0), DataType::Struct(reason_fields())))
            }
        }
    }

    fn push(&mut self, cell: &Cell<'_>) -> io::Result<()> {
        match (self, cell) {
            (Self::Text(to), Cell::Text(text)) => to.append_value(text),
            (Self::Text(to), Cell::Null) => to.append_null(),
            (Self::Int(to), Cell::Int(number)) => to.append_value(int(*number)),
            (Self::Int(to), Cell::Null) => to.append_null(),
            (Self::Long(to), Cell::Long(number)) => to.append_value(*number),
            (Self::Long(to), Cell::Null) => to.append_null(),
            (Self::Float(to), Cell::Float(number)) => to.append_value(*number),
            (Self::Float(to), Cell::Null) => to.append_null(),
            (Self::Time(to), Cell::Time(us)) => to.append_value(*us),
            (Self::Time(to), Cell::Null) => to.append_null(),
            (Self::Texts(to), Cell::Texts(texts)) => to.append_value(texts.iter().map(Some)),
            (Self::Texts(to), Cell::Null) => to.append_null(),
            (Self::Floats(to), Cell::Floats(numbers)) => {
                to.values().append_slice(numbers);
                to.append(true);
            }
            (Self::Floats(to), Cell::Null) => to.append_null(),
            (Self::Pairs(to), Cell::Pairs(pairs)) => {
                for (name, value) in *pairs {
                    to.keys().append_value(name);
                    to.values().append_value(value);
                }
                to.append(true).map_err(ill_formed)?;
            }
            (Self::Pairs(to), Cell::Null) => to.append(false).map_err(ill_formed)?,
            (Self::Places(to), Cell::Places(places)) => {
                places.iter().for_each(|place| push_place(to.values(), place));
                to.append(true);
            }
            (Self::Places(to), Cell::Null) => to.append_null(),
            (Self::Reasons(to), Cell::Reasons(reasons)) => {
                reasons.iter().for_each(|reason| push_reason(to.values(), reason));
                to.append(true);
            }
            (Self::Reasons(to), Cell::Null) => to.append_null(),
            (_, cell) => return Err(io::Error::other(format!("{cell:?} stands in a column of another type"))),
        }
        Ok(())
    }

    /// The column so far; begins a new one.
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Texts(builder) => Arc::new(builder.finish()),
            Self::Floats(builder) => Arc::new(builder.finish()),
            Self::Pairs(builder) => Arc::new(builder.finish()),
            Self::Places(builder) | Self::Reasons(builder) => Arc::new(builder.finish()),
        }
    }
}

fn list<B: ArrayBuilder>(of: B, element: DataType) -> ListBuilder<B> {
    ListBuilder::new(of).with_field(Field::new(ELEMENT, element, false))
}

/// Counts of pages, blocks and chunks are far below.
fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The fields of [`Locator`], under its names.
fn place_fields() -> Fields {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Fields::from(vec![
        field("page_no", DataType::Int32),
        field("bbox", DataType::Struct(bbox_fields())),
        field("start_ms", DataType::Int64),
        field("end_ms", DataType::Int64),
        field("sheet", DataType::Utf8),
        field("cell_range", DataType::Utf8),
    ])
}

fn bbox_fields() -> Fields {
    ["left", "top", "right", "bottom"].into_iter().map(|name| Field::new(name, DataType::Float32, true)).collect()
}

fn push_place(to: &mut StructBuilder, place: &Locator) {
    field::<Int32Builder>(to, 0).append_option(place.page_no.map(int));
    let bbox = field::<StructBuilder>(to, 1);
    let sides = place.bbox.map(|it| [it.left, it.top, it.right, it.bottom]);
    for side in 0..4 {
        field::<Float32Builder>(bbox, side).append_option(sides.map(|sides| sides[side]));
    }
    bbox.append(sides.is_some());
    field::<Int64Builder>(to, 2).append_option(place.start_ms);
    field::<Int64Builder>(to, 3).append_option(place.end_ms);
    field::<StringBuilder>(to, 4).append_option(place.sheet.as_ref());
    field::<StringBuilder>(to, 5).append_option(place.cell_range.as_ref());
    to.append(true);
}

/// The fields of [`Reason`], under its names.
fn reason_fields() -> Fields {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Fields::from(vec![
        field("code", DataType::Utf8),
        field("message", DataType::Utf8),
        field("stage", DataType::Utf8),
        field("page_no", DataType::Int32),
        field("retryable", DataType::Boolean),
    ])
}

fn push_reason(to: &mut StructBuilder, reason: &Reason) {
    for (at, text) in [&reason.code, &reason.message, &reason.stage].into_iter().enumerate() {
        field::<StringBuilder>(to, at).append_value(text);
    }
    field::<Int32Builder>(to, 3).append_option(reason.page_no.map(int));
    field::<BooleanBuilder>(to, 4).append_value(reason.retryable);
    to.append(true);
}

/// A field of a struct by its place.
#[expect(clippy::expect_used, reason = "a test fills every column")]
fn field<B: ArrayBuilder>(of: &mut StructBuilder, at: usize) -> &mut B {
    of.field_builder(at).expect("places and types are those of the fields above, and a test fills all of them")
}
