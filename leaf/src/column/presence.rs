//! Which rows of a block have a value, and in which slot it is.
//!
//! In: an array's validity. Out: rows as slots and the other way round. Values lie without gaps: a row's slot is the
//! number of rows before it that have a value.
//!
//! ```text
//! all    = nothing                       every row has a value
//! bitmap = word:u64… rank:u16…           a bit for each row; for every 512 rows how many before them have a value
//! sparse = row:u16… | row:u32…           the rows that have one, ascending; u32 where the block has more than 2^16 rows
//! ```

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

use super::ColumnError;

/// With as many bits set, a word is taken bit by bit; with fewer or more, run by run.
const MIXED: RangeInclusive<u32> = 8..=56;

/// Words of a bitmap that share a rank.
const WORDS_PER_RANK: usize = 8;

/// How a block's presence is written.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    All = 1,
    Bitmap = 2,
    Sparse = 3,
}

impl Form {
    /// The smallest.
    pub(super) fn of(rows: usize, count: usize) -> Self {
        if rows == count {
            return Self::All;
        }
        match Self::Bitmap.bytes(rows, count) {
            // The ranks of more rows would not fit.
            bytes if rows <= 1 << 16 && bytes <= Self::Sparse.bytes(rows, count) => Self::Bitmap,
            _ => Self::Sparse,
        }
    }

    pub(super) fn from_code(code: u8) -> Result<Self, ColumnError> {
        let found = [Self::All, Self::Bitmap, Self::Sparse].into_iter().find(|form| *form as u8 == code);
        found.ok_or(ColumnError::Unknown { part: "form of presence", code })
    }

    /// Bytes that it takes.
    pub(super) fn bytes(self, rows: usize, count: usize) -> usize {
        let words = rows.div_ceil(64);
        match self {
            Self::All => 0,
            Self::Bitmap => words * 8 + words.div_ceil(WORDS_PER_RANK) * 2,
            Self::Sparse => count * row_bytes(rows),
        }
    }

    /// Appends the presence of a block.
    pub(super) fn write(self, validity: &NullBuffer, out: &mut Vec<u8>) {
        match self {
            Self::All => {}
            Self::Bitmap => {
                let words: Vec<u64> =
                    validity.inner().bit_chunks().iter_padded().take(validity.len().div_ceil(64)).collect();
                out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                let mut before = 0_u16;
                for words in words.chunks(WORDS_PER_RANK) {
                    out.extend_from_slice(&before.to_le_bytes());
                    before = before.wrapping_add(words.iter().map(|word| word.count_ones() as u16).sum());
                }
            }
            Self::Sparse if row_bytes(validity.len()) == 2 => {
                out.extend(validity.valid_indices().flat_map(|row| (row as u16).to_le_bytes()));
            }
            Self::Sparse => out.extend(validity.valid_indices().flat_map(|row| (row as u32).to_le_bytes())),
        }
    }
}

fn row_bytes(rows: usize) -> usize {
    if rows <= 1 << 16 { 2 } else { 4 }
}

/// The presence of a block, read in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presence<'b> {
    rows: usize,
    count: usize,
    kind: Kind<'b>,
}

#[derive(Debug, Clone, Copy)]
enum Kind<'b> {
    All,
    Bitmap { words: &'b [[u8; 8]], ranks: &'b [[u8; 2]] },
    Narrow(&'b [[u8; 2]]),
    Wide(&'b [[u8; 4]]),
}

const DISAGREES: ColumnError = ColumnError::Damaged("a block's presence disagrees with its number of values");

impl<'b> Presence<'b> {
    /// The presence at the start of `bytes`, of which at least [`Form::bytes`] must be there.
    pub(super) fn new(form: Form, rows: usize, count: usize, bytes: &'b [u8]) -> Self {
        let bytes = &bytes[..form.bytes(rows, count)];
        let kind = match form {
            Form::All => Kind::All,
            Form::Bitmap => {
                let (words, ranks) = bytes.split_at(rows.div_ceil(64) * 8);
                Kind::Bitmap { words: words.as_chunks().0, ranks: ranks.as_chunks().0 }
            }
            Form::Sparse if row_bytes(rows) == 2 => Kind::Narrow(bytes.as_chunks().0),
            Form::Sparse => Kind::Wide(bytes.as_chunks().0),
        };
        Self { rows, count, kind }
    }

    /// The slot of a row of the block, if it has a value.
    pub(super) fn slot(&self, row: usize) -> Option<usize> {
        let slot = match self.kind {
            Kind::All => Some(row),
            Kind::Bitmap { words, .. } => {
                let word = u64::from_le_bytes(words[row / 64]);
                (word >> (row % 64) & 1 == 1).then(|| self.rank(row))
            }
            Kind::Narrow(rows) => rows.binary_search_by_key(&row, |row| u16::from_le_bytes(*row).into()).ok(),
            Kind::Wide(rows) => rows.binary_search_by_key(&row, |row| u32::from_le_bytes(*row) as usize).ok(),
        };
        slot.filter(|slot| *slot < self.count)
    }

    /// How many rows before `row` have a value.
    fn rank(&self, row: usize) -> usize {
        match self.kind {
            Kind::All => row,
            Kind::Bitmap { .. } if row == self.rows => self.count,
            Kind::Bitmap { words, ranks } => {
                let first = row / 64 / WORDS_PER_RANK;
                let whole = words[first * WORDS_PER_RANK..row / 64].iter();
                let whole: u32 = whole.map(|word| u64::from_le_bytes(*word).count_ones()).sum();
                let part = u64::from_le_bytes(words[row / 64]) & !(u64::MAX << (row % 64));
                usize::from(u16::from_le_bytes(ranks[first])) + (whole + part.count_ones()) as usize
            }
            Kind::Narrow(rows) => rows.partition_point(|other| usize::from(u16::from_le_bytes(*other)) < row),
            Kind::Wide(rows) => rows.partition_point(|other| (u32::from_le_bytes(*other) as usize) < row),
        }
    }

    /// The slots of a range of the block's rows.
    pub(super) fn slots(&self, rows: Range<usize>) -> Result<Range<usize>, ColumnError> {
        let slots = self.rank(rows.start)..self.rank(rows.end);
        match slots.start <= slots.end && slots.end <= self.count {
            true => Ok(slots),
            false => Err(DISAGREES),
        }
    }

    /// The values of a range of the block's rows.
    pub(super) fn span(&self, rows: Range<usize>) -> Result<Span, ColumnError> {
        if let Kind::All = self.kind {
            return Ok(Span { rows: rows.len(), offset: 0, words: None, slots: rows });
        }
        let start = self.rank(rows.start);
        let (first, offset) = (rows.start / 64, rows.start % 64);
        let mut words = vec![0_u64; (offset + rows.len()).div_ceil(64)];
        let mut mark = |row: usize| words.get_mut((row / 64).wrapping_sub(first)).map(|word| *word |= 1 << (row % 64));
        let marked = match self.kind {
            Kind::All => Some(()),
            Kind::Bitmap { words: all, .. } => {
                let lying = all[first..].iter().map(|word| u64::from_le_bytes(*word));
                words.iter_mut().zip(lying).for_each(|(to, word)| *to = word);
                Some(())
            }
            Kind::Narrow(all) => {
                let end = self.rank(rows.end).max(start);
                all[start..end].iter().try_for_each(|row| mark(u16::from_le_bytes(*row).into()))
            }
            Kind::Wide(all) => {
                let end = self.rank(rows.end).max(start);
                all[start..end].iter().try_for_each(|row| mark(u32::from_le_bytes(*row) as usize))
            }
        };
        marked.ok_or(DISAGREES)?;
        if let Some(head) = words.first_mut() {
            *head &= u64::MAX << offset;
        }
        if let Some(tail) = words.last_mut() {
            *tail &= u64::MAX >> ((64 - (offset + rows.len()) % 64) % 64);
        }
        let end = start + words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        match end <= self.count {
            true => Ok(Span { rows: rows.len(), offset, words: Some(words), slots: start..end }),
            false => Err(DISAGREES),
        }
    }
}

/// Rows next to each other within a block, and their values.
#[derive(Debug)]
pub(super) struct Span {
    rows: usize,
    /// The bit of the first row.
    offset: usize,
    /// A bit for each row, zeros before and behind; none if all have a value.
    words: Option<Vec<u64>>,
    /// INVARIANT: as many as bits are set, and slots of the block; checked in [`Presence::span`].
    pub(super) slots: Range<usize>,
}

impl Span {
    /// Whether every row has a value.
    pub(super) fn is_full(&self) -> bool {
        self.words.is_none()
    }

    /// Appends a bit for each row.
    pub(super) fn append_validity(&self, out: &mut BooleanBufferBuilder) {
        match &self.words {
            None => out.append_n(self.rows, true),
            Some(words) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                out.append_packed_range(self.offset..self.offset + self.rows, &bytes);
            }
        }
    }

    /// Appends for each row the entry of `compact` at the number of values up to the row, or before it. Rows without a
    /// value thus repeat what is near them.
    pub(super) fn spread<T: Copy>(&self, compact: &[T], inclusive: bool, out: &mut Vec<T>) {
        let Some(words) = &self.words else {
            out.extend_from_slice(&compact[usize::from(inclusive)..][..self.rows]);
            return;
        };
        let (mut slot, end) = (0, self.offset + self.rows);
        for (index, word) in words.iter().enumerate() {
            let bits = if index == 0 { self.offset } else { 0 }..64.min(end - index * 64);
            if !MIXED.contains(&word.count_ones()) {
                let mut bit = bits.start;
                while bit < bits.end {
                    let is_present = word >> bit & 1 == 1;
                    let run = if is_present { (word >> bit).trailing_ones() } else { (word >> bit).trailing_zeros() };
                    let run = (run as usize).min(bits.end - bit);
                    match is_present {
                        true => out.extend_from_slice(&compact[slot + usize::from(inclusive)..][..run]),
                        false => out.resize(out.len() + run, compact[slot]),
                    }
                    slot += if is_present { run } else { 0 };
                    bit += run;
                }
                continue;
            }
            out.extend(bits.map(|bit| {
                let before = slot;
                slot += (word >> bit & 1) as usize;
                compact[if inclusive { slot } else { before }]
            }));
        }
    }

    /// A bit for each row, the first at bit 0, from a bit for each slot: zero where there is no value. The span begins
    /// at a multiple of 64.
    pub(super) fn spread_bits<'c>(&self, compact: &'c [u64]) -> Cow<'c, [u64]> {
        let Some(words) = &self.words else { return Cow::Borrowed(compact) };
        let mut slot = 0;
        let next = |present: &u64| {
            let (index, shift) = (slot / 64, slot % 64);
            let low = compact.get(index).map_or(0, |word| word >> shift);
            let high = compact.get(index + 1).filter(|_| shift > 0).map_or(0, |word| word << (64 - shift));
            slot += present.count_ones() as usize;
            deposit(*present, low | high)
        };
        Cow::Owned(words.iter().map(next).collect())
    }

    /// Calls with the slots of selected rows, 64 rows at a time: a slot, and a bit for it and each behind. Bit 0 of
    /// `selection` is the first row, which is a multiple of 64.
    pub(super) fn selected(&self, selection: &[u64], mut each: impl FnMut(usize, u64)) {
        let mut slot = self.slots.start;
        for (index, chosen) in selection.iter().enumerate().take(self.rows.div_ceil(64)) {
            let tail = u64::MAX >> (64 - (self.rows - index * 64).min(64));
            let present = self.words.as_ref().map_or(tail, |words| words[index]);
            let bits = compress(present, chosen & tail);
            if bits != 0 {
                each(slot, bits);
            }
            slot += present.count_ones() as usize;
        }
    }
}

/// The lowest bits of `bits`, each put where `mask` has one.
fn deposit(mut mask: u64, mut bits: u64) -> u64 {
    if mask.count_ones() > *MIXED.end() {
        // Few gaps: each moves what is behind it.
        let mut gaps = !mask;
        while gaps != 0 {
            let below = (gaps & gaps.wrapping_neg()) - 1;
            bits = bits & below | (bits & !below) << 1;
            gaps &= gaps - 1;
        }
        return bits;
    }
    let mut out = 0;
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        out |= lowest & (bits & 1).wrapping_neg();
        bits >>= 1;
        mask ^= lowest;
    }
    out
}

/// The bits of `bits` where `mask` has one, moved together.
fn compress(mask: u64, mut bits: u64) -> u64 {
    if mask.count_ones() > *MIXED.end() {
        let mut gaps = !mask;
        while gaps != 0 {
            let below = u64::MAX >> 1 >> gaps.leading_zeros();
            bits = bits & below | bits >> 1 & !below;
            gaps &= below;
        }
        return bits;
    }
    let mut chosen = mask & bits;
    let mut out = 0;
    while chosen != 0 {
        let lowest = chosen & chosen.wrapping_neg();
        out |= 1 << (mask & (lowest - 1)).count_ones();
        chosen ^= lowest;
    }
    out
}
