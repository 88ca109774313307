//! The binary codec: frozen bytes, and bytes that must be refused.

use proptest::prelude::*;

use super::{decimal, tagged, values};
use crate::value::codec::{self, CodecError, check, encode};
use crate::value::{DEPTH_CEILING, Type, Value};

/// Decodes what is also checked.
fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    let decoded = codec::decode(bytes);
    assert_eq!(check(bytes), decoded.as_ref().map(Value::value_type).map_err(Clone::clone), "{}", bytes.escape_ascii());
    decoded
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

/// One value of each type with the bytes it has in every log and segment ever written. Never change these.
fn frozen() -> Vec<(Value, &'static [u8])> {
    vec![
        (Value::Null, b"\x00"),
        (Value::Bool(true), b"\x01\x01"),
        (Value::Int(-300), b"\x02\xd7\x04"),
        (Value::Float(1.5), b"\x03\0\0\0\0\0\0\xf8\x3f"),
        (Value::Decimal(decimal("-1234.5")), b"\x04\x01\x02\xcf\xc7"),
        (Value::String("né".to_owned()), b"\x05\x03n\xc3\xa9"),
        (Value::Bytes(vec![0, 255]), b"\x06\x02\x00\xff"),
        (Value::Timestamp(1_000_000), b"\x07\x80\x89\x7a"),
        (Value::Date(-1), b"\x08\x01"),
        (Value::Time(64), b"\x09\x80\x01"),
        (Value::Array(vec![Value::Null, Value::Int(1)]), b"\x0a\x02\x00\x02\x02"),
        (
            Value::Object([("b".to_owned(), Value::Bool(false)), ("a".to_owned(), Value::Null)].into()),
            b"\x0b\x02\x01a\x00\x01b\x01\x00",
        ),
        (Value::Vector(vec![1.0, -2.0]), b"\x0c\x02\0\0\x80\x3f\0\0\0\xc0"),
        (Value::Geography(vec![1, 2]), b"\x0d\x02\x01\x02"),
        (tagged("number", "1e400"), b"\x0e\x06number\x051e400"),
    ]
}

#[test]
fn bytes_are_frozen() {
    let frozen = frozen();
    assert!(frozen.iter().map(|(value, _)| value.value_type()).eq(Type::ALL), "one of each type");
    for (value, bytes) in frozen {
        assert_eq!(encoded(&value), bytes, "{value:?}");
        assert_eq!(decode(bytes), Ok(value));
    }
}

#[test]
fn other_forms_are_refused() {
    let malformed = |expected: &'static str, offset: usize| CodecError::Malformed { expected, offset };
    let end = |offset: usize| CodecError::UnexpectedEnd { offset };
    let cases: Vec<(&[u8], CodecError)> = vec![
        (b"", end(0)),
        (b"\x0f", CodecError::UnknownType { code: 15, offset: 0 }),
        (b"\xff", CodecError::UnknownType { code: 255, offset: 0 }),
        (b"\x00\x00", CodecError::TrailingBytes { offset: 1 }),
        (b"\x01\x02", malformed("bool", 1)),
        (b"\x02", end(1)),
        (b"\x02\x80", end(2)),
        (b"\x02\x80\x00", malformed("varint", 1)),
        (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", malformed("varint", 1)),
        (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", malformed("varint", 1)),
        (b"\x03\0\0\0", end(1)),
        (b"\x04\x00\x00", malformed("decimal", 1)),
        (b"\x04\x01\x01\x00", malformed("decimal", 1)),
        (b"\x04\x01\x01\x0a", malformed("decimal", 1)),
        (b"\x04\x00\x02\x00\x01", malformed("decimal", 1)),
        (b"\x04\x00\x02\xff\xff", malformed("decimal", 1)),
        (b"\x04\x4d\x01\x01", malformed("decimal", 1)),
        (b"\x04\x00\x21aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", malformed("decimal", 1)),
        (b"\x04\x00\x20\x7faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", malformed("decimal", 1)),
        (b"\x05\x01\xff", CodecError::InvalidUtf8 { offset: 1 }),
        (b"\x05\x02a", end(1)),
        (b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", end(1)),
        (b"\x08\xfe\xff\xff\xff\x7f", malformed("date", 1)),
        (b"\x0a\xff\xff\xff\xff\x0f", end(1)),
        (b"\x0a\x02\x00", end(1)),
        (b"\x0b\x02\x01b\x00\x01a\x00", CodecError::KeyOrder { offset: 5 }),
        (b"\x0b\x02\x01a\x00\x01a\x00", CodecError::KeyOrder { offset: 5 }),
        (b"\x0b\x80\x80\x80\x80\x08", end(1)),
        (b"\x0c\xff\xff\xff\xff\xff\xff\xff\xff\x7f", end(1)),
        (b"\x0c\x01\0\0\0", end(1)),
        (b"\x0e\x01a", end(3)),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [[10u8, 1].repeat(depth - 1), vec![10, 0]].concat();
    let deepest = decode(&nested(DEPTH_CEILING)).expect("within the ceiling");
    assert_eq!(deepest.depth(), DEPTH_CEILING);
    assert_eq!(encoded(&deepest), nested(DEPTH_CEILING));
    let offset = 2 * DEPTH_CEILING;
    assert_eq!(decode(&nested(100_000)), Err(CodecError::TooDeep { offset }));
}

#[test]
#[should_panic(expected = "a value deeper than")]
fn values_past_the_ceiling_are_not_encoded() {
    encoded(&(0..=DEPTH_CEILING).fold(Value::Null, |inner, _| Value::Array(vec![inner])));
}

proptest! {
    #[test]
    fn values_are_decoded_as_encoded(value in values()) {
        prop_assert_eq!(decode(&encoded(&value)), Ok(value));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in any::<Vec<u8>>()) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encoded(&value), bytes);
        }
    }

    #[test]
    fn damaged_bytes_are_decoded_or_refused(value in values(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = encoded(&value);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(if cut { at + 1 } else { bytes.len() });
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encoded(&value), bytes);
        }
    }

    #[test]
    fn every_end_too_early_is_refused(value in values()) {
        let bytes = encoded(&value);
        for length in 0..bytes.len().min(200) {
            prop_assert!(decode(&bytes[..length]).is_err());
        }
    }
}
