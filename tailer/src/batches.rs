//! Batches out of operations: dealt to shards by the hash of their `_id`, in their order within each shard.
//!
//! In: operations with their `_id`s, and the collection, which knows their fields. Out: records for the shard logs: of a
//! request with its key, of a source with the offsets that they cover.

use basalt_common::batch::{self, Batch, BatchBuilder, BatchHeader, RequestKey};
use basalt_common::catalog::Collection;
use basalt_common::id::{Epoch, ShardId};
use basalt_common::position::{SourcePartition, SourceRange};
use basalt_common::routing::shard_of;
use bytes::Bytes;

use crate::items::{Change, Item};

/// The most operations of one batch: a bound on what one step of a leaf takes, and on what sparse fields cost in it.
pub const BATCH_ROWS_MAX: usize = 8192;

/// By how many records a shard without any of its own may be behind its source, before it is told the offset: a restart reads
/// no more than these again.
const BEHIND_MAX: u64 = 1000;

/// A batch for one shard.
#[derive(Debug)]
pub struct Record {
    /// The shard.
    pub shard: ShardId,
    /// The batch.
    pub bytes: Bytes,
    /// Of a request: the index of the item behind each operation.
    pub items: Vec<u32>,
}

/// The items of a request.
pub fn of_request(
    collection: &Collection,
    items: Vec<Item>,
    key: Option<&RequestKey>,
    logged_at_micros: i64,
) -> Vec<Record> {
    let mut open: Vec<(BatchBuilder, Vec<u32>)> = Vec::new();
    open.resize_with(collection.shards.into(), Default::default);
    let mut parts = vec![0_usize; collection.shards.into()];
    let mut records = Vec::new();
    let finish = |shard: usize, part: usize, builder: BatchBuilder, items: Vec<u32>| {
        let request = key.map(|key| key_of_part(key, part));
        let (shard, bytes) = encode(collection, shard, builder, request, Vec::new(), logged_at_micros);
        Record { shard, bytes, items }
    };
    for item in items {
        let (shard, id) = route(collection, &item);
        let (builder, indices) = &mut open[shard];
        add(builder, collection, id, &item.change);
        indices.push(item.index as u32);
        if builder.len() == BATCH_ROWS_MAX {
            records.push(finish(shard, parts[shard], std::mem::take(builder), std::mem::take(indices)));
            parts[shard] += 1;
        }
    }
    for (shard, (builder, indices)) in open.into_iter().enumerate() {
        if !builder.is_empty() {
            records.push(finish(shard, parts[shard], builder, indices));
        }
    }
    records
}

/// How far a source's partition is.
#[derive(Debug, Clone)]
pub struct SourceStep {
    /// The partition.
    pub partition: SourcePartition,
    /// The epoch of whoever reads it.
    pub epoch: Epoch,
    /// For each shard, the first offset that it does not have yet.
    pub due: Vec<u64>,
    /// The last offset of this step.
    pub last: u64,
}

/// The items of records of a source, whose indices are their offsets: what a shard has is left out there. A shard whose batch
/// is among the records has all to the step's end then. Returns how many items were left out, too.
///
/// # Panics
/// There are more items than a batch may have.
pub fn of_source(
    collection: &Collection,
    items: &[Item],
    step: &SourceStep,
    logged_at_micros: i64,
) -> (Vec<Record>, u64) {
    assert!(items.len() <= BATCH_ROWS_MAX, "the operations of a step are one batch for each shard");
    let mut open: Vec<BatchBuilder> = Vec::new();
    open.resize_with(collection.shards.into(), Default::default);
    let mut replayed = 0;
    for item in items {
        let (shard, id) = route(collection, item);
        match item.index < step.due[shard] {
            true => replayed += 1,
            false => add(&mut open[shard], collection, id, &item.change),
        }
    }
    let mut records = Vec::new();
    for (shard, builder) in open.into_iter().enumerate() {
        let first = step.due[shard];
        if !builder.is_empty() || step.last + 1 >= first + BEHIND_MAX {
            let range = SourceRange { partition: step.partition, epoch: step.epoch, first, last: step.last };
            let (shard, bytes) = encode(collection, shard, builder, None, vec![range], logged_at_micros);
            records.push(Record { shard, bytes, items: Vec::new() });
        }
    }
    (records, replayed)
}

/// A claim of an epoch, for every shard: it covers no offset.
pub fn of_claim(
    collection: &Collection,
    partition: SourcePartition,
    epoch: Epoch,
    logged_at_micros: i64,
) -> Vec<Record> {
    let range = SourceRange { partition, epoch, first: 1, last: 0 };
    let claim = |shard: u16| {
        let shard = usize::from(shard);
        let (shard, bytes) = encode(collection, shard, BatchBuilder::default(), None, vec![range], logged_at_micros);
        Record { shard, bytes, items: Vec::new() }
    };
    (0..collection.shards).map(claim).collect()
}

fn route<'i>(collection: &Collection, item: &'i Item) -> (usize, &'i str) {
    let id = item.id.as_deref().expect("documents were named");
    (shard_of(id.as_bytes(), collection.shards.into()) as usize, id)
}

fn add(builder: &mut BatchBuilder, collection: &Collection, id: &str, change: &Change) {
    let schema = &collection.schema;
    match change {
        Change::Upsert(document) => builder.upsert(schema, id, document).expect("its fields are registered"),
        Change::Patch { operations, insert } => {
            builder.patch(schema, id, operations, *insert).expect("its fields are registered");
        }
        Change::Delete => builder.delete(id),
    }
}

/// The key of one of a request's batches for a shard: each is applied once.
fn key_of_part(key: &RequestKey, part: usize) -> RequestKey {
    match part {
        0 => key.clone(),
        _ => RequestKey { key: format!("{}#{part}", key.key), body_hash: key.body_hash },
    }
}

fn encode(
    collection: &Collection,
    shard: usize,
    builder: BatchBuilder,
    request: Option<RequestKey>,
    sources: Vec<SourceRange>,
    logged_at_micros: i64,
) -> (ShardId, Bytes) {
    let shard = ShardId { collection: collection.id, shard: shard as u16 };
    let header = BatchHeader {
        shard,
        routing_epoch: 0,
        schema_version: collection.schema.version(),
        logged_at_micros,
        event_time_micros: None,
        sources,
        request,
    };
    let mut bytes = Vec::new();
    batch::encode(&Batch { header, operations: builder.finish() }, &mut bytes);
    (shard, bytes.into())
}
