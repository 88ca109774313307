//! A condition that fails once the query's time is over.
//!
//! In: when it is over. Out: what the planner puts around the conditions of joins. A join evaluates its condition for very many pairs
//! before a row comes out of it, and nothing else would end it until then.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion_proto::protobuf::PhysicalExprNode;

use crate::clock::Clock;
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
pub struct InTimeExpr {
    condition: Arc<dyn PhysicalExpr>,
    time: QueryTime,
}

impl InTimeExpr {
    /// Puts it around a condition.
    pub fn new(condition: Arc<dyn PhysicalExpr>, time: QueryTime) -> Self {
        Self { condition, time }
    }
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
        Ok(Arc::new(Self::new(children.swap_remove(0), self.time.clone())))
    }

    /// To another process the condition goes alone, for a moment is another there: its joins end with the rows that they put out.
    fn try_to_proto(&self, context: &PhysicalExprEncodeCtx<'_>) -> Result<Option<PhysicalExprNode>> {
        context.encode_child(&self.condition).map(Some)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, DataType, Duration, InTimeExpr, PhysicalExpr, QueryTime, RecordBatch, Schema};
    use crate::clock::ManualClock;
    use crate::scan::ScanCodec;
    use datafusion::physical_expr::expressions::lit;
    use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;

    #[test]
    fn a_condition_fails_when_time_is_over() {
        let clock = Arc::new(ManualClock::new(0));
        let time = QueryTime::until(Duration::from_secs(60), clock.clone());
        let condition: Arc<dyn PhysicalExpr> = Arc::new(InTimeExpr::new(lit(true), time));
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert_eq!(condition.data_type(&batch.schema()).unwrap(), DataType::Boolean);
        clock.advance(Duration::from_secs(59));
        assert!(condition.evaluate(&batch).is_ok());
        clock.advance(Duration::from_secs(1));
        assert!(condition.evaluate(&batch).is_err());
    }

    #[test]
    fn it_crosses_processes_as_what_it_is_around() {
        let time = QueryTime::until(Duration::ZERO, Arc::new(ManualClock::new(0)));
        let around: Arc<dyn PhysicalExpr> = Arc::new(InTimeExpr::new(lit(true), time));
        let sent = |expression| serialize_physical_expr(expression, &ScanCodec).unwrap();
        assert_eq!(sent(&around), sent(&lit(true)));
    }
}
