//! Gives uncorrelated scalar subqueries column names of their own.
//!
//! In: an analysed plan. Out: the same, where `(SELECT max(n) FROM t)` yields a column named after its place in the
//! query. Distributed plans turn such subqueries into joins, and DataFusion's rewrite then finds the name `max(t.n)`
//! ambiguous where the outer query computes `max(t.n)` too.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::optimizer::AnalyzerRule;

/// The rule. Runs after DataFusion's own analysis.
#[derive(Debug)]
pub(crate) struct NameSubqueries;

impl AnalyzerRule for NameSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut named = 0;
        plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                let renamed = expression.transform_up(|expression| match expression {
                    Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => {
                        named += 1;
                        Ok(Transformed::yes(Expr::ScalarSubquery(rename(subquery, named)?)))
                    }
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(renamed.update_data(|expression| name.restore(expression)))
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "name_subqueries"
    }
}

fn rename(subquery: Subquery, number: usize) -> Result<Subquery> {
    let columns = subquery.subquery.schema().columns();
    let named = columns.into_iter().map(|column| Expr::Column(column).alias(format!("__subquery_{number}")));
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project(named)?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}
