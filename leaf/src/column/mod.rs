//! One typed column of a file segment: encoded once, then read in place from a memory map.
//!
//! In: an Arrow array of a storage type, whole. Out: bytes; of these, Arrow arrays of chosen rows, bits of rows that match
//! a predicate, and aggregates, without decoding more than was asked for. It owns the format and the choice of encodings.
//! Where the bytes lie, their checksums and what the field is called are left to the container.
//!
//! ```text
//! rows      0 ────────────── 65,535   65,536 ────────────── 131,071   …          blocks, each with encodings of its own
//! presence  all rows: nothing         rows 65,540 and 70,001                     which rows have a value
//! slots     0 1 2 … 65,535            0 1                                        values, those present only
//! ```
//!
//! Everything that decodes values counts in *slots*; only `presence` knows rows.

/// Counts, sums, least and greatest, on encoded blocks.
mod aggregate;
/// The sorted distinct strings of a column.
mod dictionary;
/// What is where in a column, and statistics.
mod directory;
/// Array in, bytes out; the format.
mod encode;
/// Floats as scaled integers where that is exact, and their order.
mod floats;
/// Integers as offsets from the least, read one by one.
mod integers;
/// Which rows of a block have a value.
mod presence;
/// Bytes in, arrays and values out.
mod read;
/// The same of strings.
mod read_strings;
/// Predicate in, bits out.
mod select;
/// Byte strings as they are, or compressed by a symbol table.
mod strings;
/// The short strings of a small dictionary, ready to be appended.
mod table;
/// Chosen rows in, arrays out.
mod take;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use thiserror::Error;

use basalt_common::binary::BinaryError;

pub use directory::Statistics;
pub use encode::{BLOCK_BITS, encode, encode_in_blocks};
pub use floats::order as order_of_float;
pub use read::Column;
pub use select::Predicate;

/// A column that cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColumnError {
    /// Arrays of this type are no columns.
    #[error("a column cannot be of type {0}")]
    Type(DataType),
    /// The column is of another type than the one asked for, or than a predicate's value.
    #[error("a column of type {column} was taken for one of {expected}")]
    OtherType {
        /// What it is.
        column: DataType,
        /// What was expected.
        expected: String,
    },
    /// A later program wrote this.
    #[error("{part} {code} is not known to this program")]
    Unknown {
        /// What is not known: a version, a storage type, a form of presence or an encoding.
        part: &'static str,
        /// Its number.
        code: u8,
    },
    /// An index of texts cannot be made or read.
    #[error("an index of texts is damaged: {0}")]
    Text(String),
    /// The directory is not what a directory is.
    #[error("the directory of a column is damaged: {0}")]
    Directory(#[from] BinaryError),
    /// The bytes are not what a column is.
    #[error("a column is damaged: {0}")]
    Damaged(&'static str),
    /// Rows were asked for that are not there.
    #[error("row {row} was asked of a column of {rows}")]
    Row {
        /// The first row behind those asked for.
        row: u64,
        /// How many there are.
        rows: u64,
    },
    /// The checksum of a column, or of what belongs to it, is another.
    #[error("object {object} is damaged in its {part} at byte {offset}: its checksum is another")]
    Checksum {
        /// The object's name.
        object: Arc<str>,
        /// The part of it.
        part: &'static str,
        /// Where in the object.
        offset: u64,
    },
    /// Its object is not in the store.
    #[error("object {0} is missing")]
    Missing(String),
    /// The store cannot be read now.
    #[error("{0}")]
    Unavailable(String),
    /// The strings asked for are more than the offsets of one Arrow array can address.
    #[error("{0} bytes of strings do not fit one array")]
    TooLong(usize),
}

impl ColumnError {
    /// What a segment is or does of which a column has this error.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "cannot be read",
            _ => "is damaged",
        }
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "",
            _ => "; restore its object from a copy",
        }
    }
}

/// A value: what a row holds, or what a predicate compares with.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum<'b> {
    /// Of a Boolean column.
    Bool(bool),
    /// Of an Int64, Timestamp (microseconds), Date32 (days) or Time64 (microseconds) column.
    Int(i64),
    /// Of a Float64 column. Floats are ordered by [`f64::total_cmp`]: -0.0 is before 0.0, and NaN is equal to itself.
    Float(f64),
    /// Of a Utf8 column.
    String(Cow<'b, str>),
    /// Of a Binary column.
    Binary(Cow<'b, [u8]>),
}

impl Datum<'_> {
    /// How it is ordered beside another of its type; none beside one of another type.
    pub fn order(&self, other: &Datum<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(own), Datum::Bool(other)) => own.cmp(other),
            (Self::Int(own), Datum::Int(other)) => own.cmp(other),
            (Self::Float(own), Datum::Float(other)) => own.total_cmp(other),
            (Self::String(own), Datum::String(other)) => own.as_bytes().cmp(other.as_bytes()),
            (Self::Binary(own), Datum::Binary(other)) => own.cmp(other),
            _ => return None,
        })
    }
}

/// The Arrow types in which values are kept.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Bool = 1,
    Int = 2,
    Float = 3,
    String = 4,
    Timestamp = 5,
    Date = 6,
    Time = 7,
    Binary = 8,
}

impl Storage {
    const ALL: [Self; 8] =
        [Self::Bool, Self::Int, Self::Float, Self::String, Self::Timestamp, Self::Date, Self::Time, Self::Binary];

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Binary => DataType::Binary,
        }
    }

    fn of(data_type: &DataType) -> Result<Self, ColumnError> {
        let found = Self::ALL.into_iter().find(|storage| storage.data_type() == *data_type);
        found.ok_or_else(|| ColumnError::Type(data_type.clone()))
    }
}
