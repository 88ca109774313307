//! Integers as offsets from the least, in as few bytes each as the greatest offset needs: any is read in one step.
//!
//! In: 64-bit integers (ints, timestamps, dates, codes, scaled floats, lengths). Out: a [`Frame`], which goes to the
//! directory, and offsets, which are read through [`Integers`].
//!
//! ```text
//! frame   = base:zigzag multiple most            least value, common divisor of the offsets, greatest offset; LEB128
//! offsets = (offset:width)…                      little-endian; value = base + multiple × offset; width is the least of
//!                                                0, 1, 2 and 4 bytes that holds `most`
//!         | (value:i64)…                         if `most` needs more: the values themselves, to be used as they lie
//! ```
//!
//! The multiple is 1 unless it makes the width less. The frame's ends are exact: they serve as statistics.

use std::ops::Range;

use basalt_common::binary::{BinaryError, Reader, put_varint};

/// Where the values of a block lie, and how densely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) base: i64,
    /// INVARIANT: `base + multiple × most` is an `i64`; checked in [`Frame::read`].
    multiple: u64,
    pub(super) most: u64,
}

impl Frame {
    /// The frame of these values; of none, that of a zero.
    pub(super) fn of(values: &[i64]) -> Self {
        let (mut least, mut greatest) = (values.first().copied().unwrap_or(0), values.first().copied().unwrap_or(0));
        for value in values {
            least = least.min(*value);
            greatest = greatest.max(*value);
        }
        let most = greatest.wrapping_sub(least) as u64;
        let plain = Self { base: least, multiple: 1, most };
        if plain.width() <= 1 {
            return plain;
        }
        let multiple = common_divisor(values, least, most);
        let narrowed = Self { base: least, multiple, most: most / multiple };
        if narrowed.width() < plain.width() { narrowed } else { plain }
    }

    /// Bytes of each value.
    pub(super) fn width(&self) -> usize {
        match self.most {
            0 => 0,
            1..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        }
    }

    /// The least value.
    pub(super) fn min(&self) -> i64 {
        self.base
    }

    /// The greatest value.
    pub(super) fn max(&self) -> i64 {
        self.value(self.most)
    }

    /// The value at an offset.
    pub(super) fn value(&self, offset: u64) -> i64 {
        self.base.wrapping_add(self.multiple.wrapping_mul(offset) as i64)
    }

    /// Appends the values, which must be those the frame was made of.
    pub(super) fn write(&self, values: &[i64], out: &mut Vec<u8>) {
        let divide = Division::by(self.multiple);
        let offset = |value: &i64| divide.exactly(value.wrapping_sub(self.base) as u64);
        let start = out.len();
        out.resize(start + values.len() * self.width(), 0);
        let data = &mut out[start..];
        match self.width() {
            0 => {}
            1 => data.iter_mut().zip(values).for_each(|(to, value)| *to = offset(value) as u8),
            2 => chunks(data).zip(values).for_each(|(to, value)| *to = (offset(value) as u16).to_le_bytes()),
            4 => chunks(data).zip(values).for_each(|(to, value)| *to = (offset(value) as u32).to_le_bytes()),
            _ => chunks(data).zip(values).for_each(|(to, value)| *to = value.to_le_bytes()),
        }
    }

    /// Appends the frame to a directory.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, ((self.base << 1) ^ (self.base >> 63)) as u64);
        put_varint(out, self.multiple);
        put_varint(out, self.most);
    }

    /// What [`Frame::put`] wrote.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, BinaryError> {
        let base = reader.varint()?;
        let base = (base >> 1) as i64 ^ -((base & 1) as i64);
        let (multiple, most) = (reader.varint()?, reader.varint()?);
        let greatest = u128::from(multiple).checked_mul(u128::from(most)).and_then(|span| i128::try_from(span).ok());
        let greatest = greatest.and_then(|span| span.checked_add(i128::from(base)));
        if greatest.is_none_or(|greatest| i64::try_from(greatest).is_err()) {
            return Err(reader.error("a block's values leave 64 bits"));
        }
        let frame = Self { base, multiple, most };
        match frame.width() == 8 && multiple != 1 {
            true => Err(reader.error("a block of whole values has a multiple")),
            false => Ok(frame),
        }
    }
}

fn chunks<const WIDTH: usize>(data: &mut [u8]) -> std::slice::IterMut<'_, [u8; WIDTH]> {
    data.as_chunks_mut().0.iter_mut()
}

/// Division by a number known to divide, as a multiplication (Granlund and Montgomery, "Division by Invariant Integers
/// using Multiplication", section 9).
#[derive(Clone, Copy)]
struct Division {
    inverse: u64,
    shift: u32,
    quotient_max: u64,
}

impl Division {
    fn by(divisor: u64) -> Self {
        let shift = divisor.trailing_zeros();
        let odd = divisor >> shift;
        // Newton's iteration doubles the right bits of an inverse modulo a power of two; an odd number has three at first.
        let mut inverse = odd;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        Self { inverse, shift, quotient_max: u64::MAX / divisor }
    }

    fn exactly(self, dividend: u64) -> u64 {
        (dividend >> self.shift).wrapping_mul(self.inverse)
    }

    fn divides(self, dividend: u64) -> bool {
        dividend.wrapping_mul(self.inverse).rotate_right(self.shift) <= self.quotient_max
    }
}

/// A divisor of all offsets: the greatest, or 1 as soon as it can no longer save a byte.
fn common_divisor(values: &[i64], least: i64, most: u64) -> u64 {
    let width = Frame { base: 0, multiple: 1, most }.width();
    let mut divisor = most;
    let mut division = Division::by(divisor);
    for value in values {
        let offset = value.wrapping_sub(least) as u64;
        if division.divides(offset) {
            continue;
        }
        let (mut a, mut b) = (divisor, offset % divisor);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if (Frame { base: 0, multiple: 1, most: most / divisor }).width() == width {
            return 1;
        }
        division = Division::by(divisor);
    }
    divisor
}

/// An offset as it lies in the bytes.
trait Offset: Copy {
    /// It as a number.
    fn get(self) -> u64;
    /// It as a float.
    fn float(self) -> f64;
    /// Whether it is from `low` to `high`, both of which its width holds.
    fn is_between(self, low: u64, high: u64) -> bool;
}

macro_rules! offset {
    ($width:literal, $number:ty) => {
        impl Offset for [u8; $width] {
            #[inline(always)]
            fn get(self) -> u64 {
                <$number>::from_le_bytes(self).into()
            }
            #[inline(always)]
            fn float(self) -> f64 {
                <$number>::from_le_bytes(self).into()
            }
            #[inline(always)]
            fn is_between(self, low: u64, high: u64) -> bool {
                <$number>::from_le_bytes(self).wrapping_sub(low as $number) <= (high - low) as $number
            }
        }
    };
}

offset!(1, u8);
offset!(2, u16);
offset!(4, u32);

#[derive(Debug, Clone, Copy)]
enum Data<'b> {
    Constant,
    One(&'b [[u8; 1]]),
    Two(&'b [[u8; 2]]),
    Four(&'b [[u8; 4]]),
    Whole(&'b [[u8; 8]]),
}

/// Applies one expression to offsets of whichever width, another to whole values, and a third where there are none.
macro_rules! each {
    ($data:expr, $name:ident => $offsets:expr, $whole:ident => $values:expr, $constant:expr) => {
        match $data {
            Data::Constant => $constant,
            Data::One($name) => $offsets,
            Data::Two($name) => $offsets,
            Data::Four($name) => $offsets,
            Data::Whole($whole) => $values,
        }
    };
}

/// Which offsets match.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// None of the block.
    None,
    /// From the first to the second.
    Between(u64, u64),
    /// These, ascending.
    Set(Vec<u64>),
}

/// The integers of a block, read in place by slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integers<'b> {
    frame: Frame,
    data: Data<'b>,
}

impl<'b> Integers<'b> {
    /// Integers at the start of `bytes`, of which at least `count × width` must be there.
    pub(super) fn new(frame: Frame, bytes: &'b [u8], count: usize) -> Self {
        let bytes = &bytes[..count * frame.width()];
        let data = match frame.width() {
            0 => Data::Constant,
            1 => Data::One(bytes.as_chunks().0),
            2 => Data::Two(bytes.as_chunks().0),
            4 => Data::Four(bytes.as_chunks().0),
            _ => Data::Whole(bytes.as_chunks().0),
        };
        Self { frame, data }
    }

    /// The value in a slot.
    pub(super) fn value(&self, slot: usize) -> i64 {
        let frame = self.frame;
        each!(self.data, data => frame.value(data[slot].get()), data => i64::from_le_bytes(data[slot]), frame.base)
    }

    /// Appends the values of slots, as what `make` makes of them.
    pub(super) fn append<T: Clone>(&self, slots: Range<usize>, out: &mut Vec<T>, make: impl Fn(i64) -> T) {
        let frame = self.frame;
        each!(
            self.data,
            data => match frame.multiple {
                1 => out.extend(data[slots].iter().map(|offset| make(frame.base.wrapping_add(offset.get() as i64)))),
                _ => out.extend(data[slots].iter().map(|offset| make(frame.value(offset.get())))),
            },
            data => out.extend(data[slots].iter().map(|value| make(i64::from_le_bytes(*value)))),
            out.resize(out.len() + slots.len(), make(frame.base))
        );
    }

    /// Appends the values of slots divided by a power, which is exact for integers below 2^52 on either side of zero:
    /// all that is between then is a float itself.
    pub(super) fn append_scaled(&self, slots: Range<usize>, out: &mut Vec<f64>, power: f64) {
        let (base, multiple) = (self.frame.base as f64, self.frame.multiple as f64);
        each!(
            self.data,
            data => out.extend(data[slots].iter().map(|offset| (base + multiple * offset.float()) / power)),
            _data => self.append(slots, out, |value| value as f64 / power),
            out.resize(out.len() + slots.len(), base / power)
        );
    }

    /// The bytes of slots if these are the values themselves.
    pub(super) fn whole(&self, slots: Range<usize>) -> Option<&'b [u8]> {
        match self.data {
            Data::Whole(data) => Some(data[slots].as_flattened()),
            _ => None,
        }
    }

    /// The exact sum of slots.
    pub(super) fn sum(&self, slots: Range<usize>) -> i128 {
        let count = slots.len() as i128;
        // Sums of few narrow numbers are vectors of narrow sums: 2^16 of 16 bits fit 32, and 2^32 of 32 fit 64. What
        // wraps nevertheless is damaged.
        let narrow = |offsets: u64| {
            let offsets = i128::from(self.frame.multiple).wrapping_mul(offsets.into());
            (i128::from(self.frame.base) * count).wrapping_add(offsets)
        };
        let add = |sum: u32, offset: u16| sum.wrapping_add(offset.into());
        match self.data {
            Data::Constant => narrow(0),
            Data::One(data) => {
                let part = |part: &[[u8; 1]]| part.iter().fold(0, |sum, offset| add(sum, offset[0].into()));
                narrow(data[slots].chunks(1 << 12).fold(0, |sum, piece| sum.wrapping_add(part(piece).into())))
            }
            Data::Two(data) => {
                let part = |part: &[[u8; 2]]| part.iter().fold(0, |sum, offset| add(sum, u16::from_le_bytes(*offset)));
                narrow(data[slots].chunks(1 << 12).fold(0, |sum, piece| sum.wrapping_add(part(piece).into())))
            }
            Data::Four(data) => narrow(data[slots].iter().fold(0, |sum, offset| sum.wrapping_add(offset.get()))),
            Data::Whole(data) => {
                data[slots].iter().fold(0_i128, |sum, value| sum.wrapping_add(i64::from_le_bytes(*value).into()))
            }
        }
    }

    /// The exact sum of those of 64 slots whose bits are set: bit 0 is for slot `first`.
    pub(super) fn sum_selected(&self, first: usize, mut bits: u64) -> i128 {
        let frame = self.frame;
        let mut sum = 0_i128;
        match self.data {
            Data::Whole(data) => {
                while bits != 0 {
                    let value = i64::from_le_bytes(data[first + bits.trailing_zeros() as usize]);
                    sum = sum.wrapping_add(value.into());
                    bits &= bits - 1;
                }
                sum
            }
            data => {
                // Adding all, those not selected as zeros, costs less than finding the others.
                let offsets = each!(
                    data,
                    data => data[first..].iter().take(64).fold((0_u64, bits), |(sum, bits), offset| {
                        (sum.wrapping_add(offset.get() & (bits & 1).wrapping_neg()), bits >> 1)
                    }).0,
                    _data => 0,
                    0
                );
                let offsets = i128::from(frame.multiple).wrapping_mul(offsets.into());
                (i128::from(frame.base) * i128::from(bits.count_ones())).wrapping_add(offsets)
            }
        }
    }

    /// The least and greatest of slots.
    pub(super) fn min_max(&self, slots: Range<usize>) -> Option<(i64, i64)> {
        let frame = self.frame;
        each!(
            self.data,
            data => {
                let data = &data[slots];
                let widest = data.iter().map(|offset| offset.get()).fold((u64::MAX, 0), |(least, greatest), offset| {
                    (least.min(offset), greatest.max(offset))
                });
                (!data.is_empty()).then(|| (frame.value(widest.0), frame.value(widest.1)))
            },
            data => data[slots].iter().map(|value| i64::from_le_bytes(*value)).fold(None, |ends, value| {
                Some(ends.map_or((value, value), |(least, greatest): (i64, i64)| (least.min(value), greatest.max(value))))
            }),
            (!slots.is_empty()).then_some((frame.base, frame.base))
        )
    }

    /// One bit for each slot, from the first bit of `out` on: whether its offset is wanted. Bits behind are zero.
    pub(super) fn matches(&self, slots: Range<usize>, wanted: &Wanted, out: &mut [u64]) {
        let base = self.frame.base;
        let whole = |value: &[u8; 8]| i64::from_le_bytes(*value).wrapping_sub(base) as u64;
        match wanted {
            Wanted::None => out.fill(0),
            Wanted::Between(low, high) => each!(
                self.data,
                data => pack_slice(&data[slots], out, |offset| offset.is_between(*low, *high)),
                data => pack_slice(&data[slots], out, |value| (*low..=*high).contains(&whole(value))),
                fill(slots.len(), *low == 0, out)
            ),
            Wanted::Set(set) => {
                let table = table_of(set, self.frame.most);
                let has = |offset: u64| match &table {
                    Some(table) => table.get(offset as usize).is_some_and(|has| *has),
                    None => set.binary_search(&offset).is_ok(),
                };
                each!(
                    self.data,
                    data => pack_slice(&data[slots], out, |offset| has(offset.get())),
                    data => pack_slice(&data[slots], out, |value| has(whole(value))),
                    fill(slots.len(), has(0), out)
                );
            }
        }
    }
}

/// The greatest offset for which a set is made a table.
const TABLE_MAX: u64 = 1 << 16;

/// For each offset up to `most` whether it is in the set, unless these are too many.
fn table_of(set: &[u64], most: u64) -> Option<Vec<bool>> {
    if most > TABLE_MAX {
        return None;
    }
    let mut table = vec![false; most as usize + 1];
    for offset in set {
        if let Some(has) = table.get_mut(*offset as usize) {
            *has = true;
        }
    }
    Some(table)
}

/// Sets the first `count` bits to one value, and those behind to zero.
pub(super) fn fill(count: usize, value: bool, out: &mut [u64]) {
    out.fill(if value { u64::MAX } else { 0 });
    cut(count, out);
}

/// Sets the bits behind the first `count` to zero.
pub(super) fn cut(count: usize, out: &mut [u64]) {
    if let Some(last) = out.get_mut(count / 64) {
        *last &= !(u64::MAX << (count % 64));
    }
}

/// Sets bit i of `out` to `matches(i)`, for `count` bits, and those behind to zero.
pub(super) fn pack(count: usize, out: &mut [u64], mut matches: impl FnMut(usize) -> bool) {
    for (index, word) in out.iter_mut().enumerate() {
        let bits = 64.min(count.saturating_sub(index * 64));
        *word = (0..bits).fold(0, |word, bit| word | u64::from(matches(index * 64 + bit)) << bit);
    }
}

/// As [`pack`], for the values of a slice: by 64, compared as a vector and then gathered eight at a time.
pub(super) fn pack_slice<T>(data: &[T], out: &mut [u64], matches: impl Fn(&T) -> bool) {
    let (pieces, rest) = data.as_chunks::<64>();
    for (word, piece) in out.iter_mut().zip(pieces) {
        let mut flags = [0_u8; 64];
        for (flag, value) in flags.iter_mut().zip(piece) {
            *flag = matches(value).into();
        }
        *word = flags.as_chunks::<8>().0.iter().rev().fold(0, |word, eight| {
            // The product puts the lowest bit of byte i to bit 56 + i.
            word << 8 | u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56
        });
    }
    pack(rest.len(), &mut out[pieces.len()..], |bit| matches(&rest[bit]));
}
