//! Sets of floats with one zero have both.
//!
//! In: a plan. Out: the same, but `x IN (0.0, …)` names `-0.0` too. In SQL they are equal, and DataFusion's comparisons see to that; its sets
//! compare floats bit by bit.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug)]
pub(crate) struct BothZeros;

impl OptimizerRule for BothZeros {
    fn name(&self) -> &str {
        "both_zeros"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let both = expression.transform_up(|part| Ok(with_both(part)))?;
            Ok(both.update_data(|expression| name.restore(expression)))
        })
    }
}

fn with_both(part: Expr) -> Transformed<Expr> {
    let zero = |item: &Expr| match item {
        Expr::Literal(ScalarValue::Float64(Some(float)), _) if *float == 0.0 => Some(float.to_bits()),
        _ => None,
    };
    match part {
        Expr::InList(InList { expr, mut list, negated }) => {
            let zeros: Vec<u64> = list.iter().filter_map(zero).collect();
            let missing = [-0.0_f64, 0.0].into_iter().filter(|float| !zeros.contains(&float.to_bits()));
            let missing: Vec<Expr> = missing.filter(|_| !zeros.is_empty()).map(lit).collect();
            let is_changed = !missing.is_empty();
            list.extend(missing);
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), is_changed)
        }
        other => Transformed::no(other),
    }
}
