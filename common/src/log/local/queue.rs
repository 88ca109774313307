//! The queue: what waits for the writer, and how much of it makes one commit.
//!
//! In come requests from the async side, bounded by number (the channel) and by bytes (the permits that requests carry).
//! Out come batches, bounded too, in the order of arrival. Carrying a batch out is left to `writer`.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::super::LogError;
use super::config::LocalLogConfig;
use super::frame::frame_bytes;
use crate::id::ShardId;
use crate::position::LogPosition;

/// A record to be appended. Dropped without an answer if the writer stops: the caller then asks why it did.
pub(super) struct Append {
    /// The shard.
    pub(super) shard: ShardId,
    /// The record.
    pub(super) record: Bytes,
    /// Who waits. May be gone: the record is written all the same.
    pub(super) answer: oneshot::Sender<Result<LogPosition, LogError>>,
    /// The record's share of the queue's bytes, held until it is written.
    pub(super) _room: OwnedSemaphorePermit,
}

/// A shard's start to be moved. Dropped without an answer if the writer stops.
pub(super) struct Truncate {
    /// The shard.
    pub(super) shard: ShardId,
    /// The new start.
    pub(super) below: LogPosition,
    /// Who waits.
    pub(super) answer: oneshot::Sender<Result<(), LogError>>,
}

/// What can be asked of the writer.
pub(super) enum Request {
    /// Append a record.
    Append(Append),
    /// Move a shard's start.
    Truncate(Truncate),
    /// Take no more requests, and end when those taken are done.
    Close,
}

/// Requests that are carried out together: the appends with one sync, the truncations with one checkpoint.
#[derive(Default)]
pub(super) struct Batch {
    /// In order of arrival.
    pub(super) appends: Vec<Append>,
    /// In order of arrival.
    pub(super) truncations: Vec<Truncate>,
    bytes: u64,
}

/// The writer's end of the queue.
pub(super) struct Queue {
    requests: mpsc::Receiver<Request>,
    /// The append that did not fit into the last batch.
    carried: Option<Append>,
    commit_bytes_max: u64,
    commit_records_max: usize,
}

impl Queue {
    /// Takes batches as large as `config` allows from `requests`.
    pub(super) fn new(requests: mpsc::Receiver<Request>, config: &LocalLogConfig) -> Queue {
        let LocalLogConfig { commit_bytes_max, commit_records_max, .. } = *config;
        Queue { requests, carried: None, commit_bytes_max, commit_records_max }
    }

    /// Waits for a request and takes it with all others that are there and fit; none once the queue is closed and empty.
    /// Blocks.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let first = match self.carried.take() {
            Some(append) => Request::Append(append),
            None => self.requests.blocking_recv()?,
        };
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append(append) => {
                    let bytes = batch.bytes + frame_bytes(&append.record);
                    if bytes > self.commit_bytes_max && !batch.appends.is_empty() {
                        self.carried = Some(append);
                        break;
                    }
                    batch.bytes = bytes;
                    batch.appends.push(append);
                }
                Request::Truncate(truncate) => batch.truncations.push(truncate),
                Request::Close => self.requests.close(),
            }
            if batch.appends.len() + batch.truncations.len() >= self.commit_records_max {
                break;
            }
            next = self.requests.try_recv().ok();
        }
        Some(batch)
    }
}
