//! `basalt start`: all roles in one process, over memory instead of sockets.
//!
//! ```text
//! http ──▶ aggregator ──write──▶ tailer ──▶ local log ──▶ leaf
//!              └──plans, keys────────────────────────────▶ │
//! ```

use std::fs::create_dir_all;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use basalt_aggregator::aggregator::{Aggregator, ServiceConfig};
use basalt_aggregator::metrics::Metrics;
use basalt_aggregator::query::{Queries, QueryConfig};
use basalt_aggregator::session::Sessions;
use basalt_common::catalog::{Catalog, LocalCatalog};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::leaves::{LeafNode, Leaves};
use basalt_common::log::{LocalLog, LocalLogConfig, ShardLog};
use basalt_common::process::{seed, stopped};
use basalt_common::scan::{LocalLeaf, ScanContext};
use basalt_common::wire::Channels;
use basalt_leaf::counters::Counters;
use basalt_leaf::flush::FlushConfig;
use basalt_leaf::pipeline::Pipeline;
use basalt_leaf::policy::MergePolicy;
use basalt_leaf::shards::Shards;
use basalt_leaf::store::{CacheSettings, Store, StoreLocation};
use basalt_tailer::pipeline::{Tailer, TailerConfig};
use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use url::Url;

/// How long a stop waits for the last flush: shorter than supervisors wait before they kill.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// What `basalt start` is told.
#[derive(Args)]
pub(crate) struct StartArguments {
    /// The folder for everything that lasts; made if it is not there.
    #[arg(long, default_value = "basalt-data", value_name = "DIR")]
    data: PathBuf,
    /// Where segments and manifests are: a folder, or s3://bucket/prefix, with what AWS_ENDPOINT_URL, AWS_REGION,
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say. By default the folder `store` of DIR.
    #[arg(long, value_name = "LOCATION")]
    store: Option<StoreLocation>,
    /// The most bytes of a store in a bucket that are kept on this machine, in the folder `cache` of DIR; what leads from
    /// _ids to rows comes on top.
    #[arg(long, default_value_t = CacheSettings::BYTES_MAX, value_name = "BYTES")]
    cache_bytes_max: u64,
    /// The address for clients.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    http: SocketAddr,
    /// Takes requests without a key from other machines too. Everyone who can reach the address can then read and change
    /// everything.
    #[arg(long)]
    allow_anonymous: bool,
    /// Into how many shards a collection is divided that does not say.
    #[arg(long, default_value_t = ServiceConfig::default().shards)]
    shards: u16,
    /// The longest body of a request, in bytes.
    #[arg(long, default_value_t = ServiceConfig::default().body_bytes_max, value_name = "BYTES")]
    body_bytes_max: usize,
    /// The most memory of one query, in bytes.
    #[arg(long, default_value_t = QueryConfig::default().query_memory_bytes_max, value_name = "BYTES")]
    query_memory_bytes_max: usize,
    /// What to log: a level, or levels by module as the `tracing` crates read them.
    #[arg(long, default_value = "info")]
    log: String,
}

/// Runs all roles until the process is told to stop.
pub(crate) async fn start(arguments: StartArguments) -> Result<()> {
    // Each retry of a store is told where it fails in the end.
    let quiet = if arguments.log.contains("object_store") { "" } else { ",object_store=warn" };
    let filter = EnvFilter::try_new(arguments.log.clone() + quiet).context("--log")?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let node = Node::open(&arguments).await?;
    let listener = TcpListener::bind(arguments.http).await;
    let listener = listener.with_context(|| format!("the address {} cannot be used", arguments.http))?;
    let address = listener.local_addr()?;
    let (version, data) = (env!("CARGO_PKG_VERSION"), arguments.data.display());
    say(&format!(
        "basalt {version} serves {data} at http://{address}\ntry: basalt sql --url http://{address} -c \"SHOW TABLES\""
    ));
    basalt_aggregator::http::serve(listener, node.aggregator, stopped()).await?;
    say("stopping");
    if let Err(error) = node.shards.flush(STOP_PATIENCE).await {
        tracing::warn!(%error, "stopped without a last flush: the next start reads more of the log");
    }
    node.store.close();
    node.followers.abort();
    drop(node.log);
    Ok(())
}

/// Tells whoever started the process; a closed output is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The roles of this process.
struct Node {
    aggregator: Arc<Aggregator>,
    followers: tokio::task::JoinHandle<()>,
    shards: Arc<Shards>,
    store: Store,
    log: Arc<dyn ShardLog>,
}

impl Node {
    async fn open(arguments: &StartArguments) -> Result<Self> {
        let folder = arguments.data.join("log");
        create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let incarnation = u128::from(seed()?) << 64 | u128::from(seed()?);
        let opened =
            tokio::task::spawn_blocking(move || LocalLog::open(folder, LocalLogConfig::default(), incarnation));
        let log: Arc<dyn ShardLog> = Arc::new(opened.await??);
        let catalog: Arc<dyn Catalog> = Arc::new(LocalCatalog::open(Arc::clone(&log)).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let parallelism = std::thread::available_parallelism()?.get();
        let counters = Arc::new(Counters::default());
        let location = arguments.store.clone().unwrap_or_else(|| StoreLocation::Folder(arguments.data.join("store")));
        let cache = CacheSettings { folder: arguments.data.join("cache"), bytes_max: arguments.cache_bytes_max };
        let store = location.open(&cache)?;
        let shards = Arc::new(Shards::new(Arc::clone(&catalog), Arc::new(|_| true), Arc::clone(&clock), counters));
        let pipeline = Pipeline {
            catalog: Arc::clone(&catalog),
            log: Arc::clone(&log),
            shards: Arc::clone(&shards),
            policy: MergePolicy::default(),
            merges: basalt_leaf::compactor::permits(),
            store: store.clone(),
            flush: FlushConfig::default(),
            clock: Arc::clone(&clock),
        };
        let (ready, caught_up) = tokio::sync::oneshot::channel();
        let followers = tokio::spawn(pipeline.run(ready));
        caught_up.await.context("the leaf ended while it read its log")?;
        let config = TailerConfig { parallelism, ..TailerConfig::default() };
        let here = Url::parse("http://in-this-process")?;
        let leaves = Leaves::new(vec![LeafNode { url: here.clone(), calls: Arc::clone(&shards) as _ }]);
        let (known, way, time) = (Arc::clone(&catalog), Arc::clone(&log), Arc::clone(&clock));
        let tailer = Arc::new(Tailer::new(known, way, leaves.clone(), time, seed()?, config));
        let scan = ScanContext {
            local: Some(LocalLeaf { node: here.clone(), shards: Arc::clone(&shards) as _ }),
            channels: Channels::default(),
        };
        let sessions =
            Sessions { leaves: Arc::from([here]), scan: Arc::new(scan), runtime: Arc::default(), parallelism };
        let template = sessions.session()?.state();
        let query = QueryConfig { query_memory_bytes_max: arguments.query_memory_bytes_max, ..QueryConfig::default() };
        let queries = Queries::new(Arc::clone(&catalog), leaves.clone(), Arc::clone(&clock), template, seed()?, query)?;
        let config = ServiceConfig {
            body_bytes_max: arguments.body_bytes_max,
            shards: arguments.shards,
            anonymous_from_anywhere: arguments.allow_anonymous,
            ..ServiceConfig::default()
        };
        let (writes, sources) = (Arc::clone(&tailer) as _, tailer as _);
        let metrics = Metrics::default();
        let aggregator =
            Arc::new(Aggregator { catalog, writes, sources, leaves, queries: queries.into(), clock, metrics, config });
        Ok(Self { aggregator, followers, shards, store, log })
    }
}
