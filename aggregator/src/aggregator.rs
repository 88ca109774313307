//! What an aggregator has: the way to the catalog, to a tailer and to the leaves, and the queries that run.

use std::sync::Arc;
use std::time::Duration;

use basalt_common::calls::{Sources, Writes};
use basalt_common::catalog::{Catalog, CatalogError, Collection, Command, Refusal};
use basalt_common::clock::Clock;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::fence::Fence;
use basalt_common::indexing::IndexSettings;
use basalt_common::leaves::Leaves;
use basalt_common::retention::RetentionSettings;

use crate::metrics::Metrics;
use crate::query::Queries;
use crate::sql::nearest;

/// What clients may do and how much.
#[derive(Debug, Clone, Copy)]
pub struct ServiceConfig {
    /// The longest body of a request, in bytes, after decompression.
    pub body_bytes_max: usize,
    /// Whether a write to an unknown collection makes it.
    pub create_on_write: bool,
    /// Into how many shards a collection is divided that does not say.
    pub shards: u16,
    /// Whether clients from other machines may come without a key.
    pub anonymous_from_anywhere: bool,
    /// How long writes and reads by key wait for a position.
    pub patience: Duration,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            create_on_write: true,
            shards: 4,
            anonymous_from_anywhere: false,
            patience: Duration::from_secs(60),
        }
    }
}

/// An aggregator.
pub struct Aggregator {
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// Where writes go.
    pub writes: Arc<dyn Writes>,
    /// Who knows how sources are.
    pub sources: Arc<dyn Sources>,
    /// Where documents are.
    pub leaves: Leaves,
    /// The queries.
    pub queries: Arc<Queries>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub metrics: Metrics,
    /// What it allows.
    pub config: ServiceConfig,
}

impl Aggregator {
    /// A collection that is there.
    ///
    /// # Errors
    /// It is not; the nearest name is in the hint.
    pub fn collection(&self, workspace: &str, name: &str) -> Result<Arc<Collection>, Failure> {
        let state = self.catalog.state();
        if let Some(found) = state.find(workspace, name) {
            return Ok(Arc::clone(found));
        }
        let (what, near) = match state.workspaces().contains_key(workspace) {
            true => {
                let known = state.collections_of(workspace).map(|collection| collection.name.as_str());
                (format!("collection {workspace}.{name}"), nearest(name, known))
            }
            false => {
                let known = state.workspaces().keys().map(String::as_str);
                (format!("workspace {workspace}"), nearest(workspace, known))
            }
        };
        let mut failure = Failure::new(FailureKind::NotFound, format!("there is no {what}"));
        failure.hint = near.map(|near| format!("did you mean {near}?"));
        Err(failure)
    }

    /// A collection, made if it is not there and writes may make it.
    ///
    /// # Errors
    /// As [`Self::collection`], or it cannot be made.
    pub async fn collection_to_write(&self, workspace: &str, name: &str) -> Result<Arc<Collection>, Failure> {
        let state = self.catalog.state();
        let may_make = self.config.create_on_write && state.workspaces().contains_key(workspace);
        if !may_make || state.find(workspace, name).is_some() {
            return self.collection(workspace, name);
        }
        let command = Command::CreateCollection {
            workspace: workspace.into(),
            name: name.into(),
            description: String::new(),
            owner: String::new(),
            shards: self.config.shards,
            key: None,
            version: None,
            indexing: IndexSettings::default(),
            retention: RetentionSettings::default(),
        };
        match self.propose(command).await {
            Ok(()) => {}
            // Another request made it meanwhile.
            Err(failure) if failure.kind == FailureKind::Conflict => {}
            Err(failure) => return Err(failure),
        }
        self.collection(workspace, name)
    }

    /// Changes the catalog.
    ///
    /// # Errors
    /// The catalog refuses, or cannot be written.
    pub async fn propose(&self, command: Command) -> Result<(), Failure> {
        let refused = |refusal: Refusal| {
            let kind = match refusal {
                Refusal::Exists { .. } => FailureKind::Conflict,
                Refusal::NoWorkspace(_) | Refusal::NoCollection | Refusal::NoSource => FailureKind::NotFound,
                Refusal::Name(_)
                | Refusal::Path { .. }
                | Refusal::Shards { .. }
                | Refusal::TooManySources(_)
                | Refusal::RetentionWithoutTime
                | Refusal::ShortRetention
                | Refusal::TooManyFields { .. } => FailureKind::InvalidRequest,
            };
            Failure::new(kind, refusal.to_string())
        };
        match self.catalog.propose(command).await {
            Ok(_) => Ok(()),
            Err(CatalogError::Refused(refusal)) => Err(refused(refusal)),
            Err(error) => Err(error.into_failure()),
        }
    }

    /// Waits until the leaves have passed a fence.
    ///
    /// # Errors
    /// They did not in time.
    pub async fn wait_for(&self, fence: &Fence, patience: Duration) -> Result<(), Failure> {
        let state = self.catalog.state();
        let Some(collection) = state.collection(fence.collection()) else { return Ok(()) };
        let positions = collection.shard_ids().filter_map(|shard| Some((shard, fence.position(shard)?)));
        let waits = positions.map(|(shard, position)| async move {
            self.leaves.owner(shard)?.calls.wait_for(shard, position, patience).await
        });
        futures::future::try_join_all(waits).await.map(drop)
    }
}
