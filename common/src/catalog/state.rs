//! What the catalog knows at one moment.
//!
//! In: nothing; [`command`](super::command) changes it. Out: workspaces and collections by name and number. States are
//! shared, never changed in place: whoever holds one sees what was true at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Source;
use crate::id::{CollectionId, ShardId, SourceId};
use crate::indexing::Indexing;
use crate::retention::{Retention, RetentionRule};
use crate::schema::Schema;
use crate::value::FieldPath;
use crate::version::VersionRule;

/// A set of collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// What its users say about it.
    pub description: String,
}

/// A set of documents, as every role must know it.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its number: what positions, shards and batches are named by.
    pub id: CollectionId,
    /// The workspace it is in.
    pub workspace: String,
    /// Its name there.
    pub name: String,
    /// What its users say about it.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// Into how many shards it is divided.
    pub shards: u16,
    /// The field that a document's `_id` is made of; none where documents bring an `_id` or are given one.
    pub key: Option<FieldPath>,
    /// What tells which of two operations counts; none where the later one in the log does.
    pub version: Option<VersionRule>,
    /// How its fields are indexed.
    pub indexing: Indexing,
    /// What tells how long its documents are kept; none where that is for ever.
    pub retention: Option<RetentionRule>,
    /// Its fields.
    pub schema: Arc<Schema>,
}

impl Collection {
    /// Its shards.
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        let collection = self.id;
        (0..self.shards).map(move |shard| ShardId { collection, shard })
    }

    /// How long its documents are kept; nothing where that is for ever.
    pub fn retention(&self) -> Option<Retention> {
        self.retention.as_ref()?.retention(&self.schema)
    }

    /// Its name with its workspace: `workspace.collection`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.workspace, self.name)
    }
}

/// All workspaces and collections.
#[derive(Debug, Clone)]
pub struct CatalogState {
    pub(super) version: u64,
    pub(super) workspaces: BTreeMap<String, Workspace>,
    pub(super) collections: BTreeMap<CollectionId, Arc<Collection>>,
    /// INVARIANT: exactly the names of `collections`, by workspace and name.
    pub(super) names: BTreeMap<(String, String), CollectionId>,
    pub(super) next_collection: u32,
    /// INVARIANT: the collection of each is there, and no two of a collection have one name.
    pub(super) sources: BTreeMap<SourceId, Arc<Source>>,
    pub(super) next_source: u32,
}

/// The workspace that is always there.
pub(super) const PUBLIC: &str = "public";

impl Default for CatalogState {
    fn default() -> Self {
        let public = Workspace { description: "the default workspace".into() };
        Self {
            version: 0,
            workspaces: BTreeMap::from([(PUBLIC.to_string(), public)]),
            collections: BTreeMap::new(),
            names: BTreeMap::new(),
            next_collection: 1,
            sources: BTreeMap::new(),
            next_source: 1,
        }
    }
}

impl CatalogState {
    /// Whether there was a collection of this number and is none any more: numbers are never used again.
    pub fn was_dropped(&self, collection: CollectionId) -> bool {
        collection.0 > 0 && collection.0 < self.next_collection && !self.collections.contains_key(&collection)
    }

    /// How many commands made it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The workspaces, by name.
    pub fn workspaces(&self) -> &BTreeMap<String, Workspace> {
        &self.workspaces
    }

    /// All collections, in the order in which they were made.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.collections.values()
    }

    /// The collections of a workspace, by name.
    pub fn collections_of<'s>(&'s self, workspace: &'s str) -> impl Iterator<Item = &'s Arc<Collection>> {
        let named = self.names.iter().filter(move |((of, _), _)| of == workspace);
        named.map(|(_, id)| &self.collections[id])
    }

    /// The collection of a name.
    pub fn find(&self, workspace: &str, name: &str) -> Option<&Arc<Collection>> {
        let id = self.names.get(&(workspace.to_string(), name.to_string()))?;
        self.collections.get(id)
    }

    /// The collection of a number.
    pub fn collection(&self, id: CollectionId) -> Option<&Arc<Collection>> {
        self.collections.get(&id)
    }

    /// All sources, in the order in which they were made.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values()
    }

    /// The source of a number.
    pub fn source(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.sources.get(&id)
    }

    /// The source of a name.
    pub fn find_source(&self, collection: CollectionId, name: &str) -> Option<&Arc<Source>> {
        self.sources().find(|source| source.collection == collection && source.name == name)
    }
}
