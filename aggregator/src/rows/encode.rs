//! Cells as JSON.
//!
//! In: a column and a row. Out: the JSON of the value there, appended to bytes. Owns the form of each type, and the
//! count of floats that have none. Leaves digits and escapes to `text`, the calendar to `time`.

use std::ops::Range;

use super::column::{Child, Column, Ranges, Values};
use super::text::{self, Digits};
use super::time::{self, Span};
use datafusion::arrow::datatypes::{TimeUnit, i256};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// The largest integer up to which a double holds every one: 2^53.
const DOUBLE_INTEGER_MAX: u64 = 1 << 53;

/// Where JSON is written to.
pub(super) struct Output<'a> {
    /// What is appended to.
    pub(super) bytes: &'a mut Vec<u8>,
    /// Whether integers beyond 2^53 stand in quotes.
    pub(super) big_integers_as_strings: bool,
    /// How many floats became null.
    pub(super) non_finite: u64,
}

impl Output<'_> {
    fn null(&mut self) {
        self.bytes.extend_from_slice(b"null");
    }

    fn integer(&mut self, negative: bool, magnitude: u64) {
        if magnitude > DOUBLE_INTEGER_MAX && self.big_integers_as_strings {
            self.quoted(|out| text::write_integer(negative, magnitude, out));
        } else {
            text::write_integer(negative, magnitude, self.bytes);
        }
    }

    fn signed(&mut self, integer: i64) {
        self.integer(integer < 0, integer.unsigned_abs());
    }

    fn float32(&mut self, float: f32) {
        if float.is_finite() { text::write_float32(float, self.bytes) } else { self.non_finite() }
    }

    fn float64(&mut self, float: f64) {
        if float.is_finite() { text::write_float64(float, self.bytes) } else { self.non_finite() }
    }

    fn non_finite(&mut self) {
        self.non_finite += 1;
        self.null();
    }

    fn decimal128(&mut self, unscaled: i128, scale: i8) {
        self.decimal(unscaled < 0, &Digits::of_u128(unscaled.unsigned_abs()), scale);
    }

    fn decimal256(&mut self, unscaled: i256, scale: i8) {
        match unscaled.to_i128() {
            Some(short) => self.decimal128(short, scale),
            None => self.decimal(unscaled.is_negative(), &Digits::of_i256(unscaled), scale),
        }
    }

    fn decimal(&mut self, negative: bool, digits: &Digits, scale: i8) {
        let start = self.bytes.len();
        text::write_decimal(negative, digits, scale, self.bytes);
        if self.big_integers_as_strings && text::is_big_integer(&self.bytes[start..]) {
            self.quote_from(start);
        }
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(b'"');
        write(self.bytes);
        self.bytes.push(b'"');
    }

    /// Puts what was written from `start` on in quotes.
    fn quote_from(&mut self, start: usize) {
        self.bytes.insert(start, b'"');
        self.bytes.push(b'"');
    }

    fn period(&mut self, months: i32, days: i32, count: i64, unit: TimeUnit) {
        self.quoted(|out| time::write_period(months, days, Span::of(count, unit), out));
    }
}

impl Column<'_> {
    /// Appends the JSON of the value of a row, `null` if it has none.
    pub(super) fn write(&self, row: usize, out: &mut Output<'_>) {
        match self.find(row) {
            Some((values, row)) => values.write(row, out),
            None => out.null(),
        }
    }
}

impl Values<'_> {
    /// The string of a row, if these are strings; the row is not null.
    pub(super) fn text(&self, row: usize) -> Option<&str> {
        match self {
            Self::String(values) => Some(values.value(row)),
            Self::LargeString(values) => Some(values.value(row)),
            Self::StringView(values) => Some(values.value(row)),
            _ => None,
        }
    }

    /// Appends the JSON of the value of a row that is not null.
    pub(super) fn write(&self, row: usize, out: &mut Output<'_>) {
        match self {
            Self::Bool(values) => out.bytes.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Self::Int8(values) => out.signed(values[row].into()),
            Self::Int16(values) => out.signed(values[row].into()),
            Self::Int32(values) => out.signed(values[row].into()),
            Self::Int64(values) => out.signed(values[row]),
            Self::UInt8(values) => out.integer(false, values[row].into()),
            Self::UInt16(values) => out.integer(false, values[row].into()),
            Self::UInt32(values) => out.integer(false, values[row].into()),
            Self::UInt64(values) => out.integer(false, values[row]),
            Self::Float16(values) => out.float32(values.value(row).to_f32()),
            Self::Float32(values) => out.float32(values[row]),
            Self::Float64(values) => out.float64(values[row]),
            Self::Decimal32(values, scale) => out.decimal128(values[row].into(), *scale),
            Self::Decimal64(values, scale) => out.decimal128(values[row].into(), *scale),
            Self::Decimal128(values, scale) => out.decimal128(values[row], *scale),
            Self::Decimal256(values, scale) => out.decimal256(values[row], *scale),
            Self::String(values) => text::write_string(values.value(row), out.bytes),
            Self::LargeString(values) => text::write_string(values.value(row), out.bytes),
            Self::StringView(values) => text::write_string(values.value(row), out.bytes),
            Self::Binary(values, notation) => text::write_bytes(values.value(row), *notation, out.bytes),
            Self::LargeBinary(values, notation) => text::write_bytes(values.value(row), *notation, out.bytes),
            Self::BinaryView(values, notation) => text::write_bytes(values.value(row), *notation, out.bytes),
            Self::FixedSizeBinary(values, notation) => text::write_bytes(values.value(row), *notation, out.bytes),
            Self::Date32(days) => out.quoted(|out| time::write_date(days[row].into(), out)),
            Self::Date64(millis) => out.quoted(|out| time::write_date(millis[row].div_euclid(MILLIS_PER_DAY), out)),
            Self::Time32(counts, unit) => out.quoted(|out| time::write_time(Span::of(counts[row].into(), *unit), out)),
            Self::Time64(counts, unit) => out.quoted(|out| time::write_time(Span::of(counts[row], *unit), out)),
            Self::Timestamp(counts, unit) => {
                out.quoted(|out| time::write_timestamp(Span::of(counts[row], *unit), out));
            }
            Self::Months(months) => out.period(months[row], 0, 0, TimeUnit::Second),
            Self::DaysMillis(spans) => {
                out.period(0, spans[row].days, spans[row].milliseconds.into(), TimeUnit::Millisecond);
            }
            Self::MonthsDaysNanos(spans) => {
                out.period(spans[row].months, spans[row].days, spans[row].nanoseconds, TimeUnit::Nanosecond);
            }
            Self::Duration(counts, unit) => out.period(0, 0, counts[row], *unit),
            Self::List(ranges, items) => write_list(ranges, items, row, out),
            Self::Object(children) => write_object(children, row, out),
            Self::Map { ranges, keys, values } => write_map(ranges.range(row), keys, values, out),
        }
    }
}

fn write_list(ranges: &Ranges<'_>, items: &Column<'_>, row: usize, out: &mut Output<'_>) {
    out.bytes.push(b'[');
    let range = ranges.range(row);
    for item in range.clone() {
        if item > range.start {
            out.bytes.push(b',');
        }
        items.write(item, out);
    }
    out.bytes.push(b']');
}

/// Writes an object of the children that are not null: the others are fields that the document does not have.
fn write_object(children: &[Child<'_>], row: usize, out: &mut Output<'_>) {
    out.bytes.push(b'{');
    let present = children.iter().filter_map(|child| child.column.find(row).map(|found| (&child.key, found)));
    for (index, (key, (values, row))) in present.enumerate() {
        if index > 0 {
            out.bytes.push(b',');
        }
        out.bytes.extend_from_slice(key);
        values.write(row, out);
    }
    out.bytes.push(b'}');
}

/// Writes an object of entries; a key that is no string is the text that JSON has for it, in quotes.
fn write_map(entries: Range<usize>, keys: &Column<'_>, values: &Column<'_>, out: &mut Output<'_>) {
    out.bytes.push(b'{');
    for entry in entries.clone() {
        if entry > entries.start {
            out.bytes.push(b',');
        }
        let start = out.bytes.len();
        keys.write(entry, out);
        if out.bytes[start] != b'"' {
            out.quote_from(start);
        }
        out.bytes.push(b':');
        values.write(entry, out);
    }
    out.bytes.push(b'}');
}
