//! Rows of a segment as bits.
//!
//! In: a segment's version, changes. Out: rows, ascending.

use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::buffer::BooleanBuffer;
use roaring::RoaringBitmap;

use crate::segment::SegmentVersion;

/// Rows of a segment, a bit each.
#[derive(Clone)]
pub(super) struct Bits(pub(super) Vec<u64>);

impl Bits {
    /// The rows that live.
    pub(super) fn live(version: &SegmentVersion) -> Self {
        let rows = version.segment().rows();
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let (Some(last), tail @ 1..) = (words.last_mut(), rows % 64) {
            *last = (1 << tail) - 1;
        }
        for dead in version.tombstones() {
            dead.iter().for_each(|row| words[row as usize / 64] &= !(1 << (row % 64)));
        }
        Self(words)
    }

    /// No rows.
    pub(super) fn none(version: &SegmentVersion) -> Self {
        Self(vec![0; version.segment().rows().div_ceil(64)])
    }

    /// Adds others.
    pub(super) fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, others)| *word |= others);
    }

    pub(super) fn has(&self, row: u32) -> bool {
        self.0[row as usize / 64] >> (row % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, row: u32, there: bool) {
        let (word, bit) = (&mut self.0[row as usize / 64], 1 << (row % 64));
        if there { *word |= bit } else { *word &= !bit }
    }

    /// Gives some rows, ascending, what they had before where they passed; the others of them are no more there.
    pub(super) fn lay(&mut self, rows: &[u32], passed: &BooleanBuffer, before: &Self) {
        let (mut word, mut laid, mut there) = (0, 0_u64, 0_u64);
        let mut put = |word: usize, laid: u64, there: u64| {
            if laid != 0 {
                self.0[word] = self.0[word] & !laid | before.0[word] & there;
            }
        };
        for (row, passed) in rows.iter().zip(passed) {
            if *row as usize / 64 != word {
                put(word, laid, there);
                (word, laid, there) = (*row as usize / 64, 0, 0);
            }
            laid |= 1 << (row % 64);
            there |= u64::from(passed) << (row % 64);
        }
        put(word, laid, there);
    }

    /// Leaves only rows that are among others.
    pub(super) fn leave(&mut self, others: &RoaringBitmap) {
        let mut left = vec![0; self.0.len()];
        for row in others {
            left[row as usize / 64] |= 1 << (row % 64);
        }
        self.0.iter_mut().zip(left).for_each(|(word, left)| *word &= left);
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn rows(&self) -> UInt32Array {
        let mut rows = Vec::with_capacity(self.count());
        for (word, first) in self.0.iter().zip((0_u32..).step_by(64)) {
            let mut word = *word;
            while word != 0 {
                rows.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        rows.into()
    }
}
