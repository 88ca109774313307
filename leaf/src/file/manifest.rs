//! A manifest: what a shard is made of at one position of its log. Only what the newest one names is live.
//!
//! ```text
//! manifest = number collection shard incarnation:u128 position schema_version feature_level checkpoint count (segment object)…
//!            count (generation segment object)…
//! checkpoint, object = name:text length checksum:u32              codec 2; segments ascend, and generations; the checksum is the
//!                                                                 container's; codec 1 had no generations
//! ```

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use basalt_common::id::{CollectionId, ShardId};
use basalt_common::log::LogIncarnation;
use basalt_common::position::LogPosition;
use std::collections::BTreeMap;

use super::FileError;
use super::container::{Container, ContainerBuilder, Kind, Part, Sealed};
use crate::generation::GenerationId;
use crate::segment::SegmentId;

const CODEC: u8 = 2;
const CODEC_BEFORE: u8 = 1;

/// The level of features that this program writes, and the highest that it reads.
///
/// 1: the first. 2: versions of operations.
pub const FEATURE_LEVEL: u64 = 2;

/// An object of a shard, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its name, within the shard.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// The checksum that stands for its bytes.
    pub checksum: u32,
}

/// What a shard is made of at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its number: 1, 2, 3, …
    pub number: u64,
    /// The shard.
    pub shard: ShardId,
    /// The log that the position is of.
    pub incarnation: LogIncarnation,
    /// The last batch in it.
    pub position: LogPosition,
    /// The least schema version that knows every field.
    pub schema_version: u64,
    /// What was laid over the segments, and what else the log decided.
    pub checkpoint: ObjectRef,
    /// The segments.
    pub segments: BTreeMap<SegmentId, ObjectRef>,
    /// Generations of their fields, each with its segment.
    pub generations: BTreeMap<GenerationId, (SegmentId, ObjectRef)>,
}

/// The object of a manifest.
pub fn encode(manifest: &Manifest) -> Sealed {
    let mut object = ContainerBuilder::new(Kind::Manifest);
    object.part(Part::Manifest, CODEC, |out| {
        put_varint(out, manifest.number);
        put_varint(out, manifest.shard.collection.0.into());
        put_varint(out, manifest.shard.shard.into());
        out.extend_from_slice(&manifest.incarnation.0.to_le_bytes());
        put_varint(out, manifest.position.0);
        put_varint(out, manifest.schema_version);
        put_varint(out, FEATURE_LEVEL);
        put_object(out, &manifest.checkpoint);
        put_varint(out, manifest.segments.len() as u64);
        for (segment, object) in &manifest.segments {
            put_varint(out, segment.0);
            put_object(out, object);
        }
        put_varint(out, manifest.generations.len() as u64);
        for (generation, (segment, object)) in &manifest.generations {
            put_varint(out, generation.0);
            put_varint(out, segment.0);
            put_object(out, object);
        }
    });
    object.seal()
}

fn put_object(out: &mut Vec<u8>, object: &ObjectRef) {
    put_bytes(out, object.name.as_bytes());
    put_varint(out, object.length);
    out.extend_from_slice(&object.checksum.to_le_bytes());
}

/// Reads a manifest back from its checked object.
///
/// # Errors
/// The part is not what [`encode`] writes, or needs features that this program does not have.
pub fn decode(object: &Container<'_>) -> Result<Manifest, FileError> {
    let is_before = object.codec(Part::Manifest) == Some(CODEC_BEFORE);
    object.part(Part::Manifest, if is_before { CODEC_BEFORE } else { CODEC })?.read(|reader| {
        let number = reader.varint()?;
        let shard = ShardId { collection: CollectionId(reader.small()?), shard: reader.small()? };
        let incarnation = LogIncarnation(u128::from_le_bytes(reader.array()?));
        let (position, schema_version) = (LogPosition(reader.varint()?), reader.varint()?);
        if reader.varint()? > FEATURE_LEVEL {
            return Err(reader.error("it needs features that this program does not have; start the one that wrote it"));
        }
        let checkpoint = read_object(reader)?;
        let mut segments = BTreeMap::new();
        for _ in 0..reader.count()? {
            let segment = SegmentId(reader.varint()?);
            if segments.last_key_value().is_some_and(|(before, _)| *before >= segment) {
                return Err(reader.error("segments are not ascending"));
            }
            segments.insert(segment, read_object(reader)?);
        }
        let mut generations = BTreeMap::new();
        for _ in 0..if is_before { 0 } else { reader.count()? } {
            let (generation, segment) = (GenerationId(reader.varint()?), SegmentId(reader.varint()?));
            if generations.last_key_value().is_some_and(|(before, _)| *before >= generation) {
                return Err(reader.error("generations are not ascending"));
            }
            generations.insert(generation, (segment, read_object(reader)?));
        }
        Ok(Manifest { number, shard, incarnation, position, schema_version, checkpoint, segments, generations })
    })
}

fn read_object(reader: &mut Reader<'_>) -> Result<ObjectRef, BinaryError> {
    let name = reader.text()?.to_string();
    Ok(ObjectRef { name, length: reader.varint()?, checksum: u32::from_le_bytes(reader.array()?) })
}
