//! Shards of plain Arrow batches: what tests of distribution scan.
//!
//! In: batches per shard. Out: [`ShardReader`]: the columns a scan asks for; a field's number is a column's index.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use basalt_common::scan::{ScanColumn, ScanFilter, ShardReader, ShardScan};
use basalt_leaf::counters::Counters;
use datafusion::arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

/// A collection's name and a shard's number.
type ShardName = (Arc<str>, u32);

/// Shards by collection and number; each a list of batches of one schema.
#[derive(Debug, Default)]
pub struct Shards {
    held: RwLock<HashMap<ShardName, Arc<[RecordBatch]>>>,
    counters: Arc<Counters>,
}

impl Shards {
    /// Makes an empty leaf's shards, which count into `counters`.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { held: RwLock::default(), counters }
    }

    /// Takes a shard, in place of what it held before.
    pub fn put(&self, collection: &str, shard: u32, batches: Vec<RecordBatch>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert((collection.into(), shard), batches.into());
    }
}

impl ShardReader for Shards {
    fn open(&self, scan: &ShardScan, _context: &Arc<TaskContext>) -> Result<Option<SendableRecordBatchStream>> {
        let key = (Arc::clone(&scan.target.name), scan.shard);
        let Some(batches) = self.held.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned() else {
            return Ok(None);
        };
        let (schema, wanted, filter) = (Arc::clone(&scan.schema), Arc::clone(&scan.columns), scan.filter.clone());
        let counters = Arc::clone(&self.counters);
        let mut left = scan.limit.unwrap_or(usize::MAX);
        let rows = (0..batches.len()).filter_map(move |index| {
            let batch = &batches[index];
            let taken = batch.slice(0, batch.num_rows().min(left));
            left -= taken.num_rows();
            counters.add_rows_scanned(taken.num_rows());
            let pass = |taken: RecordBatch| select(&passing(&taken, filter.as_deref())?, &schema, &wanted);
            (taken.num_rows() > 0).then(|| pass(taken))
        });
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), futures::stream::iter(rows));
        Ok(Some(Box::pin(stream)))
    }
}

/// The rows that a filter lets through.
fn passing(batch: &RecordBatch, filter: Option<&ScanFilter>) -> Result<RecordBatch> {
    let Some(ScanFilter { schema, columns, predicate }) = filter else { return Ok(batch.clone()) };
    let passed = predicate.evaluate(&select(batch, schema, columns)?)?.into_array(batch.num_rows())?;
    Ok(filter_record_batch(batch, passed.as_boolean())?)
}

fn select(batch: &RecordBatch, schema: &SchemaRef, wanted: &[ScanColumn]) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(wanted.len());
    for column in wanted {
        match column {
            ScanColumn::Field { field, below } if below.is_empty() => {
                columns.push(Arc::clone(batch.column(field.0 as usize)));
            }
            other => return exec_err!("the shard has no column {other:?}"),
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
