//! Which rows of a column match a predicate, found on its encoded blocks.
//!
//! In: a predicate, a range of rows and a bit for each. Out: the bits, of which those are left that match. The predicate is
//! put in a block's own terms once: values become offsets, strings become codes. Blocks that statistics decide are not
//! read, nor are those of which no bit is left.

use std::cmp::Ordering;
use std::iter;
use std::ops::{Bound, Range};

use arrow_buffer::bit_chunk_iterator::BitChunks;

use super::directory::{Block, Floats, Values};
use super::integers::{Frame, Wanted, cut, fill, pack, pack_slice};
use super::read::{Column, NO_STRING, Piece};
use super::{ColumnError, Datum, Storage, floats};

/// What a row's value must be. Rows without a value match nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate<'p> {
    /// Any value.
    Present,
    /// A value within bounds. Floats are compared by [`f64::total_cmp`], strings byte by byte.
    Within(Bound<Datum<'p>>, Bound<Datum<'p>>),
    /// One of these values, in any order.
    In(Vec<Datum<'p>>),
}

impl<'p> Predicate<'p> {
    /// Exactly this value.
    pub fn equal(value: Datum<'p>) -> Self {
        Self::Within(Bound::Included(value.clone()), Bound::Included(value))
    }

    /// The values that match, if they are named.
    pub fn values(&self) -> Option<&[Datum<'p>]> {
        match self {
            Self::Within(Bound::Included(low), Bound::Included(high)) if low.order(high) == Some(Ordering::Equal) => {
                Some(std::slice::from_ref(low))
            }
            Self::In(values) => Some(values),
            _ => None,
        }
    }

    /// Whether a value between two, these included, may match.
    pub fn meets(&self, least: &Datum<'_>, greatest: &Datum<'_>) -> bool {
        // Of other types nothing is said.
        let is_less = |a: &Datum<'_>, b: &Datum<'_>| a.order(b).is_some_and(Ordering::is_lt);
        let is_at_most = |a: &Datum<'_>, b: &Datum<'_>| a.order(b).is_some_and(Ordering::is_le);
        match self {
            Self::Present => true,
            Self::Within(low, high) => {
                let is_below = match low {
                    Bound::Included(low) => is_less(greatest, low),
                    Bound::Excluded(low) => is_at_most(greatest, low),
                    Bound::Unbounded => false,
                };
                let is_above = match high {
                    Bound::Included(high) => is_less(high, least),
                    Bound::Excluded(high) => is_at_most(high, least),
                    Bound::Unbounded => false,
                };
                !is_below && !is_above
            }
            Self::In(set) => set.iter().any(|value| !is_less(value, least) && !is_less(greatest, value)),
        }
    }

    /// The ranks of the values that match, of `all` that are in order: ranges, disjoint and ascending. `before` tells how many are less than a
    /// value, or that value too.
    ///
    /// # Errors
    /// Those of `before`.
    pub fn ranks<E>(
        &self,
        all: u32,
        before: impl Fn(&Datum<'_>, bool) -> Result<u32, E>,
    ) -> Result<Vec<Range<u32>>, E> {
        Ok(match self {
            Self::Present => iter::once(0..all).collect(),
            Self::Within(low, high) => {
                let start = match low {
                    Bound::Included(low) => before(low, false)?,
                    Bound::Excluded(low) => before(low, true)?,
                    Bound::Unbounded => 0,
                };
                let end = match high {
                    Bound::Included(high) => before(high, true)?,
                    Bound::Excluded(high) => before(high, false)?,
                    Bound::Unbounded => all,
                };
                iter::once(start..end.max(start)).collect()
            }
            Self::In(set) => {
                let mut found = Vec::with_capacity(set.len());
                for value in set {
                    found.push(before(value, false)?..before(value, true)?);
                }
                // A set may name a value twice, and values that are not there.
                found.retain(|ranks| !ranks.is_empty());
                found.sort_unstable_by_key(|ranks| ranks.start);
                found.dedup();
                found
            }
        })
    }

    /// What both let through, if that is a range too.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let (Self::Within(low, high), Self::Within(other_low, other_high)) = (self, other) else { return None };
        Some(Self::Within(
            narrower(low, other_low, Ordering::Greater)?.clone(),
            narrower(high, other_high, Ordering::Less)?.clone(),
        ))
    }
}

/// The bound that lets less through: of two values, the one that is `further` than the other.
fn narrower<'b, 'p>(
    bound: &'b Bound<Datum<'p>>,
    other: &'b Bound<Datum<'p>>,
    further: Ordering,
) -> Option<&'b Bound<Datum<'p>>> {
    let (Bound::Included(own) | Bound::Excluded(own)) = bound else { return Some(other) };
    let (Bound::Included(their) | Bound::Excluded(their)) = other else { return Some(bound) };
    Some(match own.order(their)? {
        Ordering::Equal if matches!(bound, Bound::Excluded(_)) => bound,
        Ordering::Equal => other,
        order if order == further => bound,
        _ => other,
    })
}

/// A predicate on what is ordered as integers are: integers, bits, floats by their order, strings by their code.
#[derive(Debug)]
enum Keys {
    /// From the first to the second; none if that is less.
    Between(i64, i64),
    /// Ascending.
    Set(Vec<i64>),
}

impl Keys {
    const NONE: Self = Self::Between(1, 0);

    #[inline(always)]
    fn contains(&self, key: i64) -> bool {
        match self {
            Self::Between(low, high) => (*low..=*high).contains(&key),
            Self::Set(set) => set.binary_search(&key).is_ok(),
        }
    }

    /// Whether all (`Some(true)`) or none (`Some(false)`) of the keys from `min` to `max` match, if that is known.
    fn decide(&self, min: i64, max: i64) -> Option<bool> {
        match self {
            Self::Between(low, high) if *low <= min && max <= *high => Some(true),
            Self::Between(low, high) if *high < *low || *high < min || max < *low => Some(false),
            Self::Set(_) if min == max => Some(self.contains(min)),
            Self::Set(set) if set.partition_point(|key| *key < min) == set.partition_point(|key| *key <= max) => {
                Some(false)
            }
            Self::Between(..) | Self::Set(_) => None,
        }
    }

    /// The offsets of a frame whose values have these keys; `key` is monotone.
    fn offsets(&self, frame: &Frame, key: impl Fn(i64) -> i64) -> Wanted {
        let count = u128::from(frame.most) + 1;
        let first = |is_before: &dyn Fn(i64) -> bool| {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                match is_before(key(frame.value(middle as u64))) {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            low
        };
        match self {
            Self::Between(low, high) => {
                let (start, end) = (first(&|key| key < *low), first(&|key| key <= *high));
                match start < end {
                    true => Wanted::Between(start as u64, (end - 1) as u64),
                    false => Wanted::None,
                }
            }
            Self::Set(set) => {
                let offset = |wanted: &i64| {
                    let offset = first(&|key| key < *wanted);
                    (offset < count && key(frame.value(offset as u64)) == *wanted).then_some(offset as u64)
                };
                let offsets: Vec<u64> = set.iter().filter_map(offset).collect();
                match offsets[..] {
                    [] => Wanted::None,
                    [only] => Wanted::Between(only, only),
                    _ => Wanted::Set(offsets),
                }
            }
        }
    }
}

/// A predicate on strings as bytes.
#[derive(Debug)]
enum Texts<'p> {
    Within(Bound<&'p [u8]>, Bound<&'p [u8]>),
    /// Ascending.
    Set(Vec<&'p [u8]>),
}

impl Texts<'_> {
    /// Whether a string matches that is compared with others by `compare`.
    fn contains(&self, compare: impl Fn(&[u8]) -> Ordering) -> bool {
        match self {
            Self::Within(low, high) => is_above(*low, &compare) && is_below(*high, &compare),
            Self::Set(set) => set.binary_search_by(|text| compare(text).reverse()).is_ok(),
        }
    }

    /// As [`Keys::decide`]. The bounds need not be values: where both match, so does all between, as ranges have no gaps.
    fn decide(&self, min: &[u8], max: Option<&[u8]>) -> Option<bool> {
        match self {
            Self::Within(low, high) => {
                let is_above = max.is_none_or(|max| is_above(*low, |bound| max.cmp(bound)));
                let is_below = is_below(*high, |bound| min.cmp(bound));
                let is_within = self.contains(|bound| min.cmp(bound))
                    && max.is_some_and(|max| self.contains(|bound| max.cmp(bound)));
                is_within.then_some(true).or((!is_above || !is_below).then_some(false))
            }
            Self::Set(set) => {
                let is_between = |text: &&[u8]| *text >= min && max.is_none_or(|max| *text <= max);
                (!set.iter().any(is_between)).then_some(false)
            }
        }
    }
}

fn is_above(low: Bound<&[u8]>, compare: impl Fn(&[u8]) -> Ordering) -> bool {
    match low {
        Bound::Included(low) => compare(low).is_ge(),
        Bound::Excluded(low) => compare(low).is_gt(),
        Bound::Unbounded => true,
    }
}

fn is_below(high: Bound<&[u8]>, compare: impl Fn(&[u8]) -> Ordering) -> bool {
    match high {
        Bound::Included(high) => compare(high).is_le(),
        Bound::Excluded(high) => compare(high).is_lt(),
        Bound::Unbounded => true,
    }
}

/// A predicate in a column's terms.
enum Test<'p> {
    Present,
    Keys(Keys),
    /// As bytes, and as codes if the column has a dictionary.
    Texts(Texts<'p>, Option<Keys>),
}

/// What is left to do in a block.
enum Left<'t, 'p> {
    All,
    None,
    Offsets(Frame, Wanted),
    Floats(Floats, &'t Keys),
    /// Those that are so.
    Bits(bool),
    Texts(&'t Texts<'p>),
}

impl From<bool> for Left<'_, '_> {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::None }
    }
}

impl Column {
    /// Clears the bits of rows that do not match: bit i is for row `rows.start + i`. Bits behind the last row are cleared.
    ///
    /// # Errors
    /// There are fewer rows, the predicate's values are of another type, or the column is damaged there.
    ///
    /// # Panics
    /// The first row is no multiple of 64, or there are fewer bits than rows.
    pub fn select(&self, rows: Range<u64>, predicate: &Predicate<'_>, bits: &mut [u64]) -> Result<(), ColumnError> {
        assert!(rows.start.is_multiple_of(64), "bits begin with a row that is a multiple of 64");
        let test = self.test(predicate)?;
        let mut compact = Vec::new();
        let mut rest = bits;
        for Piece { block, rows } in self.pieces(rows)? {
            let words;
            (words, rest) = rest.split_at_mut(rows.len().div_ceil(64));
            if words.iter().all(|word| *word == 0) {
                continue;
            }
            let left = block.map_or(Ok(Left::None), |block| self.left(block, &test))?;
            let (Some(block), false) = (block, matches!(left, Left::None)) else {
                words.fill(0);
                continue;
            };
            let span = self.parts().presence(block).span(rows)?;
            compact.clear();
            compact.resize(span.slots.len().div_ceil(64), 0);
            self.mark(block, span.slots.clone(), &left, &mut compact)?;
            words.iter_mut().zip(span.spread_bits(&compact).iter()).for_each(|(word, matches)| *word &= matches);
        }
        rest.fill(0);
        Ok(())
    }

    fn test<'p>(&self, predicate: &'p Predicate<'p>) -> Result<Test<'p>, ColumnError> {
        let is_text = matches!(self.storage, Storage::String | Storage::Binary);
        Ok(match predicate {
            Predicate::Present => Test::Present,
            Predicate::Within(low, high) if is_text => {
                let text = |bound: &'p Bound<Datum<'p>>| match bound {
                    Bound::Included(datum) => Ok(Bound::Included(self.text(datum)?)),
                    Bound::Excluded(datum) => Ok(Bound::Excluded(self.text(datum)?)),
                    Bound::Unbounded => Ok::<_, ColumnError>(Bound::Unbounded),
                };
                let (low, high) = (text(low)?, text(high)?);
                let codes = self.parts().dictionary().map(|strings| {
                    let before = |text: &[u8]| strings.partition_point(|other| other < text);
                    let through = |text: &[u8]| strings.partition_point(|other| other <= text);
                    let first = match low {
                        Bound::Included(low) => before(low),
                        Bound::Excluded(low) => through(low),
                        Bound::Unbounded => 0,
                    };
                    let end = match high {
                        Bound::Included(high) => through(high),
                        Bound::Excluded(high) => before(high),
                        Bound::Unbounded => strings.len() as i64,
                    };
                    Keys::Between(first, end - 1)
                });
                Test::Texts(Texts::Within(low, high), codes)
            }
            Predicate::In(set) if is_text => {
                let mut texts = set.iter().map(|datum| self.text(datum)).collect::<Result<Vec<_>, _>>()?;
                texts.sort_unstable();
                let codes = self.parts().dictionary().map(|strings| {
                    let code = |text: &&[u8]| {
                        let code = strings.partition_point(|other| other < *text);
                        (strings.get(code) == Some(*text)).then_some(code)
                    };
                    Keys::Set(texts.iter().filter_map(code).collect())
                });
                Test::Texts(Texts::Set(texts), codes)
            }
            Predicate::Within(low, high) => {
                let low = match low {
                    Bound::Included(low) => Some(self.key(low)?),
                    Bound::Excluded(low) => self.key(low)?.checked_add(1),
                    Bound::Unbounded => Some(i64::MIN),
                };
                let high = match high {
                    Bound::Included(high) => Some(self.key(high)?),
                    Bound::Excluded(high) => self.key(high)?.checked_sub(1),
                    Bound::Unbounded => Some(i64::MAX),
                };
                Test::Keys(low.zip(high).map_or(Keys::NONE, |(low, high)| Keys::Between(low, high)))
            }
            Predicate::In(set) => {
                let mut keys = set.iter().map(|datum| self.key(datum)).collect::<Result<Vec<_>, _>>()?;
                keys.sort_unstable();
                keys.dedup();
                Test::Keys(Keys::Set(keys))
            }
        })
    }

    fn key(&self, datum: &Datum<'_>) -> Result<i64, ColumnError> {
        match (self.storage, datum) {
            (Storage::Bool, Datum::Bool(value)) => Ok(i64::from(*value)),
            (Storage::Int | Storage::Timestamp | Storage::Date | Storage::Time, Datum::Int(value)) => Ok(*value),
            (Storage::Float, Datum::Float(value)) => Ok(floats::order(*value)),
            _ => Err(self.is_not(datum)),
        }
    }

    fn text<'p>(&self, datum: &'p Datum<'p>) -> Result<&'p [u8], ColumnError> {
        match (self.storage, datum) {
            (Storage::String, Datum::String(text)) => Ok(text.as_bytes()),
            (Storage::Binary, Datum::Binary(bytes)) => Ok(bytes),
            _ => Err(self.is_not(datum)),
        }
    }

    fn is_not(&self, datum: &Datum<'_>) -> ColumnError {
        ColumnError::OtherType { column: self.storage.data_type(), expected: format!("{datum:?}") }
    }

    /// What a test leaves to look at in a block, by what its directory says.
    fn left<'t, 'p>(&self, block: &Block, test: &'t Test<'p>) -> Result<Left<'t, 'p>, ColumnError> {
        Ok(match (&block.values, test) {
            (_, Test::Present) => Left::All,
            (Values::Integers(frame), Test::Keys(keys) | Test::Texts(_, Some(keys))) => {
                match keys.decide(frame.min(), frame.max()) {
                    Some(all) => all.into(),
                    None => match keys.offsets(frame, |value| value) {
                        Wanted::None => Left::None,
                        wanted => Left::Offsets(*frame, wanted),
                    },
                }
            }
            (Values::Floats { kind, min, max }, Test::Keys(keys)) => {
                match (keys.decide(floats::order(*min), floats::order(*max)), *kind) {
                    (Some(all), _) => all.into(),
                    (None, Floats::Scaled { exponent, frame }) => {
                        let power = floats::power(exponent);
                        Left::Offsets(frame, keys.offsets(&frame, |value| floats::order(value as f64 / power)))
                    }
                    (None, kind) => Left::Floats(kind, keys),
                }
            }
            (Values::Bits { set }, Test::Keys(keys)) => match (keys.contains(0), keys.contains(1)) {
                (unset, is_set) if unset != is_set && 0 < *set && *set < block.count => Left::Bits(is_set),
                (unset_matches, set_matches) => (if *set > 0 { set_matches } else { unset_matches }).into(),
            },
            (Values::Strings { min, max, .. }, Test::Texts(texts, _)) => {
                let max = max.clone().map(|max| &self.bytes[max]);
                texts.decide(&self.bytes[min.clone()], max).map_or(Left::Texts(texts), Left::from)
            }
            _ => return Err(NO_STRING),
        })
    }

    /// Sets a bit for each slot that matches, from the first on.
    fn mark(
        &self,
        block: &Block,
        slots: Range<usize>,
        left: &Left<'_, '_>,
        out: &mut [u64],
    ) -> Result<(), ColumnError> {
        let parts = self.parts();
        let start = slots.start;
        match left {
            Left::All => fill(slots.len(), true, out),
            Left::None => out.fill(0),
            Left::Offsets(frame, wanted) => parts.integers(block, *frame).matches(slots, wanted, out),
            Left::Floats(Floats::Plain, keys) => {
                let values = &parts.plain_floats(block)[slots];
                pack_slice(values, out, |value| keys.contains(floats::order(f64::from_le_bytes(*value))));
            }
            Left::Floats(kind, keys) => {
                pack(slots.len(), out, |at| keys.contains(floats::order(self.float(block, *kind, start + at))));
            }
            Left::Bits(wanted) => {
                let count = slots.len();
                let bits = BitChunks::new(parts.bits(block).unwrap_or_default(), start, count).iter_padded();
                let flip = if *wanted { 0 } else { u64::MAX };
                out.iter_mut().zip(bits).for_each(|(word, bits)| *word = bits ^ flip);
                cut(count, out);
            }
            Left::Texts(texts) => {
                let strings = parts.strings(block).ok_or(NO_STRING)?;
                let mut damage = None;
                pack(slots.len(), out, |at| match strings.stored(start + at) {
                    Ok(stored) => texts.contains(|other| strings.compare(stored, other)),
                    Err(error) => {
                        damage = Some(error);
                        false
                    }
                });
                damage.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }
}
