//! The shards of this leaf, for scans and for calls.
//!
//! In: scans, keys and positions, from aggregators. Out: rows of one snapshot a query and shard; documents; outcomes. Which
//! shards are here is the pipeline's affair.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use basalt_common::calls::{
    DocumentsRequest, LeafCalls, Outcomes, QueryId, SegmentReport, ShardStatus, StatisticsRequest,
};
use basalt_common::catalog::Catalog;
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::{CollectionId, ShardId};
use basalt_common::position::{LogPosition, SourcePartition, SourceProgress};
use basalt_common::scan::{Aggregation, ShardReader, ShardScan};
use basalt_common::schema::Schema;
use basalt_common::text::Statistics;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryFutureExt};
use tokio::sync::watch;

use crate::aggregate::pays;
use crate::counters::Counters;
use crate::documents::Wanted;
use crate::pins::{Pins, Scanned};
use crate::reader::Reader;
use crate::scores;
use crate::served::Served;
use crate::shard::Snapshot;

/// How long a scan waits for the position of a fence; the query's own time limit is shorter, or ends it anyway.
const FENCE_PATIENCE: Duration = Duration::from_secs(600);

/// How long a shard that belongs here may take to be opened: the catalog knows a new collection before its leaves do.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// So many documents at most are read where they are asked for, if nothing has to be waited for: that takes less than a millisecond, and
/// the way to another thread takes longer than a few of them.
const AT_ONCE_MAX: usize = 64;

/// Which shards belong to a leaf.
pub type Owns = Arc<dyn Fn(ShardId) -> bool + Send + Sync>;

/// Shards by name. Clones share them.
#[derive(Clone)]
pub struct Shards {
    catalog: Arc<dyn Catalog>,
    owns: Owns,
    served: Arc<RwLock<HashMap<ShardId, Arc<Served>>>>,
    added: watch::Sender<()>,
    pins: Pins,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("served", &self.served).finish_non_exhaustive()
    }
}

impl Shards {
    /// Makes a leaf without shards.
    pub fn new(catalog: Arc<dyn Catalog>, owns: Owns, clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Self {
        let (served, added) = (Arc::default(), watch::Sender::default());
        Self { catalog, owns, served, added, pins: Pins::new(Arc::clone(&clock)), clock, counters }
    }

    /// Whether a shard belongs here.
    pub fn owns(&self, shard: ShardId) -> bool {
        (self.owns)(shard)
    }

    /// Serves a shard from now on.
    pub fn add(&self, shard: Arc<Served>) {
        self.served.write().unwrap_or_else(PoisonError::into_inner).insert(shard.id(), shard);
        self.added.send_replace(());
    }

    /// Serves a shard no longer.
    pub fn remove(&self, shard: ShardId) {
        self.served.write().unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    /// The shard, if it is here.
    pub fn find(&self, shard: ShardId) -> Option<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// All shards that are here.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Flushes all shards, as before a stop: a restart then reads nothing again.
    ///
    /// # Errors
    /// The first that was not flushed in time; the others are flushed, as far as time allows.
    pub async fn flush(&self, patience: Duration) -> Result<(), Failure> {
        let served = self.all();
        let flushed = futures::future::join_all(served.iter().map(|served| served.flush(patience))).await;
        flushed.into_iter().collect()
    }

    fn schema(&self, collection: CollectionId) -> Arc<Schema> {
        let state = self.catalog.state();
        state.collection(collection).map(|collection| Arc::clone(&collection.schema)).unwrap_or_default()
    }

    /// The shard; one that belongs here and is about to be opened is waited for.
    async fn served(&self, shard: ShardId) -> Result<Arc<Served>, Failure> {
        if let Some(served) = self.find(shard) {
            return Ok(served);
        }
        let mut added = self.added.subscribe();
        let opened = async {
            loop {
                added.borrow_and_update();
                if let Some(served) = self.find(shard) {
                    return Some(served);
                }
                let expected = self.owns(shard) && self.catalog.state().collection(shard.collection).is_some();
                if !expected || added.changed().await.is_err() {
                    return None;
                }
            }
        };
        let found = tokio::time::timeout(OPEN_PATIENCE, opened).await.unwrap_or_default();
        found.ok_or_else(|| Failure::new(FailureKind::Unavailable, format!("shard {shard} is not on this leaf")))
    }
}

impl ShardReader for Shards {
    fn open(&self, scan: &ShardScan, _context: &Arc<TaskContext>) -> Result<Option<SendableRecordBatchStream>> {
        let Some(shard) = scan.shard_id().filter(|shard| self.owns(*shard)) else { return Ok(None) };
        let rows = match self.pinned(scan, shard) {
            Some((reader, snapshot)) => reader.read(snapshot),
            None => {
                let pinned = self.clone().pinned_behind(scan.clone(), shard);
                pinned.map_ok(|(reader, snapshot)| reader.read(snapshot)).try_flatten_stream().boxed()
            }
        };
        Ok(Some(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), rows))))
    }

    fn aggregate(
        &self,
        scan: &ShardScan,
        aggregation: &Arc<Aggregation>,
        context: &Arc<TaskContext>,
    ) -> Result<Option<SendableRecordBatchStream>> {
        let Some(shard) = scan.shard_id().filter(|shard| self.owns(*shard)) else { return Ok(None) };
        let memory = MemoryConsumer::new("ShardAggregate").register(context.memory_pool());
        let plan = Arc::clone(aggregation);
        let groups = match self.pinned(scan, shard) {
            Some((reader, snapshot)) => match pays(aggregation, scan, &reader.schema, &snapshot) {
                true => reader.aggregate(plan, snapshot, memory),
                false => return Ok(None),
            },
            None => {
                let pinned = self.clone().pinned_behind(scan.clone(), shard);
                let groups = move |(reader, snapshot): (Reader, _)| reader.aggregate(plan, snapshot, memory);
                pinned.map_ok(groups).try_flatten_stream().boxed()
            }
        };
        Ok(Some(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&aggregation.schema), groups))))
    }
}

impl Shards {
    /// A reader and the query's snapshot, where both can be had at once. Pinned before the first poll: all scans of a plan then start
    /// from one moment.
    fn pinned(&self, scan: &ShardScan, shard: ShardId) -> Option<(Reader, Arc<Snapshot>)> {
        let served = self.find(shard).filter(|served| served.is_open() && scan.after().is_none())?;
        let (snapshot, scanned) = self.pins.pin(scan.target.query, shard, || served.pin());
        Some((self.reader(scan, served, scanned), snapshot))
    }

    /// The same, once the shard is open and has passed the scan's fence.
    async fn pinned_behind(self, scan: ShardScan, shard: ShardId) -> Result<(Reader, Arc<Snapshot>)> {
        let served = self.served_behind(shard, scan.after()).await?;
        let (snapshot, scanned) = self.pins.pin(scan.target.query, shard, || served.pin());
        Ok((self.reader(&scan, served, scanned), snapshot))
    }

    /// Made once the snapshot is pinned: the schema of now knows every field in it.
    fn reader(&self, scan: &ShardScan, served: Arc<Served>, scanned: Scanned) -> Reader {
        let (schema, counters) = (self.schema(served.id().collection), Arc::clone(&self.counters));
        Reader { scan: scan.clone(), schema, served, counters, scanned }
    }

    /// The shard, once it is open and has passed a position.
    async fn served_behind(&self, shard: ShardId, after: Option<LogPosition>) -> Result<Arc<Served>> {
        let failed = |failure| DataFusionError::External(Box::new(failure));
        let served = self.served(shard).await.map_err(failed)?;
        served.wait_for(after, FENCE_PATIENCE).await.map_err(failed)?;
        Ok(served)
    }
}

#[async_trait]
impl LeafCalls for Shards {
    async fn documents(&self, request: DocumentsRequest) -> Result<Vec<Option<String>>, Failure> {
        let served = self.served(request.shard).await?;
        served.wait_for(request.after, request.patience).await?;
        let DocumentsRequest { shard, ids, fields, .. } = request;
        let (catalog, clock) = (Arc::clone(&self.catalog), Arc::clone(&self.clock));
        let wanted = move || {
            let state = catalog.state();
            let collection = state.collection(shard.collection);
            let schema = collection.map(|collection| Arc::clone(&collection.schema)).unwrap_or_default();
            let retention = collection.and_then(|collection| collection.retention());
            Wanted::new(schema, fields.as_deref(), retention.map(|retention| retention.expired(clock.now_micros())))
        };
        let failed =
            |cause: String| Failure::new(FailureKind::Internal, format!("the documents could not be read: {cause}"));
        if ids.len() <= AT_ONCE_MAX
            && let Some(read) = served.documents_at_once(&ids, &wanted)
        {
            return read.map_err(|damage| failed(damage.to_string()));
        }
        let read = tokio::task::spawn_blocking(move || served.documents(&ids, wanted)).await;
        let read = read.map_err(|error| failed(error.to_string()))?;
        read.map_err(|damage| failed(damage.to_string()))
    }

    async fn outcomes(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<Outcomes, Failure> {
        self.served(shard).await?.outcomes(position, patience).await
    }

    async fn wait_for(&self, shard: ShardId, position: LogPosition, patience: Duration) -> Result<(), Failure> {
        self.served(shard).await?.wait_for(Some(position), patience).await
    }

    async fn source_progress(
        &self,
        shard: ShardId,
        partition: SourcePartition,
        after: LogPosition,
        patience: Duration,
    ) -> Result<Option<SourceProgress>, Failure> {
        let served = self.served(shard).await?;
        served.wait_for(Some(after), patience).await?;
        let read = tokio::task::spawn_blocking(move || served.source_progress(partition)).await;
        read.map_err(|error| Failure::new(FailureKind::Internal, format!("the offsets could not be read: {error}")))
    }

    async fn status(&self, shard: ShardId, fields: bool) -> Result<ShardStatus, Failure> {
        Ok(self.served(shard).await?.status(fields))
    }

    async fn text_statistics(&self, request: StatisticsRequest) -> Result<Statistics, Failure> {
        let StatisticsRequest { shard, path, call, after, patience } = request;
        let served = self.served(shard).await?;
        served.wait_for(after, patience).await?;
        let Some(field) = self.schema(shard.collection).find(path.keys()) else { return Ok(Statistics::default()) };
        let read = move || -> Result<Statistics> {
            let (query, mut all) = (call.query()?, Statistics::default());
            for version in served.pin().segments() {
                all.add(&scores::statistics(version, field, &query)?);
            }
            Ok(all)
        };
        let failed = |cause: String| {
            Failure::new(FailureKind::Internal, format!("the words of {path} could not be counted: {cause}"))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| failed(error.to_string()))?;
        read.map_err(|error| failed(error.to_string()))
    }

    async fn scan_reports(&self, query: QueryId) -> Vec<SegmentReport> {
        self.pins.reports(query)
    }

    async fn end_query(&self, query: QueryId) -> u64 {
        self.pins.end(query)
    }
}
