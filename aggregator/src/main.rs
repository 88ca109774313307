//! The aggregator as a process of its own: loads its configuration, wires, runs.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use basalt_aggregator::aggregator::{Aggregator, ServiceConfig};
use basalt_aggregator::metrics::Metrics;
use basalt_aggregator::query::{Queries, QueryConfig};
use basalt_aggregator::session::Sessions;
use basalt_aggregator::sql::limits::STACK_BYTES_MIN;
use basalt_common::catalog::{Catalog, LocalCatalog};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::leaves::{LeafNode, Leaves};
use basalt_common::log::{LocalLog, LocalLogConfig};
use basalt_common::process::{LogLevel, NodeAddress, read_config, seed, stopped};
use basalt_common::remote::{CATALOG, RemoteLeaf, RemoteTailer, answer_catalog_call};
use basalt_common::scan::ScanContext;
use basalt_common::wire::{Answers, Channels, NodeService, serve};
use bytes::Bytes;
use clap::Parser;
use serde::Deserialize;
use tokio::net::TcpListener;
use url::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers clients: SQL over the leaves, writes through the tailer; keeps the catalog.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// An aggregator's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// How much it says.
    #[serde(default)]
    log: LogLevel,
    /// The address for clients.
    http: SocketAddr,
    /// The address for the other roles, who ask for the catalog here.
    listen: SocketAddr,
    /// The folder of the catalog.
    data: PathBuf,
    /// All leaves: every node places shards by this list.
    leaves: Vec<NodeAddress>,
    /// The tailer.
    tailer: NodeAddress,
    /// Takes requests without a key from other machines too.
    #[serde(default)]
    allow_anonymous: bool,
}

struct CatalogAnswers(Arc<LocalCatalog>);

#[async_trait]
impl Answers for CatalogAnswers {
    async fn call(&self, name: &str, body: Bytes) -> Result<Bytes, Failure> {
        match name {
            CATALOG => answer_catalog_call(&self.0, &body).await,
            _ => Err(Failure::new(FailureKind::Internal, format!("an aggregator does not answer {name:?}"))),
        }
    }
}

fn main() -> Result<()> {
    let settings: Settings = read_config(&Arguments::parse().config)?;
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    log.with_max_level(settings.log.0).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES_MIN).build()?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> Result<()> {
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("the address {address} cannot be used"))
    };
    let (http, internal) = (bind(settings.http).await?, bind(settings.listen).await?);
    let folder = settings.data.join("catalog");
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let incarnation = u128::from(seed()?) << 64 | u128::from(seed()?);
    let opened = tokio::task::spawn_blocking(move || LocalLog::open(folder, LocalLogConfig::default(), incarnation));
    let local = Arc::new(LocalCatalog::open(Arc::new(opened.await??)).await?);
    let catalog: Arc<dyn Catalog> = Arc::clone(&local) as _;
    let (channels, urls) = (Channels::default(), settings.leaves.into_iter().map(|leaf| leaf.0).collect::<Vec<_>>());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let sessions = Sessions {
        leaves: urls.clone().into(),
        scan: Arc::new(ScanContext { local: None, channels: channels.clone() }),
        runtime: Arc::default(),
        parallelism: std::thread::available_parallelism()?.get(),
    };
    let node =
        |url: Url| LeafNode { url: url.clone(), calls: Arc::new(RemoteLeaf { node: url, channels: channels.clone() }) };
    let tailer = Arc::new(RemoteTailer { node: settings.tailer.0, channels: channels.clone() });
    let leaves = Leaves::new(urls.into_iter().map(node).collect());
    let (template, query) = (sessions.session()?.state(), QueryConfig::default());
    let queries = Queries::new(Arc::clone(&catalog), leaves.clone(), Arc::clone(&clock), template, seed()?, query)?;
    let aggregator = Aggregator {
        catalog,
        writes: Arc::clone(&tailer) as _,
        sources: tailer,
        leaves,
        queries: queries.into(),
        clock,
        metrics: Metrics::default(),
        config: ServiceConfig { anonymous_from_anywhere: settings.allow_anonymous, ..ServiceConfig::default() },
    };
    let (version, address) = (env!("CARGO_PKG_VERSION"), http.local_addr()?);
    writeln!(std::io::stdout(), "basalt-aggregator {version} serves clients at http://{address}")?;
    let service = NodeService::server(Arc::new(CatalogAnswers(local)));
    let served = tokio::spawn(serve(internal, service, stopped()));
    basalt_aggregator::http::serve(http, Arc::new(aggregator), stopped()).await?;
    Ok(served.await??)
}
