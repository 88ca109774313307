//! Arrow arrays, with their types found out once.
//!
//! In: an array. Out: [`Column`], which tells where the value of a row stands, and [`Values`], typed. Owns which Arrow
//! types a reply can have, and what dictionaries, run-end encoding and dynamic structs mean. Leaves to `encode` what
//! values look like.
//!
//! ```text
//! array ──new──▶ Column ──find(row)──▶ Values, row'
//!                  │ null: none
//!                  │ dictionary, run-end encoded: the row that the index names
//!                  ▼ dynamic: the row of the one child that is not null
//! ```
//!
//! ```text
//! row   dynamic: Int child   String child   Null child     find
//!  0                7             ·              ·         Int child, 0
//!  1                ·            "x"             ·         String child, 1
//!  2                ·             ·              ·         none
//! ```

use std::ops::Range;

use super::text::{self, Notation};
use super::{EXTENSION_DYNAMIC, EXTENSION_GEOGRAPHY};
use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    Float16Array, LargeBinaryArray, LargeStringArray, MapArray, StringArray, StringViewArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Field, Fields, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, RunEndIndexType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

/// Finds a type that has no form in a reply: the type itself or one within it.
pub(super) fn without_form(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Union(..) => Some(data_type),
        DataType::Time32(TimeUnit::Microsecond | TimeUnit::Nanosecond) => Some(data_type),
        DataType::Time64(TimeUnit::Second | TimeUnit::Millisecond) => Some(data_type),
        DataType::Dictionary(_, values) => without_form(values),
        DataType::RunEndEncoded(_, field) => without_form(field.data_type()),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            without_form(field.data_type())
        }
        DataType::ListView(field) | DataType::LargeListView(field) => without_form(field.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| without_form(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) if entry.first().is_some_and(|key| !key.data_type().is_nested()) => {
                without_form(entries.data_type())
            }
            _ => Some(data_type),
        },
        _ => None,
    }
}

/// The row of another column that stands for a row.
pub(super) type Index<'a> = Box<dyn Fn(usize) -> usize + 'a>;

/// A column of any type: where the value of a row stands, if it has one.
pub(super) enum Column<'a> {
    /// All rows are null.
    Null,
    /// The values stand in the column itself.
    Direct { nulls: Option<&'a NullBuffer>, values: Values<'a> },
    /// Rows name rows of another column, by `index`.
    Indexed { nulls: Option<&'a NullBuffer>, index: Index<'a>, column: Box<Column<'a>> },
    /// Values of any type, each in the one column that is not null there.
    Dynamic { nulls: Option<&'a NullBuffer>, children: Vec<Column<'a>> },
}

/// Values of one type, row by row; where a row is null, anything.
pub(super) enum Values<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float16(&'a Float16Array),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// Integers, and how many of their digits stand behind the point.
    Decimal32(&'a [i32], i8),
    Decimal64(&'a [i64], i8),
    Decimal128(&'a [i128], i8),
    Decimal256(&'a [i256], i8),
    String(&'a StringArray),
    LargeString(&'a LargeStringArray),
    StringView(&'a StringViewArray),
    Binary(&'a BinaryArray, Notation),
    LargeBinary(&'a LargeBinaryArray, Notation),
    BinaryView(&'a BinaryViewArray, Notation),
    FixedSizeBinary(&'a FixedSizeBinaryArray, Notation),
    /// Days since 1970-01-01.
    Date32(&'a [i32]),
    /// Milliseconds since 1970-01-01.
    Date64(&'a [i64]),
    /// Units since midnight.
    Time32(&'a [i32], TimeUnit),
    Time64(&'a [i64], TimeUnit),
    /// Units since 1970-01-01T00:00:00Z.
    Timestamp(&'a [i64], TimeUnit),
    Months(&'a [i32]),
    DaysMillis(&'a [IntervalDayTime]),
    MonthsDaysNanos(&'a [IntervalMonthDayNano]),
    Duration(&'a [i64], TimeUnit),
    List(Ranges<'a>, Box<Column<'a>>),
    Object(Vec<Child<'a>>),
    Map {
        ranges: Ranges<'a>,
        keys: Box<Column<'a>>,
        values: Box<Column<'a>>,
    },
}

/// A field of objects.
pub(super) struct Child<'a> {
    /// The name as JSON, and a colon.
    pub(super) key: Vec<u8>,
    /// The values.
    pub(super) column: Column<'a>,
}

/// Which items each list has.
pub(super) enum Ranges<'a> {
    /// From a list's offset to the next one's.
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
    /// Offsets and lengths.
    Views(&'a [i32], &'a [i32]),
    LargeViews(&'a [i64], &'a [i64]),
    /// All lists are of one length and stand one after the other.
    Fixed(usize),
}

impl Ranges<'_> {
    /// The items of a row's list.
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        let (start, length) = match self {
            Self::Offsets(offsets) => return offsets[row].as_usize()..offsets[row + 1].as_usize(),
            Self::LargeOffsets(offsets) => return offsets[row].as_usize()..offsets[row + 1].as_usize(),
            Self::Views(offsets, lengths) => (offsets[row].as_usize(), lengths[row].as_usize()),
            Self::LargeViews(offsets, lengths) => (offsets[row].as_usize(), lengths[row].as_usize()),
            Self::Fixed(length) => (row * length, *length),
        };
        start..start + length
    }
}

impl<'a> Column<'a> {
    /// Finds out the type of an array; `extension` names its extension type.
    ///
    /// # Panics
    /// The array is, or has in it, a type that [`without_form`] finds.
    pub(super) fn new(array: &'a dyn Array, extension: Option<&str>) -> Self {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Dictionary(key, _) => {
                let column = Self::new(array.as_any_dictionary().values().as_ref(), extension);
                Self::Indexed { nulls, index: dictionary_index(array, key), column: Box::new(column) }
            }
            DataType::RunEndEncoded(ends, field) => {
                let (index, values) = run_index(array, ends.data_type());
                let column = Self::new(values, extension.or(field.extension_type_name()));
                Self::Indexed { nulls, index, column: Box::new(column) }
            }
            DataType::Struct(fields) if extension == Some(EXTENSION_DYNAMIC) => {
                let children = children(fields, array).map(|child| child.column);
                Self::Dynamic { nulls, children: children.collect() }
            }
            _ => Self::Direct { nulls, values: Values::new(array, extension) },
        }
    }

    /// Where the value of a row stands, or `None` if it is null.
    pub(super) fn find(&self, row: usize) -> Option<(&Values<'a>, usize)> {
        let is_valid = |nulls: &Option<&NullBuffer>| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match self {
            Self::Direct { nulls, values } if is_valid(nulls) => Some((values, row)),
            Self::Indexed { nulls, index, column } if is_valid(nulls) => column.find(index(row)),
            Self::Dynamic { nulls, children } if is_valid(nulls) => children.iter().find_map(|child| child.find(row)),
            _ => None,
        }
    }
}

fn dictionary_index<'a>(array: &'a dyn Array, key: &DataType) -> Index<'a> {
    fn index<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Index<'_> {
        let keys = array.as_dictionary::<K>().keys().values();
        Box::new(move |row| keys[row].as_usize())
    }
    match key {
        DataType::Int8 => index::<Int8Type>(array),
        DataType::Int16 => index::<Int16Type>(array),
        DataType::Int32 => index::<Int32Type>(array),
        DataType::Int64 => index::<Int64Type>(array),
        DataType::UInt8 => index::<UInt8Type>(array),
        DataType::UInt16 => index::<UInt16Type>(array),
        DataType::UInt32 => index::<UInt32Type>(array),
        DataType::UInt64 => index::<UInt64Type>(array),
        other => unreachable!("Arrow has no dictionaries with keys of type {other}"),
    }
}

fn run_index<'a>(array: &'a dyn Array, ends: &DataType) -> (Index<'a>, &'a dyn Array) {
    fn index<R: RunEndIndexType>(array: &dyn Array) -> (Index<'_>, &dyn Array) {
        let runs = array.as_run::<R>();
        (Box::new(|row| runs.get_physical_index(row)), runs.values().as_ref())
    }
    match ends {
        DataType::Int16 => index::<Int16Type>(array),
        DataType::Int32 => index::<Int32Type>(array),
        DataType::Int64 => index::<Int64Type>(array),
        other => unreachable!("Arrow has no runs with ends of type {other}"),
    }
}

fn children<'a>(fields: &Fields, array: &'a dyn Array) -> impl Iterator<Item = Child<'a>> {
    fields.iter().zip(array.as_struct().columns()).map(|(field, array)| {
        let mut key = Vec::new();
        text::write_string(field.name(), &mut key);
        key.push(b':');
        Child { key, column: Column::new(array.as_ref(), field.extension_type_name()) }
    })
}

fn natives<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array, extension: Option<&str>) -> Self {
        let scalars = Self::numbers(array).or_else(|| Self::texts(array, extension)).or_else(|| Self::times(array));
        scalars.unwrap_or_else(|| Self::containers(array))
    }

    fn numbers(array: &'a dyn Array) -> Option<Self> {
        let values = match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => Self::Int8(natives::<Int8Type>(array)),
            DataType::Int16 => Self::Int16(natives::<Int16Type>(array)),
            DataType::Int32 => Self::Int32(natives::<Int32Type>(array)),
            DataType::Int64 => Self::Int64(natives::<Int64Type>(array)),
            DataType::UInt8 => Self::UInt8(natives::<UInt8Type>(array)),
            DataType::UInt16 => Self::UInt16(natives::<UInt16Type>(array)),
            DataType::UInt32 => Self::UInt32(natives::<UInt32Type>(array)),
            DataType::UInt64 => Self::UInt64(natives::<UInt64Type>(array)),
            DataType::Float16 => Self::Float16(array.as_primitive::<Float16Type>()),
            DataType::Float32 => Self::Float32(natives::<Float32Type>(array)),
            DataType::Float64 => Self::Float64(natives::<Float64Type>(array)),
            DataType::Decimal32(_, scale) => Self::Decimal32(natives::<Decimal32Type>(array), *scale),
            DataType::Decimal64(_, scale) => Self::Decimal64(natives::<Decimal64Type>(array), *scale),
            DataType::Decimal128(_, scale) => Self::Decimal128(natives::<Decimal128Type>(array), *scale),
            DataType::Decimal256(_, scale) => Self::Decimal256(natives::<Decimal256Type>(array), *scale),
            _ => return None,
        };
        Some(values)
    }

    fn texts(array: &'a dyn Array, extension: Option<&str>) -> Option<Self> {
        let notation = if extension == Some(EXTENSION_GEOGRAPHY) { Notation::Hex } else { Notation::Base64 };
        let values = match array.data_type() {
            DataType::Utf8 => Self::String(array.as_string()),
            DataType::LargeUtf8 => Self::LargeString(array.as_string()),
            DataType::Utf8View => Self::StringView(array.as_string_view()),
            DataType::Binary => Self::Binary(array.as_binary(), notation),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary(), notation),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view(), notation),
            DataType::FixedSizeBinary(_) => Self::FixedSizeBinary(array.as_fixed_size_binary(), notation),
            _ => return None,
        };
        Some(values)
    }

    fn times(array: &'a dyn Array) -> Option<Self> {
        let values = match array.data_type() {
            DataType::Date32 => Self::Date32(natives::<Date32Type>(array)),
            DataType::Date64 => Self::Date64(natives::<Date64Type>(array)),
            DataType::Time32(unit) => match unit {
                TimeUnit::Second => Self::Time32(natives::<Time32SecondType>(array), *unit),
                TimeUnit::Millisecond => Self::Time32(natives::<Time32MillisecondType>(array), *unit),
                _ => return None,
            },
            DataType::Time64(unit) => match unit {
                TimeUnit::Microsecond => Self::Time64(natives::<Time64MicrosecondType>(array), *unit),
                TimeUnit::Nanosecond => Self::Time64(natives::<Time64NanosecondType>(array), *unit),
                _ => return None,
            },
            DataType::Timestamp(unit, _) => {
                let counts = match unit {
                    TimeUnit::Second => natives::<TimestampSecondType>(array),
                    TimeUnit::Millisecond => natives::<TimestampMillisecondType>(array),
                    TimeUnit::Microsecond => natives::<TimestampMicrosecondType>(array),
                    TimeUnit::Nanosecond => natives::<TimestampNanosecondType>(array),
                };
                Self::Timestamp(counts, *unit)
            }
            DataType::Duration(unit) => {
                let counts = match unit {
                    TimeUnit::Second => natives::<DurationSecondType>(array),
                    TimeUnit::Millisecond => natives::<DurationMillisecondType>(array),
                    TimeUnit::Microsecond => natives::<DurationMicrosecondType>(array),
                    TimeUnit::Nanosecond => natives::<DurationNanosecondType>(array),
                };
                Self::Duration(counts, *unit)
            }
            DataType::Interval(unit) => match unit {
                IntervalUnit::YearMonth => Self::Months(natives::<IntervalYearMonthType>(array)),
                IntervalUnit::DayTime => Self::DaysMillis(natives::<IntervalDayTimeType>(array)),
                IntervalUnit::MonthDayNano => Self::MonthsDaysNanos(natives::<IntervalMonthDayNanoType>(array)),
            },
            _ => return None,
        };
        Some(values)
    }

    fn containers(array: &'a dyn Array) -> Self {
        let list = |ranges: Ranges<'a>, field: &Field, items: &'a ArrayRef| {
            let items = Column::new(items.as_ref(), field.extension_type_name());
            Self::List(ranges, Box::new(items))
        };
        match array.data_type() {
            DataType::List(field) => {
                let lists = array.as_list::<i32>();
                list(Ranges::Offsets(lists.value_offsets()), field, lists.values())
            }
            DataType::LargeList(field) => {
                let lists = array.as_list::<i64>();
                list(Ranges::LargeOffsets(lists.value_offsets()), field, lists.values())
            }
            DataType::ListView(field) => {
                let lists = array.as_list_view::<i32>();
                list(Ranges::Views(lists.value_offsets(), lists.value_sizes()), field, lists.values())
            }
            DataType::LargeListView(field) => {
                let lists = array.as_list_view::<i64>();
                list(Ranges::LargeViews(lists.value_offsets(), lists.value_sizes()), field, lists.values())
            }
            DataType::FixedSizeList(field, length) => {
                list(Ranges::Fixed(length.as_usize()), field, array.as_fixed_size_list().values())
            }
            DataType::Struct(fields) => Self::Object(children(fields, array).collect()),
            DataType::Map(_, _) => Self::map(array.as_map()),
            other => unreachable!("`without_form` does not find the type {other}"),
        }
    }

    fn map(maps: &'a MapArray) -> Self {
        let (key, value) = maps.entries_fields();
        let keys = Column::new(maps.keys().as_ref(), key.extension_type_name());
        let values = Column::new(maps.values().as_ref(), value.extension_type_name());
        let ranges = Ranges::Offsets(maps.value_offsets());
        Self::Map { ranges, keys: Box::new(keys), values: Box::new(values) }
    }
}
