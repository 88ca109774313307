//! Gives partial aggregates over scans to the leaves.
//!
//! In: a physical plan for one machine. Out: the same, each partial aggregate that leaves do inside a [`ShardAggregateExec`].

use std::sync::Arc;

use basalt_common::scan::{Aggregation, ShardAggregateExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;

pub(super) fn give_to_leaves(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| match Aggregation::of(&node) {
        Some(_) => Ok(Transformed::yes(Arc::new(ShardAggregateExec::try_new(node)?))),
        None => Ok(Transformed::no(node)),
    })
    .data()
}
