//! Days, times and instants as ISO 8601 text.
//!
//! In: days and microseconds since 1970 or since midnight. Out: text. Owns the calendar (proleptic Gregorian, UTC, no
//! leap seconds). Leaves reading such text to SQL's casts.

use std::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// An instant, in microseconds since 1970, shown as `2024-02-29T12:30:00.000001Z` (RFC 3339).
pub(crate) struct ShownTimestamp(pub(crate) i64);

/// A day, counted from 1970-01-01, shown as `2024-02-29`. Years outside 0 to 9999 have a sign and at least six digits
/// (`-000001`, `+010000`), as in ECMAScript's date texts.
pub(super) struct ShownDate(pub(super) i64);

/// Microseconds since midnight, shown as `12:30:00.000001`. What is no time of day is shown still distinct: hours go
/// on past 23, and before midnight there is a minus.
pub(super) struct ShownTime(pub(super) i64);

impl fmt::Display for ShownTimestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (self.0.div_euclid(MICROS_PER_DAY), self.0.rem_euclid(MICROS_PER_DAY));
        write!(formatter, "{}T{}Z", ShownDate(days), ShownTime(micros))
    }
}

impl fmt::Display for ShownDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0);
        match year {
            0..=9999 => write!(formatter, "{year:04}-{month:02}-{day:02}"),
            _ => write!(formatter, "{year:+07}-{month:02}-{day:02}"),
        }
    }
}

impl fmt::Display for ShownTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let unit = MICROS_PER_SECOND.unsigned_abs();
        let (seconds, micros) = (self.0.unsigned_abs() / unit, self.0.unsigned_abs() % unit);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(formatter, "{sign}{hours:02}:{minutes:02}:{:02}.{micros:06}", seconds % 60)
    }
}

/// The year, month and day of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): in eras of 400 years, with years that start in March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_PER_ERA: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + i64::from(month <= 2), month, day)
}
