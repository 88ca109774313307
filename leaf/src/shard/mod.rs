//! A shard in memory: segments, keys, and the order in which batches change them.
//!
//! In: batches, in the order of the log. Out: outcomes, and [`Snapshot`]s. The shard's content is a function of the batches
//! alone; when segments are merged does not show in it. One thread applies; readers hold snapshots and never wait. Small segments are
//! merged while batches are applied, larger ones beside it.

mod layout;
mod retention;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use basalt_common::batch::Batch;
use basalt_common::id::FieldId;
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use thiserror::Error;

use crate::apply::{Applier, Changes, Outcome, Versions};
use crate::column::ColumnError;
use crate::compaction::Journal;
use crate::keys::Keys;
use crate::overlay::WrittenBytes;
use crate::policy::MergePolicy;
use crate::segment::{SegmentDamage, SegmentId, SegmentVersion};
use crate::unsettled::Unsettled;

pub use layout::Files;

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
    /// Documents of lower event times were let go, if any were.
    pub let_go_below: Option<i64>,
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
    /// As in [`ShardCheckpoint`].
    let_go_below: Option<i64>,
    policy: MergePolicy,
    written: WrittenBytes,
    newest: Newest,
    /// What happens to segments that are being merged beside it.
    journal: Option<Journal>,
    /// Why a batch was not applied to its end: what it left is no state, and nobody gets to see it.
    damage: Option<SegmentDamage>,
}

/// What is wrong with a shard whose batch ended in its middle for another reason than damage.
const HALF_APPLIED: ColumnError = ColumnError::Damaged("a batch was not applied to its end");

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
            let_go_below: None,
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
        shard.let_go_below = checkpoint.let_go_below;
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
            let_go_below: self.let_go_below,
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
        if let Some(damage) = self.damage.clone() {
            return Err(ApplyError::Damaged { position, damage });
        }
        // Also where it ends by a panic.
        self.damage = Some(SegmentDamage { segment: self.next_segment, field: None, cause: HALF_APPLIED });
        match self.apply_checked(batch, schema) {
            Ok(outcomes) => {
                self.damage = None;
                self.publish(position);
                Ok(outcomes)
            }
            Err(damage) => {
                self.damage = Some(damage.clone());
                Err(ApplyError::Damaged { position, damage })
            }
        }
    }

    fn apply_checked(&mut self, batch: &Batch, schema: &Schema) -> Result<Vec<Outcome>, SegmentDamage> {
        if let Some(retention) = batch.header.retention {
            self.let_go(retention.let_go(batch.header.logged_at_micros))?;
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
        self.publish_layout();
    }

    /// Publishes what is applied, laid out as it is now.
    fn publish_layout(&self) {
        let segments = self.versions.values().cloned().collect();
        self.newest.publish(Snapshot::new(self.applied, segments));
    }

    /// Whether all that was begun was applied to its end. If not, only the newest snapshot is of use.
    pub fn is_whole(&self) -> bool {
        self.damage.is_none()
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

    /// Whether all is open that [`Self::find`] reads.
    pub fn is_open(&self) -> bool {
        self.keys.is_open()
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
pub(crate) mod tests;
