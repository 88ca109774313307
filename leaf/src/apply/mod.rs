//! Applies batches: what each operation does to the documents of a shard.
//!
//! In: a decoded batch and the shard as it is. Out: [`Changes`]: the batch's own segments, runs for overlays, rows to bury;
//! and the outcome of each operation. Nothing is changed here: the shard takes the changes in one step, so a batch is
//! atomic. The order of operations is that of the log, or in a collection with versions that of the versions
//! (`versioned.rs`).

mod row;
mod versioned;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::batch::{Action, Batch, OperationKind, Operations};
use basalt_common::columns::TypedColumnsBuilder;
use basalt_common::id::FieldId;
use basalt_common::patch::{self, PatchError};
use basalt_common::schema::Schema;
use basalt_common::value::Value;
use basalt_common::version::Horizon;
use datafusion::arrow::array::{Array, Int64Array, StringArray, UInt32Array};
use roaring::RoaringBitmap;

use crate::keys::Keys;
use crate::overlay::Run;
use crate::segment::{Address, Segment, SegmentDamage, SegmentId, SegmentVersion};
use crate::unsettled::Unsettled;
use row::RowEditor;

/// What became of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A document that was not there is.
    Added,
    /// A document was replaced.
    Replaced,
    /// Fields of a document changed.
    Patched,
    /// A document is gone.
    Deleted,
    /// There was no document to patch or delete.
    Missing,
    /// An operation with a higher version makes it void, or it came before.
    Ignored,
    /// Its version is so low that what it would change is settled.
    TooLate {
        /// Its version.
        version: i64,
        /// What its version would have to reach.
        settled_below: i64,
    },
    /// The patch could not be applied and changed nothing.
    Failed(PatchError),
}

/// Values to lay over one field of one segment, by row.
type Laid = BTreeMap<u32, Option<Value>>;

/// What a batch changes, not yet visible.
#[derive(Debug)]
pub struct Changes {
    /// The batch's own documents.
    pub segments: Vec<SegmentVersion>,
    /// What is laid over fields.
    pub runs: Vec<(SegmentId, FieldId, Run)>,
    /// The rows that die.
    pub buried: BTreeMap<SegmentId, RoaringBitmap>,
    /// What became of each operation, in order.
    pub outcomes: Vec<Outcome>,
}

/// The living versions of a shard's segments.
pub type Versions = BTreeMap<SegmentId, Arc<SegmentVersion>>;

/// Applies one batch's operations.
pub struct Applier<'s> {
    schema: &'s Schema,
    schema_version: u64,
    operations: &'s Operations,
    versions: &'s Versions,
    keys: &'s mut Keys,
    unsettled: &'s mut Unsettled,
    horizon: Option<Horizon>,
    /// The batch's own segments: the upserted documents as they came, and documents that patches made.
    upserted: SegmentVersion,
    made: SegmentVersion,
    made_ids: StringArray,
    /// The row, in `upserted`, of each operation that is an upsert.
    upsert_rows: Vec<u32>,
    laid: BTreeMap<SegmentId, BTreeMap<FieldId, Laid>>,
    buried: BTreeMap<SegmentId, RoaringBitmap>,
    /// The first damage that was met: nothing that was read since counts.
    damage: OnceCell<SegmentDamage>,
}

/// The `_id`s of documents that patches may make in this batch, each once, ascending. Those that live now are among them: they
/// may die in this batch before the patch comes. Behind a delete that comes late, patches that came before make theirs.
fn ids_to_make(operations: &Operations) -> StringArray {
    let makes = |row: &usize| match operations.kinds[*row] {
        OperationKind::PatchOrInsert => true,
        OperationKind::Delete => operations.versions.is_some(),
        OperationKind::Upsert | OperationKind::Patch => false,
    };
    let mut ids: Vec<&str> = (0..operations.len()).filter(makes).map(|row| operations.ids.value(row)).collect();
    ids.sort_unstable();
    ids.dedup();
    StringArray::from_iter_values(ids)
}

impl<'s> Applier<'s> {
    /// Prepares to apply a batch, whose own segments get the ids `next` and the one after.
    pub fn new(
        schema: &'s Schema,
        batch: &'s Batch,
        versions: &'s Versions,
        keys: &'s mut Keys,
        unsettled: &'s mut Unsettled,
        next: SegmentId,
    ) -> Self {
        let (operations, schema_version) = (&batch.operations, batch.header.schema_version);
        let horizon = batch.header.horizon;
        let (upserted, upsert_rows) = upserted_segment(operations, next);
        let made_ids = ids_to_make(operations);
        let made = Segment::new(SegmentId(next.0 + 1), made_ids.clone(), None, BTreeMap::new());
        let (upserted, made) = (SegmentVersion::new(upserted), SegmentVersion::new(made));
        keys.add_segment(Arc::clone(upserted.segment()));
        keys.add_segment(Arc::clone(made.segment()));
        let (laid, buried) = (BTreeMap::new(), BTreeMap::new());
        Self {
            schema,
            schema_version,
            operations,
            versions,
            keys,
            unsettled,
            horizon,
            upserted,
            made,
            made_ids,
            upsert_rows,
            laid,
            buried,
            damage: OnceCell::new(),
        }
    }

    /// Applies the operations in order.
    ///
    /// # Errors
    /// A segment is damaged: the shard's keys are of no use any more.
    pub fn apply(mut self) -> Result<Changes, SegmentDamage> {
        let outcomes = (0..self.operations.len()).map(|row| self.operation(row)).collect();
        if let Some(horizon) = self.horizon {
            self.settle(horizon);
        }
        self.bury_unmade();
        let of_segment = |(segment, fields): (SegmentId, BTreeMap<FieldId, Laid>)| {
            fields.into_iter().map(move |(field, laid)| (segment, field, run(laid)))
        };
        let runs = self.laid.into_iter().flat_map(of_segment).collect();
        match self.damage.into_inner() {
            Some(damage) => Err(damage),
            None => Ok(Changes { segments: vec![self.upserted, self.made], runs, buried: self.buried, outcomes }),
        }
    }

    fn operation(&mut self, row: usize) -> Outcome {
        if let (Some(versions), Some(horizon)) = (&self.operations.versions, self.horizon) {
            return self.versioned(row, versions.versions.value(row), versions.operation_ids[row], horizon);
        }
        let id = self.operations.ids.value(row);
        match self.operations.kinds[row] {
            OperationKind::Upsert => self.replace(self.upserted_at(row)),
            OperationKind::Delete => match self.remove(id) {
                Some(address) => {
                    self.bury(address);
                    Outcome::Deleted
                }
                None => Outcome::Missing,
            },
            kind => match self.find(id) {
                Some(address) => self.patch(row, Some(address)),
                None if kind == OperationKind::PatchOrInsert => self.patch(row, None),
                None => Outcome::Missing,
            },
        }
    }

    /// Where a document is.
    fn find(&self, id: &str) -> Option<Address> {
        self.sound(self.keys.get(id)).flatten()
    }

    /// Lets a document be nowhere, and tells where it was.
    fn remove(&mut self, id: &str) -> Option<Address> {
        let removed = self.keys.remove(id);
        self.sound(removed).flatten()
    }

    /// Where the document is that the upsert at `row` brought.
    fn upserted_at(&self, row: usize) -> Address {
        Address { segment: self.upserted.segment().id(), row: self.upsert_rows[row] }
    }

    /// Lets a document be at `address` from now on.
    fn replace(&mut self, address: Address) -> Outcome {
        let before = self.keys.put(address);
        match self.sound(before).flatten() {
            Some(before) => {
                self.bury(before);
                Outcome::Replaced
            }
            None => Outcome::Added,
        }
    }

    fn bury(&mut self, address: Address) {
        self.buried.entry(address.segment).or_default().insert(address.row);
    }

    /// Patches the document at `address`, or makes it.
    fn patch(&mut self, row: usize, address: Option<Address>) -> Outcome {
        let mut editor = RowEditor::new(self.schema, self.schema_version, |field| self.value(address?, field));
        if let Err(error) = run_patch(&mut editor, self.operations, row) {
            return Outcome::Failed(error);
        }
        let changes = editor.into_changes();
        let (address, outcome) = match address {
            Some(address) => (address, Outcome::Patched),
            None => (self.make(self.operations.ids.value(row)), Outcome::Added),
        };
        for (field, value) in changes {
            self.lay_value(address, field, value);
        }
        outcome
    }

    /// Makes a document without fields. A row that was made in this batch before and died keeps its place: what was laid
    /// over it goes.
    fn make(&mut self, id: &str) -> Address {
        let ids = &self.made_ids;
        let (mut before, mut behind) = (0, ids.len());
        while before < behind {
            let middle = before.midpoint(behind);
            match ids.value(middle) < id {
                true => before = middle + 1,
                false => behind = middle,
            }
        }
        let address = Address { segment: self.made.segment().id(), row: before as u32 };
        if self.buried.get_mut(&address.segment).is_some_and(|rows| rows.remove(address.row)) {
            let laid = self.laid.get_mut(&address.segment).into_iter().flat_map(BTreeMap::values_mut);
            laid.for_each(|laid| drop(laid.remove(&address.row)));
        }
        self.keys.insert(address);
        address
    }

    /// Rows for documents that no patch made after all.
    fn bury_unmade(&mut self) {
        let (segment, ids) = (self.made.segment().id(), self.made_ids.clone());
        for row in 0..ids.len() as u32 {
            let address = Address { segment, row };
            if !self.keys.holds(ids.value(row as usize), address) {
                self.bury(address);
            }
        }
    }

    fn lay_value(&mut self, address: Address, field: FieldId, value: Option<Value>) {
        self.laid.entry(address.segment).or_default().entry(field).or_default().insert(address.row, value);
    }

    /// A field's value as the batch's operations so far have left it.
    fn value(&self, address: Address, field: FieldId) -> Option<Value> {
        let laid = self.laid.get(&address.segment).and_then(|fields| fields.get(&field));
        if let Some(laid) = laid.and_then(|laid| laid.get(&address.row)) {
            return laid.clone();
        }
        self.sound(self.version_of(address).value(address.row, field)).flatten()
    }

    /// What was read, unless it was damage.
    fn sound<T>(&self, read: Result<T, SegmentDamage>) -> Option<T> {
        read.map_err(|damage| drop(self.damage.set(damage))).ok()
    }

    /// The segment that an address points into, as it was before the batch.
    fn version_of(&self, address: Address) -> &SegmentVersion {
        match self.versions.get(&address.segment) {
            Some(version) => version,
            None if address.segment == self.upserted.segment().id() => &self.upserted,
            None => &self.made,
        }
    }
}

fn run(laid: Laid) -> Run {
    let mut values = TypedColumnsBuilder::default();
    laid.values().for_each(|value| values.push_option(value.as_ref()));
    Run::new(laid.into_keys().collect(), values.finish())
}

/// The batch's upserts as a segment, and the row of each operation in it. A batch of upserts only becomes a segment as it
/// is, without a copy.
fn upserted_segment(operations: &Operations, id: SegmentId) -> (Segment, Vec<u32>) {
    let mut rows = Vec::with_capacity(operations.len());
    let mut upserts = Vec::new();
    for (row, kind) in operations.kinds.iter().enumerate() {
        rows.push(upserts.len() as u32);
        if *kind == OperationKind::Upsert {
            upserts.push(row as u32);
        }
    }
    if upserts.len() == operations.len() {
        let fields = operations.fields.iter().map(|field| (field.field, field.values.clone())).collect();
        let versions = operations.versions.as_ref().map(|versions| versions.versions.clone());
        return (Segment::new(id, operations.ids.clone(), versions, fields), rows);
    }
    let ids = StringArray::from_iter_values(upserts.iter().map(|row| operations.ids.value(*row as usize)));
    let indices = UInt32Array::from(upserts);
    let taken = operations.fields.iter().map(|field| (field.field, field.values.take(&indices)));
    let fields = taken.filter(|(_, values)| !values.columns().is_empty()).collect();
    let versions = operations.versions.as_ref().map(|versions| {
        let of = |row: &u32| versions.versions.value(*row as usize);
        Int64Array::from_iter_values(indices.values().iter().map(of))
    });
    (Segment::new(id, ids, versions, fields), rows)
}

fn run_patch<R: Fn(FieldId) -> Option<Value>>(
    editor: &mut RowEditor<'_, R>,
    operations: &Operations,
    row: usize,
) -> Result<(), PatchError> {
    if let Some(program) = operations.program(row) {
        let program = patch::decode(program).expect("programs are checked when a batch is decoded");
        return program.iter().try_for_each(|operation| editor.apply(operation));
    }
    for field in &operations.fields {
        let action = field.actions.as_ref().map_or(Action::Untouched, |actions| actions[row]);
        let value = || field.values.value(row).expect("an action that needs a value has one; checked when decoded");
        match action {
            Action::Untouched => {}
            Action::Set => editor.add(field.field, &value())?,
            Action::Remove => editor.remove(field.field)?,
            Action::Increment => editor.increment(field.field, &value())?,
        }
    }
    Ok(())
}
