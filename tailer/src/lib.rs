//! The tailer: it takes records from sources and appends them to the shard log.
//!
//! In: sources. Out: the shard log. A tailer reads no segment and answers no query.

pub mod kafka;
