//! One field's values, split by type: the form in which batches, segments and overlays keep them.
//!
//! In: values row by row, or Arrow arrays. Out: typed Arrow columns of equal length, of which at most one has a value in
//! any row; a row with none is *absent*, which is not *null*. Nearly always there is one column.
//!
//! ```text
//! row   document     Int column   String column   Null column
//!  0    {"f": 7}          7            ·               ·
//!  1    {"f": "x"}        ·           "x"              ·
//!  2    {"f": null}       ·            ·              null
//!  3    {}                ·            ·               ·
//! ```

pub mod codec;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Date32Builder, Float64Builder,
    Int64Builder, MutableArrayData, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt32Array,
    make_array, new_null_array,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{concat, interleave, take};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;

use crate::value::{Type, Value, codec as value_codec};

/// The Arrow type in which values of a type are kept. Types whose Arrow form depends on all their values (decimals with
/// their scale, arrays with their elements) are kept encoded, value by value.
pub fn storage_type(of: Type) -> DataType {
    match of {
        Type::Null | Type::Object | Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int64,
        Type::Float => DataType::Float64,
        Type::String => DataType::Utf8,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Date => DataType::Date32,
        Type::Time => DataType::Time64(TimeUnit::Microsecond),
        Type::Decimal | Type::Bytes | Type::Array | Type::Vector | Type::Geography | Type::Tagged => DataType::Binary,
    }
}

/// Typed columns of one field over the same rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TypedColumns {
    rows: usize,
    /// INVARIANT: ascending by type, each of `rows` rows and of its type's storage type, checked in [`TypedColumns::new`]; no
    /// two with a value in one row, checked where they come from bytes.
    columns: Vec<(Type, ArrayRef)>,
}

impl TypedColumns {
    /// Columns over `rows` rows.
    ///
    /// # Panics
    /// The invariant does not hold, but for values that share a row.
    pub fn new(rows: usize, columns: Vec<(Type, ArrayRef)>) -> Self {
        for (of, column) in &columns {
            assert_eq!(column.len(), rows, "a column of type {of:?} has another length than its field");
            assert_eq!(*column.data_type(), storage_type(*of), "a column of type {of:?} is stored as another");
        }
        assert!(columns.windows(2).all(|pair| pair[0].0 < pair[1].0), "columns are ascending by type");
        Self { rows, columns }
    }

    /// The number of rows, absent ones included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, ascending by type.
    pub fn columns(&self) -> &[(Type, ArrayRef)] {
        &self.columns
    }

    /// The type of the value at `row`, or `None` where it is absent.
    pub fn type_at(&self, row: usize) -> Option<Type> {
        self.columns.iter().find(|(_, column)| column.is_valid(row)).map(|(of, _)| *of)
    }

    /// The value at `row`, or `None` where it is absent.
    pub fn value(&self, row: usize) -> Option<Value> {
        let (of, column) = self.columns.iter().find(|(_, column)| column.is_valid(row))?;
        Some(read(*of, column, row))
    }

    /// The rows at `indices`, in that order; a null index gives an absent row.
    pub fn take(&self, indices: &UInt32Array) -> Self {
        let taken = |column: &ArrayRef| take(column, indices, None).expect("the indices are rows of the column");
        let columns = self.columns.iter().map(|(of, column)| (*of, taken(column)));
        Self {
            rows: indices.len(),
            columns: columns.filter(|(_, column)| column.null_count() < column.len()).collect(),
        }
    }

    /// The rows from `start` on, without a copy.
    ///
    /// # Panics
    /// There are fewer than `start + length`.
    pub fn slice(&self, start: usize, length: usize) -> Self {
        let sliced = self.columns.iter().map(|(of, column)| (*of, column.slice(start, length)));
        Self { rows: length, columns: sliced.filter(|(_, column)| column.null_count() < length).collect() }
    }

    /// The column of a type, if any row has a value of it.
    pub fn column(&self, of: Type) -> Option<&ArrayRef> {
        self.columns.iter().find(|(own, _)| *own == of).map(|(_, column)| column)
    }

    /// Parts one below the other. A part without columns stands for that many absent rows.
    pub fn concat(parts: &[Self]) -> Self {
        let parts: Vec<&Self> = parts.iter().collect();
        Self::of_parts(parts.iter().map(|part| part.rows()).sum(), &parts, concat)
    }

    /// Rows of several parts, each by its part's number and its place there.
    pub fn interleave(parts: &[&Self], from: &[(usize, usize)]) -> Self {
        let mut rows = Self::of_parts(from.len(), parts, |pieces| match pieces[0].data_type() {
            // Arrow copies these row by row.
            DataType::Boolean => Ok(Arc::new(interleave_marks(pieces, from))),
            _ => interleave(pieces, from),
        });
        rows.columns.retain(|(_, column)| column.null_count() < column.len());
        rows
    }

    /// Columns that are each made of the parts' own.
    fn of_parts(rows: usize, parts: &[&Self], made: impl Fn(&[&dyn Array]) -> Result<ArrayRef, ArrowError>) -> Self {
        let mut types: Vec<Type> = parts.iter().flat_map(|part| part.columns.iter().map(|(of, _)| *of)).collect();
        types.sort();
        types.dedup();
        let column = |of: Type| {
            let pieces: Vec<ArrayRef> = parts.iter().map(|part| part.column_or_nulls(of)).collect();
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            made(&pieces).expect("pieces of one type, and no more bytes than one array holds")
        };
        Self { rows, columns: types.into_iter().map(|of| (of, column(of))).collect() }
    }

    /// The same rows, but for those at some places, ascending, which are another's in their order. Copies what is between the places at once.
    ///
    /// # Panics
    /// There are not as many places as other rows, or they are no rows of these.
    pub fn with_rows(&self, places: &[u32], other: &Self) -> Self {
        assert_eq!(places.len(), other.rows, "a place for each row");
        let mut types: Vec<Type> = self.columns.iter().chain(&other.columns).map(|(of, _)| *of).collect();
        types.sort();
        types.dedup();
        let column = |of: Type| {
            let (own, others) = (self.column_or_nulls(of).to_data(), other.column_or_nulls(of).to_data());
            let mut mixed = MutableArrayData::new(vec![&own, &others], false, self.rows);
            let mut add = |of, start, end| {
                mixed.try_extend(of, start, end).expect("no more bytes than one array holds");
            };
            let mut next = 0;
            for (index, place) in places.iter().enumerate() {
                add(0, next, *place as usize);
                add(1, index, index + 1);
                next = *place as usize + 1;
            }
            add(0, next, self.rows);
            make_array(mixed.freeze())
        };
        let columns = types.into_iter().map(|of| (of, column(of)));
        Self { rows: self.rows, columns: columns.filter(|(_, column)| column.null_count() < column.len()).collect() }
    }

    /// That many absent rows.
    pub fn absent(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    fn column_or_nulls(&self, of: Type) -> ArrayRef {
        self.column(of).map_or_else(|| new_null_array(&storage_type(of), self.rows), Arc::clone)
    }

    /// Bytes of memory that the values take.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|(_, column)| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }
}

fn interleave_marks(pieces: &[&dyn Array], from: &[(usize, usize)]) -> BooleanArray {
    let pieces: Vec<&BooleanArray> = pieces.iter().map(|piece| piece.as_boolean()).collect();
    let bits = |bit: &dyn Fn(&BooleanArray, usize) -> bool| {
        BooleanBuffer::collect_bool(from.len(), |row| bit(pieces[from[row].0], from[row].1))
    };
    let values = bits(&|piece, row| piece.values().value(row));
    let is_whole = pieces.iter().all(|piece| piece.null_count() == 0);
    BooleanArray::new(values, (!is_whole).then(|| bits(&|piece, row| piece.is_valid(row)).into()))
}

fn read(of: Type, column: &ArrayRef, row: usize) -> Value {
    match of {
        Type::Null => Value::Null,
        Type::Object => Value::Object(Default::default()),
        Type::Bool => Value::Bool(column.as_boolean().value(row)),
        Type::Int => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        Type::Float => Value::Float(column.as_primitive::<Float64Type>().value(row)),
        Type::String => Value::String(column.as_string::<i32>().value(row).to_string()),
        Type::Timestamp => Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        Type::Date => Value::Date(column.as_primitive::<Date32Type>().value(row)),
        Type::Time => Value::Time(column.as_primitive::<Time64MicrosecondType>().value(row)),
        Type::Bytes => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        Type::Decimal | Type::Array | Type::Vector | Type::Geography | Type::Tagged => {
            value_codec::decode(column.as_binary::<i32>().value(row))
                .expect("the column was encoded, or checked when read")
        }
    }
}

#[derive(Debug)]
enum Builder {
    Mark(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    String(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Binary(BinaryBuilder),
}

/// Applies one expression to whichever builder it is.
macro_rules! each {
    ($builder:expr, $name:ident => $do:expr) => {
        match $builder {
            Builder::Mark($name) => $do,
            Builder::Int($name) => $do,
            Builder::Float($name) => $do,
            Builder::String($name) => $do,
            Builder::Timestamp($name) => $do,
            Builder::Date($name) => $do,
            Builder::Time($name) => $do,
            Builder::Binary($name) => $do,
        }
    };
}

impl Builder {
    fn new(of: Type) -> Self {
        match of {
            Type::Null | Type::Object | Type::Bool => Self::Mark(BooleanBuilder::new()),
            Type::Int => Self::Int(Int64Builder::new()),
            Type::Float => Self::Float(Float64Builder::new()),
            Type::String => Self::String(StringBuilder::new()),
            Type::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Type::Date => Self::Date(Date32Builder::new()),
            Type::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Type::Bytes | Type::Decimal | Type::Array | Type::Vector | Type::Geography | Type::Tagged => {
                Self::Binary(BinaryBuilder::new())
            }
        }
    }

    fn len(&self) -> usize {
        use datafusion::arrow::array::ArrayBuilder;
        each!(self, builder => builder.len())
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows - self.len();
        match self {
            Self::Mark(builder) => builder.append_nulls(missing),
            Self::Int(builder) => builder.append_nulls(missing),
            Self::Float(builder) => builder.append_nulls(missing),
            Self::Timestamp(builder) => builder.append_nulls(missing),
            Self::Date(builder) => builder.append_nulls(missing),
            Self::Time(builder) => builder.append_nulls(missing),
            Self::String(builder) => (0..missing).for_each(|_| builder.append_null()),
            Self::Binary(builder) => (0..missing).for_each(|_| builder.append_null()),
        }
    }

    fn append(&mut self, value: &Value, scratch: &mut Vec<u8>) {
        match (self, value) {
            (Self::Mark(builder), Value::Bool(value)) => builder.append_value(*value),
            (Self::Mark(builder), _) => builder.append_value(true),
            (Self::Int(builder), Value::Int(value)) => builder.append_value(*value),
            (Self::Float(builder), Value::Float(value)) => builder.append_value(*value),
            (Self::String(builder), Value::String(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(*value),
            (Self::Date(builder), Value::Date(value)) => builder.append_value(*value),
            (Self::Time(builder), Value::Time(value)) => builder.append_value(*value),
            (Self::Binary(builder), Value::Bytes(value)) => builder.append_value(value),
            (Self::Binary(builder), value) => {
                scratch.clear();
                value_codec::encode(value, scratch);
                builder.append_value(&scratch);
            }
            (builder, value) => unreachable!("{value:?} was given to {builder:?}: builders are chosen by type"),
        }
    }

    fn finish(mut self) -> ArrayRef {
        each!(&mut self, builder => Arc::new(builder.finish()))
    }
}

/// A value that is in no [`Value`].
#[derive(Debug, Clone, Copy)]
pub enum Scalar<'t> {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(&'t str),
}

impl Scalar<'_> {
    fn value_type(self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Text(_) => Type::String,
        }
    }
}

/// Makes [`TypedColumns`] row by row.
#[derive(Debug, Default)]
pub struct TypedColumnsBuilder {
    rows: usize,
    builders: Vec<(Type, Builder)>,
    scratch: Vec<u8>,
}

impl TypedColumnsBuilder {
    /// The number of rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Makes all rows up to `rows`, exclusive, absent that are not there yet.
    pub fn pad(&mut self, rows: usize) {
        self.rows = self.rows.max(rows);
    }

    /// Appends a row with a value. An object is kept as a mark that it is there and empty: its fields are fields of
    /// their own.
    ///
    /// # Panics
    /// The object is not empty.
    pub fn push(&mut self, value: &Value) {
        if let Value::Object(object) = value {
            assert!(object.is_empty(), "an object's fields are columns of their own");
        }
        let index = self.builder(value.value_type());
        self.builders[index].1.append(value, &mut self.scratch);
        self.rows += 1;
    }

    /// As [`Self::push`], of a null, a Boolean, a number or a string that is in no [`Value`].
    pub fn push_scalar(&mut self, scalar: Scalar<'_>) {
        let (of, rows) = (scalar.value_type(), self.rows + 1);
        let index = self.builder(of);
        match (&mut self.builders[index].1, scalar) {
            (Builder::Mark(builder), Scalar::Null) => builder.append_value(true),
            (Builder::Mark(builder), Scalar::Bool(value)) => builder.append_value(value),
            (Builder::Int(builder), Scalar::Int(value)) => builder.append_value(value),
            (Builder::Float(builder), Scalar::Float(value)) => builder.append_value(value),
            (Builder::String(builder), Scalar::Text(text)) => builder.append_value(text),
            (builder, scalar) => unreachable!("{scalar:?} was given to {builder:?}: builders are chosen by type"),
        }
        self.rows = rows;
    }

    /// The builder of a type, which has a value or none for each row so far.
    fn builder(&mut self, of: Type) -> usize {
        let index = match self.builders.binary_search_by_key(&of, |(of, _)| *of) {
            Ok(index) => index,
            Err(index) => {
                self.builders.insert(index, (of, Builder::new(of)));
                index
            }
        };
        self.builders[index].1.pad(self.rows);
        index
    }

    /// Appends a row with a value or an absent one.
    pub fn push_option(&mut self, value: Option<&Value>) {
        match value {
            Some(value) => self.push(value),
            None => self.rows += 1,
        }
    }

    /// The columns.
    pub fn finish(self) -> TypedColumns {
        let rows = self.rows;
        let finish = |(of, mut builder): (Type, Builder)| {
            builder.pad(rows);
            (of, builder.finish())
        };
        TypedColumns::new(rows, self.builders.into_iter().map(finish).collect())
    }
}

/// Checks that every encoded value of a column can be decoded to its type: done once for columns that come from outside.
///
/// # Errors
/// The first row whose value is not one of its type.
pub fn check_encoded(of: Type, column: &ArrayRef) -> Result<(), usize> {
    if storage_type(of) != DataType::Binary || of == Type::Bytes {
        return Ok(());
    }
    let column: &BinaryArray = column.as_binary();
    let good = |row: &usize| value_codec::check(column.value(*row)) == Ok(of);
    match (0..column.len()).filter(|row| column.is_valid(*row)).find(|row| !good(row)) {
        Some(row) => Err(row),
        None => Ok(()),
    }
}
