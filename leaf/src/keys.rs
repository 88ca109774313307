//! Which row holds which `_id`, for a whole shard.
//!
//! In: segments, `_id`s. Out: the address of a living document. Segments that have a key run ([`KeyRun`]) are asked by it, newest
//! first, where they lie; of these only the dead rows are in memory. For small segments in memory there is one table of addresses; an
//! `_id` itself is always read from its segment.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use roaring::RoaringBitmap;

use crate::field::Ids;
use crate::key_run;
use crate::segment::{Address, Segment, SegmentDamage, SegmentId, SegmentVersion};

/// The table is made smaller when it is filled to less than one in so many.
const SPARE_MAX: usize = 8;

/// `_id` → address, for every living document.
#[derive(Debug, Default)]
pub struct Keys {
    /// The living documents of segments without a run.
    table: HashTable<Address>,
    hasher: RandomState,
    small: Small,
    /// INVARIANT: ascending by segment.
    indexed: Vec<Indexed>,
}

/// The segments that the table's addresses point into.
#[derive(Debug, Default)]
struct Small(BTreeMap<SegmentId, Arc<Segment>>);

impl Small {
    fn ids(&self, segment: SegmentId) -> &StringArray {
        match self.0[&segment].ids() {
            Ids::Memory(ids) => ids,
            Ids::File(..) => unreachable!("a segment in a file has a key run"),
        }
    }

    fn id(&self, address: Address) -> &str {
        self.ids(address.segment).value(address.row as usize)
    }
}

/// A segment with its key run.
#[derive(Debug)]
struct Indexed {
    dead: RoaringBitmap,
    segment: Arc<Segment>,
}

impl Indexed {
    /// The row of a living document.
    fn find(&self, id: &str, hash: u64) -> Result<Option<u32>, SegmentDamage> {
        let is_it = |row| Ok(!self.dead.contains(row) && self.segment.ids().is(row, id)?);
        let found = self.segment.key_run().and_then(|run| run.map_or(Ok(None), |run| run.find(hash, is_it)));
        found.map_err(|cause| SegmentDamage { segment: self.segment.id(), field: None, cause })
    }

    fn living(&self) -> usize {
        self.segment.rows() - self.dead.len() as usize
    }
}

impl Keys {
    /// Makes the rows known of a segment in memory; none of its documents is there yet.
    pub fn add_segment(&mut self, segment: Arc<Segment>) {
        self.small.0.insert(segment.id(), segment);
    }

    /// Forgets a segment of which no document is there.
    pub fn drop_segment(&mut self, segment: SegmentId) {
        self.small.0.remove(&segment);
        self.indexed.retain(|indexed| indexed.segment.id() != segment);
    }

    /// Lets the living documents of a segment be there, which no other segment has, but for such that are dropped.
    pub fn take_in(&mut self, version: &SegmentVersion) {
        let (segment, id) = (Arc::clone(version.segment()), version.segment().id());
        if !segment.has_key_run() {
            self.add_segment(segment);
            for row in version.live().values() {
                self.insert(Address { segment: id, row: *row });
            }
            return;
        }
        let place = self.indexed.partition_point(|indexed| indexed.segment.id() < id);
        self.indexed.insert(place, Indexed { dead: version.dead(), segment });
    }

    /// Lets a segment be in the place of those whose living documents it has.
    pub fn replace(&mut self, before: &[SegmentId], version: &SegmentVersion) {
        if version.segment().has_key_run() {
            self.forget(before);
        }
        if version.segment().rows() > 0 {
            self.take_in(version);
        }
        before.iter().for_each(|segment| self.drop_segment(*segment));
    }

    /// Forgets segments with their documents.
    pub fn forget(&mut self, segments: &[SegmentId]) {
        let Self { table, hasher, small, indexed } = self;
        indexed.retain(|indexed| !segments.contains(&indexed.segment.id()));
        let before = small.0.len();
        small.0.retain(|segment, _| !segments.contains(segment));
        if small.0.len() < before {
            // Asked for every address there is: so not of all the segments that stay.
            let mut gone = segments.to_vec();
            gone.sort_unstable();
            table.retain(|address| gone.binary_search(&address.segment).is_err());
            if table.len() < table.capacity() / SPARE_MAX {
                table.shrink_to_fit(|address| hasher.hash_one(small.id(*address)));
            }
        }
    }

    /// The address of a document.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn get(&self, id: &str) -> Result<Option<Address>, SegmentDamage> {
        let found = self.table.find(self.hasher.hash_one(id), |address| self.small.id(*address) == id);
        match found {
            Some(address) => Ok(Some(*address)),
            None => self.find_indexed(id),
        }
    }

    /// Whether all is open that lookups read.
    pub fn is_open(&self) -> bool {
        self.indexed.iter().all(|indexed| indexed.segment.is_open_for_keys())
    }

    /// Whether a document is at an address in a segment in memory.
    pub fn holds(&self, id: &str, address: Address) -> bool {
        self.table.find(self.hasher.hash_one(id), |other| *other == address).is_some()
    }

    fn find_indexed(&self, id: &str) -> Result<Option<Address>, SegmentDamage> {
        let hash = key_run::hash(id);
        for indexed in self.indexed.iter().rev() {
            if let Some(row) = indexed.find(id, hash)? {
                return Ok(Some(Address { segment: indexed.segment.id(), row }));
            }
        }
        Ok(None)
    }

    /// Sets the address, in a segment in memory, of the document whose `_id` is there, and returns the address it had.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn put(&mut self, address: Address) -> Result<Option<Address>, SegmentDamage> {
        if let Some(before) = self.insert(address) {
            return Ok(Some(before));
        }
        let before = self.find_indexed(self.small.id(address))?;
        Ok(before.inspect(|before| self.bury(*before)))
    }

    /// The same of a document that is in no segment with a run.
    pub fn insert(&mut self, address: Address) -> Option<Address> {
        let Self { table, hasher, small, .. } = self;
        let id = small.id(address);
        let hash = |address: &Address| hasher.hash_one(small.id(*address));
        match table.entry(hasher.hash_one(id), |other| small.id(*other) == id, hash) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), address)),
            Entry::Vacant(entry) => {
                entry.insert(address);
                None
            }
        }
    }

    /// Lets a row be dead that was found by a run.
    fn bury(&mut self, address: Address) {
        let place = self.indexed.binary_search_by_key(&address.segment, |indexed| indexed.segment.id());
        self.indexed[place.expect("it was found there")].dead.insert(address.row);
    }

    /// Lets living documents of a segment be nowhere.
    pub fn let_go(&mut self, segment: SegmentId, rows: &RoaringBitmap) {
        if let Ok(place) = self.indexed.binary_search_by_key(&segment, |indexed| indexed.segment.id()) {
            self.indexed[place].dead |= rows;
            return;
        }
        for row in rows {
            let address = Address { segment, row };
            let hash = self.hasher.hash_one(self.small.id(address));
            if let Ok(found) = self.table.find_entry(hash, |other| *other == address) {
                found.remove();
            }
        }
    }

    /// Removes a document and returns the address it had.
    ///
    /// # Errors
    /// A segment is damaged.
    pub fn remove(&mut self, id: &str) -> Result<Option<Address>, SegmentDamage> {
        let hash = self.hasher.hash_one(id);
        if let Ok(found) = self.table.find_entry(hash, |address| self.small.id(*address) == id) {
            return Ok(Some(found.remove().0));
        }
        let before = self.find_indexed(id)?;
        Ok(before.inspect(|before| self.bury(*before)))
    }

    /// How many documents live.
    pub fn len(&self) -> usize {
        self.table.len() + self.indexed.iter().map(Indexed::living).sum::<usize>()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the table and the dead rows take, about.
    pub fn heap_bytes(&self) -> usize {
        let dead = self.indexed.iter().map(|indexed| indexed.dead.serialized_size());
        self.table.allocation_size() + dead.sum::<usize>()
    }
}
