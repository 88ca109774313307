//! Which rows of a segment a scan's filter lets through.
//!
//! In: a filter, a segment's version. Out: rows. A condition on one field that compares it with constants is tested on the
//! encoded column of a file segment, where blocks whose statistics say enough are not looked at; what patches laid over the field
//! is evaluated by itself. Only for rows that pass all those are the columns of other conditions read, and only for rows that
//! pass everything what the scan gives.
//!
//! ```text
//! filter  a >= 5 AND lower(b) = 'x'     column a, encoded   3 7 8 2 9      bits  0 1 1 0 1
//!                                       laid over row 3     6              bits  0 1 1 1 1
//!                                       tombstone row 1                    bits  0 0 1 1 1   then b of rows 2, 3, 4
//! ```

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use basalt_common::id::FieldId;
use basalt_common::scan::{ScanColumn, ScanFilter, ScanStep};
use basalt_common::schema::Schema;
use basalt_common::sql_type::{JSON, has_extension};
use basalt_common::value::Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::{filter, prep_null_mask_filter};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column as ColumnExpr, InListExpr, IsNotNullExpr, LikeExpr, Literal,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use crate::arrow::{Rows, typed};
use crate::column::{Column, ColumnError, Datum, Predicate};
use crate::field::{FieldValues, Ids};
use crate::segment::{SegmentDamage, SegmentVersion};

/// A filter, taken apart.
#[derive(Debug)]
pub struct Selector {
    conditions: Vec<Condition>,
}

/// The conditions of a filter that no test of an encoded column of the segment stands for, by their numbers.
#[derive(Debug, Default)]
pub struct Rest(Vec<usize>);

/// One of the predicates that must all be true.
#[derive(Debug)]
struct Condition {
    /// What it reads.
    schema: SchemaRef,
    /// Where each column of the schema comes from.
    columns: Vec<ScanColumn>,
    /// The predicate over these columns.
    expression: Arc<dyn PhysicalExpr>,
    /// The same as a test of one encoded column.
    test: Option<Test>,
}

/// What is tested: the values of one type of a field, or the `_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Id,
    Field(FieldId),
}

#[derive(Debug)]
struct Test {
    place: Place,
    of: Type,
    /// The type that the filter names, where the field has several.
    kind: Option<Type>,
    predicate: Predicate<'static>,
}

/// Rows of a segment, a bit each.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    /// The rows that live.
    fn live(version: &SegmentVersion) -> Self {
        let rows = version.segment().rows();
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let (Some(last), tail @ 1..) = (words.last_mut(), rows % 64) {
            *last = (1 << tail) - 1;
        }
        for dead in version.tombstones() {
            dead.iter().for_each(|row| words[row as usize / 64] &= !(1 << (row % 64)));
        }
        Self(words)
    }

    fn has(&self, row: u32) -> bool {
        self.0[row as usize / 64] >> (row % 64) & 1 == 1
    }

    fn set(&mut self, row: u32, there: bool) {
        let (word, bit) = (&mut self.0[row as usize / 64], 1 << (row % 64));
        if there { *word |= bit } else { *word &= !bit }
    }

    fn rows(&self) -> UInt32Array {
        let mut rows = Vec::with_capacity(self.0.iter().map(|word| word.count_ones() as usize).sum());
        for (word, first) in self.0.iter().zip((0_u32..).step_by(64)) {
            let mut word = *word;
            while word != 0 {
                rows.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        rows.into()
    }
}

impl Selector {
    /// Takes a filter apart.
    ///
    /// # Errors
    /// The filter has other columns than it says.
    pub fn new(filter: &ScanFilter, schema: &Schema) -> Result<Self> {
        let condition = |expression: &Arc<dyn PhysicalExpr>| {
            let test = Test::of(expression, filter, schema);
            let read: BTreeSet<usize> = collect_columns(expression).iter().map(ColumnExpr::index).collect();
            let read: Vec<usize> = read.into_iter().collect();
            let columns = read.iter().map(|index| filter.columns[*index].clone()).collect();
            let own = |part: Arc<dyn PhysicalExpr>| {
                let Some(column) = part.downcast_ref::<ColumnExpr>() else { return Ok(Transformed::no(part)) };
                let index = read.binary_search(&column.index()).expect("its columns were collected");
                Ok(Transformed::yes(Arc::new(ColumnExpr::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
            };
            let expression = Arc::clone(expression).transform_down(own)?.data;
            Ok(Condition { schema: Arc::new(filter.schema.project(&read)?), columns, expression, test })
        };
        let conditions = split_conjunction(&filter.predicate).into_iter().map(condition).collect::<Result<_>>()?;
        Ok(Self { conditions })
    }

    /// The `_id`s of which every row that passes has one, if the filter says that.
    pub fn ids(&self) -> Option<Vec<String>> {
        let text = |datum: &Datum<'static>| match datum {
            Datum::String(text) => Some(text.to_string()),
            _ => None,
        };
        self.conditions.iter().filter_map(|condition| condition.test.as_ref()).find_map(|test| match &test.predicate {
            _ if test.place != Place::Id => None,
            Predicate::Within(Bound::Included(least), Bound::Included(most)) if least == most => {
                Some(vec![text(least)?])
            }
            Predicate::In(each) => each.iter().map(text).collect(),
            _ => None,
        })
    }

    /// All conditions, for rows of which nothing was tested.
    pub fn all(&self) -> Rest {
        Rest((0..self.conditions.len()).collect())
    }

    /// The rows that pass the tests of encoded columns, and the conditions that are still to be evaluated for them.
    ///
    /// # Errors
    /// The segment is damaged, or a condition fails.
    pub fn candidates(&self, version: &SegmentVersion) -> Result<(UInt32Array, Rest)> {
        let mut bits = Bits::live(version);
        let mut rest = Vec::new();
        for (index, condition) in self.conditions.iter().enumerate() {
            match condition.test.as_ref().and_then(|test| Some((test, test.column(version)?))) {
                Some((test, column)) => Self::test(condition, test, column, version, &mut bits)?,
                None => rest.push(index),
            }
        }
        Ok((bits.rows(), Rest(rest)))
    }

    /// The rows, of those given, that pass the conditions left.
    ///
    /// # Errors
    /// The segment is damaged, or a condition fails.
    pub fn pass(
        &self,
        rest: &Rest,
        version: &SegmentVersion,
        schema: &Schema,
        rows: UInt32Array,
    ) -> Result<UInt32Array> {
        let mut rows = rows;
        for index in &rest.0 {
            if rows.is_empty() {
                break;
            }
            let passed = self.conditions[*index].of_rows(version, schema, &rows)?;
            rows = filter(&rows, &passed)?.as_primitive().clone();
        }
        Ok(rows)
    }

    /// Leaves only the rows that pass a test.
    fn test(
        condition: &Condition,
        test: &Test,
        column: Option<&Column>,
        version: &SegmentVersion,
        bits: &mut Bits,
    ) -> Result<()> {
        let before = bits.clone();
        match column {
            Some(column) => {
                let selected = column.select(0..column.rows(), &test.predicate, &mut bits.0);
                selected.map_err(|cause| damage(version, test.place, cause))?;
            }
            None => bits.0.fill(0),
        }
        let Place::Field(field) = test.place else { return Ok(()) };
        // The oldest first: what is laid later hides it.
        for run in version.overlays().get(&field).into_iter().flat_map(|overlay| overlay.runs()) {
            let wanted = condition.schema.field(0);
            let passed = condition.evaluate(vec![typed(run.values(), test.kind, wanted)?], run.rows().len())?;
            run.rows().iter().zip(passed.values()).for_each(|(row, passed)| bits.set(*row, passed && before.has(*row)));
        }
        Ok(())
    }
}

impl Condition {
    /// Whether it is true in each of some rows; no nulls.
    fn of_rows(&self, version: &SegmentVersion, schema: &Schema, rows: &UInt32Array) -> Result<BooleanArray> {
        let reader = Rows { version, schema, rows };
        let columns = self.columns.iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| reader.column(column, field)).collect::<Result<Vec<_>>>()?;
        self.evaluate(columns, rows.len())
    }

    /// Whether it is true for each row of its columns; no nulls.
    fn evaluate(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<BooleanArray> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let value = self.expression.evaluate(&batch)?.into_array(rows)?;
        match value.as_boolean_opt() {
            Some(passed) if passed.null_count() == 0 => Ok(passed.clone()),
            Some(passed) => Ok(prep_null_mask_filter(passed)),
            None => exec_err!("a filter is a {}, not a boolean", value.data_type()),
        }
    }
}

fn damage(version: &SegmentVersion, place: Place, cause: ColumnError) -> DataFusionError {
    let field = match place {
        Place::Id => None,
        Place::Field(field) => Some(field),
    };
    DataFusionError::External(Box::new(SegmentDamage { segment: version.segment().id(), field, cause }))
}

impl Test {
    /// The test that says the same as an expression, if there is one.
    fn of(expression: &Arc<dyn PhysicalExpr>, filter: &ScanFilter, schema: &Schema) -> Option<Self> {
        let tested = |expression: &Arc<dyn PhysicalExpr>| {
            let index = expression.downcast_ref::<ColumnExpr>()?.index();
            Tested::of(&filter.columns[index], filter.schema.field(index), schema)
        };
        let (tested, predicate) = if let Some(compared) = expression.downcast_ref::<BinaryExpr>() {
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
        Some(Self { place: tested.place, of: tested.of, kind: tested.kind, predicate })
    }

    /// The column to test in a segment: none where no row has a value of the type. `None` where there is no such column, and the
    /// condition has to be evaluated.
    fn column<'v>(&self, version: &'v SegmentVersion) -> Option<Option<&'v Column>> {
        let field = match self.place {
            Place::Id => {
                return match version.segment().ids() {
                    Ids::File(column) => Some(Some(column)),
                    Ids::Memory(_) => None,
                };
            }
            Place::Field(field) => field,
        };
        let Some(values) = version.segment().fields().get(&field) else { return Some(None) };
        let FieldValues::File(file) = values else { return None };
        let find = |of: Type| file.columns().iter().find(|(own, _)| *own == of).map(|(_, column)| column);
        // Ints are floats where floats are wanted.
        match self.of == Type::Float && find(Type::Int).is_some() {
            true => None,
            false => Some(find(self.of)),
        }
    }
}

/// A column that can be tested: of one type, and an Arrow array of just its values.
struct Tested {
    place: Place,
    of: Type,
    kind: Option<Type>,
}

impl Tested {
    fn of(column: &ScanColumn, wanted: &Field, schema: &Schema) -> Option<Self> {
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
        let ScanColumn::Field { field, below } = column else { return Some(Self { place: Place::Id, of, kind: None }) };
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

    /// A constant that values of the column are compared with.
    fn datum(&self, constant: &ScalarValue) -> Option<Datum<'static>> {
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

fn constant(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
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
