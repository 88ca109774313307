//! A segment at one moment: what lies over it, and what is read of both.
//!
//! In: runs that are laid over fields, rows that die, generations that are folded. Out: values, columns and documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use basalt_common::retention::{Expired, event_time};
use basalt_common::schema::Schema;
use basalt_common::value::flatten::unflatten;
use basalt_common::value::{FieldPath, Value};
use datafusion::arrow::array::{StringArray, UInt32Array};
use roaring::RoaringBitmap;

use super::{Segment, SegmentBytes, SegmentDamage};
use crate::column::ColumnError;
use crate::event_times::{EventTimes, KnownTimes};
use crate::field::{FieldValues, RowSet, all_rows};
use crate::generation::{Generation, GenerationId};
use crate::overlay::{Overlay, Run, WrittenBytes};

/// A segment at one moment.
///
/// Read order: tombstones first (a dead row has no values), then overlays, newest run first, then the segment. Reading the
/// segment before its overlay would bring back what a patch replaced.
#[derive(Debug, Clone)]
pub struct SegmentVersion {
    segment: Arc<Segment>,
    /// INVARIANT: disjoint, since a row dies once; each less than half as large as the one before, so there are few.
    tombstones: Vec<Arc<RoaringBitmap>>,
    /// What was laid over fields, or over their newest generations.
    overlays: BTreeMap<FieldId, Arc<Overlay>>,
    /// The newest generations of fields that much was laid over.
    generations: BTreeMap<FieldId, Arc<Generation>>,
}

impl SegmentVersion {
    /// A segment over which nothing has been laid.
    pub fn new(segment: impl Into<Arc<Segment>>) -> Self {
        Self {
            segment: segment.into(),
            tombstones: Vec::new(),
            overlays: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// A segment with what was laid over it before.
    ///
    /// # Errors
    /// Rows that the segment does not have, a row that died twice, or stacks that are not what laying makes.
    pub fn restore(
        segment: Segment,
        tombstones: Vec<RoaringBitmap>,
        overlays: BTreeMap<FieldId, Overlay>,
        generations: Vec<Generation>,
    ) -> Result<Self, &'static str> {
        if generations.iter().flat_map(|of| of.fields().values()).any(|values| values.rows() != segment.rows()) {
            return Err("a generation has other rows than its segment");
        }
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
        let mut restored = Self { segment: Arc::new(segment), tombstones, overlays, generations: BTreeMap::new() };
        // In the order of their numbers: the newest of a field is the last.
        for generation in generations.into_iter().map(Arc::new) {
            let fields = generation.fields().keys().map(|field| (*field, Arc::clone(&generation)));
            restored.generations.extend(fields);
        }
        Ok(restored)
    }

    /// The segment.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The dead rows: disjoint sets.
    pub fn tombstones(&self) -> &[Arc<RoaringBitmap>] {
        &self.tombstones
    }

    /// All dead rows.
    pub fn dead(&self) -> RoaringBitmap {
        self.tombstones.iter().fold(RoaringBitmap::new(), |dead, rows| dead | rows.as_ref())
    }

    /// What was laid over fields of the segment, or over their newest generations.
    pub fn overlays(&self) -> &BTreeMap<FieldId, Arc<Overlay>> {
        &self.overlays
    }

    /// A field as it is read: its values, if any row has one, and what lies over them.
    pub fn layers(&self, field: FieldId) -> (Option<&FieldValues>, Option<&Overlay>) {
        let folded = self.generations.get(&field).and_then(|generation| generation.fields().get(&field));
        (folded.or_else(|| self.segment.fields.get(&field)), self.overlays.get(&field).map(AsRef::as_ref))
    }

    /// The generation that has a field's values, if it is not the segment itself.
    pub fn generation_of(&self, field: FieldId) -> Option<GenerationId> {
        self.generations.get(&field).map(|generation| generation.id())
    }

    /// Whether fields can be read without waiting for a store, with their indexes where that is said.
    pub fn is_here(&self, fields: &BTreeMap<FieldId, bool>) -> bool {
        let here =
            |(field, indexes): (&FieldId, &bool)| self.layers(*field).0.is_none_or(|values| values.is_here(*indexes));
        fields.iter().all(here)
    }

    /// Whether a field is open: its values are read without waiting for anything but pages.
    pub fn is_open(&self, field: FieldId) -> bool {
        self.layers(field).0.is_none_or(FieldValues::is_open)
    }

    /// Begins to bring fields here that are elsewhere.
    pub fn bring(&self, fields: &BTreeMap<FieldId, bool>) {
        fields
            .iter()
            .for_each(|(field, indexes)| self.layers(*field).0.iter().for_each(|values| values.bring(*indexes)));
    }

    /// Reads the segment and its generations, and compares checksums, as [`Segment::check`].
    ///
    /// # Errors
    /// As [`Segment::check`].
    pub fn check(&self) -> Result<(), SegmentDamage> {
        self.segment.check()?;
        for (field, values) in self.generations().into_values().flat_map(|generation| generation.fields()) {
            values.check().map_err(|cause| self.segment.damage(Some(*field), cause))?;
        }
        Ok(())
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
        debug_assert!(rows.iter().all(|row| self.is_live(row)), "a row dies once");
        let mut rows = rows;
        while let Some(older) = self.tombstones.pop_if(|older| older.len() <= 2 * rows.len()) {
            rows |= older.as_ref();
        }
        self.tombstones.push(Arc::new(rows));
    }

    /// The generations that are read, ascending.
    pub fn generations(&self) -> BTreeMap<GenerationId, &Arc<Generation>> {
        self.generations.values().map(|generation| (generation.id(), generation)).collect()
    }

    /// Lays values over a field.
    pub fn lay(&mut self, field: FieldId, run: Run, written: &WrittenBytes) {
        Arc::make_mut(self.overlays.entry(field).or_default()).push(run, written);
    }

    /// Reads fields from now on by a generation into which all was folded that was laid over them, but for `since`.
    ///
    /// # Panics
    /// It has other rows.
    pub fn fold(&mut self, generation: &Arc<Generation>, mut since: BTreeMap<FieldId, Overlay>) {
        for (field, values) in generation.fields() {
            assert_eq!(values.rows(), self.segment.rows(), "a generation has the rows of its segment");
            self.generations.insert(*field, Arc::clone(generation));
            match since.remove(field) {
                Some(since) => drop(self.overlays.insert(*field, Arc::new(since))),
                None => drop(self.overlays.remove(field)),
            }
        }
    }

    /// The same generations, in files instead of in memory; those that are not read any more are not taken.
    pub fn take_generation(&mut self, generation: &Arc<Generation>) {
        for held in self.generations.values_mut().filter(|held| held.id() == generation.id()) {
            *held = Arc::clone(generation);
        }
    }

    /// The fields that the segment or an overlay has.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> + '_ {
        let own = |field: &&FieldId| self.segment.fields.contains_key(field);
        let folded = self.generations.keys().filter(move |field| !own(field));
        let overlaid = self.overlays.keys().filter(move |field| !own(field) && !self.generations.contains_key(field));
        self.segment.fields.keys().chain(folded).chain(overlaid).copied()
    }

    /// Whether any row may have a value of the field.
    pub fn has(&self, field: FieldId) -> bool {
        self.layers(field).0.is_some() || self.overlays.contains_key(&field)
    }

    /// The same, of a segment that holds the same: in a file instead of in memory.
    #[must_use]
    pub fn with_segment(&self, segment: Arc<Segment>) -> Self {
        Self { segment, ..self.clone() }
    }

    /// The value of a field of a document, or `None` where it is absent.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn value(&self, row: u32, field: FieldId) -> Result<Option<Value>, SegmentDamage> {
        let (values, overlay) = self.layers(field);
        if let Some(laid) = overlay.and_then(|overlay| overlay.value(row)) {
            return Ok(laid);
        }
        let Some(values) = values else { return Ok(None) };
        values.value(row).map_err(|cause| self.segment.damage(Some(field), cause))
    }

    /// The whole document, its fields named by `schema`.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn document(&self, row: u32, schema: &Schema) -> Result<Value, SegmentDamage> {
        let mut leaves = Vec::new();
        for field in self.fields() {
            leaves.extend(self.value(row, field)?.map(|value| (schema.path(field), value)));
        }
        self.nested(leaves)
    }

    fn nested(&self, leaves: Vec<(FieldPath, Value)>) -> Result<Value, SegmentDamage> {
        let object = unflatten(leaves);
        let damage = |_| self.segment.damage(None, ColumnError::Damaged("a field leads through another's value"));
        object.map(Value::Object).map_err(damage)
    }

    /// Adds to `counts` how many values of each field and type there are, about: dead rows are taken off in proportion.
    pub fn count_fields(&self, counts: &mut BTreeMap<(u32, u8), u64>) {
        let (live, rows) = (self.live_rows() as u64, self.segment.rows().max(1) as u64);
        for (field, values) in &self.segment.fields {
            for (of, there) in values.counts() {
                *counts.entry((field.0, of.code())).or_default() += there * live / rows;
            }
        }
    }

    /// Bytes that the segment and what is laid over it take.
    pub fn bytes(&self) -> usize {
        self.segment.sizes.total + self.overlay_bytes()
    }

    /// The rows that live, ascending.
    pub fn live(&self) -> UInt32Array {
        let rows = all_rows(self.segment.rows());
        match self.tombstones.is_empty() {
            true => rows,
            false => rows.values().iter().copied().filter(|row| self.is_live(*row)).collect::<Vec<_>>().into(),
        }
    }

    /// A field's values in the given rows (ascending), overlay laid over.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn column(&self, field: FieldId, rows: &UInt32Array) -> Result<TypedColumns, SegmentDamage> {
        let (values, overlay) = self.layers(field);
        let base = match values {
            Some(values) => values.take(RowSet(rows)).map_err(|cause| self.segment.damage(Some(field), cause))?,
            None => TypedColumns::absent(rows.len()),
        };
        Ok(match overlay {
            Some(overlay) => overlay.lay_over(base, rows),
            None => base,
        })
    }

    /// The damage of its segment.
    pub fn damage(&self, field: Option<FieldId>, cause: ColumnError) -> SegmentDamage {
        self.segment.damage(field, cause)
    }

    /// What is known of the event times that a field's values are, without what lies over them.
    fn known_times(&self, field: FieldId) -> &KnownTimes {
        self.generations.get(&field).map_or(&self.segment.event_times, |generation| generation.event_times())
    }

    /// Whether [`Self::expired`] can be told at once: to read the times of all rows takes long, even where these are here.
    pub fn knows_expired(&self, expired: Expired) -> bool {
        let Expired { field, below } = expired;
        let known = self.known_times(field);
        self.layers(field).0.is_none() || !known.may_be_below(field, below) || known.are_read(field)
    }

    /// The living documents whose time is over.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn expired(&self, expired: Expired) -> Result<RoaringBitmap, SegmentDamage> {
        let Expired { field, below } = expired;
        let mut rows = RoaringBitmap::new();
        if let (Some(values), _) = self.layers(field)
            && self.known_times(field).may_be_below(field, below)
        {
            let all = all_rows(self.segment.rows());
            let read = || Ok(EventTimes::of(&values.take(RowSet(&all))?));
            let times = self.known_times(field).get(field, read);
            rows = times.map_err(|cause| self.segment.damage(Some(field), cause))?.below(below);
        }
        for run in self.layers(field).1.into_iter().flat_map(Overlay::runs) {
            let gone = EventTimes::of(run.values()).below(below);
            for (index, row) in run.rows().iter().enumerate() {
                match gone.contains(index as u32) {
                    true => rows.insert(*row),
                    false => rows.remove(*row),
                };
            }
        }
        self.tombstones.iter().for_each(|dead| rows -= dead.as_ref());
        Ok(rows)
    }

    /// Whether a document's time is over.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn is_expired(&self, row: u32, expired: Expired) -> Result<bool, SegmentDamage> {
        let value = self.value(row, expired.field)?;
        Ok(value.as_ref().and_then(event_time).is_some_and(|time| time < expired.below))
    }

    /// The `_id`s of the given rows (ascending).
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn ids(&self, rows: &UInt32Array) -> Result<StringArray, SegmentDamage> {
        self.segment.ids.take(RowSet(rows)).map_err(|cause| self.segment.damage(None, cause))
    }

    /// What the fields of its living rows would take as arrays, about, and the largest of them, each with all that is laid over fields.
    pub fn plain_bytes(&self) -> (usize, usize) {
        let SegmentBytes { plain, column_max, .. } = self.segment.sizes;
        let taken = |values: Option<&FieldValues>| values.map_or(0, FieldValues::plain_bytes);
        let (mut all, mut most) = (plain, column_max);
        for (field, generation) in &self.generations {
            let folded = taken(generation.fields().get(field));
            all = (all + folded).saturating_sub(taken(self.segment.fields.get(field)));
            most = most.max(folded);
        }
        let (live, rows) = (self.live_rows(), self.segment.rows().max(1));
        let of_living = |bytes: usize| (bytes as u128 * live as u128 / rows as u128) as usize;
        let laid: usize = self.overlays.values().map(|overlay| overlay.bytes()).sum();
        (of_living(all) + laid, of_living(most) + laid)
    }

    /// Bytes of memory that overlays and what they were folded into take.
    pub fn overlay_bytes(&self) -> usize {
        let folded = self.generations().into_values().flat_map(|generation| generation.fields().values());
        let folded = folded.map(FieldValues::encoded_bytes);
        self.overlays.values().map(|overlay| overlay.bytes()).chain(folded).sum()
    }
}
