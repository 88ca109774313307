//! The same collection in a folder and in a bucket of a real S3-compatible store on this machine: how long a start takes and a
//! query, when nothing of the bucket is here, when all it needs is, and when the leaf keeps an eighth of what it owns.
//!
//! The documents are those of `basalt generate`. Times are those that a client sees, each the median of several, but of queries of which
//! nothing is here: these are asked once after each start. `BASALT_BENCH_DOCUMENTS` says how many documents. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::bucket::Bucket;
use basalt_harness::leaf::program;
use basalt_harness::server::Server;
use futures::TryStreamExt;

const DOCUMENTS: usize = 200_000;

/// How often each is measured.
const RUNS: usize = 5;

const QUERIES: [(&str, &str); 6] = [
    ("count(*)", "SELECT count(*) FROM events"),
    ("one field", "SELECT sum(page.load_ms) FROM events"),
    (
        "group by a path",
        "SELECT customer.location.country, count(*), avg(purchase.total) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
    ),
    ("few rows by terms", "SELECT _id, note, device.agent FROM events WHERE counters.views = 4711"),
    ("a phrase", "SELECT count(*) FROM events WHERE search(note, '\"wooden lamp\"')"),
    ("top 10", "SELECT _id, event, purchase.total FROM events ORDER BY event_time DESC LIMIT 10"),
];

struct Place<'b> {
    name: &'static str,
    bucket: Option<(&'b Bucket, u64)>,
}

impl Place<'_> {
    fn start(&self, data: &Path) -> Result<Server> {
        let mut command = Command::new(program("basalt")?);
        command.args(["start", "--http", "127.0.0.1:0", "--log", "error", "--data"]).arg(data);
        if let Some((bucket, cache_bytes)) = self.bucket {
            command.args(["--store", &bucket.url("bench"), "--cache-bytes-max", &cache_bytes.to_string()]);
            bucket.environment(&mut command);
        }
        Server::of(command)
    }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().map_or(0.0, millis)
}

async fn ask(server: &Server, sql: &str, clock: &dyn Clock) -> Result<Duration> {
    let start = clock.monotonic();
    server.rows(sql).await.with_context(|| sql.to_string())?;
    Ok(clock.monotonic() - start)
}

/// Start and queries when nothing is in the cache, and when all is that it takes; in milliseconds.
async fn measure(place: &Place<'_>, data: &Path, clock: &dyn Clock) -> Result<Vec<(f64, f64)>> {
    let mut times = vec![(Vec::new(), Vec::new()); QUERIES.len() + 1];
    for (index, (_, sql)) in QUERIES.iter().enumerate() {
        for _ in 0..RUNS {
            let cache = data.join("cache");
            if cache.exists() {
                std::fs::remove_dir_all(&cache)?;
            }
            let started = clock.monotonic();
            let mut server = place.start(data)?;
            times[0].0.push(clock.monotonic() - started);
            times[index + 1].0.push(ask(&server, sql, clock).await?);
            for _ in 0..RUNS {
                times[index + 1].1.push(ask(&server, sql, clock).await?);
            }
            server.stop()?;
            let started = clock.monotonic();
            let mut server = place.start(data)?;
            times[0].1.push(clock.monotonic() - started);
            server.stop()?;
        }
    }
    Ok(times.into_iter().map(|(cold, warm)| (median(cold), median(warm))).collect())
}

fn main() -> Result<()> {
    let documents =
        std::env::var("BASALT_BENCH_DOCUMENTS").ok().map_or(Ok(DOCUMENTS), |documents| documents.parse())?;
    let (bucket, folders, clock) =
        (Bucket::start()?, [tempfile::tempdir()?, tempfile::tempdir()?], SystemClock::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut places = [
        Place { name: "folder", bucket: None },
        Place { name: "bucket", bucket: Some((&bucket, 1 << 40)) },
        Place { name: "bucket, an eighth kept", bucket: Some((&bucket, 0)) },
    ];
    for (place, folder) in places.iter().zip(&folders) {
        let mut server = place.start(folder.path())?;
        let mut command = Command::new(program("basalt")?);
        command.args(["generate", "--url", &server.url, "--rate", "0", "--start-micros", "1750000000000000"]);
        let ended = command.args(["--count", &documents.to_string()]).stderr(Stdio::null()).status()?;
        ensure!(ended.success(), "the stream ended with {ended}");
        server.stop()?;
    }
    let objects: Vec<_> = runtime.block_on(bucket.objects("bench")?.list(None).try_collect())?;
    let stored: u64 = objects.iter().map(|object| object.size).sum();
    println!("{documents} operations, {stored} bytes in {} objects", objects.len());
    places[2].bucket = Some((&bucket, stored / 8));
    println!("{:20} {:>24} {:>24} {:>24}", "ms, cold and warm", places[0].name, places[1].name, places[2].name);
    let mut measured = Vec::new();
    for (place, folder) in places.iter().zip([&folders[0], &folders[1], &folders[1]]) {
        measured.push(runtime.block_on(measure(place, folder.path(), &clock))?);
    }
    for (index, name) in std::iter::once("start").chain(QUERIES.iter().map(|(name, _)| *name)).enumerate() {
        let cell = |times: &Vec<(f64, f64)>| format!("{:.1} {:.1}", times[index].0, times[index].1);
        println!("{name:20} {:>24} {:>24} {:>24}", cell(&measured[0]), cell(&measured[1]), cell(&measured[2]));
    }
    Ok(())
}
