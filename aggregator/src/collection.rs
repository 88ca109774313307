//! A collection as SQL sees it: a table whose rows lie in shards on leaves.
//!
//! In: schema, placement, estimates. Out: a [`ShardScanExec`] of the columns that a query names.

use std::sync::Arc;

use async_trait::async_trait;
use basalt_common::retention::Retention;
use basalt_common::scan::{ScanColumn, ScanTarget, ShardPlace, ShardScanExec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// One collection as planning needs it.
#[derive(Debug, Clone)]
pub struct Collection {
    /// The query, the collection, and what the answer must have passed.
    pub target: Arc<ScanTarget>,
    /// All its columns.
    pub schema: SchemaRef,
    /// Where each column comes from.
    pub columns: Arc<[ScanColumn]>,
    /// Its shards in order, each with the leaf that owns it.
    pub places: Arc<[ShardPlace]>,
    /// The column whose hash chooses a row's shard.
    pub shard_key: Option<String>,
    /// How long documents are kept, where that is not for ever.
    pub retention: Option<Retention>,
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
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, columns) = match projection {
            Some(wanted) => {
                let columns = wanted.iter().map(|column| self.columns[*column].clone()).collect();
                (Arc::new(self.schema.project(wanted)?), columns)
            }
            None => (Arc::clone(&self.schema), Arc::clone(&self.columns)),
        };
        let key = self.shard_key.as_ref().and_then(|name| schema.index_of(name).ok());
        let mut target = Arc::clone(&self.target);
        if let Some(retention) = self.retention {
            let now = session.execution_props().query_execution_start_time;
            let now = now.ok_or_else(|| internal_datafusion_err!("a query has no time of its own"))?;
            Arc::make_mut(&mut target).expired = Some(retention.expired(now.timestamp_micros()));
        }
        let scan = ShardScanExec::new(target, schema, columns, Arc::clone(&self.places));
        Ok(Arc::new(scan.with_key(key).with_rows(self.rows).with_limit(limit)))
    }
}
