//! What rows a scan gives: predicates that were above it in the plan.
//!
//! In: expressions over a scan's columns. Out: one predicate over columns of its own, so that what it reads need not be among
//! what the scan gives. Owns which expressions a leaf evaluates; how it does so is the leaf's affair.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::{is_volatile, snapshot_physical_expr};

use super::ScanColumn;
use super::column::resolve;

/// The rows of a scan: those for which its predicate is true.
#[derive(Debug, Clone)]
pub struct ScanFilter {
    /// The names and types of the predicate's columns.
    pub schema: SchemaRef,
    /// Where each comes from.
    pub columns: Arc<[ScanColumn]>,
    /// The predicate; its columns are those of `schema`.
    pub predicate: Arc<dyn PhysicalExpr>,
}

impl ScanFilter {
    /// The filter that lets through what `before` does and for which `predicate`, over a scan's columns, is true too; none where
    /// leaves do not evaluate such a predicate.
    pub(super) fn and(
        before: Option<&Self>,
        predicate: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        columns: &[ScanColumn],
    ) -> Option<Self> {
        let evaluated = !is_volatile(predicate) && is_evaluated(predicate);
        evaluated.then(|| Self::joined(before, predicate, schema, columns)).flatten()
    }

    /// As [`Self::and`], for a predicate that other operators of the plan make while it runs, as joins and sorts with a limit do, of
    /// columns as they are.
    pub(super) fn and_dynamic(
        before: Option<&Self>,
        predicate: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        columns: &[ScanColumn],
    ) -> Option<Self> {
        let of_columns = predicate.children().iter().all(|child| child.is::<Column>());
        let taken = predicate.is::<DynamicFilterPhysicalExpr>() && of_columns;
        taken.then(|| Self::joined(before, predicate, schema, columns)).flatten()
    }

    /// What `before` lets through, and of what a filter made of dynamic predicates says now the parts that are `wanted`: to leave
    /// out the others lets through more rows, which the operators that made them leave out themselves.
    ///
    /// # Errors
    /// A dynamic predicate cannot be read.
    pub fn and_now(
        before: Option<&Self>,
        dynamic: &Self,
        wanted: impl Fn(&Arc<dyn PhysicalExpr>, &Self) -> bool,
    ) -> Result<Option<Self>> {
        let mut all = before.cloned();
        let now = snapshot_physical_expr(Arc::clone(&dynamic.predicate))?;
        for part in split_conjunction(&now).into_iter().filter(|part| wanted(part, dynamic)) {
            all = Self::and(all.as_ref(), part, &dynamic.schema, &dynamic.columns).or(all);
        }
        Ok(all)
    }

    fn joined(
        before: Option<&Self>,
        predicate: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        columns: &[ScanColumn],
    ) -> Option<Self> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let mut own: Vec<ScanColumn> = Vec::new();
        if let Some(before) = before {
            fields.extend(before.schema.fields().iter().cloned());
            own.extend(before.columns.iter().cloned());
        }
        let rewritten = Arc::clone(predicate).transform_down(|expression| {
            let Some((column, field)) = resolve(&expression, schema, columns) else {
                return Ok(Transformed::no(expression));
            };
            let same = |(there, there_field): (&ScanColumn, &Arc<Field>)| *there == column && **there_field == *field;
            let index = own.iter().zip(&fields).position(same).unwrap_or_else(|| {
                own.push(column);
                fields.push(Arc::clone(&field));
                own.len() - 1
            });
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        });
        let predicate = rewritten.ok()?.data;
        let predicate = match before {
            Some(before) => Arc::new(BinaryExpr::new(Arc::clone(&before.predicate), Operator::And, predicate)),
            None => predicate,
        };
        Some(Self { schema: Arc::new(Schema::new(fields)), columns: own.into(), predicate })
    }
}

/// Whether leaves evaluate an expression: whether it means the same on any node, for each row by itself.
fn is_evaluated(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let mut all = true;
    let visited = expression.apply(|part| {
        all &= part.is::<Column>()
            || part.is::<Literal>()
            || part.is::<BinaryExpr>()
            || part.is::<NotExpr>()
            || part.is::<NegativeExpr>()
            || part.is::<IsNullExpr>()
            || part.is::<IsNotNullExpr>()
            || part.is::<InListExpr>()
            || part.is::<LikeExpr>()
            || part.is::<CastExpr>()
            || part.is::<TryCastExpr>()
            || part.is::<CaseExpr>()
            || part.is::<ScalarFunctionExpr>();
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.is_ok() && all
}

impl fmt::Display for ScanFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = |expression: Arc<dyn PhysicalExpr>| -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
            let Some(column) = expression.downcast_ref::<Column>() else { return Ok(Transformed::no(expression)) };
            let field = &self.schema.fields()[column.index()];
            let name = super::exec::shown((field, &self.columns[column.index()]));
            Ok(Transformed::yes(Arc::new(Column::new(&name, column.index()))))
        };
        match Arc::clone(&self.predicate).transform_down(column) {
            Ok(shown) => write!(f, "{}", shown.data),
            Err(_) => write!(f, "{}", self.predicate),
        }
    }
}
