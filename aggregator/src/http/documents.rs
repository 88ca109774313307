//! Documents: written, patched, deleted, and read by key.
//!
//! In: bodies as clients send them; the tailer reads them. Out: what became of them, and a fence.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use basalt_common::calls::{
    BodyFormat, DocumentsRequest, ItemError, OutcomeCounts, Outcomes, WriteKind, WriteReply, WriteRequest,
};
use basalt_common::catalog::Collection;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::fence::Fence;
use basalt_common::id::ShardId;
use basalt_common::position::LogPosition;
use basalt_common::routing::shard_of;
use basalt_common::value::FieldPath;
use serde::{Deserialize, Serialize};

use super::reply::Refused;
use super::{Shared, body};
use crate::aggregator::Aggregator;

/// The most keys of one read.
const KEYS_MAX: usize = 10_000;

type CollectionPath = Path<(String, String)>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteParameters {
    wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    Applied,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    accepted: u64,
    failed: u64,
    errors: Vec<ItemError>,
    fence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<OutcomeCounts>,
}

type Parameters = Result<Query<WriteParameters>, QueryRejection>;

pub(super) async fn upsert(
    State(aggregator): Shared,
    Path(path): CollectionPath,
    parameters: Parameters,
    request: Request,
) -> Result<Json<Written>, Refused> {
    write(&aggregator, &path, WriteKind::Upsert, parameters, request).await
}

pub(super) async fn patch(
    State(aggregator): Shared,
    Path(path): CollectionPath,
    parameters: Parameters,
    request: Request,
) -> Result<Json<Written>, Refused> {
    write(&aggregator, &path, WriteKind::Patch, parameters, request).await
}

pub(super) async fn delete(
    State(aggregator): Shared,
    Path(path): CollectionPath,
    parameters: Parameters,
    request: Request,
) -> Result<Json<Written>, Refused> {
    write(&aggregator, &path, WriteKind::Delete, parameters, request).await
}

async fn write(
    aggregator: &Aggregator,
    (workspace, name): &(String, String),
    kind: WriteKind,
    parameters: Parameters,
    request: Request,
) -> Result<Json<Written>, Refused> {
    let started = aggregator.clock.monotonic();
    let Query(WriteParameters { wait }) = parameters.map_err(|error| Failure::invalid(error.body_text()))?;
    let format = body_format(request.headers())?;
    let request_key = request_key(request.headers())?;
    let body = body::read(request, aggregator.config.body_bytes_max).await?;
    let collection = match kind {
        WriteKind::Delete => aggregator.collection(workspace, name)?,
        _ => aggregator.collection_to_write(workspace, name).await?,
    };
    let (keyed, bytes) = (request_key.is_some(), body.len() as u64);
    let request = WriteRequest { collection: collection.id, kind, format, body, request_key };
    let reply = aggregator.writes.write(request).await?;
    let metrics = &aggregator.metrics;
    metrics.operations_accepted.increment(reply.accepted);
    metrics.operations_failed.increment(reply.errors.len() as u64);
    metrics.write_bytes.increment(bytes);
    metrics.write_seconds.record((aggregator.clock.monotonic() - started).as_secs_f64());
    let mut written = written(&collection, &reply);
    if wait == Some(Wait::Applied) || keyed {
        let (counts, failures) = applied(aggregator, &collection, &reply).await?;
        if wait == Some(Wait::Applied) {
            written.outcomes = Some(counts);
            written.errors.extend(failures);
            written.errors.sort_by_key(|error| error.index);
        }
    }
    written.failed = written.errors.len() as u64;
    Ok(Json(written))
}

fn written(collection: &Collection, reply: &WriteReply) -> Written {
    let mut positions: BTreeMap<u16, u64> = BTreeMap::new();
    for write in &reply.shards {
        let position = positions.entry(write.shard).or_default();
        *position = write.position.max(*position);
    }
    let fence = Fence {
        collection: collection.id.0,
        schema_version: reply.schema_version,
        routing_epoch: 0,
        positions: positions.into_iter().collect(),
    };
    Written {
        accepted: reply.accepted,
        failed: 0,
        errors: reply.errors.clone(),
        fence: fence.to_text(),
        outcomes: None,
    }
}

/// What became of a write, once the leaves have applied it.
async fn applied(
    aggregator: &Aggregator,
    collection: &Collection,
    reply: &WriteReply,
) -> Result<(OutcomeCounts, Vec<ItemError>), Failure> {
    let asked = reply.shards.iter().map(|write| async move {
        let shard = ShardId { collection: collection.id, shard: write.shard };
        let leaf = aggregator.leaves.owner(shard)?;
        leaf.calls.outcomes(shard, LogPosition(write.position), aggregator.config.patience).await
    });
    let outcomes: Vec<Outcomes> = futures::future::try_join_all(asked).await?;
    if outcomes.iter().any(|outcomes| outcomes.conflict) {
        let message = "the Idempotency-Key was used for another body before";
        return Err(Failure::new(FailureKind::Conflict, message).with_hint("use a new key for each new request"));
    }
    let mut counts = OutcomeCounts::default();
    let mut failures = Vec::new();
    for (write, outcomes) in reply.shards.iter().zip(outcomes) {
        counts.add(&outcomes.counts);
        for (row, message) in outcomes.failures {
            let index = write.items.get(row as usize).copied().unwrap_or_default().into();
            failures.push(ItemError { index, byte_offset: None, id: None, message });
        }
    }
    Ok((counts, failures))
}

fn body_format(headers: &HeaderMap) -> Result<BodyFormat, Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(BodyFormat::Json) };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(BodyFormat::Ndjson),
        // What programs send that were not told what they send.
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => Ok(BodyFormat::Json),
        other => Err(Failure::invalid(format!("documents cannot be read from {other}"))
            .with_hint("send application/json or application/x-ndjson")),
    }
}

fn request_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let text = key.to_str().map_err(|_| Failure::invalid("an Idempotency-Key is printable ASCII"))?;
    Ok(Some(text.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetRequest {
    ids: Vec<Key>,
    fields: Option<Vec<String>>,
    fence: Option<String>,
}

/// An `_id` as clients may write it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Number(serde_json::Number),
}

impl Key {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

pub(super) async fn get(
    State(aggregator): Shared,
    Path((workspace, name)): CollectionPath,
    request: Request,
) -> Result<Response, Refused> {
    let GetRequest { ids, fields, fence } = body::read_json(request, aggregator.config.body_bytes_max).await?;
    if ids.len() > KEYS_MAX {
        let message = format!("{} ids at once, and at most {KEYS_MAX} can be read", ids.len());
        return Err(Failure::new(FailureKind::TooLarge, message).into());
    }
    let collection = aggregator.collection(&workspace, &name)?;
    let fence = fence.map(|text| read_fence(&text)).transpose()?;
    let fields = fields.map(|fields| read_paths(&fields)).transpose()?;
    let ids: Vec<String> = ids.into_iter().map(Key::into_text).collect();
    let documents = documents(&aggregator, &collection, &ids, fields.as_deref(), fence.as_ref()).await?;
    let mut text = String::from(r#"{"documents":["#);
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(document.as_deref().unwrap_or("null"));
    }
    text.push_str("]}");
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Reads documents from the leaves that have them, in the order of their keys.
async fn documents(
    aggregator: &Aggregator,
    collection: &Collection,
    ids: &[String],
    fields: Option<&[FieldPath]>,
    fence: Option<&Fence>,
) -> Result<Vec<Option<String>>, Failure> {
    let mut by_shard: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        let shard = shard_of(id.as_bytes(), collection.shards.into()) as u16;
        by_shard.entry(shard).or_default().push(index);
    }
    let asked = by_shard.iter().map(|(shard, indices)| async move {
        let shard = ShardId { collection: collection.id, shard: *shard };
        let request = DocumentsRequest {
            shard,
            ids: indices.iter().map(|index| ids[*index].clone()).collect(),
            fields: fields.map(<[FieldPath]>::to_vec),
            after: fence.and_then(|fence| fence.position(shard)),
            patience: aggregator.config.patience,
        };
        aggregator.leaves.owner(shard)?.calls.documents(request).await
    });
    let found = futures::future::try_join_all(asked).await?;
    let mut documents = vec![None; ids.len()];
    for (indices, found) in by_shard.values().zip(found) {
        indices.iter().zip(found).for_each(|(index, document)| documents[*index] = document);
    }
    Ok(documents)
}

fn read_paths(fields: &[String]) -> Result<Vec<FieldPath>, Failure> {
    let read = |text: &String| {
        text.parse::<FieldPath>().map_err(|error| Failure::invalid(format!("{text:?} is no path to a field: {error}")))
    };
    fields.iter().map(read).collect()
}

/// Reads a fence as a client gives it back.
pub(super) fn read_fence(text: &str) -> Result<Fence, Failure> {
    Fence::from_text(text).map_err(|error| Failure::invalid(error.to_string()))
}
