//! The distinct strings of a column, ascending: a string's place is its code, so comparisons hold on codes.
//!
//! In: the strings of a column. Out: the distinct ones and each one's code, if they repeat enough. Codes are written as
//! integers, block by block. A dictionary is never compressed: it is a small part of its column, and read at any place.
//!
//! ```text
//! dictionary = begin:u32… byte… 0:16   where each string begins and where the last ends: Arrow's own layout
//! ```

use std::collections::HashSet;
use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::ColumnError;
use super::encode::StringRows;
use super::read::{NO_STRING, offset};

/// How many strings are looked at before all are.
const SAMPLE_STRINGS: usize = 1 << 16;

/// Strings up to this length are copied as if they were as long; behind the last, as many zeros are written.
const SHORT_BYTES: usize = 16;

/// As many bytes more than needed are made room for at once.
const SLACK_BYTES: usize = 1 << 12;

/// Distinct strings and codes.
#[derive(Debug)]
pub(super) struct Distinct<'s> {
    /// Ascending.
    pub(super) strings: Vec<&'s [u8]>,
    /// One for each slot.
    pub(super) codes: Vec<i64>,
}

/// The distinct strings, if there are at most a quarter as many as strings.
pub(super) fn distinct<'s>(texts: &StringRows<'s>) -> Option<Distinct<'s>> {
    let count = texts.len();
    if count == 0 || count > SAMPLE_STRINGS && !repeats(texts) {
        return None;
    }
    let distinct_max = (count / 4).max(1);
    let mut found: Vec<(u64, &[u8])> = Vec::new();
    let mut table: HashTable<u32> = HashTable::new();
    let mut codes = Vec::with_capacity(count);
    for slot in 0..count {
        let string = texts.get(slot);
        let hash = xxh3_64(string);
        let known = table.find(hash, |code| found[*code as usize].1 == string);
        let code = match known {
            Some(code) => *code,
            None if found.len() == distinct_max => return None,
            None => {
                let code = found.len() as u32;
                found.push((hash, string));
                table.insert_unique(hash, code, |code| found[*code as usize].0);
                code
            }
        };
        codes.push(i64::from(code));
    }
    let mut order: Vec<(u64, u32)> = found.iter().zip(0..).map(|((_, string), code)| (head(string), code)).collect();
    order.sort_unstable_by(|(head, code), (other_head, other)| {
        head.cmp(other_head).then_with(|| found[*code as usize].1.cmp(found[*other as usize].1))
    });
    let mut places = vec![0_i64; found.len()];
    for (place, (_, code)) in (0..).zip(&order) {
        places[*code as usize] = place;
    }
    codes.iter_mut().for_each(|code| *code = places[*code as usize]);
    Some(Distinct { strings: order.iter().map(|(_, code)| found[*code as usize].1).collect(), codes })
}

/// Whether a sample from all over the column has repeats: in one of 2^16 out of a million rows, a sixth of the values
/// come again if each is there about six times.
fn repeats(texts: &StringRows<'_>) -> bool {
    let step = texts.len() / SAMPLE_STRINGS;
    let hashes: HashSet<u64> = (0..SAMPLE_STRINGS).map(|index| xxh3_64(texts.get(index * step))).collect();
    hashes.len() * 20 < SAMPLE_STRINGS * 17
}

/// The first eight bytes as a number that is ordered as they are.
fn head(string: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = string.len().min(8);
    head[..length].copy_from_slice(&string[..length]);
    u64::from_be_bytes(head)
}

/// Appends the strings.
pub(super) fn write(strings: &[&[u8]], out: &mut Vec<u8>) {
    let mut begin = 0_u32;
    out.extend_from_slice(&begin.to_le_bytes());
    for string in strings {
        // Strings of an array with 32-bit offsets, each once.
        begin += string.len() as u32;
        out.extend_from_slice(&begin.to_le_bytes());
    }
    strings.iter().for_each(|string| out.extend_from_slice(string));
    out.extend_from_slice(&[0; SHORT_BYTES]);
}

/// A dictionary, read in place by code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dictionary<'b> {
    begins: &'b [[u8; 4]],
    bytes: &'b [u8],
}

impl<'b> Dictionary<'b> {
    /// Bytes that so many strings take besides their own.
    pub(super) fn more_bytes(count: usize) -> usize {
        (count + 1) * 4 + SHORT_BYTES
    }

    /// `count` strings in `bytes`, which are as many as [`Dictionary::more_bytes`] at least.
    pub(super) fn new(bytes: &'b [u8], count: usize) -> Self {
        let (begins, bytes) = bytes.split_at((count + 1) * 4);
        Self { begins: begins.as_chunks().0, bytes }
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// The string of a code.
    pub(super) fn get(&self, code: i64) -> Option<&'b [u8]> {
        self.bytes.get(self.place(code)?)
    }

    /// Where among the bytes the string of a code lies, all of it.
    fn place(&self, code: i64) -> Option<Range<usize>> {
        let [begin, end] = *self.begins.get(usize::try_from(code).ok()?..)?.first_chunk::<2>()?;
        let place = u32::from_le_bytes(begin) as usize..u32::from_le_bytes(end) as usize;
        (place.start <= place.end && place.end <= self.bytes.len()).then_some(place)
    }

    /// Appends the strings of codes, and for each where it ends in `out`.
    pub(super) fn append(&self, codes: &[i64], out: &mut Vec<u8>, ends: &mut Vec<i32>) -> Result<(), ColumnError> {
        let mut at = out.len();
        for code in codes {
            let place = self.place(*code).ok_or(NO_STRING)?;
            if out.len() < at + place.len() + SHORT_BYTES {
                out.resize(at + place.len() + SLACK_BYTES, 0);
            }
            // A short string is one load and one store; what is too much of it is overwritten by the next.
            match self.bytes.get(place.start..).and_then(|bytes| bytes.first_chunk::<SHORT_BYTES>()) {
                Some(bytes) if place.len() <= SHORT_BYTES => out[at..][..SHORT_BYTES].copy_from_slice(bytes),
                _ => out[at..][..place.len()].copy_from_slice(&self.bytes[place.clone()]),
            }
            at += place.len();
            ends.push(offset(at)?);
        }
        out.truncate(at);
        Ok(())
    }

    /// The number of strings at the start for which `is_before` holds.
    pub(super) fn partition_point(&self, is_before: impl Fn(&[u8]) -> bool) -> i64 {
        let (mut low, mut high) = (0, self.len() as i64);
        while low < high {
            let middle = low.midpoint(high);
            match is_before(self.get(middle).unwrap_or_default()) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// All strings, and where each begins and the last ends, if they lie one behind the other.
    pub(super) fn lying(&self) -> Option<(Vec<i32>, &'b [u8])> {
        let offsets: Vec<i32> = self.begins.iter().map(|begin| i32::from_le_bytes(*begin)).collect();
        let end = usize::try_from(*offsets.last()?).ok()?;
        let is_ascending = offsets.is_sorted() && *offsets.first()? == 0;
        Some((offsets, self.bytes.get(..end)?)).filter(|_| is_ascending)
    }
}
