//! Carries out merges of a shard beside its batches.
//!
//! In: a shard that is followed. Out: the same shard in fewer segments. Reads, merges and hashes without the shard's lock, which
//! is held only to begin and to swap.

use std::sync::Arc;
use std::time::Duration;

use basalt_common::catalog::Catalog;
use tokio::sync::Semaphore;
use tracing::{debug, error};

use crate::served::Served;

/// How often a shard that changes is looked at: a tier fills in seconds, not in milliseconds.
const INTERVAL: Duration = Duration::from_millis(100);

/// A shard that has not changed for so long is at rest.
const REST: Duration = Duration::from_secs(1);

/// Permits for half of the machine's cores, and one at least: batches and queries have the others.
pub fn permits() -> Arc<Semaphore> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((cores / 2).max(1)))
}

/// Merges segments of a shard that has begun, when it changes, until its collection is dropped or a segment is damaged; as many
/// shards at once as there are permits.
pub async fn run(served: Arc<Served>, catalog: Arc<dyn Catalog>, permits: Arc<Semaphore>) {
    let mut progress = served.progress();
    let mut at_rest = false;
    loop {
        {
            let seen = progress.borrow_and_update();
            if seen.dropped || seen.stopped.is_some() {
                return;
            }
        }
        // Nobody closes it.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let shard = Arc::clone(&served);
        let catalog = Arc::clone(&catalog);
        let merged = tokio::task::spawn_blocking(move || {
            let merged = shard.compact(at_rest, catalog.as_ref());
            drop(permit);
            merged
        });
        match merged.await {
            Ok(Ok(0)) => {
                let patience = if at_rest { Duration::MAX } else { REST };
                match tokio::time::timeout(patience, progress.changed()).await {
                    Ok(Ok(())) => at_rest = false,
                    Ok(Err(_)) => return,
                    Err(_) => at_rest = true,
                }
            }
            Ok(Ok(rows)) => debug!(shard = %served.id(), rows, "merged"),
            Ok(Err(damage)) => {
                // Whoever reads it is told too; batches go on for as long as they do not meet it.
                error!(shard = %served.id(), error = %damage, "segments are not merged any more");
                return;
            }
            Err(failure) => {
                error!(shard = %served.id(), error = %failure, "segments are not merged any more");
                return;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
