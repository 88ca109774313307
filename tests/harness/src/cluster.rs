//! Leaves behind an aggregator, over tables made from a seed; and the oracle beside them.

use std::sync::Arc;

use anyhow::Result;
use basalt_aggregator::collection::Collection;
use basalt_aggregator::session::Sessions;
use basalt_common::id::FieldId;
use basalt_common::scan::{LocalLeaf, ScanColumn, ScanContext, ShardPlace};
use basalt_common::wire::Channels;
use basalt_leaf::counters::Counters;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use url::Url;

use crate::leaf::{LeafProcess, LeafSpec, Totals};
use crate::shards::Shards;
use crate::tables::Table;

/// Partitions of one operator on one node, as the two cores of a test machine suggest.
const PARALLELISM: usize = 2;

/// Leaf processes and a session of an aggregator before them.
pub struct Cluster {
    /// The leaves, in the order of their tasks' nodes.
    pub leaves: Vec<LeafProcess>,
    /// An aggregator's session with all tables.
    pub session: SessionContext,
}

/// The shards of a table that leaf `leaf` of `leaves` holds.
fn held(table: &Table, leaf: usize, leaves: usize) -> Vec<u32> {
    (0..table.shards).filter(|shard| *shard as usize % leaves == leaf).collect()
}

fn collection(table: &Table, nodes: &[Url]) -> Collection {
    let place = |shard: u32| ShardPlace { shard, node: nodes[shard as usize % nodes.len()].clone() };
    Collection {
        target: Arc::new(table.target()),
        schema: table.schema(),
        columns: (0..table.schema().fields().len() as u32).map(|index| ScanColumn::field(FieldId(index))).collect(),
        places: (0..table.shards).map(place).collect(),
        shard_key: Some("k".into()),
        retention: None,
        rows: Some(table.rows),
    }
}

fn sessions(leaves: &[Url], scan: Arc<ScanContext>) -> Sessions {
    Sessions { leaves: leaves.into(), scan, runtime: Arc::default(), parallelism: PARALLELISM }
}

impl Cluster {
    /// Starts `count` leaves that share the tables' shards.
    ///
    /// # Errors
    /// A leaf does not start.
    pub fn start(tables: &[Table], count: usize) -> Result<Self> {
        let spec = |leaf: usize| LeafSpec {
            port: 0,
            tables: tables.iter().map(|table| (table.clone(), held(table, leaf, count))).collect(),
        };
        let mut leaves: Vec<LeafProcess> =
            (0..count).map(|leaf| LeafProcess::start(spec(leaf))).collect::<Result<_>>()?;
        let nodes: Vec<Url> = leaves.iter().map(LeafProcess::url).collect();
        let session =
            sessions(&nodes, Arc::new(ScanContext { local: None, channels: Channels::default() })).session()?;
        for table in tables {
            session.register_table(table.name.as_str(), Arc::new(collection(table, &nodes)))?;
        }
        leaves.sort_by_key(LeafProcess::url);
        Ok(Self { leaves, session })
    }

    /// Each leaf's totals.
    ///
    /// # Errors
    /// A leaf has ended.
    pub fn totals(&mut self) -> Result<Vec<Totals>> {
        self.leaves.iter_mut().map(LeafProcess::totals).collect()
    }
}

/// The same tables in this process: a leaf and an aggregator that share memory, and no socket.
///
/// # Errors
/// A table was refused.
pub fn in_process(tables: &[Table]) -> Result<SessionContext> {
    let node = Url::parse("http://127.0.0.1:0")?;
    let shards = Arc::new(Shards::new(Arc::new(Counters::default())));
    for table in tables {
        (0..table.shards).for_each(|shard| shards.put(&table.name, shard, table.shard(shard)));
    }
    let local = Some(LocalLeaf { node: node.clone(), shards });
    let scan = Arc::new(ScanContext { local, channels: Channels::default() });
    let session = sessions(std::slice::from_ref(&node), scan).session()?;
    for table in tables {
        session.register_table(table.name.as_str(), Arc::new(collection(table, std::slice::from_ref(&node))))?;
    }
    Ok(session)
}

/// DataFusion alone over all rows in one place: what every answer is compared with.
///
/// # Errors
/// A table was refused.
pub fn oracle(tables: &[Table]) -> Result<SessionContext> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(PARALLELISM));
    for table in tables {
        let rows = MemTable::try_new(table.schema(), vec![vec![table.all()]])?;
        session.register_table(table.name.as_str(), Arc::new(rows))?;
    }
    Ok(session)
}
