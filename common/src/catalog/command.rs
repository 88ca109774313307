//! How the catalog changes.
//!
//! In: a state and a command. Out: the next state, or why there is none. Pure: the same commands make the same states
//! everywhere. The commands are persistent: their names and fields are a format, of which version 1 is JSON as serde
//! writes these types.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Beginning, CatalogState, Claim, Collection, Source, SourceSettings, Workspace, check_name};
use crate::id::{CollectionId, Epoch, SourceId};
use crate::indexing::{IndexSettings, Indexing};
use crate::retention::{RetentionRule, RetentionSettings};
use crate::schema::{FieldSeen, Schema};
use crate::value::FieldPath;
use crate::version::{VersionRule, VersionSettings};

/// A change of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Makes a workspace.
    CreateWorkspace {
        /// Its name.
        name: String,
        /// What its users say about it.
        description: String,
    },
    /// Makes a collection.
    CreateCollection {
        /// The workspace it is in.
        workspace: String,
        /// Its name there.
        name: String,
        /// What its users say about it.
        description: String,
        /// Who answers for it.
        owner: String,
        /// Into how many shards it is divided.
        shards: u16,
        /// The path of the field that a document's `_id` is made of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What tells which of two operations counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionSettings>,
        /// How its fields are indexed.
        #[serde(default, skip_serializing_if = "IndexSettings::is_empty")]
        indexing: IndexSettings,
        /// How long its documents are kept.
        #[serde(default, skip_serializing_if = "RetentionSettings::is_empty")]
        retention: RetentionSettings,
    },
    /// Changes what is said about a collection.
    DescribeCollection {
        /// The collection.
        id: u32,
        /// The new description, if it changes.
        description: Option<String>,
        /// The new owner, if it changes.
        owner: Option<String>,
        /// How fields are indexed in segments that are written from now on, if that changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        indexing: Option<IndexSettings>,
        /// How long documents are kept from now on, if that changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retention: Option<RetentionSettings>,
    },
    /// Removes a collection with all its documents.
    DropCollection {
        /// The collection.
        id: u32,
    },
    /// Adds fields and types to a collection.
    Register {
        /// The collection.
        id: u32,
        /// What was seen.
        fields: Vec<FieldSeen>,
        /// The most fields that the collection may have then.
        fields_max: u32,
    },
    /// Makes a source of a collection.
    CreateSource {
        /// The collection.
        collection: u32,
        /// Its name there.
        name: String,
        /// What is read.
        settings: SourceSettings,
    },
    /// Lets a source rest, or go on.
    PauseSource {
        /// The source.
        id: u32,
        /// Whether it rests.
        paused: bool,
    },
    /// Removes a source; what came from it stays.
    DropSource {
        /// The source.
        id: u32,
    },
    /// Makes a tailer the one that reads a source.
    ClaimSource {
        /// The source.
        id: u32,
        /// The tailer's number.
        claimant: u64,
    },
    /// Says where reading of a source begins. The first word counts for a life of the source.
    BeginSource {
        /// The source.
        id: u32,
        /// Which life of it: 32 hexadecimal digits.
        incarnation: String,
        /// The first offset of partitions 0, 1, 2, …
        offsets: Vec<u64>,
    },
}

/// Why the state does not allow a command.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// No name.
    #[error("{0}")]
    Name(String),
    /// There is one of that name.
    #[error("{what} {name} is there already")]
    Exists {
        /// What kind of thing.
        what: String,
        /// Its name.
        name: String,
    },
    /// There is no such workspace.
    #[error("there is no workspace {0}")]
    NoWorkspace(String),
    /// There is no such collection any more.
    #[error("the collection is not there any more")]
    NoCollection,
    /// There is no such source any more.
    #[error("the source is not there any more")]
    NoSource,
    /// Too many sources.
    #[error("a collection has at most {0} sources")]
    TooManySources(usize),
    /// A key or version that is no path.
    #[error("the {what} {text:?} is no path to a field; a path is name.name, with names in ['…'] where they need it")]
    Path {
        /// Which of the two.
        what: String,
        /// What was given.
        text: String,
    },
    /// A number of shards that cannot be.
    #[error("a collection has 1 to {max} shards, not {asked}")]
    Shards {
        /// What was asked for.
        asked: u16,
        /// The most there may be.
        max: u16,
    },
    /// Documents are to be kept for a time behind nothing.
    #[error("retention is counted from a document's event time: say by event_time which field has it")]
    RetentionWithoutTime,
    /// Documents would go as they come.
    #[error("a retention is a second at least")]
    ShortRetention,
    /// Too many fields.
    #[error("the collection would have {fields} fields, and fields_max is {fields_max}")]
    TooManyFields {
        /// How many there would be.
        fields: usize,
        /// The limit.
        fields_max: u32,
    },
}

/// The shortest retention: a shorter one is a mistake in its unit.
const RETENTION_MICROS_MIN: u64 = 1_000_000;

/// The most sources of a collection: each costs its tailer a client with its threads.
const SOURCES_MAX: usize = 64;

/// The most shards of a collection: each costs every node that plans a query some bytes, and its leaf a thread's attention.
const SHARDS_MAX: u16 = 1024;

impl CatalogState {
    /// The state behind a command.
    ///
    /// # Errors
    /// The state does not allow it.
    pub fn apply(&self, command: &Command) -> Result<Self, Refusal> {
        let mut next = self.clone();
        match command {
            Command::CreateWorkspace { name, description } => next.create_workspace(name, description)?,
            Command::CreateCollection {
                workspace,
                name,
                description,
                owner,
                shards,
                key,
                version,
                indexing,
                retention,
            } => {
                next.create_collection(workspace, name, *shards, |collection| {
                    (collection.description, collection.owner) = (description.clone(), owner.clone());
                    collection.key = key.as_deref().map(|key| read_path("key", key)).transpose()?;
                    collection.version = version.as_ref().map(read_rule).transpose()?;
                    collection.indexing = read_indexing(indexing)?;
                    collection.retention = read_retention(retention)?;
                    Ok(())
                })?;
            }
            Command::DescribeCollection { id, description, owner, indexing, retention } => {
                let collection = next.collection_mut(*id)?;
                if let Some(indexing) = indexing {
                    collection.indexing = read_indexing(indexing)?;
                }
                if let Some(retention) = retention {
                    collection.retention = read_retention(retention)?;
                }
                description.iter().for_each(|text| collection.description.clone_from(text));
                owner.iter().for_each(|text| collection.owner.clone_from(text));
            }
            Command::DropCollection { id } => next.drop_collection(*id)?,
            Command::Register { id, fields, fields_max } => next.register(*id, fields, *fields_max)?,
            Command::CreateSource { collection, name, settings } => next.create_source(*collection, name, settings)?,
            Command::PauseSource { id, paused } => next.source_mut(*id)?.paused = *paused,
            Command::DropSource { id } => drop(next.sources.remove(&SourceId(*id)).ok_or(Refusal::NoSource)?),
            Command::ClaimSource { id, claimant } => {
                let source = next.source_mut(*id)?;
                let epoch = Epoch(source.claim.map_or(1, |claim| claim.epoch.0 + 1));
                source.claim = Some(Claim { epoch, claimant: *claimant });
            }
            Command::BeginSource { id, incarnation, offsets } => {
                let source = next.source_mut(*id)?;
                if source.beginning.as_ref().is_none_or(|beginning| &beginning.incarnation != incarnation) {
                    source.beginning = Some(Beginning { incarnation: incarnation.clone(), offsets: offsets.clone() });
                }
            }
        }
        next.version += 1;
        Ok(next)
    }

    fn create_workspace(&mut self, name: &str, description: &str) -> Result<(), Refusal> {
        check_name(name).map_err(Refusal::Name)?;
        if self.workspaces.contains_key(name) {
            return Err(Refusal::Exists { what: "the workspace".into(), name: name.into() });
        }
        self.workspaces.insert(name.into(), Workspace { description: description.into() });
        Ok(())
    }

    fn create_collection(
        &mut self,
        workspace: &str,
        name: &str,
        shards: u16,
        describe: impl FnOnce(&mut Collection) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        check_name(name).map_err(Refusal::Name)?;
        if !self.workspaces.contains_key(workspace) {
            return Err(Refusal::NoWorkspace(workspace.into()));
        }
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(Refusal::Shards { asked: shards, max: SHARDS_MAX });
        }
        let key = (workspace.to_string(), name.to_string());
        if self.names.contains_key(&key) {
            return Err(Refusal::Exists { what: "the collection".into(), name: format!("{workspace}.{name}") });
        }
        let id = CollectionId(self.next_collection);
        let mut collection = Collection {
            id,
            workspace: workspace.into(),
            name: name.into(),
            description: String::new(),
            owner: String::new(),
            shards,
            key: None,
            version: None,
            indexing: Indexing::default(),
            retention: None,
            schema: Arc::new(Schema::default()),
        };
        describe(&mut collection)?;
        self.next_collection += 1;
        self.names.insert(key, id);
        self.collections.insert(id, Arc::new(collection));
        Ok(())
    }

    fn create_source(&mut self, collection: u32, name: &str, settings: &SourceSettings) -> Result<(), Refusal> {
        check_name(name).map_err(Refusal::Name)?;
        let collection = self.collections.get(&CollectionId(collection)).ok_or(Refusal::NoCollection)?;
        if self.find_source(collection.id, name).is_some() {
            return Err(Refusal::Exists { what: "the source".into(), name: name.into() });
        }
        if self.sources().filter(|source| source.collection == collection.id).count() == SOURCES_MAX {
            return Err(Refusal::TooManySources(SOURCES_MAX));
        }
        let (id, name, settings) = (SourceId(self.next_source), name.into(), settings.clone());
        let (collection, paused) = (collection.id, false);
        let source = Source { id, collection, name, settings, paused, claim: None, beginning: None };
        self.next_source += 1;
        self.sources.insert(id, Arc::new(source));
        Ok(())
    }

    fn source_mut(&mut self, id: u32) -> Result<&mut Source, Refusal> {
        let source = self.sources.get_mut(&SourceId(id)).ok_or(Refusal::NoSource)?;
        Ok(Arc::make_mut(source))
    }

    fn collection_mut(&mut self, id: u32) -> Result<&mut Collection, Refusal> {
        let collection = self.collections.get_mut(&CollectionId(id)).ok_or(Refusal::NoCollection)?;
        Ok(Arc::make_mut(collection))
    }

    fn drop_collection(&mut self, id: u32) -> Result<(), Refusal> {
        let dropped = self.collections.remove(&CollectionId(id)).ok_or(Refusal::NoCollection)?;
        self.names.remove(&(dropped.workspace.clone(), dropped.name.clone()));
        self.sources.retain(|_, source| source.collection != dropped.id);
        Ok(())
    }

    fn register(&mut self, id: u32, fields: &[FieldSeen], fields_max: u32) -> Result<(), Refusal> {
        let collection = self.collection_mut(id)?;
        let schema = Arc::make_mut(&mut collection.schema);
        schema.grow(fields);
        match schema.len() {
            fields if fields > fields_max as usize => Err(Refusal::TooManyFields { fields, fields_max }),
            _ => Ok(()),
        }
    }
}

fn read_path(what: &str, text: &str) -> Result<FieldPath, Refusal> {
    let path = text.parse().ok().filter(|path: &FieldPath| !path.is_root());
    path.ok_or_else(|| Refusal::Path { what: what.into(), text: text.into() })
}

fn read_indexing(settings: &IndexSettings) -> Result<Indexing, Refusal> {
    Indexing::new(settings, |path| read_path("indexed field", path))
}

fn read_rule(settings: &VersionSettings) -> Result<VersionRule, Refusal> {
    let VersionSettings { path, lateness, max_future } = settings;
    Ok(VersionRule { path: read_path("version", path)?, lateness: *lateness, max_future: *max_future })
}

fn read_retention(settings: &RetentionSettings) -> Result<Option<RetentionRule>, Refusal> {
    let RetentionSettings { event_time, micros } = settings;
    if micros.is_some_and(|micros| micros < RETENTION_MICROS_MIN) {
        return Err(Refusal::ShortRetention);
    }
    match event_time {
        Some(path) => Ok(Some(RetentionRule { event_time: read_path("event_time", path)?, micros: *micros })),
        None if micros.is_some() => Err(Refusal::RetentionWithoutTime),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::{CatalogState, CollectionId, Command, FieldSeen, IndexSettings, Refusal, SourceId, SourceSettings};
    use super::{RetentionRule, RetentionSettings};
    use crate::catalog::{KafkaProperties, SourceStart};
    use crate::schema::Step;

    fn create(name: &str) -> Command {
        let (workspace, description, owner) = ("public".into(), String::new(), String::new());
        Command::CreateCollection {
            workspace,
            name: name.into(),
            description,
            owner,
            shards: 2,
            key: None,
            version: None,
            indexing: IndexSettings::default(),
            retention: RetentionSettings::default(),
        }
    }

    #[test]
    fn a_dropped_name_comes_back_under_another_number() {
        let mut state = CatalogState::default();
        for command in [create("a"), Command::DropCollection { id: 1 }, create("a")] {
            state = state.apply(&command).expect("each is allowed");
        }
        assert_eq!(state.find("public", "a").map(|collection| collection.id), Some(CollectionId(2)));
        assert_eq!(state.version(), 3);
        let refused = |command: &Command| state.apply(command).expect_err("it is not allowed");
        assert_eq!(refused(&create("a")), Refusal::Exists { what: "the collection".into(), name: "public.a".into() });
        assert_eq!(refused(&Command::DropCollection { id: 1 }), Refusal::NoCollection);
        assert!(matches!(refused(&create("no name")), Refusal::Name(_)));
    }

    #[test]
    fn a_retention_is_changed_and_checked() {
        let state = CatalogState::default().apply(&create("a")).expect("it is allowed");
        let keep = |event_time: Option<&str>, micros| Command::DescribeCollection {
            id: 1,
            description: None,
            owner: None,
            indexing: None,
            retention: Some(RetentionSettings { event_time: event_time.map(Into::into), micros }),
        };
        let refused = |command: &Command| state.apply(command).expect_err("it is not allowed");
        assert_eq!(refused(&keep(None, Some(1_000_000))), Refusal::RetentionWithoutTime);
        assert_eq!(refused(&keep(Some("at"), Some(999_999))), Refusal::ShortRetention);
        assert!(matches!(refused(&keep(Some("at["), None)), Refusal::Path { .. }));
        let of = |state: &CatalogState| state.find("public", "a").and_then(|collection| collection.retention.clone());
        let kept = state.apply(&keep(Some("at"), Some(1_000_000))).expect("it is allowed");
        let event_time = "at".parse().expect("a path");
        assert_eq!(of(&kept), Some(RetentionRule { event_time, micros: Some(1_000_000) }));
        let forever = kept.apply(&keep(None, None)).expect("it is allowed");
        assert_eq!(of(&forever), None);
        let text = serde_json::to_string(&keep(None, None)).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Command>(&text).expect("it is read back"), keep(None, None));
    }

    #[test]
    fn fields_are_limited() {
        let state = CatalogState::default().apply(&create("a")).expect("it is allowed");
        let field = |key: &str| FieldSeen { path: vec![Step::Key(key.into()), Step::Elements], types: 1 };
        let register = |fields| Command::Register { id: 1, fields, fields_max: 2 };
        let one = state.apply(&register(vec![field("x")])).expect("two fields are allowed");
        let again = one.apply(&register(vec![field("x")])).expect("it adds nothing");
        assert_eq!(again.find("public", "a").map(|collection| collection.schema.len()), Some(2));
        let refused = again.apply(&register(vec![field("y")])).expect_err("four are not");
        assert_eq!(refused, Refusal::TooManyFields { fields: 4, fields_max: 2 });
    }

    #[test]
    fn sources_are_claimed_in_order_and_begin_once() {
        let settings = SourceSettings::Kafka {
            brokers: "b:1".into(),
            topic: "t".into(),
            start: SourceStart::Latest,
            properties: KafkaProperties::default(),
        };
        let create = Command::CreateSource { collection: 1, name: "s".into(), settings };
        let mut state = CatalogState::default();
        assert_eq!(state.apply(&create).err(), Some(Refusal::NoCollection));
        let claim = |claimant| Command::ClaimSource { id: 1, claimant };
        let begin =
            |life: &str, offset| Command::BeginSource { id: 1, incarnation: life.into(), offsets: vec![offset] };
        let commands = [self::create("a"), create.clone(), claim(7), begin("x", 5), claim(8), begin("x", 6)];
        for command in commands {
            // As it is kept, and as it comes from another node.
            let text = serde_json::to_string(&command).expect("it is plain data");
            assert_eq!(serde_json::from_str::<Command>(&text).expect("it is read back"), command);
            state = state.apply(&command).expect("each is allowed");
        }
        let source = state.source(SourceId(1)).expect("it is there");
        assert_eq!(source.claim.map(|claim| (claim.epoch.0, claim.claimant)), Some((2, 8)));
        assert_eq!(source.beginning.as_ref().map(|beginning| beginning.offsets.clone()), Some(vec![5]));
        let again = state.apply(&begin("y", 0)).expect("it is allowed");
        let beginning = again.source(SourceId(1)).and_then(|source| source.beginning.clone());
        assert_eq!(beginning.map(|beginning| beginning.offsets), Some(vec![0]), "another life begins anew");
        assert!(matches!(state.apply(&create), Err(Refusal::Exists { .. })));
        let dropped = state.apply(&Command::DropCollection { id: 1 }).expect("it is allowed");
        assert_eq!(dropped.sources().count(), 0);
        assert_eq!(dropped.apply(&claim(9)).err(), Some(Refusal::NoSource));
    }
}
