//! The shards that this leaf holds, in memory.
//!
//! In: batches per shard. Out: [`ShardReader`]: the columns a scan asks for, found by name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use basalt_common::scan::{ShardReader, ShardScan};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::counters::Counters;

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
        let key = (Arc::clone(&scan.collection), scan.shard);
        let Some(batches) = self.held.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned() else {
            return Ok(None);
        };
        let schema = Arc::clone(&scan.schema);
        let counters = Arc::clone(&self.counters);
        let mut left = scan.limit.unwrap_or(usize::MAX);
        let rows = (0..batches.len()).filter_map(move |index| {
            let batch = &batches[index];
            let taken = batch.slice(0, batch.num_rows().min(left));
            left -= taken.num_rows();
            counters.add_rows_scanned(taken.num_rows());
            (taken.num_rows() > 0).then(|| select(&taken, &schema))
        });
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), futures::stream::iter(rows));
        Ok(Some(Box::pin(stream)))
    }
}

fn select(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        match batch.column_by_name(field.name()) {
            Some(column) => columns.push(Arc::clone(column)),
            None => return exec_err!("the shard has no column {}", field.name()),
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use futures::TryStreamExt;

    use super::{Arc, Counters, RecordBatch, ShardReader, ShardScan, Shards};

    #[tokio::test]
    async fn empty_batches_end_nothing_and_limits_do() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |rows: i64| {
            let column = Arc::new(Int64Array::from_iter_values(0..rows));
            RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("the column fits")
        };
        let shards = Shards::new(Arc::new(Counters::default()));
        shards.put("t", 0, vec![batch(0), batch(3), batch(0), batch(4)]);
        for (limit, expected) in [(None, 7), (Some(5), 5), (Some(0), 0)] {
            let scan = ShardScan { collection: "t".into(), shard: 0, schema: Arc::clone(&schema), limit };
            let stream = shards.open(&scan, &Arc::default()).expect("it can be read").expect("it is held");
            let rows: Vec<RecordBatch> = stream.try_collect().await.expect("it can be read");
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), expected, "limit {limit:?}");
        }
    }
}
