//! EXPLAIN that shows the plan which will run.
//!
//! In: any logical plan. Out: for EXPLAIN, the logical plan and the divided physical plan with its stages, tasks and
//! nodes; anything else is planned as it is. DataFusion alone would explain its own plan for one machine.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::display::{PlanType, StringifiedPlan};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion_distributed::display_plan_ascii;

/// Plans EXPLAIN itself and everything else with the planner it wraps.
#[derive(Debug)]
pub(crate) struct ExplainPlanner {
    planner: Arc<dyn QueryPlanner + Send + Sync>,
}

impl ExplainPlanner {
    pub(crate) fn new(planner: Arc<dyn QueryPlanner + Send + Sync>) -> Self {
        Self { planner }
    }
}

#[async_trait]
impl QueryPlanner for ExplainPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let LogicalPlan::Explain(explain) = logical_plan else {
            return self.planner.create_physical_plan(logical_plan, session).await;
        };
        let plan = self.planner.create_physical_plan(&explain.plan, session).await?;
        let rows = vec![
            StringifiedPlan::new(PlanType::FinalLogicalPlan, explain.plan.display_indent().to_string()),
            StringifiedPlan::new(PlanType::FinalPhysicalPlan, display_plan_ascii(plan.as_ref(), false)),
        ];
        let schema = Arc::new(explain.schema.as_arrow().clone());
        Ok(Arc::new(ExplainExec::new(schema, rows, explain.verbose)))
    }
}
