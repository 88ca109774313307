//! How far into a source and into a log.
//!
//! Out: positions, and the ranges of them that a batch covers. Offsets commit with the data: a shard's state holds the
//! highest offset applied per source partition and incarnation, and a record at or below it is a replay.

use std::fmt;

use crate::id::{Epoch, SourceId};

/// The place of a record in a shard's log: 0, 1, 2, … without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One partition of a source, in one life of it: a topic deleted and made again is another incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePartition {
    /// The source.
    pub source: SourceId,
    /// Which life of the source's partition.
    pub incarnation: u128,
    /// The partition's number.
    pub partition: u32,
}

/// The offsets of one source partition that a batch covers, all of them applied or skipped with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRange {
    /// The partition.
    pub partition: SourcePartition,
    /// The epoch of the tailer that read it.
    pub epoch: Epoch,
    /// The first offset covered.
    pub first: u64,
    /// The last offset covered, itself included.
    pub last: u64,
}

/// How far a shard is in one source partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceProgress {
    /// The highest epoch claimed.
    pub epoch: Epoch,
    /// The highest offset applied, if there is one.
    pub offset: Option<u64>,
}
