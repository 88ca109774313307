//! One object of the store, as far as it is here.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use super::{Cache, END, Extent, Key, file_name, map, object_hash};
use crate::column::ColumnError;

/// Where an extent lies in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentPlace {
    /// Its first byte.
    pub start: usize,
    /// So many bytes.
    pub length: usize,
}

/// An object in a store elsewhere.
pub struct CachedObject {
    cache: Arc<Cache>,
    path: Path,
    hash: u64,
}

impl fmt::Debug for CachedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CachedObject").field(&self.path.as_ref()).finish()
    }
}

impl Drop for CachedObject {
    fn drop(&mut self) {
        self.cache.note_unused(self.hash);
    }
}

impl CachedObject {
    /// An object by its name. It is *used* for as long as this is there.
    pub fn new(cache: Arc<Cache>, path: Path) -> Arc<Self> {
        let hash = object_hash(&path);
        cache.note_used(hash);
        Arc::new(Self { cache, path, hash })
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn key(&self, extent: ExtentPlace) -> Key {
        Key { object: self.hash, start: extent.start }
    }

    /// Whether an extent is here.
    pub fn has(&self, extent: ExtentPlace) -> bool {
        self.cache.extents.contains_key(&self.key(extent))
    }

    /// Notes that an extent is used.
    pub fn touch(&self, extent: ExtentPlace) {
        self.cache.extents.get(&self.key(extent));
    }

    /// An extent; waits for the store where it is not here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn extent(&self, extent: ExtentPlace) -> Result<Arc<Extent>, ColumnError> {
        let here = self.cache.extents.get(&self.key(extent)).filter(|here| here.length == extent.length);
        if let Some(here) = here {
            match here.map() {
                Ok(()) => return Ok(here),
                // An earlier process left less than its name says, or someone took it away.
                Err(error) => {
                    tracing::warn!(object = %self.path, %error, "a cached part of an object is brought again")
                }
            }
            self.drop_extent(extent);
        }
        let bring = || {
            let bytes = self.cache.fetcher.fetch(&self.path, extent.start..extent.start + extent.length)?;
            Ok(self.cache.extent(&self.path, extent.start, bytes))
        };
        // Of those that want it at once one brings it; none waits longer than it wants to.
        let brought = self.cache.fetcher.persist(|| {
            let brought = self.cache.extents.try_get_with(self.key(extent), bring);
            brought.map_err(|error: Arc<ColumnError>| ColumnError::clone(&error))
        });
        // What has to go for it goes now.
        self.cache.extents.run_pending_tasks();
        brought
    }

    /// Begins to bring an extent here.
    pub fn bring(self: &Arc<Self>, extent: ExtentPlace) {
        if !self.has(extent) {
            let object = Arc::clone(self);
            // Whoever needs it learns how it failed.
            self.cache.fetcher.ahead(move || drop(object.extent(extent)));
        }
    }

    /// Takes an extent of bytes that were just written.
    pub fn take(&self, extent: ExtentPlace, bytes: Bytes) {
        self.cache.extents.insert(self.key(extent), self.cache.extent(&self.path, extent.start, bytes));
        self.cache.extents.run_pending_tasks();
    }

    /// Lets go of an extent that is damaged here.
    pub fn drop_extent(&self, extent: ExtentPlace) {
        self.cache.extents.invalidate(&self.key(extent));
    }

    /// Reads a range from the store, whatever is here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn fetch(&self, start: usize, length: usize) -> Result<Bytes, ColumnError> {
        self.cache.fetcher.persist(|| self.cache.fetcher.fetch(&self.path, start..start + length))
    }
}

/// The end of an object, which stays here.
pub struct End<'o>(pub &'o CachedObject);

impl End<'_> {
    /// What is here of it.
    pub fn saved(&self) -> Option<Bytes> {
        map(&self.0.cache.folder.join(file_name(&self.0.path) + END)).ok()
    }

    /// Saves it here; what is returned is read from there, or from memory where it cannot be saved.
    pub fn save(&self, bytes: Bytes) -> Bytes {
        match self.0.cache.write(&(file_name(&self.0.path) + END), &bytes) {
            Ok(mapped) => mapped,
            Err(error) => {
                tracing::warn!(object = %self.0.path, %error, "the end of an object is in memory: it cannot be cached");
                bytes
            }
        }
    }
}
