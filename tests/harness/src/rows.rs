//! Results as lines of text, for comparing.

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;

/// Every row as one line, in order; nulls are `∅`.
///
/// # Errors
/// A column cannot be shown.
pub fn lines(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("∅");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(cells.join(" | "));
        }
    }
    Ok(lines)
}

/// Every row as one line, sorted: for results without an order.
///
/// # Errors
/// A column cannot be shown.
pub fn sorted_lines(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut lines = lines(batches)?;
    lines.sort();
    Ok(lines)
}
