//! A patch's operations on the fields of one row.
//!
//! In: operations, and a way to read the row's fields. Out: the fields that change. Reads and writes only what the
//! operations name (and, where an object may become empty, whether it has another field). Means exactly what
//! [`patch::apply_all`](basalt_common::patch::apply_all) means on a whole document; the oracle test compares them.

use std::collections::BTreeMap;

use basalt_common::id::FieldId;
use basalt_common::patch::{
    Copied, PatchError, PatchOperation, apply_within, check_depth, check_depth_at, check_document, find,
    increment_value,
};
use basalt_common::schema::Schema;
use basalt_common::value::{Object, Value};

/// Where a path leads.
enum Place<'p> {
    /// To a field, which may be absent.
    Field(FieldId),
    /// Into the array at a field, by the rest of the path.
    Within(FieldId, &'p [String]),
    /// To a field that no document of the collection has.
    Unknown,
}

/// Collects the changes of one row; `read` gives a field as it was, `version` is the schema's when the batch was logged.
pub(super) struct RowEditor<'s, R> {
    schema: &'s Schema,
    version: u64,
    read: R,
    changes: BTreeMap<FieldId, Option<Value>>,
    copied: Copied,
}

impl<'s, R: Fn(FieldId) -> Option<Value>> RowEditor<'s, R> {
    pub(super) fn new(schema: &'s Schema, version: u64, read: R) -> Self {
        Self { schema, version, read, changes: BTreeMap::new(), copied: Copied::default() }
    }

    /// The fields to write: their new values, or `None` where they go.
    pub(super) fn into_changes(self) -> BTreeMap<FieldId, Option<Value>> {
        self.changes
    }

    /// The value kept at a field itself: a scalar, an array or the mark of an empty object.
    fn get(&self, field: FieldId) -> Option<Value> {
        match self.changes.get(&field) {
            Some(changed) => changed.clone(),
            None => (self.read)(field),
        }
    }

    fn set(&mut self, field: FieldId, value: Option<Value>) {
        self.changes.insert(field, value);
    }

    /// Whether there is anything at a field or below it.
    fn exists(&self, field: FieldId) -> bool {
        self.get(field).is_some() || self.schema.children(field).any(|child| self.exists(child))
    }

    /// The value at a field, objects put together.
    fn whole(&self, field: FieldId) -> Option<Value> {
        if let Some(value) = self.get(field) {
            return Some(value);
        }
        let below = |child| Some((self.schema.key(child).to_string(), self.whole(child)?));
        let object: Object = self.schema.children(field).filter_map(below).collect();
        (!object.is_empty() || field == FieldId::ROOT).then_some(Value::Object(object))
    }

    fn clear(&mut self, field: FieldId) {
        let mut there = Vec::new();
        self.schema.visit_subtree(field, &mut |below| there.push(below));
        there.retain(|below| self.get(*below).is_some());
        there.into_iter().for_each(|below| self.set(below, None));
    }

    /// Writes a value where nothing is.
    fn write(&mut self, field: FieldId, value: &Value) -> Result<(), PatchError> {
        match value {
            Value::Object(object) if !object.is_empty() || field == FieldId::ROOT => {
                for (key, value) in object {
                    // What was registered after the batch was logged is unknown to it, whenever it is applied.
                    let known = self.schema.child(field, key).filter(|child| self.schema.since(*child) <= self.version);
                    let Some(child) = known else {
                        return Err(PatchError::UnknownField(self.schema.path(field).child(key).into_keys()));
                    };
                    self.write(child, value)?;
                }
            }
            _ => self.set(field, Some(value.clone())),
        }
        Ok(())
    }

    /// The fields from the document's own down to the one above `field`.
    fn way_to(&self, field: FieldId) -> Vec<FieldId> {
        let mut way = Vec::new();
        let mut at = field;
        while at != FieldId::ROOT {
            at = self.schema.parent(at);
            way.push(at);
        }
        way.pop();
        way.reverse();
        way
    }

    fn path(&self, field: FieldId) -> Vec<String> {
        self.schema.path(field).into_keys()
    }

    /// Fails where a value without fields is on the way.
    fn check_way(&self, field: FieldId) -> Result<(), PatchError> {
        for above in self.way_to(field) {
            match self.get(above) {
                None | Some(Value::Object(_)) => {}
                Some(other) => {
                    return Err(PatchError::Through { path: self.path(field), through: other.value_type().name() });
                }
            }
        }
        Ok(())
    }

    fn place<'p>(&self, path: &'p [String]) -> Result<Place<'p>, PatchError> {
        let mut at = FieldId::ROOT;
        for (depth, key) in path.iter().enumerate() {
            match self.get(at) {
                None | Some(Value::Object(_)) => {}
                Some(Value::Array(_)) => return Ok(Place::Within(at, &path[depth..])),
                Some(other) => {
                    return Err(PatchError::Through { path: path.to_vec(), through: other.value_type().name() });
                }
            }
            match self.schema.child(at, key) {
                Some(child) => at = child,
                None => return Ok(Place::Unknown),
            }
        }
        Ok(Place::Field(at))
    }

    /// Puts a value at a field, in place of what is there.
    pub(super) fn add(&mut self, field: FieldId, value: &Value) -> Result<(), PatchError> {
        self.check_way(field)?;
        if field == FieldId::ROOT {
            check_document(value)?;
        }
        let depth = if field == FieldId::ROOT { 0 } else { self.way_to(field).len() + 1 };
        check_depth_at(depth, value, || self.path(field))?;
        self.check_ends(field)?;
        self.clear(field);
        self.write(field, value)?;
        for above in self.way_to(field) {
            if self.get(above).is_some() {
                self.set(above, None);
            }
        }
        Ok(())
    }

    /// Fails where a `-` on the way would be in an object that is not there: it is for the end of an array.
    fn check_ends(&self, field: FieldId) -> Result<(), PatchError> {
        let ends = self.way_to(field).into_iter().chain([field]).filter(|at| self.schema.key(*at) == "-");
        for parent in ends.map(|end| self.schema.parent(end)) {
            if parent != FieldId::ROOT && !self.exists(parent) {
                return Err(PatchError::Missing(self.path(field)));
            }
        }
        Ok(())
    }

    /// Removes what is at a field.
    pub(super) fn remove(&mut self, field: FieldId) -> Result<(), PatchError> {
        self.check_way(field)?;
        if field == FieldId::ROOT {
            return Err(PatchError::Root);
        }
        if !self.exists(field) {
            return Err(PatchError::Missing(self.path(field)));
        }
        self.clear(field);
        self.keep_object(self.schema.parent(field));
        Ok(())
    }

    /// Marks an object as empty where nothing is left in it.
    fn keep_object(&mut self, object: FieldId) {
        if object != FieldId::ROOT && !self.exists(object) {
            self.set(object, Some(Value::Object(Object::new())));
        }
    }

    /// Adds to the number at a field.
    pub(super) fn increment(&mut self, field: FieldId, by: &Value) -> Result<(), PatchError> {
        self.check_way(field)?;
        let number = match self.get(field) {
            None if self.exists(field) || field == FieldId::ROOT => Value::Object(Object::new()),
            None | Some(Value::Null) => Value::Int(0),
            Some(value) => value,
        };
        let sum = increment_value(&number, by, &self.path(field))?;
        self.add(field, &sum)
    }

    /// Applies one operation.
    pub(super) fn apply(&mut self, operation: &PatchOperation) -> Result<(), PatchError> {
        match operation {
            PatchOperation::Add { path, value } => self.add_at(path, value),
            PatchOperation::Replace { path, value } | PatchOperation::Test { path, value } => match self.place(path)? {
                Place::Field(field) => self.replace_or_test(field, operation),
                Place::Within(..) if check_depth(path, value).is_err() => check_depth(path, value),
                Place::Within(array, rest) => self.within(array, &with_path(operation, rest)),
                Place::Unknown => Err(PatchError::Missing(path.clone())),
            },
            PatchOperation::Remove { path } => match self.place(path)? {
                Place::Field(field) => self.remove(field),
                Place::Within(array, rest) => self.within(array, &with_path(operation, rest)),
                Place::Unknown => Err(PatchError::Missing(path.clone())),
            },
            PatchOperation::Increment { path, by } => match self.place(path)? {
                Place::Field(field) => self.increment(field, by),
                Place::Within(array, rest) => {
                    check_depth(path, by)?;
                    self.within(array, &with_path(operation, rest))
                }
                Place::Unknown => Err(PatchError::UnknownField(path.clone())),
            },
            PatchOperation::Move { from, path } if from == path => self.found(from).map(drop),
            PatchOperation::Move { from, path } => {
                if path.starts_with(from) {
                    return Err(PatchError::IntoItself(from.clone()));
                }
                let moved = self.found(from)?;
                self.apply(&PatchOperation::Remove { path: from.clone() })?;
                self.add_at(path, &moved)
            }
            PatchOperation::Copy { from, path } => {
                let copied = self.found(from)?;
                self.copied.count(path, &copied)?;
                self.add_at(path, &copied)
            }
            PatchOperation::Merge { object } => {
                check_depth(&[], &Value::Object(object.clone()))?;
                self.merge(FieldId::ROOT, object)
            }
        }
    }

    fn add_at(&mut self, path: &[String], value: &Value) -> Result<(), PatchError> {
        match self.place(path)? {
            Place::Field(field) => self.add(field, value),
            Place::Within(array, rest) => {
                check_depth(path, value)?;
                self.within(array, &PatchOperation::Add { path: rest.to_vec(), value: value.clone() })
            }
            Place::Unknown => Err(PatchError::UnknownField(path.to_vec())),
        }
    }

    fn replace_or_test(&mut self, field: FieldId, operation: &PatchOperation) -> Result<(), PatchError> {
        let Some(found) = self.whole(field) else {
            return Err(PatchError::Missing(self.path(field)));
        };
        match operation {
            PatchOperation::Replace { value, .. } => self.add(field, value),
            PatchOperation::Test { value, .. } if found.equal_as_json(value) => Ok(()),
            _ => Err(PatchError::Test(self.path(field))),
        }
    }

    /// The value that must be at a path.
    fn found(&self, path: &[String]) -> Result<Value, PatchError> {
        let missing = || PatchError::Missing(path.to_vec());
        match self.place(path)? {
            Place::Field(field) => self.whole(field).ok_or_else(missing),
            Place::Within(array, rest) => {
                let array = self.get(array).ok_or_else(missing)?;
                find(&array, rest).cloned().ok_or_else(missing)
            }
            Place::Unknown => Err(missing()),
        }
    }

    /// Changes an array as a whole: it is one value of one field.
    fn within(&mut self, array: FieldId, operation: &PatchOperation) -> Result<(), PatchError> {
        let mut value = self.get(array).expect("the place was found within it");
        apply_within(&mut value, operation)?;
        self.set(array, Some(value));
        Ok(())
    }

    /// RFC 7396 on the object at a field, which becomes one if it is none.
    fn merge(&mut self, field: FieldId, object: &Object) -> Result<(), PatchError> {
        if field != FieldId::ROOT && self.get(field).is_some() {
            self.set(field, None);
        }
        for (key, value) in object {
            match (self.schema.child(field, key), value) {
                (Some(child), Value::Null) => self.clear(child),
                (None, Value::Null) => {}
                (Some(child), Value::Object(below)) => self.merge(child, below)?,
                (Some(child), value) => {
                    self.clear(child);
                    self.write(child, value)?;
                }
                (None, _) => return Err(PatchError::UnknownField(self.schema.path(field).child(key).into_keys())),
            }
        }
        self.keep_object(field);
        Ok(())
    }
}

/// The operation, its path starting within an array.
fn with_path(operation: &PatchOperation, rest: &[String]) -> PatchOperation {
    let path = rest.to_vec();
    match operation.clone() {
        PatchOperation::Replace { value, .. } => PatchOperation::Replace { path, value },
        PatchOperation::Test { value, .. } => PatchOperation::Test { path, value },
        PatchOperation::Remove { .. } => PatchOperation::Remove { path },
        PatchOperation::Increment { by, .. } => PatchOperation::Increment { path, by },
        other => other,
    }
}
