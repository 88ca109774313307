//! Columns of one field in a file, with their indexes.
//!
//! In: typed columns, or parts of an object. Out: encoded columns with the terms, words, elements and cells that they have.

use basalt_common::columns::{TypedColumns, check_encoded};
use basalt_common::id::FieldId;
use basalt_common::indexing::WordIndex;
use basalt_common::text::Analyzer;
use basalt_common::value::Type;
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};

use crate::cells;
use crate::column::{self, Column, ColumnError};
use crate::elements::{self, Elements};
use crate::indexes::{FieldIndexes, Indexes, PlaceFields};
use crate::piece::{Held, Open, Piece};
use crate::terms::{self, Terms};
use crate::text::{self, TextIndex};

/// A column of one field and type in a file.
#[derive(Debug)]
pub struct FileColumn {
    /// The type of its values.
    pub of: Type,
    /// How many rows have a value.
    pub present: u64,
    /// What its values take as an array in memory.
    pub plain: usize,
    /// The values, of all rows of the segment.
    pub column: Piece<Column>,
    /// The rows in the order of their values, if they were written.
    pub terms: Option<Piece<Terms>>,
    /// The words of its texts, if they were written, and what made words of them.
    pub text: Option<(Analyzer, Piece<TextIndex>)>,
    /// The elements of its arrays, if they were written.
    pub elements: Option<Piece<Elements>>,
    /// The cells of its latitudes, if they were written.
    pub cells: Option<FileCells>,
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

    /// Bytes that it takes in its object, with its indexes.
    fn bytes(&self) -> usize {
        let indexes = [
            self.terms.as_ref().map(Piece::bytes),
            self.text.as_ref().map(|(_, text)| text.bytes()),
            self.elements.as_ref().map(Piece::bytes),
            self.cells.as_ref().map(|cells| cells.rows.bytes()),
        ];
        self.column.bytes() + indexes.into_iter().flatten().sum::<usize>()
    }

    /// Whether the column can be read without waiting for a store, with its indexes if that is said.
    pub(super) fn is_here(&self, indexes: bool) -> bool {
        let (terms, text, elements) = (&self.terms, &self.text, &self.elements);
        let all = || {
            terms.iter().all(Piece::is_here)
                && text.iter().all(|(_, text)| text.is_here())
                && elements.iter().all(Piece::is_here)
                && self.cells.iter().all(|cells| cells.rows.is_here())
        };
        self.column.is_here() && (!indexes || all())
    }

    pub(super) fn check(&self) -> Result<(), ColumnError> {
        self.column.get()?;
        self.terms.as_ref().map(Piece::get).transpose()?;
        self.text.as_ref().map(|(_, text)| text.get()).transpose()?;
        self.elements.as_ref().map(Piece::get).transpose()?;
        self.cells.as_ref().map(|cells| cells.rows.get()).transpose()?;
        Ok(())
    }

    pub(super) fn bring(&self, indexes: bool) {
        self.column.bring();
        if indexes {
            self.terms.iter().for_each(Piece::bring);
            self.text.iter().for_each(|(_, text)| text.bring());
            self.elements.iter().for_each(Piece::bring);
            self.cells.iter().for_each(|cells| cells.rows.bring());
        }
    }
}

/// The cells of the places that a field's latitudes make with the longitudes of another.
#[derive(Debug)]
pub struct FileCells {
    /// The field of the longitudes.
    pub longitudes: FieldId,
    /// How many rows have both.
    pub present: u64,
    /// These rows, by their cells.
    pub rows: Piece<Terms>,
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

    /// Encodes a field as those of a file are, with its indexes, in memory. Reads it, and the longitudes where it has latitudes beside them.
    ///
    /// # Errors
    /// What reading a field fails with.
    pub fn of_field<E>(
        field: FieldId,
        indexes: &Indexes,
        read: impl Fn(FieldId) -> Result<TypedColumns, E>,
    ) -> Result<Self, E> {
        let values = read(field)?;
        let mut columns = Self::encode(&values, indexes.field(field));
        if let Some(PlaceFields { longitude, latitude }) = indexes.place_of(field)
            && latitude == field
        {
            columns.put_cells(&values, (longitude, &read(longitude)?));
        }
        Ok(columns)
    }

    fn encode(values: &TypedColumns, indexes: FieldIndexes) -> Self {
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
                let plain = array.to_data().get_slice_memory_size().unwrap_or_default();
                let column = Piece::made(column, bytes);
                Ok(FileColumn { of: *of, present, plain, column, terms, text, elements, cells: None })
            });
            opened.expect("typed columns are arrays of storage types")
        };
        Self { rows: values.rows(), columns: values.columns().iter().map(encode).collect() }
    }

    /// Puts the cells of its latitudes beside them, where they make any with longitudes, of which the values are given.
    fn put_cells(&mut self, latitudes: &TypedColumns, longitudes: (FieldId, &TypedColumns)) {
        let (mut bytes, rows) = (Vec::new(), self.rows as u64);
        let present = cells::encode(longitudes.1, latitudes, &mut bytes);
        let column = self.columns.iter_mut().find(|column| column.of == Type::Float);
        if let (Some(present), Some(column)) = (present, column) {
            let rows = open(bytes, |bytes| Terms::open(bytes, rows, present)).expect("they were just written");
            column.cells = Some(FileCells { longitudes: longitudes.0, present, rows });
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, ascending by type.
    pub fn columns(&self) -> &[FileColumn] {
        &self.columns
    }

    /// Bytes that they take in their object, with their indexes.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(FileColumn::bytes).sum()
    }

    /// Whether they were just made, and are in no object yet.
    pub fn are_made(&self) -> bool {
        self.columns.iter().all(|file| file.column.made_of().is_some())
    }

    /// The column of a type.
    pub fn find(&self, of: Type) -> Option<&FileColumn> {
        self.columns.iter().find(|file| file.of == of)
    }

    pub(super) fn read(
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

/// Appends the terms of a column, if it is to have them.
///
/// # Errors
/// The column is not the array's.
fn put_terms(
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
fn put_text(
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
fn put_elements(of: Type, array: &dyn Array, indexes: FieldIndexes, out: &mut Vec<u8>) -> Result<bool, ColumnError> {
    match array.as_binary_opt::<i32>() {
        Some(arrays) if of == Type::Array && indexes.terms => elements::encode(arrays, out),
        _ => Ok(false),
    }
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
