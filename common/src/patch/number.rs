//! Adding numbers of any kind.

use crate::value::{Decimal, Value};

/// Why two values have no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSum {
    /// One of them is no number.
    NoNumber,
    /// The exact sum does not fit.
    Overflow,
}

/// The sum: exact for ints and decimals; a float where one of them is a float.
///
/// # Errors
/// One is no number, or the exact sum does not fit: 64 bits for two ints, 76 digits with a decimal.
pub(super) fn increment(number: &Value, by: &Value) -> Result<Value, NoSum> {
    match (number, by) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or(NoSum::Overflow),
        (Value::Float(_), _) | (_, Value::Float(_)) => Ok(Value::Float(float(number)? + float(by)?)),
        _ => decimal(number)?.checked_add(&decimal(by)?).map(Value::Decimal).ok_or(NoSum::Overflow),
    }
}

fn float(number: &Value) -> Result<f64, NoSum> {
    match number {
        Value::Int(value) => Ok(*value as f64),
        Value::Float(value) => Ok(*value),
        Value::Decimal(value) => Ok(value.to_string().parse().expect("a decimal's text is a number's")),
        _ => Err(NoSum::NoNumber),
    }
}

fn decimal(number: &Value) -> Result<Decimal, NoSum> {
    match number {
        Value::Int(value) => Ok(value.to_string().parse().expect("an integer is a decimal")),
        Value::Decimal(value) => Ok(*value),
        _ => Err(NoSum::NoNumber),
    }
}
