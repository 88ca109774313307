//! A disk that can be full.
//!
//! In: a size. Out: a folder that holds no more. It is a file system in memory (tmpfs), mounted for one test: only a real one refuses as
//! disks do, in the middle of a write, at a new file, at a directory. A limit on the size of files (`RLIMIT_FSIZE`) ends the process
//! by a signal, or gives another error, which the log rightly takes for a broken disk. To mount takes root's rights: without them
//! there is none, and whoever asked says so.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Written at once to fill a disk.
const CHUNK: [u8; 1 << 12] = [7; 1 << 12];

/// A small file system.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many bytes; none where this process may not mount.
    ///
    /// # Errors
    /// It fails though this process may.
    pub fn mount(bytes: u64) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "basalt-test"]).arg(folder.path());
        let done = match mount.output() {
            Ok(done) => done,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let said = String::from_utf8_lossy(&done.stderr).to_lowercase();
        match done.status.success() {
            true => Ok(Some(Self { folder })),
            false if said.contains("superuser") || said.contains("permission denied") || said.contains("permitted") => {
                Ok(None)
            }
            false => bail!("a disk of {bytes} bytes cannot be mounted: {said}"),
        }
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Fills it but for about so many bytes.
    ///
    /// # Errors
    /// It cannot be written for another reason than that it is full.
    pub fn fill_but(&self, bytes: u64) -> Result<()> {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.ballast())?;
        loop {
            match ballast.write_all(&CHUNK) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("the disk cannot be filled"),
            }
        }
        let length = ballast.metadata()?.len();
        ensure!(length >= bytes, "the disk has {length} bytes left, not {bytes}");
        ballast.set_len(length - bytes)?;
        Ok(())
    }

    /// Gives back what filled it.
    ///
    /// # Errors
    /// It was not filled.
    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    /// Whether not even a small file fits.
    ///
    /// # Errors
    /// It cannot be written for another reason than that it is full.
    pub fn is_full(&self) -> Result<bool> {
        let path = self.folder.path().join("probe");
        let written = File::create(&path).and_then(|mut probe| probe.write_all(&CHUNK));
        let _ = fs::remove_file(path);
        match written {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(true),
            Err(error) => Err(error).context("the disk cannot be written"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may have files of it open. What is in it goes with it.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
