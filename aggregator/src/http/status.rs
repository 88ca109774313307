//! How the node is, and waiting for writes to be seen.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
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
