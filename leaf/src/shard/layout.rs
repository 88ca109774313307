//! How a shard's documents are laid out: which segments are merged, what is folded, and what lies in files. None of it shows in what the
//! shard answers. Where a batch ended in its middle nothing is laid out otherwise any more: it would be seen.

use std::sync::Arc;

use super::{Shard, version_mut};
use crate::compaction::{Compacted, Compaction, Fold, Folded, Journal};
use crate::generation::{Generation, GenerationId};
use crate::merge::merge;
use crate::overlay::Overlay;
use crate::policy::{LaidRows, SegmentSize};
use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};

/// What was written and lies in files.
#[derive(Debug, Default)]
pub struct Files {
    /// Segments.
    pub segments: Vec<Arc<Segment>>,
    /// Generations, each with the segment whose rows it has.
    pub generations: Vec<(SegmentId, Arc<Generation>)>,
}

fn size(version: &Arc<SegmentVersion>) -> SegmentSize {
    let (bytes, column_bytes) = version.plain_bytes();
    SegmentSize {
        segment: version.segment().id(),
        rows: version.segment().rows(),
        live_rows: version.live_rows(),
        bytes,
        column_bytes,
    }
}

impl Shard {
    /// The segments to merge into one, among those of at most so many rows that are not being merged.
    fn plan(&self, rows_max: usize) -> Vec<SegmentId> {
        let is_free = |version: &&Arc<SegmentVersion>| {
            let (segment, rows) = (version.segment().id(), version.segment().rows());
            rows <= rows_max && !self.journal.as_ref().is_some_and(|journal| journal.holds(segment))
        };
        let sizes: Vec<SegmentSize> = self.versions.values().filter(is_free).map(size).collect();
        self.policy.plan(&sizes)
    }

    /// Merges small segments until the policy is content; all, where there are too many.
    pub(super) fn merge_segments(&mut self) -> Result<(), SegmentDamage> {
        loop {
            // Few segments are looked at no closer: this is done with each batch.
            let sizes = || self.versions.values().map(size).collect::<Vec<SegmentSize>>();
            let is_late = self.versions.len() > self.policy.segments_max && self.policy.is_late(&sizes());
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
        if self.journal.is_some() || !self.is_whole() {
            return None;
        }
        self.begin(self.plan(usize::MAX))
    }

    /// Begins to merge the segments that are arrays in memory before they are flushed, as [`Self::begin_compaction`] does others.
    pub fn begin_gathering(&mut self) -> Option<Compaction> {
        if self.journal.is_some() || !self.is_whole() {
            return None;
        }
        let in_arrays = self.versions.values().filter(|version| version.segment().is_in_arrays());
        let sizes: Vec<SegmentSize> = in_arrays.map(size).collect();
        self.begin(self.policy.gather(&sizes))
    }

    fn begin(&mut self, plan: Vec<SegmentId>) -> Option<Compaction> {
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
        if self.journal.is_some() || !self.is_whole() {
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
        let (segment, mut fields) = self.policy.fold(&laid, at_rest)?;
        let (id, version) = (GenerationId(self.next_segment.0), Arc::clone(&self.versions[&segment]));
        self.next_segment.0 += 1;
        let generations = version.generations();
        if generations.len() >= self.policy.generations_max {
            fields.extend(generations.values().flat_map(|generation| generation.fields().keys()));
            fields.sort_unstable();
            fields.dedup();
        }
        self.journal = Some(Journal::of([segment]));
        Some(Fold { id, version, fields })
    }

    /// Takes in what was folded, with what was laid over it since.
    ///
    /// # Panics
    /// It is not what was begun.
    pub fn take_folded(&mut self, folded: &Folded) {
        let journal = self.journal.take().expect("what is taken in was begun");
        if !self.is_whole() {
            return;
        }
        let version = version_mut(&mut self.versions, folded.segment);
        version.fold(&folded.generation, journal.laid_over(folded, &self.written));
        self.publish_layout();
    }

    /// Takes in a merge that was begun, with all that happened to its rows since.
    ///
    /// # Panics
    /// It is not the one that was begun.
    pub fn take_compacted(&mut self, compacted: &Compacted) {
        let journal = self.journal.take().expect("a merge is taken in that was begun");
        if !self.is_whole() {
            return;
        }
        let (laid, buried) = journal.carry_over(compacted);
        let mut version = SegmentVersion::new(Arc::clone(&compacted.segment));
        laid.into_iter().for_each(|(field, run)| version.lay(field, run, &self.written));
        buried.into_iter().for_each(|rows| version.bury(rows));
        let before: Vec<SegmentId> = compacted.moves.iter().map(|(segment, _)| *segment).collect();
        self.replace(&before, version);
        self.publish_layout();
    }

    /// Forgets a merge or a fold that was begun and cannot be made: nothing is noted for it any more.
    pub fn give_up(&mut self) {
        self.journal = None;
    }

    /// Takes segments and generations that lie in files, in place of those in memory that hold the same.
    pub fn take_files(&mut self, files: Files) {
        if !self.is_whole() {
            return;
        }
        let Files { segments, generations } = files;
        let there = segments.into_iter().filter(|segment| self.versions.contains_key(&segment.id()));
        let there: Vec<Arc<Segment>> = there.collect();
        self.keys.forget(&there.iter().map(|segment| segment.id()).collect::<Vec<_>>());
        for segment in there {
            let version = version_mut(&mut self.versions, segment.id());
            *version = version.with_segment(segment);
            self.keys.take_in(version);
        }
        for (segment, generation) in generations {
            if self.versions.contains_key(&segment) {
                version_mut(&mut self.versions, segment).take_generation(&generation);
            }
        }
        self.publish_layout();
    }
}
