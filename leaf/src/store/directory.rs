//! A directory as an object store whose puts last.
//!
//! In: puts. Out: the same on `object_store`'s own local store, which by itself syncs neither files nor directories (its
//! `put_opts` writes, then renames or links). A manifest may not last before what it names does, nor its name before its
//! bytes. So a put here writes to a *staged* name, syncs the file, gives it its own name and syncs the directory.
//!
//! What is staged when the process dies is left behind under a name that tells what it was for; it is deleted with other
//! objects that no manifest names. Deletes are not synced: what comes back is rubbish again.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What stands between an object's name and the number of an attempt to put it.
pub(super) const STAGED: &str = ".staged-";

const STORE: &str = "a directory";

/// Opens a directory, made if it is not there, as an object store.
///
/// # Errors
/// It cannot be made or read.
pub fn open_directory(root: &FilePath) -> Result<Arc<dyn ObjectStore>> {
    let generic = |source: io::Error| Error::Generic { store: STORE, source: Box::new(source) };
    std::fs::create_dir_all(root).map_err(generic)?;
    let files = LocalFileSystem::new_with_prefix(root)?;
    let root = std::fs::canonicalize(root).map_err(generic)?;
    sync_upwards(&root, root.parent().unwrap_or(&root)).map_err(generic)?;
    Ok(Arc::new(Directory { files, root }))
}

#[derive(Debug)]
struct Directory {
    files: LocalFileSystem,
    root: PathBuf,
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.root.display())
    }
}

/// Syncs a directory and those it lies in, up to `top`, itself included.
fn sync_upwards(directory: &FilePath, top: &FilePath) -> io::Result<()> {
    for directory in directory.ancestors() {
        File::open(directory)?.sync_all()?;
        if directory == top {
            break;
        }
    }
    Ok(())
}

impl Directory {
    /// Puts the bytes under a staged name that no other put has.
    async fn stage(&self, location: &Path, payload: PutPayload) -> Result<Path> {
        let mut attempt = 0;
        loop {
            let staged = Path::from(format!("{location}{STAGED}{attempt}"));
            match self.files.put_opts(&staged, payload.clone(), PutMode::Create.into()).await {
                Ok(_) => return Ok(staged),
                Err(Error::AlreadyExists { .. }) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn blocking(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<()> {
        let generic = |source| Error::Generic { store: STORE, source };
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| generic(Box::new(error)))?;
        done.map_err(|error| generic(Box::new(error)))
    }

    async fn sync_file(&self, location: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        self.blocking(move || File::open(path)?.sync_all()).await
    }

    /// Syncs the directory of an object, and those above it: they may have been made with it.
    async fn sync_name(&self, location: &Path) -> Result<()> {
        let (path, root) = (self.files.path_to_filesystem(location)?, self.root.clone());
        let directory = path.parent().map_or_else(|| root.clone(), FilePath::to_path_buf);
        self.blocking(move || sync_upwards(&directory, &root)).await
    }

    async fn put(&self, staged: &Path, location: &Path, mode: PutMode) -> Result<()> {
        self.sync_file(staged).await?;
        match mode {
            PutMode::Overwrite => self.files.rename(staged, location).await,
            _ => self.files.copy_if_not_exists(staged, location).await,
        }
    }
}

#[async_trait]
impl ObjectStore for Directory {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return self.files.put_opts(location, payload, options).await;
        }
        let overwrites = matches!(options.mode, PutMode::Overwrite);
        let staged = self.stage(location, payload).await?;
        let put = self.put(&staged, location, options.mode).await;
        if !overwrites || put.is_err() {
            // What is left is deleted as rubbish.
            let _ = self.files.delete(&staged).await;
        }
        if matches!(&put, Ok(()) | Err(Error::AlreadyExists { .. })) {
            // Also where it was there before: whoever takes it for its own must find it lasting.
            self.sync_name(location).await?;
        }
        put.map(|()| PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put_multipart_opts".into(), implementer: self.to_string() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        self.sync_name(to).await
    }
}
