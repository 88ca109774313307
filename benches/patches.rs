//! Patches of one field of documents of 10, 100 and 1,000 fields, over HTTP, beside PostgreSQL's and ClickHouse's UPDATE in the same run.
//!
//! Documents lie in files when the patches begin; each patch sets one integer of one document, in bodies (statements there) of so many.
//! ClickHouse's are lightweight updates: each statement makes a patch part, which is not synced; its table is sorted by the documents'
//! ids, and it runs in the process that asks it. Rates are of wall time, with the client on the same two cores, and of the server's own CPU time, flushes,
//! merges and the end of the process included; of the others what statements took until they were done. Bytes are those that our
//! process wrote, log and objects, and ClickHouse's; of PostgreSQL the log's alone. `BASALT_BENCH_PATCHES` says how many. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::random::SeededRandom;
use basalt_harness::peers::{Peer, Round};
use basalt_harness::postgres::Postgres;
use basalt_harness::server::{Live, Server, cpu_seconds};
use reqwest::Method;

const PATCHES: u64 = 400_000;

/// The others get fewer: they take longer.
const PATCHES_SHARE: u64 = 8;

/// Fields of a document, and how many documents.
const COLLECTIONS: [(u64, u64); 4] = [(10, 20_000), (100, 20_000), (1_000, 20_000), (10, 1_000_000)];
const BODY_PATCHES: u64 = 5_000;

/// Values of one body of documents.
const BODY_VALUES: u64 = 100_000;

const PATH: &str = "/v1/workspaces/public/collections/wide/documents";

/// What patches took.
struct Took {
    wall: f64,
    cpu: f64,
    bytes: u64,
}

/// The ids and values of patches, in bodies.
fn bodies(patches: u64, documents: u64) -> impl Iterator<Item = Vec<(u64, u64)>> {
    let mut random = SeededRandom::new(7);
    (0..patches.div_ceil(BODY_PATCHES)).map(move |_| {
        // A statement that names a row twice sets it once: each body names each document once.
        let mut body: Vec<(u64, u64)> =
            (0..BODY_PATCHES).map(|_| (random.below(documents), random.below(1 << 20))).collect();
        body.sort_unstable();
        body.dedup_by_key(|(id, _)| *id);
        body
    })
}

/// Bytes that a process wrote, as long as it lives.
fn written(pid: u32) -> Option<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}

async fn ours(width: u64, documents: u64, patches: u64, clock: &SystemClock) -> Result<Took> {
    let mut live = Live::start(&[])?;
    let step = (BODY_VALUES / width).max(1);
    for first in (0..documents).step_by(step as usize) {
        let mut body = String::new();
        for id in first..(first + step).min(documents) {
            let _ = write!(body, "{{\"_id\":\"document-{id}\"");
            for field in 0..width {
                let _ = write!(body, ",\"f{field}\":{}", (id * 31 + field) % 100_000);
            }
            body.push_str("}\n");
        }
        let headers = [("content-type", "application/x-ndjson")];
        let reply = live.server.send(Method::POST, PATH, &headers, body).await?;
        ensure!(reply.status().is_success(), "{}", reply.text().await?);
    }
    live.server.stop()?;
    live.server = Server::start(live.data.path(), &[])?;
    let pid = live.server.pid().context("it runs")?;
    live.server.rows("SELECT count(*) FROM wide").await?;
    let (cpu, bytes, started) = (cpu_seconds(pid)?, written(pid).context("it runs")?, clock.monotonic());
    for patches in bodies(patches, documents) {
        let patches =
            patches.iter().map(|(id, value)| format!("{{\"_id\":\"document-{id}\",\"merge\":{{\"f3\":{value}}}}}"));
        let body = format!("[{}]", patches.collect::<Vec<_>>().join(","));
        let (status, reply) = live.server.json(Method::PATCH, &format!("{PATH}?wait=applied"), body).await?;
        ensure!(status == 200 && reply["failed"] == 0 && reply["outcomes"]["missing"] == 0, "{reply}");
    }
    let wall = (clock.monotonic() - started).as_secs_f64();
    // What is flushed at the end counts too: the last that can be read of it.
    let ended = AtomicBool::new(false);
    let (last_cpu, last_bytes) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut last = (0.0, 0);
            while !ended.load(Ordering::Relaxed) {
                if let (Ok(cpu), Some(bytes)) = (cpu_seconds(pid), written(pid)) {
                    last = (f64::max(cpu, last.0), bytes.max(last.1));
                }
                std::thread::yield_now();
            }
            last
        });
        let stopped = live.server.stop();
        ended.store(true, Ordering::Relaxed);
        stopped.map(|()| watch.join().expect("it reads files"))
    })?;
    Ok(Took { wall, cpu: last_cpu - cpu, bytes: last_bytes - bytes })
}

fn of_postgres(width: u64, documents: u64, patches: u64, clock: &SystemClock) -> Result<Took> {
    let postgres = Postgres::start()?;
    let columns = |make: &dyn Fn(u64) -> String| (0..width).map(make).collect::<Vec<_>>().join(",");
    let declared = columns(&|field| format!("f{field} integer"));
    let filled = columns(&|field| format!("(i * 31 + {field}) % 100000"));
    let count = documents - 1;
    postgres.run(&format!(
        "CREATE TABLE wide (id text PRIMARY KEY, {declared});\n\
         INSERT INTO wide SELECT 'document-' || i, {filled} FROM generate_series(0, {count}) i;\nVACUUM ANALYZE wide;\nCHECKPOINT;"
    ))?;
    let lsn = || -> Result<u64> { Ok(postgres.run("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")?.parse()?) };
    let mut sql = String::new();
    for patches in bodies(patches, documents) {
        let values =
            patches.iter().map(|(id, value)| format!("('document-{id}',{value})")).collect::<Vec<_>>().join(",");
        let _ = writeln!(sql, "UPDATE wide SET f3 = v FROM (VALUES {values}) p(i, v) WHERE id = i;");
    }
    let (bytes, cpu, started) = (lsn()?, postgres.cpu_seconds()?, clock.monotonic());
    postgres.run(&sql)?;
    let wall = (clock.monotonic() - started).as_secs_f64();
    postgres.run("CHECKPOINT")?;
    Ok(Took { wall, cpu: postgres.cpu_seconds()? - cpu, bytes: lsn()? - bytes })
}

fn of_clickhouse(width: u64, documents: u64, patches: u64) -> Result<Took> {
    let columns = |make: &dyn Fn(u64) -> String| (0..width).map(make).collect::<Vec<_>>().join(",");
    let declared = columns(&|field| format!("f{field} Int32"));
    let filled = columns(&|field| format!("(number * 31 + {field}) % 100000"));
    let settings = "enable_block_number_column = 1, enable_block_offset_column = 1";
    let setup = vec![
        "SET max_threads = 2, enable_lightweight_update = 1, max_query_size = 10000000, max_ast_elements = 1000000"
            .into(),
        format!("CREATE TABLE wide (id String, {declared}) ENGINE = MergeTree ORDER BY id SETTINGS {settings}"),
        format!("INSERT INTO wide SELECT concat('document-', toString(number)), {filled} FROM numbers({documents})"),
        "OPTIMIZE TABLE wide FINAL".into(),
    ];
    let (mut updates, mut last) = (Vec::new(), BTreeMap::new());
    for patches in bodies(patches, documents) {
        let ids = patches.iter().map(|(id, _)| format!("'document-{id}'")).collect::<Vec<_>>().join(",");
        let values = patches.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(",");
        updates.push(format!("UPDATE wide SET f3 = transform(id, [{ids}], [{values}], f3) WHERE id IN ({ids})"));
        last.extend(patches);
    }
    let patched = (0..documents).map(|id| last.get(&id).map_or((id * 31 + 3) % 100_000, |value| *value)).sum::<u64>();
    let queries = vec!["SELECT sum(f3) FROM wide".into()];
    let rounds = [Round { statements: setup, ..Round::default() }, Round { statements: updates, queries, runs: 0 }];
    let outcome = Peer::ClickHouse.rounds(&rounds)?.pop().context("two rounds")?;
    ensure!(outcome.answers[0].rows[0][0] == patched, "ClickHouse has {}, not {patched}", outcome.answers[0].rows);
    Ok(Took { wall: outcome.seconds, cpu: outcome.cpu_seconds, bytes: outcome.bytes_written })
}

#[tokio::main]
async fn main() -> Result<()> {
    let patches = std::env::var("BASALT_BENCH_PATCHES").ok().map_or(Ok(PATCHES), |patches| patches.parse())?;
    let clock = SystemClock::default();
    println!("patches of one field, {BODY_PATCHES} a body");
    println!("{:36} {:>10} {:>12} {:>16} {:>16}", "", "patches", "a second", "per CPU second", "bytes a patch");
    for (width, documents) in COLLECTIONS {
        for engine in ["Basalt", "PostgreSQL", "ClickHouse"] {
            let patches = if engine == "Basalt" { patches } else { patches / PATCHES_SHARE };
            let count: usize = bodies(patches, documents).map(|body| body.len()).sum();
            let Took { wall, cpu, bytes } = match engine {
                "Basalt" => ours(width, documents, patches, &clock).await?,
                "PostgreSQL" => of_postgres(width, documents, patches, &clock)?,
                _ => of_clickhouse(width, documents, patches)?,
            };
            let of = format!("{engine}, {documents} of {width} fields");
            let [by_wall, by_cpu] = [wall, cpu].map(|seconds| count as f64 / seconds);
            println!("{of:36} {count:10} {by_wall:12.0} {by_cpu:16.0} {:16}", bytes / count as u64);
        }
    }
    Ok(())
}
