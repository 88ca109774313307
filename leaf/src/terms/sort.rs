//! The rows of a column in the order of their values.
//!
//! In: an array, and the column that was made of it. Out: rows. What is of 64 bits, or a code of a dictionary, is sorted as
//! integers with the row beside the value in one word where both fit; other strings eight bytes at a time, as multikey quicksort
//! does (Bentley and Sedgewick, 1997), each time behind what the strings in question have in common.

use std::ops::Range;

use datafusion::arrow::array::{Array, AsArray, PrimitiveArray, StringArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};

use crate::column::{Column, ColumnError, order_of_float};

/// So many strings are compared whole instead of being sorted by eight bytes.
const FEW: usize = 24;

/// Values that are so few are counted instead of being sorted.
const COUNTED_MAX: u64 = 1 << 16;

/// The rows with a value, by value, then by number; none of a type that has no terms.
pub(super) fn rows_by_value(array: &dyn Array, column: &Column) -> Result<Vec<u32>, ColumnError> {
    Ok(match array.data_type() {
        DataType::Int64 => by_number::<Int64Type>(array.as_primitive(), |value| value),
        DataType::Float64 => by_number::<Float64Type>(array.as_primitive(), order_of_float),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            by_number::<TimestampMicrosecondType>(array.as_primitive(), |value| value)
        }
        DataType::Date32 => by_number::<Date32Type>(array.as_primitive(), i64::from),
        DataType::Time64(TimeUnit::Microsecond) => {
            by_number::<Time64MicrosecondType>(array.as_primitive(), |value| value)
        }
        DataType::Utf8 => match column.codes(0..column.rows())? {
            Some(codes) => by_number::<UInt32Type>(&codes, i64::from),
            None => by_text(array.as_string()),
        },
        _ => Vec::new(),
    })
}

fn rows_of(array: &dyn Array) -> impl Iterator<Item = u32> {
    let rows = 0..u32::try_from(array.len()).expect("a segment has fewer rows than 2^32");
    rows.filter(|row| array.is_valid(*row as usize))
}

fn by_number<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, key: impl Fn(T::Native) -> i64) -> Vec<u32> {
    let key = |row: u32| key(array.value(row as usize));
    let (mut least, mut greatest) = (i64::MAX, i64::MIN);
    for row in rows_of(array) {
        least = least.min(key(row));
        greatest = greatest.max(key(row));
    }
    if greatest < least {
        return Vec::new();
    }
    let offset = |row: u32| key(row).wrapping_sub(least) as u64;
    let most = greatest.wrapping_sub(least) as u64;
    let row_bits = usize::BITS - array.len().leading_zeros();
    if most < COUNTED_MAX.min(array.len() as u64) {
        return by_counting(rows_of(array), most as usize, |row| offset(row) as usize);
    }
    if most.leading_zeros() >= row_bits {
        let mut words: Vec<u64> = rows_of(array).map(|row| offset(row) << row_bits | u64::from(row)).collect();
        words.sort_unstable();
        return words.into_iter().map(|word| (word & ((1 << row_bits) - 1)) as u32).collect();
    }
    let mut pairs: Vec<(u64, u32)> = rows_of(array).map(|row| (offset(row), row)).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, row)| row).collect()
}

/// By keys from zero to `most`.
fn by_counting(rows: impl Iterator<Item = u32>, most: usize, key: impl Fn(u32) -> usize) -> Vec<u32> {
    let rows: Vec<u32> = rows.collect();
    let mut begins = vec![0_usize; most + 2];
    rows.iter().for_each(|row| begins[key(*row) + 1] += 1);
    let mut before = 0;
    for begin in &mut begins {
        before += *begin;
        *begin = before;
    }
    let mut sorted = vec![0; rows.len()];
    for row in rows {
        let place = &mut begins[key(row)];
        sorted[*place] = row;
        *place += 1;
    }
    sorted
}

fn by_text(array: &StringArray) -> Vec<u32> {
    let (offsets, bytes) = (array.value_offsets(), array.value_data());
    let text = |row: u32| &bytes[offsets[row as usize] as usize..offsets[row as usize + 1] as usize];
    let mut entries: Vec<(u64, u32)> = rows_of(array).map(|row| (0, row)).collect();
    // Entries that are equal up to a depth, and not sorted behind it.
    let mut open: Vec<(Range<usize>, usize)> = vec![(0..entries.len(), 0)];
    while let Some((range, depth)) = open.pop() {
        let part = &mut entries[range.clone()];
        if part.len() <= FEW {
            part.sort_unstable_by(|(_, a), (_, b)| text(*a)[depth..].cmp(&text(*b)[depth..]).then(a.cmp(b)));
            continue;
        }
        let depth = depth + common(part.iter().map(|(_, row)| &text(*row)[depth..]));
        part.iter_mut().for_each(|(key, row)| *key = eight(&text(*row)[depth..]));
        part.sort_unstable();
        let mut start = range.start;
        for equal in part.chunk_by_mut(|(a, _), (b, _)| a == b) {
            let here = start..start + equal.len();
            start = here.end;
            if equal.len() == 1 {
                continue;
            }
            // What ends within the eight bytes is before what goes on, and differs by zeros at its end at most.
            let behind = depth + size_of::<u64>();
            equal.sort_by_key(|(_, row)| text(*row).len().min(behind + 1));
            let ended = equal.partition_point(|(_, row)| text(*row).len() <= behind);
            if here.len() - ended > 1 {
                open.push((here.start + ended..here.end, behind));
            }
        }
    }
    entries.into_iter().map(|(_, row)| row).collect()
}

/// How many bytes all texts begin with.
fn common<'t>(mut texts: impl Iterator<Item = &'t [u8]>) -> usize {
    let first = texts.next().unwrap_or_default();
    texts.fold(first.len(), |common, text| {
        let same = first[..common].iter().zip(text).take_while(|(a, b)| a == b).count();
        same.min(common)
    })
}

/// The first eight bytes as a number, zeros behind the last.
fn eight(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..text.len()].copy_from_slice(text);
            u64::from_be_bytes(bytes)
        }
    }
}
