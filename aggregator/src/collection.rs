//! A collection as SQL sees it: a table whose rows lie in shards on leaves.
//!
//! In: schema, placement, estimates. Out: a [`ShardScanExec`] of the columns that a query names.

use std::sync::Arc;

use async_trait::async_trait;
use basalt_common::scan::{ShardPlace, ShardScanExec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// One collection as planning needs it.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its name, with its workspace.
    pub name: Arc<str>,
    /// All its columns.
    pub schema: SchemaRef,
    /// Its shards in order, each with the leaf that owns it.
    pub places: Arc<[ShardPlace]>,
    /// The column whose hash chooses a row's shard.
    pub shard_key: Option<String>,
    /// About how many rows it has: what join order is chosen by.
    pub rows: Option<usize>,
}

#[async_trait]
impl TableProvider for Collection {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let key = self.shard_key.as_ref().and_then(|name| schema.index_of(name).ok());
        let scan = ShardScanExec::new(Arc::clone(&self.name), schema, Arc::clone(&self.places));
        Ok(Arc::new(scan.with_key(key).with_rows(self.rows).with_limit(limit)))
    }
}
