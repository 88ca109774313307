//! Typed columns as bytes.
//!
//! ```text
//! values = count (type:u8 valid:bits datum…)…                    ascending by type; a datum only for rows that have one
//! ```
//!
//! A datum is 1 byte for bool and marks, 8 for int, float, timestamp and time, 4 for date, and length with bytes for all
//! else. Part of the formats of batches and segments, which have the version.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanBuilder, PrimitiveArray, PrimitiveBuilder,
    StringBuilder,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, ToByteSlice,
};

use super::{TypedColumns, check_encoded, storage_type};
use crate::binary::{BinaryError, Reader, put_bits, put_bytes, put_varint};
use crate::value::Type;

/// Appends the columns' bytes; the number of rows is not among them.
pub fn encode(out: &mut Vec<u8>, columns: &TypedColumns) {
    put_varint(out, columns.columns().len() as u64);
    for (of, column) in columns.columns() {
        out.push(*of as u8);
        put_bits(out, (0..column.len()).map(|row| column.is_valid(row)));
        match column.data_type() {
            DataType::Boolean => out.extend(column.as_boolean().iter().flatten().map(u8::from)),
            DataType::Int64 => put_fixed::<Int64Type>(out, column),
            DataType::Float64 => put_fixed::<Float64Type>(out, column),
            DataType::Timestamp(..) => put_fixed::<TimestampMicrosecondType>(out, column),
            DataType::Time64(_) => put_fixed::<Time64MicrosecondType>(out, column),
            DataType::Date32 => put_fixed::<Date32Type>(out, column),
            DataType::Utf8 => {
                column.as_string::<i32>().iter().flatten().for_each(|text| put_bytes(out, text.as_bytes()));
            }
            _ => column.as_binary::<i32>().iter().flatten().for_each(|bytes| put_bytes(out, bytes)),
        }
    }
}

fn put_fixed<T: ArrowPrimitiveType>(out: &mut Vec<u8>, column: &ArrayRef) {
    let column: &PrimitiveArray<T> = column.as_primitive();
    column.iter().flatten().for_each(|value| out.extend_from_slice(value.to_byte_slice()));
}

/// Reads columns of `rows` rows back.
///
/// # Errors
/// The bytes are not what [`encode`] writes.
pub fn decode(reader: &mut Reader<'_>, rows: usize) -> Result<TypedColumns, BinaryError> {
    let mut columns: Vec<(Type, ArrayRef)> = Vec::new();
    let mut taken = vec![false; rows];
    for _ in 0..reader.count()? {
        let of = Type::from_code(reader.byte()?).ok_or_else(|| reader.error("a value is of an unknown type"))?;
        if columns.last().is_some_and(|(before, _)| *before >= of) {
            return Err(reader.error("types are not ascending"));
        }
        let valid: Vec<bool> = reader.bits(rows)?.collect();
        for (row, valid) in valid.iter().enumerate() {
            if *valid && std::mem::replace(&mut taken[row], true) {
                return Err(reader.error("a row has two values"));
            }
        }
        let column = read_column(reader, of, &valid)?;
        check_encoded(of, &column).map_err(|_| reader.error("a value does not decode to its type"))?;
        columns.push((of, column));
    }
    Ok(TypedColumns::new(rows, columns))
}

fn read_column(reader: &mut Reader<'_>, of: Type, valid: &[bool]) -> Result<ArrayRef, BinaryError> {
    match storage_type(of) {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(valid.len());
            for valid in valid {
                match valid.then(|| reader.byte()).transpose()? {
                    Some(byte @ (0 | 1)) => builder.append_value(byte == 1),
                    Some(_) => return Err(reader.error("a bool is neither 0 nor 1")),
                    None => builder.append_null(),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int64 => read_fixed::<Int64Type, 8>(reader, valid, i64::from_le_bytes),
        DataType::Float64 => read_fixed::<Float64Type, 8>(reader, valid, f64::from_le_bytes),
        of @ DataType::Timestamp(..) => {
            let column = read_fixed::<TimestampMicrosecondType, 8>(reader, valid, i64::from_le_bytes)?;
            Ok(Arc::new(column.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(of)))
        }
        DataType::Time64(_) => read_fixed::<Time64MicrosecondType, 8>(reader, valid, i64::from_le_bytes),
        DataType::Date32 => read_fixed::<Date32Type, 4>(reader, valid, i32::from_le_bytes),
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for valid in valid {
                builder.append_option(valid.then(|| reader.text()).transpose()?);
            }
            Ok(Arc::new(builder.finish()))
        }
        _ => {
            let mut builder = BinaryBuilder::new();
            for valid in valid {
                builder.append_option(valid.then(|| reader.bytes()).transpose()?);
            }
            Ok(Arc::new(builder.finish()))
        }
    }
}

fn read_fixed<T: ArrowPrimitiveType, const N: usize>(
    reader: &mut Reader<'_>,
    valid: &[bool],
    read: impl Fn([u8; N]) -> T::Native,
) -> Result<ArrayRef, BinaryError> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(valid.len());
    for valid in valid {
        builder.append_option(valid.then(|| reader.array::<N>().map(&read)).transpose()?);
    }
    Ok(Arc::new(builder.finish()))
}
