//! Segments: immutable runs of documents, and what was laid over them since.
//!
//! In: documents in columnar form. Out: [`SegmentVersion`]: a segment with its tombstones and overlays at one moment, from
//! which values, columns and whole documents are read. Versions share all they have in common; making one copies lists of
//! references, never values.

mod version;

use std::borrow::Cow;
use std::collections::BTreeMap;

use basalt_common::columns::TypedColumns;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::FieldId;
use datafusion::arrow::array::{Array, Int64Array, StringArray};
use datafusion::common::DataFusionError;
use thiserror::Error;

use crate::column::ColumnError;
use crate::event_times::KnownTimes;
use crate::field::{FieldValues, Ids};
use crate::key_run::KeyRun;
use crate::piece::Piece;
pub use version::SegmentVersion;

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

/// A segment holds what was never written as one, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("segment {} {}{}: {cause}{}", .segment.0, .cause.verb(), .field.map(|field| format!(" in field {}", field.0)).unwrap_or_default(), .cause.advice())]
pub struct SegmentDamage {
    /// The segment.
    pub segment: SegmentId,
    /// The field, unless it is the `_id`s.
    pub field: Option<FieldId>,
    /// What is wrong.
    pub cause: ColumnError,
}

impl From<SegmentDamage> for DataFusionError {
    fn from(damage: SegmentDamage) -> Self {
        let failure = match &damage.cause {
            ColumnError::Unavailable(_) => Failure::new(FailureKind::Unavailable, damage.to_string())
                .with_hint("try again when the object store can be read"),
            _ => Failure::new(FailureKind::Internal, damage.to_string()),
        };
        Self::External(Box::new(failure))
    }
}

/// Documents in columns. Never changes.
#[derive(Debug)]
pub struct Segment {
    id: SegmentId,
    ids: Ids,
    /// Of as many rows as there are ids.
    key_run: Option<Piece<KeyRun>>,
    /// The versions of the upserts that brought the rows, in a collection with versions; null where a patch made the row.
    /// INVARIANT: as many as there are ids; checked in [`Segment::new`].
    versions: Option<Int64Array>,
    /// INVARIANT: each of as many rows as there are ids; checked in [`Segment::new`].
    fields: BTreeMap<FieldId, FieldValues>,
    sizes: SegmentBytes,
    event_times: KnownTimes,
}

/// What a segment takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentBytes {
    /// In memory or in its file.
    pub total: usize,
    /// What all columns take as arrays in memory.
    pub plain: usize,
    /// What its largest column takes so, the `_id`s included.
    pub column_max: usize,
}

impl SegmentBytes {
    /// What fields take, with `_id`s of `ids` bytes, that are `total` bytes with all else.
    pub fn of(fields: &BTreeMap<FieldId, FieldValues>, ids: usize, total: usize) -> Self {
        let plain = || fields.values().map(FieldValues::plain_bytes).chain([ids]);
        Self { total, plain: plain().sum(), column_max: plain().max().unwrap_or_default() }
    }
}

impl Segment {
    /// Makes a segment in memory of the documents with these `_id`s.
    ///
    /// # Panics
    /// A field has another number of rows, or the versions have.
    pub fn new(
        id: SegmentId,
        ids: StringArray,
        versions: Option<Int64Array>,
        fields: BTreeMap<FieldId, TypedColumns>,
    ) -> Self {
        let fields = fields.into_iter().map(|(field, columns)| (field, FieldValues::Memory(columns))).collect();
        let mut sizes = SegmentBytes::of(&fields, ids.value_data().len(), 0);
        sizes.total = sizes.plain;
        Self::of_parts(id, Ids::Memory(ids), versions, fields, sizes)
    }

    /// Makes a segment of parts that may lie in a file.
    ///
    /// # Panics
    /// A field has another number of rows, or the versions have.
    pub fn of_parts(
        id: SegmentId,
        ids: Ids,
        versions: Option<Int64Array>,
        fields: BTreeMap<FieldId, FieldValues>,
        sizes: SegmentBytes,
    ) -> Self {
        assert!(versions.as_ref().is_none_or(|versions| versions.len() == ids.len()), "each row has its version");
        for (field, values) in &fields {
            assert_eq!(values.rows(), ids.len(), "field {field:?} has another number of rows than its segment");
        }
        Self { id, ids, key_run: None, versions, fields, sizes, event_times: KnownTimes::default() }
    }

    /// The same with the run by which its rows are found.
    #[must_use]
    pub fn with_key_run(self, run: impl Into<Piece<KeyRun>>) -> Self {
        Self { key_run: Some(run.into()), ..self }
    }

    /// Its number.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// How many rows it has, tombstoned ones included.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// What it takes.
    pub fn sizes(&self) -> SegmentBytes {
        self.sizes
    }

    /// The `_id`s of its rows.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Whether its `_id`s and columns are arrays in memory, as they were when it came.
    pub fn is_in_arrays(&self) -> bool {
        matches!(self.ids, Ids::Memory(_))
    }

    /// Whether it has a run by which rows are found: all but small segments in memory have one.
    pub fn has_key_run(&self) -> bool {
        self.key_run.is_some()
    }

    /// The run by which rows are found.
    ///
    /// # Errors
    /// It is damaged.
    pub fn key_run(&self) -> Result<Option<&KeyRun>, ColumnError> {
        self.key_run.as_ref().map(Piece::kept).transpose()
    }

    /// Whether rows are found by it without opening anything.
    pub fn is_open_for_keys(&self) -> bool {
        self.ids.is_open() && self.key_run.as_ref().is_none_or(Piece::is_open)
    }

    /// The `_id` of a row.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn id_of(&self, row: u32) -> Result<Cow<'_, str>, SegmentDamage> {
        self.ids.get(row).map_err(|cause| self.damage(None, cause))
    }

    /// Reads all that it has, and compares checksums. Waits for what is in a store elsewhere.
    ///
    /// # Errors
    /// It is damaged, or the store cannot be read.
    pub fn check(&self) -> Result<(), SegmentDamage> {
        self.key_run().map_err(|cause| self.damage(None, cause))?;
        self.ids.check().map_err(|cause| self.damage(None, cause))?;
        let check = |(field, values): (&FieldId, &FieldValues)| {
            values.check().map_err(|cause| self.damage(Some(*field), cause))
        };
        self.fields.iter().try_for_each(check)
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
    pub fn fields(&self) -> &BTreeMap<FieldId, FieldValues> {
        &self.fields
    }

    /// What is known of its rows' event times.
    pub fn event_times(&self) -> &KnownTimes {
        &self.event_times
    }

    fn damage(&self, field: Option<FieldId>, cause: ColumnError) -> SegmentDamage {
        SegmentDamage { segment: self.id, field, cause }
    }
}
