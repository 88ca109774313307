//! Generations: fields of a segment into which all was folded that was laid over them.
//!
//! In: columns that a fold made, or that an object holds. Out: what is read in place of the segment's own columns of these fields. One
//! fold's fields share an object, which is live for as long as one of them is the newest of its field.

use std::collections::BTreeMap;

use basalt_common::id::FieldId;

use crate::event_times::KnownTimes;
use crate::field::FieldValues;

/// A generation's number in its shard; never used again. Of two of a field the higher is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

/// Columns of some fields of a segment.
#[derive(Debug)]
pub struct Generation {
    id: GenerationId,
    /// INVARIANT: each of as many rows as its segment has; checked where they come together.
    fields: BTreeMap<FieldId, FieldValues>,
    event_times: KnownTimes,
}

impl Generation {
    /// Makes one.
    pub fn new(id: GenerationId, fields: BTreeMap<FieldId, FieldValues>) -> Self {
        Self { id, fields, event_times: KnownTimes::default() }
    }

    /// Its number.
    pub fn id(&self) -> GenerationId {
        self.id
    }

    /// Its fields, ascending.
    pub fn fields(&self) -> &BTreeMap<FieldId, FieldValues> {
        &self.fields
    }

    /// What is known of its rows' event times.
    pub fn event_times(&self) -> &KnownTimes {
        &self.event_times
    }
}
