//! What a leaf answers on its internal port: whole plans and calls.
//!
//! In: an encoded physical plan whose shards are here, or a call. Out: the plan's rows as Flight frames; the call's reply. A
//! query whose rows all lie on one leaf comes here whole, in one round trip, instead of as a distributed plan.

use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use async_trait::async_trait;
use basalt_common::calls::LeafCalls;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::remote::{LEAF, answer_leaf_call};
use basalt_common::scan::decode_plan;
use basalt_common::wire::{Answers, status_of};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tonic::Status;

use super::LeafQueries;

/// A leaf's answers.
pub(super) struct LeafAnswers {
    context: Arc<TaskContext>,
    calls: Option<Arc<dyn LeafCalls>>,
}

impl LeafAnswers {
    pub(super) fn new(queries: LeafQueries) -> Self {
        let context = queries.session(SessionConfig::new()).task_ctx();
        Self { context, calls: queries.calls }
    }
}

#[async_trait]
impl Answers for LeafAnswers {
    async fn call(&self, name: &str, body: Bytes) -> Result<Bytes, Failure> {
        match (&self.calls, name) {
            (Some(calls), LEAF) => answer_leaf_call(calls.as_ref(), &body).await,
            _ => Err(Failure::new(FailureKind::Internal, format!("a leaf does not answer {name:?}"))),
        }
    }

    async fn run(&self, plan: Bytes) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        let plan: Arc<dyn ExecutionPlan> = decode_plan(&plan, &self.context)
            .map_err(|error| Status::invalid_argument(format!("the plan cannot be read here: {error}")))?;
        let schema = plan.schema();
        let rows = execute_stream(plan, Arc::clone(&self.context))
            .map_err(|error| status(&error))?
            .map_err(|error| FlightError::Tonic(Box::new(status(&error))));
        let frames = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            // The plan's types are the answer's: by default dictionaries would come out as plain values.
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(rows)
            .map_err(Status::from);
        Ok(frames.boxed())
    }
}

/// A plan's error on its way to the aggregator: failures whole, others as what they say.
fn status(error: &DataFusionError) -> Status {
    if let DataFusionError::External(inner) = error.find_root()
        && let Some(failure) = inner.downcast_ref::<Failure>()
    {
        return status_of(failure);
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => status_of(&Failure::new(FailureKind::Resources, message)),
        _ => Status::aborted(error.to_string()),
    }
}
