//! What can go wrong with a shard log, one variant per cause, each saying where and what to do.
//!
//! Errors are cloned, as one failed commit answers many appends. Turning them into answers to clients is left to the
//! services; logging them is left to whoever handles them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;

use super::LogIncarnation;

/// Why a log takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullCause {
    /// The log's own bound is reached.
    Setting {
        /// The value of `log_bytes_max`.
        log_bytes_max: u64,
    },
    /// The disk, or the user's quota on it, is exhausted.
    Disk,
}

impl fmt::Display for FullCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FullCause::Setting { log_bytes_max } => write!(f, "log_bytes_max of {log_bytes_max} bytes is reached"),
            FullCause::Disk => write!(f, "the disk has no space left"),
        }
    }
}

/// An error of a shard log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A record is larger than the log takes.
    #[error("record of {bytes} bytes for shard {shard} exceeds record_bytes_max of {bytes_max}; split the batch")]
    RecordTooLarge {
        /// The shard it was for.
        shard: ShardId,
        /// Its size.
        bytes: u64,
        /// The largest size allowed.
        bytes_max: u64,
    },

    /// The log has no room. Nothing was written; the log stays usable.
    #[error("log {} is full: {cause}; retry once leaves have flushed and truncated it, or make room", .path.display())]
    Full {
        /// The log's directory.
        path: PathBuf,
        /// What is exhausted.
        cause: FullCause,
    },

    /// The position asked for was dropped.
    #[error(
        "shard {shard} starts at position {}, so {} can no longer be read; start again from the newest manifest",
        .start.0, .asked.0
    )]
    Truncated {
        /// The shard.
        shard: ShardId,
        /// The position asked for.
        asked: LogPosition,
        /// The oldest position there is.
        start: LogPosition,
    },

    /// The position asked for was never written.
    #[error(
        "shard {shard} ends at position {}, so {} does not exist; check that the position was taken from this log",
        .end.0, .asked.0
    )]
    PastEnd {
        /// The shard.
        shard: ShardId,
        /// The position asked for.
        asked: LogPosition,
        /// The position that the next append will get.
        end: LogPosition,
    },

    /// A file does not hold what was written to it.
    #[error(
        "{} is damaged at byte {offset}: {what}; restore the file from a copy, or remove the whole log directory if its \
         shards can be rebuilt from their sources",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What was found there.
        what: String,
    },

    /// A file that the log needs is not there.
    #[error("{} is missing, with records that were acknowledged; restore it from a copy", .path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },

    /// A file is there that the log never made.
    #[error(
        "{} lies beyond file {last}, the last that the checkpoint can know; restore the directory as one whole, from one copy",
        .path.display()
    )]
    StrayFile {
        /// The file.
        path: PathBuf,
        /// The highest file number possible.
        last: u64,
    },

    /// A shard's records do not follow one another.
    #[error(
        "{} holds at byte {offset} position {} of shard {shard} where {} is due; restore the directory from a copy",
        .path.display(), .found.0, .due.0
    )]
    PositionGap {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The shard.
        shard: ShardId,
        /// The position that should be there.
        due: LogPosition,
        /// The position that is there.
        found: LogPosition,
    },

    /// A shard ends below what was acknowledged.
    #[error(
        "{} ends shard {shard} at position {}, but {} was acknowledged; restore the directory from a copy",
        .path.display(), .found.0, .acknowledged.0
    )]
    MissingRecords {
        /// The log's directory.
        path: PathBuf,
        /// The shard.
        shard: ShardId,
        /// The end found.
        found: LogPosition,
        /// The end that the checkpoint names.
        acknowledged: LogPosition,
    },

    /// A file belongs to another log.
    #[error(
        "{} belongs at byte {offset} to log {found}, this is log {own}; move the file to where it belongs",
        .path.display()
    )]
    ForeignIncarnation {
        /// The file.
        path: PathBuf,
        /// Where it says so.
        offset: u64,
        /// The incarnation found.
        found: LogIncarnation,
        /// The incarnation of this log.
        own: LogIncarnation,
    },

    /// A file was written in a format that this version cannot read.
    #[error(
        "{} has at byte {offset} format version {found}, this version reads {known}; start the version that wrote it",
        .path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Where it says so.
        offset: u64,
        /// The version found.
        found: u32,
        /// The version this code reads.
        known: u32,
    },

    /// Another process, or another part of this one, has the log open.
    #[error("log {} is in use; stop the other process, or give this one another directory", .path.display())]
    Locked {
        /// The log's directory.
        path: PathBuf,
    },

    /// A setting makes no sense.
    #[error("log setting {setting} is {value}, but {rule}; change it")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The rule that it breaks.
        rule: &'static str,
    },

    /// A write or sync failed, so that nobody knows what is on disk: the log acknowledges nothing more.
    #[error(
        "log stopped as it failed to {action} {}: {cause}; records in flight may or may not be kept; check the disk and \
         restart this process",
        .path.display()
    )]
    Poisoned {
        /// What failed.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// How.
        #[source]
        cause: Arc<io::Error>,
    },

    /// The log was closed.
    #[error("the log is closed; nothing was appended, ask again after the restart")]
    Closed,

    /// The file system refused something that left the log as it was.
    #[error("failed to {action} {}: {cause}; check the file system and its permissions", .path.display())]
    Io {
        /// What failed.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// How.
        #[source]
        cause: Arc<io::Error>,
    },

    /// The brokers did not do it in time. What was asked for may happen all the same, now or later: a record whose
    /// append ends so may or may not be in the log, or may yet come into it.
    #[error("failed to {action} {object}: {cause}; check that the brokers are up and can be reached, and ask again")]
    Unavailable {
        /// What failed.
        action: &'static str,
        /// On which topic or broker.
        object: String,
        /// How.
        cause: String,
    },

    /// The brokers, or the client library, do not allow it. Nothing was done, and asking again changes nothing.
    #[error("failed to {action} {object}: {cause}; correct the settings or the permissions, and start again")]
    Refused {
        /// What failed.
        action: &'static str,
        /// On which topic, or by which property.
        object: String,
        /// How.
        cause: String,
    },

    /// A topic is not set up as a log must be.
    #[error("topic {topic} has {setting} = {found}, but {rule}; {remedy}")]
    TopicSetting {
        /// The topic.
        topic: String,
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The rule that it breaks.
        rule: String,
        /// What to do.
        remedy: String,
    },

    /// A collection has no topic.
    #[error(
        "collection c{} has no topic {topic}; create the collection, and if it had one, its log is gone with it: restore \
         the topic, or rebuild the collection from its sources",
        .collection.0
    )]
    MissingTopic {
        /// The collection.
        collection: CollectionId,
        /// The topic that it should have.
        topic: String,
    },

    /// A shard's number lies beyond its collection's shards.
    #[error("topic {topic} has {shards} shards, so {shard} does not exist; check the shard count of the collection")]
    NoSuchShard {
        /// The shard.
        shard: ShardId,
        /// The topic.
        topic: String,
        /// How many shards there are.
        shards: u16,
    },

    /// A topic is not the one that the log was made with: it was deleted and made again.
    #[error(
        "topic {topic} has id {found}, but the log was made with {own}: it was deleted and made again; restore the first \
         one, or rebuild the collection from its sources"
    )]
    OtherIncarnation {
        /// The topic.
        topic: String,
        /// The id found.
        found: LogIncarnation,
        /// The id that it had.
        own: LogIncarnation,
    },

    /// A shard's records do not follow one another in its topic.
    #[error(
        "topic {topic} holds position {} of shard {shard} where {} is due; look for what else writes to the topic or \
         compacts it, and rebuild the shard from its sources",
        .found.0, .due.0
    )]
    Gap {
        /// The topic.
        topic: String,
        /// The shard.
        shard: ShardId,
        /// The position that should be there.
        due: LogPosition,
        /// The position that is there.
        found: LogPosition,
    },

    /// A shard's topic ends below what was acknowledged.
    #[error(
        "topic {topic} goes on for shard {shard} at position {}, but {} was acknowledged: brokers lost records; rebuild \
         the shard from its sources",
        .found.0, .acknowledged.0
    )]
    LostRecords {
        /// The topic.
        topic: String,
        /// The shard.
        shard: ShardId,
        /// The position where it goes on.
        found: LogPosition,
        /// The last position acknowledged.
        acknowledged: LogPosition,
    },
}

impl LogError {
    /// Makes an [`LogError::Io`].
    pub(super) fn io(action: &'static str, path: &Path, cause: io::Error) -> LogError {
        LogError::Io { action, path: path.to_owned(), cause: Arc::new(cause) }
    }

    /// Makes an [`LogError::Corrupt`].
    pub(super) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> LogError {
        LogError::Corrupt { path: path.to_owned(), offset, what: what.into() }
    }

    /// Turns the failure of an operation into the reason why the log stopped.
    pub(super) fn into_poison(self) -> LogError {
        match self {
            LogError::Io { action, path, cause } => LogError::Poisoned { action, path, cause },
            other => other,
        }
    }
}
