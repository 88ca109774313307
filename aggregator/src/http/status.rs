//! How the node is, and waiting for writes to be seen.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use basalt_common::leaves::LeafNode;
use serde::{Deserialize, Serialize};

use super::documents::read_fence;
use super::reply::Refused;
use super::{Shared, body};

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

pub(super) async fn live() -> Response {
    Json(Health { status: "live", reasons: Vec::new() }).into_response()
}

/// Ready: every shard is open on its leaf, and has applied what its log had when that was last seen.
pub(super) async fn ready(State(aggregator): Shared) -> Response {
    let state = aggregator.catalog.state();
    let mut reasons = Vec::new();
    for shard in state.collections().flat_map(|collection| collection.shard_ids()) {
        let status = match aggregator.leaves.owner(shard) {
            Ok(leaf) => leaf.calls.status(shard, false).await,
            Err(failure) => Err(failure),
        };
        match status {
            Ok(status) if status.log_end > status.applied + LAG_MAX => {
                reasons.push(format!("shard {shard} is {} batches behind its log", status.log_end - status.applied));
            }
            Ok(_) => {}
            Err(failure) => reasons.push(failure.to_string()),
        }
    }
    match reasons.is_empty() {
        true => Json(Health { status: "ready", reasons }).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "not ready", reasons })).into_response(),
    }
}

/// The nodes and shards.
#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    nodes: Vec<NodeBody>,
    shards: Vec<ShardBody>,
}

#[derive(Debug, Serialize)]
struct NodeBody {
    role: &'static str,
    address: String,
}

/// A shard, and how far its leaf is.
#[derive(Debug, Default, Serialize)]
struct ShardBody {
    collection: String,
    shard: u16,
    leaf: String,
    documents: u64,
    segments: u64,
    bytes: u64,
    /// The next position to be applied, the least that is only in the log, and the log's end when it was last seen.
    applied: u64,
    flushed: u64,
    log_end: u64,
    /// Why the last flush failed, or the leaf does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

pub(super) async fn cluster(State(aggregator): Shared) -> Result<Json<Cluster>, Refused> {
    let state = aggregator.catalog.state();
    let mut shards = Vec::new();
    for collection in state.collections() {
        for shard in collection.shard_ids() {
            let leaf = aggregator.leaves.owner(shard)?;
            let (name, url) = (collection.full_name(), leaf.url.to_string());
            let place = ShardBody { collection: name, shard: shard.shard, leaf: url, ..ShardBody::default() };
            shards.push(match leaf.calls.status(shard, false).await {
                Ok(status) => ShardBody {
                    documents: status.documents,
                    segments: status.segments,
                    bytes: status.bytes,
                    applied: status.applied,
                    flushed: status.flushed,
                    log_end: status.log_end,
                    failure: status.flush_failure,
                    ..place
                },
                Err(failure) => ShardBody { failure: Some(failure.to_string()), ..place },
            });
        }
    }
    let node = |leaf: &LeafNode| NodeBody { role: "leaf", address: leaf.url.to_string() };
    let nodes = aggregator.leaves.all().iter().map(node).collect();
    Ok(Json(Cluster { nodes, shards }))
}

/// Batches that a shard may be behind and still be ready: what a busy leaf has in hand.
const LAG_MAX: u64 = 1024;

/// What is set for each collection from its shards' status.
const GAUGES: [&str; 4] =
    ["basalt_leaf_documents", "basalt_leaf_segments", "basalt_leaf_bytes", "basalt_leaf_lag_batches"];

pub(super) async fn metrics(State(aggregator): Shared) -> Response {
    let state = aggregator.catalog.state();
    for collection in state.collections() {
        let mut totals = [0_u64; 4];
        for shard in collection.shard_ids() {
            let Ok(leaf) = aggregator.leaves.owner(shard) else { continue };
            let Ok(status) = leaf.calls.status(shard, false).await else { continue };
            let values = [status.documents, status.segments, status.bytes, status.log_end - status.applied];
            totals.iter_mut().zip(values).for_each(|(total, value)| *total += value);
        }
        for (name, total) in GAUGES.into_iter().zip(totals) {
            aggregator.metrics.set(name, &collection.full_name(), total as f64);
        }
    }
    aggregator.metrics.queries_running.set(aggregator.queries.running() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], aggregator.metrics.render()).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FenceRequest {
    fence: String,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Passed {
    passed: bool,
}

pub(super) async fn wait_for_fence(State(aggregator): Shared, request: Request) -> Result<Json<Passed>, Refused> {
    let FenceRequest { fence, timeout_ms } = body::read_json(request, aggregator.config.body_bytes_max).await?;
    let patience = timeout_ms.map_or(aggregator.config.patience, Duration::from_millis);
    aggregator.wait_for(&read_fence(&fence)?, patience).await?;
    Ok(Json(Passed { passed: true }))
}
