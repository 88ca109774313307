//! Brings here what a batch's `_id`s are looked up in, many pages at once.
//!
//! In: a snapshot, the `_id`s of a batch that is about to be applied. Out: nothing; pages of key runs and of `_id`s that were on disk are
//! in memory. While a batch is applied its lookups follow each other under the shard's lock, and each waits for its own pages: where most of
//! a shard's keys are on disk, a disk that could read many pages at once reads one. Looking them up once before, by many threads, costs as much
//! CPU again, so it is done only while batches are slow to apply.

use std::time::Duration;

use datafusion::arrow::array::{Array, StringArray};

use crate::field::Ids;
use crate::key_run;
use crate::segment::Segment;
use crate::shard::Snapshot;

/// An operation that takes longer waits for a disk: in memory it takes some two microseconds, and no more than ten of a large patch.
const COLD: Duration = Duration::from_micros(12);

/// So many pages are waited for at once.
const READERS: usize = 16;

/// Fewer lookups are not worth starting threads for.
const LOOKUPS_MIN: usize = 64;

/// Whether so many operations that took so long waited for a disk.
pub fn is_cold(operations: usize, took: Duration) -> bool {
    operations >= LOOKUPS_MIN && took > COLD * u32::try_from(operations).unwrap_or(u32::MAX)
}

/// Looks up `_id`s, for the sake of what is read for that. Damage that is met is left for whoever needs the answer.
pub fn warm(snapshot: &Snapshot, ids: &StringArray) {
    let in_files = |segment: &&Segment| matches!(segment.ids(), Ids::File(..));
    let segments: Vec<&Segment> =
        snapshot.segments().iter().rev().map(|version| version.segment().as_ref()).filter(in_files).collect();
    if segments.is_empty() || ids.len() < LOOKUPS_MIN {
        return;
    }
    let part = ids.len().div_ceil(READERS);
    std::thread::scope(|threads| {
        for start in (0..ids.len()).step_by(part) {
            let (ids, segments) = (ids.slice(start, part.min(ids.len() - start)), &segments);
            threads.spawn(move || ids.iter().flatten().for_each(|id| look_up(segments, id)));
        }
    });
}

fn look_up(segments: &[&Segment], id: &str) {
    let hash = key_run::hash(id);
    for segment in segments {
        let Ok(Some(run)) = segment.key_run() else { continue };
        if matches!(run.find(hash, |row| segment.ids().is(row, id)), Ok(Some(_))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, is_cold};

    #[test]
    fn slow_batches_are_cold() {
        let micros = Duration::from_micros;
        for (operations, took, cold) in
            [(1_000, 2_000, false), (1_000, 12_000, false), (1_000, 12_001, true), (1, 1_000_000, false), (0, 1, false)]
        {
            assert_eq!(is_cold(operations, micros(took)), cold, "{operations} in {took} us");
        }
    }
}
