//! Makes the columns of a batch, operation by operation.
//!
//! In: documents and patches, and the schema, which must know their fields. Out: [`Operations`]. Owns the choice between
//! columns and program: a patch whose operations set, remove or increment distinct fields that are certainly no elements
//! of arrays goes into columns; any other keeps its operations in order.

use datafusion::arrow::array::{BinaryBuilder, StringBuilder};
use thiserror::Error;

use super::{Action, FieldColumn, OperationKind, OperationVersions, Operations};
use crate::columns::TypedColumnsBuilder;
use crate::flat::{FlatDocument, FlatValue};
use crate::id::FieldId;
use crate::patch::{self, PatchOperation, may_be_index};
use crate::schema::Schema;
use crate::value::{FieldPath, Object, Value};

/// The operation cannot be put into a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The schema lacks a field, or one of its types: whoever builds batches registers fields first.
    #[error("the field {0} is not registered, or not with all its types")]
    UnknownField(FieldPath),
}

#[derive(Debug, Default)]
struct FieldBuilder {
    actions: Option<Vec<Action>>,
    values: TypedColumnsBuilder,
}

impl FieldBuilder {
    fn act(&mut self, row: usize, action: Action) {
        let actions = self.actions.get_or_insert_default();
        actions.resize(row, Action::Untouched);
        actions.push(action);
    }
}

/// Builders by field, found by its number: it is done for each value.
#[derive(Debug, Default)]
struct FieldBuilders {
    builders: Vec<(FieldId, FieldBuilder)>,
    /// By field: one more than the place of its builder, zero where it has none.
    places: Vec<u32>,
}

impl FieldBuilders {
    fn of(&mut self, field: FieldId) -> &mut FieldBuilder {
        let index = field.0 as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, 0);
        }
        if self.places[index] == 0 {
            self.builders.push((field, FieldBuilder::default()));
            self.places[index] = self.builders.len() as u32;
        }
        &mut self.builders[self.places[index] as usize - 1].1
    }

    /// Ascending by field.
    fn into_sorted(mut self) -> Vec<(FieldId, FieldBuilder)> {
        self.builders.sort_unstable_by_key(|(field, _)| *field);
        self.builders
    }
}

/// Collects the operations of one shard.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    ids: StringBuilder,
    kinds: Vec<OperationKind>,
    fields: FieldBuilders,
    programs: BinaryBuilder,
    has_programs: bool,
    /// INVARIANT: one for each operation, in a batch of them; checked in [`BatchBuilder::finish`].
    versions: Option<(Vec<i64>, Vec<u128>)>,
}

impl BatchBuilder {
    /// A builder of operations that have versions: each is told by [`BatchBuilder::version`] once it was added.
    pub fn versioned() -> Self {
        Self { versions: Some(Default::default()), ..Self::default() }
    }

    /// Tells the version of the operation added last, and which one it is.
    ///
    /// # Panics
    /// The builder is not one of [`BatchBuilder::versioned`].
    pub fn version(&mut self, version: i64, operation_id: u128) {
        let (versions, ids) = self.versions.as_mut().expect("only operations of a versioned builder have versions");
        versions.push(version);
        ids.push(operation_id);
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds an upsert of a whole document, given without its `_id`.
    ///
    /// # Errors
    /// The schema lacks one of its fields, or a type of it; nothing is added then.
    pub fn upsert(&mut self, schema: &Schema, id: &str, document: &Object) -> Result<(), OperationError> {
        let mut leaves = Vec::new();
        find_leaves(schema, FieldId::ROOT, document, &mut leaves)?;
        let row = self.start(id, OperationKind::Upsert);
        for (field, value) in leaves {
            let builder = self.fields.of(field);
            builder.values.pad(row);
            builder.values.push(value);
        }
        Ok(())
    }

    /// Adds an upsert of a whole document that was read by fields.
    pub fn upsert_flat(&mut self, id: &str, document: &FlatDocument) {
        let row = self.start(id, OperationKind::Upsert);
        for (field, value) in document.leaves() {
            let builder = self.fields.of(field);
            builder.values.pad(row);
            match value {
                FlatValue::Scalar(scalar) => builder.values.push_scalar(scalar),
                FlatValue::Other(value) => builder.values.push(value),
            }
        }
    }

    /// Adds a patch; with `insert`, one that makes a missing document.
    ///
    /// # Errors
    /// The schema lacks a field that the patch may write; nothing is added then.
    pub fn patch(
        &mut self,
        schema: &Schema,
        id: &str,
        operations: &[PatchOperation],
        insert: bool,
    ) -> Result<(), OperationError> {
        let kind = if insert { OperationKind::PatchOrInsert } else { OperationKind::Patch };
        // A patch with a version may be kept and applied again: as it was sent.
        let columns = as_columns(schema, operations)?.filter(|_| self.versions.is_none());
        let Some(columns) = columns else {
            self.start(id, kind);
            let mut program = Vec::new();
            patch::encode(operations, &mut program);
            self.add_program(&program);
            return Ok(());
        };
        let row = self.start(id, kind);
        for (field, action, value) in columns {
            let builder = self.fields.of(field);
            builder.act(row, action);
            builder.values.pad(row);
            builder.values.push_option(value);
        }
        Ok(())
    }

    /// Adds a delete.
    pub fn delete(&mut self, id: &str) {
        self.start(id, OperationKind::Delete);
    }

    fn start(&mut self, id: &str, kind: OperationKind) -> usize {
        self.ids.append_value(id);
        self.kinds.push(kind);
        self.kinds.len() - 1
    }

    fn add_program(&mut self, program: &[u8]) {
        use datafusion::arrow::array::ArrayBuilder;
        let missing = self.kinds.len() - 1 - self.programs.len();
        (0..missing).for_each(|_| self.programs.append_null());
        self.programs.append_value(program);
        self.has_programs = true;
    }

    /// The operations, in the order in which they were added.
    ///
    /// # Panics
    /// The builder is one of [`BatchBuilder::versioned`], and an operation was not told its version.
    pub fn finish(mut self) -> Operations {
        use datafusion::arrow::array::ArrayBuilder;
        let rows = self.kinds.len();
        let programs = self.has_programs.then(|| {
            (self.programs.len()..rows).for_each(|_| self.programs.append_null());
            self.programs.finish()
        });
        let finish = |(field, mut builder): (FieldId, FieldBuilder)| {
            builder.values.pad(rows);
            let actions = builder.actions.map(|mut actions| {
                actions.resize(rows, Action::Untouched);
                actions
            });
            FieldColumn { field, actions, values: builder.values.finish() }
        };
        let fields = self.fields.into_sorted().into_iter().map(finish).collect();
        let versions = self.versions.map(|(versions, operation_ids)| {
            assert_eq!(versions.len(), rows, "each operation of a versioned builder has a version");
            OperationVersions { versions: versions.into(), operation_ids }
        });
        Operations { ids: self.ids.finish(), kinds: self.kinds, versions, fields, programs }
    }
}

fn unknown(schema: &Schema, parent: FieldId, key: &str) -> OperationError {
    OperationError::UnknownField(schema.path(parent).child(key))
}

fn find_leaves<'v>(
    schema: &Schema,
    parent: FieldId,
    object: &'v Object,
    leaves: &mut Vec<(FieldId, &'v Value)>,
) -> Result<(), OperationError> {
    for (key, value) in object {
        let field = schema.child(parent, key).ok_or_else(|| unknown(schema, parent, key))?;
        match value {
            Value::Object(below) if !below.is_empty() => find_leaves(schema, field, below, leaves)?,
            _ if schema.knows(field, value) => leaves.push((field, value)),
            _ => return Err(unknown(schema, parent, key)),
        }
    }
    Ok(())
}

type FieldAction<'v> = (FieldId, Action, Option<&'v Value>);

/// The patch as one action a field, if that says the same.
fn as_columns<'v>(
    schema: &Schema,
    operations: &'v [PatchOperation],
) -> Result<Option<Vec<FieldAction<'v>>>, OperationError> {
    let mut actions: Vec<FieldAction<'v>> = Vec::with_capacity(operations.len());
    let mut paths: Vec<&[String]> = Vec::with_capacity(operations.len());
    for operation in operations {
        let (path, action, value) = match operation {
            PatchOperation::Add { path, value } if !is_filled_object(value) => (path, Action::Set, Some(value)),
            PatchOperation::Remove { path } => (path, Action::Remove, None),
            PatchOperation::Increment { path, by } => (path, Action::Increment, Some(by)),
            _ => return Ok(None),
        };
        if path.is_empty() || path.iter().any(|key| may_be_index(key)) {
            return Ok(None);
        }
        match (schema.find(path), action) {
            (Some(field), _) => actions.push((field, action, value)),
            (None, Action::Remove) => return Ok(None),
            (None, _) => return Err(OperationError::UnknownField(FieldPath::from(path.clone()))),
        }
        paths.push(path);
    }
    // A path that leads through another one, or is the same, makes the order matter.
    paths.sort();
    let apart = paths.windows(2).all(|pair| !pair[1].starts_with(pair[0]));
    Ok(apart.then_some(actions))
}

fn is_filled_object(value: &Value) -> bool {
    matches!(value, Value::Object(object) if !object.is_empty())
}
