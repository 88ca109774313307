//! [`ShardAggregateExec`]: groups and partial aggregates of a shard's rows, made by the leaf that holds it.
//!
//! In: DataFusion's partial aggregate over a scan. Out: its groups and states. The leaf groups by what its columns are encoded by,
//! where DataFusion would make a string of each row's key and hash it. What is below stays an ordinary plan: it says what to
//! aggregate, crosses processes as it is, and runs where no leaf takes the work.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties};
use futures::StreamExt;

use super::{ScanContext, ShardScanExec};

/// An expression of the columns between a scan and its aggregates.
pub type Expression = Arc<dyn PhysicalExpr>;

/// What is made of a scan's rows: groups, and the states of functions for each.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// The columns that keys and arguments are of, and how they are made of the scan's; the scan's own where there are none.
    pub projection: Option<(SchemaRef, Vec<Expression>)>,
    /// The scan's columns by which rows are grouped; without one all rows are one group, which is there without rows too.
    pub keys: Vec<usize>,
    /// The functions.
    pub functions: Vec<Arc<AggregateFunctionExpr>>,
    /// Of each function, the rows that count.
    pub filters: Vec<Option<Expression>>,
    /// The keys, then the states of the functions.
    pub schema: SchemaRef,
}

impl Aggregation {
    /// What a partial aggregate asks of the scan below it, if leaves do such: by columns of the scan, by functions whose states
    /// are kept for many groups at once.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<(Self, &ShardScanExec)> {
        let aggregate = plan.downcast_ref::<AggregateExec>()?;
        let groups = aggregate.group_expr();
        let is_plain = *aggregate.mode() == AggregateMode::Partial
            && groups.is_single()
            && aggregate.limit_options().is_none()
            && *aggregate.input_order_mode() == InputOrderMode::Linear;
        let is_grouped = |function: &Arc<AggregateFunctionExpr>| {
            function.groups_accumulator_supported() && !function.is_distinct() && function.order_bys().is_empty()
        };
        if !is_plain || !aggregate.aggr_expr().iter().all(is_grouped) {
            return None;
        }
        // Values of several types have an order by groups, and none as a whole: whoever asks for their maximum is told so.
        let of_one_type = |argument: &Expression| {
            argument.data_type(&aggregate.input_schema()).is_ok_and(|data_type| !data_type.is_nested())
        };
        let mut arguments = aggregate.aggr_expr().iter().flat_map(|function| function.expressions());
        if groups.is_true_no_grouping() && !arguments.all(|argument| of_one_type(&argument)) {
            return None;
        }
        let input = below(aggregate.input());
        let projection = input.downcast_ref::<ProjectionExec>();
        let scan = below(projection.map_or(input, ProjectionExec::input)).downcast_ref::<ShardScanExec>()?;
        if scan.limit().is_some() || scan.top().is_some() {
            return None;
        }
        let key = |(key, _): &(Expression, String)| {
            let column = key.downcast_ref::<Column>()?.index();
            match projection {
                None => Some(column),
                Some(projection) => Some(projection.expr()[column].expr.downcast_ref::<Column>()?.index()),
            }
        };
        let expressions =
            |projection: &ProjectionExec| projection.expr().iter().map(|part| Arc::clone(&part.expr)).collect();
        let aggregation = Self {
            projection: projection.map(|projection| (projection.schema(), expressions(projection))),
            keys: groups.expr().iter().map(key).collect::<Option<_>>()?,
            functions: aggregate.aggr_expr().to_vec(),
            filters: aggregate.filter_expr().to_vec(),
            schema: aggregate.schema(),
        };
        Some((aggregation, scan))
    }

    /// Whether a function only counts rows, by a constant.
    pub fn counts_rows(&self, function: usize) -> bool {
        let (counted, filter) = (&self.functions[function], &self.filters[function]);
        let is_there =
            |argument: &Expression| argument.downcast_ref::<Literal>().is_some_and(|it| !it.value().is_null());
        filter.is_none() && counted.fun().name() == "count" && counted.expressions().iter().all(is_there)
    }

    /// Whether all that is asked is how many rows there are.
    pub fn is_count(&self) -> bool {
        self.keys.is_empty() && (0..self.functions.len()).all(|function| self.counts_rows(function))
    }
}

/// The plan, or what is below it if it only lets others have their turn.
fn below(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    plan.downcast_ref::<CooperativeExec>().map_or(plan, CooperativeExec::input)
}

/// Partial aggregates by the leaves that hold the shards.
#[derive(Debug)]
pub struct ShardAggregateExec {
    partial: Arc<dyn ExecutionPlan>,
}

impl ShardAggregateExec {
    /// Lets leaves do what `partial` says.
    ///
    /// # Errors
    /// It is no partial aggregate that leaves do ([`Aggregation::of`]).
    pub fn try_new(partial: Arc<dyn ExecutionPlan>) -> Result<Self> {
        match Aggregation::of(&partial) {
            Some(_) => Ok(Self { partial }),
            None => internal_err!("leaves do not aggregate as {} does", partial.name()),
        }
    }
}

impl DisplayAs for ShardAggregateExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardAggregateExec")
    }
}

impl ExecutionPlan for ShardAggregateExec {
    fn name(&self) -> &str {
        "ShardAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.partial.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.partial]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    /// A child that leaves do not do takes this node's place.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [partial] = <[_; 1]>::try_from(children).or_else(|_| internal_err!("a shard aggregate has one child"))?;
        Ok(match Aggregation::of(&partial) {
            Some(_) => Arc::new(Self { partial }),
            None => partial,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some((aggregation, scan)) = Aggregation::of(&self.partial) else {
            return internal_err!("leaves do not aggregate as {} does", self.partial.name());
        };
        let Some(node) = context.session_config().get_extension::<ScanContext>() else {
            return internal_err!("a scan needs a ScanContext in its session");
        };
        let aggregation = Arc::new(aggregation);
        let mut streams = Vec::new();
        for place in scan.places_of(partition) {
            let scan = scan.shard_scan(place.shard);
            let leaf = node.local.as_ref().map(|leaf| &leaf.shards);
            match leaf.map(|leaf| leaf.aggregate(&scan, &aggregation, &context)).transpose()?.flatten() {
                Some(stream) => streams.push(stream),
                None => return self.partial.execute(partition, context),
            }
        }
        let streams = futures::stream::iter(streams).flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&aggregation.schema), streams)))
    }
}
