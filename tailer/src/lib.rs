//! The tailer: it takes records from sources and clients and appends them to the shard log.
//!
//! In: bodies of write requests; later, Kafka. Out: batches in the shard logs, and fields in the catalog. A tailer reads no
//! segment and answers no query; all it must know again after a crash is in the log and the catalog.
//!
//! ```text
//! body ──▶ items ──▶ fields ──▶ ids ──▶ pipeline: a batch a shard ──▶ shard log
//!                      └─ new ones ─▶ catalog
//! ```

pub mod kafka;

pub mod items;

pub mod fields;

pub mod ids;

pub mod pipeline;
