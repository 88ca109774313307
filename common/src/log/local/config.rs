//! The settings of the local log: each with its default and the reason for it.
//!
//! In come values from the product's configuration; out goes a checked [`LocalLogConfig`]. Reading a configuration file
//! is left to the product.

use super::super::LogError;
use super::file::FILE_HEADER_BYTES;
use super::frame::FRAME_HEADER_BYTES;

/// Largest length of one file that the index can address.
const ADDRESS_BYTES_MAX: u64 = u32::MAX as u64;

/// The settings of a [`super::LocalLog`]; every queue, file and buffer it has is bounded by one of them.
#[derive(Clone, Debug)]
pub struct LocalLogConfig {
    /// Size beyond which a commit goes to a new file. 64 MiB: small enough that truncation gives space back soon, large
    /// enough that making a file (three syncs) is noise, and 256 open files at the default `log_bytes_max`.
    pub file_bytes_max: u64,
    /// Size of the active file beyond which it is replaced as soon as all its records are dead. 8 MiB: an idle log then
    /// keeps at most this much, and a busy one is not rolled at every truncation.
    pub file_dead_bytes_max: u64,
    /// Largest record. 80 MiB: above the largest request the ingest services take, so that it only stops mistakes.
    pub record_bytes_max: u64,
    /// Most bytes of one commit, unless a single record is larger. 8 MiB: some 10 ms of a plain SSD's writing, the most
    /// that a small append waits behind large ones.
    pub commit_bytes_max: u64,
    /// Most records of one commit. 4096: beyond it the sync is no longer what an append costs.
    pub commit_records_max: usize,
    /// Most requests waiting for the writer; further ones wait in their callers. 8192: two full commits, so that the
    /// writer never runs dry.
    pub queue_records_max: usize,
    /// Most bytes waiting for or in a commit; further appends wait in their callers. 64 MiB: eight full commits. A
    /// record larger than this passes alone.
    pub queue_bytes_max: u64,
    /// Most bytes of all files together; an append that would exceed it is refused. 16 GiB: hours of a busy node's
    /// ingest, well below the disk that such a node has.
    pub log_bytes_max: u64,
    /// Most bytes that a reader fetches at once, unless a single record is larger. 1 MiB: a replay is then bound by the
    /// disk, and a thousand readers hold at most 1 GiB.
    pub read_bytes_max: u64,
}

impl Default for LocalLogConfig {
    fn default() -> LocalLogConfig {
        LocalLogConfig {
            file_bytes_max: 64 << 20,
            file_dead_bytes_max: 8 << 20,
            record_bytes_max: 80 << 20,
            commit_bytes_max: 8 << 20,
            commit_records_max: 4096,
            queue_records_max: 8192,
            queue_bytes_max: 64 << 20,
            log_bytes_max: 16 << 30,
            read_bytes_max: 1 << 20,
        }
    }
}

impl LocalLogConfig {
    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// [`LogError::Setting`] naming the first setting that does not.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let headers = FILE_HEADER_BYTES + FRAME_HEADER_BYTES;
        let one_file = ADDRESS_BYTES_MAX - headers;
        let settings = [
            ("file_bytes_max", self.file_bytes_max, one_file),
            ("record_bytes_max", self.record_bytes_max, one_file),
            ("commit_bytes_max", self.commit_bytes_max, one_file),
            ("queue_bytes_max", self.queue_bytes_max, one_file),
            ("commit_records_max", self.commit_records_max as u64, u64::MAX),
            ("queue_records_max", self.queue_records_max as u64, u64::from(u32::MAX)),
            ("read_bytes_max", self.read_bytes_max, u64::MAX),
        ];
        for (setting, value, max) in settings {
            if value == 0 {
                return Err(LogError::Setting { setting, value, rule: "it must be above 0" });
            }
            if value > max {
                return Err(LogError::Setting { setting, value, rule: "it must be below 4 GiB" });
            }
        }
        // A log whose records are all dead must be able to take the largest record: otherwise it could stay full forever.
        let least =
            [self.file_dead_bytes_max, self.record_bytes_max, 2 * headers].into_iter().fold(0, u64::saturating_add);
        if self.log_bytes_max < least {
            let rule = "it must have room for file_dead_bytes_max and record_bytes_max together";
            return Err(LogError::Setting { setting: "log_bytes_max", value: self.log_bytes_max, rule });
        }
        Ok(())
    }
}
