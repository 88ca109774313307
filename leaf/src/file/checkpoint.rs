//! A checkpoint as an object: what was *laid* over segments, *requests*, *sources*, and operations that are *unsettled*.
//!
//! ```text
//! laid       = next_segment count (segment tombstones overlays)…  codec 1; ascending by segment
//! tombstones = count (length roaring)…                            oldest first; Roaring's portable form
//! overlays   = count (field count run…)…                          ascending by field; oldest run first
//! run        = rows (row - the row before - 1)… values            the row before the first is -1
//! requests   = count (until_micros:i64 key:text body_hash:u64 outcomes)…                codec 1; oldest first
//! outcomes   = conflict:u8 added replaced patched deleted ignored missing failed count (row reason:text)…
//! unsettled  = as in unsettled.rs                                 codec 1; left out where there are no versions
//! retention  = let_go_below:i64                                  codec 1; left out where nothing was let go
//! sources    = count (source incarnation:u128 partition epoch (0:u8 | 1:u8 offset))…    codec 1; ascending
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::batch::RequestKey;
use basalt_common::binary::{BinaryError, Reader, put_ascending, put_bytes, put_option, put_varint};
use basalt_common::calls::{OutcomeCounts, Outcomes};
use basalt_common::columns::codec as columns;
use basalt_common::id::{Epoch, FieldId, SourceId};
use basalt_common::position::{SourcePartition, SourceProgress};
use roaring::RoaringBitmap;

use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use super::{FileError, unsettled};
use crate::overlay::{Overlay, Run};
use crate::replica::Checkpoint;
use crate::requests::Kept;
use crate::segment::{SegmentId, SegmentVersion};
use crate::sources::Sources;
use crate::unsettled::Unsettled;

const CODEC: u8 = 1;

/// What was laid over a segment, read before the segment is.
#[derive(Debug, Default)]
pub struct Laid {
    /// The dead rows: disjoint sets.
    pub tombstones: Vec<RoaringBitmap>,
    /// What is laid over fields.
    pub overlays: BTreeMap<FieldId, Overlay>,
}

/// What a checkpoint's object holds.
#[derive(Debug, Default)]
pub struct Checkpointed {
    /// The number of the next segment.
    pub next_segment: u64,
    /// What was laid over each segment.
    pub laid: BTreeMap<SegmentId, Laid>,
    /// The requests kept, oldest first.
    pub requests: Vec<Arc<Kept>>,
    /// How far sources are.
    pub sources: Sources,
    /// What operations with versions may yet change.
    pub unsettled: Unsettled,
    /// Documents of lower event times were let go, if any were.
    pub let_go_below: Option<i64>,
}

/// The object of a checkpoint. Takes long: not for the async threads.
pub fn encode(checkpoint: &Checkpoint) -> Sealed {
    let mut object = ContainerBuilder::new(Kind::Checkpoint);
    object.part(Part::Laid, CODEC, |out| {
        let segments = checkpoint.shard.snapshot.segments();
        put_varint(out, checkpoint.shard.next_segment);
        put_varint(out, segments.len() as u64);
        segments.iter().for_each(|version| put_laid(out, version));
    });
    object.part(Part::Requests, CODEC, |out| {
        put_varint(out, checkpoint.requests.len() as u64);
        checkpoint.requests.iter().for_each(|kept| put_request(out, kept));
    });
    object.part(Part::Sources, CODEC, |out| {
        let progress = checkpoint.sources.progress();
        put_varint(out, progress.len() as u64);
        for (partition, SourceProgress { epoch, offset }) in progress {
            put_varint(out, partition.source.0.into());
            out.extend_from_slice(&partition.incarnation.to_le_bytes());
            put_varint(out, partition.partition.into());
            put_varint(out, epoch.0);
            put_option(out, offset.as_ref(), |out, offset| put_varint(out, *offset));
        }
    });
    let unsettled = &checkpoint.shard.unsettled;
    if unsettled.watermark().is_some() {
        object.part(Part::Unsettled, CODEC, |out| unsettled::put(out, unsettled));
    }
    if let Some(below) = checkpoint.shard.let_go_below {
        object.part(Part::Retention, CODEC, |out| out.extend_from_slice(&below.to_le_bytes()));
    }
    object.seal()
}

fn put_laid(out: &mut Vec<u8>, version: &SegmentVersion) {
    put_varint(out, version.segment().id().0);
    put_varint(out, version.tombstones().len() as u64);
    for rows in version.tombstones() {
        put_varint(out, rows.serialized_size() as u64);
        rows.serialize_into(&mut *out).expect("memory takes what is written to it");
    }
    put_varint(out, version.overlays().len() as u64);
    for (field, overlay) in version.overlays() {
        put_varint(out, field.0.into());
        put_varint(out, overlay.runs().len() as u64);
        for run in overlay.runs() {
            put_ascending(out, run.rows());
            columns::encode(out, run.values());
        }
    }
}

fn put_request(out: &mut Vec<u8>, Kept { request, until_micros, outcomes }: &Kept) {
    out.extend_from_slice(&until_micros.to_le_bytes());
    put_bytes(out, request.key.as_bytes());
    out.extend_from_slice(&request.body_hash.to_le_bytes());
    let Outcomes { counts, failures, conflict } = outcomes;
    let OutcomeCounts { added, replaced, patched, deleted, ignored, missing, failed } = *counts;
    out.push((*conflict).into());
    [added, replaced, patched, deleted, ignored, missing, failed].into_iter().for_each(|count| put_varint(out, count));
    put_varint(out, failures.len() as u64);
    for (row, reason) in failures {
        put_varint(out, (*row).into());
        put_bytes(out, reason.as_bytes());
    }
}

/// Reads a checkpoint back from its checked object. Takes long: not for the async threads.
///
/// # Errors
/// The parts are not what [`encode`] writes.
pub fn decode(object: &Container<'_>) -> Result<Checkpointed, FileError> {
    let (next_segment, laid) = object.part(Part::Laid, CODEC)?.read(|reader| {
        let next_segment = reader.varint()?;
        let mut laid = BTreeMap::new();
        for _ in 0..reader.count()? {
            let segment = SegmentId(reader.varint()?);
            if laid.last_key_value().is_some_and(|(before, _)| *before >= segment) {
                return Err(reader.error("segments are not ascending"));
            }
            laid.insert(segment, read_laid(reader)?);
        }
        Ok((next_segment, laid))
    })?;
    let requests = object.part(Part::Requests, CODEC)?.read(|reader| {
        let count = reader.count()?;
        (0..count).map(|_| read_request(reader).map(Arc::new)).collect()
    })?;
    let sources = object.part(Part::Sources, CODEC)?.read(read_sources)?;
    let unsettled = object.find(Part::Unsettled, CODEC)?.map(|part| part.read(unsettled::read)).transpose()?;
    let unsettled = unsettled.unwrap_or_default();
    let read = |reader: &mut Reader<'_>| reader.array().map(i64::from_le_bytes);
    let let_go_below = object.find(Part::Retention, CODEC)?.map(|part| part.read(read)).transpose()?;
    Ok(Checkpointed { next_segment, laid, requests, sources, unsettled, let_go_below })
}

fn read_laid(reader: &mut Reader<'_>) -> Result<Laid, BinaryError> {
    let mut laid = Laid::default();
    for _ in 0..reader.count()? {
        let mut bytes = reader.bytes()?;
        let rows = RoaringBitmap::deserialize_from(&mut bytes);
        match rows {
            Ok(rows) if bytes.is_empty() => laid.tombstones.push(rows),
            _ => return Err(reader.error("dead rows are no Roaring bitmap")),
        }
    }
    for _ in 0..reader.count()? {
        let field = FieldId(reader.small()?);
        if laid.overlays.last_key_value().is_some_and(|(before, _)| *before >= field) {
            return Err(reader.error("fields are not ascending"));
        }
        let count = reader.count()?;
        let runs = (0..count).map(|_| read_run(reader)).collect::<Result<_, _>>()?;
        laid.overlays.insert(field, Overlay::restore(runs).map_err(|why| reader.error(why))?);
    }
    Ok(laid)
}

fn read_run(reader: &mut Reader<'_>) -> Result<Run, BinaryError> {
    let rows = reader.ascending()?;
    let values = columns::decode(reader, rows.len())?;
    Ok(Run::new(rows, values))
}

fn read_request(reader: &mut Reader<'_>) -> Result<Kept, BinaryError> {
    let until_micros = i64::from_le_bytes(reader.array()?);
    let key = reader.text()?.to_string();
    let request = RequestKey { key, body_hash: u64::from_le_bytes(reader.array()?) };
    let conflict = match reader.byte()? {
        byte @ (0 | 1) => byte == 1,
        _ => return Err(reader.error("a bool is neither 0 nor 1")),
    };
    let counts = OutcomeCounts {
        added: reader.varint()?,
        replaced: reader.varint()?,
        patched: reader.varint()?,
        deleted: reader.varint()?,
        ignored: reader.varint()?,
        missing: reader.varint()?,
        failed: reader.varint()?,
    };
    let mut failures = Vec::new();
    for _ in 0..reader.count()? {
        failures.push((reader.small()?, reader.text()?.to_string()));
    }
    Ok(Kept { request, until_micros, outcomes: Outcomes { counts, failures, conflict } })
}

fn read_sources(reader: &mut Reader<'_>) -> Result<Sources, BinaryError> {
    let mut sources = BTreeMap::new();
    for _ in 0..reader.count()? {
        let source = SourceId(reader.small()?);
        let incarnation = u128::from_le_bytes(reader.array()?);
        let partition = SourcePartition { source, incarnation, partition: reader.small()? };
        let epoch = Epoch(reader.varint()?);
        let offset = reader.option(Reader::varint)?;
        if sources.last_key_value().is_some_and(|(before, _)| *before >= partition) {
            return Err(reader.error("sources are not ascending"));
        }
        sources.insert(partition, SourceProgress { epoch, offset });
    }
    Ok(Sources::restore(sources))
}
