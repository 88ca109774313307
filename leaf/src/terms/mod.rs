//! Terms: the rows of one typed column of a file segment in the order of their values.
//!
//! In: a column, once. Out: the rows that have a value, a set of values or a range of them, and how many these are before any
//! is read; the rows of the least or greatest values. Values are not written again: whether a row's value lies before a bound is
//! read from the column, some twenty times for a million rows. So one form serves equality, sets, ranges, prefixes and order.
//!
//! ```text
//! column      b  a  ·  b  a              what was written
//! ranks       1  4  0  3                 rows by value, then by number:  a a b b
//! = 'b'             └──┴─ ranks 2 to 4
//!
//! terms       = (begin:u32)… (block)… (row:u32)…     a begin, from the first block on, for each whole block; the last rows
//! block       = width:u8 (128 × width bits)          rows as they are
//!             | (width | 128):u8 first:u32 (128 × width bits)    ascending rows, each as what it adds to the one before
//! ```
//!
//! Rows of one value are ascending, and so are those of values that came in order, so that what repeats and what is sorted takes
//! a few bits a row. Blocks are those of the `bitpacking` crate. Integers are little-endian.

mod sort;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use basalt_common::value::Type;
use bitpacking::{BitPacker, BitPacker4x};
use bytes::Bytes;
use datafusion::arrow::array::Array;

use crate::column::{Column, ColumnError, Datum, Predicate};

/// Rows of a block.
const BLOCK: usize = BitPacker4x::BLOCK_LEN;

/// Bytes of a row's number, and of a block's begin.
const ROW_BYTES: usize = size_of::<u32>();

/// Marks a block of ascending rows.
const ASCENDING: u8 = 128;

const CUT: ColumnError = ColumnError::Damaged("its terms end too early");
const WRONG: ColumnError = ColumnError::Damaged("its terms name a row without a value");

/// Whether columns of a type have terms: those of scalars in an order of their own. Of two values, a scan of bits is as fast.
pub fn are_of(of: Type) -> bool {
    matches!(of, Type::Int | Type::Float | Type::String | Type::Timestamp | Type::Date | Type::Time)
}

/// Appends the terms of a column, of which `array` has all rows; nothing for a type that has none.
///
/// # Errors
/// The column is not that of the array.
pub fn encode(array: &dyn Array, column: &Column, out: &mut Vec<u8>) -> Result<(), ColumnError> {
    encode_rows(&sort::rows_by_value(array, column)?, out);
    Ok(())
}

/// Appends rows that are in some order.
pub fn encode_rows(rows: &[u32], out: &mut Vec<u8>) {
    let (blocks, rest) = rows.as_chunks::<BLOCK>();
    let begins = out.len();
    out.resize(begins + blocks.len() * ROW_BYTES, 0);
    let start = out.len();
    for (index, block) in blocks.iter().enumerate() {
        let begin = u32::try_from(out.len() - start).expect("2^32 rows take less than 2^34 bits of 32 each");
        out[begins + index * ROW_BYTES..][..ROW_BYTES].copy_from_slice(&begin.to_le_bytes());
        put_block(block, out);
    }
    rest.iter().for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
}

fn put_block(block: &[u32; BLOCK], out: &mut Vec<u8>) {
    let packer = BitPacker4x::new();
    let first = block[0];
    let width = match block.is_sorted() {
        true => {
            let width = packer.num_bits_sorted(first, block);
            out.push(width | ASCENDING);
            out.extend_from_slice(&first.to_le_bytes());
            width
        }
        false => {
            let width = packer.num_bits(block);
            out.push(width);
            width
        }
    };
    let at = out.len();
    out.resize(at + packed_bytes(width), 0);
    match block.is_sorted() {
        true => packer.compress_sorted(first, block, &mut out[at..], width),
        false => packer.compress(block, &mut out[at..], width),
    };
}

fn packed_bytes(width: u8) -> usize {
    usize::from(width) * BLOCK / 8
}

/// The terms of a column, read in place. Ranks are places in the order of values.
#[derive(Debug)]
pub struct Terms {
    /// INVARIANT: at least as long as the begins of its blocks and the rows behind them; checked in [`Terms::open`].
    bytes: Bytes,
    ranks: u32,
    /// Rows of the column.
    rows: u64,
}

/// A block, unpacked.
struct Block {
    rows: [u32; BLOCK],
    length: usize,
}

impl Block {
    fn rows(&self) -> &[u32] {
        &self.rows[..self.length]
    }
}

impl Terms {
    /// Opens the terms of a column of so many rows, of which `present` have a value.
    ///
    /// # Errors
    /// The bytes are fewer than its values need.
    pub fn open(bytes: Bytes, rows: u64, present: u64) -> Result<Self, ColumnError> {
        let ranks = u32::try_from(present).map_err(|_| CUT)?;
        let terms = Self { bytes, ranks, rows };
        let least = (terms.blocks() + terms.rest()) * ROW_BYTES;
        if terms.bytes.len() < least { Err(CUT) } else { Ok(terms) }
    }

    /// How many rows have a value.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    fn blocks(&self) -> usize {
        self.ranks as usize / BLOCK
    }

    /// Rows behind the last whole block.
    fn rest(&self) -> usize {
        self.ranks as usize % BLOCK
    }

    fn block(&self, index: usize) -> Result<Block, ColumnError> {
        let mut block = Block { rows: [0; BLOCK], length: BLOCK };
        if index == self.blocks() {
            block.length = self.rest();
            let rest = self.bytes[self.bytes.len() - block.length * ROW_BYTES..].as_chunks().0;
            block.rows.iter_mut().zip(rest).for_each(|(row, bytes)| *row = u32::from_le_bytes(*bytes));
            return Ok(block);
        }
        let begin = self.bytes.get(index * ROW_BYTES..).and_then(<[u8]>::first_chunk).ok_or(CUT)?;
        let at = self.blocks() * ROW_BYTES + u32::from_le_bytes(*begin) as usize;
        let (head, packed) = self.bytes.get(at..).and_then(<[u8]>::split_first).ok_or(CUT)?;
        let width = head & !ASCENDING;
        if width > 32 {
            return Err(ColumnError::Damaged("its terms have rows of more than 32 bits"));
        }
        let packer = BitPacker4x::new();
        match head & ASCENDING {
            0 => {
                let packed = packed.get(..packed_bytes(width)).ok_or(CUT)?;
                packer.decompress(packed, &mut block.rows, width);
            }
            _ => {
                let (first, packed) = packed.split_first_chunk().ok_or(CUT)?;
                let packed = packed.get(..packed_bytes(width)).ok_or(CUT)?;
                packer.decompress_sorted(u32::from_le_bytes(*first), packed, &mut block.rows, width);
            }
        }
        Ok(block)
    }

    /// Appends the rows of a range of ranks: ascending where all of them have one value.
    ///
    /// # Errors
    /// The terms are damaged there.
    ///
    /// # Panics
    /// There are fewer ranks.
    pub fn append(&self, ranks: Range<u32>, out: &mut Vec<u32>) -> Result<(), ColumnError> {
        assert!(ranks.end <= self.ranks, "ranks are those of the column's values");
        let (mut at, end, before) = (ranks.start as usize, ranks.end as usize, out.len());
        while at < end {
            let (index, within) = (at / BLOCK, at % BLOCK);
            let length = (BLOCK - within).min(end - at);
            out.extend_from_slice(&self.block(index)?.rows()[within..within + length]);
            at += length;
        }
        match out[before..].iter().all(|row| u64::from(*row) < self.rows) {
            true => Ok(()),
            false => Err(WRONG),
        }
    }

    /// The ranks of the rows whose values match a predicate: ranges, disjoint and ascending.
    ///
    /// # Errors
    /// The predicate's values are of another type, or the column or its terms are damaged.
    pub fn find(&self, column: &Column, predicate: &Predicate<'_>) -> Result<Vec<Range<u32>>, ColumnError> {
        predicate.ranks(self.ranks, |value, or_equal| self.before(column, value, or_equal))
    }

    /// How many ranks have a value less than one given, or that value too.
    fn before(&self, column: &Column, value: &Datum<'_>, or_equal: bool) -> Result<u32, ColumnError> {
        let is_before = |row: u32| {
            let there = column.value(row.into())?.ok_or(WRONG)?;
            match there.order(value) {
                Some(order) => Ok(order == Ordering::Less || or_equal && order == Ordering::Equal),
                None => Err(ColumnError::Damaged("it is compared with a value of another type")),
            }
        };
        self.partition_point(is_before)
    }

    /// How many ranks have rows that are before a bound of the order in which they lie.
    ///
    /// # Errors
    /// The terms are damaged, or what tells it fails.
    pub fn partition_point(&self, is_before: impl Fn(u32) -> Result<bool, ColumnError>) -> Result<u32, ColumnError> {
        // The first block of which the first row is not before, then the first row in the block before that.
        let block = partition_point(self.blocks() + usize::from(self.rest() > 0), |index| {
            is_before(*self.block(index)?.rows().first().ok_or(CUT)?)
        })?;
        let Some(block) = block.checked_sub(1) else { return Ok(0) };
        let rows = self.block(block)?;
        let within = partition_point(rows.length, |index| is_before(rows.rows[index]))?;
        Ok((block * BLOCK + within) as u32)
    }
}

/// As [`slice::partition_point`], of what may fail.
fn partition_point<E>(length: usize, is_before: impl Fn(usize) -> Result<bool, E>) -> Result<usize, E> {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle)? { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
