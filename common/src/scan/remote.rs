//! [`RemotePlanExec`]: a whole plan that runs on one other node.
//!
//! In: a plan whose shards all belong to one leaf. Out: its rows, as one partition. One round trip and no stages: the
//! leaf filters, joins and aggregates, only the answer crosses. The same way serves single shards that a scan does not
//! hold itself.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::DeduplicatingProtoConverter;
use futures::TryStreamExt;
use url::Url;

use super::{ScanCodec, ScanContext};
use crate::wire::Channels;

/// Runs its plan on `node` and streams the rows back, in the plan's order.
#[derive(Debug)]
pub struct RemotePlanExec {
    plan: Arc<dyn ExecutionPlan>,
    encoded: Bytes,
    node: Url,
    properties: Arc<PlanProperties>,
}

impl RemotePlanExec {
    /// Wraps a plan that has one output partition.
    ///
    /// # Errors
    /// The plan has several partitions (merging them is the planner's choice, not this node's), or holds an operator that
    /// cannot be sent.
    pub fn try_new(plan: Arc<dyn ExecutionPlan>, node: Url) -> Result<Self> {
        if plan.output_partitioning().partition_count() != 1 {
            return internal_err!("a remote plan has one partition, not {}", plan.output_partitioning());
        }
        let mut equivalence = EquivalenceProperties::new(plan.schema());
        if let Some(ordering) = plan.output_ordering() {
            equivalence.add_ordering(ordering.iter().cloned());
        }
        let properties = Arc::new(PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let encoded = encode(&plan)?;
        Ok(Self { plan, encoded, node, properties })
    }
}

impl DisplayAs for RemotePlanExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.node.port().unwrap_or_default();
        writeln!(f, "RemotePlanExec: node={}:{port}", self.node.host_str().unwrap_or_default())?;
        let inner = datafusion::physical_plan::displayable(self.plan.as_ref()).indent(false).to_string();
        for line in inner.lines() {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for RemotePlanExec {
    fn name(&self) -> &str {
        "RemotePlanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(node) = context.session_config().get_extension::<ScanContext>() else {
            return internal_err!("a remote plan needs a ScanContext in its session");
        };
        Ok(open_remote(self.plan.schema(), self.encoded.clone(), self.node.clone(), node.channels.clone()))
    }
}

/// A plan's bytes, as a leaf reads them.
pub(super) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    physical_plan_to_bytes_with_proto_converter(Arc::clone(plan), &ScanCodec, &DeduplicatingProtoConverter {})
}

/// The plan that bytes are of. What an operator says to a scan while the plan runs reaches it here too: both have one expression.
///
/// # Errors
/// The bytes are of no plan, or of operators or functions that `context` does not know.
pub fn decode_plan(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    physical_plan_from_bytes_with_proto_converter(bytes, context, &ScanCodec, &DeduplicatingProtoConverter {})
}

/// Streams the rows of an encoded plan from `node`; connecting and sending happen at the first poll.
pub(super) fn open_remote(
    schema: SchemaRef,
    encoded: Bytes,
    node: Url,
    channels: Channels,
) -> SendableRecordBatchStream {
    let rows = futures::stream::once(async move { channels.run(&node, encoded).await }).try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
