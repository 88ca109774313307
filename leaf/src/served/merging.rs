//! Merges and folds of a shard that is served, beside its batches and reads.
//!
//! In: what a shard begins, under its lock. Out: the shard, with it taken in, under its lock. One at a time.

use std::sync::{PoisonError, TryLockError};

use basalt_common::catalog::Catalog;

use super::Served;
use crate::cache::patiently;
use crate::compaction::Compaction;
use crate::indexes::Indexes;
use crate::segment::SegmentDamage;
use crate::shard::Shard;

/// Forgets what was begun beside a shard, unless it was taken in: it failed, or ended in its middle.
struct Begun<'s>(&'s Served);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.replica().shard_mut().give_up();
    }
}

impl Served {
    /// Merges segments once and folds fields of one with what is laid over them, each if it is due in a shard that changes, or is
    /// at rest, with the indexes that fields are to have; returns how many rows were written. Takes long; batches and reads go on meanwhile.
    ///
    /// # Errors
    /// A segment is damaged.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn compact(&self, at_rest: bool, catalog: &dyn Catalog) -> Result<usize, SegmentDamage> {
        let _layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        patiently(|| Ok(self.merge(Shard::begin_compaction, catalog)? + self.fold(at_rest, catalog)?))
    }

    /// Merges the segments that are arrays in memory before they are flushed, unless another merge is under way, which may take long: what is in memory
    /// grows meanwhile. Returns how many rows there are. Batches and reads go on meanwhile.
    ///
    /// # Errors
    /// A segment is damaged.
    ///
    /// # Panics
    /// The shard has not begun.
    pub fn gather(&self, catalog: &dyn Catalog) -> Result<usize, SegmentDamage> {
        let _layout = match self.layout.try_lock() {
            Ok(layout) => layout,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(0),
        };
        patiently(|| self.merge(Shard::begin_gathering, catalog))
    }

    /// The indexes of the fields of what was begun: asked before, a schema might lack some of these.
    fn indexes(&self, catalog: &dyn Catalog) -> Indexes {
        Indexes::of(catalog, self.id().collection)
    }

    fn merge(
        &self,
        begin: impl FnOnce(&mut Shard) -> Option<Compaction>,
        catalog: &dyn Catalog,
    ) -> Result<usize, SegmentDamage> {
        let begun = begin(self.replica().shard_mut());
        let Some(compaction) = begun else { return Ok(0) };
        let _begun = Begun(self);
        let rows = compaction.versions.iter().map(|version| version.segment().rows()).sum();
        let compacted = compaction.run(&self.indexes(catalog))?;
        self.replica().shard_mut().take_compacted(&compacted);
        Ok(rows)
    }

    fn fold(&self, at_rest: bool, catalog: &dyn Catalog) -> Result<usize, SegmentDamage> {
        let begun = self.replica().shard_mut().begin_fold(at_rest);
        let Some(fold) = begun else { return Ok(0) };
        let _begun = Begun(self);
        let rows = fold.version.segment().rows();
        let folded = fold.run(&self.indexes(catalog))?;
        self.replica().shard_mut().take_folded(&folded);
        Ok(rows)
    }
}
