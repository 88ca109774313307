//! Disks without space: of the log, of the store, of both. Writes are refused and say why, reads go on, and what was acknowledged is
//! there, whatever becomes of the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::random::SeededRandom;
use basalt_harness::disk::SmallDisk;
use basalt_harness::leaf::program;
use basalt_harness::server::{DOCUMENTS, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// Longer than anything here takes: a flush that failed again and again is tried once a minute, and its log's cut once more. A failure, not a wait,
/// ends at it.
const PATIENCE: Duration = Duration::from_secs(180);

/// More of the log than this is flushed at once.
const FLUSH_BYTES: usize = 64 << 20;

/// A small disk; says where there can be none.
fn mount(bytes: u64) -> Result<Option<SmallDisk>> {
    let disk = SmallDisk::mount(bytes)?;
    if disk.is_none() {
        println!("skipped: a disk that can be full is mounted, which takes root's rights");
    }
    Ok(disk)
}

fn start(data: &Path, store: &Path) -> Result<Server> {
    let mut command = Command::new(program("basalt")?);
    command.args(["start", "--http", "127.0.0.1:0", "--log", "off", "--shards", "1", "--data"]).arg(data.join("data"));
    command.arg("--store").arg(store);
    Server::of(command)
}

/// What a server has to have: the numbers of its documents.
#[derive(Debug, Default)]
struct Kept {
    numbers: BTreeMap<String, u64>,
    next: u64,
}

/// What a client is told that was refused.
#[derive(Debug)]
struct Refusal {
    status: u16,
    retry_after: bool,
    error: Json,
}

impl Refusal {
    /// It is because of the disk, and a client that comes back later may succeed.
    fn check(&self, of: &str) -> Result<()> {
        let message = self.error["message"].as_str().unwrap_or_default();
        let told = self.status == 429 && self.error["kind"] == "too_many_requests" && self.retry_after;
        ensure!(told && message.contains("the disk has no space left"), "{of}: {self:?}");
        Ok(())
    }
}

async fn send(server: &Server, method: Method, path: &str, body: String) -> Result<Result<Json, Refusal>> {
    let response = server.send(method, path, &[("content-type", "application/json")], body).await?;
    let (status, retry_after) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    let reply: Json = serde_json::from_str(&response.text().await?)?;
    Ok(match status {
        200 | 201 => Ok(reply),
        _ => Err(Refusal { status, retry_after, error: reply["error"].clone() }),
    })
}

impl Kept {
    /// Writes one document; it has to be there only if that is acknowledged, and must not be if it was refused.
    async fn write(&mut self, server: &Server, text: &str) -> Result<Option<Refusal>> {
        let (id, number) = (format!("d{}", self.next), self.next);
        self.next += 1;
        let body = json!({ "_id": id, "n": number, "text": text }).to_string();
        match send(server, Method::POST, &format!("{DOCUMENTS}?wait=applied"), body).await? {
            Ok(reply) => {
                ensure!(reply["outcomes"]["added"] == 1 && reply["failed"] == 0, "{reply}");
                self.numbers.insert(id, number);
                Ok(None)
            }
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    /// Writes documents of such a text until one is refused.
    async fn write_until_refused(&mut self, server: &Server, text: &str) -> Result<Refusal> {
        for _ in 0..20_000 {
            if let Some(refusal) = self.write(server, text).await? {
                return Ok(refusal);
            }
        }
        anyhow::bail!("no write was refused, though the disk is full")
    }

    /// Queries and reads by key find what was acknowledged and nothing else.
    async fn check(&self, server: &Server, when: &str) -> Result<()> {
        let rows = server.rows("SELECT _id, n FROM docs").await.with_context(|| when.to_string())?;
        let found: BTreeMap<String, u64> = rows
            .iter()
            .map(|row| Some((row["_id"].as_str()?.to_string(), row["n"].as_u64()?)))
            .collect::<Option<_>>()
            .context("a row has no _id or no n")?;
        ensure!(rows.len() == found.len(), "{when}: a document is there twice");
        if found != self.numbers {
            let lost: Vec<_> = self.numbers.keys().filter(|id| !found.contains_key(*id)).take(5).collect();
            let more: Vec<_> = found.keys().filter(|id| !self.numbers.contains_key(*id)).take(5).collect();
            anyhow::bail!("{when}: of {} documents {lost:?} are lost, {more:?} were refused", self.numbers.len());
        }
        let ids: Vec<&String> = self.numbers.keys().step_by(97).collect();
        let body = json!({ "ids": ids, "fields": ["n"] }).to_string();
        let (reply, _) = server.insist(Method::POST, &format!("{DOCUMENTS}/_get"), &[], &body).await?;
        let read = reply["documents"].as_array().context("no documents")?;
        for (id, document) in ids.iter().zip(read) {
            ensure!(document["n"] == self.numbers[*id], "{when}: {id} is {document}");
        }
        Ok(())
    }
}

/// Every kind of write is refused as one of documents is, and reads are not.
async fn check_refusals(server: &Server, kept: &Kept) -> Result<()> {
    let first = kept.numbers.keys().next().context("nothing was acknowledged")?;
    let large = "x".repeat(8 << 10);
    let writes = [
        (Method::POST, DOCUMENTS, json!({ "_id": "more", "text": large })),
        (Method::POST, DOCUMENTS, json!({ "_id": "more", "a field that was not there": large })),
        (Method::PATCH, DOCUMENTS, json!([{ "_id": first, "merge": { "text": large } }])),
        (Method::PATCH, DOCUMENTS, json!([{ "_id": first, "patch": [{ "op": "add", "path": "/y", "value": large }] }])),
        (Method::DELETE, DOCUMENTS, json!({ "ids": [first], })),
        (Method::POST, "/v1/workspaces/public/collections/others/documents", json!({ "_id": "a" })),
        (Method::POST, "/v1/workspaces", json!({ "name": "another", "description": large })),
        (Method::POST, "/v1/workspaces/public/collections", json!({ "name": "another", "description": large })),
    ];
    let mut refused = 0;
    for (method, path, body) in writes {
        let of = format!("{method} {path}");
        match send(server, method.clone(), path, body.to_string()).await? {
            Err(refusal) => {
                refusal.check(&of)?;
                refused += 1;
            }
            // A few bytes may yet find a place.
            Ok(reply) => ensure!(method == Method::DELETE || path.contains("others"), "{of}: {reply}"),
        }
    }
    ensure!(refused >= 6, "only {refused} writes were refused");
    let sql = "SELECT count(*) AS c, max(n) AS m FROM docs WHERE n < 100 AND search(text, 'word')";
    ensure!(server.rows(sql).await?[0]["m"] == 99, "{:?}", server.rows(sql).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_refuses_writes_and_loses_nothing() -> Result<()> {
    let (Some(disk), store) = (mount(16 << 20)?, tempfile::tempdir()?) else { return Ok(()) };
    let mut server = start(disk.path(), store.path())?;
    let mut kept = Kept::default();
    for _ in 0..200 {
        ensure!(kept.write(&server, "a word among others").await?.is_none(), "the disk has room");
    }
    for round in 0..2 {
        disk.fill_but(32 << 10)?;
        kept.write_until_refused(&server, &"word ".repeat(100)).await?.check("a document")?;
        // Smaller ones take what is left.
        kept.write_until_refused(&server, "").await?.check("a small document")?;
        ensure!(disk.is_full()?, "round {round}: what was refused left room");
        kept.check(&server, "while the disk is full").await?;
        if round == 0 {
            let before = kept.numbers.keys().next().context("nothing was acknowledged")?.clone();
            check_refusals(&server, &kept).await?;
            // Its delete may have found a place.
            if server.rows(&format!("SELECT 1 FROM docs WHERE _id = '{before}'")).await?.is_empty() {
                kept.numbers.remove(&before);
            }
        }
        server.kill()?;
        server = start(disk.path(), store.path()).context("it starts on a full disk")?;
        kept.check(&server, "started again on the full disk").await?;
        kept.write_until_refused(&server, &"word ".repeat(100)).await?.check("a document, after a start")?;
        disk.make_room()?;
        ensure!(kept.write(&server, "room").await?.is_none(), "round {round}: there is room again");
        kept.check(&server, "with room again").await?;
        server.kill()?;
        server = start(disk.path(), store.path())?;
        kept.check(&server, "after a kill").await?;
    }
    server.stop()?;
    server = start(disk.path(), store.path())?;
    kept.check(&server, "after a stop").await
}

/// What a text of so many random letters is: no index and no encoding makes it small.
fn noise(seed: u64, length: usize) -> String {
    let mut random = SeededRandom::new(seed);
    (0..length).map(|_| char::from(b'!' + random.below(90) as u8)).filter(|c| *c != '\\' && *c != '"').collect()
}

/// The only shard, as the cluster's description has it, once it is so.
async fn shard_once(server: &Server, what: &str, so: impl Fn(&Json) -> bool) -> Result<Json> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (_, cluster) = server.json(Method::GET, "/v1/cluster", "").await?;
        let shard = cluster["shards"][0].clone();
        if so(&shard) {
            return Ok(shard);
        }
        ensure!(tokio::time::Instant::now() < deadline, "{what}: {shard}");
        tokio::task::yield_now().await;
    }
}

/// The store has no space when it is due to be written, and then the log has none either. Where they are two disks, room in the store is
/// enough: what is flushed leaves the log.
async fn a_full_store_and_then_a_full_log(log: &SmallDisk, store: &SmallDisk, are_one: bool) -> Result<()> {
    let folder = store.path().join("store");
    store.fill_but(if are_one { FLUSH_BYTES as u64 + (24 << 20) } else { 64 << 10 })?;
    let mut server = start(log.path(), &folder)?;
    let mut kept = Kept::default();
    for seed in 0..20 {
        ensure!(kept.write(&server, &noise(seed, 4 << 20)).await?.is_none(), "the log has room");
    }
    let failed = |shard: &Json| shard["failure"].as_str().is_some_and(|failure| failure.contains("o space left"));
    shard_once(&server, "it cannot be flushed", failed).await?;
    kept.check(&server, "while the store is full").await?;
    ensure!(kept.write(&server, "word").await?.is_none(), "the log takes what the store does not");
    kept.check(&server, "while the store is full").await?;
    if !are_one {
        log.fill_but(1 << 20)?;
    }
    kept.write_until_refused(&server, &noise(99, 1 << 20)).await?.check("a large document")?;
    kept.write_until_refused(&server, &"word ".repeat(100)).await?.check("a document")?;
    kept.write_until_refused(&server, "").await?.check("a small document")?;
    kept.check(&server, "while both are full").await?;
    server.kill()?;
    server = start(log.path(), &folder).context("it starts with full disks")?;
    kept.check(&server, "started again with full disks").await?;
    kept.write_until_refused(&server, &"word ".repeat(100)).await?.check("a document, after a start")?;
    store.make_room()?;
    // The rest is flushed when it is due.
    let flushed = |shard: &Json| shard["flushed"].as_u64() > Some(0) && shard["failure"].is_null();
    shard_once(&server, "it is flushed", flushed).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while kept.write(&server, "room").await?.is_some() {
        ensure!(tokio::time::Instant::now() < deadline, "what was flushed does not leave the log");
        tokio::task::yield_now().await;
    }
    kept.check(&server, "with room again").await?;
    server.kill()?;
    server = start(log.path(), &folder)?;
    kept.check(&server, "after a kill").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_and_a_full_log_lose_nothing() -> Result<()> {
    let (Some(log), Some(store)) = (mount(128 << 20)?, mount(256 << 20)?) else { return Ok(()) };
    a_full_store_and_then_a_full_log(&log, &store, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_with_all_that_lasts_loses_nothing() -> Result<()> {
    let Some(disk) = mount(384 << 20)? else { return Ok(()) };
    a_full_store_and_then_a_full_log(&disk, &disk, true).await
}
