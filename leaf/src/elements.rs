//! The elements of a column's arrays, with the rows that have them.
//!
//! In: a column of arrays. Out: the scalars in them as columns of their own, one for each type, with terms; for each element, its row.
//! So membership is found as equality is. Arrays and objects within arrays, and nulls, are left out.
//!
//! ```text
//! elements  = (column terms)… owners directory length:u32      the directory's length
//! directory = elements columns (type:u8 column terms)… owners   lengths in bytes, in the order of what they are of
//!
//! rows   ["x", 7] · ["y", "x"]      string  x · y x      int  · 7 · ·      owners  0 0 2 2
//! ```

use basalt_common::binary::{BinaryError, Reader, put_varint};
use basalt_common::columns::{TypedColumnsBuilder, storage_type};
use basalt_common::value::{Type, Value, codec};
use bytes::Bytes;
use datafusion::arrow::array::{Array, BinaryArray, Int64Array};
use datafusion::arrow::datatypes::DataType;

use crate::column::{self, Column, ColumnError, Datum, Predicate};
use crate::terms::{self, Terms};

const DAMAGED: ColumnError = ColumnError::Damaged("an element is of no row");

/// The elements of one column's arrays.
#[derive(Debug)]
pub struct Elements {
    columns: Vec<(Type, Column, Terms)>,
    /// The row of each element, ascending.
    owners: Column,
    rows: u64,
}

/// Appends the elements of arrays; false where they have none of a type that has terms.
///
/// # Errors
/// The values are no arrays.
pub fn encode(arrays: &BinaryArray, out: &mut Vec<u8>) -> Result<bool, ColumnError> {
    let (mut values, mut owners) = (TypedColumnsBuilder::default(), Vec::new());
    for (row, bytes) in arrays.iter().enumerate() {
        let Some(bytes) = bytes else { continue };
        let Ok(Value::Array(items)) = codec::decode(bytes) else {
            return Err(ColumnError::Damaged("a value does not decode to its type"));
        };
        for item in items.iter().filter(|item| terms::are_of(item.value_type())) {
            values.push(item);
            owners.push(row as i64);
        }
    }
    if owners.is_empty() {
        return Ok(false);
    }
    let values = values.finish();
    let mut directory = Vec::new();
    put_varint(&mut directory, owners.len() as u64);
    put_varint(&mut directory, values.columns().len() as u64);
    for (of, array) in values.columns() {
        let start = out.len();
        column::encode(array.as_ref(), out)?;
        let column = Column::open(Bytes::copy_from_slice(&out[start..]), array.data_type(), array.len() as u64)?;
        let behind = out.len();
        terms::encode(array.as_ref(), &column, out)?;
        directory.push(of.code());
        put_varint(&mut directory, (behind - start) as u64);
        put_varint(&mut directory, (out.len() - behind) as u64);
    }
    let start = out.len();
    column::encode(&Int64Array::from(owners), out)?;
    put_varint(&mut directory, (out.len() - start) as u64);
    let length = u32::try_from(directory.len()).expect("there are few types");
    out.append(&mut directory);
    out.extend_from_slice(&length.to_le_bytes());
    Ok(true)
}

impl Elements {
    /// Opens what [`encode`] wrote of a column of so many rows.
    ///
    /// # Errors
    /// The bytes are no elements.
    pub fn open(bytes: &Bytes, rows: u64) -> Result<Self, ColumnError> {
        let short = ColumnError::Damaged("elements end too early");
        let (rest, length) = bytes.split_last_chunk::<4>().ok_or_else(|| short.clone())?;
        let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or_else(|| short.clone())?;
        let mut reader = Reader::new(&rest[start..]);
        let mut at = 0_usize;
        let mut next = |length: u64| {
            let end =
                usize::try_from(length).ok().and_then(|length| at.checked_add(length)).filter(|end| *end <= start);
            let held = end.map(|end| bytes.slice(at..end)).ok_or_else(|| short.clone());
            at = end.unwrap_or(at);
            held
        };
        let (count, mut columns) = (reader.varint()?, Vec::new());
        for _ in 0..reader.count()? {
            let of = Type::from_code(reader.byte()?).filter(|of| terms::are_of(*of));
            let of = of.ok_or(BinaryError { offset: 0, reason: "elements are of an unknown type" })?;
            let column = Column::open(next(reader.varint()?)?, &storage_type(of), count)?;
            let terms = Terms::open(next(reader.varint()?)?, count, column.present())?;
            columns.push((of, column, terms));
        }
        let owners = Column::open(next(reader.varint()?)?, &DataType::Int64, count)?;
        Ok(Self { columns, owners, rows })
    }

    /// Whether elements of a type can be told from others by their column alone: floats are ints too.
    pub fn tell(&self, of: Type) -> bool {
        of != Type::Float || !self.columns.iter().any(|(other, ..)| *other == Type::Int)
    }

    /// How many elements of a type meet a predicate.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn count(&self, of: Type, predicate: &Predicate<'_>) -> Result<usize, ColumnError> {
        let Some((_, column, terms)) = self.columns.iter().find(|(other, ..)| *other == of) else { return Ok(0) };
        Ok(terms.find(column, predicate)?.iter().map(ExactSizeIterator::len).sum())
    }

    /// The rows that have an element of a type that meets a predicate, in no order, each as often as it has one.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn rows(&self, of: Type, predicate: &Predicate<'_>) -> Result<Vec<u32>, ColumnError> {
        let Some((_, column, terms)) = self.columns.iter().find(|(other, ..)| *other == of) else {
            return Ok(Vec::new());
        };
        let mut elements = Vec::new();
        for ranks in terms.find(column, predicate)? {
            terms.append(ranks, &mut elements)?;
        }
        let owner = |element: u32| match self.owners.value(element.into())? {
            Some(Datum::Int(row)) if (0..self.rows as i64).contains(&row) => Ok(row as u32),
            _ => Err(DAMAGED),
        };
        elements.into_iter().map(owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use basalt_common::value::{Type, Value, codec};
    use bytes::Bytes;
    use datafusion::arrow::array::{Array, BinaryArray};
    use proptest::prelude::*;

    use super::{Elements, encode};
    use crate::column::{Datum, Predicate};

    fn arrays() -> impl Strategy<Value = Vec<Option<Vec<Value>>>> {
        let value = prop_oneof![
            (0..6_i64).prop_map(Value::Int),
            (0..6_u8).prop_map(|n| Value::String(format!("s{n}"))),
            (0..4_u8).prop_map(|n| Value::Float(f64::from(n) / 2.0)),
            Just(Value::Null),
            Just(Value::Array(vec![Value::Int(1)])),
        ];
        prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(value, 0..5)), 0..60)
    }

    fn encoded(arrays: &[Option<Vec<Value>>]) -> (BinaryArray, Vec<u8>, bool) {
        let bytes = arrays.iter().map(|items| {
            let mut bytes = Vec::new();
            codec::encode(&Value::Array(items.clone()?), &mut bytes);
            Some(bytes)
        });
        let (array, mut out) = (bytes.collect::<BinaryArray>(), Vec::new());
        let any = encode(&array, &mut out).expect("they are arrays");
        (array, out, any)
    }

    proptest! {
        #[test]
        fn members_are_found(arrays in arrays()) {
            let (array, out, any) = encoded(&arrays);
            let scalars = |row: &Option<Vec<Value>>| row.iter().flatten().any(|item| crate::terms::are_of(item.value_type()));
            prop_assert_eq!(any, arrays.iter().any(scalars));
            if !any {
                return Ok(());
            }
            let elements = Elements::open(&Bytes::from(out.clone()), array.len() as u64).expect("it was just written");
            for (of, sought, datum) in [
                (Type::Int, Value::Int(3), Datum::Int(3)),
                (Type::String, Value::String("s1".into()), Datum::String("s1".into())),
                (Type::Float, Value::Float(0.5), Datum::Float(0.5)),
            ] {
                let predicate = Predicate::equal(datum);
                let has = |(row, items): (usize, &Option<Vec<Value>>)| items.as_ref()?.contains(&sought).then_some(row as u32);
                let expected: BTreeSet<u32> = arrays.iter().enumerate().filter_map(has).collect();
                let found = elements.rows(of, &predicate).expect("it is whole");
                prop_assert_eq!(elements.count(of, &predicate).expect("it is whole"), found.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<u32>>(), expected);
            }
            for at in 0..out.len() {
                let mut flipped = out.clone();
                flipped[at] ^= 0x41;
                if let Ok(elements) = Elements::open(&flipped.into(), array.len() as u64) {
                    drop(elements.rows(Type::Int, &Predicate::equal(Datum::Int(3))));
                }
                prop_assert!(Elements::open(&Bytes::copy_from_slice(&out[..at]), array.len() as u64).is_err() || at == out.len());
            }
        }
    }
}
