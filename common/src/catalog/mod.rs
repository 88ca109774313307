//! The catalog: workspaces, collections with their fields and sources, and how they change.
//!
//! In: [`Command`]s, in one order. Out: [`CatalogState`], the same on every node that has the same commands: a state
//! machine without clock or randomness. Owns names, numbers and limits of what it holds. How commands get their order and
//! last is the affair of an implementation of [`Catalog`]: [`LocalCatalog`] keeps them in a shard log of its own.
//!
//! ```text
//!  propose(command) ──▶ order, durable ──▶ apply ──▶ state ──▶ watchers: tailers, leaves, planners
//! ```

mod command;
mod local;
mod name;
mod source;
mod state;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

use crate::failure::{Failure, FailureKind};
use crate::log::LogError;

pub use command::{Command, Refusal};
pub use local::LocalCatalog;
pub use name::{NAME_BYTES_MAX, check_name};
pub use source::{Beginning, Claim, KafkaProperties, Source, SourceSettings, SourceStart};
pub use state::{CatalogState, Collection, Workspace};

/// Why a command was not done.
#[derive(Debug, Clone, Error)]
pub enum CatalogError {
    /// The state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be made durable.
    #[error("the catalog cannot be written: {0}")]
    Log(#[from] LogError),
    /// The node that keeps it cannot be reached, or could not do it.
    #[error("the catalog did not take the change: {0}")]
    Unreachable(Failure),
    /// What is on disk is no catalog.
    #[error("record {position} of the catalog cannot be read: {reason}; restore the catalog's folder from a copy")]
    Damaged {
        /// The record.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

impl CatalogError {
    /// What a client is told whose command was not done for another reason than that the state does not allow it.
    pub fn into_failure(self) -> Failure {
        let kind = match &self {
            Self::Log(LogError::Full { .. }) => FailureKind::TooManyRequests,
            Self::Unreachable(failure) => failure.kind,
            _ => FailureKind::Unavailable,
        };
        Failure::new(kind, self.to_string())
    }
}

/// The catalog as every role sees it.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// The newest state that this node knows.
    fn state(&self) -> Arc<CatalogState>;

    /// Every state from now on; some may be skipped, the newest never is.
    fn watch(&self) -> watch::Receiver<Arc<CatalogState>>;

    /// Does a command and returns the state behind it, once it is durable.
    ///
    /// # Errors
    /// The state does not allow it, or it cannot be made durable.
    async fn propose(&self, command: Command) -> Result<Arc<CatalogState>, CatalogError>;
}
