//! Terms against the columns that they were made of, and terms whose bytes lie.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use proptest::prelude::*;

use super::{Terms, encode};
use crate::column::{self, Column, ColumnError, Datum, Predicate};

fn open(array: &ArrayRef, block_bits: u8) -> (Column, Vec<u8>) {
    let (mut bytes, mut terms) = (Vec::new(), Vec::new());
    column::encode_in_blocks(array.as_ref(), block_bits, &mut bytes).expect("a storage type");
    let column = Column::open(bytes.into(), array.data_type(), array.len() as u64).expect("it was just written");
    encode(array.as_ref(), &column, &mut terms).expect("the column is the array's");
    (column, terms)
}

/// Each value with its row, in order.
fn naive(column: &Column) -> Vec<(Datum<'_>, u32)> {
    let value = |row: u32| Some((column.value(row.into()).expect("a row of it")?, row));
    let mut all: Vec<_> = (0..column.rows() as u32).filter_map(value).collect();
    all.sort_by(|(a, row), (b, other)| a.order(b).expect("one type").then(row.cmp(other)));
    all
}

fn found(terms: &Terms, column: &Column, predicate: &Predicate<'_>) -> Result<Vec<u32>, ColumnError> {
    let mut rows = Vec::new();
    for ranks in terms.find(column, predicate)? {
        terms.append(ranks, &mut rows)?;
    }
    rows.sort_unstable();
    Ok(rows)
}

/// What the column itself says.
fn selected(column: &Column, predicate: &Predicate<'_>) -> Vec<u32> {
    let rows = column.rows();
    let mut bits = vec![u64::MAX; rows.div_ceil(64) as usize];
    column.select(0..rows, predicate, &mut bits).expect("a predicate of its type");
    (0..rows as u32).filter(|row| bits[*row as usize / 64] >> (row % 64) & 1 == 1).collect()
}

fn check(array: &ArrayRef) {
    let (column, bytes) = open(array, 6);
    let terms = Terms::open(Bytes::from(bytes), column.rows(), column.present()).expect("they were just written");
    let expected = naive(&column);
    let mut rows = Vec::new();
    terms.append(0..terms.ranks(), &mut rows).expect("all rows");
    assert_eq!(rows, expected.iter().map(|(_, row)| *row).collect::<Vec<_>>());
    let picks: Vec<&Datum<'_>> = expected.iter().step_by(expected.len().div_ceil(9).max(1)).map(|(d, _)| d).collect();
    let mut predicates = vec![Predicate::Present, Predicate::In(picks.iter().copied().cloned().collect())];
    predicates.extend(picks.first().map(|value| Predicate::In(vec![(*value).clone(); 3])));
    for (low, high) in picks.iter().flat_map(|low| picks.iter().map(move |high| (*low, *high))) {
        predicates.push(Predicate::Within(Bound::Included(low.clone()), Bound::Included(high.clone())));
        predicates.push(Predicate::Within(Bound::Excluded(low.clone()), Bound::Excluded(high.clone())));
        predicates.push(Predicate::Within(Bound::Unbounded, Bound::Excluded(high.clone())));
        predicates.push(Predicate::Within(Bound::Excluded(low.clone()), Bound::Unbounded));
    }
    for predicate in predicates {
        let rows = found(&terms, &column, &predicate).expect("a predicate of its type");
        assert_eq!(rows, selected(&column, &predicate), "{predicate:?}");
    }
}

/// Texts of few letters, zeros among them, behind what many share.
fn text() -> impl Strategy<Value = String> {
    ("(https://example.org/|x|)", "[ab\0é]{0,12}", "(aaaaaaaaaaaaaaaaaaaaaaaa|)").prop_map(|(a, b, c)| a + &b + &c)
}

fn many<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.9, value), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn numbers_are_found(
        wide in many(any::<i64>()),
        narrow in many(-3_i64..3),
        near in many(1_000_000_i64..9_000_000),
        floats in many(prop_oneof![any::<f64>(), Just(-0.0), Just(f64::NAN), (-9_i32..9).prop_map(f64::from)]),
        days in many(-40_i32..40),
    ) {
        let mut sorted = near.clone();
        sorted.sort_unstable();
        check(&(Arc::new(Int64Array::from(sorted)) as ArrayRef));
        check(&(Arc::new(Int64Array::from(wide)) as ArrayRef));
        check(&(Arc::new(Int64Array::from(narrow)) as ArrayRef));
        check(&(Arc::new(TimestampMicrosecondArray::from(near).with_timezone("UTC")) as ArrayRef));
        check(&(Arc::new(Float64Array::from(floats)) as ArrayRef));
        check(&(Arc::new(Date32Array::from(days)) as ArrayRef));
    }

    #[test]
    fn texts_are_found(texts in many(text()), few in many("[ab]{0,2}")) {
        check(&(Arc::new(StringArray::from(texts)) as ArrayRef));
        check(&(Arc::new(StringArray::from(few)) as ArrayRef));
    }
}

#[test]
fn damage_is_an_error_or_other_rows_never_a_panic() {
    let values = (0..700_i64).map(|row| if row < 300 { row } else { row * 7_919 % 1_000 });
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let (column, bytes) = open(&array, 16);
    let predicate = Predicate::Within(Bound::Included(Datum::Int(100)), Bound::Excluded(Datum::Int(400)));
    let mut differ = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let terms = Terms::open(flipped.into(), column.rows(), column.present()).expect("as long as before");
            differ += usize::from(found(&terms, &column, &predicate).is_err());
        }
        if let Ok(terms) = Terms::open(bytes[..at].to_vec().into(), column.rows(), column.present()) {
            let mut rows = Vec::new();
            let _ = terms.append(0..terms.ranks(), &mut rows);
        }
    }
    assert!(differ > 0, "an error is among them");
}

#[test]
fn repeated_and_sorted_values_take_a_few_bits_a_row() {
    let size = |array: ArrayRef| open(&array, 16).1.len() as f64 * 8.0 / array.len() as f64;
    let rows = 0..100_000_i64;
    let sorted = size(Arc::new(Int64Array::from_iter_values(rows.clone())));
    let repeated = size(Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row * row % 7))));
    let unique = size(Arc::new(Int64Array::from_iter_values(rows.map(|row| row * 7_919 % 100_003))));
    assert!(sorted < 2.0 && repeated < 7.0 && unique < 18.0, "{sorted} {repeated} {unique}");
}
