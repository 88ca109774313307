//! What operations with versions may yet change, as bytes: a part of a checkpoint.
//!
//! ```text
//! unsettled = watermark settled_below:i64 count (id:text existed:u8 deleted before patches)…   ascending by id
//! watermark, deleted = 0:u8 | 1:u8 version:i64
//! before    = count (field value)…                                ascending by field
//! value     = 0:u8 | 1:u8 length bytes                            absent, or as in common/src/value/codec.rs
//! patches   = count (version:i64 operation_id:u128 inserts:u8 length program)…   ascending
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_option, put_varint};
use basalt_common::id::FieldId;
use basalt_common::patch;
use basalt_common::value::{Value, codec};

use crate::unsettled::{Document, Patch, Unsettled};

/// Appends all that is kept.
pub(super) fn put(out: &mut Vec<u8>, unsettled: &Unsettled) {
    put_version(out, unsettled.watermark());
    out.extend_from_slice(&unsettled.settled_below().to_le_bytes());
    put_varint(out, unsettled.documents().count() as u64);
    for (id, document) in unsettled.documents() {
        put_bytes(out, id.as_bytes());
        out.push(document.existed.into());
        put_version(out, document.deleted);
        put_varint(out, document.before.len() as u64);
        for (field, value) in &document.before {
            put_varint(out, field.0.into());
            put_option(out, value.as_ref(), |out, value| {
                let mut bytes = Vec::new();
                codec::encode(value, &mut bytes);
                put_bytes(out, &bytes);
            });
        }
        put_varint(out, document.patches.len() as u64);
        for patch in &document.patches {
            out.extend_from_slice(&patch.version.to_le_bytes());
            out.extend_from_slice(&patch.operation_id.to_le_bytes());
            out.push(patch.inserts.into());
            put_bytes(out, &patch.program);
        }
    }
}

fn put_version(out: &mut Vec<u8>, version: Option<i64>) {
    put_option(out, version.as_ref(), |out, version| out.extend_from_slice(&version.to_le_bytes()));
}

/// Reads what [`put`] wrote.
///
/// # Errors
/// The bytes are something else.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Unsettled, BinaryError> {
    let watermark = read_version(reader)?;
    let settled_below = i64::from_le_bytes(reader.array()?);
    let mut documents: BTreeMap<Arc<str>, Document> = BTreeMap::new();
    for _ in 0..reader.count()? {
        let id: Arc<str> = reader.text()?.into();
        if documents.last_key_value().is_some_and(|(before, _)| *before >= id) {
            return Err(reader.error("documents are not ascending"));
        }
        let (existed, deleted) = (read_flag(reader)?, read_version(reader)?);
        let (before, patches) = (read_before(reader)?, read_patches(reader)?);
        documents.insert(id, Document { existed, deleted, before, patches });
    }
    Ok(Unsettled::restore(watermark, settled_below, documents))
}

fn read_version(reader: &mut Reader<'_>) -> Result<Option<i64>, BinaryError> {
    reader.option(|reader| reader.array().map(i64::from_le_bytes))
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, BinaryError> {
    match reader.byte()? {
        byte @ (0 | 1) => Ok(byte == 1),
        _ => Err(reader.error("a bool is neither 0 nor 1")),
    }
}

fn read_before(reader: &mut Reader<'_>) -> Result<BTreeMap<FieldId, Option<Value>>, BinaryError> {
    let mut before = BTreeMap::new();
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if before.last_key_value().is_some_and(|(last, _)| *last >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let value = reader.option(|reader| {
            let value = codec::decode(reader.bytes()?);
            value.map_err(|_| reader.error("a value does not decode"))
        })?;
        before.insert(field, value);
    }
    Ok(before)
}

fn read_patches(reader: &mut Reader<'_>) -> Result<Vec<Patch>, BinaryError> {
    let mut patches: Vec<Patch> = Vec::new();
    for _ in 0..reader.count()? {
        let version = i64::from_le_bytes(reader.array()?);
        let operation_id = u128::from_le_bytes(reader.array()?);
        let inserts = read_flag(reader)?;
        let program: Arc<[u8]> = reader.bytes()?.into();
        if patch::decode(&program).is_err() {
            return Err(reader.error("a patch's program does not decode"));
        }
        let patch = Patch { version, program, operation_id, inserts };
        if patches.last().is_some_and(|last| *last >= patch) {
            return Err(reader.error("patches are not ascending"));
        }
        patches.push(patch);
    }
    Ok(patches)
}
