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
//! values     = as in columns/codec.rs
//! programs   = 0:u8 | 1:u8 valid:bits (length bytes)…
//! text       = length bytes                                       bits are least significant first, in whole bytes
//! ```
//!
//! The version of the format is the first byte; the frame around it has the checksum.

use datafusion::arrow::array::{Array, BinaryBuilder, StringBuilder};
use thiserror::Error;

use super::{Action, Batch, BatchHeader, FieldColumn, OperationKind, Operations, RequestKey};
use crate::binary::{BinaryError, Reader, put_bits, put_bytes, put_option, put_varint};
use crate::columns::codec as columns;
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

impl From<BinaryError> for BatchError {
    fn from(BinaryError { offset, reason }: BinaryError) -> Self {
        Self { offset, reason }
    }
}

/// Appends a batch's bytes to `out`.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_header(out, &batch.header);
    let operations = &batch.operations;
    put_varint(out, operations.len() as u64);
    operations.ids.iter().for_each(|id| put_bytes(out, id.unwrap_or_default().as_bytes()));
    out.extend(operations.kinds.iter().map(|kind| *kind as u8));
    put_option(out, operations.versions.as_ref(), columns::encode);
    put_varint(out, operations.fields.len() as u64);
    for field in &operations.fields {
        put_varint(out, field.field.0.into());
        put_option(out, field.actions.as_ref(), |out, actions| out.extend(actions.iter().map(|action| *action as u8)));
        columns::encode(out, &field.values);
    }
    put_option(out, operations.programs.as_ref(), |out, programs| {
        put_bits(out, (0..programs.len()).map(|row| programs.is_valid(row)));
        programs.iter().flatten().for_each(|program| put_bytes(out, program));
    });
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
    reader.end()?;
    Ok(Batch { header, operations })
}

fn read_header(reader: &mut Reader<'_>) -> Result<BatchHeader, BinaryError> {
    let shard = ShardId { collection: CollectionId(reader.small()?), shard: reader.small()? };
    let (routing_epoch, schema_version) = (reader.varint()?, reader.varint()?);
    let logged_at_micros = i64::from_le_bytes(reader.array()?);
    let event_time_micros =
        reader.option(|reader| Ok((i64::from_le_bytes(reader.array()?), i64::from_le_bytes(reader.array()?))))?;
    let mut sources = Vec::new();
    for _ in 0..reader.count()? {
        let source = SourceId(reader.small()?);
        let incarnation = u128::from_le_bytes(reader.array()?);
        let partition = SourcePartition { source, incarnation, partition: reader.small()? };
        let (epoch, first, last) = (Epoch(reader.varint()?), reader.varint()?, reader.varint()?);
        sources.push(SourceRange { partition, epoch, first, last });
    }
    let request = reader.option(|reader| {
        let key = reader.text()?.to_string();
        Ok(RequestKey { key, body_hash: u64::from_le_bytes(reader.array()?) })
    })?;
    Ok(BatchHeader { shard, routing_epoch, schema_version, logged_at_micros, event_time_micros, sources, request })
}

fn read_operations(reader: &mut Reader<'_>) -> Result<Operations, BinaryError> {
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
    let versions = reader.option(|reader| columns::decode(reader, rows))?;
    let mut fields: Vec<FieldColumn> = Vec::new();
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if fields.last().is_some_and(|before| before.field >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let actions = reader.option(|reader| read_actions(reader, rows))?;
        fields.push(FieldColumn { field, actions, values: columns::decode(reader, rows)? });
    }
    let programs = reader.option(|reader| {
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

fn read_actions(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<Action>, BinaryError> {
    let action = |code: &u8| match code {
        0 => Ok(Action::Untouched),
        1 => Ok(Action::Set),
        2 => Ok(Action::Remove),
        3 => Ok(Action::Increment),
        _ => Err("an action is of an unknown kind"),
    };
    reader.take(rows)?.iter().map(action).collect::<Result<_, _>>().map_err(|why| reader.error(why))
}
