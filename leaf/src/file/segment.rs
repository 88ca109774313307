//! A segment as an object: *keys*, *columns* and *rows*, and *versions* in a collection that has them.
//!
//! ```text
//! keys    = segment rows id:text…                                 codec 1
//! columns = count (field values)…                                 codec 1; ascending by field; values as in
//!                                                                 common/src/columns/codec.rs, of as many rows as keys
//! rows    = as in rows.rs                                         codec 1
//! versions = values                                               codec 1; ints, absent where a patch made the row
//! ```
//!
//! Columns and rows hold the same values twice: scans read the one, whole documents the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use basalt_common::columns::{TypedColumns, codec as columns};
use basalt_common::id::FieldId;
use basalt_common::value::{Type, Value};
use datafusion::arrow::array::{Array, AsArray, Int64Array, StringArray, StringBuilder};
use datafusion::arrow::datatypes::Int64Type;

use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use super::{FileError, rows};
use crate::segment::{Segment, SegmentId};

const CODEC: u8 = 1;

/// The object of a segment. Takes long: not for the async threads.
pub fn encode(segment: &Segment) -> Sealed {
    let mut object = ContainerBuilder::new(Kind::Segment);
    object.part(Part::Keys, CODEC, |out| {
        put_varint(out, segment.id().0);
        put_varint(out, segment.rows() as u64);
        segment.ids().iter().for_each(|id| put_bytes(out, id.unwrap_or_default().as_bytes()));
    });
    object.part(Part::Columns, CODEC, |out| {
        put_varint(out, segment.fields().len() as u64);
        for (field, values) in segment.fields() {
            put_varint(out, field.0.into());
            columns::encode(out, values);
        }
    });
    object.part(Part::Rows, CODEC, |out| rows::encode(out, segment));
    if let Some(versions) = segment.versions() {
        let versions = TypedColumns::new(segment.rows(), vec![(Type::Int, Arc::new(versions.clone()))]);
        object.part(Part::Versions, CODEC, |out| columns::encode(out, &versions));
    }
    object.seal()
}

/// Reads a segment back from its checked object. Takes long: not for the async threads.
///
/// # Errors
/// The parts are not what [`encode`] writes.
pub fn decode(object: &Container<'_>) -> Result<Segment, FileError> {
    let (id, ids) = object.part(Part::Keys, CODEC)?.read(read_keys)?;
    let fields = object.part(Part::Columns, CODEC)?.read(|reader| read_fields(reader, ids.len()))?;
    let versions = object.find(Part::Versions, CODEC)?;
    let versions = versions.map(|part| part.read(|reader| read_versions(reader, ids.len()))).transpose()?;
    Ok(Segment::new(id, ids, versions, fields))
}

/// Reads the fields of one row, ascending, from the *rows* of a checked object; none where there is no such row.
///
/// # Errors
/// The part is not what [`encode`] writes.
pub fn row(object: &Container<'_>, row: u32) -> Result<Option<Vec<(FieldId, Value)>>, FileError> {
    let part = object.part(Part::Rows, CODEC)?;
    part.read(|reader| rows::row(reader, row))
}

fn read_keys(reader: &mut Reader<'_>) -> Result<(SegmentId, StringArray), BinaryError> {
    let segment = SegmentId(reader.varint()?);
    let rows = reader.count()?;
    let mut ids = StringBuilder::new();
    for _ in 0..rows {
        ids.append_value(reader.text()?);
    }
    Ok((segment, ids.finish()))
}

fn read_versions(reader: &mut Reader<'_>, rows: usize) -> Result<Int64Array, BinaryError> {
    let versions = columns::decode(reader, rows)?;
    match versions.columns() {
        [(Type::Int, versions)] => Ok(versions.as_primitive::<Int64Type>().clone()),
        _ => Err(reader.error("versions are ints")),
    }
}

fn read_fields(reader: &mut Reader<'_>, rows: usize) -> Result<BTreeMap<FieldId, TypedColumns>, BinaryError> {
    let mut fields: BTreeMap<FieldId, TypedColumns> = BTreeMap::new();
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if fields.last_key_value().is_some_and(|(before, _)| *before >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        fields.insert(field, columns::decode(reader, rows)?);
    }
    Ok(fields)
}
