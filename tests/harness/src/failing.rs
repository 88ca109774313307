//! An object store and a log that fail on command: what tests of durability put before real ones.
//!
//! In: calls. Out: the same on what is behind, or an error, as told: before the call reaches it, or behind it, when the
//! answer is lost.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use basalt_common::id::ShardId;
use basalt_common::log::{FullCause, LogError, LogIncarnation, LogReader, ShardLog};
use basalt_common::position::LogPosition;
use basalt_common::random::SeededRandom;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store of which a part of the puts fails, half of them after they were done.
#[derive(Debug)]
pub struct FailingStore {
    store: Arc<dyn ObjectStore>,
    random: Mutex<SeededRandom>,
    fails_in_hundred: AtomicU64,
    failed: AtomicU64,
}

impl FailingStore {
    /// Puts itself before a store; fails nothing yet.
    pub fn new(store: Arc<dyn ObjectStore>, seed: u64) -> Self {
        let random = Mutex::new(SeededRandom::new(seed));
        Self { store, random, fails_in_hundred: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// Lets so many puts of a hundred fail from now on.
    pub fn fail(&self, in_hundred: u64) {
        self.fails_in_hundred.store(in_hundred, Ordering::Relaxed);
    }

    /// How many puts failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailingStore({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (fails, reaches) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.chance(self.fails_in_hundred.load(Ordering::Relaxed), 100), random.chance(1, 2))
        };
        if !fails {
            return self.store.put_opts(location, payload, options).await;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        if reaches {
            self.store.put_opts(location, payload, options).await?;
        }
        Err(Error::Generic { store: "FailingStore", source: "told to fail".into() })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// A log whose disk has no space to note that it is cut.
pub struct FailingLog {
    log: Arc<dyn ShardLog>,
    full: AtomicBool,
    refused: AtomicU64,
}

impl FailingLog {
    /// Puts itself before a log; refuses nothing yet.
    pub fn new(log: Arc<dyn ShardLog>) -> Self {
        Self { log, full: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    /// Refuses to be cut from now on, or no longer.
    pub fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// How many cuts were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl ShardLog for FailingLog {
    async fn append(&self, shard: ShardId, record: Bytes) -> Result<LogPosition, LogError> {
        self.log.append(shard, record).await
    }

    async fn read(&self, shard: ShardId, from: LogPosition) -> Result<LogReader, LogError> {
        self.log.read(shard, from).await
    }

    async fn end(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        self.log.end(shard).await
    }

    async fn start(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        self.log.start(shard).await
    }

    async fn truncate(&self, shard: ShardId, below: LogPosition) -> Result<(), LogError> {
        if self.full.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(LogError::Full { path: "a test's log".into(), cause: FullCause::Disk });
        }
        self.log.truncate(shard, below).await
    }

    fn incarnation(&self) -> LogIncarnation {
        self.log.incarnation()
    }
}
