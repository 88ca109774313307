//! Kafka sources as their users handle them: made, paused, resumed, dropped, and what they tell.

use std::time::Duration;

use anyhow::{Result, ensure};
use basalt_harness::broker::Broker;
use basalt_harness::server::{Live, Server};
use reqwest::Method;
use serde_json::{Value as Json, json};

const DEADLINE: Duration = Duration::from_secs(90);

const COLLECTIONS: &str = "/v1/workspaces/public/collections";

async fn create(server: &Server, broker: &Broker, collection: &str, topic: &str, start: &str) -> Result<()> {
    let address = broker.address();
    let source = json!({ "name": "stream", "type": "kafka", "brokers": address, "topic": topic, "start": start });
    let path = format!("{COLLECTIONS}/{collection}/sources");
    let (status, reply) = server.json(Method::POST, &path, source.to_string()).await?;
    ensure!(status == 201 && reply["topic"] == topic && reply["start"] == start, "{status} {reply}");
    Ok(())
}

async fn source(server: &Server, collection: &str) -> Result<Json> {
    Ok(server.json(Method::GET, &format!("{COLLECTIONS}/{collection}/sources/stream"), "").await?.1)
}

async fn turn(server: &Server, collection: &str, what: &str) -> Result<Json> {
    let path = format!("{COLLECTIONS}/{collection}/sources/stream/{what}");
    let (status, reply) = server.json(Method::POST, &path, "").await?;
    ensure!(status == 200, "{status} {reply}");
    Ok(reply)
}

/// Waits until the source is as wanted, and returns it.
async fn until(server: &Server, collection: &str, wanted: impl Fn(&Json) -> bool) -> Result<Json> {
    let started = tokio::time::Instant::now();
    loop {
        let source = source(server, collection).await?;
        if wanted(&source) {
            return Ok(source);
        }
        ensure!(started.elapsed() < DEADLINE, "the source of {collection} is {source}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a query gives these rows: a record's shard may be behind another's.
async fn shows(server: &Server, sql: &str, expected: &[Json]) -> Result<()> {
    let started = tokio::time::Instant::now();
    loop {
        let rows = server.rows(sql).await?;
        if rows == expected {
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "{sql} gives {rows:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the collection has these `_id`s.
async fn holds(server: &Server, collection: &str, ids: &[&str]) -> Result<()> {
    let expected: Vec<Json> = ids.iter().map(|id| json!({ "_id": id })).collect();
    shows(server, &format!("SELECT _id FROM {collection} ORDER BY _id"), &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_handled_by_their_users() -> Result<()> {
    let broker = Broker::start()?;
    broker.create_topic("first", 1).await?;
    let (live, records) = (Live::start(&[])?, broker.records()?);
    let server = &live.server;
    let put = |id: &str| records.put("first", id, &json!({ "_id": id, "n": 1 }).to_string(), None);

    put("a")?;
    records.put("first", "broken", "{\"b\": tru}", None)?;
    records.put("first", "b", r#"{"_id": "b", "n": 1}"#, Some("grow"))?;
    put("c")?;
    records.flush()?;
    create(server, &broker, "whole", "first", "earliest").await?;
    create(server, &broker, "new", "first", "latest").await?;
    holds(server, "whole", &["a", "c"]).await?;
    let told = until(server, "whole", |source| source["lag_records"] == 0).await?;
    ensure!(told["state"] == "running" && told["failed"] == 2 && told["records"] == 4, "{told}");
    let places: Vec<&Json> = told["errors"].as_array().into_iter().flatten().map(|error| &error["offset"]).collect();
    ensure!(places == [&json!(1), &json!(2)], "{told}");
    until(server, "new", |source| source["partitions"] == 1).await?;

    let paused = turn(server, "whole", "pause").await?;
    ensure!(paused["state"] == "paused", "{paused}");
    put("d")?;
    records.put(
        "first",
        "a",
        r#"{"_id": "a", "patch": [{"op": "increment", "path": "/n", "value": 1}]}"#,
        Some("patch"),
    )?;
    records.put("first", "c", "", Some("delete"))?;
    records.flush()?;
    // The other source has read on, so the records are there; the one that rests has not.
    holds(server, "new", &["d"]).await?;
    holds(server, "whole", &["a", "c"]).await?;
    turn(server, "whole", "resume").await?;
    holds(server, "whole", &["a", "d"]).await?;
    shows(server, "SELECT n FROM whole WHERE _id = 'a'", &[json!({ "n": 2 })]).await?;

    // A topic that is not there yet is waited for.
    create(server, &broker, "later", "second", "earliest").await?;
    let failed = until(server, "later", |source| source["state"] == "failed").await?;
    ensure!(failed["reason"].as_str().is_some_and(|reason| reason.contains("no topic second")), "{failed}");
    broker.create_topic("second", 1).await?;
    records.put("second", "x", r#"{"_id": "x"}"#, None)?;
    records.flush()?;
    holds(server, "later", &["x"]).await?;

    // A topic that is made again is another one: its first record is new, whatever its offset.
    broker.delete_topic("second").await?;
    broker.create_topic("second", 1).await?;
    let again = broker.records()?;
    again.put("second", "y", r#"{"_id": "y"}"#, None)?;
    again.flush()?;
    holds(server, "later", &["x", "y"]).await?;

    let refuse = async |path: &str, body: Json, wanted: u16, part: &str| {
        let (status, reply) = server.json(Method::POST, &format!("{COLLECTIONS}/{path}"), body.to_string()).await?;
        ensure!(status == wanted && reply.to_string().contains(part), "{path} {body}: {status} {reply}");
        Ok(())
    };
    let valid = json!({ "name": "stream", "type": "kafka", "brokers": "b:1", "topic": "t" });
    let with = |key: &str, value: Json| {
        let mut body = valid.clone();
        body[key] = value;
        body
    };
    refuse("whole/sources", valid.clone(), 409, "stream is there already").await?;
    refuse("whole/sources", with("type", json!("s3")), 400, "kafka").await?;
    refuse("whole/sources", with("format", json!("avro")), 400, "json").await?;
    refuse("whole/sources", with("start", json!("soon")), 400, "earliest").await?;
    refuse("whole/sources", with("topics", json!(1)), 400, "topics").await?;
    refuse("whole/sources", with("name", json!("no name")), 400, "name").await?;
    refuse("whole/sources", with("properties", json!({ "ssl.ca.location": "/etc/passwd" })), 400, "ssl.ca.pem").await?;
    let mut secret = with("properties", json!({ "sasl.password": "hunter2" }));
    secret["name"] = json!("secret");
    let (status, made) = server.json(Method::POST, &format!("{COLLECTIONS}/new/sources"), secret.to_string()).await?;
    let told = server.json(Method::GET, &format!("{COLLECTIONS}/new/sources"), "").await?.1;
    ensure!(status == 201 && made["properties"] == json!(["sasl.password"]), "{status} {made}");
    ensure!(!made.to_string().contains("hunter2") && !told.to_string().contains("hunter2"), "{told}");
    refuse("whole/sources/straem/pause", json!({}), 404, "did you mean stream?").await?;

    let (status, _) = server.json(Method::DELETE, &format!("{COLLECTIONS}/whole/sources/stream"), "").await?;
    let (_, left) = server.json(Method::GET, &format!("{COLLECTIONS}/whole/sources"), "").await?;
    ensure!(status == 200 && left == json!({ "sources": [] }), "{status} {left}");
    holds(server, "whole", &["a", "d"]).await
}

/// In a collection with versions the records of a topic count by these, whatever their offsets, and a redelivery counts once.
#[tokio::test(flavor = "multi_thread")]
async fn records_count_by_their_versions() -> Result<()> {
    let broker = Broker::start()?;
    broker.create_topic("events", 1).await?;
    let (live, records) = (Live::start(&[])?, broker.records()?);
    let server = &live.server;
    let settings = json!({ "name": "states", "version": "at" });
    let (status, reply) = server.json(Method::POST, COLLECTIONS, settings.to_string()).await?;
    ensure!(status == 201 && reply["version"] == "at", "{status} {reply}");
    let state = |id: &str, at: i64| records.put("events", id, &json!({ "_id": id, "at": at }).to_string(), None);
    let delete = |id: &str, version: &str| {
        records.put_with("events", id, "", &[("basalt-operation", "delete"), ("basalt-version", version)])
    };
    let grow = |at: i64, operation: &str| {
        let patch = json!([{ "op": "increment", "path": "/n", "value": at }]);
        let patch = json!({ "_id": "a", "patch": patch, "version": at, "operation_id": operation });
        records.put("events", "a", &patch.to_string(), Some("patch"))
    };
    grow(30, "first")?;
    state("a", 20)?;
    state("a", 10)?;
    grow(40, "second")?;
    grow(30, "first")?;
    delete("b", "25")?;
    state("b", 24)?;
    state("c", 24)?;
    delete("c", "23")?;
    records.put("events", "d", "", Some("delete"))?;
    state("end", 1)?;
    records.flush()?;
    create(server, &broker, "states", "events", "earliest").await?;
    holds(server, "states", &["a", "c", "end"]).await?;
    let expected = [json!({ "_id": "a", "at": 20, "n": 70 }), json!({ "_id": "c", "at": 24, "n": null })];
    shows(server, "SELECT _id, at, n FROM states WHERE _id < 'e' ORDER BY _id", &expected).await?;
    let told = source(server, "states").await?;
    let error = told["errors"][0]["message"].as_str().unwrap_or_default();
    ensure!(told["failed"] == 1 && error.contains("basalt-version"), "{told}");
    Ok(())
}
