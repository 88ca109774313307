//! Snapshots that queries hold: one of each shard, from a query's first scan to its end.
//!
//! In: scans with their query's number. Out: the same snapshot for every scan of a query. A query says when it ends; one
//! that cannot (its aggregator died) is let go when its lease runs out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use basalt_common::calls::{QueryId, SegmentReport};
use basalt_common::clock::Clock;
use basalt_common::id::ShardId;

use crate::shard::Snapshot;

/// How long a query holds snapshots without a new scan: longer than queries may run.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// What a query's scans do here.
#[derive(Debug, Clone, Default)]
pub struct Scanned {
    /// How many rows they looked at.
    pub rows: Arc<AtomicU64>,
    /// What they did segment by segment, if they note that.
    pub reports: Arc<Mutex<Vec<SegmentReport>>>,
}

#[derive(Debug, Default)]
struct Held {
    snapshots: HashMap<ShardId, Arc<Snapshot>>,
    scanned: Scanned,
    until: Duration,
}

/// The snapshots that queries hold. Clones share them.
#[derive(Debug, Clone)]
pub struct Pins {
    clock: Arc<dyn Clock>,
    held: Arc<Mutex<HashMap<QueryId, Held>>>,
}

impl Pins {
    /// Makes an empty set.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: Arc::default() }
    }

    /// The query's snapshot of a shard: the one it has, or else what `pin` gives.
    pub fn pin(&self, query: QueryId, shard: ShardId, pin: impl FnOnce() -> Arc<Snapshot>) -> (Arc<Snapshot>, Scanned) {
        let now = self.clock.monotonic();
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| held.until > now);
        let held = all.entry(query).or_insert_with(|| Held { until: now + LEASE, ..Held::default() });
        held.until = now + LEASE;
        let snapshot = held.snapshots.entry(shard).or_insert_with(pin);
        (Arc::clone(snapshot), held.scanned.clone())
    }

    /// What a query's scans noted so far.
    pub fn reports(&self, query: QueryId) -> Vec<SegmentReport> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.get(&query) else { return Vec::new() };
        held.scanned.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of all that a query holds; returns how many rows it read.
    pub fn end(&self, query: QueryId) -> u64 {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&query);
        held.map_or(0, |held| held.scanned.rows.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use basalt_common::clock::ManualClock;
    use basalt_common::id::CollectionId;

    use super::{Arc, LEASE, Ordering, Pins, QueryId, ShardId, Snapshot};

    #[test]
    fn a_query_keeps_its_snapshot_until_it_ends_or_its_lease_does() {
        let clock = Arc::new(ManualClock::default());
        let pins = Pins::new(clock.clone());
        let shard = ShardId { collection: CollectionId(1), shard: 0 };
        let pin = |query| pins.pin(QueryId(query), shard, Arc::default).0;
        let first = pin(1);
        assert!(Arc::ptr_eq(&first, &pin(1)) && !Arc::ptr_eq(&first, &pin(2)));
        pins.pin(QueryId(1), shard, Arc::<Snapshot>::default).1.rows.fetch_add(7, Ordering::Relaxed);
        assert_eq!((pins.end(QueryId(1)), pins.end(QueryId(1))), (7, 0));
        assert!(!Arc::ptr_eq(&first, &pin(1)));
        clock.advance(LEASE);
        pin(3);
        assert_eq!(pins.held.lock().expect("no thread panicked").len(), 1);
    }
}
