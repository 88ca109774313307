//! Operations on a document in memory.
//!
//! In: a document and operations. Out: the document, changed. This is what a patch means; the leaf's way over fields is
//! tested against it.

use std::collections::BTreeMap;

use super::number::{NoSum, increment};
use super::{Copied, PatchError, PatchOperation};
use crate::value::{DEPTH_CEILING, Object, Value};

/// Applies all operations in order.
///
/// # Errors
/// The first operation that fails; the document is then half changed, so give a copy.
pub fn apply_all(document: &mut Object, operations: &[PatchOperation]) -> Result<(), PatchError> {
    let mut root = Value::Object(std::mem::take(document));
    let mut copied = Copied::default();
    for operation in operations {
        if let PatchOperation::Copy { from, path } = operation
            && let Some(value) = find(&root, from)
        {
            copied.count(path, value)?;
        }
        apply_within(&mut root, operation)?;
    }
    match root {
        Value::Object(object) => *document = object,
        _ => return Err(PatchError::Root),
    }
    Ok(())
}

/// Applies one operation to a value, its paths starting there: a document, or an array that the leaf changes as a whole.
///
/// # Errors
/// The operation fails.
pub fn apply_within(root: &mut Value, operation: &PatchOperation) -> Result<(), PatchError> {
    match operation {
        PatchOperation::Add { path, value } => add(root, path, value.clone()),
        PatchOperation::Replace { path, value } => {
            let place = find_mut(root, path)?;
            check_depth(path, value)?;
            *place = value.clone();
            check_root(root, path)
        }
        PatchOperation::Remove { path } => remove(root, path).map(drop),
        PatchOperation::Increment { path, by } => increment_at(root, path, by),
        PatchOperation::Test { path, value } => match find(root, path) {
            Some(found) if found.equal_as_json(value) => Ok(()),
            Some(_) => Err(PatchError::Test(path.clone())),
            None => Err(PatchError::Missing(path.clone())),
        },
        PatchOperation::Move { from, path } if from == path => {
            find(root, from).map(drop).ok_or_else(|| PatchError::Missing(from.clone()))
        }
        PatchOperation::Move { from, path } => {
            if path.starts_with(from) {
                return Err(PatchError::IntoItself(from.clone()));
            }
            let moved = remove(root, from)?;
            add(root, path, moved)
        }
        PatchOperation::Copy { from, path } => {
            let copied = find(root, from).cloned().ok_or_else(|| PatchError::Missing(from.clone()))?;
            add(root, path, copied)
        }
        PatchOperation::Merge { object } => {
            check_depth(&[], &Value::Object(object.clone()))?;
            merge(root, object);
            Ok(())
        }
    }
}

fn check_root(root: &Value, path: &[String]) -> Result<(), PatchError> {
    if path.is_empty() { check_document(root) } else { Ok(()) }
}

/// Refuses as a whole document what is no object, or brings an `_id` of its own.
///
/// # Errors
/// It is so.
pub fn check_document(value: &Value) -> Result<(), PatchError> {
    match value {
        Value::Object(object) if object.contains_key("_id") => Err(PatchError::Id),
        Value::Object(_) => Ok(()),
        _ => Err(PatchError::Root),
    }
}

/// Refuses what would make a document deeper than any reader takes.
///
/// # Errors
/// It would.
pub fn check_depth(path: &[String], value: &Value) -> Result<(), PatchError> {
    check_depth_at(path.len(), value, || path.to_vec())
}

/// The same, of a path that is made when it is wanted.
///
/// # Errors
/// The document would be too deep.
pub fn check_depth_at(depth: usize, value: &Value, path: impl FnOnce() -> Vec<String>) -> Result<(), PatchError> {
    match depth + value.depth() < DEPTH_CEILING {
        true => Ok(()),
        false => Err(PatchError::TooDeep(path())),
    }
}

fn index_of(key: &str) -> Option<usize> {
    let plain = key.bytes().all(|byte| byte.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    plain.then(|| key.parse().ok()).flatten()
}

/// What is at a path from `root`, through objects and arrays.
pub fn find<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, key| match value {
        Value::Object(object) => object.get(key),
        Value::Array(elements) => elements.get(index_of(key)?),
        _ => None,
    })
}

fn find_mut<'v>(root: &'v mut Value, path: &[String]) -> Result<&'v mut Value, PatchError> {
    let mut value = root;
    for key in path {
        value = match value {
            Value::Object(object) => object.get_mut(key).ok_or_else(|| PatchError::Missing(path.to_vec()))?,
            Value::Array(elements) => element_mut(elements, key, path)?,
            other => return Err(through(path, other)),
        };
    }
    Ok(value)
}

fn element_mut<'v>(elements: &'v mut [Value], key: &str, path: &[String]) -> Result<&'v mut Value, PatchError> {
    let length = elements.len();
    let element = index_of(key).and_then(|index| elements.get_mut(index));
    element.ok_or_else(|| PatchError::Index { path: path.to_vec(), length })
}

fn through(path: &[String], value: &Value) -> PatchError {
    PatchError::Through { path: path.to_vec(), through: value.value_type().name() }
}

/// The container that the last key of a path is in; objects missing on the way are made, but none to hold a `-`: that is
/// for the end of an array, which is not there.
fn container<'v>(root: &'v mut Value, path: &[String]) -> Result<&'v mut Value, PatchError> {
    let mut value = root;
    for (depth, key) in path[..path.len() - 1].iter().enumerate() {
        value = match value {
            Value::Object(object) => {
                if !object.contains_key(key) && path[depth + 1..].iter().any(|below| below == "-") {
                    return Err(PatchError::Missing(path.to_vec()));
                }
                object.entry(key.clone()).or_insert_with(|| Value::Object(BTreeMap::new()))
            }
            Value::Array(elements) => element_mut(elements, key, path)?,
            other => return Err(through(path, other)),
        };
    }
    Ok(value)
}

fn add(root: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    check_depth(path, &value)?;
    let Some(last) = path.last() else {
        *root = value;
        return check_root(root, path);
    };
    match container(root, path)? {
        Value::Object(object) => {
            object.insert(last.clone(), value);
        }
        Value::Array(elements) => {
            let length = elements.len();
            let index = if last == "-" { Some(length) } else { index_of(last) };
            match index.filter(|index| *index <= length) {
                Some(index) => elements.insert(index, value),
                None => return Err(PatchError::Index { path: path.to_vec(), length }),
            }
        }
        other => return Err(through(path, other)),
    }
    Ok(())
}

fn remove(root: &mut Value, path: &[String]) -> Result<Value, PatchError> {
    let Some((last, above)) = path.split_last() else {
        return Err(PatchError::Root);
    };
    match find_mut(root, above) {
        Ok(Value::Object(object)) => object.remove(last).ok_or_else(|| PatchError::Missing(path.to_vec())),
        Ok(Value::Array(elements)) => {
            let length = elements.len();
            match index_of(last).filter(|index| *index < length) {
                Some(index) => Ok(elements.remove(index)),
                None => Err(PatchError::Index { path: path.to_vec(), length }),
            }
        }
        Ok(other) => Err(through(path, other)),
        Err(PatchError::Missing(_)) => Err(PatchError::Missing(path.to_vec())),
        Err(PatchError::Through { through, .. }) => Err(PatchError::Through { path: path.to_vec(), through }),
        Err(PatchError::Index { length, .. }) => Err(PatchError::Index { path: path.to_vec(), length }),
        Err(other) => Err(other),
    }
}

fn increment_at(root: &mut Value, path: &[String], by: &Value) -> Result<(), PatchError> {
    check_depth(path, by)?;
    let sum = match find(root, path) {
        None | Some(Value::Null) => increment_value(&Value::Int(0), by, path)?,
        Some(number) => increment_value(number, by, path)?,
    };
    match find_mut(root, path) {
        Ok(place) => {
            *place = sum;
            check_root(root, path)
        }
        Err(PatchError::Missing(_)) => add(root, path, sum),
        Err(error) => Err(error),
    }
}

/// The number at `path` grown by another.
///
/// # Errors
/// It is no number, or the exact sum does not fit.
pub fn increment_value(number: &Value, by: &Value, path: &[String]) -> Result<Value, PatchError> {
    increment(number, by).map_err(|error| match error {
        NoSum::NoNumber => PatchError::NoNumber { path: path.to_vec(), found: number.value_type().name() },
        NoSum::Overflow => PatchError::Overflow(path.to_vec()),
    })
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Object) {
    if !matches!(target, Value::Object(_)) {
        *target = Value::Object(BTreeMap::new());
    }
    let Value::Object(object) = target else { unreachable!("it was just made an object") };
    for (key, value) in patch {
        match value {
            Value::Null => drop(object.remove(key)),
            Value::Object(patch) => merge(object.entry(key.clone()).or_insert(Value::Null), patch),
            other => drop(object.insert(key.clone(), other.clone())),
        }
    }
}
