//! The checkpoint: what the files cannot tell by themselves, in one small file that is replaced as a whole.
//!
//! In comes the state of the log when something in it changes for good: a file was begun or is to be dropped, a shard's
//! start moved, the log closes. Out comes that state when the log is opened again. It owns the log's incarnation, the
//! list of files that must exist, and each shard's start; of lengths and ends it only knows lower bounds, but those for
//! certain. Records are left to the files.
//!
//! ```text
//! checkpoint   = magic version incarnation file_count file_count*file shard_count shard_count*shard crc
//! magic        = "BASALTCP"
//! version      = u32                     ; 1; all numbers little-endian
//! incarnation  = u128
//! file_count   = u32
//! file         = number end              ; u64 u64, ascending; end: the length that was durable
//! shard_count  = u32
//! shard        = collection shard start end  ; u32 u16 u64 u64, ascending
//! crc          = u32                     ; crc32c of all above
//! ```
//!
//! The order of a change decides what a crash leaves: a file is begun before it is listed, and listed before a record in
//! it is acknowledged; it is taken from the list before it is removed. So a listed file that is missing is a loss, a
//! file one above the list was begun and never acknowledged from, and an unlisted file below the last is rubbish.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::super::{LogError, LogIncarnation};
use super::disk::{Disk, Failure, make_whole};
use crate::id::{CollectionId, ShardId};

/// Name of the checkpoint's file.
pub(super) const CHECKPOINT_FILE: &str = "CHECKPOINT";
const CHECKPOINT_MAGIC: [u8; 8] = *b"BASALTCP";
const CHECKPOINT_VERSION: u32 = 1;
const VERSION_OFFSET: u64 = 8;
const CRC_BYTES: usize = 4;

/// The positions that a shard has: from `start`, to below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct ShardRange {
    /// The oldest position that can be read.
    pub(super) start: u64,
    /// The position of the next append.
    pub(super) end: u64,
}

/// The content of the checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The log's incarnation.
    pub(super) incarnation: LogIncarnation,
    /// The files that must exist, with the length of each that was durable. Below the last, lengths are final.
    pub(super) files: BTreeMap<u64, u64>,
    /// The shards known; an end may have grown since.
    pub(super) shards: BTreeMap<ShardId, ShardRange>,
}

impl Checkpoint {
    /// Describes a log that has nothing yet.
    pub(super) fn empty(incarnation: LogIncarnation) -> Checkpoint {
        Checkpoint { incarnation, files: BTreeMap::new(), shards: BTreeMap::new() }
    }

    /// Returns where the checkpoint of the log in `directory` lies.
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join(CHECKPOINT_FILE)
    }

    /// Returns the highest file number listed, 0 if there is none.
    pub(super) fn last_file(&self) -> u64 {
        self.files.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Makes this the checkpoint of the log in `directory`, durably.
    ///
    /// # Errors
    ///
    /// As [`make_whole`].
    pub(super) fn store(&self, disk: &dyn Disk, directory: &Path) -> Result<(), Failure> {
        make_whole(disk, &Checkpoint::path(directory), &self.encode()).map(|_| ())
    }

    /// Reads the checkpoint of the log in `directory`; none if there is no such file.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`], [`LogError::UnknownVersion`] and [`LogError::Io`].
    pub(super) fn load(directory: &Path) -> Result<Option<Checkpoint>, LogError> {
        let path = Checkpoint::path(directory);
        match std::fs::read(&path) {
            Ok(bytes) => Checkpoint::decode(&path, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path, error)),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.files.len() * 16 + self.shards.len() * 22);
        bytes.put_slice(&CHECKPOINT_MAGIC);
        bytes.put_u32_le(CHECKPOINT_VERSION);
        bytes.put_u128_le(self.incarnation.0);
        bytes.put_u32_le(u32::try_from(self.files.len()).expect("log_bytes_max keeps files below 4 billion"));
        for (number, end) in &self.files {
            bytes.put_u64_le(*number);
            bytes.put_u64_le(*end);
        }
        bytes.put_u32_le(u32::try_from(self.shards.len()).expect("a node has less than 4 billion shards"));
        for (shard, range) in &self.shards {
            bytes.put_u32_le(shard.collection.0);
            bytes.put_u16_le(shard.shard);
            bytes.put_u64_le(range.start);
            bytes.put_u64_le(range.end);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        bytes
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Checkpoint, LogError> {
        let cut = || LogError::corrupt(path, bytes.len() as u64, "it ends too early");
        let (mut fields, mut crc) = bytes.split_at(bytes.len().saturating_sub(CRC_BYTES));
        if !fields.starts_with(&CHECKPOINT_MAGIC) {
            return Err(LogError::corrupt(path, 0, "it does not begin like a checkpoint"));
        }
        let checked = fields;
        fields.advance(CHECKPOINT_MAGIC.len());
        let version = fields.try_get_u32_le().map_err(|_| cut())?;
        if version != CHECKPOINT_VERSION {
            let (path, offset) = (path.to_owned(), VERSION_OFFSET);
            return Err(LogError::UnknownVersion { path, offset, found: version, known: CHECKPOINT_VERSION });
        }
        if crc32c::crc32c(checked) != crc.get_u32_le() {
            return Err(LogError::corrupt(path, checked.len() as u64, "it has a wrong checksum"));
        }
        let checkpoint = Checkpoint::decode_fields(&mut fields).map_err(|_| cut())?;
        match fields.is_empty() {
            true => Ok(checkpoint),
            false => Err(LogError::corrupt(path, (checked.len() - fields.len()) as u64, "it goes on after its end")),
        }
    }

    fn decode_fields(fields: &mut &[u8]) -> Result<Checkpoint, bytes::TryGetError> {
        let mut checkpoint = Checkpoint::empty(LogIncarnation(fields.try_get_u128_le()?));
        for _ in 0..fields.try_get_u32_le()? {
            checkpoint.files.insert(fields.try_get_u64_le()?, fields.try_get_u64_le()?);
        }
        for _ in 0..fields.try_get_u32_le()? {
            let shard = ShardId { collection: CollectionId(fields.try_get_u32_le()?), shard: fields.try_get_u16_le()? };
            let range = ShardRange { start: fields.try_get_u64_le()?, end: fields.try_get_u64_le()? };
            checkpoint.shards.insert(shard, range);
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_every_damage_is_noticed() {
        let shard = ShardId { collection: CollectionId(2), shard: 1 };
        let checkpoint = Checkpoint {
            incarnation: LogIncarnation(77),
            files: BTreeMap::from([(3, 100), (5, 48)]),
            shards: BTreeMap::from([(shard, ShardRange { start: 4, end: 9 })]),
        };
        let path = Path::new("CHECKPOINT");
        for checkpoint in [checkpoint, Checkpoint::empty(LogIncarnation(0))] {
            let bytes = checkpoint.encode();
            assert_eq!(Checkpoint::decode(path, &bytes).unwrap(), checkpoint);
            for length in 0..bytes.len() {
                assert!(Checkpoint::decode(path, &bytes[..length]).is_err(), "length {length}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Checkpoint::decode(path, &bytes).is_err(), "bit {bit}");
            }
        }
    }
}
