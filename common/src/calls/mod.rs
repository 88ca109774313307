//! What roles ask of each other, beside plans.
//!
//! In: requests. Out: replies, or a [`Failure`](crate::failure::Failure). Each seam is a trait that the serving role
//! implements; in one process the caller holds the implementation itself, across processes a client of the same trait.
//! Data never passes here from tailer to leaf: that is the log's.
//!
//! ```text
//! aggregator ──WriteRequest──▶ tailer      (Writes: a body as the client sent it → the shard log; Sources: how they are)
//!            ──keys, positions──▶ leaf     (LeafCalls: documents, outcomes, what a query left behind)
//! tailer     ──positions────────▶ leaf     (LeafCalls: how far a shard is in a source)
//! ```

mod leaf;
mod source;
mod write;

pub use leaf::{
    DocumentsRequest, FieldCount, LeafCalls, OutcomeCounts, Outcomes, QueryId, SegmentReport, ShardStatus,
    StatisticsRequest,
};
pub use source::{SourceError, SourceState, SourceStatus, Sources};
pub use write::{BodyFormat, ItemError, ShardWrite, WriteKind, WriteReply, WriteRequest, Writes};
