//! The rows that one scan wants of one shard.
//!
//! In: a scan, the snapshot pinned for its query. Out: batches of the scan's columns, or of their partial aggregates. Chooses, segment by segment, how rows are
//! found: by their `_id`s, where the filter names these; from one end of a column's terms, where only the first rows are wanted;
//! else by what the filter lets through, by terms or by tests of encoded columns. It reads no column of a row that does not pass.
//! Segments that are not here, since the store is elsewhere, are waited for on threads that may wait; those that come next are brought
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use basalt_common::calls::SegmentReport;
use basalt_common::id::FieldId;
use basalt_common::scan::{Aggregation, ScanColumn, ScanStep, ShardScan};
use basalt_common::schema::Schema;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringBitmap;

use crate::aggregate::PartialAggregate;
use crate::arrow::Rows;
use crate::counters::Counters;
use crate::pins::Scanned;
use crate::segment::{SegmentId, SegmentVersion};
use crate::select::{Dynamic, Rest, Selector, Top};
use crate::served::Served;
use crate::shard::Snapshot;

/// Rows of one batch of a scan: DataFusion's own size.
const BATCH_ROWS: usize = 8192;

/// Batches that are aggregated before others have their turn.
const BATCHES_IN_A_ROW: usize = 64;

/// Groups and states of more bytes than this are given away, to be merged by the plan.
const GROUPS_BYTES_MAX: usize = 64 << 20;

/// So many segments are brought here ahead, where they are elsewhere.
const SEGMENTS_AHEAD: usize = 4;

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
        let begun = async move { Ok::<_, DataFusionError>(stream(Batches { walk: self.walk(snapshot).await? })) };
        futures::stream::once(begun).try_flatten().boxed()
    }

    /// Groups of the rows with the states of functions, in one batch or, where they take much memory, in several.
    pub fn aggregate(
        self,
        plan: Arc<Aggregation>,
        snapshot: Arc<Snapshot>,
        memory: MemoryReservation,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let begun = async move {
            let is_count = plan.is_count();
            let groups = PartialAggregate::new(plan, self.scan.clone(), &self.schema)?;
            let mut walk = self.walk(snapshot).await?;
            if is_count {
                // Nothing of the rows is read: a segment's are taken at once.
                walk.batch_rows = usize::MAX;
            }
            Ok::<_, DataFusionError>(stream(Grouping { groups, walk, memory }))
        };
        futures::stream::once(begun).try_flatten().boxed()
    }

    async fn walk(self, snapshot: Arc<Snapshot>) -> Result<Walk> {
        let mut selector = self.scan.filter.as_ref().map(|filter| Selector::new(filter, &self.schema)).transpose()?;
        let mut dynamic = Dynamic::of(&self.scan);
        if let Some(dynamic) = &mut dynamic {
            selector = dynamic.selector(&self.scan, &self.schema)?.or(selector);
        }
        let Some(ids) = selector.as_ref().and_then(Selector::ids) else {
            return Ok(Walk::new(self, snapshot, selector, dynamic, None));
        };
        let (served, at) = (Arc::clone(&self.served), Arc::clone(&snapshot));
        // It waits for a batch that is being applied.
        let located = tokio::task::spawn_blocking(move || served.locate(&ids, &at)).await;
        let located = located.map_err(|error| exec_datafusion_err!("documents could not be found: {error}"))??;
        Ok(Walk::new(self, snapshot, selector, dynamic, located))
    }
}

/// What comes of a step.
enum Step {
    Batch(RecordBatch),
    /// Nothing yet: others may have their turn.
    Nothing,
    End,
}

/// Work that is done step by step.
trait Steps: Send + 'static {
    /// Whether the next step waits for nothing.
    fn is_ready(&mut self) -> bool;

    fn step(&mut self) -> Result<Step>;
}

/// The batches that come of all steps. Such as may have to wait are done by a thread that may.
fn stream<S: Steps>(steps: S) -> BoxStream<'static, Result<RecordBatch>> {
    let next = async |mut steps: S| loop {
        let step;
        (steps, step) = match steps.is_ready() {
            true => {
                let step = steps.step();
                (steps, step)
            }
            false => {
                let stepped = tokio::task::spawn_blocking(move || {
                    let step = steps.step();
                    (steps, step)
                });
                stepped.await.map_err(|error| exec_datafusion_err!("a scan could not go on: {error}"))?
            }
        };
        match step? {
            Step::Batch(batch) => return Ok(Some((batch, steps))),
            Step::Nothing => tokio::task::yield_now().await,
            Step::End => return Ok(None),
        }
    };
    futures::stream::try_unfold(steps, next).boxed()
}

/// The rows as batches of the scan's columns.
struct Batches {
    walk: Walk,
}

impl Steps for Batches {
    fn is_ready(&mut self) -> bool {
        self.walk.is_ready()
    }

    fn step(&mut self) -> Result<Step> {
        while let Some(Chosen { version, rows }) = self.walk.step()? {
            if !rows.is_empty() {
                let Reader { scan, schema, .. } = &self.walk.reader;
                let rows = Rows { version: &version, schema, rows: &rows };
                let fields = scan.schema.fields().iter();
                let columns = fields.zip(scan.columns.iter()).map(|(field, column)| rows.column(column, field));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let options = RecordBatchOptions::new().with_row_count(Some(rows.rows.len()));
                let batch = RecordBatch::try_new_with_options(Arc::clone(&scan.schema), columns, &options)?;
                return Ok(Step::Batch(batch));
            }
            if !self.walk.is_ready() {
                return Ok(Step::Nothing);
            }
        }
        Ok(Step::End)
    }
}

/// A partial aggregate that is being made.
struct Grouping {
    groups: PartialAggregate,
    walk: Walk,
    memory: MemoryReservation,
}

impl Grouping {
    /// The groups that there are, which are forgotten.
    fn emit(&mut self) -> Result<Option<Step>> {
        let groups = self.groups.emit()?;
        self.memory.free();
        Ok(groups.map(Step::Batch))
    }
}

impl Steps for Grouping {
    fn is_ready(&mut self) -> bool {
        self.walk.is_ready()
    }

    fn step(&mut self) -> Result<Step> {
        if let Some(rows) = self.walk.all_rows() {
            self.groups.count(rows);
        }
        for _ in 0..BATCHES_IN_A_ROW {
            let Some(Chosen { version, rows }) = self.walk.step()? else {
                return Ok(self.emit()?.unwrap_or(Step::End));
            };
            if !rows.is_empty() {
                self.groups.add(&version, &self.walk.reader.schema, &rows)?;
            }
            if !self.walk.is_ready() {
                break;
            }
        }
        let size = self.groups.size();
        match size > GROUPS_BYTES_MAX || self.memory.try_resize(size).is_err() {
            // Where none of the rows passed there are no groups yet.
            true => Ok(self.emit()?.unwrap_or(Step::Nothing)),
            false => Ok(Step::Nothing),
        }
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
    /// What may change the selector from one segment to the next.
    dynamic: Option<Dynamic>,
    top: Option<Top>,
    /// Where the rows are, if that is known.
    located: Option<Located>,
    /// How many rows are looked at in one step.
    batch_rows: usize,
    /// How many rows are wanted yet.
    left: usize,
    segment: usize,
    candidates: Option<Candidates>,
    /// The fields that are read, and whether their indexes are.
    fields: BTreeMap<FieldId, bool>,
    /// The rows of the segment that are not seen, since their time is over.
    expired: RoaringBitmap,
    /// Whether all that is read of a segment was here when that was asked.
    ready: Option<(usize, bool)>,
}

/// The fields that columns are made of.
fn add_fields(columns: &[ScanColumn], schema: &Schema, indexes: bool, fields: &mut BTreeMap<FieldId, bool>) {
    for column in columns {
        let (field, below, indexes) = match column {
            ScanColumn::Id => continue,
            ScanColumn::Field { field, below } => (*field, below.as_slice(), indexes),
            ScanColumn::Score(score) => {
                add_fields(std::slice::from_ref(&score.texts), schema, true, fields);
                continue;
            }
        };
        let keys = below.iter().filter_map(|step| match step {
            ScanStep::Key(key) => Some(key),
            ScanStep::Kind(_) => None,
        });
        let found = keys.clone().try_fold(field, |field, key| schema.child(field, key));
        schema.visit_subtree(found.unwrap_or(field), &mut |field| *fields.entry(field).or_default() |= indexes);
    }
}

impl Walk {
    fn new(
        reader: Reader,
        snapshot: Arc<Snapshot>,
        selector: Option<Selector>,
        dynamic: Option<Dynamic>,
        located: Option<Located>,
    ) -> Self {
        let left = reader.scan.limit.unwrap_or(usize::MAX);
        let top = Top::new(&reader.scan, &reader.schema);
        let (mut fields, expired) = (BTreeMap::new(), RoaringBitmap::new());
        add_fields(&reader.scan.columns, &reader.schema, top.is_some(), &mut fields);
        for filter in reader.scan.filter.iter().chain(&reader.scan.dynamic) {
            add_fields(&filter.columns, &reader.schema, true, &mut fields);
        }
        Self {
            reader,
            snapshot,
            selector,
            dynamic,
            top,
            located,
            batch_rows: BATCH_ROWS,
            left,
            segment: 0,
            candidates: None,
            fields,
            expired,
            ready: None,
        }
    }

    /// Whether the next step waits for nothing. Else what it needs is brought here, and what those behind it need.
    fn is_ready(&mut self) -> bool {
        if let Some((segment, ready)) = self.ready
            && segment == self.segment
        {
            return ready;
        }
        let mut ahead = self.snapshot.segments()[self.segment.min(self.snapshot.segments().len())..].iter();
        let is_read = |version: &&Arc<SegmentVersion>| {
            self.located.as_ref().is_none_or(|located| located.contains_key(&version.segment().id()))
        };
        let expired = self.reader.scan.target.expired;
        let tells = |version: &Arc<SegmentVersion>| expired.is_none_or(|expired| version.knows_expired(expired));
        let is_here = |version: &Arc<SegmentVersion>| tells(version) && version.is_here(&self.fields);
        let ready = ahead.clone().next().filter(is_read).is_none_or(is_here);
        if !ready {
            for version in ahead.by_ref().filter(is_read).take(SEGMENTS_AHEAD) {
                version.bring(&self.fields);
                if let Some(expired) = expired.filter(|_| !tells(version)) {
                    version.bring(&BTreeMap::from([(expired.field, false)]));
                }
            }
        }
        self.ready = Some((self.segment, ready));
        ready
    }

    fn candidates(&mut self, version: &SegmentVersion) -> Result<Candidates> {
        if let Some(dynamic) = &mut self.dynamic
            && let Some(selector) = dynamic.selector(&self.reader.scan, &self.reader.schema)?
        {
            self.selector = Some(selector);
        }
        self.expired = match self.reader.scan.target.expired {
            Some(expired) => version.expired(expired)?,
            None => RoaringBitmap::new(),
        };
        if let (Some(top), None, true) = (&self.top, &self.located, self.expired.is_empty())
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

    /// How many rows there are, where all are wanted and none is looked at: the way ends there.
    fn all_rows(&mut self) -> Option<usize> {
        let is_all = self.batch_rows == usize::MAX && self.selector.is_none() && self.dynamic.is_none();
        let scan = &self.reader.scan;
        if !is_all || self.segment > 0 || scan.target.expired.is_some() || scan.limit.is_some() {
            return None;
        }
        let snapshot = Arc::clone(&self.snapshot);
        for version in snapshot.segments() {
            let counted = Candidates {
                passed: version.live_rows(),
                ..Candidates::new(Vec::<u32>::new().into(), Rest::default(), "count")
            };
            self.note(version, &counted);
        }
        self.segment = snapshot.segments().len();
        Some(snapshot.documents())
    }

    /// Notes what was done in a segment, if the query asks for that.
    fn note(&self, version: &SegmentVersion, done: &Candidates) {
        let reader = &self.reader;
        if !reader.scan.target.analyze {
            return;
        }
        let runs = || version.overlays().values().flat_map(|overlay| overlay.runs());
        let report = SegmentReport {
            collection: reader.scan.target.name.to_string(),
            shard: reader.served.id().shard,
            position: self.snapshot.position().map(|position| position.0),
            segment: version.segment().id().0,
            path: done.path.into(),
            rows: version.segment().rows() as u64,
            examined: done.start as u64,
            passed: done.passed as u64,
            laid: runs().map(|run| run.rows().len() as u64).sum(),
            runs: runs().count() as u64,
            overlays: version.overlays().len() as u64,
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
        let wanted = if self.selector.is_some() { self.batch_rows } else { self.left.min(self.batch_rows) };
        let count = (candidates.rows.len() - candidates.start).min(wanted);
        let mut rows = candidates.rows.slice(candidates.start, count);
        candidates.start += count;
        let reader = &self.reader;
        reader.counters.add_rows_scanned(count);
        reader.scanned.rows.fetch_add(count as u64, Ordering::Relaxed);
        if let Some(selector) = &self.selector {
            rows = selector.pass(&candidates.rest, version, &reader.schema, rows)?;
        }
        if !self.expired.is_empty() {
            rows = rows.values().iter().copied().filter(|row| !self.expired.contains(*row)).collect::<Vec<_>>().into();
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
