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

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use async_trait::async_trait;
    use basalt_common::batch::BatchBuilder;
    use basalt_common::catalog::{Catalog, CatalogError, CatalogState, Command};
    use basalt_common::id::{CollectionId, FieldId, ShardId};
    use basalt_common::position::LogPosition;
    use basalt_common::schema::Schema;
    use basalt_common::value::{Object, Value};
    use tokio::sync::watch;

    use super::Served;
    use crate::policy::MergePolicy;
    use crate::replica::Replica;
    use crate::shard::tests::batch;

    const SHARD: ShardId = ShardId { collection: CollectionId(1), shard: 0 };

    /// Does something when it is asked.
    struct Asked<F>(F);

    impl<F> fmt::Debug for Asked<F> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("Asked")
        }
    }

    #[async_trait]
    impl<F: Fn() + Send + Sync + 'static> Catalog for Asked<F> {
        fn state(&self) -> Arc<CatalogState> {
            (self.0)();
            Arc::default()
        }

        fn watch(&self) -> watch::Receiver<Arc<CatalogState>> {
            unreachable!("merges do not wait for the catalog")
        }

        async fn propose(&self, _: Command) -> Result<Arc<CatalogState>, CatalogError> {
            unreachable!("merges change nothing in the catalog")
        }
    }

    /// A shard with segments that are to be merged.
    fn served() -> Arc<Served> {
        let policy = MergePolicy { segments_per_tier: 2, inline_rows_max: 0, ..MergePolicy::default() };
        let (mut replica, mut schema) = (Replica::new(policy), Schema::default());
        for position in 0..4 {
            let document = Object::from([("a".into(), Value::Int(1))]);
            schema.register_object(FieldId::ROOT, &document, &mut |_, _| {});
            let mut builder = BatchBuilder::default();
            builder.upsert(&schema, &position.to_string(), &document).expect("its fields are registered");
            let batch = batch(builder, schema.version());
            replica.shard_mut().apply(LogPosition(position), &batch, &schema).expect("its schema is known");
        }
        let served = Served::new(SHARD);
        served.begin(replica, LogPosition(4));
        Arc::new(served)
    }

    /// A schema that is asked before might lack a field that comes between.
    #[test]
    fn indexes_are_asked_for_when_a_merge_has_begun() {
        let served = served();
        let asked = Arc::clone(&served);
        let catalog =
            Asked(move || assert!(asked.replica().shard_mut().begin_compaction().is_none(), "asked too early"));
        assert!(served.compact(false, &catalog).expect("no segment is damaged") > 0);
    }

    #[test]
    fn a_merge_that_panics_is_given_up() {
        let served = served();
        let failing = Asked(|| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(|| served.compact(false, &failing))).is_err());
        assert!(served.compact(false, &Asked(|| ())).expect("no segment is damaged") > 0, "it is merged again");
    }
}
