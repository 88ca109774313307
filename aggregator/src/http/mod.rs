//! The public address: HTTP.
//!
//! In: requests of clients. Out: replies, in the shapes of the contract. Owns what is bounded before it is read, how
//! failures look, and which paths there are; the work is done by the tailer, the leaves and [`query`](crate::query).
//!
//! ```text
//! /v1/workspaces/{w}/collections/{c}/documents ──▶ documents ──▶ tailer, leaves
//! /v1/workspaces/{w}/collections/{c}/sources   ──▶ sources   ──▶ catalog, tailer
//! /v1/query                                    ──▶ query     ──▶ leaves
//! /v1/workspaces…                              ──▶ catalog
//! /v1/health, /metrics, /v1/fences, /v1/cluster ─▶ status
//! /                                            ──▶ console
//! ```

mod body;
mod catalog;
mod console;
mod documents;
mod query;
mod reply;
mod rows_body;
mod sources;
mod status;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use basalt_common::failure::{Failure, FailureKind};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::aggregator::Aggregator;
use reply::Refused;

/// An aggregator as handlers share it.
type Shared = State<Arc<Aggregator>>;

/// Serves until `stop` is ready, then lets running requests end.
///
/// # Errors
/// The socket cannot be served.
pub async fn serve(
    listener: TcpListener,
    aggregator: Arc<Aggregator>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|socket| {
        // A socket that refuses is slower, not wrong.
        let _ = socket.set_nodelay(true);
    });
    let service = router(aggregator).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

fn router(aggregator: Arc<Aggregator>) -> Router {
    let collection = "/v1/workspaces/{workspace}/collections/{collection}";
    let documents = format!("{collection}/documents");
    let sources = format!("{collection}/sources");
    let source = format!("{sources}/{{source}}");
    Router::new()
        .route("/", get(console::page))
        .route("/console.css", get(console::style))
        .route("/console.js", get(console::script))
        .route("/v1/query", post(query::query))
        .route("/v1/workspaces", get(catalog::workspaces).post(catalog::create_workspace))
        .route("/v1/workspaces/{workspace}/collections", get(catalog::collections).post(catalog::create_collection))
        .route(
            collection,
            get(catalog::collection).patch(catalog::describe_collection).delete(catalog::drop_collection),
        )
        .route(&documents, post(documents::upsert).patch(documents::patch).delete(documents::delete))
        .route(&format!("{documents}/_get"), post(documents::get))
        .route(&sources, get(sources::sources).post(sources::create))
        .route(&source, get(sources::source).delete(sources::delete))
        .route(&format!("{source}/pause"), post(sources::pause))
        .route(&format!("{source}/resume"), post(sources::resume))
        .route("/v1/fences/wait", post(status::wait_for_fence))
        .route("/v1/cluster", get(status::cluster))
        .route("/v1/health/live", get(status::live))
        .route("/v1/health/ready", get(status::ready))
        .route("/metrics", get(status::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn_with_state(Arc::clone(&aggregator), admit))
        .layer(CompressionLayer::new())
        .with_state(aggregator)
}

/// Lets requests in: from this machine, or from anywhere where that was allowed.
async fn admit(
    State(aggregator): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if peer.ip().to_canonical().is_loopback() || aggregator.config.anonymous_from_anywhere {
        return next.run(request).await;
    }
    let failure =
        Failure::new(FailureKind::Unauthorized, "this server takes requests without a key from its own machine only");
    Refused(failure.with_hint("start it with --allow-anonymous to open it to everyone who can reach it"))
        .into_response()
}

async fn unknown_path(request: Request) -> Response {
    let message = format!("there is nothing at {}", request.uri().path());
    Refused(Failure::new(FailureKind::NotFound, message)).into_response()
}

async fn unknown_method(request: Request) -> Response {
    let message = format!("{} cannot be done at {}", request.method(), request.uri().path());
    let mut response = Refused(Failure::invalid(message)).into_response();
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}
