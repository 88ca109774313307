//! The shard log: the ordered, durable, replayable sequence of records of each shard, and the only hand-over of data
//! between tailer and leaf.
//!
//! In come encoded batches, as bytes; out go the same bytes in the same order under dense positions, to any number of
//! readers. The module owns durability and order. It leaves to others what the bytes mean (the batch codec), from where
//! a leaf reads again and below what the log may be cut (its manifest), and how an error is told to a client.
//!
//! ```text
//!  tailer ──append──▶ ShardLog ──LogReader──▶ leaf
//!                        ▲                     │
//!                        └──────truncate───────┘
//! ```

mod error;
mod kafka;
mod local;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::ShardId;
use crate::position::LogPosition;

pub use error::{FullCause, LogError};
pub use kafka::{KafkaContext, KafkaLog, KafkaLogConfig, topic_ids};
pub use local::{LocalLog, LocalLogConfig, LocalLogStats};

/// One record of a shard's log, with its position.
pub type LogRecord = (LogPosition, Bytes);

/// Tells one log from another: random, made when a log is first created, kept as long as it lives.
///
/// Positions of one incarnation mean nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogIncarnation(pub u128);

impl fmt::Display for LogIncarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Keeps the records of many shards, each shard a sequence of its own.
///
/// A shard that was never written to starts and ends at position 0. Whether its collection must be created first is up
/// to the implementation: [`LocalLog`] needs no creation, [`KafkaLog`] does.
#[async_trait]
pub trait ShardLog: Send + Sync + 'static {
    /// Appends one encoded batch to a shard and returns its position once it is durable.
    ///
    /// Records of one shard get positions in the order in which the calls were first polled. If the future is dropped,
    /// or on [`LogError::Poisoned`], [`LogError::Unavailable`], [`LogError::OtherIncarnation`] and
    /// [`LogError::LostRecords`], the record may or may not be in the log, or may yet come into it; on every other error
    /// it is not.
    ///
    /// # Errors
    ///
    /// [`LogError::RecordTooLarge`], [`LogError::Full`], [`LogError::Closed`] and [`LogError::Poisoned`]; with brokers
    /// between, also [`LogError::Unavailable`], [`LogError::Refused`], and the variants that name a wrong topic.
    async fn append(&self, shard: ShardId, record: Bytes) -> Result<LogPosition, LogError>;

    /// Opens a reader at `from`, inclusive, that yields the shard's records in order and then waits for new ones.
    ///
    /// # Errors
    ///
    /// [`LogError::Truncated`] if `from` lies below the shard's start, [`LogError::PastEnd`] if it lies above its end:
    /// whoever remembers a position that the log does not know has another log in mind.
    async fn read(&self, shard: ShardId, from: LogPosition) -> Result<LogReader, LogError>;

    /// Returns the position that the next append to the shard will get.
    ///
    /// # Errors
    ///
    /// Whatever keeps the implementation from knowing; the local log always knows.
    async fn end(&self, shard: ShardId) -> Result<LogPosition, LogError>;

    /// Returns the oldest position that can still be read; equal to the end if there is none.
    ///
    /// # Errors
    ///
    /// Whatever keeps the implementation from knowing; the local log always knows.
    async fn start(&self, shard: ShardId) -> Result<LogPosition, LogError>;

    /// Allows every record of the shard below `below` to be dropped; returns once the new start is durable.
    ///
    /// A start never moves back: a `below` at or under it changes nothing.
    ///
    /// # Errors
    ///
    /// [`LogError::PastEnd`] if `below` lies above the shard's end, [`LogError::Full`] if there is no space to note the
    /// new start, [`LogError::Closed`] and [`LogError::Poisoned`].
    async fn truncate(&self, shard: ShardId, below: LogPosition) -> Result<(), LogError>;

    /// Returns the log's incarnation.
    fn incarnation(&self) -> LogIncarnation;
}

/// What an implementation of [`ShardLog`] gives to [`LogReader`]: a cursor over one shard's records.
///
/// Both methods must be safe to cancel: a future dropped before it is ready loses no record.
#[async_trait]
pub trait LogCursor: Send {
    /// Returns the next record, waiting for it; none once the log is closed and everything was read.
    async fn next(&mut self) -> Result<Option<LogRecord>, LogError>;

    /// Returns the next record if there is one, without waiting for an append.
    async fn try_next(&mut self) -> Result<Option<LogRecord>, LogError>;
}

/// Reads one shard's records in order and tails it; sees durable records only.
pub struct LogReader {
    cursor: Box<dyn LogCursor>,
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

impl LogReader {
    /// Wraps an implementation's cursor.
    pub fn new(cursor: impl LogCursor + 'static) -> LogReader {
        LogReader { cursor: Box::new(cursor) }
    }

    /// Returns the next record, waiting until there is one; none once the log is closed and everything was read.
    ///
    /// Safe to cancel: a record is lost by no dropped future. After an error that does not pass, go on with a new reader.
    ///
    /// # Errors
    ///
    /// [`LogError::Truncated`] if the log was truncated past the reader, [`LogError::Poisoned`] at the end of a
    /// poisoned log, and whatever reading meets ([`LogError::Corrupt`], [`LogError::Io`]; [`LogError::Gap`],
    /// [`LogError::PastEnd`], [`LogError::OtherIncarnation`], [`LogError::LostRecords`], [`LogError::Unavailable`]).
    pub async fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        self.cursor.next().await
    }

    /// Returns the next record if there is one now: it may read, but never waits for an append.
    ///
    /// None says that nothing is there, be the log open or closed. Safe to cancel.
    ///
    /// # Errors
    ///
    /// As [`LogReader::next`], but for [`LogError::Poisoned`].
    pub async fn try_next(&mut self) -> Result<Option<LogRecord>, LogError> {
        self.cursor.try_next().await
    }
}
