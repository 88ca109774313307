//! The keys of a segment's rows as small numbers: codes of dictionaries, distances from the least of a few integers.
//!
//! In: the columns by which rows are grouped, a segment's version. Out: for each row a number below [`KEYS_MAX`], the same for rows
//! of one group; nothing where columns are not encoded so. What is laid over rows has a number where its value is one of the column.
//!
//! ```text
//! returnflag  A N R  → 1 2 3, 0 without      linestatus  F O → 1 2, 0 without       number = flag × 3 + status
//! ```

use std::ops::Range;

use basalt_common::value::Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};

use crate::column::{Column, ColumnError, Datum};
use crate::overlay::{Run, both};
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

/// The numbers of some rows.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// One for each row.
    pub(super) of_rows: Vec<u32>,
    /// The places, ascending, of rows that have none: what is laid over a key is no value of its column.
    pub(super) others: Vec<usize>,
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

    /// The numbers of some rows, ascending; nothing where these are too far apart to be read together.
    pub(super) fn numbers(&self, rows: &[u32]) -> Result<Option<Numbers>, ColumnError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Some(Numbers::default())) };
        if (last - first) as usize / rows.len() >= GAP_MAX {
            return Ok(None);
        }
        let (mut numbers, mut others) = (vec![0; rows.len()], Vec::new());
        for key in &self.keys {
            let count = key.count as u32 + 1;
            let codes = key.codes(u64::from(*first)..u64::from(*last) + 1)?;
            let laid = key.laid(self.version, rows)?;
            match codes {
                None => numbers.iter_mut().for_each(|number| *number *= count),
                Some(codes) => add(&mut numbers, count, &codes, rows, *first),
            }
            for (place, digit) in laid {
                // The last digit of a number is this key's; what was laid over a row later comes later.
                match digit {
                    Some(digit) => numbers[place] = numbers[place] / count * count + digit,
                    None => others.push(place),
                }
            }
        }
        others.sort_unstable();
        others.dedup();
        Ok(Some(Numbers { of_rows: numbers, others }))
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

    /// What is laid over some rows, ascending, the oldest first: their places, and the digit of each value that is one of the column.
    fn laid(&self, version: &SegmentVersion, rows: &[u32]) -> Result<Vec<(usize, Option<u32>)>, ColumnError> {
        let mut laid = Vec::new();
        let Place::Field(field) = self.on.place else { return Ok(laid) };
        let Some(overlay) = version.layers(field).1 else { return Ok(laid) };
        let strings = match (&self.column, self.on.of) {
            (Some(column), Type::String) => column.dictionary()?,
            _ => None,
        };
        let strings = strings.as_ref().map(|strings| strings.as_string::<i32>());
        for run in overlay.runs() {
            let is_few = |numbered: &&DictionaryArray<UInt32Type>| numbered.values().len() <= rows.len();
            let numbered = strings.and_then(|_| run.strings()).filter(is_few);
            // Each of few strings is searched for once.
            let mut known = vec![None; numbered.map_or(0, |numbered| numbered.values().len())];
            both(rows, run.rows(), |place, index| {
                let digit = || self.digit(run, index, strings);
                let number = numbered.and_then(|numbered| numbered.key(index));
                laid.push((place, number.map_or_else(digit, |number| *known[number].get_or_insert_with(digit))));
            });
        }
        Ok(laid)
    }

    /// The digit of a value of a run: 0 of an absent one, nothing of one that the column does not have.
    fn digit(&self, run: &Run, index: usize, strings: Option<&StringArray>) -> Option<u32> {
        let mut there = run.values().columns().iter().filter(|(_, values)| values.is_valid(index));
        let Some((of, values)) = there.next() else { return Some(0) };
        let code = match *of == self.on.of {
            true if *of == Type::String => place_in(strings?, values.as_string::<i32>().value(index))?,
            true => usize::try_from(integer(values, index)?.checked_sub(self.least)?).ok()?,
            false => return None,
        };
        (code < self.count).then_some(code as u32 + 1)
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

/// The place of a string among ascending ones.
fn place_in(strings: &StringArray, wanted: &str) -> Option<usize> {
    let (mut low, mut high) = (0, strings.len());
    while low < high {
        let middle = (low + high) / 2;
        match strings.value(middle) < wanted {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    (low < strings.len() && strings.value(low) == wanted).then_some(low)
}

/// A value of a column of integers, or what is kept as such.
fn integer(values: &ArrayRef, index: usize) -> Option<i64> {
    Some(match values.data_type() {
        DataType::Boolean => values.as_boolean().value(index).into(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(index),
        DataType::Date32 => values.as_primitive::<Date32Type>().value(index).into(),
        DataType::Timestamp(..) => values.as_primitive::<TimestampMicrosecondType>().value(index),
        DataType::Time64(_) => values.as_primitive::<Time64MicrosecondType>().value(index),
        _ => return None,
    })
}
