//! A client of a server's HTTP address, for the commands that talk to one.
//!
//! In: paths and bodies. Out: replies, or errors in the server's own words.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use basalt_common::clock::{Clock, SystemClock};
use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// Where a server of this machine listens.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// How long to wait before a request is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The way to a server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_string() })
    }

    /// Sends a request; replies of all statuses are replies.
    pub(crate) async fn send(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Result<Response> {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("content-type", content_type);
        let sent = request.body(body).send().await;
        sent.with_context(|| format!("no server answers at {}; start one with `basalt start`", self.url))
    }

    /// Sends a request whose reply is JSON, and fails in the server's words where it did.
    pub(crate) async fn json(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Result<Value> {
        let response = self.send(method, path, content_type, body).await?;
        let status = response.status();
        let text = response.bytes().await?;
        let reply: Value =
            serde_json::from_slice(&text).with_context(|| format!("the reply ({status}) is not JSON"))?;
        match status.is_success() {
            true => Ok(reply),
            false => bail!("{}", explain(status, &reply)),
        }
    }
}

impl Client {
    /// Sends NDJSON documents under a key, again and again while the server is away or has too much to do, for `patience`.
    pub(crate) async fn insist(&self, path: &str, body: Vec<u8>, key: &str, patience: Duration) -> Result<Value> {
        let (body, clock) = (Bytes::from(body), SystemClock::default());
        loop {
            let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/x-ndjson");
            let sent = request.header("idempotency-key", key).body(body.clone()).send().await;
            let again = match sent {
                Ok(response) => {
                    let status = response.status();
                    let text = response.bytes().await?;
                    let reply = serde_json::from_slice(&text).unwrap_or_default();
                    match status {
                        status if status.is_success() => return Ok(reply),
                        StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::REQUEST_TIMEOUT => explain(status, &reply),
                        _ => bail!("{}", explain(status, &reply)),
                    }
                }
                Err(error) => format!("no server answers at {}: {error}", self.url),
            };
            if clock.monotonic() > patience {
                bail!(again);
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}

/// The path of a collection, given with its workspace or in `public`.
pub(crate) fn collection_path(name: &str) -> String {
    let (workspace, collection) = name.split_once('.').unwrap_or(("public", name));
    format!("/v1/workspaces/{workspace}/collections/{collection}")
}

/// What a failed reply says, as one or two lines.
pub(crate) fn explain(status: StatusCode, reply: &Value) -> String {
    let error = &reply["error"];
    let Some(message) = error["message"].as_str() else { return format!("the server answered {status}") };
    let mut text = message.to_string();
    if let (Some(line), Some(column)) = (error["line"].as_u64(), error["column"].as_u64()) {
        text = format!("line {line}, column {column}: {text}");
    }
    if let Some(hint) = error["hint"].as_str() {
        text = format!("{text}\nhint: {hint}");
    }
    text
}
