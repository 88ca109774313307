//! What a segment holds of one field, and of its `_id`s: typed columns in memory, or in a file read in place.
//!
//! In: rows. Out: values, or [`TypedColumns`] of chosen rows. Owns which of the two forms is read; what bytes of columns mean is
//! `column`'s affair. A part of a file is opened, and its checksum compared, when it is first read (`piece.rs`).

mod file;

use std::borrow::Cow;
use std::ops::Range;

use basalt_common::columns::TypedColumns;
use basalt_common::value::{Object, Type, Value, codec};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;

use crate::column::{self, Column, ColumnError, Datum};
use crate::key_run::KeyRun;
use crate::piece::Piece;
pub use file::{FileCells, FileColumn, FileColumns};

/// Rows that lie further apart, in the mean, are read one by one: a value that is read by itself costs about as much as so many
/// that are read in a row.
const GAP_MAX: usize = 8;

/// Whoever reads so many `_id`s from the first on reads all, mostly.
const SCANNED_MIN: usize = 4096;

const NO_ID: ColumnError = ColumnError::Damaged("a row has no _id");

/// Rows of a segment, ascending: where they are without gaps, nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct RowSet<'r>(pub &'r UInt32Array);

impl RowSet<'_> {
    /// The rows as a range, where they are without gaps.
    pub fn range(&self) -> Option<Range<usize>> {
        let rows = self.0.values();
        let (first, last) = (*rows.first()? as usize, *rows.last()? as usize);
        (last - first + 1 == rows.len()).then_some(first..last + 1)
    }

    /// The values of the rows in a column: one by one, or where they lie close out of all between the first and the last.
    fn of_column(&self, column: &Column) -> Result<ArrayRef, ColumnError> {
        let rows = self.0.values();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return column.take(rows) };
        if (last - first) as usize / rows.len() >= GAP_MAX {
            return column.take(rows);
        }
        let between = column.read(u64::from(*first)..u64::from(*last) + 1)?;
        let indices: UInt32Array = rows.iter().map(|row| row - first).collect::<Vec<_>>().into();
        take(&between, &indices, None).map_err(|_| ColumnError::Damaged("a column has fewer rows than it says"))
    }
}

/// One field's values in a segment.
#[derive(Debug)]
pub enum FieldValues {
    /// In memory.
    Memory(TypedColumns),
    /// In a file.
    File(FileColumns),
}

impl FieldValues {
    /// The encoded columns, if it has such.
    pub fn encoded(&self) -> Option<&FileColumns> {
        match self {
            Self::Memory(_) => None,
            Self::File(file) => Some(file),
        }
    }

    /// What they take as arrays in memory.
    pub fn plain_bytes(&self) -> usize {
        match self {
            Self::Memory(columns) => columns.bytes(),
            Self::File(file) => file.columns().iter().map(|file| file.plain).sum(),
        }
    }

    /// Bytes of the encoded columns, if it has such.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded().into_iter().flat_map(FileColumns::columns).map(|file| file.column.bytes()).sum()
    }

    /// The number of rows, absent ones included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Memory(columns) => columns.rows(),
            Self::File(columns) => columns.rows(),
        }
    }

    /// The value at a row, or `None` where it is absent.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn value(&self, row: u32) -> Result<Option<Value>, ColumnError> {
        match self {
            Self::Memory(columns) => Ok(columns.value(row as usize)),
            Self::File(file) => {
                for FileColumn { of, column, .. } in file.columns() {
                    if let Some(datum) = column.get()?.value(row.into())? {
                        return to_value(*of, datum).map(Some);
                    }
                }
                Ok(None)
            }
        }
    }

    /// The values of some rows.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn take(&self, rows: RowSet<'_>) -> Result<TypedColumns, ColumnError> {
        match (self, rows.range()) {
            (Self::Memory(columns), Some(range)) => Ok(columns.slice(range.start, range.len())),
            (Self::Memory(columns), None) => Ok(columns.take(rows.0)),
            (Self::File(file), Some(range)) => {
                let wide = range.start as u64..range.end as u64;
                file.read(|column| column.read(wide.clone()), range.len())
            }
            (Self::File(file), None) => file.read(|column| rows.of_column(column), rows.0.len()),
        }
    }

    /// Whether they can be read without waiting for a store, with their indexes if that is said.
    pub fn is_here(&self, indexes: bool) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::File(file) => file.columns().iter().all(|column| column.is_here(indexes)),
        }
    }

    /// Whether all of them are open, and stay.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::File(file) => file.columns().iter().all(|file| file.column.is_open()),
        }
    }

    /// Opens all of them, so that their checksums are compared.
    ///
    /// # Errors
    /// One is damaged, or cannot be read.
    pub fn check(&self) -> Result<(), ColumnError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.columns().iter().try_for_each(FileColumn::check),
        }
    }

    /// Begins to bring them here, if they are elsewhere.
    pub fn bring(&self, indexes: bool) {
        if let Self::File(file) = self {
            file.columns().iter().for_each(|column| column.bring(indexes));
        }
    }

    /// How many rows have a value of each type.
    pub fn counts(&self) -> Vec<(Type, u64)> {
        match self {
            Self::Memory(columns) => {
                let count = |column: &ArrayRef| (column.len() - column.null_count()) as u64;
                columns.columns().iter().map(|(of, column)| (*of, count(column))).collect()
            }
            Self::File(file) => file.columns().iter().map(|file| (file.of, file.present)).collect(),
        }
    }
}

fn to_value(of: Type, datum: Datum<'_>) -> Result<Value, ColumnError> {
    let wrong = || ColumnError::Damaged("a value is of another type than its column");
    Ok(match (of, datum) {
        (Type::Null, _) => Value::Null,
        (Type::Object, _) => Value::Object(Object::new()),
        (Type::Bool, Datum::Bool(value)) => Value::Bool(value),
        (Type::Int, Datum::Int(value)) => Value::Int(value),
        (Type::Timestamp, Datum::Int(value)) => Value::Timestamp(value),
        (Type::Date, Datum::Int(value)) => Value::Date(i32::try_from(value).map_err(|_| wrong())?),
        (Type::Time, Datum::Int(value)) => Value::Time(value),
        (Type::Float, Datum::Float(value)) => Value::Float(value),
        (Type::String, Datum::String(text)) => Value::String(text.into_owned()),
        (Type::Bytes, Datum::Binary(bytes)) => Value::Bytes(bytes.into_owned()),
        (_, Datum::Binary(bytes)) => {
            let value = codec::decode(&bytes).ok().filter(|value| value.value_type() == of);
            value.ok_or(ColumnError::Damaged("a value does not decode to its type"))?
        }
        _ => return Err(wrong()),
    })
}

/// The `_id`s of a segment.
#[derive(Debug)]
pub enum Ids {
    /// In memory.
    Memory(StringArray),
    /// In a file: a column of so many rows.
    File(Box<Piece<Column>>, usize),
}

impl Ids {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(ids) => ids.len(),
            Self::File(_, rows) => *rows,
        }
    }

    /// The same as those of a file are, in memory.
    pub fn encode(ids: &StringArray) -> Self {
        let mut bytes = Vec::new();
        let opened = column::encode(ids, &mut bytes).and_then(|()| {
            let bytes = Bytes::from(bytes);
            Ok(Piece::made(Column::open(bytes.clone(), &DataType::Utf8, ids.len() as u64)?, bytes))
        });
        Self::File(Box::new(opened.expect("strings are a storage type")), ids.len())
    }

    /// The encoded bytes, if they were just made and are in no object yet.
    pub fn made_of(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(_) => None,
            Self::File(column, _) => column.made_of(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are open, and stay.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::File(column, _) => column.is_open(),
        }
    }

    /// Opens them, so that their checksum is compared.
    ///
    /// # Errors
    /// They are damaged.
    pub fn check(&self) -> Result<(), ColumnError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(column, _) => column.kept().map(drop),
        }
    }

    /// The run by which their rows are found.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn key_run(&self) -> Result<KeyRun, ColumnError> {
        Ok(KeyRun::of(&self.take(RowSet(&all_rows(self.len())))?))
    }

    /// The `_id` of a row.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn get(&self, row: u32) -> Result<Cow<'_, str>, ColumnError> {
        match self {
            Self::Memory(ids) => Ok(Cow::Borrowed(ids.value(row as usize))),
            Self::File(column, _) => match column.kept()?.value(row.into())? {
                Some(Datum::String(id)) => Ok(id),
                _ => Err(NO_ID),
            },
        }
    }

    /// Whether the `_id` of a row is this one.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn is(&self, row: u32, id: &str) -> Result<bool, ColumnError> {
        match self {
            Self::Memory(ids) => Ok(ids.value(row as usize) == id),
            Self::File(column, _) => column.kept()?.is_string(row.into(), id)?.ok_or(NO_ID),
        }
    }

    /// The `_id`s of some rows.
    ///
    /// # Errors
    /// The file holds something else.
    pub fn take(&self, rows: RowSet<'_>) -> Result<StringArray, ColumnError> {
        let taken = match (self, rows.range()) {
            (Self::Memory(ids), Some(range)) => return Ok(ids.slice(range.start, range.len())),
            (Self::Memory(ids), None) => {
                let taken = take(ids, rows.0, None).expect("the rows are rows of the segment");
                return Ok(taken.as_string::<i32>().clone());
            }
            (Self::File(column, _), Some(range)) => {
                let column = column.kept()?;
                // Whoever begins at the start goes on.
                if range.start == 0 && range.len() >= SCANNED_MIN {
                    column.will_be_read();
                }
                column.read(range.start as u64..range.end as u64)?
            }
            (Self::File(column, _), None) => column.kept()?.take(rows.0.values())?,
        };
        match taken.null_count() {
            0 => Ok(taken.as_string::<i32>().clone()),
            _ => Err(NO_ID),
        }
    }
}

/// All rows of a segment.
pub fn all_rows(rows: usize) -> UInt32Array {
    UInt32Array::from_iter_values(0..u32::try_from(rows).expect("a segment has fewer rows than 2^32"))
}
