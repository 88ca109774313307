//! Which value a number in JSON becomes, and the arithmetic and text of decimals.

use std::cmp::Ordering;

use arrow_buffer::i256;
use model::exactly_equal;
use proptest::prelude::*;

use super::{decimal, decimals, floats, integers, number_texts, tagged};
use crate::value::decimal::DecimalError;
use crate::value::number::{json_number_end, value_of_json_number};
use crate::value::{Decimal, Value};

/// Equality of numbers' texts by digits alone: a model that shares nothing with what it checks.
mod model {
    /// Sign, digits without zeros at either end, and the power of ten of the first digit.
    fn normal(text: &str) -> (bool, String, i64) {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let unsigned = mantissa.trim_start_matches('-');
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let first_power = whole.len() as i64 - (all.len() - digits.len()) as i64 - 1;
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return (false, digits, 0);
        }
        let exponent = exponent.parse::<i128>().expect("an exponent of the tests fits");
        (mantissa.starts_with('-'), digits, (first_power as i128 + exponent).clamp(-(1 << 62), 1 << 62) as i64)
    }

    pub(super) fn exactly_equal(a: &str, b: &str) -> bool {
        normal(a) == normal(b)
    }
}

#[test]
fn json_numbers_become_the_narrowest_exact_type() {
    let digits = |count: usize| "7".repeat(count);
    let dec = |text: &str| Value::Decimal(decimal(text));
    let number = |text: &str| tagged("number", text);
    let cases: Vec<(String, Value)> = [
        ("0", Value::Int(0)),
        ("-0", Value::Int(0)),
        ("9223372036854775807", Value::Int(i64::MAX)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        ("9007199254740993", Value::Int(9_007_199_254_740_993)),
        ("9223372036854775808", dec("9223372036854775808")),
        ("-9223372036854775809", dec("-9223372036854775809")),
        ("1.0", Value::Float(1.0)),
        ("1.50", Value::Float(1.5)),
        ("19.99", Value::Float(19.99)),
        ("1e5", Value::Float(1e5)),
        ("1E+5", Value::Float(1e5)),
        ("10e-1", Value::Float(1.0)),
        ("0.0", Value::Float(0.0)),
        ("-0.0", Value::Float(-0.0)),
        ("-0e5", Value::Float(-0.0)),
        ("0e99999999999999999999", Value::Float(0.0)),
        ("0.1", Value::Float(0.1)),
        ("0.1000000000000000055", dec("0.1000000000000000055")),
        ("0.1000000000000000055511151231257827", dec("0.1000000000000000055511151231257827")),
        ("9007199254740993.0", dec("9007199254740993")),
        ("9007199254740992.0", Value::Float(9_007_199_254_740_992.0)),
        ("1e23", Value::Float(1e23)),
        ("1.0e23", Value::Float(1e23)),
        ("9.999999999999999e22", dec("99999999999999990000000")),
        ("99999999999999991611392.0", dec("99999999999999991611392")),
        ("5e-324", Value::Float(5e-324)),
        ("4.9e-324", number("4.9e-324")),
        ("2.2250738585072014e-308", Value::Float(f64::MIN_POSITIVE)),
        // The one that hung parsers: the shortest text of its float has a digit less, so it is no float.
        ("2.2250738585072011e-308", number("2.2250738585072011e-308")),
        ("1.7976931348623157e308", Value::Float(f64::MAX)),
        ("1.7976931348623158e308", number("1.7976931348623158e308")),
        ("1e400", number("1e400")),
        ("1E400", number("1E400")),
        ("-1e-400", number("-1e-400")),
        ("1e99999999999999999999", number("1e99999999999999999999")),
        ("1e-99999999999999999999", number("1e-99999999999999999999")),
        ("123456789012345678.5", dec("123456789012345678.5")),
        ("1234567890123456789e2", dec("123456789012345678900")),
        ("1e75", Value::Float(1e75)),
        (
            "1.00000000000000000001e75",
            dec("1000000000000000000010000000000000000000000000000000000000000000000000000000"),
        ),
        ("1.00000000000000000001e76", number("1.00000000000000000001e76")),
    ]
    .into_iter()
    .map(|(text, value)| (text.to_owned(), value))
    .chain([
        (digits(76), dec(&digits(76))),
        (digits(77), number(&digits(77))),
        (format!("0.{}", digits(76)), dec(&format!("0.{}", digits(76)))),
        (format!("0.{}", digits(77)), number(&format!("0.{}", digits(77)))),
        (format!("1.{}", digits(75)), dec(&format!("1.{}", digits(75)))),
        (format!("-1.{}", digits(76)), number(&format!("-1.{}", digits(76)))),
        (format!("{}.000", digits(76)), dec(&digits(76))),
        (format!("1{}", "0".repeat(75)), dec(&format!("1{}", "0".repeat(75)))),
        (format!("1{}", "0".repeat(76)), number(&format!("1{}", "0".repeat(76)))),
    ])
    .collect();
    for (text, expected) in cases {
        assert_eq!(value_of_json_number(&text), expected, "{text}");
    }
}

#[test]
fn ends_of_numbers_are_found() {
    let cases: [(&str, Result<usize, usize>); 12] = [
        ("0", Ok(1)),
        ("-12.5e+3,", Ok(8)),
        ("01", Ok(1)),
        ("1]", Ok(1)),
        ("", Err(0)),
        ("-", Err(1)),
        ("1.", Err(2)),
        (".5", Err(0)),
        ("1e", Err(2)),
        ("1e+", Err(3)),
        ("1/3", Ok(1)),
        ("x", Err(0)),
    ];
    for (text, expected) in cases {
        assert_eq!(json_number_end(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn decimals_are_canonical_text() {
    let cases = [
        ("0", "0"),
        ("-0.00", "0"),
        ("1.500", "1.5"),
        ("-0.05", "-0.05"),
        ("+12", "12"),
        ("007.10", "7.1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("12e-3", "0.012"),
        ("100", "100"),
        ("340282366920938463463374607431768211456.5", "340282366920938463463374607431768211456.5"),
        ("1e-76", &format!("0.{}1", "0".repeat(75))),
        ("-1e75", &format!("-1{}", "0".repeat(75))),
    ];
    for (text, shown) in cases {
        let parsed = decimal(text);
        assert_eq!(parsed.to_string(), shown, "{text}");
        assert_eq!(parsed, decimal(shown));
    }
    for text in ["", "-", ".", "1.2.3", "1e", "e5", "1e5.0", " 1", "0x1", "NaN", "--1", "1_0", "é"] {
        assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Syntax), "{text}");
    }
    for text in ["1e76", "1e-77", "1e99999999999999999999", &"9".repeat(77)] {
        assert_eq!(text.parse::<Decimal>(), Err(DecimalError::TooManyDigits), "{text}");
    }
}

#[test]
fn decimals_refuse_what_is_out_of_range() {
    let ten_to_76 = i256::from_string(&format!("1{}", "0".repeat(76))).expect("fits");
    assert_eq!(Decimal::from_parts(ten_to_76, 0), None);
    assert_eq!(Decimal::from_parts(ten_to_76, 1), Some(decimal("1e75")));
    assert_eq!(Decimal::from_parts(i256::MIN, 0), None);
    assert_eq!(Decimal::from_parts(i256::MAX, 255), None);
    assert_eq!(Decimal::from_parts(i256::ZERO, 255), Some(decimal("0")));
    assert_eq!(decimal("12").to_int(), Some(12));
    assert_eq!(decimal("12.5").to_int(), None);
    assert_eq!(decimal("9223372036854775808").to_int(), None);
}

#[test]
fn decimals_add() {
    let most = "9".repeat(76);
    let cases = [
        ("1.5", "2.5", Some("4")),
        ("0.1", "-0.1", Some("0")),
        ("1e70", "1e-6", None),
        ("1e69", "1e-6", Some(&format!("1{}.000001", "0".repeat(69)))),
        (&most, "1", None),
        (&most, "-1", Some(&format!("{}8", "9".repeat(75)))),
        ("1e70", &format!("-{}.999999", "9".repeat(70)), Some("0.000001")),
    ];
    for (a, b, sum) in cases {
        assert_eq!(decimal(a).checked_add(&decimal(b)), sum.map(decimal), "{a} + {b}");
        assert_eq!(decimal(b).checked_add(&decimal(a)), sum.map(decimal), "{b} + {a}");
    }
}

#[test]
fn decimals_compare_with_floats_exactly() {
    let cases = [
        ("0.1", 0.1, Ordering::Less),
        ("0.1000000000000000055511151231257827021181583404541015625", 0.1, Ordering::Equal),
        ("0.1000000000000000055511151231257827021181583404541015626", 0.1, Ordering::Greater),
        ("0.5", 0.5, Ordering::Equal),
        ("-0.5", -0.5, Ordering::Equal),
        ("-0.1", -0.1, Ordering::Greater),
        ("1e23", 1e23, Ordering::Greater),
        ("99999999999999991611392", 1e23, Ordering::Equal),
        ("1e-76", 5e-324, Ordering::Greater),
        ("0", 5e-324, Ordering::Less),
        ("0", -0.0, Ordering::Equal),
        ("0", -5e-324, Ordering::Greater),
        ("1e75", 1e76, Ordering::Less),
        (&"9".repeat(76), 1e76, Ordering::Less),
        (&"9".repeat(76), 1e76f64.next_down(), Ordering::Greater),
        (&"9".repeat(76), 1e77, Ordering::Less),
        (&format!("-{}", "9".repeat(76)), f64::NEG_INFINITY, Ordering::Greater),
        ("1", f64::INFINITY, Ordering::Less),
        ("1", f64::NAN, Ordering::Less),
        ("1", -f64::NAN, Ordering::Less),
    ];
    for (number, float, order) in cases {
        assert_eq!(decimal(number).compare_float(float), order, "{number} to {float}");
    }
}

proptest! {
    #[test]
    fn numbers_keep_every_digit(text in number_texts()) {
        match value_of_json_number(&text) {
            Value::Int(integer) => prop_assert!(exactly_equal(&integer.to_string(), &text)),
            Value::Float(float) => {
                let shown = format!("{float:?}");
                prop_assert!(exactly_equal(&shown, &text));
            }
            Value::Decimal(decimal) => {
                prop_assert!(exactly_equal(&decimal.to_string(), &text));
                let float = format!("{:?}", text.parse::<f64>().expect("a number"));
                let is_plain = !text.contains(['.', 'e', 'E']);
                prop_assert!(is_plain || !exactly_equal(&float, &text), "{float} would have done");
            }
            Value::Tagged(tagged) => {
                prop_assert_eq!(&tagged.text, &text);
                prop_assert!(text.parse::<Decimal>().is_err());
            }
            other => prop_assert!(false, "{other:?} is no number"),
        }
    }

    #[test]
    fn texts_of_decimals_are_read_back(number in decimals()) {
        prop_assert_eq!(number.to_string().parse(), Ok(number));
        prop_assert_eq!(Decimal::from_parts(number.unscaled(), number.scale()), Some(number));
    }

    #[test]
    fn floats_equal_the_decimals_they_denote(float in floats()) {
        // `{}` writes the shortest text, which is exact only now and then; 1,100 places are always exact.
        let exact = format!("{float:.1100}");
        if let Ok(number) = exact.parse::<Decimal>() {
            prop_assert_eq!(number.compare_float(float), Ordering::Equal);
            let step = decimal("1e-76");
            if let Some(above) = number.checked_add(&step) {
                prop_assert_eq!(above.compare_float(float), Ordering::Greater);
            }
        }
    }

    #[test]
    fn sums_compare_as_their_parts(a in decimals(), b in decimals(), integer in integers()) {
        if let Some(sum) = a.checked_add(&b) {
            prop_assert_eq!(sum.cmp(&a), b.cmp(&Decimal::from(0)));
            prop_assert_eq!(Some(sum), b.checked_add(&a));
        }
        prop_assert_eq!(a.compare_int(integer), a.cmp(&Decimal::from(integer)));
    }
}
