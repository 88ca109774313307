//! What EXPLAIN ANALYZE adds to DataFusion's plan with metrics: what leaves did, shard by shard and segment by segment.
//!
//! In: the rows of EXPLAIN ANALYZE. Out: the same, and one more, whose text has a line for each segment.
//!
//! ```text
//! public.orders shard 0 at 4711: segment 12 by index_filter: 3 of 1000000 rows examined, 2 passed, 120 laid over in 3 runs over 2 fields
//! ```

use std::sync::Arc;

use basalt_common::calls::{QueryId, SegmentReport};
use basalt_common::leaves::Leaves;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

/// The most segments that are told of.
const SEGMENTS_MAX: usize = 1_000;

/// Adds, behind the rows of EXPLAIN ANALYZE, what the query's scans did in each segment.
pub(crate) fn with_segments(
    rows: SendableRecordBatchStream,
    query: QueryId,
    leaves: Leaves,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let of = Arc::clone(&schema);
    let segments = async move {
        let mut reports = Vec::new();
        for leaf in leaves.all() {
            reports.extend(leaf.calls.scan_reports(query).await);
        }
        let columns = ["Segments".to_string(), shown(reports)];
        let columns = columns.map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef);
        Ok(RecordBatch::try_new(of, columns.into())?) as Result<RecordBatch>
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.chain(futures::stream::once(segments))))
}

fn shown(mut reports: Vec<SegmentReport>) -> String {
    reports.sort_by(|a, b| (&a.collection, a.shard, a.segment).cmp(&(&b.collection, b.shard, b.segment)));
    let line = |report: &SegmentReport| {
        let SegmentReport { collection, shard, position, segment, path, rows, examined, passed, laid, runs, overlays } =
            report;
        let position = position.map_or("its start".into(), |position| position.to_string());
        format!(
            "{collection} shard {shard} at {position}: segment {segment} by {path}: {examined} of {rows} rows examined, \
             {passed} passed, {laid} laid over in {runs} runs over {overlays} fields"
        )
    };
    let mut lines: Vec<String> = reports.iter().take(SEGMENTS_MAX).map(line).collect();
    if reports.len() > SEGMENTS_MAX {
        lines.push(format!("and {} segments more", reports.len() - SEGMENTS_MAX));
    }
    lines.join("\n")
}
