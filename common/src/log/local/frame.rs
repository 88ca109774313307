//! The frame: how one record lies in a file.
//!
//! In comes a record with its shard and position; out go bytes, and back. This file owns the frame's grammar and its
//! checksums. Where frames lie is left to `writer`, what a bad frame means to `recovery` and `reader`.
//!
//! ```text
//! frame        = magic payload_bytes collection shard reserved position commit_start payload_crc header_crc payload
//! magic        = "BFrm"
//! payload_bytes= u32                     ; all numbers little-endian
//! collection   = u32
//! shard        = u16
//! reserved     = u16                     ; 0
//! position     = u64                     ; dense per shard
//! commit_start = u64                     ; where in this file the frame's commit begins
//! payload_crc  = u32                     ; crc32c of payload
//! header_crc   = u32                     ; crc32c of: the file header's crc, the frame's offset (u64), all fields above
//! payload      = payload_bytes * byte
//! ```
//!
//! - `commit_start` tells recovery what was durable: a commit is written only after the one before it was synced, so
//!   whoever finds the frame knows that every byte of the file below `commit_start` had been synced, and acknowledged.
//! - `header_crc` starts from the file header's checksum, which covers incarnation and file number, and from the frame's
//!   offset. So a frame is valid in one place of one file only: neither a stale block of another file nor a frame
//!   inside a payload (a client may well store a copy of a log) passes for a frame.
//! - The header has a checksum of its own so that its `commit_start` can be believed when the payload is damaged, and so
//!   that a search for frames does not read payloads.

use bytes::{Buf, BufMut};

use super::super::LogRecord;
use crate::id::{CollectionId, ShardId};
use crate::position::LogPosition;

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: u64 = 40;

/// How a frame begins.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"BFrm";

/// Bytes of the header that its checksum covers.
const CHECKED_BYTES: usize = FRAME_HEADER_BYTES as usize - 4;

/// Ties frames to their file: the checksum of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameSeed(pub(super) u32);

impl FrameSeed {
    /// Computes a frame header's checksum from all of it but the checksum.
    fn header_crc(self, offset: u64, fields: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &offset.to_le_bytes()), fields)
    }
}

/// What a frame says of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// The shard that the record belongs to.
    pub(super) shard: ShardId,
    /// The record's position in its shard.
    pub(super) position: LogPosition,
    /// Where in the file the frame's commit begins.
    pub(super) commit_start: u64,
    /// Length of the payload.
    pub(super) payload_bytes: u32,
    /// Checksum of the payload.
    payload_crc: u32,
}

impl FrameHeader {
    /// Describes `payload`, which must be shorter than 4 GiB.
    pub(super) fn new(shard: ShardId, position: LogPosition, commit_start: u64, payload: &[u8]) -> FrameHeader {
        let payload_bytes = u32::try_from(payload.len()).expect("record_bytes_max is below 4 GiB");
        FrameHeader { shard, position, commit_start, payload_bytes, payload_crc: crc32c::crc32c(payload) }
    }

    /// Appends the frame of this header and its payload, to lie at `offset` of the file, to `buffer`.
    pub(super) fn encode(&self, seed: FrameSeed, offset: u64, payload: &[u8], buffer: &mut Vec<u8>) {
        let begin = buffer.len();
        buffer.put_slice(&FRAME_MAGIC);
        buffer.put_u32_le(self.payload_bytes);
        buffer.put_u32_le(self.shard.collection.0);
        buffer.put_u16_le(self.shard.shard);
        buffer.put_u16_le(0);
        buffer.put_u64_le(self.position.0);
        buffer.put_u64_le(self.commit_start);
        buffer.put_u32_le(self.payload_crc);
        let crc = seed.header_crc(offset, &buffer[begin..]);
        buffer.put_u32_le(crc);
        buffer.put_slice(payload);
    }

    /// Reads the header of the frame at `offset` of the file from its first [`FRAME_HEADER_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(super) fn decode(seed: FrameSeed, offset: u64, bytes: &[u8]) -> Result<FrameHeader, &'static str> {
        let Some((mut fields, mut crc)) = bytes.split_at_checked(CHECKED_BYTES).filter(|(_, crc)| crc.len() >= 4)
        else {
            return Err("an incomplete frame header");
        };
        if !fields.starts_with(&FRAME_MAGIC) {
            return Err("no frame");
        }
        if seed.header_crc(offset, fields) != crc.get_u32_le() {
            return Err("a frame header with a wrong checksum");
        }
        fields.advance(FRAME_MAGIC.len());
        let payload_bytes = fields.get_u32_le();
        let shard = ShardId { collection: CollectionId(fields.get_u32_le()), shard: fields.get_u16_le() };
        if fields.get_u16_le() != 0 {
            return Err("a frame header with reserved bits set");
        }
        let position = LogPosition(fields.get_u64_le());
        let commit_start = fields.get_u64_le();
        if commit_start > offset {
            return Err("a frame whose commit begins behind it");
        }
        Ok(FrameHeader { shard, position, commit_start, payload_bytes, payload_crc: fields.get_u32_le() })
    }

    /// Tells whether `payload` is the one that was described.
    pub(super) fn describes(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32c::crc32c(payload) == self.payload_crc
    }

    /// Length of the whole frame.
    pub(super) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES + u64::from(self.payload_bytes)
    }
}

/// Where a frame lies in its file, header included. Eight bytes, as the index keeps one for every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameSpan {
    /// Where it begins.
    pub(super) offset: u32,
    /// How long it is.
    pub(super) bytes: u32,
}

impl FrameSpan {
    /// Makes a span; none if the file is too large to be addressed.
    pub(super) fn new(offset: u64, bytes: u64) -> Option<FrameSpan> {
        offset.checked_add(bytes).filter(|end| *end <= u64::from(u32::MAX))?;
        Some(FrameSpan { offset: u32::try_from(offset).ok()?, bytes: u32::try_from(bytes).ok()? })
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u32 {
        self.offset + self.bytes
    }
}

/// Length of the frame of a record.
pub(super) fn frame_bytes(record: &[u8]) -> u64 {
    FRAME_HEADER_BYTES + record.len() as u64
}

/// Cuts the record out of the bytes of its frame, after checking them.
///
/// # Errors
///
/// What is wrong with the frame, in words.
pub(super) fn open_frame(
    seed: FrameSeed,
    offset: u64,
    (shard, position): (ShardId, LogPosition),
    frame: &bytes::Bytes,
) -> Result<LogRecord, &'static str> {
    let header = FrameHeader::decode(seed, offset, frame)?;
    if (header.shard, header.position) != (shard, position) {
        return Err("the frame of another record");
    }
    let payload = frame.slice(FRAME_HEADER_BYTES as usize..);
    if !header.describes(&payload) {
        return Err("a payload with a wrong checksum");
    }
    Ok((position, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId { collection: CollectionId(7), shard: 3 };
    const SEED: FrameSeed = FrameSeed(0x1234_5678);

    fn encoded(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        FrameHeader::new(SHARD, LogPosition(9), 100, payload).encode(SEED, 200, payload, &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_reads_back() {
        for payload in [&b""[..], b"x", &[0xa5; 5000]] {
            let bytes = encoded(payload);
            assert_eq!(bytes.len() as u64, frame_bytes(payload));
            let record = open_frame(SEED, 200, (SHARD, LogPosition(9)), &bytes.into()).unwrap();
            assert_eq!(record, (LogPosition(9), bytes::Bytes::copy_from_slice(payload)));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encoded(b"some payload");
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open_frame(SEED, 200, (SHARD, LogPosition(9)), &bytes.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_valid_in_one_place_of_one_file() {
        let bytes = encoded(b"some payload");
        assert!(FrameHeader::decode(SEED, 200, &bytes).is_ok());
        assert!(FrameHeader::decode(SEED, 201, &bytes).is_err());
        assert!(FrameHeader::decode(FrameSeed(0x1234_5679), 200, &bytes).is_err());
        assert!(FrameHeader::decode(SEED, 200, &bytes[..39]).is_err());
    }
}
