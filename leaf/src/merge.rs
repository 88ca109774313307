//! Makes one segment out of several: their living documents, overlays laid in.
//!
//! In: versions of segments. Out: a segment. Which to merge is [`policy`](crate::policy)'s decision; taking the result in
//! is the shard's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use datafusion::arrow::array::{Int64Array, StringArray, UInt32Array};

use crate::segment::{Segment, SegmentId, SegmentVersion};

/// The living documents of all versions as one segment, in the order of the versions and of their rows.
pub fn merge(versions: &[Arc<SegmentVersion>], id: SegmentId) -> Segment {
    let live: Vec<UInt32Array> = versions.iter().map(|version| version.live()).collect();
    let ids = versions.iter().zip(&live).flat_map(|(version, rows)| {
        let ids = version.segment().ids();
        rows.values().iter().map(|row| ids.value(*row as usize))
    });
    let ids = StringArray::from_iter_values(ids.collect::<Vec<_>>());
    let versioned = versions.iter().any(|version| version.segment().versions().is_some());
    let row_versions = versions.iter().zip(&live).flat_map(|(version, rows)| {
        let segment = version.segment();
        rows.values().iter().map(|row| segment.version(*row))
    });
    let row_versions: Option<Int64Array> = versioned.then(|| row_versions.collect());
    let fields: BTreeSet<FieldId> = versions.iter().flat_map(|version| version.fields()).collect();
    let column = |field: FieldId| {
        let parts: Vec<TypedColumns> =
            versions.iter().zip(&live).map(|(version, rows)| version.column(field, rows)).collect();
        TypedColumns::concat(&parts)
    };
    let columns = fields.into_iter().map(|field| (field, column(field)));
    let filled: BTreeMap<FieldId, TypedColumns> = columns.filter(|(_, values)| !values.columns().is_empty()).collect();
    Segment::new(id, ids, row_versions, filled)
}
