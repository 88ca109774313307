//! Runs one plan and streams its rows: an Arrow Flight service of which only `DoGet` answers.
//!
//! In: a ticket that holds an encoded physical plan. Out: its batches; a plan that fails ends the stream as *aborted*. Aggregators send whole plans whose shards all lie
//! here; scans elsewhere send plans of a single shard.

use std::sync::Arc;

use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use basalt_common::scan::ScanCodec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion_proto::bytes::physical_plan_from_bytes_with_extension_codec;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::LeafQueries;

/// The service. Each call runs in a session of its own.
#[derive(Debug)]
pub(super) struct FragmentService {
    context: Arc<TaskContext>,
}

impl FragmentService {
    pub(super) fn new(queries: LeafQueries) -> Self {
        Self { context: queries.session(SessionConfig::new()).task_ctx() }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn unsupported<T>(call: &str) -> Answer<T> {
    Err(Status::unimplemented(format!("a leaf answers DoGet only, not {call}; send SQL to an aggregator")))
}

#[async_trait]
impl FlightService for FragmentService {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let ticket = request.into_inner().ticket;
        let plan = physical_plan_from_bytes_with_extension_codec(&ticket, &self.context, &ScanCodec)
            .map_err(|error| Status::invalid_argument(format!("the plan cannot be read here: {error}")))?;
        let schema = plan.schema();
        let rows = execute_stream(plan, Arc::clone(&self.context))
            .map_err(|error| Status::aborted(error.to_string()))?
            .map_err(|error| FlightError::Tonic(Box::new(Status::aborted(error.to_string()))));
        let frames = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            // The plan's types are the answer's: by default dictionaries would come out as plain values.
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(rows)
            .map_err(Status::from);
        Ok(Response::new(frames.boxed()))
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

    async fn do_action(&self, _: Request<Action>) -> Answer<Self::DoActionStream> {
        unsupported("DoAction")
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        unsupported("ListActions")
    }
}
