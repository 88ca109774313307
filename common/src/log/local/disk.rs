//! The seam between the log and the disk: every operation whose failing the log must survive.
//!
//! In come file operations; out go their effects. Two implementations: [`RealDisk`], and the tests' disk that fails and
//! stalls on command. This file also owns the three ways in which the log uses it beyond plain calls: making a file appear
//! whole or not at all, the lock of the directory, and a reserve of space. Reading needs no seam: its checksums catch a disk
//! that lies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::{FullCause, LogError};

/// Name of the file whose lock means that the directory is in use.
const LOCK_FILE: &str = "LOCK";

/// Name of the file that keeps space.
const RESERVE_FILE: &str = "RESERVE";

/// So much space is kept: a checkpoint of ten thousand shards.
const RESERVE_BYTES: usize = 256 << 10;

/// Ending of the name of a file that is not finished.
pub(super) const UNFINISHED_ENDING: &str = ".new";

/// The operations that change what is on disk.
pub(super) trait Disk: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's content and length durable.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file to `length`.
    fn set_length(&self, file: &File, length: u64) -> io::Result<()>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// No space. What had been written was taken back: the log is as it was.
    Full,
    /// Nobody knows what is on disk.
    Broken(LogError),
}

impl Failure {
    /// Tells the failure as an error of opening the log in `directory`.
    pub(super) fn into_error(self, directory: &Path) -> LogError {
        match self {
            Failure::Full => LogError::Full { path: directory.to_owned(), cause: FullCause::Disk },
            Failure::Broken(error) => error,
        }
    }
}

/// Tells whether an error means that there is no space, rather than that the disk is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a file with the content `bytes` appear under `path`, durably, whole or not at all; replaces what was there.
///
/// # Errors
///
/// [`Failure::Full`] if the content did not fit; then nothing changed. [`Failure::Broken`] on all else.
pub(super) fn make_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<File, Failure> {
    let broken = |action, path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Broken(LogError::io(action, &path, error))
    };
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED_ENDING);
    let unfinished = PathBuf::from(unfinished);
    let directory = path.parent().expect("every file of the log lies in its directory");
    let file = match OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished) {
        Ok(file) => file,
        Err(error) if is_full(&error) => return Err(Failure::Full),
        Err(error) => return Err(broken("create", &unfinished)(error)),
    };
    match disk.write_at(&file, bytes, 0) {
        Ok(()) => {}
        Err(error) if is_full(&error) => {
            disk.remove(&unfinished).map_err(broken("remove", &unfinished))?;
            return Err(Failure::Full);
        }
        Err(error) => return Err(broken("write", &unfinished)(error)),
    }
    disk.sync(&file).map_err(broken("sync", &unfinished))?;
    disk.rename(&unfinished, path).map_err(broken("rename", &unfinished))?;
    disk.sync_directory(directory).map_err(broken("sync", directory))?;
    Ok(file)
}

/// Space that is kept for noting what the log lets go of. Without it a full disk would stay full: there would be no space to say which
/// records are not needed any more, and so none to remove their files.
///
/// It needs to be neither durable nor seen by tests: where it is not there, a full disk waits for someone to make room.
pub(super) struct Reserve {
    path: PathBuf,
    there: bool,
}

impl Reserve {
    /// Takes what is kept in `directory`; [`Reserve::renew`] makes it.
    pub(super) fn of(directory: &Path) -> Reserve {
        let path = directory.join(RESERVE_FILE);
        let there = path.metadata().is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        Reserve { path, there }
    }

    /// Keeps the space, if it is not kept and there is so much.
    pub(super) fn renew(&mut self) {
        if self.there {
            return;
        }
        // Written, not only made as long: a file with a hole keeps nothing.
        let written = File::create(&self.path).and_then(|mut file| file.write_all(&vec![0; RESERVE_BYTES]));
        self.there = written.is_ok();
        if !self.there {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Gives the space back; tells whether there was any.
    pub(super) fn give_up(&mut self) -> bool {
        std::mem::take(&mut self.there) && std::fs::remove_file(&self.path).is_ok()
    }
}

/// Holds the directory for this process until dropped.
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `directory`.
    ///
    /// # Errors
    ///
    /// [`LogError::Locked`] if somebody has it, [`LogError::Io`] if it cannot be asked for.
    pub(super) fn take(directory: &Path) -> Result<DirectoryLock, LogError> {
        let path = directory.join(LOCK_FILE);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| LogError::io("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LogError::Locked { path: directory.to_owned() }),
            Err(TryLockError::Error(error)) => Err(LogError::io("lock", &path, error)),
        }
    }
}
