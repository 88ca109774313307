//! A batch as bytes: one record of a shard log.
//!
//! ```text
//! batch      = version:u8(1) header operations                    integers are LEB128 unless sized; sized are little-endian
//! header     = collection shard routing_epoch schema_version logged_at:i64 event_time sources request
//! event_time = 0:u8 | 1:u8 least:i64 greatest:i64
//! sources    = count (source incarnation:u128 partition epoch first last)…
//! request    = 0:u8 | 1:u8 key:text body_hash:u64
//! operations = rows id:text… kind:u8… versions fields programs
//! versions   = 0:u8 | 1:u8 values
//! fields     = count (field actions values)…                      ascending by field
//! actions    = 0:u8 | 1:u8 action:u8…
//! values     = count (type:u8 valid:bits datum…)…                 a datum only for rows that have one
//! programs   = 0:u8 | 1:u8 valid:bits (length bytes)…
//! text       = length bytes                                       bits are least significant first, in whole bytes
//! ```
//!
//! A datum is 1 byte for bool and marks, 8 for int, float, timestamp and time, 4 for date, and length with bytes for all
//! else. The version of the format is the first byte; the frame around it has the checksum.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanBuilder, PrimitiveArray, PrimitiveBuilder,
    StringBuilder,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, ToByteSlice,
};
use thiserror::Error;

use super::wire::{Reader, put_bits, put_bytes, put_varint};
use super::{Action, Batch, BatchHeader, FieldColumn, OperationKind, Operations, RequestKey};
use crate::columns::{TypedColumns, check_encoded, storage_type};
use crate::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use crate::patch;
use crate::position::{SourcePartition, SourceRange};
use crate::value::Type;

const VERSION: u8 = 1;

/// Bytes that are no batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a batch cannot be read at byte {offset}: {reason}")]
pub struct BatchError {
    /// How far the bytes were good.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Appends a batch's bytes to `out`.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_header(out, &batch.header);
    let operations = &batch.operations;
    put_varint(out, operations.len() as u64);
    operations.ids.iter().for_each(|id| put_bytes(out, id.unwrap_or_default().as_bytes()));
    out.extend(operations.kinds.iter().map(|kind| *kind as u8));
    put_option(out, operations.versions.as_ref(), put_columns);
    put_varint(out, operations.fields.len() as u64);
    for field in &operations.fields {
        put_varint(out, field.field.0.into());
        put_option(out, field.actions.as_ref(), |out, actions| out.extend(actions.iter().map(|action| *action as u8)));
        put_columns(out, &field.values);
    }
    put_option(out, operations.programs.as_ref(), |out, programs| {
        put_bits(out, (0..programs.len()).map(|row| programs.is_valid(row)));
        programs.iter().flatten().for_each(|program| put_bytes(out, program));
    });
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_header(out: &mut Vec<u8>, header: &BatchHeader) {
    put_varint(out, header.shard.collection.0.into());
    put_varint(out, header.shard.shard.into());
    put_varint(out, header.routing_epoch);
    put_varint(out, header.schema_version);
    out.extend_from_slice(&header.logged_at_micros.to_le_bytes());
    put_option(out, header.event_time_micros.as_ref(), |out, (least, greatest)| {
        out.extend_from_slice(&least.to_le_bytes());
        out.extend_from_slice(&greatest.to_le_bytes());
    });
    put_varint(out, header.sources.len() as u64);
    for range in &header.sources {
        put_varint(out, range.partition.source.0.into());
        out.extend_from_slice(&range.partition.incarnation.to_le_bytes());
        put_varint(out, range.partition.partition.into());
        put_varint(out, range.epoch.0);
        put_varint(out, range.first);
        put_varint(out, range.last);
    }
    put_option(out, header.request.as_ref(), |out, request| {
        put_bytes(out, request.key.as_bytes());
        out.extend_from_slice(&request.body_hash.to_le_bytes());
    });
}

fn put_columns(out: &mut Vec<u8>, columns: &TypedColumns) {
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

/// Reads a batch back.
///
/// # Errors
/// The bytes are not what [`encode`] writes; they are of another version of the format, or damaged.
pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(BatchError { offset: 0, reason: "it is of a version that this program does not know" });
    }
    let header = read_header(&mut reader)?;
    let operations = read_operations(&mut reader)?;
    match reader.is_at_end() {
        true => Ok(Batch { header, operations }),
        false => Err(reader.error("more follows where it should end")),
    }
}

fn small<T: TryFrom<u64>>(reader: &mut Reader<'_>) -> Result<T, BatchError> {
    let value = reader.varint()?;
    T::try_from(value).map_err(|_| reader.error("a number is larger than its kind"))
}

fn read_option<'b, T>(
    reader: &mut Reader<'b>,
    read: impl FnOnce(&mut Reader<'b>) -> Result<T, BatchError>,
) -> Result<Option<T>, BatchError> {
    match reader.byte()? {
        0 => Ok(None),
        1 => read(reader).map(Some),
        _ => Err(reader.error("a mark of presence is neither 0 nor 1")),
    }
}

fn read_header(reader: &mut Reader<'_>) -> Result<BatchHeader, BatchError> {
    let shard = ShardId { collection: CollectionId(small(reader)?), shard: small(reader)? };
    let (routing_epoch, schema_version) = (reader.varint()?, reader.varint()?);
    let logged_at_micros = i64::from_le_bytes(reader.array()?);
    let event_time_micros =
        read_option(reader, |reader| Ok((i64::from_le_bytes(reader.array()?), i64::from_le_bytes(reader.array()?))))?;
    let mut sources = Vec::new();
    for _ in 0..reader.count()? {
        let source = SourceId(small(reader)?);
        let incarnation = u128::from_le_bytes(reader.array()?);
        let partition = SourcePartition { source, incarnation, partition: small(reader)? };
        let (epoch, first, last) = (Epoch(reader.varint()?), reader.varint()?, reader.varint()?);
        sources.push(SourceRange { partition, epoch, first, last });
    }
    let request = read_option(reader, |reader| {
        let key = reader.text()?.to_string();
        Ok(RequestKey { key, body_hash: u64::from_le_bytes(reader.array()?) })
    })?;
    Ok(BatchHeader { shard, routing_epoch, schema_version, logged_at_micros, event_time_micros, sources, request })
}

fn read_operations(reader: &mut Reader<'_>) -> Result<Operations, BatchError> {
    let rows = reader.count()?;
    let mut ids = StringBuilder::new();
    for _ in 0..rows {
        ids.append_value(reader.text()?);
    }
    let kind = |code: &u8| match code {
        0 => Ok(OperationKind::Upsert),
        1 => Ok(OperationKind::Patch),
        2 => Ok(OperationKind::PatchOrInsert),
        3 => Ok(OperationKind::Delete),
        _ => Err("an operation is of an unknown kind"),
    };
    let kinds = reader.take(rows)?.iter().map(kind).collect::<Result<_, _>>().map_err(|why| reader.error(why))?;
    let versions = read_option(reader, |reader| read_columns(reader, rows))?;
    let mut fields: Vec<FieldColumn> = Vec::new();
    for _ in 0..reader.count()? {
        let field = FieldId(small(reader)?);
        if fields.last().is_some_and(|before| before.field >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let actions = read_option(reader, |reader| read_actions(reader, rows))?;
        fields.push(FieldColumn { field, actions, values: read_columns(reader, rows)? });
    }
    let programs = read_option(reader, |reader| {
        let mut programs = BinaryBuilder::new();
        for valid in reader.bits(rows)? {
            match valid {
                true => programs.append_value(reader.bytes()?),
                false => programs.append_null(),
            }
        }
        Ok(programs.finish())
    })?;
    let operations = Operations { ids: ids.finish(), kinds, versions, fields, programs };
    check(&operations).map_err(|reason| reader.error(reason))?;
    Ok(operations)
}

/// Checks what applying relies on: that programs can be read, and that actions stand in rows of patches and have the values
/// they need.
fn check(operations: &Operations) -> Result<(), &'static str> {
    let patches = |row: usize| matches!(operations.kinds[row], OperationKind::Patch | OperationKind::PatchOrInsert);
    for row in 0..operations.len() {
        if let Some(program) = operations.program(row)
            && (!patches(row) || patch::decode(program).is_err())
        {
            return Err("a program is none, or not a patch's");
        }
    }
    for field in &operations.fields {
        for (row, action) in field.actions.iter().flatten().enumerate() {
            let value = field.values.type_at(row);
            let good = match action {
                Action::Untouched => true,
                Action::Remove => patches(row) && value.is_none(),
                Action::Set => patches(row) && value.is_some(),
                Action::Increment => patches(row) && matches!(value, Some(Type::Int | Type::Float | Type::Decimal)),
            };
            if !good {
                return Err("an action does not fit its row");
            }
        }
    }
    Ok(())
}

fn read_actions(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<Action>, BatchError> {
    let action = |code: &u8| match code {
        0 => Ok(Action::Untouched),
        1 => Ok(Action::Set),
        2 => Ok(Action::Remove),
        3 => Ok(Action::Increment),
        _ => Err("an action is of an unknown kind"),
    };
    reader.take(rows)?.iter().map(action).collect::<Result<_, _>>().map_err(|why| reader.error(why))
}

fn read_columns(reader: &mut Reader<'_>, rows: usize) -> Result<TypedColumns, BatchError> {
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

fn read_column(reader: &mut Reader<'_>, of: Type, valid: &[bool]) -> Result<ArrayRef, BatchError> {
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
) -> Result<ArrayRef, BatchError> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(valid.len());
    for valid in valid {
        builder.append_option(valid.then(|| reader.array::<N>().map(&read)).transpose()?);
    }
    Ok(Arc::new(builder.finish()))
}
