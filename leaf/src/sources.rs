//! How far a shard is in its sources: epochs fence, offsets deduplicate.
//!
//! In: the source ranges of batches, in the order of the log. Out: whether a batch applies. A function of the log alone,
//! kept with the data: increments and rollups, which are not idempotent, count once too.
//!
//! A range claims its epoch; one that is *empty* (its first offset is greater than its last) does nothing else, and a batch
//! of such ranges without operations is a tailer's claim. A tailer that takes a partition over appends its claim to every
//! shard's log, reads up to it, and goes on behind the lowest offset over the shards; what an older epoch appended behind
//! the claim is void.
//!
//! ```text
//! log      epoch 1: 0–9    epoch 2: claim    epoch 1: 10–14    epoch 2: 10–19    epoch 2: 10–19    epoch 2: 15–24
//! verdict  new             new               stale             new               replay            overlap
//! ```

use std::collections::BTreeMap;

use basalt_common::position::{SourcePartition, SourceProgress, SourceRange};

/// What a batch is by its ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It applies.
    New,
    /// All that it covers was applied before: it is void.
    Replay,
    /// A newer epoch was claimed before it: it is void.
    Stale(SourceRange),
    /// It covers both what was applied and what was not. Tailers cut such batches, so one of them is wrong: it is void.
    Overlap(SourceRange),
}

/// How far a shard is in all its sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<SourcePartition, SourceProgress>);

fn is_empty(range: &SourceRange) -> bool {
    range.first > range.last
}

impl Sources {
    /// How far it was before.
    pub fn restore(progress: BTreeMap<SourcePartition, SourceProgress>) -> Self {
        Self(progress)
    }

    /// How far it is, by partition.
    pub fn progress(&self) -> &BTreeMap<SourcePartition, SourceProgress> {
        &self.0
    }

    /// Judges a batch's ranges; changes nothing.
    ///
    /// A gap before a range is no fault: sources leave offsets out.
    pub fn judge(&self, ranges: &[SourceRange]) -> Verdict {
        let mut applied = None;
        let mut fresh = ranges.iter().all(is_empty);
        for range in ranges {
            let Some(progress) = self.0.get(&range.partition) else {
                fresh = true;
                continue;
            };
            if range.epoch < progress.epoch {
                return Verdict::Stale(*range);
            }
            match progress.offset {
                _ if is_empty(range) => {}
                Some(offset) if range.first <= offset && offset < range.last => return Verdict::Overlap(*range),
                Some(offset) if range.last <= offset => applied = Some(*range),
                _ => fresh = true,
            }
        }
        match applied {
            None => Verdict::New,
            Some(range) if fresh => Verdict::Overlap(range),
            Some(_) => Verdict::Replay,
        }
    }

    /// Takes in the ranges of a batch that was judged: the epochs, and of a new one the offsets.
    pub fn note(&mut self, ranges: &[SourceRange], verdict: Verdict) {
        if matches!(verdict, Verdict::Stale(_) | Verdict::Overlap(_)) {
            return;
        }
        for range in ranges {
            let first = SourceProgress { epoch: range.epoch, offset: None };
            let progress = self.0.entry(range.partition).or_insert(first);
            progress.epoch = progress.epoch.max(range.epoch);
            if !is_empty(range) {
                progress.offset = progress.offset.max(Some(range.last));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_common::id::{Epoch, SourceId};
    use proptest::prelude::*;

    use super::{SourcePartition, SourceRange, Sources, Verdict};

    const PARTITION: SourcePartition = SourcePartition { source: SourceId(1), incarnation: 7, partition: 0 };

    fn range(epoch: u64, first: u64, last: u64) -> SourceRange {
        SourceRange { partition: PARTITION, epoch: Epoch(epoch), first, last }
    }

    fn take(sources: &mut Sources, ranges: &[SourceRange]) -> Verdict {
        let verdict = sources.judge(ranges);
        sources.note(ranges, verdict);
        verdict
    }

    #[test]
    fn epochs_fence_and_offsets_deduplicate() {
        let mut sources = Sources::default();
        let mut check =
            |ranges: &[SourceRange], expected| assert_eq!(take(&mut sources, ranges), expected, "{ranges:?}");
        check(&[], Verdict::New);
        check(&[range(1, 0, 9)], Verdict::New);
        check(&[range(2, 1, 0)], Verdict::New);
        check(&[range(1, 10, 14)], Verdict::Stale(range(1, 10, 14)));
        check(&[range(1, 1, 0)], Verdict::Stale(range(1, 1, 0)));
        check(&[range(2, 10, 19)], Verdict::New);
        check(&[range(2, 10, 19)], Verdict::Replay);
        check(&[range(2, 15, 24)], Verdict::Overlap(range(2, 15, 24)));
        check(&[range(2, 0, 3)], Verdict::Replay);
        check(&[range(2, 30, 30)], Verdict::New);
        let other = |first, last| SourceRange {
            partition: SourcePartition { incarnation: 8, ..PARTITION },
            ..range(1, first, last)
        };
        check(&[range(2, 10, 19), other(0, 1)], Verdict::Overlap(range(2, 10, 19)));
        check(&[range(2, 31, 32), other(0, 1)], Verdict::New);
        check(&[range(2, 31, 32), other(0, 1)], Verdict::Replay);
        check(&[range(2, 31, 32), other(2, 3)], Verdict::Overlap(range(2, 31, 32)));
    }

    /// Records of a source, dealt to two shards by their offset.
    const SHARDS: usize = 2;

    /// One of two tailers: from where it reads on, shard by shard.
    #[derive(Debug, Clone, Default)]
    struct Tailer {
        epoch: u64,
        next: u64,
        applied: [Option<u64>; SHARDS],
        sent: Vec<(usize, SourceRange)>,
    }

    #[derive(Debug, Clone)]
    enum Event {
        /// A tailer takes over.
        TakeOver(usize),
        /// A tailer appends the next records, to the first shards only: it dies, or lags, before the rest.
        Send { tailer: usize, records: u64, shards: usize },
        /// A tailer appends one of its batches again, as it did not hear of the first.
        Again { tailer: usize, back: usize },
        /// A shard is made anew from what it kept.
        Reopen(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => (0..2_usize).prop_map(Event::TakeOver),
            5 => (0..2_usize, 1..5_u64, 1..=SHARDS)
                .prop_map(|(tailer, records, shards)| Event::Send { tailer, records, shards }),
            2 => (0..2_usize, 0..4_usize).prop_map(|(tailer, back)| Event::Again { tailer, back }),
            1 => (0..SHARDS).prop_map(Event::Reopen),
        ]
    }

    /// The shards' states, and how often each of them counted each of its offsets.
    #[derive(Default)]
    struct Shards {
        sources: [Sources; SHARDS],
        counted: [Vec<u32>; SHARDS],
    }

    impl Shards {
        fn append(&mut self, shard: usize, range: SourceRange) {
            let verdict = take(&mut self.sources[shard], &[range]);
            assert!(!matches!(verdict, Verdict::Overlap(_)), "tailers cut: {range:?} to {:?}", self.sources[shard]);
            if verdict == Verdict::New && range.first <= range.last {
                let own = (range.first..=range.last).filter(|offset| *offset as usize % SHARDS == shard);
                for offset in own {
                    let counted = &mut self.counted[shard];
                    counted.resize(counted.len().max(offset as usize + 1), 0);
                    counted[offset as usize] += 1;
                }
            }
        }

        fn take_over(&mut self, epoch: u64) -> Tailer {
            (0..SHARDS).for_each(|shard| self.append(shard, range(epoch, 1, 0)));
            let applied = std::array::from_fn(|shard| self.sources[shard].progress()[&PARTITION].offset);
            let next = applied.iter().map(|offset: &Option<u64>| offset.map_or(0, |offset| offset + 1)).min();
            Tailer { epoch, next: next.expect("there are shards"), applied, sent: Vec::new() }
        }

        fn send(&mut self, tailer: &mut Tailer, records: u64, shards: usize) {
            let (first, last) = (tailer.next, tailer.next + records - 1);
            for shard in 0..shards {
                let first = tailer.applied[shard].map_or(first, |applied| first.max(applied + 1));
                if first <= last {
                    tailer.sent.push((shard, range(tailer.epoch, first, last)));
                    self.append(shard, range(tailer.epoch, first, last));
                    tailer.applied[shard] = Some(last);
                }
            }
            // A record is behind a tailer once every shard has its part.
            if shards == SHARDS {
                tailer.next = last + 1;
            }
        }
    }

    proptest! {
        /// However two tailers take over from each other, lag and repeat themselves, each record counts once.
        #[test]
        fn each_record_counts_once(events in prop::collection::vec(event(), 1..80)) {
            let mut shards = Shards::default();
            let mut epoch = 1;
            let mut tailers = [shards.take_over(epoch), Tailer::default()];
            tailers[1] = tailers[0].clone();
            for event in events {
                match event {
                    Event::TakeOver(tailer) => {
                        epoch += 1;
                        tailers[tailer] = shards.take_over(epoch);
                    }
                    // A tailer of an older epoch goes on as if nothing were: its batches are void.
                    Event::Send { tailer, records, shards: to } => {
                        if tailers[tailer].epoch == epoch && tailers[1 - tailer].epoch == epoch && tailer == 1 {
                            continue;
                        }
                        shards.send(&mut tailers[tailer], records, to);
                    }
                    Event::Again { tailer, back } => {
                        let sent = &tailers[tailer].sent;
                        let again = sent.len().checked_sub(back + 1).map(|index| sent[index]);
                        again.into_iter().for_each(|(shard, range)| shards.append(shard, range));
                    }
                    Event::Reopen(shard) => {
                        let kept = shards.sources[shard].progress().clone();
                        shards.sources[shard] = Sources::restore(kept);
                    }
                }
            }
            let mut last = shards.take_over(epoch + 1);
            let end = shards.sources.iter().filter_map(|sources| sources.progress()[&PARTITION].offset).max();
            if let Some(end) = end.filter(|end| *end >= last.next) {
                let records = end + 1 - last.next;
                shards.send(&mut last, records, SHARDS);
            }
            for (shard, counted) in shards.counted.iter().enumerate() {
                let own = counted.iter().enumerate().filter(|(offset, _)| offset % SHARDS == shard);
                let mut own = own.map(|(_, count)| *count);
                prop_assert!(own.all(|count| count == 1), "shard {} counted {:?}", shard, counted);
            }
        }
    }
}
