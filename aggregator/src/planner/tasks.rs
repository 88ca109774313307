//! The hooks by which datafusion-distributed learns where data lies.
//!
//! In: leaves of a plan and stages. Out: how many tasks a stage has, what each task reads, where it runs. The rule is
//! one: in every stage that reads shards, task _i_ is the _i_-th node of the query, and reads what that node owns.

use std::sync::Arc;

use basalt_common::scan::ShardScanExec;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedLeafExec, RouteTasksEvent,
    RouteTasksEventResponse, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
};
use url::Url;

/// As many tasks as the query has nodes; any other source of rows (VALUES, an empty relation) wants one but allows more,
/// since it would else force its whole stage, shards included, into one task.
pub(crate) fn desired_tasks(event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
    if let Some(scan) = event.plan.downcast_ref::<ShardScanExec>() {
        return Some(Ok(DesiredTaskCountEventResponse::desired(scan.tasks().len().max(1))));
    }
    event.plan.children().is_empty().then(|| Ok(DesiredTaskCountEventResponse::desired(1)))
}

/// Gives each task its own part of a leaf: the shards of its node; of any other source, all rows to the first task. In a
/// stage that cannot be divided the one task reads everything.
pub(crate) fn divide(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    if event.task_count == 1 {
        return None;
    }
    let variants = match event.plan.downcast_ref::<ShardScanExec>() {
        Some(scan) => scan
            .for_tasks(event.task_count)
            .map(|scans| scans.into_iter().map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>).collect::<Vec<_>>()),
        None => Ok(first_task_only(event.plan, event.task_count)),
    };
    Some(variants.and_then(|variants| {
        let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), variants)?;
        Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
    }))
}

fn first_task_only(plan: &Arc<dyn ExecutionPlan>, task_count: usize) -> Vec<Arc<dyn ExecutionPlan>> {
    let partitions = plan.output_partitioning().partition_count();
    let none = Arc::new(EmptyExec::new(plan.schema()).with_partitions(partitions)) as Arc<dyn ExecutionPlan>;
    let mut variants = vec![none; task_count];
    variants[0] = Arc::clone(plan);
    variants
}

/// Sends each task of a stage that reads shards to the node it stands for.
pub(crate) fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let mut tasks: Option<Arc<[Url]>> = None;
    let walked = event.plan.apply(|node| {
        let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() else {
            return Ok(TreeNodeRecursion::Continue);
        };
        match leaf.original().downcast_ref::<ShardScanExec>() {
            Some(scan) if scan.tasks().len() == event.task_count => {
                tasks = Some(Arc::clone(scan.tasks()));
                Ok(TreeNodeRecursion::Stop)
            }
            _ => Ok(TreeNodeRecursion::Continue),
        }
    });
    if let Err(error) = walked {
        return Some(Err(error));
    }
    tasks.map(|tasks| Ok(RouteTasksEventResponse::new(tasks.to_vec())))
}
