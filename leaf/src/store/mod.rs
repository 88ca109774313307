//! One shard's objects in the object store: how they are called, written, found and let go.
//!
//! In: checkpoints of a replica. Out: manifests, and the checkpoint that the newest one names. Owns the names and the order
//! of writes; the forms are the files'. An object is created once and never changes; the store's put-if-absent decides
//! between two writers of one manifest.
//!
//! ```text
//! c7/s0/segment-000000000012-0000000003-0      segment 12, made for manifest 3
//!       checkpoint-0000000003-0
//!       manifest-0000000003                    the last digits of others tell attempts apart
//! ```
//!
//! An object carries the number of the manifest that it was made for. Once that number is taken, whoever made the object
//! either named it then or never will: so what no kept manifest names is rubbish, and no clock is asked.

mod directory;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_common::id::{CollectionId, ShardId};
use bytes::Bytes;
use futures::TryStreamExt;
use memmap2::Mmap;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use thiserror::Error;

use crate::file::container::Kind;
use crate::file::manifest::{Manifest, ObjectRef};
use crate::file::{Container, FileError, Sealed, checkpoint, manifest, segment};
use crate::replica::Checkpoint;
use crate::segment::{Segment, SegmentDamage, SegmentId, SegmentVersion};
use crate::shard::{ShardCheckpoint, Snapshot};

pub use directory::open_directory;
pub use writer::Writer;

/// How many names are tried for an object: more are taken only where something else than this program writes.
const NAMES_MAX: u32 = 64;

/// Why objects could not be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The object store failed.
    #[error("the object store cannot {action} {object}: {cause}; it is tried again")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which object.
        object: String,
        /// How it failed.
        #[source]
        cause: object_store::Error,
    },
    /// A manifest names an object that is not there.
    #[error("object {object} is missing, and manifest {manifest} names it; restore it from a copy")]
    Missing {
        /// The object.
        object: String,
        /// The manifest.
        manifest: u64,
    },
    /// An object is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// An object's parts contradict each other or the manifest.
    #[error("object {object} does not fit manifest {manifest}: {reason}; restore both from one copy")]
    Unfit {
        /// The object.
        object: String,
        /// The manifest.
        manifest: u64,
        /// What does not fit.
        reason: String,
    },
    /// A segment that is to be written again is damaged.
    #[error(transparent)]
    Damaged(#[from] SegmentDamage),
    /// Someone else wrote the manifest that was due.
    #[error(
        "manifest {number} of shard {shard} was written by another; only one may flush a shard: stop one of the two"
    )]
    Raced {
        /// The shard.
        shard: ShardId,
        /// The manifest's number.
        number: u64,
    },
    /// Work off the async threads ended in the middle.
    #[error("encoding or decoding objects of shard {shard} failed: {reason}")]
    Stopped {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: String,
    },
}

/// The collections that have objects in a store.
///
/// # Errors
/// The store cannot be listed.
pub async fn collections(store: &dyn ObjectStore) -> Result<BTreeSet<CollectionId>, StoreError> {
    let failed = |cause| StoreError::Store { action: "list", object: "/".into(), cause };
    let listed = store.list_with_delimiter(None).await.map_err(failed)?;
    let numbers = listed.common_prefixes.iter().filter_map(|prefix| prefix.as_ref().strip_prefix('c')?.parse().ok());
    Ok(numbers.map(CollectionId).collect())
}

/// Deletes all objects of a collection: it was dropped, and nobody writes it any more.
///
/// # Errors
/// The store fails; some objects may be left.
pub async fn delete_collection(store: &dyn ObjectStore, collection: CollectionId) -> Result<(), StoreError> {
    delete_below(store, &Path::from(format!("c{}", collection.0))).await
}

async fn delete_below(store: &dyn ObjectStore, prefix: &Path) -> Result<(), StoreError> {
    let failed = |cause| StoreError::Store { action: "delete", object: prefix.to_string(), cause };
    let objects: Vec<_> = store.list(Some(prefix)).try_collect().await.map_err(failed)?;
    for object in objects {
        match store.delete(&object.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    Ok(())
}

/// The manifest that an object was made for, or that it is, by its name.
fn made_for(name: &str) -> Option<u64> {
    let mut words = name.split(directory::STAGED).next()?.split('-');
    let number = match words.next()? {
        "manifest" | "checkpoint" => words.next()?,
        "segment" => words.nth(1)?,
        _ => return None,
    };
    number.parse().ok()
}

fn manifest_name(number: u64) -> String {
    format!("manifest-{number:010}")
}

/// The number of the manifest that has this name.
fn manifest_number(name: &str) -> Option<u64> {
    made_for(name).filter(|number| manifest_name(*number) == name)
}

/// One shard's objects.
#[derive(Debug, Clone)]
pub struct ShardStore {
    store: Arc<dyn ObjectStore>,
    shard: ShardId,
}

impl ShardStore {
    /// The objects of a shard; touches nothing.
    pub fn new(store: Arc<dyn ObjectStore>, shard: ShardId) -> Self {
        Self { store, shard }
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.shard))
    }

    fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> StoreError {
        let object = self.path(name).to_string();
        move |cause| StoreError::Store { action, object, cause }
    }

    /// Puts an object under a name that begins with `stem` and that no object has, behind that many attempts.
    ///
    /// # Errors
    /// The store fails.
    async fn put(&self, stem: &str, manifest: u64, attempts: u32, object: Sealed) -> Result<ObjectRef, StoreError> {
        let Sealed { bytes, checksum } = object;
        for attempt in attempts..attempts.saturating_add(NAMES_MAX) {
            let name = format!("{stem}-{manifest:010}-{attempt}");
            match self.create(&name, bytes.clone()).await {
                Ok(()) => return Ok(ObjectRef { name, length: bytes.len() as u64, checksum }),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(cause) => return Err(self.failed("put", &name)(cause)),
            }
        }
        let cause = object_store::Error::AlreadyExists { path: stem.into(), source: "all its names are taken".into() };
        Err(self.failed("put", stem)(cause))
    }

    async fn create(&self, name: &str, bytes: Bytes) -> object_store::Result<()> {
        let path = self.path(name);
        self.store.put_opts(&path, PutPayload::from_bytes(bytes), PutMode::Create.into()).await.map(|_| ())
    }

    async fn get(&self, name: &str) -> object_store::Result<Bytes> {
        self.store.get(&self.path(name)).await?.bytes().await
    }

    /// An object to be read in place: mapped, where it is a file.
    async fn map(&self, name: &str) -> object_store::Result<Bytes> {
        let got = self.store.get(&self.path(name)).await?;
        let GetResultPayload::File(file, _) = &got.payload else { return got.bytes().await };
        // SAFETY: an object never changes once it is there, and is removed by its name only. Who cuts a file of the store by
        // other means ends the process.
        match unsafe { Mmap::map(file) } {
            Ok(mapped) => Ok(Bytes::from_owner(mapped)),
            Err(_) => got.bytes().await,
        }
    }

    /// Opens the object of a segment that a manifest names: checks all of it, and reads it in place from then on.
    ///
    /// # Errors
    /// The store fails, or the object is missing, damaged or another.
    pub async fn open_segment(&self, manifest: u64, id: SegmentId, object: &ObjectRef) -> Result<Segment, StoreError> {
        let decode = move |path: &str, bytes: &Bytes, checksum: u32| {
            let segment = segment::decode(&open(path, Kind::Segment, bytes, checksum, manifest)?, bytes)?;
            match segment.id() == id {
                true => Ok(segment),
                false => {
                    let reason = format!("it is segment {}, not {}", segment.id().0, id.0);
                    Err(StoreError::Unfit { object: path.into(), manifest, reason })
                }
            }
        };
        let bytes = self.map(&object.name).await;
        self.read(manifest, object, bytes, decode).await
    }

    /// Makes a manifest the newest. What it names is in the store, durably.
    ///
    /// # Errors
    /// [`StoreError::Raced`] if its number is taken by another; or the store fails, and it may be there or not.
    pub async fn create_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let (name, bytes) = (manifest_name(manifest.number), manifest::encode(manifest).bytes);
        let raced = StoreError::Raced { shard: self.shard, number: manifest.number };
        match self.create(&name, bytes.clone()).await {
            Ok(()) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                // An attempt whose answer was lost may have made it.
                let there = self.get(&name).await.map_err(self.failed("get", &name))?;
                if there != bytes {
                    return Err(raced);
                }
            }
            Err(cause) => return Err(self.failed("put", &name)(cause)),
        }
        // Its number may have been taken and deleted again; two higher ones are there then.
        let names = self.names().await?;
        match names.iter().filter_map(|name| manifest_number(name)).max() == Some(manifest.number) {
            true => Ok(()),
            false => Err(raced),
        }
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let prefix = Path::from(self.shard.to_string());
        let objects: Vec<_> = self.store.list(Some(&prefix)).try_collect().await.map_err(self.failed("list", ""))?;
        Ok(objects.iter().filter_map(|object| object.location.filename().map(String::from)).collect())
    }

    /// The newest manifest; none where the shard was never flushed.
    ///
    /// # Errors
    /// The store fails, or the manifest is damaged. An older one is not taken instead: what the log had below the newest
    /// may be gone.
    pub async fn newest(&self) -> Result<Option<Manifest>, StoreError> {
        let names = self.names().await?;
        let newest = names.iter().filter_map(|name| manifest_number(name)).max();
        let Some(name) = newest.map(manifest_name) else { return Ok(None) };
        let name = &name;
        let bytes = self.get(name).await.map_err(self.failed("get", name))?;
        let path = self.path(name).to_string();
        let read = manifest::decode(&Container::open(&path, Kind::Manifest, &bytes)?)?;
        match read.shard == self.shard && manifest_name(read.number) == *name {
            true => Ok(Some(read)),
            false => {
                let reason = format!("it is manifest {} of shard {}", read.number, read.shard);
                Err(StoreError::Unfit { object: path, manifest: read.number, reason })
            }
        }
    }

    /// Reads what a manifest names.
    ///
    /// # Errors
    /// The store fails, or an object is missing, damaged or another.
    pub async fn load(&self, manifest: &Manifest) -> Result<Checkpoint, StoreError> {
        let number = manifest.number;
        let decode = move |path: &str, bytes: &Bytes, checksum: u32| {
            let object = open(path, Kind::Checkpoint, bytes, checksum, number)?;
            Ok(checkpoint::decode(&object)?)
        };
        let bytes = self.get(&manifest.checkpoint.name).await;
        let mut kept = self.read(manifest.number, &manifest.checkpoint, bytes, decode).await?;
        let mut versions = Vec::new();
        for (id, object) in &manifest.segments {
            let unfit = |reason: &str| {
                let (object, reason) = (self.path(&object.name).to_string(), reason.to_string());
                StoreError::Unfit { object, manifest: number, reason }
            };
            let segment = self.open_segment(number, *id, object).await?;
            let laid = kept.laid.remove(id).ok_or_else(|| unfit("the checkpoint does not know it"))?;
            versions.push(Arc::new(SegmentVersion::restore(segment, laid.tombstones, laid.overlays).map_err(unfit)?));
        }
        if let Some((segment, _)) = kept.laid.first_key_value() {
            let reason = format!("it knows segment {}, and the manifest does not", segment.0);
            let object = self.path(&manifest.checkpoint.name).to_string();
            return Err(StoreError::Unfit { object, manifest: number, reason });
        }
        let snapshot = Arc::new(Snapshot::new(Some(manifest.position), versions));
        let shard = ShardCheckpoint {
            snapshot,
            next_segment: kept.next_segment,
            schema_version: manifest.schema_version,
            unsettled: kept.unsettled,
        };
        Ok(Checkpoint { shard, requests: kept.requests, sources: kept.sources })
    }

    /// Decodes an object that was got, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        manifest: u64,
        object: &ObjectRef,
        got: object_store::Result<Bytes>,
        decode: impl FnOnce(&str, &Bytes, u32) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path(&object.name).to_string();
        let bytes = match got {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => return Err(StoreError::Missing { object: path, manifest }),
            Err(cause) => return Err(self.failed("get", &object.name)(cause)),
        };
        if bytes.len() as u64 != object.length {
            let reason = format!("it has {} bytes, not {}", bytes.len(), object.length);
            return Err(StoreError::Unfit { object: path, manifest, reason });
        }
        let checksum = object.checksum;
        self.off_the_async_threads(move || decode(&path, &bytes, checksum)).await?
    }

    async fn off_the_async_threads<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped =
            |error: tokio::task::JoinError| StoreError::Stopped { shard: self.shard, reason: error.to_string() };
        tokio::task::spawn_blocking(work).await.map_err(stopped)
    }

    /// Deletes what neither of two manifests names and no later one can name; returns how many objects that were.
    ///
    /// # Errors
    /// The store fails; some objects may be left.
    pub async fn delete_unnamed(&self, newest: &Manifest, previous: Option<&Manifest>) -> Result<usize, StoreError> {
        let mut named: BTreeSet<String> = BTreeSet::new();
        for manifest in previous.into_iter().chain([newest]) {
            named.insert(manifest_name(manifest.number));
            named.insert(manifest.checkpoint.name.clone());
            named.extend(manifest.segments.values().map(|object| object.name.clone()));
        }
        let mut deleted = 0;
        for name in self.names().await? {
            if named.contains(&name) || made_for(&name).is_none_or(|number| number > newest.number) {
                continue;
            }
            match self.store.delete(&self.path(&name)).await {
                Ok(()) => deleted += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(cause) => return Err(self.failed("delete", &name)(cause)),
            }
        }
        Ok(deleted)
    }

    /// Deletes all objects of the shard: its collection was dropped.
    ///
    /// # Errors
    /// The store fails; some objects may be left.
    pub async fn delete_all(&self) -> Result<(), StoreError> {
        delete_below(self.store.as_ref(), &Path::from(self.shard.to_string())).await
    }
}

/// Opens an object that a manifest names.
fn open<'b>(
    path: &'b str,
    kind: Kind,
    bytes: &'b [u8],
    checksum: u32,
    manifest: u64,
) -> Result<Container<'b>, StoreError> {
    let object = Container::open(path, kind, bytes)?;
    match object.checksum() == checksum {
        true => Ok(object),
        false => {
            let reason = "its checksum is another: it is whole, but not the object that was named".into();
            Err(StoreError::Unfit { object: path.into(), manifest, reason })
        }
    }
}

/// The segments of a snapshot that have no object yet.
fn unwritten(checkpoint: &Checkpoint, written: &BTreeMap<SegmentId, ObjectRef>) -> Vec<Arc<SegmentVersion>> {
    let segments = checkpoint.shard.snapshot.segments().iter();
    segments.filter(|version| !written.contains_key(&version.segment().id())).cloned().collect()
}

#[cfg(test)]
mod tests;
