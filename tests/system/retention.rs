//! Documents that a collection keeps for a time: seen until their time is over, let go soon after, over HTTP.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::server::{DOCUMENTS, Live};
use reqwest::Method;
use serde_json::{Value as Json, json};

const COLLECTIONS: &str = "/v1/workspaces/public/collections";
const COLLECTION: &str = "/v1/workspaces/public/collections/docs";

const HOUR_MICROS: i64 = 3_600_000_000;

/// How long a shard may take to let documents go after their time: it looks every ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

async fn set(live: &Live, settings: Json) -> Result<Json> {
    let (status, reply) = live.server.json(Method::PATCH, COLLECTION, settings.to_string()).await?;
    ensure!(status == 200, "{status} {reply}");
    Ok(reply)
}

/// The `_id`s that queries see, in each of the ways they are found.
async fn seen(live: &Live) -> Result<Json> {
    let ids = live.server.rows("SELECT _id FROM docs ORDER BY _id").await?;
    let ids: Vec<&Json> = ids.iter().map(|row| &row["_id"]).collect();
    let count = live.server.rows("SELECT count(*) AS n FROM docs").await?;
    ensure!(count[0]["n"] == ids.len(), "{count:?}, not {ids:?}");
    let groups = live.server.rows("SELECT kind, count(*) AS n FROM docs GROUP BY kind").await?;
    let grouped: i64 = groups.iter().filter_map(|row| row["n"].as_i64()).sum();
    ensure!(grouped == ids.len() as i64, "{groups:?}, not {ids:?}");
    let top = live.server.rows("SELECT _id FROM docs ORDER BY number LIMIT 100").await?;
    ensure!(top.len() == ids.len(), "{top:?}, not {ids:?}");
    for id in ["new", "none", "old", "word"] {
        let by_id = live.server.rows(&format!("SELECT _id FROM docs WHERE _id = '{id}'")).await?;
        ensure!(by_id.len() == usize::from(ids.contains(&&json!(id))), "{id}: {by_id:?}, not {ids:?}");
        let body = json!({ "ids": [id] }).to_string();
        let (_, reply) = live.server.json(Method::POST, &format!("{DOCUMENTS}/_get"), body).await?;
        ensure!(reply["documents"][0].is_null() != ids.contains(&&json!(id)), "{id}: {reply}, not {ids:?}");
    }
    Ok(json!(ids))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_seen_until_their_time_is_over() -> Result<()> {
    let live = Live::start(&[])?;
    let clock = SystemClock::default();
    let create = json!({ "name": "docs", "event_time": "at", "retention": "1 hour", "shards": 2 });
    let (status, reply) = live.server.json(Method::POST, COLLECTIONS, create.to_string()).await?;
    ensure!(status == 201 && reply["retention"] == "1 hours" && reply["event_time"] == "at", "{status} {reply}");
    let now = clock.now_micros();
    let documents = json!([
        { "_id": "old", "number": 1, "kind": "a", "at": (now - 2 * HOUR_MICROS) / 1_000 },
        { "_id": "new", "number": 2, "kind": "a", "at": now / 1_000_000 },
        { "_id": "word", "number": 3, "kind": "b", "at": "soon" },
        { "_id": "none", "number": 4, "kind": "b" },
    ]);
    live.write(Method::POST, documents.to_string()).await?;
    ensure!(seen(&live).await? == json!(["new", "none", "word"]), "{}", seen(&live).await?);
    set(&live, json!({ "retention": "3 hours" })).await?;
    ensure!(seen(&live).await? == json!(["new", "none", "old", "word"]), "it is kept for longer now");
    let reply = set(&live, json!({ "retention": null })).await?;
    ensure!(reply["retention"].is_null() && reply["event_time"] == "at", "{reply}");
    ensure!(seen(&live).await? == json!(["new", "none", "old", "word"]), "it is kept for ever");
    // A patch of the event time counts, before and after it is flushed.
    let patch = json!([{ "_id": "old", "merge": { "at": "2020-01-01T00:00:00Z" } }]);
    live.write(Method::PATCH, patch.to_string()).await?;
    set(&live, json!({ "retention": "4 minutes" })).await?;
    ensure!(seen(&live).await? == json!(["new", "none", "word"]), "{}", seen(&live).await?);
    // Nobody writes, and what is over goes, with the next 64th of the four minutes.
    let started = clock.monotonic();
    loop {
        let (_, reply) = live.server.json(Method::GET, COLLECTION, "").await?;
        if reply["documents"].as_i64().context("a count")? == 3 {
            break;
        }
        ensure!(clock.monotonic() - started < PATIENCE, "it is still there: {reply}");
        tokio::task::yield_now().await;
    }
    let reply = live.write(Method::PATCH, patch.to_string()).await?;
    ensure!(reply["outcomes"]["missing"] == 1, "a document that was let go is missing: {reply}");
    ensure!(seen(&live).await? == json!(["new", "none", "word"]), "{}", seen(&live).await?);
    Ok(())
}

#[tokio::test]
async fn what_is_no_retention_is_refused() -> Result<()> {
    let live = Live::start(&[])?;
    let cases = [
        (json!({ "name": "docs", "retention": "1 hour" }), "event_time"),
        (json!({ "name": "docs", "event_time": "at", "retention": 30 }), "30 days"),
        (json!({ "name": "docs", "event_time": "at", "retention": "soon" }), "soon"),
        (json!({ "name": "docs", "event_time": "at", "retention": "2 months" }), "2 months"),
        (json!({ "name": "docs", "event_time": "at", "retention": "5 milliseconds" }), "a second"),
        (json!({ "name": "docs", "event_time": "at['", "retention": "1 hour" }), "event_time"),
    ];
    for (create, word) in cases {
        let (status, reply) = live.server.json(Method::POST, COLLECTIONS, create.to_string()).await?;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        ensure!(status == 400 && message.contains(word), "{create}: {status} {reply}");
    }
    Ok(())
}
