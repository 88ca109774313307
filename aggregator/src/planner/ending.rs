//! Lets every query be ended, whatever it does.
//!
//! In: a plan. Out: the same, whose joins and recursions give way to other tasks after so many batches, and whose joins end when the
//! query's time is over. DataFusion has its scans and exchanges give way; what makes many rows of few goes on until they are made, and
//! a task that does not give way cannot be stopped, nor can others that wait for its thread go on.

use std::sync::Arc;

use basalt_common::in_time::{QueryTime, TimedJoinExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::unnest::UnnestExec;

/// Makes a plan that can be ended, at the latest when `time` is over, if it is told.
pub(super) fn let_end(plan: Arc<dyn ExecutionPlan>, time: Option<&QueryTime>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(timed) = time.map(|time| TimedJoinExec::around(&node, time)).transpose()?.flatten() {
            return Ok(Transformed::yes(Arc::new(timed)));
        }
        match makes_many(&node) {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)))),
            false => Ok(Transformed::no(node)),
        }
    })
    .data()
}

/// Whether a node may make many rows of few.
fn makes_many(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<RecursiveQueryExec>()
        || node.is::<UnnestExec>()
}
