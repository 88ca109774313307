//! What writes and sources share: the way to the catalog and the logs, and how new fields get there.

use std::fmt;
use std::sync::Arc;

use basalt_common::catalog::{Catalog, CatalogError, CatalogState, Collection, Command, Refusal};
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::id::CollectionId;
use basalt_common::log::ShardLog;
use basalt_common::value::json::JsonLimits;
use tokio::sync::Semaphore;

use crate::fields::{FIELDS_MAX, grow};
use crate::ids::IdMaker;
use crate::items::Items;

/// How often a request looks at the catalog again because others add fields at the same time.
const REGISTER_ATTEMPTS: usize = 8;

/// What a tailer allows.
#[derive(Debug, Clone, Copy)]
pub struct TailerConfig {
    /// Bounds on single documents.
    pub limits: JsonLimits,
    /// The most fields of a collection.
    pub fields_max: u32,
    /// How many requests are read at once.
    pub parallelism: usize,
}

impl Default for TailerConfig {
    fn default() -> Self {
        Self { limits: JsonLimits::default(), fields_max: FIELDS_MAX, parallelism: 4 }
    }
}

/// The parts of a tailer.
pub struct Shared {
    /// Collections and their fields.
    pub catalog: Arc<dyn Catalog>,
    /// Where batches go.
    pub log: Arc<dyn ShardLog>,
    /// The time that batches are stamped with.
    pub clock: Arc<dyn Clock>,
    /// Names documents.
    pub ids: IdMaker,
    /// What is allowed.
    pub config: TailerConfig,
    /// Those that may read bodies and records now.
    pub readers: Semaphore,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// The collection with all fields of the items registered; items that bring too many are moved to the errors.
    ///
    /// # Errors
    /// The collection is not there, or the catalog cannot be written.
    pub async fn register(&self, id: CollectionId, items: &mut Items) -> Result<Arc<Collection>, Failure> {
        for _ in 0..REGISTER_ATTEMPTS {
            let collection = find(&self.catalog.state(), id)?;
            let schema = &collection.schema;
            let Some(grown) = grow(schema, &mut items.items, &mut items.errors, self.config.fields_max) else {
                return Ok(collection);
            };
            let (number, fields) = (id.0, grown.grown_since(schema));
            let command = Command::Register { id: number, fields, fields_max: self.config.fields_max };
            match self.catalog.propose(command).await {
                // Not looked at again: a copy into itself would find more to register each time.
                Ok(state) => return find(&state, id),
                // Others took the last fields meanwhile: which items fit is decided again.
                Err(CatalogError::Refused(Refusal::TooManyFields { .. })) => {}
                Err(error) => return Err(error.into_failure()),
            }
        }
        Err(Failure::new(FailureKind::Unavailable, "too many writers add fields at once").with_hint("send it again"))
    }
}

/// A collection that is there.
///
/// # Errors
/// It is not.
pub fn find(state: &CatalogState, id: CollectionId) -> Result<Arc<Collection>, Failure> {
    let found = state.collection(id).cloned();
    found.ok_or_else(|| Failure::new(FailureKind::NotFound, "the collection is not there any more"))
}

/// Does CPU work on a thread for such.
///
/// # Errors
/// It panicked.
pub async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(FailureKind::Internal, format!("the documents could not be read: {error}")))
}
