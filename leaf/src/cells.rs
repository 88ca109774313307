//! Cells: the rows of a segment in the order of where their places lie, so that what is near lies together.
//!
//! In: the latitudes of an object's field and the longitudes beside them, once. Out: the rows whose places lie in a box, and perhaps some
//! around it, and how many these are before any is read. Of a box each of the two alone names a stripe around the earth. The order is that of
//! Morton (1966): the bits of both coordinates in turn, so that a square of 2^n by 2^n units is a range; a box is a few of them. As with
//! [terms](crate::terms), values are not written again: where a row's place lies is read from the two columns.
//!
//! ```text
//!   y                                the box      = cells 4 to 7, 12 and 13
//!   │  10 11 14 15                               2 3
//!   │   8  9 12 13      ┌─────┐                0 1 6 7
//!   │   2  3  6  7      │     │ ...                4 5
//!   │   0  1  4  5
//!   └────────────── x     cells = as terms, of the rows that have both
//! ```

use std::ops::Range;

use basalt_common::columns::TypedColumns;
use basalt_common::value::Type;
use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::datatypes::Float64Type;

use crate::column::{Column, ColumnError, Datum};
use crate::terms::{self, Terms};

/// A box is covered by at most so many squares: with more fewer rows around it are looked at, and each is searched for.
const SQUARES_MAX: usize = 12;

const BITS: u32 = 32;

const WRONG: ColumnError = ColumnError::Damaged("its cells name a row without a place");

/// Between which values of either coordinate, in degrees, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DegreeBox {
    /// Least and greatest longitude.
    pub longitudes: (f64, f64),
    /// Least and greatest latitude.
    pub latitudes: (f64, f64),
}

/// Where a value lies between two: never falls while the value rises, so that what is beyond a bound of a box is in no cell beyond it.
fn unit(value: f64, least: f64, most: f64) -> u32 {
    let whole = f64::from(BITS).exp2();
    match (value - least) / (most - least) * whole {
        // In the order of all floats, one without a number is behind all others, or before them by its sign.
        place if place >= whole || value.is_nan() && value.is_sign_positive() => u32::MAX,
        // Below zero it is zero, and so is what is no number.
        place => place as u32,
    }
}

fn units(longitude: f64, latitude: f64) -> (u32, u32) {
    (unit(longitude, -180.0, 180.0), unit(latitude, -90.0, 90.0))
}

/// A number's bits with a zero between each two.
fn spread(number: u32) -> u64 {
    let steps = [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f)];
    let steps = steps.into_iter().chain([(2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)]);
    steps.fold(u64::from(number), |bits, (by, mask)| (bits | bits << by) & mask)
}

fn cell(longitude: f64, latitude: f64) -> u64 {
    let (x, y) = units(longitude, latitude);
    spread(x) | spread(y) << 1
}

/// A square of 2^bits by 2^bits units.
#[derive(Debug, Clone, Copy)]
struct Square {
    x: u32,
    y: u32,
    bits: u32,
}

impl Square {
    fn last(self) -> (u32, u32) {
        let beyond = if self.bits == BITS { u32::MAX } else { (1 << self.bits) - 1 };
        (self.x | beyond, self.y | beyond)
    }

    /// Its quarters.
    fn quarters(self) -> [Self; 4] {
        let bits = self.bits - 1;
        [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(x, y)| Self { x: self.x | x << bits, y: self.y | y << bits, bits })
    }

    /// Its cells, the last too.
    fn cells(self) -> (u64, u64) {
        let (x, y) = self.last();
        (spread(self.x) | spread(self.y) << 1, spread(x) | spread(y) << 1)
    }
}

/// Ranges of cells, both ends included, ascending and apart, in which all places of a box lie.
fn cover(within: DegreeBox) -> Vec<(u64, u64)> {
    let (least, most) =
        (units(within.longitudes.0, within.latitudes.0), units(within.longitudes.1, within.latitudes.1));
    if least.0 > most.0 || least.1 > most.1 {
        return Vec::new();
    }
    let meets = |square: &Square| {
        let (x, y) = square.last();
        square.x <= most.0 && square.y <= most.1 && x >= least.0 && y >= least.1
    };
    let is_within = |square: &Square| {
        let (x, y) = square.last();
        square.x >= least.0 && square.y >= least.1 && x <= most.0 && y <= most.1
    };
    let mut squares = vec![Square { x: 0, y: 0, bits: BITS }];
    // The largest that is partly outside is divided, for as long as the parts are few.
    while let Some(largest) = (0..squares.len())
        .filter(|index| squares[*index].bits > 0 && !is_within(&squares[*index]))
        .max_by_key(|index| squares[*index].bits)
    {
        let quarters: Vec<Square> = squares[largest].quarters().into_iter().filter(meets).collect();
        if squares.len() - 1 + quarters.len() > SQUARES_MAX {
            break;
        }
        squares.swap_remove(largest);
        squares.extend(quarters);
    }
    let mut ranges: Vec<(u64, u64)> = squares.into_iter().map(Square::cells).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|behind, before| {
        let touches = before.1 + 1 == behind.0;
        if touches {
            before.1 = behind.1;
        }
        touches
    });
    ranges
}

fn floats(values: &TypedColumns) -> Option<&Float64Array> {
    values.column(Type::Float).map(|column| column.as_primitive::<Float64Type>())
}

/// Appends the cells of the places that two fields make, and tells of how many rows; nothing where there are none. A place with whole degrees,
/// as an int, has no cell.
pub fn encode(longitudes: &TypedColumns, latitudes: &TypedColumns, out: &mut Vec<u8>) -> Option<u64> {
    let (longitudes, latitudes) = (floats(longitudes)?, floats(latitudes)?);
    let both = |row: &usize| longitudes.is_valid(*row) && latitudes.is_valid(*row);
    let with_cell = |row: usize| (cell(longitudes.value(row), latitudes.value(row)), row as u32);
    let mut rows: Vec<(u64, u32)> = (0..latitudes.len()).filter(both).map(with_cell).collect();
    rows.sort_unstable();
    let rows: Vec<u32> = rows.into_iter().map(|(_, row)| row).collect();
    terms::encode_rows(&rows, out);
    (!rows.is_empty()).then_some(rows.len() as u64)
}

/// The ranks, in `cells`, of the rows whose places may lie in a box, by the columns of which the cells were made.
///
/// # Errors
/// The columns or the cells are damaged.
pub fn find(
    cells: &Terms,
    longitudes: &Column,
    latitudes: &Column,
    within: DegreeBox,
) -> Result<Vec<Range<u32>>, ColumnError> {
    let number = |column: &Column, row: u32| match column.value(row.into())? {
        Some(Datum::Float(number)) => Ok(number),
        _ => Err(WRONG),
    };
    let cell_of = |row: u32| Ok::<_, ColumnError>(cell(number(longitudes, row)?, number(latitudes, row)?));
    let mut ranks = Vec::new();
    for (first, last) in cover(within) {
        let start = cells.partition_point(|row| Ok(cell_of(row)? < first))?;
        let end = cells.partition_point(|row| Ok(cell_of(row)? <= last))?;
        if start < end {
            ranks.push(start..end);
        }
    }
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::column;

    fn degrees(values: &[Option<f64>]) -> (TypedColumns, Column) {
        let array = Arc::new(Float64Array::from(values.to_vec()));
        let mut bytes = Vec::new();
        column::encode(array.as_ref(), &mut bytes).expect("a storage type");
        let column = Column::open(bytes.into(), array.data_type(), array.len() as u64).expect("it was just written");
        (TypedColumns::new(values.len(), vec![(Type::Float, array)]), column)
    }

    /// The rows that cells name for a box.
    fn named(places: &[(Option<f64>, Option<f64>)], within: DegreeBox) -> Vec<u32> {
        let (longitudes, latitudes): (Vec<_>, Vec<_>) = places.iter().copied().unzip();
        let ((longitudes, x), (latitudes, y)) = (degrees(&longitudes), degrees(&latitudes));
        let mut bytes = Vec::new();
        let Some(present) = encode(&longitudes, &latitudes, &mut bytes) else { return Vec::new() };
        let cells = Terms::open(Bytes::from(bytes), places.len() as u64, present).expect("they were just written");
        let mut rows = Vec::new();
        for ranks in find(&cells, &x, &y, within).expect("they are whole") {
            cells.append(ranks, &mut rows).expect("ranks of theirs");
        }
        rows.sort_unstable();
        rows
    }

    fn is_in(value: f64, (least, most): (f64, f64)) -> bool {
        value.total_cmp(&least).is_ge() && value.total_cmp(&most).is_le()
    }

    fn degree() -> impl Strategy<Value = f64> {
        let ends =
            [-180.0, -90.0, -0.0, 0.0, 90.0, 180.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
        prop_oneof![4 => -200.0..200.0_f64, 4 => 13.3..13.5_f64, 1 => prop::sample::select(ends.to_vec())]
    }

    fn range() -> impl Strategy<Value = (f64, f64)> {
        prop_oneof![(degree(), degree()), (degree(), 0.0..2.0_f64).prop_map(|(least, wide)| (least, least + wide))]
    }

    proptest! {
        #[test]
        fn every_place_in_a_box_is_named_once(
            places in prop::collection::vec((prop::option::weighted(0.9, degree()), prop::option::weighted(0.9, degree())), 0..400),
            longitudes in range(),
            latitudes in range(),
        ) {
            let rows = named(&places, DegreeBox { longitudes, latitudes });
            prop_assert!(rows.is_sorted_by(|before, behind| before < behind), "a row is named twice");
            for (row, place) in places.iter().enumerate() {
                if let (Some(longitude), Some(latitude)) = place
                    && is_in(*longitude, longitudes)
                    && is_in(*latitude, latitudes)
                {
                    prop_assert!(rows.contains(&(row as u32)), "row {row}");
                }
            }
        }

        #[test]
        fn a_box_is_covered_by_a_few_ranges_apart(longitudes in range(), latitudes in range()) {
            let ranges = cover(DegreeBox { longitudes, latitudes });
            prop_assert!(ranges.len() <= SQUARES_MAX);
            prop_assert!(ranges.iter().all(|(first, last)| first <= last));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }

    /// In a city, a box of a few hundred metres names little more than what lies in it; either range alone names a stripe of it.
    #[test]
    fn a_box_in_a_city_names_few_rows_around_it() {
        let place = |row: u64| {
            let part = |prime: u64| (row * prime % 100_003) as f64 / 100_003.0;
            (Some(13.2 + 0.5 * part(7_919)), Some(52.4 + 0.3 * part(104_729)))
        };
        let places: Vec<_> = (0..100_000).map(place).collect();
        let (longitudes, latitudes) = ((13.400, 13.406), (52.500, 52.504));
        let rows = named(&places, DegreeBox { longitudes, latitudes });
        let within = |(longitude, latitude): &(Option<f64>, Option<f64>)| {
            (
                longitude.is_some_and(|value| is_in(value, longitudes)),
                latitude.is_some_and(|value| is_in(value, latitudes)),
            )
        };
        let inside = places.iter().filter(|place| within(place) == (true, true)).count();
        let stripe = places.iter().filter(|place| within(place).0).count();
        assert!(inside > 5 && rows.len() < 4 * inside && rows.len() * 10 < stripe, "{inside} {} {stripe}", rows.len());
    }

    #[test]
    fn whole_degrees_have_no_cells() {
        let (floats, _) = degrees(&[Some(1.5), None]);
        let ints = Arc::new(datafusion::arrow::array::Int64Array::from(vec![None, Some(2)]));
        let mixed = TypedColumns::new(2, vec![(Type::Int, ints), floats.columns()[0].clone()]);
        assert_eq!(encode(&floats, &mixed, &mut Vec::new()), Some(1));
        assert_eq!(encode(&floats, &mixed.slice(1, 1), &mut Vec::new()), None);
        assert_eq!(encode(&floats, &TypedColumns::new(2, Vec::new()), &mut Vec::new()), None);
        assert_eq!(encode(&floats, &floats, &mut Vec::new()), Some(1));
    }
}
