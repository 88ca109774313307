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
use crate::failure::{Failure, FailureKind};
use crate::id::{CollectionId, ShardId};
use crate::log::ShardLog;

/// The catalog's place in the log.
const SHARD: ShardId = ShardId { collection: CollectionId(0), shard: 0 };

/// The version of the records' format.
const VERSION: u8 = 1;

/// A [`Catalog`] in one log.
pub struct LocalCatalog(Arc<Kept>);

/// What a catalog is made of.
struct Kept {
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
        let (states, commands) = (watch::Sender::new(Arc::new(state)), Mutex::new(commands));
        Ok(Self(Arc::new(Kept { log, states, commands })))
    }

    /// The commands behind a version, at most so many.
    pub async fn commands_since(&self, version: u64, commands_max: usize) -> Vec<Command> {
        let commands = self.0.commands.lock().await;
        let start = usize::try_from(version).unwrap_or(usize::MAX).min(commands.len());
        commands[start..].iter().take(commands_max).cloned().collect()
    }
}

#[async_trait]
impl Catalog for LocalCatalog {
    fn state(&self) -> Arc<CatalogState> {
        self.0.state()
    }

    fn watch(&self) -> watch::Receiver<Arc<CatalogState>> {
        self.0.states.subscribe()
    }

    async fn propose(&self, command: Command) -> Result<Arc<CatalogState>, CatalogError> {
        let kept = Arc::clone(&self.0);
        // Whoever asks may go away in the middle, as a client's connection does: what comes into the log has to come into the state,
        // or the next command is one that the log's state does not allow.
        match tokio::spawn(async move { kept.propose(command).await }).await {
            Ok(done) => done,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => {
                let stopping = "the node is stopping; look whether it was done when it is back";
                Err(CatalogError::Unreachable(Failure::new(FailureKind::Unavailable, stopping)))
            }
        }
    }
}

impl Kept {
    fn state(&self) -> Arc<CatalogState> {
        Arc::clone(&self.states.borrow())
    }

    /// Does a command; not to be left in the middle.
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

    /// A client may go away while its command is on its way into the log: what comes into the log comes into the state.
    #[tokio::test]
    async fn a_command_whose_asker_went_away_is_done() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let open = || Arc::new(LocalLog::open(folder.path(), LocalLogConfig::default(), 7).expect("the log opens"));
        {
            let catalog = LocalCatalog::open(open()).await.expect("it is empty");
            for number in 0..10 {
                let create = || Command::CreateWorkspace { name: format!("w{number}"), description: String::new() };
                tokio::select! {
                    biased;
                    done = catalog.propose(create()) => assert!(done.is_ok(), "{done:?}"),
                    () = std::future::ready(()) => {}
                }
                let again = catalog.propose(create()).await;
                assert!(matches!(again, Ok(_) | Err(CatalogError::Refused(_))), "{again:?}");
            }
            assert_eq!(catalog.state().version(), 10);
        }
        let catalog = LocalCatalog::open(open()).await.expect("what it holds is what was allowed");
        assert_eq!(catalog.state().version(), 10);
    }
}
