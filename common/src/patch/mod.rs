//! Changes to parts of a document: RFC 6902 operations, `increment`, and RFC 7396 merges.
//!
//! In: operations. Out: changed documents. Owns what each operation means, on a document in memory; the leaf does the same
//! to the fields of a row, and the two are compared by test. A patch is atomic: callers apply it to a copy and keep that
//! only if every operation succeeded.
//!
//! Where RFC 6902 leaves room or is too strict for documents that many writers fill: `add` and `increment` make the
//! objects that are missing on the way; `test` compares numbers by their mathematical value.

mod apply;
mod number;
mod program;
mod read;

use thiserror::Error;

use crate::id::FieldId;
use crate::schema::Schema;
use crate::value::{DEPTH_CEILING, FieldPath, Object, Value};

pub use apply::{apply_all, apply_within, check_depth, check_depth_at, check_document, find, increment_value};
pub use program::{ProgramError, decode, encode};
pub use read::{PatchSyntaxError, parse_merge, parse_operations};

/// Keys and array indices from the document down; empty for the document itself.
pub type Pointer = Vec<String>;

/// What the copies of one patch may make: as much as a document may be unless set otherwise. What becomes of a patch depends on it, so
/// it never changes.
pub const COPIED_BYTES_MAX: usize = 16 << 20;

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchOperation {
    /// Puts a value at a path, in place of what is there; in an array, before the element of that index or, at `-`,
    /// behind the last.
    Add {
        /// Where.
        path: Pointer,
        /// What.
        value: Value,
    },
    /// Puts a value in place of one that must be there.
    Replace {
        /// Where.
        path: Pointer,
        /// What.
        value: Value,
    },
    /// Removes what must be there.
    Remove {
        /// Where.
        path: Pointer,
    },
    /// Adds to a number; a missing or null one counts as zero.
    Increment {
        /// Where.
        path: Pointer,
        /// How much: a number.
        by: Value,
    },
    /// Fails the patch unless this value is there.
    Test {
        /// Where.
        path: Pointer,
        /// What.
        value: Value,
    },
    /// Removes what is at `from` and adds it at `path`.
    Move {
        /// Where it is.
        from: Pointer,
        /// Where it shall be.
        path: Pointer,
    },
    /// Adds what is at `from` at `path`.
    Copy {
        /// Where it is.
        from: Pointer,
        /// Where it shall be too.
        path: Pointer,
    },
    /// Merges an object into the document: null removes, objects merge, all else replaces.
    Merge {
        /// What to merge.
        object: Object,
    },
}

/// Why a patch changed nothing.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PatchError {
    /// The path, or an object on the way to it, is not there.
    #[error("nothing is at {}", FieldPath::from(.0.clone()))]
    Missing(Pointer),
    /// The path leads through a value that has no fields.
    #[error("{} leads through a {}", FieldPath::from(.path.clone()), .through)]
    Through {
        /// The path.
        path: Pointer,
        /// The type on the way.
        through: &'static str,
    },
    /// No index of the array.
    #[error("{} is no index of its array, which has {} elements", FieldPath::from(.path.clone()), .length)]
    Index {
        /// The path.
        path: Pointer,
        /// How many elements there are.
        length: usize,
    },
    /// A `test` found another value.
    #[error("the test at {} found another value", FieldPath::from(.0.clone()))]
    Test(Pointer),
    /// An increment of, or by, what is no number.
    #[error("{} is a {}, which cannot be incremented", FieldPath::from(.path.clone()), .found)]
    NoNumber {
        /// The path.
        path: Pointer,
        /// The type found.
        found: &'static str,
    },
    /// The sum has no exact place.
    #[error("the increment of {} overflows", FieldPath::from(.0.clone()))]
    Overflow(Pointer),
    /// A document is always an object.
    #[error("a document can be replaced by an object only, and never removed or moved")]
    Root,
    /// A document keeps its `_id`.
    #[error("the _id of a document never changes")]
    Id,
    /// A value cannot be moved into itself.
    #[error("{} cannot be moved into itself", FieldPath::from(.0.clone()))]
    IntoItself(Pointer),
    /// The document would be deeper than any may be.
    #[error("{} would be too deep", FieldPath::from(.0.clone()))]
    TooDeep(Pointer),
    /// Copies that hold what was copied before would grow without end.
    #[error("{} would be too large: the copies of one patch take {COPIED_BYTES_MAX} bytes at most", FieldPath::from(.0.clone()))]
    TooLarge(Pointer),
    /// A move or copy would make a field that the collection did not have when the patch was sent.
    #[error("the collection has no field {} yet; add it to a document, then send the patch again", FieldPath::from(.0.clone()))]
    UnknownField(Pointer),
}

/// What the copies of one patch have made.
#[derive(Debug, Default)]
pub struct Copied(usize);

impl Copied {
    /// Counts a value that is to be copied to a path.
    ///
    /// # Errors
    /// It is too much for one patch.
    pub fn count(&mut self, path: &[String], value: &Value) -> Result<(), PatchError> {
        self.0 = self.0.saturating_add(value.weight());
        match self.0 <= COPIED_BYTES_MAX {
            true => Ok(()),
            false => Err(PatchError::TooLarge(path.to_vec())),
        }
    }
}

/// Registers every field that a patch may write. What a path means (a key or an array's index) is known only where the
/// document is, so indices are registered as keys too.
pub fn register(schema: &mut Schema, operations: &[PatchOperation]) {
    register_within(schema, operations, usize::MAX);
}

/// The same, but leaves the operations that are left as soon as there are more fields than `fields_max`: each copy may double them.
pub fn register_within(schema: &mut Schema, operations: &[PatchOperation], fields_max: usize) {
    for operation in operations {
        if schema.len() > fields_max {
            return;
        }
        match operation {
            PatchOperation::Add { path, value }
            | PatchOperation::Replace { path, value }
            | PatchOperation::Increment { path, by: value } => register_value(schema, path, value),
            PatchOperation::Move { from, path } | PatchOperation::Copy { from, path } => {
                register_copy(schema, from, path);
            }
            PatchOperation::Merge { object } => register_value(schema, &[], &Value::Object(object.clone())),
            PatchOperation::Remove { .. } | PatchOperation::Test { .. } => {}
        }
    }
}

fn register_value(schema: &mut Schema, path: &[String], value: &Value) {
    let field = schema.register(path);
    match register_in_arrays(schema, FieldId::ROOT, path, value) {
        // The fields must be there in case the path leads through objects after all; as types they were not seen.
        true => register_keys(schema, field, value),
        false => schema.register_value(field, value, &mut |_, _| {}),
    }
}

fn register_keys(schema: &mut Schema, field: FieldId, value: &Value) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        let child = schema.register_child(field, key);
        register_keys(schema, child, value);
    }
}

/// Registers a value whose path leads through arrays with what those hold; false where it does not.
fn register_in_arrays(schema: &mut Schema, from: FieldId, path: &[String], value: &Value) -> bool {
    let mut at = from;
    for (level, key) in path.iter().enumerate() {
        if let Some(elements) = schema.elements(at)
            && may_be_index(key)
        {
            let rest = &path[level + 1..];
            if !register_in_arrays(schema, elements, rest, value) {
                let field = rest.iter().fold(elements, |parent, key| schema.register_child(parent, key));
                schema.register_value(field, value, &mut |_, _| {});
            }
            return true;
        }
        let Some(child) = schema.child(at, key) else { return false };
        at = child;
    }
    false
}

/// Whether a key may stand for an element of an array.
pub fn may_be_index(key: &str) -> bool {
    key == "-" || key.bytes().all(|byte| byte.is_ascii_digit())
}

fn register_copy(schema: &mut Schema, from: &[String], path: &[String]) {
    let target = schema.register(path);
    let Some(source) = schema.find(from) else { return };
    let mut below = Vec::new();
    schema.visit_subtree(source, &mut |field| below.push((schema.path(field).into_keys(), schema.types(field))));
    below.retain(|(keys, _)| path.len() + keys.len() - from.len() < DEPTH_CEILING);
    for (keys, types) in below {
        let field = keys[from.len()..].iter().fold(target, |parent, key| schema.register_child(parent, key));
        types.iter().for_each(|of| schema.register_type(field, of));
        let from = schema.find(&keys).expect("it was found above");
        copy_elements(schema, from, field);
    }
}

fn copy_elements(schema: &mut Schema, from: FieldId, to: FieldId) {
    let Some(source) = schema.elements(from) else { return };
    let target = schema.register_elements(to);
    let mut below = Vec::new();
    schema.visit_subtree(source, &mut |field| below.push(field));
    let depth = schema.path(source).keys().len();
    for field in below {
        let keys = schema.path(field).into_keys();
        let copy = keys[depth..].iter().fold(target, |parent, key| schema.register_child(parent, key));
        schema.types(field).iter().for_each(|of| schema.register_type(copy, of));
        copy_elements(schema, field, copy);
    }
}

#[cfg(test)]
mod tests;
