//! Why objects could not be written or read.

use basalt_common::id::ShardId;
use thiserror::Error;

use crate::file::FileError;
use crate::segment::SegmentDamage;

/// Why objects could not be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The object store failed.
    #[error("the object store cannot {action} {object}: {cause}; it is tried again")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which object.
        object: String,
        /// How it failed.
        #[source]
        cause: object_store::Error,
    },
    /// What is elsewhere cannot be read now.
    #[error("{0}; it is tried again")]
    Unavailable(String),
    /// A manifest names an object that is not there.
    #[error("object {object} is missing, and manifest {manifest} names it; restore it from a copy")]
    Missing {
        /// The object.
        object: String,
        /// The manifest.
        manifest: u64,
    },
    /// An object is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// An object's parts contradict each other or the manifest.
    #[error("object {object} does not fit manifest {manifest}: {reason}; restore both from one copy")]
    Unfit {
        /// The object.
        object: String,
        /// The manifest.
        manifest: u64,
        /// What does not fit.
        reason: String,
    },
    /// A segment that is to be written again is damaged.
    #[error(transparent)]
    Damaged(#[from] SegmentDamage),
    /// Someone else wrote the manifest that was due.
    #[error(
        "manifest {number} of shard {shard} was written by another; only one may flush a shard: stop one of the two"
    )]
    Raced {
        /// The shard.
        shard: ShardId,
        /// The manifest's number.
        number: u64,
    },
    /// Work off the async threads ended in the middle.
    #[error("encoding or decoding objects of shard {shard} failed: {reason}")]
    Stopped {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: String,
    },
}
