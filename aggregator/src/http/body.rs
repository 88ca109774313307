//! Bodies of requests, bounded before they are read.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use basalt_common::failure::{Failure, FailureKind};
use bytes::Bytes;
use futures::StreamExt;
use serde::de::DeserializeOwned;

/// Reads a body of at most `bytes_max` bytes, after decompression. One that announces more is refused before it is read.
///
/// # Errors
/// It is longer, or ends too early.
pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Failure> {
    if announced(request.headers()).is_some_and(|bytes| bytes > bytes_max as u64) {
        // A client that is still sending does not read the answer: what is on its way is taken and thrown away.
        let _ = tokio::time::timeout(DRAIN_PATIENCE, drain(request.into_body())).await;
        return Err(too_large(bytes_max));
    }
    to_bytes(request.into_body(), bytes_max).await.map_err(|error| match over_limit(&error) {
        true => too_large(bytes_max),
        false => Failure::invalid(format!("the body did not come whole: {error}")),
    })
}

/// The most bytes of a refused body that are thrown away before the answer; a longer one sees its connection closed.
const DRAINED_BYTES_MAX: usize = 8 << 20;

/// How long a client may take for that.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

async fn drain(body: Body) {
    let (mut pieces, mut left) = (body.into_data_stream(), DRAINED_BYTES_MAX);
    while let Some(Ok(piece)) = pieces.next().await
        && left > 0
    {
        left = left.saturating_sub(piece.len());
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn over_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn too_large(bytes_max: usize) -> Failure {
    let message = format!("the body is longer than {bytes_max} bytes (setting body_bytes_max)");
    Failure::new(FailureKind::TooLarge, message).with_hint("send it in parts")
}

/// Reads a body that is one JSON object of known shape.
///
/// # Errors
/// As [`read`], or it is something else.
pub(super) async fn read_json<T: DeserializeOwned>(request: Request, bytes_max: usize) -> Result<T, Failure> {
    let body = read(request, bytes_max).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::invalid(format!("the body cannot be read: {error}")))
}
