//! Parts in one object, each with a codec, a length and a checksum of its own.
//!
//! ```text
//! object    = magic part… directory tail
//! magic     = "BSLT" kind:3 version:u8(1)                          kind is "seg", "chk" or "man"
//! part      = zeros bytes                                         zeros up to the next multiple of 64 bytes
//! directory = count (part:u8 codec:u8 offset length crc32c:u32)…   ascending by offset; integers are LEB128 unless sized
//! tail      = directory_length:u32 crc32c:u32 magic               the checksum is the directory's
//! ```
//!
//! Sized integers are little-endian. The directory has the checksums of all parts, so its own stands for the whole object:
//! by it a manifest tells one object from another. Every byte is either compared or in a checksum.

use basalt_common::binary::{BinaryError, Reader, put_varint};
use bytes::Bytes;

use super::{FileError, PartReader};

/// The version of the container's format.
const VERSION: u8 = 1;

/// Parts begin at multiples of this, so that they can be read in place.
pub(super) const ALIGNMENT: usize = 64;

const MAGIC_BYTES: usize = 8;
const TAIL_BYTES: usize = 4 + 4 + MAGIC_BYTES;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A segment.
    Segment,
    /// A checkpoint.
    Checkpoint,
    /// A manifest.
    Manifest,
}

impl Kind {
    fn magic(self) -> [u8; MAGIC_BYTES] {
        let mut magic = match self {
            Self::Segment => *b"BSLTseg\0",
            Self::Checkpoint => *b"BSLTchk\0",
            Self::Manifest => *b"BSLTman\0",
        };
        magic[MAGIC_BYTES - 1] = VERSION;
        magic
    }
}

/// What a part of an object holds.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A segment's `_id`s.
    Keys = 1,
    /// A segment's fields, column by column.
    Columns = 2,
    /// The versions of a segment's upserts.
    Versions = 4,
    /// The rows of a segment's columns in the order of their values.
    Terms = 5,
    /// The rows of a segment by the hashes of their `_id`s.
    KeyRun = 6,
    /// The words of a segment's texts.
    Text = 7,
    /// The elements of a segment's arrays.
    Elements = 8,
    /// What was laid over segments.
    Laid = 16,
    /// Requests that came with a key.
    Requests = 17,
    /// How far sources are.
    Sources = 18,
    /// What operations with versions may yet change.
    Unsettled = 19,
    /// What a manifest says.
    Manifest = 32,
}

impl Part {
    const ALL: [Self; 12] = [
        Self::Keys,
        Self::Columns,
        Self::Versions,
        Self::Terms,
        Self::KeyRun,
        Self::Text,
        Self::Elements,
        Self::Laid,
        Self::Requests,
        Self::Sources,
        Self::Unsettled,
        Self::Manifest,
    ];

    /// Its name, for errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Columns => "columns",
            Self::Versions => "versions",
            Self::Terms => "terms",
            Self::KeyRun => "key run",
            Self::Text => "text",
            Self::Elements => "elements",
            Self::Laid => "laid",
            Self::Requests => "requests",
            Self::Sources => "sources",
            Self::Unsettled => "unsettled",
            Self::Manifest => "manifest",
        }
    }
}

/// The name of a part that this program may not know: a later one may have written it.
fn name_of(code: u8) -> &'static str {
    Part::ALL.into_iter().find(|part| *part as u8 == code).map_or("part of an unknown kind", Part::name)
}

/// An object's bytes.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The bytes.
    pub bytes: Bytes,
    /// The checksum that stands for them.
    pub checksum: u32,
}

#[derive(Debug)]
struct Entry {
    part: u8,
    codec: u8,
    offset: usize,
    length: usize,
    checksum: u32,
}

/// Makes an object part by part.
#[derive(Debug)]
pub struct ContainerBuilder {
    kind: Kind,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl ContainerBuilder {
    /// Begins an object.
    pub fn new(kind: Kind) -> Self {
        Self { kind, bytes: kind.magic().into(), entries: Vec::new() }
    }

    /// Appends a part, which `fill` appends to the bytes.
    pub fn part(&mut self, part: Part, codec: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(offset, 0);
        fill(&mut self.bytes);
        let (length, checksum) = (self.bytes.len() - offset, crc32c::crc32c(&self.bytes[offset..]));
        self.entries.push(Entry { part: part as u8, codec, offset, length, checksum });
    }

    /// The object.
    pub fn seal(self) -> Sealed {
        let Self { kind, mut bytes, entries } = self;
        let start = bytes.len();
        put_varint(&mut bytes, entries.len() as u64);
        for entry in &entries {
            bytes.extend([entry.part, entry.codec]);
            put_varint(&mut bytes, entry.offset as u64);
            put_varint(&mut bytes, entry.length as u64);
            bytes.extend_from_slice(&entry.checksum.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[start..]);
        let length = u32::try_from(bytes.len() - start).expect("a directory has a few parts");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&kind.magic());
        Sealed { bytes: bytes.into(), checksum }
    }
}

/// An object whose every byte was checked.
#[derive(Debug)]
pub struct Container<'b> {
    object: &'b str,
    bytes: &'b [u8],
    entries: Vec<Entry>,
    checksum: u32,
}

impl<'b> Container<'b> {
    /// Checks an object named `object`.
    ///
    /// # Errors
    /// The bytes are not what a [`ContainerBuilder`] makes; they are of another kind or version, or damaged.
    pub fn open(object: &'b str, kind: Kind, bytes: &'b [u8]) -> Result<Self, FileError> {
        let error = |part: &'static str, offset: usize, reason: &str| FileError {
            object: object.into(),
            part,
            offset,
            reason: reason.into(),
        };
        let magic = kind.magic();
        let head = bytes.get(..MAGIC_BYTES).ok_or_else(|| error("head", bytes.len(), "it ends too early"))?;
        if let Some(at) = (0..MAGIC_BYTES).find(|at| head[*at] != magic[*at]) {
            let reason = match at {
                0..4 => "it is no object of a shard",
                4..7 => "it is an object of another kind",
                _ => "it is of a version that this program does not know",
            };
            return Err(error("head", at, reason));
        }
        let tail_start = bytes.len().checked_sub(TAIL_BYTES).filter(|start| *start >= MAGIC_BYTES);
        let tail_start = tail_start.ok_or_else(|| error("tail", bytes.len(), "it ends too early"))?;
        let read_tail = |reader: &mut Reader<'b>| -> Result<_, BinaryError> {
            Ok((u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?), reader.take(MAGIC_BYTES)?))
        };
        let (length, checksum, end) = read_tail(&mut Reader::new(&bytes[tail_start..]))
            .map_err(|wrong| error("tail", tail_start + wrong.offset, wrong.reason))?;
        if end != magic {
            return Err(error("tail", bytes.len() - MAGIC_BYTES, "it does not end as it begins: it was cut"));
        }
        let start = tail_start.checked_sub(length as usize).filter(|start| *start >= MAGIC_BYTES);
        let start = start.ok_or_else(|| error("tail", tail_start, "its directory is longer than itself"))?;
        let directory = &bytes[start..tail_start];
        if crc32c::crc32c(directory) != checksum {
            return Err(error("directory", start, "its checksum is another"));
        }
        let entries = read_directory(&mut Reader::new(directory))
            .map_err(|wrong| error("directory", start + wrong.offset, wrong.reason))?;
        let mut behind = MAGIC_BYTES;
        for entry in &entries {
            let name = name_of(entry.part);
            let fits = entry.offset == behind.next_multiple_of(ALIGNMENT)
                && entry.offset.checked_add(entry.length).is_some_and(|end| end <= start);
            if !fits {
                return Err(error(
                    name,
                    entry.offset,
                    "it does not lie behind the part before and before the directory",
                ));
            }
            if let Some(at) = (behind..entry.offset).find(|at| bytes[*at] != 0) {
                return Err(error(name, at, "it is not preceded by zeros"));
            }
            behind = entry.offset + entry.length;
            if crc32c::crc32c(&bytes[entry.offset..behind]) != entry.checksum {
                return Err(error(name, entry.offset, "its checksum is another"));
            }
        }
        match behind == start {
            true => Ok(Self { object, bytes, entries, checksum }),
            false => Err(error("directory", behind, "it does not lie behind the last part")),
        }
    }

    /// Its name, for errors.
    pub(super) fn name(&self) -> &'b str {
        self.object
    }

    /// The checksum that stands for the object.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The codec of a part, if the object has it.
    pub(super) fn codec(&self, part: Part) -> Option<u8> {
        self.entries.iter().find(|entry| entry.part == part as u8).map(|entry| entry.codec)
    }

    /// A part that not every object of the kind has.
    pub(super) fn find(&self, part: Part, codec: u8) -> Result<Option<PartReader<'b>>, FileError> {
        match self.entries.iter().any(|entry| entry.part == part as u8) {
            true => self.part(part, codec).map(Some),
            false => Ok(None),
        }
    }

    /// A part, which must be in the codec given. Parts that this program does not know are left alone.
    pub(super) fn part(&self, part: Part, codec: u8) -> Result<PartReader<'b>, FileError> {
        let error =
            |offset, reason: String| FileError { object: self.object.into(), part: part.name(), offset, reason };
        let entry = self.entries.iter().find(|entry| entry.part == part as u8);
        let entry = entry.ok_or_else(|| error(self.bytes.len(), "it is not there".into()))?;
        if entry.codec != codec {
            let reason = format!("it is in codec {}, and this program reads {codec}", entry.codec);
            return Err(error(entry.offset, reason));
        }
        let bytes = &self.bytes[entry.offset..entry.offset + entry.length];
        Ok(PartReader { object: self.object, part, start: entry.offset, bytes })
    }
}

fn read_directory(reader: &mut Reader<'_>) -> Result<Vec<Entry>, BinaryError> {
    let mut entries = Vec::new();
    for _ in 0..reader.count()? {
        let (part, codec) = (reader.byte()?, reader.byte()?);
        let (offset, length) = (reader.small()?, reader.small()?);
        entries.push(Entry { part, codec, offset, length, checksum: u32::from_le_bytes(reader.array()?) });
    }
    reader.end()?;
    Ok(entries)
}
