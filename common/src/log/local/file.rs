//! The file: its name, its header, and checked reading from it.
//!
//! In come a directory and a number; out comes a [`LogFile`], opened and known to be the one meant. Files are only ever
//! appended to, by `writer`, and removed whole. Where a file's frames end is left to `recovery`.
//!
//! ```text
//! file         = header *frame
//! header       = magic version incarnation number previous_end crc
//! magic        = "BASALTLG"
//! version      = u32                     ; 1; all numbers little-endian
//! incarnation  = u128                    ; of the log
//! number       = u64                     ; of the file, from 1, as in its name
//! previous_end = u64                     ; length of the file before it, which never changes again; 0 in file 1
//! crc          = u32                     ; crc32c of all above
//! ```
//!
//! Files are named by their number with 20 digits, so that names sort as numbers: `00000000000000000001.log`. A file
//! appears under its name only once its header is durable, so a file without a whole header is damaged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::{LogError, LogIncarnation, LogRecord};
use super::disk::{Disk, Failure, make_whole};
use super::frame::{FrameSeed, FrameSpan, open_frame};
use crate::id::ShardId;
use crate::position::LogPosition;

/// Length of a file's header.
pub(super) const FILE_HEADER_BYTES: u64 = 48;

/// Ending of a log file's name.
const FILE_ENDING: &str = ".log";

/// Digits of a log file's name.
const FILE_DIGITS: usize = 20;

const FILE_MAGIC: [u8; 8] = *b"BASALTLG";
const FILE_VERSION: u32 = 1;

/// Where in the header its fields begin, for error messages.
const VERSION_OFFSET: u64 = 8;
const INCARNATION_OFFSET: u64 = 12;
const NUMBER_OFFSET: u64 = 28;
const CRC_OFFSET: u64 = 44;

/// Returns the path of file `number` of the log in `directory`.
pub(super) fn file_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:0width$}{FILE_ENDING}", width = FILE_DIGITS))
}

/// Returns the number of the log file called `name`, if it is one.
pub(super) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(FILE_ENDING)?;
    let plain = digits.len() == FILE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0)
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileHeader {
    incarnation: LogIncarnation,
    number: u64,
    previous_end: u64,
}

impl FileHeader {
    fn encode(&self) -> (Vec<u8>, FrameSeed) {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES as usize);
        bytes.put_slice(&FILE_MAGIC);
        bytes.put_u32_le(FILE_VERSION);
        bytes.put_u128_le(self.incarnation.0);
        bytes.put_u64_le(self.number);
        bytes.put_u64_le(self.previous_end);
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        (bytes, FrameSeed(crc))
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<(FileHeader, FrameSeed), LogError> {
        let Some((mut fields, mut crc)) = bytes.split_at_checked(CRC_OFFSET as usize).filter(|(_, crc)| crc.len() >= 4)
        else {
            return Err(LogError::corrupt(path, 0, "it has no whole header"));
        };
        let checked = fields;
        if fields[..FILE_MAGIC.len()] != FILE_MAGIC {
            return Err(LogError::corrupt(path, 0, "it does not begin like a log file"));
        }
        fields.advance(FILE_MAGIC.len());
        let version = fields.get_u32_le();
        if version != FILE_VERSION {
            let path = path.to_owned();
            return Err(LogError::UnknownVersion { path, offset: VERSION_OFFSET, found: version, known: FILE_VERSION });
        }
        let crc = crc.get_u32_le();
        if crc32c::crc32c(checked) != crc {
            return Err(LogError::corrupt(path, CRC_OFFSET, "its header has a wrong checksum"));
        }
        let incarnation = LogIncarnation(fields.get_u128_le());
        let header = FileHeader { incarnation, number: fields.get_u64_le(), previous_end: fields.get_u64_le() };
        Ok((header, FrameSeed(crc)))
    }
}

/// One file of the log, open for reading and writing.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its number.
    pub(super) number: u64,
    /// Length of the file numbered one lower, when this one was made.
    pub(super) previous_end: u64,
    /// Ties its frames to it.
    pub(super) seed: FrameSeed,
    /// The open file; it stays readable after it was removed from the directory.
    pub(super) file: File,
}

impl LogFile {
    /// Makes file `number`, durably, with a header and no frames.
    ///
    /// # Errors
    ///
    /// As [`make_whole`].
    pub(super) fn make(
        disk: &dyn Disk,
        directory: &Path,
        incarnation: LogIncarnation,
        number: u64,
        previous_end: u64,
    ) -> Result<LogFile, Failure> {
        let path = file_path(directory, number);
        let (bytes, seed) = FileHeader { incarnation, number, previous_end }.encode();
        let file = make_whole(disk, &path, &bytes)?;
        Ok(LogFile { path, number, previous_end, seed, file })
    }

    /// Opens file `number` and checks that it is the one meant.
    ///
    /// # Errors
    ///
    /// [`LogError::MissingFile`], [`LogError::Corrupt`], [`LogError::UnknownVersion`],
    /// [`LogError::ForeignIncarnation`] and [`LogError::Io`].
    pub(super) fn open(directory: &Path, incarnation: LogIncarnation, number: u64) -> Result<LogFile, LogError> {
        let path = file_path(directory, number);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LogError::MissingFile { path }),
            Err(error) => return Err(LogError::io("open", &path, error)),
        };
        let mut bytes = [0; FILE_HEADER_BYTES as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(LogError::corrupt(&path, 0, "it has no whole header"));
            }
            Err(error) => return Err(LogError::io("read", &path, error)),
        }
        let (header, seed) = FileHeader::decode(&path, &bytes)?;
        if header.incarnation != incarnation {
            let (found, own) = (header.incarnation, incarnation);
            return Err(LogError::ForeignIncarnation { path, offset: INCARNATION_OFFSET, found, own });
        }
        if header.number != number {
            let what = format!("it is file {} under another name", header.number);
            return Err(LogError::corrupt(&path, NUMBER_OFFSET, what));
        }
        Ok(LogFile { path, number, previous_end: header.previous_end, seed, file })
    }

    /// Returns the file's length on disk.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub(super) fn length(&self) -> Result<u64, LogError> {
        Ok(self.file.metadata().map_err(|error| LogError::io("inspect", &self.path, error))?.len())
    }

    /// Reads the bytes from `begin` to `end`.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if the file is shorter, [`LogError::Io`].
    pub(super) fn read(&self, begin: u64, end: u64) -> Result<Bytes, LogError> {
        let mut bytes = BytesMut::zeroed(usize::try_from(end - begin).expect("files are below 4 GiB"));
        match self.file.read_exact_at(&mut bytes, begin) {
            Ok(()) => Ok(bytes.freeze()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(LogError::corrupt(&self.path, begin, format!("it ends before byte {end}")))
            }
            Err(error) => Err(LogError::io("read", &self.path, error)),
        }
    }

    /// Cuts the record of the frame at `span` out of `bytes`, which were read from `begin`, after checking it.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if it is not the frame of that record.
    pub(super) fn record(
        &self,
        record: (ShardId, LogPosition),
        span: FrameSpan,
        (begin, bytes): (u64, &Bytes),
    ) -> Result<LogRecord, LogError> {
        let offset = u64::from(span.offset);
        let from = (offset - begin) as usize;
        let frame = bytes.slice(from..from + span.bytes as usize);
        open_frame(self.seed, offset, record, &frame).map_err(|what| {
            let (shard, position) = record;
            LogError::corrupt(
                &self.path,
                offset,
                format!("{what}, instead of position {} of shard {shard}", position.0),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_same() {
        for number in [1, 42, u64::MAX] {
            let path = file_path(Path::new("/log"), number);
            assert_eq!(file_number(path.file_name().unwrap().to_str().unwrap()), Some(number));
        }
        for name in ["1.log", "00000000000000000000.log", "00000000000000000001.log.new", "+0000000000000000001.log"] {
            assert_eq!(file_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let header = FileHeader { incarnation: LogIncarnation(u128::MAX - 5), number: 3, previous_end: 4711 };
        let (bytes, seed) = header.encode();
        assert_eq!(bytes.len() as u64, FILE_HEADER_BYTES);
        assert_eq!(FileHeader::decode(Path::new("f"), &bytes).unwrap(), (header, seed));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(Path::new("f"), &bytes).is_err(), "bit {bit}");
        }
    }
}
