//! The leaf: it applies the shard log to segments and runs the part of a query that touches data.
//!
//! In: batches from the shard log; plans from aggregators, over gRPC. Out: outcomes of operations; batches of rows: partial
//! aggregates, joined and filtered rows, never more than the plan asks for. A leaf reads no source and plans no SQL.
//!
//! ```text
//! shard log ──batch──▶ apply ──changes──▶ shard ──snapshot──▶ readers
//!                        │ keys: _id → row      │ policy, merge: few segments
//!                        ▼ segment, overlay     ▼
//! aggregator ──stage of a distributed plan──▶ serve ──▶ ShardScanExec ──▶ shards
//!            ──whole plan, or one shard────▶
//! ```

pub mod advice;

pub mod column;

pub mod terms;

pub mod elements;

pub mod cells;

pub mod text;

pub mod indexes;

pub mod key_run;

pub mod cache;

pub mod piece;

pub mod field;

pub mod overlay;

pub mod event_times;

pub mod generation;

pub mod segment;

pub mod merge;

pub mod compaction;

pub mod keys;

pub mod unsettled;

pub mod apply;

pub mod policy;

pub mod shard;

pub mod fingerprint;

pub mod requests;

pub mod sources;

pub mod replica;

pub mod file;

pub mod store;

pub mod documents;

pub mod warming;

pub mod served;

pub mod flush;

pub mod compactor;

pub mod pins;

pub mod scores;

pub mod arrow;

pub mod select;

pub mod aggregate;

pub mod counters;

pub mod reader;

pub mod shards;

pub mod pipeline;

pub mod serve;
