//! Counts, sums, least and greatest values of a column, found on its encoded blocks.
//!
//! In: a range of rows and maybe a bit for each. Out: numbers, exact. Whole blocks are answered by their statistics where
//! these say it; nothing is decoded to an array. How aggregates of blocks and segments are put together is left to the
//! caller, and so are floats, whose sums depend on their order.

use std::ops::Range;

use arrow_buffer::bit_chunk_iterator::UnalignedBitChunk;

use super::directory::{Block, Values};
use super::read::{Column, Piece};
use super::{ColumnError, Storage};

impl Column {
    /// How many of a range's rows have a value, of those selected if bits are given: bit i is for row `rows.start + i`.
    ///
    /// # Errors
    /// There are fewer rows, or the column is damaged there.
    ///
    /// # Panics
    /// There are bits, but fewer than rows, or the first row is no multiple of 64.
    pub fn count(&self, rows: Range<u64>, selection: Option<&[u64]>) -> Result<u64, ColumnError> {
        let mut count = 0;
        self.chosen(rows, selection, |_, chosen| {
            count += match chosen {
                Chosen::All(slots) => slots.len() as u64,
                Chosen::Bits(_, bits) => bits.count_ones().into(),
            };
        })?;
        Ok(count)
    }

    /// The sum of an integer column, or how many of a Boolean one are true. Rows are chosen as by [`Self::count`].
    ///
    /// # Errors
    /// As [`Self::count`], or the column is of another type.
    ///
    /// # Panics
    /// As [`Self::count`].
    pub fn sum(&self, rows: Range<u64>, selection: Option<&[u64]>) -> Result<i128, ColumnError> {
        self.is_numbered()?;
        let mut sum = 0_i128;
        self.chosen(rows, selection, |block, chosen| {
            let parts = self.parts();
            sum += match (&block.values, chosen) {
                (Values::Integers(frame), Chosen::All(slots)) => parts.integers(block, *frame).sum(slots),
                (Values::Integers(frame), Chosen::Bits(first, bits)) => {
                    parts.integers(block, *frame).sum_selected(first, bits)
                }
                (_, Chosen::All(slots)) => match parts.bits(block) {
                    Some(bits) => UnalignedBitChunk::new(bits, slots.start, slots.len()).count_ones() as i128,
                    None => slots.filter(|slot| self.bit(block, *slot)).count() as i128,
                },
                (_, Chosen::Bits(first, bits)) => {
                    set_bits(bits).filter(|bit| self.bit(block, first + bit)).count() as i128
                }
            };
        })?;
        Ok(sum)
    }

    /// The least and the greatest value of an integer or Boolean column. Rows are chosen as by [`Self::count`].
    ///
    /// # Errors
    /// As [`Self::sum`].
    ///
    /// # Panics
    /// As [`Self::count`].
    pub fn min_max(&self, rows: Range<u64>, selection: Option<&[u64]>) -> Result<Option<(i64, i64)>, ColumnError> {
        self.is_numbered()?;
        let mut ends: Option<(i64, i64)> = None;
        self.chosen(rows, selection, |block, chosen| {
            let own = match (&block.values, chosen) {
                (Values::Integers(frame), Chosen::All(slots)) if slots.len() == block.count => {
                    Some((frame.min(), frame.max()))
                }
                (Values::Integers(frame), Chosen::All(slots)) => self.parts().integers(block, *frame).min_max(slots),
                (Values::Integers(frame), Chosen::Bits(first, bits)) => {
                    let integers = self.parts().integers(block, *frame);
                    set_bits(bits).map(|bit| integers.value(first + bit)).map(|value| (value, value)).reduce(widest)
                }
                (_, Chosen::All(slots)) => {
                    slots.map(|slot| i64::from(self.bit(block, slot))).map(|bit| (bit, bit)).reduce(widest)
                }
                (_, Chosen::Bits(first, bits)) => {
                    let bits = set_bits(bits).map(|bit| i64::from(self.bit(block, first + bit)));
                    bits.map(|bit| (bit, bit)).reduce(widest)
                }
            };
            ends = ends.into_iter().chain(own).reduce(widest);
        })?;
        Ok(ends)
    }

    fn is_numbered(&self) -> Result<(), ColumnError> {
        match self.storage {
            Storage::Bool | Storage::Int | Storage::Timestamp | Storage::Date | Storage::Time => Ok(()),
            Storage::Float | Storage::String | Storage::Binary => {
                let expected = "integers".into();
                Err(ColumnError::OtherType { column: self.storage.data_type(), expected })
            }
        }
    }

    /// Calls with the chosen slots of each block.
    fn chosen(
        &self,
        rows: Range<u64>,
        selection: Option<&[u64]>,
        mut each: impl FnMut(&Block, Chosen),
    ) -> Result<(), ColumnError> {
        assert!(selection.is_none() || rows.start.is_multiple_of(64), "bits begin with a multiple of 64");
        let mut rest = selection;
        for Piece { block, rows } in self.pieces(rows)? {
            let words = rest.map(|bits| bits.split_at(rows.len().div_ceil(64)));
            rest = words.map(|(_, rest)| rest);
            let Some(block) = block else { continue };
            let presence = self.parts().presence(block);
            match words {
                None => each(block, Chosen::All(presence.slots(rows)?)),
                Some((words, _)) => {
                    presence.span(rows)?.selected(words, |first, bits| each(block, Chosen::Bits(first, bits)));
                }
            }
        }
        Ok(())
    }
}

/// Slots of a block that are asked for.
enum Chosen {
    /// These.
    All(Range<usize>),
    /// Of 64 slots from the first on, those whose bits are set.
    Bits(usize, u64),
}

fn set_bits(bits: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| bits >> bit & 1 == 1)
}

fn widest(ends: (i64, i64), others: (i64, i64)) -> (i64, i64) {
    (ends.0.min(others.0), ends.1.max(others.1))
}
