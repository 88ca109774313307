//! What is read and what is refused, word for word.

mod garbage;
mod limits;
mod names;
mod parameters;
mod refused;
mod syntax;

use super::{SqlError, parse};

/// An error in one line: where, what kind, what, and what to do.
fn shown(error: &SqlError) -> String {
    let place = match (error.line, error.column) {
        (Some(line), Some(column)) => format!("{line}:{column} "),
        (None, None) => String::new(),
        half => panic!("half a position: {half:?}"),
    };
    let hint = error.hint.as_ref().map(|hint| format!(" [{hint}]")).unwrap_or_default();
    format!("{place}{:?}: {}{hint}", error.kind, error.message)
}

/// What a text parses to, printed, or its error in one line.
fn read(sql: &str) -> String {
    match parse(sql) {
        Ok(statement) => statement.to_string(),
        Err(error) => shown(&error),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(read(sql), *expected, "{sql}");
    }
}
