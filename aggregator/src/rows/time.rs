//! Days, times, instants and spans of time as ISO 8601 text.
//!
//! In: counts of days, of seconds and of their parts. Out: their text, appended to bytes. Owns the calendar (proleptic
//! Gregorian, UTC, no leap seconds). Leaves to `encode` the quotes around it.

use super::text::{append, write_integer, write_pair};
use datafusion::arrow::datatypes::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A span of time: whole seconds and the nanoseconds beyond them, neither of which has a sign against the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    seconds: i64,
    nanos: i64,
}

impl Span {
    /// The span that a count of units makes.
    pub(super) fn of(count: i64, unit: TimeUnit) -> Self {
        let (seconds, nanos) = match unit {
            TimeUnit::Second => (count, 0),
            TimeUnit::Millisecond => (count / 1_000, count % 1_000 * 1_000_000),
            TimeUnit::Microsecond => (count / 1_000_000, count % 1_000_000 * 1_000),
            TimeUnit::Nanosecond => (count / NANOS_PER_SECOND, count % NANOS_PER_SECOND),
        };
        Self { seconds, nanos }
    }

    fn is_negative(self) -> bool {
        self.seconds < 0 || self.nanos < 0
    }

    fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// Appends a day counted from 1970-01-01 as `2024-02-29`. Years outside 0 to 9999 have a sign and at least six digits
/// (`-000001`, `+010000`), as in ECMAScript's date texts.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if let 0..=9999 = year {
        write_pair(year.unsigned_abs() / 100, out);
        write_pair(year.unsigned_abs() % 100, out);
    } else {
        append(format_args!("{year:+07}"), out);
    }
    out.push(b'-');
    write_pair(month, out);
    out.push(b'-');
    write_pair(day, out);
}

/// Appends a time of day, counted from midnight, as `12:30:00.000001`. What is no time of day is shown still distinct:
/// hours go on past 23, and before midnight there is a minus.
pub(super) fn write_time(time: Span, out: &mut Vec<u8>) {
    if time.is_negative() {
        out.push(b'-');
    }
    write_clock(time.seconds.unsigned_abs(), time.nanos.unsigned_abs(), out);
}

/// Appends an instant, counted from 1970-01-01T00:00:00Z, as `2024-02-29T12:30:00.000001Z` (RFC 3339).
pub(super) fn write_timestamp(instant: Span, out: &mut Vec<u8>) {
    // Nanoseconds count on from a whole second, before 1970 too.
    let (seconds, nanos) = match instant.nanos {
        0.. => (instant.seconds, instant.nanos),
        _ => (instant.seconds - 1, instant.nanos + NANOS_PER_SECOND),
    };
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    write_clock(seconds.rem_euclid(SECONDS_PER_DAY).unsigned_abs(), nanos.unsigned_abs(), out);
    out.push(b'Z');
}

fn write_clock(seconds: u64, nanos: u64, out: &mut Vec<u8>) {
    let (hours, micros) = (seconds / 3_600, nanos / 1_000);
    if hours < 100 {
        write_pair(hours, out);
    } else {
        write_integer(false, hours, out);
    }
    out.push(b':');
    write_pair(seconds / 60 % 60, out);
    out.push(b':');
    write_pair(seconds % 60, out);
    out.push(b'.');
    write_pair(micros / 10_000, out);
    write_pair(micros / 100 % 100, out);
    write_pair(micros % 100, out);
}

/// Appends months, days and a span as an ISO 8601 duration, `P1Y2M3DT4H5M6.5S`. Twelve months are a year and sixty
/// minutes an hour, but days are never made of hours, nor months of days. Parts that are zero are left out, and each
/// part has its own sign, as PostgreSQL writes it.
pub(super) fn write_period(months: i32, days: i32, span: Span, out: &mut Vec<u8>) {
    let (start, seconds) = (out.len(), Span { seconds: span.seconds % 60, ..span });
    out.push(b'P');
    write_part(i64::from(months / 12), b'Y', out);
    write_part(i64::from(months % 12), b'M', out);
    write_part(i64::from(days), b'D', out);
    let only_clock = out.len() == start + 1;
    if span.is_zero() && !only_clock {
        return;
    }
    out.push(b'T');
    write_part(span.seconds / 3_600, b'H', out);
    write_part(span.seconds / 60 % 60, b'M', out);
    if !seconds.is_zero() || span.is_zero() {
        write_seconds(seconds, out);
    }
}

fn write_part(number: i64, letter: u8, out: &mut Vec<u8>) {
    if number != 0 {
        write_integer(number < 0, number.unsigned_abs(), out);
        out.push(letter);
    }
}

fn write_seconds(span: Span, out: &mut Vec<u8>) {
    write_integer(span.is_negative(), span.seconds.unsigned_abs(), out);
    if span.nanos != 0 {
        append(format_args!(".{:09}", span.nanos.unsigned_abs()), out);
        let zeros = out.iter().rev().take_while(|byte| **byte == b'0').count();
        out.truncate(out.len() - zeros);
    }
    out.push(b'S');
}

/// The year, month and day of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): in eras of 400 years, with years that start in March.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_PER_ERA: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA).unsigned_abs());
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era.cast_signed() + i64::from(month <= 2), month, day)
}
