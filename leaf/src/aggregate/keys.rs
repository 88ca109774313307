//! The keys of a segment's rows as small numbers: codes of dictionaries, distances from the least of a few integers.
//!
//! In: the columns by which rows are grouped, a segment's version. Out: for each row a number below [`KEYS_MAX`], the same for rows
//! of one group; nothing where columns are not encoded so. What is laid over rows is not looked at.
//!
//! ```text
//! returnflag  A N R  → 1 2 3, 0 without      linestatus  F O → 1 2, 0 without       number = flag × 3 + status
//! ```

use std::ops::Range;

use basalt_common::value::Type;
use datafusion::arrow::array::{Array, AsArray, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt32Type};

use crate::column::{Column, ColumnError, Datum};
use crate::overlay::{Overlay, both};
use crate::piece::Held;
use crate::segment::SegmentVersion;
use crate::select::{Place, Tested};

/// The most keys that a segment's columns may have together.
pub(super) const KEYS_MAX: usize = 1 << 16;

/// Rows that lie further apart, in the mean, are not worth reading all between them.
const GAP_MAX: usize = 8;

/// One column's keys: `count` values, and none.
#[derive(Debug)]
struct Key<'v> {
    on: Tested,
    /// None where no row of the segment has a value.
    column: Option<Held<'v, Column>>,
    /// The value of the first key, of integers.
    least: i64,
    count: usize,
}

/// The keys of a segment's rows.
#[derive(Debug)]
pub(super) struct SegmentKeys<'v> {
    version: &'v SegmentVersion,
    keys: Vec<Key<'v>>,
}

impl<'v> SegmentKeys<'v> {
    /// The keys by these columns, if there are few in this segment.
    pub(super) fn of(columns: &[Tested], version: &'v SegmentVersion) -> Result<Option<Self>, ColumnError> {
        let (mut keys, mut all) = (Vec::with_capacity(columns.len()), 1_usize);
        for on in columns {
            let Some(key) = Key::of(*on, version)? else { return Ok(None) };
            all = all.saturating_mul(key.count + 1);
            keys.push(key);
        }
        Ok((all <= KEYS_MAX).then_some(Self { version, keys }))
    }

    /// How many different numbers there may be.
    pub(super) fn count(&self) -> usize {
        self.keys.iter().map(|key| key.count + 1).product()
    }

    /// The number of each of some rows, ascending; none where they are too far apart to be read together.
    pub(super) fn numbers(&self, rows: &[u32]) -> Result<Option<Vec<u32>>, ColumnError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Some(Vec::new())) };
        if (last - first) as usize / rows.len() >= GAP_MAX {
            return Ok(None);
        }
        let mut numbers = vec![0; rows.len()];
        for key in &self.keys {
            let count = key.count as u32 + 1;
            match key.codes(u64::from(*first)..u64::from(*last) + 1)? {
                None => numbers.iter_mut().for_each(|number| *number *= count),
                Some(codes) => add(&mut numbers, count, &codes, rows, *first),
            }
        }
        Ok(Some(numbers))
    }

    /// The places in `rows`, ascending, of those of which something is laid over a key.
    pub(super) fn laid_over(&self, rows: &[u32]) -> Vec<usize> {
        let mut places = Vec::new();
        for key in &self.keys {
            let Place::Field(field) = key.on.place else { continue };
            for run in self.version.layers(field).1.into_iter().flat_map(Overlay::runs) {
                both(rows, run.rows(), |place, _| places.push(place));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Adds a column's codes to numbers, one digit more.
fn add(numbers: &mut [u32], count: u32, codes: &UInt32Array, rows: &[u32], first: u32) {
    let values = codes.values();
    let is_whole = rows.len() == values.len();
    match codes.nulls() {
        None if is_whole => {
            numbers.iter_mut().zip(values).for_each(|(number, code)| *number = *number * count + code + 1);
        }
        _ => {
            for (number, row) in numbers.iter_mut().zip(rows) {
                let place = (row - first) as usize;
                *number = *number * count + if codes.is_valid(place) { values[place] + 1 } else { 0 };
            }
        }
    }
}

impl<'v> Key<'v> {
    fn of(on: Tested, version: &'v SegmentVersion) -> Result<Option<Self>, ColumnError> {
        let Some(encoded) = on.column(version).filter(|_| on.place != Place::Id) else { return Ok(None) };
        let Some(encoded) = encoded else { return Ok(Some(Self { on, column: None, least: 0, count: 0 })) };
        let column = encoded.column()?;
        let range = match on.of {
            Type::String => column.distinct().map(|count| (0, count)),
            Type::Bool => Some((0, 2)),
            Type::Int | Type::Date | Type::Timestamp | Type::Time => bounds(&column).and_then(|(least, greatest)| {
                Some((least, usize::try_from(greatest.checked_sub(least)?).ok()?.checked_add(1)?))
            }),
            _ => None,
        };
        Ok(range.map(|(least, count)| Self { on, column: Some(column), least, count }))
    }

    /// A number below `count` for each row of a range, null where it has no value.
    fn codes(&self, rows: Range<u64>) -> Result<Option<UInt32Array>, ColumnError> {
        let Some(column) = &self.column else { return Ok(None) };
        if self.on.of == Type::String {
            return column.codes(rows);
        }
        let wrong = || ColumnError::Damaged("a value is not within its column's bounds");
        let integers = cast(&column.read(rows)?, &DataType::Int64).map_err(|_| wrong())?;
        let codes =
            integers.as_primitive::<Int64Type>().unary::<_, UInt32Type>(|value| value.wrapping_sub(self.least) as u32);
        let is_within = codes.iter().flatten().all(|code| (code as usize) < self.count);
        if is_within { Ok(Some(codes)) } else { Err(wrong()) }
    }
}

/// The least and the greatest integer of a column, by its blocks' statistics.
fn bounds(column: &Column) -> Option<(i64, i64)> {
    let blocks = column.rows().div_ceil(column.block_rows()) as usize;
    let statistics = (0..blocks).filter_map(|block| column.statistics(block));
    let each = statistics.map(|statistics| match (statistics.min, statistics.max) {
        (Some(Datum::Int(min)), Some(Datum::Int(max))) => Some((min, max)),
        _ => None,
    });
    each.reduce(|a, b| Some((a?.0.min(b?.0), a?.1.max(b?.1))))?
}
