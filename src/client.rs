//! A client of a server's HTTP address, for the commands that talk to one.
//!
//! In: paths and bodies. Out: replies, or errors in the server's own words.

use anyhow::{Context, Result, bail};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// Where a server of this machine listens.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

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
