//! Brings here what a batch's `_id`s are looked up in, many pages at once.
//!
//! In: a snapshot, the `_id`s of a batch that is about to be applied. Out: how many pages were waited for; pages of key runs and of `_id`s that
//! were on disk are in memory. While a batch is applied its lookups follow each other under the shard's lock, and each waits for its own pages: where most of
//! a shard's keys are on disk, a disk that could read many pages at once reads one. Looking them up once before, by many threads, costs as much
//! CPU again, so it is done only while batches wait for pages.

use std::panic::resume_unwind;

use datafusion::arrow::array::{Array, StringArray};

use crate::advice::pages_waited_for;
use crate::field::Ids;
use crate::key_run;
use crate::segment::Segment;
use crate::shard::Snapshot;

/// From one page for so many operations on, waiting for them takes longer than looking up twice: a page takes some hundred microseconds, a lookup
/// up to eighteen.
const OPERATIONS_OF_PAGE: u64 = 8;

/// So many pages are waited for at once.
const READERS: usize = 16;

/// Fewer lookups are not worth starting threads for.
const LOOKUPS_MIN: usize = 64;

/// Whether operations that waited for so many pages had better be warmed, as those that follow them.
pub fn is_cold(operations: usize, pages: u64) -> bool {
    operations >= LOOKUPS_MIN && pages * OPERATIONS_OF_PAGE > operations as u64
}

/// Looks up `_id`s, for the sake of what is read for that. Returns how many pages were waited for. Damage that is met is left for whoever needs
/// the answer.
pub fn warm(snapshot: &Snapshot, ids: &StringArray) -> u64 {
    let in_files = |segment: &&Segment| matches!(segment.ids(), Ids::File(..));
    let segments: Vec<&Segment> =
        snapshot.segments().iter().rev().map(|version| version.segment().as_ref()).filter(in_files).collect();
    if segments.is_empty() || ids.len() < LOOKUPS_MIN {
        return 0;
    }
    let part = ids.len().div_ceil(READERS);
    std::thread::scope(|threads| {
        let reader = |start: usize| {
            let (ids, segments) = (ids.slice(start, part.min(ids.len() - start)), &segments);
            threads.spawn(move || {
                ids.iter().flatten().for_each(|id| look_up(segments, id));
                pages_waited_for()
            })
        };
        let readers: Vec<_> = (0..ids.len()).step_by(part).map(reader).collect();
        readers.into_iter().map(|reader| reader.join().unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
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
    use super::is_cold;

    #[test]
    fn batches_that_wait_for_pages_are_cold() {
        for (operations, pages, cold) in [(1_000, 0, false), (1_000, 125, false), (1_000, 126, true), (10, 10, false)] {
            assert_eq!(is_cold(operations, pages), cold, "{pages} pages of {operations} operations");
        }
    }
}
