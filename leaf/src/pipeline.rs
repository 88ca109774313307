//! The leaf's wiring: which shards are here, and the way of a batch from the log into a shard.
//!
//! ```text
//! catalog ──▶ shards to own ──▶ one follower a shard:
//!     log ──next, then what is there, up to BATCHES_MAX──▶ decode ──schema known──▶ Served::apply
//! ```
//!
//! A follower that cannot go on (a damaged record, a log that lost what it had) stops its shard with the reason; the other
//! shards go on.

use std::collections::HashMap;
use std::sync::Arc;

use basalt_common::batch::{self, Batch};
use basalt_common::catalog::{Catalog, CatalogState};
use basalt_common::id::ShardId;
use basalt_common::log::{LogReader, LogRecord, ShardLog};
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::policy::MergePolicy;
use crate::served::Served;
use crate::shards::Shards;

/// The most batches that are applied in one go, off the async threads: enough to pay for the way there.
const BATCHES_MAX: usize = 256;

/// What followers need.
#[derive(Clone)]
pub struct Pipeline {
    /// Collections and their fields.
    pub catalog: Arc<dyn Catalog>,
    /// Where batches come from.
    pub log: Arc<dyn ShardLog>,
    /// Where shards are put.
    pub shards: Arc<Shards>,
    /// When segments are merged.
    pub policy: MergePolicy,
}

impl Pipeline {
    /// Keeps the shards that belong here, and follows their logs, until the catalog ends. Tells `ready` when every shard
    /// that was there at the start has come to the end that its log had then.
    pub async fn run(self, ready: tokio::sync::oneshot::Sender<()>) {
        let mut states = self.catalog.watch();
        let mut followers: HashMap<ShardId, JoinHandle<()>> = HashMap::new();
        let state = states.borrow_and_update().clone();
        self.take_on(&state, &mut followers);
        let pipeline = self.clone();
        tokio::spawn(async move {
            pipeline.caught_up().await;
            // Whoever does not wait for it needs no answer.
            let _ = ready.send(());
        });
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            self.take_on(&state, &mut followers);
            self.let_go(&state, &mut followers).await;
        }
    }

    fn take_on(&self, state: &CatalogState, followers: &mut HashMap<ShardId, JoinHandle<()>>) {
        for shard in state.collections().flat_map(|collection| collection.shard_ids()) {
            if self.shards.owns(shard) && !followers.contains_key(&shard) {
                let served = Arc::new(Served::new(shard, self.policy.clone()));
                self.shards.add(Arc::clone(&served));
                followers.insert(shard, tokio::spawn(self.clone().follow(served)));
            }
        }
    }

    /// Lets go of the shards of dropped collections, and of their logs.
    async fn let_go(&self, state: &CatalogState, followers: &mut HashMap<ShardId, JoinHandle<()>>) {
        let dropped = |shard: &&ShardId| state.collection(shard.collection).is_none();
        let dropped: Vec<ShardId> = followers.keys().filter(dropped).copied().collect();
        for shard in dropped {
            if let Some(follower) = followers.remove(&shard) {
                follower.abort();
            }
            self.shards.remove(shard);
            let truncated = async { self.log.truncate(shard, self.log.end(shard).await?).await };
            match truncated.await {
                Ok(()) => info!(%shard, "dropped"),
                Err(error) => error!(%shard, %error, "dropped, but its log cannot be cut"),
            }
        }
    }

    async fn caught_up(&self) {
        for served in self.shards.all() {
            let Ok(LogPosition(end @ 1..)) = self.log.end(served.id()).await else { continue };
            // However long it takes; a shard that stopped answers at once, and says why where it is asked.
            let _ = served.wait_for(LogPosition(end - 1), std::time::Duration::MAX).await;
        }
    }

    async fn follow(self, served: Arc<Served>) {
        let shard = served.id();
        if let Err(reason) = self.follow_until_it_fails(&served).await {
            error!(%shard, reason, "the shard is not followed any more");
            served.note_stopped(reason);
        }
    }

    async fn follow_until_it_fails(&self, served: &Arc<Served>) -> Result<(), String> {
        let shard = served.id();
        let start = self.log.start(shard).await.map_err(|error| error.to_string())?;
        let mut reader = self.log.read(shard, start).await.map_err(|error| error.to_string())?;
        while let Some(records) = next_records(&mut reader).await? {
            let end = self.log.end(shard).await.map_err(|error| error.to_string())?;
            served.note_log_end(end);
            let batches = decode(records).await?;
            let needed = batches.iter().map(|(_, batch)| batch.header.schema_version).max().unwrap_or_default();
            let Some(schema) = self.schema(shard, needed).await else { return Ok(()) };
            let served = Arc::clone(served);
            let apply =
                move || batches.iter().try_for_each(|(position, batch)| served.apply(*position, batch, &schema));
            off_the_async_threads(apply).await?.map_err(|error| error.to_string())?;
        }
        Ok(())
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

/// The next record and what follows it already, or none at the log's end.
async fn next_records(reader: &mut LogReader) -> Result<Option<Vec<LogRecord>>, String> {
    let Some(first) = reader.next().await.map_err(|error| error.to_string())? else { return Ok(None) };
    let mut records = vec![first];
    while records.len() < BATCHES_MAX
        && let Some(record) = reader.try_next().await.map_err(|error| error.to_string())?
    {
        records.push(record);
    }
    Ok(Some(records))
}

async fn decode(records: Vec<LogRecord>) -> Result<Vec<(LogPosition, Batch)>, String> {
    let decode = move |(position, record): LogRecord| match batch::decode(&record) {
        Ok(batch) => Ok((position, batch)),
        Err(error) => Err(format!("the record at {position}: {error}")),
    };
    off_the_async_threads(move || records.into_iter().map(decode).collect()).await?
}

async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("applying failed: {error}"))
}
