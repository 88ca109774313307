//! All that a shard's log decides: its documents, and which requests they came by.
//!
//! In: batches, in the order of the log. Out: outcomes. The same log gives the same replica everywhere.

use basalt_common::batch::Batch;
use basalt_common::calls::{OutcomeCounts, Outcomes};
use basalt_common::position::LogPosition;
use basalt_common::schema::Schema;

use crate::apply::Outcome;
use crate::policy::MergePolicy;
use crate::requests::{Requests, Seen};
use crate::shard::{ApplyError, Shard};

/// The most reasons of failed operations that are kept of one batch: a client that looks at more has a loop to mend first.
const FAILURES_MAX: usize = 100;

/// A shard's state.
#[derive(Debug)]
pub struct Replica {
    shard: Shard,
    requests: Requests,
}

impl Replica {
    /// An empty one.
    pub fn new(policy: MergePolicy) -> Self {
        Self { shard: Shard::new(policy), requests: Requests::default() }
    }

    /// The documents.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Applies the next batch.
    ///
    /// # Errors
    /// As [`Shard::apply`]; nothing is changed then.
    ///
    /// # Panics
    /// `position` is not behind the last one applied.
    pub fn apply(&mut self, position: LogPosition, batch: &Batch, schema: &Schema) -> Result<Outcomes, ApplyError> {
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
            Outcome::Failed(error) => {
                if failures.len() < FAILURES_MAX {
                    failures.push((row as u32, error.to_string()));
                }
                &mut counts.failed
            }
        };
        *count += 1;
    }
    Outcomes { counts, failures, conflict: false }
}
