//! The catalog of another node.
//!
//! In: the commands of the node that orders them, asked for from the version that is known here. Out: the same states. A node
//! that cannot reach it goes on with what it knows, and asks again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;
use url::Url;

use crate::catalog::{Catalog, CatalogError, CatalogState, Command, LocalCatalog, Refusal};
use crate::failure::{Failure, FailureKind};
use crate::wire::Channels;

/// The name of the catalog's calls.
pub const CATALOG: &str = "catalog";

/// How long an answer with nothing new is held back.
const HELD: Duration = Duration::from_secs(20);

/// How long a node waits before it asks again where it was not answered.
const PAUSE: Duration = Duration::from_millis(200);

/// One in so many failures is told of: every ten seconds.
const FAILURES_SAID_EVERY: u32 = 50;

/// The most commands of one reply.
const COMMANDS_MAX: usize = 1_000;

#[derive(Debug, Serialize, Deserialize)]
enum CatalogCall {
    Since { version: u64, held: bool },
    Propose { command: Box<Command> },
}

#[derive(Debug, Serialize, Deserialize)]
enum ProposeReply {
    Done { version: u64 },
    Refused(Refusal),
    Failed(Failure),
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("calls are plain data").into()
}

fn decode<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("a catalog call cannot be read: {error}")))
}

/// Answers a call of [`RemoteCatalog`].
///
/// # Errors
/// It cannot be read.
pub async fn answer_catalog_call(catalog: &LocalCatalog, body: &[u8]) -> Result<Bytes, Failure> {
    match decode(body)? {
        CatalogCall::Since { version, held } => {
            let (mut states, patience) = (catalog.watch(), if held { HELD } else { Duration::ZERO });
            // Nothing new is an answer too: the caller asks again.
            let _ = tokio::time::timeout(patience, states.wait_for(|state| state.version() > version)).await;
            Ok(encode(&catalog.commands_since(version, COMMANDS_MAX).await))
        }
        CatalogCall::Propose { command } => Ok(encode(&match catalog.propose(*command).await {
            Ok(state) => ProposeReply::Done { version: state.version() },
            Err(CatalogError::Refused(refusal)) => ProposeReply::Refused(refusal),
            Err(error) => ProposeReply::Failed(error.into_failure()),
        })),
    }
}

/// A [`Catalog`] that another node keeps.
pub struct RemoteCatalog {
    node: Url,
    channels: Channels,
    states: watch::Sender<Arc<CatalogState>>,
}

impl fmt::Debug for RemoteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCatalog").field("node", &self.node).finish_non_exhaustive()
    }
}

impl RemoteCatalog {
    /// Follows the catalog of `node` from now on; returns once it was read, however long the node takes to come up.
    pub async fn follow(node: Url, channels: Channels) -> Arc<Self> {
        let states = watch::Sender::new(Arc::new(CatalogState::default()));
        let catalog = Arc::new(Self { node, channels, states });
        let mut failures = 0;
        while let Err(failure) = catalog.read_to_the_end().await {
            catalog.pause(&failure, &mut failures).await;
        }
        let following = Arc::downgrade(&catalog);
        tokio::spawn(async move {
            let mut failures = 0;
            while let Some(catalog) = following.upgrade() {
                match catalog.read(true).await {
                    Ok(_) => failures = 0,
                    Err(failure) => catalog.pause(&failure, &mut failures).await,
                }
            }
        });
        catalog
    }

    /// Waits before the node is asked again; says now and then why.
    async fn pause(&self, failure: &Failure, failures: &mut u32) {
        if failures.is_multiple_of(FAILURES_SAID_EVERY) {
            warn!(node = %self.node, %failure, "the catalog cannot be read now; asking again");
        }
        *failures += 1;
        tokio::time::sleep(PAUSE).await;
    }

    async fn call(&self, call: &CatalogCall) -> Result<Bytes, Failure> {
        self.channels.call(&self.node, CATALOG, encode(call)).await
    }

    /// Reads all that there is now.
    async fn read_to_the_end(&self) -> Result<(), Failure> {
        while self.read(false).await? > 0 {}
        Ok(())
    }

    /// Reads what is new; returns how many commands that were. With `held`, the answer may be held back until there are some.
    async fn read(&self, held: bool) -> Result<usize, Failure> {
        let version = self.state().version();
        let commands: Vec<Command> = decode(&self.call(&CatalogCall::Since { version, held }).await?)?;
        self.apply(version, &commands)?;
        Ok(commands.len())
    }

    /// Applies commands that follow `version`, those that are known here left out.
    fn apply(&self, version: u64, commands: &[Command]) -> Result<(), Failure> {
        let mut state = self.state();
        for (command, before) in commands.iter().zip(version..) {
            if before < state.version() {
                continue;
            }
            let next = state.apply(command).map_err(|refusal| {
                let message = format!("the catalog's command {before} is refused here: {refusal}");
                Failure::new(FailureKind::Internal, message).with_hint("run the same version on all nodes")
            })?;
            state = Arc::new(next);
        }
        self.states.send_if_modified(|known| {
            let newer = state.version() > known.version();
            if newer {
                *known = Arc::clone(&state);
            }
            newer
        });
        Ok(())
    }
}

#[async_trait]
impl Catalog for RemoteCatalog {
    fn state(&self) -> Arc<CatalogState> {
        Arc::clone(&self.states.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<CatalogState>> {
        self.states.subscribe()
    }

    async fn propose(&self, command: Command) -> Result<Arc<CatalogState>, CatalogError> {
        let reply =
            self.call(&CatalogCall::Propose { command: Box::new(command) }).await.map_err(CatalogError::Unreachable)?;
        match decode(&reply).map_err(CatalogError::Unreachable)? {
            ProposeReply::Done { version } => {
                let mut states = self.states.subscribe();
                let state = states.wait_for(|state| state.version() >= version).await;
                state.map(|state| Arc::clone(&state)).map_err(|_| {
                    CatalogError::Unreachable(Failure::new(FailureKind::Unavailable, "this node is stopping"))
                })
            }
            ProposeReply::Refused(refusal) => Err(refusal.into()),
            ProposeReply::Failed(failure) => Err(CatalogError::Unreachable(failure)),
        }
    }
}
