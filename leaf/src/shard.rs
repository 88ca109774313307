//! A shard in memory: segments, keys, and the order in which batches change them.
//!
//! In: batches, in the order of the log. Out: outcomes, and [`Snapshot`]s. The shard's content is a function of the batches
//! alone; when segments are merged does not show in it. One thread applies; readers hold snapshots and never wait.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use basalt_common::batch::Operations;
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use basalt_common::value::Value;

use crate::apply::{Applier, Changes, Outcome, Versions};
use crate::keys::Keys;
use crate::merge::merge;
use crate::overlay::WrittenBytes;
use crate::policy::{MergePolicy, SegmentSize};
use crate::segment::{Address, Segment, SegmentId, SegmentVersion};

/// One version of a shard: what a query reads from start to end.
#[derive(Debug, Default)]
pub struct Snapshot {
    position: Option<LogPosition>,
    segments: Vec<Arc<SegmentVersion>>,
}

impl Snapshot {
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
    next_segment: SegmentId,
    applied: Option<LogPosition>,
    policy: MergePolicy,
    written: WrittenBytes,
    newest: Newest,
}

impl Shard {
    /// An empty shard.
    pub fn new(policy: MergePolicy) -> Self {
        Self {
            versions: BTreeMap::new(),
            keys: Keys::default(),
            next_segment: SegmentId(0),
            applied: None,
            policy,
            written: WrittenBytes::default(),
            newest: Newest::default(),
        }
    }

    /// Where readers find the newest snapshot.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Applies the next batch whole and publishes the snapshot behind it.
    ///
    /// # Panics
    /// `position` is not behind the last one applied: batches come in the order of the log.
    pub fn apply(&mut self, position: LogPosition, operations: &Operations, schema: &Schema) -> Vec<Outcome> {
        assert!(self.applied.is_none_or(|applied| applied < position), "batches apply in the order of the log");
        let applier = Applier::new(schema, operations, &self.versions, &mut self.keys, self.next_segment);
        let Changes { segments, runs, buried, outcomes } = applier.apply();
        self.next_segment.0 += segments.len() as u32;
        for version in segments {
            let segment = version.segment();
            match segment.rows() {
                0 => self.keys.drop_segment(segment.id()),
                _ => drop(self.versions.insert(segment.id(), Arc::new(version))),
            }
        }
        for (segment, field, run) in runs {
            version_mut(&mut self.versions, segment).lay(field, run, &self.written);
        }
        for (segment, rows) in buried {
            version_mut(&mut self.versions, segment).bury(rows);
        }
        self.merge_segments();
        self.applied = Some(position);
        let segments = self.versions.values().cloned().collect();
        self.newest.publish(Snapshot { position: self.applied, segments });
        outcomes
    }

    /// Merges segments until the policy is content.
    fn merge_segments(&mut self) {
        loop {
            let size = |version: &Arc<SegmentVersion>| SegmentSize {
                segment: version.segment().id(),
                rows: version.segment().rows(),
                live_rows: version.live_rows(),
            };
            let sizes: Vec<SegmentSize> = self.versions.values().map(size).collect();
            let plan = self.policy.plan(&sizes);
            if plan.is_empty() {
                return;
            }
            let merged = plan.iter().map(|segment| Arc::clone(&self.versions[segment])).collect::<Vec<_>>();
            self.take_in(merge(&merged, self.next_segment));
            for segment in plan {
                self.versions.remove(&segment);
                self.keys.drop_segment(segment);
            }
        }
    }

    fn take_in(&mut self, segment: Segment) {
        self.next_segment.0 += 1;
        let version = SegmentVersion::new(segment);
        if version.segment().rows() == 0 {
            return;
        }
        let segment = version.segment().id();
        self.keys.add_segment(Arc::clone(version.segment()));
        for row in 0..version.segment().rows() as u32 {
            self.keys.put(Address { segment, row });
        }
        self.versions.insert(segment, Arc::new(version));
    }

    /// The document with this `_id`, without it.
    pub fn document(&self, id: &str, schema: &Schema) -> Option<Value> {
        let address = self.keys.get(id)?;
        Some(self.versions[&address.segment].document(address.row, schema))
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

fn version_mut(versions: &mut Versions, segment: SegmentId) -> &mut SegmentVersion {
    Arc::make_mut(versions.get_mut(&segment).expect("addresses point to segments that are there"))
}
