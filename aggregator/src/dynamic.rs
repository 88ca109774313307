//! SQL over documents: paths into objects, and columns with values of several types.
//!
//! In: expressions as SqlToRel meets them. Out: expressions over typed children, which DataFusion knows how to run. Owns what
//! an operator means on a column of several types ([`sql_type`](basalt_common::sql_type)): it looks at the children that
//! its other side can be compared with, and is NULL in other rows; it never fails for a row's type.
//!
//! ```text
//! f > 5      coalesce(f.int > 5, f.float > 5)          NULL where f is a string
//! f = 'x'    f.string = 'x'
//! f + 1      coalesce(CAST(f.int AS DOUBLE), f.float) + 1
//! f.a.b      f.object.a.b                              NULL, with a warning, where no document has it
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use basalt_common::sql_type::is_dynamic;
use basalt_common::value::Type;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, TableReference};
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, GetFieldAccess, Operator, cast, lit};
use datafusion::prelude::coalesce;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::sql::nearest;

/// What a query's author should know although the query runs.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

/// The most warnings of one query.
const WARNINGS_MAX: usize = 100;

impl Warnings {
    /// Adds one, once.
    pub fn add(&self, warning: String) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// All of them, in the order in which they came.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// That a field is in no document.
    pub fn unknown_field<'k>(&self, path: &str, key: &str, known: impl Iterator<Item = &'k str>) {
        let hint = nearest(key, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.add(format!("no document has the field {path}, so it is NULL{hint}"));
    }
}

/// Plans paths and operators on documents; put before DataFusion's own planners.
#[derive(Debug)]
pub struct DocumentPlanner {
    warnings: Warnings,
}

impl DocumentPlanner {
    /// Makes one for a query.
    pub fn new(warnings: Warnings) -> Self {
        Self { warnings }
    }

    /// The field `key` of an object, or NULL.
    fn child(&self, value: Expr, field: &Field, key: &str, path: &str) -> (Expr, FieldRef) {
        let (value, object) = match is_dynamic(field) {
            true => match kind(field, Type::Object) {
                Some(object) => (value.field(Type::Object.name()), Arc::clone(object)),
                None => (value, Arc::new(Field::new(key, DataType::Null, true))),
            },
            false => (value, Arc::new(field.clone())),
        };
        let children: &[FieldRef] = match object.data_type() {
            DataType::Struct(children) => children,
            _ => &[],
        };
        match children.iter().find(|child| child.name() == key) {
            Some(child) => (value.field(key), Arc::clone(child)),
            None => {
                self.warnings.unknown_field(path, key, children.iter().map(|child| child.name().as_str()));
                (lit(ScalarValue::Null), Arc::new(Field::new(key, DataType::Null, true)))
            }
        }
    }
}

/// The child of a dynamic column for a type, if values of it were seen.
fn kind(field: &Field, of: Type) -> Option<&FieldRef> {
    match field.data_type() {
        DataType::Struct(children) => children.iter().find(|child| child.name() == of.name()),
        _ => None,
    }
}

const NUMBERS: [Type; 3] = [Type::Int, Type::Float, Type::Decimal];

/// The types that values of an Arrow type can be compared with.
fn comparable(with: &DataType) -> Vec<Type> {
    match with {
        _ if with.is_numeric() => NUMBERS.to_vec(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => vec![Type::String],
        DataType::Boolean => vec![Type::Bool],
        DataType::Timestamp(..) => vec![Type::Timestamp, Type::Date],
        DataType::Date32 | DataType::Date64 => vec![Type::Date, Type::Timestamp],
        DataType::Time32(_) | DataType::Time64(_) => vec![Type::Time],
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => vec![Type::Bytes],
        _ => Vec::new(),
    }
}

/// The children of these types, as expressions.
fn children(value: &Expr, field: &Field, types: &[Type]) -> Vec<Expr> {
    let there = types.iter().filter(|of| kind(field, **of).is_some());
    there.map(|of| value.clone().field(of.name())).collect()
}

fn first_of(mut choices: Vec<Expr>) -> Expr {
    match choices.len() {
        0 => lit(ScalarValue::Null),
        1 => choices.remove(0),
        _ => coalesce(choices),
    }
}

/// A dynamic column as a number: of its one numeric type, or as a float.
fn number(value: &Expr, field: &Field) -> Expr {
    let there = children(value, field, &NUMBERS);
    match there.len() {
        0 | 1 => first_of(there),
        _ => first_of(there.into_iter().map(|child| cast(child, DataType::Float64)).collect()),
    }
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

fn comparison(operator: &BinaryOperator) -> Option<Operator> {
    match operator {
        BinaryOperator::Eq => Some(Operator::Eq),
        BinaryOperator::NotEq => Some(Operator::NotEq),
        BinaryOperator::Lt => Some(Operator::Lt),
        BinaryOperator::LtEq => Some(Operator::LtEq),
        BinaryOperator::Gt => Some(Operator::Gt),
        BinaryOperator::GtEq => Some(Operator::GtEq),
        _ => None,
    }
}

fn arithmetic(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(operator, Plus | Minus | Multiply | Divide | Modulo)
}

/// The pairs of expressions that a comparison of two sides, of which one is dynamic at least, comes down to.
fn pairs(left: (&Expr, &Field), right: (&Expr, &Field)) -> Vec<(Expr, Expr)> {
    match (is_dynamic(left.1), is_dynamic(right.1)) {
        (true, false) => {
            let lefts = children(left.0, left.1, &comparable(right.1.data_type()));
            lefts.into_iter().map(|child| (child, right.0.clone())).collect()
        }
        (false, true) => pairs(right, left).into_iter().map(|(right, left)| (left, right)).collect(),
        _ => {
            let mut all = Vec::new();
            for of in Type::ALL.into_iter().filter(|of| kind(left.1, *of).is_some()) {
                let others: Vec<Type> = if NUMBERS.contains(&of) { NUMBERS.to_vec() } else { vec![of] };
                let rights = children(right.0, right.1, &others);
                all.extend(rights.into_iter().map(|right| (left.0.clone().field(of.name()), right)));
            }
            all
        }
    }
}

/// A comparison; values of types that cannot be compared are not equal, and in no order.
fn compare(left: (&Expr, &Field), operator: Operator, right: (&Expr, &Field)) -> Result<Expr> {
    let compared = pairs(left, right).into_iter().map(|(left, right)| binary(left, operator, right));
    let mut choices: Vec<Expr> = compared.collect();
    if matches!(operator, Operator::Eq | Operator::NotEq) {
        let both = left.0.clone().is_not_null().and(right.0.clone().is_not_null());
        let otherwise = lit(operator == Operator::NotEq);
        choices.push(datafusion::logical_expr::when(both, otherwise).end()?);
    }
    Ok(first_of(choices))
}

/// A result that fits a boolean place even where nothing can be compared.
fn boolean(expression: Expr) -> Expr {
    match expression {
        Expr::Literal(ScalarValue::Null, _) => lit(ScalarValue::Boolean(None)),
        other => other,
    }
}

impl ExprPlanner for DocumentPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok((_, left)), Ok((_, right))) = (raw.left.to_field(schema), raw.right.to_field(schema)) else {
            return Ok(PlannerResult::Original(raw));
        };
        if !is_dynamic(&left) && !is_dynamic(&right) {
            return Ok(PlannerResult::Original(raw));
        }
        if let Some(operator) = comparison(&raw.op) {
            let compared = compare((&raw.left, &left), operator, (&raw.right, &right))?;
            return Ok(PlannerResult::Planned(boolean(compared)));
        }
        let resolve = |value: Expr, field: &Field| match is_dynamic(field) {
            false => value,
            true if arithmetic(&raw.op) => number(&value, field),
            true => first_of(children(&value, field, &[Type::String])),
        };
        let (left, right) = (resolve(raw.left, &left), resolve(raw.right, &right));
        Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left, right }))
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let Ok((_, field)) = raw.expr.to_field(schema) else { return Ok(PlannerResult::Original(raw)) };
        let RawFieldAccessExpr { expr, field_access } = raw;
        match (&field_access, field.data_type()) {
            (GetFieldAccess::NamedStructField { name }, DataType::Struct(_) | DataType::Null) => {
                let key = name.to_string();
                let path = format!("{expr}[{key:?}]");
                Ok(PlannerResult::Planned(self.child(expr, &field, &key, &path).0))
            }
            (_, DataType::Struct(_)) if is_dynamic(&field) => {
                let expr = first_of(children(&expr, &field, &[Type::Array]));
                Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access }))
            }
            _ => Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access })),
        }
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut value = Expr::Column(Column::from((qualifier, field)));
        let mut field = Arc::new(field.clone());
        let mut path = field.name().clone();
        for key in nested {
            path = format!("{path}.{key}");
            (value, field) = self.child(value, &field, key, &path);
        }
        Ok(PlannerResult::Planned(value))
    }
}
