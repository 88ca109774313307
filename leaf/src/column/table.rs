//! The strings of a small dictionary of short ones, each padded to one width: to append a string is one load and one store.
//!
//! In: a dictionary, checked string by string as the table is made. Out: strings of codes, one behind the other. It is a
//! copy, so what was found to be text stays text. Larger dictionaries are read in place by `dictionary`.

use super::ColumnError;
use super::dictionary::Dictionary;
use super::read::{NO_STRING, offset};

/// Tables of more strings would not stay in a cache beside what is read.
const STRINGS_MAX: usize = 1 << 12;

/// The widest store, and thus the longest string.
const WIDEST_BYTES: usize = 32;

/// Strings by code.
#[derive(Debug)]
pub(super) struct Table {
    /// INVARIANT: one for each string, none greater than the width; made so in [`Table::new`], which nothing changes.
    lengths: Vec<u8>,
    /// How long each is, if all are as long.
    length: Option<u8>,
    padded: Padded,
}

/// Strings with zeros behind them.
#[derive(Debug)]
enum Padded {
    /// Each of exactly one byte.
    Flags(Vec<[u8; 1]>),
    Eight(Vec<[u8; 8]>),
    Sixteen(Vec<[u8; 16]>),
    ThirtyTwo(Vec<[u8; WIDEST_BYTES]>),
}

impl Table {
    /// Whether a dictionary of so many strings may have a table.
    pub(super) fn is_for(strings: usize) -> bool {
        (1..=STRINGS_MAX).contains(&strings)
    }

    /// The strings of a dictionary, if it is small and all are short, and UTF-8 where they are to be text.
    pub(super) fn new(dictionary: &Dictionary<'_>, is_text: bool) -> Option<Self> {
        if !Self::is_for(dictionary.len()) {
            return None;
        }
        let is_sound =
            |string: &&[u8]| string.len() <= WIDEST_BYTES && (!is_text || std::str::from_utf8(string).is_ok());
        let strings = (0..dictionary.len() as i64).map(|code| dictionary.get(code).filter(is_sound));
        let strings: Vec<&[u8]> = strings.collect::<Option<_>>()?;
        let lengths: Vec<u8> = strings.iter().map(|string| string.len() as u8).collect();
        let length = lengths.first().copied().filter(|first| lengths.iter().all(|length| length == first));
        let padded = match lengths.iter().max()? {
            1 if length.is_some() => Padded::Flags(pad(&strings)),
            0..=8 => Padded::Eight(pad(&strings)),
            9..=16 => Padded::Sixteen(pad(&strings)),
            _ => Padded::ThirtyTwo(pad(&strings)),
        };
        Some(Self { lengths, length, padded })
    }

    /// Appends the strings of codes, each whole, and for each where it ends in `out`.
    pub(super) fn append(&self, codes: &[u32], out: &mut Vec<u8>, ends: &mut Vec<i32>) -> Result<(), ColumnError> {
        let greatest = codes.iter().fold(0, |greatest, code| *code.max(&greatest));
        if greatest as usize >= self.lengths.len() {
            return Err(NO_STRING);
        }
        let (begin, first) = (out.len(), ends.len());
        ends.resize(first + codes.len(), 0);
        let end = self.measure(codes, begin, &mut ends[first..]);
        offset(end)?;
        out.resize(end + WIDEST_BYTES, 0);
        let ends = &ends[first..];
        match &self.padded {
            Padded::Flags(flags) => {
                out[begin..].iter_mut().zip(codes).for_each(|(to, code)| *to = flags[*code as usize][0]);
            }
            Padded::Eight(strings) => store(strings, codes, begin, ends, out),
            Padded::Sixteen(strings) => store(strings, codes, begin, ends, out),
            Padded::ThirtyTwo(strings) => store(strings, codes, begin, ends, out),
        }
        out.truncate(end);
        Ok(())
    }

    /// Writes where the strings of codes end if the first begins at `begin`, and gives the end of the last. Ends wrap
    /// where that is behind what an offset can say.
    fn measure(&self, codes: &[u32], begin: usize, ends: &mut [i32]) -> usize {
        if let Some(length) = self.length {
            // No end is carried from one to the next, so this is a vector loop.
            let counts = 1..codes.len() as i32 + 1;
            let end = |count: i32| (begin as i32).wrapping_add(count.wrapping_mul(length.into()));
            ends.iter_mut().zip(counts).for_each(|(to, count)| *to = end(count));
            return begin + codes.len() * usize::from(length);
        }
        // A local end stays in a register: captured by an iterator it was written to memory and read again for each row.
        let mut end = begin;
        for (to, code) in ends.iter_mut().zip(codes) {
            end = end.wrapping_add(self.lengths[*code as usize].into());
            *to = end as i32;
        }
        end
    }
}

fn pad<const WIDTH: usize>(strings: &[&[u8]]) -> Vec<[u8; WIDTH]> {
    let pad = |string: &&[u8]| {
        let mut padded = [0; WIDTH];
        padded[..string.len()].copy_from_slice(string);
        padded
    };
    strings.iter().map(pad).collect()
}

/// Stores the string of each code where the one before it ends, whole with its padding, which the next overwrites.
fn store<const WIDTH: usize>(strings: &[[u8; WIDTH]], codes: &[u32], begin: usize, ends: &[i32], out: &mut [u8]) {
    let mut at = begin;
    for (code, end) in codes.iter().zip(ends) {
        let to = out[at..].first_chunk_mut().expect("there is room for the widest behind the last");
        *to = strings[*code as usize];
        at = *end as usize;
    }
}
