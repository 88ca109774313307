//! A leaf's shards over restarts: log, store and pipeline in one process.
//!
//! A *life* is a pipeline on its own runtime; a *kill* drops the runtime in the middle of whatever it does. What was logged
//! is there in the next life, once, however much of it was flushed.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basalt_common::batch::{self, Batch, BatchBuilder, BatchHeader};
use basalt_common::calls::{DocumentsRequest, LeafCalls, ShardStatus};
use basalt_common::catalog::{Catalog, Command, LocalCatalog};
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::id::{CollectionId, Epoch, FieldId, ShardId, SourceId};
use basalt_common::indexing::IndexSettings;
use basalt_common::log::{LocalLog, LocalLogConfig, ShardLog};
use basalt_common::position::{LogPosition, SourcePartition, SourceRange};
use basalt_common::retention::RetentionSettings;
use basalt_common::schema::Schema;
use basalt_common::value::{Object, Value};
use basalt_harness::failing::{FailingLog, FailingStore};
use basalt_leaf::counters::Counters;
use basalt_leaf::flush::FlushConfig;
use basalt_leaf::pipeline::Pipeline;
use basalt_leaf::policy::{FlushPolicy, MergePolicy};
use basalt_leaf::shards::Shards;
use basalt_leaf::store::{Store, open_directory};
use object_store::ObjectStore;
use tokio::runtime::Runtime;

const SHARD: ShardId = ShardId { collection: CollectionId(1), shard: 0 };

/// Longer than anything here takes; a failure, not a wait, ends at it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Flushes after every batch that comes while none is being written.
const AT_ONCE: FlushConfig = FlushConfig {
    policy: FlushPolicy { flush_bytes: 0, flush_applying: Duration::MAX, flush_interval: Duration::from_secs(60) },
    unflushed_bytes_max: 1 << 30,
    log_records_kept: 0,
    retry_delay_min: Duration::from_millis(1),
    retry_delay_max: Duration::from_millis(4),
};

/// Flushes when asked to.
fn when_asked() -> FlushConfig {
    let (flush_applying, flush_interval) = (Duration::MAX, Duration::from_secs(3600));
    FlushConfig { policy: FlushPolicy { flush_bytes: u64::MAX, flush_applying, flush_interval }, ..AT_ONCE }
}

/// A running leaf.
struct Life {
    runtime: Runtime,
    log: Arc<dyn ShardLog>,
    catalog: Arc<dyn Catalog>,
    shards: Arc<Shards>,
}

impl Life {
    /// Starts a leaf on the log in a folder, and waits until it has caught up.
    fn start(folder: &Path, store: impl Into<Store>, flush: FlushConfig, incarnation: u128) -> Result<Self> {
        Self::start_on(Arc::new(LocalLog::open(folder, LocalLogConfig::default(), incarnation)?), store.into(), flush)
    }

    /// The same on a log that is open.
    fn start_on(log: Arc<dyn ShardLog>, store: Store, flush: FlushConfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let catalog: Arc<dyn Catalog> = Arc::new(runtime.block_on(LocalCatalog::open(Arc::clone(&log)))?);
        if catalog.state().collection(SHARD.collection).is_none() {
            let command = Command::CreateCollection {
                workspace: "public".into(),
                name: "things".into(),
                description: String::new(),
                owner: String::new(),
                shards: 1,
                key: None,
                version: None,
                indexing: IndexSettings::default(),
                retention: RetentionSettings::default(),
            };
            runtime.block_on(catalog.propose(command))?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let shards = Arc::new(Shards::new(
            Arc::clone(&catalog),
            Arc::new(|_| true),
            Arc::clone(&clock),
            Arc::new(Counters::default()),
        ));
        let pipeline = Pipeline {
            catalog: Arc::clone(&catalog),
            log: Arc::clone(&log),
            store,
            shards: Arc::clone(&shards),
            policy: MergePolicy::default(),
            merges: basalt_leaf::compactor::permits(),
            flush,
            clock,
        };
        let (ready, caught_up) = tokio::sync::oneshot::channel();
        runtime.spawn(pipeline.run(ready));
        runtime.block_on(caught_up)?;
        Ok(Self { runtime, log, catalog, shards })
    }

    fn schema(&self) -> Arc<Schema> {
        let state = self.catalog.state();
        Arc::clone(&state.collection(SHARD.collection).expect("it was created").schema)
    }

    /// Appends one batch of documents `{n, of: batch}`, each an upsert of its `_id`.
    fn append(&self, ids: impl Iterator<Item = u64>, round: i64, sources: Vec<SourceRange>) -> Result<LogPosition> {
        let mut grown = (*self.schema()).clone();
        let document = |id: u64| Object::from([("n".into(), Value::Int(id as i64)), ("of".into(), Value::Int(round))]);
        grown.register_object(FieldId::ROOT, &document(0), &mut |_, _| {});
        if grown.version() > self.schema().version() {
            let fields = grown.grown_since(&self.schema());
            let id = SHARD.collection.0;
            self.runtime.block_on(self.catalog.propose(Command::Register { id, fields, fields_max: 100 }))?;
        }
        let (schema, mut builder) = (self.schema(), BatchBuilder::default());
        ids.map(|id| builder.upsert(&schema, &id.to_string(), &document(id))).collect::<Result<Vec<_>, _>>()?;
        let header = BatchHeader {
            shard: SHARD,
            routing_epoch: 0,
            schema_version: schema.version(),
            logged_at_micros: round,
            event_time_micros: None,
            sources,
            request: None,
            horizon: None,
            retention: None,
        };
        let mut bytes = Vec::new();
        batch::encode(&Batch { header, operations: builder.finish() }, &mut bytes);
        Ok(self.runtime.block_on(self.log.append(SHARD, bytes.into()))?)
    }

    fn status(&self) -> Result<ShardStatus> {
        Ok(self.runtime.block_on(self.shards.status(SHARD, false))?)
    }

    fn document(&self, id: u64) -> Result<Option<String>> {
        let ids = vec![id.to_string()];
        let request = DocumentsRequest { shard: SHARD, ids, fields: None, after: None, patience: PATIENCE };
        Ok(self.runtime.block_on(self.shards.documents(request))?.remove(0))
    }

    fn applied(&self, position: LogPosition) -> Result<()> {
        self.applied_within(position, PATIENCE)
    }

    fn applied_within(&self, position: LogPosition, patience: Duration) -> Result<()> {
        Ok(self.runtime.block_on(self.shards.wait_for(SHARD, position, patience))?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.shards.flush(PATIENCE))?)
    }

    /// The documents 0 to `count` are there, each as of its last round.
    fn check(&self, rounds: &[i64]) -> Result<()> {
        let status = self.status()?;
        ensure!(status.documents == rounds.len() as u64, "{status:?}, expected {} documents", rounds.len());
        for (id, round) in rounds.iter().enumerate().step_by(7) {
            let found = self.document(id as u64)?.with_context(|| format!("document {id} is lost"))?;
            ensure!(found.contains(&format!("\"of\":{round}")), "document {id} is {found}, expected of {round}");
        }
        Ok(())
    }

    /// Ends as a killed process does: nothing is told, nothing is waited for.
    fn kill(self) {
        let Self { runtime, .. } = self;
        // What is on the disk's threads comes to its end, as in a kernel; nothing goes on from there.
        runtime.shutdown_timeout(PATIENCE);
    }
}

fn directory(folder: &Path) -> Result<Arc<dyn ObjectStore>> {
    Ok(open_directory(&folder.join("store"))?)
}

/// Lives that are killed at any moment: with all flushed, with some, with nothing, with a store that fails.
#[test]
fn what_was_logged_outlives_every_kill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut rounds: Vec<i64> = Vec::new();
    let mut failures = 0;
    for life in 0..12_i64 {
        let failing = Arc::new(FailingStore::new(directory(folder.path())?, life as u64));
        failing.fail(if life % 3 == 2 { 50 } else { 0 });
        let flush = if life % 4 == 3 { when_asked() } else { AT_ONCE };
        let log = folder.path().join(format!("log-{}", life / 100));
        let leaf = Life::start(&log, Arc::clone(&failing) as Arc<dyn ObjectStore>, flush, 7)?;
        leaf.check(&rounds).with_context(|| format!("at the start of life {life}"))?;
        let mut last = LogPosition(0);
        for round in 0..20 {
            let round = life * 100 + round;
            let start = rounds.len() as u64 * 3 / 4;
            let ids = start..start + 30;
            rounds.resize(rounds.len().max(ids.end as usize), round);
            ids.clone().for_each(|id| rounds[id as usize] = round);
            last = leaf.append(ids, round, Vec::new())?;
            if life % 3 == 2 && round % 4 == 0 {
                leaf.flush()?;
            }
        }
        leaf.applied(last)?;
        if life % 2 == 0 {
            leaf.flush()?;
            let status = leaf.status()?;
            ensure!(status.flushed == last.0 + 1, "{status:?}");
        }
        leaf.check(&rounds).with_context(|| format!("at the end of life {life}"))?;
        failures += failing.failed();
        leaf.kill();
    }
    ensure!(failures > 20, "only {failures} puts failed: the test proves nothing");
    Ok(())
}

/// While a store takes nothing, a shard is applied only so far; what comes is in the log, and applied once the store is there.
#[test]
fn a_store_that_is_away_bounds_memory_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let failing = Arc::new(FailingStore::new(directory(folder.path())?, 1));
    failing.fail(100);
    let flush = FlushConfig { unflushed_bytes_max: 20_000, ..AT_ONCE };
    let log = folder.path().join("log");
    let leaf = Life::start(&log, Arc::clone(&failing) as Arc<dyn ObjectStore>, flush, 7)?;
    let (mut last, mut rounds) = (LogPosition(0), Vec::new());
    for round in 0..200 {
        rounds.resize(100, round);
        rounds.fill(round);
        last = leaf.append(0..100, round, Vec::new())?;
    }
    let waited = leaf.applied_within(last, Duration::from_secs(2)).expect_err("it has to wait");
    ensure!(waited.to_string().contains("not flushed"), "{waited}");
    let stalled = leaf.status()?;
    ensure!(stalled.applied > 1 && stalled.applied < last.0 && stalled.flushed == 0, "{stalled:?}");
    failing.fail(0);
    leaf.applied(last)?;
    leaf.check(&rounds)?;
    leaf.kill();
    Ok(())
}

/// A log that cannot be cut, for there is no space to note it, is cut once there is: also where nothing is written meanwhile, as in a full
/// log nothing can be.
#[test]
fn a_log_that_could_not_be_cut_is_cut_later() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = LocalLog::open(folder.path().join("log"), LocalLogConfig::default(), 7)?;
    let log = Arc::new(FailingLog::new(Arc::new(log)));
    log.fill(true);
    let leaf = Life::start_on(Arc::clone(&log) as _, directory(folder.path())?.into(), when_asked())?;
    leaf.applied(leaf.append(0..10, 1, Vec::new())?)?;
    leaf.flush()?;
    let once = |so: &dyn Fn() -> bool| {
        let deadline = SystemClock::default();
        let started = deadline.monotonic();
        while !so() {
            ensure!(
                deadline.monotonic() - started < PATIENCE,
                "{} cuts were refused: it is not tried again",
                log.refused()
            );
            std::thread::yield_now();
        }
        Ok(())
    };
    once(&|| log.refused() > 2)?;
    log.fill(false);
    once(&|| leaf.runtime.block_on(log.start(SHARD)).is_ok_and(|start| start == LogPosition(1)))?;
    leaf.check(&[1; 10])?;
    leaf.kill();
    Ok(())
}

/// A flush lets go of the log; a restart reads what is behind it only.
#[test]
fn a_flush_cuts_the_log_and_an_empty_store_is_noticed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    for round in 0..5 {
        leaf.append(0..10, round, Vec::new())?;
    }
    leaf.applied(LogPosition(4))?;
    leaf.flush()?;
    leaf.append(5..15, 9, Vec::new())?;
    leaf.applied(LogPosition(5))?;
    ensure!(leaf.status()?.flushed == 5, "{:?}", leaf.status()?);
    leaf.kill();
    let rounds: Vec<i64> = (0..15).map(|id| if id < 5 { 4 } else { 9 }).collect();
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    leaf.check(&rounds)?;
    let start = leaf.runtime.block_on(leaf.log.start(SHARD))?;
    ensure!(start == LogPosition(5), "the log starts at {start}");
    leaf.kill();
    let stopped = |store: Arc<dyn ObjectStore>, log: &Path, says: &str| -> Result<()> {
        let leaf = Life::start(log, store, when_asked(), 8)?;
        let position = LogPosition(1000);
        let failure = leaf.runtime.block_on(leaf.shards.wait_for(SHARD, position, PATIENCE)).err();
        let told = failure.context("it goes on")?.to_string();
        ensure!(told.contains(says), "{told}");
        ensure!(leaf.document(0).is_err(), "a shard that is not recovered answers");
        leaf.kill();
        Ok(())
    };
    stopped(open_directory(&folder.path().join("empty"))?, &log, "there is no manifest")?;
    stopped(directory(folder.path())?, &folder.path().join("another log"), "is of log")?;
    // Back with its own store, all is there.
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    leaf.check(&rounds)
}

/// Offsets last with the data: what a tailer sends again after a restart counts once.
#[test]
fn source_offsets_outlive_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let partition = SourcePartition { source: SourceId(1), incarnation: 1, partition: 0 };
    let range = |epoch, first, last| vec![SourceRange { partition, epoch: Epoch(epoch), first, last }];
    let log = folder.path().join("log");
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    leaf.append(0..0, 0, range(2, 1, 0))?;
    leaf.applied(leaf.append(0..10, 1, range(2, 0, 9))?)?;
    leaf.flush()?;
    leaf.kill();
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    let ignored = |position| -> Result<u64> {
        Ok(leaf.runtime.block_on(leaf.shards.outcomes(SHARD, position, PATIENCE))?.counts.ignored)
    };
    let replay = leaf.append(0..10, 2, range(2, 0, 9))?;
    let stale = leaf.append(0..10, 3, range(1, 10, 19))?;
    let overlap = leaf.append(0..10, 4, range(2, 5, 14))?;
    let fresh = leaf.append(0..1, 5, range(2, 10, 10))?;
    let counts = [replay, stale, overlap, fresh].into_iter().map(ignored).collect::<Result<Vec<_>>>()?;
    ensure!(counts == [10, 10, 10, 0], "{counts:?}");
    let mut rounds = vec![1; 10];
    rounds[0] = 5;
    leaf.check(&rounds)
}

/// A dropped collection leaves nothing in the store, even if the process dies before it is deleted.
#[test]
fn a_dropped_collection_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (log, objects) = (folder.path().join("log"), folder.path().join("store").join(SHARD.to_string()));
    let count = || std::fs::read_dir(&objects).map(|entries| entries.count()).unwrap_or_default();
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    leaf.applied(leaf.append(0..10, 1, Vec::new())?)?;
    leaf.flush()?;
    ensure!(count() == 3, "{} objects", count());
    let kept: Vec<_> = std::fs::read_dir(&objects)?.collect::<Result<_, _>>()?;
    let kept: Vec<(_, Vec<u8>)> =
        kept.iter().map(|entry| Ok((entry.path(), std::fs::read(entry.path())?))).collect::<Result<_>>()?;
    let id = SHARD.collection.0;
    leaf.runtime.block_on(leaf.catalog.propose(Command::DropCollection { id }))?;
    leaf.runtime.block_on(async {
        let gone = async {
            while leaf.log.start(SHARD).await.is_ok_and(|start| start == LogPosition(0)) || count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await
    })?;
    leaf.kill();
    // As if it had died in between: the objects are there again.
    kept.iter().try_for_each(|(path, bytes)| std::fs::write(path, bytes))?;
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    leaf.runtime.block_on(async {
        let gone = async {
            while count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await
    })?;
    Ok(())
}

/// What a flush and a restart of a hundred thousand documents cost.
#[test]
fn a_hundred_thousand_documents() -> Result<()> {
    const DOCUMENTS: u64 = 100_000;
    let folder = tempfile::tempdir()?;
    let (log, clock) = (folder.path().join("log"), SystemClock::default());
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    let mut last = LogPosition(0);
    for batch in 0..DOCUMENTS / 1_000 {
        last = leaf.append(batch * 1_000..(batch + 1) * 1_000, 1, Vec::new())?;
    }
    leaf.applied(last)?;
    let started = clock.monotonic();
    leaf.flush()?;
    let flushed = clock.monotonic() - started;
    let objects = std::fs::read_dir(folder.path().join("store").join(SHARD.to_string()))?;
    let sizes: Vec<u64> = objects.map(|entry| Ok(entry?.metadata()?.len())).collect::<Result<_>>()?;
    leaf.kill();
    let started = clock.monotonic();
    let leaf = Life::start(&log, directory(folder.path())?, when_asked(), 7)?;
    let reopened = clock.monotonic() - started;
    ensure!(leaf.status()?.documents == DOCUMENTS, "{:?}", leaf.status()?);
    let (bytes, objects) = (sizes.iter().sum::<u64>(), sizes.len());
    println!(
        "{DOCUMENTS} documents: flushed in {flushed:?}, {bytes} bytes in {objects} objects, reopened in {reopened:?}"
    );
    Ok(())
}
