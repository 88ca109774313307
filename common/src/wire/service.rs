//! What a node answers on its internal port, as one gRPC service for all roles.
//!
//! In: Arrow Flight requests: `DoAction` for calls, `DoGet` for plans. Out: what the role's [`Answers`] give. A call is a name
//! and bytes, its reply bytes or a [`Failure`]; what they mean is said by [`calls`](crate::calls).

use std::future::Future;
use std::io;
use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::failure::{Failure, FailureKind};

/// What a role answers.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Answers a call.
    ///
    /// # Errors
    /// What the caller is told.
    async fn call(&self, name: &str, body: Bytes) -> Result<Bytes, Failure>;

    /// Runs an encoded plan and streams its rows, as Flight frames.
    ///
    /// # Errors
    /// The plan cannot be run here.
    async fn run(&self, plan: Bytes) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        let _ = plan;
        Err(Status::unimplemented("this node runs no plans; ask a leaf"))
    }
}

/// The service.
#[derive(Clone)]
pub struct NodeService(Arc<dyn Answers>);

impl NodeService {
    /// Makes the gRPC service of a role; internal messages have no size limit, bodies were bounded where they came in.
    pub fn server(answers: Arc<dyn Answers>) -> FlightServiceServer<Self> {
        FlightServiceServer::new(Self(answers))
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn unsupported<T>(call: &str) -> Answer<T> {
    Err(Status::unimplemented(format!(
        "nodes talk to each other by DoGet and DoAction only, not {call}; send SQL to an aggregator"
    )))
}

#[async_trait]
impl FlightService for NodeService {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        Ok(Response::new(self.0.run(request.into_inner().ticket).await?))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let Action { r#type: name, body } = request.into_inner();
        let reply = match self.0.call(&name, body).await {
            Ok(reply) => reply,
            Err(failure) => return Err(status_of(&failure)),
        };
        Ok(Response::new(futures::stream::once(async { Ok(arrow_flight::Result { body: reply }) }).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        unsupported("Handshake")
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        unsupported("ListFlights")
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        unsupported("GetFlightInfo")
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        unsupported("PollFlightInfo")
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        unsupported("GetSchema")
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        unsupported("DoPut")
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        unsupported("DoExchange")
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        unsupported("ListActions")
    }
}

/// A failure on its way to another node: whole, in the status's details.
pub fn status_of(failure: &Failure) -> Status {
    let details = serde_json::to_vec(failure).expect("a failure is plain data");
    Status::with_details(tonic::Code::Aborted, failure.to_string(), details.into())
}

/// The failure that a status carries, or what it says of the way to the node.
pub fn failure_of(status: &Status) -> Failure {
    serde_json::from_slice(status.details())
        .unwrap_or_else(|_| Failure::new(FailureKind::Unavailable, status.message().to_string()))
}

/// Serves a role's internal port until `stop` is ready, then lets running calls end.
///
/// # Errors
/// The socket cannot be served.
pub async fn serve(
    listener: TcpListener,
    service: FlightServiceServer<NodeService>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let sockets = TcpListenerStream::new(listener).map(|accepted| {
        let socket = accepted?;
        // Without it every reply waits for the other side's delayed acknowledgement.
        socket.set_nodelay(true)?;
        Ok::<_, io::Error>(socket)
    });
    Server::builder().add_service(service).serve_with_incoming_shutdown(sockets, stop).await
}
