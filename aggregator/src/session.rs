//! A session: DataFusion's planner with our placement.
//!
//! In: the leaves and the way to them. Out: a [`SessionContext`] whose plans run where the shards are.

use std::sync::Arc;

use basalt_common::scan::{JOIN_KEYS_MAX, ScanCodec, ScanContext};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt, WorkerResolver};
use url::Url;

use crate::planner::{self, BothZeros, DistinctKeys, ExplainPlanner, NameSubqueries, ShardPlanner};

/// What all sessions of this aggregator share.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// The leaves that live.
    pub leaves: Arc<[Url]>,
    /// The way to them, and to shards of this process.
    pub scan: Arc<ScanContext>,
    /// Memory and disk that queries share.
    pub runtime: Arc<RuntimeEnv>,
    /// How many partitions of one operator run at once on one node.
    pub parallelism: usize,
}

#[derive(Debug, Clone)]
struct Leaves(Arc<[Url]>);

impl WorkerResolver for Leaves {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.to_vec())
    }
}

impl Sessions {
    /// Makes a session with no tables.
    ///
    /// # Errors
    /// A setting was refused.
    pub fn session(&self) -> Result<SessionContext> {
        let state = self.builder()?.build();
        let planner = Arc::clone(state.query_planner());
        let state = SessionStateBuilder::new_from_existing(state)
            .with_query_planner(Arc::new(ExplainPlanner::new(planner)))
            .build();
        Ok(SessionContext::from(state))
    }

    fn builder(&self) -> Result<SessionStateBuilder> {
        let mut builder = SessionStateBuilder::new().with_default_features();
        builder.scalar_functions().get_or_insert_default().extend(basalt_common::functions::all());
        // Sides of joins are chosen, and rows dealt out, with the aggregates in place.
        let mut rules = PhysicalOptimizer::new().rules;
        rules.insert(0, Arc::new(DistinctKeys));
        builder
            .with_config(self.config())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_analyzer_rule(Arc::new(NameSubqueries))
            .with_optimizer_rule(Arc::new(BothZeros))
            .with_physical_optimizer_rules(rules)
            .with_query_planner(Arc::new(ShardPlanner))
            .with_distributed_worker_resolver(Leaves(Arc::clone(&self.leaves)))
            .with_distributed_channel_resolver(self.scan.channels.clone())
            .with_distributed_planner()
            .with_distributed_user_codec(ScanCodec)
            .with_distributed_desired_task_count_handler(planner::desired_tasks)
            .with_distributed_scale_up_leaf_node_handler(planner::divide)
            .with_distributed_route_tasks_handler(planner::route)
            // A stage's tasks stand for nodes, in a union too; the isolator would give each branch some of the nodes.
            .with_distributed_children_isolator_unions(false)?
            .with_distributed_metrics_collection(false)
    }

    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.parallelism)
            // Shards are the partitions; dealing rows out in turn would undo their layout.
            .with_round_robin_repartition(false)
            .with_information_schema(true);
        // Names of fields are as documents have them, and errors say where they are.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_distinct_values = JOIN_KEYS_MAX;
        config.set_extension(Arc::clone(&self.scan));
        config
    }
}
