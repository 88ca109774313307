//! Whole rows: names, separators, CSV, and what is refused.

use super::nested::{dynamics, list_field};
use super::*;
use datafusion::arrow::datatypes::*;

#[test]
fn rows_have_all_columns_and_distinct_names() {
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    let column = |values: &[Option<i64>]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let columns = vec![column(&[Some(1)]), column(&[None]), column(&[Some(3)]), column(&[Some(4)]), column(&[Some(5)])];
    let batch = batch_of(["a", "a", "\"", "a_2", "a"].map(field).to_vec(), columns);
    let objects = json_of(&batch, JsonStyle::default(), Separator::Comma);
    assert_eq!(objects, r#"{"a":1,"a_3":null,"\"":3,"a_2":4,"a_4":5}"#);
    let names = |shape| {
        let style = JsonStyle { shape, ..JsonStyle::default() };
        let writer = RowWriter::try_new(&batch.schema(), style).unwrap();
        writer.columns().iter().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(Shape::Objects), ["a", "a_3", "\"", "a_2", "a_4"]);
    assert_eq!(names(Shape::Arrays), ["a", "a", "\"", "a_2", "a"]);
    assert_eq!(csv_of(&batch), "a,a_3,\"\"\"\",a_2,a_4\n1,,3,4,5\n");
}

#[test]
fn separators_go_on_over_batches() {
    let field = Field::new("a", DataType::Int64, true);
    let batch = batch_of(vec![field], vec![Arc::new(Int64Array::from(vec![1, 2]))]);
    let writer = RowWriter::try_new(&batch.schema(), JsonStyle::default()).unwrap();
    for (separator, expected) in [
        (Separator::Comma, "{\"a\":1},{\"a\":2},{\"a\":1},{\"a\":2}"),
        (Separator::Newline, "{\"a\":1}\n{\"a\":2}\n{\"a\":1}\n{\"a\":2}\n"),
    ] {
        let (mut first, mut out) = (true, Vec::new());
        for part in [batch.slice(0, 0), batch.clone(), batch.slice(1, 0), batch.slice(0, 1), batch.slice(1, 1)] {
            writer.write_rows(&part, separator, &mut first, &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn no_columns() {
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(json_of(&batch, JsonStyle::default(), Separator::Comma), "{},{}");
    assert_eq!(json_of(&batch, ARRAYS, Separator::Newline), "[]\n[]\n");
    assert_eq!(csv_of(&batch), "\n\n\n");
}

#[test]
fn csv() {
    let (dynamic_field, dynamic) = dynamics();
    let strings = StringArray::from(vec![Some("plain"), Some("a,\"b\""), Some("two\nlines"), Some(""), None]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(strings),
        Arc::new(Float64Array::from(vec![1.5, f64::NAN, 1e300, 0.0, -2.0])),
        Arc::new(Date32Array::from(vec![Some(0), None, None, None, None])),
        Arc::new(BinaryArray::from(vec![Some(b"a".as_slice()), Some(b""), None, None, None])),
        dynamic,
    ];
    let mut fields: Vec<Field> = ["s,", "f", "d", "b"]
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    fields.push(dynamic_field);
    let expected = r#""s,",f,d,b,d_2
plain,1.5,1970-01-01,YQ==,7
"a,""b""",,,"","[true,""z""]"
"two
lines",1e300,,,"{""b\"""":""y""}"
"",0.0,,,
,-2.0,,,
"#;
    fields[4] = fields[4].clone().with_name("d");
    assert_eq!(csv_of(&batch_of(fields, columns)), expected);
}

#[test]
fn what_cannot_be_written_is_refused_before_the_first_byte() {
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    let nested = DataType::List(list_field(union.clone()));
    let schema = Schema::new(vec![Field::new("fine", DataType::Int64, true), Field::new("u", nested, true)]);
    let refused = RowWriter::try_new(&schema, JsonStyle::default()).unwrap_err();
    assert_eq!(refused, RowsError::Unsupported { column: "u".into(), data_type: union });

    let batch = |array: ArrayRef| batch_of(vec![Field::new("a", array.data_type().clone(), true)], vec![array]);
    let ints = batch(Arc::new(Int64Array::from(vec![1])));
    let writer = RowWriter::try_new(&ints.schema(), JsonStyle::default()).unwrap();
    let refused = |batch: RecordBatch| {
        let mut out = Vec::new();
        let error = writer.write_rows(&batch, Separator::Comma, &mut true, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    let wrong = refused(batch(Arc::new(StringArray::from(vec!["x"]))));
    assert_eq!(wrong, RowsError::ColumnType { column: "a".into(), expected: "int", actual: "string" });
    let none = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert_eq!(refused(none), RowsError::ColumnCount { expected: 1, actual: 0 });
}
