//! Conditions as tests of one typed column.
//!
//! In: an expression over a filter's columns. Out: a predicate on the values of one field and type that says the same, if there
//! is one.

use std::ops::Bound;
use std::sync::Arc;

use basalt_common::id::FieldId;
use basalt_common::scan::{ScanColumn, ScanFilter, ScanStep};
use basalt_common::schema::Schema;
use basalt_common::sql_type::{JSON, has_extension};
use basalt_common::text::Analyzer;
use basalt_common::value::Type;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column as ColumnExpr, InListExpr, IsNotNullExpr, LikeExpr, Literal,
};

use crate::column::{Column, ColumnError, Datum, Predicate};
use crate::field::{FieldValues, FileColumn, Ids};
use crate::overlay::Run;
use crate::piece::{Held, Piece};
use crate::segment::SegmentVersion;
use crate::terms::Terms;
use crate::text::TextIndex;

/// What is tested: the values of one type of a field, or the `_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Id,
    Field(FieldId),
}

/// A predicate on the values of one column.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) on: Tested,
    pub(super) predicate: Predicate<'static>,
}

/// What a test looks at in a file: a column, and its indexes if it has them.
#[derive(Clone, Copy)]
pub(crate) enum Encoded<'v> {
    Ids(&'v Piece<Column>),
    Field(&'v FileColumn),
}

impl<'v> Encoded<'v> {
    pub(crate) fn column(self) -> Result<Held<'v, Column>, ColumnError> {
        match self {
            Self::Ids(column) => column.get(),
            Self::Field(file) => file.column.get(),
        }
    }

    pub(crate) fn terms(self) -> Result<Option<Held<'v, Terms>>, ColumnError> {
        match self {
            Self::Ids(_) => Ok(None),
            Self::Field(file) => file.terms.as_ref().map(Piece::get).transpose(),
        }
    }

    /// The words of its texts, if an analyser made them.
    pub(crate) fn words(self, analyzer: Analyzer) -> Result<Option<Held<'v, TextIndex>>, ColumnError> {
        match self {
            Self::Ids(_) => Ok(None),
            Self::Field(file) => file.words(analyzer),
        }
    }
}

impl Test {
    /// The test that says the same as an expression, if there is one.
    pub(super) fn of(expression: &Arc<dyn PhysicalExpr>, filter: &ScanFilter, schema: &Schema) -> Option<Self> {
        let tested = |expression: &Arc<dyn PhysicalExpr>| {
            let index = expression.downcast_ref::<ColumnExpr>()?.index();
            Tested::of(&filter.columns[index], filter.schema.field(index), schema)
        };
        let (tested, predicate) = if let Some(compared) = expression.downcast_ref::<BinaryExpr>() {
            if *compared.op() == Operator::Or {
                return Self::of(compared.left(), filter, schema)?.or(&Self::of(compared.right(), filter, schema)?);
            }
            let (column, operator, constant) = match constant(compared.right()) {
                Some(constant) => (compared.left(), *compared.op(), constant),
                None => (compared.right(), compared.op().swap()?, constant(compared.left())?),
            };
            let tested = tested(column)?;
            let constant = tested.datum(constant)?;
            (tested, comparison(operator, constant)?)
        } else if let Some(list) = expression.downcast_ref::<InListExpr>().filter(|list| !list.negated()) {
            let tested = tested(list.expr())?;
            let constants = list.list().iter().map(|item| tested.datum(constant(item)?));
            let constants = constants.collect::<Option<Vec<_>>>()?;
            (tested, Predicate::In(constants))
        } else if let Some(like) = expression.downcast_ref::<LikeExpr>() {
            let tested = tested(like.expr()).filter(|_| !like.negated() && !like.case_insensitive())?;
            let Datum::String(pattern) = tested.datum(constant(like.pattern())?)? else { return None };
            (tested, prefix(&pattern)?)
        } else if let Some(there) = expression.downcast_ref::<IsNotNullExpr>() {
            (tested(there.arg())?, Predicate::Present)
        } else {
            let tested = tested(expression)?;
            let predicate = Predicate::equal(tested.datum(&ScalarValue::Boolean(Some(true)))?);
            (tested, predicate)
        };
        Some(Self { on: tested, predicate })
    }

    /// Whether any value of a run that is laid over what it tests may pass.
    pub(super) fn may_pass(&self, run: &Run) -> bool {
        self.reads_ints(run) || run.may_match(self.on.of, &self.predicate)
    }

    /// Ints are floats where floats are wanted.
    fn reads_ints(&self, run: &Run) -> bool {
        self.on.of == Type::Float && run.values().column(Type::Int).is_some()
    }

    /// The places of the values of such a run that pass, in parts; nothing where each has to be evaluated.
    pub(super) fn find<'r>(&self, run: &'r Run) -> Option<Vec<&'r [u32]>> {
        if self.reads_ints(run) { None } else { run.find(self.on.of, &self.predicate) }
    }

    /// How many values of such a run pass, at most.
    pub(super) fn count(&self, run: &Run) -> usize {
        match self.may_pass(run) {
            true => self.find(run).map_or(run.rows().len(), |found| found.iter().map(|places| places.len()).sum()),
            false => 0,
        }
    }

    /// What either lets through, if that is a set of one column's values: planners write short sets so.
    fn or(&self, other: &Self) -> Option<Self> {
        let (own, others) = (self.predicate.values()?, other.predicate.values()?);
        let both = own.iter().chain(others).cloned().collect();
        (self.on == other.on).then_some(Self { on: self.on, predicate: Predicate::In(both) })
    }

    /// What both let through, if that is a test of one column too.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let predicate = self.predicate.and(&other.predicate).filter(|_| self.on == other.on)?;
        Some(Self { on: self.on, predicate })
    }
}

/// A column that can be tested: of one type, and an Arrow array of just its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tested {
    pub(crate) place: Place,
    pub(crate) of: Type,
    /// The type that the scan names, where the field has several.
    pub(crate) kind: Option<Type>,
}

impl Tested {
    pub(crate) fn of(column: &ScanColumn, wanted: &Field, schema: &Schema) -> Option<Self> {
        let of = match wanted.data_type() {
            DataType::Boolean => Type::Bool,
            DataType::Int64 => Type::Int,
            DataType::Float64 => Type::Float,
            DataType::Utf8 if !has_extension(wanted, JSON) && !has_extension(wanted, "basalt.tagged") => Type::String,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Type::Timestamp,
            DataType::Date32 => Type::Date,
            DataType::Time64(TimeUnit::Microsecond) => Type::Time,
            _ => return None,
        };
        let (field, below) = match column {
            ScanColumn::Id => return Some(Self { place: Place::Id, of, kind: None }),
            ScanColumn::Field { field, below } => (field, below),
            ScanColumn::Score(_) => return None,
        };
        let (mut field, mut kind) = (*field, None);
        for step in below {
            match step {
                ScanStep::Key(key) => (field, kind) = (schema.child(field, key)?, None),
                ScanStep::Kind(named) if *named == of => kind = Some(of),
                ScanStep::Kind(_) => return None,
            }
        }
        Some(Self { place: Place::Field(field), of, kind })
    }

    /// The column in a segment's file: none where no row has a value of the type. `None` where there is no such column, and the
    /// values have to be evaluated.
    pub(crate) fn column<'v>(&self, version: &'v SegmentVersion) -> Option<Option<Encoded<'v>>> {
        let field = match self.place {
            Place::Id => {
                return match version.segment().ids() {
                    Ids::File(column, _) => Some(Some(Encoded::Ids(column))),
                    Ids::Memory(_) => None,
                };
            }
            Place::Field(field) => field,
        };
        let Some(values) = version.layers(field).0 else { return Some(None) };
        let FieldValues::File(file) = values else { return None };
        // Ints are floats where floats are wanted.
        match self.of == Type::Float && file.find(Type::Int).is_some() {
            true => None,
            false => Some(file.find(self.of).map(Encoded::Field)),
        }
    }

    /// A constant that values of the column are compared with.
    pub(super) fn datum(&self, constant: &ScalarValue) -> Option<Datum<'static>> {
        Some(match (self.of, constant) {
            (Type::Bool, ScalarValue::Boolean(Some(value))) => Datum::Bool(*value),
            (Type::Int, ScalarValue::Int64(Some(value))) => Datum::Int(*value),
            (Type::Float, ScalarValue::Float64(Some(value))) => Datum::Float(*value),
            (
                Type::String,
                ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            ) => Datum::String(text.clone().into()),
            (Type::Timestamp, ScalarValue::TimestampMicrosecond(Some(value), _)) => Datum::Int(*value),
            (Type::Date, ScalarValue::Date32(Some(value))) => Datum::Int((*value).into()),
            (Type::Time, ScalarValue::Time64Microsecond(Some(value))) => Datum::Int(*value),
            _ => return None,
        })
    }
}

pub(super) fn constant(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expression.downcast_ref::<Literal>().map(Literal::value)
}

fn comparison(operator: Operator, constant: Datum<'static>) -> Option<Predicate<'static>> {
    Some(match operator {
        Operator::Eq => Predicate::equal(constant),
        Operator::Lt => Predicate::Within(Bound::Unbounded, Bound::Excluded(constant)),
        Operator::LtEq => Predicate::Within(Bound::Unbounded, Bound::Included(constant)),
        Operator::Gt => Predicate::Within(Bound::Excluded(constant), Bound::Unbounded),
        Operator::GtEq => Predicate::Within(Bound::Included(constant), Bound::Unbounded),
        _ => return None,
    })
}

/// The texts that begin as a pattern of LIKE does, if that is all it says.
fn prefix(pattern: &str) -> Option<Predicate<'static>> {
    let start = pattern.strip_suffix('%').filter(|start| !start.contains(['%', '_', '\\']) && !start.is_empty())?;
    let last = start.chars().next_back()?;
    let above = (last as u32 + 1..=char::MAX as u32).find_map(char::from_u32)?;
    let end = format!("{}{above}", &start[..start.len() - last.len_utf8()]);
    let (start, end) = (Datum::String(start.to_string().into()), Datum::String(end.into()));
    Some(Predicate::Within(Bound::Included(start), Bound::Excluded(end)))
}
