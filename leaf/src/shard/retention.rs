//! Letting go of documents whose time is over.
//!
//! In: the event time below which they go. Out: dead rows. A function of the log alone: what is let go at a position is the same in
//! every replica, whatever its segments are, so that a later patch of such a document finds none anywhere. Segments without living rows
//! are dropped as all that are merged are.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::retention::Expired;
use roaring::RoaringBitmap;

use super::{Shard, version_mut};
use crate::segment::{SegmentDamage, SegmentId};

impl Shard {
    /// Lets go of documents, where that was not done up to the same time before.
    pub(super) fn let_go(&mut self, expired: Expired) -> Result<(), SegmentDamage> {
        if self.let_go_below.is_some_and(|below| below >= expired.below) {
            return Ok(());
        }
        self.let_go_below = Some(expired.below);
        let mut gone: BTreeMap<SegmentId, RoaringBitmap> = BTreeMap::new();
        for (segment, version) in &self.versions {
            gone.insert(*segment, version.expired(expired)?);
        }
        gone.retain(|_, rows| !rows.is_empty());
        if gone.is_empty() {
            return Ok(());
        }
        self.forget_unsettled(&gone)?;
        for (segment, rows) in gone {
            if let Some(journal) = &mut self.journal {
                journal.note_buried(segment, &rows);
            }
            self.keys.let_go(segment, &rows);
            version_mut(&mut self.versions, segment).bury(rows);
        }
        Ok(())
    }

    /// Operations that come late must not bring back what their documents were.
    fn forget_unsettled(&mut self, gone: &BTreeMap<SegmentId, RoaringBitmap>) -> Result<(), SegmentDamage> {
        let ids: Vec<Arc<str>> = self.unsettled.documents().map(|(id, _)| Arc::clone(id)).collect();
        for id in ids {
            let address = self.keys.get(&id)?;
            if address.is_some_and(|at| gone.get(&at.segment).is_some_and(|rows| rows.contains(at.row))) {
                self.unsettled.take(&id);
            }
        }
        Ok(())
    }
}
