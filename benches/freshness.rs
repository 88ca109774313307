//! How fresh answers are while a server takes documents at 70 % of what it can.
//!
//! First the limit: documents made beforehand, sent over HTTP by several senders, as fast as the server takes them; told in
//! MiB and documents a second of the server's CPU (its own process, user and system), and of the wall clock, for the senders
//! take their share of the machine too. Then, at 70 % of the latter, from the moment before a write is sent to the first
//! answer that shows it: by back-to-back polls that begin with the write, and by a query with the write's fence. Run:
//! `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_harness::leaf::program;
use basalt_harness::server::{Live, Server, cpu_seconds};
use reqwest::Method;
use serde_json::{Value as Json, json};

const EVENTS: &str = "/v1/workspaces/public/collections/events/documents";

/// Documents of one request of the load.
const BODY_DOCUMENTS: usize = 500;

/// Documents that the limit is measured with.
const LIMIT_DOCUMENTS: usize = 100_000;

/// Documents of the load behind the probes; more than it takes.
const LOAD_DOCUMENTS: usize = 1_000_000;

const SENDERS: usize = 4;

/// The part of the limit at which freshness is measured.
const SHARE: f64 = 0.7;

/// Probes of each kind.
const PROBES: usize = 200;

/// Requests of documents, made beforehand.
struct Load {
    bodies: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Load {
    fn new(seed: u64, documents: usize) -> Result<Self> {
        let count = (documents * 3 / 2).to_string();
        let arguments = ["generate", "--print", "--count", &count, "--seed", &seed.to_string()];
        let printed = std::process::Command::new(program("basalt")?).args(arguments).output()?;
        let text = String::from_utf8(printed.stdout)?;
        let document = |line: &'_ str| Some(line.strip_prefix("{\"upsert\":")?.strip_suffix('}')?.to_string());
        // The stream writes some documents again; their texts begin with the `_id`.
        let mut seen = HashSet::new();
        let id = |document: &String| document.split(',').next().map(ToString::to_string);
        let fresh = text.lines().filter_map(document).filter(|document| seen.insert(id(document)));
        let documents: Vec<String> = fresh.take(documents).collect();
        let bodies = documents.chunks(BODY_DOCUMENTS).map(|chunk| chunk.join("\n").into_bytes()).collect();
        Ok(Self { bodies, next: AtomicUsize::new(0) })
    }

    fn bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum()
    }

    async fn send_next(&self, server: &Server) -> Result<bool> {
        let Some(body) = self.bodies.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(false) };
        let headers = [("content-type", "application/x-ndjson")];
        let reply = server.send(Method::POST, EVENTS, &headers, body.clone()).await?;
        ensure!(reply.status().is_success(), "{}", reply.text().await?);
        Ok(true)
    }
}

async fn count(server: &Server) -> Result<u64> {
    let rows = server.rows("SELECT count(*) AS n FROM events").await?;
    rows[0]["n"].as_u64().context("a count")
}

/// Sends documents as fast as they are taken, until all are applied; returns documents a second of the wall clock.
async fn limit(server: &Arc<Server>, pid: u32, clock: &SystemClock) -> Result<f64> {
    let load = Arc::new(Load::new(1, LIMIT_DOCUMENTS)?);
    let (cpu, started) = (cpu_seconds(pid)?, clock.monotonic());
    let senders = (0..SENDERS).map(|_| {
        let (load, server) = (Arc::clone(&load), Arc::clone(server));
        tokio::spawn(async move {
            while load.send_next(&server).await? {}
            Ok::<_, anyhow::Error>(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    let deadline = clock.monotonic() + Duration::from_secs(60);
    while count(server).await? < LIMIT_DOCUMENTS as u64 {
        ensure!(clock.monotonic() < deadline, "documents are missing");
    }
    let (cpu, seconds) = (cpu_seconds(pid)? - cpu, (clock.monotonic() - started).as_secs_f64());
    let (documents, mebibytes) = (LIMIT_DOCUMENTS as f64, load.bytes() as f64 / f64::from(1 << 20));
    println!("{LIMIT_DOCUMENTS} documents, {mebibytes:.0} MiB, {SENDERS} senders:");
    println!("  a second of server CPU  {:8.0} documents  {:6.1} MiB", documents / cpu, mebibytes / cpu);
    println!("  a second                {:8.0} documents  {:6.1} MiB", documents / seconds, mebibytes / seconds);
    Ok(documents / seconds)
}

/// Sends its part of the load at a rate until it is told to end; returns the rate reached.
async fn pace(server: Arc<Server>, load: Arc<Load>, rate: f64, ended: Arc<AtomicBool>) -> Result<f64> {
    let (clock, mut sent) = (SystemClock::default(), 0.0);
    while !ended.load(Ordering::Acquire) {
        let due = Duration::from_secs_f64(sent / rate);
        tokio::time::sleep(due.saturating_sub(clock.monotonic())).await;
        ensure!(load.send_next(&server).await?, "the load ended before the probes");
        sent += BODY_DOCUMENTS as f64;
    }
    Ok(sent / clock.monotonic().as_secs_f64())
}

/// What is written and then looked for.
#[derive(Clone, Copy, PartialEq)]
enum Probe {
    Insert,
    Patch,
}

struct Probes {
    server: Arc<Server>,
    clock: SystemClock,
    /// How many were written so far: no two are alike.
    count: AtomicUsize,
}

impl Probes {
    async fn write(&self, probe: Probe, value: usize) -> Result<String> {
        let (method, body) = match probe {
            Probe::Insert => (Method::POST, json!([{ "_id": format!("probe-{value}"), "probe": value }])),
            Probe::Patch => (Method::PATCH, json!([{ "_id": "probe", "merge": { "probe": value }, "upsert": true }])),
        };
        let (status, reply) = self.server.json(method, EVENTS, body.to_string()).await?;
        ensure!(status == 200 && reply["failed"] == 0, "{reply}");
        Ok(reply["fence"].as_str().context("a fence")?.to_string())
    }

    /// Whether an answer shows the value.
    async fn shows(&self, probe: Probe, value: usize, fence: Option<&str>) -> Result<bool> {
        let id = match probe {
            Probe::Insert => format!("probe-{value}"),
            Probe::Patch => "probe".into(),
        };
        let mut body = json!({ "sql": "SELECT probe FROM events WHERE _id = :id", "parameters": { "id": id } });
        if let Some(fence) = fence {
            body["fence"] = Json::from(fence);
        }
        let (status, reply) = self.server.json(Method::POST, "/v1/query", body.to_string()).await?;
        ensure!(status == 200, "{reply}");
        Ok(reply["rows"][0]["probe"] == value)
    }

    /// Milliseconds from before the write to the first answer that shows it, and the answers that came, by polls.
    async fn poll(self: &Arc<Self>, probe: Probe) -> Result<(f64, usize)> {
        let value = self.count.fetch_add(1, Ordering::Relaxed);
        let started = self.clock.monotonic();
        let writer = Arc::clone(self);
        let written = tokio::spawn(async move { writer.write(probe, value).await });
        let mut answers = 1;
        while !self.shows(probe, value, None).await? {
            answers += 1;
        }
        let elapsed = self.clock.monotonic() - started;
        written.await??;
        Ok((elapsed.as_secs_f64() * 1e3, answers))
    }

    /// The same by a query with the fence.
    async fn fence(&self, probe: Probe) -> Result<f64> {
        let value = self.count.fetch_add(1, Ordering::Relaxed);
        let started = self.clock.monotonic();
        let fence = self.write(probe, value).await?;
        ensure!(self.shows(probe, value, Some(&fence)).await?, "a query with the fence does not show the write");
        Ok((self.clock.monotonic() - started).as_secs_f64() * 1e3)
    }
}

fn print_quantiles(name: &str, mut samples: Vec<f64>, note: &str) {
    samples.sort_by(f64::total_cmp);
    let at = |quantile: f64| samples[((samples.len() - 1) as f64 * quantile) as usize];
    println!("  {name:<22} {:7.1} {:7.1} {:7.1}  {note}", at(0.5), at(0.95), at(0.99));
}

#[tokio::main]
async fn main() -> Result<()> {
    let live = Live::start(&[])?;
    let (server, clock) = (Arc::new(live.server.client()), SystemClock::default());
    let rate = SHARE * limit(&server, live.server.pid().context("it is a process")?, &clock).await?;
    let load = Arc::new(Load::new(2, LOAD_DOCUMENTS)?);
    let ended = Arc::new(AtomicBool::new(false));
    let share = rate / SENDERS as f64;
    let senders = 0..SENDERS;
    let pacing = senders.map(|_| tokio::spawn(pace(Arc::clone(&server), Arc::clone(&load), share, Arc::clone(&ended))));
    let pacing: Vec<_> = pacing.collect();
    let probes = Arc::new(Probes { server: Arc::clone(&server), clock, count: AtomicUsize::new(1) });
    println!("freshness at {rate:.0} documents a second, milliseconds:");
    println!("  {:<22} {:>7} {:>7} {:>7}", "", "p50", "p95", "p99");
    for (name, probe) in [("insert", Probe::Insert), ("patch", Probe::Patch)] {
        let (mut polled, mut answers) = (Vec::new(), 0);
        for _ in 0..PROBES {
            let (elapsed, more) = probes.poll(probe).await?;
            polled.push(elapsed);
            answers += more;
        }
        let interval = polled.iter().sum::<f64>() / answers as f64;
        print_quantiles(&format!("{name}, by polls"), polled, &format!("a poll takes {interval:.1}"));
        let mut fenced = Vec::new();
        for _ in 0..PROBES {
            fenced.push(probes.fence(probe).await?);
        }
        print_quantiles(&format!("{name}, by fence"), fenced, "");
    }
    ended.store(true, Ordering::Release);
    let mut reached = 0.0;
    for sender in pacing {
        reached += sender.await??;
    }
    println!("the load came at {reached:.0} documents a second; {} documents in the end", count(&server).await?);
    Ok(())
}
