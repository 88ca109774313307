//! The leaf side of a table as an operator of a query plan.
//!
//! In: a collection's shards with the nodes that own them, and the columns wanted. Out: Arrow batches of those columns.
//! The operator is *location transparent*: a shard that this process owns is read through [`ShardReader`], any other is
//! streamed from its owner through [`wire`](crate::wire). Placing the operator where its shards are is the planner's
//! work (in the aggregator); being right wherever it runs is this module's.

mod codec;
mod exec;
mod remote;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use url::Url;

pub use codec::ScanCodec;
pub use exec::{ShardLayout, ShardScanExec};
pub use remote::RemotePlanExec;

use crate::wire::Channels;

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
    /// The collection's name, with its workspace.
    pub collection: Arc<str>,
    /// The shard to read.
    pub shard: u32,
    /// The columns wanted, by name, in this order; may be empty (then only row counts matter).
    pub schema: SchemaRef,
    /// Stop after this many rows.
    pub limit: Option<usize>,
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
