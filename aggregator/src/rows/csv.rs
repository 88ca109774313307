//! Rows as CSV (RFC 4180), with `\n` at the end of lines.
//!
//! In: the batches of a result. Out: a header, and a line for each row. Owns quoting. Leaves to `encode` what a value
//! looks like: a scalar is the text that JSON has for it, without quotes, and an array or object is its JSON.
//!
//! ```text
//! file  = line*                       the header, then a line for each row
//! line  = [cell *("," cell)] "\n"
//! cell  = ""                          null, and floats that are not finite
//!       | bytes                       without comma, quote, CR and LF
//!       | '"' (bytes | '""')* '"'     all others, and the empty string, so that it is not taken for null
//! ```

use super::column::{Column, Values};
use super::encode::Output;
use super::{RowWriter, RowsError};
use datafusion::arrow::array::RecordBatch;

impl RowWriter {
    /// Appends the line of CSV that names the columns.
    pub fn write_csv_header(&self, out: &mut Vec<u8>) {
        for (index, column) in self.columns().iter().enumerate() {
            separate(index, out);
            write_quoted_if_needed(column.name.as_bytes(), out);
        }
        out.push(b'\n');
    }

    /// Appends the rows of a batch as lines of CSV.
    ///
    /// # Errors
    /// The batch is not of the schema: nothing was appended then.
    pub fn write_csv_rows(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), RowsError> {
        let columns = self.open(batch)?;
        let mut json = Vec::new();
        let mut cell = self.output(&mut json);
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                separate(index, out);
                write_cell(column, row, &mut cell, out);
            }
            out.push(b'\n');
        }
        self.count(&cell);
        Ok(())
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Writes a cell by way of its JSON; `cell` is room for that.
fn write_cell(column: &Column<'_>, row: usize, cell: &mut Output<'_>, out: &mut Vec<u8>) {
    let Some((values, row)) = column.find(row) else { return };
    if let Some(text) = values.text(row) {
        return write_quoted_if_needed(text.as_bytes(), out);
    }
    cell.bytes.clear();
    values.write(row, cell);
    let json = cell.bytes.as_slice();
    match values {
        Values::List(..) | Values::Object(_) | Values::Map { .. } => write_quoted_if_needed(json, out),
        // What a scalar other than a string has between quotes needs no escapes, neither in JSON nor here.
        _ => match json {
            b"null" => {}
            [b'"', text @ .., b'"'] => write_quoted_if_needed(text, out),
            text => out.extend_from_slice(text),
        },
    }
}

fn write_quoted_if_needed(text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
    if !text.is_empty() && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for (index, piece) in text.split(|byte| *byte == b'"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(piece);
    }
    out.push(b'"');
}
