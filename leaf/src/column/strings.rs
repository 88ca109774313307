//! Byte strings one behind the other, as they are or compressed by a symbol table; any is read without those before it.
//!
//! In: strings, UTF-8 or not. Out: their bytes, and where each begins. Beginnings grow nearly evenly, so they are kept as
//! what they differ from a straight line: 2 bytes each where whole offsets take 4, and nothing where all are as long.
//!
//! ```text
//! strings = byte… beginning…                   beginnings of all, and the end of the last, as integers
//! begin i = (i × slope) >> 16 + beginning i    slope = (bytes << 16) / count
//! symbols = (length:u8)[256] (symbol:8)[256]   code i stands for the first `length` bytes of symbol i; 255 is followed by
//!                                              a byte that stands for itself
//! ```
//!
//! Symbol tables are those of FSST (Boncz, Neumann and Leis, "FSST: Fast Random Access String Compression", VLDB 2020),
//! made by the crate `fsst-rs`. Reading is ours: it believes no byte.

use std::cmp::Ordering;
use std::ops::Range;

use fsst::Compressor;

use super::ColumnError;
use super::integers::Integers;
use super::read::offset;

/// How many codes there are.
const CODES: usize = 256;

const SYMBOL_BYTES: usize = 8;

/// As many bytes more than needed are made room for at once.
const SLACK_BYTES: usize = 1 << 12;

/// So many strings are expanded at once: where their codes' bytes begin stays in the nearest cache.
const GROUP_STRINGS: usize = 128;

/// The code that is followed by a byte that stands for itself.
const ESCAPE: u8 = 255;

const DAMAGED: ColumnError = ColumnError::Damaged("a string ends before it begins, or behind its block");

/// Where strings begin that end at `ends`, and where the last ends, as what they differ from a straight line.
pub(super) fn line_up(ends: &[u64]) -> Vec<i64> {
    let slope = slope(ends.last().copied().unwrap_or(0), ends.len());
    let begins = std::iter::once(&0).chain(ends).zip(0_u64..);
    begins.map(|(begin, index)| begin.wrapping_sub(line(slope, index)) as i64).collect()
}

fn slope(bytes: u64, count: usize) -> u64 {
    (bytes << 16).checked_div(count as u64).unwrap_or(0)
}

fn line(slope: u64, index: u64) -> u64 {
    index.wrapping_mul(slope) >> 16
}

/// The strings of a block, read in place by slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strings<'b> {
    bytes: &'b [u8],
    slope: u64,
    begins: Integers<'b>,
    symbols: Option<Symbols<'b>>,
}

impl<'b> Strings<'b> {
    /// `count` strings in `bytes`, which begin as `begins` says.
    pub(super) fn new(bytes: &'b [u8], count: usize, begins: Integers<'b>, symbols: Option<Symbols<'b>>) -> Self {
        Self { bytes, slope: slope(bytes.len() as u64, count), begins, symbols }
    }

    fn begin(&self, slot: usize) -> usize {
        line(self.slope, slot as u64).wrapping_add(self.begins.value(slot) as u64) as usize
    }

    /// The bytes of a slot as they lie.
    pub(super) fn stored(&self, slot: usize) -> Result<&'b [u8], ColumnError> {
        self.bytes.get(self.begin(slot)..self.begin(slot + 1)).ok_or(DAMAGED)
    }

    /// The string in a slot, copied.
    pub(super) fn owned(&self, slot: usize) -> Result<Vec<u8>, ColumnError> {
        let stored = self.stored(slot)?;
        let Some(symbols) = &self.symbols else { return Ok(stored.to_vec()) };
        let mut string = vec![0; stored.len() * SYMBOL_BYTES];
        let end = symbols.expand(stored, &mut string, 0);
        string.truncate(end);
        Ok(string)
    }

    /// The string in a slot, if it lies there as it is.
    pub(super) fn borrowed(&self, slot: usize) -> Option<Result<&'b [u8], ColumnError>> {
        self.symbols.is_none().then(|| self.stored(slot))
    }

    /// The string in a slot, from `scratch` if it is compressed.
    pub(super) fn get<'s>(&self, slot: usize, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], ColumnError>
    where
        'b: 's,
    {
        let stored = self.stored(slot)?;
        Ok(match &self.symbols {
            None => stored,
            Some(symbols) => {
                let end = symbols.expand(stored, scratch, 0);
                &scratch[..end]
            }
        })
    }

    /// How the string that lies as `stored` compares with another, of which no more is looked at than tells.
    pub(super) fn compare(&self, stored: &[u8], other: &[u8]) -> Ordering {
        match &self.symbols {
            None => stored.cmp(other),
            Some(symbols) => symbols.compare(stored, other),
        }
    }

    /// Appends the strings of slots, and for each where it ends in `out`.
    pub(super) fn append(
        &self,
        slots: Range<usize>,
        out: &mut Vec<u8>,
        ends: &mut Vec<i32>,
    ) -> Result<(), ColumnError> {
        let (offsets, lying) = self.lying(slots)?;
        let first = offsets.first().copied().unwrap_or(0);
        let Some(symbols) = &self.symbols else {
            let start = offset(out.len())?;
            out.extend_from_slice(lying);
            offset(out.len())?;
            ends.extend(offsets.iter().skip(1).map(|end| end - first + start));
            return Ok(());
        };
        // Strings are expanded many at a time as one stream: a string's own end is a branch that is foreseen badly.
        let (mut end, mut places) = (out.len(), Vec::new());
        for group in (0..offsets.len() - 1).step_by(GROUP_STRINGS) {
            let group = &offsets[group..offsets.len().min(group + GROUP_STRINGS + 1)];
            let begin = group[0] - first;
            let codes = &lying[begin as usize..][..(group[group.len() - 1] - group[0]) as usize];
            end = symbols.expand_all(codes, out, end, &mut places);
            offset(end)?;
            ends.extend(group[1..].iter().map(|next| places[(next - group[0]) as usize] as i32));
        }
        out.truncate(end);
        Ok(())
    }

    /// All bytes of slots as they lie, and where in the block each begins and the last ends, ascending.
    pub(super) fn lying(&self, slots: Range<usize>) -> Result<(Vec<i32>, &'b [u8]), ColumnError> {
        let mut offsets = Vec::with_capacity(slots.len() + 1);
        self.begins.append(slots.start..slots.end + 1, &mut offsets, |difference| difference as i32);
        for (offset, index) in offsets.iter_mut().zip(slots.start as u64..) {
            *offset = offset.wrapping_add(line(self.slope, index) as i32);
        }
        let is_ascending = offsets.windows(2).fold(true, |so_far, pair| so_far & (pair[0] <= pair[1]));
        let bounds = offsets.first().zip(offsets.last()).filter(|_| is_ascending);
        let place = bounds.and_then(|(first, last)| Some(usize::try_from(*first).ok()?..usize::try_from(*last).ok()?));
        let lying = place.and_then(|place| self.bytes.get(place)).ok_or(DAMAGED)?;
        Ok((offsets, lying))
    }
}

/// What codes stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbols<'b> {
    /// INVARIANT: 8 at most; checked with [`Symbols::is_sound`] when a column is opened.
    lengths: &'b [u8; CODES],
    symbols: &'b [[u8; SYMBOL_BYTES]; CODES],
}

impl<'b> Symbols<'b> {
    /// Bytes that a table takes.
    pub(super) const BYTES: usize = CODES * (1 + SYMBOL_BYTES);

    /// The table at the start of `bytes`, if these are enough.
    pub(super) fn new(bytes: &'b [u8]) -> Option<Self> {
        let (lengths, symbols) = bytes.split_first_chunk::<CODES>()?;
        Some(Self { lengths, symbols: symbols.as_chunks().0.first_chunk()? })
    }

    /// Whether the invariant holds.
    pub(super) fn is_sound(&self) -> bool {
        self.lengths.iter().all(|length| usize::from(*length) <= SYMBOL_BYTES)
    }

    fn compare(&self, codes: &[u8], mut other: &[u8]) -> Ordering {
        let mut codes = codes.iter();
        while let Some(code) = codes.next() {
            let symbol = match *code {
                ESCAPE => &[codes.next().copied().unwrap_or_default()],
                code => &self.symbols[usize::from(code)][..usize::from(self.lengths[usize::from(code)])],
            };
            let (head, rest) = other.split_at(symbol.len().min(other.len()));
            match symbol.cmp(head) {
                Ordering::Equal => other = rest,
                different => return different,
            }
        }
        if other.is_empty() { Ordering::Equal } else { Ordering::Less }
    }

    /// Writes what codes stand for from `at` on and gives where it ends; what lies behind is of no meaning. An escape that
    /// nothing follows gives a zero.
    fn expand(&self, codes: &[u8], out: &mut Vec<u8>, at: usize) -> usize {
        make_room(codes, out, at);
        let out = out.as_mut_slice();
        let (mut end, mut rest) = (at, codes);
        while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
            if has_escape(*eight) {
                break;
            }
            eight.iter().for_each(|code| end = self.store(*code, out, end));
            rest = behind;
        }
        let mut codes = rest.iter();
        while let Some(code) = codes.next() {
            end = match *code {
                ESCAPE => store_escaped(codes.next(), out, end),
                code => self.store(code, out, end),
            };
        }
        end
    }

    /// As [`Symbols::expand`], and says where what each code stands for begins, and where the last ends.
    fn expand_all(&self, codes: &[u8], out: &mut Vec<u8>, at: usize, places: &mut Vec<u32>) -> usize {
        make_room(codes, out, at);
        places.resize(codes.len() + 1, 0);
        let (mut end, mut done) = (at, 0);
        let out = out.as_mut_slice();
        while let Some(eight) = codes[done..].first_chunk::<8>() {
            if has_escape(*eight) {
                let (count, behind) = self.expand_escaped(&codes[done..], 8, out, end, &mut places[done..]);
                (end, done) = (behind, done + count);
                continue;
            }
            let to = places[done..].first_chunk_mut::<8>().expect("there are more places than codes");
            for (code, place) in eight.iter().zip(to) {
                *place = end as u32;
                end = self.store(*code, out, end);
            }
            done += 8;
        }
        (_, end) = self.expand_escaped(&codes[done..], codes.len(), out, end, &mut places[done..]);
        places[codes.len()] = end as u32;
        end
    }

    /// As [`Symbols::expand_all`], but code by code, until so many are done or there are no more; gives how many are, and
    /// where the last ends.
    fn expand_escaped(
        &self,
        codes: &[u8],
        count: usize,
        out: &mut [u8],
        mut end: usize,
        places: &mut [u32],
    ) -> (usize, usize) {
        let mut done = 0;
        while done < count
            && let Some(code) = codes.get(done)
        {
            places[done] = end as u32;
            done += 1;
            if *code != ESCAPE {
                end = self.store(*code, out, end);
                continue;
            }
            end = store_escaped(codes.get(done), out, end);
            places[done] = end as u32;
            done += 1;
        }
        (done.min(codes.len()), end)
    }

    /// Writes a whole symbol, of which what is too much is overwritten by the next, and gives where it ends.
    fn store(&self, code: u8, out: &mut [u8], end: usize) -> usize {
        // An array is moved by one instruction, where `copy_from_slice` would check for overlap in a build with assertions.
        let to = out[end..].first_chunk_mut().expect("there is room for whole symbols");
        *to = self.symbols[usize::from(code)];
        end.wrapping_add(self.lengths[usize::from(code)].into())
    }
}

/// Makes room for what codes may stand for from `at` on.
fn make_room(codes: &[u8], out: &mut Vec<u8>, at: usize) {
    let bytes_max = codes.len() * SYMBOL_BYTES;
    if out.len() < at + bytes_max {
        out.resize(at + bytes_max + SLACK_BYTES, 0);
    }
}

/// Writes the byte behind an escape, a zero if there is none, and gives where it ends.
fn store_escaped(byte: Option<&u8>, out: &mut [u8], end: usize) -> usize {
    out[end] = byte.copied().unwrap_or_default();
    end + 1
}

/// Whether one of eight bytes has all bits set: adding one carries from its lower bits to its highest, which is set too.
fn has_escape(codes: [u8; 8]) -> bool {
    let codes = u64::from_le_bytes(codes);
    let carried = (codes & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(0x0101_0101_0101_0101);
    carried & codes & 0x8080_8080_8080_8080 != 0
}

/// Appends a symbol table.
pub(super) fn write_symbols(compressor: &Compressor, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(compressor.symbol_lengths());
    out.resize(start + CODES, 0);
    out.extend(compressor.symbol_table().iter().flat_map(|symbol| symbol.to_u64().to_le_bytes()));
    out.resize(start + Symbols::BYTES, 0);
}

/// How many strings a symbol table is made of, and as many others tell what it saves.
const SAMPLE_STRINGS: usize = 4096;

/// No further strings are looked at behind so many bytes.
const SAMPLE_BYTES: usize = 1 << 18;

/// Below so many bytes a symbol table is not worth its own.
const COMPRESSED_BYTES_MIN: usize = 1 << 15;

/// A symbol table that makes strings at least a fifth smaller, if there is one. Which strings are looked at follows from
/// their number alone: equal columns have equal bytes.
pub(super) fn symbols_for<'s>(count: usize, bytes: usize, string: impl Fn(usize) -> &'s [u8]) -> Option<Compressor> {
    if bytes < COMPRESSED_BYTES_MIN {
        return None;
    }
    let sample = |from: usize| -> Vec<&'s [u8]> {
        let step = (count / SAMPLE_STRINGS).max(2);
        let mut bytes_left = SAMPLE_BYTES;
        let fits = |string: &&[u8]| {
            let is_left = bytes_left > 0;
            bytes_left = bytes_left.saturating_sub(string.len());
            is_left
        };
        (from..count).step_by(step).map(&string).take_while(fits).collect()
    };
    let compressor = Compressor::train(&sample(0));
    let (mut compressed, others) = (Vec::new(), sample(1));
    compressor.compress_bulk_into::<{ Compressor::DEFAULT_BULK_LANES }>(&others, &mut compressed, &mut Vec::new());
    let plain: usize = others.iter().map(|other| other.len()).sum();
    (compressed.len() * 5 < plain * 4).then_some(compressor)
}
