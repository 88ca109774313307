//! Key runs: which rows of a segment may have an `_id`, read in place.
//!
//! In: the hashes of a segment's `_id`s, once. Out: for a hash, the rows that may have it. A run is its own filter: what an `_id` that
//! is not there costs is one line of 64 bytes, and once in some thousands of times a row that turns out to have another. Several
//! rows with one `_id` are all found; which of them lives is not known here.
//!
//! ```text
//! hash of an _id   ─ high 32 bits, mixed, × homes ─▶ line ─ low 16 bits ─▶ slot ─ begin + slot ─▶ row
//!
//! key run = rows:u32 homes:u32 lines:u32 width:u32 mixed:u32 zeros      a head of 64 bytes
//!           line… (rows × width bits) zeros:u64              rows in the order of slots, each in width bits, least first
//! line    = (fingerprint:u16)×30 begin:u32                   begin: how many rows lie in the slots before
//! ```
//!
//! The hash is xxh3 (64 bits, seed 0) of the `_id`'s bytes: part of the format, for ever. Its home is the line
//! `(mix >> 32) × homes >> 32`, where `mix` is the hash times 2^64 / φ, its fingerprint the low 16 bits, or 1 for 0, which marks a free
//! slot. The hash unmixed tells which shard a document belongs to: its high bits are nearly the same in all of a shard. Runs that were
//! written first (`mixed` is 0) have homes by it all the same, and lookups in them go through many lines where there are many shards. Slots are taken in the order of
//! homes, and what a full line has no room for lies in the next: whoever finds a line full looks there too. The last line is not
//! full. Integers are little-endian.
//!
//! Who knows the hash can choose `_id`s that lie in one line; these are slow to find, not wrong.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use datafusion::arrow::array::StringArray;
use xxhash_rust::xxh3::xxh3_64;

use crate::column::ColumnError;

/// Bytes of a line, as processors fetch them, and of the head.
const LINE: usize = 64;

/// Fingerprints in a line.
const SLOTS: usize = 30;

/// Bytes of a fingerprint.
const SLOT_BYTES: usize = size_of::<u16>();

/// Rows to a home, in the mean: more take less room, and have more lines full.
const HOME_ROWS: usize = 25;

/// Zeros behind the rows, so that each is read as part of a whole word.
const WORD: usize = size_of::<u64>();

const CUT: ColumnError = ColumnError::Damaged("its key run has another length than it says");
const WRONG: ColumnError = ColumnError::Damaged("its key run leads to a row that is not there");

/// The hash of an `_id`, in all runs.
pub fn hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// 2^64 / φ, an odd number: multiplied by it, every bit of a hash reaches the high ones.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn home(hash: u64, homes: u32, mixed: bool) -> usize {
    let hash = if mixed { hash.wrapping_mul(MIX) } else { hash };
    (((hash >> 32) * u64::from(homes)) >> 32) as usize
}

fn fingerprint(hash: u64) -> u16 {
    (hash as u16).max(1)
}

/// The key run of a segment whose rows' `_id`s have these hashes.
fn encode(hashes: &[u64]) -> Vec<u8> {
    let rows = u32::try_from(hashes.len()).expect("a segment has fewer rows than 2^32");
    let homes = rows.div_ceil(HOME_ROWS as u32).max(1);
    let width = u32::BITS - rows.saturating_sub(1).leading_zeros();
    let sorted = by_home(hashes, homes);
    let mut out = vec![0; LINE * (1 + homes as usize)];
    let (mut next, mut last_line) = (0, 0);
    for (index, row) in sorted.iter().enumerate() {
        let hash = hashes[*row as usize];
        let slot = next.max(home(hash, homes, true) * SLOTS);
        next = slot + 1;
        // A line that is filled to its last slot has another behind it.
        last_line = next / SLOTS;
        let line = LINE * (1 + slot / SLOTS);
        out.resize(out.len().max(line + LINE), 0);
        out[line + slot % SLOTS * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&fingerprint(hash).to_le_bytes());
        if slot % SLOTS == 0 {
            out[line + SLOTS * SLOT_BYTES..line + LINE].copy_from_slice(&(index as u32).to_le_bytes());
        }
    }
    let lines = (homes as usize).max(last_line + 1);
    out.resize(LINE * (1 + lines), 0);
    let lines = u32::try_from(lines).expect("there are fewer lines than rows, or one more");
    for (index, word) in [rows, homes, lines, width, 1].into_iter().enumerate() {
        out[index * size_of::<u32>()..][..size_of::<u32>()].copy_from_slice(&word.to_le_bytes());
    }
    put_packed(&sorted, width, &mut out);
    out
}

/// The rows in the order of their homes, and of their numbers.
fn by_home(hashes: &[u64], homes: u32) -> Vec<u32> {
    let mut places = vec![0_u32; homes as usize + 1];
    hashes.iter().for_each(|hash| places[home(*hash, homes, true) + 1] += 1);
    for home in 0..homes as usize {
        places[home + 1] += places[home];
    }
    let mut sorted = vec![0; hashes.len()];
    for (row, hash) in hashes.iter().enumerate() {
        let place = &mut places[home(*hash, homes, true)];
        sorted[*place as usize] = row as u32;
        *place += 1;
    }
    sorted
}

fn put_packed(rows: &[u32], width: u32, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0_u64, 0);
    for row in rows {
        word |= u64::from(*row) << bits;
        bits += width;
        while bits >= u8::BITS {
            out.push(word as u8);
            word >>= u8::BITS;
            bits -= u8::BITS;
        }
    }
    if bits > 0 {
        out.push(word as u8);
    }
    out.extend([0; WORD]);
}

/// A key run, read in place.
#[derive(Debug, Clone)]
pub struct KeyRun {
    bytes: Bytes,
    rows: u32,
    homes: u32,
    width: u32,
    mixed: bool,
    /// Where the rows begin, behind the last line. INVARIANT: the bytes reach as far as the last row does; checked in
    /// [`KeyRun::open`].
    packed: usize,
}

impl KeyRun {
    /// Opens the run of a segment of so many rows. Only its head is read.
    ///
    /// # Errors
    /// The bytes are no such run.
    pub fn open(bytes: Bytes, rows: usize) -> Result<Self, ColumnError> {
        let word = |index: usize| {
            let word = bytes.get(index * size_of::<u32>()..)?.first_chunk()?;
            Some(u32::from_le_bytes(*word))
        };
        let head = (word(0), word(1), word(2), word(3), word(4));
        let (Some(of_rows), Some(homes), Some(lines), Some(width), Some(mixed @ (0 | 1))) = head else {
            return Err(CUT);
        };
        if of_rows as usize != rows || width > u32::BITS || homes == 0 || homes > lines {
            return Err(ColumnError::Damaged("its key run is of another segment"));
        }
        let packed = LINE * (1 + lines as usize);
        let packed_bytes = (u64::from(of_rows) * u64::from(width)).div_ceil(8) as usize;
        match bytes.len() == packed + packed_bytes + WORD {
            true => Ok(Self { bytes, rows: of_rows, homes, width, mixed: mixed == 1, packed }),
            false => Err(CUT),
        }
    }

    /// Makes the run of a segment's `_id`s, in the order of its rows.
    ///
    /// # Panics
    /// There are 2^32 or more.
    pub fn of(ids: &StringArray) -> Self {
        Self::of_hashes(&ids.iter().map(|id| hash(id.unwrap_or_default())).collect::<Vec<_>>())
    }

    /// Makes the run of `_id`s that have these hashes.
    ///
    /// # Panics
    /// There are 2^32 or more.
    pub fn of_hashes(hashes: &[u64]) -> Self {
        Self::open(encode(hashes).into(), hashes.len()).expect("it was just written")
    }

    /// All its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many rows it has.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes that every lookup may touch; the others are touched where a row may be the one.
    pub fn hot_bytes(&self) -> usize {
        self.packed
    }

    /// The first row whose `_id` may have this hash and that `is` the one.
    ///
    /// # Errors
    /// The run is damaged, or `is` fails.
    pub fn find(
        &self,
        hash: u64,
        mut is: impl FnMut(u32) -> Result<bool, ColumnError>,
    ) -> Result<Option<u32>, ColumnError> {
        let fingerprint = fingerprint(hash);
        let mut start = LINE * (1 + home(hash, self.homes, self.mixed));
        while start < self.packed {
            let line = self.bytes[start..self.packed].first_chunk::<LINE>().ok_or(CUT)?;
            if may_have(line, fingerprint) {
                let (slots, begin) = line.split_at(SLOTS * SLOT_BYTES);
                let begin = begin.first_chunk().map_or(0, |begin| u32::from_le_bytes(*begin));
                let slots = slots.as_chunks().0.iter().enumerate();
                for (slot, _) in slots.filter(|(_, slot)| u16::from_le_bytes(**slot) == fingerprint) {
                    let row = self.row(u64::from(begin) + slot as u64)?;
                    if is(row)? {
                        return Ok(Some(row));
                    }
                }
            }
            if line[(SLOTS - 1) * SLOT_BYTES..][..SLOT_BYTES] == [0, 0] {
                return Ok(None);
            }
            start += LINE;
        }
        Ok(None)
    }

    /// The row of the entry at a place.
    fn row(&self, index: u64) -> Result<u32, ColumnError> {
        if index >= u64::from(self.rows) {
            return Err(WRONG);
        }
        let bit = index * u64::from(self.width);
        let word = self.bytes.get(self.packed + (bit / 8) as usize..).and_then(<[u8]>::first_chunk).ok_or(CUT)?;
        let row = u64::from_le_bytes(*word) >> (bit % 8) & ((1 << self.width) - 1);
        u32::try_from(row).ok().filter(|row| *row < self.rows).ok_or(WRONG)
    }
}

/// Whether a slot has this fingerprint; or, once in a while, where a line begins looks like it.
fn may_have(line: &[u8; LINE], fingerprint: u16) -> bool {
    let slots = line.as_chunks().0.iter();
    slots.fold(false, |found, slot| found | (u16::from_le_bytes(*slot) == fingerprint))
}
