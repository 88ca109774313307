//! The scan: reads a file's frames from the first to the first that is not one.
//!
//! In comes an open file; out come its frame headers, payloads checked, and where and why they end. It owns the order of
//! the checks and the search behind a bad frame. What a bad frame means is left to `recovery`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::super::LogError;
use super::file::{FILE_HEADER_BYTES, LogFile};
use super::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader};

/// Bytes read at once: enough for a disk's full speed.
const WINDOW_BYTES: u64 = 1 << 20;

/// What the scan found next.
#[derive(Debug)]
pub(super) enum Step {
    /// A valid frame at an offset.
    Frame(u64, FrameHeader),
    /// Something that is no valid frame, in words.
    Bad(&'static str),
    /// The end of the file.
    End,
}

/// A pass over one file.
pub(super) struct Scan<'file> {
    file: &'file LogFile,
    reader: BufReader<&'file File>,
    length: u64,
    offset: u64,
    payload: Vec<u8>,
}

impl<'file> Scan<'file> {
    /// Begins behind the file's header.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub(super) fn new(file: &'file LogFile) -> Result<Scan<'file>, LogError> {
        let mut reader = BufReader::with_capacity(WINDOW_BYTES as usize, &file.file);
        let sought = reader.seek(SeekFrom::Start(FILE_HEADER_BYTES));
        sought.map_err(|error| LogError::io("read", &file.path, error))?;
        Ok(Scan { file, reader, length: file.length()?, offset: FILE_HEADER_BYTES, payload: Vec::new() })
    }

    /// Where the valid frames end, as far as they were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The file's length.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads the next frame. Not to be called again after anything but a frame.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub(super) fn step(&mut self) -> Result<Step, LogError> {
        let left = self.length - self.offset;
        if left == 0 {
            return Ok(Step::End);
        }
        if left < FRAME_HEADER_BYTES {
            return Ok(Step::Bad("an incomplete frame header"));
        }
        let mut header = [0; FRAME_HEADER_BYTES as usize];
        self.fill(&mut header)?;
        let header = match FrameHeader::decode(self.file.seed, self.offset, &header) {
            Ok(header) => header,
            Err(what) => return Ok(Step::Bad(what)),
        };
        if header.frame_bytes() > left {
            return Ok(Step::Bad("an incomplete payload"));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.payload_bytes as usize, 0);
        self.fill(&mut payload)?;
        let valid = header.describes(&payload);
        self.payload = payload;
        if !valid {
            return Ok(Step::Bad("a payload with a wrong checksum"));
        }
        let offset = self.offset;
        self.offset += header.frame_bytes();
        Ok(Step::Frame(offset, header))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LogError> {
        self.reader.read_exact(bytes).map_err(|error| LogError::io("read", &self.file.path, error))
    }
}

/// Searches every byte of the file from `begin` to `end` for valid frame headers; returns their highest commit start, 0
/// if there is none.
///
/// Lengths behind a bad frame cannot be trusted, hence every byte. A header's checksum holds at its own place only, so
/// what lies inside a payload is not mistaken for a frame.
///
/// # Errors
///
/// [`LogError::Corrupt`] if the file is shorter, [`LogError::Io`].
pub(super) fn commit_start_behind(file: &LogFile, begin: u64, end: u64) -> Result<u64, LogError> {
    let mut highest = 0;
    let mut window = begin;
    while window < end {
        // A header that begins in this window may end in the next.
        let bytes = file.read(window, end.min(window + WINDOW_BYTES + FRAME_HEADER_BYTES))?;
        let candidates = bytes.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, start)| *start == FRAME_MAGIC);
        for (place, _) in candidates {
            let decoded = FrameHeader::decode(file.seed, window + place as u64, &bytes[place..]);
            highest = highest.max(decoded.map_or(0, |header| header.commit_start));
        }
        window += WINDOW_BYTES;
    }
    Ok(highest)
}
