//! Numbers, strings and bytes as text.
//!
//! In: numbers, strings and bytes. Out: their text, appended to bytes. Owns the digits and the escapes. Leaves days and
//! times to `time`, and to `encode` which texts stand in quotes; strings and bytes bring their own.

use std::fmt::Arguments;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use datafusion::arrow::datatypes::i256;

/// From this on, doubles do not hold every integer: 2^53.
const DOUBLE_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// How many digits are cut off a long integer at once: the most that 64 bits always hold.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10u64.pow(19);

/// `00`, `01` … `99`.
const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// The decimal digits of an integer's absolute value, written from the last to the first.
pub(super) struct Digits {
    /// INVARIANT: zeros before `start`.
    room: [u8; Self::MAX],
    start: usize,
}

impl Digits {
    /// The most that there can be: 2^255 has 77.
    const MAX: usize = 77;

    fn empty() -> Self {
        Self { room: [b'0'; Self::MAX], start: Self::MAX }
    }

    /// The digits of a number of 64 bits.
    pub(super) fn of_u64(number: u64) -> Self {
        let mut digits = Self::empty();
        digits.prepend(number, 1);
        digits
    }

    /// The digits of a number of 128 bits.
    pub(super) fn of_u128(number: u128) -> Self {
        let (mut rest, mut digits) = (number, Self::empty());
        loop {
            if let Ok(last) = u64::try_from(rest) {
                digits.prepend(last, 1);
                return digits;
            }
            digits.prepend((rest % u128::from(CHUNK)) as u64, CHUNK_DIGITS);
            rest /= u128::from(CHUNK);
        }
    }

    /// The digits of the absolute value of a number of 256 bits.
    pub(super) fn of_i256(number: i256) -> Self {
        let chunk = i256::from_i128(i128::from(CHUNK));
        let (mut rest, mut digits) = (number, Self::empty());
        loop {
            // The remainder has the sign of the number, whose absolute value may be one that `i256` does not have.
            let (low, _) = rest.wrapping_rem(chunk).wrapping_abs().to_parts();
            rest = rest.wrapping_div(chunk);
            if rest == i256::ZERO {
                digits.prepend(low as u64, 1);
                return digits;
            }
            digits.prepend(low as u64, CHUNK_DIGITS);
        }
    }

    /// Writes a number before the digits there are, with zeros before it up to `digits_min` digits.
    fn prepend(&mut self, number: u64, digits_min: usize) {
        let (mut rest, mut start) = (number, self.start);
        while rest >= 100 {
            start -= 2;
            self.room[start..start + 2].copy_from_slice(&DIGIT_PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        if rest >= 10 {
            start -= 2;
            self.room[start..start + 2].copy_from_slice(&DIGIT_PAIRS[rest as usize]);
        } else {
            start -= 1;
            self.room[start] = b'0' + rest as u8;
        }
        self.start = start.min(self.start - digits_min);
    }

    fn text(&self) -> &[u8] {
        &self.room[self.start..]
    }
}

/// Appends formatted text.
pub(super) fn append(text: Arguments<'_>, out: &mut Vec<u8>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

/// Appends a number below 100 as two digits.
pub(super) fn write_pair(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&DIGIT_PAIRS[number as usize]);
}

/// Appends an integer.
pub(super) fn write_integer(negative: bool, magnitude: u64, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(Digits::of_u64(magnitude).text());
}

/// Appends the shortest text that reads back as the float, with a point or an exponent, in JSON's form; the float is
/// finite.
pub(super) fn write_float64(float: f64, out: &mut Vec<u8>) {
    debug_assert!(float.is_finite(), "JSON has no {float}");
    let integer = float as i64;
    // Of these integers no shorter text reads back as the same float, and their digits are quicker had than a float's.
    if integer as f64 == float && float.abs() < DOUBLE_INTEGERS_END && float.to_bits() != (-0.0f64).to_bits() {
        write_integer(integer < 0, integer.unsigned_abs(), out);
        out.extend_from_slice(b".0");
    } else {
        append(format_args!("{float:?}"), out);
    }
}

/// Appends the shortest text that reads back as the float of 32 bits; the float is finite.
pub(super) fn write_float32(float: f32, out: &mut Vec<u8>) {
    debug_assert!(float.is_finite(), "JSON has no {float}");
    append(format_args!("{float:?}"), out);
}

/// Appends the decimal `digits / 10^scale`, all its digits but for zeros that end the fraction.
pub(super) fn write_decimal(negative: bool, digits: &Digits, scale: i8, out: &mut Vec<u8>) {
    let (mut digits, mut scale) = (digits.text(), scale);
    while let ([rest @ .., b'0'], 1..) = (digits, scale) {
        (digits, scale) = (rest, scale - 1);
    }
    // Nothing is left of a zero with a fraction.
    if digits.is_empty() || digits == b"0" {
        return out.push(b'0');
    }
    if negative {
        out.push(b'-');
    }
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits);
        out.resize(out.len() + places, b'0');
    } else if let Some(point @ 1..) = digits.len().checked_sub(places) {
        out.extend_from_slice(&digits[..point]);
        out.push(b'.');
        out.extend_from_slice(&digits[point..]);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - digits.len(), b'0');
        out.extend_from_slice(digits);
    }
}

/// Tells whether the text of a number is that of an integer beyond 2^53.
pub(super) fn is_big_integer(text: &[u8]) -> bool {
    const DOUBLE_INTEGER_MAX: &[u8] = b"9007199254740992";
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits.len().cmp(&DOUBLE_INTEGER_MAX.len()) {
        _ if digits.contains(&b'.') => false,
        std::cmp::Ordering::Equal => digits > DOUBLE_INTEGER_MAX,
        by_length => by_length.is_gt(),
    }
}

/// Appends a string in quotes, in which the quote, the backslash and control characters are escaped and nothing else.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_length(rest);
        out.extend_from_slice(&rest[..plain]);
        match rest.get(plain) {
            None => break,
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(special @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', *special]),
            Some(control) => append(format_args!("\\u{control:04x}"), out),
        }
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// How many bytes stand before the first that is escaped.
fn plain_length(text: &[u8]) -> usize {
    // Without a way out in the middle, a chunk is compared as one vector.
    const CHUNK_BYTES: usize = 16;
    let any_escaped = |chunk: &&[u8]| chunk.iter().fold(false, |any, byte| any | is_escaped(*byte));
    let plain = text.chunks_exact(CHUNK_BYTES).take_while(|chunk| !any_escaped(chunk)).count() * CHUNK_BYTES;
    text[plain..].iter().position(|byte| is_escaped(*byte)).map_or(text.len(), |position| plain + position)
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// Base64 with padding.
    Base64,
    /// Hex digits, upper case.
    Hex,
}

/// Appends bytes, in quotes.
pub(super) fn write_bytes(bytes: &[u8], notation: Notation, out: &mut Vec<u8>) {
    out.push(b'"');
    match notation {
        Notation::Base64 => write_base64(bytes, out),
        Notation::Hex => out.extend(bytes.iter().flat_map(|byte| hex_digits(*byte))),
    }
    out.push(b'"');
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("what is in memory has a length in base64");
    out.resize(start + length, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is as long as the text");
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}
