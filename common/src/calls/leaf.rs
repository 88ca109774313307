//! What is asked of a leaf beside running plans.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::ShardId;
use crate::position::{LogPosition, SourcePartition, SourceProgress};
use crate::text::Statistics;
use crate::text::functions::TextCall;
use crate::value::FieldPath;

/// A query's number, by which its leaves know that scans belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryId(pub u128);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Documents of one shard, by key.
#[derive(Debug, Clone)]
pub struct DocumentsRequest {
    /// The shard.
    pub shard: ShardId,
    /// The documents' `_id`s, in the order of the reply.
    pub ids: Vec<String>,
    /// The fields wanted, or all.
    pub fields: Option<Vec<FieldPath>>,
    /// Answer from a state at or behind this position.
    pub after: Option<LogPosition>,
    /// How long to wait for that state.
    pub patience: Duration,
}

/// Asks how often the words of a query occur in a field of one shard.
#[derive(Debug, Clone)]
pub struct StatisticsRequest {
    /// The shard.
    pub shard: ShardId,
    /// The field.
    pub path: FieldPath,
    /// The query, and how words are made.
    pub call: TextCall,
    /// Answer from a state at or behind this position.
    pub after: Option<LogPosition>,
    /// How long to wait for that state.
    pub patience: Duration,
}

/// How many operations came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Documents that were not there and are.
    pub added: u64,
    /// Documents that were replaced.
    pub replaced: u64,
    /// Documents of which fields changed.
    pub patched: u64,
    /// Documents that are gone.
    pub deleted: u64,
    /// Operations that a replay made void.
    pub ignored: u64,
    /// Patches and deletes of documents that were not there.
    pub missing: u64,
    /// Patches that could not be applied and changed nothing.
    pub failed: u64,
}

impl OutcomeCounts {
    /// How many operations they are, all together.
    pub fn total(&self) -> u64 {
        let Self { added, replaced, patched, deleted, ignored, missing, failed } = self;
        added + replaced + patched + deleted + ignored + missing + failed
    }

    /// Adds another batch's.
    pub fn add(&mut self, other: &Self) {
        self.added += other.added;
        self.replaced += other.replaced;
        self.patched += other.patched;
        self.deleted += other.deleted;
        self.ignored += other.ignored;
        self.missing += other.missing;
        self.failed += other.failed;
    }
}

/// What became of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// How many operations came to which end.
    pub counts: OutcomeCounts,
    /// The operations that failed: their number in the batch, and why.
    pub failures: Vec<(u32, String)>,
    /// The batch is void, since its request's key came before with another body.
    pub conflict: bool,
}

/// How often a field occurs, about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldCount {
    /// The field's number.
    pub field: u32,
    /// The type's code.
    pub of: u8,
    /// About how many documents have such a value there.
    pub documents: u64,
}

/// A shard as its leaf has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// How many documents there are.
    pub documents: u64,
    /// How many operations were applied since the shard was opened, whatever became of them.
    pub operations: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// The next position to be applied.
    pub applied: u64,
    /// The log's end, when that was last seen.
    pub log_end: u64,
    /// The least position that is only in the log: all below it is in the store, durably.
    pub flushed: u64,
    /// Why the last flush failed, until one does not.
    pub flush_failure: Option<String>,
    /// How many segments there are.
    pub segments: u64,
    /// How often each field occurs, if that was asked for.
    pub fields: Vec<FieldCount>,
}

/// What a scan did in one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// The scanned collection, with its workspace.
    pub collection: String,
    /// The shard's number in it.
    pub shard: u16,
    /// The last batch in the snapshot.
    pub position: Option<u64>,
    /// The segment's number in the shard.
    pub segment: u64,
    /// How rows were found.
    pub path: String,
    /// The segment's rows, dead ones included.
    pub rows: u64,
    /// The rows that were looked at one by one.
    pub examined: u64,
    /// The rows that passed.
    pub passed: u64,
    /// The rows of runs that lie over its fields, folded ones included.
    pub laid: u64,
    /// How many such runs there are.
    pub runs: u64,
    /// Over how many fields.
    pub overlays: u64,
}

/// What a leaf answers beside plans.
#[async_trait]
pub trait LeafCalls: fmt::Debug + Send + Sync + 'static {
    /// The JSON of documents, each in the place of its `_id`, or none where there is no such document.
    ///
    /// # Errors
    /// The shard is not here, or did not come to the position in time.
    async fn documents(&self, request: DocumentsRequest) -> Result<Vec<Option<String>>, Failure>;

    /// What became of the batch at a position, once it is applied.
    ///
    /// # Errors
    /// The shard is not here, did not come to the position in time, or has forgotten what became of it.
    async fn outcomes(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<Outcomes, Failure>;

    /// Waits until a shard has applied the batch at a position.
    ///
    /// # Errors
    /// The shard is not here, or did not come to the position in time.
    async fn wait_for(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<(), Failure>;

    /// How far a shard is in a source's partition, once it has applied the batch at a position; none if it has nothing of it.
    ///
    /// # Errors
    /// The shard is not here, or did not come to the position in time.
    async fn source_progress(
        &self,
        shard: ShardId,
        partition: SourcePartition,
        after: LogPosition,
        patience: Duration,
    ) -> Result<Option<SourceProgress>, Failure>;

    /// How a shard is; with `fields`, how often each field occurs.
    ///
    /// # Errors
    /// The shard is not here.
    async fn status(&self, shard: ShardId, fields: bool) -> Result<ShardStatus, Failure>;

    /// How often the words of a query occur in a field's texts, about: rows that died may be counted, and values that patches
    /// laid over others not.
    ///
    /// # Errors
    /// The shard is not here, did not come to the position in time, or is damaged.
    async fn text_statistics(&self, request: StatisticsRequest) -> Result<Statistics, Failure>;

    /// What a query's scans did here so far, segment by segment, if they were to note it.
    async fn scan_reports(&self, query: QueryId) -> Vec<SegmentReport>;

    /// Lets go of what a query held, and returns how many rows its scans read here.
    async fn end_query(&self, query: QueryId) -> u64;
}
