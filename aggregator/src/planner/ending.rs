//! Lets every query be ended, whatever it does.
//!
//! In: a plan. Out: the same, whose joins and recursions give way to other tasks after so many batches, and whose joins end when the
//! query's time is over. DataFusion has its scans and exchanges give way; what makes many rows of few goes on until they are made, and
//! a task that does not give way cannot be stopped, nor can others that wait for its thread go on.

use std::sync::Arc;

use basalt_common::in_time::{InTimeExpr, QueryTime};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::unnest::UnnestExec;

/// Makes a plan that can be ended, at the latest when `time` is over, if it is told.
pub(super) fn let_end(plan: Arc<dyn ExecutionPlan>, time: Option<&QueryTime>) -> Result<Arc<dyn ExecutionPlan>> {
    let in_time = |filter: &JoinFilter| match time {
        Some(time) => {
            let condition = InTimeExpr::new(Arc::clone(filter.expression()), time.clone());
            JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
        }
        None => filter.clone(),
    };
    plan.transform_up(|node| {
        let node: Arc<dyn ExecutionPlan> = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            join.builder().with_filter(join.filter().map(in_time)).build_exec()?
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(join.filter().map(in_time));
            Arc::new(join.build()?)
        } else if makes_many(&node) {
            node
        } else {
            return Ok(Transformed::no(node));
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node))))
    })
    .data()
}

/// Whether a node that is no join with a condition may make many rows of few.
fn makes_many(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<RecursiveQueryExec>()
        || node.is::<UnnestExec>()
}
