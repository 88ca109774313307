//! Parts in one object, each with a codec, a length and a checksum of its own.
//!
//! ```text
//! object    = magic part… directory tail
//! magic     = "BSLT" kind:3 version:u8(2)                          kind is "seg", "chk" or "man"
//! part      = zeros bytes                                         zeros up to the next multiple of 64 bytes
//! directory = count (part:u8 codec:u8 label offset length crc32c:u32)…
//!                                                                 ascending by offset; integers are LEB128 unless sized
//! label     = length bytes                                        which of the parts of a kind it is; version 1 had none
//! tail      = directory_length:u32 crc32c:u32 magic               the checksum is the directory's
//! ```
//!
//! Sized integers are little-endian. The directory has the checksums of all parts, so its own stands for the whole object:
//! by it a manifest tells one object from another. Every byte is either compared or in a checksum. An object's parts may be left
//! unread until they are wanted: its end alone says what it is.

use std::ops::Range;

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use bytes::Bytes;

use super::{FileError, PartReader};

/// The version of the container's format.
const VERSION: u8 = 2;

/// The version whose parts have no labels; read, but not written.
const VERSION_BEFORE: u8 = 1;

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
    /// The least event time of a segment.
    EventTime = 9,
    /// Which fields of which segment a generation has.
    Generation = 10,
    /// The rows of a segment in the order of where their places lie.
    Cells = 11,
    /// What was laid over segments.
    Laid = 16,
    /// Requests that came with a key.
    Requests = 17,
    /// How far sources are.
    Sources = 18,
    /// What operations with versions may yet change.
    Unsettled = 19,
    /// Which documents were let go.
    Retention = 20,
    /// What a manifest says.
    Manifest = 32,
}

impl Part {
    const ALL: [Self; 16] = [
        Self::Keys,
        Self::Columns,
        Self::Versions,
        Self::Terms,
        Self::KeyRun,
        Self::Text,
        Self::Elements,
        Self::EventTime,
        Self::Generation,
        Self::Cells,
        Self::Laid,
        Self::Requests,
        Self::Sources,
        Self::Unsettled,
        Self::Retention,
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
            Self::Cells => "cells",
            Self::EventTime => "event time",
            Self::Generation => "generation",
            Self::Laid => "laid",
            Self::Requests => "requests",
            Self::Sources => "sources",
            Self::Unsettled => "unsettled",
            Self::Retention => "retention",
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

/// Where a part lies, and what it is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    part: u8,
    codec: u8,
    /// Which of the parts of its kind it is.
    pub(super) label: Vec<u8>,
    /// Where in the object.
    pub(super) offset: usize,
    /// Of so many bytes.
    pub(super) length: usize,
    /// Of these.
    pub(super) checksum: u32,
}

impl Entry {
    fn end(&self) -> usize {
        self.offset.saturating_add(self.length)
    }
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
        Self::with_capacity(kind, 0)
    }

    /// Begins an object of about so many bytes.
    pub fn with_capacity(kind: Kind, bytes: usize) -> Self {
        let mut held = Vec::with_capacity(bytes);
        held.extend_from_slice(&kind.magic());
        Self { kind, bytes: held, entries: Vec::new() }
    }

    /// Appends a part, which `fill` appends to the bytes.
    pub fn part(&mut self, part: Part, codec: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        self.labelled(part, codec, Vec::new(), fill);
    }

    /// Appends one of several parts of a kind.
    pub fn labelled(&mut self, part: Part, codec: u8, label: Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(offset, 0);
        fill(&mut self.bytes);
        let (length, checksum) = (self.bytes.len() - offset, crc32c::crc32c(&self.bytes[offset..]));
        self.entries.push(Entry { part: part as u8, codec, label, offset, length, checksum });
    }

    /// The object.
    pub fn seal(self) -> Sealed {
        let Self { kind, mut bytes, entries } = self;
        let start = bytes.len();
        put_varint(&mut bytes, entries.len() as u64);
        for entry in &entries {
            bytes.extend([entry.part, entry.codec]);
            put_bytes(&mut bytes, &entry.label);
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

/// An object whose end was checked, and maybe all of it.
#[derive(Debug)]
pub struct Container<'b> {
    object: &'b str,
    /// The object's bytes from `start` on.
    bytes: &'b [u8],
    start: usize,
    entries: Vec<Entry>,
    checksum: u32,
    version: u8,
}

/// What the end of an object says.
#[derive(Debug)]
pub enum End<'b> {
    /// What it is.
    Known(Container<'b>),
    /// That so many bytes of the end are needed.
    Longer(usize),
}

impl<'b> Container<'b> {
    /// Checks every byte of an object named `object`.
    ///
    /// # Errors
    /// The bytes are not what a [`ContainerBuilder`] makes; they are of another kind or version, or damaged.
    pub fn open(object: &'b str, kind: Kind, bytes: &'b [u8]) -> Result<Self, FileError> {
        let error = error_in(object);
        let head = bytes.get(..MAGIC_BYTES).ok_or_else(|| error("head", bytes.len(), "it ends too early"))?;
        let magic = kind.magic();
        if let Some(at) = (0..MAGIC_BYTES - 1).find(|at| head[*at] != magic[*at]) {
            let reason = if at < 4 { "it is no object of a shard" } else { "it is an object of another kind" };
            return Err(error("head", at, reason));
        }
        let opened = match Self::open_end(object, kind, bytes, bytes.len())? {
            End::Known(opened) => opened,
            End::Longer(_) => return Err(error("tail", bytes.len(), "its directory is longer than itself")),
        };
        if head[MAGIC_BYTES - 1] != opened.version {
            return Err(error("head", MAGIC_BYTES - 1, "it is of another version than its end"));
        }
        let mut behind = MAGIC_BYTES;
        for entry in &opened.entries {
            if let Some(at) = (behind..entry.offset).find(|at| bytes[*at] != 0) {
                return Err(error(name_of(entry.part), at, "it is not preceded by zeros"));
            }
            behind = entry.end();
            opened.check(entry)?;
        }
        Ok(opened)
    }

    /// Checks the end of an object of so many bytes, of which `bytes` are the last. Parts are checked when they are read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_end(object: &'b str, kind: Kind, bytes: &'b [u8], length: usize) -> Result<End<'b>, FileError> {
        let error = error_in(object);
        let early = || error("tail", length, "it ends too early");
        let before = length.checked_sub(bytes.len()).ok_or_else(early)?;
        let tail_start = bytes.len().checked_sub(TAIL_BYTES).ok_or_else(early)?;
        if before + tail_start < MAGIC_BYTES {
            return Err(early());
        }
        let read_tail = |reader: &mut Reader<'b>| -> Result<_, BinaryError> {
            Ok((u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?), reader.take(MAGIC_BYTES)?))
        };
        let (directory_bytes, checksum, end) = read_tail(&mut Reader::new(&bytes[tail_start..]))
            .map_err(|wrong| error("tail", before + tail_start + wrong.offset, wrong.reason))?;
        let version = end[MAGIC_BYTES - 1];
        if end[..MAGIC_BYTES - 1] != kind.magic()[..MAGIC_BYTES - 1] {
            return Err(error("tail", length - MAGIC_BYTES, "it does not end as it begins: it was cut"));
        }
        if !(VERSION_BEFORE..=VERSION).contains(&version) {
            return Err(error("tail", length - 1, "it is of a version that this program does not know"));
        }
        let start = (before + tail_start).checked_sub(directory_bytes as usize).filter(|start| *start >= MAGIC_BYTES);
        let start = start.ok_or_else(|| error("tail", before + tail_start, "its directory is longer than itself"))?;
        let Some(within) = start.checked_sub(before) else { return Ok(End::Longer(length - start)) };
        let directory = &bytes[within..tail_start];
        if crc32c::crc32c(directory) != checksum {
            return Err(error("directory", start, "its checksum is another"));
        }
        let entries = read_directory(&mut Reader::new(directory), version)
            .map_err(|wrong| error("directory", start + wrong.offset, wrong.reason))?;
        let mut behind = MAGIC_BYTES;
        for entry in &entries {
            if entry.offset != behind.next_multiple_of(ALIGNMENT) || entry.end() > start {
                let reason = "it does not lie behind the part before and before the directory";
                return Err(error(name_of(entry.part), entry.offset, reason));
            }
            behind = entry.end();
        }
        match behind == start {
            true => Ok(End::Known(Self { object, bytes, start: before, entries, checksum, version })),
            false => Err(error("directory", behind, "it does not lie behind the last part")),
        }
    }

    fn error(&self, part: u8, offset: usize, reason: String) -> FileError {
        FileError { object: self.object.into(), part: name_of(part), offset, reason }
    }

    /// The bytes of a part, unchecked.
    pub(super) fn held(&self, entry: &Entry) -> Result<&'b [u8], FileError> {
        let held = entry.offset.checked_sub(self.start).and_then(|start| self.bytes.get(start..start + entry.length));
        held.ok_or_else(|| self.error(entry.part, entry.offset, "it was not read".into()))
    }

    /// The bytes of a part, which are checked.
    fn check(&self, entry: &Entry) -> Result<&'b [u8], FileError> {
        let held = self.held(entry)?;
        match crc32c::crc32c(held) == entry.checksum {
            true => Ok(held),
            false => Err(self.error(entry.part, entry.offset, "its checksum is another".into())),
        }
    }

    /// Its name, for errors.
    pub(super) fn name(&self) -> &'b str {
        self.object
    }

    /// Whether its parts have labels: what is read of it may then be left for later.
    pub fn is_labelled(&self) -> bool {
        self.version != VERSION_BEFORE
    }

    /// The checksum that stands for the object.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.start + self.bytes.len()
    }

    /// Where parts of a kind lie in the object.
    pub fn places(&self, part: Part) -> impl Iterator<Item = Range<usize>> {
        self.entries(part).map(|entry| entry.offset..entry.end())
    }

    /// Where parts of a kind lie, and their codecs.
    pub(super) fn entries(&self, part: Part) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.part == part as u8)
    }

    /// Where the part lies of which an object has one, which must be in the codec given.
    pub(super) fn only(&self, part: Part, codec: u8) -> Result<&Entry, FileError> {
        let entry = self.entries(part).next();
        let entry = entry.ok_or_else(|| self.error(part as u8, self.bytes(), "it is not there".into()))?;
        self.expect_codec(entry, codec)?;
        Ok(entry)
    }

    /// Checks that a part is in the codec given.
    pub(super) fn expect_codec(&self, entry: &Entry, codec: u8) -> Result<(), FileError> {
        let reason = || format!("it is in codec {}, and this program reads {codec}", entry.codec);
        if entry.codec == codec { Ok(()) } else { Err(self.error(entry.part, entry.offset, reason())) }
    }

    /// Reads a part's label.
    pub(super) fn label<T>(
        &self,
        entry: &Entry,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, BinaryError>,
    ) -> Result<T, FileError> {
        let mut reader = Reader::new(&entry.label);
        let read = read(&mut reader).and_then(|value| reader.end().map(|()| value));
        read.map_err(|wrong| self.error(entry.part, entry.offset, format!("its label is damaged: {}", wrong.reason)))
    }

    /// The codec of a part, if the object has it.
    pub(super) fn codec(&self, part: Part) -> Option<u8> {
        self.entries(part).next().map(|entry| entry.codec)
    }

    /// A part that not every object of the kind has.
    pub(super) fn find(&self, part: Part, codec: u8) -> Result<Option<PartReader<'b>>, FileError> {
        match self.entries(part).next() {
            Some(_) => self.part(part, codec).map(Some),
            None => Ok(None),
        }
    }

    /// A part, which must be in the codec given. Parts that this program does not know are left alone.
    pub(super) fn part(&self, part: Part, codec: u8) -> Result<PartReader<'b>, FileError> {
        let entry = self.only(part, codec)?;
        Ok(PartReader { object: self.object, part, start: entry.offset, bytes: self.check(entry)? })
    }
}

fn error_in(object: &str) -> impl Fn(&'static str, usize, &str) -> FileError {
    move |part, offset, reason| FileError { object: object.into(), part, offset, reason: reason.into() }
}

fn read_directory(reader: &mut Reader<'_>, version: u8) -> Result<Vec<Entry>, BinaryError> {
    let mut entries = Vec::new();
    for _ in 0..reader.count()? {
        let (part, codec) = (reader.byte()?, reader.byte()?);
        let label = if version == VERSION_BEFORE { Vec::new() } else { reader.bytes()?.to_vec() };
        let (offset, length) = (reader.small()?, reader.small()?);
        entries.push(Entry { part, codec, label, offset, length, checksum: u32::from_le_bytes(reader.array()?) });
    }
    reader.end()?;
    Ok(entries)
}
