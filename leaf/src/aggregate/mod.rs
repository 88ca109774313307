//! Partial aggregates over the rows of one shard.
//!
//! In: what a plan asks to be aggregated, rows of segments. Out: groups with the states of their functions, which are DataFusion's
//! own. Where a segment's columns are encoded by few values, a row's group is found in an array by the numbers of its keys, and only
//! the first row of a group has its key made and looked up; elsewhere all rows have. What patches laid over a key has the number of its
//! value, or is looked up too.

mod keys;

use std::sync::Arc;

use basalt_common::scan::{Aggregation, ShardScan};
use basalt_common::schema::Schema;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::filter as filter_rows;
use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::arrow::Rows;
use crate::segment::{SegmentDamage, SegmentId, SegmentVersion};
use crate::select::{Place, Tested};
use crate::shard::Snapshot;
use keys::{Numbers, SegmentKeys};

/// No group yet.
const NONE: u32 = u32::MAX;

/// What a function knows.
enum Function {
    /// Only how many rows there are, all in one group.
    Rows,
    /// Of all rows, as one group.
    All(Box<dyn Accumulator>),
    /// Of each group.
    Groups(Box<dyn GroupsAccumulator>),
}

/// Groups of a shard's rows, with the states of functions.
pub struct PartialAggregate {
    plan: Arc<Aggregation>,
    scan: ShardScan,
    /// The columns that are grouped by, if their values may be encoded.
    tested: Option<Vec<Tested>>,
    /// Which columns of the scan arguments are made of; keys need others.
    read: Vec<bool>,
    /// None where all rows are one group.
    groups: Option<Box<dyn GroupValues>>,
    functions: Vec<Function>,
    /// How many rows were added since states were given away.
    rows: usize,
    /// Whether states were given away: the one group of all rows is there without rows too.
    emitted: bool,
    /// The group of each number of a segment's keys.
    known: Option<(SegmentId, Vec<u32>)>,
}

fn tested(plan: &Aggregation, scan: &ShardScan, schema: &Schema) -> Option<Vec<Tested>> {
    let key = |key: &usize| Tested::of(&scan.columns[*key], scan.schema.field(*key), schema);
    plan.keys.iter().map(key).collect()
}

/// Whether most rows of a snapshot are in segments whose keys are few; only then is anything gained over the plan's own operators.
pub fn pays(plan: &Aggregation, scan: &ShardScan, schema: &Schema, snapshot: &Snapshot) -> bool {
    if plan.keys.is_empty() {
        return true;
    }
    let Some(tested) = tested(plan, scan, schema) else { return false };
    let (mut all, mut few) = (0, 0);
    for version in snapshot.segments() {
        let is_here = |on: &Tested| match on.place {
            Place::Id => true,
            Place::Field(field) => version.is_here(&[(field, false)].into()),
        };
        if !tested.iter().all(is_here) {
            continue;
        }
        // What is damaged is met again, and told then.
        if let Ok(keys) = SegmentKeys::of(&tested, version) {
            let rows = version.segment().rows();
            all += rows;
            few += if keys.is_some() { rows } else { 0 };
        }
    }
    few > all / 2
}

impl PartialAggregate {
    /// No groups yet.
    ///
    /// # Errors
    /// A function keeps no states for many groups, or a key is of a type that nothing is grouped by.
    pub fn new(plan: Arc<Aggregation>, scan: ShardScan, schema: &Schema) -> Result<Self> {
        let keys: Vec<usize> = (0..plan.keys.len()).collect();
        let groups = match keys.is_empty() {
            true => None,
            false => Some(new_group_values(Arc::new(plan.schema.project(&keys)?), &GroupOrdering::None)?),
        };
        let function = |(index, function): (usize, &Arc<AggregateFunctionExpr>)| match groups.is_none() {
            true if plan.counts_rows(index) => Ok(Function::Rows),
            true => function.create_accumulator().map(Function::All),
            false => function.create_groups_accumulator().map(Function::Groups),
        };
        let functions = plan.functions.iter().enumerate().map(function).collect::<Result<_>>()?;
        let (tested, read) = (tested(&plan, &scan, schema), columns_of_arguments(&plan, scan.columns.len()));
        Ok(Self { plan, scan, tested, read, groups, functions, rows: 0, emitted: false, known: None })
    }

    /// Adds so many rows where [`Aggregation::is_count`] says that nothing of them is read.
    pub fn count(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// Bytes of memory that groups and states take.
    pub fn size(&self) -> usize {
        let states = self.functions.iter().map(|function| match function {
            Function::Rows => 0,
            Function::All(state) => state.size(),
            Function::Groups(states) => states.size(),
        });
        self.groups.as_ref().map_or(0, |groups| groups.size()) + states.sum::<usize>()
    }

    /// Adds rows of one segment.
    ///
    /// # Errors
    /// The segment is damaged, or an expression fails.
    pub fn add(&mut self, version: &SegmentVersion, schema: &Schema, rows: &UInt32Array) -> Result<()> {
        self.rows += rows.len();
        if self.plan.is_count() {
            return Ok(());
        }
        let rows = Rows { version, schema, rows };
        let groups = self.groups_of(&rows)?;
        let arguments = self.arguments(&rows)?;
        self.update(&arguments, &groups)
    }

    /// Lets functions take in rows, of which each is of a group, if there are any.
    fn update(&mut self, arguments: &RecordBatch, groups: &[usize]) -> Result<()> {
        let (plan, rows) = (Arc::clone(&self.plan), arguments.num_rows());
        let count = self.groups.as_ref().map_or(0, |groups| groups.len());
        for ((function, states), filter) in plan.functions.iter().zip(&mut self.functions).zip(&plan.filters) {
            let evaluate = |expression: &Arc<dyn PhysicalExpr>| expression.evaluate(arguments)?.into_array(rows);
            let evaluated = || function.expressions().iter().map(evaluate).collect::<Result<Vec<_>>>();
            let passed = filter.as_ref().map(evaluate).transpose()?;
            let passed = match &passed {
                Some(passed) => match passed.as_boolean_opt() {
                    Some(passed) => Some(passed),
                    None => return internal_err!("the filter of an aggregate is no boolean"),
                },
                None => None,
            };
            match (states, passed) {
                (Function::Rows, _) => {}
                (Function::All(state), None) => state.update_batch(&evaluated()?)?,
                (Function::All(state), Some(passed)) => {
                    let values = evaluated()?.into_iter().map(|values| filter_rows(&values, passed));
                    state.update_batch(&values.collect::<Result<Vec<_>, _>>()?)?;
                }
                (Function::Groups(states), passed) => states.update_batch(&evaluated()?, groups, passed, count)?,
            }
        }
        Ok(())
    }

    /// The groups so far with their states, which are then forgotten; nothing where there are none.
    ///
    /// # Errors
    /// A function cannot give its states.
    pub fn emit(&mut self) -> Result<Option<RecordBatch>> {
        self.known = None;
        let (is_first, rows) = (!std::mem::replace(&mut self.emitted, true), std::mem::take(&mut self.rows));
        let mut columns = match &mut self.groups {
            Some(groups) if groups.is_empty() => return Ok(None),
            None if rows == 0 && !is_first => return Ok(None),
            None => Vec::new(),
            Some(groups) => {
                let keys = groups.emit(EmitTo::All)?;
                // Some kinds still know the groups that they gave away.
                groups.clear_shrink(0);
                keys
            }
        };
        for (function, states) in self.plan.functions.iter().zip(&mut self.functions) {
            match states {
                Function::Rows => columns.push(Arc::new(Int64Array::from(vec![rows as i64]))),
                Function::All(state) => {
                    let mut all = std::mem::replace(state, function.create_accumulator()?);
                    let states = all.state()?;
                    columns.extend(states.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?);
                }
                Function::Groups(states) => columns.extend(states.state(EmitTo::All)?),
            }
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns)?))
    }

    /// The group of each row; nothing where all rows are one group.
    fn groups_of(&mut self, rows: &Rows<'_>) -> Result<Vec<usize>> {
        if self.groups.is_none() {
            return Ok(Vec::new());
        }
        let version = rows.version;
        let damaged =
            |cause| DataFusionError::from(SegmentDamage { segment: version.segment().id(), field: None, cause });
        let keys = match &self.tested {
            Some(tested) => SegmentKeys::of(tested, version).map_err(damaged)?,
            None => None,
        };
        let numbers = match &keys {
            Some(keys) => keys.numbers(rows.rows.values()).map_err(damaged)?,
            None => None,
        };
        let (Some(keys), Some(Numbers { of_rows: numbers, others })) = (keys, numbers) else {
            return self.look_up(rows);
        };
        let segment = version.segment().id();
        let mut known = match self.known.take() {
            Some((of, known)) if of == segment => known,
            _ => vec![NONE; keys.count()],
        };
        let mut others = others.into_iter().peekable();
        // The first row of each group that was not seen yet, and the rows whose keys are not what the segment says.
        let mut unseen: Vec<(usize, Option<u32>)> = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            if others.next_if_eq(&place).is_some() {
                unseen.push((place, None));
            } else if known[*number as usize] == NONE {
                // Taken by this row: no other is looked up for it.
                known[*number as usize] = 0;
                unseen.push((place, Some(*number)));
            }
        }
        let places = UInt32Array::from_iter_values(unseen.iter().map(|(place, _)| rows.rows.value(*place)));
        let found = self.look_up(&Rows { rows: &places, ..*rows })?;
        for ((_, number), group) in unseen.iter().zip(&found) {
            if let Some(number) = number {
                known[*number as usize] = u32::try_from(*group).map_err(|_| too_many())?;
            }
        }
        let mut groups: Vec<usize> = numbers.iter().map(|number| known[*number as usize] as usize).collect();
        for ((place, number), group) in unseen.iter().zip(found) {
            if number.is_none() {
                groups[*place] = group;
            }
        }
        self.known = Some((segment, known));
        Ok(groups)
    }

    /// The group of each row by the values of its keys.
    fn look_up(&mut self, rows: &Rows<'_>) -> Result<Vec<usize>> {
        let key = |key: &usize| rows.column(&self.scan.columns[*key], self.scan.schema.field(*key));
        let keys = self.plan.keys.iter().map(key).collect::<Result<Vec<ArrayRef>>>()?;
        let mut found = Vec::with_capacity(rows.rows.len());
        let groups = self.groups.as_mut().expect("rows are grouped by keys here");
        groups.intern(&keys, &mut found)?;
        Ok(found)
    }

    /// The columns that arguments are made of; nulls in place of the others.
    fn arguments(&self, rows: &Rows<'_>) -> Result<RecordBatch> {
        let count = rows.rows.len();
        let column = |index: usize| match self.read[index] {
            true => rows.column(&self.scan.columns[index], self.scan.schema.field(index)),
            false => Ok(new_null_array(self.scan.schema.field(index).data_type(), count)),
        };
        let columns = (0..self.read.len()).map(column).collect::<Result<Vec<_>>>()?;
        self.projected(batch(&self.scan.schema, columns, count)?)
    }

    /// What functions' arguments are made of, made of the scan's columns.
    fn projected(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some((schema, expressions)) = &self.plan.projection else { return Ok(batch) };
        let count = batch.num_rows();
        let evaluate = |expression: &Arc<dyn PhysicalExpr>| expression.evaluate(&batch)?.into_array(count);
        batch_of(schema, expressions, evaluate, count)
    }
}

fn batch_of(
    schema: &SchemaRef,
    expressions: &[Arc<dyn PhysicalExpr>],
    evaluate: impl Fn(&Arc<dyn PhysicalExpr>) -> Result<ArrayRef>,
    count: usize,
) -> Result<RecordBatch> {
    batch(schema, expressions.iter().map(evaluate).collect::<Result<Vec<_>>>()?, count)
}

/// A batch of columns that may be null, whatever the schema says: those that nobody reads are.
fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch> {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn too_many() -> DataFusionError {
    DataFusionError::ResourcesExhausted("a partial aggregate has more than 2^32 groups".into())
}

/// Which columns of the scan the functions' arguments and filters are made of.
fn columns_of_arguments(plan: &Aggregation, columns: usize) -> Vec<bool> {
    let arguments = plan.functions.iter().flat_map(|function| function.expressions());
    let mut read: Vec<usize> = arguments
        .chain(plan.filters.iter().flatten().cloned())
        .flat_map(|expression| collect_columns(&expression))
        .map(|column| column.index())
        .collect();
    if let Some((_, expressions)) = &plan.projection {
        let below = read.iter().flat_map(|index| collect_columns(&expressions[*index]));
        read = below.map(|column| column.index()).collect();
    }
    let mut all = vec![false; columns];
    read.into_iter().for_each(|index| all[index] = true);
    all
}
