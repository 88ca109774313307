//! A batch as bytes: one record of a shard log.
//!
//! ```text
//! batch      = version:u8(3) header operations                    integers are LEB128 unless sized; sized are little-endian
//! header     = collection shard routing_epoch schema_version logged_at:i64 event_time sources request horizon
//!              retention
//! event_time = 0:u8 | 1:u8 least:i64 greatest:i64
//! sources    = count (source incarnation:u128 partition epoch first last)…
//! request    = 0:u8 | 1:u8 key:text body_hash:u64
//! horizon    = 0:u8 | 1:u8 lateness unsettled_max                 lateness = 0:u8 | 1:u8 count
//! retention  = 0:u8 | 1:u8 field micros
//! operations = rows id:text… kind:u8… versions fields programs
//! versions   = 0:u8 | 1:u8 version:i64… (0:u8 | 1:u8 operation_id:u128)…           one a row
//! fields     = count (field named actions values)…                ascending by field
//! named      = 0:u8 | 1:u8 count (row - the row before - 1)…      the rows that have an action or a value: all, or these;
//!                                                                 the row before the first is -1
//! actions    = 0:u8 | 1:u8 action:u8…                             one a named row
//! values     = as in columns/codec.rs                             of as many rows as are named
//! programs   = 0:u8 | 1:u8 valid:bits (length bytes)…
//! text       = length bytes                                       bits are least significant first, in whole bytes
//! ```
//!
//! The version of the format is the first byte; the frame around it has the checksum. Version 1 had no horizon, no versions
//! (their mark was 0) and no named rows (all were); version 2 had no retention.

use datafusion::arrow::array::{Array, BinaryBuilder, Int64Array, StringBuilder, UInt32Array};
use thiserror::Error;

use super::{Action, Batch, BatchHeader, FieldColumn, OperationKind, OperationVersions, Operations, RequestKey};
use crate::binary::{BinaryError, Reader, put_ascending, put_bits, put_bytes, put_option, put_varint};
use crate::columns::codec as columns;
use crate::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use crate::patch;
use crate::position::{SourcePartition, SourceRange};
use crate::retention::Retention;
use crate::value::Type;
use crate::version::Horizon;

const VERSION: u8 = 3;

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
    put_option(out, operations.versions.as_ref(), |out, versions| {
        versions.versions.values().iter().for_each(|version| out.extend_from_slice(&version.to_le_bytes()));
        for id in &versions.operation_ids {
            put_option(out, Some(id).filter(|id| **id != 0), |out, id| out.extend_from_slice(&id.to_le_bytes()));
        }
    });
    put_varint(out, operations.fields.len() as u64);
    operations.fields.iter().for_each(|field| put_field(out, field));
    put_option(out, operations.programs.as_ref(), |out, programs| {
        put_bits(out, (0..programs.len()).map(|row| programs.is_valid(row)));
        programs.iter().flatten().for_each(|program| put_bytes(out, program));
    });
}

fn put_field(out: &mut Vec<u8>, column: &FieldColumn) {
    put_varint(out, column.field.0.into());
    let named = named_rows(column);
    put_option(out, named.as_ref(), |out, rows| put_ascending(out, rows.values()));
    put_option(out, column.actions.as_ref(), |out, actions| match &named {
        Some(rows) => out.extend(rows.values().iter().map(|row| actions[*row as usize] as u8)),
        None => out.extend(actions.iter().map(|action| *action as u8)),
    });
    match &named {
        Some(rows) => columns::encode(out, &column.values.take(rows)),
        None => columns::encode(out, &column.values),
    }
}

/// The rows that have an action or a value, where naming them takes fewer bytes than to tell it for each row.
fn named_rows(column: &FieldColumn) -> Option<UInt32Array> {
    let FieldColumn { actions, values, .. } = column;
    let act = |row: &usize| actions.as_ref().is_some_and(|actions| actions[*row] != Action::Untouched);
    let types = values.columns().len();
    let bits_each = if actions.is_some() { types + 8 } else { types.max(1) };
    // A named row takes a byte or two, and what each row takes.
    let few = |named: usize| named * (12 + bits_each) < values.rows() * bits_each;
    let there: usize = values.columns().iter().map(|(_, column)| column.len() - column.null_count()).sum();
    if !few(there) {
        return None;
    }
    let named = (0..values.rows()).filter(|row| act(row) || values.type_at(*row).is_some());
    let named: Vec<u32> = named.map(|row| row as u32).collect();
    few(named.len()).then(|| named.into())
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
    put_option(out, header.horizon.as_ref(), |out, horizon| {
        put_option(out, horizon.lateness.as_ref(), |out, lateness| put_varint(out, *lateness));
        put_varint(out, horizon.unsettled_max.into());
    });
    put_option(out, header.retention.as_ref(), |out, retention| {
        put_varint(out, retention.field.0.into());
        put_varint(out, retention.micros);
    });
}

/// Reads a batch back.
///
/// # Errors
/// The bytes are not what [`encode`] writes; they are of another version of the format, or damaged.
pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if !(1..=VERSION).contains(&version) {
        return Err(BatchError { offset: 0, reason: "it is of a version that this program does not know" });
    }
    let header = read_header(&mut reader, version)?;
    let operations = read_operations(&mut reader, version)?;
    reader.end()?;
    if header.horizon.is_some() != operations.versions.is_some() {
        return Err(reader.error("it has either versions or a horizon, not both").into());
    }
    Ok(Batch { header, operations })
}

fn read_header(reader: &mut Reader<'_>, version: u8) -> Result<BatchHeader, BinaryError> {
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
    let horizon = match version {
        1 => None,
        _ => reader.option(|reader| {
            let lateness = reader.option(Reader::varint)?;
            Ok::<_, BinaryError>(Horizon { lateness, unsettled_max: reader.small()? })
        })?,
    };
    let retention = match version {
        1 | 2 => None,
        _ => reader.option(|reader| {
            let field = FieldId(reader.small()?);
            Ok::<_, BinaryError>(Retention { field, micros: reader.varint()? })
        })?,
    };
    Ok(BatchHeader {
        shard,
        routing_epoch,
        schema_version,
        logged_at_micros,
        event_time_micros,
        sources,
        request,
        horizon,
        retention,
    })
}

fn read_operations(reader: &mut Reader<'_>, version: u8) -> Result<Operations, BinaryError> {
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
    let versions = reader.option(|reader| match version {
        1 => Err(reader.error("operations of format version 1 have no versions")),
        _ => read_versions(reader, rows),
    })?;
    let mut fields: Vec<FieldColumn> = Vec::new();
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if fields.last().is_some_and(|before| before.field >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let named = match version {
            1 => None,
            _ => reader.option(Reader::ascending)?,
        };
        fields.push(read_field(reader, field, rows, named)?);
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

fn read_versions(reader: &mut Reader<'_>, rows: usize) -> Result<OperationVersions, BinaryError> {
    let versions = (0..rows).map(|_| Ok(i64::from_le_bytes(reader.array()?)));
    let versions: Int64Array = versions.collect::<Result<Vec<_>, BinaryError>>()?.into();
    let operation_id = |_| reader.option(|reader| Ok(u128::from_le_bytes(reader.array()?)));
    let operation_ids = (0..rows).map(operation_id).map(|id| id.map(Option::unwrap_or_default));
    Ok(OperationVersions { versions, operation_ids: operation_ids.collect::<Result<_, BinaryError>>()? })
}

fn read_field(
    reader: &mut Reader<'_>,
    field: FieldId,
    rows: usize,
    named: Option<Vec<u32>>,
) -> Result<FieldColumn, BinaryError> {
    if named.as_ref().is_some_and(|named| named.last().is_some_and(|last| *last as usize >= rows)) {
        return Err(reader.error("a row is not one of the batch"));
    }
    let count = named.as_ref().map_or(rows, Vec::len);
    let mut actions = reader.option(|reader| read_actions(reader, count))?;
    let mut values = columns::decode(reader, count)?;
    if let Some(named) = named {
        let mut from = vec![None; rows];
        named.iter().zip(0..).for_each(|(row, index)| from[*row as usize] = Some(index));
        values = values.take(&UInt32Array::from(from));
        actions = actions.map(|named_actions| {
            let mut actions = vec![Action::Untouched; rows];
            named.iter().zip(named_actions).for_each(|(row, action)| actions[*row as usize] = action);
            actions
        });
    }
    Ok(FieldColumn { field, actions, values })
}

/// Checks what applying relies on: that programs can be read, and that actions stand in rows of patches and have the values
/// they need.
fn check(operations: &Operations) -> Result<(), &'static str> {
    let patches = |row: usize| matches!(operations.kinds[row], OperationKind::Patch | OperationKind::PatchOrInsert);
    for row in 0..operations.len() {
        match operations.program(row) {
            Some(program) if !patches(row) || patch::decode(program).is_err() => {
                return Err("a program is none, or not a patch's");
            }
            None if patches(row) && operations.versions.is_some() => {
                return Err("a patch with a version is no program");
            }
            _ => {}
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
