//! SIGKILL of the tailer and of a leaf while requests are on their way: nothing acknowledged is lost, nothing counts twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::random::SeededRandom;
use basalt_harness::broker::Broker;
use basalt_harness::roles::{Roles, TAILER};
use basalt_harness::server::Server;
use reqwest::Method;
use serde_json::{Value as Json, json};

/// Kills of the tailer, and as many of the leaf.
const ROUNDS: usize = 10;

const WRITERS: u64 = 8;

/// Counters that all writers and the stream increment.
const COUNTERS: u64 = 16;

const DOCUMENTS: &str = "/v1/workspaces/public/collections/ledger/documents";

/// What writers did.
#[derive(Debug, Default)]
struct Written {
    ended: AtomicBool,
    in_flight: AtomicU64,
    acknowledged: AtomicU64,
    /// Requests that were sent more than once.
    sent_again: AtomicU64,
}

/// Increments two counters and makes a document, request by request, each until it is acknowledged.
async fn write(server: Arc<Server>, written: Arc<Written>, writer: u64) -> Result<BTreeMap<u64, u64>> {
    let mut random = SeededRandom::new(writer);
    let mut increments = BTreeMap::new();
    for turn in 0_u64.. {
        if written.ended.load(Ordering::Acquire) {
            break;
        }
        let mut items = vec![json!({ "_id": format!("w{writer}-{turn}"), "merge": { "turn": turn }, "upsert": true })];
        for _ in 0..2 {
            let counter = random.below(COUNTERS);
            *increments.entry(counter).or_default() += 1;
            items.push(increment(counter, "requests"));
        }
        let (key, body) = (format!("w{writer}-{turn}"), Json::Array(items).to_string());
        written.in_flight.fetch_add(1, Ordering::AcqRel);
        let (reply, sent) = server.insist(Method::PATCH, DOCUMENTS, &[("idempotency-key", &key)], &body).await?;
        written.in_flight.fetch_sub(1, Ordering::AcqRel);
        ensure!(reply["accepted"] == 3 && reply["failed"] == 0, "{reply}");
        written.acknowledged.fetch_add(1, Ordering::AcqRel);
        written.sent_again.fetch_add(u64::from(sent > 1), Ordering::AcqRel);
    }
    Ok(increments)
}

fn increment(counter: u64, field: &str) -> Json {
    let operations = json!([{ "op": "increment", "path": format!("/{field}"), "value": 1 }]);
    json!({ "_id": format!("counter-{counter}"), "patch": operations, "upsert": true })
}

/// Puts increments into the topic, one after another.
async fn stream(broker: Arc<Broker>, written: Arc<Written>) -> Result<BTreeMap<u64, u64>> {
    let (records, mut random, mut increments) = (broker.records()?, SeededRandom::new(99), BTreeMap::new());
    while !written.ended.load(Ordering::Acquire) {
        let counter = random.below(COUNTERS);
        *increments.entry(counter).or_default() += 1;
        let item = increment(counter, "streamed").to_string();
        records.put("increments", &format!("counter-{counter}"), &item, Some("patch"))?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    records.flush()?;
    Ok(increments)
}

/// Kills a role at a random moment while requests are unacknowledged; returns how many were.
async fn kill(roles: &mut Roles, role: usize, written: &Written, random: &mut SeededRandom) -> Result<u64> {
    // Not a wait for something: a moment that nothing in the system knows.
    tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await;
    let before = written.acknowledged.load(Ordering::Acquire);
    while written.in_flight.load(Ordering::Acquire) == 0 {
        tokio::task::yield_now().await;
    }
    let in_flight = written.in_flight.load(Ordering::Acquire);
    roles.kill_and_restart(role)?;
    let acknowledged = async {
        while written.acknowledged.load(Ordering::Acquire) <= before + WRITERS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), acknowledged).await.context("nothing goes on after a kill")?;
    Ok(in_flight)
}

/// A leaf that owns shards: the other may own none, as placement goes by their addresses.
async fn leaf_with_shards(roles: &Roles) -> Result<usize> {
    let (cluster, _) = roles.server.insist(Method::GET, "/v1/cluster", &[], "").await?;
    let shards = cluster["shards"].as_array().context("the cluster has shards")?;
    let owners = |leaf: &usize| shards.iter().any(|shard| shard["leaf"] == roles.leaf_address(*leaf));
    (0..TAILER).find(owners).with_context(|| format!("no leaf owns a shard: {cluster}"))
}

/// Batches that are in the log and in no manifest, of the leaf that is killed.
async fn unflushed(roles: &Roles, leaf: usize) -> Result<u64> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (cluster, _) = roles.server.insist(Method::GET, "/v1/cluster", &[], "").await?;
        let shards = cluster["shards"].as_array().context("the cluster has shards")?;
        let own = shards.iter().filter(|shard| shard["leaf"] == roles.leaf_address(leaf));
        let unflushed =
            own.map(|shard| shard["applied"].as_u64().unwrap_or(0) - shard["flushed"].as_u64().unwrap_or(0));
        match unflushed.sum() {
            0 => ensure!(tokio::time::Instant::now() < deadline, "nothing comes: {cluster}"),
            unflushed => return Ok(unflushed),
        }
        tokio::task::yield_now().await;
    }
}

/// Operations that were read again by the tailer that runs now, once it reads.
async fn replayed_by_the_source(roles: &Roles) -> Result<u64> {
    let path = "/v1/workspaces/public/collections/ledger/sources/increments";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (source, _) = roles.server.insist(Method::GET, path, &[], "").await?;
        if source["records"].as_u64().unwrap_or(0) > 0 {
            return Ok(source["replayed"].as_u64().unwrap_or(0));
        }
        ensure!(tokio::time::Instant::now() < deadline, "the source is not read: {source}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_acknowledged_and_count_nothing_twice() -> Result<()> {
    let broker = Arc::new(Broker::start()?);
    broker.create_topic("increments", 2).await?;
    let mut roles = Roles::start(&broker, Duration::from_millis(300))?;
    let server = Arc::new(roles.server.client());
    server.insist(Method::POST, "/v1/workspaces/public/collections", &[], r#"{"name": "ledger"}"#).await?;
    let source = json!({ "name": "increments", "type": "kafka", "brokers": broker.address(), "topic": "increments" });
    let path = "/v1/workspaces/public/collections/ledger/sources";
    server.insist(Method::POST, path, &[], &source.to_string()).await?;

    let written = Arc::new(Written::default());
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&server), Arc::clone(&written), writer)));
    let writers: Vec<_> = writers.collect();
    let stream = tokio::spawn(stream(Arc::clone(&broker), Arc::clone(&written)));
    let (mut random, leaf) = (SeededRandom::new(7), leaf_with_shards(&roles).await?);
    let (mut in_flight, mut batches, mut records) = (Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        in_flight.push(kill(&mut roles, TAILER, &written, &mut random).await?);
        records += replayed_by_the_source(&roles).await?;
        batches += unflushed(&roles, leaf).await?;
        in_flight.push(kill(&mut roles, leaf, &written, &mut random).await?);
    }
    written.ended.store(true, Ordering::Release);
    let mut requested: BTreeMap<u64, u64> = BTreeMap::new();
    for writer in writers {
        for (counter, count) in writer.await?? {
            *requested.entry(counter).or_default() += count;
        }
    }
    let streamed = stream.await??;
    let (requests, again) = (written.acknowledged.load(Ordering::Acquire), written.sent_again.load(Ordering::Acquire));
    println!(
        "{} kills with {in_flight:?} requests in flight; {requests} requests, {again} sent again; {batches} batches \
         replayed by the leaf; {} records, {records} operations of them replayed by the source",
        2 * ROUNDS,
        streamed.values().sum::<u64>()
    );
    ensure!(again > 0 && batches > 0 && records > 0, "nothing was replayed: the test proves nothing");
    check(&server, &requested, &streamed, requests).await
}

/// Every document once, and every counter exact, as soon as the stream is through.
async fn check(
    server: &Server,
    requested: &BTreeMap<u64, u64>,
    streamed: &BTreeMap<u64, u64>,
    requests: u64,
) -> Result<()> {
    let total: u64 = streamed.values().sum();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let rows = server.rows("SELECT sum(streamed) AS n FROM ledger").await?;
        let so_far = rows[0]["n"].as_u64().unwrap_or(0);
        ensure!(so_far <= total, "{so_far} increments of {total}: some counted twice");
        if so_far == total {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "{so_far} of {total} increments: some are lost");
    }
    let counters = "SELECT _id, requests, streamed FROM ledger WHERE _id LIKE 'counter-%'";
    for row in server.rows(counters).await? {
        let counter: u64 = row["_id"].as_str().context("an _id")?.trim_start_matches("counter-").parse()?;
        let expected = (requested.get(&counter).copied(), streamed.get(&counter).copied());
        ensure!((row["requests"].as_u64(), row["streamed"].as_u64()) == expected, "{row}, expected {expected:?}");
    }
    let documents = "SELECT count(*) AS n, count(DISTINCT _id) AS ids FROM ledger WHERE _id LIKE 'w%'";
    let rows = server.rows(documents).await?;
    ensure!(rows == [json!({ "n": requests, "ids": requests })], "{rows:?} instead of {requests}");
    Ok(())
}
