//! Batches out of operations: dealt to shards by the hash of their `_id`, in their order within each shard.
//!
//! In: operations with their `_id`s, and the collection, which knows their fields. Out: records for the shard logs: of a
//! request with its key, of a source with the offsets that they cover.

use basalt_common::batch::{self, Batch, BatchBuilder, BatchHeader, RequestKey};
use basalt_common::catalog::Collection;
use basalt_common::id::{Epoch, ShardId};
use basalt_common::position::{SourcePartition, SourceRange};
use basalt_common::routing::shard_of;
use basalt_common::version::VersionRule;
use bytes::Bytes;

use crate::items::{Change, Item};
use crate::stamps::Stamp;

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
    open.resize_with(collection.shards.into(), || (builder_of(collection), Vec::new()));
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
        add(builder, collection, id, &item);
        indices.push(item.index as u32);
        if builder.len() == BATCH_ROWS_MAX {
            let full = std::mem::replace(builder, builder_of(collection));
            records.push(finish(shard, parts[shard], full, std::mem::take(indices)));
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
    open.resize_with(collection.shards.into(), || builder_of(collection));
    let mut replayed = 0;
    for item in items {
        let (shard, id) = route(collection, item);
        match item.index < step.due[shard] {
            true => replayed += 1,
            false => add(&mut open[shard], collection, id, item),
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
        let (shard, bytes) = encode(collection, shard, builder_of(collection), None, vec![range], logged_at_micros);
        Record { shard, bytes, items: Vec::new() }
    };
    (0..collection.shards).map(claim).collect()
}

/// Batches without operations, for every shard: its logged time goes on.
pub fn of_nothing(collection: &Collection, logged_at_micros: i64) -> Vec<(ShardId, Bytes)> {
    let nothing =
        |shard: u16| encode(collection, shard.into(), builder_of(collection), None, Vec::new(), logged_at_micros);
    (0..collection.shards).map(nothing).collect()
}

fn route<'i>(collection: &Collection, item: &'i Item) -> (usize, &'i str) {
    let id = item.id.as_deref().expect("documents were named");
    (shard_of(id.as_bytes(), collection.shards.into()) as usize, id)
}

fn builder_of(collection: &Collection) -> BatchBuilder {
    match collection.version.is_some() {
        true => BatchBuilder::versioned(),
        false => BatchBuilder::default(),
    }
}

fn add(builder: &mut BatchBuilder, collection: &Collection, id: &str, item: &Item) {
    let schema = &collection.schema;
    match &item.change {
        Change::Upsert(document) => builder.upsert(schema, id, document).expect("its fields are registered"),
        Change::UpsertFlat(document) => builder.upsert_flat(id, document),
        Change::Patch { operations, insert } => {
            builder.patch(schema, id, operations, *insert).expect("its fields are registered");
        }
        Change::Delete => builder.delete(id),
    }
    if let Some(Stamp { version, operation_id }) = item.stamp {
        builder.version(version, operation_id.expect("operations were named"));
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
        horizon: collection.version.as_ref().map(VersionRule::horizon),
        retention: collection.retention(),
    };
    let mut bytes = Vec::new();
    batch::encode(&Batch { header, operations: builder.finish() }, &mut bytes);
    (shard, bytes.into())
}

#[cfg(test)]
mod tests {
    use basalt_common::batch::{OperationKind, decode};
    use basalt_common::id::SourceId;

    use super::{
        BEHIND_MAX, Change, Epoch, Item, SourcePartition, SourceRange, SourceStep, of_claim, of_source, shard_of,
    };

    use crate::items::tests::collection;

    const SHARDS: u16 = 4;
    const PARTITION: SourcePartition = SourcePartition { source: SourceId(3), incarnation: 9, partition: 1 };

    fn delete(offset: u64) -> Item {
        Item { index: offset, id: Some(format!("document {offset}")), change: Change::Delete, stamp: None }
    }

    fn shard(item: &Item) -> usize {
        shard_of(item.id.as_deref().unwrap_or_default().as_bytes(), SHARDS.into()) as usize
    }

    /// Each shard gets what it lacks, in the order of the offsets, in one batch that covers all to the step's end.
    #[test]
    fn what_a_shard_has_is_left_out() {
        let collection = collection(None, None);
        let items: Vec<Item> = (100..160).map(delete).collect();
        let due = vec![100, 130, 160, 155];
        let step = SourceStep { partition: PARTITION, epoch: Epoch(5), due: due.clone(), last: 159 };
        let (records, replayed) = of_source(&collection, &items, &step, 7);
        let mut taken = 0;
        for record in &records {
            let number = usize::from(record.shard.shard);
            let batch = decode(&record.bytes).expect("it was encoded");
            let range = SourceRange { partition: PARTITION, epoch: Epoch(5), first: due[number], last: 159 };
            assert_eq!(batch.header.sources, [range]);
            let wanted = items.iter().filter(|item| shard(item) == number && item.index >= due[number]);
            let wanted: Vec<&str> = wanted.filter_map(|item| item.id.as_deref()).collect();
            let found: Vec<&str> = (0..batch.operations.len()).map(|row| batch.operations.ids.value(row)).collect();
            assert_eq!(found, wanted);
            assert!(batch.operations.kinds.iter().all(|kind| *kind == OperationKind::Delete));
            taken += found.len() as u64;
        }
        assert_eq!(taken + replayed, items.len() as u64);
        assert!(records.iter().all(|record| record.shard.shard != 2), "it has everything");
    }

    #[test]
    fn a_shard_without_records_is_told_the_offset_in_time() {
        let collection = collection(None, None);
        let items = [delete(5_000)];
        let own = shard(&items[0]);
        let mut due = vec![5_000; SHARDS.into()];
        let (behind, nearly) = ((own + 1) % 4, (own + 2) % 4);
        (due[behind], due[nearly]) = (5_001 - BEHIND_MAX, 5_002 - BEHIND_MAX);
        let step = SourceStep { partition: PARTITION, epoch: Epoch(1), due, last: 5_000 };
        let (records, _) = of_source(&collection, &items, &step, 7);
        let mut told: Vec<usize> = records.iter().map(|record| record.shard.shard.into()).collect();
        told.sort_unstable();
        let mut expected = vec![own, behind];
        expected.sort_unstable();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_claim_covers_nothing_in_every_shard() {
        let claims = of_claim(&collection(None, None), PARTITION, Epoch(2), 7);
        assert_eq!(claims.len(), usize::from(SHARDS));
        for claim in claims {
            let batch = decode(&claim.bytes).expect("it was encoded");
            assert!(batch.operations.is_empty() && batch.header.sources.iter().all(|range| range.first > range.last));
        }
    }
}
