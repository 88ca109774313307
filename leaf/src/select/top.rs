//! The first rows of a segment by the value of one column, found by walking its terms from one end.
//!
//! In: what a sorted scan wants, a segment's version. Out: rows among which its first are; nothing where that cannot be told by
//! looking at a few. Rows that something is laid over are all among them, since their values are not where the terms say.

use basalt_common::scan::{AccessPath, ScanTop, ShardScan};
use basalt_common::schema::Schema;
use datafusion::arrow::array::UInt32Array;
use datafusion::common::Result;

use super::test::{Place, Tested};
use super::{Selector, damage};
use crate::column::{Column, ColumnError, Predicate};
use crate::overlay::Overlay;
use crate::segment::SegmentVersion;
use crate::terms::Terms;

/// The walk is given up before it looks at more than one of so many rows.
const SHARE: usize = 16;

/// How many ranks are looked at first, at least; twice as many each time.
const STEP: u32 = 16;

/// The first rows by one column.
#[derive(Debug)]
pub struct Top {
    wanted: ScanTop,
    on: Tested,
    /// Whether the walk goes on however far it is.
    forced: bool,
}

impl Top {
    /// What a scan wants, if it is told by a column that may have terms.
    pub fn new(scan: &ShardScan, schema: &Schema) -> Option<Self> {
        let wanted = scan.top.filter(|_| matches!(scan.target.path, None | Some(AccessPath::IndexFilter)))?;
        let on = Tested::of(&scan.columns[wanted.column], scan.schema.field(wanted.column), schema)?;
        Some(Self { wanted, on, forced: scan.target.path.is_some() })
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
        let Place::Field(field) = self.on.place else { return Ok(None) };
        let damaged = |cause| damage(version, self.on.place, cause);
        let Some(Some(encoded)) = self.on.column(version) else { return Ok(None) };
        let Some(terms) = encoded.terms().map_err(damaged)? else { return Ok(None) };
        let column = encoded.column().map_err(damaged)?;
        let (_, overlay) = version.layers(field);
        let laid: usize = overlay.into_iter().flat_map(Overlay::runs).map(|run| run.rows().len()).sum();
        let share = if self.forced { 1 } else { SHARE };
        let Some(budget) = (version.segment().rows() / share).checked_sub(laid) else { return Ok(None) };
        if self.wanted.nulls_first && column.present() < column.rows() {
            return Ok(None);
        }
        let mut walk = Walk { column: &column, terms: &terms, descending: self.wanted.descending, at: 0 };
        let (mut found, mut step) = (Vec::new(), u32::try_from(self.wanted.rows).unwrap_or(u32::MAX).max(STEP));
        let pass = |mut rows: Vec<u32>, found: &mut Vec<u32>| -> Result<()> {
            rows.retain(|row| version.is_live(*row));
            rows.sort_unstable();
            let rows = match filter {
                Some(filter) => filter.pass(&filter.all(), version, schema, rows.into())?,
                None => rows.into(),
            };
            found.extend(rows.values());
            Ok(())
        };
        while found.len() < self.wanted.rows {
            let until = walk.at.saturating_add(step).min(terms.ranks());
            if walk.at == until || until as usize > budget {
                return Ok(None);
            }
            let mut rows = walk.next(step).map_err(damaged)?;
            rows.retain(|row| !overlay.is_some_and(|overlay| overlay.covers(*row)));
            pass(rows, &mut found)?;
            step = step.saturating_mul(2);
        }
        let equal = walk.equal().map_err(damaged)?;
        if (walk.at + equal) as usize > budget {
            return Ok(None);
        }
        let mut rows = walk.next(equal).map_err(damaged)?;
        rows.retain(|row| !overlay.is_some_and(|overlay| overlay.covers(*row)));
        rows.extend(overlay.into_iter().flat_map(Overlay::runs).flat_map(|run| run.rows()));
        rows.sort_unstable();
        rows.dedup();
        pass(rows, &mut found)?;
        found.sort_unstable();
        Ok(Some(found.into()))
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

    /// How many of the next rows have the value of the last.
    fn equal(&self) -> Result<u32, ColumnError> {
        let Some(last) = self.at.checked_sub(1) else { return Ok(0) };
        let rank = if self.descending { self.terms.ranks() - self.at } else { last };
        let mut row = Vec::new();
        self.terms.append(rank..rank + 1, &mut row)?;
        let value = self.column.value(row[0].into())?.ok_or(ColumnError::Damaged("a ranked row has no value"))?;
        let equal = self.terms.find(self.column, &Predicate::equal(value))?;
        Ok(equal.first().map_or(0, |equal| if self.descending { rank - equal.start } else { equal.end - self.at }))
    }
}
