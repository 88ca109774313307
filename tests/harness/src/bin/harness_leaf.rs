//! A leaf process for tests: the real query side over shards made from a seed. See `leaf.rs` of this crate.

use std::io::{BufRead, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use basalt_common::scan::{LocalLeaf, ScanContext};
use basalt_common::wire::Channels;
use basalt_harness::leaf::{LeafSpec, Totals};
use basalt_harness::shards::Shards;
use basalt_leaf::counters::Counters;
use basalt_leaf::serve::LeafQueries;
use tokio::net::TcpListener;
use url::Url;

#[tokio::main]
async fn main() -> Result<()> {
    let spec: LeafSpec = serde_json::from_str(&std::env::args().nth(1).context("harness-leaf needs its spec")?)?;
    let counters = Arc::new(Counters::default());
    let shards = Shards::new(Arc::clone(&counters));
    for (table, held) in &spec.tables {
        held.iter().for_each(|shard| shards.put(&table.name, *shard, table.shard(*shard)));
    }
    let listener = TcpListener::bind(("127.0.0.1", spec.port)).await?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", listener.local_addr()?.port())?;
    let totals = Arc::clone(&counters);
    let lines = tokio::task::spawn_blocking(move || answer_lines(&totals));
    let local =
        Some(LocalLeaf { node: Url::parse(&format!("http://{}", listener.local_addr()?))?, shards: Arc::new(shards) });
    let scan = Arc::new(ScanContext { local, channels: Channels::default() });
    let queries = LeafQueries::new(scan, Arc::default(), counters);
    tokio::select! {
        served = queries.serve(listener, std::future::pending()) => served?,
        answered = lines => answered??,
    }
    Ok(())
}

fn answer_lines(counters: &Counters) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        if line? == "counters" {
            let totals = Totals { rows_scanned: counters.rows_scanned(), bytes_sent: counters.bytes_sent() };
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&totals)?)?;
        }
    }
    Ok(())
}
