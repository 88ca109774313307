//! The calls across processes.
//!
//! In: calls of [`LeafCalls`] and [`Writes`]. Out: the same calls on another node, over its internal port, and the serving
//! side of that. Requests and replies are JSON; the body of a write follows its JSON head as it came.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::calls::{
    BodyFormat, DocumentsRequest, LeafCalls, Outcomes, QueryId, SegmentReport, ShardStatus, SourceStatus, Sources,
    StatisticsRequest, WriteKind, WriteReply, WriteRequest, Writes,
};
use crate::failure::{Failure, FailureKind};
use crate::id::{CollectionId, Epoch, ShardId, SourceId};
use crate::position::{LogPosition, SourcePartition, SourceProgress};
use crate::text::Statistics;
use crate::text::functions::TextCall;
use crate::value::FieldPath;
use crate::wire::Channels;

/// The name of a leaf's calls.
pub const LEAF: &str = "leaf";

/// The name of a tailer's writes.
pub const WRITE: &str = "write";

/// The name of a tailer's other calls.
pub const SOURCE: &str = "source";

#[derive(Debug, Serialize, Deserialize)]
enum LeafCall {
    Documents { shard: (u32, u16), ids: Vec<String>, fields: Option<Vec<String>>, after: Option<u64>, millis: u64 },
    Outcomes { shard: (u32, u16), position: u64, millis: u64 },
    WaitFor { shard: (u32, u16), position: u64, millis: u64 },
    SourceProgress { shard: (u32, u16), source: u32, incarnation: u128, partition: u32, after: u64, millis: u64 },
    Status { shard: (u32, u16), fields: bool },
    TextStatistics { shard: (u32, u16), path: String, call: TextCall, after: Option<u64>, millis: u64 },
    ScanReports { query: String },
    EndQuery { query: String },
}

fn pair(shard: ShardId) -> (u32, u16) {
    (shard.collection.0, shard.shard)
}

fn shard_of((collection, shard): (u32, u16)) -> ShardId {
    ShardId { collection: CollectionId(collection), shard }
}

fn millis(patience: Duration) -> u64 {
    u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("calls are plain data").into()
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("a call between nodes cannot be read: {error}");
        Failure::new(FailureKind::Internal, message).with_hint("run the same version on all nodes")
    })
}

/// A leaf in another process.
#[derive(Debug, Clone)]
pub struct RemoteLeaf {
    /// Its address.
    pub node: Url,
    /// The way there.
    pub channels: Channels,
}

impl RemoteLeaf {
    async fn call<T: DeserializeOwned>(&self, call: &LeafCall) -> Result<T, Failure> {
        decode(&self.channels.call(&self.node, LEAF, encode(call)).await?)
    }
}

#[async_trait]
impl LeafCalls for RemoteLeaf {
    async fn documents(&self, request: DocumentsRequest) -> Result<Vec<Option<String>>, Failure> {
        let fields = request.fields.map(|fields| fields.iter().map(ToString::to_string).collect());
        let (shard, ids, after) = (pair(request.shard), request.ids, request.after.map(|position| position.0));
        self.call(&LeafCall::Documents { shard, ids, fields, after, millis: millis(request.patience) }).await
    }

    async fn outcomes(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<Outcomes, Failure> {
        let (shard, position, millis) = (pair(shard), position.0, millis(patience));
        self.call(&LeafCall::Outcomes { shard, position, millis }).await
    }

    async fn wait_for(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<(), Failure> {
        let (shard, position, millis) = (pair(shard), position.0, millis(patience));
        self.call(&LeafCall::WaitFor { shard, position, millis }).await
    }

    async fn source_progress(
        &self,
        shard: ShardId,
        partition: SourcePartition,
        after: LogPosition,
        patience: Duration,
    ) -> Result<Option<SourceProgress>, Failure> {
        let SourcePartition { source: SourceId(source), incarnation, partition } = partition;
        let (shard, after, millis) = (pair(shard), after.0, millis(patience));
        let call = LeafCall::SourceProgress { shard, source, incarnation, partition, after, millis };
        let progress: Option<(u64, Option<u64>)> = self.call(&call).await?;
        Ok(progress.map(|(epoch, offset)| SourceProgress { epoch: Epoch(epoch), offset }))
    }

    async fn status(&self, shard: ShardId, fields: bool) -> Result<ShardStatus, Failure> {
        self.call(&LeafCall::Status { shard: pair(shard), fields }).await
    }

    async fn text_statistics(&self, request: StatisticsRequest) -> Result<Statistics, Failure> {
        let StatisticsRequest { shard, path, call, after, patience } = request;
        let (shard, path, after) = (pair(shard), path.to_string(), after.map(|position| position.0));
        self.call(&LeafCall::TextStatistics { shard, path, call, after, millis: millis(patience) }).await
    }

    async fn scan_reports(&self, query: QueryId) -> Vec<SegmentReport> {
        self.call(&LeafCall::ScanReports { query: query.to_string() }).await.unwrap_or_default()
    }

    async fn end_query(&self, query: QueryId) -> u64 {
        // A leaf that cannot be told lets the query go when its lease runs out.
        self.call(&LeafCall::EndQuery { query: query.to_string() }).await.unwrap_or_default()
    }
}

/// Answers a call of [`RemoteLeaf`].
///
/// # Errors
/// As the call.
pub async fn answer_leaf_call(leaf: &dyn LeafCalls, body: &[u8]) -> Result<Bytes, Failure> {
    Ok(match decode(body)? {
        LeafCall::Documents { shard, ids, fields, after, millis } => {
            let path = |text: &String| text.parse::<FieldPath>().map_err(invalid);
            let fields = fields.map(|fields| fields.iter().map(path).collect::<Result<_, _>>()).transpose()?;
            let (shard, after, patience) = (shard_of(shard), after.map(LogPosition), Duration::from_millis(millis));
            encode(&leaf.documents(DocumentsRequest { shard, ids, fields, after, patience }).await?)
        }
        LeafCall::Outcomes { shard, position, millis } => {
            encode(&leaf.outcomes(shard_of(shard), LogPosition(position), Duration::from_millis(millis)).await?)
        }
        LeafCall::WaitFor { shard, position, millis } => {
            leaf.wait_for(shard_of(shard), LogPosition(position), Duration::from_millis(millis)).await?;
            encode(&())
        }
        LeafCall::SourceProgress { shard, source, incarnation, partition, after, millis } => {
            let partition = SourcePartition { source: SourceId(source), incarnation, partition };
            let (shard, after, patience) = (shard_of(shard), LogPosition(after), Duration::from_millis(millis));
            let progress = leaf.source_progress(shard, partition, after, patience).await?;
            encode(&progress.map(|SourceProgress { epoch, offset }| (epoch.0, offset)))
        }
        LeafCall::Status { shard, fields } => encode(&leaf.status(shard_of(shard), fields).await?),
        LeafCall::TextStatistics { shard, path, call, after, millis } => {
            let path: FieldPath = path.parse().map_err(invalid)?;
            let (shard, after, patience) = (shard_of(shard), after.map(LogPosition), Duration::from_millis(millis));
            encode(&leaf.text_statistics(StatisticsRequest { shard, path, call, after, patience }).await?)
        }
        LeafCall::ScanReports { query } => encode(&leaf.scan_reports(query_of(&query)?).await),
        LeafCall::EndQuery { query } => encode(&leaf.end_query(query_of(&query)?).await),
    })
}

fn query_of(text: &str) -> Result<QueryId, Failure> {
    u128::from_str_radix(text, 16).map(QueryId).map_err(invalid)
}

fn invalid(error: impl ToString) -> Failure {
    Failure::invalid(error.to_string())
}

#[derive(Debug, Serialize, Deserialize)]
struct WriteHead {
    collection: u32,
    kind: WriteKind,
    format: BodyFormat,
    request_key: Option<String>,
}

/// A tailer in another process.
#[derive(Debug, Clone)]
pub struct RemoteTailer {
    /// Its address.
    pub node: Url,
    /// The way there.
    pub channels: Channels,
}

#[async_trait]
impl Writes for RemoteTailer {
    async fn write(&self, request: WriteRequest) -> Result<WriteReply, Failure> {
        let WriteRequest { collection, kind, format, body, request_key } = request;
        let head = encode(&WriteHead { collection: collection.0, kind, format, request_key });
        let mut message = Vec::with_capacity(4 + head.len() + body.len());
        message.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        message.extend_from_slice(&head);
        message.extend_from_slice(&body);
        decode(&self.channels.call(&self.node, WRITE, message.into()).await?)
    }
}

#[async_trait]
impl Sources for RemoteTailer {
    async fn source_status(&self, source: SourceId, catalog_version: u64) -> Result<SourceStatus, Failure> {
        decode(&self.channels.call(&self.node, SOURCE, encode(&(source.0, catalog_version))).await?)
    }
}

/// Answers a call of [`RemoteTailer`] about a source.
///
/// # Errors
/// As the call.
pub async fn answer_source_call(tailer: &dyn Sources, body: &[u8]) -> Result<Bytes, Failure> {
    let (source, catalog_version) = decode(body)?;
    Ok(encode(&tailer.source_status(SourceId(source), catalog_version).await?))
}

/// Answers a write of [`RemoteTailer`].
///
/// # Errors
/// As the write.
pub async fn answer_write(tailer: &dyn Writes, message: Bytes) -> Result<Bytes, Failure> {
    let short = || Failure::new(FailureKind::Internal, "a write between nodes ends too early");
    let (length, rest) = message.split_first_chunk::<4>().ok_or_else(short)?;
    let head = rest.get(..u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    let WriteHead { collection, kind, format, request_key } = decode(head)?;
    let body = message.slice(4 + head.len()..);
    let request = WriteRequest { collection: CollectionId(collection), kind, format, body, request_key };
    Ok(encode(&tailer.write(request).await?))
}
