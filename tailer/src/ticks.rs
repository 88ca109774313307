//! Logged time where nobody writes: without it documents whose time is over would lie in collections that rest.
//!
//! In: the catalog, the clock. Out: batches without operations, one a shard for each step of a collection's retention. Another tailer may
//! append the same: they do nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use basalt_common::id::CollectionId;

use crate::batches;
use crate::shared::Shared;

/// How often collections are looked at; no query waits for it.
const LOOK: Duration = Duration::from_secs(10);

/// Appends until the task is dropped.
pub async fn run(shared: Arc<Shared>) {
    let mut passed: BTreeMap<CollectionId, i64> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let (state, now) = (shared.catalog.state(), shared.clock.now_micros());
        passed.retain(|collection, _| state.collection(*collection).is_some());
        for collection in state.collections() {
            let Some(retention) = collection.retention() else { continue };
            let below = retention.let_go(now).below;
            if passed.get(&collection.id) == Some(&below) {
                continue;
            }
            let appends = batches::of_nothing(collection, now).into_iter();
            let appends = appends.map(|(shard, bytes)| shared.log.append(shard, bytes));
            match futures::future::try_join_all(appends).await {
                Ok(_) => drop(passed.insert(collection.id, below)),
                // It is tried again; writes tell their clients.
                Err(error) => tracing::debug!(collection = %collection.full_name(), %error, "time does not go on"),
            }
        }
    }
}
