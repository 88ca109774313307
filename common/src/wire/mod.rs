//! The way from one node to another.
//!
//! In: addresses and encoded plans. Out: streams of batches. Owns the connections (one per node, kept for the life of
//! the process and shared by all queries) and their settings; serving them is the leaf's work.

mod service;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Ticket};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result, config_err};
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{ChannelResolver, WorkerChannel};
use futures::{Stream, TryStreamExt};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use url::Url;

pub use service::{Answers, NodeService, failure_of, serve, status_of};

use crate::failure::{Failure, FailureKind};

/// How connections between nodes behave.
#[derive(Debug, Clone)]
pub struct WireConfig {
    /// How long connecting may take: on one network a node that is there answers in far less.
    pub connect_timeout: Duration,
    /// How often an open connection is asked whether the other side still lives, and how long the answer may take;
    /// this is what ends a query whose leaf vanished without closing its sockets.
    pub keep_alive: Duration,
    /// What a stream may have in flight before its reader takes it, in bytes. HTTP/2's own 64 KiB stall a scan.
    pub window_bytes: u32,
}

/// HTTP/2's largest window.
const CONNECTION_WINDOW_MAX: u32 = (1 << 31) - 1;

impl Default for WireConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(2), keep_alive: Duration::from_secs(5), window_bytes: 4 << 20 }
    }
}

/// The connections of this process to other nodes. Cheap to clone; clones share connections.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    config: WireConfig,
    open: Arc<Mutex<HashMap<Url, Channel>>>,
}

impl Channels {
    /// Makes an empty set of connections.
    pub fn new(config: WireConfig) -> Self {
        Self { config, open: Arc::default() }
    }

    /// The connection to `node`, made at its first use and again after a failure.
    ///
    /// # Errors
    /// The address is not one that can be connected to.
    pub fn channel(&self, node: &Url) -> Result<Channel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(node) {
            return Ok(channel.clone());
        }
        let endpoint = match Endpoint::from_shared(node.to_string()) {
            Ok(endpoint) => endpoint,
            Err(error) => return config_err!("{node} is no address of a node: {error}"),
        };
        let channel = endpoint
            .connect_timeout(self.config.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.config.keep_alive)
            .keep_alive_timeout(self.config.keep_alive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(self.config.window_bytes)
            // All queries share the connection: were it bounded too, a few readers that pause would stop all others.
            .initial_connection_window_size(CONNECTION_WINDOW_MAX)
            .connect_lazy();
        open.insert(node.clone(), channel.clone());
        Ok(channel)
    }

    /// Runs an encoded plan on `node` and streams its rows.
    ///
    /// # Errors
    /// The node cannot be reached, or refuses the plan; later, as an item, whatever the plan fails with.
    pub async fn run(&self, node: &Url, plan: Bytes) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + use<>> {
        let mut client = FlightServiceClient::new(self.channel(node)?).max_decoding_message_size(usize::MAX);
        let flights = client.do_get(Ticket::new(plan)).await.map_err(|status| node_error(node, &status.into()))?;
        let frames = flights.into_inner().map_err(FlightError::from);
        let node = node.clone();
        Ok(FlightRecordBatchStream::new_from_flight_data(frames).map_err(move |error| node_error(&node, &error)))
    }
}

impl Channels {
    /// Makes a call on `node` and returns its reply.
    ///
    /// # Errors
    /// The node's own failure, or that it cannot be reached.
    pub async fn call(&self, node: &Url, name: &str, body: Bytes) -> Result<Bytes, Failure> {
        let unreachable = |reason: String| {
            Failure::new(FailureKind::Unavailable, format!("the node at {node} did not answer: {reason}"))
        };
        let channel = self.channel(node).map_err(|error| unreachable(error.to_string()))?;
        let mut client = FlightServiceClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let failed = |status: Status| match status.details().is_empty() {
            true => unreachable(status.message().to_string()),
            false => failure_of(&status),
        };
        let action = Action { r#type: name.to_string(), body };
        let mut replies = client.do_action(action).await.map_err(failed)?.into_inner();
        let reply = replies.message().await.map_err(failed)?;
        reply.map(|reply| reply.body).ok_or_else(|| unreachable("the reply is empty".into()))
    }
}

/// A plan that failed says why; all else is the way to the node.
fn node_error(node: &Url, error: &FlightError) -> DataFusionError {
    let failure = match error {
        FlightError::Tonic(status) if !status.details().is_empty() => failure_of(status),
        FlightError::Tonic(status) if matches!(status.code(), Code::Aborted | Code::InvalidArgument) => {
            return DataFusionError::Execution(format!("on the leaf at {node}: {}", status.message()));
        }
        FlightError::Tonic(status) => lost(node, status.message()),
        other => lost(node, &other.to_string()),
    };
    DataFusionError::External(Box::new(failure))
}

fn lost(node: &Url, cause: &str) -> Failure {
    Failure::new(FailureKind::Unavailable, format!("the leaf at {node} did not answer in full: {cause}"))
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, node: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(create_worker_client(BoxCloneSyncChannel::new(self.channel(node)?)))
    }
}
