//! What is on this machine of objects in a store elsewhere.
//!
//! In: ranges of objects. Out: their bytes, mapped from files in one folder, which take a bounded number of bytes together. The
//! end of an object, with all that leads from `_id`s to rows, is here for as long as the object is used; the rest comes in
//! *extents* when it is first read, and goes when others are read more. Who still uses bytes that went keeps them.
//!
//! ```text
//! object   columns, terms, …                       keys  key run  directory
//!          ├── extent ──┤├── extent ──┤ …           └────── end ───────┘
//! files    NAME.offset-length.number                NAME.end
//! ```
//!
//! Nothing here is believed: who opens a part compares its checksum, and drops an extent that is damaged. So files that an earlier
//! process left are taken as they are.

mod fetch;
mod object;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use memmap2::Mmap;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::column::ColumnError;
use fetch::Fetcher;

pub use fetch::{Patience, patiently};
pub use object::{CachedObject, End, ExtentPlace};

/// An extent's weight is counted in these, for weights are small integers.
const WEIGHT_BYTES: u64 = 1 << 10;

/// Stands for `/` in the names of files.
const SLASH: &str = "~";

/// Which extent of which object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// The hash of the object's name.
    object: u64,
    /// Where the extent begins.
    start: usize,
}

/// A range of an object that is here.
#[derive(Debug)]
pub struct Extent {
    length: usize,
    /// Its file; none where it could not be written.
    file: Option<PathBuf>,
    bytes: OnceLock<Bytes>,
    /// What was opened in it: that stays open for as long as it is here.
    opened: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Extent {
    fn new(length: usize, file: Option<PathBuf>, bytes: OnceLock<Bytes>) -> Self {
        Self { length, file, bytes, opened: Mutex::default() }
    }

    /// A range of its bytes.
    ///
    /// # Errors
    /// It is shorter.
    pub fn slice(&self, range: Range<usize>) -> Result<Bytes, ColumnError> {
        let held = self.bytes.get().filter(|bytes| range.end <= bytes.len());
        held.map(|bytes| bytes.slice(range))
            .ok_or(ColumnError::Damaged("an extent of its object is shorter than it was"))
    }

    /// Keeps something open that was opened in it.
    pub fn keep(&self, opened: Arc<dyn Any + Send + Sync>) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(opened);
    }

    /// Maps its file, if that was not done.
    fn map(&self) -> io::Result<()> {
        if let (None, Some(file)) = (self.bytes.get(), &self.file) {
            let mapped = map(file)?;
            if mapped.len() != self.length {
                return Err(io::Error::other("the file has another length than its name says"));
            }
            // Whoever was faster mapped the same.
            let _ = self.bytes.set(mapped);
        }
        Ok(())
    }
}

/// Maps a file of this folder.
fn map(file: &FilePath) -> io::Result<Bytes> {
    let file = fs::File::open(file)?;
    // SAFETY: a file here is written under another name, renamed, and never changes; it goes by its name only. Who cuts it by
    // other means ends the process.
    Ok(Bytes::from_owner(unsafe { Mmap::map(&file)? }))
}

/// What a cache did since it was opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CacheReport {
    /// Bytes of extents that are here.
    pub bytes: u64,
    /// How many ranges were read from the store.
    pub fetches: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
}

/// A bounded folder of ranges of objects.
pub struct Cache {
    folder: PathBuf,
    extents: moka::sync::Cache<Key, Arc<Extent>>,
    fetcher: Fetcher,
    /// The number of the next file: no name is used twice.
    next: AtomicU64,
    /// How often objects are used, by the hashes of their names.
    used: Mutex<HashMap<u64, usize>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn object_hash(path: &Path) -> u64 {
    xxhash_rust::xxh3::xxh3_64(path.as_ref().as_bytes())
}

fn file_name(path: &Path) -> String {
    path.as_ref().replace('/', SLASH)
}

impl Cache {
    /// Opens a folder, made if it is not there, that holds at most so many bytes of extents of a store's objects. What is
    /// there already is taken over.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &FilePath, bytes_max: u64, store: Arc<dyn ObjectStore>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let weigh = |_: &Key, extent: &Arc<Extent>| {
            u32::try_from((extent.length as u64).div_ceil(WEIGHT_BYTES)).unwrap_or(u32::MAX)
        };
        let extents = moka::sync::Cache::builder()
            .max_capacity((bytes_max / WEIGHT_BYTES).max(1))
            .weigher(weigh)
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .eviction_listener(|_, extent: Arc<Extent>, _| {
                if let Some(file) = &extent.file {
                    // Gone is what it is to be; else the next start finds it.
                    let _ = fs::remove_file(file);
                }
            })
            .build();
        let fetcher = Fetcher::new(store)?;
        let cache = Self { folder: folder.into(), extents, fetcher, next: AtomicU64::new(0), used: Mutex::default() };
        cache.take_over()?;
        Ok(cache)
    }

    /// Takes over the files of an earlier process, the newest last.
    fn take_over(&self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str().and_then(extent_of) {
                Some((key, length, number)) => {
                    self.next.fetch_max(number + 1, Ordering::Relaxed);
                    found.push((number, key, length, entry.path()));
                }
                None if name.to_str().is_some_and(|name| name.ends_with(STAGED)) => fs::remove_file(entry.path())?,
                None => {}
            }
        }
        found.sort_unstable_by_key(|(number, ..)| *number);
        for (_, key, length, file) in found {
            self.extents.insert(key, Arc::new(Extent::new(length, Some(file), OnceLock::new())));
        }
        self.extents.run_pending_tasks();
        Ok(())
    }

    /// What is here, and what it took.
    pub fn report(&self) -> CacheReport {
        self.extents.run_pending_tasks();
        let (fetches, fetched_bytes) = self.fetcher.counts();
        CacheReport { bytes: self.extents.weighted_size() * WEIGHT_BYTES, fetches, fetched_bytes }
    }

    /// Lets nobody wait for the store any longer: the process ends.
    pub fn close(&self) {
        self.fetcher.close();
    }

    /// Forgets an object, which is in the store no more.
    pub fn forget(&self, path: &Path) {
        let object = object_hash(path);
        let keys: Vec<Key> = self.extents.iter().map(|(key, _)| *key).filter(|key| key.object == object).collect();
        keys.iter().for_each(|key| self.extents.invalidate(key));
        // What cannot be removed is a file that nobody opens.
        let _ = fs::remove_file(self.folder.join(file_name(path) + END));
    }

    fn note_used(&self, object: u64) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner).entry(object).or_default() += 1;
    }

    fn note_unused(&self, object: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = used.entry(object) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Whether anyone may yet read an object: it must not go from the store then.
    pub fn uses(&self, path: &Path) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&object_hash(path))
    }

    /// Writes a file and maps it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<Bytes> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (staged, file) = (self.folder.join(format!("{number}{STAGED}")), self.folder.join(name));
        let written = fs::File::create(&staged).and_then(|mut file| file.write_all(bytes));
        let named = written.and_then(|()| fs::rename(&staged, &file));
        if let Err(error) = named {
            let _ = fs::remove_file(&staged);
            return Err(error);
        }
        map(&file)
    }

    /// An extent of these bytes: in a file, or in memory where it cannot be written.
    fn extent(&self, path: &Path, start: usize, bytes: Bytes) -> Arc<Extent> {
        let (length, number) = (bytes.len(), self.next.fetch_add(1, Ordering::Relaxed));
        let name = format!("{}.{start}-{length}.{number}", file_name(path));
        let (file, bytes) = match self.write(&name, &bytes) {
            Ok(mapped) => (Some(self.folder.join(name)), mapped),
            Err(error) => {
                tracing::warn!(object = %path, %error, "a part of an object is read, but cannot be cached");
                (None, bytes)
            }
        };
        Arc::new(Extent::new(length, file, bytes.into()))
    }
}

/// What the name of an object's end ends with.
const END: &str = ".end";

/// What the name of a file ends with that is being written.
const STAGED: &str = ".staged";

/// The extent that a file has by its name, its length and its number.
fn extent_of(name: &str) -> Option<(Key, usize, u64)> {
    let mut words = name.rsplitn(3, '.');
    let (number, range, object) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let (start, length) = range.split_once('-')?;
    let object = object_hash(&Path::from(object.replace(SLASH, "/")));
    Some((Key { object, start: start.parse().ok()? }, length.parse().ok()?, number))
}
