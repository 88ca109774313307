//! How values compare: one total order over all of them, and equality of numbers as numbers.
//!
//! In: two values. Out: their order, or whether they are equal. Owns the order, which sorts, merges and ties rely on.
//! Leaves equality of what is stored to `Value`'s `==`.
//!
//! # The order
//!
//! 1. By class: null, bool, numbers, string, bytes, timestamp, date, time, array, object, vector, geography, tagged.
//! 2. Within a class by value: false before true; numbers by their mathematical value, exactly, with NaN above
//!    +infinity; texts and bytes by bytes; arrays by their first different item, a prefix first; objects likewise as
//!    lists of (name, value) in the order of names; vectors by their first different item; tagged by tag, then text.
//! 3. Equal numbers by type (int, float, decimal), then floats by bits, so -0.0 is before 0.0.
//!
//! So it is total, and two values compare as equal if and only if they are `==`.

use std::cmp::Ordering;

use super::{Type, Value};

/// Compares two values in the total order of this module.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) | (Value::Geography(a), Value::Geography(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) | (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a.cmp(b),
        (Value::Object(a), Value::Object(b)) => a.cmp(b),
        (Value::Vector(a), Value::Vector(b)) => {
            let different = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
            different.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Tagged(a), Value::Tagged(b)) => a.cmp(b),
        _ => match compare_numbers(a, b) {
            Some(order) => order.then_with(|| a.value_type().cmp(&b.value_type())).then_with(|| compare_bits(a, b)),
            None => class(a).cmp(&class(b)),
        },
    }
}

/// Compares two numbers (int, float, decimal) by mathematical value, with no rounding; `None` if one is no number.
/// All NaNs are equal here and greater than every other number, and -0.0 equals 0.0.
pub fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(a), Value::Float(b)) => compare_int_float(*a, *b),
        (Value::Int(a), Value::Decimal(b)) => b.compare_int(*a).reverse(),
        (Value::Float(a), Value::Int(b)) => compare_int_float(*b, *a).reverse(),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        (Value::Float(a), Value::Decimal(b)) => b.compare_float(*a).reverse(),
        (Value::Decimal(a), Value::Int(b)) => a.compare_int(*b),
        (Value::Decimal(a), Value::Float(b)) => a.compare_float(*b),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        _ => return None,
    };
    Some(order)
}

/// Tells whether two values are equal as RFC 6902's `test` means it: numbers if they are the same number, whatever
/// their types (2^53 + 1 as an int differs from 2^53 as a float, and 1 equals 1.0), arrays and objects by their parts,
/// everything else if it is the same. NaN, which JSON does not have, equals itself.
pub fn equal_as_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_as_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let same_field = |((a_key, a), (b_key, b)): ((&String, &Value), (&String, &Value))| {
                a_key == b_key && equal_as_json(a, b)
            };
            a.len() == b.len() && a.iter().zip(b).all(same_field)
        }
        _ => compare_numbers(a, b).map_or(a == b, Ordering::is_eq),
    }
}

impl Value {
    /// Tells whether the two are equal as RFC 6902's `test` means it: see [`equal_as_json`].
    pub fn equal_as_json(&self, other: &Self) -> bool {
        equal_as_json(self, other)
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The type, with one for all numbers.
fn class(value: &Value) -> Type {
    match value.value_type() {
        Type::Int | Type::Float | Type::Decimal => Type::Int,
        other => other,
    }
}

/// Orders floats that are equal as numbers, by their bits.
fn compare_bits(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        _ => Ordering::Equal,
    }
}

/// Compares exactly: where the float lies within the integers' range, its whole part is one of them.
fn compare_int_float(integer: i64, float: f64) -> Ordering {
    /// 2^63, the first float above all 64-bit integers; its negative is the lowest of them.
    const ABOVE_ALL: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() || float >= ABOVE_ALL {
        return Ordering::Less;
    }
    if float < -ABOVE_ALL {
        return Ordering::Greater;
    }
    let fraction = float.fract();
    // Truncates towards zero and is exact, since the range was checked above.
    let whole = float as i64;
    integer.cmp(&whole).then(if fraction > 0.0 {
        Ordering::Less
    } else if fraction < 0.0 {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}
