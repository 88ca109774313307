//! A `basalt start` process, and what clients send it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use basalt_common::patch::PatchOperation;
use basalt_common::value::json_write::{JsonStyle, write_json};
use basalt_common::value::{Object, Value, json};
use reqwest::{Method, Response};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::leaf::program;
use crate::operations::Operation;

/// No request here may take longer; a hang is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Ticks of the system's CPU times in a second: `sysconf(_SC_CLK_TCK)` on every Linux.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// A server that takes nearly no CPU time for so long is at rest: it begins to fold what was laid over fields a second after the last
/// change.
const REST: Duration = Duration::from_secs(3);

/// Nearly none: clocks, and logged time.
const REST_CPU_SECONDS_MAX: f64 = 0.06;

/// How often it is looked at meanwhile.
const REST_INTERVAL: Duration = Duration::from_millis(100);

/// It rests by then: all that it has to do for a hundred GiB.
const REST_DEADLINE: Duration = Duration::from_secs(600);

/// So many keys that every shard has one.
const NOBODYS: u64 = 100;

/// The CPU time that a process took so far.
///
/// # Errors
/// There is none.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, ends at the last parenthesis; then the fields from the third on.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// None where it is another's.
    child: Option<Child>,
    /// Its address.
    pub url: String,
    http: reqwest::Client,
}

impl Server {
    /// Starts one on a free port and waits until it serves.
    ///
    /// # Errors
    /// The program is not built, or ended before it served.
    pub fn start(data: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program("basalt")?);
        command.args(["start", "--http", "127.0.0.1:0", "--log", "warn", "--data"]).arg(data).args(arguments);
        Self::of(command)
    }

    /// Starts what serves clients and says where, at the end of its first line.
    ///
    /// # Errors
    /// It ended before it served.
    pub fn of(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the server has no output")?).read_line(&mut line)?;
        // The rest of what it says is not read: a server does not depend on that.
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_string();
        ensure!(url.starts_with("http://"), "the server said {line:?} instead of its address");
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?;
        Ok(Self { child: Some(child), url, http })
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Another way to the same server, which ends without it.
    pub fn client(&self) -> Self {
        Self { child: None, url: self.url.clone(), http: self.http.clone() }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// The process cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops it as an operator does, so that everything is flushed, and waits until it is gone.
    ///
    /// # Errors
    /// It does not run, or ended with an error.
    pub fn stop(&mut self) -> Result<()> {
        let pid = self.pid().context("it runs")?.to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "it cannot be told to stop");
        self.wait()
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    /// It ended with an error.
    pub fn wait(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child {
            let status = child.wait()?;
            ensure!(status.success(), "the server ended with {status}");
        }
        Ok(())
    }

    /// Waits until it is at rest.
    ///
    /// # Errors
    /// It does not run, or the deadline passed.
    pub async fn rest(&self) -> Result<()> {
        let pid = self.pid().context("it runs")?;
        let deadline = tokio::time::Instant::now() + REST_DEADLINE;
        let looks = REST.div_duration_f64(REST_INTERVAL).ceil() as usize;
        let mut seen = std::collections::VecDeque::new();
        loop {
            let cpu = cpu_seconds(pid)?;
            seen.push_back(cpu);
            if seen.len() > looks && seen.pop_front().is_some_and(|before| cpu - before <= REST_CPU_SECONDS_MAX) {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < deadline, "it does not rest");
            tokio::time::sleep(REST_INTERVAL).await;
        }
    }

    /// Sends a request with these headers.
    ///
    /// # Errors
    /// No reply came.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// Sends JSON and returns the status with the reply as JSON.
    ///
    /// # Errors
    /// No reply came, or it is not JSON.
    pub async fn json(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Result<(u16, Json)> {
        let response = self.send(method, path, &[("content-type", "application/json")], body).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let json = serde_json::from_str(&text).with_context(|| format!("{path} answered {status} {text:?}"))?;
        Ok((status, json))
    }

    /// Sends JSON again and again while the server, or a role behind it, is away; returns the reply, and how often the request
    /// was sent. A write wants an `Idempotency-Key` among the headers.
    ///
    /// # Errors
    /// The deadline passed, or the reply is an error or not JSON.
    pub async fn insist(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(Json, u32)> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let headers = [headers, &[("content-type", "application/json")]].concat();
        for turn in 1.. {
            let sent = self.send(method.clone(), path, &headers, body).await;
            let (status, text) = match sent {
                Ok(response) => (response.status().as_u16(), response.text().await),
                Err(_) => (503, Ok("no reply".into())),
            };
            match (status, text) {
                (200 | 201, Ok(text)) => return Ok((serde_json::from_str(&text)?, turn)),
                (status, text) if tokio::time::Instant::now() > deadline || !matches!(status, 200 | 408 | 503) => {
                    bail!("{path} answered {status} {text:?} to request {turn}")
                }
                _ => tokio::task::yield_now().await,
            }
        }
        unreachable!("the loop ends by its deadline")
    }

    /// Waits until all is applied that was acknowledged of a collection in `public`: deletes what nobody wrote in each of its shards,
    /// which apply in order.
    ///
    /// # Errors
    /// It is not applied by the deadline.
    pub async fn applied(&self, collection: &str) -> Result<()> {
        let path = format!("/v1/workspaces/public/collections/{collection}/documents?wait=applied");
        let ids: Vec<String> = (0..NOBODYS).map(|id| format!("nobody wrote {id}")).collect();
        let (status, reply) = self.json(Method::DELETE, &path, serde_json::json!({ "ids": ids }).to_string()).await?;
        ensure!(status == 200 && reply["outcomes"]["missing"] == NOBODYS, "{status}: {reply}");
        Ok(())
    }

    /// The rows of a query, as objects; asks again while a role is away.
    ///
    /// # Errors
    /// The query failed.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Json>> {
        let body = serde_json::json!({ "sql": sql }).to_string();
        let (reply, _) = self.insist(Method::POST, "/v1/query", &[], &body).await.with_context(|| sql.to_string())?;
        Ok(reply["rows"].as_array().context("a reply without rows")?.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already; there is nothing else to do about an error here.
        let _ = self.kill();
    }
}

/// The documents of the collection that tests write to.
pub const DOCUMENTS: &str = "/v1/workspaces/public/collections/docs/documents";

/// A server with a folder of its own.
#[derive(Debug)]
pub struct Live {
    /// The server.
    pub server: Server,
    /// Its folder.
    pub data: TempDir,
}

impl Live {
    /// Starts one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        Ok(Self { server: Server::start(data.path(), arguments)?, data })
    }

    /// Writes documents, waits until they are applied, and returns the reply.
    ///
    /// # Errors
    /// The write was refused.
    pub async fn write(&self, method: Method, body: String) -> Result<Json> {
        let (status, reply) = self.server.json(method, &format!("{DOCUMENTS}?wait=applied"), body).await?;
        ensure!(status == 200, "{status} {reply}");
        Ok(reply)
    }

    /// Sends a query and returns the status with the reply.
    ///
    /// # Errors
    /// No reply came.
    pub async fn query(&self, body: Json) -> Result<(u16, Json)> {
        self.server.json(Method::POST, "/v1/query", body.to_string()).await
    }
}

/// Reads JSON exactly.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> Result<Value> {
    let limits = json::JsonLimits { document_bytes_max: usize::MAX, ..json::JsonLimits::default() };
    Ok(json::parse_document(text.as_bytes(), &limits)?)
}

/// A value as JSON text.
///
/// # Panics
/// Never: JSON is written as UTF-8.
pub fn json_text(value: &Value) -> String {
    let mut text = Vec::new();
    write_json(value, &mut text, JsonStyle::default());
    String::from_utf8(text).expect("JSON is written as UTF-8")
}

/// A document as clients send it.
pub fn document_text(id: &str, document: &Object) -> String {
    let mut document = document.clone();
    document.insert("_id".into(), Value::String(id.into()));
    json_text(&Value::Object(document))
}

fn pointer(path: &[String]) -> Value {
    Value::String(path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect())
}

fn operation_value(operation: &PatchOperation) -> Option<Value> {
    let object = |name: &str, fields: Vec<(&str, Value)>| {
        let fields = fields.into_iter().chain([("op", Value::String(name.into()))]);
        Some(Value::Object(fields.map(|(key, value)| (key.to_string(), value)).collect()))
    };
    match operation {
        PatchOperation::Add { path, value } => object("add", vec![("path", pointer(path)), ("value", value.clone())]),
        PatchOperation::Replace { path, value } => {
            object("replace", vec![("path", pointer(path)), ("value", value.clone())])
        }
        PatchOperation::Remove { path } => object("remove", vec![("path", pointer(path))]),
        PatchOperation::Increment { path, by } => {
            object("increment", vec![("path", pointer(path)), ("value", by.clone())])
        }
        PatchOperation::Test { path, value } => object("test", vec![("path", pointer(path)), ("value", value.clone())]),
        PatchOperation::Move { from, path } => object("move", vec![("from", pointer(from)), ("path", pointer(path))]),
        PatchOperation::Copy { from, path } => object("copy", vec![("from", pointer(from)), ("path", pointer(path))]),
        PatchOperation::Merge { .. } => None,
    }
}

/// A patch as clients send it; none where it mixes merges and operations, which no request can.
pub fn patch_text(id: &str, operation: &Operation) -> Option<String> {
    let Operation::Patch { operations, insert } = operation else { return None };
    let mut item = Object::from([("_id".into(), Value::String(id.into())), ("upsert".into(), Value::Bool(*insert))]);
    match operations.as_slice() {
        [PatchOperation::Merge { object }] => item.insert("merge".into(), Value::Object(object.clone())),
        all => item.insert("patch".into(), Value::Array(all.iter().map(operation_value).collect::<Option<_>>()?)),
    };
    Some(json_text(&Value::Object(item)))
}
