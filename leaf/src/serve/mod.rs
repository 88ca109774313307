//! Serves plans over gRPC: stages of distributed plans and whole plans.
//!
//! In: a listening socket and the shards. Out: streams of batches. Two services share the port: datafusion-distributed's
//! worker (stages that exchange rows with other nodes) and [`answers`] (one plan, one stream; calls). Owns the sockets; leaves
//! planning to the aggregator.

mod answers;
mod socket;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use basalt_common::calls::LeafCalls;
use basalt_common::scan::{JOIN_KEYS_MAX, ScanCodec, ScanContext};
use basalt_common::wire::NodeService;
use datafusion::common::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::counters::Counters;
use answers::LeafAnswers;
use socket::CountedSocket;

/// How often an idle connection is asked whether the other side lives, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A leaf's query side: what plans run against, and the memory they run in.
#[derive(Debug, Clone)]
pub struct LeafQueries {
    scan: Arc<ScanContext>,
    counters: Arc<Counters>,
    /// A session with every function registered: registering them anew took longer than most plans run.
    template: Arc<SessionState>,
    calls: Option<Arc<dyn LeafCalls>>,
}

impl LeafQueries {
    /// Makes the query side of a leaf; `scan` holds its shards.
    pub fn new(scan: Arc<ScanContext>, runtime: Arc<RuntimeEnv>, counters: Arc<Counters>) -> Self {
        let mut builder = SessionStateBuilder::new().with_default_features().with_runtime_env(runtime);
        builder.scalar_functions().get_or_insert_default().extend(basalt_common::functions::all());
        let template = builder.build();
        Self { scan, counters, template: Arc::new(template), calls: None }
    }

    /// Answers calls too.
    #[must_use]
    pub fn with_calls(self, calls: Arc<dyn LeafCalls>) -> Self {
        Self { calls: Some(calls), ..self }
    }

    /// The session in which a plan with this configuration runs here.
    fn session(&self, mut config: SessionConfig) -> SessionState {
        config.set_distributed_user_codec(ScanCodec);
        config.set_distributed_channel_resolver(self.scan.channels.clone());
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_distinct_values = JOIN_KEYS_MAX;
        config.set_extension(Arc::clone(&self.scan));
        let mut session = self.template.as_ref().clone();
        *session.config_mut() = config;
        session
    }

    /// The worker that runs stages of distributed plans.
    pub fn worker(&self) -> Worker {
        let queries = self.clone();
        let worker = Worker::from_session_builder(move |mut context: WorkerQueryContext| {
            let session = queries.session(context.builder.config().take().unwrap_or_default());
            async move { Ok(session) }
        });
        worker.with_runtime_env(Arc::clone(self.template.runtime_env())).with_version(env!("CARGO_PKG_VERSION"))
    }

    /// Serves until `stop` is ready, then lets running queries end.
    ///
    /// # Errors
    /// The socket cannot be served.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let counters = Arc::clone(&self.counters);
        let sockets = TcpListenerStream::new(listener).map(move |accepted| {
            let socket = accepted?;
            // Without it every answer waits for the other side's delayed acknowledgement: 40 to 90 ms a query.
            socket.set_nodelay(true)?;
            Ok::<_, io::Error>(CountedSocket::new(socket, Arc::clone(&counters)))
        });
        let worker = self.worker().into_worker_server();
        let answers = NodeService::server(Arc::new(LeafAnswers::new(self)));
        Server::builder()
            // An aggregator that vanished without closing its sockets must not keep its queries running.
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .add_service(worker)
            .add_service(answers)
            .serve_with_incoming_shutdown(sockets, stop)
            .await
    }
}
