//! Which row holds which `_id`: one map for a whole shard.
//!
//! In: `_id`s and addresses. Out: the address of a living document. The map keeps addresses only; the `_id` itself is read
//! from the segment, so it is in memory once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::segment::{Address, Segment, SegmentId};

/// The segments that addresses point into.
pub type Segments = BTreeMap<SegmentId, Arc<Segment>>;

/// `_id` → address, for every living document.
#[derive(Debug, Default)]
pub struct Keys {
    table: HashTable<Address>,
    hasher: RandomState,
    segments: Segments,
}

fn id_at(segments: &Segments, address: Address) -> Cow<'_, str> {
    let id = segments[&address.segment].id_of(address.row);
    id.expect("every _id was read when its segment was added")
}

impl Keys {
    /// Makes a segment's rows known; none of them is in the map yet.
    pub fn add_segment(&mut self, segment: Arc<Segment>) {
        self.segments.insert(segment.id(), segment);
    }

    /// Forgets a segment to which no address points any more.
    pub fn drop_segment(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
    }

    /// The address of a document.
    pub fn get(&self, id: &str) -> Option<Address> {
        self.table.find(self.hasher.hash_one(id), |address| id_at(&self.segments, *address) == id).copied()
    }

    /// Sets the address of the document whose `_id` is there, and returns the address it had.
    pub fn put(&mut self, address: Address) -> Option<Address> {
        let Self { table, hasher, segments } = self;
        let id = id_at(segments, address);
        let hash = |address: &Address| hasher.hash_one(id_at(segments, *address).as_ref());
        match table.entry(hasher.hash_one(id.as_ref()), |other| id_at(segments, *other) == id, hash) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), address)),
            Entry::Vacant(entry) => {
                entry.insert(address);
                None
            }
        }
    }

    /// Removes a document and returns the address it had.
    pub fn remove(&mut self, id: &str) -> Option<Address> {
        let hash = self.hasher.hash_one(id);
        let found = self.table.find_entry(hash, |address| id_at(&self.segments, *address) == id).ok()?;
        Some(found.remove().0)
    }

    /// How many documents live.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
