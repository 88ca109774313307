//! Every type with the exact text expected, shapes and names, and random batches read back by another JSON reader.

mod scalars;

mod nested;

mod replies;

mod random;

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use datafusion::arrow::array::*;

const ARRAYS: JsonStyle = JsonStyle { shape: Shape::Arrays, big_integers_as_strings: false };

fn batch_of(fields: Vec<Field>, columns: Vec<ArrayRef>) -> RecordBatch {
    let rows = columns.first().map_or(0, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
}

fn json_of(batch: &RecordBatch, style: JsonStyle, separator: Separator) -> String {
    let writer = RowWriter::try_new(&batch.schema(), style).unwrap();
    let (mut first, mut out) = (true, Vec::new());
    writer.write_rows(batch, separator, &mut first, &mut out).unwrap();
    assert_eq!(first, batch.num_rows() == 0);
    String::from_utf8(out).unwrap()
}

fn csv_of(batch: &RecordBatch) -> String {
    let writer = RowWriter::try_new(&batch.schema(), JsonStyle::default()).unwrap();
    let mut out = Vec::new();
    writer.write_csv_header(&mut out);
    writer.write_csv_rows(batch, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn extended(field: Field, extension: &str) -> Field {
    field.with_metadata(HashMap::from([("ARROW:extension:name".to_owned(), extension.to_owned())]))
}

/// Checks a column's type and its cells, then again from a slice in the middle of a longer array.
fn check_field(field: Field, array: ArrayRef, column_type: &str, expected: &[&str]) {
    let check = |field: Field, array: ArrayRef, expected: &[&str]| {
        let lines: String = expected.iter().map(|cell| format!("[{cell}]\n")).collect();
        assert_eq!(json_of(&batch_of(vec![field], vec![array]), ARRAYS, Separator::Newline), lines);
    };
    assert_eq!(super::column_type(&field), column_type, "{field}");
    check(field.clone(), Arc::clone(&array), expected);
    for start in 1..expected.len() {
        check(field.clone(), array.slice(start, 1), &expected[start..start + 1]);
    }
}

fn check(array: impl Array + 'static, column_type: &str, expected: &[&str]) {
    check_field(Field::new("c", array.data_type().clone(), true), Arc::new(array), column_type, expected);
}
