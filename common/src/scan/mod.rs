//! The leaf side of a table as an operator of a query plan.
//!
//! In: a collection's shards with the nodes that own them, and the columns wanted. Out: Arrow batches of those columns.
//! The operator is *location transparent*: a shard that this process owns is read through [`ShardReader`], any other is
//! streamed from its owner through [`wire`](crate::wire). Placing the operator where its shards are is the planner's
//! work (in the aggregator); being right wherever it runs is this module's.

mod aggregate;
mod codec;
mod column;
mod exec;
mod filter;
mod path;
mod remote;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use url::Url;

pub use aggregate::{Aggregation, Expression, ShardAggregateExec};
pub use codec::ScanCodec;
pub use column::{ScanColumn, ScanScore, ScanStep};
pub use exec::{ShardLayout, ShardScanExec};
pub use filter::ScanFilter;
pub use path::{AccessPath, ScanTop};
pub use remote::{RemotePlanExec, decode_plan};

use crate::calls::QueryId;
use crate::fence::Fence;
use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;
use crate::retention::Expired;
use crate::wire::Channels;

/// A join tells the scan of its other side which keys it looks for, where it has so many at most: each is looked for in the terms of
/// each segment, which takes microseconds.
pub const JOIN_KEYS_MAX: usize = 1_000;

/// What a scan is of, beside columns and shards: the same for all parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanTarget {
    /// The query: all its scans of a shard read one snapshot.
    pub query: QueryId,
    /// The collection.
    pub collection: CollectionId,
    /// Its name, with its workspace.
    pub name: Arc<str>,
    /// What snapshots must have passed.
    pub fence: Option<Fence>,
    /// How rows are to be found, if the query says so.
    pub path: Option<AccessPath>,
    /// Whether leaves note what they do, segment by segment.
    pub analyze: bool,
    /// The documents that are not seen: those that were kept long enough when the query began.
    pub expired: Option<Expired>,
}

/// One shard of the scanned collection and the node that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardPlace {
    /// The shard's number in its collection.
    pub shard: u32,
    /// The address of the leaf that owns it.
    pub node: Url,
}

impl fmt::Display for ShardPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.node.port().unwrap_or_default();
        write!(f, "{}@{}:{port}", self.shard, self.node.host_str().unwrap_or_default())
    }
}

/// What one shard is asked for.
#[derive(Debug, Clone)]
pub struct ShardScan {
    /// The query, the collection and its fence.
    pub target: Arc<ScanTarget>,
    /// The shard's number in the collection.
    pub shard: u32,
    /// The columns' names and types; may be empty (then only row counts matter).
    pub schema: SchemaRef,
    /// Where each column comes from.
    pub columns: Arc<[ScanColumn]>,
    /// Which rows are wanted; all, without one.
    pub filter: Option<Arc<ScanFilter>>,
    /// Which rows may be left out, as other operators say while the plan runs.
    pub dynamic: Option<Arc<ScanFilter>>,
    /// Stop after this many rows.
    pub limit: Option<usize>,
    /// The first rows by a column are all that is wanted.
    pub top: Option<ScanTop>,
}

impl ShardScan {
    /// The shard to read, or none if no collection has as many.
    pub fn shard_id(&self) -> Option<ShardId> {
        let shard = u16::try_from(self.shard).ok()?;
        Some(ShardId { collection: self.target.collection, shard })
    }

    /// The position that the snapshot must have passed.
    pub fn after(&self) -> Option<LogPosition> {
        self.target.fence.as_ref()?.position(self.shard_id()?)
    }
}

/// Reads the shards that this process owns. The leaf implements it; tests do with a fake.
pub trait ShardReader: fmt::Debug + Send + Sync + 'static {
    /// Opens one shard, or answers `None` where this process does not own it.
    ///
    /// The stream has exactly the columns of `scan.schema`.
    ///
    /// # Errors
    /// The shard is owned here and cannot be read.
    fn open(&self, scan: &ShardScan, context: &Arc<TaskContext>) -> Result<Option<SendableRecordBatchStream>>;

    /// Aggregates what a scan of one shard gives, or answers `None` where that is better left to the plan: the shard is not owned by
    /// this process, or its columns are not encoded by what they are grouped by.
    ///
    /// The stream has the columns of `aggregation.schema`; a group may come several times, with states to be merged.
    ///
    /// # Errors
    /// The shard is owned here and cannot be read.
    fn aggregate(
        &self,
        _scan: &ShardScan,
        _aggregation: &Arc<Aggregation>,
        _context: &Arc<TaskContext>,
    ) -> Result<Option<SendableRecordBatchStream>> {
        Ok(None)
    }
}

/// What scans need from the process they run in; an extension of the session's configuration.
#[derive(Debug)]
pub struct ScanContext {
    /// The leaf of this process, if it has one.
    pub local: Option<LocalLeaf>,
    /// The way to the other nodes.
    pub channels: Channels,
}

/// The leaf of this process.
#[derive(Debug)]
pub struct LocalLeaf {
    /// The address under which placement knows it.
    pub node: Url,
    /// Its shards.
    pub shards: Arc<dyn ShardReader>,
}
