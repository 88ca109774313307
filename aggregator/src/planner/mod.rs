//! Turns DataFusion's plan for one machine into one that runs where the shards are.
//!
//! In: a logical plan. Out: a physical plan. [`ShardPlanner`] stands before datafusion-distributed's planner: it joins
//! colocated rows in place ([`colocated`]), tells scans what a sort above wants ([`top`]), gives partial
//! aggregates to the leaves ([`partial`]), lets joins be ended ([`ending`]), sends a plan with one owner there whole, and else
//! names the query's nodes in every scan. The hooks ([`tasks`]) then tell the distributed planner how many tasks a stage has, which shards each gets and
//! where it runs. [`ExplainPlanner`] stands before all and shows what they made.

mod colocated;
mod distinct;
mod ending;
mod explain;
mod partial;
mod subquery;
mod tasks;
mod top;
mod zeros;

use std::sync::Arc;

use async_trait::async_trait;
use basalt_common::in_time::QueryTime;
use basalt_common::scan::{RemotePlanExec, ScanContext, ShardScanExec};
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use url::Url;

pub(crate) use distinct::DistinctKeys;
pub(crate) use explain::ExplainPlanner;
pub(crate) use subquery::NameSubqueries;
pub(crate) use tasks::{desired_tasks, divide, route};
pub(crate) use zeros::BothZeros;

/// Plans for the shards' places, before stages are cut.
#[derive(Debug)]
pub(crate) struct ShardPlanner;

#[async_trait]
impl QueryPlanner for ShardPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(logical_plan, session).await?;
        let plan = partial::give_to_leaves(top::tell_scans(colocated::join_in_place(plan)?)?)?;
        let time = session.config().get_extension::<QueryTime>();
        let plan = ending::let_end(plan, time.as_deref())?;
        let owners = owners(&plan)?;
        match owners.as_slice() {
            [] => Ok(plan),
            [owner] if is_here(session, owner) => Ok(plan),
            [owner] => whole(plan, owner),
            _ => name_tasks(plan, owners.into()),
        }
    }
}

/// The nodes that own shards the plan reads, in a fixed order.
fn owners(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Url>> {
    let mut owners = Vec::new();
    plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<ShardScanExec>() {
            owners.extend(scan.places().iter().map(|place| place.node.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    owners.sort();
    owners.dedup();
    Ok(owners)
}

fn is_here(session: &dyn Session, node: &Url) -> bool {
    let scan = session.config().get_extension::<ScanContext>();
    scan.is_some_and(|scan| scan.local.as_ref().is_some_and(|leaf| leaf.node == *node))
}

/// Sends the plan to its one owner; one that writes, or holds what cannot be sent, runs here and streams what it reads.
fn whole(plan: Arc<dyn ExecutionPlan>, owner: &Url) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.exists(|node| Ok(node.is::<DataSinkExec>()))? {
        return Ok(plan);
    }
    let merged: Arc<dyn ExecutionPlan> = match plan.output_partitioning().partition_count() {
        1 => Arc::clone(&plan),
        _ => Arc::new(CoalescePartitionsExec::new(Arc::clone(&plan))),
    };
    Ok(match RemotePlanExec::try_new(merged, owner.clone()) {
        Ok(remote) => Arc::new(remote),
        Err(_) => plan,
    })
}

fn name_tasks(plan: Arc<dyn ExecutionPlan>, owners: Arc<[Url]>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| match node.downcast_ref::<ShardScanExec>() {
        Some(scan) => Ok(Transformed::yes(Arc::new(scan.clone().with_tasks(Arc::clone(&owners))))),
        None => Ok(Transformed::no(node)),
    })
    .data()
}
