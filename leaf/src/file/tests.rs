//! Objects that hold what was written, and bytes that are none.

use std::sync::Arc;

use basalt_common::batch::{Batch, BatchBuilder, BatchHeader, RequestKey};
use basalt_common::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use basalt_common::indexing::Indexing;
use basalt_common::patch::{PatchOperation, register};
use basalt_common::position::{LogPosition, SourcePartition, SourceRange};
use basalt_common::retention::Retention;
use basalt_common::schema::Schema;
use basalt_common::value::{Object, Tagged, Value};
use basalt_common::version::Horizon;
use bytes::Bytes;
use datafusion::arrow::array::UInt32Array;

use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use super::{checkpoint, segment};
use crate::field::{FileColumns, all_rows};
use crate::indexes::Indexes;
use crate::keys::Keys;
use crate::merge::{merge, merge_encoded};
use crate::policy::MergePolicy;
use crate::replica::{Checkpoint, Replica};
use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};

pub(crate) const SHARD: ShardId = ShardId { collection: CollectionId(9), shard: 4 };

/// A replica with documents of every type, dead rows, overlays, a kept request and sources.
pub(crate) struct Sample {
    pub(crate) replica: Replica,
    pub(crate) schema: Schema,
    next: u64,
    horizon: Option<Horizon>,
    pub(crate) retention: Option<Retention>,
}

fn every_type() -> Object {
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Float(-0.0),
        Value::Decimal("0.1".parse().expect("a decimal")),
        Value::String("text 😀".into()),
        Value::Bytes(vec![0, 255]),
        Value::Timestamp(-1),
        Value::Date(-1),
        Value::Time(86_399_999_999),
        Value::Array(vec![Value::Int(1), Value::Null, Value::Object(Object::new())]),
        Value::Object(Object::new()),
        Value::Vector(vec![0.5, -0.0]),
        Value::Geography(vec![1, 2, 3]),
        Value::Tagged(Tagged { tag: "number".into(), text: "1e400".into() }),
    ];
    values.into_iter().enumerate().map(|(index, value)| (format!("f{index}"), value)).collect()
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self::by(MergePolicy::default())
    }

    /// The same, with what is laid over some fields folded in, and more laid over one of them.
    pub(crate) fn folded() -> Self {
        let mut sample = Self::by(Self::folding());
        sample.fold(&Indexes::default());
        let add = PatchOperation::Add { path: vec!["f2".into()], value: Value::Int(77) };
        sample.patch("doc-11", &[add]);
        sample
    }

    /// Whatever is laid over a field may be folded in.
    fn folding() -> MergePolicy {
        MergePolicy { fold_rows_min: 1, fold_share_at_rest: usize::MAX, ..MergePolicy::default() }
    }

    /// Patches one field of all documents.
    pub(crate) fn patch_all(&mut self) {
        for row in 0..40 {
            let add = PatchOperation::Add { path: vec!["f2".into()], value: Value::Int(row) };
            self.patch(&format!("doc-{row}"), &[add]);
        }
    }

    /// Folds all that is laid over fields.
    pub(crate) fn fold(&mut self, indexes: &Indexes) {
        let shard = self.replica.shard_mut();
        while let Some(fold) = shard.begin_fold(true) {
            let folded = fold.run(indexes).expect("nothing is damaged");
            shard.take_folded(&folded);
        }
    }

    fn by(policy: MergePolicy) -> Self {
        let (replica, schema) = (Replica::new(policy), Schema::default());
        let mut sample = Self { replica, schema, next: 0, horizon: None, retention: None };
        sample.upsert("every", &every_type());
        for row in 0..40 {
            sample.upsert(&format!("doc-{row}"), &Object::from([("f2".into(), Value::Int(row))]));
        }
        sample.upsert("doc-7", &Object::from([("f5".into(), Value::String("again".into()))]));
        let patch = |path: &str, value| PatchOperation::Add { path: vec![path.into()], value };
        sample.patch("doc-9", &[patch("f2", Value::Null), patch("f11", Value::Bool(false))]);
        sample.patch("every", &[PatchOperation::Remove { path: vec!["f5".into()] }]);
        sample.patch("nobody", &[patch("f2", Value::Null)]);
        let mut builder = BatchBuilder::default();
        builder.delete("doc-3");
        sample.apply(builder);
        sample
    }

    /// One with versions, and operations that may yet change.
    pub(crate) fn versioned() -> Self {
        Self::versioned_by(MergePolicy::default())
    }

    fn versioned_by(policy: MergePolicy) -> Self {
        let horizon = Some(Horizon { lateness: Some(25), unsettled_max: 1000 });
        let (replica, schema) = (Replica::new(policy), Schema::default());
        let mut sample = Self { replica, schema, next: 0, horizon, retention: None };
        let mut document = every_type();
        for (row, version) in [10, 40, 20, 35, 30].into_iter().enumerate() {
            document.insert("f2".into(), Value::Int(version));
            sample.versioned_upsert(&format!("doc-{}", row % 3), &document, version);
        }
        for (id, version) in [("doc-0", 37), ("doc-1", 42), ("doc-0", 36), ("nobody", 38)] {
            let grow = PatchOperation::Increment { path: vec!["f2".into()], by: Value::Int(1) };
            let mut builder = BatchBuilder::versioned();
            builder.patch(&sample.schema, id, &[grow], version == 42).expect("its field is registered");
            builder.version(version, version as u128);
            sample.apply(builder);
        }
        for (id, version) in [("doc-2", 36), ("ghost", 41)] {
            let mut builder = BatchBuilder::versioned();
            builder.delete(id);
            builder.version(version, 0);
            sample.apply(builder);
        }
        assert!(sample.replica.checkpoint().shard.unsettled.operations() > 5);
        sample
    }

    /// The same, of a collection that keeps documents for a time, some fields folded.
    pub(crate) fn keeping() -> Self {
        let mut sample = Self::versioned_by(Self::folding());
        let field = sample.schema.find(&["f2".into()]).expect("it is registered");
        sample.retention = Some(Retention { field, micros: 1_000_000 });
        sample.versioned_upsert("old", &Object::from([("f2".into(), Value::Int(-9))]), 44);
        sample.versioned_upsert("new", &Object::from([("f2".into(), Value::Int(9))]), 45);
        sample.retention = Some(Retention { field, micros: 7_000_000 });
        sample.versioned_upsert("newer", &Object::from([("f2".into(), Value::Int(-9))]), 46);
        assert_eq!(sample.replica.checkpoint().shard.let_go_below, Some(-1_000_000));
        sample.fold(&sample.indexes());
        sample
    }

    pub(crate) fn indexes(&self) -> Indexes {
        let mut indexes = Indexes::default();
        indexes.event_time = self.retention.map(|retention| retention.field);
        indexes
    }

    fn versioned_upsert(&mut self, id: &str, document: &Object, version: i64) {
        self.schema.register_object(FieldId::ROOT, document, &mut |_, _| {});
        let mut builder = BatchBuilder::versioned();
        builder.upsert(&self.schema, id, document).expect("its fields are registered");
        builder.version(version, 0);
        self.apply(builder);
    }

    pub(crate) fn upsert(&mut self, id: &str, document: &Object) {
        self.schema.register_object(FieldId::ROOT, document, &mut |_, _| {});
        let mut builder = BatchBuilder::default();
        builder.upsert(&self.schema, id, document).expect("its fields are registered");
        self.apply(builder);
    }

    fn patch(&mut self, id: &str, operations: &[PatchOperation]) {
        register(&mut self.schema, operations);
        let mut builder = BatchBuilder::default();
        builder.patch(&self.schema, id, operations, false).expect("its fields are registered");
        self.apply(builder);
    }

    fn apply(&mut self, builder: BatchBuilder) {
        let partition = SourcePartition { source: SourceId(3), incarnation: 1 << 100, partition: 7 };
        let range = SourceRange { partition, epoch: Epoch(2), first: self.next * 10, last: self.next * 10 + 9 };
        let key = self.next.is_multiple_of(10).then(|| format!("key {}", self.next));
        let header = BatchHeader {
            shard: SHARD,
            routing_epoch: 0,
            schema_version: self.schema.version(),
            logged_at_micros: 5,
            event_time_micros: None,
            sources: vec![range],
            request: key.map(|key| RequestKey { key, body_hash: self.next }),
            horizon: self.horizon,
            retention: self.retention,
        };
        let batch = Batch { header, operations: builder.finish() };
        self.replica.apply(LogPosition(self.next), &batch, &self.schema).expect("its schema is known");
        self.next += 1;
    }

    /// All that a checkpoint says, as text.
    pub(crate) fn describe(&self, checkpoint: &Checkpoint) -> String {
        let mut lines = Vec::new();
        let snapshot = &checkpoint.shard.snapshot;
        for version in snapshot.segments() {
            let segment = version.segment();
            for row in version.live().values() {
                let (id, document) = (segment.id_of(*row), version.document(*row, &self.schema));
                lines.push(format!("{:?} {row} {id:?} {document:?}", segment.id()));
            }
            let runs: Vec<_> = version.overlays().values().map(|overlay| overlay.runs()).collect();
            lines.push(format!("{:?} {runs:?} {:?}", version.tombstones(), segment.versions()));
            for (id, generation) in version.generations() {
                lines.push(format!("{id:?} {:?}", generation.fields().keys().collect::<Vec<_>>()));
            }
        }
        let (next, schema) = (checkpoint.shard.next_segment, checkpoint.shard.schema_version);
        lines.push(format!("{:?} {next} {schema}", snapshot.position()));
        lines.push(format!("{:?}\n{:?}", checkpoint.requests, checkpoint.sources));
        lines.push(format!("{:?}", checkpoint.shard.let_go_below));
        let unsettled = &checkpoint.shard.unsettled;
        lines.push(format!("{:?} {}", unsettled.watermark(), unsettled.settled_below()));
        lines.extend(unsettled.documents().map(|document| format!("{document:?}")));
        lines.join("\n")
    }
}

/// Reads all that an object holds.
type Read = fn(&Container<'_>, &Bytes) -> Result<(), String>;

fn read_segment(object: &Container<'_>, bytes: &Bytes) -> Result<(), String> {
    let version = SegmentVersion::new(segment::decode(object, bytes, None).map_err(|error| error.to_string())?);
    if version.segment().rows() > 10_000 {
        // Columns of equal values go along with a lie about how many there are; to read them all takes long.
        return Ok(());
    }
    let (rows, odd) = (all_rows(version.segment().rows()), |row: &u32| row % 2 == 1);
    let odd: UInt32Array = rows.values().iter().copied().filter(odd).collect::<Vec<_>>().into();
    let damaged = |damage: SegmentDamage| damage.to_string();
    let mut keys = Keys::default();
    keys.take_in(&version);
    for rows in [&rows, &odd] {
        for id in version.ids(rows).map_err(damaged)?.iter().flatten() {
            keys.get(id).map_err(damaged)?;
        }
        for field in version.fields() {
            version.column(field, rows).map_err(damaged)?;
            rows.values().iter().try_for_each(|row| version.value(*row, field).map(drop)).map_err(damaged)?;
        }
    }
    Ok(())
}

fn read_checkpoint(object: &Container<'_>, _: &Bytes) -> Result<(), String> {
    checkpoint::decode(object).map(drop).map_err(|error| error.to_string())
}

fn sealed(segment: &Segment) -> Sealed {
    segment::encode(segment, &Indexes::default()).expect("it is in memory")
}

/// An object, its kind, and what reads it.
type Object3 = (Kind, Sealed, Read);

fn objects(sample: &Sample) -> Vec<Object3> {
    let checkpoint = sample.replica.checkpoint();
    let segments = checkpoint.shard.snapshot.segments().iter();
    let mut objects: Vec<Object3> =
        segments.map(|version| (Kind::Segment, sealed(version.segment()), read_segment as Read)).collect();
    objects.push((Kind::Checkpoint, checkpoint::encode(&checkpoint), read_checkpoint));
    objects
}

#[test]
fn files_hold_what_memory_holds() {
    let mut values_seen = 0;
    for sample in [Sample::new(), Sample::versioned()] {
        for version in sample.replica.checkpoint().shard.snapshot.segments() {
            let segment = version.segment();
            let bytes = sealed(segment).bytes;
            let object = Container::open("s", Kind::Segment, &bytes).expect("it was sealed");
            let read = Arc::new(segment::decode(&object, &bytes, None).expect("it was encoded"));
            assert_eq!((read.id(), read.rows(), read.versions()), (segment.id(), segment.rows(), segment.versions()));
            let (file, memory) = (version.with_segment(Arc::clone(&read)), version);
            for rows in [all_rows(read.rows()), UInt32Array::from_iter_values((0..read.rows() as u32).step_by(2))] {
                assert_eq!(file.ids(&rows), memory.ids(&rows));
                for field in memory.fields() {
                    let (columns, expected) = (file.column(field, &rows), memory.column(field, &rows));
                    assert_eq!(columns, expected, "field {field:?}");
                    for row in rows.values() {
                        let (value, expected) = (file.value(*row, field), memory.value(*row, field));
                        assert_eq!(value, expected, "field {field:?}, row {row}");
                        values_seen += usize::from(matches!(value, Ok(Some(_))));
                    }
                }
            }
            let damage = |at: usize| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= 1;
                Container::open("s", Kind::Segment, &bytes).expect_err("a bit is another").object
            };
            assert_eq!(damage(bytes.len() / 2), "s");
        }
    }
    assert!(values_seen > 100, "only {values_seen} values were compared");
}

/// What a merge encodes is what is written of the same merge of arrays.
#[test]
fn merges_encode_what_flushes_write() {
    for mut sample in [Sample::new(), Sample::folded(), Sample::keeping()] {
        let place = [("lon".into(), Value::Float(-73.9)), ("lat".into(), Value::Float(40.7))];
        match sample.horizon {
            None => sample.upsert("here", &Object::from(place)),
            Some(_) => sample.versioned_upsert("here", &Object::from(place), 47),
        }
        let mut indexes = Indexes::new(Arc::new(sample.schema.clone()), Indexing::default());
        indexes.event_time = sample.indexes().event_time;
        let (checkpoint, id) = (sample.replica.checkpoint(), SegmentId(99));
        let versions = checkpoint.shard.snapshot.segments();
        let arrays = merge(versions, id).expect("nothing is damaged");
        let encoded = merge_encoded(versions, id, &indexes).expect("nothing is damaged");
        assert!(arrays.is_in_arrays() && !encoded.is_in_arrays() && arrays.rows() > 2);
        assert!(encoded.fields().values().all(|values| values.encoded().is_some_and(FileColumns::are_made)));
        let [arrays, encoded] = [arrays, encoded].map(|segment| segment::encode(&segment, &indexes));
        assert_eq!(arrays.expect("it is in memory").bytes, encoded.expect("it was just made").bytes);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found_and_placed() {
    let sample = Sample::new();
    for (kind, sealed, _) in objects(&sample).into_iter().chain(objects(&Sample::versioned())) {
        let bytes = sealed.bytes.to_vec();
        let refused = |bytes: &[u8], what: &str| {
            let error = Container::open("the name", kind, bytes).expect_err(what);
            assert!(error.object == "the name" && error.offset <= bytes.len() && !error.part.is_empty(), "{error}");
        };
        (0..bytes.len()).for_each(|end| refused(&bytes[..end], &format!("cut at {end}")));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            for bit in 0..8 {
                damaged[at] ^= 1 << bit;
                refused(&damaged, &format!("byte {at} bit {bit}"));
                damaged[at] ^= 1 << bit;
            }
        }
    }
    let sealed = &objects(&sample)[0].1;
    let error = Container::open("x", Kind::Checkpoint, &sealed.bytes).expect_err("it is a segment");
    assert_eq!(error.reason, "it is an object of another kind");
}

/// Damage that the checksums do not see, since it was there when they were made: nothing panics.
#[test]
fn parts_that_lie_never_panic() {
    let parts = [
        Part::Keys,
        Part::KeyRun,
        Part::Columns,
        Part::Versions,
        Part::Laid,
        Part::Requests,
        Part::Sources,
        Part::Unsettled,
    ];
    let (mut good, mut bad) = (0, 0);
    let last = |sample: &Sample| objects(sample).into_iter().rev().take(3);
    for (kind, sealed, read) in last(&Sample::new()).chain(last(&Sample::versioned())) {
        let object = Container::open("x", kind, &sealed.bytes).expect("it was sealed");
        let held = parts.iter().filter_map(|part| Some((*part, object.codec(*part)?)));
        let held = held.map(|(part, codec)| (part, codec, object.part(part, codec).expect("it has it").bytes));
        let held: Vec<(Part, u8, &[u8])> = held.collect();
        for (lying, _, bytes) in &held {
            // Of a long part some bytes only; `column` tries all of its own.
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
                let mut builder = ContainerBuilder::new(kind);
                for (part, codec, bytes) in &held {
                    builder.part(*part, *codec, |out| {
                        let start = out.len();
                        out.extend_from_slice(bytes);
                        if part == lying {
                            out[start + at] ^= 1 << (at % 8);
                        }
                    });
                }
                let sealed = builder.seal();
                let object = Container::open("x", kind, &sealed.bytes).expect("it was sealed");
                match read(&object, &sealed.bytes) {
                    Ok(()) => good += 1,
                    Err(error) => {
                        assert!(error.contains("damaged"), "{error}");
                        bad += 1;
                    }
                }
            }
        }
    }
    assert!(good > 10 && bad > 10, "{good} were read, {bad} were not");
}

#[test]
fn a_part_in_another_codec_is_refused_by_name() {
    let mut builder = ContainerBuilder::new(Kind::Segment);
    builder.part(Part::Keys, 200, |out| out.push(0));
    let sealed = builder.seal();
    let object = Container::open("x", Kind::Segment, &sealed.bytes).expect("it was sealed");
    let error = segment::decode(&object, &sealed.bytes, None).expect_err("the codec is unknown");
    assert_eq!((error.part, error.reason.as_str()), ("keys", "it is in codec 200, and this program reads 3"));
    let mut builder = ContainerBuilder::new(Kind::Segment);
    builder.part(Part::Columns, 1, |out| out.push(0));
    let sealed = builder.seal();
    let object = Container::open("x", Kind::Segment, &sealed.bytes).expect("it was sealed");
    let error = segment::decode(&object, &sealed.bytes, None).expect_err("there are no keys");
    assert_eq!(error.reason, "it is not there");
}
