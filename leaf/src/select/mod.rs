//! Which rows of a segment a scan's filter lets through.
//!
//! In: a filter, a segment's version. Out: rows. A condition on one field that compares it with constants is tested on the
//! encoded column of a file segment, where blocks whose statistics say enough are not looked at; what patches laid over the field
//! is evaluated by itself. Only for rows that pass all those are the columns of other conditions read, and only for rows that
//! pass everything what the scan gives. Where the index of a condition names few rows, these are all that is looked at.
//!
//! ```text
//! filter  a >= 5 AND lower(b) = 'x'     column a, encoded   3 7 8 2 9      bits  0 1 1 0 1
//!                                       laid over row 3     6              bits  0 1 1 1 1
//!                                       tombstone row 1                    bits  0 0 1 1 1   then b of rows 2, 3, 4
//! ```

mod bits;
mod by_cells;
mod by_index;
mod by_terms;
mod dynamic;
mod test;
mod top;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use basalt_common::scan::{AccessPath, ScanColumn, ScanFilter};
use basalt_common::schema::Schema;
use basalt_common::value::Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::{filter, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column as ColumnExpr};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use roaring::RoaringBitmap;

use crate::arrow::{Rows, typed};
use crate::column::{ColumnError, Datum, Predicate};
use crate::overlay::{Overlay, Run};
use crate::segment::{SegmentDamage, SegmentVersion};
use bits::Bits;
use by_index::Search;
use by_terms::Found;
pub use dynamic::Dynamic;
use test::{Encoded, Test, with_both_zeros};
pub(crate) use test::{Place, Tested};
pub use top::Top;

/// Terms are followed where they name at most one of so many rows: to find and read a row by itself costs as much as to test so many
/// in a column (`benches/selective.rs`).
const INDEX_SHARE: usize = 64;

/// The same, of a column whose strings have to be decompressed one by one.
const INDEX_SHARE_OF_STRINGS: usize = 8;

/// Where more than one in so many of a run's values pass, evaluating each in the order of the rows is sooner done than finding these by their
/// order and going to the row of each.
const EACH: usize = 8;

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
    /// The same as a search of one column's texts or arrays, or what must be found if it holds.
    search: Option<Search>,
}

impl Selector {
    /// Takes a filter apart.
    ///
    /// # Errors
    /// The filter has other columns than it says.
    pub fn new(filter: &ScanFilter, schema: &Schema) -> Result<Self> {
        let condition = |(expression, test): (Arc<dyn PhysicalExpr>, Option<Test>)| {
            let search = Search::of(&expression, filter, schema);
            let read: BTreeSet<usize> = collect_columns(&expression).iter().map(ColumnExpr::index).collect();
            let read: Vec<usize> = read.into_iter().collect();
            let columns = read.iter().map(|index| filter.columns[*index].clone()).collect();
            let own = |part: Arc<dyn PhysicalExpr>| {
                let Some(column) = part.downcast_ref::<ColumnExpr>() else { return Ok(Transformed::no(part)) };
                let index = read.binary_search(&column.index()).expect("its columns were collected");
                Ok(Transformed::yes(Arc::new(ColumnExpr::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
            };
            let expression = expression.transform_down(own)?.data;
            Ok(Condition { schema: Arc::new(filter.schema.project(&read)?), columns, expression, test, search })
        };
        let mut parts: Vec<(Arc<dyn PhysicalExpr>, Option<Test>)> = Vec::new();
        let predicate = with_both_zeros(&filter.predicate, &filter.schema)?;
        for expression in split_conjunction(&predicate) {
            let test = Test::of(expression, filter, schema);
            // A range comes as two comparisons: as one test it is looked for once, and names the fewest rows.
            let both = |(_, before): &(_, Option<Test>)| before.as_ref()?.and(test.as_ref()?);
            match parts.iter().enumerate().find_map(|(index, part)| Some((index, both(part)?))) {
                Some((index, both)) => {
                    let before = Arc::clone(&parts[index].0);
                    let expression = BinaryExpr::new(before, Operator::And, Arc::clone(expression));
                    parts[index] = (Arc::new(expression), Some(both));
                }
                None => parts.push((Arc::clone(expression), test)),
            }
        }
        let conditions = parts.into_iter().map(condition).collect::<Result<_>>()?;
        Ok(Self { conditions })
    }

    /// The `_id`s of which every row that passes has one, if the filter says that.
    pub fn ids(&self) -> Option<Vec<String>> {
        let text = |datum: &Datum<'static>| match datum {
            Datum::String(text) => Some(text.to_string()),
            _ => None,
        };
        self.conditions.iter().filter_map(|condition| condition.test.as_ref()).find_map(|test| match &test.predicate {
            _ if test.on.place != Place::Id => None,
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

    /// The living rows that may pass, what they have not been tested for, and how they were found: by `path`, if one is given and
    /// the segment has it.
    ///
    /// # Errors
    /// The segment is damaged, or a condition fails.
    pub fn candidates(
        &self,
        version: &SegmentVersion,
        path: Option<AccessPath>,
    ) -> Result<(UInt32Array, Rest, AccessPath)> {
        if path == Some(AccessPath::RowScan) {
            return Ok((version.live(), self.all(), AccessPath::RowScan));
        }
        if path != Some(AccessPath::ColumnScan)
            && let Some(found) = self.fewest(version)?
            && (path.is_some() || found.rows <= version.segment().rows() / found.share)
        {
            let mut rows = found.rows(&self.conditions, version)?;
            let rest = (0..self.conditions.len()).filter(|other| Some(*other) != found.condition).collect();
            let rest = self.search(version, rest, rows.len(), |matching| {
                rows.retain(|row| matching.contains(*row));
                rows.len()
            })?;
            return Ok((rows.into(), Rest(rest), AccessPath::IndexFilter));
        }
        let (mut bits, mut rest) = (Bits::live(version), Vec::new());
        for (index, condition) in self.conditions.iter().enumerate() {
            match condition.test.as_ref().and_then(|test| Some((test, test.columns(version)?))) {
                Some((test, columns)) => Self::test(condition, test, &columns, version, &mut bits)?,
                None => rest.push(index),
            }
        }
        let (tested, mut by_index) = (rest.len() < self.conditions.len(), false);
        if path != Some(AccessPath::ColumnScan) {
            rest = self.search(version, rest, bits.count(), |matching| {
                by_index = true;
                bits.leave(matching);
                bits.count()
            })?;
        }
        let path = match tested {
            _ if by_index => AccessPath::IndexFilter,
            true => AccessPath::ColumnScan,
            false => AccessPath::RowScan,
        };
        Ok((bits.rows(), Rest(rest), path))
    }

    /// Looks for conditions in indexes where that is sooner done than to look at the values of so many rows. `leave` takes the rows that
    /// may pass, and tells how many of the others are left. The conditions that have still to be evaluated.
    fn search(
        &self,
        version: &SegmentVersion,
        conditions: Vec<usize>,
        mut rows: usize,
        mut leave: impl FnMut(&RoaringBitmap) -> usize,
    ) -> Result<Vec<usize>> {
        let mut left = Vec::with_capacity(conditions.len());
        for index in conditions {
            let condition = &self.conditions[index];
            let search = condition.search.as_ref();
            let matching = match search {
                Some(search) if search.pays(version, rows)? => search.rows(condition, version)?,
                _ => None,
            };
            if let Some(matching) = &matching {
                rows = leave(matching);
            }
            if matching.is_none() || !search.is_some_and(Search::is_exact) {
                left.push(index);
            }
        }
        Ok(left)
    }

    /// The index that names the fewest rows.
    fn fewest<'v>(&'v self, version: &'v SegmentVersion) -> Result<Option<Found<'v>>> {
        let mut fewest = Found::by_cells(&self.conditions, version)?;
        for (index, condition) in self.conditions.iter().enumerate() {
            if let Some(found) = Found::of(index, condition, version)?
                && fewest.as_ref().is_none_or(|fewest| found.rows < fewest.rows)
            {
                fewest = Some(found);
            }
        }
        Ok(fewest)
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
        columns: &[(Encoded<'_>, &Predicate<'_>)],
        version: &SegmentVersion,
        bits: &mut Bits,
    ) -> Result<()> {
        let before = std::mem::replace(bits, Bits::none(version));
        for (encoded, predicate) in columns {
            let mut passed = before.clone();
            let column = encoded.column();
            let selected = column.and_then(|column| column.select(0..column.rows(), predicate, &mut passed.0));
            selected.map_err(|cause| damage(version, test.on.place, cause))?;
            bits.add(&passed);
        }
        let Place::Field(field) = test.on.place else { return Ok(()) };
        // The oldest first: what is laid later hides it.
        for run in version.layers(field).1.into_iter().flat_map(Overlay::runs) {
            match condition.passed(test, run)? {
                Passed::Few(rows) => {
                    run.rows().iter().for_each(|row| bits.set(*row, false));
                    rows.into_iter().for_each(|row| bits.set(row, before.has(row)));
                }
                Passed::Each(passed) => bits.lay(run.rows(), passed.values(), &before),
            }
        }
        Ok(())
    }
}

/// The rows of a run for which a condition is true.
enum Passed {
    /// Few of them, in any order.
    Few(Vec<u32>),
    /// Whether it is true for each; no nulls.
    Each(BooleanArray),
}

impl Passed {
    /// The rows, in any order.
    fn rows(self, run: &Run) -> Vec<u32> {
        match self {
            Self::Few(rows) => rows,
            Self::Each(passed) => passed.values().set_indices().map(|place| run.rows()[place]).collect(),
        }
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

    /// Whether it is true for each row of a run over the field that it tests, or whose values of one type; no nulls.
    fn of_run(&self, kind: Option<Type>, run: &Run) -> Result<BooleanArray> {
        // Several where it was made of conditions that name the field differently.
        let columns = self.schema.fields().iter().map(|field| typed(run.values(), kind, field));
        self.evaluate(columns.collect::<Result<_>>()?, run.rows().len())
    }

    /// For which rows of a run over the field that is tested it is true.
    fn passed(&self, test: &Test, run: &Run) -> Result<Passed> {
        if !test.may_pass(run) {
            return Ok(Passed::Few(Vec::new()));
        }
        if let Some(found) = test.find(run)
            && found.iter().map(|places| places.len()).sum::<usize>() <= run.rows().len() / EACH
        {
            return Ok(Passed::Few(found.concat().into_iter().map(|place| run.rows()[place as usize]).collect()));
        }
        self.of_run(test.on.kind, run).map(Passed::Each)
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
    SegmentDamage { segment: version.segment().id(), field, cause }.into()
}
