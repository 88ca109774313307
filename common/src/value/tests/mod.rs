//! Tests of the value model: what all of them are made from, and small facts of the model itself.

mod codec;
mod json;
mod json_write;
mod numbers;
mod order;
mod paths;

use std::collections::HashSet;
use std::mem::size_of;

use arrow_buffer::i256;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::json::{JsonLimits, parse_document};
use super::number::value_of_json_number;
use super::*;

/// Floats with the awkward ones often among them.
fn floats() -> impl Strategy<Value = f64> {
    let awkward = [0.0, -0.0, 1.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, 1e23, 9_007_199_254_740_993.0, 1e76, -1e16];
    prop_oneof![
        4 => any::<u64>().prop_map(f64::from_bits),
        2 => (-1000i32..1000, 0u32..12).prop_map(|(whole, places)| f64::from(whole) / 10f64.powi(places as i32)),
        1 => any::<i64>().prop_map(|whole| whole as f64),
        1 => proptest::sample::select(awkward.to_vec()),
        1 => proptest::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

/// Integers with those near the edges of the floats' and of their own range often among them.
fn integers() -> impl Strategy<Value = i64> {
    let edges = vec![0, 1 << 53, -(1 << 53), i64::MAX, i64::MIN, 1 << 62];
    prop_oneof![
        2 => any::<i64>(),
        1 => -100i64..100,
        2 => (proptest::sample::select(edges), -3i64..=3).prop_map(|(edge, by)| edge.saturating_add(by)),
    ]
}

/// Decimals of all lengths and scales.
fn decimals() -> impl Strategy<Value = Decimal> {
    let short = (integers(), 0u8..25).prop_map(|(unscaled, scale)| {
        Decimal::from_parts(i256::from_i128(i128::from(unscaled)), scale).expect("19 digits fit")
    });
    let long = ("-?[0-9]{1,76}", 0u8..=76).prop_map(|(digits, scale)| {
        let unscaled = i256::from_string(&digits).expect("76 digits fit");
        Decimal::from_parts(unscaled, scale).expect("76 digits fit")
    });
    let of_float = floats().prop_filter_map("no decimal", |float| format!("{float}").parse().ok());
    prop_oneof![short, long, of_float]
}

/// Texts of JSON numbers, long and short, near and far.
fn number_texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        "-?(0|[1-9][0-9]{0,90})(\\.[0-9]{1,90})?([eE][+-]?[0-9]{1,2})?",
        "-?[1-9]\\.[0-9]{1,18}[eE][+-]?[0-9]{1,20}",
        floats()
            .prop_filter("JSON has no such number", |float| float.is_finite())
            .prop_map(|float| format!("{float:?}")),
    ]
}

fn nested(scalars: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    scalars.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            btree_map(keys(), inner, 0..6).prop_map(Value::Object),
        ]
    })
}

/// Names of fields: mostly few, so that objects share them.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[abc]", 1 => "[a-c.'\\]\\[ _0-]{0,4}", 1 => any::<String>()]
}

/// Values of all types.
fn values() -> impl Strategy<Value = Value> {
    nested(prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        integers().prop_map(Value::Int),
        floats().prop_map(Value::Float),
        decimals().prop_map(Value::Decimal),
        any::<String>().prop_map(Value::String),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        integers().prop_map(Value::Timestamp),
        any::<i32>().prop_map(Value::Date),
        integers().prop_map(Value::Time),
        vec(any::<u32>().prop_map(f32::from_bits), 0..5).prop_map(Value::Vector),
        any::<Vec<u8>>().prop_map(Value::Geography),
        ("[a-c]{0,2}", any::<String>()).prop_map(|(tag, text)| Value::Tagged(Tagged { tag, text })),
    ])
}

/// Values of the types that JSON brings.
fn json_values() -> impl Strategy<Value = Value> {
    nested(prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        integers().prop_map(Value::Int),
        floats().prop_filter("JSON has no such number", |float| float.is_finite()).prop_map(Value::Float),
        any::<String>().prop_map(Value::String),
        number_texts().prop_map(|text| value_of_json_number(&text)),
    ])
}

fn tagged(tag: &str, text: &str) -> Value {
    Value::Tagged(Tagged { tag: tag.to_owned(), text: text.to_owned() })
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

#[test]
fn types_have_frozen_codes_and_names() {
    let names = "null bool int float decimal string bytes timestamp date time array object vector geography tagged";
    assert_eq!(Type::ALL.map(Type::name).join(" "), names);
    for (code, member) in (0..).zip(Type::ALL) {
        assert_eq!((member.code(), Type::from_code(code)), (code, Some(member)));
    }
    assert_eq!(Type::from_code(15), None);
}

#[test]
fn sets_hold_types() {
    let mut set = TypeSet::default();
    assert!(set.is_empty() && set.insert(Type::Tagged) && set.insert(Type::Null) && !set.insert(Type::Null));
    assert!(set.contains(Type::Tagged) && !set.contains(Type::Int));
    let both = set.union([Type::Int, Type::Null].into_iter().collect());
    assert_eq!(both.iter().collect::<Vec<_>>(), [Type::Null, Type::Int, Type::Tagged]);
    assert_eq!((both.len(), both.bits()), (3, 0b100_0000_0000_0101));
    assert_eq!(Type::ALL.into_iter().collect::<TypeSet>().len(), 15);
    assert_eq!(TypeSet::from_bits(both.bits()), Some(both));
    assert_eq!(TypeSet::from_bits(1 << 15), None);
}

#[test]
fn equality_is_identity() {
    assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
    assert_ne!(Value::Float(0.0), Value::Float(-0.0));
    assert_ne!(Value::Vector(vec![0.0]), Value::Vector(vec![-0.0]));
    let one = [Value::Int(1), Value::Float(1.0), Value::Decimal(Decimal::from(1)), Value::Timestamp(1), Value::Time(1)];
    assert_eq!(one.iter().cloned().collect::<HashSet<_>>().len(), one.len());
    assert_ne!(Value::Bytes(vec![1]), Value::Geography(vec![1]));
}

#[test]
fn depth_and_size_are_told() {
    let parse = |text: &str| parse_document(text.as_bytes(), &JsonLimits::default()).expect("JSON");
    for (text, depth) in [("1", 0), ("[]", 1), ("{}", 1), (r#"{"a": [1]}"#, 2), (r#"[1, {"a": {"b": []}}, []]"#, 4)] {
        assert_eq!(parse(text).depth(), depth, "{text}");
    }
    assert_eq!(size_of::<Value>(), 48);
    assert_eq!(Value::Int(1).heap_bytes(), 0);
    assert_eq!(Value::String("x".repeat(100)).heap_bytes(), 100);
    let array = Value::Array(vec![Value::String("x".repeat(100)), Value::Null]);
    assert_eq!(array.heap_bytes(), 100 + 2 * size_of::<Value>());
    assert!(parse(r#"{"a": {"b": "12345678"}}"#).heap_bytes() > 2 * size_of::<Value>() + 10);
}

/// The deepest values go through everything on half of the stack that threads have by default.
#[test]
fn the_deepest_value_fits_a_small_stack() {
    let through_everything = || {
        let json = [r#"{"a":["#.repeat(DEPTH_CEILING / 2), "]}".repeat(DEPTH_CEILING / 2)].concat();
        let limits = JsonLimits { depth_max: usize::MAX, ..JsonLimits::default() };
        let value = parse_document(json.as_bytes(), &limits).expect("within the ceiling");
        assert_eq!((value.depth(), value.heap_bytes() > 0), (DEPTH_CEILING, true));
        let (mut bytes, mut written) = (Vec::new(), Vec::new());
        super::codec::encode(&value, &mut bytes);
        super::json_write::write_json(&value, &mut written, super::json_write::JsonStyle::default());
        assert_eq!(String::from_utf8(written), Ok(json));
        let decoded = super::codec::decode(&bytes).expect("encoded just now");
        assert!(decoded == value && decoded.cmp(&value).is_eq() && decoded.equal_as_json(&value));
        assert_eq!([decoded, value.clone(), value].into_iter().collect::<HashSet<_>>().len(), 1);
    };
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(through_everything);
    small.expect("a thread").join().expect("no overflow");
}
