//! Gives partial aggregates over scans to the leaves.
//!
//! In: a physical plan for one machine. Out: the same, each partial aggregate that leaves do inside a [`ShardAggregateExec`]. An
//! aggregate over the one partition of one shard is made in one go by DataFusion; here it is divided, if leaves do its first part.

use std::sync::Arc;

use basalt_common::scan::{Aggregation, ShardAggregateExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};

pub(super) fn give_to_leaves(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if Aggregation::of(&node).is_some() {
            return Ok(Transformed::yes(Arc::new(ShardAggregateExec::try_new(node)?)));
        }
        match node.downcast_ref::<AggregateExec>().map(divided).transpose()?.flatten() {
            Some(divided) => Ok(Transformed::yes(divided)),
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
}

/// The same aggregate in two parts, if it is made in one and leaves do the first.
fn divided(whole: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if *whole.mode() != AggregateMode::Single || whole.limit_options().is_some() {
        return Ok(None);
    }
    let (functions, filters) = (whole.aggr_expr().to_vec(), whole.filter_expr().to_vec());
    let part = |mode, groups, filters, input| {
        AggregateExec::try_new(mode, groups, functions.clone(), filters, input, whole.input_schema())
    };
    let groups = whole.group_expr().clone();
    let partial: Arc<dyn ExecutionPlan> =
        Arc::new(part(AggregateMode::Partial, groups.clone(), filters, Arc::clone(whole.input()))?);
    if Aggregation::of(&partial).is_none() {
        return Ok(None);
    }
    let states = Arc::new(ShardAggregateExec::try_new(partial)?);
    let unfiltered = vec![None; functions.len()];
    Ok(Some(Arc::new(part(AggregateMode::Final, groups.as_final(), unfiltered, states)?)))
}
