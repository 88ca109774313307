//! Segments as they were written before each part of an object had a label: read, and not written.
//!
//! ```text
//! keys      = segment:u64 rows:u64 zeros column                   codec 2; the _ids. Columns begin at multiples of 64 bytes
//! key run   = as in key_run/mod.rs                                codec 1; made anew where the object has none
//! columns   = (zeros column)… directory length:u32                codec 2; the directory's length
//! directory = count (field count (type:u8 plain offset length)…)…  ascending by field, then type; plain: bytes as an array
//!                                                                 in memory; the offset counts from the part's start
//! versions  = column                                              codec 1; ints, none where a patch made the row
//! terms     = terms… directory length:u32                         codec 1; as in terms/mod.rs; the directory's length
//! text      = text… directory length:u32                          codec 1; as in text/mod.rs; else as terms
//! elements  = elements… directory length:u32                      codec 1; as in elements.rs; else as terms
//! directory = count (field type:u8 offset length)…                 ascending by field, then type; columns without are left out
//! column    = as in column/encode.rs                              of as many rows as keys
//! ```
//!
//! Codec 1 of keys and columns had `segment rows id:text…` and `count (field values)…`, with values as in
//! common/src/columns/codec.rs, and whole documents beside them.

use std::collections::BTreeMap;

use basalt_common::binary::{BinaryError, Reader};
use basalt_common::columns::{codec as columns, storage_type};
use basalt_common::id::FieldId;
use basalt_common::value::Type;
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::container::{ALIGNMENT, Container, Part};
use super::{FileError, PartReader};
use crate::column::{Column, ColumnError};
use crate::elements::Elements;
use crate::field::{FieldValues, FileColumn, FileColumns, Ids};
use crate::key_run::KeyRun;
use crate::piece::Piece;
use crate::segment::{Segment, SegmentBytes, SegmentId};
use crate::terms::Terms;
use crate::text::TextIndex;

const KEYS_CODEC: u8 = 2;
const COLUMNS_CODEC: u8 = 2;
const VERSIONS_CODEC: u8 = 1;
const INDEX_CODEC: u8 = 1;
const KEY_RUN_CODEC: u8 = 1;

/// The codec of keys and columns that were written before these.
const CODEC_BEFORE: u8 = 1;

/// Bytes of the directory's length.
const LENGTH_BYTES: usize = 4;

/// Opens a segment in its checked object, which lies in `bytes`: its columns are read there.
///
/// # Errors
/// The parts are not what was written.
pub(super) fn decode(object: &Container<'_>, bytes: &Bytes) -> Result<Segment, FileError> {
    let (id, ids) = match object.codec(Part::Keys) {
        Some(CODEC_BEFORE) => {
            let (id, ids) = object.part(Part::Keys, CODEC_BEFORE)?.read(read_keys_before)?;
            (id, Ids::Memory(ids))
        }
        _ => open_keys(&object.part(Part::Keys, KEYS_CODEC)?, bytes)?,
    };
    let rows = ids.len();
    let key_run = open_key_run(object, bytes, &ids)?;
    let (fields, column_max) = match object.codec(Part::Columns) {
        Some(CODEC_BEFORE) => {
            let part = object.part(Part::Columns, CODEC_BEFORE)?;
            part.read(|reader| read_fields_before(reader, rows))?
        }
        _ => {
            let open = |part: Option<PartReader<'_>>| part.map(|part| IndexBytes::read(part, bytes)).transpose();
            let terms = open(object.find(Part::Terms, INDEX_CODEC)?)?.unwrap_or_default();
            let text = open(object.find(Part::Text, INDEX_CODEC)?)?.unwrap_or_default();
            let elements = open(object.find(Part::Elements, INDEX_CODEC)?)?.unwrap_or_default();
            open_fields(&object.part(Part::Columns, COLUMNS_CODEC)?, bytes, rows, [terms, text, elements])?
        }
    };
    let versions = object.find(Part::Versions, VERSIONS_CODEC)?;
    let versions = versions.map(|part| open_versions(&part, bytes, rows)).transpose()?;
    // Columns take a quarter to a third of what their arrays do.
    let sizes = SegmentBytes { total: bytes.len(), plain: bytes.len() * 4, column_max };
    Ok(Segment::of_parts(id, ids, versions, fields, sizes).with_key_run(key_run))
}

/// A column that begins at `start` of a part.
fn open_column(
    part: &PartReader<'_>,
    bytes: &Bytes,
    (start, length): (usize, usize),
    of: &DataType,
    rows: usize,
) -> Result<Column, FileError> {
    let held = start.checked_add(length).and_then(|end| part.bytes.get(start..end));
    let held = held.ok_or_else(|| part.error(BinaryError { offset: start, reason: "a column does not lie in it" }))?;
    Column::open(bytes.slice_ref(held), of, rows as u64).map_err(|cause| part.wrong(start, &cause))
}

fn opened(column: Column) -> Piece<Column> {
    let bytes = column.encoded_bytes();
    Piece::open(column, bytes)
}

fn open_keys(part: &PartReader<'_>, bytes: &Bytes) -> Result<(SegmentId, Ids), FileError> {
    let mut reader = Reader::new(part.bytes);
    let mut number = || reader.array().map(u64::from_le_bytes).map_err(|error| part.error(error));
    let (id, rows) = (SegmentId(number()?), number()?);
    let rows =
        u32::try_from(rows).map_err(|_| part.error(BinaryError { offset: 8, reason: "it has too many rows" }))?;
    let place = (ALIGNMENT, part.bytes.len().saturating_sub(ALIGNMENT));
    let column = open_column(part, bytes, place, &DataType::Utf8, rows as usize)?;
    match column.present() == u64::from(rows) {
        true => Ok((id, Ids::File(Box::new(opened(column)), rows as usize))),
        false => Err(part.error(BinaryError { offset: ALIGNMENT, reason: "a row has no _id" })),
    }
}

fn open_key_run(object: &Container<'_>, bytes: &Bytes, ids: &Ids) -> Result<KeyRun, FileError> {
    match object.find(Part::KeyRun, KEY_RUN_CODEC)? {
        Some(part) => KeyRun::open(bytes.slice_ref(part.bytes), ids.len()).map_err(|cause| part.wrong(0, &cause)),
        None => ids.key_run().map_err(|cause| FileError {
            object: object.name().into(),
            part: Part::Keys.name(),
            offset: 0,
            reason: cause.to_string(),
        }),
    }
}

type Fields = (BTreeMap<FieldId, FieldValues>, usize);

/// Where the directory at a part's end begins, and its bytes.
fn directory<'b>(part: &PartReader<'b>) -> Result<(usize, Reader<'b>), FileError> {
    let short = || part.error(BinaryError { offset: part.bytes.len(), reason: "it ends too early" });
    let (held, length) = part.bytes.split_last_chunk::<LENGTH_BYTES>().ok_or_else(short)?;
    let start = held.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    Ok((start, Reader::new(&held[start..])))
}

/// The indexes of a segment's columns, until these are opened.
#[derive(Default)]
struct IndexBytes(BTreeMap<(FieldId, Type), Bytes>);

impl IndexBytes {
    fn read(part: PartReader<'_>, bytes: &Bytes) -> Result<Self, FileError> {
        let (start, mut reader) = directory(&part)?;
        let error = |BinaryError { offset, reason }| part.error(BinaryError { offset: start + offset, reason });
        let mut all = BTreeMap::new();
        for _ in 0..reader.count().map_err(error)? {
            let field = FieldId(reader.small().map_err(error)?);
            let of = Type::from_code(reader.byte().map_err(error)?);
            let of = of.ok_or_else(|| error(reader.error("an index is of an unknown type")))?;
            let (at, length): (usize, usize) = (reader.small().map_err(error)?, reader.small().map_err(error)?);
            let held = at.checked_add(length).filter(|end| *end <= start).map(|end| &part.bytes[at..end]);
            let held = held.ok_or_else(|| error(reader.error("an index does not lie in it")))?;
            all.insert((field, of), bytes.slice_ref(held));
        }
        reader.end().map_err(error)?;
        Ok(Self(all))
    }

    /// That of a column, if it has one, with the bytes that it takes.
    fn open<T>(
        &mut self,
        field: FieldId,
        of: Type,
        open: impl FnOnce(Bytes) -> Result<T, ColumnError>,
    ) -> Result<Option<(T, usize)>, ColumnError> {
        let Some(bytes) = self.0.remove(&(field, of)) else { return Ok(None) };
        let length = bytes.len();
        open(bytes).map(|index| Some((index, length)))
    }
}

fn open_fields(
    part: &PartReader<'_>,
    bytes: &Bytes,
    rows: usize,
    [mut terms, mut text, mut elements]: [IndexBytes; 3],
) -> Result<Fields, FileError> {
    let (start, mut reader) = directory(part)?;
    let error = |BinaryError { offset, reason }| part.error(BinaryError { offset: start + offset, reason });
    let (mut fields, mut column_max) = (BTreeMap::new(), 0);
    for _ in 0..reader.count().map_err(error)? {
        let field = FieldId(reader.small().map_err(error)?);
        if fields.last_key_value().is_some_and(|(before, _)| *before >= field) {
            return Err(error(reader.error("fields are not ascending")));
        }
        let mut columns = Vec::new();
        for _ in 0..reader.count().map_err(error)? {
            let of = Type::from_code(reader.byte().map_err(error)?);
            let of = of.ok_or_else(|| error(reader.error("a column is of an unknown type")))?;
            let plain = reader.small().map_err(error)?;
            column_max = column_max.max(plain);
            let place = (reader.small().map_err(error)?, reader.small().map_err(error)?);
            let column = open_column(part, bytes, place, &storage_type(of), rows)?;
            let wrong = |cause: ColumnError| part.wrong(place.0, &cause);
            let (present, rows) = (column.present(), rows as u64);
            let terms = terms.open(field, of, |bytes| Terms::open(bytes, rows, present)).map_err(wrong)?;
            let text = text.open(field, of, |bytes| TextIndex::open(bytes, rows)).map_err(wrong)?;
            let elements = elements.open(field, of, |bytes| Elements::open(&bytes, rows)).map_err(wrong)?;
            let text = text.map(|(text, bytes)| (text.analyzer(), Piece::open(text, bytes)));
            let terms = terms.map(|(terms, bytes)| Piece::open(terms, bytes));
            let elements = elements.map(|(elements, bytes)| Piece::open(elements, bytes));
            columns.push(FileColumn { of, present, plain, column: opened(column), terms, text, elements, cells: None });
        }
        let columns = FileColumns::new(rows, columns).map_err(|reason| error(reader.error(reason)))?;
        fields.insert(field, FieldValues::File(columns));
    }
    reader.end().map_err(error)?;
    Ok((fields, column_max))
}

fn open_versions(part: &PartReader<'_>, bytes: &Bytes, rows: usize) -> Result<Int64Array, FileError> {
    let column = open_column(part, bytes, (0, part.bytes.len()), &DataType::Int64, rows)?;
    let versions = column.read(0..rows as u64).map_err(|cause| part.wrong(0, &cause))?;
    Ok(versions.as_primitive::<Int64Type>().clone())
}

fn read_keys_before(reader: &mut Reader<'_>) -> Result<(SegmentId, StringArray), BinaryError> {
    let segment = SegmentId(reader.varint()?);
    let rows = reader.count()?;
    let mut ids = StringBuilder::new();
    for _ in 0..rows {
        ids.append_value(reader.text()?);
    }
    Ok((segment, ids.finish()))
}

fn read_fields_before(reader: &mut Reader<'_>, rows: usize) -> Result<Fields, BinaryError> {
    let (mut fields, mut column_max) = (BTreeMap::new(), 0);
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if fields.last_key_value().is_some_and(|(before, _)| *before >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let values = columns::decode(reader, rows)?;
        column_max = column_max.max(values.bytes());
        fields.insert(field, FieldValues::Memory(values));
    }
    Ok((fields, column_max))
}
