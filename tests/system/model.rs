//! Oracle (a): a shard against a map of documents, under random operations, flushes and restarts.
//!
//! Every operation goes through the columnar batch and its bytes, as it would through the log. At random moments the shard
//! is flushed, or dropped and made again from its newest manifest and the batches behind it. After at most a thousand
//! operations, all documents and a filtered aggregate are compared.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use basalt_common::batch::{self, Batch, BatchBuilder, BatchHeader};
use basalt_common::id::{CollectionId, FieldId, ShardId};
use basalt_common::patch;
use basalt_common::position::LogPosition;
use basalt_common::retention::{Expired, Retention};
use basalt_common::schema::Schema;
use basalt_common::value::{Object, Value};
use basalt_common::version::Horizon;
use basalt_harness::operations::{Effect, Model, Operation, Operations, is_expired, is_tested, seed_of_round};
use basalt_leaf::apply::Outcome;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::shard::{Shard, Snapshot};

use crate::disk::{Disk, Kept, apply_again};

pub(super) const SHARD: ShardId = ShardId { collection: CollectionId(1), shard: 0 };

fn effect(outcome: &Outcome) -> Effect {
    match outcome {
        Outcome::Added => Effect::Added,
        Outcome::Replaced => Effect::Replaced,
        Outcome::Patched => Effect::Patched,
        Outcome::Deleted => Effect::Deleted,
        Outcome::Missing => Effect::Missing,
        Outcome::Failed(_) => Effect::Failed,
        Outcome::Ignored | Outcome::TooLate { .. } => unreachable!("its operations have no versions"),
    }
}

fn header(schema: &Schema, horizon: Option<Horizon>) -> BatchHeader {
    BatchHeader {
        shard: SHARD,
        routing_epoch: 0,
        schema_version: schema.version(),
        logged_at_micros: 0,
        event_time_micros: None,
        sources: Vec::new(),
        request: None,
        horizon,
        retention: None,
    }
}

/// Registers an operation's fields and adds it.
pub(super) fn add(builder: &mut BatchBuilder, schema: &mut Schema, id: &str, operation: &Operation) -> Result<()> {
    match operation {
        Operation::Upsert(document) => {
            schema.register_object(FieldId::ROOT, document, &mut |_, _| {});
            builder.upsert(schema, id, document)?;
        }
        Operation::Patch { operations, insert } => {
            patch::register(schema, operations);
            builder.patch(schema, id, operations, *insert)?;
        }
        Operation::Delete => builder.delete(id),
    }
    Ok(())
}

/// The operations as they come out of the log.
pub(super) fn through_the_log(builder: BatchBuilder, schema: &Schema, horizon: Option<Horizon>) -> Result<Batch> {
    logged(header(schema, horizon), builder)
}

fn logged(header: BatchHeader, builder: BatchBuilder) -> Result<Batch> {
    let batch = Batch { header, operations: builder.finish() };
    let mut bytes = Vec::new();
    batch::encode(&batch, &mut bytes);
    let read = batch::decode(&bytes)?;
    ensure!(read == batch, "a batch changed on its way through bytes");
    Ok(read)
}

/// `SELECT count(*), sum(n) WHERE n >= 0`, over the ints of field `n`.
fn aggregate(snapshot: &Snapshot, schema: &Schema) -> Result<(usize, i128)> {
    let Some(n) = schema.find(&["n".into()]) else { return Ok((0, 0)) };
    let mut found = (0, 0);
    for segment in snapshot.segments() {
        let live = segment.live();
        let column = segment.column(n, &live)?;
        for row in 0..column.rows() {
            if let Some(Value::Int(value @ 0..)) = column.value(row) {
                found = (found.0 + 1, found.1 + i128::from(value));
            }
        }
    }
    Ok(found)
}

fn model_aggregate(model: &Model) -> (usize, i128) {
    let ints = model.documents.values().filter_map(|document| match document.get("n") {
        Some(Value::Int(value @ 0..)) => Some(i128::from(*value)),
        _ => None,
    });
    ints.fold((0, 0), |(count, sum), value| (count + 1, sum + value))
}

/// The documents whose time, in field `n`, is over are those that every segment tells, read or written.
fn compare_expired(snapshot: &Snapshot, schema: &Schema, model: &Model) -> Result<()> {
    let Some(field) = schema.find(&["n".into()]) else { return Ok(()) };
    for below in [-499_000_000, -300_000_000, 1, 500_000_000] {
        let mut found = BTreeSet::new();
        for version in snapshot.segments() {
            let rows = version.expired(Expired { field, below })?;
            ensure!(version.knows_expired(Expired { field, below }), "it was just told");
            for row in rows {
                ensure!(version.is_expired(row, Expired { field, below })?, "row {row} is not over by itself");
                found.insert(version.segment().id_of(row)?.into_owned());
            }
        }
        let over = model.documents.iter().filter(|(_, document)| is_expired(document, "n", below));
        let expected: BTreeSet<String> = over.map(|(id, _)| id.clone()).collect();
        ensure!(found == expected, "over at {below}: {found:?}\nexpected {expected:?}");
    }
    Ok(())
}

pub(super) fn compare(shard: &Shard, schema: &Schema, model: &Model) -> Result<()> {
    let snapshot = shard.newest().pin();
    ensure!(snapshot.documents() == model.documents.len(), "count: {} documents", snapshot.documents());
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for segment in snapshot.segments() {
        for row in segment.live().values() {
            let id = segment.segment().id_of(*row)?.into_owned();
            ensure!(found.insert(id, segment.document(*row, schema)?).is_none(), "a document is there twice");
        }
    }
    for (index, (id, expected)) in model.documents.iter().enumerate() {
        let expected = Value::Object(expected.clone());
        ensure!(found.get(id) == Some(&expected), "{id}: {:?}\nexpected {expected:?}", found.get(id));
        let found = || match shard.find(id)? {
            Some((version, row)) => version.document(row, schema).map(Some),
            None => Ok(None),
        };
        let by_key = index % 16 != 0 || found()?.as_ref() == Some(&expected);
        ensure!(by_key, "{id} by its key");
    }
    compare_expired(&snapshot, schema, model)?;
    let (ours, theirs) = (aggregate(&snapshot, schema)?, model_aggregate(model));
    ensure!(ours == theirs, "aggregate {ours:?}, expected {theirs:?}");
    Ok(())
}

/// Law 2: the log alone decides, not how much of the schema was known when it was applied.
fn replay(log: &[(Batch, Vec<Outcome>)], policy: MergePolicy, schema: &Schema, model: &Model) -> Result<()> {
    let mut shard = Shard::new(policy);
    apply_again(&mut shard, log, 0, schema)?;
    compare(&shard, schema, model)
}

/// How far behind a batch its documents' time is over.
const KEPT_MICROS: u64 = 640_000_000;

/// The header of a batch in a collection that keeps documents for a time behind the seconds in field `n`, of which most are between -500
/// and 500: on the way through the operations, the time below which documents go rises from -600 to 300.
fn keeping(schema: &mut Schema, done: u64, count: u64) -> BatchHeader {
    let retention = Retention { field: schema.register(&["n".into()]), micros: KEPT_MICROS };
    let below = -600_000_000 + (900_000_000 * done / count) as i64;
    let logged_at_micros = below + KEPT_MICROS as i64;
    BatchHeader { retention: Some(retention), logged_at_micros, ..header(schema, None) }
}

/// Runs `count` operations on `ids` documents, of which those go whose time is over.
pub(super) fn run(
    seed: u64,
    ids: u64,
    count: u64,
    policy: MergePolicy,
    disk: &mut Disk,
) -> Result<BTreeMap<Effect, u64>> {
    let (mut operations, mut model) = (Operations::new(seed, ids), Model::default());
    let (mut shard, mut schema) = (Shard::new(policy.clone()), Schema::default());
    let (mut done, mut compared, mut let_go, mut effects) = (0, 0, i64::MIN, BTreeMap::new());
    let mut log: Vec<(Batch, Vec<Outcome>)> = Vec::new();
    for position in 0.. {
        let mut builder = BatchBuilder::default();
        let mut expected = Vec::new();
        let mut sent = Vec::new();
        let BatchHeader { retention, logged_at_micros, .. } = keeping(&mut schema, done, count);
        let gone = retention.context("it keeps documents for a time")?.let_go(logged_at_micros).below;
        disk.indexes.event_time = retention.map(|retention| retention.field);
        if let_go < gone {
            disk.done.let_go += model.let_go("n", gone) as u64;
            let_go = gone;
        }
        for _ in 0..operations.batch_size() {
            let (id, operation) = operations.draw();
            add(&mut builder, &mut schema, &id, &operation)?;
            expected.push(model.apply(&id, &operation));
            sent.push((id, operation));
        }
        let batch = logged(keeping(&mut schema, done, count), builder)?;
        let outcomes = shard.apply(LogPosition(position), &batch, &schema)?;
        for ((outcome, expected), sent) in outcomes.iter().zip(&expected).zip(&sent) {
            ensure!(effect(outcome) == *expected, "{sent:?}\nbecame {outcome:?}, expected {expected:?}");
            *effects.entry(*expected).or_default() += 1;
        }
        done += expected.len() as u64;
        log.push((batch, outcomes));
        if disk.random.chance(1, 3) {
            disk.merge(&mut shard)?;
        }
        if disk.random.chance(1, 17) {
            disk.flush(&mut shard).with_context(|| format!("flushed after {done} operations"))?;
        }
        let reopened = disk.random.chance(1, 75);
        if reopened {
            drop(shard);
            let again = disk.reopen(&log, policy.clone(), &schema);
            shard = again.with_context(|| format!("reopened after {done} operations"))?;
        }
        if reopened || done - compared >= 1_600 || done >= count {
            compare(&shard, &schema, &model).with_context(|| format!("after {done} operations"))?;
            compared = done;
        }
        if done >= count {
            replay(&log, policy, &schema, &model).context("applied again, with the last schema")?;
            return Ok(effects);
        }
    }
    unreachable!("the loop ends by its count")
}

/// Runs 150,000 operations for each (seed, documents, policy, where the store is); every effect must have
/// been met, and each run must have been flushed and reopened often.
fn check(runs: &[(u64, u64, MergePolicy, Kept)]) -> Result<()> {
    let mut total: BTreeMap<Effect, u64> = BTreeMap::new();
    for (seed, ids, policy, kept) in runs {
        let seed = seed_of_round(*seed);
        let mut disk = Disk::new(seed, *kept)?;
        let effects = run(seed, *ids, 150_000, policy.clone(), &mut disk);
        let effects = effects.with_context(|| format!("seed {seed}, {ids} documents, {policy:?}"))?;
        println!("seed {seed}: {:?}", disk.done);
        ensure!(is_tested(disk.done.merges >= 100 || policy.inline_rows_max > 100), "hardly merged: {:?}", disk.done);
        ensure!(is_tested(disk.done.folds >= 100 || policy.fold_rows_min > 100), "hardly folded: {:?}", disk.done);
        ensure!(is_tested(disk.done.let_go >= 500), "hardly let go: {:?}", disk.done);
        ensure!(
            is_tested(disk.done.generations >= 20 || policy.fold_rows_min > 100),
            "hardly any written: {:?}",
            disk.done
        );
        ensure!(
            is_tested(disk.done.flushes >= 120 && disk.done.reopens >= 24),
            "hardly flushed or reopened: {:?}",
            disk.done
        );
        effects.into_iter().for_each(|(effect, count)| *total.entry(effect).or_default() += count);
    }
    println!("operations by effect: {total:?}");
    ensure!(
        is_tested(total.values().all(|count| *count > 1_000) && total.len() == 6),
        "an effect is hardly tested: {total:?}"
    );
    Ok(())
}

#[test]
fn a_shard_is_a_map_of_documents() -> Result<()> {
    let beside = MergePolicy { inline_rows_max: 8, fold_rows_min: 4, ..MergePolicy::default() };
    check(&[(2, 300, MergePolicy::default(), Kept::Folder), (3, 2_000, beside, Kept::Memory)])
}

#[test]
fn a_shard_is_a_map_of_documents_however_it_merges() -> Result<()> {
    let eager = MergePolicy { segments_per_tier: 2, inline_rows_max: 0, ..MergePolicy::default() };
    let lazy = MergePolicy {
        segments_per_tier: 64,
        dead_share_max: 2.0,
        fold_rows_min: 2,
        fold_share: 16,
        ..MergePolicy::default()
    };
    check(&[(1, 40, eager, Kept::Memory), (4, 200, lazy, Kept::Elsewhere)])
}

fn document(fields: usize, value: i64) -> Object {
    (0..fields).map(|field| (format!("field_{field}"), Value::Int(value))).collect()
}

/// Law 7: what a patch of one field writes does not depend on how many fields its document has.
#[test]
fn a_patch_writes_what_it_names() -> Result<()> {
    const DOCUMENTS: i64 = 500;
    const PATCHES: i64 = 5_000;
    let written = |fields: usize| -> Result<u64> {
        let (mut shard, mut schema) = (Shard::new(MergePolicy::default()), Schema::default());
        let mut builder = BatchBuilder::default();
        for id in 0..DOCUMENTS {
            add(&mut builder, &mut schema, &id.to_string(), &Operation::Upsert(document(fields, id)))?;
        }
        shard.apply(LogPosition(0), &through_the_log(builder, &schema, None)?, &schema)?;
        let mut logged = 0;
        for patch in 0..PATCHES {
            let mut builder = BatchBuilder::default();
            let path = vec!["field_3".to_string()];
            let operations = vec![patch::PatchOperation::Increment { path, by: Value::Int(1) }];
            let patch_of = Operation::Patch { operations, insert: false };
            add(&mut builder, &mut schema, &(patch * 7 % DOCUMENTS).to_string(), &patch_of)?;
            let batch = through_the_log(builder, &schema, None)?;
            let mut bytes = Vec::new();
            batch::encode(&batch, &mut bytes);
            logged += bytes.len() as u64;
            let segments = shard.newest().pin().segments().len();
            shard.apply(LogPosition(1 + patch as u64), &batch, &schema)?;
            ensure!(shard.newest().pin().segments().len() == segments, "a patch made a segment");
        }
        ensure!(shard.patch_bytes_written() > 0, "patches wrote nothing, so nothing was measured");
        Ok(shard.patch_bytes_written() + logged)
    };
    let (narrow, wide) = (written(10)?, written(1_000)?);
    println!("bytes per patch: {} of 10 fields, {} of 1,000", narrow / PATCHES as u64, wide / PATCHES as u64);
    ensure!(wide * 10 <= narrow * 11 && narrow * 10 <= wide * 11, "{narrow} bytes of 10 fields, {wide} of 1,000");
    Ok(())
}

/// Tells a reader to stop when the writer ends, by a panic too.
struct Stop<'f>(&'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A batch is atomic and a snapshot lies on its boundary: two documents changed together are never seen apart.
#[test]
fn snapshots_lie_between_batches() -> Result<()> {
    let (mut shard, mut schema) = (Shard::new(MergePolicy::default()), Schema::default());
    schema.register_object(FieldId::ROOT, &document(1, 0), &mut |_, _| {});
    let field = schema.find(&["field_0".into()]).context("it was registered")?;
    let (newest, done) = (shard.newest(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut seen = 0_u64;
            let mut last = None;
            while !done.load(Ordering::Acquire) {
                let snapshot = newest.pin();
                let segments = snapshot.segments().iter();
                let values: Vec<Option<Value>> = segments
                    .flat_map(|segment| {
                        let value = |row: &u32| segment.value(*row, field).expect("it is in memory");
                        segment.live().values().iter().map(value).collect::<Vec<_>>()
                    })
                    .collect();
                assert!(values.is_empty() || values.len() == 2, "{} documents", values.len());
                assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "half a batch was seen: {values:?}");
                assert!(last <= snapshot.position(), "a snapshot went back");
                seen += u64::from(last != snapshot.position());
                last = snapshot.position();
            }
            seen
        });
        let stop = Stop(&done);
        for round in 0..20_000_i64 {
            let mut builder = BatchBuilder::default();
            for id in ["left", "right"] {
                let value = Value::Int(round);
                let path = vec!["field_0".to_string()];
                let operation = match round % 3 {
                    0 => Operation::Upsert(document(1, round)),
                    _ => {
                        Operation::Patch { operations: vec![patch::PatchOperation::Add { path, value }], insert: false }
                    }
                };
                add(&mut builder, &mut schema, id, &operation)?;
            }
            shard.apply(LogPosition(round as u64), &through_the_log(builder, &schema, None)?, &schema)?;
        }
        drop(stop);
        let seen = reader.join().expect("the reader saw whole batches");
        println!("{seen} different snapshots were read");
        ensure!(seen > 10, "the reader saw only {seen} snapshots: the test proves nothing");
        Ok(())
    })
}
