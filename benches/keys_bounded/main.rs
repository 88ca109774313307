//! Many keys in little memory: a server in a memory cgroup, page cache counted, whose documents are upserted at random.
//!
//! Tiny documents are loaded over HTTP without a limit, and the server comes to rest. Then random ones of them are upserted by several
//! connections, each request waiting until it is applied: without a limit, then with limits in force, each a number of bytes for page
//! cache (`FOR_FILES`) beside the most anonymous memory that the server had without one. So what is *for keys* is told twice: by what of key runs
//! and `_id`s is in the page cache (`mincore`), and by the bound itself, which no page of any file is beyond, whatever it holds. The last limit stays
//! in force when the server is killed and starts again: with what is left in the page cache, then with nothing in it.
//!
//! Rates are of wall time, with the client on the same two cores, and of the server's own CPU time; *waits* are pages that a thread had
//! to wait for the disk for. `BASALT_BENCH_ROWS` says how many documents, `BASALT_BENCH_SECONDS` how long each rate is measured,
//! `BASALT_BENCH_FOLDER` where the data are (on a disk; by default where temporary files are). A billion keys is ten times the bytes of a hundred
//! million: the last line says so of what was measured. Run: `make bench`, as root.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

mod cgroup;
mod resident;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::id::{CollectionId, ShardId};
use basalt_common::random::SeededRandom;
use basalt_harness::leaf::program;
use basalt_harness::server::{DOCUMENTS, Server, cpu_seconds};
use cgroup::{Cgroup, Usage};
use reqwest::Method;
use resident::KeyFiles;

const ROWS: u64 = 100_000_000;
const SECONDS: u64 = 60;

/// Documents of a request, and requests at once.
const LOADED: u64 = 100_000;
const LOADERS: u64 = 4;
const UPSERTED: u64 = 10_000;
const UPSERTERS: u64 = 6;

/// Bytes of the page cache that limits leave.
const FOR_FILES: [Option<u64>; 3] = [None, Some(1 << 30), Some(512_000_000)];

/// How long a server may take until it is at rest, or ready.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// How long documents are upserted before the server is killed: not so long that all would be flushed because it waits (60 s).
const KILLED_AFTER: Duration = Duration::from_secs(55);

const MB: f64 = 1e6;

fn setting(name: &str, default: u64) -> Result<u64> {
    std::env::var(name).map_or(Ok(default), |value| value.parse()).with_context(|| format!("{name} is a number"))
}

/// What everything here is done with.
struct Bench {
    clock: SystemClock,
    group: Cgroup,
    rows: u64,
    seconds: Duration,
}

/// A line of output, at once: a run takes long.
fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

fn put_document(body: &mut String, number: u64, value: u64) {
    let _ = writeln!(body, "{{\"_id\":\"k{number:09}\",\"n\":{value}}}");
}

async fn send(server: &Server, path: &str, body: String, documents: u64) -> Result<()> {
    let reply = server.send(Method::POST, path, &[("content-type", "application/x-ndjson")], body).await;
    let reply = reply.context("the server does not answer; was it out of memory?")?;
    let (status, text) = (reply.status(), reply.text().await?);
    ensure!(status.is_success() && text.contains(&format!("\"accepted\":{documents},")), "{status} {text}");
    Ok(())
}

async fn documents(server: &Server) -> Result<u64> {
    let rows = server.rows("SELECT count(*) AS n FROM docs").await?;
    rows[0]["n"].as_u64().context("a count is a number")
}

/// A number that the shards tell, of all of them.
async fn of_shards(server: &Server, name: &str) -> Result<u64> {
    let (_, cluster) = server.json(Method::GET, "/v1/cluster", "").await?;
    let shards = cluster["shards"].as_array().context("it has shards")?;
    Ok(shards.iter().map(|shard| shard[name].as_u64().unwrap_or_default()).sum())
}

impl Bench {
    fn start(&self, data: &Path) -> Result<Server> {
        let mut command = self.group.command(&program("basalt")?);
        command.args(["start", "--http", "127.0.0.1:0", "--log", "warn", "--data"]).arg(data);
        Server::of(command)
    }

    async fn load(&self, server: &Server) -> Result<()> {
        let next = AtomicU64::new(0);
        let load = async || -> Result<()> {
            loop {
                let first = next.fetch_add(LOADED, Ordering::Relaxed);
                let numbers = first..(first + LOADED).min(self.rows);
                if numbers.is_empty() {
                    return Ok(());
                }
                let (mut body, count) = (String::new(), numbers.end - numbers.start);
                numbers.for_each(|number| put_document(&mut body, number, number));
                send(server, DOCUMENTS, body, count).await?;
            }
        };
        futures::future::try_join_all((0..LOADERS).map(|_| load())).await?;
        Ok(())
    }

    /// Waits until all is applied and flushed, and nothing is merged any more: segments stay the same for some seconds.
    async fn rest(&self, server: &Server) -> Result<()> {
        let deadline = self.clock.monotonic() + PATIENCE;
        let (mut before, mut since) = (0, self.clock.monotonic());
        while self.clock.monotonic() - since < Duration::from_secs(5) {
            ensure!(self.clock.monotonic() < deadline, "the server does not come to rest");
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (segments, waiting) = (of_shards(server, "segments").await?, self.waiting(server).await?);
            if segments != before || waiting > 0 {
                (before, since) = (segments, self.clock.monotonic());
            }
        }
        Ok(())
    }

    /// How many batches are in the log only.
    async fn waiting(&self, server: &Server) -> Result<u64> {
        Ok(of_shards(server, "log_end").await?.saturating_sub(of_shards(server, "flushed").await?))
    }

    /// Upserts random documents for some time; tells how many are applied.
    async fn upsert(&self, server: &Server, seed: u64, lasting: Duration) -> Result<u64> {
        let (until, done) = (self.clock.monotonic() + lasting, AtomicU64::new(0));
        let upsert = async |connection: u64| -> Result<()> {
            let mut random = SeededRandom::new(seed * UPSERTERS + connection);
            while self.clock.monotonic() < until {
                let mut body = String::new();
                (0..UPSERTED).for_each(|_| put_document(&mut body, random.below(self.rows), random.next_u64() >> 32));
                send(server, &format!("{DOCUMENTS}?wait=applied"), body, UPSERTED).await?;
                done.fetch_add(UPSERTED, Ordering::Relaxed);
            }
            Ok(())
        };
        futures::future::try_join_all((0..UPSERTERS).map(upsert)).await?;
        Ok(done.into_inner())
    }

    /// Upserts under a limit and prints what that took; returns the most anonymous memory that there was.
    async fn measure(&self, server: &Server, data: &Path, seed: u64, limit: Option<u64>) -> Result<u64> {
        self.group.limit(limit).await?;
        let (running, most) = (AtomicBool::new(true), AtomicU64::new(0));
        let watch = async {
            while running.load(Ordering::Relaxed) {
                most.fetch_max(self.group.usage()?.anonymous, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        let pid = server.pid().context("it runs")?;
        let measured = async {
            // What the limit has taken back, and what it lets stay, settles first.
            self.upsert(server, 2 * seed, self.seconds / 2).await?;
            let (before, cpu, started) = (self.group.usage()?, cpu_seconds(pid)?, self.clock.monotonic());
            let upserts = self.upsert(server, 2 * seed + 1, self.seconds).await? as f64;
            let (took, cpu) = ((self.clock.monotonic() - started).as_secs_f64(), cpu_seconds(pid)? - cpu);
            let usage = self.group.usage()?;
            running.store(false, Ordering::Relaxed);
            Ok((upserts / took, upserts / cpu, usage, (usage.waits - before.waits) as f64 / upserts))
        };
        let ((rate, by_cpu, usage, waits), ()) = tokio::try_join!(measured, watch)?;
        let files = self.look(data).await?;
        print_line(limit, [rate, by_cpu, waits], usage, &files);
        Ok(most.into_inner())
    }

    async fn look(&self, data: &Path) -> Result<KeyFiles> {
        let store = data.join("store");
        let mut shards = Vec::new();
        for collection in std::fs::read_dir(&store)? {
            let collection = collection?.file_name().into_string().unwrap_or_default();
            let Some(number) = collection.strip_prefix('c').and_then(|number| number.parse().ok()) else { continue };
            for shard in std::fs::read_dir(store.join(&collection))? {
                let shard = shard?.file_name().into_string().unwrap_or_default();
                let Some(shard) = shard.strip_prefix('s').and_then(|number| number.parse().ok()) else { continue };
                shards.push(ShardId { collection: CollectionId(number), shard });
            }
        }
        KeyFiles::look(&store, &shards).await
    }

    /// Starts the server again and tells how long it took until it was ready and until it had counted.
    async fn restart(&self, data: &Path) -> Result<(Server, Duration, Duration)> {
        let started = self.clock.monotonic();
        let server = self.start(data)?;
        while server.send(Method::GET, "/v1/health/ready", &[], "").await?.status() != 200 {
            ensure!(self.clock.monotonic() - started < PATIENCE, "the server does not become ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ready = self.clock.monotonic() - started;
        let counted = documents(&server).await?;
        if counted != self.rows {
            bail!("{counted} documents are there, and {} were loaded", self.rows);
        }
        Ok((server, ready, self.clock.monotonic() - started))
    }
}

fn print_head() {
    say("\nMB of 10^6 bytes; of lines, rows and _ids what of them is in the page cache");
    say(&format!(
        "{:>8} {:>10} {:>12} {:>8} {:>8} {:>10} {:>8} {:>7} {:>7} {:>7} {:>8}",
        "limit",
        "upserts/s",
        "a CPU second",
        "waits",
        "in use",
        "anonymous",
        "cached",
        "lines",
        "rows",
        "_ids",
        "segments"
    ));
}

fn print_line(limit: Option<u64>, [rate, by_cpu, waits]: [f64; 3], usage: Usage, files: &KeyFiles) {
    let mb = |bytes: u64| format!("{:.0}", bytes as f64 / MB);
    say(&format!(
        "{:>8} {rate:10.0} {by_cpu:12.0} {waits:8.3} {:>8} {:>10} {:>8} {:>7} {:>7} {:>7} {:>8}",
        limit.map_or("none".into(), mb),
        mb(usage.all),
        mb(usage.anonymous),
        mb(usage.cached),
        mb(files.lines.resident),
        mb(files.places.resident),
        mb(files.ids.resident),
        files.segments,
    ));
}

fn print_files(when: &str, files: &KeyFiles, keys: u64) {
    let each = |bytes: u64| bytes as f64 / keys as f64;
    let runs = files.lines.there + files.places.there;
    say(&format!(
        "{when}: {} rows in {} segments; key runs of {:.0} MB on disk, {:.2} bytes a key: lines {:.2}, rows {:.2}; _ids {:.2}; all {:.2}",
        files.rows,
        files.segments,
        runs as f64 / MB,
        each(runs),
        each(files.lines.there),
        each(files.places.there),
        each(files.ids.there),
        each(files.all.there),
    ));
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = setting("BASALT_BENCH_ROWS", ROWS)?;
    let seconds = Duration::from_secs(setting("BASALT_BENCH_SECONDS", SECONDS)?);
    let bench = Bench { clock: SystemClock::default(), group: Cgroup::create()?, rows, seconds };
    let folder = std::env::var_os("BASALT_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let data = tempfile::tempdir_in(folder)?;
    let (data, clock) = (data.path(), &bench.clock);
    let mut server = bench.start(data)?;
    let started = clock.monotonic();
    bench.load(&server).await?;
    let loaded = clock.monotonic() - started;
    bench.rest(&server).await?;
    let rested = clock.monotonic() - started;
    say(&format!("{rows} keys; loaded in {:.0} s, at rest after {:.0}", loaded.as_secs_f64(), rested.as_secs_f64()));
    let files = bench.look(data).await?;
    print_files("loaded", &files, rows);
    print_head();
    let mut anonymous = 0;
    for (seed, for_files) in FOR_FILES.into_iter().enumerate() {
        let limit = for_files.map(|bytes| anonymous + bytes);
        let most = bench.measure(&server, data, seed as u64, limit).await?;
        if limit.is_none() {
            anonymous = most;
            say(&format!("the most anonymous memory was {:.0} MB", most as f64 / MB));
        }
    }
    for forgets in [false, true] {
        bench.rest(&server).await?;
        // What is under way is left alone.
        let upserts = bench.upsert(&server, 1 << 20, PATIENCE);
        drop(tokio::time::timeout(KILLED_AFTER, upserts).await);
        let waiting = bench.waiting(&server).await?;
        server.kill()?;
        if forgets {
            bench.group.forget_files()?;
        }
        let (again, ready, counted) = bench.restart(data).await?;
        server = again;
        let left = if forgets { "nothing of it in the page cache" } else { "its page cache as it was" };
        let (ready, counted) = (ready.as_secs_f64(), counted.as_secs_f64());
        say(&format!(
            "killed under upserts, the last limit in force, {left}, {waiting} batches in the log only: ready after {ready:.2} s, counted after {counted:.2}"
        ));
    }
    let files = bench.look(data).await?;
    print_files("at the end", &files, rows);
    let (lines, runs) = (files.lines.there, files.lines.there + files.places.there);
    let billion = |bytes: u64| bytes as f64 / rows as f64;
    say(&format!(
        "extrapolated, not measured: a billion keys have key runs of {:.1} GB, of which lookups touch {:.1} GB",
        billion(runs),
        billion(lines)
    ));
    server.kill()?;
    Ok(())
}
