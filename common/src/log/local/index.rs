//! The index: where each durable record lies, in memory.
//!
//! In come records, from `recovery` at open and from `writer` once they are synced, and new starts of shards. Out come
//! chunks to read, the files that nothing live is left in, and the state for a checkpoint. It is the line between
//! durable and not: readers see what is in the index and nothing else. Reading the records is left to [`Chunk`]'s user,
//! outside the lock; removing files to `writer`.
//!
//! A shard's records lie in runs, one per file that has some of them; a record costs eight bytes. A file counts the
//! runs that still have a live record, so that finding dead files costs nothing but the runs that die.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::super::{LogError, LogIncarnation, LogRecord};
use super::checkpoint::{Checkpoint, ShardRange};
use super::file::LogFile;
use super::frame::FrameSpan;
use crate::id::ShardId;
use crate::position::LogPosition;

/// Bytes of other shards between two frames that are rather read than skipped: a page.
const GAP_BYTES_MAX: u32 = 4096;

/// A record with its place in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// The shard.
    pub(super) shard: ShardId,
    /// The position in the shard.
    pub(super) position: LogPosition,
    /// The place.
    pub(super) span: FrameSpan,
}

/// The records that a shard has in one file.
struct Run {
    file: u64,
    first: u64,
    spans: Vec<FrameSpan>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.spans.len() as u64
    }
}

/// One shard's records.
struct Shard {
    range: ShardRange,
    /// In order of position, and of file.
    /// INVARIANT: dense from at most `range.start` to `range.end`, and each has a position at or above the start.
    /// Checked by `push` and `raise`.
    runs: VecDeque<Run>,
    /// The end last announced to readers.
    announced: watch::Sender<u64>,
}

impl Shard {
    fn new(start: u64) -> Shard {
        let range = ShardRange { start, end: start };
        Shard { range, runs: VecDeque::new(), announced: watch::Sender::new(start) }
    }

    /// Adds the shard's next record; tells whether it is its first in `file`.
    fn push(&mut self, file: u64, span: FrameSpan) -> bool {
        let first = self.range.end;
        self.range.end += 1;
        match self.runs.back_mut() {
            Some(run) if run.file == file => {
                assert_eq!(run.end(), first, "a run continues its shard");
                run.spans.push(span);
                false
            }
            last => {
                assert!(
                    last.is_none_or(|last| last.end() == first && last.file < file),
                    "runs are dense, in file order"
                );
                self.runs.push_back(Run { file, first, spans: vec![span] });
                true
            }
        }
    }
}

/// One file.
struct FileState {
    file: Arc<LogFile>,
    /// Its durable length.
    end: u64,
    /// How many shards have a record at or above their start in it.
    live_shards: usize,
}

/// Where every durable record lies.
#[derive(Default)]
pub(super) struct Index {
    shards: HashMap<ShardId, Shard>,
    files: BTreeMap<u64, FileState>,
}

impl Index {
    /// Makes an index that has the checkpoint's starts and no records.
    pub(super) fn new(checkpoint: &Checkpoint) -> Index {
        let shards = checkpoint.shards.iter().map(|(shard, range)| (*shard, Shard::new(range.start))).collect();
        Index { shards, files: BTreeMap::new() }
    }

    /// Adds a file, numbered above all others, with its durable length.
    pub(super) fn add_file(&mut self, file: Arc<LogFile>, end: u64) {
        assert!(self.files.last_key_value().is_none_or(|(last, _)| *last < file.number), "files come in order");
        self.files.insert(file.number, FileState { file, end, live_shards: 0 });
    }

    /// Adds a record that was found in the last file; one below its shard's start is left out.
    ///
    /// # Errors
    ///
    /// The position that is due in the shard, if it is not the record's.
    pub(super) fn recover(&mut self, record: Placed) -> Result<(), LogPosition> {
        let shard = self.shards.entry(record.shard).or_insert_with(|| Shard::new(0));
        if record.position.0 < shard.range.start {
            return Ok(());
        }
        if record.position.0 != shard.range.end {
            return Err(LogPosition(shard.range.end));
        }
        self.add(record);
        Ok(())
    }

    /// Notes how much of the last file is durable.
    pub(super) fn set_last_end(&mut self, end: u64) {
        self.files.last_entry().expect("there is a last file").get_mut().end = end;
    }

    /// Adds records that have become durable in the last file, which now ends at `end`, and wakes the shards' readers.
    pub(super) fn publish(&mut self, records: &[Placed], end: u64) {
        self.set_last_end(end);
        for record in records {
            self.add(*record);
        }
        for record in records {
            let shard = &self.shards[&record.shard];
            let end = shard.range.end;
            shard.announced.send_if_modified(|announced| std::mem::replace(announced, end) != end);
        }
    }

    fn add(&mut self, record: Placed) {
        let mut last = self.files.last_entry().expect("records lie in files");
        let shard = self.shards.entry(record.shard).or_insert_with(|| Shard::new(0));
        assert_eq!(shard.range.end, record.position.0, "positions are dense");
        if shard.push(*last.key(), record.span) {
            last.get_mut().live_shards += 1;
        }
    }

    /// Returns a shard's start and end.
    pub(super) fn range(&self, shard: ShardId) -> ShardRange {
        self.shards.get(&shard).map_or(ShardRange::default(), |shard| shard.range)
    }

    /// Returns what changes whenever the shard gets records.
    pub(super) fn subscribe(&mut self, shard: ShardId) -> watch::Receiver<u64> {
        match self.shards.entry(shard) {
            Entry::Occupied(entry) => entry.get().announced.subscribe(),
            Entry::Vacant(entry) => entry.insert(Shard::new(0)).announced.subscribe(),
        }
    }

    /// Checks that `position` lies between the shard's start and end, both inclusive.
    ///
    /// # Errors
    ///
    /// [`LogError::Truncated`] and [`LogError::PastEnd`].
    pub(super) fn check(&self, shard: ShardId, position: LogPosition) -> Result<(), LogError> {
        let range = self.range(shard);
        if position.0 < range.start {
            return Err(LogError::Truncated { shard, asked: position, start: LogPosition(range.start) });
        }
        if position.0 > range.end {
            return Err(LogError::PastEnd { shard, asked: position, end: LogPosition(range.end) });
        }
        Ok(())
    }

    /// Finds the shard's records from `from` on: of one file, at least one, together at most `bytes_max` if more.
    /// None if there is no record at `from` yet.
    ///
    /// # Errors
    ///
    /// As [`Index::check`].
    pub(super) fn locate(&self, shard: ShardId, from: LogPosition, bytes_max: u64) -> Result<Option<Chunk>, LogError> {
        self.check(shard, from)?;
        let Some(state) = self.shards.get(&shard).filter(|state| from.0 < state.range.end) else {
            return Ok(None);
        };
        let after = state.runs.partition_point(|run| run.first <= from.0);
        let run = &state.runs[after.checked_sub(1).expect("runs reach from the start to the end")];
        let spans = &run.spans[usize::try_from(from.0 - run.first).expect("a run is in memory")..];
        let mut bytes = 0;
        let fitting = spans.iter().take_while(|span| {
            bytes += u64::from(span.bytes);
            bytes <= bytes_max
        });
        let count = fitting.count().max(1);
        let file = Arc::clone(&self.files[&run.file].file);
        Ok(Some(Chunk { file, shard, first: from, spans: spans[..count].to_vec() }))
    }

    /// Moves a shard's start up to `below`; a start never moves down.
    pub(super) fn raise(&mut self, shard: ShardId, below: LogPosition) {
        let Some(state) = self.shards.get_mut(&shard).filter(|state| state.range.start < below.0) else {
            return;
        };
        assert!(below.0 <= state.range.end, "a start does not pass its end");
        state.range.start = below.0;
        while let Some(run) = state.runs.pop_front_if(|run| run.end() <= below.0) {
            let file = self.files.get_mut(&run.file).expect("runs lie in files that are there");
            file.live_shards -= 1;
        }
    }

    /// Returns the files that hold no live record, but for the last one, which records may still come to.
    pub(super) fn dead_files(&self) -> Vec<u64> {
        let last = self.files.last_key_value().map(|(number, _)| *number);
        let dead = self.files.iter().filter(|(number, state)| state.live_shards == 0 && Some(**number) != last);
        dead.map(|(number, _)| *number).collect()
    }

    /// Tells whether the last file holds no live record.
    pub(super) fn last_is_dead(&self) -> bool {
        self.files.last_key_value().is_some_and(|(_, state)| state.live_shards == 0)
    }

    /// Takes out a dead file; returns it with its length.
    pub(super) fn remove_file(&mut self, number: u64) -> (Arc<LogFile>, u64) {
        let state = self.files.remove(&number).expect("only files that are there are removed");
        assert_eq!(state.live_shards, 0, "only dead files are removed");
        (state.file, state.end)
    }

    /// Returns how many files there are, and how long they are together.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.files.len(), self.files.values().map(|state| state.end).sum())
    }

    /// Returns the last file with its durable length.
    pub(super) fn last_file(&self) -> Option<(Arc<LogFile>, u64)> {
        self.files.last_key_value().map(|(_, state)| (Arc::clone(&state.file), state.end))
    }

    /// Describes the present state.
    pub(super) fn checkpoint(&self, incarnation: LogIncarnation) -> Checkpoint {
        let files = self.files.iter().map(|(number, state)| (*number, state.end)).collect();
        let used = self.shards.iter().filter(|(_, shard)| shard.range.end > 0);
        let shards = used.map(|(shard, state)| (*shard, state.range)).collect();
        Checkpoint { incarnation, files, shards }
    }
}

/// Successive records of one shard in one file, to be read.
pub(super) struct Chunk {
    file: Arc<LogFile>,
    shard: ShardId,
    first: LogPosition,
    /// INVARIANT: not empty, in ascending order. Established by [`Index::locate`].
    spans: Vec<FrameSpan>,
}

impl Chunk {
    /// Reads the records and checks them; frames close to each other are read as one. Blocks.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] and [`LogError::Io`].
    pub(super) fn read(&self) -> Result<Vec<LogRecord>, LogError> {
        let mut records = Vec::with_capacity(self.spans.len());
        for spans in self.spans.chunk_by(|left, right| right.offset - left.end() <= GAP_BYTES_MAX) {
            let (begin, end) = (u64::from(spans[0].offset), u64::from(spans[spans.len() - 1].end()));
            let bytes: Bytes = self.file.read(begin, end)?;
            for span in spans {
                let position = LogPosition(self.first.0 + records.len() as u64);
                records.push(self.file.record((self.shard, position), *span, (begin, &bytes))?);
            }
        }
        Ok(records)
    }
}
