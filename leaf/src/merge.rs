//! Makes one segment out of several: their living documents, overlays laid in.
//!
//! In: versions of segments. Out: a segment, in memory as arrays or as it will be in its file. Which to merge is the policy's decision; taking the result in
//! is the shard's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use bytes::Bytes;
use datafusion::arrow::array::{Int64Array, StringArray, UInt32Array};

use crate::field::{FieldValues, FileColumns, Ids};
use crate::indexes::Indexes;
use crate::key_run::KeyRun;
use crate::segment::{Segment, SegmentBytes, SegmentDamage, SegmentId, SegmentVersion};

/// The living documents of all versions as one segment of arrays, in the order of the versions and of their rows.
///
/// # Errors
/// One of them is damaged.
pub fn merge(versions: &[Arc<SegmentVersion>], id: SegmentId) -> Result<Segment, SegmentDamage> {
    let parts = Parts::of(versions);
    let mut filled = BTreeMap::new();
    for field in parts.fields() {
        let values = parts.field(field)?;
        if !values.columns().is_empty() {
            filled.insert(field, values);
        }
    }
    Ok(Segment::new(id, parts.ids()?, parts.row_versions(), filled))
}

/// The same, encoded field by field with the indexes that its fields are to have, and with its key run: no more than a field's arrays are in
/// memory at once.
///
/// # Errors
/// One of them is damaged.
pub fn merge_encoded(
    versions: &[Arc<SegmentVersion>],
    id: SegmentId,
    indexes: &Indexes,
) -> Result<Segment, SegmentDamage> {
    let parts = Parts::of(versions);
    let mut filled = BTreeMap::new();
    for field in parts.fields() {
        let columns = FileColumns::of_field(field, indexes, |field| parts.field(field))?;
        if !columns.columns().is_empty() {
            filled.insert(field, FieldValues::File(columns));
        }
    }
    let plain_ids = parts.ids()?;
    let (run, ids) = (KeyRun::of(&plain_ids), Ids::encode(&plain_ids));
    let encoded = filled.values().filter_map(FieldValues::encoded).map(FileColumns::bytes).sum::<usize>();
    let total = encoded + run.bytes().len() + ids.made_of().map_or(0, Bytes::len);
    let sizes = SegmentBytes::of(&filled, plain_ids.value_data().len(), total);
    Ok(Segment::of_parts(id, ids, parts.row_versions(), filled, sizes).with_key_run(run))
}

/// What is merged.
struct Parts<'v>(Vec<(&'v SegmentVersion, UInt32Array)>);

impl<'v> Parts<'v> {
    fn of(versions: &'v [Arc<SegmentVersion>]) -> Self {
        Self(versions.iter().map(|version| (version.as_ref(), version.live())).collect())
    }

    fn fields(&self) -> BTreeSet<FieldId> {
        self.0.iter().flat_map(|(version, _)| version.fields()).collect()
    }

    fn field(&self, field: FieldId) -> Result<TypedColumns, SegmentDamage> {
        let parts = self.0.iter().map(|(version, rows)| version.column(field, rows)).collect::<Result<Vec<_>, _>>()?;
        Ok(TypedColumns::concat(&parts))
    }

    fn ids(&self) -> Result<StringArray, SegmentDamage> {
        let ids = self.0.iter().map(|(version, rows)| version.ids(rows)).collect::<Result<Vec<_>, _>>()?;
        Ok(StringArray::from_iter(ids.iter().flat_map(|ids| ids.iter())))
    }

    fn row_versions(&self) -> Option<Int64Array> {
        let versioned = self.0.iter().any(|(version, _)| version.segment().versions().is_some());
        let rows = self.0.iter().flat_map(|(version, rows)| {
            let segment = version.segment();
            rows.values().iter().map(|row| segment.version(*row))
        });
        versioned.then(|| rows.collect())
    }
}
