//! Merges that are made beside the applying of batches.
//!
//! In: versions of segments, as they are when it begins. Out: one segment of their living documents with its key run, and where each
//! row went. What becomes of the old rows meanwhile is noted in a [`Journal`], and carried over in the step in which the new segment
//! takes their place. Or, where much is laid over fields of one segment: columns of these fields with that folded in, for the same
//! rows. Which segments, and when, is the policy's decision.
//!
//! ```text
//! segments 3, 5 ──begin──▶ merged off the applying thread ──▶ segment 9
//!        │ batches: row 7 of 5 dies, a field of row 2 of 3 is patched        │
//!        └──journal──────────────────────────────────────────────────────────▼ row 7 of 5 is row 11 of 9: buried; …
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::id::FieldId;
use datafusion::arrow::array::UInt32Array;
use roaring::RoaringBitmap;

use crate::field::{FieldValues, FileColumns, all_rows};
use crate::generation::{Generation, GenerationId};
use crate::indexes::{Indexes, PlaceFields};
use crate::merge::{merge, merge_encoded};
use crate::overlay::{Overlay, Run, WrittenBytes};
use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};

/// A merge that is to be made.
#[derive(Debug)]
pub struct Compaction {
    /// The number of the segment that is made.
    pub id: SegmentId,
    /// What is merged.
    pub versions: Vec<Arc<SegmentVersion>>,
}

/// A merge that was made, and is to be taken in.
#[derive(Debug)]
pub struct Compacted {
    /// The segment, with its key run.
    pub segment: Arc<Segment>,
    /// Where the rows of the old ones are in it, in the order of its rows.
    pub moves: Vec<(SegmentId, Moved)>,
}

impl Compaction {
    /// Makes the segment: of segments in memory as arrays, for it may be merged again before it is flushed; else encoded, with the indexes that
    /// its fields are to have. Takes long, and needs nothing of the shard.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn run(self, indexes: &Indexes) -> Result<Compacted, SegmentDamage> {
        let segment = match self.versions.iter().all(|version| version.segment().is_in_arrays()) {
            true => {
                let merged = merge(&self.versions, self.id)?;
                let run = merged.ids().key_run().expect("its ids are in memory");
                merged.with_key_run(run)
            }
            false => merge_encoded(&self.versions, self.id, indexes)?,
        };
        let (mut moves, mut first) = (Vec::new(), 0);
        for version in &self.versions {
            let rows = version.live();
            let moved = Moved { rows, first };
            first += moved.rows.len() as u32;
            moves.push((version.segment().id(), moved));
        }
        Ok(Compacted { segment: Arc::new(segment), moves })
    }
}

/// Fields that much is laid over, to be folded into columns of their own: generations.
#[derive(Debug)]
pub struct Fold {
    /// The number of the generation that is made.
    pub id: GenerationId,
    /// The segment, with what is laid over it.
    pub version: Arc<SegmentVersion>,
    /// The fields.
    pub fields: Vec<FieldId>,
}

/// A generation that is to be taken in.
#[derive(Debug)]
pub struct Folded {
    /// The segment.
    pub segment: SegmentId,
    /// Its fields with what was laid over them.
    pub generation: Arc<Generation>,
}

impl Fold {
    /// Makes the columns. Takes long, and needs nothing of the shard.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn run(self, indexes: &Indexes) -> Result<Folded, SegmentDamage> {
        let rows = all_rows(self.version.segment().rows());
        // Cells are of two fields: both are folded, so that they lie together.
        let places: BTreeSet<PlaceFields> = self.fields.iter().filter_map(|field| indexes.place_of(*field)).collect();
        let beside = places.iter().flat_map(|place| [place.longitude, place.latitude]);
        let fields = self.fields.iter().copied().chain(beside).collect::<BTreeSet<_>>().into_iter();
        let fold = |field: FieldId| {
            let columns = FileColumns::of_field(field, indexes, |field| self.version.column(field, &rows))?;
            Ok((field, FieldValues::File(columns)))
        };
        let fields = fields.map(fold).collect::<Result<BTreeMap<_, _>, SegmentDamage>>()?;
        let generation = Arc::new(Generation::new(self.id, fields));
        Ok(Folded { segment: self.version.segment().id(), generation })
    }
}

/// Where the rows of a merged segment are now: behind each other, in the order that they had.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The rows that lived when the merge began, ascending.
    rows: UInt32Array,
    first: u32,
}

impl Moved {
    /// Where a row is now that lived when the merge began.
    fn row(&self, row: u32) -> u32 {
        let place = self.rows.values().binary_search(&row).expect("what dies or is patched lived before");
        self.first + place as u32
    }
}

/// What happens to segments while they are merged.
#[derive(Debug)]
pub struct Journal {
    segments: BTreeSet<SegmentId>,
    laid: Vec<(SegmentId, FieldId, Run)>,
    buried: Vec<(SegmentId, RoaringBitmap)>,
}

impl Journal {
    /// Begins to note what happens to these.
    pub fn of(segments: impl IntoIterator<Item = SegmentId>) -> Self {
        Self { segments: segments.into_iter().collect(), laid: Vec::new(), buried: Vec::new() }
    }

    /// Whether a segment is being merged.
    pub fn holds(&self, segment: SegmentId) -> bool {
        self.segments.contains(&segment)
    }

    /// Notes values laid over a field.
    pub fn note_laid(&mut self, segment: SegmentId, field: FieldId, run: &Run) {
        if self.holds(segment) {
            self.laid.push((segment, field, run.clone()));
        }
    }

    /// Notes rows that died.
    pub fn note_buried(&mut self, segment: SegmentId, rows: &RoaringBitmap) {
        if self.holds(segment) {
            self.buried.push((segment, rows.clone()));
        }
    }

    /// What was laid over the fields of a generation since it was begun.
    pub fn laid_over(self, folded: &Folded, written: &WrittenBytes) -> BTreeMap<FieldId, Overlay> {
        let mut since: BTreeMap<FieldId, Overlay> = BTreeMap::new();
        for (_, field, run) in self.laid {
            if folded.generation.fields().contains_key(&field) {
                since.entry(field).or_default().push(run, written);
            }
        }
        since
    }

    /// The same happening to the rows where they are now: values laid over fields, in order, and rows that died.
    pub fn carry_over(self, compacted: &Compacted) -> (Vec<(FieldId, Run)>, Vec<RoaringBitmap>) {
        let moves: BTreeMap<SegmentId, &Moved> = compacted.moves.iter().map(|(id, moved)| (*id, moved)).collect();
        let laid = self.laid.into_iter().map(|(segment, field, run)| {
            let rows = run.rows().iter().map(|row| moves[&segment].row(*row)).collect();
            (field, Run::new(rows, run.values().clone()))
        });
        let buried = self.buried.into_iter();
        let buried = buried.map(|(segment, rows)| rows.iter().map(|row| moves[&segment].row(row)).collect());
        (laid.collect(), buried.collect())
    }
}
