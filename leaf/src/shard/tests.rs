//! What a shard refuses, and what it survives.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::batch::{BatchBuilder, BatchHeader};
use basalt_common::id::{CollectionId, ShardId};
use basalt_common::patch::{PatchError, PatchOperation, register};
use basalt_common::value::{Object, Value};
use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::DataType;

use super::{
    ApplyError, Batch, FieldId, Files, LogPosition, MergePolicy, Outcome, Schema, SegmentDamage, SegmentId,
    SegmentVersion, Shard, ShardCheckpoint, Snapshot,
};
use crate::column::{self, Column, ColumnError};
use crate::field::Ids;
use crate::key_run::KeyRun;
use crate::piece::Piece;
use crate::segment::{Segment, SegmentBytes};

pub(crate) fn batch(builder: BatchBuilder, schema_version: u64) -> Batch {
    let shard = ShardId { collection: CollectionId(1), shard: 0 };
    let header = BatchHeader {
        shard,
        routing_epoch: 0,
        schema_version,
        logged_at_micros: 0,
        event_time_micros: None,
        sources: Vec::new(),
        request: None,
        horizon: None,
        retention: None,
    };
    Batch { header, operations: builder.finish() }
}

fn upsert(schema: &mut Schema, document: &Object) -> Batch {
    schema.register_object(FieldId::ROOT, document, &mut |_, _| {});
    let mut builder = BatchBuilder::default();
    builder.upsert(schema, "x", document).expect("its fields are registered");
    batch(builder, schema.version())
}

#[test]
fn a_schema_behind_its_batch_changes_nothing() {
    let mut schema = Schema::default();
    let first = upsert(&mut schema, &Object::from([("a".into(), Value::Int(1))]));
    let mut shard = Shard::new(MergePolicy::default());
    let refused = shard.apply(LogPosition(0), &first, &Schema::default());
    let (needed, known) = (schema.version(), 0);
    assert_eq!(refused, Err(ApplyError::SchemaBehind { position: LogPosition(0), needed, known }));
    assert_eq!(shard.documents(), 0);
    assert_eq!(shard.apply(LogPosition(0), &first, &schema), Ok(vec![Outcome::Added]));
}

#[test]
fn a_field_of_another_collection_is_refused() {
    let mut schema = Schema::default();
    let mut stranger = upsert(&mut schema, &Object::from([("a".into(), Value::Int(1))]));
    stranger.header.schema_version = 0;
    let refused = Shard::new(MergePolicy::default()).apply(LogPosition(0), &stranger, &Schema::default());
    assert_eq!(refused, Err(ApplyError::NoField { position: LogPosition(0), field: FieldId(1) }));
}

/// A field that was registered after a patch was logged stays unknown to it, however late the patch is applied.
#[test]
fn what_is_registered_later_changes_no_outcome() {
    let mut schema = Schema::default();
    let copy = [PatchOperation::Copy { from: vec!["a".into()], path: vec!["b".into()] }];
    register(&mut schema, &copy);
    let mut builder = BatchBuilder::default();
    builder.patch(&schema, "x", &copy, false).expect("its field is registered");
    let patch = batch(builder, schema.version());
    let inner = Object::from([("y".into(), Value::Int(1))]);
    let document = upsert(&mut schema, &Object::from([("a".into(), Value::Object(inner))]));
    for later in [false, true] {
        if later {
            schema.register(&["b".into(), "y".into()]);
        }
        let mut shard = Shard::new(MergePolicy::default());
        assert_eq!(shard.apply(LogPosition(0), &document, &schema), Ok(vec![Outcome::Added]));
        let unknown = PatchError::UnknownField(vec!["b".into(), "y".into()]);
        assert_eq!(shard.apply(LogPosition(1), &patch, &schema), Ok(vec![Outcome::Failed(unknown)]));
    }
}

/// Where there are too many segments all are merged at once, and have a key run from then on.
#[test]
fn what_is_merged_late_is_found() {
    let policy = MergePolicy { segments_max: 2, inline_rows_max: 0, segments_per_tier: 2, ..MergePolicy::default() };
    let (mut shard, mut schema) = (Shard::new(policy), Schema::default());
    let document = Object::from([("a".into(), Value::Int(1))]);
    schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
    for position in 0..60_u64 {
        let mut builder = BatchBuilder::default();
        for id in [position, position / 2] {
            builder.upsert(&schema, &id.to_string(), &document).expect("its fields are registered");
        }
        builder.delete(&(position / 2).to_string());
        let outcomes = shard.apply(LogPosition(position), &batch(builder, schema.version()), &schema);
        let lived = |there| if there { Outcome::Replaced } else { Outcome::Added };
        let expected = vec![Outcome::Added, lived(position % 2 == 0), Outcome::Deleted];
        assert_eq!(outcomes, Ok(expected), "batch {position}");
        assert_eq!(shard.documents(), (position - position / 2) as usize, "behind batch {position}");
    }
    let late = |version: &Arc<SegmentVersion>| version.segment().has_key_run();
    assert!(shard.newest().pin().segments().iter().any(late), "nothing was merged late");
}

/// A lookup that meets damage says so, and ends the shard if a batch met it.
#[test]
fn damage_met_by_a_key_travels() {
    let ids = StringArray::from(vec![None, Some("y")]);
    let mut bytes = Vec::new();
    column::encode(&ids, &mut bytes).expect("a storage type");
    let column = Column::open(bytes.into(), &DataType::Utf8, 2).expect("it was just written");
    let sizes = SegmentBytes { total: 0, plain: 0, column_max: 0 };
    let ids = Ids::File(Box::new(Piece::open(column, 0)), 2);
    let segment = Segment::of_parts(SegmentId(0), ids, None, BTreeMap::new(), sizes);
    let run = KeyRun::of(&StringArray::from(vec!["x", "y"]));
    let version = Arc::new(SegmentVersion::new(segment.with_key_run(run)));
    let snapshot = Arc::new(Snapshot::new(None, vec![version]));
    let checkpoint = ShardCheckpoint { snapshot, next_segment: 1, ..ShardCheckpoint::default() };
    let mut shard = Shard::restore(&checkpoint, MergePolicy::default()).expect("nothing is read");
    let mut schema = Schema::default();
    let batch = upsert(&mut schema, &Object::from([("a".into(), Value::Int(1))]));
    assert_eq!(shard.find("y").map(|found| found.map(|(_, row)| row)), Ok(Some(1)));
    let cause = ColumnError::Damaged("a row has no _id");
    let damage = SegmentDamage { segment: SegmentId(0), field: None, cause };
    let refused = |shard: &Shard, id| shard.find(id).expect_err("a segment is damaged");
    assert_eq!(refused(&shard, "x"), damage);
    assert_eq!(shard.locate(&["x".into()], &checkpoint.snapshot), Err(damage.clone()));
    for position in [LogPosition(0), LogPosition(1)] {
        let stopped = ApplyError::Damaged { position, damage: damage.clone() };
        assert_eq!(shard.apply(position, &batch, &schema), Err(stopped));
    }
    assert_eq!(refused(&shard, "y"), damage);
}

/// A batch that met damage in its middle is in no snapshot and no checkpoint, whatever happens to the shard then: recovery applies
/// it to the state before.
#[test]
fn a_batch_that_met_damage_shows_nowhere() {
    let ids = StringArray::from(vec![None, Some("y")]);
    let mut bytes = Vec::new();
    column::encode(&ids, &mut bytes).expect("a storage type");
    let column = Column::open(bytes.into(), &DataType::Utf8, 2).expect("it was just written");
    let ids = Ids::File(Box::new(Piece::open(column, 0)), 2);
    let segment =
        Segment::of_parts(SegmentId(0), ids, None, BTreeMap::new(), SegmentBytes { total: 0, plain: 0, column_max: 0 });
    let run = KeyRun::of(&StringArray::from(vec!["x", "y"]));
    let version = Arc::new(SegmentVersion::new(segment.with_key_run(run)));
    let snapshot = Arc::new(Snapshot::new(Some(LogPosition(0)), vec![version]));
    let checkpoint = ShardCheckpoint { snapshot, next_segment: 1, ..ShardCheckpoint::default() };
    let policy = MergePolicy { segments_per_tier: 2, ..MergePolicy::default() };
    let mut shard = Shard::restore(&checkpoint, policy).expect("nothing is read");
    let mut schema = Schema::default();
    let document = Object::from([("a".into(), Value::Int(1))]);
    schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
    let mut builder = BatchBuilder::default();
    ["u", "v", "w"].iter().for_each(|id| builder.upsert(&schema, id, &document).expect("its fields are registered"));
    let applied = shard.apply(LogPosition(1), &batch(builder, schema.version()), &schema);
    assert!(matches!(applied, Err(ApplyError::Damaged { .. })), "{applied:?}: its merge reads the damaged segment");
    let shown = |shard: &Shard| (shard.newest().pin().position(), shard.newest().pin().documents());
    assert_eq!(shown(&shard), (Some(LogPosition(0)), 2));
    shard.take_files(Files::default());
    assert_eq!(shown(&shard), (Some(LogPosition(0)), 2), "half of a batch is read");
    assert!(!shard.is_whole());
}
