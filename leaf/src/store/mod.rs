//! One shard's objects in the object store: how they are called, written, found and let go.
//!
//! In: checkpoints of a replica. Out: manifests, and the checkpoint that the newest one names. Owns the names and the order
//! of writes; the forms are the files'. An object is created once and never changes; the store's put-if-absent decides
//! between two writers of one manifest.
//!
//! ```text
//! c7/s0/segment-000000000012-0000000003-0      segment 12, made for manifest 3
//!       generation-000000000014-0000000003-0    fields of a segment with what was laid over them
//!       checkpoint-0000000003-0
//!       manifest-0000000003                    the last digits of others tell attempts apart
//! ```
//!
//! An object carries the number of the manifest that it was made for. Once that number is taken, whoever made the object
//! either named it then or never will: so what no kept manifest names is rubbish, and no clock is asked.

mod directory;
mod error;
mod objects;
mod open;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;

use basalt_common::id::{CollectionId, ShardId};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use memmap2::Mmap;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::cache::Cache;
use crate::file::container::Kind;
use crate::file::manifest::{Manifest, ObjectRef};
use crate::file::{Container, Sealed, checkpoint, manifest};
use crate::replica::Checkpoint;
use crate::segment::{Segment, SegmentVersion};
use crate::shard::{ShardCheckpoint, Snapshot};

pub use directory::open_directory;
pub use error::StoreError;
use objects::open_named;
pub use open::{CacheSettings, OpenError, StoreLocation};
pub use writer::Writer;

/// The most segments that are opened at once: where the store is elsewhere, each takes a few ways there.
const OPENED_AT_ONCE: usize = 16;

/// Where shards are kept: objects, and where these are not on this machine what is here of them.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    cache: Option<Arc<Cache>>,
}

impl From<Arc<dyn ObjectStore>> for Store {
    fn from(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, cache: None }
    }
}

impl Store {
    /// Objects elsewhere, with what is here of them.
    pub fn cached(objects: Arc<dyn ObjectStore>, cache: Arc<Cache>) -> Self {
        Self { objects, cache: Some(cache) }
    }

    /// What is here of its objects, where these are elsewhere.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// Lets nobody wait for it any longer: the process ends.
    pub fn close(&self) {
        self.cache.iter().for_each(|cache| cache.close());
    }

    /// The collections that have objects.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn collections(&self) -> Result<BTreeSet<CollectionId>, StoreError> {
        let failed = |cause| StoreError::Store { action: "list", object: "/".into(), cause };
        let listed = self.objects.list_with_delimiter(None).await.map_err(failed)?;
        let numbers =
            listed.common_prefixes.iter().filter_map(|prefix| prefix.as_ref().strip_prefix('c')?.parse().ok());
        Ok(numbers.map(CollectionId).collect())
    }

    /// Deletes all objects of a collection: it was dropped, and nobody writes it any more.
    ///
    /// # Errors
    /// The store fails; some objects may be left.
    pub async fn delete_collection(&self, collection: CollectionId) -> Result<(), StoreError> {
        self.delete_below(&Path::from(format!("c{}", collection.0))).await
    }

    async fn delete_below(&self, prefix: &Path) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Store { action: "delete", object: prefix.to_string(), cause };
        let objects: Vec<_> = self.objects.list(Some(prefix)).try_collect().await.map_err(failed)?;
        for object in objects {
            self.delete(&object.location).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes an object, if it is there.
    async fn delete(&self, path: &Path) -> object_store::Result<()> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(cause) => return Err(cause),
        }
        self.cache.iter().for_each(|cache| cache.forget(path));
        Ok(())
    }
}

/// How many names are tried for an object: more are taken only where something else than this program writes.
const NAMES_MAX: u32 = 64;

/// The manifest that an object was made for, or that it is, by its name.
fn made_for(name: &str) -> Option<u64> {
    let mut words = name.split(directory::STAGED).next()?.split('-');
    let number = match words.next()? {
        "manifest" | "checkpoint" => words.next()?,
        "segment" | "generation" => words.nth(1)?,
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
    store: Store,
    shard: ShardId,
}

impl ShardStore {
    /// The objects of a shard; touches nothing.
    pub fn new(store: impl Into<Store>, shard: ShardId) -> Self {
        Self { store: store.into(), shard }
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
        self.store.objects.put_opts(&path, PutPayload::from_bytes(bytes), PutMode::Create.into()).await.map(|_| ())
    }

    async fn get(&self, name: &str) -> object_store::Result<Bytes> {
        self.store.objects.get(&self.path(name)).await?.bytes().await
    }

    /// An object to be read in place: mapped, where it is a file.
    async fn map(&self, name: &str) -> object_store::Result<Bytes> {
        let got = self.store.objects.get(&self.path(name)).await?;
        let GetResultPayload::File(file, _) = &got.payload else { return got.bytes().await };
        // SAFETY: an object never changes once it is there, and is removed by its name only. Who cuts a file of the store by
        // other means ends the process.
        match unsafe { Mmap::map(file) } {
            Ok(mapped) => Ok(Bytes::from_owner(mapped)),
            Err(_) => got.bytes().await,
        }
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
        let objects: Vec<_> =
            self.store.objects.list(Some(&prefix)).try_collect().await.map_err(self.failed("list", ""))?;
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
            let object = open_named(path, Kind::Checkpoint, bytes, checksum, number)?;
            Ok(checkpoint::decode(&object)?)
        };
        let bytes = self.get(&manifest.checkpoint.name).await;
        let mut kept = self.read(manifest.number, &manifest.checkpoint, bytes, decode).await?;
        let mut versions = Vec::new();
        let opening: Vec<_> =
            manifest.segments.iter().map(|(id, object)| self.open_segment(number, *id, object).boxed()).collect();
        let opened: Vec<Segment> = futures::stream::iter(opening).buffered(OPENED_AT_ONCE).try_collect().await?;
        let mut generations = self.open_generations(manifest).await?;
        for ((id, object), segment) in manifest.segments.iter().zip(opened) {
            let unfit = |reason: &str| {
                let (object, reason) = (self.path(&object.name).to_string(), reason.to_string());
                StoreError::Unfit { object, manifest: number, reason }
            };
            let laid = kept.laid.remove(id).ok_or_else(|| unfit("the checkpoint does not know it"))?;
            let folded = generations.remove(id).unwrap_or_default();
            let version = SegmentVersion::restore(segment, laid.tombstones, laid.overlays, folded).map_err(unfit)?;
            versions.push(Arc::new(version));
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
            let_go_below: kept.let_go_below,
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
            named.extend(manifest.generations.values().map(|(_, object)| object.name.clone()));
        }
        let mut deleted = 0;
        for name in self.names().await? {
            if named.contains(&name) || made_for(&name).is_none_or(|number| number > newest.number) {
                continue;
            }
            let path = self.path(&name);
            // A query that began before a merge may yet read what was merged; the next manifest deletes it.
            if self.store.cache.as_ref().is_some_and(|cache| cache.uses(&path)) {
                continue;
            }
            self.store.delete(&path).await.map_err(self.failed("delete", &name))?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Deletes all objects of the shard: its collection was dropped.
    ///
    /// # Errors
    /// The store fails; some objects may be left.
    pub async fn delete_all(&self) -> Result<(), StoreError> {
        self.store.delete_below(&Path::from(self.shard.to_string())).await
    }
}

#[cfg(test)]
mod tests;
