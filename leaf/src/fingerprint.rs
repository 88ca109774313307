//! A shard's fingerprint: equal for equal content.
//!
//! In: a snapshot. Out: a checksum over every (`_id`, path, value) that a reader sees. Commutative: which segments there are, in
//! which order rows and fields lie in them, and what was flushed or merged when, do not show in it.

use basalt_common::schema::Schema;
use basalt_common::value::{FieldPath, Value, codec};
use xxhash_rust::xxh3::xxh3_128;

use crate::segment::{SegmentDamage, SegmentVersion};
use crate::shard::Snapshot;

/// The fingerprint of a snapshot; 0 for one without documents. Reads everything.
///
/// # Errors
/// A segment is damaged.
pub fn fingerprint(snapshot: &Snapshot, schema: &Schema) -> Result<u128, SegmentDamage> {
    let mut sum = 0_u128;
    for version in snapshot.segments() {
        sum = sum.wrapping_add(of_segment(version, schema)?);
    }
    Ok(sum)
}

fn of_segment(version: &SegmentVersion, schema: &Schema) -> Result<u128, SegmentDamage> {
    let rows = version.live();
    let ids = version.ids(&rows)?;
    // A document without fields counts too.
    let mut sum = ids.iter().flatten().fold(0_u128, |sum, id| sum.wrapping_add(hash(id, &FieldPath::root(), None)));
    for field in version.fields() {
        let (path, column) = (schema.path(field), version.column(field, &rows)?);
        for row in 0..column.rows() {
            if let Some(value) = column.value(row) {
                sum = sum.wrapping_add(hash(ids.value(row), &path, Some(&value)));
            }
        }
    }
    Ok(sum)
}

fn hash(id: &str, path: &FieldPath, value: Option<&Value>) -> u128 {
    let mut bytes = Vec::new();
    for text in [id].into_iter().chain(path.keys().iter().map(String::as_str)) {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    if let Some(value) = value {
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        codec::encode(value, &mut bytes);
    }
    xxh3_128(&bytes)
}
