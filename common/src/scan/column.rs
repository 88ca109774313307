//! Where the columns of a scan come from.
//!
//! In: projections that stand above a scan. Out: columns by field and path, so that reading `user.address.city` reads one
//! column, whatever else `user` has. Owns which expressions are paths: columns, and struct fields by name; and scores of texts, which
//! leaves have without reading these.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::id::FieldId;
use crate::sql_type::is_dynamic;
use crate::text::Statistics;
use crate::text::functions::TextCall;
use crate::value::Type;

/// One step from a field's column to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScanStep {
    /// To a field of the object.
    Key(String),
    /// To the values of one type.
    Kind(Type),
}

/// Where a column comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScanColumn {
    /// The documents' `_id`s.
    Id,
    /// A field of the collection, or what is below it.
    Field {
        /// The field.
        field: FieldId,
        /// The way down from there.
        below: Vec<ScanStep>,
    },
    /// How well texts match a query.
    Score(Arc<ScanScore>),
}

/// Scores of the texts of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScanScore {
    /// Where the texts come from.
    pub texts: ScanColumn,
    /// What is looked for in them.
    pub call: TextCall,
    /// What is known of all texts.
    pub statistics: Statistics,
}

impl ScanColumn {
    /// A field of the collection, whole.
    pub fn field(field: FieldId) -> Self {
        Self::Field { field, below: Vec::new() }
    }

    fn child(self, step: ScanStep) -> Option<Self> {
        match self {
            Self::Id | Self::Score(_) => None,
            Self::Field { field, mut below } => {
                below.push(step);
                Some(Self::Field { field, below })
            }
        }
    }
}

/// The column that an expression over a scan's columns is, if it is one, with its type.
pub(super) fn resolve(
    expression: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    columns: &[ScanColumn],
) -> Option<(ScanColumn, Arc<Field>)> {
    if let Some(column) = expression.downcast_ref::<Column>() {
        let field = schema.fields().get(column.index())?;
        return Some((columns.get(column.index())?.clone(), Arc::clone(field)));
    }
    if let Some((texts, call, statistics)) = TextCall::of_score(expression) {
        let (texts, field) = resolve(texts, schema, columns)?;
        let is_text = *field.data_type() == DataType::Utf8 && matches!(texts, ScanColumn::Field { .. });
        let score = ScanColumn::Score(Arc::new(ScanScore { texts, call, statistics }));
        return is_text.then(|| (score, Arc::new(Field::new("score", DataType::Float64, true))));
    }
    let call = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expression.as_ref())?;
    let (base, keys) = call.args().split_first()?;
    let (mut column, mut field) = resolve(base, schema, columns)?;
    for key in keys {
        let key = text(key)?;
        let DataType::Struct(children) = field.data_type() else { return None };
        let step = match is_dynamic(&field) {
            true => ScanStep::Kind(Type::ALL.into_iter().find(|of| of.name() == key)?),
            false => ScanStep::Key(key.clone()),
        };
        let child = children.iter().find(|child| *child.name() == key)?;
        column = column.child(step)?;
        field = Arc::clone(child);
    }
    Some((column, field))
}

fn text(expression: &Arc<dyn PhysicalExpr>) -> Option<String> {
    match expression.downcast_ref::<Literal>()?.value() {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Some(text.clone())
        }
        _ => None,
    }
}
