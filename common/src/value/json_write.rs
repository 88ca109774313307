//! Writing JSON.
//!
//! In: a [`Value`]. Out: its JSON, compact, appended to bytes. Owns how each type looks in JSON. Leaves to the caller
//! the warning that NaN and infinities became null.
//!
//! What `json` reads, it reads back as the same value from what is written here: so floats always have a point or an
//! exponent, and a decimal that would read as an int gets `.0`. Values of types that JSON does not have are read back
//! as strings, numbers, arrays or null.
//!
//! | type                          | JSON                                                           |
//! | ----------------------------- | -------------------------------------------------------------- |
//! | null, bool, string            | themselves                                                     |
//! | int                           | number: `1`                                                    |
//! | float                         | number, shortest text: `1.0`, `1e16`; NaN, infinities: `null`  |
//! | decimal                       | number, all digits                                             |
//! | bytes                         | string: base64 with padding                                    |
//! | timestamp                     | string: `2024-02-29T12:30:00.000000Z`                          |
//! | date, time                    | string: `2024-02-29`, `12:30:00.000000`                        |
//! | array, object                 | themselves; names in the order of their bytes                  |
//! | vector                        | array of numbers                                               |
//! | geography                     | string: WKB in hex, upper case                                 |
//! | tagged                        | tag `number`: the number as it was written; else string: text  |

use std::fmt::Debug;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::calendar::{ShownDate, ShownTime, ShownTimestamp};
use super::number::json_number_end;
use super::{Decimal, Object, Tagged, Value};

/// The largest integer up to which a double holds every one: 2^53.
const DOUBLE_INTEGER_MAX: i64 = 1 << 53;

/// What a reader of the JSON wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonStyle {
    /// Integers beyond 2^53 (ints, decimals, longer ones) stand in quotes, for readers whose only number is a double.
    pub big_integers_as_strings: bool,
}

/// Appends the JSON of a value.
pub fn write_json(value: &Value, out: &mut Vec<u8>, style: JsonStyle) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(integer) => write_int(*integer, out, style),
        Value::Float(float) => write_float(*float, float.is_finite(), out),
        Value::Decimal(decimal) => write_decimal(decimal, out, style),
        Value::String(text) => write_string(text, out),
        Value::Bytes(bytes) => write_base64(bytes, out),
        Value::Timestamp(micros) => append(out, format_args!("\"{}\"", ShownTimestamp(*micros))),
        Value::Date(days) => append(out, format_args!("\"{}\"", ShownDate(i64::from(*days)))),
        Value::Time(micros) => append(out, format_args!("\"{}\"", ShownTime(*micros))),
        Value::Array(items) => write_list(items, out, |item, out| write_json(item, out, style)),
        Value::Object(fields) => write_object(fields, out, style),
        Value::Vector(items) => write_list(items, out, |item, out| write_float(*item, item.is_finite(), out)),
        Value::Geography(wkb) => write_hex(wkb, out),
        Value::Tagged(tagged) => write_tagged(tagged, out, style),
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

fn write_int(integer: i64, out: &mut Vec<u8>, style: JsonStyle) {
    let big = integer.unsigned_abs() > DOUBLE_INTEGER_MAX.unsigned_abs();
    write_number(format_args!("{integer}"), big && style.big_integers_as_strings, out);
}

/// Rust's `{:?}` of a float is the shortest text that reads back as it, and has a point or an exponent, in JSON's form.
fn write_float(float: impl Debug, finite: bool, out: &mut Vec<u8>) {
    if finite {
        append(out, format_args!("{float:?}"));
    } else {
        out.extend_from_slice(b"null");
    }
}

fn write_decimal(decimal: &Decimal, out: &mut Vec<u8>, style: JsonStyle) {
    let big = decimal.is_integer()
        && (decimal.compare_int(DOUBLE_INTEGER_MAX).is_gt() || decimal.compare_int(-DOUBLE_INTEGER_MAX).is_lt());
    if big && style.big_integers_as_strings {
        write_number(format_args!("{decimal}"), true, out);
    } else if decimal.to_int().is_some() {
        append(out, format_args!("{decimal}.0"));
    } else {
        write_number(format_args!("{decimal}"), false, out);
    }
}

fn write_number(text: std::fmt::Arguments<'_>, quoted: bool, out: &mut Vec<u8>) {
    match quoted {
        true => append(out, format_args!("\"{text}\"")),
        false => append(out, text),
    }
}

fn write_tagged(tagged: &Tagged, out: &mut Vec<u8>, style: JsonStyle) {
    let text = &tagged.text;
    if tagged.tag != Tagged::NUMBER || json_number_end(text.as_bytes()) != Ok(text.len()) {
        return write_string(text, out);
    }
    // A number without point and exponent that is tagged has more digits than a decimal.
    let big_integer = !text.contains(['.', 'e', 'E']);
    write_number(format_args!("{text}"), big_integer && style.big_integers_as_strings, out);
}

fn write_list<T>(items: &[T], out: &mut Vec<u8>, write_item: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(item, out);
    }
    out.push(b']');
}

fn write_object(fields: &Object, out: &mut Vec<u8>, style: JsonStyle) {
    out.push(b'{');
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_json(value, out, style);
    }
    out.push(b'}');
}

/// Escapes what JSON demands and nothing else: the quote, the backslash and control characters.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..index]);
        written = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => append(out, format_args!("\\u{control:04x}")),
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("what is in memory has a length in base64");
    out.resize(start + length, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is as long as the text");
    out.push(b'"');
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    out.push(b'"');
}
