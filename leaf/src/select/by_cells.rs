//! The rows whose places may lie in a box, by cells.
//!
//! In: conditions, of which one bounds the latitude and one the longitude of an object; a segment's version. Out: how many rows are to be
//! looked at, before any is read; then the rows, for which both conditions are still to be evaluated. What patches laid over either field is
//! looked at by itself.

use std::ops::{Bound, Range};

use basalt_common::id::FieldId;
use basalt_common::value::Type;
use datafusion::common::Result;

use super::by_terms::lay;
use super::test::{Encoded, Place, Test};
use super::{Condition, damage};
use crate::cells::{self, DegreeBox};
use crate::column::{Column, Datum, Predicate};
use crate::field::FileColumn;
use crate::overlay::Overlay;
use crate::piece::Held;
use crate::segment::SegmentVersion;
use crate::terms::Terms;

/// The rows that cells name for two conditions.
pub(super) struct InBox<'v> {
    latitude: Bounded<'v>,
    longitude: Bounded<'v>,
    cells: Held<'v, Terms>,
    ranks: Vec<Range<u32>>,
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

    /// Its column in a file, if all numbers of the field are floats and it has any.
    fn file(&self, version: &'v SegmentVersion) -> Option<&'v FileColumn> {
        match self.test.on.column(version)?? {
            Encoded::Field(file) => Some(file),
            Encoded::Ids(_) => None,
        }
    }

    fn column(&self, version: &'v SegmentVersion) -> Result<Option<Held<'v, Column>>> {
        let column = self.file(version).map(|file| file.column.get()).transpose();
        column.map_err(|cause| damage(version, self.test.on.place, cause))
    }

    fn overlay(&self, version: &'v SegmentVersion) -> Option<&'v Overlay> {
        version.layers(self.field).1
    }
}

impl<'v> InBox<'v> {
    /// What cells say of some conditions; nothing where no two of them make a box, or the segment has no cells for it.
    pub(super) fn of(conditions: &'v [Condition], version: &'v SegmentVersion) -> Result<Option<Self>> {
        for latitude in conditions.iter().filter_map(Bounded::of) {
            let Some(cells) = latitude.file(version).and_then(|file| file.cells.as_ref()) else { continue };
            let longitude = conditions.iter().filter_map(Bounded::of).find(|other| other.field == cells.longitudes);
            let Some(longitude) = longitude else { continue };
            // They are of what lies beside them, and that may have been folded alone by a program that knew of no cells.
            if version.generation_of(latitude.field) != version.generation_of(longitude.field) {
                continue;
            }
            let (Some(longitudes), Some(latitudes)) = (longitude.column(version)?, latitude.column(version)?) else {
                continue;
            };
            let within =
                DegreeBox { longitudes: (longitude.least, longitude.most), latitudes: (latitude.least, latitude.most) };
            let damaged = |cause| damage(version, latitude.test.on.place, cause);
            let cells = cells.rows.get().map_err(damaged)?;
            let ranks = cells::find(&cells, &longitudes, &latitudes, within).map_err(damaged)?;
            return Ok(Some(Self { latitude, longitude, cells, ranks }));
        }
        Ok(None)
    }

    /// So many rows are looked at.
    pub(super) fn count(&self, version: &SegmentVersion) -> usize {
        let laid = [self.latitude, self.longitude].into_iter().map(|bounded| {
            let runs = bounded.overlay(version).into_iter().flat_map(Overlay::runs);
            runs.map(|run| bounded.test.count(run)).sum::<usize>()
        });
        self.ranks.iter().map(ExactSizeIterator::len).sum::<usize>() + laid.sum::<usize>()
    }

    /// The rows, each once, in any order.
    pub(super) fn rows(&self, version: &SegmentVersion) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        for ranks in &self.ranks {
            let appended = self.cells.append(ranks.clone(), &mut rows);
            appended.map_err(|cause| damage(version, self.latitude.test.on.place, cause))?;
        }
        // Who passes has passing values in both: of one that is laid over, the value that was laid.
        for bounded in [self.latitude, self.longitude] {
            if let Some(overlay) = bounded.overlay(version) {
                lay(&mut rows, bounded.condition, bounded.test, overlay)?;
            }
        }
        Ok(rows)
    }
}
