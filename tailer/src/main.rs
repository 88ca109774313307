//! The tailer as a process of its own: loads its configuration, wires, runs.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use basalt_common::catalog::Catalog;
use basalt_common::clock::SystemClock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::leaves::{LeafNode, Leaves};
use basalt_common::log::ShardLog;
use basalt_common::process::{LogLevel, NodeAddress, read_config, seed, stopped};
use basalt_common::remote::{RemoteCatalog, RemoteLeaf, SOURCE, WRITE, answer_source_call, answer_write};
use basalt_common::topics::{CollectionTopics, KafkaSettings};
use basalt_common::wire::{Answers, Channels, NodeService, serve};
use basalt_tailer::pipeline::{Tailer, TailerConfig};
use bytes::Bytes;
use clap::Parser;
use serde::Deserialize;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes writes, reads sources, and appends both to the shard logs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// A tailer's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// How much it says.
    #[serde(default)]
    log: LogLevel,
    /// The address to listen on.
    listen: SocketAddr,
    /// The aggregator that keeps the catalog: its internal address.
    catalog: NodeAddress,
    /// All leaves: every node places shards by this list.
    leaves: Vec<NodeAddress>,
    /// The shard log.
    kafka: KafkaSettings,
}

struct TailerAnswers(Tailer);

#[async_trait]
impl Answers for TailerAnswers {
    async fn call(&self, name: &str, body: Bytes) -> Result<Bytes, Failure> {
        match name {
            WRITE => answer_write(&self.0, body).await,
            SOURCE => answer_source_call(&self.0, &body).await,
            _ => Err(Failure::new(FailureKind::Internal, format!("a tailer does not answer {name:?}"))),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = read_config(&Arguments::parse().config)?;
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    log.with_max_level(settings.log.0).init();
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.with_context(|| format!("listen on {}", settings.listen))?;
    let channels = Channels::default();
    let catalog: Arc<dyn Catalog> = RemoteCatalog::follow(settings.catalog.0, channels.clone()).await;
    let log: Arc<dyn ShardLog> = Arc::new(CollectionTopics::open(settings.kafka, Arc::clone(&catalog)).await?);
    let parallelism = std::thread::available_parallelism()?.get();
    let config = TailerConfig { parallelism, ..TailerConfig::default() };
    let node = |NodeAddress(url)| LeafNode {
        url: url.clone(),
        calls: Arc::new(RemoteLeaf { node: url, channels: channels.clone() }),
    };
    let leaves = Leaves::new(settings.leaves.into_iter().map(node).collect());
    let tailer = Tailer::new(catalog, log, leaves, Arc::new(SystemClock::default()), seed()?, config);
    writeln!(std::io::stdout(), "basalt-tailer {} listens on {}", env!("CARGO_PKG_VERSION"), listener.local_addr()?)?;
    let service = NodeService::server(Arc::new(TailerAnswers(tailer)));
    Ok(serve(listener, service, stopped()).await?)
}
