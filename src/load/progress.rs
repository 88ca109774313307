//! How far a file was loaded: kept for its user, so that a load that was interrupted goes on.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::input::Place;
use crate::user_files::state_file;

/// A load, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What is loaded, and where to; none where it cannot be read again, and nothing is kept.
    load: Option<Load>,
    /// Tells this load from all others: its requests are named by it.
    pub(super) run: String,
    /// The most bytes of its requests: one that is sent again is the same.
    pub(super) batch_bytes: usize,
    /// Bytes of the decompressed input that were taken.
    pub(super) offset: u64,
    /// The line behind these.
    pub(super) line: u64,
    /// Documents taken.
    pub(super) documents: u64,
    /// Documents refused.
    pub(super) failed: u64,
}

/// A file and a collection. A file that was changed is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Load {
    file: PathBuf,
    bytes: u64,
    modified_micros: u128,
    url: String,
    into: String,
}

impl Load {
    fn path(&self) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        (&self.file, &self.url, &self.into).hash(&mut hasher);
        state_file(&format!("load-{:016x}.json", hasher.finish()))
    }
}

impl Progress {
    /// The load of a file, as far as it came before, or as it is `begun` now.
    pub(super) fn of(file: &Path, url: &str, into: &str, begun: Self, anew: bool) -> Result<Self> {
        let metadata = fs::metadata(file)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let load = Load {
            file: file.canonicalize()?,
            bytes: metadata.len(),
            modified_micros: modified.as_micros(),
            url: url.into(),
            into: into.into(),
        };
        let path = load.path()?;
        let begun = Self { load: Some(load), ..begun };
        let kept = match fs::read(path) {
            Ok(text) => serde_json::from_slice::<Self>(&text).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context("what was kept of an earlier load cannot be read"),
        };
        Ok(kept.filter(|kept| !anew && kept.load == begun.load).unwrap_or(begun))
    }

    /// A load that begins, and cannot be gone on with.
    pub(super) fn begin(run: String, batch_bytes: usize) -> Self {
        let Place { offset, line } = Place::default();
        Self { load: None, run, batch_bytes, offset, line, documents: 0, failed: 0 }
    }

    /// Keeps it.
    pub(super) fn keep(&self) -> Result<()> {
        let Some(load) = &self.load else { return Ok(()) };
        let path = load.path()?;
        let next = path.with_extension("next");
        fs::write(&next, serde_json::to_vec(self)?)?;
        fs::rename(&next, &path).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Forgets it: the load is done.
    pub(super) fn forget(&self) -> Result<()> {
        let Some(load) = &self.load else { return Ok(()) };
        match fs::remove_file(load.path()?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
