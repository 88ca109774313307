//! The leaf's wiring: which shards are here, and the way of a batch from the log into a shard and on into the store.
//!
//! ```text
//! catalog ──▶ shards to own ──▶ one keeper a shard:
//!   store ──newest manifest──▶ Served::begin
//!     log ──next, then what is there, up to BATCHES_MAX──▶ decode ──schema known──▶ Served::apply
//!                                                    Flusher ◀──── checkpoint ────────┘
//! ```
//!
//! Where the store or the log cannot be reached, a shard is tried again until they can. One that cannot be recovered or
//! followed (a damaged object or record, a log that lost what it had, another log) stops with the reason; the other shards go
//! on.

use std::collections::HashMap;
use std::sync::Arc;

use basalt_common::batch::{self, Batch};
use basalt_common::catalog::{Catalog, CatalogState};
use basalt_common::clock::Clock;
use basalt_common::id::ShardId;
use basalt_common::log::{LogError, LogReader, LogRecord, ShardLog};
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::advice::pages_waited_for;
use crate::compactor;
use crate::file::manifest::Manifest;
use crate::flush::{FlushConfig, Flusher};
use crate::policy::MergePolicy;
use crate::replica::Replica;
use crate::served::Served;
use crate::shard::ApplyError;
use crate::shards::Shards;
use crate::store::{ShardStore, Store, StoreError, Writer};
use crate::warming::{self, warm};

/// The most batches that are applied in one go, off the async threads: enough to pay for the way there.
const BATCHES_MAX: usize = 256;

/// What followers need.
#[derive(Clone)]
pub struct Pipeline {
    /// Collections and their fields.
    pub catalog: Arc<dyn Catalog>,
    /// Where batches come from.
    pub log: Arc<dyn ShardLog>,
    /// Where shards are kept.
    pub store: Store,
    /// Where shards are put.
    pub shards: Arc<Shards>,
    /// When segments are merged.
    pub policy: MergePolicy,
    /// How many shards are merged at once.
    pub merges: Arc<Semaphore>,
    /// How shards are flushed.
    pub flush: FlushConfig,
    /// The time for that.
    pub clock: Arc<dyn Clock>,
}

impl Pipeline {
    /// Keeps the shards that belong here, and follows their logs, until the catalog ends. Tells `ready` when every shard
    /// that was there at the start has come to the end that its log had then.
    pub async fn run(self, ready: tokio::sync::oneshot::Sender<()>) {
        let mut states = self.catalog.watch();
        let mut kept: HashMap<ShardId, Arc<Served>> = HashMap::new();
        let mut tasks = JoinSet::new();
        let state = states.borrow_and_update().clone();
        self.take_on(&state, &mut kept, &mut tasks);
        let pipeline = self.clone();
        tasks.spawn(async move {
            pipeline.caught_up().await;
            // Whoever does not wait for it needs no answer.
            let _ = ready.send(());
            pipeline.delete_dropped(&state).await;
        });
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            self.take_on(&state, &mut kept, &mut tasks);
            self.let_go(&state, &mut kept);
            while tasks.try_join_next().is_some() {}
        }
    }

    fn take_on(&self, state: &CatalogState, kept: &mut HashMap<ShardId, Arc<Served>>, tasks: &mut JoinSet<()>) {
        for shard in state.collections().flat_map(|collection| collection.shard_ids()) {
            if self.shards.owns(shard) && !kept.contains_key(&shard) {
                let served = Arc::new(Served::new(shard));
                self.shards.add(Arc::clone(&served));
                tasks.spawn(self.clone().keep(Arc::clone(&served)));
                kept.insert(shard, served);
            }
        }
    }

    /// Lets go of the shards of dropped collections: their keepers delete what they have.
    fn let_go(&self, state: &CatalogState, kept: &mut HashMap<ShardId, Arc<Served>>) {
        kept.retain(|shard, served| {
            let stays = state.collection(shard.collection).is_some();
            if !stays {
                self.shards.remove(*shard);
                served.note_dropped();
            }
            stays
        });
    }

    async fn caught_up(&self) {
        for served in self.shards.all() {
            let Ok(LogPosition(end @ 1..)) = self.log.end(served.id()).await else { continue };
            // However long it takes; a shard that stopped answers at once, and says why where it is asked.
            let _ = served.wait_for(Some(LogPosition(end - 1)), std::time::Duration::MAX).await;
        }
    }

    /// Deletes what is left of collections whose drop was not carried out before the process ended.
    async fn delete_dropped(&self, state: &CatalogState) {
        let deleted = async {
            for collection in self.store.collections().await? {
                if state.was_dropped(collection) {
                    self.store.delete_collection(collection).await?;
                    info!(collection = collection.0, "what was left of a dropped collection is deleted");
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = deleted.await {
            warn!(%error, "what is left of dropped collections is not deleted");
        }
    }

    /// Keeps one shard, from recovery until its collection is dropped.
    async fn keep(self, served: Arc<Served>) {
        let shard = served.id();
        let recovered = tokio::select! {
            recovered = self.recover(&served) => recovered,
            () = served.dropped() => Err("its collection is dropped".into()),
        };
        match recovered {
            Ok(writer) => {
                let (log, catalog, clock) = (Arc::clone(&self.log), Arc::clone(&self.catalog), Arc::clone(&self.clock));
                let flusher = Flusher::new(Arc::clone(&served), writer, log, catalog, clock, self.flush.clone());
                let merging = compactor::run(Arc::clone(&served), Arc::clone(&self.catalog), Arc::clone(&self.merges));
                tokio::join!(flusher.run(), self.follow(&served), merging);
            }
            Err(reason) => stop(&served, reason),
        }
        served.dropped().await;
        let deleted = ShardStore::new(self.store.clone(), shard).delete_all().await;
        let truncated = async { self.log.truncate(shard, self.log.end(shard).await?).await };
        match (deleted, truncated.await) {
            (Ok(()), Ok(())) => info!(%shard, "dropped"),
            (Err(error), _) => error!(%shard, %error, "dropped, but its objects are left until the next start"),
            (_, Err(error)) => error!(%shard, %error, "dropped, but its log cannot be cut"),
        }
    }

    /// Begins a shard with what its newest manifest names.
    async fn recover(&self, served: &Served) -> Result<Writer, String> {
        let store = ShardStore::new(self.store.clone(), served.id());
        let mut delay = self.flush.retry_delay_min;
        loop {
            match self.load(&store).await {
                Err(Obstacle::Passing(reason)) => {
                    warn!(shard = %served.id(), reason, ?delay, "the shard is not recovered yet");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(self.flush.retry_delay_max);
                }
                Err(Obstacle::Lasting(reason)) => return Err(reason),
                Ok((replica, newest, end)) => {
                    served.begin(replica, end);
                    return Ok(Writer::new(store, self.log.incarnation(), newest));
                }
            }
        }
    }

    async fn load(&self, store: &ShardStore) -> Result<(Replica, Option<Manifest>, LogPosition), Obstacle> {
        let shard = store.shard();
        let newest = store.newest().await?;
        let (start, end) = (self.log.start(shard).await?, self.log.end(shard).await?);
        let Some(manifest) = newest else {
            return match start {
                LogPosition(0) => Ok((Replica::new(self.policy.clone()), None, end)),
                start => Err(Obstacle::Lasting(format!(
                    "its log starts at position {start}, and there is no manifest; restore the store from a copy"
                ))),
            };
        };
        self.check_log(&manifest, start, end)?;
        let checkpoint = store.load(&manifest).await?;
        if self.schema(shard, manifest.schema_version).await.is_none() {
            return Err(Obstacle::Lasting("its collection is dropped".into()));
        }
        let policy = self.policy.clone();
        let replica = off_the_async_threads(move || Replica::restore(checkpoint, policy)).await?;
        let replica = replica.map_err(|error| {
            format!("what manifest {} names contradicts itself: {error}; restore it from a copy", manifest.number)
        })?;
        info!(%shard, manifest = manifest.number, position = %manifest.position, "recovered");
        Ok((replica, Some(manifest), end))
    }

    /// Checks that the log goes on where the manifest ends.
    fn check_log(&self, manifest: &Manifest, start: LogPosition, end: LogPosition) -> Result<(), String> {
        let (number, due, own) = (manifest.number, manifest.position.0 + 1, self.log.incarnation());
        if manifest.incarnation != own {
            let other = manifest.incarnation;
            return Err(format!(
                "manifest {number} is of log {other}, and this is log {own}; restore the log and the store from one copy"
            ));
        }
        match start.0 <= due && due <= end.0 {
            true => Ok(()),
            false => Err(format!(
                "manifest {number} goes on at position {due} of the log, which has {start} to {end}, the end excluded; \
                 restore the log and the store from one copy"
            )),
        }
    }

    /// Applies what the log has and gets, until the collection is dropped or something cannot be read.
    async fn follow(&self, served: &Arc<Served>) {
        tokio::select! {
            followed = self.follow_until_it_fails(served) => if let Err(reason) = followed {
                stop(served, reason);
            },
            () = served.dropped() => {}
        }
    }

    async fn follow_until_it_fails(&self, served: &Arc<Served>) -> Result<(), String> {
        loop {
            match self.follow_while_there_is_a_log(served).await {
                Ok(()) => return Ok(()),
                Err(Obstacle::Lasting(reason)) => return Err(reason),
                Err(Obstacle::Passing(reason)) => {
                    warn!(shard = %served.id(), reason, "the shard's log cannot be read; trying again");
                    tokio::time::sleep(self.flush.retry_delay_min).await;
                }
            }
        }
    }

    async fn follow_while_there_is_a_log(&self, served: &Arc<Served>) -> Result<(), Obstacle> {
        let shard = served.id();
        let next = LogPosition(served.progress().borrow().next);
        let mut reader = self.log.read(shard, next).await?;
        let mut is_cold = false;
        while let Some((records, end)) = self.next_records(shard, &mut reader).await? {
            served.note_log_end(end);
            let batches = decode(records).await?;
            let needed = batches.iter().map(|(_, _, batch)| batch.header.schema_version).max().unwrap_or_default();
            let Some(schema) = self.schema(shard, needed).await else { return Ok(()) };
            served.room(self.flush.unflushed_bytes_max).await;
            let (served, clock) = (Arc::clone(served), Arc::clone(&self.clock));
            let apply = move || {
                for (position, bytes, batch) in &batches {
                    let started = clock.monotonic();
                    let warmed = if is_cold { warm(&served.pin(), &batch.operations.ids) } else { 0 };
                    let before = pages_waited_for();
                    served.apply(*position, batch, *bytes, &schema)?;
                    served.note_applying(clock.monotonic() - started);
                    let pages = warmed + pages_waited_for() - before;
                    is_cold = warming::is_cold(batch.operations.len(), pages);
                }
                Ok::<_, ApplyError>(is_cold)
            };
            is_cold = off_the_async_threads(apply).await?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The next record and what follows it already, with the log's end; none once the log is closed.
    async fn next_records(
        &self,
        shard: ShardId,
        reader: &mut LogReader,
    ) -> Result<Option<(Vec<LogRecord>, LogPosition)>, LogError> {
        let Some(first) = reader.next().await? else { return Ok(None) };
        let mut last = first.0;
        let mut records = vec![first];
        while records.len() < BATCHES_MAX {
            // Nothing is lost where this fails: the next call meets it too, or it has passed.
            let Ok(Some(record)) = reader.try_next().await else { return Ok(Some((records, LogPosition(last.0 + 1)))) };
            last = record.0;
            records.push(record);
        }
        Ok(Some((records, self.log.end(shard).await?)))
    }

    /// The collection's schema once it is at the version needed; none if the collection is dropped.
    async fn schema(&self, shard: ShardId, needed: u64) -> Option<Arc<Schema>> {
        let mut states = self.catalog.watch();
        let version = |state: &Arc<CatalogState>| {
            state.collection(shard.collection).is_none_or(|collection| collection.schema.version() >= needed)
        };
        let state = states.wait_for(version).await.ok()?.clone();
        state.collection(shard.collection).map(|collection| Arc::clone(&collection.schema))
    }
}

/// Why a shard is not recovered, or not followed.
enum Obstacle {
    /// The store or the log cannot be reached now.
    Passing(String),
    /// Trying again changes nothing.
    Lasting(String),
}

impl From<StoreError> for Obstacle {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Store { .. } | StoreError::Unavailable(_) => Self::Passing(error.to_string()),
            _ => Self::Lasting(error.to_string()),
        }
    }
}

impl From<LogError> for Obstacle {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable { .. } => Self::Passing(error.to_string()),
            _ => Self::Lasting(error.to_string()),
        }
    }
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Lasting(reason)
    }
}

fn stop(served: &Served, reason: String) {
    error!(shard = %served.id(), reason, "the shard is not followed any more");
    served.note_stopped(reason);
}

/// The batches with their positions and the bytes that they take in the log.
async fn decode(records: Vec<LogRecord>) -> Result<Vec<(LogPosition, u64, Batch)>, String> {
    let decode = move |(position, record): LogRecord| match batch::decode(&record) {
        Ok(batch) => Ok((position, record.len() as u64, batch)),
        Err(error) => Err(format!("the record at {position}: {error}")),
    };
    off_the_async_threads(move || records.into_iter().map(decode).collect()).await?
}

async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("applying failed: {error}"))
}
