//! Which row holds which `_id`: one map for a whole shard.
//!
//! In: `_id`s and addresses. Out: the address of a living document. The map keeps addresses only; the `_id` itself is read
//! from the segment, so it is in memory once. Where segments were merged beside it, addresses lead to the rows that documents had
//! before until [`Keys::repoint`] has come to them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::compaction::{Compacted, Moved};
use crate::segment::{Address, Segment, SegmentId};

/// The segments that addresses point into.
pub type Segments = BTreeMap<SegmentId, Arc<Segment>>;

/// `_id` → address, for every living document.
#[derive(Debug, Default)]
pub struct Keys {
    table: HashTable<Address>,
    hasher: RandomState,
    segments: Segments,
    /// Where the rows of segments are that some addresses still point into.
    moved: BTreeMap<SegmentId, Moved>,
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
        let found = self.table.find(self.hasher.hash_one(id), |address| id_at(&self.segments, *address) == id);
        found.map(|address| self.resolve(*address))
    }

    fn resolve(&self, address: Address) -> Address {
        match self.moved.get(&address.segment) {
            Some(moved) => moved.address(address.row).expect("a row that has a key lived when it moved"),
            None => address,
        }
    }

    /// Sets the address of the document whose `_id` is there, and returns the address it had.
    pub fn put(&mut self, address: Address) -> Option<Address> {
        let Self { table, hasher, segments, .. } = self;
        let id = id_at(segments, address);
        let hash = |address: &Address| hasher.hash_one(id_at(segments, *address).as_ref());
        let before = match table.entry(hasher.hash_one(id.as_ref()), |other| id_at(segments, *other) == id, hash) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), address)),
            Entry::Vacant(entry) => {
                entry.insert(address);
                None
            }
        };
        before.map(|before| self.resolve(before))
    }

    /// Removes a document and returns the address it had.
    pub fn remove(&mut self, id: &str) -> Option<Address> {
        let hash = self.hasher.hash_one(id);
        let found = self.table.find_entry(hash, |address| id_at(&self.segments, *address) == id).ok()?;
        let address = found.remove().0;
        Some(self.resolve(address))
    }

    /// How `_id`s are hashed here.
    pub fn hasher(&self) -> RandomState {
        self.hasher.clone()
    }

    /// Lets addresses of merged segments lead to the new one, which is there from now on.
    pub fn move_rows(&mut self, compacted: &Compacted) {
        self.add_segment(Arc::clone(&compacted.segment));
        self.moved = compacted.moves.iter().cloned().collect();
    }

    /// Points the addresses of some of a merged segment's rows to it: of those from `first` on, so many. Behind the last, the old
    /// segments are forgotten; whether that is so.
    pub fn repoint(&mut self, compacted: &Compacted, first: usize, count: usize) -> bool {
        let rows = first..(first + count).min(compacted.hashes.len());
        for (from, row, now) in compacted.rows(rows.clone()) {
            let (before, hash) = (Address { segment: from, row }, compacted.hashes[now as usize]);
            // A document that died or was replaced meanwhile has no such address any more.
            if let Some(address) = self.table.find_mut(hash, |address| *address == before) {
                *address = Address { segment: compacted.segment.id(), row: now };
            }
        }
        let done = rows.end == compacted.hashes.len();
        if done {
            self.moved.clear();
            compacted.moves.iter().for_each(|(segment, _)| self.drop_segment(*segment));
            if compacted.hashes.is_empty() {
                self.drop_segment(compacted.segment.id());
            }
        }
        done
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
