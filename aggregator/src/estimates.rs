//! About how many documents collections have: what sides and order of joins are chosen by.
//!
//! In: the collections of a query that joins. Out: counts, some seconds old at most, asked of the leaves where they are not known. One
//! that cannot be had in time is not there; the query is planned without it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use basalt_common::catalog::Collection;
use basalt_common::clock::Clock;
use basalt_common::id::CollectionId;
use basalt_common::leaves::Leaves;
use futures::future::{join_all, try_join_all};

/// So long a count is good: an order of magnitude is what matters, and that takes longer to change.
const AGE_MAX: Duration = Duration::from_secs(2);

/// So long a query waits for counts, which leaves have in memory.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many collections' counts are kept; more begin anew.
const KNOWN_MAX: usize = 1_024;

/// Counts of documents.
#[derive(Debug, Default)]
pub struct Estimates {
    known: Mutex<BTreeMap<CollectionId, (Duration, usize)>>,
}

impl Estimates {
    /// About how many documents these collections have, as far as that is known.
    pub async fn of(
        &self,
        collections: &[Arc<Collection>],
        leaves: &Leaves,
        clock: &dyn Clock,
    ) -> BTreeMap<CollectionId, usize> {
        let now = clock.monotonic();
        let is_fresh = |(at, _): &&(Duration, usize)| now.saturating_sub(*at) <= AGE_MAX;
        let mut found = BTreeMap::new();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut asked: Vec<&Arc<Collection>> = Vec::new();
        for collection in collections {
            match known.get(&collection.id).filter(is_fresh) {
                Some((_, documents)) => drop(found.insert(collection.id, *documents)),
                None => asked.push(collection),
            }
        }
        if asked.is_empty() {
            return found;
        }
        let counted = join_all(asked.iter().map(|collection| count(collection, leaves)));
        // Whoever cannot be asked is met again when the plan runs, and told then.
        let counted = tokio::time::timeout(PATIENCE, counted).await.unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        for (collection, documents) in asked.iter().zip(counted) {
            if let Some(documents) = documents {
                known.insert(collection.id, (now, documents));
                found.insert(collection.id, documents);
            }
        }
        found
    }
}

async fn count(collection: &Collection, leaves: &Leaves) -> Option<usize> {
    let of_shard = |shard| async move {
        let leaf = leaves.owner(shard)?;
        leaf.calls.status(shard, false).await.map(|status| status.documents as usize)
    };
    try_join_all(collection.shard_ids().map(of_shard)).await.ok().map(|counts| counts.into_iter().sum())
}
