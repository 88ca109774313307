//! Ranges of objects under a bound: what is read, what is kept, what was read again.

use std::path::Path as FilePath;
use std::sync::Arc;

use basalt_common::random::SeededRandom;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Cache, CachedObject, Extent, ExtentPlace};
use crate::column::ColumnError;

const OBJECTS: usize = 4;
const EXTENTS: usize = 16;
const EXTENT_BYTES: usize = 10_000;

fn bytes_of(object: usize) -> Bytes {
    let mut random = SeededRandom::new(object as u64);
    (0..EXTENTS * EXTENT_BYTES).map(|_| random.next_u64() as u8).collect()
}

fn path_of(object: usize) -> Path {
    Path::from(format!("c7/s0/segment-{object}"))
}

async fn objects() -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for object in 0..OBJECTS {
        store.put(&path_of(object), bytes_of(object).into()).await.expect("memory takes it");
    }
    store
}

fn open(folder: &FilePath, bytes_max: usize, store: &Arc<dyn ObjectStore>) -> Arc<Cache> {
    Arc::new(Cache::open(folder, bytes_max as u64, Arc::clone(store)).expect("the folder can be made"))
}

fn place(extent: usize) -> ExtentPlace {
    ExtentPlace { start: extent * EXTENT_BYTES, length: EXTENT_BYTES }
}

fn folder_bytes(folder: &FilePath) -> u64 {
    let files = std::fs::read_dir(folder).expect("it is there");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |file| file.len())).sum()
}

/// Random reads, some of which are held for long: each reads what the store has, and the folder stays within its bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_reads_reads_the_store() {
    let (folder, store) = (tempfile::tempdir().expect("a folder can be made"), objects().await);
    let bytes_max = 10 * EXTENT_BYTES;
    let expected: Arc<[Bytes]> = (0..OBJECTS).map(bytes_of).collect();
    let reads = move |seed: u64, cache: Arc<Cache>, expected: &[Bytes]| {
        let mut random = SeededRandom::new(seed);
        let all: Vec<_> = (0..OBJECTS).map(|object| CachedObject::new(Arc::clone(&cache), path_of(object))).collect();
        let mut held: Vec<(Arc<Extent>, usize, usize)> = Vec::new();
        for _ in 0..2_000 {
            let object = random.below(OBJECTS as u64) as usize;
            // A few are read often.
            let range = if random.chance(1, 2) { 2 } else { EXTENTS as u64 };
            let extent = random.below(range) as usize;
            match random.below(8) {
                0 => all[object].drop_extent(place(extent)),
                1 => all[object].bring(place(extent)),
                _ => held.push((all[object].extent(place(extent)).expect("it is there"), object, extent)),
            }
            if held.len() > 20 {
                let (brought, object, extent) = held.swap_remove(random.below(20) as usize);
                let start = random.below(EXTENT_BYTES as u64) as usize;
                let read = brought.slice(start..EXTENT_BYTES).expect("it is as long");
                assert_eq!(read, expected[object][extent * EXTENT_BYTES + start..][..EXTENT_BYTES - start]);
            }
        }
    };
    for round in 0..3 {
        let cache = open(folder.path(), bytes_max, &store);
        let threads = [0, 1].map(|thread| {
            let (cache, expected) = (Arc::clone(&cache), Arc::clone(&expected));
            std::thread::spawn(move || reads(2 * round + thread, cache, &expected))
        });
        threads.into_iter().for_each(|thread| thread.join().expect("all reads are right"));
        let report = cache.report();
        assert!(report.fetches > 100 && report.bytes <= bytes_max as u64, "{report:?}");
    }
    // Once nobody brings anything ahead any more.
    let cache = open(folder.path(), bytes_max, &store);
    assert!(cache.report().bytes <= bytes_max as u64);
    assert!(folder_bytes(folder.path()) <= bytes_max as u64 + EXTENT_BYTES as u64);
}

/// What is here is read without the store, by the next process too; what is not says why it cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_here_needs_no_store() {
    let (folder, store) = (tempfile::tempdir().expect("a folder can be made"), objects().await);
    let cache = open(folder.path(), 1 << 20, &store);
    let object = CachedObject::new(Arc::clone(&cache), path_of(1));
    assert!(!object.has(place(3)));
    object.extent(place(3)).expect("it is there");
    assert!(object.has(place(3)) && cache.uses(&path_of(1)) && !cache.uses(&path_of(2)));
    drop(object);
    assert!(!cache.uses(&path_of(1)));
    drop(cache);
    store.delete(&path_of(1)).await.expect("memory lets go");
    let cache = open(folder.path(), 1 << 20, &store);
    let object = CachedObject::new(Arc::clone(&cache), path_of(1));
    let read = object.extent(place(3)).and_then(|extent| extent.slice(0..EXTENT_BYTES));
    assert_eq!(read.expect("it is here"), bytes_of(1)[3 * EXTENT_BYTES..4 * EXTENT_BYTES]);
    assert_eq!(cache.report().fetches, 0);
    let missing = object.extent(place(4)).expect_err("it is nowhere");
    assert_eq!(missing, ColumnError::Missing(path_of(1).to_string()));
    cache.forget(&path_of(1));
    assert!(!object.has(place(3)) && object.extent(place(3)).is_err());
    cache.report();
    assert_eq!(folder_bytes(folder.path()), 0);
}

/// A folder that takes nothing more: what is read is read from memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_no_reads() {
    let (parent, store) = (tempfile::tempdir().expect("a folder can be made"), objects().await);
    let folder = parent.path().join("cache");
    let cache = open(&folder, 1 << 20, &store);
    std::fs::remove_dir(&folder).expect("it is empty");
    let object = CachedObject::new(Arc::clone(&cache), path_of(0));
    let read = object.extent(place(0)).and_then(|extent| extent.slice(0..10));
    assert_eq!(read.expect("the store has it"), bytes_of(0)[..10]);
}
