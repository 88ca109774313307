//! Opens the objects of segments and generations: by their ends, wherever the rest of them is.
//!
//! In: what a manifest names. Out: a segment or a generation that is read in place. Of an object in a store elsewhere the end is kept here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::{OPENED_AT_ONCE, ShardStore, StoreError};
use crate::cache::{CachedObject, End as SavedEnd};
use crate::column::ColumnError;
use crate::file::container::{End, Kind};
use crate::file::manifest::{Manifest, ObjectRef};
use crate::file::{Container, FileError, generation, segment};
use crate::generation::{Generation, GenerationId};
use crate::segment::{Segment, SegmentId};

/// So much of the end of an object is read first: mostly it is more than its directory.
const END_GUESS: usize = 64 << 10;

impl ShardStore {
    /// Opens the object of a segment that a manifest names: by its end, and reads what it holds in place from then on. What is
    /// read is checked then.
    ///
    /// # Errors
    /// The store fails, or the object is missing, damaged or another.
    pub async fn open_segment(&self, manifest: u64, id: SegmentId, object: &ObjectRef) -> Result<Segment, StoreError> {
        let segment = self.open(manifest, object, segment::decode).await?;
        match segment.id() == id {
            true => Ok(segment),
            false => {
                let (object, there) = (self.path(&object.name).to_string(), segment.id().0);
                Err(StoreError::Unfit { object, manifest, reason: format!("it is segment {there}, not {}", id.0) })
            }
        }
    }

    /// Opens the object of a generation that a manifest names, as [`Self::open_segment`] does that of a segment.
    ///
    /// # Errors
    /// As [`Self::open_segment`].
    pub async fn open_generation(
        &self,
        manifest: u64,
        id: GenerationId,
        of: SegmentId,
        object: &ObjectRef,
    ) -> Result<Generation, StoreError> {
        let (segment, generation) = self.open(manifest, object, generation::decode).await?;
        match (generation.id(), segment) == (id, of) {
            true => Ok(generation),
            false => {
                let (object, there) = (self.path(&object.name).to_string(), (generation.id().0, segment.0));
                let reason = format!("it is generation {} of segment {}, not {} of {}", there.0, there.1, id.0, of.0);
                Err(StoreError::Unfit { object, manifest, reason })
            }
        }
    }

    async fn open<T: Send + 'static>(
        &self,
        manifest: u64,
        object: &ObjectRef,
        decode: Decode<T>,
    ) -> Result<T, StoreError> {
        match self.store.cache.clone() {
            Some(cache) => {
                let (cached, named) = (CachedObject::new(cache, self.path(&object.name)), object.clone());
                self.off_the_async_threads(move || open_away(&cached, &named, manifest, decode)).await?
            }
            None => {
                let bytes = self.map(&object.name).await;
                let decode = move |path: &str, bytes: &Bytes, checksum: u32| {
                    Ok(decode(&open_end(path, bytes, bytes.len(), checksum, manifest)?, bytes, None)?)
                };
                self.read(manifest, object, bytes, decode).await
            }
        }
    }

    /// Keeps an object of a segment or a generation here that was just put, where the store is elsewhere.
    pub(super) async fn keep(&self, object: &ObjectRef, bytes: Bytes) -> Result<(), StoreError> {
        let Some(cache) = self.store.cache.clone() else { return Ok(()) };
        let (cached, checksum) = (CachedObject::new(cache, self.path(&object.name)), object.checksum);
        self.off_the_async_threads(move || {
            let (name, length) = (cached.path().as_ref(), bytes.len());
            let object = open_end(name, &bytes, length, checksum, 0)?;
            let kept = segment::end_bytes(name, &bytes, length, checksum)?;
            SavedEnd(&cached).save(bytes.slice(length - kept..));
            for extent in segment::extents(&object) {
                cached.take(extent, bytes.slice(extent.start..extent.start + extent.length));
            }
            Ok(())
        })
        .await?
    }

    /// The generations that a manifest names, by their segments, ascending.
    pub(super) async fn open_generations(
        &self,
        manifest: &Manifest,
    ) -> Result<BTreeMap<SegmentId, Vec<Generation>>, StoreError> {
        let open = |(id, (of, object)): (&GenerationId, &(SegmentId, ObjectRef))| {
            let (number, id, of, object) = (manifest.number, *id, *of, object.clone());
            let opened = async move { self.open_generation(number, id, of, &object).await.map(|opened| (of, opened)) };
            opened.boxed()
        };
        let opening: Vec<_> = manifest.generations.iter().map(open).collect();
        let opened: Vec<_> = futures::stream::iter(opening).buffered(OPENED_AT_ONCE).try_collect().await?;
        let mut generations: BTreeMap<SegmentId, Vec<Generation>> = BTreeMap::new();
        opened.into_iter().for_each(|(of, generation)| generations.entry(of).or_default().push(generation));
        Ok(generations)
    }
}

/// Opens an object that a manifest names.
pub(super) fn open_named<'b>(
    path: &'b str,
    kind: Kind,
    bytes: &'b [u8],
    checksum: u32,
    manifest: u64,
) -> Result<Container<'b>, StoreError> {
    named(Container::open(path, kind, bytes)?, path, checksum, manifest)
}

/// Opens the object of a segment of so many bytes that a manifest names, by its last bytes.
fn open_end<'b>(
    path: &'b str,
    end: &'b [u8],
    length: usize,
    checksum: u32,
    manifest: u64,
) -> Result<Container<'b>, StoreError> {
    match Container::open_end(path, Kind::Segment, end, length)? {
        End::Known(object) if object.is_labelled() => named(object, path, checksum, manifest),
        // What was written before has to be checked at once.
        End::Known(_) => open_named(path, Kind::Segment, end, checksum, manifest),
        End::Longer(_) => {
            let reason = "its directory is longer than itself".into();
            Err(FileError { object: path.into(), part: "tail", offset: length, reason }.into())
        }
    }
}

fn named<'b>(object: Container<'b>, path: &str, checksum: u32, manifest: u64) -> Result<Container<'b>, StoreError> {
    match object.checksum() == checksum {
        true => Ok(object),
        false => {
            let reason = "its checksum is another: it is whole, but not the object that was named".into();
            Err(StoreError::Unfit { object: path.into(), manifest, reason })
        }
    }
}

/// What opens an object by its end; the rest may be elsewhere.
type Decode<T> = fn(&Container<'_>, &Bytes, Option<&Arc<CachedObject>>) -> Result<T, FileError>;

/// Opens an object that is in a store elsewhere. Waits for it.
fn open_away<T>(
    cached: &Arc<CachedObject>,
    object: &ObjectRef,
    manifest: u64,
    decode: Decode<T>,
) -> Result<T, StoreError> {
    let (name, checksum) = (cached.path().as_ref(), object.checksum);
    let unfit = |reason: String| StoreError::Unfit { object: name.into(), manifest, reason };
    let length = usize::try_from(object.length).map_err(|_| unfit("it is longer than memory can be".into()))?;
    let opened = |end: &Bytes| -> Result<T, StoreError> {
        Ok(decode(&open_end(name, end, length, checksum, manifest)?, end, Some(cached))?)
    };
    let kept = SavedEnd(cached).saved().filter(|saved| {
        let needed = segment::end_bytes(name, saved, length, checksum);
        needed.is_ok_and(|needed| needed <= saved.len())
    });
    // What is damaged here is whole there.
    if let Some(Ok(opened)) = kept.as_ref().map(opened) {
        return Ok(opened);
    }
    let mut wanted = END_GUESS.min(length);
    let end = loop {
        let fetched = cached.fetch(length - wanted, wanted).map_err(|error| match error {
            ColumnError::Unavailable(reason) => StoreError::Unavailable(reason),
            ColumnError::Missing(object) => StoreError::Missing { object, manifest },
            other => unfit(other.to_string()),
        })?;
        match segment::end_bytes(name, &fetched, length, checksum)? {
            needed if needed <= wanted => break fetched.slice(wanted - needed..),
            needed => wanted = needed,
        }
    };
    opened(&SavedEnd(cached).save(end))
}
