//! The leaf: it holds shards and runs the part of a query that touches data.
//!
//! In: plans from aggregators, over gRPC. Out: batches: partial aggregates, joined and filtered rows, never more than the
//! plan asks for. A leaf reads no source and plans no SQL.
//!
//! ```text
//! aggregator ──stage of a distributed plan──▶ serve ──▶ ShardScanExec ──▶ shards
//!            ──whole plan, or one shard────▶
//! ```

pub mod counters;
pub mod shards;

pub mod serve;
