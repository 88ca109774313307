//! The bytes of a column as values and Arrow arrays of chosen rows.
//!
//! In: bytes, which are checked for damage elsewhere but still not believed, and rows. Out: arrays of the column's storage
//! type, without a copy where values lie as Arrow has them. Which rows are wanted is left to `select` and to the caller.
//!
//! Places are checked when a column is opened, slots when rows become slots, and text when it becomes a string. That costs
//! a scan of strings (`read_strings`) a pass over their bytes, and other columns nothing.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, ScalarBuffer};
use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, BooleanArray, PrimitiveArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::directory::{Block, Directory, Floats, Parts, Statistics, Values};
use super::presence::Span;
use super::read_strings::NO_TEXT;
use super::table::Table;
use super::{ColumnError, Datum, Storage, floats};
use crate::advice;

pub(super) const NO_STRING: ColumnError = ColumnError::Damaged("a code is one of no string");

/// A column, read in place.
#[derive(Debug)]
pub struct Column {
    pub(super) bytes: Bytes,
    pub(super) storage: Storage,
    pub(super) rows: u64,
    pub(super) directory: Directory,
    pub(super) dictionary: OnceLock<Result<ArrayRef, ColumnError>>,
    pub(super) table: OnceLock<Option<Table>>,
}

/// Rows next to each other in one block, counted from its first.
pub(super) struct Piece<'c> {
    pub(super) block: Option<&'c Block>,
    pub(super) rows: Range<usize>,
}

impl Column {
    /// Opens a column of this storage type and so many rows. Only its directory is read.
    ///
    /// # Errors
    /// The bytes are no such column, or one that a later program wrote.
    pub fn open(bytes: Bytes, data_type: &DataType, rows: u64) -> Result<Self, ColumnError> {
        let storage = Storage::of(data_type)?;
        let directory = Directory::read(&bytes, storage, rows)?;
        Ok(Self { bytes, storage, rows, directory, dictionary: OnceLock::new(), table: OnceLock::new() })
    }

    /// Bytes that it takes.
    pub fn encoded_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Rows, those without a value included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Says that all of it is about to be read.
    pub fn will_be_read(&self) {
        advice::will_be_read(&self.bytes);
    }

    /// Rows with a value.
    pub fn present(&self) -> u64 {
        self.directory.present
    }

    /// How many distinct strings there are, if the column has a dictionary.
    pub fn distinct(&self) -> Option<usize> {
        self.directory.dictionary.as_ref().map(|(_, strings)| *strings)
    }

    /// Rows of each block but the last, which may have fewer: a multiple of 64.
    pub fn block_rows(&self) -> u64 {
        1 << self.directory.block_bits
    }

    /// What is known of a block of [`Self::block_rows`] without reading its values; nothing where it has none.
    pub fn statistics(&self, block: usize) -> Option<Statistics<'_>> {
        let block = self.directory.blocks.get(block)?.as_ref()?;
        Some(self.parts().statistics(block, self.storage))
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts { bytes: &self.bytes, directory: &self.directory }
    }

    /// The pieces of a range of rows, one for each block.
    pub(super) fn pieces(&self, rows: Range<u64>) -> Result<impl Iterator<Item = Piece<'_>>, ColumnError> {
        if rows.end > self.rows || rows.start > rows.end {
            return Err(ColumnError::Row { row: rows.end.max(rows.start), rows: self.rows });
        }
        let bits = self.directory.block_bits;
        let blocks = if rows.is_empty() { 0..0 } else { rows.start >> bits..((rows.end - 1) >> bits) + 1 };
        Ok(blocks.map(move |index| {
            let first = index << bits;
            let within = rows.start.max(first) - first..rows.end.min(first + (1 << bits)) - first;
            let block = self.directory.blocks[index as usize].as_ref();
            Piece { block, rows: within.start as usize..within.end as usize }
        }))
    }

    /// The value of a row, if it has one.
    ///
    /// # Errors
    /// There is no such row, or the column is damaged there.
    pub fn value(&self, row: u64) -> Result<Option<Datum<'_>>, ColumnError> {
        match self.slot(row)? {
            Some((block, slot)) => self.datum(block, slot).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the value of a row, if it has one, is this string: nothing is copied for that.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn is_string(&self, row: u64, string: &str) -> Result<Option<bool>, ColumnError> {
        let Some((block, slot)) = self.slot(row)? else { return Ok(None) };
        if self.storage == Storage::String
            && let Some(strings) = self.parts().strings(block)
        {
            return Ok(Some(strings.compare(strings.stored(slot)?, string.as_bytes()).is_eq()));
        }
        Ok(Some(matches!(self.datum(block, slot)?, Datum::String(found) if found == string)))
    }

    /// The block and slot of a row, if it has a value.
    fn slot(&self, row: u64) -> Result<Option<(&Block, usize)>, ColumnError> {
        if row >= self.rows {
            return Err(ColumnError::Row { row, rows: self.rows });
        }
        let Some(block) = &self.directory.blocks[(row >> self.directory.block_bits) as usize] else { return Ok(None) };
        let within = row & (self.block_rows() - 1);
        Ok(self.parts().presence(block).slot(within as usize).map(|slot| (block, slot)))
    }

    fn datum(&self, block: &Block, slot: usize) -> Result<Datum<'_>, ColumnError> {
        let parts = self.parts();
        let bytes = match &block.values {
            Values::Bits { .. } => return Ok(Datum::Bool(self.bit(block, slot))),
            Values::Floats { kind, .. } => return Ok(Datum::Float(self.float(block, *kind, slot))),
            Values::Integers(frame) => {
                let value = parts.integers(block, *frame).value(slot);
                if !matches!(self.storage, Storage::String | Storage::Binary) {
                    return Ok(Datum::Int(value));
                }
                Cow::Borrowed(parts.dictionary().and_then(|strings| strings.get(value)).ok_or(NO_STRING)?)
            }
            Values::Strings { .. } => {
                let strings = parts.strings(block).ok_or(NO_STRING)?;
                match strings.borrowed(slot) {
                    Some(string) => Cow::Borrowed(string?),
                    None => Cow::Owned(strings.owned(slot)?),
                }
            }
        };
        match (self.storage, bytes) {
            (Storage::String, Cow::Borrowed(bytes)) => {
                Ok(Datum::String(Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| NO_TEXT)?)))
            }
            (Storage::String, Cow::Owned(bytes)) => {
                Ok(Datum::String(Cow::Owned(String::from_utf8(bytes).map_err(|_| NO_TEXT)?)))
            }
            (_, bytes) => Ok(Datum::Binary(bytes)),
        }
    }

    /// The bit in a slot.
    pub(super) fn bit(&self, block: &Block, slot: usize) -> bool {
        match self.parts().bits(block) {
            Some(bits) => bits[slot / 8] >> (slot % 8) & 1 == 1,
            None => matches!(block.values, Values::Bits { set } if set > 0),
        }
    }

    /// The float in a slot.
    pub(super) fn float(&self, block: &Block, kind: Floats, slot: usize) -> f64 {
        let parts = self.parts();
        match kind {
            Floats::Plain => f64::from_le_bytes(parts.plain_floats(block)[slot]),
            Floats::Scaled { exponent, frame } => {
                parts.integers(block, frame).value(slot) as f64 / floats::power(exponent)
            }
            Floats::Patterns(frame) => f64::from_bits(parts.integers(block, frame).value(slot) as u64),
        }
    }

    fn append_floats(&self, block: &Block, slots: Range<usize>, out: &mut Vec<f64>) {
        let Values::Floats { kind, .. } = block.values else { return };
        let parts = self.parts();
        match kind {
            Floats::Plain => {
                let plain = &parts.plain_floats(block)[slots];
                out.extend(plain.iter().map(|value| f64::from_le_bytes(*value)));
            }
            Floats::Scaled { exponent, frame } => {
                parts.integers(block, frame).append_scaled(slots, out, floats::power(exponent));
            }
            Floats::Patterns(frame) => {
                parts.integers(block, frame).append(slots, out, |bits| f64::from_bits(bits as u64));
            }
        }
    }

    /// The rows of a range, in order, as an array of the column's type.
    ///
    /// # Errors
    /// There are fewer rows, the column is damaged there, or its strings are more than 2 GiB.
    pub fn read(&self, rows: Range<u64>) -> Result<ArrayRef, ColumnError> {
        if let Some(lying) = self.read_in_place(&rows)? {
            return Ok(lying);
        }
        match self.storage {
            Storage::Bool => self.read_bits(rows),
            Storage::Int => self.read_integers::<Int64Type>(rows, |value| value),
            Storage::Time => self.read_integers::<Time64MicrosecondType>(rows, |value| value),
            Storage::Timestamp => self.read_integers::<TimestampMicrosecondType>(rows, |value| value),
            Storage::Date => self.read_integers::<Date32Type>(rows, day),
            Storage::Float => {
                let append = |block: &Block, slots, out: &mut Vec<f64>| self.append_floats(block, slots, out);
                let (values, validity) = self.fill(rows, append)?;
                Ok(Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), validity)))
            }
            Storage::String | Storage::Binary => self.read_strings(rows),
        }
    }

    /// The rows of a range if their values lie as Arrow has them, in one block and all present.
    fn read_in_place(&self, rows: &Range<u64>) -> Result<Option<ArrayRef>, ColumnError> {
        let mut pieces = self.pieces(rows.clone())?;
        let (Some(Piece { block: Some(block), rows }), None) = (pieces.next(), pieces.next()) else { return Ok(None) };
        let parts = self.parts();
        if !block.is_full() {
            return Ok(None);
        }
        let lying = match &block.values {
            Values::Bits { .. } => {
                let Some(bits) = parts.bits(block) else { return Ok(None) };
                let bits = BooleanBuffer::new(Buffer::from(self.bytes.slice_ref(bits)), rows.start, rows.len());
                return Ok(Some(Arc::new(BooleanArray::new(bits, None))));
            }
            Values::Strings { is_compressed: false, .. } => {
                let (offsets, bytes) = parts.strings(block).ok_or(NO_STRING)?.lying(rows)?;
                let first = offsets.first().copied().unwrap_or(0);
                let offsets = offsets.iter().map(|offset| offset - first).collect();
                return self.array_of_strings(offsets, self.bytes.slice_ref(bytes).into(), None).map(Some);
            }
            Values::Integers(frame) => parts.integers(block, *frame).whole(rows),
            Values::Floats { kind: Floats::Plain, .. } => Some(parts.plain_floats(block)[rows].as_flattened()),
            _ => None,
        };
        let lying = lying.filter(|lying| lying.as_ptr().cast::<u64>().is_aligned());
        let Some(lying) = lying.map(|lying| Buffer::from(self.bytes.slice_ref(lying))) else { return Ok(None) };
        Ok(match self.storage {
            Storage::Int => Some(self.array_of::<Int64Type>(lying.into(), None)),
            Storage::Time => Some(self.array_of::<Time64MicrosecondType>(lying.into(), None)),
            Storage::Timestamp => Some(self.array_of::<TimestampMicrosecondType>(lying.into(), None)),
            Storage::Float => Some(self.array_of::<Float64Type>(lying.into(), None)),
            Storage::Bool | Storage::Date | Storage::String | Storage::Binary => None,
        })
    }

    fn read_bits(&self, rows: Range<u64>) -> Result<ArrayRef, ColumnError> {
        let mut out = BooleanBufferBuilder::new(0);
        let (mut scratch, mut spread) = (Vec::new(), Vec::new());
        let validity = self.spans(rows, |count, piece| {
            match piece.map(|(block, span)| (block, span, self.parts().bits(block))) {
                None => out.append_n(count, false),
                Some((block, _, None)) => out.append_n(count, self.bit(block, 0)),
                Some((_, span, Some(bits))) if span.is_full() => out.append_packed_range(span.slots.clone(), bits),
                Some((block, span, Some(_))) => {
                    scratch.clear();
                    scratch.extend(span.slots.clone().map(|slot| self.bit(block, slot)));
                    scratch.push(false);
                    spread.clear();
                    span.spread(&scratch, false, &mut spread);
                    out.append_slice(&spread);
                }
            }
            Ok(())
        })?;
        Ok(Arc::new(BooleanArray::new(out.finish(), validity)))
    }

    fn read_integers<T: ArrowPrimitiveType>(
        &self,
        rows: Range<u64>,
        make: impl Fn(i64) -> T::Native,
    ) -> Result<ArrayRef, ColumnError> {
        let (values, validity) = self.fill(rows, |block, slots, out| {
            if let Values::Integers(frame) = block.values {
                self.parts().integers(block, frame).append(slots, out, &make);
            }
        })?;
        Ok(self.array_of::<T>(values.into(), validity))
    }

    pub(super) fn array_of<T: ArrowPrimitiveType>(
        &self,
        values: ScalarBuffer<T::Native>,
        validity: Option<NullBuffer>,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values, validity).with_data_type(self.storage.data_type()))
    }

    /// The values of rows, as `append` appends them for slots of a block, and which rows have one.
    pub(super) fn fill<T: Copy + Default>(
        &self,
        rows: Range<u64>,
        append: impl Fn(&Block, Range<usize>, &mut Vec<T>),
    ) -> Result<(Vec<T>, Option<NullBuffer>), ColumnError> {
        let mut out = Vec::with_capacity(rows.end.saturating_sub(rows.start).min(self.rows) as usize);
        let mut scratch = Vec::new();
        let validity = self.spans(rows, |count, piece| {
            match piece {
                None => out.resize(out.len() + count, T::default()),
                Some((block, span)) if span.is_full() => append(block, span.slots.clone(), &mut out),
                Some((block, span)) => {
                    scratch.clear();
                    append(block, span.slots.clone(), &mut scratch);
                    scratch.push(T::default());
                    span.spread(&scratch, false, &mut out);
                }
            }
            Ok(())
        })?;
        Ok((out, validity))
    }

    /// Calls with each block's share of a range: how many rows, and their values if there may be any. Gives which rows
    /// have a value, unless all have.
    pub(super) fn spans(
        &self,
        rows: Range<u64>,
        mut each: impl FnMut(usize, Option<(&Block, &Span)>) -> Result<(), ColumnError>,
    ) -> Result<Option<NullBuffer>, ColumnError> {
        let (mut validity, mut before) = (None, 0);
        for Piece { block, rows } in self.pieces(rows)? {
            let count = rows.len();
            let span = block.map(|block| self.parts().presence(block).span(rows)).transpose()?;
            if validity.is_none() && span.as_ref().is_none_or(|span| !span.is_full()) {
                let mut bits = BooleanBufferBuilder::new(before + count);
                bits.append_n(before, true);
                validity = Some(bits);
            }
            if let Some(bits) = &mut validity {
                match &span {
                    None => bits.append_n(count, false),
                    Some(span) => span.append_validity(bits),
                }
            }
            each(count, block.zip(span.as_ref()))?;
            before += count;
        }
        Ok(validity.map(|mut bits| NullBuffer::new(bits.finish())))
    }
}

/// A day of a Date32 column: 32 bits wide when it was written.
pub(super) fn day(value: i64) -> i32 {
    value as i32
}

/// A place among bytes as Arrow's offset.
pub(super) fn offset(place: usize) -> Result<i32, ColumnError> {
    i32::try_from(place).map_err(|_| ColumnError::TooLong(place))
}
