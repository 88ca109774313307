//! [`ShardScanExec`]: the plan node.
//!
//! In: shards with their places. Out: one stream per partition. Owns the rule by which shards become partitions; leaves
//! the split over nodes to the planner, which makes one variant per node with [`ShardScanExec::for_tasks`].

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, exec_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use url::Url;

use super::column::resolve;
use super::remote::{encode, open_remote};
use super::{ScanColumn, ScanContext, ScanFilter, ScanStep, ScanTarget, ScanTop, ShardPlace, ShardScan};

/// Of so many rows a filter lets one through, as planners guess that know nothing of it: DataFusion's own guess.
const FILTERED_SHARE: usize = 5;

/// How a collection's rows are laid over its shards: by the hash of one column.
///
/// Two scans with the same layout and key type hold equal keys in the same shard on the same node, so a join on that
/// column needs no shuffle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLayout {
    /// The index, in the scan's output, of the column whose hash chooses the shard.
    pub key: usize,
    /// All the collection's shards, in order.
    pub places: Arc<[ShardPlace]>,
}

/// Scans some shards of one collection.
///
/// Shape: the columns of `schema`, rows in no order, one partition per `partitions`; shard _i_ of the list is read by
/// partition _i_ mod `partitions`. The partitioning is declared unknown: the shard hash is not DataFusion's, and a
/// `Partitioning::Hash` would make it skip shuffles that are needed.
#[derive(Debug, Clone)]
pub struct ShardScanExec {
    target: Arc<ScanTarget>,
    schema: SchemaRef,
    /// INVARIANT: one for each field of `schema`; checked in [`ShardScanExec::new`].
    columns: Arc<[ScanColumn]>,
    places: Arc<[ShardPlace]>,
    layout: Option<ShardLayout>,
    tasks: Arc<[Url]>,
    filter: Option<Arc<ScanFilter>>,
    dynamic: Option<Arc<ScanFilter>>,
    limit: Option<usize>,
    top: Option<ScanTop>,
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ShardScanExec {
    /// Makes a scan of `places`, with one partition a shard.
    ///
    /// # Panics
    /// There are not as many columns as the schema has.
    pub fn new(
        target: Arc<ScanTarget>,
        schema: SchemaRef,
        columns: Arc<[ScanColumn]>,
        places: Arc<[ShardPlace]>,
    ) -> Self {
        assert_eq!(schema.fields().len(), columns.len(), "each column of a scan comes from somewhere");
        let properties = properties(&schema, places.len().max(1));
        Self {
            target,
            schema,
            columns,
            places,
            layout: None,
            tasks: Arc::from([]),
            filter: None,
            dynamic: None,
            limit: None,
            top: None,
            rows: None,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Stops each partition after `limit` rows.
    pub fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// Lets each shard leave out rows behind the first by a column of the output.
    pub fn with_top(mut self, top: Option<ScanTop>) -> Self {
        self.top = top;
        self
    }

    /// Gives only the rows that pass a filter.
    pub fn with_filter(mut self, filter: Option<Arc<ScanFilter>>) -> Self {
        self.filter = filter;
        self
    }

    /// Lets leaves leave out rows for which a predicate is not true that other operators make while the plan runs.
    pub fn with_dynamic(mut self, dynamic: Option<Arc<ScanFilter>>) -> Self {
        self.dynamic = dynamic;
        self
    }

    /// Gives the number of rows, as the planner estimates it.
    pub fn with_rows(mut self, rows: Option<usize>) -> Self {
        self.rows = rows;
        self
    }

    /// Names the output column whose hash chooses the shard.
    pub fn with_key(mut self, key: Option<usize>) -> Self {
        self.layout = key.map(|key| ShardLayout { key, places: Arc::clone(&self.places) });
        self
    }

    /// Names the nodes among which the query is divided: task _i_ of a stage runs on `tasks[i]`.
    pub fn with_tasks(mut self, tasks: Arc<[Url]>) -> Self {
        self.tasks = tasks;
        self
    }

    /// The nodes among which the query is divided, in task order; empty before the planner has chosen.
    pub fn tasks(&self) -> &Arc<[Url]> {
        &self.tasks
    }

    /// The shards this scan reads.
    pub fn places(&self) -> &[ShardPlace] {
        &self.places
    }

    /// How rows are laid over shards, if the output has the column that decides it.
    pub fn layout(&self) -> Option<&ShardLayout> {
        self.layout.as_ref()
    }

    /// What is scanned.
    pub fn target(&self) -> &Arc<ScanTarget> {
        &self.target
    }

    /// Where the columns come from, in the order of the schema.
    pub fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }

    /// Which rows are wanted.
    pub fn filter(&self) -> Option<&Arc<ScanFilter>> {
        self.filter.as_ref()
    }

    /// Which rows may be left out, as other operators say while the plan runs.
    pub fn dynamic(&self) -> Option<&Arc<ScanFilter>> {
        self.dynamic.as_ref()
    }

    /// The columns' limit of rows a partition.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The first rows by a column, if they are all that is wanted.
    pub fn top(&self) -> Option<ScanTop> {
        self.top
    }

    /// The same scan over other shards, with a fixed number of partitions.
    pub fn over(&self, places: Arc<[ShardPlace]>, partitions: usize) -> Self {
        let properties = properties(&self.schema, partitions);
        Self { places, properties, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// Splits the scan into one variant per task, each with the shards of that task's node.
    ///
    /// With as many tasks as [`Self::tasks`] every shard is read by its owner. With fewer, nodes are dealt out in turn; the
    /// scan then streams what it does not hold. All variants have the same number of partitions, and two scans of equal
    /// layout put a shard into the same partition.
    ///
    /// # Errors
    /// A shard's owner is not among the tasks.
    pub fn for_tasks(&self, task_count: usize) -> Result<Vec<Self>> {
        let mut shards: Vec<Vec<ShardPlace>> = vec![Vec::new(); task_count];
        for place in self.places.iter() {
            let Some(task) = self.tasks.iter().position(|node| *node == place.node) else {
                return internal_err!("shard {place} of {} has no task among {:?}", self.target.name, self.tasks);
            };
            shards[task % task_count].push(place.clone());
        }
        let partitions = shards.iter().map(Vec::len).max().unwrap_or(0).max(1);
        Ok(shards.into_iter().map(|places| self.over(places.into(), partitions)).collect())
    }

    /// The shards that a partition reads.
    pub(super) fn places_of(&self, partition: usize) -> Vec<ShardPlace> {
        let partitions = self.properties.partitioning.partition_count();
        self.places.iter().skip(partition).step_by(partitions).cloned().collect()
    }

    pub(super) fn shard_scan(&self, shard: u32) -> ShardScan {
        ShardScan {
            target: Arc::clone(&self.target),
            shard,
            schema: Arc::clone(&self.schema),
            columns: Arc::clone(&self.columns),
            filter: self.filter.clone(),
            dynamic: self.dynamic.clone(),
            limit: self.limit,
            top: self.top,
        }
    }

    /// Who made the predicates evaluates them still: they are not promised.
    fn take_in_dynamic(&self, pushed: &ChildPushdownResult) -> FilterPushdownPropagation<Arc<dyn ExecutionPlan>> {
        let mut dynamic: Option<ScanFilter> = self.dynamic.as_deref().cloned();
        for parent in &pushed.parent_filters {
            let both = ScanFilter::and_dynamic(dynamic.as_ref(), &parent.filter, &self.schema, &self.columns);
            dynamic = both.or(dynamic);
        }
        let none = vec![PushedDown::No; pushed.parent_filters.len()];
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(none);
        match dynamic {
            Some(dynamic) => {
                propagation.with_updated_node(Arc::new(self.clone().with_dynamic(Some(Arc::new(dynamic)))))
            }
            None => propagation,
        }
    }

    fn open(&self, place: &ShardPlace, context: &Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(node) = context.session_config().get_extension::<ScanContext>() else {
            return internal_err!("a scan needs a ScanContext in its session");
        };
        if let Some(leaf) = &node.local
            && let Some(stream) = leaf.shards.open(&self.shard_scan(place.shard), context)?
        {
            return Ok(stream);
        }
        if node.local.as_ref().is_some_and(|leaf| leaf.node == place.node) {
            return exec_err!(
                "the leaf does not hold shard {place} of {}; its placement is out of date",
                self.target.name
            );
        }
        let single: Arc<dyn ExecutionPlan> = Arc::new(self.over(Arc::from([place.clone()]), 1));
        Ok(open_remote(self.schema(), encode(&single)?, place.node.clone(), node.channels.clone()))
    }
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(schema)),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// A column's name and, where it is a part of a field, the way there.
pub(super) fn shown((field, column): (&Arc<Field>, &ScanColumn)) -> String {
    let below = match column {
        ScanColumn::Id => return field.name().clone(),
        ScanColumn::Score(score) => return format!("{}=score({:?})", field.name(), score.call.query),
        ScanColumn::Field { below, .. } => below,
    };
    let step = |step: &ScanStep| match step {
        ScanStep::Key(key) => format!(".{key}"),
        ScanStep::Kind(of) => format!("::{of}"),
    };
    match below.is_empty() {
        true => field.name().clone(),
        false => format!("{}={}", field.name(), below.iter().map(step).collect::<String>()),
    }
}

impl DisplayAs for ShardScanExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.schema.fields().iter().zip(self.columns.iter()).map(shown).collect();
        let shards: Vec<String> = self.places.iter().map(ToString::to_string).collect();
        write!(
            f,
            "ShardScanExec: {} shards=[{}] columns=[{}]",
            self.target.name,
            shards.join(", "),
            columns.join(", ")
        )?;
        if let Some(filter) = &self.filter {
            write!(f, " filter=[{filter}]")?;
        }
        if let Some(dynamic) = &self.dynamic {
            write!(f, " dynamic=[{dynamic}]")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " limit={limit}")?;
        }
        if let Some(top) = self.top {
            write!(f, " top=[{top}]")?;
        }
        if let Some(path) = self.target.path {
            write!(f, " path={path}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ShardScanExec {
    fn name(&self) -> &str {
        "ShardScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in self.filter.iter().chain(&self.dynamic) {
            if visit(&filter.predicate)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Takes in the predicates that leaves evaluate, and those that are made while the plan runs.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // Behind a limit, or among the first rows only, a filter would let other rows through.
        if self.limit.is_some() || self.top.is_some() {
            return Ok(FilterPushdownPropagation::all_unsupported(pushed));
        }
        if phase == FilterPushdownPhase::Post {
            return Ok(self.take_in_dynamic(&pushed));
        }
        let mut filter: Option<ScanFilter> = self.filter.as_deref().cloned();
        let mut taken = Vec::with_capacity(pushed.parent_filters.len());
        for parent in &pushed.parent_filters {
            match ScanFilter::and(filter.as_ref(), &parent.filter, &self.schema, &self.columns) {
                Some(both) => {
                    filter = Some(both);
                    taken.push(PushedDown::Yes);
                }
                None => taken.push(PushedDown::No),
            }
        }
        let any = taken.iter().any(|taken| matches!(taken, PushedDown::Yes));
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(taken);
        Ok(match any {
            true => propagation.with_updated_node(Arc::new(self.clone().with_filter(filter.map(Arc::new)))),
            false => propagation,
        })
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// Takes in a projection that only names columns and fields of structs: what is read then is those fields alone.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        // The column of the first rows is known by its index in the output.
        if self.top.is_some() {
            return Ok(None);
        }
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for (part, output) in projection.expr().iter().zip(projection.schema().fields()) {
            let Some((column, field)) = resolve(&part.expr, &self.schema, &self.columns) else { return Ok(None) };
            if field.data_type() != output.data_type() {
                return Ok(None);
            }
            columns.push(column);
            fields.push(Arc::clone(output));
        }
        let key = self.layout.as_ref().map(|layout| &self.columns[layout.key]);
        let key = key.and_then(|key| columns.iter().position(|column| column == key));
        let layout = self.layout.as_ref().and_then(|layout| Some(ShardLayout { key: key?, ..layout.clone() }));
        let metadata = projection.schema().metadata().clone();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let properties = properties(&schema, self.properties.partitioning.partition_count());
        Ok(Some(Arc::new(Self { schema, columns: columns.into(), layout, properties, ..self.clone() })))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mine = self.places_of(partition);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let scan = self.clone();
        let streams = futures::stream::iter(mine).map(move |place| scan.open(&place, &context)).try_flatten();
        let counted = streams.inspect_ok(move |batch| {
            metrics.output_rows().add(batch.num_rows());
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), counted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let (Some(rows), None) = (self.rows, partition) {
            let passing = if self.filter.is_some() { rows / FILTERED_SHARE } else { rows };
            statistics.num_rows = Precision::Inexact(passing);
        }
        Ok(Arc::new(statistics))
    }
}
