//! Semi and anti joins meet each key of the side that is only looked at once in a partition.
//!
//! In: a physical plan before sides, layouts and filters of joins are chosen. Out: the same, with a partial aggregate by the keys over that
//! side: `IN (SELECT status FROM orders)` with five statuses meets five rows in each partition, however many orders there are. DataFusion's hash
//! join goes through every pair of equal keys. The aggregate is partial: what it leaves double makes no other answer, and it stops where nothing is
//! gained. Leaves make it from the codes of a column.

use std::sync::Arc;

use basalt_common::sql_type::ID_COLUMN;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, Result};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::joins::HashJoinExec;

/// The rule.
#[derive(Debug)]
pub(crate) struct DistinctKeys;

impl PhysicalOptimizerRule for DistinctKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>().map(once_each).transpose()?.flatten() {
            Some(join) => Ok(Transformed::yes(join)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "DistinctKeys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The side of which a join only asks whether a key is there.
fn looked_at(join: &HashJoinExec) -> Option<JoinSide> {
    match join.join_type() {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(JoinSide::Right),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(JoinSide::Left),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => None,
    }
}

/// The same join, with an aggregate over the side that is only looked at: none where a condition looks at more than its keys, or these are
/// known to be distinct.
fn once_each(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(side) = looked_at(join).filter(|_| join.filter().is_none()) else { return Ok(None) };
    let is_left = side == JoinSide::Left;
    let input = if is_left { join.left() } else { join.right() };
    let keys = join.on().iter().map(|(left, right)| Arc::clone(if is_left { left } else { right }));
    let keys: Vec<PhysicalExprRef> = keys.collect();
    let is_id = |key: &PhysicalExprRef| key.downcast_ref::<Column>().is_some_and(|column| column.name() == ID_COLUMN);
    if input.is::<AggregateExec>() || keys.iter().any(is_id) {
        return Ok(None);
    }
    let names = names(&keys, &input.schema());
    let groups = keys.into_iter().zip(names.iter().cloned()).collect();
    let by = PhysicalGroupBy::new_single(groups);
    let once = AggregateExec::try_new(AggregateMode::Partial, by, vec![], vec![], Arc::clone(input), input.schema())?;
    let once: Arc<dyn ExecutionPlan> = Arc::new(once);
    let on = join.on().iter().zip(names).enumerate().map(|(place, ((left, right), name))| {
        let key = Arc::new(Column::new(&name, place)) as PhysicalExprRef;
        if is_left { (key, Arc::clone(right)) } else { (Arc::clone(left), key) }
    });
    let children = if is_left { [once, Arc::clone(join.right())] } else { [Arc::clone(join.left()), once] };
    let builder = join.builder().with_on(on.collect()).reset_state();
    builder.with_new_children(children.into())?.recompute_properties().build_exec().map(Some)
}

/// The names of keys behind the aggregate. What a join says to a scan while it runs goes through an aggregate by names: a column keeps its own,
/// and nothing else has that of a column.
fn names(keys: &[PhysicalExprRef], input: &Schema) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(keys.len());
    for key in keys {
        let column = key.downcast_ref::<Column>();
        let is_named = |column: &&Column| input.index_of(column.name()).is_ok_and(|index| index == column.index());
        let is_free = |name: &String| !names.contains(name) && input.index_of(name).is_err();
        let own = column.filter(is_named).map(|column| column.name().to_string()).filter(|own| !names.contains(own));
        let made = || (0..).map(|number| format!("key{number}")).find(is_free).expect("some number is free");
        let name = own.unwrap_or_else(made);
        names.push(name);
    }
    names
}
