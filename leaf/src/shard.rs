//! A shard in memory: segments, keys, and the order in which batches change them.
//!
//! In: batches, in the order of the log. Out: outcomes, and [`Snapshot`]s. The shard's content is a function of the batches
//! alone; when segments are merged does not show in it. One thread applies; readers hold snapshots and never wait. Small segments are
//! merged while batches are applied, larger ones beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use basalt_common::batch::Batch;
use basalt_common::id::FieldId;
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use thiserror::Error;

use crate::apply::{Applier, Changes, Outcome, Versions};
use crate::compaction::{Compacted, Compaction, Fold, Folded, Journal};
use crate::keys::Keys;
use crate::merge::merge;
use crate::overlay::{Overlay, WrittenBytes};
use crate::policy::{LaidRows, MergePolicy, SegmentSize};
use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};
use crate::unsettled::Unsettled;

/// Why a batch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The leaf has to catch up with the catalog first.
    #[error("the batch at {position} needs schema version {needed}, and {known} is known; catch up and apply it again")]
    SchemaBehind {
        /// The batch.
        position: LogPosition,
        /// The version it needs.
        needed: u64,
        /// The version that was given.
        known: u64,
    },
    /// The batch is damaged, or of another collection.
    #[error("the batch at {position} has values of a field {field:?} that its collection does not have")]
    NoField {
        /// The batch.
        position: LogPosition,
        /// The field.
        field: FieldId,
    },
    /// A segment is damaged. The shard has to begin anew.
    #[error("the batch at {position} cannot be applied: {damage}")]
    Damaged {
        /// The batch.
        position: LogPosition,
        /// The damage.
        damage: SegmentDamage,
    },
}

/// One version of a shard: what a query reads from start to end.
#[derive(Debug, Default)]
pub struct Snapshot {
    position: Option<LogPosition>,
    segments: Vec<Arc<SegmentVersion>>,
}

impl Snapshot {
    /// The segments, oldest first, behind the batch at a position.
    pub fn new(position: Option<LogPosition>, segments: Vec<Arc<SegmentVersion>>) -> Self {
        Self { position, segments }
    }

    /// The last batch in it, or `None` before the first.
    pub fn position(&self) -> Option<LogPosition> {
        self.position
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[Arc<SegmentVersion>] {
        &self.segments
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.segments.iter().map(|segment| segment.live_rows()).sum()
    }
}

/// All that a shard is made of, at one position.
#[derive(Debug, Clone, Default)]
pub struct ShardCheckpoint {
    /// The documents, and the position.
    pub snapshot: Arc<Snapshot>,
    /// The number of the next segment.
    pub next_segment: u64,
    /// The least schema version that knows every field.
    pub schema_version: u64,
    /// What operations with versions may yet change.
    pub unsettled: Unsettled,
}

/// Why a shard cannot be made from what was kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A segment's number was not given out yet.
    #[error("segment {} is not below the next, {next}", .segment.0)]
    NotYet {
        /// The segment.
        segment: SegmentId,
        /// The number of the next segment.
        next: u64,
    },
}

/// The newest snapshot of a shard, for readers of any thread.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<RwLock<Arc<Snapshot>>>);

impl Newest {
    /// Pins the newest snapshot.
    pub fn pin(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// A shard's state, as the thread that applies batches has it.
#[derive(Debug)]
pub struct Shard {
    versions: Versions,
    keys: Keys,
    unsettled: Unsettled,
    next_segment: SegmentId,
    schema_version: u64,
    applied: Option<LogPosition>,
    policy: MergePolicy,
    written: WrittenBytes,
    newest: Newest,
    /// What happens to segments that are being merged beside it.
    journal: Option<Journal>,
    /// The damage by which a batch was not applied: what it left is no state.
    damage: Option<SegmentDamage>,
}

impl Shard {
    /// An empty shard.
    pub fn new(policy: MergePolicy) -> Self {
        Self {
            versions: BTreeMap::new(),
            keys: Keys::default(),
            unsettled: Unsettled::default(),
            next_segment: SegmentId(0),
            schema_version: 0,
            applied: None,
            policy,
            written: WrittenBytes::default(),
            newest: Newest::default(),
            journal: None,
            damage: None,
        }
    }

    /// The shard that a checkpoint was taken of.
    ///
    /// # Errors
    /// The checkpoint is of no shard.
    pub fn restore(checkpoint: &ShardCheckpoint, policy: MergePolicy) -> Result<Self, RestoreError> {
        let mut shard = Self::new(policy);
        for version in checkpoint.snapshot.segments() {
            let (segment, next) = (version.segment().id(), checkpoint.next_segment);
            if segment.0 >= next {
                return Err(RestoreError::NotYet { segment, next });
            }
            shard.keys.take_in(version);
            shard.versions.insert(segment, Arc::clone(version));
        }
        shard.next_segment = SegmentId(checkpoint.next_segment);
        shard.schema_version = checkpoint.schema_version;
        shard.unsettled = checkpoint.unsettled.clone();
        shard.applied = checkpoint.snapshot.position();
        shard.newest.publish(Snapshot::new(shard.applied, shard.versions.values().cloned().collect()));
        Ok(shard)
    }

    /// All that the shard is made of now; copies references only.
    pub fn checkpoint(&self) -> ShardCheckpoint {
        ShardCheckpoint {
            snapshot: self.newest.pin(),
            next_segment: self.next_segment.0,
            schema_version: self.schema_version,
            unsettled: self.unsettled.clone(),
        }
    }

    /// Where readers find the newest snapshot.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Applies the next batch whole and publishes the snapshot behind it. What becomes of it does not depend on how much
    /// newer than the batch the schema is.
    ///
    /// # Errors
    /// The schema is older than the batch, or the batch has fields that are none: nothing is changed then. Or a segment is
    /// damaged, and the shard is of no use any more.
    ///
    /// # Panics
    /// `position` is not behind the last one applied: batches come in the order of the log.
    pub fn apply(&mut self, position: LogPosition, batch: &Batch, schema: &Schema) -> Result<Vec<Outcome>, ApplyError> {
        assert!(self.applied.is_none_or(|applied| applied < position), "batches apply in the order of the log");
        check(position, batch, schema)?;
        let outcomes = self.apply_checked(batch, schema).map_err(|damage| {
            self.damage = Some(damage.clone());
            ApplyError::Damaged { position, damage }
        })?;
        self.publish(position);
        Ok(outcomes)
    }

    fn apply_checked(&mut self, batch: &Batch, schema: &Schema) -> Result<Vec<Outcome>, SegmentDamage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let Self { versions, keys, unsettled, .. } = self;
        let applier = Applier::new(schema, batch, versions, keys, unsettled, self.next_segment);
        let Changes { segments, runs, buried, outcomes } = applier.apply()?;
        self.next_segment.0 += segments.len() as u64;
        self.schema_version = self.schema_version.max(batch.header.schema_version);
        for version in segments {
            let segment = version.segment();
            match segment.rows() {
                0 => self.keys.drop_segment(segment.id()),
                _ => drop(self.versions.insert(segment.id(), Arc::new(version))),
            }
        }
        for (segment, field, run) in runs {
            if let Some(journal) = &mut self.journal {
                journal.note_laid(segment, field, &run);
            }
            version_mut(&mut self.versions, segment).lay(field, run, &self.written);
        }
        for (segment, rows) in buried {
            if let Some(journal) = &mut self.journal {
                journal.note_buried(segment, &rows);
            }
            version_mut(&mut self.versions, segment).bury(rows);
        }
        self.merge_segments()?;
        Ok(outcomes)
    }

    /// Passes a batch that changes nothing.
    ///
    /// # Panics
    /// `position` is not behind the last one applied.
    pub fn skip(&mut self, position: LogPosition) {
        assert!(self.applied.is_none_or(|applied| applied < position), "batches apply in the order of the log");
        self.publish(position);
    }

    fn publish(&mut self, position: LogPosition) {
        self.applied = Some(position);
        let segments = self.versions.values().cloned().collect();
        self.newest.publish(Snapshot::new(self.applied, segments));
    }

    /// The segments to merge into one, among those of at most so many rows that are not being merged.
    fn plan(&self, rows_max: usize) -> Vec<SegmentId> {
        let size = |version: &Arc<SegmentVersion>| SegmentSize {
            segment: version.segment().id(),
            rows: version.segment().rows(),
            live_rows: version.live_rows(),
            column_bytes: version.segment().sizes().column_max + version.overlay_bytes(),
        };
        let mut sizes: Vec<SegmentSize> = self.versions.values().map(size).collect();
        sizes.retain(|size| size.rows <= rows_max);
        if let Some(journal) = &self.journal {
            sizes.retain(|size| !journal.holds(size.segment));
        }
        self.policy.plan(&sizes)
    }

    /// Merges small segments until the policy is content; all, where there are too many.
    fn merge_segments(&mut self) -> Result<(), SegmentDamage> {
        loop {
            let is_late = self.versions.len() > self.policy.segments_max;
            let plan = self.plan(if is_late { usize::MAX } else { self.policy.inline_rows_max });
            if plan.is_empty() {
                return Ok(());
            }
            let before = plan.iter().map(|segment| Arc::clone(&self.versions[segment])).collect::<Vec<_>>();
            let mut merged = merge(&before, self.next_segment)?;
            self.next_segment.0 += 1;
            if is_late {
                let run = merged.ids().key_run().expect("its ids are in memory");
                merged = merged.with_key_run(run);
            }
            self.replace(&plan, SegmentVersion::new(merged));
        }
    }

    /// Lets a segment be in the place of those that it was made of.
    fn replace(&mut self, before: &[SegmentId], version: SegmentVersion) {
        self.keys.replace(before, &version);
        before.iter().for_each(|segment| drop(self.versions.remove(segment)));
        if version.segment().rows() > 0 {
            self.versions.insert(version.segment().id(), Arc::new(version));
        }
    }

    /// Begins a merge beside the shard, if the policy wants one and none is under way: [`Compaction::run`] makes it, without the
    /// shard, [`Self::take_compacted`] takes it in.
    pub fn begin_compaction(&mut self) -> Option<Compaction> {
        if self.journal.is_some() || self.damage.is_some() {
            return None;
        }
        let plan = self.plan(usize::MAX);
        let versions: Vec<_> = plan.iter().map(|segment| Arc::clone(&self.versions[segment])).collect();
        if versions.is_empty() {
            return None;
        }
        let id = self.next_segment;
        self.next_segment.0 += 1;
        self.journal = Some(Journal::of(plan));
        Some(Compaction { id, versions })
    }

    /// Begins to fold fields of one segment with what is laid over them, if the policy wants that of a shard that changes, or is at
    /// rest, and nothing else is under way:
    /// [`Fold::run`] does it, without the shard, [`Self::take_folded`] takes it in.
    pub fn begin_fold(&mut self, at_rest: bool) -> Option<Fold> {
        if self.journal.is_some() || self.damage.is_some() {
            return None;
        }
        let mut laid = Vec::new();
        for version in self.versions.values() {
            let (segment, rows) = (version.segment().id(), version.segment().rows());
            for field in version.overlays().keys() {
                let runs = version.layers(*field).1.into_iter().flat_map(Overlay::runs);
                laid.push(LaidRows { segment, field: *field, rows, laid: runs.map(|run| run.rows().len()).sum() });
            }
        }
        let (segment, fields) = self.policy.fold(&laid, at_rest)?;
        self.journal = Some(Journal::of([segment]));
        Some(Fold { version: Arc::clone(&self.versions[&segment]), fields })
    }

    /// Takes in what was folded, with what was laid over it since.
    ///
    /// # Panics
    /// It is not what was begun.
    pub fn take_folded(&mut self, folded: &Folded) {
        let journal = self.journal.take().expect("what is taken in was begun");
        let version = version_mut(&mut self.versions, folded.segment);
        for (field, runs) in journal.laid_over(folded) {
            let mut since = Overlay::default();
            runs.into_iter().for_each(|run| since.push(run, &self.written));
            version.fold(field, Arc::clone(&folded.fields[&field]), since);
        }
        self.newest.publish(Snapshot::new(self.applied, self.versions.values().cloned().collect()));
    }

    /// Takes in a merge that was begun, with all that happened to its rows since.
    ///
    /// # Panics
    /// It is not the one that was begun.
    pub fn take_compacted(&mut self, compacted: &Compacted) {
        let journal = self.journal.take().expect("a merge is taken in that was begun");
        let (laid, buried) = journal.carry_over(compacted);
        let mut version = SegmentVersion::new(Arc::clone(&compacted.segment));
        laid.into_iter().for_each(|(field, run)| version.lay(field, run, &self.written));
        buried.into_iter().for_each(|rows| version.bury(rows));
        let before: Vec<SegmentId> = compacted.moves.iter().map(|(segment, _)| *segment).collect();
        self.replace(&before, version);
        self.newest.publish(Snapshot::new(self.applied, self.versions.values().cloned().collect()));
    }

    /// Forgets a merge or a fold that was begun and cannot be made: nothing is noted for it any more.
    pub fn give_up(&mut self) {
        self.journal = None;
    }

    /// Takes segments that lie in files, in place of those in memory that hold the same.
    pub fn take_files(&mut self, segments: Vec<Arc<Segment>>) {
        let there = segments.into_iter().filter(|segment| self.versions.contains_key(&segment.id()));
        let there: Vec<Arc<Segment>> = there.collect();
        self.keys.forget(&there.iter().map(|segment| segment.id()).collect::<Vec<_>>());
        for segment in there {
            let version = version_mut(&mut self.versions, segment.id());
            *version = version.with_segment(segment);
            self.keys.take_in(version);
        }
        self.newest.publish(Snapshot::new(self.applied, self.versions.values().cloned().collect()));
    }

    /// The rows of a snapshot that have one of these `_id`s, by segment; `None` where the snapshot is older than the keys and
    /// they cannot tell.
    ///
    /// A row that lives lived in every snapshot that has its segment, since rows die once and come with their segments.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn locate(
        &self,
        ids: &[String],
        snapshot: &Snapshot,
    ) -> Result<Option<BTreeMap<SegmentId, Vec<u32>>>, SegmentDamage> {
        if self.damage.is_some() {
            return Ok(None);
        }
        let held: BTreeSet<SegmentId> = snapshot.segments().iter().map(|version| version.segment().id()).collect();
        let mut rows: BTreeMap<SegmentId, Vec<u32>> = BTreeMap::new();
        for id in ids {
            match self.keys.get(id)? {
                Some(address) if held.contains(&address.segment) => {
                    rows.entry(address.segment).or_default().push(address.row);
                }
                None if snapshot.position() == self.applied => {}
                _ => return Ok(None),
            }
        }
        for rows in rows.values_mut() {
            rows.sort_unstable();
            rows.dedup();
        }
        Ok(Some(rows))
    }

    /// Where the document with this `_id` is.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn find(&self, id: &str) -> Result<Option<(Arc<SegmentVersion>, u32)>, SegmentDamage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let address = self.keys.get(id)?;
        Ok(address.map(|address| (Arc::clone(&self.versions[&address.segment]), address.row)))
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that patches have written, merges of overlay runs included.
    pub fn patch_bytes_written(&self) -> u64 {
        self.written.total()
    }
}

fn check(position: LogPosition, batch: &Batch, schema: &Schema) -> Result<(), ApplyError> {
    let (needed, known) = (batch.header.schema_version, schema.version());
    if known < needed {
        return Err(ApplyError::SchemaBehind { position, needed, known });
    }
    match batch.operations.fields.iter().find(|column| !schema.holds(column.field)) {
        Some(column) => Err(ApplyError::NoField { position, field: column.field }),
        None => Ok(()),
    }
}

fn version_mut(versions: &mut Versions, segment: SegmentId) -> &mut SegmentVersion {
    Arc::make_mut(versions.get_mut(&segment).expect("addresses point to segments that are there"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use basalt_common::batch::{BatchBuilder, BatchHeader};
    use basalt_common::id::{CollectionId, ShardId};
    use basalt_common::patch::{PatchError, PatchOperation, register};
    use basalt_common::value::{Object, Value};
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::DataType;

    use super::{
        ApplyError, Batch, FieldId, LogPosition, MergePolicy, Outcome, Schema, Segment, SegmentDamage, SegmentId,
        SegmentVersion, Shard, ShardCheckpoint, Snapshot,
    };
    use crate::column::{self, Column, ColumnError};
    use crate::field::Ids;
    use crate::key_run::KeyRun;
    use crate::piece::Piece;
    use crate::segment::SegmentBytes;

    fn batch(builder: BatchBuilder, schema_version: u64) -> Batch {
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
        let policy =
            MergePolicy { segments_max: 2, inline_rows_max: 0, segments_per_tier: 2, ..MergePolicy::default() };
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
        let sizes = SegmentBytes { total: 0, column_max: 0 };
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
}
