//! The console: a page that asks the same paths as every client.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The page runs its own script and style and asks its own server, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'self'";

pub(super) async fn page() -> Response {
    served("text/html; charset=utf-8", include_str!("page.html"))
}

pub(super) async fn style() -> Response {
    served("text/css; charset=utf-8", include_str!("page.css"))
}

pub(super) async fn script() -> Response {
    served("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn served(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
