//! The catalog of one node, in a shard log.
//!
//! In: commands. Out: the same, in the order of the log. The log is the one durable copy; its records are commands as
//! JSON behind a byte with the format's version. Collection 0 is no collection: its only shard is the catalog's.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use super::{Catalog, CatalogError, CatalogState, Command};
use crate::id::{CollectionId, ShardId};
use crate::log::ShardLog;

/// The catalog's place in the log.
const SHARD: ShardId = ShardId { collection: CollectionId(0), shard: 0 };

/// The version of the records' format.
const VERSION: u8 = 1;

/// A [`Catalog`] in one log.
pub struct LocalCatalog {
    log: Arc<dyn ShardLog>,
    states: watch::Sender<Arc<CatalogState>>,
    /// All commands, in order, for nodes that follow. Held from looking at the state until a command is in the log.
    commands: Mutex<Vec<Command>>,
}

impl fmt::Debug for LocalCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCatalog").finish_non_exhaustive()
    }
}

impl LocalCatalog {
    /// Reads the catalog from its log.
    ///
    /// # Errors
    /// The log cannot be read, or holds something else.
    pub async fn open(log: Arc<dyn ShardLog>) -> Result<Self, CatalogError> {
        let (mut state, mut commands) = (CatalogState::default(), Vec::new());
        let mut reader = log.read(SHARD, log.start(SHARD).await?).await?;
        while let Some((position, record)) = reader.try_next().await? {
            let damaged = |reason: String| CatalogError::Damaged { position: position.0, reason };
            let command = decode(&record).map_err(damaged)?;
            state = state.apply(&command).map_err(|refusal| damaged(refusal.to_string()))?;
            commands.push(command);
        }
        Ok(Self { log, states: watch::Sender::new(Arc::new(state)), commands: Mutex::new(commands) })
    }

    /// The commands behind a version, at most so many.
    pub async fn commands_since(&self, version: u64, commands_max: usize) -> Vec<Command> {
        let commands = self.commands.lock().await;
        let start = usize::try_from(version).unwrap_or(usize::MAX).min(commands.len());
        commands[start..].iter().take(commands_max).cloned().collect()
    }
}

#[async_trait]
impl Catalog for LocalCatalog {
    fn state(&self) -> Arc<CatalogState> {
        Arc::clone(&self.states.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<CatalogState>> {
        self.states.subscribe()
    }

    async fn propose(&self, command: Command) -> Result<Arc<CatalogState>, CatalogError> {
        let mut commands = self.commands.lock().await;
        let next = Arc::new(self.state().apply(&command)?);
        self.log.append(SHARD, encode(&command)).await?;
        commands.push(command);
        self.states.send_replace(Arc::clone(&next));
        Ok(next)
    }
}

fn encode(command: &Command) -> Bytes {
    let mut record = vec![VERSION];
    serde_json::to_writer(&mut record, command).expect("commands are plain data, and memory takes them");
    record.into()
}

fn decode(record: &[u8]) -> Result<Command, String> {
    match record.split_first() {
        Some((&VERSION, text)) => serde_json::from_slice(text).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("it is of version {version}, which this program does not know")),
        None => Err("it is empty".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Catalog, CatalogError, Command, LocalCatalog};
    use crate::log::{LocalLog, LocalLogConfig};

    #[tokio::test]
    async fn commands_outlive_the_process_and_refused_ones_leave_nothing() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let open = || Arc::new(LocalLog::open(folder.path(), LocalLogConfig::default(), 7).expect("the log opens"));
        let create = |name: &str| Command::CreateWorkspace { name: name.into(), description: "x".into() };
        {
            let catalog = LocalCatalog::open(open()).await.expect("it is empty");
            let mut watch = catalog.watch();
            let state = catalog.propose(create("a")).await.expect("it is allowed");
            assert!(state.workspaces().contains_key("a"));
            assert!(watch.has_changed().expect("the catalog lives") && watch.borrow_and_update().version() == 1);
            let refused = catalog.propose(create("a")).await;
            assert!(matches!(refused, Err(CatalogError::Refused(_))), "{refused:?}");
        }
        let catalog = LocalCatalog::open(open()).await.expect("it is readable");
        assert_eq!(catalog.state().version(), 1);
        assert!(catalog.state().workspaces().contains_key("a"));
    }
}
