//! Values within values.

use super::*;
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::*;

pub(super) fn list_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

#[test]
fn lists() {
    let items = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(2)])];
    let expected = ["[1,null]", "null", "[]", "[2]"];
    check(ListArray::from_iter_primitive::<Int32Type, _, _>(items.clone()), "array", &expected);
    check(LargeListArray::from_iter_primitive::<Int32Type, _, _>(items), "array", &expected);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let (offsets, sizes) = (ScalarBuffer::from(vec![2i32, 0, 0]), ScalarBuffer::from(vec![2i32, 1, 3]));
    let field = list_field(DataType::Int64);
    let views = ListViewArray::new(Arc::clone(&field), offsets, sizes, Arc::clone(&values), nulls.clone());
    check(views, "array", &["[3,4]", "null", "[1,2,3]"]);
    let (offsets, sizes) = (ScalarBuffer::from(vec![2i64, 0, 0]), ScalarBuffer::from(vec![2i64, 1, 3]));
    let views = LargeListViewArray::new(Arc::clone(&field), offsets, sizes, Arc::clone(&values), nulls);
    check(views, "array", &["[3,4]", "null", "[1,2,3]"]);
    check(FixedSizeListArray::new(field, 2, values, None), "array", &["[1,2]", "[3,4]"]);

    let floats = Float32Array::from(vec![0.5, 1.0, -0.25, f32::NAN]);
    let vectors = FixedSizeListArray::new(list_field(DataType::Float32), 2, Arc::new(floats), None);
    let field = extended(Field::new("v", vectors.data_type().clone(), true), EXTENSION_VECTOR);
    check_field(field, Arc::new(vectors), "vector", &["[0.5,1.0]", "[-0.25,null]"]);
}

/// Rows `{a: 1, b: "x"}`, null, `{b: "y"}` and `{}`.
fn objects() -> StructArray {
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b\"", DataType::Utf8, true)];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(9), None, None])),
        Arc::new(StringArray::from(vec![Some("x"), Some("hidden"), Some("y"), None])),
    ];
    StructArray::new(fields.into(), columns, Some(NullBuffer::from(vec![true, false, true, true])))
}

#[test]
fn objects_leave_out_null_children() {
    check(objects(), "object", &[r#"{"a":1,"b\"":"x"}"#, "null", r#"{"b\"":"y"}"#, "{}"]);
    let inner = Field::new("inner", objects().data_type().clone(), true);
    let outer = StructArray::from(vec![(Arc::new(inner), Arc::new(objects()) as ArrayRef)]);
    check(outer, "object", &[r#"{"inner":{"a":1,"b\"":"x"}}"#, "{}", r#"{"inner":{"b\"":"y"}}"#, r#"{"inner":{}}"#]);
    check(StructArray::new_empty_fields(2, None), "object", &["{}", "{}"]);
}

#[test]
fn maps() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.keys().append_value("k");
    builder.values().append_value(1);
    builder.keys().append_value("\n");
    builder.values().append_null();
    builder.append(true).unwrap();
    builder.append(false).unwrap();
    builder.append(true).unwrap();
    check(builder.finish(), "object", &[r#"{"k":1,"\n":null}"#, "null", "{}"]);
    let mut builder = MapBuilder::new(None, Date32Builder::new(), Int64Builder::new());
    builder.keys().append_value(0);
    builder.values().append_value(1);
    builder.append(true).unwrap();
    check(builder.finish(), "object", &[r#"{"1970-01-01":1}"#]);
    let mut builder = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
    builder.keys().append_value(-7);
    builder.values().append_value(1);
    builder.append(true).unwrap();
    check(builder.finish(), "object", &[r#"{"-7":1}"#]);
}

/// Rows 7, `[true, "z"]`, `{b: "y"}`, null (no child has a value) and null (the whole is null).
pub(super) fn dynamics() -> (Field, ArrayRef) {
    let fields: Fields =
        vec![Field::new("bool", DataType::Boolean, true), Field::new("string", DataType::Utf8, true)].into();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(BooleanArray::from(vec![Some(true), None])), Arc::new(StringArray::from(vec![None, Some("z")]))];
    let items = StructArray::new(fields, columns, None);
    let item = Arc::new(extended(Field::new("item", items.data_type().clone(), true), EXTENSION_DYNAMIC));
    let offsets = OffsetBuffer::from_lengths([0, 2, 0, 0, 0]);
    let list_nulls = NullBuffer::from(vec![false, true, false, false, false]);
    let lists = ListArray::new(item, offsets, Arc::new(items), Some(list_nulls));
    let ints = Int64Array::from(vec![Some(7), None, None, None, Some(8)]);
    let indices = UInt32Array::from(vec![None, None, Some(2), None, None]);
    let inner = datafusion::arrow::compute::take(&objects(), &indices, None).unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(ints), Arc::new(lists), inner, Arc::new(NullArray::new(5))];
    let names = ["int", "array", "object", "null"];
    let fields = names.iter().zip(&columns).map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let nulls = NullBuffer::from(vec![true, true, true, true, false]);
    let dynamics = StructArray::new(fields.collect(), columns, Some(nulls));
    (extended(Field::new("d", dynamics.data_type().clone(), true), EXTENSION_DYNAMIC), Arc::new(dynamics))
}

#[test]
fn dynamic_values() {
    let (field, array) = dynamics();
    let expected = ["7", r#"[true,"z"]"#, r#"{"b\"":"y"}"#, "null", "null"];
    check_field(field.clone(), Arc::clone(&array), "dynamic", &expected);
    let outer = StructArray::from(vec![(Arc::new(field), array)]);
    let expected = [r#"{"d":7}"#, r#"{"d":[true,"z"]}"#, r#"{"d":{"b\"":"y"}}"#, "{}", "{}"];
    check(outer, "object", &expected);
}
