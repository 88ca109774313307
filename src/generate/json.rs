//! JSON text, written straight into a string.
//!
//! In: keys and values in the order of the text. Out: the text, the same bytes on every platform: all numbers are made
//! of integers. Owns commas, quotes and brackets. Escapes nothing: every word of the vocabularies is plain, and
//! [`Json::compose`] leaves escapes to its caller.

/// The text of one JSON value, as far as it is written.
#[derive(Debug)]
pub(super) struct Json {
    text: String,
    /// Whether the next key or element follows another in its object or array.
    comma_due: bool,
}

impl Json {
    /// The text of the object that `fill` writes. Reserves `capacity` bytes.
    pub(super) fn document(capacity: usize, fill: impl FnOnce(&mut Self)) -> String {
        let mut json = Self { text: String::with_capacity(capacity), comma_due: false };
        json.object(fill);
        json.text
    }

    /// Begins a field of the object that is open. Its value must follow.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.element();
        self.string(key);
        self.text.push(':');
        self
    }

    /// Begins an element of the array that is open. Its value must follow.
    pub(super) fn element(&mut self) -> &mut Self {
        if self.comma_due {
            self.text.push(',');
        }
        self.comma_due = true;
        self
    }

    /// Writes an object, whose fields `fill` writes.
    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.enclose('{', '}', fill);
    }

    /// Writes an array, whose elements `fill` writes.
    pub(super) fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.enclose('[', ']', fill);
    }

    fn enclose(&mut self, open: char, close: char, fill: impl FnOnce(&mut Self)) {
        self.text.push(open);
        self.comma_due = false;
        fill(self);
        self.text.push(close);
        self.comma_due = true;
    }

    /// Writes a string that needs no escapes.
    pub(super) fn string(&mut self, value: &str) {
        let plain = |letter: char| letter != '"' && letter != '\\' && !letter.is_control();
        debug_assert!(value.chars().all(plain), "{value:?} needs escapes");
        self.compose(|text| text.push_str(value));
    }

    /// Writes a string, whose text, with its escapes, `fill` appends.
    pub(super) fn compose(&mut self, fill: impl FnOnce(&mut String)) {
        self.text.push('"');
        fill(&mut self.text);
        self.text.push('"');
    }

    /// Writes an int.
    pub(super) fn integer(&mut self, value: i64) {
        if value < 0 {
            self.text.push('-');
        }
        push_number(&mut self.text, value.unsigned_abs(), 1);
    }

    /// Writes `value` / 10^`decimals` as a float with that many decimals.
    pub(super) fn fixed(&mut self, value: i64, decimals: u32) {
        if value < 0 {
            self.text.push('-');
        }
        let one = 10_u64.pow(decimals);
        push_number(&mut self.text, value.unsigned_abs() / one, 1);
        self.text.push('.');
        push_number(&mut self.text, value.unsigned_abs() % one, decimals as usize);
    }

    /// Writes a bool.
    pub(super) fn boolean(&mut self, value: bool) {
        self.text.push_str(if value { "true" } else { "false" });
    }

    /// Writes a null.
    pub(super) fn null(&mut self) {
        self.text.push_str("null");
    }

    /// Writes a time as RFC 3339 with microseconds, in UTC; `micros` counts from 1970 and is within the years 0 to 9999.
    pub(super) fn timestamp(&mut self, micros: i64) {
        const DAY_MICROS: i64 = 86_400_000_000;
        let (year, month, day) = civil_from_days(micros.div_euclid(DAY_MICROS));
        let within = micros.rem_euclid(DAY_MICROS) as u64;
        let seconds = within / 1_000_000;
        self.compose(|text| {
            push_number(text, year, 4);
            for (separator, number) in [('-', month), ('-', day), ('T', seconds / 3_600)] {
                text.push(separator);
                push_number(text, number, 2);
            }
            for number in [seconds / 60 % 60, seconds % 60] {
                text.push(':');
                push_number(text, number, 2);
            }
            text.push('.');
            push_number(text, within % 1_000_000, 6);
            text.push('Z');
        });
    }
}

/// Year, month and day of the day that many days after 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`). The year begins in March there, so that a leap day is its last.
fn civil_from_days(days: i64) -> (u64, u64, u64) {
    const ERA_DAYS: i64 = 146_097;
    let shifted = days + 719_468;
    let era = shifted.div_euclid(ERA_DAYS);
    let day_of_era = shifted.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (u64::try_from(year).expect("times are within the years 0 to 9999"), month as u64, day as u64)
}

/// Appends a number in decimal, with zeros before it up to `width` digits, at most 20.
pub(super) fn push_number(text: &mut String, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut rest = number;
    while rest > 0 {
        start -= 1;
        digits[start] += (rest % 10) as u8;
        rest /= 10;
    }
    start = start.min(digits.len() - width);
    text.push_str(str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

/// Appends the last `digits` hexadecimal digits of a number.
pub(super) fn push_hexadecimal(text: &mut String, number: u64, digits: u32) {
    for position in (0..digits).rev() {
        let digit = (number >> (4 * position)) as usize & 0xF;
        text.push(char::from(b"0123456789abcdef"[digit]));
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_123_456, "2024-02-29T23:59:59.123456Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
        ];
        for (micros, expected) in cases {
            let text = Json::document(64, |json| json.key("at").timestamp(micros));
            assert_eq!(text, format!("{{\"at\":\"{expected}\"}}"));
        }
    }

    #[test]
    fn values_are_separated_and_signed() {
        let text = Json::document(64, |json| {
            json.key("fixed").array(|json| {
                for (value, decimals) in [(-5, 2), (0, 2), (1_234, 2), (-123_456, 4)] {
                    json.element().fixed(value, decimals);
                }
            });
            json.key("integers").array(|json| {
                for value in [i64::MIN, 0, i64::MAX] {
                    json.element().integer(value);
                }
            });
            json.key("object").object(|json| json.key("null").null());
            json.key("boolean").boolean(true);
        });
        let fixed = r#""fixed":[-0.05,0.00,12.34,-12.3456]"#;
        let integers = r#""integers":[-9223372036854775808,0,9223372036854775807]"#;
        assert_eq!(text, format!("{{{fixed},{integers},\"object\":{{\"null\":null}},\"boolean\":true}}"));
    }
}
