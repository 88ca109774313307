//! The files of an index of texts, as tantivy asks for them: read only, in place.

use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stable_deref_trait::StableDeref;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, RamDirectory, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Directory, Index, TantivyError};

/// The names by which tantivy finds everything else.
const META: &str = "meta.json";

/// The files that a finished index needs to be read.
pub(super) fn files(index: &Index, directory: &RamDirectory) -> Result<BTreeMap<PathBuf, Vec<u8>>, TantivyError> {
    let mut files = BTreeMap::from([(PathBuf::from(META), directory.atomic_read(Path::new(META))?)]);
    for path in index.load_metas()?.list_segment_files() {
        if directory.exists(&path)? {
            let bytes = directory.open_read(&path)?.read_bytes()?;
            files.insert(path, bytes.as_slice().to_vec());
        }
    }
    Ok(files)
}

/// Bytes that stay where they are for as long as someone holds them.
struct Held(Bytes);

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: the bytes of a `Bytes` lie behind a pointer that moving it does not change, and are never changed.
unsafe impl StableDeref for Held {}

/// A directory of what lies in memory, or in a mapped file.
#[derive(Debug, Clone)]
pub(super) struct ReadOnly(Arc<BTreeMap<PathBuf, Bytes>>);

impl ReadOnly {
    pub(super) fn new(files: BTreeMap<PathBuf, Bytes>) -> Self {
        Self(Arc::new(files))
    }

    fn get(&self, path: &Path) -> Result<&Bytes, OpenReadError> {
        self.0.get(path).ok_or_else(|| OpenReadError::FileDoesNotExist(path.into()))
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "an index of texts is read only")
}

impl Directory for ReadOnly {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(OwnedBytes::new(Held(self.get(path)?.clone()))))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(refused()), filepath: path.into() })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.0.contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(refused(), path.into()))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.get(path).map(|bytes| bytes.to_vec())
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(refused())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Err(LockError::IoError(Arc::new(refused())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
