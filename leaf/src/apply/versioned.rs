//! Operations of a collection with versions: each takes its place in the order of versions, whenever it arrives.
//!
//! In: operations, what is kept of their documents ([`Unsettled`](crate::unsettled::Unsettled), which tells the rule). Out: the
//! changes that make the rows what they would be had all operations come in order. One that comes in order costs what it
//! changes; one that comes late, its document's patches that are kept.

use std::collections::BTreeMap;

use basalt_common::batch::OperationKind;
use basalt_common::id::FieldId;
use basalt_common::patch::{self, PatchError};
use basalt_common::schema::Schema;
use basalt_common::value::flatten::unflatten;
use basalt_common::value::{FieldPath, Value};
use basalt_common::version::Horizon;

use super::row::RowEditor;
use super::{Applier, Outcome};
use crate::segment::Address;
use crate::unsettled::{Document, Patch};

/// Fields with their new values, or `None` where they go.
type Fields = BTreeMap<FieldId, Option<Value>>;

/// A document while patches are applied to it.
struct Draft {
    there: bool,
    changes: Fields,
}

impl Draft {
    /// Applies a patch; `base` gives what was there before the draft's changes.
    fn apply(&mut self, schema: &Schema, patch: &Patch, base: impl Fn(FieldId) -> Option<Value>) -> Outcome {
        if !self.there && !patch.inserts {
            return Outcome::Missing;
        }
        let changes = &self.changes;
        let read = |field: FieldId| changes.get(&field).cloned().unwrap_or_else(|| base(field));
        match run(schema, &patch.program, read) {
            Ok(changes) => {
                self.changes.extend(changes);
                match std::mem::replace(&mut self.there, true) {
                    true => Outcome::Patched,
                    false => Outcome::Added,
                }
            }
            Err(error) => Outcome::Failed(error),
        }
    }
}

fn run(schema: &Schema, program: &[u8], read: impl Fn(FieldId) -> Option<Value>) -> Result<Fields, PatchError> {
    let program = patch::decode(program).expect("programs are checked when a batch or a checkpoint is decoded");
    // Whatever such a patch may write was registered before it was logged: no schema version can be too low for it.
    let mut editor = RowEditor::new(schema, u64::MAX, read);
    program.iter().try_for_each(|operation| editor.apply(operation))?;
    Ok(editor.into_changes())
}

/// What a field was before the patches of a document that lies at `visible`.
fn before(applier: &Applier<'_>, document: &Document, visible: Option<Address>, field: FieldId) -> Option<Value> {
    match document.before.get(&field) {
        Some(value) => value.clone(),
        None if document.existed => applier.value(visible?, field),
        None => None,
    }
}

impl Applier<'_> {
    /// Applies the operation at `row`.
    pub(super) fn versioned(&mut self, row: usize, version: i64, operation_id: u128, horizon: Horizon) -> Outcome {
        let (id, kind) = (self.operations.ids.value(row), self.operations.kinds[row]);
        if !self.unsettled.admit(version, horizon) {
            if kind == OperationKind::Upsert {
                self.bury(self.upserted_at(row));
            }
            return Outcome::TooLate { version, settled_below: self.unsettled.settled_below() };
        }
        match kind {
            OperationKind::Upsert => self.upsert_version(id, version, self.upserted_at(row)),
            OperationKind::Delete => self.delete_version(id, version),
            OperationKind::Patch | OperationKind::PatchOrInsert => {
                let program =
                    self.operations.program(row).expect("a patch with a version is a program; checked when decoded");
                let inserts = kind == OperationKind::PatchOrInsert;
                self.patch_version(id, Patch { version, program: program.into(), operation_id, inserts })
            }
        }
    }

    /// Whether there is a document beneath its unsettled patches, and the version that operations must reach to count.
    fn floor(&self, id: &str, visible: Option<Address>) -> (bool, Option<i64>) {
        match (self.unsettled.get(id), visible) {
            (Some(document), _) if !document.existed => (false, document.deleted),
            (_, Some(address)) => (true, self.version_of(address).segment().version(address.row)),
            (_, None) => (false, None),
        }
    }

    fn upsert_version(&mut self, id: &str, version: i64, address: Address) -> Outcome {
        let visible = self.find(id);
        let (existed, floor) = self.floor(id, visible);
        let counts = match (floor.cmp(&Some(version)), visible) {
            (std::cmp::Ordering::Equal, Some(before)) if existed => {
                let new = self.version_of(address).document(address.row, self.schema);
                self.sound(new).is_some_and(|new| self.content(id, before) < new)
            }
            (order, _) => order.is_le(),
        };
        if !counts {
            self.bury(address);
            return Outcome::Ignored;
        }
        let outcome = self.replace(address);
        if let Some(Document { mut patches, .. }) = self.unsettled.take(id) {
            patches.retain(|patch| patch.version >= version);
            self.settle_anew(id, Document { existed: true, patches, ..Document::default() });
        }
        outcome
    }

    fn delete_version(&mut self, id: &str, version: i64) -> Outcome {
        let visible = self.find(id);
        let (_, floor) = self.floor(id, visible);
        if floor >= Some(version) {
            return Outcome::Ignored;
        }
        if let Some(address) = self.remove(id) {
            self.bury(address);
        }
        let mut patches = self.unsettled.take(id).unwrap_or_default().patches;
        patches.retain(|patch| patch.version >= version);
        self.settle_anew(id, Document { deleted: Some(version), patches, ..Document::default() });
        match (visible, self.find(id)) {
            (None, _) => Outcome::Missing,
            (Some(_), None) => Outcome::Deleted,
            (Some(_), Some(_)) => Outcome::Patched,
        }
    }

    fn patch_version(&mut self, id: &str, patch: Patch) -> Outcome {
        let visible = self.find(id);
        let (existed, floor) = self.floor(id, visible);
        let place = match self.unsettled.get(id) {
            _ if Some(patch.version) < floor => None,
            Some(document) => document.place(&patch),
            None => Some(0),
        };
        let Some(place) = place else { return Outcome::Ignored };
        let mut document = self.unsettled.take(id).unwrap_or_else(|| Document { existed, ..Document::default() });
        document.patches.insert(place, patch);
        if place + 1 < document.patches.len() {
            return self.settle_anew(id, document).swap_remove(place);
        }
        let mut draft = Draft { there: visible.is_some(), changes: Fields::new() };
        let outcome = draft.apply(self.schema, &document.patches[place], |field| self.value(visible?, field));
        if let Outcome::Added | Outcome::Patched = outcome {
            let address = visible.unwrap_or_else(|| self.make(id));
            self.lay(address, &mut document, draft.changes);
        }
        self.unsettled.put(id, document);
        outcome
    }

    /// Lets a document be what its patches make of what was before them, and keeps it. Returns what became of each patch.
    fn settle_anew(&mut self, id: &str, mut document: Document) -> Vec<Outcome> {
        let visible = self.find(id);
        let mut draft = Draft { there: document.existed, changes: Fields::new() };
        let apply = |patch| draft.apply(self.schema, patch, |field| before(self, &document, visible, field));
        let outcomes = document.patches.iter().map(apply).collect();
        match (visible, draft.there) {
            (Some(address), false) => {
                self.remove(id);
                self.bury(address);
            }
            (None, false) => {}
            (_, true) => {
                let address = visible.unwrap_or_else(|| self.make(id));
                let mut fields = document.before.clone();
                fields.extend(draft.changes);
                fields.retain(|field, value| self.value(address, *field) != *value);
                self.lay(address, &mut document, fields);
            }
        }
        self.unsettled.put(id, document);
        outcomes
    }

    /// Lays values over a document, and remembers what its patches hide.
    fn lay(&mut self, address: Address, document: &mut Document, fields: Fields) {
        for (field, value) in fields {
            let existed = document.existed;
            let hidden = || if existed { self.value(address, field) } else { None };
            document.before.entry(field).or_insert_with(hidden);
            self.lay_value(address, field, value);
        }
    }

    /// Lets go of operations that nothing older can come before any more.
    pub(super) fn settle(&mut self, horizon: Horizon) {
        while let Some(id) = self.unsettled.next_to_settle(horizon) {
            let mut document = self.unsettled.take(&id).expect("it was found there");
            let (visible, below) = (self.find(&id), self.unsettled.settled_below());
            let count = document.patches.partition_point(|patch| patch.version < below);
            let mut draft = Draft { there: document.existed, changes: Fields::new() };
            for patch in &document.patches[..count] {
                draft.apply(self.schema, patch, |field| before(self, &document, visible, field));
            }
            document.patches.drain(..count);
            document.existed = draft.there;
            document.before.extend(draft.changes);
            document.deleted = document.deleted.filter(|version| *version >= below);
            self.unsettled.put(&id, document);
        }
    }

    /// The document at an address as it was before its unsettled patches.
    fn content(&self, id: &str, address: Address) -> Value {
        let document = self.unsettled.get(id);
        let mut leaves: Vec<(FieldPath, Value)> = Vec::new();
        self.schema.visit_subtree(FieldId::ROOT, &mut |field| {
            let hidden = document.and_then(|document| document.before.get(&field));
            let value = hidden.cloned().unwrap_or_else(|| self.value(address, field));
            leaves.extend(value.map(|value| (self.schema.path(field), value)));
        });
        Value::Object(unflatten(leaves).expect("no field of a document leads through another's value"))
    }
}
