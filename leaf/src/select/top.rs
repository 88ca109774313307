//! The first rows of a segment by the value of one column, found by walking its terms from one end.
//!
//! In: what a sorted scan wants, a segment's version. Out: rows among which its first are; nothing where that cannot be told by
//! looking at a few. Rows that something is laid over are all among them, since their values are not where the terms say.

use basalt_common::scan::{AccessPath, ScanTop, ShardScan};
use basalt_common::schema::Schema;
use basalt_common::value::Type;
use datafusion::arrow::array::UInt32Array;
use datafusion::common::Result;

use super::test::{Encoded, Place, Test, Tested, of_ints};
use super::{Selector, damage};
use crate::column::{Column, ColumnError, Datum, Predicate};
use crate::overlay::Overlay;
use crate::piece::Held;
use crate::segment::SegmentVersion;
use crate::terms::Terms;

/// The walk is given up before it looks at more than one of so many rows.
const SHARE: usize = 16;

/// How many ranks are looked at first, at least; twice as many each time.
const STEP: u32 = 16;

/// A column with its terms.
type Termed<'v> = (Held<'v, Column>, Held<'v, Terms>);

/// The first rows by one column.
#[derive(Debug)]
pub struct Top {
    wanted: ScanTop,
    /// The column, as a test that all its values pass.
    test: Test,
    /// Whether the walk goes on however far it is.
    forced: bool,
}

impl Top {
    /// What a scan wants, if it is told by a column that may have terms.
    pub fn new(scan: &ShardScan, schema: &Schema) -> Option<Self> {
        let wanted = scan.top.filter(|_| matches!(scan.target.path, None | Some(AccessPath::IndexFilter)))?;
        let on = Tested::of(&scan.columns[wanted.column], scan.schema.field(wanted.column), schema)?;
        let test = Test::new(on, Predicate::Present);
        Some(Self { wanted, test, forced: scan.target.path.is_some() })
    }

    /// Living rows that pass the filter, ascending, among which the first are.
    ///
    /// # Errors
    /// The segment is damaged, or the filter fails.
    pub fn candidates(
        &self,
        version: &SegmentVersion,
        filter: Option<&Selector>,
        schema: &Schema,
    ) -> Result<Option<UInt32Array>> {
        let Place::Field(field) = self.test.on.place else { return Ok(None) };
        let damaged = |cause| damage(version, self.test.on.place, cause);
        let Some(columns) = self.columns(version).map_err(damaged)? else { return Ok(None) };
        let (_, overlay) = version.layers(field);
        let laid: usize = overlay.into_iter().flat_map(Overlay::runs).map(|run| run.rows().len()).sum();
        let share = if self.forced { 1 } else { SHARE };
        let Some(budget) = (version.segment().rows() / share).checked_sub(laid) else { return Ok(None) };
        let present: u64 = columns.iter().map(|(column, _)| column.present()).sum();
        if self.wanted.nulls_first && present < version.segment().rows() as u64 {
            return Ok(None);
        }
        let on = self.test.on;
        let mut looking = Looking { on, version, filter, schema, overlay, budget, found: Vec::new() };
        // The first rows of ints and those of floats: the first of both are among them.
        for (column, terms) in &columns {
            let walk = Walk { column, terms, descending: self.wanted.descending, at: 0 };
            if !looking.take(walk, self.wanted.rows)? {
                return Ok(None);
            }
        }
        if looking.found.len() < self.wanted.rows {
            return Ok(None);
        }
        let laid = overlay.into_iter().flat_map(Overlay::runs).flat_map(|run| run.rows());
        let mut laid: Vec<u32> = laid.copied().collect();
        laid.sort_unstable();
        laid.dedup();
        looking.pass(laid)?;
        looking.found.sort_unstable();
        Ok(Some(looking.found.into()))
    }

    /// The columns of a segment's file with their terms, if all have them.
    fn columns<'v>(&self, version: &'v SegmentVersion) -> Result<Option<Vec<Termed<'v>>>, ColumnError> {
        let Some(columns) = self.test.columns(version) else { return Ok(None) };
        let termed = |(encoded, _): (Encoded<'v>, _)| match encoded.terms()? {
            Some(terms) => Ok(Some((encoded.column()?, terms))),
            None => Ok(None),
        };
        columns.into_iter().map(termed).collect()
    }
}

/// What is looked for in a segment, and what was found.
struct Looking<'v> {
    on: Tested,
    version: &'v SegmentVersion,
    filter: Option<&'v Selector>,
    schema: &'v Schema,
    overlay: Option<&'v Overlay>,
    /// So many rows of a column are looked at, at most.
    budget: usize,
    found: Vec<u32>,
}

impl Looking<'_> {
    /// Takes the rows of a walk until so many pass, and those with the last value; false where that is too far.
    fn take(&mut self, mut walk: Walk<'_>, wanted: usize) -> Result<bool> {
        let (version, on) = (self.version, self.on);
        let damaged = |cause| damage(version, on.place, cause);
        let (before, mut step) = (self.found.len(), u32::try_from(wanted).unwrap_or(u32::MAX).max(STEP));
        loop {
            let is_last = self.found.len() - before >= wanted || walk.at == walk.terms.ranks();
            if is_last {
                step = walk.equal(on.of).map_err(damaged)?;
            }
            if walk.at.saturating_add(step).min(walk.terms.ranks()) as usize > self.budget {
                return Ok(false);
            }
            let mut rows = walk.next(step).map_err(damaged)?;
            rows.retain(|row| !self.overlay.is_some_and(|overlay| overlay.covers(*row)));
            rows.sort_unstable();
            self.pass(rows)?;
            if is_last {
                return Ok(true);
            }
            step = step.saturating_mul(2);
        }
    }

    /// Adds those of some rows, ascending, that live and pass.
    fn pass(&mut self, mut rows: Vec<u32>) -> Result<()> {
        rows.retain(|row| self.version.is_live(*row));
        let rows = match self.filter {
            Some(filter) => filter.pass(&filter.all(), self.version, self.schema, rows.into())?,
            None => rows.into(),
        };
        self.found.extend(rows.values());
        Ok(())
    }
}

/// A column's rows from one end of its values on.
struct Walk<'v> {
    column: &'v Column,
    terms: &'v Terms,
    descending: bool,
    /// So many ranks are behind it.
    at: u32,
}

impl Walk<'_> {
    /// The rows of the next ranks, in no order.
    fn next(&mut self, count: u32) -> Result<Vec<u32>, ColumnError> {
        let (start, ranks, mut rows) = (self.at, self.terms.ranks(), Vec::new());
        self.at = start.saturating_add(count).min(ranks);
        match self.descending {
            true => self.terms.append(ranks - self.at..ranks - start, &mut rows)?,
            false => self.terms.append(start..self.at, &mut rows)?,
        }
        Ok(rows)
    }

    /// How many of the next rows have the value of the last, as one of a type.
    fn equal(&self, of: Type) -> Result<u32, ColumnError> {
        let Some(last) = self.at.checked_sub(1) else { return Ok(0) };
        let rank = if self.descending { self.terms.ranks() - self.at } else { last };
        let mut row = Vec::new();
        self.terms.append(rank..rank + 1, &mut row)?;
        let value = self.column.value(row[0].into())?.ok_or(ColumnError::Damaged("a ranked row has no value"))?;
        let equal = match value {
            Datum::Int(int) if of == Type::Float => of_ints(&Predicate::equal(Datum::Float(int as f64))),
            value => Some(Predicate::equal(value)),
        };
        let equal = equal.map_or(Ok(Vec::new()), |equal| self.terms.find(self.column, &equal))?;
        Ok(equal.first().map_or(0, |equal| if self.descending { rank - equal.start } else { equal.end - self.at }))
    }
}
