//! Segments: immutable runs of documents, and what was laid over them since.
//!
//! In: documents in columnar form. Out: [`SegmentVersion`]: a segment with its tombstones and overlays at one moment, from
//! which values, columns and whole documents are read. Versions share all they have in common; making one copies lists of
//! references, never values.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use basalt_common::schema::Schema;
use basalt_common::value::flatten::unflatten;
use basalt_common::value::{FieldPath, Value};
use datafusion::arrow::array::{Array, ArrayRef, Int64Array, StringArray, UInt32Array};
use datafusion::arrow::compute::take;
use roaring::RoaringBitmap;

use crate::overlay::{Overlay, Run, WrittenBytes};

/// A segment's number in its shard; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Where a document is: a row of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The segment.
    pub segment: SegmentId,
    /// The row in it.
    pub row: u32,
}

/// Documents in columns. Never changes.
#[derive(Debug)]
pub struct Segment {
    id: SegmentId,
    ids: StringArray,
    /// The versions of the upserts that brought the rows, in a collection with versions; null where a patch made the row.
    /// INVARIANT: as many as there are ids; checked in [`Segment::new`].
    versions: Option<Int64Array>,
    /// INVARIANT: each of as many rows as there are ids; checked in [`Segment::new`].
    fields: BTreeMap<FieldId, TypedColumns>,
    column_bytes_max: usize,
    bytes: usize,
}

impl Segment {
    /// Makes a segment of the documents with these `_id`s.
    ///
    /// # Panics
    /// A field has another number of rows, or the versions have.
    pub fn new(
        id: SegmentId,
        ids: StringArray,
        versions: Option<Int64Array>,
        fields: BTreeMap<FieldId, TypedColumns>,
    ) -> Self {
        assert!(versions.as_ref().is_none_or(|versions| versions.len() == ids.len()), "each row has its version");
        for (field, columns) in &fields {
            assert_eq!(columns.rows(), ids.len(), "field {field:?} has another number of rows than its segment");
        }
        let sizes: Vec<usize> = fields.values().map(TypedColumns::bytes).chain([ids.value_data().len()]).collect();
        let (column_bytes_max, bytes) = (sizes.iter().copied().max().unwrap_or_default(), sizes.iter().sum());
        Self { id, ids, versions, fields, column_bytes_max, bytes }
    }

    /// Its number.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// How many rows it has, tombstoned ones included.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of its largest field, or of its `_id`s where those take more.
    pub fn column_bytes_max(&self) -> usize {
        self.column_bytes_max
    }

    /// The `_id`s of its rows.
    pub fn ids(&self) -> &StringArray {
        &self.ids
    }

    /// The versions of the upserts that brought its rows.
    pub fn versions(&self) -> Option<&Int64Array> {
        self.versions.as_ref()
    }

    /// The version of the upsert that brought a row, if it had one.
    pub fn version(&self, row: u32) -> Option<i64> {
        let versions = self.versions.as_ref()?;
        versions.is_valid(row as usize).then(|| versions.value(row as usize))
    }

    /// Its fields, ascending.
    pub fn fields(&self) -> &BTreeMap<FieldId, TypedColumns> {
        &self.fields
    }
}

/// A segment at one moment.
///
/// Read order: tombstones first (a dead row has no values), then overlays, newest run first, then the segment. Reading the
/// segment before its overlay would bring back what a patch replaced.
#[derive(Debug, Clone)]
pub struct SegmentVersion {
    segment: Arc<Segment>,
    /// INVARIANT: disjoint, since a row dies once; each less than half as large as the one before, so there are few.
    tombstones: Vec<Arc<RoaringBitmap>>,
    overlays: BTreeMap<FieldId, Arc<Overlay>>,
}

impl SegmentVersion {
    /// A segment over which nothing has been laid.
    pub fn new(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), tombstones: Vec::new(), overlays: BTreeMap::new() }
    }

    /// A segment with what was laid over it before.
    ///
    /// # Errors
    /// Rows that the segment does not have, a row that died twice, or stacks that are not what laying makes.
    pub fn restore(
        segment: Segment,
        tombstones: Vec<RoaringBitmap>,
        overlays: BTreeMap<FieldId, Overlay>,
    ) -> Result<Self, &'static str> {
        let mut dead = RoaringBitmap::new();
        for rows in &tombstones {
            if !dead.is_disjoint(rows) {
                return Err("a row died twice");
            }
            dead |= rows;
        }
        let runs = overlays.values().flat_map(|overlay| overlay.runs());
        let last = runs.filter_map(|run| run.rows().last().copied()).chain(dead.max()).max();
        if last.is_some_and(|row| row as usize >= segment.rows()) {
            return Err("a row is not one of its segment");
        }
        if tombstones.windows(2).any(|pair| pair[0].len() <= 2 * pair[1].len()) {
            return Err("dead rows are not stacked as they were");
        }
        let overlays = overlays.into_iter().map(|(field, overlay)| (field, Arc::new(overlay))).collect();
        let tombstones = tombstones.into_iter().map(Arc::new).collect();
        Ok(Self { segment: Arc::new(segment), tombstones, overlays })
    }

    /// The segment.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The dead rows: disjoint sets.
    pub fn tombstones(&self) -> &[Arc<RoaringBitmap>] {
        &self.tombstones
    }

    /// What is laid over fields.
    pub fn overlays(&self) -> &BTreeMap<FieldId, Arc<Overlay>> {
        &self.overlays
    }

    /// How many of its documents live.
    pub fn live_rows(&self) -> usize {
        let dead: u64 = self.tombstones.iter().map(|rows| rows.len()).sum();
        self.segment.rows() - usize::try_from(dead).expect("no more rows die than there are")
    }

    /// Whether the document at `row` lives.
    pub fn is_live(&self, row: u32) -> bool {
        !self.tombstones.iter().any(|dead| dead.contains(row))
    }

    /// Marks rows dead that lived.
    ///
    /// # Panics
    /// In debug builds, where one of them was dead.
    pub fn bury(&mut self, rows: RoaringBitmap) {
        debug_assert!(self.tombstones.iter().all(|dead| dead.is_disjoint(&rows)), "a row dies once");
        let mut rows = rows;
        while let Some(older) = self.tombstones.pop_if(|older| older.len() <= 2 * rows.len()) {
            rows |= older.as_ref();
        }
        self.tombstones.push(Arc::new(rows));
    }

    /// Lays values over a field.
    pub fn lay(&mut self, field: FieldId, run: Run, written: &WrittenBytes) {
        Arc::make_mut(self.overlays.entry(field).or_default()).push(run, written);
    }

    /// The fields that the segment or an overlay has.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> + '_ {
        let overlaid = self.overlays.keys().filter(|field| !self.segment.fields.contains_key(field));
        self.segment.fields.keys().chain(overlaid).copied()
    }

    /// Whether any row may have a value of the field.
    pub fn has(&self, field: FieldId) -> bool {
        self.segment.fields.contains_key(&field) || self.overlays.contains_key(&field)
    }

    /// The value of a field of a document, or `None` where it is absent.
    pub fn value(&self, row: u32, field: FieldId) -> Option<Value> {
        match self.overlays.get(&field).and_then(|overlay| overlay.value(row)) {
            Some(laid) => laid,
            None => self.segment.fields.get(&field)?.value(row as usize),
        }
    }

    /// The whole document, its fields named by `schema`.
    ///
    /// # Panics
    /// Its fields contradict each other, which applying never lets happen.
    pub fn document(&self, row: u32, schema: &Schema) -> Value {
        let leaves = self.fields().filter_map(|field| {
            let value = self.value(row, field)?;
            Some((schema.path(field), value))
        });
        Value::Object(unflatten(leaves).expect("no field of a document leads through another's value"))
    }

    /// The values of some paths of a document, nested as it is.
    pub fn fields_of(&self, row: u32, paths: &[FieldPath], schema: &Schema) -> Value {
        let mut leaves = BTreeMap::new();
        for field in paths.iter().filter_map(|path| schema.find(path.keys())) {
            schema.visit_subtree(field, &mut |below| {
                if let Some(value) = self.value(row, below) {
                    leaves.insert(below, (schema.path(below), value));
                }
            });
        }
        Value::Object(unflatten(leaves.into_values()).expect("no field of a document leads through another's value"))
    }

    /// Adds to `counts` how many values of each field and type there are, about: dead rows are taken off in proportion.
    pub fn count_fields(&self, counts: &mut BTreeMap<(u32, u8), u64>) {
        let (live, rows) = (self.live_rows() as u64, self.segment.rows().max(1) as u64);
        for (field, columns) in &self.segment.fields {
            for (of, column) in columns.columns() {
                let there = (column.len() - column.null_count()) as u64;
                *counts.entry((field.0, of.code())).or_default() += there * live / rows;
            }
        }
    }

    /// Bytes of memory that the segment and what is laid over it take.
    pub fn bytes(&self) -> usize {
        self.segment.bytes + self.overlay_bytes()
    }

    /// The rows that live, ascending.
    pub fn live(&self) -> UInt32Array {
        let rows = u32::try_from(self.segment.rows()).expect("a segment has fewer rows than 2^32");
        match self.tombstones.is_empty() {
            true => UInt32Array::from_iter_values(0..rows),
            false => UInt32Array::from_iter_values((0..rows).filter(|row| self.is_live(*row))),
        }
    }

    /// A field's values in the given rows (ascending), overlay laid over.
    pub fn column(&self, field: FieldId, rows: &UInt32Array) -> TypedColumns {
        let base = self.segment.fields.get(&field);
        match (base, self.overlays.get(&field)) {
            (None, None) => TypedColumns::absent(rows.len()),
            (Some(base), None) => match (rows.values().first(), rows.values().last()) {
                (Some(first), Some(last)) if (last - first) as usize + 1 == rows.len() => {
                    base.slice(*first as usize, rows.len())
                }
                _ => base.take(rows),
            },
            (base, Some(overlay)) => {
                let absent;
                let base = match base {
                    Some(base) => base,
                    None => {
                        absent = TypedColumns::absent(self.segment.rows());
                        &absent
                    }
                };
                overlay.lay_over(base, rows)
            }
        }
    }

    /// The `_id`s of the given rows (ascending).
    pub fn ids(&self, rows: &UInt32Array) -> ArrayRef {
        let ids = &self.segment.ids;
        match (rows.values().first(), rows.values().last()) {
            (Some(first), Some(last)) if (last - first) as usize + 1 == rows.len() => {
                Arc::new(ids.slice(*first as usize, rows.len()))
            }
            _ => take(ids, rows, None).expect("the rows are rows of the segment"),
        }
    }

    /// Bytes of memory that overlays take.
    pub fn overlay_bytes(&self) -> usize {
        self.overlays.values().map(|overlay| overlay.bytes()).sum()
    }
}
