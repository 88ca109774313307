//! What clients are told of DataFusion's errors.
//!
//! In: an error from planning or running, and the text it belongs to. Out: a [`Failure`] of the kind that says what to do,
//! with line and column where they are known.

use basalt_common::failure::{Failure, FailureKind};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use crate::sql::{SqlError, SqlErrorKind, locate};

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        let kind = match error.kind {
            SqlErrorKind::TooLarge => FailureKind::TooLarge,
            _ => FailureKind::InvalidRequest,
        };
        let SqlError { message, hint, line, column, .. } = error;
        Self { kind, message, hint, line, column }
    }
}

/// The failure that a client sees for an error.
pub fn from_datafusion(error: &DataFusionError, sql: &str) -> Failure {
    let root = error.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(failure) = inner.downcast_ref::<Failure>()
    {
        return failure.clone();
    }
    if let DataFusionError::Internal(text) = root
        && text.contains("Uncomparable values")
    {
        let failure = Failure::invalid("values of several types are compared that have no order among each other");
        return failure.with_hint("choose one type, as in max(field::int)");
    }
    if let DataFusionError::Internal(text) = root
        && let Some((_, why)) = text.split_once("Regular expression did not compile: ")
    {
        return Failure::invalid(format!("the regular expression cannot be used: {}", first_line(why)))
            .with_hint("a simpler one, or several");
    }
    let kind = match root {
        DataFusionError::ResourcesExhausted(_) => FailureKind::Resources,
        DataFusionError::Internal(_) | DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => {
            FailureKind::Internal
        }
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::MemoryError(_) => FailureKind::Resources,
            ArrowError::IoError(..) | ArrowError::IpcError(_) => FailureKind::Internal,
            _ => FailureKind::InvalidRequest,
        },
        _ => FailureKind::InvalidRequest,
    };
    let mut failure = Failure::new(kind, message(root));
    if kind == FailureKind::Resources {
        failure.hint = Some("ask for less, or raise query_memory_bytes_max".into());
    }
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let place = match span {
        Some(span) => Some((span.start.line, span.start.column)),
        None => missing_name(root).and_then(|name| locate(sql, &name)),
    };
    (failure.line, failure.column) = place.unzip();
    failure
}

/// What DataFusion says of its own bugs follows on further lines.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The error's own words, without DataFusion's name for its kind.
fn message(root: &DataFusionError) -> String {
    let text = root.strip_backtrace();
    let kinds = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "SQL error: ",
        "Invalid or Unsupported Configuration: ",
        "Resources exhausted: ",
        "This feature is not implemented: ",
        "External error: ",
        "Optimizer rule ",
    ];
    let stripped = kinds.iter().find_map(|kind| text.strip_prefix(kind));
    match (root, stripped) {
        (DataFusionError::NotImplemented(_), Some(rest)) => format!("not supported: {rest}"),
        (_, Some(rest)) => rest.to_string(),
        (_, None) => text,
    }
}

/// The name in the text that the error is about.
fn missing_name(root: &DataFusionError) -> Option<Vec<String>> {
    match root {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
                Some(vec![field.name.clone()])
            }
            _ => None,
        },
        DataFusionError::Plan(text) => {
            let name = text.strip_prefix("Invalid function '")?.split('\'').next()?;
            Some(vec![name.to_string()])
        }
        _ => None,
    }
}
