//! All that a shard's log decides: its documents, how far its sources are, and which requests they came by.
//!
//! In: batches, in the order of the log. Out: outcomes. The same log gives the same replica everywhere.

use std::sync::Arc;

use basalt_common::batch::Batch;
use basalt_common::calls::{OutcomeCounts, Outcomes};
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;
use tracing::{error, warn};

use crate::apply::Outcome;
use crate::policy::MergePolicy;
use crate::requests::{Kept, Requests, Seen};
use crate::shard::{ApplyError, RestoreError, Shard, ShardCheckpoint};
use crate::sources::{Sources, Verdict};

/// The most reasons of failed operations that are kept of one batch: a client that looks at more has a loop to mend first.
const FAILURES_MAX: usize = 100;

/// All that a replica is made of, at one position.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The documents, and the position.
    pub shard: ShardCheckpoint,
    /// The requests kept, oldest first.
    pub requests: Vec<Arc<Kept>>,
    /// How far its sources are.
    pub sources: Sources,
}

/// A shard's state.
#[derive(Debug)]
pub struct Replica {
    shard: Shard,
    requests: Requests,
    sources: Sources,
}

impl Replica {
    /// An empty one.
    pub fn new(policy: MergePolicy) -> Self {
        Self { shard: Shard::new(policy), requests: Requests::default(), sources: Sources::default() }
    }

    /// The replica that a checkpoint was taken of.
    ///
    /// # Errors
    /// As [`Shard::restore`].
    pub fn restore(checkpoint: Checkpoint, policy: MergePolicy) -> Result<Self, RestoreError> {
        let Checkpoint { shard, requests, sources } = checkpoint;
        let shard = Shard::restore(&shard, policy)?;
        Ok(Self { shard, requests: Requests::restore(requests), sources })
    }

    /// All that it is made of now; copies references only.
    pub fn checkpoint(&self) -> Checkpoint {
        let (shard, requests) = (self.shard.checkpoint(), self.requests.kept());
        Checkpoint { shard, requests, sources: self.sources.clone() }
    }

    /// The documents, to be laid out otherwise.
    pub fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// The documents.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// How far its sources are.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Applies the next batch.
    ///
    /// # Errors
    /// As [`Shard::apply`]; nothing is changed then.
    ///
    /// # Panics
    /// `position` is not behind the last one applied.
    pub fn apply(&mut self, position: LogPosition, batch: &Batch, schema: &Schema) -> Result<Outcomes, ApplyError> {
        let verdict = self.sources.judge(&batch.header.sources);
        let outcomes = match verdict {
            Verdict::New => self.apply_new(position, batch, schema)?,
            _ => {
                self.shard.skip(position);
                void(position, batch, verdict)
            }
        };
        self.sources.note(&batch.header.sources, verdict);
        Ok(outcomes)
    }

    /// Applies a batch that its sources do not make void.
    fn apply_new(&mut self, position: LogPosition, batch: &Batch, schema: &Schema) -> Result<Outcomes, ApplyError> {
        let logged_at = batch.header.logged_at_micros;
        self.requests.forget_until(logged_at);
        let Some(request) = &batch.header.request else {
            return Ok(outcomes(&self.shard.apply(position, batch, schema)?));
        };
        let known = match self.requests.look(request) {
            Seen::New => {
                let outcomes = outcomes(&self.shard.apply(position, batch, schema)?);
                self.requests.keep(request, &outcomes, logged_at);
                return Ok(outcomes);
            }
            Seen::Before(outcomes) => outcomes,
            Seen::Conflict => Outcomes { conflict: true, ..Outcomes::default() },
        };
        self.shard.skip(position);
        Ok(known)
    }
}

/// The outcomes of a batch that its sources make void: its operations are ignored.
fn void(position: LogPosition, batch: &Batch, verdict: Verdict) -> Outcomes {
    let shard = batch.header.shard;
    let mut failures = Vec::new();
    match verdict {
        Verdict::New | Verdict::Replay => {}
        Verdict::Stale(range) => warn!(%shard, %position, ?range, "void: a newer epoch was claimed before it"),
        Verdict::Overlap(range) => {
            error!(%shard, %position, ?range, "void: it covers both offsets that were applied and ones that were not");
            failures.push((0, format!("offsets {} to {} overlap what was applied", range.first, range.last)));
        }
    }
    let counts = OutcomeCounts { ignored: batch.operations.len() as u64, ..OutcomeCounts::default() };
    Outcomes { counts, failures, conflict: false }
}

/// Why an operation failed, if it did.
fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Failed(error) => Some(error.to_string()),
        Outcome::TooLate { version, settled_below } => Some(format!(
            "its version {version} is too low: below {settled_below} everything is settled by the collection's lateness"
        )),
        _ => None,
    }
}

/// The outcomes of a batch, counted.
fn outcomes(each: &[Outcome]) -> Outcomes {
    let mut counts = OutcomeCounts::default();
    let mut failures = Vec::new();
    for (row, outcome) in each.iter().enumerate() {
        let count = match outcome {
            Outcome::Added => &mut counts.added,
            Outcome::Replaced => &mut counts.replaced,
            Outcome::Patched => &mut counts.patched,
            Outcome::Deleted => &mut counts.deleted,
            Outcome::Missing => &mut counts.missing,
            Outcome::Ignored => &mut counts.ignored,
            Outcome::TooLate { .. } | Outcome::Failed(_) => &mut counts.failed,
        };
        *count += 1;
        if let (Some(reason), true) = (reason(outcome), failures.len() < FAILURES_MAX) {
            failures.push((row as u32, reason));
        }
    }
    Outcomes { counts, failures, conflict: false }
}
