//! Documents as flat lists of fields, and back.
//!
//! In: an object, or paths with values. Out: paths with values, or the object. Owns what a leaf is: everything but an
//! object that has fields. Leaves to the catalog which field id a path has.

use std::collections::btree_map::Entry;

use thiserror::Error;

use super::{DEPTH_CEILING, FieldPath, Object, Value};

/// Fields that no one object can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnflattenError {
    /// A path leads to a value and another one through it, or to it as well.
    #[error("the field {outer} has a value, so there can be no value at {inner}")]
    Conflict {
        /// The path to the one value.
        outer: FieldPath,
        /// The path to the other, below it or the same.
        inner: FieldPath,
    },
    /// A value without a name: the document itself is always an object.
    #[error("a value at the root of a document")]
    Root,
    /// The object would be deeper than any value is.
    #[error("the field {path} makes a document deeper than {DEPTH_CEILING} levels")]
    TooDeep {
        /// The path that leads too deep.
        path: FieldPath,
    },
}

/// The leaves of an object with their paths, in the order of the paths.
///
/// ```text
/// {"a": {"b": 1, "c": {}}, "d": [{"e": 2}]}  →  a.b: 1, a.c: {}, d: [{"e": 2}]
/// ```
pub fn flatten(object: &Object) -> Vec<(FieldPath, &Value)> {
    let mut leaves = Vec::new();
    flatten_below(&FieldPath::root(), object, &mut leaves);
    leaves
}

/// The object that has these leaves, given in any order.
///
/// # Errors
/// Two paths are the same or one leads through another's value, a path is the root, or the object is too deep.
pub fn unflatten(leaves: impl IntoIterator<Item = (FieldPath, Value)>) -> Result<Object, UnflattenError> {
    let mut leaves: Vec<_> = leaves.into_iter().collect();
    leaves.sort_by(|(a, _), (b, _)| a.cmp(b));
    // Sorted, what is below a path follows it directly: so conflicts are between neighbours.
    for pair in leaves.windows(2) {
        let ((outer, _), (inner, _)) = (&pair[0], &pair[1]);
        if outer.contains(inner) && !outer.is_root() {
            return Err(UnflattenError::Conflict { outer: outer.clone(), inner: inner.clone() });
        }
    }
    let mut object = Object::new();
    for (path, value) in leaves {
        if path.keys().len() + value.depth() > DEPTH_CEILING {
            return Err(UnflattenError::TooDeep { path });
        }
        insert(&mut object, path, value)?;
    }
    Ok(object)
}

fn flatten_below<'a>(path: &FieldPath, object: &'a Object, leaves: &mut Vec<(FieldPath, &'a Value)>) {
    for (key, value) in object {
        let path = path.child(key);
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten_below(&path, inner, leaves),
            leaf => leaves.push((path, leaf)),
        }
    }
}

/// Puts a value at a path that no other value is at or above of.
fn insert(object: &mut Object, path: FieldPath, value: Value) -> Result<(), UnflattenError> {
    let mut keys = path.into_keys();
    let last = keys.pop().ok_or(UnflattenError::Root)?;
    let mut inner = object;
    for key in keys {
        let slot = match inner.entry(key) {
            Entry::Vacant(slot) => slot.insert(Value::Object(Object::new())),
            Entry::Occupied(slot) => slot.into_mut(),
        };
        let Value::Object(next) = slot else { unreachable!("conflicts were ruled out") };
        inner = next;
    }
    let before = inner.insert(last, value);
    assert!(before.is_none(), "conflicts were ruled out");
    Ok(())
}
