//! The rows that a segment's indexes say a condition holds for.
//!
//! In: a test, a segment's version. Out: how many rows that are at most, before any is read; then the rows. What patches laid over
//! the field is looked at by itself: rows of the terms = (rows of the column's terms, without those that anything is laid over) ∪
//! (rows whose newest laid value passes).

use std::ops::Range;

use basalt_common::value::Type;
use datafusion::common::Result;

use super::by_cells::InBox;
use super::by_index::Search;
use super::test::{Place, Test};
use super::{Condition, INDEX_SHARE, INDEX_SHARE_OF_STRINGS, damage};
use crate::column::{ColumnError, Predicate};
use crate::overlay::{Overlay, both};
use crate::piece::Held;
use crate::segment::SegmentVersion;
use crate::terms::Terms;

/// A set of more values than one for so many rows is not looked up value by value.
const ROWS_PER_VALUE: usize = 1_000;

/// The rows that an index names for a condition.
pub(super) struct Found<'v> {
    /// The number of the condition that all of them pass; none where they have to be tested for all.
    pub(super) condition: Option<usize>,
    /// So many rows are looked at: those named, and those that something is laid over.
    pub(super) rows: usize,
    /// It pays to look at one of so many rows.
    pub(super) share: usize,
    named: Named<'v>,
}

/// Terms, or cells, and the ranks of theirs that name rows.
pub(super) type Ranked<'v> = (Held<'v, Terms>, Vec<Range<u32>>);

/// How many rows all of them name.
pub(super) fn count(all: &[Ranked<'_>]) -> usize {
    all.iter().flat_map(|(_, ranks)| ranks).map(ExactSizeIterator::len).sum()
}

/// Appends the rows that all of them name.
pub(super) fn append(all: &[Ranked<'_>], rows: &mut Vec<u32>) -> Result<(), ColumnError> {
    let mut each = all.iter().flat_map(|(terms, all)| all.iter().map(move |ranks| (terms, ranks)));
    each.try_for_each(|(terms, ranks)| terms.append(ranks.clone(), rows))
}

enum Named<'v> {
    Terms { test: &'v Test, terms: Vec<Ranked<'v>>, overlay: Option<&'v Overlay> },
    Search(&'v Search),
    Cells(InBox<'v>),
}

impl<'v> Found<'v> {
    /// What the indexes say of a condition; nothing where the segment has none for it.
    pub(super) fn of(index: usize, condition: &'v Condition, version: &'v SegmentVersion) -> Result<Option<Self>> {
        match (&condition.test, &condition.search) {
            (Some(test), _) => Self::of_test(index, test, version),
            (None, Some(search)) => {
                let found =
                    |rows| Self { condition: Some(index), rows, share: INDEX_SHARE, named: Named::Search(search) };
                Ok(search.rows_at_most(version)?.map(found))
            }
            (None, None) => Ok(None),
        }
    }

    fn of_test(condition: usize, test: &'v Test, version: &'v SegmentVersion) -> Result<Option<Self>> {
        let Place::Field(field) = test.on.place else { return Ok(None) };
        let Some(columns) = test.columns(version) else { return Ok(None) };
        let damaged = |cause| damage(version, test.on.place, cause);
        let (mut terms, mut share) = (Vec::new(), INDEX_SHARE);
        for (encoded, predicate) in columns {
            let Some(of_column) = encoded.terms().map_err(damaged)? else { return Ok(None) };
            let is_large = |set: &[_]| set.len() > version.segment().rows() / ROWS_PER_VALUE + 2;
            if matches!(predicate, Predicate::In(set) if is_large(set)) {
                return Ok(None);
            }
            let column = encoded.column().map_err(damaged)?;
            let found = of_column.find(&column, predicate).map_err(damaged)?;
            if test.on.of == Type::String && column.distinct().is_none() {
                share = INDEX_SHARE_OF_STRINGS;
            }
            terms.push((of_column, found));
        }
        let (_, overlay) = version.layers(field);
        let laid = overlay.into_iter().flat_map(Overlay::runs).map(|run| test.count(run)).sum::<usize>();
        let (condition, rows) = (Some(condition), count(&terms) + laid);
        Ok(Some(Self { condition, rows, share, named: Named::Terms { test, terms, overlay } }))
    }

    /// What cells say of the conditions together.
    pub(super) fn by_cells(conditions: &'v [Condition], version: &'v SegmentVersion) -> Result<Option<Self>> {
        let Some(cells) = InBox::of(conditions, version)? else { return Ok(None) };
        let rows = cells.count(version);
        Ok(Some(Self { condition: None, rows, share: INDEX_SHARE, named: Named::Cells(cells) }))
    }

    /// The living rows that are named, ascending.
    pub(super) fn rows(&self, conditions: &[Condition], version: &SegmentVersion) -> Result<Vec<u32>> {
        let condition = || &conditions[self.condition.expect("one condition's index named them")];
        let mut rows = match &self.named {
            Named::Cells(cells) => {
                let mut rows = cells.rows(version)?;
                rows.sort_unstable();
                rows
            }
            Named::Search(search) => search.rows(condition(), version)?.unwrap_or_default().into_iter().collect(),
            Named::Terms { test, terms, overlay } => {
                let mut rows = Vec::with_capacity(self.rows);
                append(terms, &mut rows).map_err(|cause| damage(version, test.on.place, cause))?;
                if let Some(overlay) = overlay {
                    lay(&mut rows, condition(), test, overlay)?;
                }
                rows.sort_unstable();
                rows
            }
        };
        rows.retain(|row| version.is_live(*row));
        Ok(rows)
    }
}

/// Puts what an overlay says of its rows in the place of what was found for them.
pub(super) fn lay(rows: &mut Vec<u32>, condition: &Condition, test: &Test, overlay: &Overlay) -> Result<()> {
    rows.sort_unstable();
    let mut hidden = vec![false; rows.len()];
    overlay.runs().iter().for_each(|run| both(rows, run.rows(), |place, _| hidden[place] = true));
    let mut hidden = hidden.into_iter();
    rows.retain(|_| !hidden.next().unwrap_or_default());
    for (index, run) in overlay.runs().iter().enumerate() {
        let passed = condition.passed(test, run)?.rows(run).into_iter();
        rows.extend(passed.filter(|row| !overlay.covers_behind(index, *row)));
    }
    Ok(())
}
