//! Oracle (b), for partial aggregates: the groups and states that a leaf makes of its segments are those of DataFusion's own
//! operators over the same documents in memory.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use basalt_common::calls::QueryId;
use basalt_common::clock::SystemClock;
use basalt_common::columns::TypedColumns;
use basalt_common::id::{CollectionId, ShardId};
use basalt_common::random::SeededRandom;
use basalt_common::scan::{Aggregation, ScanColumn, ScanFilter, ScanTarget, ShardScan, ShardScanExec};
use basalt_common::schema::Schema;
use basalt_common::value::Type;
use basalt_harness::rows::sorted_lines;
use basalt_leaf::aggregate::{PartialAggregate, pays};
use basalt_leaf::arrow::Rows;
use basalt_leaf::pins::Pins;
use basalt_leaf::reader::Reader;
use basalt_leaf::segment::{Segment, SegmentId, SegmentVersion};
use basalt_leaf::select::Selector;
use basalt_leaf::served::Served;
use basalt_leaf::shard::Snapshot;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, lit};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::TryStreamExt;

use crate::drawn::Filters;

type Plan = Arc<dyn ExecutionPlan>;

/// What a query asks: the columns it groups by, and its functions with their filters.
struct Asked {
    keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
}

impl Asked {
    fn draw(filters: &mut Filters) -> Result<Self> {
        let count = filters.columns.len() as u64;
        let keys = (0..filters.random.below(3)).map(|_| filters.random.below(count) as usize).collect::<Vec<_>>();
        let schema = Arc::clone(&filters.schema);
        let column = |index: usize| Arc::new(Column::new(schema.field(index).name(), index)) as Arc<dyn PhysicalExpr>;
        let mut functions = vec![build(count_udaf(), lit(1_i64), &filters.schema, "rows")?];
        let mut kept = vec![None];
        // Every second time that all rows are one group, only how many there are is asked.
        let is_count = keys.is_empty() && filters.random.chance(1, 2);
        for index in (0..schema.fields().len()).filter(|_| !is_count) {
            let name = format!("f{index}");
            functions.push(match (schema.field(index).data_type(), filters.random.below(3)) {
                (DataType::Int64, 0) => build(sum_udaf(), column(index), &filters.schema, &name)?,
                (DataType::Int64 | DataType::Float64 | DataType::Utf8, 1) => {
                    build(max_udaf(), column(index), &filters.schema, &name)?
                }
                (DataType::Int64 | DataType::Float64, 2) => build(min_udaf(), column(index), &filters.schema, &name)?,
                _ => build(count_udaf(), column(index), &filters.schema, &name)?,
            });
            let filter = filters.random.chance(1, 4).then(|| filters.random.below(count) as usize);
            kept.push(filter.map(|index| Arc::new(IsNotNullExpr::new(column(index))) as Arc<dyn PhysicalExpr>));
        }
        let keys = keys.into_iter().enumerate().map(|(place, index)| (column(index), format!("k{place}"))).collect();
        Ok(Self { keys, functions, filters: kept })
    }

    fn plan(&self, mode: AggregateMode, input: Plan, keys: PhysicalGroupBy, of: &Plan) -> Result<AggregateExec> {
        let (functions, filters) = (self.functions.clone(), self.filters.clone());
        Ok(AggregateExec::try_new(mode, keys, functions, filters, input, of.schema())?)
    }

    fn partial(&self, input: &Plan) -> Result<Plan> {
        let keys = PhysicalGroupBy::new_single(self.keys.clone());
        Ok(Arc::new(self.plan(AggregateMode::Partial, Arc::clone(input), keys, input)?))
    }

    /// The rows of the whole aggregate, made of states.
    async fn merged(&self, states: Vec<RecordBatch>, partial: &Plan, input: &Plan) -> Result<Vec<String>> {
        let memory: Plan = MemorySourceConfig::try_new_exec(&[states], partial.schema(), None)?;
        let keys = PhysicalGroupBy::new_single(self.keys.clone()).as_final();
        let whole = self.plan(AggregateMode::Final, memory, keys, input)?;
        let lines = sorted_lines(&collect(Arc::new(whole), Arc::new(TaskContext::default())).await?)?;
        // Of zeros, which are equal, the one that comes first is the least or the greatest, and stands for a group.
        let zero = |cell| if cell == "-0.0" { "0.0" } else { cell };
        let mut lines: Vec<String> =
            lines.iter().map(|line| line.split(" | ").map(zero).collect::<Vec<_>>().join(" | ")).collect();
        lines.sort_unstable();
        Ok(lines)
    }
}

fn build(
    function: Arc<datafusion::logical_expr::AggregateUDF>,
    argument: Arc<dyn PhysicalExpr>,
    schema: &Arc<datafusion::arrow::datatypes::Schema>,
    name: &str,
) -> Result<Arc<AggregateFunctionExpr>> {
    let built = AggregateExprBuilder::new(function, vec![argument]).schema(Arc::clone(schema)).alias(name).build()?;
    Ok(Arc::new(built))
}

/// The states that the leaf makes, a few rows at a time, given away now and then.
fn states(
    snapshot: &Snapshot,
    schema: &Schema,
    filter: &ScanFilter,
    scan: &ShardScan,
    plan: &Arc<Aggregation>,
    random: &mut SeededRandom,
) -> Result<Vec<RecordBatch>> {
    let selector = Selector::new(filter, schema)?;
    let mut groups = PartialAggregate::new(Arc::clone(plan), scan.clone(), schema)?;
    let mut states = Vec::new();
    for version in snapshot.segments() {
        let (rows, rest, _) = selector.candidates(version, None)?;
        let rows = selector.pass(&rest, version, schema, rows)?;
        let mut start = 0;
        while start < rows.len() {
            let length = (1 + random.below(300) as usize).min(rows.len() - start);
            groups.add(version, schema, &rows.slice(start, length))?;
            start += length;
            if random.chance(1, 8) {
                states.extend(groups.emit()?);
            }
        }
    }
    states.extend(groups.emit()?);
    Ok(states)
}

/// Compares one random aggregate of both shards; whether the leaf would have made it.
pub(crate) async fn check(
    files: &Snapshot,
    memory: &Snapshot,
    schema: &Schema,
    filters: &mut Filters,
    filter: &ScanFilter,
) -> Result<bool> {
    let asked = Asked::draw(filters)?;
    let target = ScanTarget {
        query: QueryId(0),
        collection: CollectionId(1),
        name: "c".into(),
        fence: None,
        path: None,
        analyze: false,
        expired: None,
    };
    let target = Arc::new(target);
    let (arrow, columns) = (Arc::clone(&filters.schema), Arc::clone(&filters.columns));
    let scan: Plan =
        Arc::new(ShardScanExec::new(Arc::clone(&target), Arc::clone(&arrow), Arc::clone(&columns), Arc::from([])));
    // Every second time through a projection, as queries have it.
    let input: Plan = match filters.random.chance(1, 2) {
        true => {
            let all = arrow.fields().iter().enumerate();
            let all = all.map(|(index, field)| {
                (Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>, field.name().clone())
            });
            Arc::new(ProjectionExec::try_new(all.collect::<Vec<_>>(), Arc::clone(&scan))?)
        }
        false => scan,
    };
    let partial = asked.partial(&input)?;
    let plan = Arc::new(Aggregation::of(&partial).context("leaves do such")?.0);
    let shard_scan = ShardScan {
        target,
        shard: 0,
        schema: Arc::clone(&arrow),
        columns,
        filter: None,
        dynamic: None,
        limit: None,
        top: None,
    };
    let states = states(files, schema, filter, &shard_scan, &plan, &mut filters.random)?;
    let ours = asked.merged(states, &partial, &input).await?;
    let selector = Selector::new(filter, schema)?;
    let mut batches = Vec::new();
    for version in memory.segments() {
        let rows = selector.pass(&selector.all(), version, schema, version.live())?;
        let rows = Rows { version, schema, rows: &rows };
        let read = shard_scan.columns.iter().zip(arrow.fields()).map(|(column, field)| rows.column(column, field));
        batches.push(RecordBatch::try_new(Arc::clone(&arrow), read.collect::<datafusion::common::Result<_>>()?)?);
    }
    let of_memory: Plan = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&arrow), None)?;
    let theirs = asked.partial(&of_memory)?;
    let states = collect(Arc::clone(&theirs), Arc::new(TaskContext::default())).await?;
    let theirs = asked.merged(states, &theirs, &of_memory).await?;
    ensure!(ours == theirs, "by {:?}: {ours:?}, expected {theirs:?}", asked.keys);
    Ok(pays(&plan, &shard_scan, schema, files))
}

/// Where no memory is left and no row of many segments passes, the groups of the last all come.
#[tokio::test]
async fn groups_that_come_late_under_little_memory_come() -> Result<()> {
    let mut schema = Schema::default();
    let field = schema.register(&["n".to_string()]);
    let shard = ShardId { collection: CollectionId(1), shard: 0 };
    let segment = |number: u64| {
        let values = TypedColumns::new(1, vec![(Type::Int, Arc::new(Int64Array::from(vec![number as i64])) as _)]);
        let ids = StringArray::from(vec![number.to_string()]);
        let segment = Segment::new(SegmentId(number), ids, None, [(field, values)].into());
        Arc::new(SegmentVersion::new(segment))
    };
    let snapshot = Arc::new(Snapshot::new(None, (0..200).map(segment).collect()));
    let arrow = Arc::new(ArrowSchema::new(vec![Field::new("n", DataType::Int64, true)]));
    let columns: Arc<[ScanColumn]> = Arc::from([ScanColumn::field(field)]);
    let column = || Arc::new(Column::new("n", 0)) as Arc<dyn PhysicalExpr>;
    let target = ScanTarget {
        query: QueryId(0),
        collection: CollectionId(1),
        name: "c".into(),
        fence: None,
        path: None,
        analyze: false,
        expired: None,
    };
    let target = Arc::new(target);
    let input: Plan =
        Arc::new(ShardScanExec::new(Arc::clone(&target), Arc::clone(&arrow), Arc::clone(&columns), Arc::from([])));
    let asked = Asked {
        keys: vec![(column(), "k".into())],
        functions: vec![build(count_udaf(), lit(1_i64), &arrow, "rows")?],
        filters: vec![None],
    };
    let partial = asked.partial(&input)?;
    let plan = Arc::new(Aggregation::of(&partial).context("leaves do such")?.0);
    let predicate: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column(), Operator::GtEq, lit(190_i64)));
    let filter = Arc::new(ScanFilter { schema: Arc::clone(&arrow), columns: Arc::clone(&columns), predicate });
    let scan = ShardScan {
        target,
        shard: 0,
        schema: arrow,
        columns,
        filter: Some(filter),
        dynamic: None,
        limit: None,
        top: None,
    };
    let served = Arc::new(Served::new(shard));
    let clock = Arc::new(SystemClock::default());
    let (snapshot, scanned) = Pins::new(clock).pin(QueryId(0), shard, || snapshot);
    let reader = Reader { scan, schema: Arc::new(schema), served, counters: Arc::default(), scanned };
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(0));
    let memory = MemoryConsumer::new("test").register(&pool);
    let states: Vec<RecordBatch> = reader.aggregate(plan, snapshot, memory).try_collect().await?;
    let groups = asked.merged(states, &partial, &input).await?;
    ensure!(groups.len() == 10, "{groups:?}");
    Ok(())
}
