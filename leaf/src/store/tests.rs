//! Objects of a shard in memory and in a directory: what is there after writes, races, damage and drops.

use std::path::Path as FilePath;

use basalt_common::log::LogIncarnation;
use basalt_common::value::{Object, Value};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::writer::Written;
use super::{Arc, Manifest, Path, ShardStore, Store, StoreError, Writer, made_for, open_directory};
use crate::cache::Cache;
use crate::file::tests::{SHARD, Sample};
use crate::indexes::Indexes;
use crate::replica::Checkpoint;

const INCARNATION: LogIncarnation = LogIncarnation(7 << 64);

fn writer(store: &Store, newest: Option<Manifest>) -> Writer {
    Writer::new(ShardStore::new(store.clone(), SHARD), INCARNATION, newest)
}

fn in_memory() -> Store {
    Store::from(Arc::new(InMemory::new()) as Arc<dyn ObjectStore>)
}

/// A store elsewhere, of which so many bytes are kept in a folder.
fn cached(folder: &FilePath, bytes_max: u64, objects: Arc<dyn ObjectStore>) -> Store {
    let cache = Cache::open(folder, bytes_max, Arc::clone(&objects)).expect("the folder can be made");
    Store::cached(objects, Arc::new(cache))
}

/// Reads all that is in a store.
async fn reopen(store: &Store) -> Result<(Manifest, String), StoreError> {
    let shard = ShardStore::new(store.clone(), SHARD);
    let manifest = shard.newest().await?.expect("it was written");
    let checkpoint = shard.load(&manifest).await?;
    for version in checkpoint.shard.snapshot.segments() {
        version.check()?;
    }
    Ok((manifest, Sample::new().describe(&checkpoint)))
}

fn one(value: i64) -> Object {
    Object::from([("f2".into(), Value::Int(value))])
}

async fn write_and_reopen(store: Store) {
    let shard = ShardStore::new(store.clone(), SHARD);
    assert_eq!(shard.newest().await.expect("it is empty"), None);
    let mut sample = Sample::new();
    let mut first = writer(&store, None);
    let written = first.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    assert_eq!(written.segments, sample.replica.checkpoint().shard.snapshot.segments().len());
    assert_eq!(
        first.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("nothing is new"),
        Written::default()
    );
    let (manifest, read) = reopen(&store).await.expect("it is readable");
    assert_eq!(read, sample.describe(&sample.replica.checkpoint()));
    assert_eq!((manifest.number, manifest.incarnation), (1, INCARNATION));
    // A writer that goes on after a restart writes what is new only, and keeps the manifest before.
    let mut second = writer(&store, Some(manifest));
    for value in 0..40 {
        sample.upsert("more", &one(value));
        let written = second.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
        assert!(written.segments <= 3, "{written:?}");
    }
    let (manifest, read) = reopen(&store).await.expect("it is readable");
    assert_eq!(read, sample.describe(&sample.replica.checkpoint()));
    let mut names = shard.names().await.expect("it can be listed");
    names.retain(|name| name.starts_with("manifest"));
    names.sort();
    assert_eq!(names, ["manifest-0000000040", "manifest-0000000041"]);
    let count = shard.names().await.expect("it can be listed").len();
    assert!(count <= 4 + 2 * (manifest.segments.len() + 8), "{count} objects are there");
    shard.delete_all().await.expect("it is deleted");
    assert!(shard.names().await.expect("it can be listed").is_empty());
}

#[tokio::test]
async fn what_is_written_is_read_and_the_rest_is_deleted() {
    write_and_reopen(in_memory()).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    write_and_reopen(open_directory(&folder.path().join("deep/er")).expect("it can be opened").into()).await;
    for bytes_max in [1, 1 << 30] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        write_and_reopen(cached(folder.path(), bytes_max, Arc::new(InMemory::new()))).await;
    }
}

/// Writes, and once more where the other writer deleted what was being made.
async fn write(writer: &mut Writer, checkpoint: Checkpoint) -> Result<Written, StoreError> {
    match writer.write(checkpoint.clone(), &Indexes::default()).await {
        Err(StoreError::Store { .. }) => writer.write(checkpoint, &Indexes::default()).await,
        done => done,
    }
}

/// What was folded lies in an object of its own, and in no later checkpoint.
#[tokio::test]
async fn what_is_folded_is_written_once() {
    let (store, mut sample) = (in_memory(), Sample::folded());
    let mut writer = writer(&store, None);
    let written = writer.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    assert!(written.generations > 0);
    let checkpoint = |writer: &Writer| writer.newest().expect("it was written").checkpoint.length;
    sample.patch_all();
    let written = writer.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    assert_eq!(written.generations, 0, "what was written is named again");
    let laid = checkpoint(&writer);
    sample.fold(&Indexes::default());
    let files = writer.open_new(None).await.expect("they are there");
    sample.replica.shard_mut().take_files(files);
    sample.upsert("another", &one(1));
    let written = writer.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    assert!(written.generations > 0);
    assert!(checkpoint(&writer) + 200 < laid, "{} bytes, {laid} with 40 patches", checkpoint(&writer));
    let (manifest, read) = reopen(&store).await.expect("it is readable");
    assert_eq!(read, sample.describe(&sample.replica.checkpoint()));
    let loaded = ShardStore::new(store, SHARD).load(&manifest).await.expect("it is readable");
    let laid = loaded.shard.snapshot.segments().iter().map(|version| version.overlays().len()).sum::<usize>();
    assert_eq!(laid, 0, "nothing is laid over fields that were folded");
}

/// Generations that newer ones took the place of leave the store as segments do that were merged.
#[tokio::test]
async fn generations_that_are_read_no_more_are_deleted() {
    let (store, mut sample) = (in_memory(), Sample::folded());
    let mut writer = writer(&store, None);
    let shard = ShardStore::new(store.clone(), SHARD);
    let mut written = 0;
    for value in 0..12 {
        sample.patch_all();
        sample.fold(&Indexes::default());
        sample.upsert("another", &one(value));
        let done = writer.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
        written += done.generations;
    }
    let names = shard.names().await.expect("it can be listed");
    let there = names.iter().filter(|name| name.starts_with("generation")).count();
    let named = writer.newest().expect("it was written").generations.len();
    assert!(written > 12 && there <= 2 * named, "{there} of {written} are there, {named} are named: {names:?}");
    assert_eq!(reopen(&store).await.expect("it is readable").1, sample.describe(&sample.replica.checkpoint()));
}

/// Two writers of one shard: the manifest is one's, the other is told, and what it left behind goes.
#[tokio::test]
async fn one_of_two_writers_wins() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Store::from(open_directory(folder.path()).expect("it can be opened"));
    let mut sample = Sample::new();
    writer(&store, None).write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    for round in 0..10 {
        let (manifest, _) = reopen(&store).await.expect("it is readable");
        let (mut left, mut right) = (writer(&store, Some(manifest.clone())), writer(&store, Some(manifest.clone())));
        sample.upsert("left", &one(round));
        let lefts = sample.replica.checkpoint();
        sample.upsert("right", &one(round));
        let rights = sample.replica.checkpoint();
        let (left_done, right_done) = tokio::join!(write(&mut left, lefts), write(&mut right, rights));
        let raced = |done: &Result<_, StoreError>| matches!(done, Err(StoreError::Raced { shard: SHARD, number }) if *number == manifest.number + 1);
        assert!(left_done.is_ok() && raced(&right_done) || raced(&left_done) && right_done.is_ok(), "round {round}");
        let winner = if left_done.is_ok() { &mut left } else { &mut right };
        sample.upsert("left", &one(round));
        winner.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it goes on");
        let (manifest, read) = reopen(&store).await.expect("it is readable");
        assert_eq!(read, sample.describe(&sample.replica.checkpoint()));
        let names = ShardStore::new(store.clone(), SHARD).names().await.expect("it can be listed");
        let checkpoints = names.iter().filter(|name| name.starts_with("checkpoint")).count();
        assert_eq!((manifest.number, checkpoints), (3 + 2 * round as u64, 2), "the loser's is left: {names:?}");
    }
    // One that slept while its number was taken and deleted again.
    let (manifest, _) = reopen(&store).await.expect("it is readable");
    let (mut awake, mut slow) = (writer(&store, Some(manifest.clone())), writer(&store, Some(manifest.clone())));
    for round in 0..4 {
        sample.upsert("awake", &one(round));
        awake.write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    }
    let before = sample.describe(&sample.replica.checkpoint());
    sample.upsert("slow", &one(0));
    let late = slow.write(sample.replica.checkpoint(), &Indexes::default()).await;
    assert!(matches!(late, Err(StoreError::Raced { number, .. }) if number == manifest.number + 1), "{late:?}");
    assert_eq!(reopen(&store).await.expect("it is readable").1, before);
}

/// What a process left staged when it died is deleted, and does not stand in the way.
#[tokio::test]
async fn what_was_staged_when_the_process_died_is_rubbish() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Store::from(open_directory(folder.path()).expect("it can be opened"));
    let directory = folder.path().join(SHARD.to_string());
    std::fs::create_dir_all(&directory).expect("a folder can be made");
    let staged = ["manifest-0000000001.staged-0", "segment-000000000000-0000000001-0.staged-0"];
    staged.iter().for_each(|name| std::fs::write(directory.join(name), "half").expect("it can be written"));
    assert_eq!(ShardStore::new(store.clone(), SHARD).newest().await.expect("it is readable"), None);
    let sample = Sample::new();
    let written =
        writer(&store, None).write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    assert_eq!(written.deleted, staged.len());
    assert!(staged.iter().all(|name| !directory.join(name).exists()));
    assert_eq!(reopen(&store).await.expect("it is readable").1, sample.describe(&sample.replica.checkpoint()));
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = Store::from(Arc::clone(&objects));
    let sample = Sample::folded();
    writer(&store, None).write(sample.replica.checkpoint(), &Indexes::default()).await.expect("it is written");
    let shard = ShardStore::new(store.clone(), SHARD);
    let names = shard.names().await.expect("it can be listed");
    assert!(names.len() >= 5 && names.iter().any(|name| name.starts_with("generation")), "{names:?}");
    let refused = async |name: &str, what: String| {
        let error = reopen(&store).await.err().unwrap_or_else(|| panic!("{name}: {what} was not found"));
        assert!(error.to_string().contains(&format!("{SHARD}/{name}")), "{name}: {what}: {error}");
    };
    let whole = sample.describe(&sample.replica.checkpoint());
    let (mut found, mut unread) = (0, 0);
    for name in &names {
        let path = Path::from(format!("{SHARD}/{name}"));
        let bytes = shard.get(name).await.expect("it is there").to_vec();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            objects.put(&path, damaged.into()).await.expect("memory takes it");
            match reopen(&store).await {
                // What lies between the parts of a segment is not read.
                Ok((_, read)) => {
                    assert!(
                        !name.starts_with("manifest") && bytes[at] == 0 || at < 8,
                        "{name}: byte {at} was not found"
                    );
                    assert_eq!(read, whole, "{name}: byte {at} changed what is read");
                    unread += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains(&format!("{SHARD}/{name}")), "{name}: byte {at}: {error}");
                    found += 1;
                }
            }
        }
        for end in (0..bytes.len()).step_by(7) {
            objects.put(&path, bytes[..end].to_vec().into()).await.expect("memory takes it");
            refused(name, format!("cut at {end}")).await;
        }
        if !name.starts_with("manifest") {
            objects.delete(&path).await.expect("memory lets go");
            refused(name, "its absence".into()).await;
        }
        objects.put(&path, bytes.into()).await.expect("memory takes it");
    }
    assert!(found > unread, "{found} flipped bits were found, {unread} were not read");
    // A whole object, but another than was named.
    let segments: Vec<&String> = names.iter().filter(|name| name.starts_with("segment")).collect();
    let other = shard.get(segments[1]).await.expect("it is there");
    objects.put(&Path::from(format!("{SHARD}/{}", segments[0])), other.into()).await.expect("memory takes it");
    refused(segments[0], "another segment".into()).await;
}

/// Whatever lies in the folder of a cache, what is read is what the store has; and without the store nothing else.
#[tokio::test]
async fn what_a_cache_lost_is_brought_again() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let open = || cached(folder.path(), 1 << 30, Arc::clone(&objects));
    let sample = Sample::keeping();
    let whole = sample.describe(&sample.replica.checkpoint());
    writer(&open(), None).write(sample.replica.checkpoint(), &sample.indexes()).await.expect("it is written");
    let fetches = |store: &Store| store.cache().expect("it has one").report().fetches;
    let store = open();
    assert_eq!(reopen(&store).await.expect("it is readable").1, whole);
    assert_eq!(fetches(&store), 0, "what was written is here");
    let files = || std::fs::read_dir(folder.path()).expect("it is there").map(|file| file.expect("it is there").path());
    let kept: Vec<_> = files().map(|file| (file.clone(), std::fs::read(&file).expect("it is readable"))).collect();
    // Other files of these names: what is mapped of those before must stay.
    let fill = |with: &dyn Fn(&FilePath, &[u8]) -> Vec<u8>| {
        files().for_each(|file| std::fs::remove_file(file).expect("it is there"));
        kept.iter().for_each(|(file, bytes)| std::fs::write(file, with(file, bytes)).expect("it can be written"));
    };
    let mut brought = 0;
    for (file, bytes) in &kept {
        for at in (0..bytes.len()).step_by(5).chain([bytes.len() - 1]) {
            let flip = |bytes: &[u8]| {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << (at % 8);
                damaged
            };
            for damage in [&flip as &dyn Fn(&[u8]) -> Vec<u8>, &|bytes: &[u8]| bytes[..at].to_vec()] {
                fill(&|other, bytes| if other == file { damage(bytes) } else { bytes.to_vec() });
                let store = open();
                assert_eq!(reopen(&store).await.expect("the store has it").1, whole, "{} at {at}", file.display());
                brought += fetches(&store);
            }
        }
    }
    assert!(brought > 100, "only {brought} ranges were brought again");
    fill(&|_, _| b"half".to_vec());
    for object in ShardStore::new(open(), SHARD).names().await.expect("it can be listed") {
        if object.starts_with("segment") {
            objects.delete(&Path::from(format!("{SHARD}/{object}"))).await.expect("it is there");
        }
    }
    let error = reopen(&open()).await.expect_err("it is nowhere");
    assert!(matches!(&error, StoreError::Missing { object, .. } if object.contains("segment-")), "{error}");
}

#[test]
fn names_say_for_which_manifest_they_were_made() {
    let check = |name: &str, number| assert_eq!(made_for(name), number, "{name}");
    check("segment-000000000012-0000000003-0", Some(3));
    check("checkpoint-0000000004-1", Some(4));
    check("manifest-0000000005", Some(5));
    check("manifest-0000000005.staged-7", Some(5));
    check("stranger", None);
    check("segment-1", None);
}

/// Shards of all feature levels, as written when these were made: they must be readable for ever.
#[tokio::test]
async fn all_formats_can_be_read() {
    check_fixture("v1", &Sample::new()).await;
    check_fixture("v2", &Sample::versioned()).await;
    // As v2, and terms.
    check_fixture("v3", &Sample::versioned()).await;
    // As v3, and key runs.
    check_fixture("v4-keys", &Sample::versioned()).await;
    // A part for each column and index, homes by the mixed hash, event times, a generation.
    check_fixture("v5", &Sample::keeping()).await;
}

async fn check_fixture(name: &str, sample: &Sample) {
    let fixture = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src/store/fixtures").join(name);
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&fixture).expect("it is there"));
    let store = Store::from(store);
    let (manifest, read) = reopen(&store).await.expect("it is readable");
    assert_eq!(read, sample.describe(&sample.replica.checkpoint()));
    assert_eq!((manifest.number, manifest.incarnation), (1, INCARNATION));
}
