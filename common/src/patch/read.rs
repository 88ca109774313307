//! Patches as clients send them.
//!
//! In: JSON values. Out: operations. Owns the shapes and what is said about wrong ones; what a patch does to a document is
//! [`apply_all`](super::apply_all)'s.

use thiserror::Error;

use super::{PatchOperation, Pointer};
use crate::value::path::parse_pointer;
use crate::value::{DEPTH_CEILING, Object, Value};

/// A patch that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("operation {index}: {reason}")]
pub struct PatchSyntaxError {
    /// Which operation, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads a list of RFC 6902 operations, with `increment` as one more.
///
/// # Errors
/// The value is no list of operations, or one of them is not well formed or changes `_id`.
pub fn parse_operations(patch: Value) -> Result<Vec<PatchOperation>, PatchSyntaxError> {
    let Value::Array(operations) = patch else {
        return Err(PatchSyntaxError { index: 0, reason: "a patch is a list of operations".into() });
    };
    let read = |(index, operation)| parse_operation(operation).map_err(|reason| PatchSyntaxError { index, reason });
    operations.into_iter().enumerate().map(read).collect()
}

/// Reads an RFC 7396 merge patch.
///
/// # Errors
/// The value is no object, or names `_id`.
pub fn parse_merge(patch: Value) -> Result<PatchOperation, PatchSyntaxError> {
    let refuse = |reason: &str| Err(PatchSyntaxError { index: 0, reason: reason.into() });
    match patch {
        Value::Object(object) if object.contains_key("_id") => refuse("the _id of a document never changes"),
        Value::Object(object) => Ok(PatchOperation::Merge { object }),
        _ => refuse("a merge is an object"),
    }
}

fn parse_operation(operation: Value) -> Result<PatchOperation, String> {
    let Value::Object(mut object) = operation else {
        return Err("an operation is an object with \"op\" and \"path\"".into());
    };
    let name = take_text(&mut object, "op")?;
    let path = take_path(&mut object, "path")?;
    match name.as_str() {
        "add" => Ok(PatchOperation::Add { path, value: take(&mut object, "value")? }),
        "replace" => Ok(PatchOperation::Replace { path, value: take(&mut object, "value")? }),
        "remove" => Ok(PatchOperation::Remove { path }),
        "test" => Ok(PatchOperation::Test { path, value: take(&mut object, "value")? }),
        "move" => Ok(PatchOperation::Move { from: take_path(&mut object, "from")?, path }),
        "copy" => Ok(PatchOperation::Copy { from: take_path(&mut object, "from")?, path }),
        "increment" => match take(&mut object, "value")? {
            by @ (Value::Int(_) | Value::Float(_) | Value::Decimal(_)) => Ok(PatchOperation::Increment { path, by }),
            other => Err(format!("an increment's value is a number, not a {}", other.value_type().name())),
        },
        other => Err(format!("{other:?} is no operation; there are add, replace, remove, test, move, copy, increment")),
    }
}

fn take(object: &mut Object, key: &str) -> Result<Value, String> {
    object.remove(key).ok_or_else(|| format!("{key:?} is missing"))
}

fn take_text(object: &mut Object, key: &str) -> Result<String, String> {
    match take(object, key)? {
        Value::String(text) => Ok(text),
        other => Err(format!("{key:?} is a text, not a {}", other.value_type().name())),
    }
}

fn take_path(object: &mut Object, key: &str) -> Result<Pointer, String> {
    let path = parse_pointer(&take_text(object, key)?).map_err(|error| error.to_string())?;
    match path.first() {
        Some(first) if first == "_id" => Err("the _id of a document never changes".into()),
        _ if path.len() >= DEPTH_CEILING => Err(format!("{key:?} has more than {DEPTH_CEILING} levels")),
        _ => Ok(path),
    }
}
