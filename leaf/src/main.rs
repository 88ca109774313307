//! The leaf as a process of its own: loads its configuration, wires, runs.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use basalt_common::catalog::Catalog;
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::log::ShardLog;
use basalt_common::placement::owner;
use basalt_common::process::{LogLevel, NodeAddress, read_config, stopped};
use basalt_common::remote::RemoteCatalog;
use basalt_common::scan::{LocalLeaf, ScanContext};
use basalt_common::topics::{CollectionTopics, KafkaSettings};
use basalt_common::wire::Channels;
use basalt_leaf::counters::Counters;
use basalt_leaf::flush::FlushConfig;
use basalt_leaf::pipeline::Pipeline;
use basalt_leaf::policy::{FlushPolicy, MergePolicy};
use basalt_leaf::serve::LeafQueries;
use basalt_leaf::shards::Shards;
use basalt_leaf::store::{CacheSettings, Store, StoreLocation};
use clap::Parser;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use serde::Deserialize;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The stack of each thread: plans are trees, and decoding one takes a frame a level.
const STACK_BYTES: usize = 16 << 20;

/// How long a stop waits for the last flush: shorter than supervisors wait before they kill.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Applies shard logs and runs the parts of queries that touch data.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// A leaf's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeafConfig {
    /// How much it says.
    #[serde(default)]
    log: LogLevel,
    /// The address to listen on.
    listen: SocketAddr,
    /// The address by which the others know this leaf; one of `leaves`.
    address: NodeAddress,
    /// All leaves: every node places shards by this list.
    leaves: Vec<NodeAddress>,
    /// The aggregator that keeps the catalog: its internal address.
    catalog: NodeAddress,
    /// Where segments and manifests are: a folder, or `s3://bucket/prefix`.
    store: StoreLocation,
    /// The folder for what is kept here of a store elsewhere; needed then.
    cache: Option<PathBuf>,
    /// The most bytes of it that can be brought again; what leads from `_id`s to rows comes on top.
    #[serde(default = "cache_bytes_max")]
    cache_bytes_max: u64,
    /// How many bytes of the log a shard applies before they are flushed: what a restart reads again at most.
    #[serde(default = "flush_bytes")]
    flush_bytes: u64,
    /// How long a shard takes to apply batches before they are flushed, in milliseconds: what a restart takes at most, about.
    #[serde(default = "flush_applying_ms")]
    flush_applying_ms: u64,
    /// How long an applied batch waits to be flushed, in milliseconds.
    #[serde(default = "flush_interval_ms")]
    flush_interval_ms: u64,
    /// The most memory that the parts of all queries take here together, in bytes; one that goes over it spills or fails.
    #[serde(default = "query_memory_bytes_max")]
    query_memory_bytes_max: usize,
    /// The shard log.
    kafka: KafkaSettings,
}

fn flush_bytes() -> u64 {
    FlushPolicy::default().flush_bytes
}

fn cache_bytes_max() -> u64 {
    CacheSettings::BYTES_MAX
}

fn query_memory_bytes_max() -> usize {
    2 << 30
}

fn flush_applying_ms() -> u64 {
    FlushPolicy::default().flush_applying.as_millis() as u64
}

fn flush_interval_ms() -> u64 {
    FlushPolicy::default().flush_interval.as_millis() as u64
}

fn main() -> Result<()> {
    let config: LeafConfig = read_config(&Arguments::parse().config)?;
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // Each of its retries is told where it fails in the end.
    log.with_env_filter(EnvFilter::new(format!("{},object_store=warn", config.log.0))).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    runtime.block_on(run(config))
}

fn open_store(config: &LeafConfig) -> Result<Store> {
    let folder = match (&config.store, &config.cache) {
        (StoreLocation::Folder(_), None) => PathBuf::new(),
        (StoreLocation::Folder(_), Some(_)) => bail!("a store in a folder has no cache: take the setting `cache` away"),
        (StoreLocation::Bucket(_), Some(folder)) => folder.clone(),
        (StoreLocation::Bucket(_), None) => bail!("a store in a bucket needs a folder for what is kept here: `cache`"),
    };
    Ok(config.store.open(&CacheSettings { folder, bytes_max: config.cache_bytes_max })?)
}

async fn run(config: LeafConfig) -> Result<()> {
    ensure!(config.leaves.contains(&config.address), "the address {} is not among the leaves", config.address.0);
    let store = open_store(&config)?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let channels = Channels::default();
    let catalog: Arc<dyn Catalog> = RemoteCatalog::follow(config.catalog.0, channels.clone()).await;
    let log: Arc<dyn ShardLog> = Arc::new(CollectionTopics::open(config.kafka, Arc::clone(&catalog)).await?);
    let (clock, counters) = (Arc::new(SystemClock::default()) as Arc<dyn Clock>, Arc::new(Counters::default()));
    let (address, names) = (config.address.0, config.leaves.iter().map(|leaf| leaf.0.to_string()).collect::<Vec<_>>());
    let own = address.to_string();
    let owns = Arc::new(move |shard| owner(shard, &names).is_some_and(|index| names[index] == own));
    let shards = Arc::new(Shards::new(Arc::clone(&catalog), owns, Arc::clone(&clock), Arc::clone(&counters)));
    let policy = FlushPolicy {
        flush_bytes: config.flush_bytes,
        flush_applying: Duration::from_millis(config.flush_applying_ms),
        flush_interval: Duration::from_millis(config.flush_interval_ms),
    };
    let pipeline = Pipeline {
        catalog,
        log,
        store: store.clone(),
        shards: Arc::clone(&shards),
        policy: MergePolicy::default(),
        merges: basalt_leaf::compactor::permits(),
        flush: FlushConfig { policy, ..FlushConfig::default() },
        clock,
    };
    // Whoever asks a shard that is not there yet waits for it; nobody waits for all of them.
    let (ready, _) = tokio::sync::oneshot::channel();
    let keepers = tokio::spawn(pipeline.run(ready));
    let local = LocalLeaf { node: address, shards: Arc::clone(&shards) as _ };
    let scan = Arc::new(ScanContext { local: Some(local), channels });
    let memory = Arc::new(GreedyMemoryPool::new(config.query_memory_bytes_max));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(memory).build()?;
    let queries = LeafQueries::new(scan, Arc::new(runtime), counters).with_calls(Arc::clone(&shards) as _);
    writeln!(std::io::stdout(), "basalt-leaf {} listens on {}", env!("CARGO_PKG_VERSION"), listener.local_addr()?)?;
    queries.serve(listener, stopped()).await?;
    if let Err(error) = shards.flush(STOP_PATIENCE).await {
        tracing::warn!(%error, "stopped without a last flush: the next start reads more of the log");
    }
    store.close();
    keepers.abort();
    Ok(())
}
