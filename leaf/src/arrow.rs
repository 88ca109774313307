//! Fields as Arrow arrays of the types that a query was planned with.
//!
//! In: a segment's version, rows, and the wanted column. Out: an array of exactly the wanted type. Owns what a row shows
//! whose value has another type than the plan knows: NULL, as a scan opened under an older schema does.
//!
//! ```text
//! stored for f     Int: 7 ·    String: · "x"          (typed columns)
//! wanted Int64     7 NULL
//! wanted dynamic   {int: 7} {string: "x"}
//! ```

use std::sync::Arc;

use basalt_common::columns::{TypedColumns, TypedColumnsBuilder};
use basalt_common::id::FieldId;
use basalt_common::scan::{ScanColumn, ScanScore, ScanStep};
use basalt_common::schema::Schema;
use basalt_common::sql_type::{DECIMAL, JSON, has_extension, is_dynamic};
use basalt_common::value::flatten::unflatten;
use basalt_common::value::json_write::{JsonStyle, write_json};
use basalt_common::value::{Decimal, FieldPath, Type, Value};
use datafusion::arrow::array::{
    Array, ArrayRef, Decimal256Builder, Float64Array, ListArray, StringArray, StringBuilder, StructArray, UInt32Array,
    new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{cast, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, Fields, i256};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err, internal_err};

use crate::scores::scores;
use crate::segment::SegmentVersion;

/// Reads columns of one segment's version.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'s> {
    /// The segment.
    pub version: &'s SegmentVersion,
    /// The collection's fields.
    pub schema: &'s Schema,
    /// The rows wanted, ascending.
    pub rows: &'s UInt32Array,
}

impl Rows<'_> {
    /// One column of a scan, of the type of `wanted`.
    ///
    /// # Errors
    /// A decimal has more digits than SQL's type for it.
    pub fn column(&self, column: &ScanColumn, wanted: &Field) -> Result<ArrayRef> {
        match column {
            ScanColumn::Id => Ok(Arc::new(self.ids()?)),
            ScanColumn::Score(score) => self.scores(score),
            ScanColumn::Field { field, below } => match self.place(*field, below) {
                Some((field, kind)) => self.field(field, kind, wanted),
                None => Ok(self.nothing(wanted)),
            },
        }
    }

    /// The field behind some steps, and the type of its values that is wanted, if not all are.
    fn place(&self, field: FieldId, below: &[ScanStep]) -> Option<(FieldId, Option<Type>)> {
        below.iter().try_fold((field, None), |(field, _), step| match step {
            ScanStep::Kind(of) => Some((field, Some(*of))),
            ScanStep::Key(key) => Some((self.schema.child(field, key)?, None)),
        })
    }

    fn scores(&self, score: &ScanScore) -> Result<ArrayRef> {
        let place = match &score.texts {
            ScanColumn::Field { field, below } => self.place(*field, below),
            ScanColumn::Id | ScanColumn::Score(_) => None,
        };
        let Some((field, _)) = place else { return Ok(Arc::new(Float64Array::from(vec![0.0; self.rows.len()]))) };
        let text = Field::new("text", DataType::Utf8, true);
        let texts = |rows: &UInt32Array| Rows { rows, ..*self }.column(&score.texts, &text);
        Ok(Arc::new(scores(self.version, field, score, self.rows, texts)?))
    }

    fn ids(&self) -> Result<StringArray> {
        self.version.ids(self.rows).map_err(DataFusionError::from)
    }

    fn stored(&self, field: FieldId) -> Result<TypedColumns> {
        self.version.column(field, self.rows).map_err(DataFusionError::from)
    }

    fn nothing(&self, wanted: &Field) -> ArrayRef {
        new_null_array(wanted.data_type(), self.rows.len())
    }

    /// A field's values of the wanted type; of one type only where `kind` says so.
    fn field(&self, field: FieldId, kind: Option<Type>, wanted: &Field) -> Result<ArrayRef> {
        match wanted.data_type() {
            DataType::Struct(children) if is_dynamic(wanted) => self.dynamic(field, children),
            DataType::Struct(children) => self.object(field, children),
            DataType::Utf8 if has_extension(wanted, JSON) => self.json(field),
            _ => typed(&self.stored(field)?, kind, wanted),
        }
    }

    fn dynamic(&self, field: FieldId, children: &Fields) -> Result<ArrayRef> {
        let kind = |name: &str| Type::ALL.into_iter().find(|of| of.name() == name);
        let arrays: Vec<ArrayRef> =
            children.iter().map(|child| self.field(field, kind(child.name()), child)).collect::<Result<_>>()?;
        let valid = any_valid(&arrays, self.rows.len());
        Ok(Arc::new(StructArray::try_new_with_length(children.clone(), arrays, Some(valid), self.rows.len())?))
    }

    /// An object is there where one of its fields is, or its mark of being there and empty.
    fn object(&self, field: FieldId, children: &Fields) -> Result<ArrayRef> {
        let mut arrays = Vec::with_capacity(children.len());
        for child in children {
            arrays.push(match self.schema.child(field, child.name()) {
                Some(below) => self.field(below, None, child)?,
                None => self.nothing(child),
            });
        }
        let there = self.there(field)?;
        Ok(Arc::new(StructArray::try_new_with_length(children.clone(), arrays, Some(there), self.rows.len())?))
    }

    /// The rows in which there is an object at a field: fields that the plan does not know, and nulls, count too.
    fn there(&self, field: FieldId) -> Result<NullBuffer> {
        let mut there = vec![false; self.rows.len()];
        mark_valid(self.stored(field)?.column(Type::Object), &mut there);
        for below in self.below(field).into_iter().filter(|below| *below != field) {
            self.stored(below)?.columns().iter().for_each(|(_, column)| mark_valid(Some(column), &mut there));
        }
        Ok(there.into())
    }

    /// The field and those below it of which any row may have a value.
    fn below(&self, field: FieldId) -> Vec<FieldId> {
        let mut below = Vec::new();
        self.schema.visit_subtree(field, &mut |field| below.push(field));
        below.retain(|field| self.version.has(*field));
        below
    }

    fn json(&self, field: FieldId) -> Result<ArrayRef> {
        let depth = self.schema.path(field).keys().len();
        let mut columns = Vec::new();
        for below in self.below(field) {
            let path = FieldPath::from(self.schema.path(below).into_keys().split_off(depth));
            columns.push((path, self.stored(below)?));
        }
        let mut builder = StringBuilder::new();
        for row in 0..self.rows.len() {
            let leaves = columns.iter().filter_map(|(path, column)| Some((path.clone(), column.value(row)?)));
            let leaves: Vec<(FieldPath, Value)> = leaves.collect();
            match leaves.as_slice() {
                [] => builder.append_null(),
                [(path, value)] if path.is_root() => builder.append_value(json_text(value)),
                _ => {
                    let object = unflatten(leaves).map_err(|error| exec_datafusion_err!("{error}"))?;
                    builder.append_value(json_text(&Value::Object(object)));
                }
            }
        }
        Ok(Arc::new(builder.finish()))
    }
}

fn json_text(value: &Value) -> String {
    let mut text = Vec::new();
    write_json(value, &mut text, JsonStyle::default());
    String::from_utf8(text).expect("JSON is written as UTF-8")
}

fn mark_valid(column: Option<&ArrayRef>, there: &mut [bool]) {
    match column.map(|column| column.nulls()) {
        None => {}
        Some(None) => there.fill(true),
        Some(Some(nulls)) => nulls.valid_indices().for_each(|row| there[row] = true),
    }
}

fn any_valid(arrays: &[ArrayRef], rows: usize) -> NullBuffer {
    let mut there = vec![false; rows];
    let typed = arrays.iter().filter(|array| *array.data_type() != DataType::Null);
    typed.for_each(|array| mark_valid(Some(array), &mut there));
    there.into()
}

/// Values of the wanted Arrow type; of one of ours only where `kind` says so. Ints are floats where floats are wanted.
///
/// # Errors
/// A decimal has more digits than SQL's type for it.
pub fn typed(columns: &TypedColumns, kind: Option<Type>, wanted: &Field) -> Result<ArrayRef> {
    let nothing = || new_null_array(wanted.data_type(), columns.rows());
    let strict = |of: Type| columns.column(of).filter(|_| kind.is_none_or(|kind| kind == of));
    let plain = |of: Type| Ok(strict(of).map_or_else(nothing, Arc::clone));
    match wanted.data_type() {
        DataType::Null => Ok(nothing()),
        DataType::Boolean => plain(Type::Bool),
        DataType::Int64 => plain(Type::Int),
        DataType::Float64 => floats(strict(Type::Float), strict(Type::Int)).map(|found| found.unwrap_or_else(nothing)),
        DataType::Decimal256(..) => {
            strict(Type::Decimal).map_or_else(|| Ok(nothing()), |column| decimals(column, wanted))
        }
        DataType::Utf8 if has_extension(wanted, "basalt.tagged") || kind == Some(Type::Tagged) => {
            Ok(strict(Type::Tagged).map_or_else(nothing, |_| tagged(columns)))
        }
        DataType::Utf8 => plain(Type::String),
        DataType::Timestamp(..) => plain(Type::Timestamp),
        DataType::Date32 => plain(Type::Date),
        DataType::Time64(_) => plain(Type::Time),
        DataType::Binary if has_extension(wanted, "basalt.geography") => plain(Type::Geography),
        DataType::Binary => plain(Type::Bytes),
        DataType::List(item) => lists(columns, item, wanted),
        other => internal_err!("no stored value is a {other}"),
    }
}

fn floats(floats: Option<&ArrayRef>, ints: Option<&ArrayRef>) -> Result<Option<ArrayRef>> {
    let ints = ints.map(|ints| cast(ints, &DataType::Float64)).transpose()?;
    Ok(match (floats, ints) {
        (Some(floats), Some(ints)) => Some(zip(&is_not_null(floats)?, floats, &ints)?),
        (Some(floats), None) => Some(Arc::clone(floats)),
        (None, ints) => ints,
    })
}

fn tagged(columns: &TypedColumns) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for row in 0..columns.rows() {
        match columns.value(row) {
            Some(Value::Tagged(tagged)) => builder.append_value(tagged.text),
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn decimals(column: &ArrayRef, wanted: &Field) -> Result<ArrayRef> {
    let columns = TypedColumns::new(column.len(), vec![(Type::Decimal, Arc::clone(column))]);
    let mut builder = Decimal256Builder::new().with_data_type(wanted.data_type().clone());
    for row in 0..columns.rows() {
        match columns.value(row) {
            Some(Value::Decimal(decimal)) => builder.append_value(scaled(&decimal, wanted)?),
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The decimal's digits at SQL's scale.
fn scaled(decimal: &Decimal, wanted: &Field) -> Result<i256> {
    let (precision, scale) = DECIMAL;
    let missing = u32::try_from(i64::from(scale) - i64::from(decimal.scale())).ok();
    let limit = i256::from_i128(10).wrapping_pow(precision.into());
    let digits = missing.and_then(|missing| decimal.unscaled().checked_mul(i256::from_i128(10).checked_pow(missing)?));
    match digits.filter(|digits| *digits < limit && *digits > -limit) {
        Some(digits) => Ok(digits),
        None => exec_err!(
            "{} holds {decimal}, which has more digits than SQL's decimal({precision}, {scale}); read it by its key instead",
            wanted.name()
        ),
    }
}

/// Arrays and vectors, as lists.
fn lists(columns: &TypedColumns, item: &Arc<Field>, wanted: &Field) -> Result<ArrayRef> {
    let values: Vec<Option<Value>> = (0..columns.rows()).map(|row| columns.value(row)).collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    list_of(&values, item, wanted)
}

fn list_of(values: &[Option<&Value>], item: &Arc<Field>, wanted: &Field) -> Result<ArrayRef> {
    let floats: Vec<Vec<Value>>;
    let mut items: Vec<Option<&Value>> = Vec::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    if has_extension(wanted, "basalt.vector") {
        let vector = |value: &Option<&Value>| match value {
            Some(Value::Vector(vector)) => vector.iter().map(|float| Value::Float((*float).into())).collect(),
            _ => Vec::new(),
        };
        floats = values.iter().map(vector).collect();
        for (value, floats) in values.iter().zip(&floats) {
            lengths.push(floats.len());
            valid.push(matches!(value, Some(Value::Vector(_))));
            items.extend(floats.iter().map(Some));
        }
        let doubles = array_of(&items, &Field::new("item", DataType::Float64, true))?;
        let singles = cast(&doubles, item.data_type())?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        return Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, singles, Some(valid.into()))?));
    }
    for value in values {
        let elements: &[Value] = match value {
            Some(Value::Array(elements)) => elements,
            _ => &[],
        };
        lengths.push(elements.len());
        valid.push(matches!(value, Some(Value::Array(_))));
        items.extend(elements.iter().map(Some));
    }
    let elements = array_of(&items, item)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, elements, Some(valid.into()))?))
}

fn key_of<'v>(value: Option<&'v Value>, key: &str) -> Option<&'v Value> {
    match value {
        Some(Value::Object(object)) => object.get(key),
        _ => None,
    }
}

/// Values, whole as they stand in an array, as an Arrow array.
fn array_of(values: &[Option<&Value>], wanted: &Field) -> Result<ArrayRef> {
    match wanted.data_type() {
        DataType::Struct(children) if is_dynamic(wanted) => {
            let of_kind = |name: &str| -> Vec<Option<&Value>> {
                values.iter().map(|value| value.filter(|value| value.value_type().name() == name)).collect()
            };
            let arrays: Vec<ArrayRef> =
                children.iter().map(|child| array_of(&of_kind(child.name()), child)).collect::<Result<_>>()?;
            let valid = any_valid(&arrays, values.len());
            Ok(Arc::new(StructArray::try_new_with_length(children.clone(), arrays, Some(valid), values.len())?))
        }
        DataType::Struct(children) => {
            let field =
                |name: &str| -> Vec<Option<&Value>> { values.iter().map(|value| key_of(*value, name)).collect() };
            let arrays: Vec<ArrayRef> =
                children.iter().map(|child| array_of(&field(child.name()), child)).collect::<Result<_>>()?;
            let valid: NullBuffer =
                values.iter().map(|value| matches!(value, Some(Value::Object(_)))).collect::<Vec<_>>().into();
            Ok(Arc::new(StructArray::try_new_with_length(children.clone(), arrays, Some(valid), values.len())?))
        }
        DataType::List(item) => list_of(values, item, wanted),
        DataType::Utf8 if has_extension(wanted, JSON) => {
            let text = |value: &Option<&Value>| value.filter(|value| **value != Value::Null).map(json_text);
            Ok(Arc::new(values.iter().map(text).collect::<StringArray>()))
        }
        _ => {
            let mut builder = TypedColumnsBuilder::default();
            for value in values {
                builder.push_option(value.filter(|value| !matches!(value, Value::Object(_))));
            }
            typed(&builder.finish(), None, wanted)
        }
    }
}
