//! Documents by key over HTTP, beside Redis's HMGET in the same run: one key, and a hundred, ten fields of twenty; then of the leaf alone.
//!
//! Both are asked by the same plain client over as many TCP connections, one request at a time on each; a hundred keys are one
//! request here and a hundred commands in one write there. The documents lie in files. Rates are of wall time, with the client on
//! the same two cores, and of the server's own CPU time. The leaf is asked in this process, as an aggregator of the same process asks it,
//! one request at a time. `BASALT_BENCH_DOCUMENTS` says how many documents. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::calls::{DocumentsRequest, LeafCalls};
use basalt_common::catalog::{Catalog, LocalCatalog};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::id::ShardId;
use basalt_common::log::{LocalLog, LocalLogConfig, ShardLog};
use basalt_common::random::SeededRandom;
use basalt_common::routing::shard_of;
use basalt_common::value::FieldPath;
use basalt_harness::broker::free_ports;
use basalt_harness::server::{Live, Server, cpu_seconds};
use basalt_harness::workspace;
use basalt_leaf::compactor;
use basalt_leaf::counters::Counters;
use basalt_leaf::flush::FlushConfig;
use basalt_leaf::pipeline::Pipeline;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::shards::Shards;
use basalt_leaf::store::{Store, open_directory};
use reqwest::Method;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const DOCUMENTS: u64 = 200_000;
const CONNECTIONS: u64 = 50;
const FIELDS: u64 = 20;
const ASKED: u64 = 10;
const BODY_DOCUMENTS: u64 = 5_000;

/// How long each is asked.
const MEASURED: Duration = Duration::from_secs(8);

const PATH: &str = "/v1/workspaces/public/collections/profiles/documents";

fn key(number: u64) -> String {
    format!("profile-{number:08}")
}

fn value(number: u64, field: u64) -> String {
    let mixed = (number * FIELDS + field).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    if field.is_multiple_of(2) { (mixed % 1_000_000).to_string() } else { format!("value {:08x}", mixed >> 32) }
}

fn document(number: u64) -> String {
    let mut text = format!("{{\"_id\":\"{}\"", key(number));
    for field in 0..FIELDS {
        let quote = if field.is_multiple_of(2) { "" } else { "\"" };
        let _ = write!(text, ",\"f{field}\":{quote}{}{quote}", value(number, field));
    }
    text + "}"
}

fn command(words: &[String]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(text, "${}\r\n{word}\r\n", word.len());
    }
    text
}

/// A Redis server; stopped when dropped.
struct Redis {
    data: tempfile::TempDir,
    port: u16,
}

fn script() -> PathBuf {
    workspace().join("tests/services/redis.sh")
}

impl Redis {
    fn start() -> Result<Self> {
        let redis = Self { data: tempfile::tempdir()?, port: free_ports()? };
        let up = Command::new(script()).arg("up").arg(redis.data.path()).arg(redis.port.to_string()).status()?;
        ensure!(up.success(), "Redis does not start");
        Ok(redis)
    }

    fn pid(&self) -> Result<u32> {
        Ok(std::fs::read_to_string(self.data.path().join("redis.pid"))?.trim().parse()?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("down").arg(self.data.path()).status();
    }
}

/// How a server is asked for documents.
#[derive(Debug, Clone, Copy)]
enum Peer {
    Basalt,
    Redis,
}

impl Peer {
    fn request(self, keys: &[u64]) -> String {
        let fields = (0..ASKED).map(|field| format!("f{field}"));
        match self {
            Self::Basalt => {
                let ids = keys.iter().map(|number| format!("\"{}\"", key(*number))).collect::<Vec<_>>().join(",");
                let fields = fields.map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(",");
                let body = format!("{{\"ids\":[{ids}],\"fields\":[{fields}]}}");
                let length = body.len();
                format!(
                    "POST {PATH}/_get HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n{body}"
                )
            }
            Self::Redis => {
                let hmget = |number: &u64| {
                    let words: Vec<String> = ["HMGET".into(), key(*number)].into_iter().chain(fields.clone()).collect();
                    command(&words)
                };
                keys.iter().map(hmget).collect()
            }
        }
    }

    /// Reads what answers a request for so many keys; all of them must be there.
    async fn read(self, stream: &mut BufReader<TcpStream>, keys: usize, held: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Basalt => {
                let (mut length, mut line) = (0, String::new());
                stream.read_line(&mut line).await?;
                ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
                loop {
                    line.clear();
                    stream.read_line(&mut line).await?;
                    if line == "\r\n" {
                        break;
                    }
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.trim().parse()?;
                    }
                }
                held.resize(length, 0);
                stream.read_exact(held).await?;
                ensure!(!held.windows(4).any(|window| window == b"null"), "a document or a field is missing");
                ensure!(length > keys * 100, "{length} bytes for {keys} keys");
            }
            Self::Redis => {
                let mut line = String::new();
                for _ in 0..keys {
                    line.clear();
                    stream.read_line(&mut line).await?;
                    ensure!(line == format!("*{ASKED}\r\n"), "{line}");
                    for _ in 0..ASKED {
                        line.clear();
                        stream.read_line(&mut line).await?;
                        let length: usize = line.trim().strip_prefix('$').context("no value")?.parse()?;
                        held.resize(length + 2, 0);
                        stream.read_exact(held).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Requests a second of wall time and of the server's CPU, and milliseconds at p50 and p99.
async fn measure(
    peer: Peer,
    address: String,
    pid: u32,
    keys: usize,
    documents: u64,
    clock: Arc<dyn Clock>,
) -> Result<[f64; 4]> {
    let (cpu, started) = (cpu_seconds(pid)?, clock.monotonic());
    let ask = async |connection: u64, address: String, clock: Arc<dyn Clock>| -> Result<Vec<Duration>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut stream, mut random) = (BufReader::new(stream), SeededRandom::new(connection));
        let (mut held, mut times) = (Vec::new(), Vec::new());
        while clock.monotonic() - started < MEASURED {
            let wanted: Vec<u64> = (0..keys).map(|_| random.below(documents)).collect();
            let request = peer.request(&wanted);
            let sent = clock.monotonic();
            stream.get_mut().write_all(request.as_bytes()).await?;
            peer.read(&mut stream, keys, &mut held).await?;
            times.push(clock.monotonic() - sent);
        }
        Ok(times)
    };
    let all = (0..CONNECTIONS).map(|connection| ask(connection, address.clone(), Arc::clone(&clock)));
    let times: Vec<Duration> = futures::future::try_join_all(all).await?.concat();
    Ok(figures(times, cpu_seconds(pid)? - cpu, clock.monotonic() - started))
}

fn figures(mut times: Vec<Duration>, cpu: f64, took: Duration) -> [f64; 4] {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    let count = times.len() as f64;
    [count / took.as_secs_f64(), count / cpu, at(50), at(99)]
}

fn print_line(name: &str, [rate, by_cpu, p50, p99]: [f64; 4]) {
    println!("{name:18} {rate:12.0} {by_cpu:16.0} {p50:8.3} {p99:8.3}");
}

/// The shards of a server that is stopped, in this process, once they are open.
async fn open(data: &Path, clock: &Arc<dyn Clock>) -> Result<(Arc<dyn Catalog>, Arc<Shards>)> {
    let log = LocalLog::open(data.join("log"), LocalLogConfig::default(), 0)?;
    let log: Arc<dyn ShardLog> = Arc::new(log);
    let catalog: Arc<dyn Catalog> = Arc::new(LocalCatalog::open(Arc::clone(&log)).await?);
    let counters = Arc::new(Counters::default());
    let shards = Arc::new(Shards::new(Arc::clone(&catalog), Arc::new(|_| true), Arc::clone(clock), counters));
    let pipeline = Pipeline {
        catalog: Arc::clone(&catalog),
        log,
        store: Store::from(open_directory(&data.join("store"))?),
        shards: Arc::clone(&shards),
        policy: MergePolicy::default(),
        merges: compactor::permits(),
        flush: FlushConfig::default(),
        clock: Arc::clone(clock),
    };
    let (ready, caught_up) = tokio::sync::oneshot::channel();
    tokio::spawn(pipeline.run(ready));
    caught_up.await?;
    Ok((catalog, shards))
}

/// As [`measure`], of the leaf alone.
async fn measure_leaf(
    (catalog, shards): &(Arc<dyn Catalog>, Arc<Shards>),
    keys: usize,
    documents: u64,
    clock: &dyn Clock,
) -> Result<[f64; 4]> {
    let state = catalog.state();
    let collection = state.find("public", "profiles").context("it was loaded")?;
    let fields = (0..ASKED).map(|field| FieldPath::from(vec![format!("f{field}")])).collect::<Vec<_>>();
    let (pid, mut random, mut times) = (std::process::id(), SeededRandom::new(0), Vec::new());
    let (cpu, started) = (cpu_seconds(pid)?, clock.monotonic());
    while clock.monotonic() - started < MEASURED {
        let mut by_shard: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for id in (0..keys).map(|_| key(random.below(documents))) {
            by_shard.entry(shard_of(id.as_bytes(), collection.shards.into()) as u16).or_default().push(id);
        }
        let sent = clock.monotonic();
        let ask = |(shard, ids)| {
            let (shard, fields) = (ShardId { collection: collection.id, shard }, Some(fields.clone()));
            shards.documents(DocumentsRequest { shard, ids, fields, after: None, patience: MEASURED })
        };
        let found = futures::future::try_join_all(by_shard.into_iter().map(ask)).await?.concat();
        times.push(clock.monotonic() - sent);
        ensure!(found.len() == keys && found.iter().all(Option::is_some), "a document is missing");
    }
    Ok(figures(times, cpu_seconds(pid)? - cpu, clock.monotonic() - started))
}

async fn fill(live: &Live, redis: &Redis, documents: u64) -> Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", redis.port)).await?);
    for first in (0..documents).step_by(BODY_DOCUMENTS as usize) {
        let numbers = first..(first + BODY_DOCUMENTS).min(documents);
        let body: String = numbers.clone().map(|number| document(number) + "\n").collect();
        let headers = [("content-type", "application/x-ndjson")];
        let reply = live.server.send(Method::POST, PATH, &headers, body).await?;
        ensure!(reply.status().is_success(), "{}", reply.text().await?);
        let set = |number| {
            let fields = (0..FIELDS).flat_map(|field| [format!("f{field}"), value(number, field)]);
            command(&["HSET".into(), key(number)].into_iter().chain(fields).collect::<Vec<_>>())
        };
        let commands: String = numbers.clone().map(set).collect();
        stream.get_mut().write_all(commands.as_bytes()).await?;
        for _ in numbers {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            ensure!(line == format!(":{FIELDS}\r\n"), "{line}");
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let documents =
        std::env::var("BASALT_BENCH_DOCUMENTS").ok().map_or(Ok(DOCUMENTS), |documents| documents.parse())?;
    let (mut live, redis) = (Live::start(&[])?, Redis::start()?);
    fill(&live, &redis, documents).await?;
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &[])?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let ours = live.server.url.strip_prefix("http://").context("a URL")?.to_string();
    let (our_pid, theirs) = (live.server.pid().context("it runs")?, format!("127.0.0.1:{}", redis.port));
    println!("{documents} documents of {FIELDS} fields, {ASKED} asked for, {CONNECTIONS} connections");
    println!("{:18} {:>12} {:>16} {:>8} {:>8}", "", "requests/s", "per CPU second", "p50 ms", "p99 ms");
    for keys in [1, 100] {
        for (peer, address, pid) in [(Peer::Basalt, &ours, our_pid), (Peer::Redis, &theirs, redis.pid()?)] {
            let measured = measure(peer, address.clone(), pid, keys, documents, Arc::clone(&clock)).await?;
            print_line(&format!("{peer:?}, {keys}"), measured);
        }
    }
    live.server.stop()?;
    let leaf = open(live.data.path(), &clock).await?;
    for keys in [1, 100] {
        print_line(&format!("leaf, {keys}"), measure_leaf(&leaf, keys, documents, clock.as_ref()).await?);
    }
    Ok(())
}
