//! What the log, its writer and its readers have in common.
//!
//! In come the writer's results; out comes what the async side may see of them. It owns the log's life (open, then
//! closed or poisoned, for good) and the counters. Deciding when a life ends is left to `writer`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::super::{LogError, LogIncarnation};
use super::config::LocalLogConfig;
use super::disk::Disk;
use super::index::Index;

/// The life of a log. It ends once.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// It takes requests.
    Open,
    /// It was closed in order.
    Closed,
    /// It stopped because of this error, a [`LogError::Poisoned`].
    Poisoned(LogError),
}

/// Counts of what the writer did.
#[derive(Default)]
pub(super) struct Counters {
    /// Records written and synced.
    pub(super) records: AtomicU64,
    /// Commits, each one write and one sync.
    pub(super) commits: AtomicU64,
}

/// The state that all parts of one log see.
pub(super) struct Shared {
    /// The settings.
    pub(super) config: LocalLogConfig,
    /// Where the log lies.
    pub(super) directory: PathBuf,
    /// Which log it is.
    pub(super) incarnation: LogIncarnation,
    /// What everything is written through.
    pub(super) disk: Box<dyn Disk>,
    /// What the writer did.
    pub(super) counters: Counters,
    index: Mutex<Index>,
    life: watch::Sender<Life>,
}

impl Shared {
    /// Begins the life of a log.
    pub(super) fn new(
        config: LocalLogConfig,
        directory: PathBuf,
        disk: Box<dyn Disk>,
        (index, incarnation): (Index, LogIncarnation),
    ) -> Shared {
        let (index, life) = (Mutex::new(index), watch::Sender::new(Life::Open));
        Shared { config, directory, incarnation, disk, counters: Counters::default(), index, life }
    }

    /// Locks the index. Held for work in memory only, never while awaiting or on disk.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing that holds the index fails but on a broken invariant")
    }

    /// Ends the log's life; does nothing if it has ended.
    pub(super) fn end(&self, end: Life) {
        self.life.send_if_modified(|life| {
            let open = matches!(life, Life::Open);
            if open {
                *life = end;
            }
            open
        });
    }

    /// Returns what changes when the log's life ends.
    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Waits until the log's life has ended, and returns the error that every request gets from then on.
    pub(super) async fn ended(&self) -> LogError {
        let mut life = self.life();
        let end = life.wait_for(|life| !matches!(life, Life::Open)).await;
        match &*end.expect("the sender lives in self") {
            Life::Poisoned(error) => error.clone(),
            _ => LogError::Closed,
        }
    }

    /// Counts one commit.
    pub(super) fn count_commit(&self, records: usize) {
        self.counters.records.fetch_add(records as u64, Ordering::Relaxed);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
    }
}
