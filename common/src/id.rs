//! Names by number.
//!
//! Out: newtypes, so that a shard is never given where a field is meant. The catalog hands the numbers out; they are never
//! used again.

use std::fmt;

/// A collection, for as long as it lives; a dropped and re-created one gets another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

/// One shard of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The collection.
    pub collection: CollectionId,
    /// The shard's number in it, from 0.
    pub shard: u16,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}/s{}", self.collection.0, self.shard)
    }
}

/// A field of a collection: a path. [`FieldId::ROOT`] is the document itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u32);

impl FieldId {
    /// The document itself: the empty path.
    pub const ROOT: Self = Self(0);
}

/// A source of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// How often the ownership of a source partition has changed; a claim of a higher one voids what a lower one appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);
