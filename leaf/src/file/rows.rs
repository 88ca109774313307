//! Whole documents by row number: blocks of encoded rows.
//!
//! ```text
//! rows  = count block…
//! block = rows raw_length length zstd:bytes                       of at most 1,024 rows; ends at the first of them behind
//!                                                                 which it has 1 MiB
//! raw   = (count (field value)…)…                                 a row's fields, ascending, those absent left out; value
//!                                                                 is a text of common/src/value/codec.rs
//! ```
//!
//! Fields stand by number, so that rows depend on the log alone, not on names.

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use basalt_common::id::FieldId;
use basalt_common::value::{Value, codec};

use crate::segment::Segment;

/// The most rows of a block: what is decompressed to read one of them.
const BLOCK_ROWS_MAX: usize = 1_024;

/// A block ends behind the row by which it has this many bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// The most bytes that a block may claim to have when it is decompressed: one row cannot be larger than a log's record.
const RAW_BYTES_MAX: usize = 1 << 30;

/// The lowest level: segments are written while batches are applied.
const ZSTD_LEVEL: i32 = 1;

/// Appends a segment's rows.
pub(super) fn encode(out: &mut Vec<u8>, segment: &Segment) {
    let (mut blocks, mut count) = (Vec::new(), 0_u64);
    let (mut raw, mut rows) = (Vec::new(), 0);
    for row in 0..segment.rows() {
        put_row(&mut raw, segment, row);
        rows += 1;
        if rows == BLOCK_ROWS_MAX || raw.len() >= BLOCK_BYTES || row + 1 == segment.rows() {
            put_block(&mut blocks, &raw, rows);
            raw.clear();
            (rows, count) = (0, count + 1);
        }
    }
    put_varint(out, count);
    out.append(&mut blocks);
}

fn put_row(raw: &mut Vec<u8>, segment: &Segment, row: usize) {
    let fields = segment.fields().iter().filter_map(|(field, columns)| Some((field, columns.value(row)?)));
    let fields: Vec<(&FieldId, Value)> = fields.collect();
    put_varint(raw, fields.len() as u64);
    let mut encoded = Vec::new();
    for (field, value) in fields {
        encoded.clear();
        codec::encode(&value, &mut encoded);
        put_varint(raw, field.0.into());
        put_bytes(raw, &encoded);
    }
}

fn put_block(blocks: &mut Vec<u8>, raw: &[u8], rows: usize) {
    put_varint(blocks, rows as u64);
    put_varint(blocks, raw.len() as u64);
    let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("memory takes what is written to it");
    put_bytes(blocks, &packed);
}

/// Reads to the end, and the fields of one row on the way.
pub(super) fn row(reader: &mut Reader<'_>, row: u32) -> Result<Option<Vec<(FieldId, Value)>>, BinaryError> {
    let (mut before, mut found) = (0_usize, None);
    for _ in 0..reader.count()? {
        let (rows, raw_length): (usize, usize) = (reader.small()?, reader.small()?);
        if rows == 0 || rows > BLOCK_ROWS_MAX || raw_length > RAW_BYTES_MAX {
            return Err(reader.error("a block is larger than blocks are"));
        }
        let packed = reader.bytes()?;
        if (before..before + rows).contains(&(row as usize)) {
            let wrong = |_| reader.error("a block cannot be decompressed");
            let raw = zstd::bulk::decompress(packed, raw_length).map_err(wrong)?;
            let wrong = |error: BinaryError| reader.error(error.reason);
            found = Some(read_row(&raw, row as usize - before).map_err(wrong)?);
        }
        before += rows;
    }
    Ok(found)
}

fn read_row(raw: &[u8], row: usize) -> Result<Vec<(FieldId, Value)>, BinaryError> {
    let mut reader = Reader::new(raw);
    for _ in 0..row {
        for _ in 0..reader.count()? {
            reader.varint()?;
            reader.bytes()?;
        }
    }
    let mut fields = Vec::new();
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        let value = codec::decode(reader.bytes()?);
        fields.push((field, value.map_err(|_| reader.error("a value does not decode"))?));
    }
    Ok(fields)
}
