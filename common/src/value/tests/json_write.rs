//! Writing JSON, and reading it back.

use proptest::prelude::*;

use super::{decimal, json_values, tagged, values};
use crate::value::json::{JsonLimits, parse_document};
use crate::value::json_write::{JsonStyle, write_json};
use crate::value::{Decimal, Value};

fn written(value: &Value, style: JsonStyle) -> String {
    let mut out = Vec::new();
    write_json(value, &mut out, style);
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn every_type_is_written() {
    let timestamp = Value::Timestamp;
    let cases = [
        (Value::Null, "null"),
        (Value::Bool(true), "true"),
        (Value::Int(i64::MIN), "-9223372036854775808"),
        (Value::Float(1.0), "1.0"),
        (Value::Float(-0.0), "-0.0"),
        (Value::Float(1e16), "1e16"),
        (Value::Float(1e-7), "1e-7"),
        (Value::Float(0.1), "0.1"),
        (Value::Float(5e-324), "5e-324"),
        (Value::Float(f64::MAX), "1.7976931348623157e308"),
        (Value::Float(f64::NAN), "null"),
        (Value::Float(f64::NEG_INFINITY), "null"),
        (Value::Decimal(decimal("0.1000000000000000055")), "0.1000000000000000055"),
        (Value::Decimal(decimal("9007199254740993")), "9007199254740993.0"),
        (Value::Decimal(decimal("9223372036854775808")), "9223372036854775808"),
        (Value::String("a\"\\\n\u{1}\u{7f}é/".to_owned()), "\"a\\\"\\\\\\n\\u0001\u{7f}é/\""),
        (Value::Bytes(vec![]), r#""""#),
        (Value::Bytes(b"hello".to_vec()), r#""aGVsbG8=""#),
        (timestamp(0), r#""1970-01-01T00:00:00.000000Z""#),
        (timestamp(-1), r#""1969-12-31T23:59:59.999999Z""#),
        (timestamp(1_709_209_800_000_001), r#""2024-02-29T12:30:00.000001Z""#),
        (timestamp(253_402_300_800_000_000), r#""+010000-01-01T00:00:00.000000Z""#),
        (timestamp(i64::MAX), r#""+294247-01-10T04:00:54.775807Z""#),
        (timestamp(i64::MIN), r#""-290308-12-21T19:59:05.224192Z""#),
        (Value::Date(-719_528), r#""0000-01-01""#),
        (Value::Date(-719_529), r#""-000001-12-31""#),
        (Value::Date(11_016), r#""2000-02-29""#),
        (Value::Date(i32::MAX), r#""+5881580-07-11""#),
        (Value::Date(i32::MIN), r#""-5877641-06-23""#),
        (Value::Time(86_399_999_999), r#""23:59:59.999999""#),
        (Value::Time(-1), r#""-00:00:00.000001""#),
        (Value::Array(vec![Value::Int(1), Value::Array(vec![])]), "[1,[]]"),
        (
            Value::Object([("b".to_owned(), Value::Null), ("a\n".to_owned(), Value::Int(1))].into()),
            r#"{"a\n":1,"b":null}"#,
        ),
        (Value::Vector(vec![1.0, 0.1, f32::NAN, 1e30]), "[1.0,0.1,null,1e30]"),
        (Value::Geography(vec![0x01, 0xab, 0xff]), r#""01ABFF""#),
        (tagged("number", "1E400"), "1E400"),
        (tagged("number", "1/3"), r#""1/3""#),
        (tagged("number", "1],2"), r#""1],2""#),
        (tagged("money", "$1"), r#""$1""#),
    ];
    for (value, json) in cases {
        assert_eq!(written(&value, JsonStyle::default()), json, "{value:?}");
    }
}

#[test]
fn big_integers_are_quoted_when_asked() {
    let long = "7".repeat(80);
    let cases = [
        (Value::Int(1 << 53), "9007199254740992"),
        (Value::Int(-(1 << 53)), "-9007199254740992"),
        (Value::Int((1 << 53) + 1), "\"9007199254740993\""),
        (Value::Int(i64::MIN), "\"-9223372036854775808\""),
        (Value::Decimal(Decimal::from(5)), "5.0"),
        (Value::Decimal(decimal("-9007199254740993")), "\"-9007199254740993\""),
        (Value::Decimal(decimal("9223372036854775808")), "\"9223372036854775808\""),
        (Value::Decimal(decimal("9223372036854775808.5")), "9223372036854775808.5"),
        (Value::Float(1e300), "1e300"),
        (tagged("number", &long), &format!("\"{long}\"")),
        (tagged("number", "1e400"), "1e400"),
        (Value::Array(vec![Value::Int(i64::MAX)]), "[\"9223372036854775807\"]"),
        (Value::Object([("a".to_owned(), Value::Int(i64::MAX))].into()), "{\"a\":\"9223372036854775807\"}"),
    ];
    for (value, json) in cases {
        assert_eq!(written(&value, JsonStyle { big_integers_as_strings: true }), json, "{value:?}");
    }
}

proptest! {
    #[test]
    fn what_json_brings_is_read_back(value in json_values()) {
        let json = written(&value, JsonStyle::default());
        prop_assert_eq!(parse_document(json.as_bytes(), &JsonLimits::default()), Ok(value), "{}", json);
    }

    #[test]
    fn every_value_is_written_as_json(value in values(), big_integers_as_strings: bool) {
        let json = written(&value, JsonStyle { big_integers_as_strings });
        prop_assert!(parse_document(json.as_bytes(), &JsonLimits::default()).is_ok(), "{}", json);
    }

    #[test]
    fn dates_count_on(days in -4_000_000i32..4_000_000) {
        let date = |days: i32| written(&Value::Date(days), JsonStyle::default());
        let day_of = |text: &str| text.trim_matches('"').rsplit('-').next().and_then(|day| day.parse::<u32>().ok());
        let (today, tomorrow) = (date(days), date(days + 1));
        let follows = day_of(&tomorrow) == day_of(&today).map(|day| day + 1);
        let starts_month = day_of(&tomorrow) == Some(1) && day_of(&today).is_some_and(|day| day >= 28);
        prop_assert!(follows || starts_month, "{} then {}", today, tomorrow);
    }
}
