//! The way of a query, top to bottom.
//!
//! ```text
//! text ──parse, fill──▶ statement ──tables at one catalog state──▶ logical plan ──SessionState──▶ physical plan ──▶ rows
//!                          └ unknown field: a column of nulls and a warning; try again
//! ```
//!
//! A query has one number, under which leaves hold one snapshot of each shard for it, a time limit, and a share of memory. It is planned and
//! run on threads of the queries' own: however long a step takes that nobody can interrupt, who asked is answered in time.

use std::sync::Arc;
use std::time::Duration;

use basalt_common::calls::QueryId;
use basalt_common::catalog::{Catalog, CatalogState, Collection};
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::fence::Fence;
use basalt_common::in_time::QueryTime;
use basalt_common::random::SeededRandom;
use basalt_common::scan::ShardScanExec;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{
    FunctionRegistry, SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::analyzed;
use crate::boxes::add_boxes;
use crate::dynamic::{DocumentPlanner, Warnings};
use crate::estimates::Estimates;
use crate::failures::from_datafusion;
use crate::searches;
use crate::share::QueryShare;
use crate::sql::{self, Parameters, nearest};
use crate::tables::{KnownColumns, Tables, Workspaces};
use basalt_common::leaves::Leaves;

/// The name under which DataFusion knows all workspaces.
const CATALOG: &str = "basalt";

/// The most fields of one query that no document has.
const UNKNOWN_FIELDS_MAX: usize = 64;

/// A step that cannot be interrupted has a thread to itself; others have the rest, and the system shares the cores among them. More make each query
/// slower.
const THREADS_PER_CORE: usize = 2;

/// How many batches of rows are made before the client takes them.
const BATCHES_AHEAD: usize = 1;

/// A query that was answered early may have tasks that have not heard of it yet: whoever asks next waits so long for its place.
const PLACE_PATIENCE: Duration = Duration::from_millis(100);

/// Joins end so long behind the query's time: who asked was told by then.
const JOINS_END_BEHIND: Duration = Duration::from_secs(1);

/// What queries may take.
#[derive(Debug, Clone, Copy)]
pub struct QueryConfig {
    /// How long a query may run unless it asks for less.
    pub timeout_max: Duration,
    /// The most memory of one query, in bytes; over it, it spills or fails.
    pub query_memory_bytes_max: usize,
    /// How many queries run at once; more are told to come back.
    pub queries_max: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        // Sixteen queries of a gigabyte each fit the machines that run a node; most take a thousandth of it.
        Self { timeout_max: Duration::from_secs(60), query_memory_bytes_max: 1 << 30, queries_max: 64 }
    }
}

/// A query as a client asks it.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// The text.
    pub sql: String,
    /// Values for its placeholders.
    pub parameters: Parameters,
    /// The workspace of names without one.
    pub workspace: String,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What it must see.
    pub fence: Option<Fence>,
}

/// A query that runs.
pub struct Answer {
    /// Its number.
    pub id: QueryId,
    /// The columns of the rows.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: SendableRecordBatchStream,
    /// What its author should know; complete when the rows are.
    pub warnings: Warnings,
    /// How many shards it reads.
    pub shards: usize,
    /// When it must be over, by the monotonic clock.
    pub deadline: Duration,
    ending: Ending,
}

impl Answer {
    /// Ends the query; returns how many rows its scans read.
    pub async fn end(mut self) -> u64 {
        let (query, leaves) = (self.id, self.ending.leaves.take());
        drop(self.rows);
        let mut rows = 0;
        for leaf in leaves.iter().flat_map(|leaves| leaves.all()) {
            rows += leaf.calls.end_query(query).await;
        }
        rows
    }
}

/// Tells the leaves that a query is over, however it ended.
struct Ending {
    query: QueryId,
    leaves: Option<Leaves>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(leaves) = self.leaves.take() else { return };
        let query = self.query;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for leaf in leaves.all() {
                    leaf.calls.end_query(query).await;
                }
            });
        }
    }
}

/// Runs queries.
pub struct Queries {
    catalog: Arc<dyn Catalog>,
    leaves: Leaves,
    clock: Arc<dyn Clock>,
    /// A session without tables, and without the planners of expressions: a query's own come before these.
    template: SessionState,
    planners: Vec<Arc<dyn ExprPlanner>>,
    columns: KnownColumns,
    estimates: Estimates,
    numbers: std::sync::Mutex<SeededRandom>,
    places: Arc<Semaphore>,
    config: QueryConfig,
    threads: Threads,
}

/// The threads on which queries are planned and run.
struct Threads(Option<Runtime>);

impl Threads {
    fn new() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(cores * THREADS_PER_CORE).thread_name("query").enable_all();
        Ok(Self(Some(threads.thread_stack_size(sql::limits::STACK_BYTES_MIN).build()?)))
    }

    /// Starts a part of a query; it ends at its next step when what is returned is dropped.
    fn spawn<T: Send + 'static>(&self, part: impl Future<Output = T> + Send + 'static) -> SpawnedTask<T> {
        let _entered = self.0.as_ref().expect("they are there until they are dropped").enter();
        SpawnedTask::spawn(part)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever drops them may be an async thread, which must not wait for what runs there.
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

impl Queries {
    /// Makes them; `template` is a session without tables, `seed` should be random.
    ///
    /// # Errors
    /// No threads can be had.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        leaves: Leaves,
        clock: Arc<dyn Clock>,
        template: SessionState,
        seed: u64,
        config: QueryConfig,
    ) -> std::io::Result<Self> {
        let (places, numbers) = (Arc::new(Semaphore::new(config.queries_max)), SeededRandom::new(seed).into());
        let planners = template.expr_planners().to_vec();
        let template = SessionStateBuilder::new_from_existing(template).with_expr_planners(Vec::new()).build();
        let (columns, estimates) = (KnownColumns::default(), Estimates::default());
        let threads = Threads::new()?;
        Ok(Self { catalog, leaves, clock, template, planners, columns, estimates, numbers, places, config, threads })
    }

    /// What queries may take.
    pub fn config(&self) -> &QueryConfig {
        &self.config
    }

    /// How many run: planned, or making rows, until their last task has ended.
    pub fn running(&self) -> usize {
        self.config.queries_max.saturating_sub(self.places.available_permits())
    }

    /// Plans a query and starts it.
    ///
    /// # Errors
    /// The text is no query that can be run, its fence was not passed in time, or too many queries run.
    pub async fn start(self: &Arc<Self>, request: QueryRequest) -> Result<Answer, Failure> {
        let timeout = request.timeout.map_or(self.config.timeout_max, |timeout| timeout.min(self.config.timeout_max));
        let deadline = self.clock.monotonic() + timeout;
        let place = tokio::time::timeout(PLACE_PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let message = format!("{} queries run already (setting queries_max)", self.config.queries_max);
            return Err(Failure::new(FailureKind::TooManyRequests, message).with_hint("come back when some have ended"));
        };
        let queries = Arc::clone(self);
        let planning = self.threads.spawn(async move { queries.plan(&request, deadline, place).await });
        match tokio::time::timeout(timeout, planning).await {
            Err(_) => Err(timed_out(timeout)),
            Ok(Err(stopped)) => Err(Failure::new(FailureKind::Internal, format!("the query stopped: {stopped}"))),
            Ok(Ok(planned)) => {
                let Planned { id, rows, warnings, shards, ending } = planned?;
                Ok(Answer { id, schema: rows.schema(), rows, warnings, shards, deadline, ending })
            }
        }
    }

    /// Plans a query and runs it, in its place among those that may run at once.
    async fn plan(
        &self,
        request: &QueryRequest,
        deadline: Duration,
        place: OwnedSemaphorePermit,
    ) -> Result<Planned, Failure> {
        let (mut statement, path) = sql::parse_with_hint(&request.sql)?;
        sql::fill(&mut statement, &request.parameters)?;
        sql::name_paths(&mut statement);
        sql::take_scores(&mut statement)?;
        if sql::take_explain_format(&mut statement).is_some() {
            return Err(Failure::invalid("EXPLAIN has one form, and no FORMAT yet"));
        }
        let state = self.catalog_state(request.fence.as_ref()).await?;
        let collections = referenced(&state, &statement, &request.workspace)?;
        let id = QueryId(self.number());
        let analyze = matches!(&statement, Statement::Explain { analyze: true, .. });
        let mut tables = Tables::new(state, id, request.fence.clone(), self.leaves.clone());
        (tables.path, tables.analyze, tables.known) = (path, analyze, self.columns.clone());
        if collections.len() > 1 {
            tables.rows = self.estimates.of(&collections, &self.leaves, self.clock.as_ref()).await;
        }
        let tables = Arc::new(tables);
        let warnings = Warnings::default();
        let failed = |error: DataFusionError| from_datafusion(&error, &request.sql);
        let mut session = self.session(&tables, &request.workspace, &warnings).map_err(failed)?;
        let time = QueryTime::until(deadline + JOINS_END_BEHIND, Arc::clone(&self.clock));
        session.config_mut().set_extension(Arc::new(time));
        let logical = logical_plan(&session, &statement, &collections, &tables, &warnings).await.map_err(failed)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&logical).map_err(failed)?;
        let (fence, patience) = (request.fence.as_ref(), self.config.timeout_max);
        let logical = searches::bind(logical, &tables.state, &self.leaves, fence, patience).await.map_err(failed)?;
        let logical = add_boxes(logical).map_err(failed)?;
        // From here on leaves may hold snapshots for the query.
        let ending = Ending { query: id, leaves: Some(self.leaves.clone()) };
        let physical = session.create_physical_plan(&logical).await.map_err(failed)?;
        let shards = count_shards(&physical).map_err(failed)?;
        let context = Arc::new(TaskContext::from(&session).with_runtime(self.runtime(place)?));
        let mut rows = execute_stream(physical, Arc::clone(&context)).map_err(failed)?;
        if analyze {
            rows = analyzed::with_segments(rows, id, self.leaves.clone());
        }
        let rows = driven(rows, context);
        Ok(Planned { id, rows, warnings, shards, ending })
    }

    fn number(&self) -> u128 {
        let mut numbers = self.numbers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        u128::from(numbers.next_u64()) << 64 | u128::from(numbers.next_u64())
    }

    /// The newest catalog state, or the first that knows the fence's fields.
    async fn catalog_state(&self, fence: Option<&Fence>) -> Result<Arc<CatalogState>, Failure> {
        let Some(fence) = fence else { return Ok(self.catalog.state()) };
        let mut states = self.catalog.watch();
        let passed = |state: &Arc<CatalogState>| {
            let collection = state.collection(fence.collection());
            collection.is_none_or(|collection| collection.schema.version() >= fence.schema_version)
        };
        let state = states.wait_for(passed).await.map(|state| Arc::clone(&state));
        state.map_err(|_| Failure::new(FailureKind::Unavailable, "this node is stopping"))
    }

    /// The template with a query's tables. It is copied, not built: building registers every function anew, by all its names.
    fn session(
        &self,
        tables: &Arc<Tables>,
        workspace: &str,
        warnings: &Warnings,
    ) -> Result<SessionState, DataFusionError> {
        let mut session = self.template.clone();
        session.mark_start_execution();
        let config = session.config().clone().with_default_catalog_and_schema(CATALOG, workspace);
        *session.config_mut() = config;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.into(), Arc::new(Workspaces(Arc::clone(tables))));
        session.register_catalog_list(Arc::new(catalogs));
        session.register_expr_planner(Arc::new(DocumentPlanner::new(warnings.clone())))?;
        for planner in &self.planners {
            session.register_expr_planner(Arc::clone(planner))?;
        }
        Ok(session)
    }

    fn runtime(&self, place: OwnedSemaphorePermit) -> Result<Arc<RuntimeEnv>, Failure> {
        let share = QueryShare::new(self.config.query_memory_bytes_max, place);
        let runtime =
            RuntimeEnvBuilder::from_runtime_env(self.template.runtime_env()).with_memory_pool(Arc::new(share));
        let built = runtime.build_arc();
        built.map_err(|error| Failure::new(FailureKind::Internal, error.to_string()))
    }
}

struct Planned {
    id: QueryId,
    rows: SendableRecordBatchStream,
    warnings: Warnings,
    shards: usize,
    ending: Ending,
}

/// The rows, made on this thread's runtime, whoever asks for them.
fn driven(mut rows: SendableRecordBatchStream, context: Arc<TaskContext>) -> SendableRecordBatchStream {
    let mut made = RecordBatchReceiverStreamBuilder::new(rows.schema(), BATCHES_AHEAD);
    let sender = made.tx();
    made.spawn(async move {
        while let Some(batch) = rows.try_next().await? {
            if sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        // In this order: who has the last row may rely on it that nothing is read any more.
        drop((rows, context));
        drop(sender);
        Ok(())
    });
    made.build()
}

/// That a query's time is over.
pub fn timed_out(timeout: Duration) -> Failure {
    let message = format!("the query was not done in {} ms", timeout.as_millis());
    Failure::new(FailureKind::Timeout, message).with_hint("ask for less, or allow more with timeout_ms")
}

/// The collections that a statement names, each of which must be there.
fn referenced(state: &CatalogState, statement: &Statement, workspace: &str) -> Result<Vec<Arc<Collection>>, Failure> {
    if !state.workspaces().contains_key(workspace) {
        let near = nearest(workspace, state.workspaces().keys().map(String::as_str));
        let failure = Failure::new(FailureKind::NotFound, format!("there is no workspace {workspace}"));
        return Err(match near {
            Some(near) => failure.with_hint(format!("did you mean {near}?")),
            None => failure,
        });
    }
    let mut found = Vec::new();
    for reference in sql::references(statement) {
        let (workspace, name) = match reference.parts.as_slice() {
            [name] => (workspace, name.as_str()),
            [workspace, name] => (workspace.as_str(), name.as_str()),
            [catalog, workspace, name] if catalog == CATALOG => (workspace.as_str(), name.as_str()),
            _ => ("", ""),
        };
        if workspace == "information_schema" {
            continue;
        }
        match state.find(workspace, name) {
            Some(collection) => found.push(Arc::clone(collection)),
            None => return Err(no_collection(state, &reference, workspace, name)),
        }
    }
    found.dedup_by_key(|collection| collection.id);
    Ok(found)
}

fn no_collection(state: &CatalogState, reference: &sql::TableReference, workspace: &str, name: &str) -> Failure {
    let known = state.collections_of(workspace).map(|collection| collection.name.as_str());
    let message = format!("there is no collection {}", reference.parts.join("."));
    let mut failure = Failure::new(FailureKind::NotFound, message);
    failure.hint = nearest(name, known).map(|near| format!("did you mean {near}?"));
    (failure.line, failure.column) = (Some(reference.line), Some(reference.column));
    failure
}

/// Plans a statement. A field that no document has becomes a column of nulls of the first collection in which that lets
/// the statement be planned.
async fn logical_plan(
    session: &SessionState,
    statement: &Statement,
    collections: &[Arc<Collection>],
    tables: &Tables,
    warnings: &Warnings,
) -> Result<LogicalPlan, DataFusionError> {
    let mut trial: Option<(usize, String)> = None;
    for _ in 0..UNKNOWN_FIELDS_MAX * collections.len().max(1) {
        let planned = session.statement_to_plan(PlannedStatement::Statement(Box::new(statement.clone()))).await;
        let error = match planned {
            Ok(plan) => return Ok(plan),
            Err(error) => error,
        };
        let Some(name) = field_not_found(&error) else { return Err(error) };
        // The last trial did not help if the same field is missing still: it is another collection's, perhaps.
        let next = match trial.take() {
            Some((before, tried)) if tried == name => {
                tables.remove_unknown(&collections[before], &name);
                before + 1
            }
            _ => 0,
        };
        let Some(collection) = collections.get(next) else { return Err(error) };
        if tables.add_unknown(collection, &name) {
            let schema = &collection.schema;
            let known = schema.children(basalt_common::id::FieldId::ROOT).map(|field| schema.key(field));
            warnings.unknown_field(&name, &name, known);
        }
        trial = Some((next, name));
    }
    Err(DataFusionError::Plan(format!("more than {UNKNOWN_FIELDS_MAX} fields of the query are in no document")))
}

/// The name that planning did not find: of a column, or the head of a path.
fn field_not_found(error: &DataFusionError) -> Option<String> {
    match error {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => Some(field.name.clone()),
            _ => None,
        },
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => field_not_found(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(field_not_found),
        DataFusionError::Shared(inner) => field_not_found(inner),
        _ => None,
    }
}

fn count_shards(plan: &Arc<dyn ExecutionPlan>) -> Result<usize, DataFusionError> {
    let mut shards = 0;
    plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<ShardScanExec>() {
            shards += scan.places().len();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(shards)
}
