//! Reads columns of strings.
//!
//! In: rows. Out: Arrow arrays of their strings, or the codes of these in the column's dictionary. What is `unsafe` is one call: strings of a table,
//! which were found to be UTF-8 when it was made, are not looked at again.

use std::ops::Range;
use std::sync::Arc;

use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use datafusion::arrow::array::{ArrayRef, BinaryArray, StringArray, UInt32Array};

use super::directory::{Block, Values};
use super::integers::Integers;
use super::read::{Column, NO_STRING};
use super::table::Table;
use super::{ColumnError, Storage};

pub(super) const NO_TEXT: ColumnError = ColumnError::Damaged("a string is not UTF-8");

/// So many rows' codes, ends and strings stay in the nearest cache.
const PIECE_ROWS: usize = 1 << 10;

impl Column {
    pub(super) fn read_strings(&self, rows: Range<u64>) -> Result<ArrayRef, ColumnError> {
        let count = rows.end.saturating_sub(rows.start).min(self.rows) as usize;
        let table = self.table(count);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut offsets = Vec::with_capacity(count + 1);
        offsets.push(0);
        let validity = self.spans(rows, |count, piece| {
            let end = bytes.len() as i32;
            let Some((block, span)) = piece else {
                offsets.resize(offsets.len() + count, end);
                return Ok(());
            };
            let mut append = |ends: &mut Vec<i32>| match (table, &block.values) {
                (Some(table), Values::Integers(frame)) => {
                    let integers = self.parts().integers(block, *frame);
                    append_by_table(table, &integers, span.slots.clone(), &mut bytes, ends)
                }
                _ => self.append_strings(block, span.slots.clone(), &mut bytes, ends),
            };
            if span.is_full() {
                return append(&mut offsets);
            }
            ends.clear();
            ends.push(end);
            append(&mut ends)?;
            span.spread(&ends, true, &mut offsets);
            Ok(())
        })?;
        match table {
            Some(_) => Ok(self.array_of_whole_strings(offsets, bytes.into(), validity)),
            None => self.array_of_strings(offsets, bytes.into(), validity),
        }
    }

    /// The table of the dictionary, if there is one: made when first so many rows are asked for that it pays, then kept.
    pub(super) fn table(&self, rows: usize) -> Option<&Table> {
        let strings = self.distinct().filter(|strings| Table::is_for(*strings))?;
        if let Some(table) = self.table.get() {
            return table.as_ref();
        }
        let dictionary = self.parts().dictionary().filter(|_| rows >= strings)?;
        self.table.get_or_init(|| Table::new(&dictionary, self.storage == Storage::String)).as_ref()
    }

    /// Appends the strings of slots, and for each where it ends in `out`.
    fn append_strings(
        &self,
        block: &Block,
        slots: Range<usize>,
        out: &mut Vec<u8>,
        ends: &mut Vec<i32>,
    ) -> Result<(), ColumnError> {
        let parts = self.parts();
        match (&block.values, parts.dictionary()) {
            (Values::Integers(frame), Some(dictionary)) => {
                let mut codes = Vec::with_capacity(slots.len());
                parts.integers(block, *frame).append(slots, &mut codes, |code| code);
                dictionary.append(&codes, out, ends)
            }
            _ => parts.strings(block).ok_or(NO_STRING)?.append(slots, out, ends),
        }
    }

    /// An array of strings, whose offsets are ascending from 0 to the number of bytes.
    pub(super) fn array_of_strings(
        &self,
        offsets: Vec<i32>,
        bytes: Buffer,
        validity: Option<NullBuffer>,
    ) -> Result<ArrayRef, ColumnError> {
        let offsets = OffsetBuffer::new(offsets.into());
        match self.storage {
            Storage::String => StringArray::try_new(offsets, bytes, validity).map(|array| Arc::new(array) as ArrayRef),
            _ => BinaryArray::try_new(offsets, bytes, validity).map(|array| Arc::new(array) as ArrayRef),
        }
        .map_err(|_| NO_TEXT)
    }

    /// An array of strings that were all appended by a table of this column, whose offsets are ends that it gave.
    pub(super) fn array_of_whole_strings(
        &self,
        offsets: Vec<i32>,
        bytes: Buffer,
        validity: Option<NullBuffer>,
    ) -> ArrayRef {
        // Without an early exit this is a vector loop, which `OffsetBuffer::new` is not.
        let is_ascending = offsets.windows(2).fold(true, |so_far, pair| so_far & (pair[0] <= pair[1]));
        let ends = offsets.first().copied().zip(offsets.last().map(|end| *end as usize));
        assert!(is_ascending && ends == Some((0, bytes.len())), "offsets ascend from 0 to the end of the bytes");
        // SAFETY: the assertion above.
        let offsets = unsafe { OffsetBuffer::new_unchecked(offsets.into()) };
        if self.storage == Storage::Binary {
            return Arc::new(BinaryArray::new(offsets, bytes, validity));
        }
        let rows = offsets.len() - 1;
        assert!(validity.as_ref().is_none_or(|validity| validity.len() == rows), "one bit of validity for each row");
        // SAFETY: the assertions above, and that the strings are UTF-8. The bytes are whole strings of the table one behind
        // the other, and each offset is the start of the first or the end of one, as `Table::append` gave it; the table of
        // a String column is an owned copy of strings that `Table::new` found to be UTF-8, each by itself.
        Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, validity) })
    }

    /// The distinct strings of the column, ascending, if it has a dictionary; made once, without a copy of the strings.
    ///
    /// # Errors
    /// The dictionary is damaged.
    pub fn dictionary(&self) -> Result<Option<ArrayRef>, ColumnError> {
        let Some(dictionary) = self.parts().dictionary() else { return Ok(None) };
        let make = || {
            let (offsets, bytes) = dictionary.lying().ok_or(ColumnError::Damaged("a dictionary is in disorder"))?;
            self.array_of_strings(offsets, self.bytes.slice_ref(bytes).into(), None)
        };
        self.dictionary.get_or_init(make).clone().map(Some)
    }

    /// The codes of rows, each a place in [`Self::dictionary`], if there is one: groups and comparisons need no more.
    ///
    /// # Errors
    /// There are fewer rows, or the column is damaged there.
    pub fn codes(&self, rows: Range<u64>) -> Result<Option<UInt32Array>, ColumnError> {
        let Some(strings) = self.distinct() else { return Ok(None) };
        let (codes, validity) = self.fill(rows, |block, slots, out: &mut Vec<u32>| {
            if let Values::Integers(frame) = block.values {
                self.parts().integers(block, frame).append(slots, out, |code| code as u32);
            }
        })?;
        match codes.iter().fold(0, |greatest, code| *code.max(&greatest)) as usize >= strings {
            true => Err(NO_STRING),
            false => Ok(Some(UInt32Array::new(codes.into(), validity))),
        }
    }
}

/// Appends the strings of slots, and for each where it ends in `out`.
fn append_by_table(
    table: &Table,
    integers: &Integers<'_>,
    slots: Range<usize>,
    out: &mut Vec<u8>,
    ends: &mut Vec<i32>,
) -> Result<(), ColumnError> {
    let (start, mut codes) = (out.len(), Vec::with_capacity(slots.len().min(PIECE_ROWS)));
    for first in slots.clone().step_by(PIECE_ROWS) {
        let piece = first..slots.end.min(first + PIECE_ROWS);
        codes.clear();
        integers.append(piece.clone(), &mut codes, |code| code as u32);
        table.append(&codes, out, ends)?;
        if first == slots.start {
            // The other strings are likely as long, or an eighth longer at most.
            out.reserve((out.len() - start).div_ceil(piece.len()) * slots.len() * 9 / 8);
        }
    }
    Ok(())
}
