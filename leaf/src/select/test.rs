//! Conditions as tests of one typed column.
//!
//! In: an expression over a filter's columns. Out: a predicate on the values of one field and type that says the same, if there
//! is one.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use basalt_common::id::FieldId;
use basalt_common::scan::{ScanColumn, ScanFilter, ScanStep};
use basalt_common::schema::Schema;
use basalt_common::sql_type::{JSON, has_extension};
use basalt_common::text::Analyzer;
use basalt_common::value::Type;
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
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

/// A set of ints that are read as floats, of which several may be one, has at most so many.
const INTS_MAX: usize = 8_192;

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
    ints: Ints,
}

/// What a test of floats says of ints.
#[derive(Debug)]
enum Ints {
    /// They are no floats here.
    Apart,
    /// This, where they are floats too.
    Told(Predicate<'static>),
    /// Each has to be evaluated: too many pass to be named.
    Untold,
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
    pub(super) fn new(on: Tested, predicate: Predicate<'static>) -> Self {
        let ints = match on.of == Type::Float && on.kind.is_none() {
            true => of_ints(&predicate).map_or(Ints::Untold, Ints::Told),
            false => Ints::Apart,
        };
        Self { on, predicate, ints }
    }

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
        Some(Self::new(tested, predicate))
    }

    /// What the values of each type must be.
    fn predicates(&self) -> impl Iterator<Item = (Type, &Predicate<'static>)> {
        let ints = match &self.ints {
            Ints::Told(ints) => Some((Type::Int, ints)),
            Ints::Apart | Ints::Untold => None,
        };
        std::iter::once((self.on.of, &self.predicate)).chain(ints)
    }

    /// The columns of a segment's file that are tested, with what their values must be. `None` where there are no such columns, and the values have
    /// to be evaluated.
    pub(super) fn columns<'v>(&self, version: &'v SegmentVersion) -> Option<Vec<(Encoded<'v>, &Predicate<'static>)>> {
        let Place::Field(field) = self.on.place else {
            return Some(self.on.column(version)?.map(|ids| (ids, &self.predicate)).into_iter().collect());
        };
        let file = match version.layers(field).0 {
            None => return Some(Vec::new()),
            Some(FieldValues::Memory(_)) => return None,
            Some(FieldValues::File(file)) => file,
        };
        if matches!(self.ints, Ints::Untold) && file.find(Type::Int).is_some() {
            return None;
        }
        let columns = self.predicates().map(|(of, predicate)| Some((Encoded::Field(file.find(of)?), predicate)));
        Some(columns.flatten().collect())
    }

    /// Whether any value of a run that is laid over what it tests may pass.
    pub(super) fn may_pass(&self, run: &Run) -> bool {
        self.has_untold(run) || self.predicates().any(|(of, predicate)| run.may_match(of, predicate))
    }

    /// Whether a run has ints that have to be evaluated.
    fn has_untold(&self, run: &Run) -> bool {
        matches!(self.ints, Ints::Untold) && run.values().column(Type::Int).is_some()
    }

    /// The places of the values of such a run that pass, in parts; nothing where each has to be evaluated.
    pub(super) fn find<'r>(&self, run: &'r Run) -> Option<Vec<&'r [u32]>> {
        if self.has_untold(run) {
            return None;
        }
        let each = self.predicates().map(|(of, predicate)| run.find(of, predicate));
        Some(each.collect::<Option<Vec<_>>>()?.concat())
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
        let both = named(&self.predicate)?.into_iter().chain(named(&other.predicate)?).collect();
        (self.on == other.on).then(|| Self::new(self.on, Predicate::In(both)))
    }

    /// What both let through, if that is a test of one column too.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let predicate = self.predicate.and(&other.predicate).filter(|_| self.on == other.on)?;
        Some(Self::new(self.on, predicate))
    }
}

/// The values that a predicate lets through, if they are named: both zeros are, which are one in SQL.
fn named(predicate: &Predicate<'static>) -> Option<Vec<Datum<'static>>> {
    match predicate {
        Predicate::Within(Bound::Included(Datum::Float(-0.0)), Bound::Included(Datum::Float(0.0))) => {
            Some([-0.0, 0.0].map(Datum::Float).to_vec())
        }
        _ => predicate.values().map(<[_]>::to_vec),
    }
}

/// The ints that a predicate on floats lets through as floats: beyond 2^53 several are the same one. Nothing where it names too many.
pub(super) fn of_ints(predicate: &Predicate<'_>) -> Option<Predicate<'static>> {
    // The least int from which on an order is not `before` the float any more.
    let from = |float: &Datum<'_>, before: fn(Ordering) -> bool| {
        let Datum::Float(float) = float else { return None };
        let (mut low, mut high) = (i128::from(i64::MIN), i128::from(i64::MAX) + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match before((middle as f64).total_cmp(float)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Some(low)
    };
    let int = |int: i128| Datum::Int(int as i64);
    Some(match predicate {
        Predicate::Present => Predicate::Present,
        Predicate::Within(low, high) => {
            let start = match low {
                Bound::Included(low) => from(low, Ordering::is_lt)?,
                Bound::Excluded(low) => from(low, Ordering::is_le)?,
                Bound::Unbounded => i64::MIN.into(),
            };
            let end = match high {
                Bound::Included(high) => from(high, Ordering::is_le)?,
                Bound::Excluded(high) => from(high, Ordering::is_lt)?,
                Bound::Unbounded => i128::from(i64::MAX) + 1,
            };
            match start < end {
                true => Predicate::Within(Bound::Included(int(start)), Bound::Included(int(end - 1))),
                false => Predicate::In(Vec::new()),
            }
        }
        Predicate::In(floats) => {
            let mut ints = Vec::new();
            for float in floats.iter().filter(|float| matches!(float, Datum::Float(float) if float.fract() == 0.0)) {
                ints.extend((from(float, Ordering::is_lt)?..from(float, Ordering::is_le)?).map(int));
                if ints.len() > INTS_MAX {
                    return None;
                }
            }
            Predicate::In(ints)
        }
    })
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

/// What a comparison lets through. In SQL -0.0 is 0.0, though not in the order of all floats.
fn comparison(operator: Operator, constant: Datum<'static>) -> Option<Predicate<'static>> {
    let (least, greatest) = match constant {
        Datum::Float(0.0) => (Datum::Float(-0.0), Datum::Float(0.0)),
        _ => (constant.clone(), constant),
    };
    Some(match operator {
        Operator::Eq => Predicate::Within(Bound::Included(least), Bound::Included(greatest)),
        Operator::Lt => Predicate::Within(Bound::Unbounded, Bound::Excluded(least)),
        Operator::LtEq => Predicate::Within(Bound::Unbounded, Bound::Included(greatest)),
        Operator::Gt => Predicate::Within(Bound::Excluded(greatest), Bound::Unbounded),
        Operator::GtEq => Predicate::Within(Bound::Included(least), Bound::Unbounded),
        _ => return None,
    })
}

/// A predicate in which sets with one zero have both: DataFusion compares their floats bit by bit, and in SQL -0.0 is 0.0. Those of a query's text have both
/// since it was planned; those that joins make while they run have not.
pub(super) fn with_both_zeros(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &ArrowSchema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let is_zero = |item: &Arc<dyn PhysicalExpr>| matches!(constant(item), Some(ScalarValue::Float64(Some(float))) if *float == 0.0);
    let both = |part: Arc<dyn PhysicalExpr>| {
        let Some(set) = part.downcast_ref::<InListExpr>().filter(|set| set.list().iter().any(is_zero)) else {
            return Ok(Transformed::no(part));
        };
        let zeros = [-0.0, 0.0].map(|zero| Arc::new(Literal::new(ScalarValue::Float64(Some(zero)))) as _);
        let items = set.list().iter().filter(|item| !is_zero(item)).cloned().chain(zeros).collect();
        let both = InListExpr::try_new(Arc::clone(set.expr()), items, set.negated(), schema)?;
        Ok(Transformed::yes(Arc::new(both) as Arc<dyn PhysicalExpr>))
    };
    Ok(Arc::clone(predicate).transform_up(both)?.data)
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

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::of_ints;
    use crate::column::{Datum, Predicate};

    /// A float, and ints near it.
    fn near() -> impl Strategy<Value = (f64, Vec<i64>)> {
        let special =
            [-0.0, f64::NAN, -f64::NAN, f64::INFINITY, -f64::INFINITY, 2_f64.powi(63), -(2_f64.powi(63)), 1e300];
        let float = prop_oneof![
            prop::sample::select(special.to_vec()),
            (-20_i64..20).prop_map(|eighths| eighths as f64 / 8.0),
            any::<i64>().prop_map(|int| int as f64),
        ];
        (float, prop::collection::vec(-2_000_i64..2_000, 1..20))
            .prop_map(|(float, apart)| (float, apart.into_iter().map(|by| (float as i64).saturating_add(by)).collect()))
    }

    proptest! {
        /// An int passes where it passes as a float.
        #[test]
        fn ints_pass_as_floats((float, ints) in near(), (other, more) in near(), kinds in (0..3, 0..3)) {
            let bound = |kind: i32, float: f64| match kind {
                0 => Bound::Included(Datum::Float(float)),
                1 => Bound::Excluded(Datum::Float(float)),
                _ => Bound::Unbounded,
            };
            let predicates = [
                Predicate::Present,
                Predicate::equal(Datum::Float(float)),
                Predicate::Within(bound(kinds.0, float), bound(kinds.1, other)),
                Predicate::In(vec![Datum::Float(float), Datum::Float(other)]),
            ];
            for predicate in predicates {
                let of_ints = of_ints(&predicate).expect("few ints are one float");
                for int in ints.iter().chain(&more).copied().chain([i64::MIN, i64::MAX, 0]) {
                    let (as_int, as_float) = (Datum::Int(int), Datum::Float(int as f64));
                    let passes = of_ints.meets(&as_int, &as_int);
                    prop_assert_eq!(passes, predicate.meets(&as_float, &as_float), "{} by {:?}", int, predicate);
                }
            }
        }
    }
}
