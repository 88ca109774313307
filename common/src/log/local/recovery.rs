//! Recovery: from a directory, after whatever happened to it, to a log that can be written to, or a clear error.
//!
//! In comes a directory; out come an index of every durable record and a checkpoint that agrees with the files. It owns
//! the decision what a bad frame means. Scanning one file for frames is left to `scan`, the formats to `file`, `frame`
//! and `checkpoint`.
//!
//! # The rule
//!
//! 1. Only the last file may have been in the middle of a write: a file is begun only when the one before it is durable
//!    as a whole, so that every earlier file must be valid to the byte, up to the length that its successor's header and
//!    the checkpoint name.
//! 2. In the last file some length is *proven* to have been durable: the greatest of the length that the checkpoint
//!    names and of the `commit_start` of every frame header that is valid at its place, found in order or by searching
//!    all bytes behind the first bad frame. A commit is written only after the one before it was synced, so everything
//!    below a commit's start was.
//! 3. A bad frame, or the end of the file, below the proven length is damage to acknowledged records: an error.
//! 4. A bad frame at or above it belongs to the last commit. No sync that covers it is known to have returned, and pages
//!    of one write reach the disk in any order, so valid frames may well follow it: the file is cut at the bad frame.
//!    Whole frames of that commit in front of it are kept; an append of unknown outcome may land.
//! 5. What is kept above the proven length may be in the page cache only, even marked clean by a sync that failed: it is
//!    written again and synced before any reader sees it.
//!
//! What the rule cannot see: rot within the last commit before a crash, if no checkpoint was made since, looks like a
//! torn write. An orderly close makes one, as do every truncation, every new file, and every opening.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::super::{LogError, LogIncarnation};
use super::checkpoint::{CHECKPOINT_FILE, Checkpoint};
use super::disk::{Disk, Failure, UNFINISHED_ENDING};
use super::file::{FILE_HEADER_BYTES, LogFile, file_number, file_path};
use super::frame::{FrameHeader, FrameSpan};
use super::index::{Index, Placed};
use super::scan::{Scan, Step, commit_start_behind};
use crate::position::LogPosition;

/// Opens the log in `directory`, which must be locked; makes one of incarnation `new_incarnation` if there is none.
///
/// The index that it returns has a last file. The checkpoint on disk lists it with its whole length, unless the disk is full: then it
/// is the one that was there, which the log agrees with too. With the index and the incarnation comes the last file that it lists.
///
/// # Errors
///
/// Every sort of damage to what was acknowledged, as the variant of [`LogError`] that names it. The directory is then as
/// it was, but for unfinished files, which are removed.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    new_incarnation: LogIncarnation,
) -> Result<(Index, LogIncarnation, u64), LogError> {
    let on_disk = list(disk, directory)?;
    let checkpoint = match Checkpoint::load(directory)? {
        Some(checkpoint) => checkpoint,
        None if on_disk.is_empty() => {
            let checkpoint = Checkpoint::empty(new_incarnation);
            checkpoint.store(disk, directory).map_err(|failure| failure.into_error(directory))?;
            checkpoint
        }
        None => {
            return Err(LogError::MissingFile { path: Checkpoint::path(directory) });
        }
    };
    let incarnation = checkpoint.incarnation;
    let mut index = Index::new(&checkpoint);
    let tail = read_files(directory, &checkpoint, &on_disk, &mut index)?;
    check_ends(directory, &checkpoint, &index)?;
    match tail {
        Some(tail) => tail.settle(disk)?,
        None => {
            let made = LogFile::make(disk, directory, incarnation, 1, 0);
            index.add_file(Arc::new(made.map_err(|failure| failure.into_error(directory))?), FILE_HEADER_BYTES);
        }
    }
    remove_unlisted(disk, directory, &checkpoint, &on_disk)?;
    let agreed = index.checkpoint(incarnation);
    let listed = match agreed.store(disk, directory) {
        Ok(()) => agreed.last_file(),
        // What is there can be read all the same, and nothing is appended to a file that is not listed.
        Err(Failure::Full) => checkpoint.last_file(),
        Err(Failure::Broken(error)) => return Err(error),
    };
    Ok((index, incarnation, listed))
}

/// Lists the numbers of the log files in `directory`, and removes what a crash left unfinished.
fn list(disk: &dyn Disk, directory: &Path) -> Result<BTreeSet<u64>, LogError> {
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(|error| LogError::io("list", directory, error))? {
        let path = entry.map_err(|error| LogError::io("list", directory, error))?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        numbers.extend(file_number(name));
        let unfinished = name.strip_suffix(UNFINISHED_ENDING);
        if unfinished.is_some_and(|name| name == CHECKPOINT_FILE || file_number(name).is_some()) {
            disk.remove(&path).map_err(|error| LogError::io("remove", &path, error))?;
        }
    }
    Ok(numbers)
}

/// Reads every file that counts, in order, into the index; returns how the last one ends.
fn read_files(
    directory: &Path,
    checkpoint: &Checkpoint,
    on_disk: &BTreeSet<u64>,
    index: &mut Index,
) -> Result<Option<Tail>, LogError> {
    // A crash may have come between making a file and listing it.
    let begun = checkpoint.last_file() + 1;
    if let Some(stray) = on_disk.range(begun + 1..).next() {
        return Err(LogError::StrayFile { path: file_path(directory, *stray), last: begun });
    }
    let numbers = checkpoint.files.keys().copied().chain(on_disk.get(&begun).copied());
    let opened = numbers.map(|number| LogFile::open(directory, checkpoint.incarnation, number).map(Arc::new));
    let files = opened.collect::<Result<Vec<_>, LogError>>()?;

    for (file, next) in files.iter().zip(&files[1.min(files.len())..]) {
        let listed = checkpoint.files[&file.number];
        let end = match next.number == file.number + 1 {
            true => next.previous_end.max(listed),
            false => listed,
        };
        index.add_file(Arc::clone(file), end);
        read_whole(file, end, index)?;
    }
    let Some(last) = files.last() else {
        return Ok(None);
    };
    index.add_file(Arc::clone(last), FILE_HEADER_BYTES);
    let listed = checkpoint.files.get(&last.number).copied().unwrap_or(FILE_HEADER_BYTES);
    let tail = Tail::read(last, listed, index)?;
    index.set_last_end(tail.end);
    Ok(Some(tail))
}

/// Reads a file that must consist of valid frames and be `end` bytes long.
fn read_whole(file: &LogFile, end: u64, index: &mut Index) -> Result<(), LogError> {
    let mut scan = Scan::new(file)?;
    loop {
        match scan.step()? {
            Step::Frame(offset, header) => add(file, offset, &header, index)?,
            Step::Bad(what) => return Err(LogError::corrupt(&file.path, scan.offset(), what)),
            Step::End if scan.offset() == end => return Ok(()),
            Step::End => {
                let what = format!("it ends here, but at byte {end} when the next file was begun");
                return Err(LogError::corrupt(&file.path, scan.offset(), what));
            }
        }
    }
}

/// Adds the record of a valid frame to the index.
fn add(file: &LogFile, offset: u64, header: &FrameHeader, index: &mut Index) -> Result<(), LogError> {
    let span = FrameSpan::new(offset, header.frame_bytes());
    let span = span.ok_or_else(|| LogError::corrupt(&file.path, offset, "it is longer than 4 GiB"))?;
    let (shard, found) = (header.shard, header.position);
    let added = index.recover(Placed { shard, position: found, span });
    added.map_err(|due| LogError::PositionGap { path: file.path.clone(), offset, shard, due, found })
}

/// Checks that every shard reaches as far as the checkpoint says.
fn check_ends(directory: &Path, checkpoint: &Checkpoint, index: &Index) -> Result<(), LogError> {
    for (shard, range) in &checkpoint.shards {
        let found = index.range(*shard).end;
        if found < range.end {
            let (found, acknowledged) = (LogPosition(found), LogPosition(range.end));
            let path = directory.to_owned();
            return Err(LogError::MissingRecords { path, shard: *shard, found, acknowledged });
        }
    }
    Ok(())
}

/// Removes the files that the checkpoint had given up before a crash.
fn remove_unlisted(
    disk: &dyn Disk,
    directory: &Path,
    checkpoint: &Checkpoint,
    on_disk: &BTreeSet<u64>,
) -> Result<(), LogError> {
    let listed_last = checkpoint.last_file();
    for number in on_disk.range(..=listed_last).filter(|number| !checkpoint.files.contains_key(number)) {
        let path = file_path(directory, *number);
        tracing::info!(path = %path.display(), "removing a file without live records");
        disk.remove(&path).map_err(|error| LogError::io("remove", &path, error))?;
    }
    Ok(())
}

/// How the last file ends, and what that calls for.
struct Tail {
    file: Arc<LogFile>,
    /// Length up to which it is known to have been durable.
    proven: u64,
    /// Length of its valid frames.
    end: u64,
    /// Its length on disk.
    length: u64,
    /// What lies behind the valid frames, if anything does.
    torn: Option<&'static str>,
}

impl Tail {
    /// Reads the last file, of which `listed` bytes are known to have been durable.
    fn read(file: &Arc<LogFile>, listed: u64, index: &mut Index) -> Result<Tail, LogError> {
        let mut scan = Scan::new(file)?;
        let mut proven = listed;
        let torn = loop {
            match scan.step()? {
                Step::Frame(offset, header) => {
                    proven = proven.max(header.commit_start);
                    add(file, offset, &header, index)?;
                }
                Step::Bad(what) => break Some(what),
                Step::End => break None,
            }
        };
        let (end, length) = (scan.offset(), scan.length());
        if torn.is_some() {
            proven = proven.max(commit_start_behind(file, end, length)?);
        }
        if end < proven {
            let what = format!("{}, but it was durable up to byte {proven}", torn.unwrap_or("it ends here"));
            return Err(LogError::corrupt(&file.path, end, what));
        }
        Ok(Tail { file: Arc::clone(file), proven, end, length, torn })
    }

    /// Cuts off what is torn and makes the rest durable.
    fn settle(self, disk: &dyn Disk) -> Result<(), LogError> {
        let LogFile { path, file, .. } = &*self.file;
        if let Some(what) = self.torn {
            let bytes = self.length - self.end;
            tracing::warn!(path = %path.display(), offset = self.end, bytes, what, "cut off an unacknowledged commit");
            disk.set_length(file, self.end).map_err(|error| LogError::io("cut", path, error))?;
        }
        if self.end > self.proven {
            let unproven = self.file.read(self.proven, self.end)?;
            disk.write_at(file, &unproven, self.proven).map_err(|error| LogError::io("write", path, error))?;
        }
        disk.sync(file).map_err(|error| LogError::io("sync", path, error))
    }
}
