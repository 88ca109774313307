//! What distribution costs: the same queries over three shards in one process and over three leaf processes.
//!
//! Prints p50 and p99 in milliseconds, and for `count(*)` where the time goes. Run: `make bench`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::scan::ScanCodec;
use basalt_common::wire::Channels;
use basalt_harness::cluster::{Cluster, in_process};
use basalt_harness::tables::{Key, Table};
use datafusion::prelude::SessionContext;
use datafusion_distributed::{ChannelResolver, GetWorkerInfoRequest};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use futures::StreamExt;

const ROUNDS: usize = 500;

const QUERIES: [(&str, &str); 4] = [
    ("count", "SELECT count(*) FROM t"),
    ("group by", "SELECT grp, count(*), sum(v) FROM t GROUP BY grp"),
    ("top-k", "SELECT k, v FROM t ORDER BY v DESC LIMIT 10"),
    ("join", "SELECT a.grp, count(*) FROM t a JOIN t b ON a.k = b.k GROUP BY a.grp"),
];

/// Times of one phase, over all rounds.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn at(&mut self, quantile: f64) -> f64 {
        self.0.sort();
        let index = ((self.0.len() - 1) as f64 * quantile) as usize;
        self.0[index].as_secs_f64() * 1e3
    }
}

/// The phases of one query.
#[derive(Default)]
struct Phases {
    planning: Samples,
    first_batch: Samples,
    end: Samples,
    total: Samples,
}

async fn measure(session: &SessionContext, sql: &str, clock: &SystemClock) -> Result<Phases> {
    let mut phases = Phases::default();
    for round in 0..ROUNDS + ROUNDS / 10 {
        let start = clock.monotonic();
        let plan = session.sql(sql).await?.create_physical_plan().await?;
        let planned = clock.monotonic();
        let mut rows = datafusion::physical_plan::execute_stream(plan, session.task_ctx())?;
        rows.next().await.context("a benchmark query has rows")??;
        let first = clock.monotonic();
        while let Some(batch) = rows.next().await {
            batch?;
        }
        let end = clock.monotonic();
        if round >= ROUNDS / 10 {
            phases.planning.0.push(planned - start);
            phases.first_batch.0.push(first - planned);
            phases.end.0.push(end - first);
            phases.total.0.push(end - start);
        }
    }
    Ok(phases)
}

async fn round_trip(cluster: &Cluster, clock: &SystemClock) -> Result<Samples> {
    let channels = Channels::default();
    let node = cluster.leaves[0].url();
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let mut client = channels.get_worker_client_for_url(&node).await?;
        let start = clock.monotonic();
        client.get_worker_info(GetWorkerInfoRequest {}).await?;
        samples.0.push(clock.monotonic() - start);
    }
    Ok(samples)
}

/// Encoding and decoding a plan with the same operators as one task's.
async fn codec(local: &SessionContext, sql: &str, clock: &SystemClock) -> Result<(Samples, Samples)> {
    let (mut encoding, mut decoding) = (Samples::default(), Samples::default());
    let plan = local.sql(sql).await?.create_physical_plan().await?;
    for _ in 0..ROUNDS {
        let start = clock.monotonic();
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &ScanCodec)?;
        let encoded = clock.monotonic();
        physical_plan_from_bytes_with_extension_codec(&bytes, &local.task_ctx(), &ScanCodec)?;
        decoding.0.push(clock.monotonic() - encoded);
        encoding.0.push(encoded - start);
    }
    Ok((encoding, decoding))
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = SystemClock::default();
    let tables =
        vec![Table { name: "t".into(), key: Key::Int, rows: 24_576, distinct: 24_576, pad_bytes: 20, shards: 3 }];
    let (cluster, local) = (Cluster::start(&tables, 3)?, in_process(&tables)?);
    println!("milliseconds, {ROUNDS} rounds; 24,576 rows in 3 shards");
    println!("{:<10} {:<16} {:>8} {:>8} {:>8} {:>8} {:>8}", "query", "where", "plan", "first", "end", "p50", "p99");
    for (name, sql) in QUERIES {
        for (place, session) in [("one process", &local), ("three processes", &cluster.session)] {
            let mut phases = measure(session, sql, &clock).await?;
            println!(
                "{name:<10} {place:<16} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
                phases.planning.at(0.5),
                phases.first_batch.at(0.5),
                phases.end.at(0.5),
                phases.total.at(0.5),
                phases.total.at(0.99),
            );
        }
    }
    let (mut encoding, mut decoding) = codec(&local, QUERIES[0].1, &clock).await?;
    let mut trip = round_trip(&cluster, &clock).await?;
    println!("\nparts of count over three processes, each alone, p50:");
    println!("  encoding one task's plan  {:>6.3}", encoding.at(0.5));
    println!("  decoding it on the leaf   {:>6.3}", decoding.at(0.5));
    println!("  an empty round trip       {:>6.3}", trip.at(0.5));
    Ok(())
}
