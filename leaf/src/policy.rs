//! Which segments of a buffer to merge, and when to flush it: pure functions of sizes and times.
//!
//! In: segments with their rows; how much is only in the log. Out: a plan; how long to wait. Carrying it out is later stages'
//! work.

use std::time::Duration;

use basalt_common::id::FieldId;

use crate::segment::SegmentId;

/// How a buffer's segments are merged.
#[derive(Debug, Clone)]
pub struct MergePolicy {
    /// Segments of one tier before they are merged: fewer makes reads cheaper, more makes writes cheaper. A row is
    /// written again about log₈(rows) times.
    pub segments_per_tier: usize,
    /// Segments of more rows than this are left as they are.
    pub rows_max: usize,
    /// Segments of at most so many rows are merged while a batch is applied: that takes a few milliseconds, and less than beginning a
    /// merge beside it.
    pub inline_rows_max: usize,
    /// A field is folded with what is laid over it where that is at least one row in so many, and at least [`Self::fold_rows_min`]: a
    /// patch then costs so many rows of its field, written once more.
    pub fold_share: usize,
    /// The same in a shard at rest, where it costs nobody anything.
    pub fold_share_at_rest: usize,
    /// Fewer rows are not worth folding.
    pub fold_rows_min: usize,
    /// A segment with so many generations has all their fields folded anew, with those that are due: else each field may have an object
    /// of its own.
    pub generations_max: usize,
    /// With more segments than this that could be merged, batches wait for merges: reads of many segments are slow.
    pub segments_max: usize,
    /// No merge makes a segment of which the columns take more bytes than this as arrays: encoded, it is in memory until it is flushed, and its
    /// fields as arrays one by one.
    pub bytes_max: usize,
    /// A merge whose largest field might take more bytes than this is not done: one Arrow array holds 2 GiB of text.
    pub column_bytes_max: usize,
    /// The share of dead rows from which a segment is rewritten alone.
    pub dead_share_max: f64,
}

impl Default for MergePolicy {
    fn default() -> Self {
        Self {
            segments_per_tier: 8,
            rows_max: 1_000_000,
            inline_rows_max: 1_024,
            fold_share: 8,
            fold_share_at_rest: 256,
            fold_rows_min: 1_024,
            generations_max: 8,
            segments_max: 256,
            bytes_max: 256 << 20,
            column_bytes_max: 1 << 30,
            dead_share_max: 0.5,
        }
    }
}

/// What the policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSize {
    /// The segment.
    pub segment: SegmentId,
    /// Its rows, dead ones included.
    pub rows: usize,
    /// Its living rows.
    pub live_rows: usize,
    /// What the columns of its living rows take as arrays, overlays included.
    pub bytes: usize,
    /// No field of these takes more bytes than this, overlays included.
    pub column_bytes: usize,
}

/// Rows that something is laid over, which is not folded in yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaidRows {
    /// The segment.
    pub segment: SegmentId,
    /// Its field.
    pub field: FieldId,
    /// The segment's rows.
    pub rows: usize,
    /// The rows of all runs over the field.
    pub laid: usize,
}

impl MergePolicy {
    /// The segment and its fields to fold now: where the most rows are laid over a field.
    pub fn fold(&self, laid: &[LaidRows], at_rest: bool) -> Option<(SegmentId, Vec<FieldId>)> {
        let share = if at_rest { self.fold_share_at_rest } else { self.fold_share };
        let is_due = |laid: &&LaidRows| laid.laid >= self.fold_rows_min.max(laid.rows / share).max(1);
        let most = laid.iter().filter(is_due).max_by_key(|laid| laid.laid)?.segment;
        let fields = laid.iter().filter(is_due).filter(|laid| laid.segment == most).map(|laid| laid.field);
        Some((most, fields.collect()))
    }

    /// Of the segments in memory that are to be flushed, those to merge into one before: an object of many rows is made once, ones of
    /// few are made again with each merge. The smallest, as many as one segment may have.
    pub fn gather(&self, segments: &[SegmentSize]) -> Vec<SegmentId> {
        let gathered = self.fitting(segments.to_vec(), self.rows_max);
        if gathered.len() > 1 { gathered } else { Vec::new() }
    }

    /// The smallest of some segments, as many as one of so many rows may hold.
    fn fitting(&self, mut segments: Vec<SegmentSize>, rows_max: usize) -> Vec<SegmentId> {
        segments.sort_by_key(|size| (size.live_rows, size.segment));
        let (mut rows, mut bytes, mut column_bytes) = (0, 0, 0);
        let fits = |size: &SegmentSize| {
            (rows, bytes, column_bytes) = (rows + size.live_rows, bytes + size.bytes, column_bytes + size.column_bytes);
            rows <= rows_max && bytes <= self.bytes_max && column_bytes <= self.column_bytes_max
        };
        let mut fitting: Vec<SegmentId> = segments.into_iter().take_while(fits).map(|size| size.segment).collect();
        fitting.sort_unstable();
        fitting
    }

    /// Whether there are so many segments that could be merged that batches have to wait for it.
    pub fn is_late(&self, segments: &[SegmentSize]) -> bool {
        segments.iter().filter(|size| self.has_room(size)).count() > self.segments_max
    }

    /// Whether a segment could be merged with others of its size. One of more than half of what a segment may hold could not: counted in
    /// its tier it would have ever smaller ones merged, so that each row is written several times more.
    fn has_room(&self, size: &SegmentSize) -> bool {
        size.live_rows <= self.rows_max && size.bytes <= self.bytes_max / 2
    }

    /// The segments to merge into one now, or none.
    ///
    /// The tier of a segment is the logarithm of its living rows to the base of `segments_per_tier`; the lowest full tier
    /// is merged, as far as one segment may hold it. Segments without room are in no tier.
    pub fn plan(&self, segments: &[SegmentSize]) -> Vec<SegmentId> {
        let mostly_dead = |size: &&SegmentSize| {
            size.rows > size.live_rows && (size.rows - size.live_rows) as f64 >= size.rows as f64 * self.dead_share_max
        };
        let mut segments = segments.to_vec();
        segments.retain(|size| size.column_bytes <= self.column_bytes_max);
        if let Some(size) = segments.iter().find(mostly_dead) {
            return vec![size.segment];
        }
        let tier = |size: &SegmentSize| size.live_rows.max(1).ilog(self.segments_per_tier);
        let mut tiers: Vec<Vec<SegmentSize>> = Vec::new();
        for size in segments.into_iter().filter(|size| self.has_room(size)) {
            let tier = tier(&size) as usize;
            tiers.resize_with(tiers.len().max(tier + 1), Default::default);
            tiers[tier].push(size);
        }
        let full = tiers.into_iter().filter(|members| members.len() >= self.segments_per_tier);
        full.map(|members| self.fitting(members, usize::MAX)).find(|fitting| fitting.len() > 1).unwrap_or_default()
    }
}

/// When a shard is flushed.
#[derive(Debug, Clone)]
pub struct FlushPolicy {
    /// Bytes of the log that are applied before they are flushed: what a restart reads again at most, and what the log
    /// keeps.
    pub flush_bytes: u64,
    /// What took so long to apply is flushed: a restart takes as long again for each shard, and a node has several for a core. Operations
    /// on keys that are not in memory are few bytes of the log, and take long.
    pub flush_applying: Duration,
    /// How long an applied batch waits: a shard that is hardly written does not hold the log's files back.
    pub flush_interval: Duration,
}

impl Default for FlushPolicy {
    fn default() -> Self {
        let (flush_applying, flush_interval) = (Duration::from_millis(1_500), Duration::from_secs(60));
        Self { flush_bytes: 64 << 20, flush_applying, flush_interval }
    }
}

/// Batches that are applied and in no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unflushed {
    /// Bytes that they take in the log.
    pub bytes: u64,
    /// How long it took to apply them.
    pub applying: Duration,
    /// How long the oldest has been waiting.
    pub age: Duration,
}

impl FlushPolicy {
    /// How long to wait before flushing; zero where it is time.
    pub fn wait(&self, unflushed: Unflushed) -> Duration {
        match unflushed.bytes > self.flush_bytes || unflushed.applying > self.flush_applying {
            true => Duration::ZERO,
            false => self.flush_interval.saturating_sub(unflushed.age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, FieldId, FlushPolicy, Unflushed};
    use super::{LaidRows, MergePolicy, SegmentId, SegmentSize};

    fn check(sizes: &[(usize, usize)], expected: &[u64]) {
        let size = |(index, (rows, live_rows)): (usize, &(usize, usize))| SegmentSize {
            segment: SegmentId(index as u64),
            rows: *rows,
            live_rows: *live_rows,
            bytes: rows * 200,
            column_bytes: rows * 100,
        };
        let sizes: Vec<SegmentSize> = sizes.iter().enumerate().map(size).collect();
        let policy = MergePolicy { segments_per_tier: 3, column_bytes_max: 100_000, ..MergePolicy::default() };
        let plan: Vec<u64> = policy.plan(&sizes).into_iter().map(|segment| segment.0).collect();
        assert_eq!(plan, expected, "{sizes:?}");
    }

    #[test]
    fn full_tiers_and_dead_segments_are_merged() {
        check(&[], &[]);
        check(&[(1, 1), (1, 1)], &[]);
        check(&[(100, 100), (1, 1), (2, 2), (1, 1)], &[1, 2, 3]);
        check(&[(100, 100), (90, 90), (1, 1), (110, 110)], &[0, 1, 3]);
        check(&[(100, 50), (1, 1)], &[0]);
        check(&[(100, 51), (1, 1)], &[]);
        check(&[(1, 0)], &[0]);
        check(&[(2_000_000, 2_000_000); 3], &[]);
        check(&[(400, 400), (400, 400), (400, 400)], &[0, 1]);
        check(&[(800, 800), (400, 400), (700, 700)], &[]);
        check(&[(300, 300), (300, 300), (500, 500), (300, 300)], &[0, 1, 3]);
        check(&[(1_001, 1)], &[]);
    }

    /// However much comes, no merge is larger than one segment may be, each row is written a few times, and few segments are left that could
    /// be merged.
    #[test]
    fn merges_are_bounded_and_come_to_an_end() {
        let cases = [(200, 16, 4.0), (200, 800, 3.0), (200, 200_000, 1.0), (50_000, 1_000, 1.0), (50_000, 200, 2.0)];
        for (rows_min, row_bytes, times_max) in cases {
            let policy = MergePolicy { column_bytes_max: usize::MAX, ..MergePolicy::default() };
            let (mut segments, mut rows_came, mut rows_written) = (Vec::new(), 0, 0);
            for id in 0..6_000 {
                let rows = rows_min + id * 7_919 % 6_000;
                let size = |id: usize, rows: usize| SegmentSize {
                    segment: SegmentId(id as u64),
                    rows,
                    live_rows: rows,
                    bytes: rows * row_bytes,
                    column_bytes: rows,
                };
                segments.push(size(id, rows));
                rows_came += rows;
                for merge in 0.. {
                    let plan = policy.plan(&segments);
                    if plan.is_empty() {
                        break;
                    }
                    let merged = segments.extract_if(.., |size| plan.contains(&size.segment));
                    let rows: usize = merged.map(|size| size.rows).sum();
                    assert!(rows * row_bytes <= policy.bytes_max, "{rows} rows of {row_bytes} bytes are merged");
                    rows_written += rows;
                    segments.push(size(1_000_000 + id * 100 + merge, rows));
                }
            }
            let small = segments.iter().filter(|size| policy.has_room(size));
            assert!(small.count() < 60 && !policy.is_late(&segments), "{} segments are left", segments.len());
            let times = rows_written as f64 / rows_came as f64;
            assert!(times <= times_max, "{times} times rows of {row_bytes} bytes were written");
        }
    }

    #[test]
    fn what_is_in_memory_is_gathered_up_to_a_segment() {
        let policy = MergePolicy { rows_max: 100, column_bytes_max: 5_000, ..MergePolicy::default() };
        let gather = |sizes: &[(usize, usize)]| {
            let size = |(index, (rows, column_bytes)): (usize, &(usize, usize))| SegmentSize {
                segment: SegmentId(index as u64),
                rows: rows * 2,
                live_rows: *rows,
                bytes: *column_bytes,
                column_bytes: *column_bytes,
            };
            let sizes: Vec<SegmentSize> = sizes.iter().enumerate().map(size).collect();
            policy.gather(&sizes).into_iter().map(|segment| segment.0).collect::<Vec<_>>()
        };
        assert!(gather(&[]).is_empty());
        assert!(gather(&[(5, 10)]).is_empty());
        assert_eq!(gather(&[(50, 10), (5, 10), (7, 10)]), [0, 1, 2]);
        assert_eq!(gather(&[(90, 10), (5, 10), (7, 10)]), [1, 2]);
        assert_eq!(gather(&[(50, 10), (5, 2_500), (7, 2_600)]), [] as [u64; 0]);
        assert!(gather(&[(100, 10), (1, 10)]).is_empty());
    }

    #[test]
    fn fields_that_much_is_laid_over_are_folded() {
        let laid =
            |segment, field, rows, laid| LaidRows { segment: SegmentId(segment), field: FieldId(field), rows, laid };
        let policy = MergePolicy { fold_share: 8, fold_rows_min: 10, ..MergePolicy::default() };
        assert_eq!(policy.fold(&[], true), None);
        let few = [laid(1, 1, 800, 99), laid(2, 1, 40, 9)];
        assert_eq!(policy.fold(&few, false), None);
        assert_eq!(policy.fold(&few, true), Some((SegmentId(1), vec![FieldId(1)])));
        let all = [laid(1, 1, 800, 100), laid(1, 2, 800, 99), laid(1, 3, 800, 800), laid(2, 1, 4_000, 799)];
        assert_eq!(policy.fold(&all, false), Some((SegmentId(1), vec![FieldId(1), FieldId(3)])));
    }

    #[test]
    fn many_bytes_much_work_or_a_long_wait_are_flushed() {
        let seconds = Duration::from_secs;
        let policy = FlushPolicy { flush_bytes: 100, flush_applying: seconds(2), flush_interval: seconds(60) };
        let check = |bytes, applying, age, wait| {
            let unflushed = Unflushed { bytes, applying: seconds(applying), age: seconds(age) };
            assert_eq!(policy.wait(unflushed), seconds(wait));
        };
        check(0, 0, 0, 60);
        check(100, 2, 20, 40);
        check(101, 0, 0, 0);
        check(1, 3, 4, 0);
        check(1, 0, 60, 0);
        check(1, 0, 100, 0);
    }
}
