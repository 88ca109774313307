//! One partition of a source: claimed, then read into the shards, every record once.
//!
//! In: records. Out: batches with the offsets that they cover. Owns the replay rules on the tailer's side (the leaf's are in
//! its `sources`): a claim of the epoch goes to every shard's log first; each shard then tells how far it is; reading goes on
//! with the lowest offset over the shards, and what a shard has is left out there. A batch that may not have reached the log
//! is appended again, as it was: the leaf takes the first.
//!
//! ```text
//! claim ──▶ every log;  offsets ◀── every leaf      reader ──records──▶ items ──▶ a batch a shard ──▶ logs
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use basalt_common::calls::{SourceError, WriteKind};
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::{CollectionId, Epoch, ShardId};
use basalt_common::leaves::Leaves;
use basalt_common::log::LogError;
use basalt_common::position::{LogPosition, SourcePartition};
use bytes::Bytes;
use thiserror::Error;

use crate::batches::{self, SourceStep};
use crate::gauge::{Gauge, ReadTo};
use crate::ids;
use crate::items::{Items, flat_reader, read_record};
use crate::kafka::{PartitionReader, Record, Topic, TopicError};
use crate::shared::{Shared, find, off_the_async_threads};

/// How long a leaf may take to apply a claim, before it is asked again.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before what failed is tried again, at first and at most.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why a source is not read on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The catalog or a leaf, or the collection is gone.
    #[error("{}", .0.message)]
    Failure(Failure),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another tailer reads the source.
    #[error("another tailer has claimed the source; pause and resume it to have it claimed anew")]
    Superseded,
    /// The topic ends before what was read of it.
    #[error(
        "partition {partition} ends at offset {end}, and {next} is due: the topic has lost records that were read; \
         drop the source and make it again to read on from here"
    )]
    Lost {
        /// The partition.
        partition: u32,
        /// The next offset.
        next: u64,
        /// The end.
        end: u64,
    },
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What all partitions of a source need.
#[derive(Clone)]
pub struct Reading {
    /// The way to the log.
    pub shared: Arc<Shared>,
    /// The leaves, who know how far the shards are.
    pub leaves: Leaves,
    /// Told what happens.
    pub gauge: Arc<Gauge>,
    /// The topic.
    pub topic: Arc<Topic>,
    /// The collection.
    pub collection: CollectionId,
    /// The epoch claimed.
    pub epoch: Epoch,
}

impl Reading {
    /// Claims a partition that was first read from `beginning` on, and reads it for as long as it can.
    ///
    /// # Errors
    /// It cannot be read on.
    pub async fn read(self, partition: SourcePartition, beginning: u64) -> Result<Infallible, RunError> {
        let due = self.claim(partition, beginning).await?;
        let next = due.iter().copied().min().unwrap_or(beginning);
        let (start, end) = self.topic.bounds(partition.partition).await?;
        if next > end {
            return Err(RunError::Lost { partition: partition.partition, next, end });
        }
        if next < start {
            let message = format!(
                "the topic dropped the records from offset {next} to {} before they were read; keep records for longer",
                start - 1
            );
            self.gauge.fail([SourceError { partition: partition.partition, offset: next, message }]);
        }
        let mut reader = self.topic.read(partition.partition, next.max(start)).await?;
        self.gauge.begin(partition.partition, next.max(start));
        let mut step = SourceStep { partition, epoch: self.epoch, due, last: 0 };
        loop {
            self.take(&mut reader, &mut step).await?;
        }
    }

    /// Appends the claim to every shard's log; returns the first offset that each shard does not have.
    async fn claim(&self, partition: SourcePartition, beginning: u64) -> Result<Vec<u64>, RunError> {
        let collection = find(&self.shared.catalog.state(), self.collection)?;
        let claims = batches::of_claim(&collection, partition, self.epoch, self.shared.clock.now_micros());
        let due = claims.into_iter().map(|claim| async move {
            let position = self.append(claim.shard, claim.bytes).await?;
            self.first_due(claim.shard, partition, position).await.map(|due| due.unwrap_or(beginning))
        });
        futures::future::try_join_all(due).await
    }

    /// The first offset that a shard does not have, once it has applied a claim; none if it has nothing of the partition.
    async fn first_due(
        &self,
        shard: ShardId,
        partition: SourcePartition,
        claim: LogPosition,
    ) -> Result<Option<u64>, RunError> {
        let mut delay = RETRY_DELAYS.0;
        loop {
            let leaf = self.leaves.owner(shard)?;
            let failure = match leaf.calls.source_progress(shard, partition, claim, CLAIM_PATIENCE).await {
                Ok(Some(progress)) if progress.epoch > self.epoch => return Err(RunError::Superseded),
                Ok(progress) => return Ok(progress.and_then(|progress| progress.offset).map(|offset| offset + 1)),
                Err(failure) => failure,
            };
            if !matches!(failure.kind, FailureKind::Unavailable | FailureKind::Timeout) {
                return Err(failure.into());
            }
            self.wait(&mut delay, &failure.message).await;
        }
    }

    /// Takes the next records into the shards.
    async fn take(&self, reader: &mut PartitionReader, step: &mut SourceStep) -> Result<(), RunError> {
        let records = reader.records().await?;
        let (Some(last), count) = (records.last(), records.len() as u64) else { return Ok(()) };
        let read_to = ReadTo { next: last.offset + 1, written_micros: last.written_micros };
        step.last = last.offset;
        let place = self.shared.readers.acquire().await.expect("the semaphore is never closed");
        let (batches, replayed) = self.batches(records, step).await?;
        drop(place);
        let shards: Vec<ShardId> = batches.iter().map(|batch| batch.shard).collect();
        let appends = batches.into_iter().map(|batch| self.append(batch.shard, batch.bytes));
        futures::future::try_join_all(appends).await?;
        for shard in shards {
            step.due[usize::from(shard.shard)] = step.last + 1;
        }
        self.gauge.count(step.partition.partition, read_to, count, replayed, self.shared.clock.monotonic());
        Ok(())
    }

    /// The batches of records, their fields registered.
    async fn batches(&self, records: Vec<Record>, step: &SourceStep) -> Result<(Vec<batches::Record>, u64), RunError> {
        let shared = &self.shared;
        let now = shared.clock.now_micros();
        let (limits, collection) = (shared.config.limits, find(&shared.catalog.state(), self.collection)?);
        let read = move || {
            let mut items = Items::default();
            let mut flat = flat_reader(WriteKind::Upsert, &collection, &limits);
            for record in &records {
                items.add(record.offset, read_record(record, &collection, flat.as_mut(), &limits));
            }
            if let Some(rule) = &collection.version {
                items.refuse_future(rule, now);
            }
            items
        };
        let mut items = off_the_async_threads(read).await?;
        let collection = shared.register(self.collection, &mut items).await?;
        let Items { mut items, errors } = items;
        let partition = step.partition;
        let error = |error: basalt_common::calls::ItemError| SourceError {
            partition: partition.partition,
            offset: error.index,
            message: error.message,
        };
        self.gauge.fail(errors.into_iter().map(error));
        for item in &mut items {
            let named = ids::of_position(partition, item.index);
            item.id.get_or_insert_with(|| ids::id_of(named));
            if let Some(stamp) = &mut item.stamp {
                stamp.operation_id.get_or_insert(named);
            }
        }
        let step = step.clone();
        Ok(off_the_async_threads(move || batches::of_source(&collection, &items, &step, now)).await?)
    }

    /// Appends a batch, however long that takes.
    async fn append(&self, shard: ShardId, bytes: Bytes) -> Result<LogPosition, RunError> {
        let mut delay = RETRY_DELAYS.0;
        loop {
            match self.shared.log.append(shard, bytes.clone()).await {
                Ok(position) => return Ok(position),
                Err(error @ (LogError::Unavailable { .. } | LogError::Full { .. })) => {
                    self.wait(&mut delay, &error.to_string()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits before something is tried again, and tells why meanwhile.
    async fn wait(&self, delay: &mut Duration, reason: &str) {
        self.gauge.set_failure(Some(reason.to_string()));
        tokio::time::sleep(*delay).await;
        self.gauge.set_failure(None);
        *delay = (*delay * 2).min(RETRY_DELAYS.1);
    }
}
