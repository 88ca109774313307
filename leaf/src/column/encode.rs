//! An Arrow array as the bytes of a column.
//!
//! In: a whole array of a storage type. Out: bytes, appended to others. It owns the format and chooses each block's
//! encodings by its values; reading is left to `read`.
//!
//! ```text
//! column     = head part… directory directory_length:u32                    its first byte is a multiple of 64 in memory
//! head       = version:u8(1) storage:u8 block_bits:u8 0:5                   a block has 2^block_bits rows, the last fewer
//! part       = zeros bytes                                                  zeros up to the next multiple of 8 bytes
//! directory  = strings [bytes] symbols:u8(0 | 1) entry…                     of the dictionary, 0 strings if there is none;
//!                                                                           whether there are symbols; integers are LEB128
//! entry      = 0:u8 blocks                                                  so many blocks without a value
//!            | form:u8 [count] values                                       no count where all rows have a value
//! form       = 1 all | 2 bitmap | 3 sparse                                  part: presence (`presence`)
//! values     = 1:u8 set                                                     part: bits; none if all are equal
//!            | 2:u8 frame                                                   part: integers (`integers`)
//!            | 3:u8 min:f64 max:f64                                         part: floats as they are
//!            | 4:u8 min:f64 max:f64 exponent:u8 frame                       part: integers, each divided by 10^exponent
//!            | 5:u8 min:f64 max:f64 frame                                   part: integers whose bits are the floats'
//!            | 6:u8 frame                                                   part: codes of the dictionary, as integers
//!            | 7:u8 bytes frame bounds                                      parts: bytes, beginnings (`strings`)
//!            | 8:u8 bytes frame bounds                                      the same, compressed by the symbol table
//! bounds     = length min_prefix:bytes (0:u8 | 1:u8 length max_prefix:bytes)
//! ```
//!
//! A column with a dictionary has codes in all blocks, one without in none. Parts lie in the order in which the directory tells of them: dictionary, symbols, then block by block presence and
//! values. Sized numbers are little-endian. A new encoding takes the next code of `values`, a new form of presence the
//! next of `form`; readers refuse by name what they do not know. A column with few values is one block of 32 bits.

use arrow_buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{
    Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use fsst::Compressor;

use super::dictionary::{self, Distinct, distinct};
use super::directory::{ALIGNMENT, BLOCK_BITS_MAX, BLOCK_BITS_MIN, Encoding, HEAD_BYTES, ONE_BLOCK_BITS, VERSION};
use super::integers::Frame;
use super::presence::Form;
use super::{ColumnError, Storage, floats, strings};
use basalt_common::binary::{put_bytes, put_varint};

/// Rows of a block, as bits that number them.
pub const BLOCK_BITS: u8 = 15;

/// Bytes of a string that bound others.
const PREFIX_BYTES: usize = 16;

/// Appends a column. Its first byte must come to lie at a multiple of 8, better 64, for arrays to be read without copies.
///
/// # Errors
/// The array is of no storage type.
pub fn encode(array: &dyn Array, out: &mut Vec<u8>) -> Result<(), ColumnError> {
    encode_in_blocks(array, BLOCK_BITS, out)
}

/// As [`encode`], in blocks of 2^`block_bits` rows, from 6 to 16: for tests and measurements.
///
/// # Errors
/// The array is of no storage type.
pub fn encode_in_blocks(array: &dyn Array, block_bits: u8, out: &mut Vec<u8>) -> Result<(), ColumnError> {
    let storage = Storage::of(array.data_type())?;
    let mut writer = Writer::new(array, storage, block_bits, out);
    match storage {
        Storage::Bool => writer.bits(array.as_boolean().values()),
        Storage::Int => writer.integers(array.as_primitive::<Int64Type>().values()),
        Storage::Timestamp => writer.integers(array.as_primitive::<TimestampMicrosecondType>().values()),
        Storage::Time => writer.integers(array.as_primitive::<Time64MicrosecondType>().values()),
        Storage::Date => {
            let days = array.as_primitive::<Date32Type>().values();
            writer.integers(&days.iter().map(|day| i64::from(*day)).collect::<Vec<_>>());
        }
        Storage::Float => writer.floats(array.as_primitive::<Float64Type>().values()),
        Storage::String => {
            let array = array.as_string::<i32>();
            writer.strings(&StringRows::new(array.value_offsets(), array.value_data(), array.nulls()));
        }
        Storage::Binary => {
            let array = array.as_binary::<i32>();
            writer.strings(&StringRows::new(array.value_offsets(), array.value_data(), array.nulls()));
        }
    }
    writer.finish();
    Ok(())
}

/// The strings of an array that are there.
#[derive(Debug)]
pub(super) struct StringRows<'a> {
    offsets: &'a [i32],
    data: &'a [u8],
    /// The row of each slot; none where all rows have a value.
    rows: Option<Vec<u32>>,
}

impl<'a> StringRows<'a> {
    fn new(offsets: &'a [i32], data: &'a [u8], nulls: Option<&NullBuffer>) -> Self {
        Self { offsets, data, rows: nulls.map(|nulls| nulls.valid_indices().map(|row| row as u32).collect()) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.offsets.len() - 1, Vec::len)
    }

    /// One of them.
    pub(super) fn get(&self, slot: usize) -> &'a [u8] {
        let row = self.rows.as_ref().map_or(slot, |rows| rows[slot] as usize);
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn bytes(&self) -> usize {
        (0..self.len()).map(|slot| self.get(slot).len()).sum()
    }
}

struct Writer<'a> {
    rows: usize,
    nulls: Option<&'a NullBuffer>,
    block_bits: u8,
    start: usize,
    out: &'a mut Vec<u8>,
    directory: Vec<u8>,
}

/// The values of a block, those present only.
fn compact<'v, T: Copy>(values: &'v [T], validity: Option<&NullBuffer>, scratch: &'v mut Vec<T>) -> &'v [T] {
    let Some(validity) = validity else { return values };
    scratch.clear();
    scratch.extend(validity.valid_indices().map(|row| values[row]));
    scratch
}

fn align(start: usize, out: &mut Vec<u8>) {
    out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
}

impl<'a> Writer<'a> {
    fn new(array: &'a dyn Array, storage: Storage, block_bits: u8, out: &'a mut Vec<u8>) -> Self {
        assert!((BLOCK_BITS_MIN..=BLOCK_BITS_MAX).contains(&block_bits), "blocks are of 2^6 to 2^16 rows");
        let rows = array.len();
        // Few values are found as fast in one list, and need no block each.
        let few = 1 << (block_bits - BLOCK_BITS_MIN);
        let block_bits = if rows - array.null_count() <= few { ONE_BLOCK_BITS } else { block_bits };
        let start = out.len();
        out.extend_from_slice(&[VERSION, storage as u8, block_bits]);
        out.resize(start + HEAD_BYTES, 0);
        Self {
            rows,
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
            block_bits,
            start,
            out,
            directory: Vec::new(),
        }
    }

    fn finish(self) {
        let length = u32::try_from(self.directory.len()).expect("some tens of bytes for each of at most 2^26 blocks");
        self.out.extend_from_slice(&self.directory);
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    fn no_dictionary(&mut self) {
        self.directory.extend_from_slice(&[0, 0]);
    }

    /// Writes block by block the presence and what `values` writes for rows and which of them have a value.
    fn blocks(&mut self, mut values: impl FnMut(&mut Self, std::ops::Range<usize>, Option<&NullBuffer>)) {
        let block_rows = 1_usize << self.block_bits;
        let mut empty = 0;
        let mut put_empty = |directory: &mut Vec<u8>, is_empty: bool| {
            if !is_empty && empty > 0 {
                directory.push(0);
                put_varint(directory, empty);
                empty = 0;
            }
            empty += u64::from(is_empty);
        };
        for start in (0..self.rows).step_by(block_rows) {
            let rows = start..self.rows.min(start + block_rows);
            let validity = self.nulls.map(|nulls| nulls.slice(start, rows.len()));
            let count = validity.as_ref().map_or(rows.len(), |validity| rows.len() - validity.null_count());
            put_empty(&mut self.directory, count == 0);
            if count == 0 {
                continue;
            }
            let form = Form::of(rows.len(), count);
            self.directory.push(form as u8);
            if let (Some(validity), Form::Bitmap | Form::Sparse) = (&validity, form) {
                put_varint(&mut self.directory, count as u64);
                align(self.start, self.out);
                form.write(validity, self.out);
            }
            values(self, rows, validity.as_ref().filter(|_| form != Form::All));
        }
        put_empty(&mut self.directory, false);
    }

    fn encoding(&mut self, encoding: Encoding) {
        self.directory.push(encoding as u8);
        align(self.start, self.out);
    }

    fn bits(&mut self, values: &BooleanBuffer) {
        self.no_dictionary();
        self.blocks(|writer, rows, validity| {
            let values = values.slice(rows.start, rows.len());
            let values = match validity {
                Some(validity) => validity.valid_indices().map(|row| values.value(row)).collect(),
                None => values,
            };
            let set = values.count_set_bits();
            writer.encoding(Encoding::Bits);
            put_varint(&mut writer.directory, set as u64);
            if set > 0 && set < values.len() {
                writer.out.extend_from_slice(&values.sliced()[..values.len().div_ceil(8)]);
            }
        });
    }

    fn integers(&mut self, values: &[i64]) {
        self.no_dictionary();
        let mut scratch = Vec::new();
        self.blocks(|writer, rows, validity| {
            let values = compact(&values[rows], validity, &mut scratch);
            writer.encoding(Encoding::Integers);
            writer.frame(&Frame::of(values), values);
        });
    }

    fn frame(&mut self, frame: &Frame, values: &[i64]) {
        frame.put(&mut self.directory);
        frame.write(values, self.out);
    }

    fn floats(&mut self, values: &[f64]) {
        self.no_dictionary();
        let (mut scratch, mut integers) = (Vec::new(), Vec::new());
        self.blocks(|writer, rows, validity| {
            let values = compact(&values[rows], validity, &mut scratch);
            let exponent = floats::scale(values, &mut integers);
            if exponent.is_none() {
                integers.clear();
                integers.extend(values.iter().map(|value| value.to_bits() as i64));
            }
            let frame = Frame::of(&integers);
            writer.encoding(match exponent {
                _ if frame.width() == 8 => Encoding::Floats,
                Some(_) => Encoding::Scaled,
                None => Encoding::Patterns,
            });
            let (mut min, mut max) = (i64::MAX, i64::MIN);
            for order in values.iter().map(|value| floats::order(*value)) {
                (min, max) = (min.min(order), max.max(order));
            }
            writer.directory.extend([min, max].into_iter().flat_map(|end| floats::from_order(end).to_le_bytes()));
            if frame.width() == 8 {
                writer.out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            } else {
                writer.directory.extend(exponent);
                writer.frame(&frame, &integers);
            }
        });
    }

    fn strings(&mut self, texts: &StringRows<'_>) {
        if let Some(Distinct { strings, codes }) = distinct(texts) {
            put_varint(&mut self.directory, strings.len() as u64);
            let bytes: usize = strings.iter().map(|string| string.len()).sum();
            put_varint(&mut self.directory, bytes as u64);
            self.directory.push(0);
            align(self.start, self.out);
            dictionary::write(&strings, self.out);
            let mut slot = 0;
            return self.blocks(|writer, rows, validity| {
                let start = slot;
                slot += rows.len() - validity.map_or(0, NullBuffer::null_count);
                writer.encoding(Encoding::Codes);
                writer.frame(&Frame::of(&codes[start..slot]), &codes[start..slot]);
            });
        }
        let compressor = strings::symbols_for(texts.len(), texts.bytes(), |slot| texts.get(slot));
        put_varint(&mut self.directory, 0);
        match &compressor {
            None => self.directory.push(0),
            Some(compressor) => {
                self.directory.push(1);
                align(self.start, self.out);
                strings::write_symbols(compressor, self.out);
            }
        }
        let (mut slot, mut ends) = (0, Vec::new());
        self.blocks(|writer, rows, validity| {
            let start = slot;
            slot += rows.len() - validity.map_or(0, NullBuffer::null_count);
            let block: Vec<&[u8]> = (start..slot).map(|slot| texts.get(slot)).collect();
            writer.string_block(&block, compressor.as_ref(), &mut ends);
        });
    }

    fn string_block(&mut self, block: &[&[u8]], compressor: Option<&Compressor>, ends: &mut Vec<u64>) {
        align(self.start, self.out);
        let (at, plain_bytes) = (self.out.len(), block.iter().map(|string| string.len()).sum::<usize>());
        let mut encoding = Encoding::Strings;
        ends.clear();
        if let Some(compressor) = compressor {
            compressor.compress_bulk_into::<{ Compressor::DEFAULT_BULK_LANES }>(block, self.out, ends);
            ends.iter_mut().for_each(|end| *end -= at as u64);
            encoding = Encoding::Compressed;
        }
        if compressor.is_none() || self.out.len() - at >= plain_bytes {
            encoding = Encoding::Strings;
            self.out.truncate(at);
            ends.clear();
            for string in block {
                self.out.extend_from_slice(string);
                ends.push((self.out.len() - at) as u64);
            }
        }
        self.encoding(encoding);
        put_varint(&mut self.directory, ends.last().copied().unwrap_or(0));
        let begins = strings::line_up(ends);
        align(self.start, self.out);
        self.frame(&Frame::of(&begins), &begins);
        let (mut min, mut max) = (block[0], block[0]);
        for string in block {
            (min, max) = (min.min(string), max.max(string));
        }
        put_bytes(&mut self.directory, &min[..min.len().min(PREFIX_BYTES)]);
        let bound = upper_bound(max);
        self.directory.push(bound.is_some().into());
        bound.iter().for_each(|bound| put_bytes(&mut self.directory, bound));
    }
}

/// A short string that no string beginning as `max` is greater than, if there is one.
fn upper_bound(max: &[u8]) -> Option<Vec<u8>> {
    if max.len() <= PREFIX_BYTES {
        return Some(max.to_vec());
    }
    let mut bound = max[..PREFIX_BYTES].to_vec();
    while let Some(last) = bound.pop() {
        if last < u8::MAX {
            bound.push(last + 1);
            return Some(bound);
        }
    }
    None
}
