//! How the catalog changes.
//!
//! In: a state and a command. Out: the next state, or why there is none. Pure: the same commands make the same states
//! everywhere. The commands are persistent: their names and fields are a format, of which version 1 is JSON as serde
//! writes these types.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CatalogState, Collection, Workspace, check_name};
use crate::id::CollectionId;
use crate::schema::{FieldSeen, Schema};

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
    },
    /// Changes what is said about a collection.
    DescribeCollection {
        /// The collection.
        id: u32,
        /// The new description, if it changes.
        description: Option<String>,
        /// The new owner, if it changes.
        owner: Option<String>,
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
    /// A number of shards that cannot be.
    #[error("a collection has 1 to {max} shards, not {asked}")]
    Shards {
        /// What was asked for.
        asked: u16,
        /// The most there may be.
        max: u16,
    },
    /// Too many fields.
    #[error("the collection would have {fields} fields, and fields_max is {fields_max}")]
    TooManyFields {
        /// How many there would be.
        fields: usize,
        /// The limit.
        fields_max: u32,
    },
}

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
            Command::CreateCollection { workspace, name, description, owner, shards } => {
                next.create_collection(workspace, name, description, owner, *shards)?;
            }
            Command::DescribeCollection { id, description, owner } => {
                let collection = next.collection_mut(*id)?;
                description.iter().for_each(|text| collection.description.clone_from(text));
                owner.iter().for_each(|text| collection.owner.clone_from(text));
            }
            Command::DropCollection { id } => next.drop_collection(*id)?,
            Command::Register { id, fields, fields_max } => next.register(*id, fields, *fields_max)?,
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
        description: &str,
        owner: &str,
        shards: u16,
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
        self.next_collection += 1;
        self.names.insert(key, id);
        let collection = Collection {
            id,
            workspace: workspace.into(),
            name: name.into(),
            description: description.into(),
            owner: owner.into(),
            shards,
            schema: Arc::new(Schema::default()),
        };
        self.collections.insert(id, Arc::new(collection));
        Ok(())
    }

    fn collection_mut(&mut self, id: u32) -> Result<&mut Collection, Refusal> {
        let collection = self.collections.get_mut(&CollectionId(id)).ok_or(Refusal::NoCollection)?;
        Ok(Arc::make_mut(collection))
    }

    fn drop_collection(&mut self, id: u32) -> Result<(), Refusal> {
        let dropped = self.collections.remove(&CollectionId(id)).ok_or(Refusal::NoCollection)?;
        self.names.remove(&(dropped.workspace.clone(), dropped.name.clone()));
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

#[cfg(test)]
mod tests {
    use super::{CatalogState, CollectionId, Command, FieldSeen, Refusal};
    use crate::schema::Step;

    fn create(name: &str) -> Command {
        let (workspace, description, owner) = ("public".into(), String::new(), String::new());
        Command::CreateCollection { workspace, name: name.into(), description, owner, shards: 2 }
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
}
