//! The tailer: it takes records from sources and clients and appends them to the shard log.
//!
//! In: bodies of write requests; records of Kafka topics. Out: batches in the shard logs, and fields in the catalog. A tailer
//! reads no segment and answers no query; all it must know again after a crash is in the log and the catalog.
//!
//! ```text
//!                      body ──▶ items ──▶ fields ──▶ ids ──▶ batches, one a shard ──▶ shard log
//! kafka ──▶ records, by partition ─┘        └─ new ones ─▶ catalog
//!              └── sources: which are read here, and how it goes (gauge)
//! ```

pub mod kafka;

pub mod stamps;

pub mod items;

pub mod fields;

pub mod ids;

pub mod batches;

pub mod shared;

pub mod gauge;

pub mod partition;

pub mod sources;

pub mod ticks;

pub mod pipeline;
