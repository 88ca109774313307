//! The lines that `basalt generate --print` writes, as operations of the model.

use anyhow::{Context, Result, bail};
use basalt_common::patch::{parse_merge, parse_operations};
use basalt_common::value::{Object, Value};

use crate::operations::Operation;

/// Reads a line: `{"upsert": document}`, `{"patch": item}` or `{"delete": id}`.
///
/// # Errors
/// It is something else.
pub fn read(line: &Object) -> Result<(String, Operation)> {
    let (kind, value) = line.first_key_value().context("an empty line")?;
    match (kind.as_str(), value) {
        ("upsert", Value::Object(document)) => {
            let mut document = document.clone();
            Ok((take_id(&mut document)?, Operation::Upsert(document)))
        }
        ("patch", Value::Object(item)) => {
            let mut item = item.clone();
            let id = take_id(&mut item)?;
            let operations = match (item.remove("patch"), item.remove("merge")) {
                (Some(patch), None) => parse_operations(patch)?,
                (None, Some(merge)) => vec![parse_merge(merge)?],
                _ => bail!("{item:?} is no patch"),
            };
            Ok((id, Operation::Patch { operations, insert: false }))
        }
        ("delete", Value::String(id)) => Ok((id.clone(), Operation::Delete)),
        other => bail!("{other:?} is no operation"),
    }
}

fn take_id(object: &mut Object) -> Result<String> {
    match object.remove("_id") {
        Some(Value::String(id)) => Ok(id),
        other => bail!("{other:?} is no _id"),
    }
}
