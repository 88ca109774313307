//! The local log: the shard logs of one node, in one directory, without any other service.
//!
//! In come records of many shards, concurrently; out come durable positions, and the records again. It owns the
//! directory, its format and its recovery. What a node does when the log is full, poisoned or damaged is left to it.
//!
//! ```text
//!             queue_records_max                        CHECKPOINT  incarnation, files, starts
//!             queue_bytes_max     ┌────────┐  commit  ┌──────────────────────────┐
//!  append ───────────────────────▶│ writer │─────────▶│ 00000000000000000001.log │ file_bytes_max each,
//!  truncate                       │ thread │   sync   │ 00000000000000000002.log │ log_bytes_max together
//!                                 └────────┘          └──────────────────────────┘
//!                  commit_bytes_max   │ publish                    │ read_bytes_max
//!                  commit_records_max ▼                            ▼
//!                                 ┌────────┐   wakes    ┌────────────────────────┐
//!                                 │ index  │───────────▶│ readers, any number    │──▶ next
//!                                 └────────┘            └────────────────────────┘
//! ```
//!
//! All shards share one sequence of files, so that one sync serves the appends of all. Modules, in the order of the
//! data: settings; the way in (`queue`, `writer`); what is on disk (`disk`, `frame`, `file`, `checkpoint`); the way out
//! (`index`, `reader`); the way back (`scan`, `recovery`, with the rule what a bad frame means).

mod checkpoint;
mod config;
mod disk;
mod file;
mod frame;
mod index;
mod queue;
mod reader;
mod recovery;
mod scan;
mod shared;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{LogError, LogIncarnation, LogReader, ShardLog};
use crate::id::ShardId;
use crate::position::LogPosition;
use disk::{DirectoryLock, Disk, RealDisk};
use frame::frame_bytes;
use queue::{Append, Queue, Request, Truncate};
use reader::LocalCursor;
use shared::Shared;
use writer::Writer;

pub use config::LocalLogConfig;

/// Counts of what a local log did since it was opened, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalLogStats {
    /// Records made durable.
    pub records: u64,
    /// Commits that made them durable: each one write and one sync.
    pub commits: u64,
    /// Files there are.
    pub files: u64,
    /// Their length, in bytes.
    pub bytes: u64,
}

/// A [`ShardLog`] in a directory of the local file system; see the module for how it works.
///
/// End it with [`LocalLog::close`]. Dropping it does the same, as well as that goes: it blocks the thread until the
/// writer has finished, and swallows the error.
pub struct LocalLog {
    shared: Arc<Shared>,
    /// Taken when dropped, which ends the writer.
    requests: Option<mpsc::Sender<Request>>,
    /// Lets appends in one by one, first come first served, so that none overtakes another while it waits for room.
    entrance: tokio::sync::Mutex<()>,
    /// The bytes that may still wait.
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { directory, incarnation, .. } = &*self.shared;
        let mut debug = f.debug_struct("LocalLog");
        debug.field("directory", directory).field("incarnation", incarnation).finish_non_exhaustive()
    }
}

impl LocalLog {
    /// Opens the log in `directory`, which is made if it is not there; a new log gets the incarnation
    /// `new_incarnation`, which should be random. Blocks, and reads every file once: call it off the async threads.
    ///
    /// # Errors
    ///
    /// [`LogError::Locked`] if the log is open, [`LogError::Setting`], [`LogError::Io`], [`LogError::Full`], and the
    /// variants that name damage: records that were acknowledged are never skipped.
    pub fn open(
        directory: impl AsRef<Path>,
        config: LocalLogConfig,
        new_incarnation: u128,
    ) -> Result<LocalLog, LogError> {
        LocalLog::open_on(Box::new(RealDisk), directory.as_ref(), config, new_incarnation)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        directory: &Path,
        config: LocalLogConfig,
        new_incarnation: u128,
    ) -> Result<LocalLog, LogError> {
        config.check()?;
        make_directory(&*disk, directory)?;
        let lock = DirectoryLock::take(directory)?;
        let (index, incarnation, listed) = recovery::recover(&*disk, directory, LogIncarnation(new_incarnation))?;
        let (requests, waiting) = mpsc::channel(config.queue_records_max);
        let room = Arc::new(Semaphore::new(usize::try_from(config.queue_bytes_max).expect("it is below 4 GiB")));
        let queue = Queue::new(waiting, &config);
        let shared = Arc::new(Shared::new(config, directory.to_owned(), disk, (index, incarnation)));
        let writer = Writer::new(Arc::clone(&shared), queue, listed);
        let thread = std::thread::Builder::new().name("basalt-log".to_owned());
        let started = thread.spawn(move || writer.run());
        let writer = started.map_err(|error| LogError::io("start the writer of", directory, error))?;
        let (requests, writer, lock) = (Some(requests), Some(writer), Mutex::new(Some(lock)));
        Ok(LocalLog { shared, requests, entrance: tokio::sync::Mutex::new(()), room, writer, lock })
    }

    /// Closes the log: finishes every append that was taken, refuses later ones, and frees the directory. Readers get
    /// what is there and then end. Closing again changes nothing.
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`] if the log had stopped before, or stops now; the directory is freed all the same.
    pub async fn close(&self) -> Result<(), LogError> {
        // Refused if the writer has ended, or is about to.
        let _ = self.requests().send(Request::Close).await;
        let end = self.shared.ended().await;
        self.lock.lock().expect("nothing fails while holding it").take();
        match end {
            LogError::Closed => Ok(()),
            error => Err(error),
        }
    }

    /// Returns what the log did so far.
    pub fn stats(&self) -> LocalLogStats {
        let counters = &self.shared.counters;
        let (records, commits) = (&counters.records, &counters.commits);
        let (records, commits) = (records.load(Ordering::Relaxed), commits.load(Ordering::Relaxed));
        let (files, bytes) = self.shared.index().size();
        LocalLogStats { records, commits, files: files as u64, bytes }
    }

    fn requests(&self) -> &mpsc::Sender<Request> {
        self.requests.as_ref().expect("only drop takes it")
    }

    /// Waits for the writer's answer, or for the reason why there is none.
    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T, LogError>>) -> Result<T, LogError> {
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.shared.ended().await),
        }
    }
}

#[async_trait]
impl ShardLog for LocalLog {
    async fn append(&self, shard: ShardId, record: Bytes) -> Result<LogPosition, LogError> {
        let config = &self.shared.config;
        let (bytes, bytes_max) = (record.len() as u64, config.record_bytes_max);
        if bytes > bytes_max {
            return Err(LogError::RecordTooLarge { shard, bytes, bytes_max });
        }
        let share = frame_bytes(&record).min(config.queue_bytes_max);
        let share = u32::try_from(share).expect("queue_bytes_max is below 4 GiB");
        let (answer, answered) = oneshot::channel();
        {
            // Unconstrained: a task that used up its share would else let later calls in first.
            let _first = tokio::task::unconstrained(self.entrance.lock()).await;
            let room = Arc::clone(&self.room).acquire_many_owned(share).await.expect("the semaphore is never closed");
            let append = Append { shard, record, answer, _room: room };
            if self.requests().send(Request::Append(append)).await.is_err() {
                return Err(self.shared.ended().await);
            }
        }
        self.answer(answered).await
    }

    async fn read(&self, shard: ShardId, from: LogPosition) -> Result<LogReader, LogError> {
        Ok(LogReader::new(LocalCursor::new(&self.shared, shard, from)?))
    }

    async fn end(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        Ok(LogPosition(self.shared.index().range(shard).end))
    }

    async fn start(&self, shard: ShardId) -> Result<LogPosition, LogError> {
        Ok(LogPosition(self.shared.index().range(shard).start))
    }

    async fn truncate(&self, shard: ShardId, below: LogPosition) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        if self.requests().send(Request::Truncate(Truncate { shard, below, answer })).await.is_err() {
            return Err(self.shared.ended().await);
        }
        self.answer(answered).await
    }

    fn incarnation(&self) -> LogIncarnation {
        self.shared.incarnation
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            // A panic there has poisoned the log, and everybody who asked was told.
            let _ = writer.join();
        }
    }
}

/// Makes the log's directory, durably; does nothing if it is there.
fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(disk, parent)?;
    }
    std::fs::create_dir(directory).map_err(|error| LogError::io("create", directory, error))?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_directory(parent).map_err(|error| LogError::io("sync", parent, error))
}
