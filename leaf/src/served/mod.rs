//! One shard as this leaf serves it: applied batch by batch, read by anyone.
//!
//! In: what was kept of it, once; batches, from its follower. Out: snapshots, documents by key, outcomes of recent batches,
//! waits for positions, checkpoints. Writing these is the flusher's work; it tells here how far it is.

mod merging;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use basalt_common::batch::Batch;
use basalt_common::calls::{FieldCount, Outcomes, ShardStatus};
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::ShardId;
use basalt_common::position::{LogPosition, SourcePartition, SourceProgress};
use basalt_common::schema::Schema;
use tokio::sync::watch;

use crate::cache::patiently;
use crate::documents::Wanted;
use crate::replica::{Checkpoint, Replica};
use crate::segment::{SegmentDamage, SegmentId, SegmentVersion};
use crate::shard::{ApplyError, Files, Newest, Snapshot};

/// How many batches' outcomes are kept for writers that ask: some seconds of many small writes.
const OUTCOMES_KEPT: usize = 65_536;

/// How far a shard is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Whether it has what was kept of it.
    pub begun: bool,
    /// The next position to be applied.
    pub next: u64,
    /// The shard is read once it has come to this position: all that was acknowledged before it began is below.
    pub opens_at: u64,
    /// Bytes of log records applied since it began.
    pub applied_bytes: u64,
    /// So many of them are flushed.
    pub flushed_bytes: u64,
    /// How long it took to apply them.
    pub applying: Duration,
    /// How long it took to apply those that are flushed.
    pub flushed_applying: Duration,
    /// Operations applied since it began.
    pub operations: u64,
    /// The log's end, when that was last seen.
    pub log_end: u64,
    /// The least position that is only in the log.
    pub flushed: u64,
    /// Flush, without waiting, all below this.
    pub flush_wanted: u64,
    /// Why the last flush failed.
    pub flush_failure: Option<String>,
    /// Why the shard is not followed any more.
    pub stopped: Option<String>,
    /// Whether its collection is no more.
    pub dropped: bool,
}

#[derive(Debug)]
struct State {
    replica: Mutex<Replica>,
    newest: Newest,
}

/// Where a document is, if it is there.
type Found = Option<(Arc<SegmentVersion>, u32)>;

fn json(ids: &[String], found: &[Found], wanted: &Wanted) -> Result<Vec<Option<String>>, SegmentDamage> {
    let json = |(id, found): (&String, &Found)| {
        found.as_ref().map_or(Ok(None), |(version, row)| wanted.json(version, *row, id))
    };
    ids.iter().zip(found).map(json).collect()
}

/// A shard.
#[derive(Debug)]
pub struct Served {
    id: ShardId,
    /// There as soon as the shard has begun.
    state: OnceLock<State>,
    /// Held by whoever lays out its documents anew beside batches: one at a time.
    layout: Mutex<()>,
    outcomes: Mutex<VecDeque<(LogPosition, Outcomes)>>,
    progress: watch::Sender<Progress>,
}

impl Progress {
    /// Bytes of log records that are applied and not flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        self.applied_bytes - self.flushed_bytes
    }

    /// How long it took to apply what is not flushed.
    pub fn unflushed_applying(&self) -> Duration {
        self.applying.saturating_sub(self.flushed_applying)
    }

    /// Whether the shard may be read.
    pub fn is_open(&self) -> bool {
        self.begun && self.next >= self.opens_at
    }
}

impl Served {
    /// Makes a shard that has not begun: whoever reads it waits.
    pub fn new(id: ShardId) -> Self {
        let (layout, outcomes, progress) = (Mutex::default(), Mutex::default(), watch::Sender::default());
        Self { id, state: OnceLock::new(), layout, outcomes, progress }
    }

    /// Begins with what was kept of it, all of which is flushed. It may be read once it has come to `end`, where its log ends
    /// now: what was seen of it before is seen again.
    ///
    /// # Panics
    /// It has begun.
    pub fn begin(&self, replica: Replica, end: LogPosition) {
        let newest = replica.shard().newest();
        let next = newest.pin().position().map_or(0, |position| position.0 + 1);
        assert!(self.state.set(State { replica: Mutex::new(replica), newest }).is_ok(), "a shard begins once");
        self.progress.send_modify(|progress| {
            (progress.begun, progress.next, progress.flushed) = (true, next, next);
            (progress.opens_at, progress.log_end) = (end.0, end.0);
        });
    }

    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.state().replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> &State {
        self.state.get().expect("whoever comes here waited until the shard had begun")
    }

    /// Whether it may be read.
    pub fn is_open(&self) -> bool {
        self.progress.borrow().is_open()
    }

    /// Its name.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Pins the newest snapshot; an empty one before the shard has begun.
    pub fn pin(&self) -> Arc<Snapshot> {
        self.state.get().map(|state| state.newest.pin()).unwrap_or_default()
    }

    /// Applies the next batch, which takes `bytes` in the log. Blocks for as long as that takes: a patch that needs values which are
    /// only in a store elsewhere waits for that.
    ///
    /// # Errors
    /// As [`Replica::apply`].
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn apply(&self, position: LogPosition, batch: &Batch, bytes: u64, schema: &Schema) -> Result<(), ApplyError> {
        let apply = || self.replica().apply(position, batch, schema);
        let applied = patiently(apply)?;
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.len() == OUTCOMES_KEPT {
            outcomes.pop_front();
        }
        let operations = applied.counts.total();
        outcomes.push_back((position, applied));
        drop(outcomes);
        self.progress.send_modify(|progress| {
            progress.next = position.0 + 1;
            progress.applied_bytes += bytes;
            progress.operations += operations;
        });
        Ok(())
    }

    /// All that the shard is made of now; none where a batch ended in its middle, as what the log decides is not all of one position
    /// then. Blocks while a batch is applied.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let replica = self.replica();
        replica.shard().is_whole().then(|| replica.checkpoint())
    }

    /// How far it is, and every change of that.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Notes how far the log goes.
    pub fn note_log_end(&self, end: LogPosition) {
        self.progress.send_modify(|progress| progress.log_end = end.0);
    }

    /// Notes that the shard is not followed any more, and why: whoever waits for it learns that.
    pub fn note_stopped(&self, reason: String) {
        self.progress.send_modify(|progress| progress.stopped = Some(reason));
    }

    /// Why the shard is not followed any more.
    pub fn stopped(&self) -> Option<String> {
        self.progress.borrow().stopped.clone()
    }

    /// Notes how long it took to apply some batches.
    pub fn note_applying(&self, took: Duration) {
        self.progress.send_modify(|progress| progress.applying += took);
    }

    /// Notes that the batch at a position and all before it are in the store, durably: all that was applied at some time.
    pub fn note_flushed(&self, position: LogPosition, then: &Progress) {
        self.progress.send_modify(|progress| {
            progress.flushed = position.0 + 1;
            progress.flushed_bytes = then.applied_bytes;
            progress.flushed_applying = then.applying;
            progress.flush_failure = None;
        });
    }

    /// Notes why a flush failed.
    pub fn note_flush_failed(&self, reason: String) {
        self.progress.send_modify(|progress| progress.flush_failure = Some(reason));
    }

    /// Notes that its collection is no more.
    pub fn note_dropped(&self) {
        self.progress.send_modify(|progress| progress.dropped = true);
    }

    /// Ready when no more than so many bytes are applied and not flushed, or the collection is no more.
    pub async fn room(&self, unflushed_bytes_max: u64) {
        let mut progress = self.progress.subscribe();
        let has_room = |progress: &Progress| progress.unflushed_bytes() <= unflushed_bytes_max || progress.dropped;
        if !has_room(&progress.borrow()) {
            tracing::warn!(shard = %self.id, "the shard is applied no further until it is flushed");
            // The sender lives as long as this shard does.
            let _ = progress.wait_for(has_room).await;
        }
    }

    /// Ready when the collection is no more.
    pub async fn dropped(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as this shard does.
        let _ = progress.wait_for(|progress| progress.dropped).await;
    }

    /// Waits until `reached`; `late` says for what, where that did not come in time.
    async fn wait_until(
        &self,
        patience: Duration,
        reached: impl Fn(&Progress) -> bool,
        late: impl FnOnce(&Progress) -> String,
    ) -> Result<(), Failure> {
        if reached(&self.progress.borrow()) {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let waited = progress.wait_for(|progress| reached(progress) || progress.stopped.is_some());
        let seen = match tokio::time::timeout(patience, waited).await {
            Ok(waited) => waited.map_or_else(|_| Progress::default(), |progress| progress.clone()),
            Err(_) => {
                let message = late(&self.progress.borrow());
                return Err(Failure::new(FailureKind::Timeout, message).with_hint("try again, or allow more time"));
            }
        };
        match seen.stopped {
            _ if reached(&seen) => Ok(()),
            reason => {
                let reason = reason.unwrap_or_else(|| "the leaf is stopping".into());
                Err(Failure::new(FailureKind::Unavailable, format!("shard {} does not advance: {reason}", self.id)))
            }
        }
    }

    /// Waits until the shard may be read, and the batch at a position is applied where one is given.
    ///
    /// # Errors
    /// That did not come in time, or will not come.
    pub async fn wait_for(&self, position: Option<LogPosition>, patience: Duration) -> Result<(), Failure> {
        let next = position.map_or(0, |position| position.0 + 1);
        let reached = |progress: &Progress| progress.is_open() && progress.next >= next;
        let late = |progress: &Progress| match position {
            Some(position) => {
                let why = progress
                    .flush_failure
                    .as_ref()
                    .map(|why| format!("; it is not flushed: {why}"))
                    .unwrap_or_default();
                let next = progress.next;
                format!("shard {} has not come to position {position} in time: its next is {next}{why}", self.id)
            }
            None => {
                format!("shard {} is not recovered yet: {} of {} batches", self.id, progress.next, progress.opens_at)
            }
        };
        self.wait_until(patience, reached, late).await
    }

    /// Has all flushed that is applied now, and waits for it.
    ///
    /// # Errors
    /// That did not come in time.
    pub async fn flush(&self, patience: Duration) -> Result<(), Failure> {
        let wanted = self.progress.borrow().next;
        self.progress.send_modify(|progress| progress.flush_wanted = progress.flush_wanted.max(wanted));
        let late = |progress: &Progress| {
            let why = progress.flush_failure.as_deref().unwrap_or("the store is slow");
            format!("shard {} is not flushed up to {wanted}, only to {}: {why}", self.id, progress.flushed)
        };
        let mut flushed = self.progress.subscribe();
        let flushed = flushed.wait_for(|progress| progress.flushed >= wanted);
        match tokio::time::timeout(patience, flushed).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::new(FailureKind::Timeout, late(&self.progress.borrow()))),
        }
    }

    /// What became of the batch at a position, once it is applied.
    ///
    /// # Errors
    /// As [`Self::wait_for`], or it was too long ago.
    pub async fn outcomes(&self, position: LogPosition, patience: Duration) -> Result<Outcomes, Failure> {
        self.wait_for(Some(position), patience).await?;
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = outcomes.binary_search_by_key(&position, |(position, _)| *position);
        found.map(|index| outcomes[index].1.clone()).map_err(|_| {
            let message = format!("what became of position {position} of shard {} is not known any more", self.id);
            Failure::new(FailureKind::Unavailable, message).with_hint("it was applied; read the documents to see how")
        })
    }

    /// Takes segments and generations that lie in files, in place of those in memory that hold the same. Blocks while a batch is applied.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn take_files(&self, files: Files) {
        self.replica().shard_mut().take_files(files);
    }

    /// Documents as JSON, in the order of their `_id`s; what is `wanted` of them is asked once they are found: a schema of then knows
    /// all their fields. Blocks while a batch is applied, and while what is only in a store elsewhere is brought.
    ///
    /// # Errors
    /// A segment is damaged.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn documents(
        &self,
        ids: &[String],
        wanted: impl FnOnce() -> Wanted,
    ) -> Result<Vec<Option<String>>, SegmentDamage> {
        let find = |id: &String| self.replica().shard().find(id);
        let found = ids.iter().map(find).collect::<Result<Vec<Found>, _>>()?;
        json(ids, &found, &wanted())
    }

    /// The same at once; nothing where that would wait: a batch is being applied, or what is read is not open.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn documents_at_once(
        &self,
        ids: &[String],
        wanted: impl FnOnce() -> Wanted,
    ) -> Option<Result<Vec<Option<String>>, SegmentDamage>> {
        let found = {
            let replica = match self.state().replica.try_lock() {
                Ok(replica) => replica,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            };
            let shard = replica.shard();
            if !shard.is_open() {
                return None;
            }
            ids.iter().map(|id| shard.find(id)).collect::<Result<Vec<Found>, _>>()
        };
        let found = match found {
            Ok(found) => found,
            Err(damage) => return Some(Err(damage)),
        };
        let wanted = wanted();
        let is_open = found.iter().flatten().all(|(version, _)| wanted.is_open(version));
        is_open.then(|| json(ids, &found, &wanted))
    }

    /// The rows of a snapshot that have one of these `_id`s, as [`Shard::locate`](crate::shard::Shard::locate) tells. Blocks while a
    /// batch is applied.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn locate(
        &self,
        ids: &[String],
        snapshot: &Snapshot,
    ) -> Result<Option<BTreeMap<SegmentId, Vec<u32>>>, SegmentDamage> {
        let Some(state) = self.state.get() else { return Ok(None) };
        let replica = state.replica.lock().unwrap_or_else(PoisonError::into_inner);
        replica.shard().locate(ids, snapshot)
    }

    /// How far it is in a source's partition. Blocks while a batch is applied.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn source_progress(&self, partition: SourcePartition) -> Option<SourceProgress> {
        let replica = self.replica();
        replica.sources().progress().get(&partition).copied()
    }

    /// How the shard is; with `fields`, how often each occurs (deleted documents that no merge has dropped are counted in
    /// proportion).
    pub fn status(&self, fields: bool) -> ShardStatus {
        let Progress { next, operations, log_end, flushed, flush_failure, .. } = self.progress.borrow().clone();
        let snapshot = self.pin();
        let mut counts = std::collections::BTreeMap::new();
        for segment in snapshot.segments().iter().filter(|_| fields) {
            segment.count_fields(&mut counts);
        }
        let count = |((field, of), documents): ((u32, u8), u64)| FieldCount { field, of, documents };
        ShardStatus {
            documents: snapshot.documents() as u64,
            operations,
            bytes: snapshot.segments().iter().map(|segment| segment.bytes() as u64).sum(),
            applied: next,
            log_end: log_end.max(next),
            flushed,
            flush_failure,
            segments: snapshot.segments().len() as u64,
            fields: counts.into_iter().map(count).collect(),
        }
    }
}
