//! The rows that one scan wants of one shard.
//!
//! In: a scan, the snapshot pinned for its query. Out: batches of the scan's columns, or of their partial aggregates. Chooses, segment by segment, how rows are
//! found: by their `_id`s, where the filter names these; from one end of a column's terms, where only the first rows are wanted;
//! else by what the filter lets through, by terms or by tests of encoded columns. It reads no column of a row that does not pass.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use basalt_common::calls::SegmentReport;
use basalt_common::scan::{Aggregation, ShardScan};
use basalt_common::schema::Schema;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt};

use crate::aggregate::PartialAggregate;
use crate::arrow::Rows;
use crate::counters::Counters;
use crate::pins::Scanned;
use crate::segment::{SegmentId, SegmentVersion};
use crate::select::{Rest, Selector, Top};
use crate::served::Served;
use crate::shard::Snapshot;

/// Rows of one batch of a scan: DataFusion's own size.
const BATCH_ROWS: usize = 8192;

/// Batches that are aggregated before others have their turn.
const BATCHES_IN_A_ROW: usize = 64;

/// Groups and states of more bytes than this are given away, to be merged by the plan.
const GROUPS_BYTES_MAX: usize = 64 << 20;

/// Rows by segment, ascending.
type Located = BTreeMap<SegmentId, Vec<u32>>;

/// Reads a snapshot's rows for one scan.
pub struct Reader {
    /// What is wanted.
    pub scan: ShardScan,
    /// The collection's fields: all that the snapshot has.
    pub schema: Arc<Schema>,
    /// The shard, which knows where `_id`s are.
    pub served: Arc<Served>,
    /// Counts rows of this process.
    pub counters: Arc<Counters>,
    /// Counts rows of the query, and notes what was done.
    pub scanned: Scanned,
}

/// Rows of one segment that pass, ascending.
struct Chosen {
    version: Arc<SegmentVersion>,
    rows: UInt32Array,
}

impl Reader {
    /// The batches, none of them empty.
    pub fn read(self, snapshot: Arc<Snapshot>) -> BoxStream<'static, Result<RecordBatch>> {
        let (scan, schema) = (self.scan.clone(), Arc::clone(&self.schema));
        let batch = move |Chosen { version, rows }: Chosen| {
            let rows = Rows { version: &version, schema: &schema, rows: &rows };
            let fields = scan.schema.fields().iter();
            let columns = fields.zip(scan.columns.iter()).map(|(field, column)| rows.column(column, field));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.rows.len()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&scan.schema), columns, &options)?)
        };
        self.choose(snapshot).map(move |chosen| batch(chosen?)).boxed()
    }

    /// Groups of the rows with the states of functions, in one batch or, where they take much memory, in several.
    pub fn aggregate(
        self,
        plan: Arc<Aggregation>,
        snapshot: Arc<Snapshot>,
        memory: MemoryReservation,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let schema = Arc::clone(&self.schema);
        let groups = PartialAggregate::new(plan, self.scan.clone(), &schema);
        let chosen = self.choose(snapshot);
        let begun = async move { Ok::<_, DataFusionError>(Grouping { groups: groups?, schema, chosen, memory }) };
        let batches = begun.map_ok(|grouping| {
            futures::stream::try_unfold(grouping, |mut grouping| async {
                Ok(grouping.next().await?.map(|batch| (batch, grouping)))
            })
        });
        batches.try_flatten_stream().boxed()
    }

    fn choose(self, snapshot: Arc<Snapshot>) -> BoxStream<'static, Result<Chosen>> {
        let selector = self.scan.filter.as_ref().map(|filter| Selector::new(filter, &self.schema)).transpose();
        let selector = match selector {
            Ok(selector) => selector,
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let Some(ids) = selector.as_ref().and_then(Selector::ids) else {
            return futures::stream::iter(Walk::new(self, snapshot, selector, None)).boxed();
        };
        let located = async move {
            let (served, at) = (Arc::clone(&self.served), Arc::clone(&snapshot));
            // It waits for a batch that is being applied.
            let located = tokio::task::spawn_blocking(move || served.locate(&ids, &at)).await;
            let located = located.map_err(|error| exec_datafusion_err!("documents could not be found: {error}"))?;
            let located = located.map_err(|damage| DataFusionError::External(Box::new(damage)))?;
            Ok::<_, DataFusionError>(futures::stream::iter(Walk::new(self, snapshot, selector, located)))
        };
        futures::stream::once(located).try_flatten().boxed()
    }
}

/// A partial aggregate that is being made.
struct Grouping {
    groups: PartialAggregate,
    schema: Arc<Schema>,
    chosen: BoxStream<'static, Result<Chosen>>,
    memory: MemoryReservation,
}

impl Grouping {
    /// The next groups: all that are left, or as many as memory holds.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut added = 0_usize;
        while let Some(Chosen { version, rows }) = self.chosen.try_next().await? {
            self.groups.add(&version, &self.schema, &rows)?;
            added += 1;
            if added.is_multiple_of(BATCHES_IN_A_ROW) {
                let size = self.groups.size();
                if size > GROUPS_BYTES_MAX || self.memory.try_resize(size).is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let groups = self.groups.emit();
        self.memory.free();
        groups
    }
}

/// The rows of one segment that are looked at, and what they must still pass.
struct Candidates {
    rows: UInt32Array,
    rest: Rest,
    path: &'static str,
    start: usize,
    passed: usize,
}

impl Candidates {
    fn new(rows: UInt32Array, rest: Rest, path: &'static str) -> Self {
        Self { rows, rest, path, start: 0, passed: 0 }
    }
}

/// The way through a snapshot, segment by segment.
struct Walk {
    reader: Reader,
    snapshot: Arc<Snapshot>,
    selector: Option<Selector>,
    top: Option<Top>,
    /// Where the rows are, if that is known.
    located: Option<Located>,
    /// How many rows are wanted yet; none behind an error.
    left: usize,
    segment: usize,
    candidates: Option<Candidates>,
}

impl Walk {
    fn new(reader: Reader, snapshot: Arc<Snapshot>, selector: Option<Selector>, located: Option<Located>) -> Self {
        let left = reader.scan.limit.unwrap_or(usize::MAX);
        let top = Top::new(&reader.scan, &reader.schema);
        Self { reader, snapshot, selector, top, located, left, segment: 0, candidates: None }
    }

    fn candidates(&mut self, version: &SegmentVersion) -> Result<Candidates> {
        if let (Some(top), None) = (&self.top, &self.located)
            && let Some(rows) = top.candidates(version, self.selector.as_ref(), &self.reader.schema)?
        {
            return Ok(Candidates::new(rows, Rest::default(), "index_order"));
        }
        Ok(match (&self.selector, &mut self.located) {
            (None, _) => Candidates::new(version.live(), Rest::default(), "all"),
            (Some(selector), None) => {
                let (rows, rest, path) = selector.candidates(version, self.reader.scan.target.path)?;
                Candidates::new(rows, rest, path.name())
            }
            (Some(selector), Some(located)) => {
                let rows = located.remove(&version.segment().id()).unwrap_or_default();
                Candidates::new(rows.into(), selector.all(), "keys")
            }
        })
    }

    /// Notes what was done in a segment, if the query asks for that.
    fn note(&self, version: &SegmentVersion, done: &Candidates) {
        let reader = &self.reader;
        if !reader.scan.target.analyze {
            return;
        }
        let laid = version.overlays().values().flat_map(|overlay| overlay.runs());
        let report = SegmentReport {
            collection: reader.scan.target.name.to_string(),
            shard: reader.served.id().shard,
            position: self.snapshot.position().map(|position| position.0),
            segment: version.segment().id().0,
            path: done.path.into(),
            rows: version.segment().rows() as u64,
            examined: done.start as u64,
            passed: done.passed as u64,
            laid: laid.map(|run| run.rows().len() as u64).sum(),
        };
        reader.scanned.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }

    /// The next rows, which may be none; nothing at the end.
    fn step(&mut self) -> Result<Option<Chosen>> {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(version) = snapshot.segments().get(self.segment).filter(|_| self.left > 0) else { return Ok(None) };
        let mut candidates = match self.candidates.take() {
            Some(candidates) => candidates,
            None => self.candidates(version)?,
        };
        let wanted = if self.selector.is_some() { BATCH_ROWS } else { self.left.min(BATCH_ROWS) };
        let count = (candidates.rows.len() - candidates.start).min(wanted);
        let mut rows = candidates.rows.slice(candidates.start, count);
        candidates.start += count;
        let reader = &self.reader;
        reader.counters.add_rows_scanned(count);
        reader.scanned.rows.fetch_add(count as u64, Ordering::Relaxed);
        if let Some(selector) = &self.selector {
            rows = selector.pass(&candidates.rest, version, &reader.schema, rows)?;
        }
        let rows = rows.slice(0, rows.len().min(self.left));
        self.left -= rows.len();
        candidates.passed += rows.len();
        if candidates.start == candidates.rows.len() || self.left == 0 {
            self.note(version, &candidates);
            self.segment += 1;
        } else {
            self.candidates = Some(candidates);
        }
        Ok(Some(Chosen { version: Arc::clone(version), rows }))
    }
}

impl Iterator for Walk {
    type Item = Result<Chosen>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(chosen)) if chosen.rows.is_empty() => {}
                Ok(chosen) => return chosen.map(Ok),
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
    }
}
