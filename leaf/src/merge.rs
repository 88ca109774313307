//! Makes one segment out of several: their living documents, overlays laid in.
//!
//! In: versions of segments. Out: a segment. Which to merge is the policy's decision; taking the result in
//! is the shard's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::columns::TypedColumns;
use basalt_common::id::FieldId;
use datafusion::arrow::array::{Int64Array, StringArray, UInt32Array};

use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};

/// The living documents of all versions as one segment, in the order of the versions and of their rows.
///
/// # Errors
/// One of them is damaged.
pub fn merge(versions: &[Arc<SegmentVersion>], id: SegmentId) -> Result<Segment, SegmentDamage> {
    let live: Vec<UInt32Array> = versions.iter().map(|version| version.live()).collect();
    let pairs = || versions.iter().zip(&live);
    let ids = pairs().map(|(version, rows)| version.ids(rows)).collect::<Result<Vec<_>, _>>()?;
    let ids = StringArray::from_iter(ids.iter().flat_map(|ids| ids.iter()));
    let versioned = versions.iter().any(|version| version.segment().versions().is_some());
    let row_versions = pairs().flat_map(|(version, rows)| {
        let segment = version.segment();
        rows.values().iter().map(|row| segment.version(*row))
    });
    let row_versions: Option<Int64Array> = versioned.then(|| row_versions.collect());
    let fields: BTreeSet<FieldId> = versions.iter().flat_map(|version| version.fields()).collect();
    let mut filled = BTreeMap::new();
    for field in fields {
        let parts = pairs().map(|(version, rows)| version.column(field, rows)).collect::<Result<Vec<_>, _>>()?;
        let values = TypedColumns::concat(&parts);
        if !values.columns().is_empty() {
            filled.insert(field, values);
        }
    }
    Ok(Segment::new(id, ids, row_versions, filled))
}
