//! The tables that one query sees: the collections of the catalog, at one state of it.
//!
//! In: a catalog state. Out: tables, by workspace and name. Owns what happens to a field that no document has: it is a
//! column of nulls, with a warning that names the nearest known one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use basalt_common::calls::QueryId;
use basalt_common::catalog::{CatalogState, Collection as Described};
use basalt_common::failure::Failure;
use basalt_common::fence::Fence;
use basalt_common::id::{CollectionId, FieldId, ShardId};
use basalt_common::scan::{AccessPath, ScanColumn, ScanStep, ScanTarget, ShardPlace};
use basalt_common::sql_type::{ID_COLUMN, columns};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};

use crate::collection::Collection;
use basalt_common::leaves::Leaves;

/// The columns of collections, made once for each version of a schema: of wide documents they take longer than the rest of a plan.
#[derive(Debug, Clone, Default)]
pub struct KnownColumns(Arc<Mutex<BTreeMap<CollectionId, (u64, Columns)>>>);

/// A collection's columns, and where each comes from.
type Columns = (SchemaRef, Arc<[ScanColumn]>);

/// So many collections' columns are kept; more begin anew.
const KNOWN_MAX: usize = 1_024;

impl KnownColumns {
    fn of(&self, collection: &Described) -> Columns {
        let version = collection.schema.version();
        let known = |known: &BTreeMap<CollectionId, (u64, Columns)>| match known.get(&collection.id) {
            Some((at, columns)) if *at == version => Some(columns.clone()),
            _ => None,
        };
        if let Some(columns) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return columns;
        }
        let column = |(field, id): (Field, FieldId)| match field.name() == ID_COLUMN {
            true => (field, ScanColumn::Id),
            false => (field, ScanColumn::field(id)),
        };
        let (fields, from): (Vec<Field>, Vec<ScanColumn>) = columns(&collection.schema).into_iter().map(column).unzip();
        let made: Columns = (Arc::new(Schema::new(fields)), from.into());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(collection.id, (version, made.clone()));
        made
    }
}

/// What a query's tables are made of.
#[derive(Debug)]
pub struct Tables {
    /// The catalog when the query was planned.
    pub state: Arc<CatalogState>,
    /// The query.
    pub query: QueryId,
    /// What its snapshots must have passed.
    pub fence: Option<Fence>,
    /// How rows are to be found, if the query says so.
    pub path: Option<AccessPath>,
    /// Whether leaves note what they do.
    pub analyze: bool,
    /// Where shards are.
    pub leaves: Leaves,
    /// What was made for queries before.
    pub known: KnownColumns,
    /// About how many documents collections have, of those where that matters and is known.
    pub rows: BTreeMap<CollectionId, usize>,
    unknown: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Tables {
    /// Makes the tables of a query.
    pub fn new(state: Arc<CatalogState>, query: QueryId, fence: Option<Fence>, leaves: Leaves) -> Self {
        let (known, rows, unknown) = (KnownColumns::default(), BTreeMap::new(), Mutex::default());
        Self { state, query, fence, path: None, analyze: false, leaves, known, rows, unknown }
    }

    /// Lets a collection have a column of nulls; false if it has it already.
    pub fn add_unknown(&self, collection: &Described, field: &str) -> bool {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = unknown.entry(collection.full_name()).or_default();
        let missing = !fields.iter().any(|known| known == field);
        if missing {
            fields.push(field.into());
        }
        missing
    }

    /// Takes a column of nulls away again.
    pub fn remove_unknown(&self, collection: &Described, field: &str) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fields) = unknown.get_mut(&collection.full_name()) {
            fields.retain(|known| known != field);
        }
    }

    fn table(&self, collection: &Described) -> Result<Collection, Failure> {
        let (mut schema, mut columns) = self.known.of(collection);
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = unknown.get(&collection.full_name()).filter(|names| !names.is_empty()) {
            let fields = names.iter().map(|name| Arc::new(Field::new(name, DataType::Null, true)));
            let of_nothing =
                |name: &String| ScanColumn::Field { field: FieldId::ROOT, below: vec![ScanStep::Key(name.clone())] };
            columns = columns.iter().cloned().chain(names.iter().map(of_nothing)).collect();
            schema = Arc::new(Schema::new(schema.fields().iter().cloned().chain(fields).collect::<Vec<_>>()));
        }
        let place = |shard| Ok(ShardPlace { shard, node: self.leaves.owner(shard_id(collection, shard))?.url.clone() });
        let target = ScanTarget {
            query: self.query,
            collection: collection.id,
            name: collection.full_name().into(),
            fence: self.fence.clone().filter(|fence| fence.collection() == collection.id),
            path: self.path,
            analyze: self.analyze,
            expired: None,
        };
        Ok(Collection {
            target: Arc::new(target),
            schema,
            columns,
            places: (0..collection.shards.into()).map(place).collect::<Result<_, Failure>>()?,
            shard_key: Some(ID_COLUMN.into()),
            rows: self.rows.get(&collection.id).copied(),
            retention: collection.retention(),
        })
    }
}

fn shard_id(collection: &Described, shard: u32) -> ShardId {
    let shard = u16::try_from(shard).expect("a collection has fewer shards than 2^16");
    ShardId { collection: collection.id, shard }
}

/// All workspaces.
#[derive(Debug)]
pub struct Workspaces(pub Arc<Tables>);

impl CatalogProvider for Workspaces {
    fn schema_names(&self) -> Vec<String> {
        self.0.state.workspaces().keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let known = self.0.state.workspaces().contains_key(name);
        known.then(|| Arc::new(InWorkspace { tables: Arc::clone(&self.0), workspace: name.into() }) as _)
    }
}

/// One workspace.
#[derive(Debug)]
struct InWorkspace {
    tables: Arc<Tables>,
    workspace: String,
}

#[async_trait]
impl SchemaProvider for InWorkspace {
    fn table_names(&self) -> Vec<String> {
        self.tables.state.collections_of(&self.workspace).map(|collection| collection.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(collection) = self.tables.state.find(&self.workspace, name) else { return Ok(None) };
        let table = self.tables.table(collection).map_err(|failure| DataFusionError::External(Box::new(failure)))?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.state.find(&self.workspace, name).is_some()
    }
}
