//! Exact decimal numbers of up to 76 digits.
//!
//! In: text, or an unscaled integer with a scale. Out: [`Decimal`], always canonical. Owns their text, their sum and
//! their exact comparison with integers and floats. Leaves to `json` which numbers become decimals at all.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use arrow_buffer::i256;
use thiserror::Error;

use super::number::NumberText;

const TEN: i256 = i256::from_i128(10);
const TEN_TO_38: u128 = 10u128.pow(38);

/// The power of two past which a float is greater than any decimal: 2^253 is the first above 10^76.
const FLOAT_ABOVE_ALL_POWER: i32 = 253;

/// A text that is no decimal number of at most [`Decimal::DIGITS_MAX`] digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// The text is not of the form `[+-]digits[.digits][e[+-]digits]`.
    #[error("not a decimal number")]
    Syntax,
    /// The number has more digits, or more of them behind the point, than a decimal holds.
    #[error("more than {} digits", Decimal::DIGITS_MAX)]
    TooManyDigits,
}

/// The number `unscaled / 10^scale`, exactly.
///
/// INVARIANT: canonical, so that equal numbers have equal fields: a scale above zero means that the last digit is not
/// zero; at most 76 digits and a scale of at most 76. [`Decimal::from_parts`] is the only door.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Little endian. Bytes and not an `i256`, whose alignment of 16 would make every value 64 bytes instead of 48.
    unscaled: [u8; 32],
    scale: u8,
}

impl Decimal {
    /// The most digits a decimal has, and the most of them behind the point.
    pub const DIGITS_MAX: u8 = 76;

    /// The decimal `unscaled / 10^scale`, brought to canonical form, unless it has too many digits.
    pub fn from_parts(unscaled: i256, scale: u8) -> Option<Self> {
        let (mut unscaled, mut scale) = (unscaled, if unscaled == i256::ZERO { 0 } else { scale });
        while scale > 0 && unscaled.wrapping_rem(TEN) == i256::ZERO {
            unscaled = unscaled.wrapping_div(TEN);
            scale -= 1;
        }
        let limit = ten_to(Self::DIGITS_MAX);
        let fits = scale <= Self::DIGITS_MAX && unscaled < limit && unscaled > limit.wrapping_neg();
        fits.then_some(Self { unscaled: unscaled.to_le_bytes(), scale })
    }

    /// All its digits, as an integer.
    pub fn unscaled(&self) -> i256 {
        i256::from_le_bytes(self.unscaled)
    }

    /// How many of its digits stand behind the point.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Tells whether it has no fraction.
    pub fn is_integer(&self) -> bool {
        self.scale == 0
    }

    /// The integer it is, if it is one of 64 bits.
    pub fn to_int(&self) -> Option<i64> {
        let integer = if self.is_integer() { self.unscaled().to_i128() } else { None };
        integer.and_then(|integer| i64::try_from(integer).ok())
    }

    /// The exact sum, unless it has too many digits.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        // Where the sum fits, so do both at the common scale: each is at most the sum and the other together, which
        // is less than 2 · 10^76. So an overflow here means a sum of too many digits.
        let scale = self.scale.max(other.scale);
        let left = self.unscaled().checked_mul(ten_to(scale - self.scale))?;
        let right = other.unscaled().checked_mul(ten_to(scale - other.scale))?;
        Self::from_parts(left.checked_add(right)?, scale)
    }

    /// Compares with an integer, exactly.
    pub fn compare_int(&self, other: i64) -> Ordering {
        let (whole, rest) = self.split();
        whole.cmp(&i256::from_i128(i128::from(other))).then(rest.cmp(&i256::ZERO))
    }

    /// Compares with a float, exactly: no side is rounded. NaN is greater than every number.
    pub fn compare_float(&self, other: f64) -> Ordering {
        if other.is_nan() {
            return Ordering::Less;
        }
        let sign = self.unscaled().signum().cmp(&i256::ZERO);
        let other_sign = if other == 0.0 { Ordering::Equal } else { other.total_cmp(&0.0) };
        match sign.cmp(&other_sign) {
            Ordering::Equal if sign == Ordering::Less => self.compare_magnitude(-other).reverse(),
            Ordering::Equal if sign == Ordering::Greater => self.compare_magnitude(other),
            decided => decided,
        }
    }

    /// Compares the absolute value with a float above zero.
    fn compare_magnitude(&self, other: f64) -> Ordering {
        if other >= 2f64.powi(FLOAT_ABOVE_ALL_POWER) {
            return Ordering::Less;
        }
        let (whole, rest) = self.split();
        let whole_order = whole.wrapping_abs().cmp(&whole_of_float(other));
        whole_order.then_with(|| compare_fractions(rest.wrapping_abs(), ten_to(self.scale), other.fract()))
    }

    /// The part before the point, and the digits behind it as an integer; both have the number's sign.
    fn split(&self) -> (i256, i256) {
        let (unscaled, unit) = (self.unscaled(), ten_to(self.scale));
        (unscaled.wrapping_div(unit), unscaled.wrapping_rem(unit))
    }

    /// The digits of the absolute value, at least one.
    fn digits(&self) -> String {
        let (magnitude, half) = (self.unscaled().wrapping_abs(), i256::from_parts(TEN_TO_38, 0));
        let (high, _) = magnitude.wrapping_div(half).to_parts();
        let (low, _) = magnitude.wrapping_rem(half).to_parts();
        if high == 0 { low.to_string() } else { format!("{high}{low:038}") }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((whole, rest), (other_whole, other_rest)) = (self.split(), other.split());
        let scale = self.scale.max(other.scale);
        let aligned = |rest: i256, from: u8| rest.wrapping_mul(ten_to(scale - from));
        whole.cmp(&other_whole).then_with(|| aligned(rest, self.scale).cmp(&aligned(other_rest, other.scale)))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Decimal {
    fn from(integer: i64) -> Self {
        Self { unscaled: i256::from_i128(i128::from(integer)).to_le_bytes(), scale: 0 }
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = NumberText::parse(text).ok_or(DecimalError::Syntax)?;
        number.to_decimal().ok_or(DecimalError::TooManyDigits)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled().is_negative() { "-" } else { "" };
        let digits = self.digits();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(formatter, "{sign}{digits}");
        }
        match digits.len().checked_sub(scale) {
            None | Some(0) => write!(formatter, "{sign}0.{digits:0>scale$}"),
            Some(point) => write!(formatter, "{sign}{}.{}", &digits[..point], &digits[point..]),
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// Ten to the power of at most 76.
pub(super) fn ten_to(power: u8) -> i256 {
    TEN.wrapping_pow(u32::from(power))
}

/// The part before the point of a float from 0 to below 2^253.
fn whole_of_float(float: f64) -> i256 {
    let bits = float.to_bits();
    let mantissa = i256::from_i128(i128::from((bits & ((1 << 52) - 1)) | (1 << 52)));
    // The float is mantissa · 2^power; below 1 (denormals included) it has no whole part.
    let power = i32::try_from(bits >> 52).expect("a sign of zero leaves 11 bits of exponent") - 1075;
    match (float < 1.0, u8::try_from(power.unsigned_abs())) {
        (true, _) => i256::ZERO,
        (false, Ok(places)) if power >= 0 => mantissa << places,
        (false, Ok(places)) => mantissa >> places,
        (false, Err(_)) => unreachable!("the power of a float from 1 to 2^253 is within -52 and 200"),
    }
}

/// Compares the fraction `part / unit` (from 0 to below 1) with a float of that range, by their binary digits: doubling
/// brings one digit before the point on each side, exactly, and a float runs out of digits after 1,074 of them.
fn compare_fractions(part: i256, unit: i256, float: f64) -> Ordering {
    let (mut part, mut float) = (part, float);
    while float > 0.0 && part > i256::ZERO {
        part = part.wrapping_add(part);
        float *= 2.0;
        let (digit, other_digit) = (part >= unit, float >= 1.0);
        if digit != other_digit {
            return digit.cmp(&other_digit);
        }
        if digit {
            part = part.wrapping_sub(unit);
            float -= 1.0;
        }
    }
    (part > i256::ZERO).cmp(&(float > 0.0))
}
