//! Flushing: when a shard's state goes to the store, and what is let go of the log then.
//!
//! In: how far a shard is; the policy. Out: manifests, through the shard's writer; segments read from their files from then on; a
//! log cut below the newest. Only taking
//! the checkpoint, which copies references, holds the shard: batches and queries go on meanwhile. A flush that fails is
//! tried again, later and later; the shard goes on, and the log keeps what the store does not have.
//!
//! ```text
//! Served ──checkpoint──▶ Writer: segments, checkpoint, manifest ──▶ Served::note_flushed ──▶ log.truncate
//! ```

use std::sync::Arc;
use std::time::Duration;

use basalt_common::catalog::Catalog;
use basalt_common::clock::Clock;
use basalt_common::log::{LogError, ShardLog};
use basalt_common::position::LogPosition;
use thiserror::Error;
use tracing::{debug, error};

use crate::file::manifest::Manifest;
use crate::indexes::Indexes;
use crate::policy::{FlushPolicy, Unflushed};
use crate::served::{Progress, Served};
use crate::store::{StoreError, Writer};

/// How shards are flushed.
#[derive(Debug, Clone)]
pub struct FlushConfig {
    /// When.
    pub policy: FlushPolicy,
    /// With more bytes of its log than this applied and not flushed, a shard is not applied any further: they are in memory.
    pub unflushed_bytes_max: u64,
    /// Records that a shard's log keeps below the newest manifest: none, since recovery needs none.
    pub log_records_kept: u64,
    /// How long after a failure a flush is tried again; each time twice as long as before.
    pub retry_delay_min: Duration,
    /// The longest such time: an outage of the store is over, and nobody waits much longer.
    pub retry_delay_max: Duration,
}

impl Default for FlushConfig {
    fn default() -> Self {
        Self {
            policy: FlushPolicy::default(),
            unflushed_bytes_max: 1 << 30,
            log_records_kept: 0,
            retry_delay_min: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(60),
        }
    }
}

/// Why a flush failed.
#[derive(Debug, Error)]
pub enum FlushError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest is there; the log could not be cut.
    #[error("the log below it cannot be cut: {0}")]
    Log(#[from] LogError),
    /// Work off the async threads ended in the middle.
    #[error("the checkpoint cannot be taken: {0}")]
    Stopped(String),
    /// A batch did: the shard has to begin anew.
    #[error("a batch was not applied to its end, so there is nothing to write; see why, and restart the leaf")]
    HalfApplied,
}

/// Flushes one shard.
pub struct Flusher {
    served: Arc<Served>,
    writer: Writer,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    config: FlushConfig,
    log: Arc<dyn ShardLog>,
}

impl Flusher {
    /// Flushes a shard that has begun with what the writer's newest manifest names.
    pub fn new(
        served: Arc<Served>,
        writer: Writer,
        log: Arc<dyn ShardLog>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        config: FlushConfig,
    ) -> Self {
        Self { served, writer, log, catalog, clock, config }
    }

    /// Flushes when it is time, until the collection is dropped, another writes the shard or there is nothing whole to write.
    pub async fn run(mut self) {
        let mut progress = self.served.progress();
        let (mut since, mut uncut) = (None, false);
        let mut delay = self.config.retry_delay_min;
        loop {
            let seen = progress.borrow_and_update().clone();
            if seen.dropped {
                return;
            }
            let wait = match seen.next > seen.flushed {
                true => {
                    let now = self.clock.monotonic();
                    let age = now - *since.get_or_insert(now);
                    let (bytes, applying) = (seen.unflushed_bytes(), seen.unflushed_applying());
                    Some(self.wait(&seen, Unflushed { bytes, applying, age }))
                }
                // In a full log nothing comes that would bring the next flush.
                false if uncut => Some(Duration::ZERO),
                false => None,
            };
            if wait != Some(Duration::ZERO) {
                tokio::select! {
                    _ = progress.changed() => {}
                    () = elapsed(wait) => {}
                }
                continue;
            }
            match self.flush().await {
                Ok(()) => {
                    (since, uncut) = (None, false);
                    delay = self.config.retry_delay_min;
                }
                // The process is stopping; what was written counts all the same.
                Err(FlushError::Log(LogError::Closed)) => return,
                Err(failure) => {
                    let shard = self.served.id();
                    error!(%shard, error = %failure, ?delay, "the shard is not flushed");
                    self.served.note_flush_failed(failure.to_string());
                    if matches!(failure, FlushError::Store(StoreError::Raced { .. }) | FlushError::HalfApplied) {
                        return;
                    }
                    uncut |= matches!(failure, FlushError::Log(LogError::Full { .. } | LogError::Unavailable { .. }));
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = self.served.dropped() => {}
                    }
                    delay = (delay * 2).min(self.config.retry_delay_max);
                }
            }
        }
    }

    fn wait(&self, seen: &Progress, unflushed: Unflushed) -> Duration {
        match seen.flush_wanted > seen.flushed {
            true => Duration::ZERO,
            false => self.config.policy.wait(unflushed),
        }
    }

    /// Flushes what is applied now.
    ///
    /// # Errors
    /// The store or the log fails; it may be tried again, but for [`StoreError::Raced`].
    pub async fn flush(&mut self) -> Result<(), FlushError> {
        let served = Arc::clone(&self.served);
        // What is applied from here on may be flushed too, and is counted again.
        let then = served.progress().borrow().clone();
        let catalog = Arc::clone(&self.catalog);
        let checkpoint = tokio::task::spawn_blocking(move || {
            if let Err(damage) = served.gather(catalog.as_ref()) {
                // Whoever reads it is told too; what is there can be flushed as it is.
                error!(shard = %served.id(), error = %damage, "segments in memory are not merged");
            }
            served.checkpoint()
        });
        let checkpoint = checkpoint.await.map_err(|error| FlushError::Stopped(error.to_string()))?;
        let checkpoint = checkpoint.ok_or(FlushError::HalfApplied)?;
        let started = self.clock.monotonic();
        let before = self.writer.newest().cloned();
        let indexes = Indexes::of(self.catalog.as_ref(), self.served.id().collection);
        let written = self.writer.write(checkpoint, &indexes).await?;
        self.read_from_files(before.as_ref()).await?;
        let Some(manifest) = self.writer.newest() else { return Ok(()) };
        let (shard, position, number) = (manifest.shard, manifest.position, manifest.number);
        self.served.note_flushed(position, &then);
        let took = self.clock.monotonic() - started;
        debug!(%shard, %position, manifest = number, segments = written.segments, generations = written.generations, bytes = written.bytes, ?took, "flushed");
        let below = LogPosition((position.0 + 1).saturating_sub(self.config.log_records_kept));
        self.log.truncate(shard, below).await?;
        Ok(())
    }
}

impl Flusher {
    /// Lets the shard read segments from their files that were written since; what is in memory of them can go.
    async fn read_from_files(&self, before: Option<&Manifest>) -> Result<(), FlushError> {
        let files = match self.writer.open_new(before).await {
            Ok(files) => files,
            Err(failure) => {
                // They are in memory all the same; a restart will say it again.
                error!(shard = %self.served.id(), error = %failure, "what was just written cannot be read");
                return Ok(());
            }
        };
        let served = Arc::clone(&self.served);
        let taken = tokio::task::spawn_blocking(move || served.take_files(files)).await;
        taken.map_err(|error| FlushError::Stopped(error.to_string()))
    }
}

/// Ready after a time; without one, never.
async fn elapsed(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
