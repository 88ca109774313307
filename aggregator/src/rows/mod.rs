//! Results as text: Arrow batches become the rows of a reply.
//!
//! In: the schema of a result, then its batches. Out: the columns' names and types as the API has them, and bytes: JSON
//! rows (objects or arrays, with commas between them or one a line) or CSV. Owns how each Arrow type looks in a reply.
//! Leaves to the caller what stands around the rows, when bytes are sent, and the warning about floats that JSON cannot
//! hold (see [`RowWriter::non_finite`]).
//!
//! ```text
//! Schema ──try_new──▶ RowWriter ──columns──▶ [(name, type)]
//!                         │
//! RecordBatch ───────────▶├──write_rows──────▶ {"a":1,"b":"x"},{"a":2,"b":null}      encode: a cell of any type
//!                         └──write_csv_rows──▶ 1,x⏎2,⏎                               text: numbers, times, escapes
//! ```
//!
//! | Arrow                         | type        | JSON                                                              |
//! | ----------------------------- | ----------- | ----------------------------------------------------------------- |
//! | any, where null               |             | `null`; left out among the children of an object                  |
//! | integers                      | `int`       | `1`; beyond 2^53 `"9007199254740993"` if wished                   |
//! | floats                        | `float`     | shortest text: `1.0`, `1e16`; NaN, infinities: `null`             |
//! | decimals                      | `decimal`   | `12.5`: all digits, zeros that end the fraction cut off           |
//! | strings                       | `string`    | `"x"`                                                             |
//! | times of day                  | `string`    | `"12:30:00.000001"`                                               |
//! | binaries                      | `bytes`     | base64 with padding                                               |
//! | dates                         | `date`      | `"2024-02-29"`                                                    |
//! | timestamps                    | `timestamp` | `"2024-02-29T12:30:00.000001Z"`: UTC; without a zone taken as UTC |
//! | intervals, durations          | `interval`  | `"P1Y2M3DT4H5M6.5S"`; each part has its own sign: `"P-1DT-2H"`    |
//! | lists                         | `array`     | `[1,null]`                                                        |
//! | floats, `basalt.vector`       | `vector`    | `[0.5,1.0]`                                                       |
//! | struct, map                   | `object`    | `{"a":1}`                                                         |
//! | struct, `basalt.dynamic`      | `dynamic`   | the value of the one child that is not null                       |
//! | any, `basalt.geography`       | `geography` | binary: WKB in hex, upper case; else as it is                     |
//! | dictionary, run-end encoded   |             | as the type of their values                                       |
//!
//! Storage gives a field that a document does not have as a null child. So null children of objects are left out,
//! whereas a row has all its columns, null or not. The entries of a map and the items of an array stay, null or not.
//! Of timestamps and times of day, what is finer than a microsecond is cut off.

mod text;

mod time;

mod column;

mod encode;

mod csv;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use self::column::Column;
use self::encode::Output;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

/// The name of the Arrow extension type of values of any type: a struct with a child for each type seen.
pub const EXTENSION_DYNAMIC: &str = "basalt.dynamic";

/// The name of the Arrow extension type of vectors: lists of floats, all of one length.
pub const EXTENSION_VECTOR: &str = "basalt.vector";

/// The name of the Arrow extension type of shapes on the earth.
pub const EXTENSION_GEOGRAPHY: &str = "basalt.geography";

/// Why a result cannot be written as rows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowsError {
    /// A column is, or has in it, a type that has no form in a reply.
    #[error("column `{column}` holds the type {data_type}, which has no form in a reply")]
    Unsupported {
        /// The name of the column of the result.
        column: String,
        /// The type, be it the column's or one within it.
        data_type: DataType,
    },
    /// A batch has another number of columns than the schema.
    #[error("a batch of {actual} columns in a result of {expected}")]
    ColumnCount {
        /// How many the schema has.
        expected: usize,
        /// How many the batch has.
        actual: usize,
    },
    /// A column of a batch is of another type than the one that the schema tells the client.
    #[error("column `{column}` was announced as {expected} and came as {actual}")]
    ColumnType {
        /// The name of the column of the result.
        column: String,
        /// The type by the schema, in the API's words.
        expected: &'static str,
        /// The type by the batch, in the API's words.
        actual: &'static str,
    },
}

/// What a row is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Objects: `{"a":1,"b":2}`, columns in the order of the result.
    #[default]
    Objects,
    /// Arrays: `[1,2]`.
    Arrays,
}

/// How a client wishes its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonStyle {
    /// What a row is.
    pub shape: Shape,
    /// Integers beyond 2^53, and decimals beyond it that have no fraction, stand in quotes, for readers whose only
    /// number is a double.
    pub big_integers_as_strings: bool,
}

/// What stands between rows of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// A comma before each row but the first, as in an array.
    Comma,
    /// A line feed after each row, as in NDJSON.
    Newline,
}

/// A column of a result, as the client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// The name, in rows that are objects unlike all others.
    pub name: String,
    /// The type, in the API's words; see [`column_type`].
    pub column_type: &'static str,
}

/// Writes the batches of one result as rows of text.
///
/// It may be shared by threads that write one batch each.
#[derive(Debug)]
pub struct RowWriter {
    style: JsonStyle,
    columns: Vec<ResultColumn>,
    /// The extension type of each column, if it has one.
    ///
    /// INVARIANT: as many as columns, as are the prefixes; checked for each batch.
    extensions: Vec<Option<String>>,
    /// What stands in JSON before each value of the column: comma, name and colon.
    prefixes: Vec<Vec<u8>>,
    non_finite: AtomicU64,
}

/// Names the type of a column in the API's words: `null`, `bool`, `int`, `float`, `decimal`, `string`, `bytes`, `date`,
/// `timestamp`, `interval`, `array`, `object`, `dynamic`, `vector` or `geography`.
///
/// A union, which no result may have, is called `dynamic`.
pub fn column_type(field: &Field) -> &'static str {
    type_name(field.data_type(), field.extension_type_name())
}

fn type_name(data_type: &DataType, extension: Option<&str>) -> &'static str {
    match data_type {
        DataType::Dictionary(_, values) => type_name(values, extension),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type(), extension.or(values.extension_type_name())),
        _ if extension == Some(EXTENSION_GEOGRAPHY) => "geography",
        DataType::Null => "null",
        DataType::Boolean => "bool",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "int",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "int",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "decimal"
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Time32(_) | DataType::Time64(_) => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytes",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::FixedSizeList(items, _)
            if extension == Some(EXTENSION_VECTOR) && *items.data_type() == DataType::Float32 =>
        {
            "vector"
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "array",
        DataType::ListView(_) | DataType::LargeListView(_) => "array",
        DataType::Struct(_) if extension == Some(EXTENSION_DYNAMIC) => "dynamic",
        DataType::Struct(_) | DataType::Map(..) => "object",
        DataType::Union(..) => "dynamic",
    }
}

impl RowWriter {
    /// Makes a writer for results of a schema.
    ///
    /// Of columns of one name, in rows that are objects, the first keeps it and the others get `_2`, `_3` and so on
    /// behind it; numbers that would make the name of another column are passed over.
    ///
    /// # Errors
    /// A column is, or has in it, a type that has no form in a reply: [`RowsError::Unsupported`].
    pub fn try_new(schema: &Schema, style: JsonStyle) -> Result<Self, RowsError> {
        for field in schema.fields() {
            check_form(field.name(), field.data_type())?;
        }
        let names: Vec<String> = match style.shape {
            Shape::Objects => distinct_names(schema),
            Shape::Arrays => schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let prefixes = names.iter().enumerate().map(|(index, name)| prefix(index, name, style.shape)).collect();
        let types = schema.fields().iter().map(|field| column_type(field));
        let columns = names.into_iter().zip(types).map(|(name, column_type)| ResultColumn { name, column_type });
        let extension = |field: &Field| field.extension_type_name().map(str::to_owned);
        Ok(Self {
            style,
            columns: columns.collect(),
            extensions: schema.fields().iter().map(|field| extension(field)).collect(),
            prefixes,
            non_finite: AtomicU64::new(0),
        })
    }

    /// The columns of the result, in order, with the names that they have in rows.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// How many floats written so far were NaN or infinite, and so became `null` in JSON and nothing in CSV.
    pub fn non_finite(&self) -> u64 {
        self.non_finite.load(Ordering::Relaxed)
    }

    /// Appends the rows of a batch as JSON.
    ///
    /// `first` tells whether no row of the result was written before, and is kept up to date.
    ///
    /// # Errors
    /// The batch is not of the schema: nothing was appended then.
    pub fn write_rows(
        &self,
        batch: &RecordBatch,
        separator: Separator,
        first: &mut bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowsError> {
        let columns = self.open(batch)?;
        let (start, end) = match self.style.shape {
            Shape::Objects => (b'{', b'}'),
            Shape::Arrays => (b'[', b']'),
        };
        let mut output = self.output(out);
        for row in 0..batch.num_rows() {
            if separator == Separator::Comma && !*first {
                output.bytes.push(b',');
            }
            *first = false;
            output.bytes.push(start);
            for (column, prefix) in columns.iter().zip(&self.prefixes) {
                output.bytes.extend_from_slice(prefix);
                column.write(row, &mut output);
            }
            output.bytes.push(end);
            if separator == Separator::Newline {
                output.bytes.push(b'\n');
            }
        }
        self.count(&output);
        Ok(())
    }

    fn output<'a>(&self, bytes: &'a mut Vec<u8>) -> Output<'a> {
        Output { bytes, big_integers_as_strings: self.style.big_integers_as_strings, non_finite: 0 }
    }

    fn count(&self, output: &Output<'_>) {
        if output.non_finite > 0 {
            self.non_finite.fetch_add(output.non_finite, Ordering::Relaxed);
        }
    }

    /// The columns of a batch, ready to be read, after a check that they are what was announced.
    fn open<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<Column<'a>>, RowsError> {
        if batch.num_columns() != self.columns.len() {
            return Err(RowsError::ColumnCount { expected: self.columns.len(), actual: batch.num_columns() });
        }
        assert!(self.extensions.len() == self.columns.len() && self.prefixes.len() == self.columns.len());
        let described = self.columns.iter().zip(&self.extensions);
        let open = |((column, extension), array): ((&ResultColumn, &Option<String>), &'a dyn Array)| {
            let (name, expected) = (&column.name, column.column_type);
            let actual = type_name(array.data_type(), extension.as_deref());
            if actual != expected {
                return Err(RowsError::ColumnType { column: name.clone(), expected, actual });
            }
            // Of one name in the API's words, it may still not be the type that the schema has.
            check_form(name, array.data_type())?;
            Ok(Column::new(array, extension.as_deref()))
        };
        described.zip(batch.columns().iter().map(AsRef::as_ref)).map(open).collect()
    }
}

fn check_form(name: &str, data_type: &DataType) -> Result<(), RowsError> {
    let unsupported = |found: &DataType| RowsError::Unsupported { column: name.to_owned(), data_type: found.clone() };
    column::without_form(data_type).map_or(Ok(()), |found| Err(unsupported(found)))
}

fn prefix(index: usize, name: &str, shape: Shape) -> Vec<u8> {
    let mut out = if index > 0 { b",".to_vec() } else { Vec::new() };
    if shape == Shape::Objects {
        text::write_string(name, &mut out);
        out.push(b':');
    }
    out
}

/// The names of the columns, each made unlike all others: `a, a, b, a_2` become `a, a_3, b, a_2`.
fn distinct_names(schema: &Schema) -> Vec<String> {
    let given: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut taken: HashSet<String> = given.iter().map(|name| name.to_string()).collect();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut names = Vec::with_capacity(given.len());
    for name in given {
        let number = numbers.entry(name).or_insert(0);
        *number += 1;
        if *number == 1 {
            names.push(name.to_owned());
            continue;
        }
        while !taken.insert(format!("{name}_{number}")) {
            *number += 1;
        }
        names.push(format!("{name}_{number}"));
    }
    names
}
