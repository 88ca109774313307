//! Numbers as text: which value a number in JSON becomes, without losing a digit.
//!
//! In: the text of a number. Out: the narrowest of int, float, decimal and tagged text that is exactly that number.
//! Owns the decision and the reading of digits and exponents. Leaves comparing numbers to `order`.

use std::io::Write;
use std::ops::RangeInclusive;

use arrow_buffer::i256;

use super::decimal::{Decimal, ten_to};
use super::{Tagged, Value};

/// Where exponents are cut off: far past all floats and decimals even after a document full of digits has moved the
/// point, and far from overflow.
const EXPONENT_BOUND: i64 = 1 << 60;

/// How many significant digits every double keeps (`DBL_DIG` of C): within [`EXACT_POWERS`], a decimal of no more
/// digits is the shortest text of the double nearest to it.
const EXACT_DIGITS: usize = 15;

/// Powers of ten of a first digit well inside the doubles of full precision.
const EXACT_POWERS: RangeInclusive<i64> = -290..=290;

/// The value of a number in JSON.
///
/// Without fraction and exponent: an int, else a decimal, else text. With: the float whose shortest text denotes
/// exactly this number, else a decimal, else text.
///
/// ```text
/// 1 → int    1.0, 3.14, 1e5 → float    0.1000000000000000055 → decimal    1e400 → tagged "number"
/// ```
pub(super) fn value_of_json_number(text: &str) -> Value {
    let number = NumberText::parse(text).expect("JSON's numbers are a part of what is read here");
    if number.plain {
        if let Ok(integer) = text.parse() {
            return Value::Int(integer);
        }
    } else if let Some(float) = number.to_exact_float(text) {
        return Value::Float(float);
    }
    match number.to_decimal() {
        Some(decimal) => Value::Decimal(decimal),
        None => Value::Tagged(Tagged { tag: Tagged::NUMBER.to_owned(), text: text.to_owned() }),
    }
}

/// The end of the JSON number that the bytes open with; `Err` is where it stops being one.
pub(super) fn json_number_end(bytes: &[u8]) -> Result<usize, usize> {
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let some_digits = |from: usize| if digits(from) > from { Ok(digits(from)) } else { Err(from) };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut end = if bytes.get(start) == Some(&b'0') { start + 1 } else { some_digits(start)? };
    if bytes.get(end) == Some(&b'.') {
        end = some_digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = some_digits(end + 1 + usize::from(signed))?;
    }
    Ok(end)
}

/// The parts of a number written as `[+-]digits[.digits][e[+-]digits]`.
pub(super) struct NumberText<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
    /// Neither a point nor an exponent is written.
    plain: bool,
}

/// Where the digits from the first to the last that is not zero stand, and the power of ten of the last.
struct Significant {
    first: usize,
    count: usize,
    power: i64,
}

impl<'a> NumberText<'a> {
    /// Reads the parts, unless the text is no number. Leading zeros and a digit on one side of the point only are fine.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = split_sign(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        Some(Self {
            negative,
            whole: whole.as_bytes(),
            fraction: fraction.as_bytes(),
            exponent: exponent.map_or(Some(0), parse_exponent)?,
            plain: mantissa.len() == unsigned.len() && whole.len() == mantissa.len(),
        })
    }

    /// The digit at an index that counts through the whole part and on through the fraction.
    fn digit(&self, index: usize) -> u8 {
        let ascii = if index < self.whole.len() { self.whole[index] } else { self.fraction[index - self.whole.len()] };
        ascii - b'0'
    }

    /// The significant digits; `None` for zero.
    fn significant(&self) -> Option<Significant> {
        let is_significant = |digit: &u8| *digit != b'0';
        let first = self.whole.iter().chain(self.fraction).position(is_significant)?;
        let last = match self.fraction.iter().rposition(is_significant) {
            Some(index) => self.whole.len() + index,
            None => self.whole.iter().rposition(is_significant).expect("there is a first, and none in the fraction"),
        };
        let signed = |index: usize| i64::try_from(index).expect("a text is shorter than 2^63 bytes");
        let power = self.exponent + signed(self.whole.len()) - 1 - signed(last);
        Some(Significant { first, count: last - first + 1, power })
    }

    /// The nearest float, if its shortest text denotes exactly this number; zero keeps its sign.
    fn to_exact_float(&self, text: &str) -> Option<f64> {
        let float: f64 = text.parse().expect("JSON's numbers are a part of what is read here");
        let Some(significant) = self.significant() else { return Some(float) };
        let first_power = significant.power + i64::try_from(significant.count).expect("as above") - 1;
        if significant.count <= EXACT_DIGITS && EXACT_POWERS.contains(&first_power) {
            return Some(float);
        }
        (float.is_finite() && self.is_shortest_text_of(float.abs())).then_some(float)
    }

    /// Tells whether the shortest text that reads back as the float has the digits and the power of this number.
    fn is_shortest_text_of(&self, magnitude: f64) -> bool {
        // 17 digits, a point and `e-308` at most.
        let mut buffer = [0u8; 32];
        let mut rest = &mut buffer[..];
        write!(rest, "{magnitude:e}").expect("24 bytes are the most it takes");
        let length = 32 - rest.len();
        let shortest = str::from_utf8(&buffer[..length]).expect("digits are ASCII");
        let shortest = NumberText::parse(shortest).expect("a finite float is written as a number");
        match (self.significant(), shortest.significant()) {
            (Some(a), Some(b)) if a.count == b.count && a.power == b.power => {
                (0..a.count).all(|index| self.digit(a.first + index) == shortest.digit(b.first + index))
            }
            _ => false,
        }
    }

    /// The decimal that is exactly this number, if one is.
    pub(super) fn to_decimal(&self) -> Option<Decimal> {
        let Some(Significant { first, count, power }) = self.significant() else { return Some(Decimal::from(0)) };
        let digits_max = usize::from(Decimal::DIGITS_MAX);
        let zeros = u8::try_from(power.max(0)).ok()?;
        let scale = u8::try_from(power.min(0).unsigned_abs()).ok()?;
        if count + usize::from(zeros) > digits_max {
            return None;
        }
        // Two halves of at most 38 digits, each of which fits 128 bits.
        let integer = |from: usize, to: usize| {
            let digits = (from..to).map(|index| u128::from(self.digit(first + index)));
            i256::from_parts(digits.fold(0, |sum, digit| sum * 10 + digit), 0)
        };
        let middle = count.saturating_sub(38);
        let magnitude = integer(0, middle).wrapping_mul(ten_to(38)).wrapping_add(integer(middle, count));
        let scaled = magnitude.wrapping_mul(ten_to(zeros));
        Decimal::from_parts(if self.negative { scaled.wrapping_neg() } else { scaled }, scale)
    }
}

/// Takes a sign off the text and tells whether it was a minus.
fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// The exponent, cut off at [`EXPONENT_BOUND`]; `None` if the text is no integer.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(EXPONENT_BOUND).min(EXPONENT_BOUND);
    Some(if negative { -magnitude } else { magnitude })
}
