//! Operations as bytes: how a patch that is more than setting, removing and incrementing fields lies in a batch.
//!
//! In and out: operations. The bytes are one encoded [`Value`]: an array with an array for each operation.
//!
//! ```text
//! program    = [operation…]
//! operation  = [0, path, value]     add          = [4, path, value]   test
//!            | [1, path, value]     replace      | [5, path, from]    move
//!            | [2, path]            remove       | [6, path, from]    copy
//!            | [3, path, by]        increment    | [7, object]        merge
//! path, from = [key…]
//! ```

use thiserror::Error;

use super::{PatchOperation, Pointer};
use crate::value::{Value, codec};

/// Bytes that are no program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a patch's program cannot be read: {0}")]
pub struct ProgramError(String);

/// Appends the operations' bytes to `out`.
pub fn encode(operations: &[PatchOperation], out: &mut Vec<u8>) {
    codec::encode(&Value::Array(operations.iter().map(to_value).collect()), out);
}

/// Reads operations back.
///
/// # Errors
/// The bytes are not what [`encode`] writes.
pub fn decode(bytes: &[u8]) -> Result<Vec<PatchOperation>, ProgramError> {
    match codec::decode(bytes).map_err(|error| ProgramError(error.to_string()))? {
        Value::Array(operations) => operations.into_iter().map(from_value).collect(),
        other => Err(ProgramError(format!("a program is an array, not a {}", other.value_type().name()))),
    }
}

fn to_value(operation: &PatchOperation) -> Value {
    let keys = |path: &Pointer| Value::Array(path.iter().cloned().map(Value::String).collect());
    let parts = match operation {
        PatchOperation::Add { path, value } => vec![Value::Int(0), keys(path), value.clone()],
        PatchOperation::Replace { path, value } => vec![Value::Int(1), keys(path), value.clone()],
        PatchOperation::Remove { path } => vec![Value::Int(2), keys(path)],
        PatchOperation::Increment { path, by } => vec![Value::Int(3), keys(path), by.clone()],
        PatchOperation::Test { path, value } => vec![Value::Int(4), keys(path), value.clone()],
        PatchOperation::Move { from, path } => vec![Value::Int(5), keys(path), keys(from)],
        PatchOperation::Copy { from, path } => vec![Value::Int(6), keys(path), keys(from)],
        PatchOperation::Merge { object } => vec![Value::Int(7), Value::Object(object.clone())],
    };
    Value::Array(parts)
}

fn from_value(operation: Value) -> Result<PatchOperation, ProgramError> {
    let refuse = || ProgramError("an operation has another shape".into());
    let Value::Array(parts) = operation else { return Err(refuse()) };
    let mut parts = parts.into_iter();
    let mut next = || parts.next().ok_or_else(refuse);
    let Value::Int(code) = next()? else { return Err(refuse()) };
    if code == 7 {
        return match next()? {
            Value::Object(object) => Ok(PatchOperation::Merge { object }),
            _ => Err(refuse()),
        };
    }
    let path = keys(next()?).ok_or_else(refuse)?;
    let read = match code {
        0 => PatchOperation::Add { path, value: next()? },
        1 => PatchOperation::Replace { path, value: next()? },
        2 => PatchOperation::Remove { path },
        3 => PatchOperation::Increment { path, by: next()? },
        4 => PatchOperation::Test { path, value: next()? },
        5 => PatchOperation::Move { path, from: keys(next()?).ok_or_else(refuse)? },
        6 => PatchOperation::Copy { path, from: keys(next()?).ok_or_else(refuse)? },
        _ => return Err(refuse()),
    };
    Ok(read)
}

fn keys(value: Value) -> Option<Pointer> {
    let Value::Array(keys) = value else { return None };
    let text = |key| match key {
        Value::String(key) => Some(key),
        _ => None,
    };
    keys.into_iter().map(text).collect()
}
