//! One shard as this leaf serves it: applied batch by batch, read by anyone.
//!
//! In: batches, from its follower. Out: snapshots, documents by key, outcomes of recent batches, and waits for positions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use basalt_common::batch::Batch;
use basalt_common::calls::{FieldCount, Outcomes, ShardStatus};
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::ShardId;
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use basalt_common::value::{FieldPath, Value};
use tokio::sync::watch;

use crate::policy::MergePolicy;
use crate::replica::Replica;
use crate::shard::{ApplyError, Newest, Snapshot};

/// How many batches' outcomes are kept for writers that ask: some seconds of many small writes.
const OUTCOMES_KEPT: usize = 65_536;

/// How far a shard is.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The next position to be applied.
    next: u64,
    /// The log's end, when that was last seen.
    log_end: u64,
    /// Why the shard is not followed any more.
    stopped: Option<String>,
}

/// A shard.
#[derive(Debug)]
pub struct Served {
    id: ShardId,
    replica: Mutex<Replica>,
    newest: Newest,
    outcomes: Mutex<VecDeque<(LogPosition, Outcomes)>>,
    progress: watch::Sender<Progress>,
}

impl Served {
    /// Makes an empty shard, to be followed from its log's start.
    pub fn new(id: ShardId, policy: MergePolicy) -> Self {
        let replica = Replica::new(policy);
        let newest = replica.shard().newest();
        Self {
            id,
            replica: Mutex::new(replica),
            newest,
            outcomes: Mutex::default(),
            progress: watch::Sender::default(),
        }
    }

    /// Its name.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Pins the newest snapshot.
    pub fn pin(&self) -> Arc<Snapshot> {
        self.newest.pin()
    }

    /// Applies the next batch. Blocks for as long as that takes.
    ///
    /// # Errors
    /// As [`Replica::apply`].
    pub fn apply(&self, position: LogPosition, batch: &Batch, schema: &Schema) -> Result<(), ApplyError> {
        let applied = self.replica.lock().unwrap_or_else(PoisonError::into_inner).apply(position, batch, schema)?;
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.len() == OUTCOMES_KEPT {
            outcomes.pop_front();
        }
        outcomes.push_back((position, applied));
        drop(outcomes);
        self.progress.send_modify(|progress| progress.next = position.0 + 1);
        Ok(())
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

    /// Waits until the batch at a position is applied.
    ///
    /// # Errors
    /// That did not come in time, or will not come.
    pub async fn wait_for(&self, position: LogPosition, patience: Duration) -> Result<(), Failure> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.next > position.0 || progress.stopped.is_some());
        let (next, stopped) = match tokio::time::timeout(patience, reached).await {
            Ok(reached) => reached.map_or((0, None), |progress| (progress.next, progress.stopped.clone())),
            Err(_) => {
                let next = self.progress.borrow().next;
                let message =
                    format!("shard {} has not come to position {position} in time: its next is {next}", self.id);
                return Err(Failure::new(FailureKind::Timeout, message).with_hint("try again, or allow more time"));
            }
        };
        match stopped {
            _ if next > position.0 => Ok(()),
            reason => {
                let reason = reason.unwrap_or_else(|| "the leaf is stopping".into());
                Err(Failure::new(FailureKind::Unavailable, format!("shard {} does not advance: {reason}", self.id)))
            }
        }
    }

    /// What became of the batch at a position, once it is applied.
    ///
    /// # Errors
    /// As [`Self::wait_for`], or it was too long ago.
    pub async fn outcomes(&self, position: LogPosition, patience: Duration) -> Result<Outcomes, Failure> {
        self.wait_for(position, patience).await?;
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = outcomes.binary_search_by_key(&position, |(position, _)| *position);
        found.map(|index| outcomes[index].1.clone()).map_err(|_| {
            let message = format!("what became of position {position} of shard {} is not known any more", self.id);
            Failure::new(FailureKind::Unavailable, message).with_hint("it was applied; read the documents to see how")
        })
    }

    /// A document, whole or some fields of it. Blocks while a batch is applied.
    pub fn document(&self, id: &str, fields: Option<&[FieldPath]>, schema: &Schema) -> Option<Value> {
        let replica = self.replica.lock().unwrap_or_else(PoisonError::into_inner);
        match fields {
            None => replica.shard().document(id, schema),
            Some(fields) => replica.shard().fields(id, fields, schema),
        }
    }

    /// How the shard is; with `fields`, how often each occurs (deleted documents that no merge has dropped are counted in
    /// proportion).
    pub fn status(&self, fields: bool) -> ShardStatus {
        let Progress { next, log_end, .. } = self.progress.borrow().clone();
        let snapshot = self.newest.pin();
        let mut counts = std::collections::BTreeMap::new();
        for segment in snapshot.segments().iter().filter(|_| fields) {
            segment.count_fields(&mut counts);
        }
        let count = |((field, of), documents): ((u32, u8), u64)| FieldCount { field, of, documents };
        ShardStatus {
            documents: snapshot.documents() as u64,
            bytes: snapshot.segments().iter().map(|segment| segment.bytes() as u64).sum(),
            applied: next,
            log_end: log_end.max(next),
            segments: snapshot.segments().len() as u64,
            fields: counts.into_iter().map(count).collect(),
        }
    }
}
