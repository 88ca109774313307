//! What other operators say, while a plan runs, of the rows that a scan may leave out: a join of the keys of its other side, a least
//! or greatest value of what it has seen.
//!
//! In: the dynamic filter of a scan. Out: selectors, anew when it changed. Only what is a test of one column is taken: by terms and
//! block statistics that leaves out rows at once, all else is sooner done by the operators themselves.

use std::sync::Arc;

use basalt_common::scan::{ScanFilter, ShardScan};
use basalt_common::schema::Schema;
use datafusion::common::Result;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;

use super::Selector;
use super::test::Test;

/// A filter that changes.
#[derive(Debug)]
pub struct Dynamic {
    filter: Arc<ScanFilter>,
    /// Of what was taken of it last.
    generation: Option<u64>,
}

impl Dynamic {
    /// That of a scan, if it has one.
    pub fn of(scan: &ShardScan) -> Option<Self> {
        scan.dynamic.clone().map(|filter| Self { filter, generation: None })
    }

    /// The scan's own filter with what is said now, if that is anything and was not said before.
    ///
    /// # Errors
    /// A filter cannot be read, or has other columns than it says.
    pub fn selector(&mut self, scan: &ShardScan, schema: &Schema) -> Result<Option<Selector>> {
        // Asked before the filter is read: what comes between is taken again the next time.
        let generation = snapshot_generation(&self.filter.predicate);
        if self.generation.replace(generation) == Some(generation) {
            return Ok(None);
        }
        let is_test = |part: &_, filter: &ScanFilter| Test::of(part, filter, schema).is_some();
        let both = ScanFilter::and_now(scan.filter.as_deref(), &self.filter, is_test)?;
        both.map(|both| Selector::new(&both, schema)).transpose()
    }
}
