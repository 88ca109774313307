//! The generated stream into one server, as fast as it takes it, for half an hour: whether anything grows that should not.
//!
//! Documents, patches and deletes of `basalt generate` over HTTP, every field indexed, flushes and merges included; the sender is on the
//! same two cores. Each line tells of the time since the one before: rates are of the server's own CPU time. *Written* are the bytes that
//! the server wrote to its log and its store for each byte of the documents that came (write amplification), *on disk* those that are there
//! for each byte that came so far; *waiting* are batches that are applied and in no manifest. *RSS* is without mapped files. A count of all documents is
//! asked four times a second: its median and the 99th of a hundred. `BASALT_BENCH_SECONDS` says how long.
//! Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::leaf::program;
use basalt_harness::server::{Live, Server, cpu_seconds};
use reqwest::Method;

const SECONDS: u64 = 1_800;
const LINES: u64 = 30;

/// Questions come so often, beside the stream.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The first documents are there by then.
const PATIENCE: Duration = Duration::from_secs(30);

const EVENTS: &str = "/v1/workspaces/public/collections/events";

const GROUPS: &str = "SELECT event, count(*) AS n FROM events GROUP BY event";

/// What is measured at one moment.
struct Seen {
    cpu: f64,
    bytes_in: f64,
    written: f64,
    operations: f64,
}

fn of_process(pid: u32, file: &str, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("the system counts it")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = server.send(Method::GET, "/metrics", &[], "").await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}

fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let Ok(entry) = entry else { continue };
        // What is deleted meanwhile is not there.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { disk_bytes(&entry.path()).unwrap_or(0) } else { about.len() };
    }
    Ok(bytes)
}

async fn see(server: &Server, pid: u32) -> Result<Seen> {
    let (_, events) = server.json(Method::GET, EVENTS, "").await?;
    Ok(Seen {
        cpu: cpu_seconds(pid)?,
        bytes_in: metric(server, "basalt_aggregator_write_bytes_total").await?,
        written: of_process(pid, "io", "wchar:")?,
        operations: events["operations"].as_f64().unwrap_or_default(),
    })
}

/// The stream; stopped when dropped.
struct Stream(Child);

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn millis(server: &Server, clock: &SystemClock, sql: &str) -> Result<f64> {
    let started = clock.monotonic();
    server.rows(sql).await?;
    Ok((clock.monotonic() - started).as_secs_f64() * 1e3)
}

/// What a count of all documents takes until a moment, four times a second: milliseconds, ascending.
async fn ask_until(server: &Server, clock: &SystemClock, due: Duration) -> Result<Vec<f64>> {
    let mut counts = Vec::new();
    while counts.is_empty() || clock.monotonic() < due {
        counts.push(millis(server, clock, "SELECT count(*) AS n FROM events").await?);
        tokio::time::sleep(ASK_EVERY).await;
    }
    counts.sort_by(f64::total_cmp);
    Ok(counts)
}

fn share_of(ascending: &[f64], share: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * share).round() as usize]
}

#[tokio::main]
async fn main() -> Result<()> {
    let seconds = std::env::var("BASALT_BENCH_SECONDS").ok().map_or(Ok(SECONDS), |seconds| seconds.parse())?;
    let (live, clock) = (Live::start(&[])?, SystemClock::default());
    let (server, pid) = (&live.server, live.server.pid().context("it runs")?);
    let mut generate = Command::new(program("basalt")?);
    generate.args(["generate", "--rate", "0", "--url", &server.url]).stdout(Stdio::null());
    let _stream = Stream(generate.spawn()?);
    while server.json(Method::GET, EVENTS, "").await?.0 != 200 {
        ensure!(clock.monotonic() < PATIENCE, "nothing came");
    }
    let mut before =
        Seen { cpu: cpu_seconds(pid)?, bytes_in: 0.0, written: of_process(pid, "io", "wchar:")?, operations: 0.0 };
    println!("a CPU second: operations and MiB in; then as said");
    println!(
        "{:>7} {:>10} {:>6} {:>8} {:>10} {:>9} {:>8} {:>7} {:>7} {:>9} {:>6} {:>9}",
        "second",
        "operations",
        "MiB",
        "written",
        "documents",
        "segments",
        "waiting",
        "on disk",
        "RSS MiB",
        "count ms",
        "p99",
        "groups ms"
    );
    for line in 1..=LINES {
        let due = Duration::from_secs_f64((seconds * line) as f64 / LINES as f64);
        let counts = ask_until(server, &clock, due).await?;
        let now = see(server, pid).await?;
        let (_, events) = server.json(Method::GET, EVENTS, "").await?;
        let (_, cluster) = server.json(Method::GET, "/v1/cluster", "").await?;
        let shards = cluster["shards"].as_array().context("it has shards")?;
        let waiting =
            shards.iter().map(|shard| shard["applied"].as_u64().unwrap_or(0) - shard["flushed"].as_u64().unwrap_or(0));
        let bytes_in = now.bytes_in - before.bytes_in;
        let cpu = now.cpu - before.cpu;
        println!(
            "{:7} {:10.0} {:6.1} {:8.2} {:10} {:9} {:8} {:7.2} {:7.0} {:9.1} {:6.1} {:9.1}",
            clock.monotonic().as_secs(),
            (now.operations - before.operations) / cpu,
            bytes_in / cpu / f64::from(1 << 20),
            (now.written - before.written) / bytes_in,
            events["documents"].as_u64().unwrap_or_default(),
            events["segments"].as_u64().unwrap_or_default(),
            waiting.sum::<u64>(),
            disk_bytes(live.data.path())? as f64 / now.bytes_in,
            of_process(pid, "status", "RssAnon:")? / 1024.0,
            share_of(&counts, 0.5),
            share_of(&counts, 0.99),
            millis(server, &clock, GROUPS).await?,
        );
        ensure!(bytes_in > 0.0, "nothing came");
        before = now;
    }
    Ok(())
}
