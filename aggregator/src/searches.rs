//! Searches in a plan: by which analyser words are made, and what is known of all texts.
//!
//! In: a logical plan, in which `search(column, 'query')` and its like name constants only. Out: the same, where each call also names
//! the analyser that the column's collection says, if it says one, and where scores have the statistics of the whole collection, asked of
//! its shards. A column of several types is searched where it is a string.
//!
//! ```text
//! search(t.body, 'x')                → search(t.body, 'x', 'english')
//! text_score(t.body, 'x', 'search')  → text_score(t.body, 'x', 'search', 'english', '<texts> <words> <texts with x>')
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use basalt_common::calls::StatisticsRequest;
use basalt_common::catalog::{CatalogState, Collection as Described};
use basalt_common::failure::Failure;
use basalt_common::fence::Fence;
use basalt_common::id::CollectionId;
use basalt_common::leaves::Leaves;
use basalt_common::sql_type::is_dynamic;
use basalt_common::text::functions::{SCORE, TextCall, score};
use basalt_common::text::{Analyzer, Kind, Statistics};
use basalt_common::value::{FieldPath, Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Sort, col, lit};
use futures::future::try_join_all;

use crate::collection::Collection;

/// What columns of scores are called while rows are sorted by them.
const SCORE_COLUMN: &str = "__score_";

/// What is asked of the shards of a collection.
type Asked = (CollectionId, FieldPath, TextCall);

/// Adds to the searches of a plan what they take from its collections.
///
/// # Errors
/// A call has no constants; or a shard cannot be asked.
pub async fn bind(
    plan: LogicalPlan,
    state: &CatalogState,
    leaves: &Leaves,
    fence: Option<&Fence>,
    patience: Duration,
) -> Result<LogicalPlan> {
    let mut asked: HashMap<Asked, Statistics> = HashMap::new();
    let mut searches = false;
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Some(search) = Search::of(part, &inputs, state)? {
                    searches = true;
                    asked.extend(search.asked().map(|asked| (asked, Statistics::default())));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if !searches {
        return Ok(plan);
    }
    for (asked, known) in &mut asked {
        *known = statistics(asked, state, leaves, fence, patience)
            .await
            .map_err(|failure| DataFusionError::External(Box::new(failure)))?;
    }
    rewrite(plan, state, &asked)
}

async fn statistics(
    (collection, path, call): &Asked,
    state: &CatalogState,
    leaves: &Leaves,
    fence: Option<&Fence>,
    patience: Duration,
) -> Result<Statistics, Failure> {
    let Some(collection) = state.collection(*collection) else { return Ok(Statistics::default()) };
    let of_shards = collection.shard_ids().map(|shard| async move {
        let after = fence.and_then(|fence| fence.position(shard));
        let (path, call) = (path.clone(), call.clone());
        leaves.owner(shard)?.calls.text_statistics(StatisticsRequest { shard, path, call, after, patience }).await
    });
    let mut all = Statistics::default();
    try_join_all(of_shards).await?.iter().for_each(|of_shard| all.add(of_shard));
    Ok(all)
}

fn rewrite(plan: LogicalPlan, state: &CatalogState, known: &HashMap<Asked, Statistics>) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
        let bound = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|part| {
                let inputs: Vec<&LogicalPlan> = inputs.iter().collect();
                match Search::of(&part, &inputs, state)? {
                    Some(search) => Ok(Transformed::yes(search.bound(known))),
                    None => Ok(Transformed::no(part)),
                }
            })?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })?;
        bound.transform_data(|node| match node {
            LogicalPlan::Sort(sort) => scores_first(sort),
            other => Ok(Transformed::no(other)),
        })
    });
    Ok(rewritten?.data)
}

/// A sort by scores as one by columns that its input has: whoever reads the texts then has the scores, and need not give the texts.
fn scores_first(sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let mut scores: Vec<Expr> = Vec::new();
    let mut by = Vec::with_capacity(sort.expr.len());
    for key in &sort.expr {
        let named = key.expr.clone().transform_up(|part| match &part {
            Expr::ScalarFunction(function) if function.name() == SCORE => {
                let known = scores.iter().position(|score| *score == part).unwrap_or_else(|| {
                    scores.push(part.clone());
                    scores.len() - 1
                });
                Ok(Transformed::yes(col(format!("{SCORE_COLUMN}{known}"))))
            }
            _ => Ok(Transformed::no(part)),
        })?;
        by.push(key.with_expr(named.data));
    }
    if scores.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    }
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let scores = scores.into_iter().enumerate().map(|(index, score)| score.alias(format!("{SCORE_COLUMN}{index}")));
    let scored = LogicalPlanBuilder::from(sort.input).project(columns.iter().cloned().chain(scores))?;
    let sorted = scored.sort_with_limit(by, sort.fetch)?;
    Ok(Transformed::yes(sorted.project(columns)?.build()?))
}

/// A call of a function that looks into texts, or scores them.
struct Search<'e> {
    function: &'e ScalarFunction,
    texts: Expr,
    call: TextCall,
    /// The collection and field that the texts are of, if they are of one.
    origin: Option<(CollectionId, FieldPath)>,
    scores: bool,
}

impl<'e> Search<'e> {
    fn of(expression: &'e Expr, inputs: &[&LogicalPlan], state: &CatalogState) -> Result<Option<Self>> {
        let Expr::ScalarFunction(function) = expression else { return Ok(None) };
        let scores = function.name() == SCORE;
        let constants: Vec<Option<&ScalarValue>> = function.args.iter().skip(1).map(constant).collect();
        let kind = match scores {
            // Whoever has all five was bound before.
            true if constants.len() == 4 => return Ok(None),
            true => constants.get(1).copied().flatten().and_then(|name| name.try_as_str().flatten()),
            false => Some(function.name()),
        };
        let Some(kind) = Kind::ALL.into_iter().find(|known| Some(known.name()) == kind) else { return Ok(None) };
        let named = constants.get(if scores { 2 } else { 1 }).copied();
        let mut call = TextCall::new(kind, &[constants.first().copied().flatten()])?;
        call.query()?;
        let origin = origin(&function.args[0], inputs);
        call.analyzer = match named {
            Some(_) => TextCall::new(kind, &[constants[0], named.flatten()])?.analyzer,
            None => {
                let said = |(collection, path): &(CollectionId, FieldPath)| {
                    state.collection(*collection).map(|collection: &Arc<Described>| collection.indexing.analyzer(path))
                };
                origin.as_ref().and_then(said).unwrap_or_default()
            }
        };
        Ok(Some(Self { function, texts: texts(&function.args[0], inputs), call, origin, scores }))
    }

    /// The statistics that it takes.
    fn asked(&self) -> Option<Asked> {
        let (collection, path) = self.origin.clone().filter(|_| self.scores)?;
        Some((collection, path, self.call.clone()))
    }

    fn bound(&self, known: &HashMap<Asked, Statistics>) -> Expr {
        let statistics = self.asked().and_then(|asked| known.get(&asked).cloned()).unwrap_or_default();
        if self.scores {
            return score(self.texts.clone(), &self.call, &statistics);
        }
        let mut arguments = vec![self.texts.clone(), lit(self.call.query.as_str())];
        if self.call.analyzer != Analyzer::default() {
            arguments.push(lit(self.call.analyzer.name()));
        }
        Arc::clone(&self.function.func).call(arguments)
    }
}

fn constant(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// The texts that an expression is, or has among values of other types.
fn texts(expression: &Expr, inputs: &[&LogicalPlan]) -> Expr {
    let field = inputs.iter().find_map(|input| expression.to_field(input.schema().as_ref()).ok());
    match field {
        Some((_, field)) if is_dynamic(&field) => match field.data_type() {
            datafusion::arrow::datatypes::DataType::Struct(kinds)
                if kinds.iter().any(|kind| kind.name() == Type::String.name()) =>
            {
                expression.clone().field(Type::String.name())
            }
            _ => lit(ScalarValue::Utf8(None)),
        },
        _ => expression.clone(),
    }
}

/// The collection and the field whose values an expression gives, if it gives those of one.
fn origin(expression: &Expr, inputs: &[&LogicalPlan]) -> Option<(CollectionId, FieldPath)> {
    match expression {
        Expr::Column(column) => inputs.iter().find_map(|input| of_column(column, input)),
        Expr::Alias(alias) => origin(&alias.expr, inputs),
        Expr::ScalarFunction(function) if function.name() == "get_field" => {
            let (base, keys) = function.args.split_first()?;
            let (collection, mut path) = origin(base, inputs)?;
            for key in keys {
                path = path.child(constant(key)?.try_as_str().flatten()?);
            }
            Some((collection, path))
        }
        _ => None,
    }
}

fn of_column(column: &Column, plan: &LogicalPlan) -> Option<(CollectionId, FieldPath)> {
    let index = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let collection = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<Collection>()?;
            Some((collection.target.collection, FieldPath::default().child(&column.name)))
        }
        LogicalPlan::Projection(projection) => origin(&projection.expr[index], &[projection.input.as_ref()]),
        LogicalPlan::SubqueryAlias(alias) => {
            let (qualifier, field) = alias.input.schema().qualified_field(index);
            of_column(&Column::from((qualifier, field)), &alias.input)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Distinct(_) => plan.inputs().into_iter().find_map(|input| of_column(column, input)),
        _ => None,
    }
}
