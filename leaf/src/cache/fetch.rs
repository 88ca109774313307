//! Reading ranges of objects, for threads that wait.
//!
//! In: ranges. Out: bytes. The requests are driven by threads of their own: whoever waits may be one of those that drive the rest of
//! the process.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

use crate::column::ColumnError;

/// Threads that drive requests: they copy bytes, and decrypt them.
const THREADS: usize = 2;

/// The most extents that are brought ahead at once.
const AHEAD_MAX: usize = 16;

/// How long after a failure it is tried again by those who have to have it; each time twice as long as before.
const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(10);

/// How long one waits for a store that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the store's client tries by itself: for queries.
    Short,
    /// Until the store can be read, or the process ends: for what cannot go on without.
    Long,
}

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::Short) };
}

/// Does something for which this thread waits however long the store fails: a batch that is half applied cannot be left.
pub fn patiently<T>(work: impl FnOnce() -> T) -> T {
    struct Before(Patience);
    impl Drop for Before {
        fn drop(&mut self) {
            PATIENCE.set(self.0);
        }
    }
    let _before = Before(PATIENCE.replace(Patience::Long));
    work()
}

/// Reads ranges.
pub(super) struct Fetcher {
    store: Arc<dyn ObjectStore>,
    /// There until it is dropped.
    runtime: Option<Runtime>,
    closed: AtomicBool,
    fetches: AtomicU64,
    bytes: AtomicU64,
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // It may be dropped by a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fetcher {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(AHEAD_MAX)
            .thread_name("store")
            .enable_all()
            .build()?;
        let (closed, fetches, bytes) = Default::default();
        Ok(Self { store, runtime: Some(runtime), closed, fetches, bytes })
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (self.fetches.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until this is dropped")
    }

    /// Does something that may wait, on a thread of its own.
    pub(super) fn ahead(&self, work: impl FnOnce() + Send + 'static) {
        // Nobody waits for it.
        drop(self.runtime().spawn_blocking(work));
    }

    /// Does something that reads ranges, again and again where this thread is patient.
    pub(super) fn persist<T>(&self, work: impl Fn() -> Result<T, ColumnError>) -> Result<T, ColumnError> {
        let mut delay = DELAY_MIN;
        loop {
            match work() {
                Err(cause @ ColumnError::Unavailable(_)) if PATIENCE.get() == Patience::Long => {
                    if self.closed.load(Ordering::Relaxed) {
                        return Err(cause);
                    }
                    warn!(%cause, ?delay, "trying again");
                    std::thread::park_timeout(delay);
                    delay = (delay * 2).min(DELAY_MAX);
                }
                done => return done,
            }
        }
    }

    /// Reads a range of an object; waits for it.
    pub(super) fn fetch(&self, path: &Path, range: Range<usize>) -> Result<Bytes, ColumnError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (store, wanted, length) = (Arc::clone(&self.store), path.clone(), range.len());
        self.runtime().spawn(async move {
            let got = get(store.as_ref(), &wanted, range.start as u64..range.end as u64).await;
            // Whoever wanted it waits for it.
            let _ = sender.send(got);
        });
        let stopping =
            |_| ColumnError::Unavailable(format!("{path} was not got from the object store: the process is stopping"));
        let bytes = receiver.recv().map_err(stopping)??;
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() == length { Ok(bytes) } else { Err(SHORT) }
    }
}

const SHORT: ColumnError = ColumnError::Damaged("an object in the store is shorter than it was");

async fn get(store: &dyn ObjectStore, path: &Path, range: Range<u64>) -> Result<Bytes, ColumnError> {
    let end = range.end;
    match store.get_range(path, range).await {
        Ok(bytes) => Ok(bytes),
        Err(object_store::Error::NotFound { .. }) => Err(ColumnError::Missing(path.to_string())),
        Err(cause) => match store.head(path).await {
            Ok(there) if there.size < end => Err(SHORT),
            _ => Err(ColumnError::Unavailable(format!("the object store cannot get {path}: {cause}"))),
        },
    }
}
