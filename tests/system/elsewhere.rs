//! Objects in a real S3-compatible store, of which a leaf keeps less than it owns: the same answers as from a folder, whatever is
//! here of them, and what happens while the store is away.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use basalt_common::log::LogIncarnation;
use basalt_harness::bucket::Bucket;
use basalt_harness::leaf::program;
use basalt_harness::server::{Live, Server};
use basalt_leaf::cache::Cache;
use basalt_leaf::indexes::Indexes;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::replica::Checkpoint;
use basalt_leaf::shard::Shard;
use basalt_leaf::store::{ShardStore, Store, StoreError, Writer};
use futures::TryStreamExt;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::disk::Disk;
use crate::model;

const OPERATIONS: u64 = 30_000;

/// The most bytes of extents that are kept: a small part of what the store has.
const CACHE_BYTES: u64 = 1 << 20;

const QUERIES: [&str; 8] = [
    "SELECT count(*) AS n FROM events",
    "SELECT customer.location.country AS country, count(*) AS n, sum(page.load_ms) AS load FROM events GROUP BY 1 ORDER BY 1",
    "SELECT _id, event FROM events ORDER BY event_time DESC, _id LIMIT 20",
    "SELECT event, max(counters.views) AS most, count(DISTINCT session) AS sessions FROM events GROUP BY 1 ORDER BY 1",
    "SELECT _id FROM events WHERE purchase.total > 900 ORDER BY _id",
    "SELECT _id, tags, experiments, value FROM events WHERE _id LIKE '%7' ORDER BY _id LIMIT 200",
    "SELECT _id FROM events WHERE search(note, 'wooden lamp') ORDER BY _id",
    "SELECT count(*) AS n, min(received_at) AS first, max(received_at) AS last FROM events WHERE device.kind = 'phone'",
];

fn start(bucket: &Bucket, data: &Path) -> Result<Server> {
    let mut command = Command::new(program("basalt")?);
    command.args(["start", "--http", "127.0.0.1:0", "--log", "off", "--data"]).arg(data);
    command.args(["--store", &bucket.url("stream"), "--cache-bytes-max", &CACHE_BYTES.to_string()]);
    bucket.environment(&mut command);
    Server::of(command)
}

/// Sends made operations: the same to whomever. They are durable then, not applied.
fn generate(server: &Server) -> Result<()> {
    let mut command = Command::new(program("basalt")?);
    command.args([
        "generate",
        "--url",
        &server.url,
        "--rate",
        "0",
        "--seed",
        "11",
        "--start-micros",
        "1750000000000000",
    ]);
    let ended = command.args(["--count", &OPERATIONS.to_string()]).stderr(Stdio::null()).status()?;
    ensure!(ended.success(), "the stream ended with {ended}");
    Ok(())
}

async fn answers(server: &Server) -> Result<Vec<Vec<Json>>> {
    let mut answers = Vec::new();
    for sql in QUERIES {
        answers.push(server.rows(sql).await.with_context(|| sql.to_string())?);
    }
    Ok(answers)
}

async fn compare(server: &Server, expected: &[Vec<Json>], when: &str) -> Result<()> {
    for ((sql, found), expected) in QUERIES.iter().zip(answers(server).await?).zip(expected) {
        ensure!(found == *expected, "{when}, {sql}: {found:?}, not {expected:?}");
    }
    Ok(())
}

/// Bytes of the files of a cache: of extents, and of ends.
fn cached_bytes(data: &Path) -> Result<(u64, u64)> {
    let (mut extents, mut ends) = (0, 0);
    for file in fs::read_dir(data.join("cache"))? {
        let file = file?;
        let of = if file.file_name().to_string_lossy().ends_with(".end") { &mut ends } else { &mut extents };
        *of += file.metadata().map_or(0, |file| file.len());
    }
    Ok((extents, ends))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_owns_more_than_it_keeps_answers_as_from_a_folder() -> Result<()> {
    let (bucket, folder, mut near) = (Bucket::start()?, tempfile::tempdir()?, Live::start(&[])?);
    let data = folder.path();
    let mut far = start(&bucket, data)?;
    generate(&near.server)?;
    generate(&far)?;
    near.server.applied("events").await?;
    far.applied("events").await?;
    let expected = answers(&near.server).await?;
    ensure!(expected.iter().all(|rows| !rows.is_empty()), "a query finds nothing: {expected:?}");
    compare(&far, &expected, "before anything is flushed").await?;
    far.stop()?;
    let objects: Vec<_> = bucket.objects("stream")?.list(None).try_collect().await?;
    let stored: u64 = objects.iter().map(|object| object.size).sum();
    ensure!(stored > 4 * CACHE_BYTES, "the store has {stored} bytes only");
    for lost in [false, true] {
        if lost {
            fs::remove_dir_all(data.join("cache"))?;
        }
        far = start(&bucket, data)?;
        compare(&far, &expected, "read from the store").await?;
        far.stop()?;
        let (extents, ends) = cached_bytes(data)?;
        println!("{stored} bytes in the store; {extents} of extents and {ends} of ends are kept");
        // Some may have come behind the last look at the bound.
        ensure!(extents <= 2 * CACHE_BYTES && extents > 0, "{extents} bytes of extents are kept");
    }

    // While the store is away: writes are taken, what is here is read, what is not says why; nothing is lost by a kill.
    far = start(&bucket, data)?;
    bucket.stop()?;
    let documents: Vec<Json> =
        (0..500).map(|id| json!({ "_id": format!("away-{id}"), "event": "away", "n": id })).collect();
    let body = Json::Array(documents).to_string();
    for server in [&near.server, &far] {
        let path = "/v1/workspaces/public/collections/events/documents?wait=applied";
        let (status, reply) = server.json(Method::POST, path, body.clone()).await?;
        ensure!(status == 200, "{status}: {reply}");
    }
    let (here, there) = (near.server.rows(QUERIES[0]).await?, far.rows(QUERIES[0]).await?);
    ensure!(here == there, "{there:?} without the store, not {here:?}");
    let all = json!({ "sql": "SELECT max(page.url) AS a, max(device.agent) AS b, max(note) AS c, max(session) AS d FROM events" });
    let (status, refused) = far.json(Method::POST, "/v1/query", all.to_string()).await?;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    ensure!(status == 503 && message.contains("object store"), "{status}: {refused}");
    far.kill()?;
    bucket.start_again()?;
    far = start(&bucket, data)?;
    compare(&far, &answers(&near.server).await?, "after a kill").await?;
    far.stop()?;
    near.server.stop()?;
    Ok(())
}

fn store(bucket: &Bucket, prefix: &str, folder: &Path) -> Result<Store> {
    let objects = bucket.objects(prefix)?;
    let cache = Cache::open(folder, CACHE_BYTES / 16, Arc::clone(&objects))?;
    Ok(Store::cached(objects, Arc::new(cache)))
}

/// The oracle of `model.rs` on S3.
#[test]
fn a_shard_on_s3_is_a_map_of_documents() -> Result<()> {
    let (bucket, folder) = (Bucket::start()?, tempfile::tempdir()?);
    let store = store(&bucket, "model", folder.path())?;
    let mut disk = Disk::of(5, store, folder)?;
    let policy = MergePolicy { inline_rows_max: 8, fold_rows_min: 4, ..MergePolicy::default() };
    model::run(5, 400, 15_000, policy, &mut disk)?;
    println!("{:?}", disk.done);
    ensure!(disk.done.flushes >= 10 && disk.done.reopens >= 2 && disk.done.merges >= 5, "hardly used: {:?}", disk.done);
    Ok(())
}

/// Two writers of one shard, again and again: one wins each manifest, and the other is told.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writers_wins_on_s3() -> Result<()> {
    let (bucket, folders) = (Bucket::start()?, [tempfile::tempdir()?, tempfile::tempdir()?]);
    let stores = [store(&bucket, "race", folders[0].path())?, store(&bucket, "race", folders[1].path())?];
    let mut won = [0, 0];
    let mut newest = None;
    for round in 0..20_u64 {
        let mut writers: Vec<Writer> = Vec::new();
        for store in &stores {
            writers.push(Writer::new(ShardStore::new(store.clone(), model::SHARD), LogIncarnation(1), newest.clone()));
        }
        let checkpoints = [0, 1].map(|_| {
            let mut shard = Shard::new(MergePolicy::default());
            shard.skip(basalt_common::position::LogPosition(round));
            Checkpoint { shard: shard.checkpoint(), ..Checkpoint::default() }
        });
        let [left, right] = checkpoints;
        let (first, second) = writers.split_at_mut(1);
        let indexes = Indexes::default();
        let done = tokio::join!(first[0].write(left, &indexes), second[0].write(right, &indexes));
        let winner = match done {
            (Ok(_), Err(StoreError::Raced { number, .. })) if number == round + 1 => 0,
            (Err(StoreError::Raced { number, .. }), Ok(_)) if number == round + 1 => 1,
            other => anyhow::bail!("round {round}: {other:?}"),
        };
        won[winner] += 1;
        newest = writers[winner].newest().cloned();
        let read = ShardStore::new(stores[0].clone(), model::SHARD).newest().await?;
        ensure!(read == newest, "round {round}: {read:?} is the newest, not {newest:?}");
    }
    println!("won: {won:?}");
    Ok(())
}
