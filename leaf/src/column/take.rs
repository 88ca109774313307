//! Chosen rows of a column as an Arrow array.
//!
//! In: row numbers, ascending for speed. Out: an array of the column's type, one row for each. Cost goes with the number of
//! rows asked for, not with those that lie between.

use std::sync::Arc;

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::directory::{Block, Values};
use super::read::{Column, NO_STRING, day, offset};
use super::table::Table;
use super::{ColumnError, Storage};

impl Column {
    /// The rows at these places, in that order: fastest ascending.
    ///
    /// # Errors
    /// There is no such row, the column is damaged there, or the strings are more than 2 GiB.
    pub fn take(&self, rows: &[u32]) -> Result<ArrayRef, ColumnError> {
        match self.storage {
            Storage::Bool => {
                let (values, validity) = self.gather(rows, |block| |slot| self.bit(block, slot))?;
                Ok(Arc::new(BooleanArray::new(values.into(), validity)))
            }
            Storage::Int => self.take_integers::<Int64Type>(rows, |value| value),
            Storage::Time => self.take_integers::<Time64MicrosecondType>(rows, |value| value),
            Storage::Timestamp => self.take_integers::<TimestampMicrosecondType>(rows, |value| value),
            Storage::Date => self.take_integers::<Date32Type>(rows, day),
            Storage::Float => {
                let (values, validity) = self.gather(rows, |block| {
                    move |slot| match block.values {
                        Values::Floats { kind, .. } => self.float(block, kind, slot),
                        _ => 0.0,
                    }
                })?;
                Ok(self.array_of::<Float64Type>(values.into(), validity))
            }
            Storage::String | Storage::Binary => self.take_strings(rows),
        }
    }

    fn take_integers<T: ArrowPrimitiveType>(
        &self,
        rows: &[u32],
        make: impl Fn(i64) -> T::Native,
    ) -> Result<ArrayRef, ColumnError> {
        let (values, validity) = self.gather(rows, |block| {
            let integers = match block.values {
                Values::Integers(frame) => Some(self.parts().integers(block, frame)),
                _ => None,
            };
            let make = &make;
            move |slot| integers.map_or_else(T::Native::default, |integers| make(integers.value(slot)))
        })?;
        Ok(self.array_of::<T>(values.into(), validity))
    }

    /// A value for each row, as what `in_block` gives for a block gives it for a slot.
    fn gather<'c, T: Default, F: Fn(usize) -> T>(
        &'c self,
        rows: &[u32],
        in_block: impl Fn(&'c Block) -> F,
    ) -> Result<(Vec<T>, Option<NullBuffer>), ColumnError> {
        let mut out = Vec::with_capacity(rows.len());
        let validity = self.located(rows, |block, slots| {
            match block.map(&in_block) {
                None => out.extend(slots.iter().map(|_| T::default())),
                Some(value) => out.extend(slots.iter().map(|slot| slot.map_or_else(T::default, &value))),
            }
            Ok(())
        })?;
        Ok((out, validity))
    }

    /// Calls for rows of one block after the other with their slots. Gives which rows have a value, unless all have.
    fn located<'c>(
        &'c self,
        rows: &[u32],
        mut each: impl FnMut(Option<&'c Block>, &[Option<usize>]) -> Result<(), ColumnError>,
    ) -> Result<Option<NullBuffer>, ColumnError> {
        if let Some(row) = rows.iter().map(|row| u64::from(*row)).find(|row| *row >= self.rows) {
            return Err(ColumnError::Row { row, rows: self.rows });
        }
        let bits = self.directory.block_bits;
        let number = |row: u32| u64::from(row) >> bits;
        let (mut slots, mut absent) = (Vec::new(), 0);
        let mut validity = BooleanBufferBuilder::new(rows.len());
        for group in rows.chunk_by(|row, next| number(*row) == number(*next)) {
            let block = self.directory.blocks[number(group[0]) as usize].as_ref();
            let presence = block.map(|block| self.parts().presence(block));
            let within = |row: u32| (u64::from(row) & (self.block_rows() - 1)) as usize;
            slots.clear();
            slots.extend(group.iter().map(|row| presence.and_then(|presence| presence.slot(within(*row)))));
            absent += slots.iter().filter(|slot| slot.is_none()).count();
            slots.iter().for_each(|slot| validity.append(slot.is_some()));
            each(block, &slots)?;
        }
        Ok((absent > 0).then(|| NullBuffer::new(validity.finish())))
    }

    fn take_strings(&self, rows: &[u32]) -> Result<ArrayRef, ColumnError> {
        if let Some(table) = self.table(rows.len()) {
            return self.take_short_strings(rows, table);
        }
        let parts = self.parts();
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        let validity = self.located(rows, |block, slots| {
            let strings = block.and_then(|block| parts.strings(block));
            let codes = block.zip(parts.dictionary()).and_then(|(block, dictionary)| match block.values {
                Values::Integers(frame) => Some((parts.integers(block, frame), dictionary)),
                _ => None,
            });
            for slot in slots {
                match (slot, &strings, &codes) {
                    (None, ..) => {}
                    (Some(slot), Some(strings), _) => bytes.extend_from_slice(strings.get(*slot, &mut scratch)?),
                    (Some(slot), None, Some((codes, dictionary))) => {
                        bytes.extend_from_slice(dictionary.get(codes.value(*slot)).ok_or(NO_STRING)?);
                    }
                    (Some(_), None, None) => return Err(NO_STRING),
                }
                offsets.push(offset(bytes.len())?);
            }
            Ok(())
        })?;
        self.array_of_strings(offsets, bytes.into(), validity)
    }
    /// The strings of rows of a column whose dictionary has a table.
    fn take_short_strings(&self, rows: &[u32], table: &Table) -> Result<ArrayRef, ColumnError> {
        let (mut bytes, mut codes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        let validity = self.located(rows, |block, slots| {
            codes.clear();
            if let Some((block, Values::Integers(frame))) = block.map(|block| (block, &block.values)) {
                let integers = self.parts().integers(block, *frame);
                codes.extend(slots.iter().flatten().map(|slot| integers.value(*slot) as u32));
            }
            if codes.len() == slots.len() {
                return table.append(&codes, &mut bytes, &mut offsets);
            }
            ends.clear();
            ends.push(offset(bytes.len())?);
            table.append(&codes, &mut bytes, &mut ends)?;
            let mut before = 0;
            offsets.extend(slots.iter().map(|slot| {
                before += usize::from(slot.is_some());
                ends[before]
            }));
            Ok(())
        })?;
        Ok(self.array_of_whole_strings(offsets, bytes.into(), validity))
    }
}
