//! Tells scans under a sort with a limit that the first rows are all that is wanted.
//!
//! In: a physical plan for one machine. Out: the same with [`ScanTop`]s. The sort stays: a scan may give more than the first rows,
//! and in any order. Only the first column of the order counts, if it is one of the scan's own.

use std::sync::Arc;

use basalt_common::scan::{ScanTop, ShardScanExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

pub(super) fn tell_scans(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(Transformed::no(node)) };
        let first = sort.expr().first();
        let (Some(rows), Some(column)) = (sort.fetch(), first.expr.downcast_ref::<Column>()) else {
            return Ok(Transformed::no(node));
        };
        let (descending, nulls_first) = (first.options.descending, first.options.nulls_first);
        let top = ScanTop { column: column.index(), descending, nulls_first, rows };
        match told(sort.input(), top)? {
            Some(input) => Ok(Transformed::yes(replace_children_if_necessary(node, vec![input])?)),
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
}

/// The plan with its scan told, if there are only projections above one.
fn told(plan: &Arc<dyn ExecutionPlan>, top: ScanTop) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<ShardScanExec>() {
        let told = scan.limit().is_none().then(|| Arc::new(scan.clone().with_top(Some(top))) as _);
        return Ok(told);
    }
    if let Some(cooperative) = plan.downcast_ref::<CooperativeExec>() {
        let below = told(cooperative.input(), top)?;
        return below.map(|below| replace_children_if_necessary(Arc::clone(plan), vec![below])).transpose();
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let column = projection.expr().get(top.column).and_then(|part| part.expr.downcast_ref::<Column>());
    let Some(column) = column else { return Ok(None) };
    let below = told(projection.input(), ScanTop { column: column.index(), ..top })?;
    below.map(|below| replace_children_if_necessary(Arc::clone(plan), vec![below])).transpose()
}
