//! The reader: one shard's durable records in order, then those to come.
//!
//! In come positions from the index and wake-ups from the writer; out come records. It owns its place in the shard and
//! the records fetched ahead. Which records are durable is left to `index`; blocking reads go to the runtime's blocking
//! threads, one chunk at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::super::{LogCursor, LogError, LogRecord};
use super::shared::{Life, Shared};
use crate::id::ShardId;
use crate::position::LogPosition;

/// A cursor over one shard of a local log.
pub(super) struct LocalCursor {
    shared: Arc<Shared>,
    shard: ShardId,
    /// The position behind the last record fetched.
    next: LogPosition,
    /// Records fetched and not yet given out, at most one chunk.
    fetched: VecDeque<LogRecord>,
    announced: watch::Receiver<u64>,
    life: watch::Receiver<Life>,
}

impl LocalCursor {
    /// Places a cursor at `from`.
    ///
    /// # Errors
    ///
    /// [`LogError::Truncated`] and [`LogError::PastEnd`].
    pub(super) fn new(shared: &Arc<Shared>, shard: ShardId, from: LogPosition) -> Result<LocalCursor, LogError> {
        let announced = {
            let mut index = shared.index();
            index.check(shard, from)?;
            index.subscribe(shard)
        };
        let (shared, life) = (Arc::clone(shared), shared.life());
        Ok(LocalCursor { shared, shard, next: from, fetched: VecDeque::new(), announced, life })
    }

    /// Fetches the next chunk; tells whether there was one. Nothing is lost if the future is dropped: the place moves
    /// with the records, behind the last await.
    async fn fetch(&mut self) -> Result<bool, LogError> {
        let located = self.shared.index().locate(self.shard, self.next, self.shared.config.read_bytes_max)?;
        let Some(chunk) = located else {
            return Ok(false);
        };
        let records = match tokio::task::spawn_blocking(move || chunk.read()).await {
            Ok(records) => records?,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime is shutting down.
            Err(_) => return Err(LogError::Closed),
        };
        self.next = LogPosition(self.next.0 + records.len() as u64);
        self.fetched.extend(records);
        Ok(true)
    }
}

#[async_trait]
impl LogCursor for LocalCursor {
    async fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        loop {
            if let Some(record) = self.fetched.pop_front() {
                return Ok(Some(record));
            }
            // Marked as seen before looking, so that whatever changes after the look wakes the wait.
            self.announced.mark_unchanged();
            let life = self.life.borrow_and_update().clone();
            if self.fetch().await? {
                continue;
            }
            match life {
                Life::Open => {}
                Life::Closed => return Ok(None),
                Life::Poisoned(error) => return Err(error),
            }
            // Both senders live in `shared`, so neither can fail.
            tokio::select! {
                biased;
                _ = self.announced.changed() => {}
                _ = self.life.changed() => {}
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<LogRecord>, LogError> {
        if self.fetched.is_empty() {
            self.fetch().await?;
        }
        Ok(self.fetched.pop_front())
    }
}
