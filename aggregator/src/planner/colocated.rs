//! Joins rows where they lie, when equal keys already lie together.
//!
//! In: a physical plan for one machine. Out: the same, with joins on the shard keys of two collections of the same layout
//! done shard by shard: without the hash repartitioning below them, and without collecting one side for all. Equal keys
//! of one type have equal hashes, so they are in shards of the same number, on the same node, in the same partition of
//! both scans; null keys all hash alike, so that holds for null-equal joins as well. Keys of different types may be equal
//! and hash apart: those keep their shuffle. So do null-aware anti joins, which must see all of one side.

use std::sync::Arc;

use basalt_common::scan::{ShardLayout, ShardScanExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

/// Makes every join that the shard layout allows a join of shard with shard.
pub(super) fn join_in_place(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<HashJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let Some((left, right)) = colocated_inputs(join) else {
            return Ok(Transformed::no(node));
        };
        let builder = join.builder().with_partition_mode(PartitionMode::Partitioned).reset_state();
        let joined = builder.with_new_children(vec![left, right])?.recompute_properties().build_exec()?;
        Ok(Transformed::yes(joined))
    })
    .data()
}

type Inputs = (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>);

/// The join's inputs as they lie, if joining them there is right.
fn colocated_inputs(join: &HashJoinExec) -> Option<Inputs> {
    let (left, right) = (as_it_lies(join.left()), as_it_lies(join.right()));
    let (left_layout, right_layout) = (layout(left)?, layout(right)?);
    if join.null_aware || left_layout.places != right_layout.places {
        return None;
    }
    let same_type =
        left.schema().field(left_layout.key).data_type() == right.schema().field(right_layout.key).data_type();
    let on_keys = join.on().iter().any(|(l, r)| is_column(l, left_layout.key) && is_column(r, right_layout.key));
    (same_type && on_keys).then(|| (Arc::clone(left), Arc::clone(right)))
}

/// The plan below a hash repartitioning or a merge of partitions without a limit, else the plan itself.
fn as_it_lies(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    if let Some(shuffle) = plan.downcast_ref::<RepartitionExec>()
        && matches!(shuffle.partitioning(), Partitioning::Hash(_, _))
    {
        return shuffle.input();
    }
    match plan.downcast_ref::<CoalescePartitionsExec>() {
        Some(merge) if merge.fetch().is_none() => merge.input(),
        _ => plan,
    }
}

/// The layout of a plan's rows, through operators that keep rows where they are.
fn layout(plan: &Arc<dyn ExecutionPlan>) -> Option<ShardLayout> {
    if let Some(scan) = plan.downcast_ref::<ShardScanExec>() {
        return scan.layout().cloned();
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = layout(filter.input())?;
        let key = match filter.projection() {
            Some(projection) => projection.iter().position(|column| *column == below.key)?,
            None => below.key,
        };
        return Some(ShardLayout { key, ..below });
    }
    let projection = plan.downcast_ref::<ProjectionExec>()?;
    let below = layout(projection.input())?;
    let key = projection.expr().iter().position(|column| is_column(&column.expr, below.key))?;
    Some(ShardLayout { key, ..below })
}

fn is_column(expression: &Arc<dyn PhysicalExpr>, index: usize) -> bool {
    expression.downcast_ref::<Column>().is_some_and(|column| column.index() == index)
}
