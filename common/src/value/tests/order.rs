//! The total order, and equality as JSON has it.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;

use super::{decimal, decimals, floats, integers, tagged, values};
use crate::value::order::{compare, compare_numbers, equal_as_json};
use crate::value::{Decimal, Type, Value};

const TWO_TO_53: i64 = 1 << 53;
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

#[test]
fn integers_and_floats_compare_exactly() {
    let cases = [
        (TWO_TO_53, TWO_TO_53 as f64, Ordering::Equal),
        (TWO_TO_53 + 1, TWO_TO_53 as f64, Ordering::Greater),
        (TWO_TO_53 + 1, (TWO_TO_53 + 2) as f64, Ordering::Less),
        (-TWO_TO_53 - 1, -(TWO_TO_53 as f64), Ordering::Less),
        (TWO_TO_53 - 1, (TWO_TO_53 - 1) as f64, Ordering::Equal),
        (i64::MAX, TWO_TO_63, Ordering::Less),
        (i64::MAX, TWO_TO_63.next_down(), Ordering::Greater),
        (i64::MIN, -TWO_TO_63, Ordering::Equal),
        (i64::MIN, (-TWO_TO_63).next_down(), Ordering::Greater),
        (i64::MIN + 1, -TWO_TO_63, Ordering::Greater),
        (0, -0.0, Ordering::Equal),
        (0, 5e-324, Ordering::Less),
        (0, -5e-324, Ordering::Greater),
        (-1, -1.5, Ordering::Greater),
        (-1, -0.5, Ordering::Less),
        (1, 1.5, Ordering::Less),
        (2, 1.5, Ordering::Greater),
        (0, f64::INFINITY, Ordering::Less),
        (0, f64::NEG_INFINITY, Ordering::Greater),
        (i64::MAX, f64::NAN, Ordering::Less),
    ];
    for (integer, float, order) in cases {
        let (a, b) = (Value::Int(integer), Value::Float(float));
        assert_eq!(compare_numbers(&a, &b), Some(order), "{integer} to {float}");
        assert_eq!(compare_numbers(&b, &a), Some(order.reverse()), "{float} to {integer}");
        assert_eq!(equal_as_json(&a, &b), order.is_eq(), "{integer} and {float}");
    }
}

#[test]
fn the_order_is_as_documented() {
    let text = |text: &str| Value::String(text.to_owned());
    let object = |key: &str, value: i64| Value::Object([(key.to_owned(), Value::Int(value))].into());
    let ascending = [
        Value::Null,
        Value::Bool(false),
        Value::Bool(true),
        Value::Float(f64::NEG_INFINITY),
        Value::Int(-1),
        Value::Int(0),
        Value::Float(-0.0),
        Value::Float(0.0),
        Value::Decimal(Decimal::from(0)),
        Value::Decimal(decimal("0.1")),
        Value::Float(0.1),
        Value::Int(1),
        Value::Float(1.0),
        Value::Decimal(Decimal::from(1)),
        Value::Float(TWO_TO_53 as f64),
        Value::Int(TWO_TO_53 + 1),
        Value::Int(i64::MAX),
        Value::Float(TWO_TO_63),
        Value::Decimal(decimal("9223372036854775808")),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NAN),
        text(""),
        text("a"),
        text("é"),
        Value::Bytes(vec![0]),
        Value::Timestamp(5),
        Value::Date(-1),
        Value::Time(0),
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(1)]),
        Value::Array(vec![Value::Int(1), Value::Null]),
        Value::Array(vec![Value::Float(1.0)]),
        Value::Object([].into()),
        object("a", 1),
        object("a", 2),
        object("b", 1),
        Value::Vector(vec![-0.0]),
        Value::Vector(vec![0.0]),
        Value::Vector(vec![0.0, -1.0]),
        Value::Geography(vec![0]),
        tagged("a", "b"),
        tagged("b", "a"),
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(compare(a, b), i.cmp(&j), "{a:?} to {b:?}");
        }
    }
}

#[test]
fn json_equality_sees_numbers_only_as_numbers() {
    let one = [Value::Int(1), Value::Float(1.0), Value::Decimal(Decimal::from(1))];
    for a in &one {
        for b in &one {
            assert!(equal_as_json(a, b));
            assert!(Value::Array(vec![a.clone()]).equal_as_json(&Value::Array(vec![b.clone()])));
            let object = |value: &Value| Value::Object([("x".to_owned(), value.clone())].into());
            assert!(object(a).equal_as_json(&object(b)));
        }
        assert!(!equal_as_json(a, &Value::Bool(true)) && !equal_as_json(a, &Value::String("1".to_owned())));
        assert!(!equal_as_json(a, &Value::Timestamp(1)) && !equal_as_json(&Value::Null, a));
    }
    assert!(equal_as_json(&Value::Float(0.0), &Value::Float(-0.0)));
    assert!(equal_as_json(&Value::Float(f64::NAN), &Value::Float(f64::NAN)));
    assert!(!equal_as_json(&Value::Decimal(decimal("0.1")), &Value::Float(0.1)));
    assert!(!equal_as_json(&Value::Array(vec![]), &Value::Array(vec![Value::Null])));
    assert!(!equal_as_json(&Value::Object([].into()), &Value::Object([("a".to_owned(), Value::Null)].into())));
}

/// Numbers of one neighbourhood, so that equal ones of different types are frequent.
fn close_numbers() -> impl Strategy<Value = Value> {
    prop_oneof![
        integers().prop_map(Value::Int),
        integers().prop_map(|integer| Value::Float(integer as f64)),
        integers().prop_map(|integer| Value::Decimal(Decimal::from(integer))),
        (-3i64..3).prop_map(|integer| Value::Float(integer as f64 / 2.0)),
        (-6i64..6).prop_map(|tenths| Value::Decimal(decimal(&format!("{tenths}e-1")))),
        floats().prop_map(Value::Float),
        decimals().prop_map(Value::Decimal),
    ]
}

fn check_order(a: &Value, b: &Value, c: &Value) -> Result<(), TestCaseError> {
    prop_assert_eq!(compare(a, a), Ordering::Equal);
    prop_assert_eq!(compare(a, b), compare(b, a).reverse());
    prop_assert_eq!(compare(a, b).is_eq(), a == b);
    if compare(a, b).is_le() && compare(b, c).is_le() {
        prop_assert!(compare(a, c).is_le(), "{a:?} {b:?} {c:?}");
    }
    let numbers = [compare_numbers(a, b), compare_numbers(b, c), compare_numbers(a, c)];
    if let [Some(Ordering::Equal), Some(Ordering::Equal), last] = numbers {
        prop_assert_eq!(last, Some(Ordering::Equal));
    }
    prop_assert!(equal_as_json(a, a) && equal_as_json(a, b) == equal_as_json(b, a));
    Ok(())
}

proptest! {
    #[test]
    fn the_order_is_total(mut three in proptest::collection::vec(values(), 3)) {
        for _ in 0..3 {
            three.rotate_left(1);
            check_order(&three[0], &three[1], &three[2])?;
        }
    }

    #[test]
    fn numbers_are_totally_ordered(mut three in proptest::collection::vec(close_numbers(), 3)) {
        for _ in 0..3 {
            three.rotate_left(1);
            check_order(&three[0], &three[1], &three[2])?;
        }
    }

    #[test]
    fn equal_values_hash_alike(value in values()) {
        let hash = |value: &Value| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        };
        prop_assert_eq!(hash(&value), hash(&value.clone()));
        prop_assert!(value.value_type() != Type::Array || value.depth() > 0);
    }
}
