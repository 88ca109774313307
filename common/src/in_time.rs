//! Joins that end when the query's time is over.
//!
//! In: a join, and when its time is over. Out: the same join, whose condition fails from then on. It is evaluated for very many pairs
//! before a row comes out, and nothing else would end the join until then.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use datafusion_proto::protobuf::PhysicalExprNode;

use crate::clock::{Clock, SystemClock};
use crate::failure::{Failure, FailureKind};

/// The time that a query has.
#[derive(Debug, Clone)]
pub struct QueryTime {
    clock: Arc<dyn Clock>,
    /// When it is over, by the monotonic clock.
    deadline: Duration,
}

impl QueryTime {
    /// The time until `deadline`, by the monotonic clock.
    pub fn until(deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { clock, deadline }
    }

    /// What is left of it.
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }
}

/// A condition, as long as there is time.
#[derive(Debug)]
struct InTimeExpr {
    condition: Arc<dyn PhysicalExpr>,
    time: QueryTime,
}

impl PartialEq for InTimeExpr {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition) && self.time.deadline == other.time.deadline
    }
}

impl Eq for InTimeExpr {}

impl Hash for InTimeExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
        self.time.deadline.hash(state);
    }
}

impl fmt::Display for InTimeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for InTimeExpr {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.condition.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.condition.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.time.left().is_zero() {
            let failure = Failure::new(FailureKind::Timeout, "the query was not done in its time")
                .with_hint("ask for less, or allow more with timeout_ms");
            return Err(DataFusionError::External(Box::new(failure)));
        }
        self.condition.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { condition: children.swap_remove(0), time: self.time.clone() }))
    }

    /// To another process the condition goes alone: its join has the time.
    fn try_to_proto(&self, context: &PhysicalExprEncodeCtx<'_>) -> Result<Option<PhysicalExprNode>> {
        context.encode_child(&self.condition).map(Some)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

/// A join that gives way to other tasks after so many batches, and fails when there is no time left.
///
/// In: a join. Out: its rows. It crosses processes with what is left of the time, for the clock of another is its own.
#[derive(Debug)]
pub struct TimedJoinExec {
    /// INVARIANT: its condition, if it has one, is in time; made so here.
    join: Arc<dyn ExecutionPlan>,
    time: QueryTime,
    properties: Arc<PlanProperties>,
}

impl TimedJoinExec {
    /// Puts a join in time; nothing where the plan is no join that evaluates a condition pair by pair.
    ///
    /// # Errors
    /// The join cannot be made again.
    pub fn around(plan: &Arc<dyn ExecutionPlan>, time: &QueryTime) -> Result<Option<Self>> {
        let in_time = |filter: &JoinFilter| match filter.expression().downcast_ref::<InTimeExpr>() {
            Some(_) => filter.clone(),
            None => {
                let condition = InTimeExpr { condition: Arc::clone(filter.expression()), time: time.clone() };
                JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
            }
        };
        let join = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            join.builder().with_filter(join.filter().map(in_time)).build_exec()?
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(join.filter().map(in_time));
            Arc::new(join.build()?)
        } else {
            return Ok(None);
        };
        let properties = PlanProperties::clone(join.properties()).with_scheduling_type(SchedulingType::Cooperative);
        Ok(Some(Self { join, time: time.clone(), properties: properties.into() }))
    }

    /// What another process is told beside the join: the microseconds that are left.
    pub fn encode(&self) -> [u8; 8] {
        u64::try_from(self.time.left().as_micros()).unwrap_or(u64::MAX).to_le_bytes()
    }

    /// The join, as another process told of it.
    ///
    /// # Errors
    /// It is no join.
    pub fn decode(left: [u8; 8], join: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let clock = Arc::new(SystemClock::default());
        let deadline = clock.monotonic().saturating_add(Duration::from_micros(u64::from_le_bytes(left)));
        match Self::around(join, &QueryTime::until(deadline, clock))? {
            Some(timed) => Ok(timed),
            None => internal_err!("{} is no join that can be ended", join.name()),
        }
    }
}

impl DisplayAs for TimedJoinExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimedJoinExec")
    }
}

impl ExecutionPlan for TimedJoinExec {
    fn name(&self) -> &str {
        "TimedJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.join]
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

    /// A child that is no join takes this node's place: planners put projections above joins whose sides they swap.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [join] = <[_; 1]>::try_from(children).or_else(|_| internal_err!("a timed join has one child"))?;
        let timed = |plan: &Arc<dyn ExecutionPlan>| -> Result<Option<Arc<dyn ExecutionPlan>>> {
            Ok(Self::around(plan, &self.time)?.map(|timed| Arc::new(timed) as _))
        };
        if let Some(timed) = timed(&join)? {
            return Ok(timed);
        }
        let below = |child: &Arc<dyn ExecutionPlan>| Ok(timed(child)?.unwrap_or_else(|| Arc::clone(child)));
        let children = join.children().into_iter().map(below).collect::<Result<Vec<_>>>()?;
        replace_children_if_necessary(join, children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(make_cooperative(self.join.execute(partition, context)?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, DataType, Duration, InTimeExpr, PhysicalExpr, QueryTime, RecordBatch, Schema, TimedJoinExec};
    use crate::clock::ManualClock;
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::{JoinSide, JoinType};
    use datafusion::physical_expr::expressions::lit;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::joins::NestedLoopJoinExec;
    use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
    use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, displayable};
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
    use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;

    #[test]
    fn a_condition_fails_when_time_is_over() {
        let clock = Arc::new(ManualClock::new(0));
        let time = QueryTime::until(Duration::from_secs(60), clock.clone());
        let condition: Arc<dyn PhysicalExpr> = Arc::new(InTimeExpr { condition: lit(true), time });
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert_eq!(condition.data_type(&batch.schema()).unwrap(), DataType::Boolean);
        clock.advance(Duration::from_secs(59));
        assert!(condition.evaluate(&batch).is_ok());
        clock.advance(Duration::from_secs(1));
        assert!(condition.evaluate(&batch).is_err());
        let sent = |expression| serialize_physical_expr(expression, &DefaultPhysicalExtensionCodec {}).unwrap();
        assert_eq!(sent(&condition), sent(&lit(true)), "it crosses processes as what it is around");
    }

    /// What is left crosses, not the moment: clocks of processes start when they do.
    #[test]
    fn a_join_has_the_time_that_is_left() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Boolean, false)]));
        let input = || Arc::new(EmptyExec::new(Arc::clone(&schema))) as Arc<dyn ExecutionPlan>;
        let columns = vec![ColumnIndex { index: 0, side: JoinSide::Left }];
        let filter = JoinFilter::new(lit(true), columns, Arc::clone(&schema));
        let join = NestedLoopJoinExec::try_new(input(), input(), Some(filter), &JoinType::Inner, None).unwrap();
        let join: Arc<dyn ExecutionPlan> = Arc::new(join);
        let clock = Arc::new(ManualClock::new(0));
        let time = QueryTime::until(Duration::from_secs(3_600), clock.clone());
        let timed = TimedJoinExec::around(&join, &time).unwrap().expect("it is a join");
        assert_eq!(
            displayable(timed.join.as_ref()).indent(true).to_string(),
            displayable(join.as_ref()).indent(true).to_string()
        );
        assert!(TimedJoinExec::around(&input(), &time).unwrap().is_none());
        let above: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::clone(&join)));
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        let moved = Arc::new(timed).replace_children(vec![above], options).unwrap();
        let timed = moved.children()[0].downcast_ref::<TimedJoinExec>().expect("the join below stays in time");
        clock.advance(Duration::from_secs(3_000));
        let there = TimedJoinExec::decode(timed.encode(), &join).unwrap();
        let left = there.time.left();
        assert!(left > Duration::from_secs(500) && left <= Duration::from_secs(600), "{left:?}");
        let joined = there.join.downcast_ref::<NestedLoopJoinExec>().expect("it is the join");
        assert!(joined.filter().expect("it has one").expression().is::<InTimeExpr>());
        clock.advance(Duration::from_secs(1_000));
        assert_eq!(timed.encode(), [0; 8], "nothing is left");
        assert!(TimedJoinExec::decode(timed.encode(), &input()).is_err());
    }
}
