//! Joins rows where they lie, when equal keys already lie together.
//!
//! In: a physical plan for one machine. Out: the same, with joins on the shard keys of collections of the same layout done
//! shard by shard: without the hash repartitioning below them, and without collecting one side for all. Equal keys of one
//! type have equal hashes, so they are in shards of the same number, on the same node, in the same partition of both
//! scans; null keys all hash alike, so that holds for null-equal joins as well. Keys of different types may be equal and
//! hash apart: those keep their shuffle. So do null-aware anti joins, which must see all of one side.
//!
//! A join in place is no longer partitioned by DataFusion's hash. What stands directly above it may rely on equal keys
//! being together (an aggregate does, and they are), but not on *where*: a join above that found its left side already
//! partitioned by the key would then meet rows of the right side elsewhere. Such a join is done in place as well, or
//! neither is.

use std::sync::Arc;

use basalt_common::scan::{ShardLayout, ShardScanExec};
use datafusion::common::{JoinType, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

/// Does in place every join that the shard layout allows.
pub(super) fn join_in_place(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    rewrite(plan, false)
}

/// Rewrites from the top down; `bound` says that a node above needs these rows where DataFusion's hash puts them.
fn rewrite(plan: Arc<dyn ExecutionPlan>, bound: bool) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && !bound
        && let Some(inputs) = colocated_inputs(join)
    {
        let children = vec![rewrite(inputs.left, false)?, rewrite(inputs.right, false)?];
        let builder = join.builder().with_partition_mode(PartitionMode::Partitioned).reset_state();
        return builder.with_new_children(children)?.recompute_properties().build_exec();
    }
    let mut children = Vec::with_capacity(plan.children().len());
    for (index, child) in plan.children().into_iter().enumerate() {
        children.push(rewrite(Arc::clone(child), binds_child(&plan, index, bound))?);
    }
    let unchanged = plan.children().into_iter().zip(&children).all(|(before, after)| Arc::ptr_eq(before, after));
    match unchanged {
        true => Ok(plan),
        false => plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)),
    }
}

/// Whether a node needs its child's rows where DataFusion's hash puts them.
fn binds_child(plan: &Arc<dyn ExecutionPlan>, child: usize, bound: bool) -> bool {
    if plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>() {
        return false;
    }
    match plan.downcast_ref::<HashJoinExec>().map(HashJoinExec::partition_mode) {
        Some(PartitionMode::CollectLeft) => child == 1 && bound,
        Some(_) => true,
        None => bound || plan.children().len() > 1 && !plan.is::<UnionExec>(),
    }
}

/// The inputs of a join as they lie, and how their rows do.
struct Inputs {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    left_layout: ShardLayout,
    right_layout: ShardLayout,
}

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
    let (left, right) = (Arc::clone(left), Arc::clone(right));
    (same_type && on_keys).then_some(Inputs { left, right, left_layout, right_layout })
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
    if let Some(cooperative) = plan.downcast_ref::<CooperativeExec>() {
        return layout(cooperative.input());
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return join_layout(join);
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>()
        && *aggregate.mode() == AggregateMode::Partial
        && aggregate.group_expr().is_single()
    {
        let below = layout(aggregate.input())?;
        let key = aggregate.group_expr().expr().iter().position(|(column, _)| is_column(column, below.key))?;
        return Some(ShardLayout { key, ..below });
    }
    let projection = plan.downcast_ref::<ProjectionExec>()?;
    let below = layout(projection.input())?;
    let key = projection.expr().iter().position(|column| is_column(&column.expr, below.key))?;
    Some(ShardLayout { key, ..below })
}

/// The layout of what a join puts out, if it is done in place: by the key of a side of which every row has its own.
fn join_layout(join: &HashJoinExec) -> Option<ShardLayout> {
    // The layouts are not asked for again: that would double the time with each join.
    let Inputs { left, left_layout, right_layout, .. } = colocated_inputs(join)?;
    let right_key = right_layout.key;
    let right_at = left.schema().fields().len() + right_key;
    let keys = match join.join_type() {
        JoinType::Inner => vec![left_layout.key, right_at],
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => vec![left_layout.key],
        JoinType::Right => vec![right_at],
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => vec![right_key],
        JoinType::Full => Vec::new(),
    };
    let shown = |key: usize| match &join.projection {
        Some(projection) => projection.iter().position(|column| *column == key),
        None => Some(key),
    };
    let key = keys.into_iter().find_map(shown)?;
    Some(ShardLayout { key, ..left_layout })
}

fn is_column(expression: &Arc<dyn PhysicalExpr>, index: usize) -> bool {
    expression.downcast_ref::<Column>().is_some_and(|column| column.index() == index)
}
