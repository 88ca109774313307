//! What a segment holds of one field, and of its `_id`s: typed columns in memory, or in a file read in place.
//!
//! In: rows. Out: values, or [`TypedColumns`] of chosen rows. Owns which of the two forms is read; what bytes of columns mean is
//! `column`'s affair. A part of a file is opened, and its checksum compared, when it is first read (`piece.rs`).

use std::borrow::Cow;
use std::ops::Range;

use basalt_common::columns::{TypedColumns, check_encoded};
use basalt_common::indexing::WordIndex;
use basalt_common::text::Analyzer;
use basalt_common::value::{Object, Type, Value, codec};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use datafusion::arrow::compute::take;

use crate::column::{self, Column, ColumnError, Datum};
use crate::elements::{self, Elements};
use crate::indexes::FieldIndexes;
use crate::key_run::KeyRun;
use crate::piece::{Held, Open, Piece};
use crate::terms::{self, Terms};
use crate::text::{self, TextIndex};

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

/// A column of one field and type in a file.
#[derive(Debug)]
pub struct FileColumn {
    /// The type of its values.
    pub of: Type,
    /// How many rows have a value.
    pub present: u64,
    /// The values, of all rows of the segment.
    pub column: Piece<Column>,
    /// The rows in the order of their values, if they were written.
    pub terms: Option<Piece<Terms>>,
    /// The words of its texts, if they were written, and what made words of them.
    pub text: Option<(Analyzer, Piece<TextIndex>)>,
    /// The elements of its arrays, if they were written.
    pub elements: Option<Piece<Elements>>,
}

impl FileColumn {
    /// The words of its texts, if they were written by an analyser.
    ///
    /// # Errors
    /// They are damaged, or the store cannot be read.
    pub fn words(&self, analyzer: Analyzer) -> Result<Option<Held<'_, TextIndex>>, ColumnError> {
        let text = self.text.as_ref().filter(|(by, _)| *by == analyzer);
        text.map(|(_, text)| text.get()).transpose()
    }

    /// Whether the column can be read without waiting for a store, with its indexes if that is said.
    fn is_here(&self, indexes: bool) -> bool {
        let (terms, text, elements) = (&self.terms, &self.text, &self.elements);
        let all = || {
            terms.iter().all(Piece::is_here)
                && text.iter().all(|(_, text)| text.is_here())
                && elements.iter().all(Piece::is_here)
        };
        self.column.is_here() && (!indexes || all())
    }

    fn check(&self) -> Result<(), ColumnError> {
        self.column.get()?;
        self.terms.as_ref().map(Piece::get).transpose()?;
        self.text.as_ref().map(|(_, text)| text.get()).transpose()?;
        self.elements.as_ref().map(Piece::get).transpose()?;
        Ok(())
    }

    fn bring(&self, indexes: bool) {
        self.column.bring();
        if indexes {
            self.terms.iter().for_each(Piece::bring);
            self.text.iter().for_each(|(_, text)| text.bring());
            self.elements.iter().for_each(Piece::bring);
        }
    }
}

/// Columns of one field in a file: by type, each of all rows of the segment.
#[derive(Debug)]
pub struct FileColumns {
    rows: usize,
    /// INVARIANT: ascending by type; checked in [`FileColumns::new`].
    columns: Vec<FileColumn>,
}

impl FileColumns {
    /// Columns over `rows` rows.
    ///
    /// # Errors
    /// They are not ascending by type.
    pub fn new(rows: usize, columns: Vec<FileColumn>) -> Result<Self, &'static str> {
        match columns.is_sorted_by(|before, behind| before.of < behind.of) {
            true => Ok(Self { rows, columns }),
            false => Err("types are not ascending"),
        }
    }

    /// Encodes columns as those of a file are, with their indexes, in memory.
    pub fn encode(values: &TypedColumns, indexes: FieldIndexes) -> Self {
        let encode = |(of, array): &(Type, ArrayRef)| {
            let mut bytes = Vec::new();
            let opened = column::encode(array.as_ref(), &mut bytes).and_then(|()| {
                let bytes = Bytes::from(bytes);
                let column = Column::open(bytes.clone(), array.data_type(), array.len() as u64)?;
                let (present, rows) = (column.present(), column.rows());
                let (mut terms, mut text, mut elements) = (Vec::new(), Vec::new(), Vec::new());
                let terms = match put_terms(*of, array, &column, indexes, &mut terms)? {
                    true => Some(open(terms, |bytes| Terms::open(bytes, rows, present))?),
                    false => None,
                };
                let text = match put_text(*of, array, &column, indexes, &mut text)? {
                    Some(analyzer) => Some((analyzer, open(text, |bytes| TextIndex::open(bytes, rows))?)),
                    None => None,
                };
                let elements = match put_elements(*of, array, indexes, &mut elements)? {
                    true => Some(open(elements, |bytes| Elements::open(&bytes, rows))?),
                    false => None,
                };
                Ok(FileColumn { of: *of, present, column: Piece::made(column, bytes), terms, text, elements })
            });
            opened.expect("typed columns are arrays of storage types")
        };
        Self { rows: values.rows(), columns: values.columns().iter().map(encode).collect() }
    }

    /// The columns, ascending by type.
    pub fn columns(&self) -> &[FileColumn] {
        &self.columns
    }

    /// The column of a type.
    pub fn find(&self, of: Type) -> Option<&FileColumn> {
        self.columns.iter().find(|file| file.of == of)
    }

    fn read(
        &self,
        read: impl Fn(&Column) -> Result<ArrayRef, ColumnError>,
        rows: usize,
    ) -> Result<TypedColumns, ColumnError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for FileColumn { of, column, .. } in &self.columns {
            let array = read(&*column.get()?)?;
            check_encoded(*of, &array).map_err(|_| ColumnError::Damaged("a value does not decode to its type"))?;
            if array.null_count() < array.len() {
                columns.push((*of, array));
            }
        }
        Ok(TypedColumns::new(rows, columns))
    }
}

/// Opens what was just encoded.
fn open<T: Open>(bytes: Vec<u8>, open: impl FnOnce(Bytes) -> Result<T, ColumnError>) -> Result<Piece<T>, ColumnError> {
    let bytes = Bytes::from(bytes);
    open(bytes.clone()).map(|opened| Piece::made(opened, bytes))
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
    /// Bytes of the encoded columns, if it has such.
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::File(file) => file.columns.iter().map(|file| file.column.bytes()).sum(),
        }
    }

    /// The number of rows, absent ones included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Memory(columns) => columns.rows(),
            Self::File(columns) => columns.rows,
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
                for FileColumn { of, column, .. } in &file.columns {
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
            Self::File(file) => file.columns.iter().all(|column| column.is_here(indexes)),
        }
    }

    /// Whether all of them are open, and stay.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::File(file) => file.columns.iter().all(|file| file.column.is_open()),
        }
    }

    /// Opens all of them, so that their checksums are compared.
    ///
    /// # Errors
    /// One is damaged, or cannot be read.
    pub fn check(&self) -> Result<(), ColumnError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.columns.iter().try_for_each(FileColumn::check),
        }
    }

    /// Begins to bring them here, if they are elsewhere.
    pub fn bring(&self, indexes: bool) {
        if let Self::File(file) = self {
            file.columns.iter().for_each(|column| column.bring(indexes));
        }
    }

    /// How many rows have a value of each type.
    pub fn counts(&self) -> Vec<(Type, u64)> {
        match self {
            Self::Memory(columns) => {
                let count = |column: &ArrayRef| (column.len() - column.null_count()) as u64;
                columns.columns().iter().map(|(of, column)| (*of, count(column))).collect()
            }
            Self::File(file) => file.columns.iter().map(|file| (file.of, file.present)).collect(),
        }
    }
}

/// Appends the terms of a column, if it is to have them.
///
/// # Errors
/// The column is not the array's.
pub fn put_terms(
    of: Type,
    array: &dyn Array,
    column: &Column,
    indexes: FieldIndexes,
    out: &mut Vec<u8>,
) -> Result<bool, ColumnError> {
    let wanted = indexes.terms && terms::are_of(of);
    if wanted {
        terms::encode(array, column, out)?;
    }
    Ok(wanted)
}

/// Appends the index of a column's words, if it is to have one, and tells by what they were made. Strings that repeat are looked at
/// once each, and need none.
///
/// # Errors
/// The texts cannot be indexed.
pub fn put_text(
    of: Type,
    array: &dyn Array,
    column: &Column,
    indexes: FieldIndexes,
    out: &mut Vec<u8>,
) -> Result<Option<Analyzer>, ColumnError> {
    let Some(texts) = array.as_string_opt::<i32>().filter(|_| of == Type::String) else { return Ok(None) };
    let analyzer = match indexes.words {
        WordIndex::Always(analyzer) => analyzer,
        WordIndex::OfProse if column.distinct().is_none() && text::is_prose(texts) => Analyzer::default(),
        WordIndex::OfProse | WordIndex::Never => return Ok(None),
    };
    text::encode(analyzer, texts, out)?;
    Ok(Some(analyzer))
}

/// Appends the elements of a column's arrays, if they are to be found.
///
/// # Errors
/// The values are no arrays.
pub fn put_elements(
    of: Type,
    array: &dyn Array,
    indexes: FieldIndexes,
    out: &mut Vec<u8>,
) -> Result<bool, ColumnError> {
    match array.as_binary_opt::<i32>() {
        Some(arrays) if of == Type::Array && indexes.terms => elements::encode(arrays, out),
        _ => Ok(false),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use basalt_common::columns::{TypedColumns, TypedColumnsBuilder};
    use basalt_common::indexing::{IndexSettings, Indexing, TextSettings, WordIndex};
    use basalt_common::schema::Schema;
    use basalt_common::text::Analyzer;
    use basalt_common::value::{FieldPath, Type, Value};

    use super::FileColumns;
    use crate::indexes::Indexes;

    fn prose() -> TypedColumns {
        let mut values = TypedColumnsBuilder::default();
        (0..9).for_each(|row| values.push(&Value::String(format!("some words of row {row}"))));
        values.finish()
    }

    #[test]
    fn fields_get_the_indexes_that_are_said() {
        let mut schema = Schema::default();
        let paths = [vec!["a"], vec!["a", "b"], vec!["ab"], vec!["c"]].map(|keys| keys.into_iter().map(String::from));
        let fields = paths.map(|keys| schema.register(&keys.collect::<Vec<_>>()));
        let english: Analyzer = "english".parse().expect("there is one");
        let text = [("c".to_string(), TextSettings { analyzer: english })].into();
        let settings = IndexSettings { text, unindexed: ["a".to_string()].into() };
        let indexing = Indexing::new(&settings, |path| path.parse::<FieldPath>()).expect("they are paths");
        let indexes = Indexes::new(Arc::new(schema), indexing);
        let expected = [
            (false, WordIndex::Never),
            (false, WordIndex::Never),
            (true, WordIndex::OfProse),
            (true, WordIndex::Always(english)),
        ];
        for (field, (terms, words)) in fields.into_iter().zip(expected) {
            let of_field = indexes.field(field);
            assert_eq!((of_field.terms, of_field.words), (terms, words), "{field:?}");
            let written = FileColumns::encode(&prose(), of_field);
            let strings = written.find(Type::String).expect("they are strings");
            let analyzer = strings.text.as_ref().map(|(analyzer, _)| *analyzer);
            let wanted = match words {
                WordIndex::Never => None,
                WordIndex::OfProse => Some(Analyzer::default()),
                WordIndex::Always(analyzer) => Some(analyzer),
            };
            assert_eq!((strings.terms.is_some(), analyzer), (terms, wanted), "{field:?}");
        }
    }
}
