//! How failures look.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use basalt_common::calls::QueryId;
use basalt_common::failure::{Failure, FailureKind};
use serde::Serialize;

/// Seconds after which a client that was told to come back may: time for a leaf to flush, or a query to end.
const RETRY_AFTER_SECONDS: &str = "1";

/// A failure as a reply.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Failure);

/// The body of a failure.
#[derive(Debug, Serialize)]
pub(super) struct ErrorBody {
    error: ErrorFields,
}

#[derive(Debug, Serialize)]
struct ErrorFields {
    #[serde(flatten)]
    failure: Failure,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<String>,
}

impl ErrorBody {
    pub(super) fn new(failure: Failure, query: Option<QueryId>) -> Self {
        Self { error: ErrorFields { failure, query_id: query.map(|query| query.to_string()) } }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let kind = self.0.kind;
        let status = StatusCode::from_u16(kind.status()).expect("every kind has a status");
        let mut response = (status, Json(ErrorBody::new(self.0, None))).into_response();
        if matches!(kind, FailureKind::TooManyRequests | FailureKind::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
