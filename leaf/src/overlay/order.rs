//! The values of an array, by value.
//!
//! In: an array of scalars, of which some rows may have none. Out: the least and the greatest; the places of those that match a predicate,
//! found by their order. Values are compared as those of encoded columns are.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use datafusion::arrow::compute::{SortOptions, max, max_string, min, min_string, sort_to_indices};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use crate::column::{Datum, Predicate};

/// The least and the greatest value of an array that has one at least; none of a type of which that is not told.
pub(super) fn bounds_of(array: &ArrayRef) -> Option<(Datum<'static>, Datum<'static>)> {
    fn numbers<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        datum: impl Fn(T::Native) -> Datum<'static>,
    ) -> Option<(Datum<'static>, Datum<'static>)> {
        let array = array.as_primitive::<T>();
        Some((datum(min(array)?), datum(max(array)?)))
    }
    match array.data_type() {
        DataType::Int64 => numbers::<Int64Type>(array, Datum::Int),
        DataType::Float64 => numbers::<Float64Type>(array, Datum::Float),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType>(array, Datum::Int),
        DataType::Date32 => numbers::<Date32Type>(array, |days| Datum::Int(days.into())),
        DataType::Time64(TimeUnit::Microsecond) => numbers::<Time64MicrosecondType>(array, Datum::Int),
        DataType::Utf8 => {
            let (texts, text) = (array.as_string::<i32>(), |text: &str| Datum::String(text.to_string().into()));
            Some((text(min_string(texts)?), text(max_string(texts)?)))
        }
        _ => None,
    }
}

/// The value at a place that has one, of a type that has an order.
fn datum(array: &ArrayRef, place: u32) -> Option<Datum<'_>> {
    let place = place as usize;
    Some(match array.data_type() {
        DataType::Int64 => Datum::Int(array.as_primitive::<Int64Type>().value(place)),
        DataType::Float64 => Datum::Float(array.as_primitive::<Float64Type>().value(place)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Datum::Int(array.as_primitive::<TimestampMicrosecondType>().value(place))
        }
        DataType::Date32 => Datum::Int(array.as_primitive::<Date32Type>().value(place).into()),
        DataType::Time64(TimeUnit::Microsecond) => {
            Datum::Int(array.as_primitive::<Time64MicrosecondType>().value(place))
        }
        DataType::Utf8 => Datum::String(array.as_string::<i32>().value(place).into()),
        _ => return None,
    })
}

/// The places of an array's values, ascending by value.
#[derive(Debug)]
pub(super) struct Order {
    array: ArrayRef,
    places: Vec<u32>,
}

impl Order {
    /// Sorts an array; none of a type that has no order.
    pub(super) fn of(array: &ArrayRef) -> Option<Self> {
        let first = (0..array.len() as u32).find(|place| array.is_valid(*place as usize));
        if let Some(first) = first {
            datum(array, first)?;
        }
        let sorted = sort_to_indices(array, Some(SortOptions { descending: false, nulls_first: true }), None).ok()?;
        let places = sorted.values()[array.null_count()..].to_vec();
        Some(Self { array: ArrayRef::clone(array), places })
    }

    /// The places of the values that a predicate lets through; nothing where it compares with a value of another type.
    pub(super) fn find(&self, predicate: &Predicate<'_>) -> Option<Vec<&[u32]>> {
        let before = |value: &Datum<'_>, or_equal| self.before(value, or_equal).ok_or(());
        let ranks = predicate.ranks(self.places.len() as u32, before).ok()?;
        Some(ranks.into_iter().map(|ranks| &self.places[ranks.start as usize..ranks.end as usize]).collect())
    }

    /// How many values are less than one, or that one too.
    fn before(&self, value: &Datum<'_>, or_equal: bool) -> Option<u32> {
        let order = |place: u32| datum(&self.array, place)?.order(value);
        if let Some(first) = self.places.first() {
            order(*first)?;
        }
        let is_before = |place: &u32| match order(*place) {
            Some(order) => order == Ordering::Less || or_equal && order == Ordering::Equal,
            None => false,
        };
        Some(self.places.partition_point(is_before) as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn bound(values: &[Datum<'static>], index: usize) -> Bound<Datum<'static>> {
        let value = values[index / 3 % values.len()].clone();
        [Bound::Unbounded, Bound::Included(value.clone()), Bound::Excluded(value)][index % 3].clone()
    }

    /// What the order finds is what each value by itself says.
    fn check(array: &ArrayRef, values: &[Datum<'static>], picks: &[usize]) -> Result<(), TestCaseError> {
        let order = Order::of(array).expect("its type has an order");
        let picked: Vec<Datum<'static>> = picks.iter().map(|pick| values[pick % values.len()].clone()).collect();
        let predicates = [
            Predicate::Present,
            Predicate::equal(picked[0].clone()),
            Predicate::Within(bound(values, picks[0]), bound(values, picks[1])),
            Predicate::In(picked),
        ];
        for predicate in predicates {
            let mut found: Vec<u32> = order.find(&predicate).expect("it is of the same type").concat();
            found.sort_unstable();
            let meets = |place: &u32| {
                let value = datum(array, *place).expect("its type has an order");
                array.is_valid(*place as usize) && predicate.meets(&value, &value)
            };
            let expected: Vec<u32> = (0..array.len() as u32).filter(meets).collect();
            prop_assert_eq!(found, expected, "{:?}", predicate);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn finds_what_each_value_says(
            numbers in prop::collection::vec(prop::option::of(-4_i64..4), 0..60),
            picks in prop::collection::vec(0_usize..100, 2..6),
        ) {
            let ints: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
            let all: Vec<Datum<'static>> = (-5..5).map(Datum::Int).collect();
            check(&ints, &all, &picks)?;
            let special = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1.5, f64::INFINITY, f64::NAN, -f64::NAN];
            let float = |number: &Option<i64>| number.map(|number| special[(number + 4) as usize]);
            let floats: ArrayRef = Arc::new(Float64Array::from_iter(numbers.iter().map(float)));
            check(&floats, &special.map(Datum::Float), &picks)?;
            let words = ["", "a", "ab", "b", "é", "z", "zz", "ß"];
            let word = |number: &Option<i64>| number.map(|number| words[(number + 4) as usize]);
            let texts: ArrayRef = Arc::new(StringArray::from_iter(numbers.iter().map(word)));
            check(&texts, &words.map(|word| Datum::String(word.into())), &picks)?;
            prop_assert!(Order::of(&texts).expect("texts have an order").find(&Predicate::equal(Datum::Int(1))).is_none_or(|found| found.concat().is_empty()));
        }
    }
}
