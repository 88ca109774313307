//! Writes: from the aggregator, which has the client, to a tailer.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::CollectionId;

/// How the operations stand in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyFormat {
    /// A JSON array of items, or one item.
    Json,
    /// One JSON item a line.
    Ndjson,
}

/// What a write does with the items of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteKind {
    /// Each item is a document, which replaces what was there.
    Upsert,
    /// Each item is `{"_id", "patch" or "merge", "upsert"?}`.
    Patch,
    /// The body is `{"ids": […]}`.
    Delete,
}

/// One write, as the client sent it.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// Where to.
    pub collection: CollectionId,
    /// What the items are.
    pub kind: WriteKind,
    /// How they stand in the body.
    pub format: BodyFormat,
    /// The body.
    pub body: Bytes,
    /// The client's `Idempotency-Key`.
    pub request_key: Option<String>,
}

/// An item that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// Which item, from 0.
    pub index: u64,
    /// Where in the body the fault is, where it is one of the text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub byte_offset: Option<u64>,
    /// The document's `_id`, where it is known.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a write left in one shard's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardWrite {
    /// The shard's number.
    pub shard: u16,
    /// The position of the batch.
    pub position: u64,
    /// The index, in the request, of each of the batch's operations.
    pub items: Vec<u32>,
}

/// What became of a write: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteReply {
    /// How many items are in the log.
    pub accepted: u64,
    /// The items that are not.
    pub errors: Vec<ItemError>,
    /// Where the accepted ones are.
    pub shards: Vec<ShardWrite>,
    /// The least schema version that knows their fields.
    pub schema_version: u64,
}

/// Takes writes. A tailer implements it.
#[async_trait]
pub trait Writes: Send + Sync + 'static {
    /// Appends a request's operations to the shard logs; returns once they are durable.
    ///
    /// # Errors
    /// Nothing was accepted: the body cannot be read, or the log does not take it. After [`FailureKind::Unavailable`] parts
    /// may be in the log: a retry with the same key is harmless.
    ///
    /// [`FailureKind::Unavailable`]: crate::failure::FailureKind::Unavailable
    async fn write(&self, request: WriteRequest) -> Result<WriteReply, Failure>;
}
