//! The rows whose places may lie in a box, by cells.
//!
//! In: conditions, of which one bounds the latitude and one the longitude of an object; a segment's version. Out: how many rows are to be
//! looked at, before any is read; then the rows, for which both conditions are still to be evaluated. What patches laid over either field is
//! looked at by itself.

use std::ops::Bound;

use basalt_common::id::FieldId;
use basalt_common::value::Type;
use datafusion::common::Result;

use super::by_terms::{Ranked, append, count, lay};
use super::test::{Encoded, Place, Test};
use super::{Condition, damage};
use crate::cells::{self, DegreeBox};
use crate::column::{ColumnError, Datum, Predicate};
use crate::field::FileColumn;
use crate::overlay::Overlay;
use crate::piece::Piece;
use crate::segment::SegmentVersion;

/// The rows that cells name for two conditions.
pub(super) struct InBox<'v> {
    latitude: Bounded<'v>,
    longitude: Bounded<'v>,
    /// The rows by cells, and those without: one of their coordinates is an int.
    named: Vec<Ranked<'v>>,
}

/// A condition that bounds a field of floats on both sides.
#[derive(Clone, Copy)]
struct Bounded<'v> {
    condition: &'v Condition,
    test: &'v Test,
    field: FieldId,
    least: f64,
    most: f64,
}

impl<'v> Bounded<'v> {
    fn of(condition: &'v Condition) -> Option<Self> {
        let test = condition.test.as_ref().filter(|test| test.on.of == Type::Float)?;
        let Place::Field(field) = test.on.place else { return None };
        let end = |bound: &Bound<Datum<'static>>| match bound {
            Bound::Included(Datum::Float(value)) | Bound::Excluded(Datum::Float(value)) => Some(*value),
            _ => None,
        };
        let Predicate::Within(least, most) = &test.predicate else { return None };
        Some(Self { condition, test, field, least: end(least)?, most: end(most)? })
    }

    /// Its columns in a file.
    fn columns(&self, version: &'v SegmentVersion) -> impl Iterator<Item = (&'v FileColumn, &'v Predicate<'static>)> {
        let columns = self.test.columns(version).unwrap_or_default().into_iter();
        columns.filter_map(|(encoded, predicate)| match encoded {
            Encoded::Field(file) => Some((file, predicate)),
            Encoded::Ids(_) => None,
        })
    }

    /// The column of its floats.
    fn floats(&self, version: &'v SegmentVersion) -> Option<&'v FileColumn> {
        self.columns(version).map(|(file, _)| file).find(|file| file.of == Type::Float)
    }

    /// The rows whose values are ints within the bounds, by their terms; nothing where these have none.
    fn ints(&self, version: &'v SegmentVersion) -> Result<Option<Vec<Ranked<'v>>>, ColumnError> {
        let mut named = Vec::new();
        for (file, predicate) in self.columns(version).filter(|(file, _)| file.of == Type::Int) {
            let Some(terms) = file.terms.as_ref().map(Piece::get).transpose()? else { return Ok(None) };
            let found = terms.find(&*file.column.get()?, predicate)?;
            named.push((terms, found));
        }
        Ok(Some(named))
    }

    fn overlay(&self, version: &'v SegmentVersion) -> Option<&'v Overlay> {
        version.layers(self.field).1
    }
}

impl<'v> InBox<'v> {
    /// What cells say of some conditions; nothing where no two of them make a box, or the segment has no cells for it.
    pub(super) fn of(conditions: &'v [Condition], version: &'v SegmentVersion) -> Result<Option<Self>> {
        for latitude in conditions.iter().filter_map(Bounded::of) {
            let Some(latitudes) = latitude.floats(version) else { continue };
            let Some(cells) = &latitudes.cells else { continue };
            let longitude = conditions.iter().filter_map(Bounded::of).find(|other| other.field == cells.longitudes);
            let Some(longitude) = longitude else { continue };
            // They are of what lies beside them, and that may have been folded alone by a program that knew of no cells.
            if version.generation_of(latitude.field) != version.generation_of(longitude.field) {
                continue;
            }
            let Some(longitudes) = longitude.floats(version) else { continue };
            let within =
                DegreeBox { longitudes: (longitude.least, longitude.most), latitudes: (latitude.least, latitude.most) };
            let named = || {
                let (Some(mut named), Some(others)) = (latitude.ints(version)?, longitude.ints(version)?) else {
                    return Ok(None);
                };
                let cells = cells.rows.get()?;
                let ranks = cells::find(&cells, &*longitudes.column.get()?, &*latitudes.column.get()?, within)?;
                named.extend(others.into_iter().chain([(cells, ranks)]));
                Ok(Some(named))
            };
            if let Some(named) = named().map_err(|cause| damage(version, latitude.test.on.place, cause))? {
                return Ok(Some(Self { latitude, longitude, named }));
            }
        }
        Ok(None)
    }

    /// So many rows are looked at.
    pub(super) fn count(&self, version: &SegmentVersion) -> usize {
        let laid = [self.latitude, self.longitude].into_iter().map(|bounded| {
            let runs = bounded.overlay(version).into_iter().flat_map(Overlay::runs);
            runs.map(|run| bounded.test.count(run)).sum::<usize>()
        });
        count(&self.named) + laid.sum::<usize>()
    }

    /// The rows, each once, in any order.
    pub(super) fn rows(&self, version: &SegmentVersion) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        append(&self.named, &mut rows).map_err(|cause| damage(version, self.latitude.test.on.place, cause))?;
        // Both of its coordinates may be ints.
        rows.sort_unstable();
        rows.dedup();
        // Who passes has passing values in both: of one that is laid over, the value that was laid.
        for bounded in [self.latitude, self.longitude] {
            if let Some(overlay) = bounded.overlay(version) {
                lay(&mut rows, bounded.condition, bounded.test, overlay)?;
            }
        }
        Ok(rows)
    }
}
